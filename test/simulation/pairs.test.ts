/**
 * Two hosts whose applications read and write when and as much as dice tell them, over links of every kind. Everything
 * arrives, in order, in bounded time; on a link that loses nothing, no timer expires and nothing is sent twice.
 */
import test from 'ava';
import type { FrameObserver } from '../../src/driver/sim-link.ts';
import type { Host } from '../../src/host/host.ts';
import { type Random, SeededRandom } from '../../src/runtime/random.ts';
import {
  closeSend,
  consume,
  queuedBytes,
  readableAt,
  readableBytes,
  readableLength,
  send,
  takeEvents,
} from '../../src/tcp/calls.ts';
import {
  type ConnectionError,
  EVENT_CLOSED,
  EVENT_CONNECTED,
  EVENT_PEER_CLOSED,
  type RegionOwner,
  type Tcb,
  type TcpUser,
} from '../../src/tcp/tcb.ts';
import { describeFrame } from '../../src/wire/describe.ts';
import { findLeaks } from '../support/leaks.ts';
import { pattern } from '../support/raw-peer.ts';
import { SECOND } from '../support/raw-world.ts';
import { ADDRESS_A, ADDRESS_B, World } from '../support/world.ts';

const FIRST_SEED = Number(process.env.EXONET_SEED ?? 1);
const RUNS = Number(process.env.EXONET_RUNS ?? 20);
const STREAM_BYTES = 300_000;
const STREAM = pattern(0, STREAM_BYTES);

/** With EXONET_TRACE=1 every frame is printed. */
const TRACE = process.env.EXONET_TRACE === '1';
const observe: FrameObserver = (bytes, at, length, direction, timeUs) => {
  console.log(`${(timeUs / 1e6).toFixed(6)} ${direction} ${describeFrame(bytes, at, length)}`);
};

/** Reads and writes in fits and starts. */
class Moody implements TcpUser, RegionOwner {
  received = 0;
  wrongBytes = 0;
  regions = 0;
  closed = false;
  error: ConnectionError = '';
  private sent = 0;
  private peerClosed = false;
  private connection: Tcb | null = null;
  private readonly world: World;
  private readonly host: Host;
  private readonly random: Random;
  private readonly streamAt: number;
  readonly total: number;
  /** The longest pause between two fits. */
  private readonly pauseUs: number;
  private readonly mostRead: number;

  constructor(world: World, host: Host, random: Random, streamAt: number) {
    this.world = world;
    this.host = host;
    this.random = random;
    this.streamAt = streamAt;
    this.total = random.below(STREAM_BYTES);
    this.pauseUs = [1000, 5000, 100_000, 400_000][random.below(4)] ?? 1000;
    this.mostRead = [500, 10_000, 1_000_000][random.below(3)] ?? 500;
  }

  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    if ((events & EVENT_PEER_CLOSED) !== 0) this.peerClosed = true;
    if ((events & EVENT_CONNECTED) !== 0) {
      this.connection = connection;
      this.plan();
    }
    if ((events & EVENT_CLOSED) !== 0) {
      this.read(connection, Number.POSITIVE_INFINITY);
      this.closed = true;
      this.error = connection.error;
      this.connection = null;
    }
  }

  release(): void {
    this.regions--;
  }

  private plan(): void {
    this.world.clock.at(this.world.clock.nowUs() + 1 + this.random.below(this.pauseUs), () => {
      const { connection } = this;
      if (connection === null) return;
      this.fit(connection);
      this.host.stack.wake();
      if (!this.closed) this.plan();
    });
  }

  private fit(connection: Tcb): void {
    const { random } = this;
    if (random.chance(0.7)) this.read(connection, this.peerClosed ? 1e9 : 1 + random.below(this.mostRead));
    if (this.sent < this.total && random.chance(0.7) && queuedBytes(connection) < 100_000) {
      const length = Math.min(this.total - this.sent, 1 + random.below(random.chance(0.3) ? 20 : 30_000));
      this.regions++;
      send(connection, this.streamAt + this.sent, length, this, 0);
      this.sent += length;
    }
    if (this.sent === this.total && random.chance(0.5)) closeSend(connection);
  }

  private read(connection: Tcb, limit: number): void {
    const { bytes } = this.world.arena;
    let left = limit;
    while (readableBytes(connection) > 0 && left > 0) {
      const at = readableAt(connection);
      const length = Math.min(left, readableLength(connection));
      const expected = STREAM.subarray(this.received, this.received + length);
      if (!expected.equals(bytes.subarray(at, at + length))) this.wrongBytes++;
      this.received += length;
      left -= length;
      consume(connection, length);
    }
  }
}

