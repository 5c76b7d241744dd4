import test from 'ava';
import fc from 'fast-check';
import type { Clock } from '../../src/runtime/clock.ts';
import { TICK_US, TimerWheel } from '../../src/runtime/timer-wheel.ts';

const DAY_US = 86_400_000_000;
const SPAN_TICKS = 2 ** 30;

/** A clock that stands still. */
function at(nowUs: number): Clock {
  return { nowUs: () => nowUs, wallMs: () => 0 };
}

/** A wheel with one kind of timer that notes what fires. */
function createWheel(nowUs = 0, capacity = 4) {
  const wheel = new TimerWheel(at(nowUs), capacity);
  const fired: number[] = [];
  const kind = wheel.addKind((argument) => fired.push(argument));
  return { wheel, kind, fired };
}

/** Advances to each `nextDeadlineUs` in turn until something fires; returns when that was and after how many steps. */
function runToNext(wheel: TimerWheel, fired: readonly number[]): { atUs: number; steps: number } {
  const before = fired.length;
  let steps = 0;
  let atUs = 0;
  while (fired.length === before && wheel.nextDeadlineUs() !== Number.POSITIVE_INFINITY) {
    atUs = wheel.nextDeadlineUs();
    wheel.advance(atUs);
    steps++;
  }
  return { atUs, steps };
}

test('fires once, not before the deadline and within a tick of it', (t) => {
  const { wheel, kind, fired } = createWheel();
  const id = wheel.create(kind, 7);
  t.false(wheel.isArmed(id));
  t.is(wheel.deadlineUs(id), Number.POSITIVE_INFINITY);
  wheel.schedule(id, 10_000);
  t.true(wheel.isArmed(id));
  t.is(wheel.deadlineUs(id), 10_000);
  t.is(wheel.advance(9_999), 0);
  t.is(wheel.advance(10_000 + TICK_US), 1);
  t.deepEqual(fired, [7]);
  t.false(wheel.isArmed(id));
  t.is(wheel.advance(DAY_US), 0);
  t.is(wheel.armed, 0);
  t.is(wheel.live, 1);
});

test('a deadline on a tick fires at that very microsecond', (t) => {
  const { wheel, kind, fired } = createWheel();
  wheel.schedule(wheel.create(kind, 1), 100 * TICK_US);
  wheel.advance(100 * TICK_US - 1);
  t.deepEqual(fired, []);
  t.is(wheel.nextDeadlineUs(), 100 * TICK_US);
  wheel.advance(100 * TICK_US);
  t.deepEqual(fired, [1]);
});

test('cancelled and destroyed timers do not fire', (t) => {
  const { wheel, kind, fired } = createWheel();
  const cancelled = wheel.create(kind, 1);
  const destroyed = wheel.create(kind, 2);
  const never = wheel.create(kind, 3);
  wheel.schedule(cancelled, 5000);
  wheel.schedule(destroyed, 5000);
  wheel.schedule(never, 5000);
  wheel.cancel(cancelled);
  wheel.cancel(cancelled);
  wheel.destroy(destroyed);
  wheel.schedule(never, Number.POSITIVE_INFINITY);
  t.is(wheel.armed, 0);
  t.is(wheel.nextDeadlineUs(), Number.POSITIVE_INFINITY);
  wheel.advance(DAY_US);
  t.deepEqual(fired, []);
});

test('an id is used again with its own kind and argument, and not armed', (t) => {
  const { wheel, kind, fired } = createWheel();
  const other: number[] = [];
  const otherKind = wheel.addKind((argument) => other.push(argument));
  const first = wheel.create(kind, 1);
  wheel.schedule(first, 5000);
  wheel.destroy(first);
  const second = wheel.create(otherKind, 2);
  t.is(second, first);
  t.false(wheel.isArmed(second));
  wheel.schedule(second, 6000);
  wheel.setArgument(second, -3);
  wheel.advance(DAY_US);
  t.deepEqual(fired, []);
  t.deepEqual(other, [-3]);
});

