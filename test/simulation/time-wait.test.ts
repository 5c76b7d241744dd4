/** TIME-WAIT (RFC 9293 section 3.6.1, RFC 1337, RFC 6191). */
import { closeSend } from '../../src/tcp/calls.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { type OpenOptions, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

/** A peer whose connection to port 80 is in TIME-WAIT: it has sent a byte, the next number to receive is 3. */
function inTimeWait(world: RawWorld, options: OpenOptions = {}): RawPeer {
  const { peer, tcb } = world.accept(options);
  peer.send({ data: 1 });
  world.call(() => closeSend(tcb));
  peer.send();
  peer.send({ flags: 'FA' });
  peer.takeAll();
  return peer;
}

simulate('resets that nothing asked for are ignored', (t, world) => {
  const peer = inTimeWait(world);
  // RFC 1337 section 3, the first fix.
  for (const seq of [2, 3, 4, 1000]) peer.send({ flags: 'R', seq });
  peer.send({ flags: 'RA', seq: 3 });
  t.is(world.host.tcp.timeWait.live, 1);
  t.deepEqual(peer.lines(), []);
});

simulate('old text and old SYNs are answered with an ACK, an ACK in order with nothing', (t, world) => {
  world.listen(new TestUser(world));
  const listener = world.host.tcp.findListener(80);
  listener?.close();
  const peer = inTimeWait(world);
  world.listen(new TestUser(world));
  peer.send({ seq: 1, data: 1 });
  t.deepEqual(peer.lines(), ['A 2:2(0) ack 3']);
  peer.send({ seq: 3, data: 10 });
  t.deepEqual(peer.lines(), ['A 2:2(0) ack 3']);
  peer.send({ flags: 'S', seq: -100 });
  t.deepEqual(peer.lines(), ['A 2:2(0) ack 3']);
  peer.send({ flags: 'S', seq: 3 });
  t.deepEqual(peer.lines(), ['A 2:2(0) ack 3']);
  peer.send({ flags: 'SA', seq: 5000, ack: 2 });
  t.deepEqual(peer.lines(), ['A 2:2(0) ack 3']);
  peer.send({ seq: 3 });
  t.deepEqual(peer.lines(), []);
  t.is(world.host.tcp.timeWait.live, 1);
});

simulate('a reset that follows the answer to an old SYN, and fits it, ends the wait', (t, world) => {
  const peer = inTimeWait(world);
  world.listen(() => new TestUser(world));
  // RFC 9293 figure 9: the new incarnation's SYN looks old, and its end resets what it is answered.
  peer.send({ flags: 'S', seq: -100 });
  t.deepEqual(peer.lines(), ['A 2:2(0) ack 3']);
  for (const seq of [2, 4, -100]) peer.send({ flags: 'R', seq });
  t.is(world.host.tcp.timeWait.live, 1);
  peer.send({ flags: 'R', seq: 3 });
  t.is(world.host.tcp.timeWait.live, 0);
  t.deepEqual(peer.lines(), []);
  const again = new RawPeer(world, { port: peer.port, iss: peer.iss - 100 });
  again.send({ flags: 'S', mss: 1460 });
  t.is(again.take().flags, 'SA');
});

simulate('a reset after old text does not', (t, world) => {
  const peer = inTimeWait(world);
  peer.send({ seq: 1, data: 1 });
  peer.send({ flags: 'R', seq: 3 });
  t.is(world.host.tcp.timeWait.live, 1);
});

simulate('a SYN with a later sequence number opens a new connection, whose ISN lies beyond the old one', (t, world) => {
  const peer = inTimeWait(world);
  const user = new TestUser(world);
  world.listen(user);
  // RFC 9293 3.10.7.4, MAY-2 (RFC 1122 4.2.2.13, RFC 6191).
  const again = new RawPeer(world, { port: peer.port, iss: peer.iss + 4 });
  again.send({ flags: 'S', mss: 1460 });
  const answer = again.take();
  t.is(answer.flags, 'SA');
  t.is(answer.ack, 1);
  t.true(((answer.rawSeq - (peer.hostIss + 2)) | 0) > 0);
  t.is(world.host.tcp.timeWait.live, 0);
  again.send({ data: 50 });
  t.true(user.connected);
  t.is(user.receivedBytes, 50);
});

