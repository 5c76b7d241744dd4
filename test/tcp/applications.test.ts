/**
 * Two stacks whose applications do whatever an application may: send in pieces of any size, read late or in bits, close either
 * half or both, abort, send and close from within `release`. Whatever happens, nothing throws, the streams arrive
 * as they were sent, every connection comes to its end in time, and everything goes back.
 */
import { ok, strictEqual } from 'node:assert/strict';
import test from 'ava';
import type { Host } from '../../src/host/host.ts';
import { SeededRandom } from '../../src/runtime/random.ts';
import {
  abort,
  close,
  closeSend,
  consume,
  readableAt,
  readableBytes,
  readableLength,
  send,
  takeEvents,
} from '../../src/tcp/calls.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import {
  EVENT_CLOSED,
  EVENT_CONNECTED,
  EVENT_PEER_CLOSED,
  type RegionOwner,
  type Tcb,
  type TcpUser,
} from '../../src/tcp/tcb.ts';
import { findLeaks } from '../support/leaks.ts';
import { ADDRESS_B, World } from '../support/world.ts';
import { streamByte } from './support.ts';

const SECOND = 1_000_000;
const PORT = 80;
const PATTERN_BYTES = 1 << 20;
const MAX_TURNS = 500_000;

interface Mode {
  /** Frames lost and reordered; half as many are duplicated and corrupted. */
  readonly loss: number;
  /** Applications close both halves and abort at any time. */
  readonly wild: boolean;
  readonly settings: Partial<TcpSettings>;
}

/** What both applications of a run share. */
interface Run {
  readonly world: World;
  readonly mode: Mode;
  readonly pattern: number;
  /** Things that the applications will still do. */
  actionsLeft: number;
}

class Application implements TcpUser, RegionOwner {
  connection: Tcb | null = null;
  closed = false;
  error = '';
  wasConnected = false;
  /** It has aborted, or closed without having read everything: the streams need not be whole. */
  brokeOff = false;
  sent = 0;
  received = 0;
  peerClosed = false;
  private readonly run: Run;
  private readonly host: Host;
  private readonly random: SeededRandom;
  private readonly held = new Set<number>();
  private nextToken = 0;
  private sendClosed = false;
  private paused = false;

  constructor(run: Run, host: Host, seed: number) {
    this.run = run;
    this.host = host;
    this.random = new SeededRandom(seed);
  }

  /** The other one. */
  peer: Application = this;

  get heldRegions(): number {
    return this.held.size;
  }

  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    ok(!this.closed, 'ready after EVENT_CLOSED');
    if ((events & EVENT_CONNECTED) !== 0) this.wasConnected = true;
    if ((events & EVENT_PEER_CLOSED) !== 0) this.peerClosed = true;
    if ((events & EVENT_CLOSED) !== 0) {
      this.closed = true;
      this.error = connection.error;
      this.connection = null;
      return;
    }
    const ending = this.run.actionsLeft <= 0;
    if (!this.paused || ending) this.read(ending);
    if (this.random.chance(0.02)) this.act();
  }

  release(token: number): void {
    ok(this.held.delete(token), 'released twice');
    if (this.run.actionsLeft <= 0) return;
    if (this.random.chance(0.05)) this.send(1 + this.random.below(5000));
    if (this.run.mode.wild && this.random.chance(0.003)) this.close();
  }

  /** One thing that an application may do, from inside a turn or outside. */
  act(): void {
    if (this.run.actionsLeft <= 0) return;
    this.run.actionsLeft--;
    const dice = this.random.below(100);
    if (dice < 40) this.send(1 + this.random.below(this.random.chance(0.3) ? 400_000 : 3000));
    else if (dice < 65) this.read(true);
    else if (dice < 80) this.paused = !this.paused;
    else if (dice < 84) this.closeSend();
    else if (this.run.mode.wild && dice < 86) this.close();
    else if (this.run.mode.wild && dice < 87) this.abort();
    this.host.stack.wake();
  }

  /** Nothing more is sent, everything is read as it comes. */
  end(): void {
    this.read(true);
    this.closeSend();
    this.host.stack.wake();
  }

  send(length: number): void {
    if (this.connection === null || this.sendClosed) return;
    let left = length;
    while (left > 0) {
      const offset = this.sent % PATTERN_BYTES;
      const piece = 1 + this.random.below(this.random.chance(0.5) ? 200 : 60_000);
      const bytes = Math.min(left, PATTERN_BYTES - offset, piece);
      this.held.add(this.nextToken);
      this.sent += bytes;
      left -= bytes;
      send(this.connection, this.run.pattern + offset, bytes, this, this.nextToken++);
    }
  }

  closeSend(): void {
    if (this.connection === null) return;
    this.sendClosed = true;
    closeSend(this.connection);
  }

  /** For good, when the other side's stream may be thrown away. */
  close(): void {
    if (this.connection === null) return;
    this.brokeOff ||= !this.peerClosed || readableBytes(this.connection) > 0;
    this.sendClosed = true;
    close(this.connection);
  }

  private abort(): void {
    if (this.connection === null) return;
    this.brokeOff = true;
    this.sendClosed = true;
    abort(this.connection);
  }

  private read(all: boolean): void {
    const { connection } = this;
    if (connection === null) return;
    while (readableBytes(connection) > 0) {
      const length = readableLength(connection);
      ok(length > 0, 'readable bytes, and none in one piece');
      const taken = !all && this.random.chance(0.2) ? 1 + this.random.below(length) : length;
      this.compare(readableAt(connection), taken);
      consume(connection, taken);
      if (!all && this.random.chance(0.2)) return;
    }
  }

  private compare(at: number, length: number): void {
    const { bytes } = this.run.world.arena;
    ok(this.received + length <= this.peer.sent, 'more than was sent');
    for (let i = 0; i < length; i++) {
      const offset = (this.received + i) % PATTERN_BYTES;
      if (bytes[at + i] !== bytes[this.run.pattern + offset]) throw new Error(`byte ${this.received + i} is wrong`);
    }
    this.received += length;
  }
}

