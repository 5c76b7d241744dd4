/**
 * A model test: random calls of an application and random segments of its peers, most of them honest, and after every
 * step what must always hold of a host. A failing run is shrunk and printed with the command that replays it.
 */
import test from 'ava';
import fc from 'fast-check';
import { abort, close, closeSend } from '../../src/tcp/calls.ts';
import { type Seq, seqAfter } from '../../src/tcp/sequence.ts';
import { CLOSED, SYN_RECEIVED, SYN_SENT } from '../../src/tcp/state.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { assert, assertConnection } from '../support/invariants.ts';
import { pattern, RawPeer, writeDown } from '../support/raw-peer.ts';
import { MILLISECOND, RawWorld, SECOND } from '../support/raw-world.ts';
import { TestUser } from '../support/test-user.ts';

const SEED = Number(process.env.EXONET_SEED ?? 20_262);
const RUNS = Number(process.env.EXONET_RUNS ?? 250);
const PATH = process.env.EXONET_PATH;
const STEPS = 60;
const BUFFER = 8192;

/** What may happen, and how often. */
const KINDS = [
  [3, 'open'],
  [2, 'dial'],
  [10, 'send'],
  [4, 'read'],
  [2, 'reading'],
  [2, 'closeSend'],
  [1, 'close'],
  [1, 'abort'],
  [12, 'ack all'],
  [5, 'ack some'],
  [5, 'duplicate ack'],
  [8, 'selective ack'],
  [2, 'duplicate report'],
  [2, 'congestion echo'],
  [2, 'congestion mark'],
  [10, 'text'],
  [5, 'text beyond a gap'],
  [4, 'text again'],
  [4, 'window'],
  [3, 'fin'],
  [1, 'reset'],
  [2, 'reset elsewhere'],
  [2, 'syn'],
  [3, 'any segment'],
  [1, 'fragmentation needed'],
  [4, 'batch'],
  [6, 'a little time'],
  [4, 'some time'],
  [1, 'much time'],
] as const;

type Kind = (typeof KINDS)[number][1];

interface Action {
  readonly kind: Kind;
  /** Which connection. */
  readonly which: number;
  /** How much, how far. */
  readonly n: number;
  readonly m: number;
}

const first: fc.Arbitrary<Action> = fc.record({
  kind: fc.constantFrom('open', 'dial'),
  which: fc.constant(0),
  n: fc.nat(3),
  m: fc.nat(255),
});

const actions: fc.Arbitrary<Action[]> = fc.array(
  fc.record({
    kind: fc.oneof(...KINDS.map(([weight, kind]) => ({ weight, arbitrary: fc.constant(kind) }))),
    which: fc.nat(3),
    n: fc.nat(20_000),
    m: fc.nat(255),
  }),
  { minLength: 10, maxLength: STEPS, size: 'max' },
);

/** One connection: its peer, its user, and what was seen of it. */
class Line {
  readonly peer: RawPeer;
  readonly user: TestUser;
  /** Set when the host has it. */
  tcb: Tcb | null = null;
  /** Right edge of the window and acknowledgment that the host has told, relative to the peer's numbers. */
  edge = -1;
  acknowledged = -1;
  /** The end of what the host has sent, relative. */
  sentEnd = 0;
  reset = false;
  rcvAdv: Seq | null = null;

  constructor(peer: RawPeer, user: TestUser) {
    this.peer = peer;
    this.user = user;
  }
}

/** What the hosts of all runs have counted: whether the runs get everywhere. */
const totals = new Map<string, number>();

const CONTROLS = ['cubic', 'newreno', 'bbr'] as const;

class Model {
  readonly world: RawWorld;
  readonly lines: Line[] = [];
  readonly listener;
  private nextUser: TestUser | null = null;
  private batching = false;

  /** The first action also says what the host is like. */
  constructor({ n, m }: Action) {
    this.world = new RawWorld({
      seed: 3,
      settings: {
        congestion: CONTROLS[m % CONTROLS.length] ?? 'cubic',
        ecn: n % 2 === 0 ? 'offer' : 'accept',
        slowStartAfterIdle: m % 5 === 0,
        receiveBufferBytes: BUFFER,
        receivePoolBytes: 4 * BUFFER,
        timeWaitUs: 5 * SECOND,
        maxTimeWait: 3,
        keepAliveIdleUs: 100 * SECOND,
        finWait2Us: 20 * SECOND,
        sendLowWaterBytes: 5000,
      },
    });
    this.listener = this.world.listen((tcb) => {
      const line = this.lines.find(({ peer }) => peer.port === tcb.remotePort);
      const user = line?.user ?? this.nextUser ?? new TestUser(this.world);
      user.connection = tcb;
      return user;
    });
  }

