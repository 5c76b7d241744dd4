import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as afterImmediates, setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { type Clock, MonotonicClock } from '../../src/runtime/clock.ts';
import { Reactor } from '../../src/runtime/reactor.ts';

const NEVER = Number.POSITIVE_INFINITY;
const POLL_US = 100;

/** Moves a little whenever it is asked, and otherwise only by hand. */
class ManualClock implements Clock {
  timeUs = 1_000_000;

  nowUs(): number {
    return this.timeUs++;
  }

  wallMs(): number {
    return 0;
  }
}

/** A reactor whose device is a script: frames arrive when the test says so, and each turn takes them. */
class Scripted {
  readonly clock = new ManualClock();
  readonly reactor: Reactor;
  /** Called at the end of each turn, with its number. */
  script: (turn: number) => void = () => undefined;
  waiting = 0;
  frames = 0;
  turns = 0;
  /** What a turn takes. */
  turnUs = 5;
  deadlineUs = NEVER;

  constructor(pollUs = POLL_US, beforeDeadlineUs = 0) {
    const polling = { pollUs, beforeDeadlineUs, received: () => this.frames, look: () => this.look() };
    this.reactor = new Reactor(this.clock, -1, () => this.turn(), polling);
  }

  /** A frame arrives now, which wakes a reactor that sleeps. */
  arrive(): void {
    this.waiting++;
    this.reactor.wake();
  }

  look(): void {
    this.frames += this.waiting;
    this.waiting = 0;
    this.clock.timeUs++;
  }

  private turn(): number {
    this.look();
    this.clock.timeUs += this.turnUs;
    this.script(++this.turns);
    return this.deadlineUs;
  }
}

test('who has to be punctual stays awake before a deadline, slice by slice, and sleeps until then', async (t) => {
  for (const beforeDeadlineUs of [1500, 0]) {
    const scripted = new Scripted(POLL_US, beforeDeadlineUs);
    const { reactor, clock } = scripted;
    let lateUs = -1;
    const dueUs = clock.timeUs + 1400;
    scripted.deadlineUs = dueUs;
    scripted.script = () => {
      if (clock.timeUs < dueUs || lateUs >= 0) return;
      lateUs = clock.timeUs - dueUs;
      scripted.deadlineUs = NEVER;
    };
    reactor.start();
    await comeRound();
    if (beforeDeadlineUs === 0) {
      t.is(lateUs, -1, 'it sleeps');
    } else {
      t.true(lateUs >= 0 && lateUs < 20, `${lateUs}`);
      t.true(reactor.counters.get('slices') >= 3);
    }
    // Nothing is due in the next second: both sleep.
    scripted.deadlineUs = clock.timeUs + 1_000_000;
    scripted.script = () => {};
    reactor.wake();
    await comeRound();
    const { turns } = scripted;
    await comeRound();
    t.is(scripted.turns, turns);
    reactor.stop();
  }
});

test('who stays awake and loses the processor all the same sleeps for a while', async (t) => {
  const scripted = new Scripted(POLL_US, 1500);
  const { reactor, clock } = scripted;
  let isLost = true;
  const look = scripted.look.bind(scripted);
  scripted.look = () => {
    look();
    if (isLost && scripted.turns > 0) clock.timeUs += 5000;
    if (scripted.turns > 0) isLost = false;
  };
  scripted.deadlineUs = clock.timeUs + 1000;
  scripted.script = () => {
    scripted.deadlineUs = clock.timeUs + 1000;
  };
  reactor.start();
  await comeRound();
  const { turns } = scripted;
  t.true(turns <= 3, `${turns}`);
  await comeRound();
  t.is(scripted.turns, turns, 'it sleeps');
  clock.timeUs += 200_000;
  reactor.wake();
  await comeRound();
  t.true(scripted.turns > turns + 1, 'it stays awake again');
  reactor.stop();
});

async function comeRound() {
  for (let i = 0; i < 5; i++) await afterImmediates();
}

