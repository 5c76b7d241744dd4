/** Sequence numbers that pass 2^31 and 2^32 (RFC 9293 section 3.4), in both directions and in every part of a connection. */
import test from 'ava';
import { closeSend, queuedBytes } from '../../src/tcp/calls.ts';
import { seqBits } from '../../src/tcp/sequence.ts';
import { findLeaks } from '../support/leaks.ts';
import { pattern, RawPeer } from '../support/raw-peer.ts';
import { type Connected, MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';
import { Transfer } from '../support/transfer.ts';
import { ADDRESS_B, World } from '../support/world.ts';

const MSS = 1460;
/** RFC 6528 by way of initial-sequence.ts: one every four microseconds. */
const ISN_TICK_US = 4;
/** Where the initial sequence numbers are put: so many bytes before the wrap. */
const BEFORE = 4000;
const EDGES: readonly (readonly [string, number])[] = [
  ['2^31', 0x7fffffff - BEFORE],
  ['2^32', -BEFORE],
];

/** Waits until the host's next ISS for this pair of ports is `target`, and has the peer connect then. */
function acceptAt(world: RawWorld, target: number, peerIss: number): Connected {
  const port = world.nextPort();
  const user = new TestUser(world);
  const listener = world.listen(user);
  const scout = new RawPeer(world, { port });
  scout.send({ flags: 'S', mss: MSS });
  const seen = scout.take();
  scout.send({ flags: 'R', seq: 1 });
  world.detach(scout);
  world.advance(((target - seen.rawSeq) >>> 0) * ISN_TICK_US);
  const peer = new RawPeer(world, { port, iss: peerIss });
  peer.send({ flags: 'S', mss: MSS });
  peer.send();
  listener.close();
  peer.takeAll();
  if (user.connection === null) throw new Error('not accepted');
  if (peer.hostIss !== (target | 0)) throw new Error(`ISS ${peer.hostIss}`);
  return { peer, user, tcb: user.connection };
}

for (const [name, start] of EDGES) {
  simulate(`the host's numbers pass ${name}: sending, time-out, fast retransmit, FIN`, (t, world) => {
    const { peer, user, tcb } = acceptAt(world, start, 5000);
    world.call(() => user.send(tcb, 8 * MSS));
    const first = peer.takeAll();
    t.deepEqual(
      first.map((seen) => seen.seq),
      Array.from({ length: 8 }, (_, i) => 1 + i * MSS),
    );
    t.true(Buffer.concat(first.map((seen) => seen.payload)).equals(pattern(0, 8 * MSS)));
    // An ACK on each side of the edge.
    peer.send({ ack: 1 + MSS });
    t.is(queuedBytes(tcb), 7 * MSS);
    peer.send({ ack: 1 + 2 * MSS });
    t.is(queuedBytes(tcb), 6 * MSS);
    // The third segment, which lies across the edge, is lost.
    for (let i = 0; i < 3; i++) peer.send({ ack: 1 + 2 * MSS });
    t.deepEqual(
      peer.takeAll().map((seen) => seen.seq),
      [1 + 2 * MSS],
    );
    world.advance(300 * MILLISECOND);
    const [again] = peer.takeAll();
    t.is(again?.seq, 1 + 2 * MSS);
    t.true(again?.payload.equals(pattern(2 * MSS, MSS)));
    peer.send({ ack: 1 + 4 * MSS });
    t.is(queuedBytes(tcb), 4 * MSS);
    // Too new and too old are still told apart (RFC 5961 5.2).
    peer.takeAll();
    peer.send({ ack: 2 + 8 * MSS });
    t.is(peer.takeAll().length, 1);
    t.is(queuedBytes(tcb), 4 * MSS);
    peer.send({ ack: 1 });
    t.deepEqual(peer.lines(), []);
    world.call(() => closeSend(tcb));
    peer.send({ ack: 1 + 8 * MSS });
    world.advance(SECOND);
    peer.send({ ack: 2 + 8 * MSS });
    peer.send({ flags: 'FA', ack: 2 + 8 * MSS });
    t.true(user.closed);
    t.is(user.error, '');
  });

  simulate(`the FIN of the host is the number at ${name}`, (t, world) => {
    const { peer, user, tcb } = acceptAt(world, start, 5000);
    world.call(() => {
      user.send(tcb, BEFORE - 1);
      closeSend(tcb);
    });
    t.is(peer.takeAll().at(-1)?.flags, 'FA');
    t.is(queuedBytes(tcb), BEFORE - 1);
    peer.send({ ack: BEFORE });
    t.is(queuedBytes(tcb), 0);
    peer.send({ ack: BEFORE + 1 });
    peer.send({ flags: 'FA', ack: BEFORE + 1 });
    t.true(user.closed);
    t.is(world.host.tcp.timeWait.live, 1);
  });

  simulate(`the window of the peer ends at ${name}, opens, closes`, (t, world) => {
    const { peer, user, tcb } = acceptAt(world, start, 5000);
    peer.window = BEFORE;
    peer.send();
    world.call(() => user.send(tcb, 20_000));
    peer.takeAll();
    peer.send({ ack: 1 + 2 * MSS, window: BEFORE - 2 * MSS });
    world.advance(300 * MILLISECOND);
    peer.send({ ack: BEFORE + 1, window: 0 });
    peer.takeAll();
    world.advance(SECOND);
    t.true(peer.takeAll().every((seen) => seen.length === 0 || seen.seq === BEFORE + 1));
    peer.rcvNxt = BEFORE + 1;
    peer.window = 65_535;
    peer.send();
    for (let i = 0; i < 20 && queuedBytes(tcb) > 0; i++) {
      world.advance(300 * MILLISECOND);
      peer.send();
    }
    t.is(queuedBytes(tcb), 0);
  });

  simulate(`the numbers of the peer pass ${name}: order, gaps, overlaps, FIN`, (t, world) => {
    const { peer, user } = world.accept({ iss: start });
    const { peer: other, user: otherUser, tcb: otherTcb } = world.accept({ iss: start });
    // In order.
    for (let i = 0; i < 8; i++) peer.send({ data: 1000 });
    t.is(user.receivedBytes, 8000);
    t.true(user.isIntact);
    world.advance(50 * MILLISECOND);
    t.is(peer.takeAll().at(-1)?.ack, 8001);
    // Out of order: what lies beyond the edge first, then up to it, then what is missing; the reader is slow.
    otherUser.reads = false;
    for (const seq of [6001, 4501, 2001, 3001, 7001, 1001]) other.send({ seq, data: 1000 });
    t.is(otherUser.receivedBytes, 0);
    other.send({ seq: 1, data: 1000 });
    t.is(other.takeAll().at(-1)?.ack, 4001);
    other.send({ seq: 3901, data: 700 });
    world.call(() => otherUser.read(otherTcb, 2500));
    other.send({ flags: 'FA', seq: 7501, data: 600 });
    t.false(otherUser.peerClosed);
    other.send({ seq: 5401, data: 700 });
    t.true(otherUser.peerClosed);
    otherUser.reads = true;
    world.call(() => otherUser.read(otherTcb));
    t.is(otherUser.receivedBytes, 8100);
    t.true(otherUser.isIntact);
    t.is(other.takeAll().at(-1)?.ack, 8102);
  });

  simulate(`the FIN of the peer is the number at ${name}`, (t, world) => {
    const { peer, user } = world.accept({ iss: start });
    peer.send({ flags: 'FA', seq: 3001, data: BEFORE - 3001 });
    for (let seq = 1; seq < 3000; seq += 1000) peer.send({ flags: 'A', seq, data: 1000 });
    t.is(user.receivedBytes, BEFORE - 1);
    t.true(user.peerClosed);
    t.is(peer.takeAll().at(-1)?.ack, BEFORE + 1);
  });

  simulate(
    `the window of the host ends at ${name}`,
    (t, world) => {
      const { peer, user, tcb } = world.accept({ iss: (start - 96) | 0 });
      user.reads = false;
      for (let i = 0; i < 4; i++) peer.send({ data: 1024 });
      world.advance(50 * MILLISECOND);
      const last = peer.takeAll().at(-1);
      t.is(last?.ack, 4097);
      t.is(last?.window, 0);
      peer.send({ seq: 4097, data: 1 });
      t.deepEqual(peer.lines(), ['A 1:1(0) ack 4097']);
      peer.send({ flags: 'R', seq: 4098 });
      peer.send({ flags: 'R', seq: 4096 });
      t.false(user.closed);
      world.call(() => user.read(tcb));
      peer.send({ seq: 4097, data: 100 });
      user.reads = true;
      world.call(() => user.read(tcb));
      t.is(user.receivedBytes, 4196);
      t.true(user.isIntact);
      peer.send({ flags: 'R', seq: 4197 });
      t.is(user.error, 'ECONNRESET');
    },
    { settings: { receiveBufferBytes: 4096 } },
  );

  simulate(`TIME-WAIT just before ${name}, and a new connection after it`, (t, world) => {
    const { peer, tcb } = acceptAt(world, (start + BEFORE) | 0, (start + BEFORE - 1) | 0);
    peer.send({ data: 1 });
    world.call(() => closeSend(tcb));
    peer.send();
    peer.send({ flags: 'FA' });
    t.is(world.host.tcp.timeWait.live, 1);
    const user = new TestUser(world);
    world.listen(user);
    peer.send({ flags: 'S', seq: -10 });
    t.is(peer.takeAll().at(-1)?.flags, 'A');
    const again = new RawPeer(world, { port: peer.port, iss: (peer.iss + 100) | 0 });
    again.send({ flags: 'S', mss: MSS });
    const answer = again.take();
    t.is(answer.flags, 'SA');
    t.true(((answer.rawSeq - peer.hostIss) | 0) > 0);
    again.send();
    t.true(user.connected);
  });

  for (const side of ['a', 'b'] as const) {
    test(`two hosts over a bad wire, numbers of ${side} pass ${name}`, (t) => {
      const bytes = 100_000;
      const build = () => {
        const world = new World({
          seed: 77,
          link: { delayUs: 2000, faults: { loss: 0.05, reordering: 0.1, duplication: 0.05 } },
          settingsA: { receivePoolBytes: 8 << 20, maxTimeWait: 64 },
          settingsB: { receivePoolBytes: 8 << 20, maxTimeWait: 64 },
        });
        const at = world.arena.allocate(bytes);
        world.random.fill(world.arena.bytes.subarray(at, at + bytes));
        let iss = 0;
        const a = new Transfer(world, at, bytes, at, bytes);
        const b = new Transfer(world, at, bytes, at, bytes);
        world.b.tcp.listen(80, (tcb) => {
          if (side === 'b') iss = seqBits(tcb.iss);
          return b;
        });
        const connect = () => {
          const tcb = world.a.tcp.connect(ADDRESS_B, 80, a);
          if (side === 'a' && tcb !== null) iss = seqBits(tcb.iss);
          world.a.stack.wake();
        };
        return { world, a, b, connect, iss: () => iss };
      };
      // The first world tells where the numbers start, the second begins when they start near the edge.
      const scout = build();
      scout.world.run(20 * SECOND);
      scout.connect();
      scout.world.run(100 * SECOND, () => scout.a.closed && scout.b.closed);
      const distance = ((start + BEFORE - 50_000 - scout.iss()) >>> 0) * ISN_TICK_US;
      scout.world.close();
      const { world, a, b, connect, iss } = build();
      world.run(20 * SECOND + distance);
      connect();
      world.run(200 * SECOND, () => a.closed && b.closed);
      // SYNs that were lost move b's number a little.
      const before = (start + BEFORE - iss()) >>> 0;
      t.true(before > 0 && before < bytes, `${before} bytes before the edge`);
      t.true(a.complete && b.complete, `a ${a.received} ${a.error}, b ${b.received} ${b.error}`);
      world.run(130 * SECOND);
      t.deepEqual(findLeaks(world.a), []);
      t.deepEqual(findLeaks(world.b), []);
      world.close();
    });
  }
}
