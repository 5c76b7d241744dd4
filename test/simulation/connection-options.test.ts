/** What an application chooses for one connection: user timeout, keep-alive, segment size; and how often anything is tried. */
import { close, closeSend, setConnectionOptions } from '../../src/tcp/calls.ts';
import { ESTABLISHED, FIN_WAIT_1 } from '../../src/tcp/state.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { assertOnTime, simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

const MINUTE = 60 * SECOND;

/** Runs until the connection is over; when that was, from now. */
function lifetime(world: RawWorld, user: TestUser): number {
  const startUs = world.nowUs;
  world.runUntil(() => user.closed, 3600 * SECOND);
  return user.closedAtUs - startUs;
}

simulate('user timeout: the connection ends when data has not been acknowledged for so long', (t, world) => {
  for (const userTimeoutUs of [100 * MILLISECOND, 3 * SECOND, 40 * SECOND]) {
    const { peer, user, tcb } = world.accept();
    setConnectionOptions(tcb, { userTimeoutUs });
    world.call(() => user.send(tcb, 100));
    assertOnTime(t, lifetime(world, user), userTimeoutUs);
    t.is(user.error, 'ETIMEDOUT');
    world.settle();
    t.is(peer.takeAll().at(-1)?.flags, 'RA');
  }
});

simulate('user timeout: longer than the attempts would take', (t, world) => {
  const { user, tcb } = world.accept();
  setConnectionOptions(tcb, { userTimeoutUs: 50 * MINUTE });
  world.call(() => user.send(tcb, 100));
  assertOnTime(t, lifetime(world, user), 50 * MINUTE);
});

simulate('user timeout: each acknowledgment that advances begins it anew', (t, world) => {
  const { peer, user, tcb } = world.accept();
  setConnectionOptions(tcb, { userTimeoutUs: 3 * SECOND });
  world.call(() => user.send(tcb, 1000));
  for (let acked = 100; acked < 1000; acked += 100) {
    world.advance(2 * SECOND);
    peer.send({ ack: 1 + acked });
  }
  t.false(user.closed);
  const leftUs = lifetime(world, user);
  t.true(leftUs >= 2 * SECOND && leftUs <= 6 * SECOND, `${leftUs}`);
});

simulate('user timeout: window probes that nobody answers; answered ones go on for ever', (t, world) => {
  const { peer, user, tcb } = world.accept({ window: 0 });
  setConnectionOptions(tcb, { userTimeoutUs: 10 * SECOND });
  world.call(() => user.send(tcb, 1000));
  for (let i = 0; i < 200; i++) {
    world.advance(SECOND);
    if (peer.takeAll().length > 0) peer.send({ window: 0 });
  }
  t.false(user.closed);
  const leftUs = lifetime(world, user);
  t.true(leftUs >= 10 * SECOND, `${leftUs}`);
  t.is(user.error, 'ETIMEDOUT');
});

simulate('user timeout: a SYN that nobody answers', (t, world) => {
  const peer = new RawPeer(world, { port: 8080 });
  const user = new TestUser(world);
  world.call(() => {
    const tcb = world.host.tcp.connect(peer.address, peer.port, user);
    if (tcb !== null) setConnectionOptions(tcb, { userTimeoutUs: 2 * SECOND });
  });
  assertOnTime(t, lifetime(world, user), 2 * SECOND);
  t.is(user.error, 'ETIMEDOUT');
});

simulate('keep-alive of one connection: begun, changed and ended while it lasts', (t, world) => {
  const { peer, user, tcb } = world.accept();
  const other = world.accept();
  setConnectionOptions(tcb, { keepAliveIdleUs: 10 * SECOND, keepAliveIntervalUs: 3 * SECOND, keepAliveProbes: 2 });
  world.advance(10 * SECOND + 5 * MILLISECOND);
  t.deepEqual(peer.lines(), ['A 0:0(0) ack 1']);
  peer.send();
  setConnectionOptions(tcb, { keepAliveIdleUs: 0 });
  world.advance(100 * SECOND);
  t.deepEqual(peer.lines(), []);
  world.call(() => setConnectionOptions(tcb, { keepAliveIdleUs: 5 * SECOND }));
  const leftUs = lifetime(world, user);
  // It has been idle long before: the first probe after five seconds, the second and the end three later each.
  t.true(leftUs >= 11 * SECOND && leftUs < 11 * SECOND + 5 * MILLISECOND, `${leftUs}`);
  t.is(user.error, 'ETIMEDOUT');
  t.false(other.user.closed);
  t.deepEqual(other.peer.lines(), []);
});