test('takes turn upon turn in one slice while frames keep coming', async (t) => {
  const scripted = new Scripted();
  const { reactor } = scripted;
  reactor.start();
  for (let i = 0; i < 4; i++) {
    scripted.arrive();
    await comeRound();
  }
  const before = reactor.counters.snapshot();
  const { frames, turns } = scripted;
  scripted.script = (turn) => {
    if (turn - turns < 20) scripted.waiting = 1;
  };
  scripted.arrive();
  await comeRound();
  const after = reactor.counters.snapshot();
  t.is(scripted.frames, frames + 20);
  t.is(after.slices, before.slices + 1);
  t.is(after.sleeps, before.sleeps + 1);
  t.is(after.turns - before.turns, 20);
  reactor.stop();
});

test('after frames that came soon after each other it looks for more, until none has come for a while', async (t) => {
  const scripted = new Scripted();
  const { reactor, clock } = scripted;
  reactor.start();
  await comeRound();
  for (let i = 0; i < 4; i++) {
    scripted.arrive();
    await comeRound();
  }
  const before = reactor.counters.snapshot();
  const beganUs = clock.timeUs;
  scripted.arrive();
  await comeRound();
  const after = reactor.counters.snapshot();
  t.true(after.emptyPolls - before.emptyPolls >= 50, `${after.emptyPolls - before.emptyPolls}`);
  t.is(after.turns, before.turns + 1);
  t.true(clock.timeUs - beganUs >= POLL_US);
  t.true(clock.timeUs - beganUs < 2 * POLL_US);
  t.is(after.sleeps, before.sleeps + 1);
  // And rests: nothing happens, and nothing is done.
  await delay(20);
  t.deepEqual(reactor.counters.snapshot(), after);
  reactor.stop();
});

test('looks for no more where frames come too far apart, and begins again when they come close', async (t) => {
  const scripted = new Scripted();
  const { reactor, clock } = scripted;
  reactor.start();
  for (let i = 0; i < 5; i++) {
    scripted.arrive();
    await comeRound();
  }
  // Too far apart: from the fourth at the latest, nothing is looked for.
  for (let i = 0; i < 3; i++) {
    clock.timeUs += 10 * POLL_US;
    scripted.arrive();
    await comeRound();
  }
  const apart = reactor.counters.get('emptyPolls');
  for (let i = 0; i < 20; i++) {
    clock.timeUs += 10 * POLL_US;
    scripted.arrive();
    await comeRound();
  }
  t.is(reactor.counters.get('emptyPolls'), apart);
  for (let i = 0; i < 5; i++) {
    scripted.arrive();
    await comeRound();
  }
  t.true(reactor.counters.get('emptyPolls') > apart);
  reactor.stop();
});

test('a turn that takes long does not look like a client that does', async (t) => {
  const scripted = new Scripted();
  const { reactor } = scripted;
  scripted.turnUs = 3 * POLL_US;
  scripted.script = () => {
    scripted.waiting = 1;
  };
  reactor.start();
  scripted.arrive();
  for (let i = 0; i < 4; i++) {
    reactor.wake();
    await comeRound();
  }
  const { slices, turns } = reactor.counters.snapshot();
  // Two such turns are more than a slice.
  t.true(turns > 10 && turns <= 2 * slices, `${turns} ${slices}`);
  t.is(reactor.counters.get('emptyPolls'), 0);
  reactor.stop();
});

test('without polling there is one turn for each event', async (t) => {
  const scripted = new Scripted(0);
  const { reactor } = scripted;
  reactor.start();
  await comeRound();
  for (let i = 0; i < 20; i++) {
    scripted.arrive();
    await comeRound();
  }
  t.deepEqual(reactor.counters.snapshot(), { turns: 21, emptyPolls: 0, slices: 21, sleeps: 21, emptyPollUs: 0 });
  reactor.stop();
});

test('work that is left is done in slices', async (t) => {
  const scripted = new Scripted();
  const { reactor } = scripted;
  scripted.deadlineUs = 0;
  scripted.script = (turn) => {
    if (turn === 1000) scripted.deadlineUs = NEVER;
  };
  reactor.start();
  while (scripted.turns < 1000) await afterImmediates();
  const { turns, slices, emptyPolls } = reactor.counters.snapshot();
  t.is(turns, 1000);
  t.true(slices >= 10 && slices <= 50, `${slices}`);
  t.is(emptyPolls, 0);
  reactor.stop();
});

