/** What the network says about a connection: ICMP errors (RFC 5927, RFC 1191), ARP without an answer, no route. */
import { closeSend, queuedBytes } from '../../src/tcp/calls.ts';
import { SYN_SENT } from '../../src/tcp/state.ts';
import {
  ICMP_CODE_FRAG_NEEDED,
  ICMP_CODE_HOST,
  ICMP_CODE_NET,
  ICMP_CODE_PORT,
  ICMP_CODE_PROTOCOL,
} from '../../src/wire/icmp.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

const OFF_LINK = 0x0a090909;
const GATEWAY = 0x0a0000fe;
const ELSEWHERE = 0x0a000063;

function dial(world: RawWorld, address = world.peerAddress) {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080, address });
  const tcb = world.host.tcp.connect(address, 8080, user);
  if (tcb === null) throw new Error('no connection');
  world.call(() => {});
  return { user, peer, tcb };
}

for (const [code, error] of [
  [ICMP_CODE_PORT, 'ECONNREFUSED'],
  [ICMP_CODE_PROTOCOL, 'ECONNREFUSED'],
  [ICMP_CODE_HOST, 'EHOSTUNREACH'],
  [ICMP_CODE_NET, 'ENETUNREACH'],
] as const) {
  simulate(`SYN-SENT: ICMP unreachable code ${code} ends in ${error}, a forged one does not`, (t, world) => {
    const { user, peer } = dial(world);
    peer.takeAll();
    // RFC 5927 4.1: the quoted sequence number must be in flight.
    for (const seq of [-1, 1, 1000, -1_000_000]) peer.icmpUnreachable(code, seq);
    t.false(user.closed);
    peer.icmpUnreachable(code, 0);
    t.true(user.closed);
    t.is(user.error, error);
    t.deepEqual(peer.lines(), []);
  });

  simulate(`ESTABLISHED: ICMP unreachable code ${code} is no end`, (t, world) => {
    const { peer, user, tcb } = world.accept();
    world.call(() => user.send(tcb, 100));
    // RFC 5927 5.2: hard errors are soft for a synchronized connection.
    peer.icmpUnreachable(code, 1);
    t.false(user.closed);
    peer.send({ ack: 101 });
    t.is(queuedBytes(tcb), 0);
  });
}

simulate('a quote that is too short is ignored', (t, world) => {
  const { user, peer } = dial(world);
  for (const bytes of [0, 4, 7]) peer.icmpUnreachable(ICMP_CODE_PORT, 0, 0, bytes);
  t.false(user.closed);
});

simulate('an ICMP error for somebody else is ignored', (t, world) => {
  const { user, peer } = dial(world);
  const other = new RawPeer(world, { port: 8081, hostPort: peer.hostPort });
  other.hostIss = peer.hostIss;
  other.icmpUnreachable(ICMP_CODE_PORT, 0);
  t.false(user.closed);
});

simulate(
  'fragmentation needed: the oldest segment goes again at once, smaller, and all that follow are',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    world.call(() => user.send(tcb, 30_000));
    t.is(peer.takeAll()[0]?.length, 1460);
    // RFC 1191 section 6.4, RFC 5927 7.2: what was in flight was dropped, and goes again in segments that fit.
    peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, 1, 1000);
    const again = peer.takeAll();
    t.is(again[0]?.seq, 1);
    t.true(again.every((seen) => seen.length <= 960));
    // The other nine come to the same narrow link.
    for (let i = 1; i < 10; i++) peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, 1 + i * 1460, 1000);
    for (let i = 0; i < 100 && queuedBytes(tcb) > 0; i++) {
      peer.send();
      world.advance(100 * MILLISECOND);
      t.true(peer.takeAll().every((seen) => seen.length <= 960));
    }
    t.is(queuedBytes(tcb), 0);
    // A connection that is made now knows.
    const { tcb: next } = world.accept();
    t.is(next.mssBytes, 960);
    // RFC 1191 6.3: after ten minutes the link's MTU is tried again.
    world.advance(601 * SECOND);
    t.is(world.accept().tcb.mssBytes, 1460);
  },
);

simulate('Karn: what fragmentation needed has sent again is not timed', (t, world) => {
  const { peer, user, tcb } = world.accept();
  world.call(() => user.send(tcb, 1460));
  world.advance(150 * MILLISECOND);
  peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, 1, 1000);
  const before = tcb.srttUs;
  peer.takeAll();
  peer.send({ ack: 1461 });
  // RFC 6298 section 3.
  t.is(tcb.srttUs, before);
});

simulate('fragmentation needed: every connection of the path adapts, each by its own message', (t, world) => {
  const first = world.accept();
  const second = world.accept();
  world.call(() => {
    first.user.send(first.tcb, 5000);
    second.user.send(second.tcb, 5000);
  });
  first.peer.takeAll();
  second.peer.takeAll();
  first.peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, 1, 1200);
  second.peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, 1, 1200);
  for (const { peer } of [first, second]) {
    const [again] = peer.takeAll();
    t.is(again?.seq, 1);
    t.is(again?.length, 1160);
  }
});

