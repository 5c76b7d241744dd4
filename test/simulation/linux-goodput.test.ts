/**
 * Goodput in simulation beside what a Linux kernel reached over a real wire with the same faults (linux-goodput.json, which
 * `make bench-loss ARGS=--write` measures): medians of as many seeds.
 */
import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { CongestionControlName } from '../../src/tcp/congestion/controls.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import { runCell } from '../support/goodput.ts';
import { PLAIN } from './goodput-scenarios.ts';

interface LinuxCell {
  readonly control: CongestionControlName;
  readonly rateMbits: number;
  readonly rttMs: number;
  readonly lossPercent: number;
  /** Of each seed. */
  readonly mbits: readonly number[];
}

const FILE = new URL('../../../test/simulation/linux-goodput.json', import.meta.url);
const { cells } = JSON.parse(readFileSync(FILE, 'utf8')) as { readonly cells: readonly LinuxCell[] };
const FIRST_SEED = 9000;
const LOSS_PERCENT = 1;
const BAR = 0.15;

/** In simulation, over Linux's. */
function ratioTo(t: ExecutionContext, cell: LinuxCell, settings: Partial<TcpSettings>): number {
  const { control, rateMbits, rttMs, lossPercent, mbits } = cell;
  const scenario = {
    ...PLAIN,
    name: `${rateMbits} Mbit/s, ${rttMs} ms, loss ${lossPercent}%, ${control}`,
    control,
    rttUs: rttMs * 1000,
    bitsPerSecond: rateMbits * 1e6,
    loss: lossPercent / 100,
    settings,
  };
  const rates = mbits.map((_, i) => {
    const { bitsPerSecond, complaints } = runCell(scenario, FIRST_SEED + i);
    t.deepEqual(complaints, []);
    return bitsPerSecond / 1e6;
  });
  const ratio = median(rates) / median(mbits);
  t.log(
    `${scenario.name}: ${median(rates).toPrecision(3)}, Linux ${median(mbits).toPrecision(3)}: ${ratio.toFixed(2)}`,
  );
  return ratio;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return ((sorted[middle] ?? Number.NaN) + (sorted[sorted.length - 1 - middle] ?? Number.NaN)) / 2;
}

for (const cell of cells) {
  const { control, rateMbits, rttMs, lossPercent } = cell;
  test(`${control} at ${rateMbits} Mbit/s, ${rttMs} ms and loss of ${lossPercent}% beside Linux`, (t) => {
    t.timeout(120_000);
    const ratio = ratioTo(t, cell, {});
    const alike = ratioTo(t, cell, { cubicRenoCatchesUp: false });
    if (lossPercent !== LOSS_PERCENT) t.true(ratio > 1 - 2 * BAR);
    else t.true(Math.abs(alike - 1) <= BAR && ratio > 1 - BAR);
  });
}
