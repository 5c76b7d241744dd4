/** Opening connections (RFC 9293 section 3.5), segment by segment, against a scripted peer. */
import { abort, closeSend } from '../../src/tcp/calls.ts';
import { ESTABLISHED, SYN_RECEIVED } from '../../src/tcp/state.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { MILLISECOND, SECOND } from '../support/raw-world.ts';
import { assertOnTime, simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

/** RFC 6298: one second, doubled each time. */
const SYN_TIMES_S = [0, 1, 3, 7, 15, 31, 63];
const SYN_GIVE_UP_S = 127;

simulate('passive open', (t, world) => {
  const user = new TestUser(world);
  world.listen(user);
  const peer = new RawPeer(world);
  // RFC 9293 3.5 figure 6, the other side's view.
  peer.send({ flags: 'S', mss: 1460 });
  const answer = peer.take();
  t.is(answer.flags, 'SA');
  t.is(answer.ack, 1);
  t.is(answer.timeUs, world.nowUs);
  t.false(user.connected);
  peer.send();
  t.deepEqual(peer.lines(), []);
  t.deepEqual(user.history, ['connected']);
});

simulate('active open', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  world.host.tcp.connect(peer.address, peer.port, user);
  world.call(() => {});
  t.deepEqual(peer.lines(), ['S 0:0(0)']);
  t.deepEqual(user.history, []);
  peer.send({ flags: 'SA', mss: 1460 });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
  t.deepEqual(user.history, ['connected']);
});

simulate('simultaneous open: both SYNs cross, both SYN-ACKs cross', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  const tcb = world.host.tcp.connect(peer.address, peer.port, user);
  world.call(() => {});
  t.deepEqual(peer.lines(), ['S 0:0(0)']);
  // RFC 9293 3.5 figure 7.
  peer.send({ flags: 'S', mss: 1460 });
  t.deepEqual(peer.lines(), ['SA 0:0(0) ack 1']);
  t.is(tcb?.state, SYN_RECEIVED);
  peer.send({ flags: 'SA', seq: 0, ack: 1, mss: 1460 });
  t.is(tcb?.state, ESTABLISHED);
  t.deepEqual(user.history, ['connected']);
  t.true(peer.takeAll().length <= 1, 'at most an acknowledgment');
  peer.send({ data: 100 });
  if (tcb !== null) world.call(() => user.send(tcb, 50));
  t.is(user.receivedBytes, 100);
  t.is(peer.lines().at(-1), 'A 1:51(50) ack 101');
  // Nothing of the handshake is sent again.
  peer.send();
  world.advance(10 * SECOND);
  t.deepEqual(peer.lines(), []);
});

simulate('simultaneous open: the peer answers with an ACK', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  world.host.tcp.connect(peer.address, peer.port, user);
  world.call(() => {});
  peer.send({ flags: 'S', mss: 1460 });
  peer.takeAll();
  peer.send({ flags: 'A', seq: 1, ack: 1 });
  t.deepEqual(user.history, ['connected']);
  t.deepEqual(peer.lines(), []);
});

simulate('simultaneous open: a FIN asked for in SYN-RECEIVED follows in ESTABLISHED', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  const tcb = world.host.tcp.connect(peer.address, peer.port, user);
  world.call(() => {});
  peer.send({ flags: 'S', mss: 1460 });
  peer.takeAll();
  // RFC 9293 3.10.4: in SYN-RECEIVED, queue for processing after entering ESTABLISHED.
  world.call(() => tcb !== null && closeSend(tcb));
  t.deepEqual(peer.lines(), []);
  peer.send({ flags: 'A', seq: 1, ack: 1 });
  t.deepEqual(peer.lines(), ['FA 1:1(0) ack 1']);
});

