/**
 * The short way against the long one: two hosts, alike to the last random number but for `headerPrediction`, get the same
 * segments and the same calls. Whatever one sends the other sends, and after every step all that they know of every connection is
 * the same.
 */
import test from 'ava';
import fc from 'fast-check';
import { closeSend } from '../../src/tcp/calls.ts';
import { seqBits, seqDistance } from '../../src/tcp/sequence.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { type Crafted, type RawPeer, writeDown } from '../support/raw-peer.ts';
import { MILLISECOND, RawWorld, SECOND } from '../support/raw-world.ts';
import type { TestUser } from '../support/test-user.ts';

const SEED = Number(process.env.EXONET_SEED ?? 20_263);
const RUNS = Number(process.env.EXONET_RUNS ?? 150);
const STEPS = 80;
const MSS_BYTES = 1000;
/** So large that windows are scaled, by 32; and a window so small that its edge is never far, and no multiple of that. */
const BUFFER_BYTES = 2 ** 20;
const WINDOW_BYTES = 8011;

/** What may happen, and how often; `n` and `m` say how much and how. */
const KINDS = [
  [16, 'text'],
  [6, 'small text'],
  [3, 'fill'],
  [2, 'starve'],
  [14, 'ack all'],
  [8, 'ack some'],
  [8, 'text and ack'],
  [10, 'send'],
  [3, 'text beyond a gap'],
  [3, 'text again'],
  [3, 'duplicate ack'],
  [2, 'ack beyond'],
  [2, 'old ack'],
  [3, 'window'],
  [2, 'sack'],
  [2, 'old timestamp'],
  [2, 'no timestamp'],
  [2, 'flags'],
  [1, 'fin'],
  [1, 'close'],
  [4, 'reading'],
  [3, 'read'],
  [4, 'batch'],
  [8, 'a little time'],
  [2, 'some time'],
] as const;

interface Action {
  readonly kind: (typeof KINDS)[number][1];
  readonly n: number;
  readonly m: number;
}

interface Opening {
  readonly timestamps: boolean;
  readonly sack: boolean;
  readonly scale: number;
  readonly iss: number;
}

class Side {
  readonly world: RawWorld;
  readonly peer: RawPeer;
  readonly user: TestUser;
  readonly tcb: Tcb;
  private batching = false;

  constructor(headerPrediction: boolean, opening: Opening) {
    this.world = new RawWorld({
      seed: 5,
      startUs: 3e9,
      settings: {
        headerPrediction,
        receiveBufferBytes: BUFFER_BYTES,
        initialReceiveWindowBytes: WINDOW_BYTES,
        receivePoolBytes: 2 ** 20,
        sendLowWaterBytes: 4000,
      },
    });
    const { timestamps, sack, scale, iss } = opening;
    const { peer, user, tcb } = this.world.accept({
      iss,
      timestamps,
      ...(scale < 0 ? {} : { windowScale: scale }),
      syn: { sackPermitted: sack, mss: MSS_BYTES },
    });
    this.peer = peer;
    this.user = user;
    this.tcb = tcb;
  }

  run({ kind, n, m }: Action): void {
    const { world, peer, user, tcb } = this;
    const sentEnd = Math.max(1, ...peer.log.map((seen) => seen.seq + seen.length));
    const before = peer.sndNxt;
    const push = m % 2 === 0 ? 'A' : 'PA';
    const send = (crafted: Crafted): void => peer.queue(crafted);
    switch (kind) {
      case 'text':
        for (let i = 0; i <= m % 4; i++) send({ flags: push, data: 1 + (n % 1400), ack: Math.min(peer.rcvNxt, 1 + n) });
        break;
      case 'small text':
        send({ flags: push, data: 1 + (m % 24) });
        break;
      case 'fill':
        // Up to where the window's field says nothing any more.
        user.reads = false;
        for (let i = 0; i < 8; i++) this.fill(m % 40);
        send({ data: 1 + (n % 24) });
        break;
      case 'starve':
        peer.window = 0;
        send({});
        world.settle();
        if (!tcb.finQueued && !user.closed) world.call(() => user.send(tcb, 1 + n));
        world.advance(2 * SECOND);
        break;
      case 'ack all':
        send({ flags: push });
        break;
      case 'ack some':
        send({ ack: Math.min(sentEnd, 1 + n * 4) });
        break;
      case 'text and ack':
        send({ flags: push, data: 1 + (m % 200), window: 200 + n });
        break;
      case 'send':
        if (!tcb.finQueued && !user.closed) world.call(() => user.send(tcb, 1 + n));
        break;
      case 'text beyond a gap':
        send({ seq: before + 1 + (n % 3000), data: 1 + (m % 250) * 4 });
        peer.sndNxt = before;
        break;
      case 'text again':
        send({ seq: Math.max(1, before - (n % 3000)), data: 1 + (m % 250) * 5 });
        break;
      case 'duplicate ack':
        for (let i = 0; i <= m % 5; i++) send({ ack: Math.max(1, sentEnd - n) });
        break;
      case 'ack beyond':
        send({ ack: sentEnd + 1 + n, data: m });
        peer.sndNxt = before;
        break;
      case 'old ack':
        send({ ack: Math.max(1, sentEnd - n * 8), data: 1 + m });
        break;
      case 'window':
        peer.window = [0, 1, 100, 1460, 5000, 65_535][m % 6] ?? 0;
        send({});
        break;
      case 'sack':
        send({ ack: Math.max(1, sentEnd - n), sack: [[sentEnd - (n >> 1), sentEnd]], data: m % 3 });
        break;
      case 'old timestamp':
        if (peer.timestamps) send({ data: 1 + m, timestamps: [world.tsValue() - 1 - n, peer.lastTsValue] });
        peer.sndNxt = before;
        break;
      case 'no timestamp':
        send({ data: 1 + m, timestamps: null });
        if (peer.timestamps) peer.sndNxt = before;
        break;
      case 'flags':
        send({ flags: ['UA', 'UPA', 'PA', 'P', 'SA'][m % 5] ?? 'A', data: m });
        peer.sndNxt = before;
        break;
      case 'fin':
        send({ flags: 'FA', data: m });
        break;
      case 'close':
        if (!user.closed) world.call(() => closeSend(tcb));
        break;
      case 'reading':
        user.reads = !user.reads;
        break;
      case 'read':
        if (!user.closed) world.call(() => user.read(tcb, n));
        break;
      case 'batch':
        this.batching = !this.batching;
        break;
      default:
        world.advance((kind === 'a little time' ? 60 * MILLISECOND : 2 * SECOND) * ((1 + n) / 4000));
    }
    if (!this.batching) world.settle();
  }