/** Worlds of all kinds: delay, rate, offload, MTU, small buffers, devices that read late. */
function createRun(seed: number, mode: Mode): Run {
  const random = new SeededRandom(seed);
  const pick = <T>(choices: readonly T[]): T => choices[random.below(choices.length)] as T;
  const settings = (): Partial<TcpSettings> => ({
    receiveBufferBytes: pick([4096, 8192, 65_536, 524_288]),
    timeWaitUs: SECOND,
    finWait2Us: 5 * SECOND,
    keepAliveIdleUs: random.chance(0.2) ? 3 * SECOND : 0,
    keepAliveIntervalUs: 5 * SECOND,
    ...mode.settings,
  });
  const { loss } = mode;
  const world = new World({
    seed,
    link: {
      delayUs: pick([0, 100, 5000, 20_000]),
      offload: random.chance(0.5),
      mtu: pick([576, 1500, 1500, 9000]),
      faults: { loss, reordering: loss, duplication: loss / 2, corruption: loss / 2 },
      ...(random.chance(0.3) ? { bitsPerSecond: 100e6, queueFrames: 200 } : {}),
      ...(random.chance(0.3) ? { readDelayUs: 300, ringFrames: 16 } : {}),
    },
    settingsA: settings(),
    settingsB: settings(),
  });
  const pattern = world.arena.allocate(PATTERN_BYTES);
  for (let i = 0; i < PATTERN_BYTES; i++) world.arena.bytes[pattern + i] = streamByte(i);
  return { world, mode, pattern, actionsLeft: 40 + random.below(60) };
}

/** A host that keeps asking for another turn at once would never come to an end. */
function limitTurns(world: World): void {
  let turns = 0;
  for (const host of [world.a, world.b]) {
    const turn = host.turn.bind(host);
    host.turn = () => {
      ok(++turns < MAX_TURNS, 'turns without end');
      return turn();
    };
  }
}

function live(seed: number, mode: Mode): void {
  const run = createRun(seed, mode);
  const { world } = run;
  const random = new SeededRandom(seed + 0x10000);
  limitTurns(world);
  const a = new Application(run, world.a, seed * 2);
  const b = new Application(run, world.b, seed * 2 + 1);
  a.peer = b;
  b.peer = a;
  world.b.tcp.listen(PORT, (connection) => {
    b.connection = connection;
    if (random.chance(0.3)) b.send(1000);
    return b;
  });
  world.clock.at(1000, () => {
    a.connection = world.a.tcp.connect(ADDRESS_B, PORT, a);
    if (random.chance(0.5)) a.send(1 + random.below(10_000));
    world.a.stack.wake();
  });
  const step = () => {
    if (run.actionsLeft <= 0 || (a.closed && b.closed)) {
      run.actionsLeft = 0;
      a.end();
      b.end();
      return;
    }
    (random.chance(0.5) ? a : b).act();
    const pauses = [0, 500, 20_000, 300_000, 2 * SECOND];
    world.clock.at(world.clock.nowUs() + (pauses[random.below(pauses.length)] ?? 0), step);
  };
  world.clock.at(50_000, step);
  ok(
    world.run(600 * SECOND, () => a.closed && (b.closed || b.connection === null)) || endHalfClosed(world, a, b),
    'a connection does not end',
  );
  if (!a.brokeOff && !b.brokeOff) {
    strictEqual(a.error, '');
    strictEqual(b.error, '');
    if (b.wasConnected) strictEqual(`${a.received} and ${b.received}`, `${b.sent} and ${a.sent}`);
  }
  world.run(600 * SECOND);
  for (const host of [world.a, world.b]) {
    strictEqual(findLeaks(host).join(), '');
    strictEqual(host.tcp.hasWork, false);
  }
  strictEqual(a.heldRegions + b.heldRegions, 0);
  strictEqual(world.link.inFlightBytes(), 0);
  world.close();
}

/** A reset may be lost, and one who waits in FIN-WAIT-2 for the peer's FIN has nothing to send that would tell it. */
function endHalfClosed(world: World, a: Application, b: Application): boolean {
  if (!a.brokeOff && !b.brokeOff) return false;
  a.close();
  b.close();
  world.a.stack.wake();
  world.b.stack.wake();
  return world.run(600 * SECOND, () => a.closed && (b.closed || b.connection === null));
}

const MODES: readonly (readonly [name: string, mode: Mode, runs: number])[] = [
  ['over a link without faults', { loss: 0, wild: false, settings: {} }, 30],
  ['that break off', { loss: 0, wild: true, settings: {} }, 40],
  ['over a bad link', { loss: 0.03, wild: false, settings: {} }, 40],
  ['that break off, over a bad link', { loss: 0.03, wild: true, settings: {} }, 40],
  ['without receive memory to speak of', { loss: 0, wild: false, settings: { receivePoolBytes: 8192 } }, 40],
];

for (const [name, mode, runs] of MODES) {
  test(`applications ${name}`, (t) => {
    for (let seed = 1; seed <= runs; seed++) {
      try {
        live(seed, mode);
      } catch (error) {
        t.fail(`seed ${seed}: ${error instanceof Error ? error.stack : error}`);
      }
    }
    t.pass();
  });
}
