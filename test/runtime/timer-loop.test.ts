import { setImmediate as afterImmediates, setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { MonotonicClock } from '../../src/runtime/clock.ts';
import { TimerLoop } from '../../src/runtime/timer-loop.ts';

const HOUR_US = 3_600_000_000;

/** A loop with a timer that counts, and the turns it has taken; the test that made it stops it. */
function createLoop() {
  const loop = new TimerLoop();
  const seen = { turns: 0, fired: 0 };
  loop.onTurn = () => {
    seen.turns++;
  };
  const timer = loop.timers.create(
    loop.timers.addKind(() => {
      seen.fired++;
    }),
    0,
  );
  return { loop, seen, timer };
}

async function waitUntil(condition: () => boolean) {
  for (let i = 0; i < 5000 && !condition(); i++) await delay(1);
}

/** Long enough for the loop to have come round several times. */
async function comeRound() {
  for (let i = 0; i < 5; i++) await afterImmediates();
}

test('a timer that an event sets runs at its time, though no turn had been due', async (t) => {
  const { loop, seen, timer } = createLoop();
  loop.start();
  await waitUntil(() => seen.turns === 1);
  await comeRound();
  t.is(seen.turns, 1);
  loop.clock.look();
  loop.timers.scheduleAfter(timer, 2000);
  loop.eventHandled();
  await waitUntil(() => seen.fired === 1);
  t.is(seen.fired, 1);
  loop.stop();
});

test('an event that sets no earlier timer takes no turn', async (t) => {
  const { loop, seen, timer } = createLoop();
  loop.timers.scheduleAfter(timer, HOUR_US);
  loop.start();
  await waitUntil(() => seen.turns === 1);
  loop.eventHandled();
  loop.timers.scheduleAfter(timer, 2 * HOUR_US);
  loop.eventHandled();
  await comeRound();
  t.is(seen.turns, 1);
  loop.wake();
  await waitUntil(() => seen.turns === 2);
  t.is(seen.turns, 2);
  t.is(seen.fired, 0);
  loop.stop();
});

test('the time of a turn is the real clock’s when it begins, and stands still in it', async (t) => {
  let realUs = 1000;
  const real = new MonotonicClock();
  const loop = new TimerLoop({ nowUs: () => realUs++, wallMs: () => real.wallMs() });
  const times: number[] = [];
  loop.onTurn = () => times.push(loop.clock.nowUs(), loop.clock.nowUs());
  const beforeUs = loop.clock.nowUs();
  loop.start();
  await waitUntil(() => times.length > 0);
  loop.stop();
  t.true((times[0] as number) > beforeUs);
  t.is(times[0], times[1]);
});

test('a stopped loop runs no timer', async (t) => {
  const { loop, seen, timer } = createLoop();
  loop.start();
  await waitUntil(() => seen.turns === 1);
  loop.clock.look();
  loop.timers.scheduleAfter(timer, 1000);
  loop.eventHandled();
  loop.stop();
  await delay(20);
  t.is(seen.fired, 0);
});
