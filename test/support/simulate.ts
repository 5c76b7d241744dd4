/** A test against a host in simulation: makes its world, and at the end looks for what the host has not given back. */
import test, { type ExecutionContext } from 'ava';
import { RawWorld, type RawWorldOptions, TIMER_LATE_US } from './raw-world.ts';

export function simulate(
  title: string,
  body: (t: ExecutionContext, world: RawWorld) => void,
  options: RawWorldOptions = {},
): void {
  test(title, (t) => {
    const world = new RawWorld(options);
    body(t, world);
    t.deepEqual(world.leaks(), []);
    world.close();
  });
}

/** Asserts that a timer's work was done when it was due: never early, and at most a tick of the wheel late. */
export function assertOnTime(t: ExecutionContext, actualUs: number, dueUs: number, what = 'timer'): void {
  const lateUs = actualUs - dueUs;
  t.true(lateUs >= 0 && lateUs <= TIMER_LATE_US, `${what} due at ${dueUs} us, done ${lateUs} us after that`);
}
