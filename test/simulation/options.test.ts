/** Options: segment size (RFC 9293 section 3.7.1, RFC 6691), window scale, timestamps and PAWS (RFC 7323). */
import { RawPeer, type Seen } from '../support/raw-peer.ts';
import { MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

const DAY_US = 86_400 * SECOND;

function lengths(seen: readonly Seen[]): number[] {
  return seen.map((segment) => segment.length);
}

/** The SYN-ACK for a SYN with these options. */
function answerTo(world: RawWorld, syn: Parameters<RawPeer['send']>[0]): Seen {
  world.host.tcp.findListener(80)?.close();
  world.listen(new TestUser(world));
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', ...syn });
  const answer = peer.take();
  peer.send({ flags: 'R', seq: 1 });
  return answer;
}

// RFC 9293 3.7.1: MUST-15, 536 when the peer announces nothing; MUST-16, never more than announced, options counted off.
for (const [what, syn, timestamps, expected] of [
  ['no MSS', {}, false, [536, 536, 536, 392]],
  ['MSS 1000', { mss: 1000 }, false, [1000, 1000]],
  ['MSS 1000 and timestamps', { mss: 1000 }, true, [988, 988, 24]],
  ['MSS 9000 over a link of 1500', { mss: 9000 }, false, [1460, 540]],
  ['MSS 0', { mss: 0 }, false, [536, 536, 536, 392]],
] as const) {
  simulate(`${what}: segments of ${expected.join(', ')} bytes`, (t, world) => {
    const peer = new RawPeer(world);
    const user = new TestUser(world);
    world.listen(user);
    peer.timestamps = timestamps;
    peer.send({ flags: 'S', ...syn });
    peer.send();
    peer.takeAll();
    world.call(() => user.connection !== null && user.send(user.connection, 2000));
    t.deepEqual(lengths(peer.takeAll()), [...expected]);
  });
}

simulate('an MSS of 1 does not make a packet of every byte', (t, world) => {
  const { peer, user, tcb } = world.accept({ mss: 1 });
  world.call(() => user.send(tcb, 800));
  t.deepEqual(lengths(peer.takeAll()).slice(0, 2), [88, 88]);
});

simulate('we announce the link less fixed headers, whatever options there are', (t, world) => {
  // RFC 6691 section 2.
  t.is(answerTo(world, { mss: 1460 }).mss, 1460);
  t.is(answerTo(world, { mss: 1460, timestamps: [1, 0] }).mss, 1460);
  t.is(answerTo(world, { mss: 536 }).mss, 1460);
});

simulate('a small link is announced', (t, world) => t.is(answerTo(world, {}).mss, 960), { link: { mtu: 1000 } });

simulate('the SYN-ACK has window scale and timestamps only when the SYN has', (t, world) => {
  // RFC 7323 2.2, 3.2.
  const plain = answerTo(world, { mss: 1460 });
  t.is(plain.windowScale, -1);
  t.false(plain.hasTimestamps);
  const scaled = answerTo(world, { mss: 1460, windowScale: 0 });
  t.is(scaled.windowScale, 7);
  t.false(scaled.hasTimestamps);
  const stamped = answerTo(world, { mss: 1460, timestamps: [4711, 0] });
  t.is(stamped.windowScale, -1);
  t.true(stamped.hasTimestamps);
  t.is(stamped.tsEcho, 4711);
  for (const answer of [plain, scaled, stamped]) t.is(answer.window, 65_535);
});

simulate('our SYN offers everything; what the SYN-ACK lacks is not used', (t, world) => {
  const peer = new RawPeer(world, { port: 8080 });
  const user = new TestUser(world);
  const tcb = world.host.tcp.connect(peer.address, peer.port, user);
  if (tcb === null) throw new Error('no connection');
  world.call(() => {});
  const syn = peer.take();
  t.is(syn.mss, 1460);
  t.is(syn.windowScale, 7);
  t.true(syn.hasTimestamps);
  t.is(syn.tsEcho, 0);
  // The window of a SYN is not scaled (RFC 7323 2.2).
  t.is(syn.window, 65_535);
  peer.send({ flags: 'SA', mss: 1460, window: 3000 });
  const ack = peer.take();
  t.false(ack.hasTimestamps);
  t.is(ack.window, 65_535);
  world.call(() => user.send(tcb, 10_000));
  t.deepEqual(lengths(peer.takeAll()), [1460, 1460]);
});

simulate('windows are scaled both ways when both SYNs say so, but not those of the SYNs', (t, world) => {
  const peer = new RawPeer(world, { port: 8080 });
  const user = new TestUser(world);
  const tcb = world.host.tcp.connect(peer.address, peer.port, user);
  if (tcb === null) throw new Error('no connection');
  world.call(() => user.send(tcb, 10_000));
  peer.takeAll();
  peer.send({ flags: 'SA', mss: 1460, windowScale: 7, window: 3000 });
  // 3000 bytes, not 3000 << 7.
  const first = peer.takeAll();
  t.deepEqual(lengths(first), [1460, 1460]);
  t.is(first[0]?.window, (64 * 1024 - 1) >> 7);
  // 30 << 7 = 3840 bytes.
  peer.send({ window: 30 });
  t.deepEqual(lengths(peer.takeAll()), [1460, 1460]);
  peer.window = 65_535;
  peer.send();
  t.deepEqual(lengths(peer.takeAll()), [1460, 1460, 1240]);
});

simulate('a window scale above 14 is taken as 14', (t, world) => {
  // RFC 7323 2.3.
  const { tcb } = world.accept({ windowScale: 255 });
  t.is(tcb.sndScale, 14);
  t.is(tcb.sndWnd, 65_535 << 14);
});

simulate('options that are unknown or malformed are skipped', (t, world) => {
  // RFC 9293 3.1, MUST-6 and MUST-7.
  const unknown = Buffer.from([254, 4, 0, 0, 2, 4, 0x03, 0xe8]);
  world.listen(new TestUser(world));
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', options: unknown });
  t.is(peer.take().flags, 'SA');
  for (const options of [
    Buffer.from([2, 0, 0, 0]),
    Buffer.from([2, 40, 0, 0]),
    Buffer.from([3, 3, 7, 8]),
    Buffer.from([1, 1, 1, 8]),
    Buffer.from([0, 255, 255, 255]),
  ]) {
    const other = new RawPeer(world);
    other.send({ flags: 'S', options });
    t.is(other.take().flags, 'SA');
  }
});

simulate('timestamps: every segment carries one, ours goes by milliseconds, theirs is echoed', (t, world) => {
  const { peer, user, tcb } = world.accept({ timestamps: true });
  world.call(() => user.send(tcb, 10));
  const first = peer.take();
  t.true(first.hasTimestamps);
  t.is(first.tsEcho, world.tsValue());
  world.advance(250 * MILLISECOND - 1);
  peer.takeAll();
  peer.send({ flags: 'FA', data: 10 });
  const second = peer.take();
  t.is(second.tsEcho, world.tsValue());
  t.true(second.tsValue - first.tsValue >= 249 && second.tsValue - first.tsValue <= 250);
});

simulate('timestamps: the one that is echoed is that of the segment to be acknowledged', (t, world) => {
  const { peer } = world.accept({ timestamps: true });
  const base = world.tsValue() + 1000;
  const echo = peer.lastTsValue;
  peer.send({ data: 1448, timestamps: [base, echo] });
  world.advance(50 * MILLISECOND);
  peer.takeAll();
  // RFC 7323 4.3 (A): delayed ACKs echo the earliest segment that is unacknowledged.
  peer.queue({ data: 1448, timestamps: [base + 1, echo] });
  peer.queue({ data: 1448, timestamps: [base + 2, echo] });
  world.settle();
  t.is(peer.take().tsEcho, base + 1);
  // (B): a hole: the last segment that advanced the window.
  peer.send({ seq: 5345, data: 100, timestamps: [base + 4, echo] });
  t.is(peer.take().tsEcho, base + 1);
  // (C): what fills the hole.
  peer.send({ seq: 4345, data: 1000, timestamps: [base + 3, echo] });
  t.is(peer.take().tsEcho, base + 3);
});

simulate('timestamps: a segment without one is dropped, a reset is not', (t, world) => {
  const { peer, user } = world.accept({ timestamps: true });
  // RFC 7323 3.2.
  peer.send({ seq: 1, data: 10, timestamps: null });
  t.deepEqual(peer.lines(), []);
  t.is(user.receivedBytes, 0);
  peer.send({ flags: 'R', seq: 1, timestamps: null });
  t.is(user.error, 'ECONNRESET');
});

simulate('timestamps that were not negotiated are ignored', (t, world) => {
  const { peer, user } = world.accept();
  peer.send({ data: 10, timestamps: [5, 5] });
  peer.send({ data: 10, timestamps: [3, 5] });
  t.is(user.receivedBytes, 20);
});

simulate('PAWS: an older timestamp is dropped and acknowledged, the same one is not', (t, world) => {
  const { peer, user } = world.accept({ timestamps: true });
  const now = world.tsValue() + 100_000;
  const echo = peer.lastTsValue;
  peer.send({ data: 100, timestamps: [now, echo] });
  peer.takeAll();
  // RFC 7323 5.3 R1.
  peer.send({ seq: 101, data: 100, timestamps: [now - 1, echo] });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 101']);
  t.is(user.receivedBytes, 100);
  t.is(world.host.tcp.drops.get('tcp-paws'), 1);
  peer.send({ seq: 101, data: 100, timestamps: [now, echo] });
  t.is(user.receivedBytes, 200);
  peer.send({ seq: 201, data: 100, timestamps: [(now + 0x7fffffff) | 0, echo] });
  t.is(user.receivedBytes, 300);
});

simulate('PAWS: a reset is judged by its sequence number alone', (t, world) => {
  const { peer, user } = world.accept({ timestamps: true });
  // RFC 7323 5.2: "the RST bit is off"; 5.3 R1.
  peer.send({ flags: 'R', seq: 1, timestamps: [world.tsValue() - 5000, 0] });
  t.is(user.error, 'ECONNRESET');
});

simulate('PAWS: the clock of the peer may wrap', (t, world) => {
  const user = new TestUser(world);
  world.listen(user);
  const peer = new RawPeer(world);
  const echo = () => peer.lastTsValue;
  peer.send({ flags: 'S', mss: 1460, timestamps: [0x7fffffff, 0] });
  peer.send({ timestamps: [0x7fffffff, echo()] });
  peer.send({ data: 10, timestamps: [-0x80000000, echo()] });
  t.is(user.receivedBytes, 10);
  const again = new TestUser(world);
  world.listen(again, 81);
  const other = new RawPeer(world, { hostPort: 81 });
  other.send({ flags: 'S', mss: 1460, timestamps: [-1, 0] });
  other.send({ timestamps: [-1, other.lastTsValue] });
  other.send({ data: 10, timestamps: [0, other.lastTsValue] });
  other.send({ data: 10, timestamps: [1, other.lastTsValue] });
  t.is(again.receivedBytes, 20);
});

simulate('PAWS: after 24 idle days any timestamp will do', (t, world) => {
  const { peer, user } = world.accept({ timestamps: true });
  const old = world.tsValue() - 1000;
  world.advance(23 * DAY_US);
  peer.send({ data: 10, timestamps: [old, peer.lastTsValue] });
  t.is(user.receivedBytes, 0);
  world.advance(2 * DAY_US);
  // RFC 7323 5.5.
  peer.send({ seq: 1, data: 10, timestamps: [old, peer.lastTsValue] });
  t.is(user.receivedBytes, 10);
});

simulate('a forged timestamp does not shut the peer out', (t, world) => {
  const { peer, user } = world.accept({ timestamps: true });
  const future = (world.tsValue() + 0x70000000) | 0;
  // Within the last half megabyte of sequence numbers, or the window, but with an acknowledgment nobody could give.
  for (const flags of ['', 'A', 'S', 'SA', 'R', 'RA', 'F', 'FA']) {
    for (const seq of [1, -100, 500]) {
      for (const ack of [-1_000_000, 1_000_000])
        peer.send({
          flags: flags,
          seq: flags.includes('R') && seq === 1 ? 2 : seq,
          ack,
          data: 1,
          timestamps: [future, 1],
        });
    }
  }
  peer.takeAll();
  peer.send({ seq: 1, ack: 1, data: 100 });
  t.is(user.receivedBytes, 100);
});