test('misuse throws', (t) => {
  const { wheel, kind } = createWheel();
  const id = wheel.create(kind, 0);
  wheel.destroy(id);
  for (const misuse of [
    () => wheel.schedule(id, 1),
    () => wheel.cancel(id),
    () => wheel.destroy(id),
    () => wheel.isArmed(id),
    () => wheel.deadlineUs(id),
    () => wheel.setArgument(id, 1),
    () => wheel.schedule(0, 1),
    () => wheel.schedule(1, 1),
    () => wheel.schedule(-1, 1),
    () => wheel.schedule(1e9, 1),
    () => wheel.create(kind + 1, 0),
    () => wheel.schedule(wheel.create(kind, 0), Number.NaN),
    () => new TimerWheel(at(0), 0),
    () => new TimerWheel(at(0), 1, 0),
  ]) {
    t.throws(misuse, { instanceOf: RangeError });
  }
});

test('room doubles up to the limit', (t) => {
  const wheel = new TimerWheel(at(0), 2, 5);
  const kind = wheel.addKind(() => {});
  const ids = [1, 2, 3, 4, 5].map((argument) => wheel.create(kind, argument));
  t.is(new Set(ids).size, 5);
  t.throws(() => wheel.create(kind, 6), { instanceOf: RangeError });
  wheel.destroy(ids[2] as number);
  t.true(wheel.create(kind, 6) === ids[2]);
  t.is(wheel.live, 5);
});

test('a timer that is scheduled later moves without firing early', (t) => {
  const { wheel, kind, fired } = createWheel();
  const id = wheel.create(kind, 1);
  wheel.schedule(id, 200_000);
  for (let nowUs = 0; nowUs < 10_000_000; nowUs += 10_000) {
    wheel.advance(nowUs);
    wheel.schedule(id, nowUs + 200_000);
  }
  t.deepEqual(fired, []);
  t.is(wheel.armed, 1);
  const { atUs } = runToNext(wheel, fired);
  t.true(atUs >= 10_190_000 && atUs < 10_190_000 + TICK_US);
});

test('a timer that is scheduled earlier fires earlier, also one that had been put off', (t) => {
  const { wheel, kind, fired } = createWheel();
  const id = wheel.create(kind, 1);
  wheel.schedule(id, 50_000);
  wheel.schedule(id, 5_000_000);
  wheel.schedule(id, 30_000);
  t.is(wheel.armed, 1);
  const { atUs } = runToNext(wheel, fired);
  t.true(atUs >= 30_000 && atUs < 30_000 + TICK_US);
  t.is(wheel.armed, 0);
});

test('a deadline in the past fires with the next tick', (t) => {
  const { wheel, kind, fired } = createWheel(1_000_000);
  wheel.schedule(wheel.create(kind, 1), 5);
  wheel.schedule(wheel.create(kind, 2), -5);
  const nextUs = wheel.nextDeadlineUs();
  t.true(nextUs > 1_000_000 && nextUs <= 1_000_000 + TICK_US);
  t.is(wheel.advance(nextUs), 2);
  t.deepEqual(fired, [1, 2]);
});

test('time that goes backwards or stands still changes nothing', (t) => {
  const { wheel, kind, fired } = createWheel(1_000_000);
  wheel.schedule(wheel.create(kind, 1), 1_500_000);
  t.is(wheel.advance(999), 0);
  t.is(wheel.advance(1_000_000), 0);
  wheel.advance(1_500_000 + TICK_US);
  t.deepEqual(fired, [1]);
});

for (const [name, deadlineUs] of [
  ['an hour', 3_600_000_000],
  ['a day', DAY_US],
  ['twelve days, the span', SPAN_TICKS * TICK_US],
  ['thirty days', 30 * DAY_US],
  ['sixty days', 60 * DAY_US],
  ['ten years', 3650 * DAY_US],
] as const) {
  test(`${name} ahead`, (t) => {
    for (const startUs of [0, 12_345_678, 2 ** 41 - 5, SPAN_TICKS * TICK_US - 1, 2 ** 32 * TICK_US - 3, 2 ** 50]) {
      const { wheel, kind, fired } = createWheel(startUs);
      wheel.schedule(wheel.create(kind, 1), startUs + deadlineUs);
      const { atUs, steps } = runToNext(wheel, fired);
      t.true(atUs >= startUs + deadlineUs && atUs < startUs + deadlineUs + TICK_US);
      // One step a level, and one for each span on the way.
      t.true(steps <= 6 + deadlineUs / (SPAN_TICKS * TICK_US) + 1, `${steps} steps`);
      // And in one leap.
      const leap = createWheel(startUs);
      leap.wheel.schedule(leap.wheel.create(leap.kind, 1), startUs + deadlineUs);
      t.is(leap.wheel.advance(startUs + deadlineUs - 1), 0);
      t.is(leap.wheel.advance(startUs + deadlineUs + TICK_US), 1);
    }
  });
}

