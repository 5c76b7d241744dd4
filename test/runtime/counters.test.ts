import test from 'ava';
import { Counters, nonZero } from '../../src/runtime/counters.ts';

test('counts by index and reads by name', (t) => {
  const counters = new Counters(['a', 'b'] as const);
  counters.increment(0);
  counters.increment(0);
  counters.add(1, 2 ** 40);
  t.is(counters.get('a'), 2);
  t.is(counters.get('b'), 2 ** 40);
  const before = counters.snapshot();
  t.deepEqual(before, { a: 2, b: 2 ** 40 });
  counters.increment(1);
  t.is(before.b, 2 ** 40);
  t.deepEqual(counters.names, ['a', 'b']);
  t.is(counters.values[1], 2 ** 40 + 1);
});

test('what has been counted is what is not zero', (t) => {
  const counters = new Counters(['a', 'b', 'c'] as const);
  counters.increment(1);
  t.deepEqual(nonZero(counters.snapshot()), { b: 1 });
  t.deepEqual(nonZero({}), {});
});

test('refuses unknown and repeated names', (t) => {
  const counters = new Counters<string>(['a']);
  t.throws(() => counters.get('b'), { instanceOf: RangeError });
  t.throws(() => new Counters(['a', 'a']), { instanceOf: RangeError });
});
