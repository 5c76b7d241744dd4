import test from 'ava';
import type { FaultRates } from '../../src/driver/faults.ts';
import { FAULT_CORRUPTED, FAULT_DUPLICATED, FAULT_LOST, FAULT_REORDERED, Faults } from '../../src/driver/faults.ts';

const ROLLS = 20_000;

function roll(rates: FaultRates, seed: number): number[] {
  const faults = new Faults(rates, seed);
  return Array.from({ length: ROLLS }, () => faults.roll());
}

function share(rolls: number[], fault: number): number {
  return rolls.filter((roll) => (roll & fault) !== 0).length / rolls.length;
}

test('a good wire spares every frame', (t) => {
  t.true(roll({}, 1).every((fate) => fate === 0));
});

test('a cut wire loses every frame', (t) => {
  t.true(roll({ loss: 1 }, 1).every((fate) => fate === FAULT_LOST));
});

test('faults happen as often as asked, each by itself', (t) => {
  const rolls = roll({ loss: 0.2, duplication: 0.1, reordering: 0.05, corruption: 0.01 }, 7);
  t.true(Math.abs(share(rolls, FAULT_LOST) - 0.2) < 0.01);
  t.true(Math.abs(share(rolls, FAULT_DUPLICATED) - 0.1) < 0.01);
  t.true(Math.abs(share(rolls, FAULT_REORDERED) - 0.05) < 0.005);
  t.true(Math.abs(share(rolls, FAULT_CORRUPTED) - 0.01) < 0.003);
  const lost = rolls.filter((fate) => (fate & FAULT_LOST) !== 0);
  t.true(Math.abs(share(lost, FAULT_DUPLICATED) - 0.1) < 0.02);
});

test('the same seed rolls the same, another does not', (t) => {
  const rates = { loss: 0.3, corruption: 0.3 };
  t.deepEqual(roll(rates, 5), roll(rates, 5));
  t.notDeepEqual(roll(rates, 5), roll(rates, 6));
});

test('one rate leaves the rolls of the others alone', (t) => {
  const few = roll({ loss: 0.1, corruption: 0.2 }, 3).map((fate) => fate & FAULT_LOST);
  const many = roll({ loss: 0.1, corruption: 0.9, duplication: 0.5 }, 3).map((fate) => fate & FAULT_LOST);
  t.deepEqual(few, many);
});

test('rates may change on the way', (t) => {
  const faults = new Faults({ loss: 1 }, 1);
  t.is(faults.roll(), FAULT_LOST);
  faults.setRates({});
  t.is(faults.roll(), 0);
});

test('a late frame is late by 1 us to the limit', (t) => {
  const faults = new Faults({ reorderingUs: 10 }, 2);
  const late = new Set(Array.from({ length: 1000 }, () => faults.lateUs()));
  t.deepEqual([...late].sort(byNumber), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('exactly one bit flips, anywhere in the frame and nowhere else', (t) => {
  const faults = new Faults({}, 2);
  const hit = new Set<number>();
  for (let i = 0; i < 2000; i++) {
    const bytes = new Uint8Array(30);
    faults.flipBit(bytes, 10, 10);
    const at = bytes.findIndex((byte) => byte !== 0);
    const byte = bytes[at] ?? 0;
    t.is(byte & (byte - 1), 0);
    t.is(bytes.filter((other) => other !== 0).length, 1);
    hit.add(at * 8 + Math.log2(byte));
  }
  t.deepEqual(
    [...hit].sort(byNumber),
    Array.from({ length: 80 }, (_, i) => 80 + i),
  );
});

test('a rate is a probability', (t) => {
  t.throws(() => new Faults({ loss: 1.1 }, 1), { instanceOf: RangeError });
  t.throws(() => new Faults({ corruption: -0.1 }, 1), { instanceOf: RangeError });
  t.throws(() => new Faults({ duplication: Number.NaN }, 1), { instanceOf: RangeError });
  t.throws(() => new Faults({ reorderingUs: 0 }, 1), { instanceOf: RangeError });
});

function byNumber(a: number, b: number): number {
  return a - b;
}