test('a deadline beyond the span can be brought forward and cancelled', (t) => {
  const { wheel, kind, fired } = createWheel();
  const id = wheel.create(kind, 1);
  const other = wheel.create(kind, 2);
  wheel.schedule(id, 300 * DAY_US);
  wheel.schedule(other, 300 * DAY_US);
  wheel.schedule(id, 200 * DAY_US);
  wheel.cancel(other);
  wheel.schedule(id, 5000);
  t.true(runToNext(wheel, fired).atUs < 5000 + TICK_US);
  t.is(wheel.nextDeadlineUs(), Number.POSITIVE_INFINITY);
});

test('handlers may reschedule, cancel, create and destroy any timer, themselves included', (t) => {
  const wheel = new TimerWheel(at(0), 1);
  const log: string[] = [];
  const ids: number[] = [];
  const note = wheel.addKind((argument) => log.push(`note ${argument}`));
  const act = wheel.addKind((argument) => {
    log.push(`act ${argument}`);
    if (argument === 0) wheel.schedule(ids[0] as number, 3000);
    if (argument === 1) wheel.destroy(ids[1] as number);
    if (argument === 2) wheel.cancel(ids[3] as number);
    if (argument === 4) wheel.destroy(ids[5] as number);
    if (argument === 6) {
      // Growth in the middle of an advance.
      for (let i = 0; i < 100; i++) wheel.schedule(wheel.create(note, i), 5000 + i);
    }
  });
  for (let argument = 0; argument < 8; argument++) {
    const id = wheel.create(act, argument);
    ids.push(id);
    wheel.schedule(id, 1000);
  }
  t.is(wheel.advance(TICK_US), 6);
  t.deepEqual(log, ['act 0', 'act 1', 'act 2', 'act 4', 'act 6', 'act 7']);
  t.is(wheel.live, 8 - 2 + 100);
  t.is(wheel.armed, 101);
  log.length = 0;
  t.is(wheel.advance(10_000), 101);
  t.is(log.length, 101);
  t.is(log[0], 'act 0');
});

test('what a handler schedules into the past waits for the next advance, so that advance ends', (t) => {
  const wheel = new TimerWheel(at(0));
  let count = 0;
  const kind = wheel.addKind(() => {
    count++;
    wheel.schedule(id, 0);
  });
  const id = wheel.create(kind, 0);
  wheel.schedule(id, 1);
  t.is(wheel.advance(DAY_US), 1);
  t.true(wheel.nextDeadlineUs() > DAY_US);
  t.is(wheel.advance(2 * DAY_US), 1);
  t.is(count, 2);
});

test('a handler cannot advance the wheel; a handler that throws spoils nothing', (t) => {
  const wheel = new TimerWheel(at(0));
  const fired: number[] = [];
  const nested = wheel.addKind(() => {
    wheel.advance(DAY_US);
  });
  const note = wheel.addKind((argument) => fired.push(argument));
  wheel.schedule(wheel.create(nested, 0), 1000);
  wheel.schedule(wheel.create(note, 1), 1000);
  wheel.schedule(wheel.create(note, 2), 9000);
  t.throws(() => wheel.advance(5000), { message: /cannot advance/ });
  wheel.advance(20_000);
  t.deepEqual(fired, [1, 2]);
  t.is(wheel.armed, 0);
});

test('a hundred thousand timers fire in the order of their ticks', (t) => {
  const { wheel, kind, fired } = createWheel();
  const deadlines: number[] = [];
  let state = 1;
  for (let i = 0; i < 100_000; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    const deadlineUs = (state >>> 0) * 3;
    deadlines.push(deadlineUs);
    wheel.schedule(wheel.create(kind, i), deadlineUs);
  }
  t.is(wheel.armed, 100_000);
  t.is(wheel.advance(2 ** 32 * 3 + TICK_US), 100_000);
  t.is(new Set(fired).size, 100_000);
  let lastTick = 0;
  let sorted = true;
  for (const index of fired) {
    const tick = Math.max(1, Math.ceil((deadlines[index] as number) / TICK_US));
    if (tick < lastTick) sorted = false;
    lastTick = tick;
  }
  t.true(sorted);
  t.is(wheel.armed, 0);
});

