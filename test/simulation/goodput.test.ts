/**
 * Goodput in simulation, kept in goodput-table.md beside this file so that a change in behaviour shows as a difference. Virtual time
 * and a seed for each cell make every figure exact. `make simulate` runs all cells and writes the table anew; the suite runs
 * a spread of them. Wherever it is run, text arrives byte for byte, nothing hangs, nothing is left over, and nothing is sent again on a wire
 * that loses nothing.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { type CellResult, runCell } from '../support/goodput.ts';
import {
  CONTROLS,
  fairnessScenarios,
  faultScenarios,
  formatRate,
  formatShare,
  gridScenarios,
  type Scenario,
} from './goodput-scenarios.ts';

const TABLE = new URL('../../../test/simulation/goodput-table.md', import.meta.url);
const WRITES = process.env.EXONET_SIMULATE === 'write';
/** Of every so many cells the suite runs one. */
const STRIDE = 11;
const FIRST_SEED = 7000;
/** Streams alike share alike. */
const LEAST_FAIRNESS = 0.8;

interface Cell {
  readonly scenario: Scenario;
  readonly seed: number;
  readonly line: (result: CellResult) => string;
}

const cells: Cell[] = [
  ...gridScenarios().map((scenario) => ({ scenario, line: gridLine })),
  ...faultScenarios().map((scenario) => ({ scenario, line: faultLine })),
  ...fairnessScenarios().map((scenario) => ({ scenario, line: fairnessLine })),
].map(({ scenario, line }, index) => ({
  scenario,
  seed: FIRST_SEED + index,
  line: (result: CellResult) => line(scenario, result),
}));
const committed = existsSync(TABLE) ? readFileSync(TABLE, 'utf8').split('\n') : [];
const lines = new Map<Cell, string>();

for (const [index, cell] of cells.entries()) {
  if (!WRITES && index % STRIDE !== 3) continue;
  const { scenario, seed } = cell;
  test.serial(scenario.name, (t) => {
    t.timeout(300_000);
    t.log(`replay: npx ava test/simulation/goodput.test.ts --match='${scenario.name}' (seed ${seed})`);
    const result = runCell(scenario, seed);
    t.deepEqual(result.complaints, []);
    if (scenario.streams > 1) t.true(result.fairness >= LEAST_FAIRNESS, `Jain's index ${result.fairness}`);
    const line = cell.line(result);
    lines.set(cell, line);
    if (!WRITES) t.true(committed.includes(line), `behaviour has changed; if it is meant to, make simulate: ${line}`);
  });
}

test.serial('the suite runs at least twelve cells', (t) => {
  t.true(lines.size >= 12);
  if (!WRITES) return;
  const rowsOf = (kind: (cell: Cell) => boolean) =>
    cells
      .filter(kind)
      .map((cell) => lines.get(cell) ?? `| ${cell.scenario.name} | failed |`)
      .join('\n');
  const grid = gridScenarios().length;
  const faults = grid + faultScenarios().length;
  const at = (cell: Cell) => cell.seed - FIRST_SEED;
  writeFileSync(
    TABLE,
    `# Goodput in simulation

Written by \`make simulate\`. One stream of 16 MiB, or 30 s of it; time is virtual, so every figure is exact. Windows grow with the traffic
(64 KiB at first), and where nothing else is said the queue holds everything, so that what is lost is lost by the wire, in both directions.
Controls: ${CONTROLS.join(', ')}.

| rate | round trip | loss | control | goodput, Mbit/s | segments | sent again | time-outs |
|---|---|---|---|---|---|---|---|
${rowsOf((cell) => at(cell) < grid)}

## What else a wire may do

100 Mbit/s, a round trip of 20 ms.

| wire, control | goodput, Mbit/s | segments | sent again | time-outs |
|---|---|---|---|---|
${rowsOf((cell) => at(cell) >= grid && at(cell) < faults)}

## Streams that share

100 Mbit/s, a round trip of 20 ms, a queue of 250 kB; Jain's index over the second half of 30 s.

| streams, control | goodput of all, Mbit/s | Jain's index | sent again | time-outs |
|---|---|---|---|---|
${rowsOf((cell) => at(cell) >= faults)}
`,
  );
});

function gridLine(scenario: Scenario, result: CellResult): string {
  const { bitsPerSecond, rttUs, loss, control } = scenario;
  return row(formatRate(bitsPerSecond), `${rttUs / 1000} ms`, formatShare(loss), control, ...costs(result));
}

function faultLine({ name }: Scenario, result: CellResult): string {
  return row(name, ...costs(result));
}

function fairnessLine({ name }: Scenario, result: CellResult): string {
  const { bitsPerSecond, fairness, retransmitted, timeouts } = result;
  return row(name, megabits(bitsPerSecond), fairness.toFixed(3), retransmitted, timeouts);
}

function costs({ bitsPerSecond, segments, retransmitted, timeouts }: CellResult) {
  return [megabits(bitsPerSecond), segments, retransmitted, timeouts];
}

function megabits(bitsPerSecond: number): string {
  return (bitsPerSecond / 1e6).toPrecision(3);
}

function row(...columns: readonly (string | number)[]): string {
  return `| ${columns.join(' | ')} |`;
}
