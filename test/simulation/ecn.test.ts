/** Explicit congestion notification (RFC 3168), and what a mark costs (RFC 8511). */
import { abort } from '../../src/tcp/calls.ts';
import { tcpInfo } from '../../src/tcp/info.ts';
import { type Crafted, RawPeer } from '../support/raw-peer.ts';
import { type Connected, MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

const MSS = 1460;
const ECT_1 = 1;
const ECT_0 = 2;
const CE = 3;
const RTT_US = 20 * MILLISECOND;

/** An accepted connection on which both ends have agreed on ECN. */
function open(world: RawWorld, syn: Crafted = {}): Connected {
  const user = new TestUser(world);
  const listener = world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'SEW', mss: MSS, windowScale: 7, sackPermitted: true, ...syn });
  world.advance(RTT_US);
  peer.send();
  listener.close();
  const tcb = user.connection;
  if (tcb === null) throw new Error('not accepted');
  return { peer, user, tcb };
}

simulate('a SYN that offers ECN is agreed to; one that does not, or is marked itself, is not', (t, world) => {
  const cases: readonly (readonly [Crafted, string])[] = [
    [{ flags: 'SEW' }, 'SAE'],
    [{ flags: 'S' }, 'SA'],
    [{ flags: 'SE' }, 'SA'],
    [{ flags: 'SW' }, 'SA'],
    [{ flags: 'SEW', ecn: ECT_0 }, 'SA'],
    [{ flags: 'SEW', ecn: CE }, 'SA'],
  ];
  for (const [syn, answer] of cases) {
    const { peer, tcb } = open(world, syn);
    t.is(peer.take().flags, answer);
    t.is(tcpInfo(tcb).ecn, answer === 'SAE');
    t.is(peer.log[0]?.ecn, 0);
    peer.send({ flags: 'R' });
  }
});

simulate(
  'with ECN off a SYN that offers it is answered without',
  (t, world) => {
    const { peer } = open(world);
    t.is(peer.take().flags, 'SA');
  },
  { settings: { ecn: 'off' } },
);

simulate(
  'ECN is offered once: a SYN that was lost may have been for that',
  (t, world) => {
    const user = new TestUser(world);
    const peer = new RawPeer(world, { port: 8080 });
    world.call(() => world.host.tcp.connect(peer.address, peer.port, user));
    t.is(peer.take().flags, 'SEW');
    world.advance(1.1 * SECOND);
    t.is(peer.take().flags, 'S');
    peer.send({ flags: 'SAE', mss: MSS });
    t.false(user.connection === null);
    if (user.connection !== null) t.false(tcpInfo(user.connection).ecn);
  },
  { settings: { ecn: 'offer' } },
);

for (const [answer, agreed] of [
  ['SAE', true],
  ['SA', false],
  // RFC 3168 6.1.1: it only mirrors what was sent.
  ['SAEW', false],
] as const) {
  simulate(
    `${answer} to an offer of ECN`,
    (t, world) => {
      const user = new TestUser(world);
      const peer = new RawPeer(world, { port: 8080 });
      world.call(() => world.host.tcp.connect(peer.address, peer.port, user));
      peer.send({ flags: answer, mss: MSS });
      const tcb = user.connection;
      if (tcb === null) throw new Error('not connected');
      t.is(tcpInfo(tcb).ecn, agreed);
      peer.takeAll();
      world.call(() => user.send(tcb, 100));
      t.is(peer.take().ecn, agreed ? ECT_0 : 0);
    },
    { settings: { ecn: 'offer' } },
  );
}

simulate(
  'new text may be marked; acknowledgments, retransmissions and probes may not (6.1.4, 6.1.5, 6.1.6)',
  (t, world) => {
    const { peer, user, tcb } = open(world);
    peer.takeAll();
    peer.send({ data: 10 });
    world.advance(50 * MILLISECOND);
    t.deepEqual(
      peer.takeAll().map(({ length, ecn }) => [length, ecn]),
      [[0, 0]],
    );
    world.call(() => user.send(tcb, 100));
    t.is(peer.take().ecn, ECT_0);
    world.advance(2 * SECOND);
    const again = peer.takeAll();
    t.true(again.length > 0);
    for (const { length, ecn } of again) t.deepEqual([length, ecn], [100, 0]);
    peer.send({ ack: 101, window: 0 });
    world.call(() => user.send(tcb, 100));
    world.advance(2 * SECOND);
    const probes = peer.takeAll();
    t.true(probes.length > 0);
    for (const { ecn } of probes) t.is(ecn, 0);
  },
);