simulate('a SYN nobody answers is sent again at 1, 3, 7, 15, 31, 63 s and given up at 127 s', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  world.host.tcp.connect(peer.address, peer.port, user);
  const startUs = world.nowUs;
  world.call(() => {});
  world.runUntil(() => user.closed, 1000 * SECOND);
  const syns = peer.takeAll();
  // RFC 6298 2.1, 5.5; the same SYN each time.
  t.is(syns.length, SYN_TIMES_S.length);
  let dueUs = startUs;
  for (const [index, syn] of syns.entries()) {
    t.is(syn.flags, 'S');
    t.is(syn.seq, 0);
    t.is(syn.mss, 1460);
    assertOnTime(t, syn.timeUs, dueUs, `SYN ${index}`);
    dueUs = syn.timeUs + SECOND * 2 ** index;
  }
  assertOnTime(t, user.closedAtUs, dueUs, 'giving up');
  t.true(Math.abs(user.closedAtUs - startUs - SYN_GIVE_UP_S * SECOND) < 10_000);
  t.is(user.error, 'ETIMEDOUT');
  t.deepEqual(user.history, ['closed']);
});

simulate('a SYN-ACK nobody answers is sent again with back-off and given up', (t, world) => {
  const user = new TestUser(world);
  const listener = world.listen(user);
  const peer = new RawPeer(world);
  const startUs = world.nowUs;
  peer.send({ flags: 'S', mss: 1460 });
  world.advance(200 * SECOND);
  const answers = peer.takeAll();
  const synAcks = answers.filter((seen) => seen.flags === 'SA');
  // One attempt fewer than for a SYN, as in Linux (tcp_synack_retries).
  t.is(synAcks.length, SYN_TIMES_S.length - 1);
  let dueUs = startUs;
  for (const [index, seen] of synAcks.entries()) {
    t.is(seen.seq, 0);
    t.is(seen.ack, 1);
    assertOnTime(t, seen.timeUs, dueUs, `SYN-ACK ${index}`);
    dueUs = seen.timeUs + SECOND * 2 ** index;
  }
  t.is(listener.halfOpen, 0);
  t.is(world.host.tcp.liveConnections, 0);
  t.deepEqual(user.history, []);
});

simulate('a SYN-ACK that was lost is sent again for the SYN that comes again', (t, world) => {
  const user = new TestUser(world);
  world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  const first = peer.take();
  world.advance(SECOND / 2);
  peer.send({ flags: 'S', seq: 0, mss: 1460 });
  const second = peer.take();
  t.is(second.flags, 'SA');
  t.is(second.rawSeq, first.rawSeq);
  t.is(second.ack, 1);
  peer.send({ seq: 1, ack: 1 });
  t.deepEqual(user.history, ['connected']);
  t.is(world.host.tcp.liveConnections, 1);
});

simulate('Karn: a SYN-ACK that was sent twice is not timed', (t, world) => {
  const user = new TestUser(world);
  world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  world.advance(900_000);
  // RFC 6298 section 3: no sample from a segment that was retransmitted.
  peer.send({ flags: 'S', seq: 0, mss: 1460 });
  peer.send({ seq: 1, ack: 1 });
  t.is(user.connection?.srttUs, 0);
});

simulate('Karn: a SYN that was sent again as SYN-ACK of a simultaneous open is not timed', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  world.host.tcp.connect(peer.address, peer.port, user);
  world.call(() => {});
  world.advance(900_000);
  peer.send({ flags: 'S', mss: 1460 });
  peer.send({ seq: 1, ack: 1 });
  t.true(user.connected);
  t.is(user.connection?.srttUs, 0);
});

simulate('the last ACK of the handshake was lost: the SYN-ACK that comes again is acknowledged again', (t, world) => {
  const { peer, user } = world.connect();
  // RFC 9293 3.10.7.4: an unacceptable segment is answered with an acknowledgment.
  peer.send({ flags: 'SA', seq: 0, ack: 1, mss: 1460 });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
  t.deepEqual(user.history, ['connected']);
});

