import test from 'ava';
import fc from 'fast-check';
import { VirtualClock } from '../../src/runtime/virtual-clock.ts';

test('stands still until it is told to move', (t) => {
  const clock = new VirtualClock();
  t.is(clock.nowUs(), 0);
  t.is(clock.wallMs(), Date.UTC(2026, 0, 1));
  t.is(clock.nextEventUs(), Number.POSITIVE_INFINITY);
  t.false(clock.step());
  clock.runUntil(5_000_999);
  t.is(clock.nowUs(), 5_000_999);
  t.is(clock.wallMs(), Date.UTC(2026, 0, 1, 0, 0, 5));
  clock.runUntil(10);
  t.is(clock.nowUs(), 5_000_999);
});

test('an event runs at its time', (t) => {
  const clock = new VirtualClock();
  const seen: number[] = [];
  clock.at(300, () => seen.push(clock.nowUs()));
  clock.at(100, () => seen.push(clock.nowUs()));
  t.is(clock.nextEventUs(), 100);
  clock.runUntil(99);
  t.deepEqual(seen, []);
  clock.runUntil(100);
  t.deepEqual(seen, [100]);
  t.true(clock.step());
  t.deepEqual(seen, [100, 300]);
  t.is(clock.nowUs(), 300);
});

test('events that events add run in the same sweep; the past means now', (t) => {
  const clock = new VirtualClock();
  const seen: string[] = [];
  clock.at(10, () => {
    seen.push('a');
    clock.at(10, () => seen.push('b'));
    clock.at(3, () => seen.push(`c ${clock.nowUs()}`));
    clock.at(21, () => seen.push('d'));
    clock.at(20.5, () => seen.push(`e ${clock.nowUs()}`));
  });
  clock.runUntil(20);
  t.deepEqual(seen, ['a', 'b', 'c 10']);
  clock.runUntil(21);
  t.deepEqual(seen, ['a', 'b', 'c 10', 'd', 'e 21']);
});

test('never is no event, and a time is needed', (t) => {
  const clock = new VirtualClock();
  clock.at(Number.POSITIVE_INFINITY, () => t.fail());
  t.is(clock.nextEventUs(), Number.POSITIVE_INFINITY);
  t.throws(() => clock.at(Number.NaN, () => {}), { instanceOf: RangeError });
  t.throws(() => clock.runUntil(Number.POSITIVE_INFINITY), { instanceOf: RangeError });
});

test('runs in the order of time, and of insertion at the same time', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(30), { maxLength: 100, size: 'max' }), (times) => {
      const clock = new VirtualClock();
      const seen: [number, number][] = [];
      for (const [index, timeUs] of times.entries()) clock.at(timeUs, () => seen.push([clock.nowUs(), index]));
      clock.runUntil(30);
      const expected = times.map((timeUs, index) => [timeUs, index] as [number, number]);
      expected.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
      t.deepEqual(seen, expected);
    }),
  );
});
