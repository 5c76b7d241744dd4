/** The index of flows against a model: whatever goes in and out, it knows what a map knows. */
import test from 'ava';
import fc from 'fast-check';
import { FlowIndex, NOT_FOUND, packPorts, swapPorts } from '../../../src/servers/forwarder/flow-index.ts';

const KEY = { low: 0x1234, high: 0x5678 };
const ENTRIES = 32;

/** Few addresses and ports, so that keys meet again. */
const key = fc.tuple(fc.constantFrom(0, 1, -1, 0x0a000001), fc.integer({ min: 0, max: 9 }), fc.constantFrom(7, -7));
const step = fc.record({ key, insert: fc.boolean() });

test('an index is a map from keys to numbers', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const index = new FlowIndex(ENTRIES, KEY);
      const model = new Map<string, { key: readonly [number, number, number]; value: number }>();
      for (const [value, { key: one, insert }] of steps.entries()) {
        const name = one.join();
        if (!insert) {
          index.delete(...one);
          model.delete(name);
        } else if (!model.has(name) && model.size < ENTRIES) {
          index.insert(...one, value);
          model.set(name, { key: one, value });
        }
        t.is(index.size, model.size);
        for (const { key: known, value: expected } of model.values()) t.is(index.find(...known), expected);
        if (!model.has(name)) t.is(index.find(...one), NOT_FOUND);
      }
    }),
    { numRuns: 200 },
  );
});

test('what is there twice, or too much, is a mistake of ours', (t) => {
  const index = new FlowIndex(2, KEY);
  index.insert(1, 2, 3, 4);
  t.throws(() => index.insert(1, 2, 3, 5), { instanceOf: RangeError });
  index.insert(2, 2, 3, 4);
  t.throws(
    () => {
      for (let n = 3; n < 10; n++) index.insert(n, 2, 3, 4);
    },
    { instanceOf: RangeError },
  );
});

test('ports in one word', (t) => {
  t.is(packPorts(0xffff, 1), 0xffff0001 | 0);
  t.is(swapPorts(packPorts(0xffff, 1)), 0x0001ffff);
  t.is(swapPorts(swapPorts(packPorts(80, 40_000))), packPorts(80, 40_000));
});
