/** What a command has counted, for people: a JSON line in the log at its end, and a table whenever it gets SIGUSR1. */
import type { Host } from '../host/host.ts';
import { nonZero } from '../runtime/counters.ts';

/** Counters by name, under the name of what counts them. */
export type CounterGroups = Record<string, Record<string, number>>;

/** The counters of a host; those of what runs on it go beside them. */
export function hostCounters(host: Host): CounterGroups {
  const { kernel, stack, tcp, device, reactor } = host;
  return {
    tcp: tcp.counters.snapshot(),
    ipv4: stack.ipv4.counters.snapshot(),
    drops: nonZero(stack.drops.snapshot()),
    exokernel: kernel.counters.snapshot(),
    device: { ...device.counters },
    reactor: reactor.counters.snapshot(),
  };
}

/** One line at level `info`. */
export function logCounters(host: Host, groups: CounterGroups): void {
  host.stack.log.info({ counters: groups }, 'what was counted');
}

/** Prints what is not zero on standard error, whenever the process gets SIGUSR1. */
export function printCountersOnSignal(read: () => CounterGroups): void {
  process.on('SIGUSR1', () => console.error(formatCounters(read())));
}

/** A line for each counter that is not zero. */
export function formatCounters(groups: CounterGroups): string {
  const lines = Object.entries(groups).flatMap(([group, counters]) =>
    Object.entries(nonZero(counters)).map(([name, value]) => [`${group}.${name}`, `${value}`] as const),
  );
  const nameWidth = Math.max(0, ...lines.map(([name]) => name.length));
  const valueWidth = Math.max(0, ...lines.map(([, value]) => value.length));
  return lines.map(([name, value]) => `${name.padEnd(nameWidth)}  ${value.padStart(valueWidth)}`).join('\n');
}