test('a deadline that comes up while it looks for frames has its turn', async (t) => {
  const scripted = new Scripted();
  const { reactor, clock } = scripted;
  reactor.start();
  for (let i = 0; i < 4; i++) {
    scripted.arrive();
    await comeRound();
  }
  const times: number[] = [];
  scripted.script = () => {
    times.push(clock.timeUs);
    scripted.deadlineUs = times.length < 3 ? clock.timeUs + 20 : NEVER;
  };
  const { slices } = reactor.counters.snapshot();
  scripted.arrive();
  await comeRound();
  t.is(times.length, 3);
  t.is(reactor.counters.get('slices'), slices + 1);
  for (const i of [1, 2]) t.true((times[i] as number) >= (times[i - 1] as number) + 20);
  reactor.stop();
});

test('a turn that stops the reactor is its last', async (t) => {
  const scripted = new Scripted();
  const { reactor } = scripted;
  scripted.script = (turn) => {
    scripted.waiting = 1;
    if (turn === 30) reactor.stop();
  };
  reactor.start();
  for (let i = 0; i < 4; i++) {
    reactor.wake();
    await comeRound();
  }
  reactor.wake();
  await comeRound();
  t.is(scripted.turns, 30);
});

test('refuses times that are none', (t) => {
  for (const pollUs of [-1, Number.NaN, NEVER]) {
    t.throws(() => new Reactor(new ManualClock(), -1, () => 0, { pollUs, received: () => 0, look: () => {} }), {
      instanceOf: RangeError,
    });
  }
});

test('files, timers, signals and other descriptors get their time while frames come without end', async (t) => {
  let frames = 0;
  const reactor = new Reactor(
    new MonotonicClock(),
    -1,
    () => {
      frames++;
      return NEVER;
    },
    { pollUs: POLL_US, received: () => frames, look: () => frames++ },
  );
  reactor.start();
  // Until it polls, and for so long that one late look, should the processor be lost, puts it to sleep no more.
  while (reactor.counters.get('turns') <= 2 * reactor.counters.get('slices') + 100) {
    reactor.wake();
    await afterImmediates();
  }
  const before = reactor.counters.snapshot();
  const signalled = once(process, 'SIGUSR2');
  process.kill(process.pid, 'SIGUSR2');
  await signalled;
  await delay(5);
  const text = await readFile(fileURLToPath(import.meta.url), 'utf8');
  t.true(text.includes('without end'));
  const child = spawn('echo', ['hello'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [piece] = await once(child.stdout, 'data');
  t.is(String(piece), 'hello\n');
  t.is(reactor.counters.get('emptyPolls'), 0);
  t.true(reactor.counters.get('turns') > before.turns);
  t.is(reactor.counters.get('sleeps'), before.sleeps);
  reactor.stop();
});

test('no frame is overlooked, whenever it comes', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'exonet-polling-'));
  const path = join(directory, 'pipe');
  execFileSync('mkfifo', [path]);
  const pipe = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  let frames = 0;
  const buffer = new Uint8Array(1);
  const look = (): void => {
    try {
      frames += readSync(pipe, buffer);
    } catch {
      // nothing there
    }
  };
  const turn = (): number => {
    look();
    return NEVER;
  };
  const polling = { pollUs: POLL_US, received: () => frames, look };
  const reactor = new Reactor(new MonotonicClock(), pipe, turn, polling);
  reactor.start();
  // Single bytes with pauses around the time that is polled, sometimes much longer, so that it sleeps and polls by turns.
  const writer = `
    const { openSync, writeSync } = require('node:fs');
    const pipe = openSync(process.argv[1], 'r+');
    for (let i = 0; i < 3000; i++) {
      const pauseUs = i % 100 === 0 ? 3000 : (i * 37) % 240;
      const until = performance.now() + pauseUs / 1000;
      while (performance.now() < until);
      writeSync(pipe, 'x');
    }`;
  const child = spawn(process.execPath, ['-e', writer, path], { stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  t.is(code, 0);
  for (let i = 0; i < 2000 && frames < 3000; i++) await delay(5);
  t.is(frames, 3000);
  t.true(reactor.counters.get('sleeps') > 0);
  reactor.stop();
  closeSync(pipe);
  rmSync(directory, { recursive: true });
});
