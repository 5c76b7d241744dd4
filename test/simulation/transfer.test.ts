/**
 * Two stacks over a bad wire: one megabyte each way arrives byte for byte whatever the wire does, and nothing is left
 * behind. What it cost is kept in transfer-table.md beside this file, so that a change in behaviour shows as a
 * difference; `make simulate` writes it anew.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { findLeaks } from '../support/leaks.ts';
import { Transfer } from '../support/transfer.ts';
import { ADDRESS_B, World } from '../support/world.ts';

const BYTES_EACH_WAY = 1024 * 1024;
const LIMIT_US = 3600_000_000;
const TIME_WAIT_OVER_US = 130_000_000;
const TABLE = new URL('../../../test/simulation/transfer-table.md', import.meta.url);

const LOSSES = [0, 0.01, 0.05, 0.1, 0.2];
const RATES = [0, 0.05];

interface Cell {
  readonly loss: number;
  readonly reordering: number;
  readonly duplication: number;
  readonly corruption: number;
  readonly seed: number;
}

const cells: Cell[] = [];
for (const loss of LOSSES) {
  for (const reordering of RATES) {
    for (const duplication of RATES) {
      for (const corruption of RATES) {
        cells.push({ loss, reordering, duplication, corruption, seed: 1000 + cells.length });
      }
    }
  }
}

const rows: string[] = new Array<string>(cells.length).fill('');

for (const [index, cell] of cells.entries()) {
  const { loss, reordering, duplication, corruption, seed } = cell;
  const faults = { loss, reordering, duplication, corruption };
  const title = `seed ${seed}: ${formatFaults(cell)}`;
  test.serial(title, (t) => {
    t.log(`replay: npx ava test/simulation/transfer.test.ts --match='${title}'`);
    const world = new World({ seed, link: { delayUs: 5000, bitsPerSecond: 100_000_000, faults } });
    const aAt = world.arena.allocate(BYTES_EACH_WAY);
    const bAt = world.arena.allocate(BYTES_EACH_WAY);
    world.random.fill(world.arena.bytes.subarray(aAt, aAt + BYTES_EACH_WAY));
    world.random.fill(world.arena.bytes.subarray(bAt, bAt + BYTES_EACH_WAY));
    const a = new Transfer(world, aAt, BYTES_EACH_WAY, bAt, BYTES_EACH_WAY);
    const b = new Transfer(world, bAt, BYTES_EACH_WAY, aAt, BYTES_EACH_WAY);
    world.b.tcp.listen(80, () => b);
    world.a.tcp.connect(ADDRESS_B, 80, a);
    world.run(LIMIT_US, () => a.closed && b.closed);
    t.true(a.complete, `a received ${a.received} bytes, ${a.wrongBytes} of them wrong, error '${a.error}'`);
    t.true(b.complete, `b received ${b.received} bytes, ${b.wrongBytes} of them wrong, error '${b.error}'`);
    rows[index] = formatRow(cell, world);
    world.run(TIME_WAIT_OVER_US);
    t.deepEqual(findLeaks(world.a), []);
    t.deepEqual(findLeaks(world.b), []);
    t.is(a.regions + b.regions, 0);
    t.is(world.link.inFlightBytes(), 0);
    world.close();
  });
}

test.serial('the table is what was committed', (t) => {
  if (rows.some((row) => row === '')) {
    t.log('not every cell was run');
    t.pass();
    return;
  }
  const table = formatTable(rows);
  if (process.env.EXONET_SIMULATE === 'write') writeFileSync(TABLE, table);
  t.true(existsSync(TABLE), 'there is no table yet: make simulate');
  t.is(
    readFileSync(TABLE, 'utf8'),
    table,
    'behaviour has changed; if it is meant to, make simulate and commit the table',
  );
});

function formatFaults(cell: Cell): string {
  const { loss, reordering, duplication, corruption } = cell;
  const percent = (rate: number) => `${rate * 100}%`;
  return `loss ${percent(loss)} reorder ${percent(reordering)} duplicate ${percent(duplication)} corrupt ${percent(corruption)}`;
}

function formatRow(cell: Cell, world: World): string {
  const elapsedMs = Math.round(world.clock.nowUs() / 1000);
  const kilobytesPerSecond = Math.round((2 * BYTES_EACH_WAY) / 1024 / (elapsedMs / 1000));
  const sum = (name: 'segmentsSent' | 'segmentsRetransmitted' | 'fastRetransmits' | 'timeouts') =>
    world.a.tcp.counters.get(name) + world.b.tcp.counters.get(name);
  const columns = [
    ...[cell.loss, cell.reordering, cell.duplication, cell.corruption].map((rate) => `${rate * 100}%`),
    elapsedMs,
    kilobytesPerSecond,
    sum('segmentsSent'),
    sum('segmentsRetransmitted'),
    sum('fastRetransmits'),
    sum('timeouts'),
  ];
  return `| ${columns.join(' | ')} |`;
}

function formatTable(lines: readonly string[]): string {
  return `# 1 MiB each way at once over 100 Mbit/s, 5 ms each way

Written by \`make simulate\`; time is virtual, so every figure is exact.

| loss | reorder | duplicate | corrupt | ms | KiB/s | segments | retransmitted | fast retransmits | time-outs |
|---|---|---|---|---|---|---|---|---|---|
${lines.join('\n')}
`;
}