simulate('keep-alive ends with the user timeout when there is one', (t, world) => {
  const { user, tcb } = world.accept();
  const options = { keepAliveIdleUs: 10 * SECOND, keepAliveIntervalUs: 3 * SECOND, keepAliveProbes: 2 };
  setConnectionOptions(tcb, { ...options, userTimeoutUs: 20 * SECOND });
  const leftUs = lifetime(world, user);
  t.true(leftUs >= 20 * SECOND && leftUs <= 23 * SECOND, `${leftUs}`);
});

simulate('no keep-alive while something is to be acknowledged: its retransmissions ask enough', (t, world) => {
  const { peer, user, tcb } = world.accept();
  setConnectionOptions(tcb, { keepAliveIdleUs: SECOND, keepAliveIntervalUs: SECOND, keepAliveProbes: 2 });
  world.call(() => user.send(tcb, 100));
  world.advance(20 * SECOND);
  t.is(world.host.tcp.counters.get('keepAliveProbes'), 0);
  peer.takeAll();
  peer.send({ ack: 101 });
  world.advance(1500 * MILLISECOND);
  t.is(world.host.tcp.counters.get('keepAliveProbes'), 1);
});

simulate('a segment size is announced and kept to, of a listener and of one connection', (t, world) => {
  const user = new TestUser(world);
  const accept = () => user;
  const listener = world.host.tcp.listen(80, accept, { connection: { maxSegmentBytes: 700 } });
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  t.is(peer.take().mss, 700);
  peer.send();
  const tcb = user.connection;
  if (tcb === null) throw new Error('not accepted');
  world.call(() => user.send(tcb, 1400));
  t.deepEqual(
    peer.takeAll().map(({ length }) => length),
    [700, 700],
  );
  listener.close();
  const server = new RawPeer(world, { port: 8080 });
  const client = new TestUser(world);
  world.call(() => {
    const connection = world.host.tcp.connect(server.address, server.port, client);
    if (connection !== null) setConnectionOptions(connection, { maxSegmentBytes: 600 });
  });
  t.is(server.take().mss, 600);
  server.send({ flags: 'SA', mss: 1460 });
  t.is(client.connection?.mssBytes, 600);
  // Smaller again on the living connection.
  if (client.connection !== null) setConnectionOptions(client.connection, { maxSegmentBytes: 500 });
  t.is(client.connection?.mssBytes, 500);
});

simulate('what cannot be chosen is refused', (t, world) => {
  const { tcb } = world.accept();
  const bad = [
    { maxSegmentBytes: 87 },
    { maxSegmentBytes: 32_768 },
    { userTimeoutUs: -1 },
    { keepAliveIdleUs: Number.NaN },
    { keepAliveIntervalUs: 0 },
    { keepAliveProbes: 0 },
    { keepAliveProbes: 128 },
  ];
  for (const choice of bad) t.throws(() => setConnectionOptions(tcb, choice), { instanceOf: RangeError });
  const before = tcb.options;
  setConnectionOptions(tcb, {});
  t.deepEqual(tcb.options, before);
});