simulate('nobody listens any more: a later SYN is answered with an ACK', (t, world) => {
  const peer = inTimeWait(world);
  peer.send({ flags: 'S', seq: 5000 });
  t.deepEqual(peer.lines(), ['A 2:2(0) ack 3']);
  t.is(world.host.tcp.timeWait.live, 1);
});

for (const [what, tsShift, seq, opens] of [
  ['a later timestamp, and an earlier sequence number', 1, -50_000, true],
  ['the same timestamp, and a later sequence number', 0, 5000, true],
  ['the same timestamp, and an earlier sequence number', 0, -5000, false],
  ['an earlier timestamp, and a later sequence number', -1, 5000, false],
  ['no timestamp, and a later sequence number', null, 5000, true],
  ['no timestamp, and an earlier sequence number', null, -5000, false],
] as const) {
  simulate(`with timestamps, a SYN with ${what} ${opens ? 'opens' : 'does not open'} a new connection`, (t, world) => {
    const peer = inTimeWait(world, { timestamps: true });
    const user = new TestUser(world);
    world.listen(user);
    const last = world.tsValue();
    const again = new RawPeer(world, { port: peer.port, iss: peer.iss + seq });
    // RFC 6191 section 2.
    again.send({ flags: 'S', mss: 1460, timestamps: tsShift === null ? null : [last + tsShift, 0] });
    const answer = again.take();
    t.is(answer.flags, opens ? 'SA' : 'A');
    if (opens) t.true(((answer.rawSeq - (peer.hostIss + 2)) | 0) > 0);
    else t.true(answer.hasTimestamps);
    t.is(world.host.tcp.timeWait.live, opens ? 0 : 1);
  });
}

for (const [what, seq, timestamps, opens] of [
  ['a timestamp, and an earlier sequence number', -10, true, true],
  ['a timestamp, and a later sequence number', 10, true, true],
  ['no timestamp, and an earlier sequence number', -10, false, false],
  ['no timestamp, and a later sequence number', 10, false, true],
] as const) {
  simulate(
    `without timestamps, a SYN with ${what} ${opens ? 'opens' : 'does not open'} a new connection`,
    (t, world) => {
      const peer = inTimeWait(world);
      world.listen(() => new TestUser(world));
      const again = new RawPeer(world, { port: peer.port, iss: peer.iss + seq });
      // RFC 6191 section 2.
      again.send({ flags: 'S', mss: 1460, timestamps: timestamps ? [1, 0] : null });
      t.is(again.take().flags, opens ? 'SA' : 'A');
      t.is(world.host.tcp.timeWait.live, opens ? 0 : 1);
    },
  );
}

simulate(
  'the oldest record makes room for a new one',
  (t, world) => {
    const peers = [inTimeWait(world), inTimeWait(world), inTimeWait(world)];
    t.is(world.host.tcp.timeWait.live, 2);
    t.is(world.host.tcp.counters.get('timeWaitEvicted'), 1);
    const answers = peers.map((peer) => {
      peer.send({ flags: 'FA', seq: 2 });
      return peer.take().flags;
    });
    t.deepEqual(answers, ['R', 'A', 'A']);
  },
  { settings: { maxTimeWait: 2 } },
);

simulate('an active open to the same place takes another port', (t, world) => {
  const ports = new Set<number>();
  for (let i = 0; i < 20; i++) {
    const { peer, tcb } = world.connect();
    ports.add(tcb.localPort);
    world.call(() => closeSend(tcb));
    peer.send();
    peer.send({ flags: 'FA' });
    world.detach(peer);
  }
  t.is(ports.size, 20);
  t.is(world.host.tcp.timeWait.live, 20);
  world.advance(61 * SECOND);
  t.is(world.host.tcp.timeWait.live, 0);
});

simulate('TIME-WAIT keeps ports apart from a new connection that the other side opens', (t, world) => {
  const { peer, tcb } = world.connect();
  world.call(() => closeSend(tcb));
  peer.send();
  peer.send({ flags: 'FA' });
  t.is(peer.takeAll().at(-1)?.flags, 'A');
  const { tcb: next } = world.accept();
  t.not(next.remotePort, 0);
  t.is(world.host.tcp.timeWait.live, 1);
});