  /** Sends text in order, which leaves `left` bytes of the window. */
  private fill(left: number): void {
    const { tcb, peer, world } = this;
    world.settle();
    const bytes = Math.min(1400, seqDistance(tcb.rcvAdv, tcb.rcvNxt) - left);
    if (bytes > 0 && seqBits(tcb.rcvNxt) === ((peer.iss + peer.sndNxt) | 0)) peer.queue({ data: bytes });
  }

  /** All that is known of the connection, and all that was sent, with its time. */
  describe(): string {
    const { tcb, peer, user, world } = this;
    const fields = Object.entries(tcb).filter(([, value]) => typeof value !== 'object');
    const ring =
      tcb.ring === null ? null : [tcb.ring.capacity, tcb.ring.rangeCount, ...tcb.ring.left, ...tcb.ring.right];
    const sent = peer
      .takeAll()
      .map((seen) => [seen.timeUs, writeDown(seen), seen.window, seen.tsValue, seen.tsEcho, seen.sack]);
    const counters = { ...world.host.tcp.counters.snapshot(), segmentsPredicted: 0 };
    const drops = world.host.stack.drops.snapshot();
    const deadline = world.host.stack.timers.nextDeadlineUs();
    return JSON.stringify({
      fields,
      ring,
      sent,
      counters,
      drops,
      deadline,
      history: user.history,
      read: user.receivedBytes,
    });
  }

  get predicted(): number {
    return this.world.host.tcp.counters.get('segmentsPredicted');
  }
}

const opening: fc.Arbitrary<Opening> = fc.record({
  timestamps: fc.boolean(),
  sack: fc.boolean(),
  scale: fc.integer({ min: -1, max: 9 }),
  iss: fc.constantFrom(0, -3000, 0x7fffffff - 3000, 123_456),
});

const actions: fc.Arbitrary<Action[]> = fc.array(
  fc.record({
    kind: fc.oneof(...KINDS.map(([weight, kind]) => ({ weight, arbitrary: fc.constant(kind) }))),
    n: fc.nat(4000),
    m: fc.nat(255),
  }),
  { minLength: 10, maxLength: STEPS, size: 'max' },
);

test('a segment that was expected leaves what it would have left without prediction', (t) => {
  t.timeout(300_000);
  let predicted = 0;
  let segments = 0;
  fc.assert(
    fc.property(opening, actions, (first, steps) => {
      const short = new Side(true, first);
      const long = new Side(false, first);
      try {
        for (const step of steps) {
          short.run(step);
          long.run(step);
          const [one, other] = [short.describe(), long.describe()];
          if (one !== other) throw new Error(`after ${step.kind}:\n${one}\n${other}`);
        }
        predicted += short.predicted;
        segments += short.world.host.tcp.counters.get('segmentsReceived');
        if (long.predicted > 0) throw new Error('predicted without prediction');
      } finally {
        short.world.close();
        long.world.close();
      }
    }),
    { seed: SEED, numRuns: RUNS, includeErrorInReport: true },
  );
  t.log(`${predicted} of ${segments} segments were predicted`);
  t.true(predicted > RUNS);
});