  run(action: Action): void {
    if (action.kind === 'batch') {
      // The next steps share a turn.
      this.batching = action.m % 2 === 0;
      if (!this.batching) this.world.settle();
    } else {
      this.act(action);
      if (!this.batching) this.world.settle();
    }
    this.check();
  }

  /** Lets everything come to an end. */
  finish(): void {
    this.world.settle();
    this.check();
    const leaks = this.world.leaks();
    assert(leaks.length === 0, `leaks: ${leaks.join(', ')}`);
    for (const { user } of this.lines) {
      assert(user.regions === 0, `${user.regions} regions were not given back`);
      assert(new Set(user.released).size === user.released.length, 'a region was given back twice');
      assert(user.isIntact, 'the text is not what was sent');
      const ends = user.history.filter((events) => /(^|, )closed/.test(events)).length;
      assert(ends === (user.history.length > 0 ? 1 : 0), `${ends} ends`);
    }
    for (const [name, count] of Object.entries(this.world.host.tcp.counters.snapshot())) {
      totals.set(name, (totals.get(name) ?? 0) + count);
    }
    this.world.close();
  }

  private act(action: Action): void {
    const { n, m } = action;
    if (action.kind === 'open' || action.kind === 'dial') {
      if (this.lines.length < 4) this.open(action);
      return;
    }
    if (action.kind.endsWith('time')) {
      const most =
        { 'a little time': 60 * MILLISECOND, 'some time': 2 * SECOND }[action.kind as string] ?? 200 * SECOND;
      this.world.advance(1 + Math.floor((most * n) / 20_000));
      return;
    }
    const line = this.lines[action.which % Math.max(1, this.lines.length)];
    if (line === undefined) return;
    const alive = line.user.connection !== null && !line.user.closed && line.tcb !== null;
    if (alive) this.call(line, action, line.user.connection as Tcb);
    this.answer(line, action, n, m);
  }

  private open(action: Action): void {
    const { world } = this;
    const user = new TestUser(world);
    user.closes = action.m % 4 === 0;
    user.reads = action.m % 3 !== 0;
    const iss = [0, -3000, 0x7fffffff - 3000, 123_456][action.n % 4] ?? 0;
    const scaling = action.m % 2 === 0 ? { windowScale: action.m % 5 } : {};
    const extras = { ...scaling, sackPermitted: action.m % 7 !== 0 };
    const setup = action.m % 3 === 0 ? 'E' : '';
    if (action.kind === 'open') {
      const peer = new RawPeer(world, { iss });
      peer.timestamps = action.m % 8 >= 4;
      const line = new Line(peer, user);
      this.lines.push(line);
      peer.queue({ flags: setup === '' ? 'S' : 'SEW', mss: 500 + action.m * 4, ...extras });
      world.settle();
      if (action.m % 16 !== 15) peer.queue();
    } else {
      const peer = new RawPeer(world, { port: 8080 + this.lines.length, iss });
      const line = new Line(peer, user);
      this.lines.push(line);
      line.tcb = world.host.tcp.connect(peer.address, peer.port, user);
      user.connection = line.tcb;
      world.call(() => {});
      peer.timestamps = action.m % 8 >= 4;
      if (action.m % 16 === 15) peer.queue({ flags: 'S', mss: 1460, ...extras });
      else if (action.m % 16 !== 14) peer.queue({ flags: `SA${setup}`, mss: 500 + action.m * 4, ...extras });
    }
  }

  private call(line: Line, action: Action, tcb: Tcb): void {
    const { user } = line;
    const { n } = action;
    switch (action.kind) {
      case 'send':
        if (tcb.finQueued) return;
        for (let i = 0; i <= action.m % 5; i++) user.send(tcb, 1 + (n % 7000));
        break;
      case 'read':
        user.read(tcb, n);
        break;
      case 'reading':
        user.reads = !user.reads;
        if (user.reads) user.read(tcb);
        break;
      case 'closeSend':
        closeSend(tcb);
        break;
      case 'close':
        close(tcb);
        break;
      case 'abort':
        abort(tcb);
        break;
    }
    this.world.host.stack.wake();
  }