interface Kind {
  readonly name: string;
  readonly lossless: boolean;
  readonly faults: (random: Random) => { loss?: number; reordering?: number; duplication?: number };
}

const KINDS: readonly Kind[] = [
  { name: 'a good wire', lossless: true, faults: () => ({}) },
  {
    name: 'a bad wire',
    lossless: false,
    faults: (random) => ({
      loss: random.below(10) / 100,
      reordering: random.below(20) / 100,
      duplication: random.below(10) / 100,
    }),
  },
];

for (const { name, lossless, faults } of KINDS) {
  test(`${RUNS} pairs over ${name}`, (t) => {
    t.timeout(600_000);
    for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
      const replay = `replay: EXONET_SEED=${seed} EXONET_RUNS=1 npx ava test/simulation/pairs.test.ts --match='*${name}'`;
      const random = new SeededRandom(seed);
      const settings = () => ({
        receiveBufferBytes: 4096 << random.below(8),
        receivePoolBytes: 4 << 20,
        maxTimeWait: 16,
      });
      const world = new World({
        seed,
        link: {
          delayUs: [0, 50, 2000, 40_000][random.below(4)] ?? 0,
          // A queue that holds what two windows put into it.
          ...(random.chance(0.5) ? {} : { bitsPerSecond: 10_000_000 * (1 + random.below(50)), queueFrames: 2000 }),
          ...(random.chance(0.3) ? { offload: true } : {}),
          ...(random.chance(0.2) ? { readDelayUs: 1 + random.below(300) } : {}),
          mtu: [576, 1500, 9000][random.below(3)] ?? 1500,
          ...(TRACE ? { observe } : {}),
        },
        settingsA: settings(),
        settingsB: settings(),
      });
      const at = world.arena.allocate(STREAM_BYTES);
      world.arena.bytes.set(STREAM, at);
      const a = new Moody(world, world.a, new SeededRandom(random.u32()), at);
      const b = new Moody(world, world.b, new SeededRandom(random.u32()), at);
      // Three requests of ARP's may be lost, too; that is not what is asked here.
      const paths = [world.a.stack.paths.acquire(ADDRESS_B), world.b.stack.paths.acquire(ADDRESS_A)];
      world.a.stack.wake();
      world.b.stack.wake();
      world.run(SECOND);
      for (const [index, path] of paths.entries()) {
        if (path !== undefined) [world.a, world.b][index]?.stack.paths.release(path);
      }
      const rates = faults(random);
      world.link.faults.aToB.setRates(rates);
      world.link.faults.bToA.setRates(rates);
      world.b.tcp.listen(80, () => b);
      world.a.tcp.connect(ADDRESS_B, 80, a);
      world.a.stack.wake();
      const done = world.run(3000 * SECOND, () => a.closed && b.closed);
      t.true(done, `not done after 3000 s; ${replay}`);
      t.is(a.error + b.error, '', replay);
      t.deepEqual([a.received, b.received], [b.total, a.total], replay);
      t.is(a.wrongBytes + b.wrongBytes, 0, replay);
      if (lossless) {
        for (const { tcp } of [world.a, world.b]) {
          t.is(tcp.counters.get('timeouts'), 0, `time-outs; ${replay}`);
          // A peer may delay its acknowledgment for longer than a tail loss probe waits.
          const probes = tcp.counters.get('tailLossProbes');
          t.true(tcp.counters.get('segmentsRetransmitted') <= probes, `retransmissions; ${replay}`);
        }
      }
      world.run(130 * SECOND);
      t.deepEqual([...findLeaks(world.a), ...findLeaks(world.b)], [], replay);
      t.is(a.regions + b.regions, 0, replay);
      world.close();
    }
  });
}
