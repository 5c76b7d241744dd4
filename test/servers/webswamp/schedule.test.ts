/** The open loop's schedule: what is due by a time is what has its time by then. */
import test from 'ava';
import fc from 'fast-check';
import { Schedule } from '../../../src/servers/webswamp/schedule.ts';

test('requests are due at even intervals from the start', (t) => {
  const schedule = new Schedule(1000, 4, 2_000_000, Number.POSITIVE_INFINITY);
  t.is(schedule.length, 8);
  t.deepEqual(
    [0, 1, 7].map((index) => schedule.timeUs(index)),
    [1000, 251_000, 1_751_000],
  );
  t.is(schedule.dueBy(999), 0);
  t.is(schedule.dueBy(1000), 1);
  t.is(schedule.dueBy(250_999), 1);
  t.is(schedule.dueBy(251_000), 2);
  t.is(schedule.dueBy(100_000_000), 8);
});

test('a number of requests ends it too', (t) => {
  t.is(new Schedule(0, 1000, Number.POSITIVE_INFINITY, 17).length, 17);
  t.is(new Schedule(0, 1000, 1_000_000, 17).length, 17);
  t.is(new Schedule(0, 10, 1_000_000, 17).length, 10);
});

test('dueBy is the inverse of timeUs, for any rate', (t) => {
  const rate = fc.oneof(fc.integer({ min: 1, max: 10_000_000 }), fc.double({ min: 0.01, max: 1e6, noNaN: true }));
  fc.assert(
    fc.property(
      rate,
      fc.integer({ min: 0, max: 2 ** 40 }),
      fc.integer({ min: 0, max: 100_000 }),
      (perSecond, start, index) => {
        const schedule = new Schedule(start, perSecond, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
        const due = schedule.dueBy(schedule.timeUs(index));
        t.true(due >= index + 1);
        t.true(schedule.timeUs(due) > schedule.timeUs(index));
        t.true(schedule.dueBy(schedule.timeUs(index) - 1) <= index);
      },
    ),
    { numRuns: 2000 },
  );
});
