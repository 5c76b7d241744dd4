import test from 'ava';
import type { Clock } from '../../src/runtime/clock.ts';
import { TICK_US, TimerWheel } from '../../src/runtime/timer-wheel.ts';

const CLOCK: Clock = { nowUs: () => 0, wallMs: () => 0 };

test('an alarm goes off once, at its microsecond, whatever the ticks', (t) => {
  const wheel = new TimerWheel(CLOCK);
  let rung = 0;
  const alarm = wheel.alarms.create(() => rung++);
  t.is(wheel.nextDeadlineUs(), Number.POSITIVE_INFINITY);
  alarm.deadlineUs = 1234;
  t.is(wheel.nextDeadlineUs(), 1234);
  t.is(wheel.advance(1233), 0);
  t.is(wheel.advance(1234), 1);
  t.is(rung, 1);
  t.is(wheel.nextDeadlineUs(), Number.POSITIVE_INFINITY);
  t.is(wheel.advance(10 * TICK_US), 0);
});

test('alarms and timers: the earlier of them is the next deadline, and one call lets both go off', (t) => {
  const wheel = new TimerWheel(CLOCK);
  const seen: string[] = [];
  const timer = wheel.create(
    wheel.addKind(() => seen.push('timer')),
    0,
  );
  const first = wheel.alarms.create(() => seen.push('first'));
  const second = wheel.alarms.create(() => {
    seen.push('second');
    second.deadlineUs = 5000;
  });
  wheel.schedule(timer, 2 * TICK_US);
  first.deadlineUs = 3000;
  second.deadlineUs = 2000;
  t.is(wheel.nextDeadlineUs(), 2000);
  t.is(wheel.advance(2000), 1);
  t.is(wheel.nextDeadlineUs(), 2 * TICK_US);
  t.is(wheel.advance(4000), 2);
  t.deepEqual(seen, ['second', 'first', 'timer']);
  t.is(wheel.nextDeadlineUs(), 5000);
  second.deadlineUs = Number.POSITIVE_INFINITY;
  t.is(wheel.nextDeadlineUs(), Number.POSITIVE_INFINITY);
});
