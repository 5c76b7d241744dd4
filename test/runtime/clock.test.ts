import test from 'ava';
import { MonotonicClock } from '../../src/runtime/clock.ts';

test('counts whole microseconds from about zero and never goes back', (t) => {
  const clock = new MonotonicClock();
  let last = clock.nowUs();
  t.true(last >= 0 && last < 1_000_000);
  for (let i = 0; i < 10_000; i++) {
    const nowUs = clock.nowUs();
    if (nowUs < last || !Number.isInteger(nowUs)) t.fail(`${nowUs} after ${last}`);
    last = nowUs;
  }
});

test('goes at the speed of real time', async (t) => {
  const clock = new MonotonicClock();
  const before = clock.nowUs();
  await new Promise((resolve) => setTimeout(resolve, 30));
  const elapsedUs = clock.nowUs() - before;
  t.true(elapsedUs >= 28_000 && elapsedUs < 5_000_000, `${elapsedUs}`);
});

test('knows the wall time', (t) => {
  t.true(Math.abs(new MonotonicClock().wallMs() - Date.now()) < 1000);
});