simulate('refused by a port nobody listens on', (t, world) => {
  const peer = new RawPeer(world);
  // RFC 9293 3.10.7.1: <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>.
  peer.send({ flags: 'S', mss: 1460 });
  let seen = peer.take();
  t.is(seen.flags, 'RA');
  t.is(seen.rawSeq, 0);
  t.is(seen.ack, 1);
  peer.send({ flags: 'SF', seq: 0, data: 10 });
  seen = peer.take();
  t.is(seen.flags, 'RA');
  t.is(seen.ack, 12);
  // <SEQ=SEG.ACK><CTL=RST> for what carries an ACK.
  peer.send({ flags: 'A', seq: 5, ack: 777, data: 3 });
  seen = peer.take();
  t.is(seen.flags, 'R');
  t.is(seen.rawSeq, 777);
  // A reset is never answered.
  peer.send({ flags: 'R', seq: 5 });
  peer.send({ flags: 'RA', seq: 5, ack: 777 });
  t.deepEqual(peer.lines(), []);
});

simulate('refused by the peer', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  world.host.tcp.connect(peer.address, peer.port, user);
  world.call(() => {});
  peer.takeAll();
  // RFC 9293 3.10.7.3, second: a reset counts only with an acceptable ACK.
  peer.send({ flags: 'R', seq: 0 });
  peer.send({ flags: 'RA', seq: 0, ack: 0 });
  peer.send({ flags: 'RA', seq: 0, ack: 2 });
  t.deepEqual(user.history, []);
  peer.send({ flags: 'RA', seq: 0, ack: 1 });
  t.deepEqual(user.history, ['closed']);
  t.is(user.error, 'ECONNREFUSED');
  t.deepEqual(peer.lines(), []);
});

simulate(
  'SYN-SENT: a SYN-ACK that acknowledges something else is reset, and the right one still connects',
  (t, world) => {
    const user = new TestUser(world);
    const peer = new RawPeer(world, { port: 8080 });
    world.host.tcp.connect(peer.address, peer.port, user);
    world.call(() => {});
    peer.takeAll();
    // RFC 9293 3.10.7.3, first; 3.5.1 figure 8: an old connection's SYN-ACK.
    for (const ack of [0, 2, -5000, 5000]) {
      peer.send({ flags: 'SA', seq: 0, ack, mss: 1460 });
      const seen = peer.take();
      t.is(seen.flags, 'R');
      t.is(seen.seq, ack);
    }
    // An ACK alone, acceptable or not, does nothing (fifth).
    peer.send({ flags: 'A', seq: 1, ack: 1 });
    t.deepEqual(peer.lines(), []);
    peer.send({ flags: 'SA', seq: 0, ack: 1, mss: 1460 });
    t.deepEqual(user.history, ['connected']);
  },
);

simulate('SYN-SENT: after the reset of an older incarnation the SYN goes again at once, once', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  world.host.tcp.connect(peer.address, peer.port, user);
  world.call(() => {});
  peer.takeAll();
  // The peer is in TIME-WAIT and answers the SYN with its last acknowledgment; strangers have used up the resets.
  while (world.host.tcp.takeChallenge());
  peer.send({ flags: 'A', seq: 77, ack: 5000 });
  t.is(peer.take().flags, 'R');
  t.deepEqual(peer.lines(), []);
  world.advance(10 * MILLISECOND);
  t.deepEqual(peer.lines(), ['S 0:0(0)']);
  // Whoever goes on is no peer in TIME-WAIT.
  peer.send({ flags: 'A', seq: 77, ack: 5000 });
  world.advance(100 * MILLISECOND);
  t.deepEqual(peer.lines(), []);
  peer.send({ flags: 'SA', seq: 0, ack: 1, mss: 1460 });
  t.deepEqual(user.history, ['connected']);
});

