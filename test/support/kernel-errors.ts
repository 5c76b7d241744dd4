/** What the kernel found wrong with the packets that it was sent, by its own counters. */
import { readFileSync } from 'node:fs';
import type { Netns } from './netns.ts';

const ERRORS: readonly (readonly [string, readonly string[]])[] = [
  ['Ip', ['InHdrErrors', 'ReasmFails']],
  ['IpExt', ['InCsumErrors', 'InTruncatedPkts']],
  ['Icmp', ['InErrors', 'InCsumErrors']],
  ['Tcp', ['InErrs', 'InCsumErrors']],
];

/** Every such counter that is not zero, with its name; of this process's namespace, or of another. */
export function findKernelErrors(netns?: Netns): string[] {
  const counters = readKernelCounters(netns);
  const found: string[] = [];
  for (const [protocol, names] of ERRORS) {
    for (const name of names) {
      const count = counters.get(`${protocol}.${name}`);
      if (count === undefined) throw new Error(`the kernel has no counter ${protocol}.${name}`);
      if (count !== 0) found.push(`${count} ${protocol}.${name}`);
    }
  }
  return found;
}

/** The kernel's counters by names like `Tcp.InSegs`. */
export function readKernelCounters(netns?: Netns): Map<string, number> {
  const counters = new Map<string, number>();
  for (const path of ['/proc/net/snmp', '/proc/net/netstat']) {
    const text = netns === undefined ? readFileSync(path, 'utf8') : netns.run('cat', path);
    const lines = text.trim().split('\n');
    // Lines come in pairs: the names of a protocol, then their values.
    for (let i = 0; i + 1 < lines.length; i += 2) {
      const [protocol = '', ...names] = (lines[i] ?? '').split(/:? +/);
      const [, ...values] = (lines[i + 1] ?? '').split(/:? +/);
      for (const [index, name] of names.entries()) counters.set(`${protocol}.${name}`, Number(values[index]));
    }
  }
  return counters;
}