type Command =
  | { readonly do: 'schedule'; readonly timer: number; readonly deltaUs: number; readonly after: boolean }
  /** From now on the timer's handler schedules it again; what it is given may lie in the past. */
  | { readonly do: 'repeat'; readonly timer: number; readonly deltaUs: number; readonly times: number }
  | { readonly do: 'cancel' | 'destroy'; readonly timer: number }
  | { readonly do: 'create' }
  | { readonly do: 'advance'; readonly deltaUs: number }
  | { readonly do: 'advanceToNext' };

/** Durations of all sizes, so that every level of the wheel has its share. */
const duration = fc.oneof(
  fc.integer({ min: 0, max: 3000 }),
  fc.integer({ min: 0, max: 200_000 }),
  fc.integer({ min: 0, max: 20_000_000 }),
  fc.integer({ min: 0, max: 10_000_000_000 }),
  fc.integer({ min: 0, max: 40 * DAY_US }),
  fc.integer({ min: 0, max: 60 }).map((exponent) => Math.min(2 ** exponent, 2 ** 46)),
);

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('schedule' as const),
      timer: fc.nat(20),
      deltaUs: duration,
      after: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('repeat' as const),
      timer: fc.nat(20),
      deltaUs: fc.oneof(duration, fc.integer({ min: -1_000_000, max: 0 })),
      times: fc.nat(5),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), timer: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('destroy' as const), timer: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('create' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), deltaUs: duration }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advanceToNext' as const) }) },
);

const start = fc.oneof(
  fc.integer({ min: 0, max: 5000 }),
  fc.integer({ min: SPAN_TICKS * TICK_US - 100_000, max: SPAN_TICKS * TICK_US + 100_000 }),
  fc.integer({ min: 2 ** 32 * TICK_US - 100_000, max: 2 ** 32 * TICK_US + 100_000 }),
  fc.integer({ min: 0, max: 2 ** 50 }),
);

test('a timer that a handler disarms and arms again waits for a later call, even from the slot that is firing', (t) => {
  const wheel = new TimerWheel(at(0));
  const fired: number[] = [];
  const kind = wheel.addKind((argument) => {
    fired.push(argument);
    if (argument !== 1) return;
    wheel.cancel(second);
    wheel.schedule(second, 0);
  });
  const first = wheel.create(kind, 1);
  const second = wheel.create(kind, 2);
  wheel.schedule(first, 5 * TICK_US);
  wheel.schedule(second, 5 * TICK_US);
  t.is(wheel.advance(5 * TICK_US), 1);
  t.deepEqual(fired, [1]);
  t.is(wheel.advance(6 * TICK_US), 1);
  t.deepEqual(fired, [1, 2]);
  t.is(wheel.armed, 0);
});

test('a disarmed timer leaves nothing behind', (t) => {
  const { wheel, kind, fired } = createWheel();
  for (const deadlineUs of [TICK_US, 100 * TICK_US, 100_000 * TICK_US, 2 * SPAN_TICKS * TICK_US]) {
    const id = wheel.create(kind, 1);
    wheel.schedule(id, deadlineUs);
    wheel.cancel(id);
    t.is(wheel.nextDeadlineUs(), Number.POSITIVE_INFINITY);
    t.false(wheel.isArmed(id));
  }
  t.is(wheel.advance(4 * SPAN_TICKS * TICK_US), 0);
  t.deepEqual(fired, []);
});