simulate('6.1.3: a mark is echoed at once, and on everything until the peer says that it has reacted', (t, world) => {
  const { peer, user, tcb } = open(world);
  peer.takeAll();
  peer.send({ data: 100, ecn: ECT_1 });
  world.advance(50 * MILLISECOND);
  t.is(peer.take().flags, 'A');
  peer.send({ data: 100, ecn: CE });
  t.is(peer.take().flags, 'AE');
  peer.send({ data: 100, ecn: ECT_0 });
  world.advance(50 * MILLISECOND);
  t.is(peer.take().flags, 'AE');
  world.call(() => user.send(tcb, 100));
  t.is(peer.take().flags, 'AE');
  peer.send({ data: 100, flags: 'AW', ecn: ECT_0 });
  t.is(peer.take().flags, 'A');
  // The reaction may be marked itself.
  peer.send({ data: 100, flags: 'AW', ecn: CE });
  t.is(peer.take().flags, 'AE');
  t.is(world.host.tcp.counters.get('congestionMarks'), 2);
});

/** With a window of data in flight. */
function fly(world: RawWorld): Connected & { before: number } {
  const connected = open(world);
  const { peer, user, tcb } = connected;
  world.call(() => user.send(tcb, 40 * MSS));
  peer.takeAll();
  return { ...connected, before: tcb.cwndBytes };
}

for (const [congestion, alternativeBackoff, share] of [
  ['cubic', true, 0.85],
  ['cubic', false, 0.7],
  ['newreno', true, 0.8],
  ['newreno', false, 0.5],
] as const) {
  const settings = { congestion, alternativeBackoff };
  simulate(
    `${congestion}${alternativeBackoff ? '' : ' without ABE'}: an echo brings the window to ${share}, once a window of data`,
    (t, world) => {
      const { peer, before, tcb } = fly(world);
      world.advance(RTT_US);
      peer.send({ flags: 'AE', ack: 1 + MSS });
      const target = tcb.ssthreshBytes;
      t.true(Math.abs(target - share * before) <= 2 * MSS, `${target} of ${before}`);
      t.is(tcpInfo(tcb).recovery, 'cwr');
      for (let i = 2; i < 10; i++) peer.send({ flags: 'AE', ack: 1 + i * MSS });
      t.is(tcb.ssthreshBytes, target);
      t.true(tcb.cwndBytes >= target - MSS, `${tcb.cwndBytes}`);
      // The first new segment after it says so, and only that.
      const sent = peer.takeAll().filter(({ length }) => length > 0);
      t.true(sent.length >= 2);
      t.deepEqual(
        sent.map(({ flags }) => flags),
        ['AW', ...sent.slice(1).map(() => 'A')],
      );
      t.is(tcpInfo(tcb).retransmissions, 0);
      // Everything that was in flight then is acknowledged: another echo counts.
      peer.send({ flags: 'AE', ack: peer.rcvNxt });
      t.true(tcb.ssthreshBytes <= target);
      abort(tcb);
    },
    { settings },
  );
}

simulate('an echo within a recovery costs nothing more', (t, world) => {
  const { peer, tcb } = fly(world);
  world.advance(RTT_US);
  peer.send({ sack: [[1 + 3 * MSS, 1 + 6 * MSS]], ack: 1 });
  t.is(tcpInfo(tcb).recovery, 'recovery');
  const target = tcb.ssthreshBytes;
  peer.send({ flags: 'AE', sack: [[1 + 3 * MSS, 1 + 7 * MSS]], ack: 1 });
  t.is(tcb.ssthreshBytes, target);
  abort(tcb);
});

simulate(
  'a super-frame does not carry CWR: the device would set it on each segment',
  (t, world) => {
    const { peer } = fly(world);
    world.advance(RTT_US);
    peer.send({ flags: 'AE', ack: 1 + 2 * MSS });
    for (let i = 3; i <= 10; i++) peer.send({ ack: 1 + i * MSS });
    const sent = peer.takeAll().filter(({ length }) => length > 0);
    t.is(sent[0]?.flags, 'AW');
    t.is(sent[0]?.segmentBytes, 0);
    t.true(sent.length > 1);
  },
  { link: { offload: true } },
);

simulate('a SYN cookie remembers ECN, where timestamps carry it', (t, world) => {
  const user = new TestUser(world);
  const listener = world.listen(user, 80, 1);
  const first = new RawPeer(world);
  first.send({ flags: 'S', mss: MSS });
  for (const [timestamps, flags, agreed] of [
    [true, 'SEW', true],
    [true, 'S', false],
    [false, 'SEW', false],
  ] as const) {
    const peer = new RawPeer(world);
    peer.timestamps = timestamps;
    peer.send({ flags, mss: MSS });
    t.is(peer.take().flags, agreed ? 'SAE' : 'SA');
    peer.send();
    const tcb = user.connection;
    if (tcb === null) throw new Error('not accepted');
    t.is(tcpInfo(tcb).ecn, agreed);
    peer.send({ flags: 'R' });
    user.connection = null;
  }
  t.is(world.host.tcp.counters.get('synCookiesAccepted'), 3);
  first.send({ flags: 'R', seq: 1 });
  listener.close();
});
