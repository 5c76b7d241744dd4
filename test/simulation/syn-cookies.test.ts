/** SYN cookies: a listener whose backlog is full goes on taking connections, with their options, and remembers no SYN. */
import { RawPeer } from '../support/raw-peer.ts';
import { MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

const BACKLOG = 4;

/** A listener with as many half-open connections as it may have. */
function flood(world: RawWorld, settingsUser = new TestUser(world)): { user: TestUser; close(): void } {
  const users = [settingsUser];
  const listener = world.host.tcp.listen(
    80,
    (connection) => {
      const user = users.shift() ?? new TestUser(world);
      user.connection = connection;
      return user;
    },
    { backlog: BACKLOG },
  );
  for (let i = 0; i < BACKLOG; i++) new RawPeer(world).send({ flags: 'S', mss: 1460 });
  return { user: settingsUser, close: () => listener.close() };
}

for (const timestamps of [true, false]) {
  simulate(
    `a cookie is as good as a half-open connection, ${timestamps ? 'with' : 'without'} timestamps`,
    (t, world) => {
      const { user, close } = flood(world);
      const live = world.host.tcp.liveConnections;
      const peer = new RawPeer(world);
      peer.timestamps = timestamps;
      peer.send({ flags: 'S', mss: 1400, windowScale: 7, sackPermitted: true });
      t.is(world.host.tcp.liveConnections, live);
      const answer = peer.take();
      t.is(answer.flags, 'SA');
      t.is(answer.mss, 1460);
      // What no timestamp can tell later is not agreed on.
      t.is(answer.sackPermitted, timestamps);
      t.is(answer.windowScale >= 0, timestamps);
      world.advance(SECOND);
      peer.send({ data: 100, window: 500 });
      const { connection } = user;
      t.true(user.connected);
      t.is(connection?.peerMssBytes, 1360);
      t.is(connection?.sack, timestamps);
      t.is(connection?.sndScale, timestamps ? 7 : 0);
      t.is(connection?.sndWnd, 500 << (timestamps ? 7 : 0));
      t.is(user.receivedBytes, 100);
      t.is(world.host.tcp.counters.get('synCookiesAccepted'), 1);
      close();
    },
  );
}

simulate('a cookie of another connection, an old one, and a guess are refused', (t, world) => {
  const { close } = flood(world);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  const { rawSeq } = peer.take();
  const other = new RawPeer(world);
  other.send({ flags: 'S', mss: 1460 });
  other.take();
  const live = world.host.tcp.liveConnections;
  other.hostIss = rawSeq;
  other.send({ ack: 1 });
  t.is(other.take().flags, 'R');
  for (let guess = 2; guess < 12; guess++) {
    peer.send({ ack: guess });
    t.is(peer.take().flags, 'R');
  }
  t.is(world.host.tcp.liveConnections, live);
  t.is(world.host.tcp.counters.get('synCookiesRefused'), 11);
  world.advance(130 * SECOND);
  peer.takeAll();
  peer.send({ ack: 1 });
  t.is(peer.take().flags, 'R');
  close();
});

simulate('without a flood nothing looks for cookies', (t, world) => {
  const listener = world.listen(new TestUser(world));
  const peer = new RawPeer(world);
  peer.send({ ack: 1 });
  t.is(peer.take().flags, 'R');
  t.is(world.host.tcp.counters.get('synCookiesRefused'), 0);
  listener.close();
});

simulate(
  'turned off, a full backlog drops',
  (t, world) => {
    const { close } = flood(world);
    const peer = new RawPeer(world);
    peer.send({ flags: 'S', mss: 1460 });
    world.advance(10 * MILLISECOND);
    t.deepEqual(peer.lines(), []);
    close();
  },
  { settings: { synCookies: false } },
);