test('agrees with a sorted list, whatever is done to it', (t) => {
  fc.assert(
    fc.property(start, fc.array(command, { maxLength: 200, size: 'max' }), (startUs, commands) => {
      let nowUs = startUs;
      const wheel = new TimerWheel({ nowUs: () => nowUs, wallMs: () => 0 }, 1);
      const fired: number[] = [];
      const repeats = new Map<number, { deltaUs: number; times: number }>();
      const rescheduled: [number, number][] = [];
      const kind = wheel.addKind((argument) => {
        fired.push(argument);
        const repeat = repeats.get(argument);
        if (repeat === undefined || repeat.times-- <= 0) return;
        wheel.schedule(ids.get(argument) as number, nowUs + repeat.deltaUs);
        rescheduled.push([argument, nowUs + repeat.deltaUs]);
      });
      // The model: by argument, the timer's id and the tick that it is to fire at (Infinity when it is not armed).
      const ids = new Map<number, number>();
      const ticks = new Map<number, number>();
      let created = 0;
      // What the wheel knows of the time, in ticks.
      let nowTick = Math.floor(startUs / TICK_US);

      const advance = (toUs: number) => {
        nowUs = toUs;
        nowTick = Math.max(nowTick, Math.floor(toUs / TICK_US));
        const due = [...ticks].filter(([, tick]) => tick <= nowTick).map(([argument]) => argument);
        fired.length = 0;
        t.is(wheel.advance(nowUs), due.length);
        const order = fired.map((argument) => ticks.get(argument) as number);
        t.deepEqual(
          order,
          [...order].sort((a, b) => a - b),
        );
        t.deepEqual(
          [...fired].sort((a, b) => a - b),
          due.sort((a, b) => a - b),
        );
        for (const argument of due) ticks.set(argument, Number.POSITIVE_INFINITY);
        for (const [argument, deadlineUs] of rescheduled.splice(0)) {
          ticks.set(argument, Math.max(Math.ceil(deadlineUs / TICK_US), nowTick + 1));
        }
        t.true(wheel.nextDeadlineUs() > nowUs);
      };

      for (const step of commands) {
        const argument = 'timer' in step ? [...ids.keys()][step.timer % Math.max(1, ids.size)] : undefined;
        const id = argument === undefined ? undefined : ids.get(argument);
        if (step.do === 'create') {
          ids.set(created, wheel.create(kind, created));
          ticks.set(created, Number.POSITIVE_INFINITY);
          created++;
        } else if (step.do === 'advance') {
          advance(nowUs + step.deltaUs);
        } else if (step.do === 'advanceToNext') {
          const nextUs = wheel.nextDeadlineUs();
          if (nextUs !== Number.POSITIVE_INFINITY) advance(Math.max(nowUs, nextUs));
        } else if (argument !== undefined && id !== undefined) {
          if (step.do === 'schedule') {
            const deadlineUs = nowUs - 2000 + step.deltaUs;
            if (step.after) wheel.scheduleAfter(id, step.deltaUs - 2000);
            else wheel.schedule(id, deadlineUs);
            ticks.set(argument, Math.max(Math.ceil(deadlineUs / TICK_US), nowTick + 1));
            t.is(wheel.deadlineUs(id), deadlineUs);
          } else if (step.do === 'repeat') {
            repeats.set(argument, { deltaUs: step.deltaUs, times: step.times });
          } else if (step.do === 'cancel') {
            wheel.cancel(id);
            ticks.set(argument, Number.POSITIVE_INFINITY);
          } else {
            wheel.destroy(id);
            ids.delete(argument);
            ticks.delete(argument);
          }
        }
        const armed = [...ticks.values()].filter((tick) => tick !== Number.POSITIVE_INFINITY);
        t.is(wheel.live, ids.size);
        t.is(wheel.armed, armed.length);
        const earliest = Math.min(...armed);
        t.true(wheel.nextDeadlineUs() <= earliest * TICK_US);
        t.is(wheel.nextDeadlineUs() === Number.POSITIVE_INFINITY, armed.length === 0);
      }

      // Going from one `nextDeadlineUs` to the next ends: a few steps a timer, and some for each span of a far deadline.
      let steps = 0;
      while (wheel.armed > 0) {
        advance(Math.max(nowUs, wheel.nextDeadlineUs()));
        if (++steps > 20_000) throw new Error('no progress');
      }
    }),
    { numRuns: 400 },
  );
});

test('steady use of the wheel allocates nothing', (t) => {
  const wheel = new TimerWheel(at(0), 1024);
  let count = 0;
  const kind = wheel.addKind(() => {
    count++;
  });
  const ids: number[] = [];
  for (let i = 0; i < 1000; i++) ids.push(wheel.create(kind, i));
  let nowUs = 0;
  const work = () => {
    for (let round = 0; round < 100; round++) {
      for (const id of ids) wheel.schedule(id, nowUs + 500 + id);
      nowUs += 1000;
      wheel.advance(nowUs);
      for (const id of ids) wheel.cancel(id);
    }
  };
  for (let i = 0; i < 20; i++) work();
  // The least of a few rounds: something else may allocate during one of them.
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const before = process.memoryUsage().heapUsed;
    work();
    least = Math.min(least, Math.abs(process.memoryUsage().heapUsed - before));
  }
  t.true(least < 200_000, `${least} bytes for 200 000 calls`);
  t.true(count > 0);
});