  private answer(line: Line, action: Action, n: number, m: number): void {
    const { peer } = line;
    if (!peer.knowsHost) return;
    const sentEnd = Math.max(1, line.sentEnd);
    // Its numbers begin with its SYN.
    if (peer.sndNxt === 0 && action.kind !== 'syn') return;
    switch (action.kind) {
      case 'ack all':
        peer.queue();
        break;
      case 'ack some':
        peer.rcvNxt = Math.min(sentEnd, peer.rcvNxt + n);
        peer.queue({ ack: Math.max(0, Math.min(sentEnd, peer.rcvNxt - (m % 3) * 700)) });
        break;
      case 'duplicate ack':
        for (let i = 0; i <= m % 5; i++) peer.queue({ ack: Math.max(1, sentEnd - n) });
        break;
      case 'selective ack':
        peer.queue({ ack: Math.min(peer.rcvNxt, Math.max(1, sentEnd - n)), sack: blocks(sentEnd, n, m) });
        break;
      case 'duplicate report': {
        const ack = Math.max(1, peer.rcvNxt);
        const left = Math.max(1, ack - (n % 3000));
        peer.queue({ ack, sack: [[left, Math.max(left + 1, Math.min(ack, left + 5 * m))]] });
        break;
      }
      case 'congestion echo':
        peer.queue({ flags: 'AE' });
        break;
      case 'congestion mark':
        peer.queue({ flags: m % 2 === 0 ? 'A' : 'AW', data: 1 + (n % 1400), ecn: n % 4 });
        break;
      case 'text':
        for (let i = 0; i <= m % 3; i++) peer.queue({ data: 1 + (n % 1400) });
        break;
      case 'text beyond a gap':
        peer.queue({ seq: peer.sndNxt + (n % 3000), data: 1 + ((n * 7) % 1400) });
        // The gap is the host's to notice: an honest peer goes on from where the host is.
        peer.sndNxt = Math.max(1, line.acknowledged);
        break;
      case 'text again': {
        const seq = Math.max(1, peer.sndNxt - (n % 4000));
        peer.queue({ seq, data: 1 + (m % 250) * 5 });
        break;
      }
      case 'window':
        peer.window = [0, 1, 100, 1460, 5000, 65_535][m % 6] ?? 0;
        peer.queue();
        break;
      case 'fin':
        peer.queue({ flags: 'FA', data: n % 500 });
        break;
      case 'reset':
        peer.queue({ flags: 'R', seq: Math.max(1, line.acknowledged) });
        break;
      case 'reset elsewhere':
        peer.queue({ flags: m % 2 === 0 ? 'R' : 'RA', seq: peer.sndNxt + n - 10_000 });
        break;
      case 'syn':
        // A new incarnation would be another connection.
        if (isGone(line) || this.batching) return;
        peer.queue({
          flags: m % 2 === 0 ? 'S' : 'SA',
          seq: line.user.connected ? ([0, peer.sndNxt, n][m % 3] ?? 0) : 0,
          ack: 1,
        });
        break;
      case 'any segment':
        this.anySegment(line, n, m);
        break;
      case 'fragmentation needed':
        peer.icmpUnreachable(4, Math.max(0, sentEnd - n), 600 + m * 3);
        break;
    }
  }

  private anySegment(line: Line, n: number, m: number): void {
    const { peer } = line;
    const before = peer.sndNxt;
    const letters = [...'FSRPAU'].filter((_, bit) => (m & (1 << bit)) !== 0).join('');
    if ((isGone(line) || !line.user.connected || this.batching) && letters.includes('S')) return;
    peer.queue({
      flags: letters,
      seq: Math.max(1, before + ((n * 31) % 6000) - 3000),
      ack: peer.rcvNxt + ((n * 17) % 6000) - 3000,
      data: n % 1000,
      window: (n * 13) & 0xffff,
    });
    peer.sndNxt = before;
  }

