import test from 'ava';
import { FRAME_OFFSET_BYTES } from '../../src/driver/device.ts';
import { SlotPool } from '../../src/exokernel/slot-pool.ts';
import { Arena } from '../../src/runtime/arena.ts';

function createPool(slots: number, slotBytes = 1000) {
  const arena = new Arena(1 << 20);
  const pool = new SlotPool(arena, slotBytes);
  pool.growTo(slots);
  return { arena, pool };
}

test('hands out each slot once, far enough from the next', (t) => {
  const { arena, pool } = createPool(10);
  const taken: number[] = [];
  for (let at = pool.take(); at !== 0; at = pool.take()) taken.push(at);
  t.is(taken.length, 10);
  taken.sort((a, b) => a - b);
  for (let i = 1; i < taken.length; i++) t.true((taken[i] as number) - (taken[i - 1] as number) >= 1000);
  for (const at of taken) t.is((at - FRAME_OFFSET_BYTES) % 64, 0);
  t.true((taken[9] as number) - FRAME_OFFSET_BYTES + 1000 <= arena.usedBytes);
  t.is(pool.free, 0);
});

test('uses the same slots again and again', (t) => {
  const { pool } = createPool(10);
  const first = pool.take();
  pool.lend(first, 3);
  pool.giveBack(first, 3);
  t.is(pool.take(), first);
});

test('grows and keeps what there is', (t) => {
  const { pool } = createPool(4);
  const kept = pool.take();
  pool.lend(kept, 1);
  pool.growTo(3);
  t.is(pool.total, 4);
  pool.growTo(9);
  t.is(pool.total, 9);
  t.is(pool.free, 8);
  const taken = new Set([kept]);
  for (let at = pool.take(); at !== 0; at = pool.take()) taken.add(at);
  t.is(taken.size, 9);
  pool.giveBack(kept, 1);
  t.is(pool.take(), kept);
});

test('takes a slot back from its borrower only, and once', (t) => {
  const { arena, pool } = createPool(4);
  const at = pool.take();
  const other = pool.take();
  pool.lend(at, 1);
  const wrong = [0, 1, -5, at + 1, at + 64, at - FRAME_OFFSET_BYTES, 2 ** 31 - 1, 2 ** 40, Number.NaN, other];
  for (const position of wrong) t.throws(() => pool.giveBack(position, 1), { instanceOf: RangeError });
  t.throws(() => pool.giveBack(at, 2), { instanceOf: RangeError });
  t.throws(() => pool.lend(at, 2), { instanceOf: RangeError });
  // A slot whose mark has been overwritten is not taken for another one.
  const mark = (at - FRAME_OFFSET_BYTES) >>> 2;
  const slot = arena.words[mark] as number;
  for (const forged of [slot + 1, 0xffffffff]) {
    arena.words[mark] = forged;
    t.throws(() => pool.giveBack(at, 1), { instanceOf: RangeError });
  }
  arena.words[mark] = slot;
  pool.giveBack(at, 1);
  t.throws(() => pool.giveBack(at, 1), { instanceOf: RangeError });
  t.is(pool.free, 3);
});

test('takes everything back from one borrower', (t) => {
  const { pool } = createPool(6);
  for (const borrower of [1, 2, 1, 1, 0]) pool.lend(pool.take(), borrower);
  t.is(pool.giveBackAll(1), 3);
  t.is(pool.free, 4);
  t.is(pool.giveBackAll(1), 0);
  t.is(pool.giveBackAll(0), 1);
});