simulate('LISTEN: only a SYN without ACK or RST opens a connection', (t, world) => {
  world.listen(new TestUser(world));
  const peer = new RawPeer(world);
  // RFC 9293 3.10.7.2.
  for (const flags of ['', 'F', 'P', 'U', 'R', 'RA', 'SR', 'SRA']) peer.send({ flags, seq: 0, ack: 9, data: 1 });
  t.deepEqual(peer.lines(), []);
  for (const flags of ['A', 'FA', 'SA', 'PA']) {
    peer.send({ flags, seq: 0, ack: 9 });
    const seen = peer.take();
    t.is(seen.flags, 'R');
    t.is(seen.rawSeq, 9);
  }
  t.is(world.host.tcp.liveConnections, 0);
});

simulate(
  'backlog full, no cookies: a SYN is dropped without a word and gets in when there is room',
  (t, world) => {
    const users: TestUser[] = [];
    const take = () => {
      const user = new TestUser(world);
      users.push(user);
      return user;
    };
    const listener = world.listen(take, 80, 2);
    const [first, second, third] = [new RawPeer(world), new RawPeer(world), new RawPeer(world)];
    for (const peer of [first, second, third]) peer.send({ flags: 'S', mss: 1460 });
    t.is(first.takeAll().length, 1);
    t.is(second.takeAll().length, 1);
    t.deepEqual(third.lines(), []);
    t.is(listener.halfOpen, 2);
    t.is(world.host.tcp.drops.get('tcp-backlog'), 1);
    first.send();
    t.is(listener.halfOpen, 1);
    third.send({ flags: 'S', seq: 0, mss: 1460 });
    t.deepEqual(third.lines(), ['SA 0:0(0) ack 1']);
    third.send();
    second.send();
    t.is(users.length, 3);
    t.is(listener.halfOpen, 0);
  },
  { settings: { synCookies: false } },
);

simulate(
  'too many connections: a SYN is dropped without a word',
  (t, world) => {
    world.listen(() => new TestUser(world));
    const peers = Array.from({ length: 4 }, () => new RawPeer(world));
    for (const peer of peers) peer.send({ flags: 'S', mss: 1460 });
    t.deepEqual(
      peers.map((peer) => peer.takeAll().length),
      [1, 1, 1, 0],
    );
    t.is(world.host.tcp.connect(world.peerAddress, 99, new TestUser(world)), null);
  },
  { settings: { maxConnections: 3 } },
);

simulate(
  'SYN-RECEIVED: another SYN in the window is challenged, and one outside it is acknowledged',
  (t, world) => {
    const user = new TestUser(world);
    world.listen(user);
    const peer = new RawPeer(world);
    peer.send({ flags: 'S', mss: 1460 });
    peer.takeAll();
    // RFC 9293 3.10.7.4, first and fourth (RFC 5961 4.2).
    peer.send({ flags: 'S', seq: 1000 });
    t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
    peer.send({ flags: 'S', seq: -1000 });
    t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
    peer.send({ seq: 1, ack: 1 });
    t.deepEqual(user.history, ['connected']);
  },
  { settings: { invalidRateLimitUs: 0 } },
);

simulate('SYN-RECEIVED: a reset at the next sequence number ends it, any other does not', (t, world) => {
  const user = new TestUser(world);
  const listener = world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  peer.takeAll();
  peer.send({ flags: 'R', seq: 0 });
  peer.send({ flags: 'R', seq: 100_000 });
  t.deepEqual(peer.lines(), []);
  t.is(listener.halfOpen, 1);
  peer.send({ flags: 'R', seq: 1 });
  t.deepEqual(peer.lines(), []);
  t.is(listener.halfOpen, 0);
  t.is(world.host.tcp.liveConnections, 0);
  // RFC 9293 3.10.7.4, second: back to LISTEN; the user was never told.
  t.deepEqual(user.history, []);
  const again = new RawPeer(world, { port: peer.port, iss: 77 });
  again.send({ flags: 'S', mss: 1460 });
  again.send();
  t.deepEqual(user.history, ['connected']);
});