  /** What must hold between any two turns. */
  private check(): void {
    for (const line of this.lines) this.look(line);
    if (this.batching) return;
    const { tcp, stack } = this.world.host;
    const tcbs = (tcp as unknown as { tcbs: Tcb[] }).tcbs;
    const open = tcbs.filter((tcb) => tcb.state !== CLOSED);
    const lingering = tcbs.filter((tcb) => tcb.lingering);
    assert(tcp.liveConnections === open.length + lingering.length, 'TCBs in use are not those that are open');
    assert(tcp.table.size === open.length + tcp.timeWait.live, 'the table is not TCBs and TIME-WAIT records');
    const halfOpen = open.filter(({ state, listener }) => state === SYN_RECEIVED && listener !== null);
    assert(this.listener.halfOpen === halfOpen.length, 'half-open connections');
    assert(!tcp.hasWork, 'a host that has come to rest has work');
    assert(stack.environment.held === 0, 'receive slots are held between turns');
    assert(tcp.receiveQueues.liveRings === tcbs.filter((tcb) => tcb.ring !== null).length, 'rings');
    assert(tcp.receiveMemory.usedBytes <= 4 * BUFFER, 'receive memory');
    const regions = this.lines.reduce((sum, { user }) => sum + user.regions, 0);
    assert(tcp.regions.live === regions, `${tcp.regions.live} regions of ${regions} held by users`);
    for (const tcb of open) assertConnection(tcb);
  }

  /** What the host has sent since the last look. */
  private look(line: Line): void {
    const { peer, user } = line;
    line.tcb ??= user.connection;
    const { tcb } = line;
    const scale = tcb === null || tcb.state === CLOSED ? -1 : tcb.rcvScale;
    for (const seen of peer.takeAll()) {
      const what = writeDown(seen);
      if (seen.flags.includes('R')) {
        if (seen.flags === 'RA') line.reset = true;
        continue;
      }
      assert(!line.reset, `${what} after a reset`);
      assert(pattern(seen.seq - 1, seen.length).equals(seen.payload), `${what}: not the text of the application`);
      line.sentEnd = Math.max(line.sentEnd, seen.seq + seen.length + (/[SF]/.test(seen.flags) ? 1 : 0));
      if (!seen.flags.includes('A')) continue;
      assert(seen.ack >= line.acknowledged, `${what}: acknowledged ${line.acknowledged} before`);
      line.acknowledged = seen.ack;
      if (scale < 0 || seen.flags.includes('S')) continue;
      const edge = seen.ack + (seen.window << scale);
      assert(edge > line.edge - (1 << scale), `${what}: the window shrinks from ${line.edge} to ${edge}`);
      line.edge = Math.max(line.edge, edge);
    }
    if (tcb === null || tcb.state === CLOSED || user.closed) return;
    assert(line.rcvAdv === null || !seqAfter(line.rcvAdv, tcb.rcvAdv), 'RCV.ADV moved back');
    if (tcb.state > SYN_SENT) line.rcvAdv = tcb.rcvAdv;
  }
}

/** Up to three blocks of what the host has sent. */
function blocks(sentEnd: number, n: number, m: number): [number, number][] {
  return Array.from({ length: 1 + (m % 3) }, (_, i) => {
    const left = 1 + ((n * (31 + 7 * i)) % Math.max(1, sentEnd - 1));
    return [left, Math.min(Math.max(left + 1, sentEnd), left + 1 + ((m + 11 * i) % 40) * 150)];
  });
}

/** The host has no connection any more, though the user may have something left to read. */
function isGone({ user, tcb }: Line): boolean {
  return user.closed || tcb?.state === CLOSED;
}

test(`${RUNS} random runs of up to ${STEPS} steps`, (t) => {
  t.timeout(600_000);
  const property = fc.property(first, actions, (opening, steps) => {
    const model = new Model(opening);
    model.run(opening);
    for (const step of steps) model.run(step);
    model.finish();
  });
  const result = fc.check(property, { seed: SEED, numRuns: RUNS, ...(PATH === undefined ? {} : { path: PATH }) });
  if (!result.failed) {
    t.log(Object.fromEntries(totals));
    t.pass();
    return;
  }
  const replay = `EXONET_SEED=${result.seed} EXONET_PATH=${result.counterexamplePath} npx ava test/simulation/model.test.ts`;
  const [opening, rest] = result.counterexample ?? [null, []];
  const steps = [opening, ...rest].map((step) => JSON.stringify(step)).join('\n');
  t.fail(
    `${result.errorInstance instanceof Error ? result.errorInstance.message : 'failed'}\nreplay: ${replay}\n${steps}`,
  );
});