simulate('fragmentation needed that cannot be true is ignored or bounded', (t, world) => {
  const { peer, user, tcb } = world.accept();
  // Nothing in flight.
  for (const seq of [0, 1, 2, -5]) peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, seq, 600);
  t.is(tcb.mssBytes, 1460);
  world.call(() => user.send(tcb, 5000));
  peer.takeAll();
  // Not in flight; larger than what is used.
  for (const seq of [0, 5001, 1_000_000]) peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, seq, 600);
  peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, 1, 1500);
  peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, 1, 9000);
  t.is(tcb.mssBytes, 1460);
  t.deepEqual(peer.lines(), []);
  // RFC 5927 7.2, RFC 879: not below what every link takes.
  peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, 1, 68);
  t.is(tcb.mssBytes, 536);
});

simulate('a router that does not tell the MTU: the next lower plateau', (t, world) => {
  const { peer, user, tcb } = world.accept();
  world.call(() => user.send(tcb, 5000));
  peer.icmpUnreachable(ICMP_CODE_FRAG_NEEDED, 1, 0);
  // RFC 1191 section 7.1: below 1500 comes 1492.
  t.is(tcb.mssBytes, 1452);
});

simulate('ARP without an answer: EHOSTUNREACH after three requests', (t, world) => {
  world.arpAnswers = new Set();
  const startUs = world.nowUs;
  const { user, peer } = dial(world, ELSEWHERE);
  t.true(world.runUntil(() => user.closed, 100 * SECOND));
  t.is(user.error, 'EHOSTUNREACH');
  t.true(Math.abs(user.closedAtUs - startUs - 3 * SECOND) < 10 * MILLISECOND, `${user.closedAtUs - startUs}`);
  t.deepEqual(peer.lines(), []);
});

simulate('ARP answered late: the SYN that waited leaves at once', (t, world) => {
  world.arpAnswers = new Set();
  const { user, peer } = dial(world, ELSEWHERE);
  world.advance(500 * MILLISECOND);
  world.arpAnswers = null;
  world.advance(600 * MILLISECOND);
  t.true(peer.inbox.length >= 1 && peer.inbox.length <= 2);
  peer.send({ flags: 'SA', mss: 1460 });
  t.true(user.connected);
});

simulate('a neighbour that goes away does not end its connections at once', (t, world) => {
  const { peer, user, tcb } = world.accept();
  world.arpAnswers = new Set();
  // Long enough for the entry to become stale and the probes to fail.
  world.advance(40 * SECOND);
  world.call(() => user.send(tcb, 1000));
  world.advance(20 * SECOND);
  t.false(user.closed);
  world.arpAnswers = null;
  t.true(world.runUntil(() => peer.inbox.length > 0, 200 * SECOND));
  world.advance(30 * SECOND);
  peer.send({ ack: 1001 });
  t.is(queuedBytes(tcb), 0);
  world.call(() => closeSend(tcb));
  peer.send();
});

simulate('no route: ENETUNREACH', (t, world) => {
  const { user, peer } = dial(world, OFF_LINK);
  t.true(user.closed);
  t.is(user.error, 'ENETUNREACH');
  t.deepEqual(user.history, ['closed']);
  t.deepEqual(peer.lines(), []);
});

simulate('addresses that are no other host: ENETUNREACH', (t, world) => {
  for (const address of [world.hostAddress, 0x7f000001, 0xe0000001 | 0, 0xffffffff | 0, 0x0a0000ff, 0]) {
    const { user } = dial(world, address);
    t.is(user.error, 'ENETUNREACH');
  }
});

simulate(
  'a gateway is the next hop of what is off the link',
  (t, world) => {
    world.arpAnswers = new Set([GATEWAY]);
    const { user, peer } = dial(world, OFF_LINK);
    t.deepEqual(peer.lines(), ['S 0:0(0)']);
    peer.send({ flags: 'SA', mss: 1460 });
    t.true(user.connected);
    world.call(() => user.connection !== null && user.send(user.connection, 10));
    t.is(peer.takeAll().at(-1)?.length, 10);
    peer.send({ ack: 11 });
  },
  { gateway: GATEWAY },
);

simulate(
  'a gateway that does not answer: EHOSTUNREACH for all that goes through it',
  (t, world) => {
    world.arpAnswers = new Set([world.peerAddress]);
    const far = dial(world, OFF_LINK);
    const farther = dial(world, OFF_LINK + 1);
    const near = dial(world);
    world.advance(3500 * MILLISECOND);
    t.is(far.user.error, 'EHOSTUNREACH');
    t.is(farther.user.error, 'EHOSTUNREACH');
    t.is(near.tcb.state, SYN_SENT);
  },
  { gateway: GATEWAY },
);

simulate('a SYN from where no route leads is dropped and leaves nothing', (t, world) => {
  const listener = world.listen(new TestUser(world));
  const peer = new RawPeer(world, { address: OFF_LINK });
  for (let i = 0; i < 5; i++) peer.send({ flags: 'S', seq: i, mss: 1460 });
  t.is(listener.halfOpen, 0);
  t.is(world.host.tcp.liveConnections, 0);
  t.deepEqual(peer.lines(), []);
});

simulate('a SYN whose sender does not answer ARP is given up and leaves nothing', (t, world) => {
  world.arpAnswers = new Set();
  const listener = world.listen(new TestUser(world));
  const peer = new RawPeer(world, { address: ELSEWHERE });
  peer.send({ flags: 'S', mss: 1460 });
  t.is(listener.halfOpen, 1);
  world.advance(200 * SECOND);
  t.is(listener.halfOpen, 0);
});