simulate('SYN-RECEIVED: an ACK of something never sent is reset, and the right one still connects', (t, world) => {
  const user = new TestUser(world);
  world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  peer.takeAll();
  // RFC 9293 3.10.7.4, fifth.
  for (const ack of [0, 2, 100_000, -100_000]) {
    peer.send({ seq: 1, ack });
    const seen = peer.take();
    t.is(seen.flags, 'R');
    t.is(seen.seq, ack);
  }
  t.is(world.host.tcp.liveConnections, 1);
  peer.send({ seq: 1, ack: 1 });
  t.deepEqual(user.history, ['connected']);
});

simulate('text and FIN of the ACK that completes the handshake are taken', (t, world) => {
  const user = new TestUser(world);
  world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  peer.takeAll();
  peer.send({ flags: 'FA', data: 100 });
  t.deepEqual(user.history, ['connected, readable, peer closed']);
  t.is(user.receivedBytes, 100);
  t.true(user.isIntact);
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 102']);
});

simulate('text of a SYN is left to be sent again', (t, world) => {
  const user = new TestUser(world);
  world.listen(user);
  const peer = new RawPeer(world);
  // RFC 9293 3.10.7.2: it may be queued for ESTABLISHED; it must not be delivered before.
  peer.send({ flags: 'S', data: 20, mss: 1460 });
  t.deepEqual(peer.lines(), ['SA 0:0(0) ack 1']);
  peer.send({ seq: 1, data: 20 });
  t.is(user.receivedBytes, 20);
});

simulate('text and FIN of a SYN-ACK are taken', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  world.host.tcp.connect(peer.address, peer.port, user);
  world.call(() => {});
  peer.takeAll();
  // RFC 9293 3.10.7.3, fourth: "If there are other controls or text in the segment, then continue processing".
  peer.send({ flags: 'SAF', data: Buffer.from('hello'), mss: 1460 });
  t.deepEqual(user.history, ['connected, readable, peer closed']);
  t.is(user.text.toString(), 'hello');
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 7']);
});

simulate('text queued in SYN-SENT leaves with the ACK of the handshake', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  const tcb = world.host.tcp.connect(peer.address, peer.port, user);
  if (tcb === null) throw new Error('no connection');
  world.call(() => user.send(tcb, 300));
  t.deepEqual(peer.lines(), ['S 0:0(0)']);
  peer.send({ flags: 'SA', mss: 1460 });
  t.deepEqual(peer.lines(), ['A 1:301(300) ack 1']);
});

simulate('a listener that closes resets what was half open', (t, world) => {
  const user = new TestUser(world);
  const listener = world.listen(user);
  const peer = new RawPeer(world);
  const other = world.accept({ hostPort: 81 });
  peer.send({ flags: 'S', mss: 1460 });
  peer.takeAll();
  // RFC 9293 3.10.4, CLOSE in LISTEN; what it was about to accept is not left to time out.
  world.call(() => listener.close());
  const [reset] = peer.takeAll();
  t.is(reset?.flags, 'RA');
  t.is(reset?.seq, 1);
  t.is(world.host.tcp.liveConnections, 1);
  peer.send();
  t.is(peer.take().flags, 'R');
  t.deepEqual(user.history, []);
  other.peer.send({ data: 10 });
  t.is(other.user.receivedBytes, 10);
});

simulate('a listener that closes in the turn in which the handshake is completed', (t, world) => {
  const user = new TestUser(world);
  const listener = world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  peer.takeAll();
  user.onReady = () => listener.close();
  peer.send();
  t.deepEqual(user.history, ['connected']);
  t.deepEqual(peer.lines(), []);
  peer.send({ data: 5 });
  t.is(user.receivedBytes, 5);
});

