/**
 * `make bench-bulk`: one connection that carries as much as it can, over TAP between our stack and the kernel, beside the kernel
 * with itself over a veth pair. iperf3 measures both, in both directions, by turns, each end on a processor of its own.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArguments, readInteger } from '../src/cli/arguments.ts';
import { Control } from './control.ts';
import { fail } from './fail.ts';
import type { Lab } from './lab.ts';
import { assertMachine, chooseCores, warnOfLoad } from './machine.ts';
import { createHttpLab, UNPACED_SERVER_ADDRESS, unpace } from './network.ts';
import { scriptPath } from './servers.ts';
import { median, variation } from './statistics.ts';

const HELP = `make bench-bulk [ARGS='...']   or   node build/bench/bulk.js [options]

Measures one connection at full speed, our stack's over TAP and the kernel's over veth (root, iperf3).

  --rounds N    measurements of each (default 5)
  --seconds N   how long each lasts (default 5)`;

const ARGUMENTS = {
  rounds: { type: 'string', default: '5' },
  seconds: { type: 'string', default: '5' },
  help: { type: 'boolean', short: 'h' },
} as const;

const TAP_NETWORK = '10.91.5';
const TAP_DEVICE = 'bulk0';
const SETTLE_MS = 500;
/** Seconds of each run that do not count: slow start, and the compiler. */
const OMITTED_SECONDS = 2;
/** Of the kernel with itself. */
const BAR = 0.8;

const DIRECTIONS = [
  { name: 'to the stack', args: [] },
  { name: 'from the stack', args: ['--reverse'] },
] as const;

const PARTIES = [
  { name: 'exonet over TAP', address: `${TAP_NETWORK}.2` },
  { name: 'kernel over veth', address: UNPACED_SERVER_ADDRESS },
] as const;

async function main(args: readonly string[]): Promise<void> {
  const values = parseArguments(args, ARGUMENTS);
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  const rounds = readInteger('rounds', values.rounds, 1, 100);
  const seconds = readInteger('seconds', values.seconds, 1, 600);
  assertMachine(false);
  const [serverCore, clientCore] = chooseCores();
  const lab = await createHttpLab(serverCore, clientCore);
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
    process.once(signal, () => void lab.remove().finally(() => process.exit(1)));
  }
  try {
    await start(lab);
    await measure(lab, rounds, seconds);
  } finally {
    await lab.remove();
  }
}

async function start(lab: Lab): Promise<void> {
  const place = { space: 'client', core: lab.serverCore, channel: true } as const;
  const args = [scriptPath('iperf3-server.js'), TAP_DEVICE, `${TAP_NETWORK}.2/24`, `${TAP_NETWORK}.1/24`];
  await new Control('iperf3', lab.start(place, process.execPath, args)).ready();
  lab.start({ space: 'server', core: lab.serverCore, quiet: true }, 'iperf3', ['-s', '-B', UNPACED_SERVER_ADDRESS]);
  await delay(SETTLE_MS);
  console.log(`The kernel's ends have ${unpace(lab, 'client')}; ours has CUBIC.`);
}

async function measure(lab: Lab, rounds: number, seconds: number): Promise<void> {
  const warning = warnOfLoad();
  if (warning !== undefined) console.log(warning);
  console.log(`${rounds} rounds of ${seconds} s; servers on processor ${lab.serverCore}, iperf3 on ${lab.clientCore}.`);
  for (const { name: direction, args } of DIRECTIONS) {
    const results: Record<string, number[]> = {};
    for (let round = 0; round < rounds; round++) {
      for (const { name, address } of PARTIES) {
        const rate = await run(lab, address, seconds, args);
        results[name] = [...(results[name] ?? []), rate];
      }
    }
    const [ours = [], theirs = []] = PARTIES.map(({ name }) => results[name] ?? []);
    for (const { name } of PARTIES) {
      const rates = results[name] ?? [];
      const all = rates.map((rate) => rate.toFixed(1)).join(' ');
      const cv = `${(100 * variation(rates)).toFixed(0)}%`;
      console.log(`${direction}: ${name.padEnd(16)} ${median(rates).toFixed(1)} Gbit/s (cv ${cv}: ${all})`);
    }
    const ratio = median(ours.map((rate, i) => rate / (theirs[i] ?? Number.NaN)));
    console.log(`${direction}: ${ratio.toFixed(2)}x, ${ratio >= BAR ? 'PASS' : 'MISS'} (>= ${BAR})`);
  }
}

/** Gbit/s that have arrived. */
async function run(lab: Lab, address: string, seconds: number, more: readonly string[]): Promise<number> {
  const place = { space: 'client', core: lab.clientCore, patienceMs: 1000 * (seconds + 30) } as const;
  const times = ['-t', `${seconds}`, '-O', `${OMITTED_SECONDS}`];
  const output = await lab.run(place, 'iperf3', ['-c', address, ...times, '--json', ...more]);
  const report = JSON.parse(output) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second / 1e9;
}

main(process.argv.slice(2)).catch((error: unknown) => fail('bench-bulk', error));
