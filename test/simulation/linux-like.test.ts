/** What was mended after the comparison with Linux (docs/differential.md), and what the `linuxLike` profile changes. */
import test from 'ava';
import { closeSend, queuedBytes, setConnectionOptions } from '../../src/tcp/calls.ts';
import { TCP_PROFILES } from '../../src/tcp/profiles.ts';
import { DEFAULT_TCP_SETTINGS } from '../../src/tcp/settings.ts';
import { ESTABLISHED, FIN_WAIT_2 } from '../../src/tcp/state.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { MILLISECOND, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

const LINUX_LIKE = { settings: TCP_PROFILES.linuxLike };
const SACK = { syn: { sackPermitted: true } };

function keepAlive(keepAliveIdleUs: number) {
  return { keepAliveIdleUs, keepAliveIntervalUs: SECOND, keepAliveProbes: 2 };
}

test('the profile knows every setting that it names, and differs from the defaults', (t) => {
  const { linuxLike } = TCP_PROFILES;
  for (const name of Object.keys(linuxLike)) t.true(Object.hasOwn(DEFAULT_TCP_SETTINGS, name), name);
  t.notDeepEqual({ ...DEFAULT_TCP_SETTINGS, ...linuxLike }, DEFAULT_TCP_SETTINGS);
});

simulate('text that ends at RCV.NXT is old, and its acknowledgment counts', (t, world) => {
  const { peer, user, tcb } = world.accept();
  peer.send({ data: 100 });
  world.advance(100 * MILLISECOND);
  world.call(() => user.send(tcb, 500));
  peer.takeAll();
  peer.send({ seq: 1, data: 100, ack: 501 });
  t.deepEqual(peer.lines(), ['A 501:501(0) ack 101']);
  t.is(queuedBytes(tcb), 0);
});

simulate('a FIN beyond a gap is reported by SACK, and once more by D-SACK (RFC 2018 4, RFC 2883 4)', (t, world) => {
  const { peer } = world.accept(SACK);
  peer.send({ flags: 'FA', seq: 301 });
  t.deepEqual(peer.take().sack, [[301, 302]]);
  peer.send({ flags: 'FA', seq: 301 });
  t.deepEqual(peer.take().sack, [
    [301, 302],
    [301, 302],
  ]);
  peer.send({ flags: 'FA', seq: 201, data: 100 });
  t.deepEqual(peer.take().sack[0], [201, 302]);
  peer.send({ seq: 1, data: 200 });
  t.is(peer.take().ack, 302);
});

simulate("a segment without ACK is nobody's, wherever it lies", (t, world) => {
  const { peer } = world.accept();
  for (const seq of [1, -50, 1_000_000]) peer.send({ flags: '', seq, data: 10 });
  t.deepEqual(peer.lines(), []);
});

simulate('SYN-SENT: a reset of something else brings the SYN again at once, and no answer', (t, world) => {
  const peer = new RawPeer(world, { port: 8080 });
  world.call(() => world.host.tcp.connect(peer.address, peer.port, new TestUser(world)));
  peer.takeAll();
  peer.send({ flags: 'RA', ack: 1000 });
  t.deepEqual(peer.lines(), []);
  world.advance(10 * MILLISECOND);
  t.deepEqual(peer.lines(), ['S 0:0(0)']);
});

simulate(
  'linuxLike: windows of SYNs are whole segments, scaled by 7',
  (t, world) => {
    world.listen(new TestUser(world));
    for (const [timestamps, window] of [
      [false, 64_240],
      [true, 65_160],
    ] as const) {
      const peer = new RawPeer(world);
      peer.timestamps = timestamps;
      peer.send({ flags: 'S', mss: 1460, windowScale: 7 });
      t.like(peer.take(), { flags: 'SA', window, windowScale: 7 });
      peer.send();
      peer.send({ data: 1000 });
      world.advance(100 * MILLISECOND);
      t.true(peer.take().window << 7 > window - 1128);
    }
  },
  LINUX_LIKE,
);

simulate(
  'linuxLike: a listener takes no SYN that closes; a SYN in the window of SYN-RECEIVED returns to LISTEN with a reset',
  (t, world) => {
    const listener = world.listen(new TestUser(world));
    const peer = new RawPeer(world);
    peer.send({ flags: 'SF', mss: 1460 });
    t.deepEqual(peer.lines(), []);
    peer.sndNxt = 0;
    peer.send({ flags: 'S', mss: 1460 });
    t.is(peer.take().flags, 'SA');
    peer.send({ flags: 'R', seq: 51 });
    t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
    t.is(listener.halfOpen, 1);
    peer.send({ flags: 'S', seq: 51, mss: 1460 });
    t.is(peer.take().flags, 'RA');
    t.is(listener.halfOpen, 0);
  },
  LINUX_LIKE,
);