simulate(
  'attempts have limits of their own: SYN, SYN-ACK, data, and what nobody waits for any more',
  (t, world) => {
    const silent = new RawPeer(world, { port: 8080 });
    const user = new TestUser(world);
    world.call(() => world.host.tcp.connect(silent.address, silent.port, user));
    world.runUntil(() => user.closed, 3600 * SECOND);
    t.is(silent.takeAll().length, 1 + 2);
    const listener = world.listen(new TestUser(world));
    const halfOpen = new RawPeer(world);
    halfOpen.send({ flags: 'S', mss: 1460 });
    world.runUntil(() => listener.halfOpen === 0, 3600 * SECOND);
    t.is(halfOpen.takeAll().filter(({ flags }) => flags === 'SA').length, 1 + 3);
    listener.close();
    const waiting = world.accept();
    world.call(() => waiting.user.send(waiting.tcb, 100));
    world.runUntil(() => waiting.user.closed, 3600 * SECOND);
    t.is(waiting.peer.takeAll().filter(({ length }) => length > 0).length, 1 + 5);
    for (const both of [true, false]) {
      const closing = world.accept();
      world.call(() => {
        closing.user.send(closing.tcb, 100);
        if (both) close(closing.tcb);
        else closeSend(closing.tcb);
      });
      t.is(closing.tcb.state, FIN_WAIT_1);
      world.runUntil(() => closing.user.closed, 3600 * SECOND);
      t.is(closing.peer.takeAll().filter(({ length }) => length > 0).length, 1 + (both ? 4 : 5));
    }
  },
  { settings: { synRetries: 2, synAckRetries: 3, dataRetries: 5, orphanRetries: 4, tailLossProbe: false } },
);

/** The user timeout option: with G, minutes. */
function userTimeoutOption(value: number, minutes = false): Uint8Array {
  return Uint8Array.from([28, 4, (minutes ? 0x80 : 0) | (value >> 8), value & 0xff]);
}

const WITH_OPTION = { settings: { userTimeoutOption: true } };

simulate(
  'user timeout option: taken over from the SYN and later, within the limits',
  (t, world) => {
    const { peer, tcb } = world.accept({ syn: { options: userTimeoutOption(600) } });
    t.is(tcb.options.userTimeoutUs, 10 * MINUTE);
    peer.send({ options: userTimeoutOption(20, true) });
    t.is(tcb.options.userTimeoutUs, 20 * MINUTE);
    peer.send({ options: userTimeoutOption(0x7fff, true) });
    t.is(tcb.options.userTimeoutUs, 60 * MINUTE);
    // Ours is five minutes, and the longer one counts; zero says nothing.
    peer.send({ options: userTimeoutOption(1) });
    t.is(tcb.options.userTimeoutUs, 5 * MINUTE);
    peer.send({ options: userTimeoutOption(0) });
    t.is(tcb.options.userTimeoutUs, 5 * MINUTE);
    // What the application chooses stays.
    setConnectionOptions(tcb, { userTimeoutUs: 7 * SECOND });
    peer.send({ options: userTimeoutOption(600) });
    t.is(tcb.options.userTimeoutUs, 7 * SECOND);
    t.is(tcb.state, ESTABLISHED);
  },
  WITH_OPTION,
);

/** The user timeout that a SYN to a peer tells, -1 for none. */
function toldBy(world: RawWorld, userTimeoutUs?: number): number {
  const peer = new RawPeer(world, { port: 8080 });
  world.call(() => {
    const tcb = world.host.tcp.connect(peer.address, peer.port, new TestUser(world));
    if (tcb !== null && userTimeoutUs !== undefined) setConnectionOptions(tcb, { userTimeoutUs });
  });
  const told = peer.take().userTimeout;
  peer.send({ flags: 'RA', ack: 1 });
  world.detach(peer);
  return told;
}

simulate(
  'user timeout option: ours is told on the SYN',
  (t, world) => {
    t.is(toldBy(world), 300);
    t.is(toldBy(world, 90 * SECOND), 90);
    t.is(toldBy(world, 1), 1);
    t.is(toldBy(world, 32_768 * SECOND), 0x8000 | 547);
  },
  WITH_OPTION,
);

simulate('user timeout option: off, it is neither told nor heard', (t, world) => {
  t.is(toldBy(world), -1);
  const { tcb } = world.accept({ syn: { options: userTimeoutOption(600) } });
  t.is(tcb.options.userTimeoutUs, 0);
});
