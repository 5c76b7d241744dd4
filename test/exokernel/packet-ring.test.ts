import test from 'ava';
import fc from 'fast-check';
import { PacketRing } from '../../src/exokernel/packet-ring.ts';

test('first in, first out, and no more than there is room for', (t) => {
  const ring = new PacketRing(3);
  t.is(ring.capacity, 4);
  t.is(ring.take(), 0);
  for (let i = 1; i <= 4; i++) t.true(ring.push(i * 100, i));
  t.false(ring.push(500, 5));
  t.is(ring.size, 4);
  t.is(ring.take(), 100);
  t.is(ring.length, 1);
  t.true(ring.push(600, 6));
  for (const i of [2, 3, 4, 6]) {
    t.is(ring.take(), i * 100);
    t.is(ring.length, i);
  }
  t.is(ring.size, 0);
  t.is(ring.take(), 0);
});

test('sizes that make no sense are refused', (t) => {
  for (const frames of [0, -1, 1.5, Number.NaN, 2 ** 20 + 1]) {
    t.throws(() => new PacketRing(frames), { instanceOf: RangeError });
  }
  t.is(new PacketRing(1).capacity, 1);
});

test('agrees with a list', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.array(fc.boolean(), { maxLength: 300, size: 'max' }),
      (frames, steps) => {
        const ring = new PacketRing(frames);
        const list: number[] = [];
        let next = 1;
        for (const push of steps) {
          if (push) {
            t.is(ring.push(next, next + 7), list.length < ring.capacity);
            if (list.length < ring.capacity) list.push(next);
            next++;
          } else {
            const at = list.shift();
            t.is(ring.take(), at ?? 0);
            if (at !== undefined) t.is(ring.length, at + 7);
          }
          t.is(ring.size, list.length);
        }
      },
    ),
  );
});