simulate(
  'linuxLike: a challenge ACK half a second after the last one at the earliest; resets at the FIN and behind what is held',
  (t, world) => {
    const { peer, user } = world.accept(SACK);
    for (let i = 0; i < 3; i++) peer.send({ flags: 'R', seq: 50 + i });
    t.is(peer.takeAll().length, 1);
    world.advance(SECOND);
    peer.send({ flags: 'S' });
    t.is(peer.takeAll().length, 1);
    peer.send({ seq: 101, data: 100 });
    peer.send({ flags: 'R', seq: 201 });
    t.is(user.error, 'ECONNRESET');
    const other = world.accept();
    other.peer.send({ flags: 'FA' });
    other.peer.send({ flags: 'R', seq: 1 });
    t.is(other.user.error, 'ECONNRESET');
  },
  LINUX_LIKE,
);

simulate(
  'linuxLike: a timestamp one tick old, and none at all, are taken; a smaller window alone is not believed',
  (t, world) => {
    const { peer, user, tcb } = world.accept({ timestamps: true });
    const recent = tcb.tsRecent;
    peer.send({ data: 10, timestamps: [recent - 1, 0] });
    peer.send({ data: 10, timestamps: null });
    t.is(user.receivedBytes, 20);
    peer.send({ data: 10, timestamps: [recent - 2, 0] });
    t.is(user.receivedBytes, 20);
    peer.sndNxt = 21;
    peer.send({ window: 100 });
    t.is(tcb.sndWnd, 100);
    peer.send({ window: 50 });
    t.is(tcb.sndWnd, 100);
    peer.send({ window: 0 });
    t.is(tcb.sndWnd, 0);
  },
  LINUX_LIKE,
);

simulate(
  'linuxLike: a reset ends TIME-WAIT; text for a connection that nobody has open is answered with a reset',
  (t, world) => {
    const { peer, tcb } = world.accept();
    world.call(() => closeSend(tcb));
    peer.send();
    peer.send({ flags: 'FA' });
    t.is(world.host.tcp.timeWait.live, 1);
    peer.send({ flags: 'R' });
    t.is(world.host.tcp.timeWait.live, 0);
    const left = world.accept();
    left.tcb.resetsOnText = true;
    left.tcb.abandoned = true;
    world.call(() => closeSend(left.tcb));
    left.peer.send();
    t.is(left.tcb.state, FIN_WAIT_2);
    left.peer.takeAll();
    left.peer.send({ data: 10 });
    t.deepEqual(left.peer.lines(), ['R 2:2(0)']);
  },
  LINUX_LIKE,
);

simulate(
  'Nagle: less than a segment waits while less than a segment is unacknowledged; a cork holds all of it',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    tcb.nagle = true;
    world.call(() => user.send(tcb, 10));
    world.call(() => user.send(tcb, 10));
    t.deepEqual(peer.lines(), ['A 1:11(10) ack 1']);
    peer.send({ ack: 11 });
    t.deepEqual(peer.lines(), ['A 11:21(10) ack 1']);
    peer.send({ ack: 21 });
    // The end of a long text does not wait for its beginning.
    world.call(() => user.send(tcb, 1470));
    t.is(peer.takeAll().length, 2);
    peer.send({ ack: 1491 });
    tcb.corked = true;
    world.call(() => user.send(tcb, 10));
    t.deepEqual(peer.lines(), []);
    world.call(() => closeSend(tcb));
    t.deepEqual(peer.lines(), ['FA 1491:1501(10) ack 1']);
  },
);

simulate('keep-alive of one connection, turned on while it is idle', (t, world) => {
  const { peer, tcb, user } = world.accept();
  world.call(() => setConnectionOptions(tcb, keepAlive(10 * SECOND)));
  world.advance(11 * SECOND);
  t.deepEqual(peer.lines(), ['A 0:0(0) ack 1']);
  peer.send();
  world.call(() => setConnectionOptions(tcb, keepAlive(0)));
  world.advance(60 * SECOND);
  t.deepEqual(peer.lines(), []);
  t.is(tcb.state, ESTABLISHED);
  world.call(() => setConnectionOptions(tcb, keepAlive(SECOND)));
  world.advance(5 * SECOND);
  t.is(user.error, 'ETIMEDOUT');
});

simulate(
  'linuxLike: the first acknowledgments do not wait; once data goes both ways they do, until something is amiss',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    peer.send({ data: 100 });
    t.deepEqual(peer.lines(), ['A 1:1(0) ack 101']);
    world.call(() => user.send(tcb, 10));
    peer.send({ ack: 11 });
    peer.takeAll();
    peer.send({ data: 100 });
    t.deepEqual(peer.lines(), []);
    world.advance(50 * MILLISECOND);
    t.deepEqual(peer.lines(), ['A 11:11(0) ack 201']);
    peer.send({ seq: 101, data: 100 });
    t.is(peer.takeAll().length, 1);
    peer.send({ data: 100 });
    t.deepEqual(peer.lines(), ['A 11:11(0) ack 301']);
    for (let i = 0; i < 20; i++) peer.send({ data: 1 });
    t.true(peer.takeAll().length < 18);
  },
  LINUX_LIKE,
);