simulate('CLOSE and ABORT in SYN-SENT end it without a segment', (t, world) => {
  for (const end of [closeSend, abort]) {
    const user = new TestUser(world);
    const peer = new RawPeer(world, { port: 8080 });
    const tcb = world.host.tcp.connect(peer.address, peer.port, user);
    world.call(() => {});
    peer.takeAll();
    world.call(() => tcb !== null && end(tcb));
    t.deepEqual(user.history, ['closed']);
    t.is(user.error, end === abort ? 'ECONNABORTED' : '');
    t.deepEqual(peer.lines(), []);
    // The peer's answer comes too late.
    peer.send({ flags: 'SA', mss: 1460 });
    t.is(peer.take().flags, 'R');
    world.detach(peer);
  }
});

simulate('RFC 6528: two connections in a row differ in ISN, the later one of a pair of ports is higher', (t, world) => {
  const seen: number[] = [];
  for (let i = 0; i < 5; i++) {
    const peer = new RawPeer(world, { port: 30_000 });
    world.listen(new TestUser(world), 80 + i);
    peer.hostPort = 80;
    peer.send({ flags: 'S', mss: 1460 });
    seen.push(peer.take().rawSeq);
    peer.send({ flags: 'R', seq: 1 });
    world.detach(peer);
    world.advance(1000);
  }
  for (let i = 1; i < seen.length; i++) t.is(((seen[i] ?? 0) - (seen[i - 1] ?? 0)) | 0, 250);
});

simulate('a SYN from an address that is no other host is dropped without a word', (t, world) => {
  const listener = world.listen(new TestUser(world));
  // RFC 9293 3.9.2.3, MUST-57 and MUST-63; our own address is the "land" attack.
  for (const address of [world.hostAddress, 0x7f000001, 0xe0000001 | 0, 0xffffffff | 0, 0x0a0000ff, 0x0a000000, 0]) {
    const peer = new RawPeer(world, { address, port: 80 });
    peer.send({ flags: 'S', mss: 1460 });
    t.deepEqual(peer.lines(), []);
  }
  t.is(listener.halfOpen, 0);
  t.is(world.host.tcp.liveConnections, 0);
});

simulate('a half-open connection: the peer has forgotten it and opens it anew', (t, world) => {
  const { peer, user } = world.accept();
  peer.send({ data: 100 });
  peer.takeAll();
  const again = new TestUser(world);
  world.listen(again);
  // RFC 9293 3.5.1 figure 9: SYN, ACK, RST, SYN.
  const reborn = new RawPeer(world, { port: peer.port, iss: peer.iss + 500_000_000 });
  reborn.send({ flags: 'S', mss: 1460 });
  const ack = reborn.take();
  t.is(ack.flags, 'A');
  t.is(ack.rawAck, peer.iss + 101);
  reborn.send({ flags: 'R', seq: ack.ack });
  t.is(user.error, 'ECONNRESET');
  t.deepEqual(reborn.lines(), []);
  reborn.send({ flags: 'S', seq: 0, mss: 1460 });
  t.is(reborn.take().flags, 'SA');
  reborn.send({ seq: 1 });
  t.true(again.connected);
});

simulate('a half-open connection: we have forgotten it, and the peer learns that', (t, world) => {
  world.listen(new TestUser(world));
  const peer = new RawPeer(world);
  // RFC 9293 3.5.1 figure 10.
  peer.send({ flags: 'A', seq: 5000, ack: 7000, data: 100 });
  const reset = peer.take();
  t.is(reset.flags, 'R');
  t.is(reset.rawSeq, 7000);
});

simulate('ABORT in SYN-RECEIVED of a simultaneous open resets the peer', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  const tcb = world.host.tcp.connect(peer.address, peer.port, user);
  world.call(() => {});
  peer.send({ flags: 'S', mss: 1460 });
  peer.takeAll();
  // RFC 9293 3.10.5.
  world.call(() => tcb !== null && abort(tcb));
  const reset = peer.take();
  t.is(reset.flags, 'RA');
  t.is(reset.seq, 1);
  t.is(reset.ack, 1);
  t.deepEqual(user.history, ['closed']);
  t.is(user.error, 'ECONNABORTED');
  world.advance(10 * SECOND);
  t.deepEqual(peer.lines(), []);
});
