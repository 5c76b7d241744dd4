import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as afterImmediates, setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { MonotonicClock } from '../../src/runtime/clock.ts';
import { Reactor } from '../../src/runtime/reactor.ts';

const NEVER = Number.POSITIVE_INFINITY;

/** A named pipe that is open at both ends, in one descriptor. */
function openPipe() {
  const directory = mkdtempSync(join(tmpdir(), 'exonet-reactor-'));
  const path = join(directory, 'pipe');
  execFileSync('mkfifo', [path]);
  const descriptor = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  rmSync(directory, { recursive: true });
  return descriptor;
}

/** Long enough for the loop to have come round several times, on a loaded machine too. */
async function comeRound() {
  for (let i = 0; i < 5; i++) await afterImmediates();
}

async function waitUntil(condition: () => boolean) {
  for (let i = 0; i < 2000 && !condition(); i++) await delay(1);
}

test('runs one turn at the start, then sleeps', async (t) => {
  let turns = 0;
  const reactor = new Reactor(new MonotonicClock(), -1, () => {
    turns++;
    return NEVER;
  });
  t.is(turns, 0);
  reactor.start();
  reactor.start();
  t.is(turns, 0);
  await comeRound();
  await delay(30);
  t.is(turns, 1);
  reactor.stop();
});

test('more work is done at once, and the loop comes round in between', async (t) => {
  let turns = 0;
  let rounds = 0;
  const reactor = new Reactor(new MonotonicClock(), -1, () => (++turns < 50 ? 0 : NEVER));
  reactor.start();
  while (turns < 50) {
    await afterImmediates();
    rounds++;
  }
  t.true(rounds >= 49, `${rounds}`);
  await comeRound();
  t.is(turns, 50);
  reactor.stop();
});

test('wakes at the deadline, not before it', async (t) => {
  const clock = new MonotonicClock();
  const times: number[] = [];
  const deadlineUs = clock.nowUs() + 40_000;
  const reactor = new Reactor(clock, -1, () => {
    times.push(clock.nowUs());
    return times.length === 1 ? deadlineUs : NEVER;
  });
  reactor.start();
  await waitUntil(() => times.length === 2);
  reactor.stop();
  t.is(times.length, 2);
  t.true((times[1] as number) >= deadlineUs);
});

test('the deadline may move either way', async (t) => {
  const clock = new MonotonicClock();
  const startUs = clock.nowUs();
  const times: number[] = [];
  // First an hour, then brought forward, then put off.
  const deadlines = [startUs + 3_600_000_000, startUs + 20_000, startUs + 60_000, NEVER, NEVER];
  const reactor = new Reactor(clock, -1, () => {
    times.push(clock.nowUs() - startUs);
    return deadlines[times.length - 1] as number;
  });
  reactor.start();
  await afterImmediates();
  reactor.wake();
  await afterImmediates();
  reactor.wake();
  await waitUntil(() => times.length === 4);
  await delay(30);
  reactor.stop();
  t.is(times.length, 4);
  t.true((times[3] as number) >= 60_000);
});

test('a deadline that has passed is more work', async (t) => {
  let turns = 0;
  const clock = new MonotonicClock();
  const reactor = new Reactor(clock, -1, () => (++turns < 20 ? 1 : NEVER));
  reactor.start();
  const before = clock.nowUs();
  await waitUntil(() => turns === 20);
  t.true(clock.nowUs() - before < 1_000_000);
  reactor.stop();
});

test('a deadline weeks ahead does not overflow', async (t) => {
  let turns = 0;
  const reactor = new Reactor(new MonotonicClock(), -1, () => {
    turns++;
    return 1e13;
  });
  reactor.start();
  await comeRound();
  await delay(20);
  t.is(turns, 1);
  reactor.stop();
});

test('wakes come together, also those of a turn', async (t) => {
  let turns = 0;
  const reactor = new Reactor(new MonotonicClock(), -1, () => {
    if (++turns === 2) reactor.wake();
    return NEVER;
  });
  reactor.start();
  await comeRound();
  t.is(turns, 1);
  reactor.wake();
  reactor.wake();
  reactor.wake();
  await comeRound();
  t.is(turns, 3);
  reactor.stop();
});

test('what can be read has a turn', async (t) => {
  const pipe = openPipe();
  const seen: number[] = [];
  const buffer = new Uint8Array(16);
  const reactor = new Reactor(new MonotonicClock(), pipe, () => {
    try {
      const count = readSync(pipe, buffer);
      seen.push(...buffer.subarray(0, count));
    } catch (error) {
      t.is((error as NodeJS.ErrnoException).code, 'EAGAIN');
    }
    return NEVER;
  });
  reactor.start();
  await delay(10);
  t.deepEqual(seen, []);
  writeSync(pipe, Uint8Array.of(1, 2));
  await waitUntil(() => seen.length === 2);
  writeSync(pipe, Uint8Array.of(3));
  await waitUntil(() => seen.length === 3);
  t.deepEqual(seen, [1, 2, 3]);
  reactor.stop();
  writeSync(pipe, Uint8Array.of(4));
  await delay(20);
  t.deepEqual(seen, [1, 2, 3]);
  // And again.
  reactor.start();
  await waitUntil(() => seen.length === 4);
  t.deepEqual(seen, [1, 2, 3, 4]);
  reactor.stop();
  closeSync(pipe);
});

test('does nothing when stopped, by itself or before the first turn', async (t) => {
  let turns = 0;
  const reactor = new Reactor(new MonotonicClock(), -1, () => {
    turns++;
    reactor.stop();
    reactor.wake();
    return 0;
  });
  reactor.start();
  reactor.stop();
  reactor.stop();
  await comeRound();
  t.is(turns, 0);
  reactor.start();
  await comeRound();
  t.is(turns, 1);
});

const program = (body: string) => `
  const { Reactor } = await import(${JSON.stringify(new URL('../../src/runtime/reactor.js', import.meta.url).href)});
  const { MonotonicClock } = await import(${JSON.stringify(new URL('../../src/runtime/clock.js', import.meta.url).href)});
  const { openSync, constants } = await import('node:fs');
  const pipe = openSync(process.argv[1], constants.O_RDWR | constants.O_NONBLOCK);
  const clock = new MonotonicClock();
  ${body}`;

async function runProgram(body: string, lifeMs: number) {
  const directory = mkdtempSync(join(tmpdir(), 'exonet-reactor-'));
  const path = join(directory, 'pipe');
  execFileSync('mkfifo', [path]);
  const child = spawn(process.execPath, ['--input-type=module', '-e', program(body), path], { stdio: 'inherit' });
  const timer = setTimeout(() => child.kill('SIGKILL'), lifeMs);
  const [code, signal] = await once(child, 'exit');
  clearTimeout(timer);
  rmSync(directory, { recursive: true });
  return { code, signal };
}

test('a stopped reactor lets the process end', async (t) => {
  const body = `
    const reactor = new Reactor(clock, pipe, () => clock.nowUs() + 3_600_000_000);
    reactor.start();
    setTimeout(() => { reactor.wake(); reactor.stop(); }, 50);`;
  t.deepEqual(await runProgram(body, 30_000), { code: 0, signal: null });
});

test('a running reactor keeps the process alive', async (t) => {
  const body = 'new Reactor(clock, pipe, () => Infinity).start();';
  t.deepEqual(await runProgram(body, 1500), { code: null, signal: 'SIGKILL' });
});
