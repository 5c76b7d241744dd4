/** Many connections: ten thousand opened and closed in every way, floods, and what is left of them (nothing). */
import test from 'ava';
import { SeededRandom } from '../../src/runtime/random.ts';
import { abort, close, closeSend, consume, readableLength, send, takeEvents } from '../../src/tcp/calls.ts';
import {
  EVENT_CLOSED,
  EVENT_CONNECTED,
  EVENT_PEER_CLOSED,
  type RegionOwner,
  type Tcb,
  type TcpUser,
} from '../../src/tcp/tcb.ts';
import { findLeaks } from '../support/leaks.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { MILLISECOND, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';
import { ADDRESS_B, World } from '../support/world.ts';

const CONNECTIONS = 10_000;
const AT_ONCE = 200;
/** Ways to end that wait for nobody. */
const CALLERS = [0, 1, 2, 4];

const tally = { opened: 0, closed: 0, regions: 0 };

/** Says something, hears something, and ends its connection in one of several ways. */
class Guest implements TcpUser, RegionOwner {
  private readonly at: number;
  private readonly ending: number;
  private ended = false;
  done: (() => void) | null = null;

  constructor(at: number, ending: number) {
    this.at = at;
    this.ending = ending;
  }

  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    // One in seven never reads.
    if (this.ending !== 6) {
      while (readableLength(connection) > 0) consume(connection, readableLength(connection));
    }
    if ((events & EVENT_CLOSED) !== 0) {
      tally.closed++;
      this.done?.();
      return;
    }
    if ((events & EVENT_CONNECTED) !== 0) {
      tally.opened++;
      if (this.ending !== 5) this.say(connection);
      if (this.ending === 0) this.end(() => closeSend(connection));
      else if (this.ending === 1) this.end(() => close(connection));
      else if (this.ending === 2) this.end(() => abort(connection));
    }
    if ((events & EVENT_PEER_CLOSED) !== 0 || this.ending === 4) this.end(() => close(connection));
  }

  release(): void {
    tally.regions--;
  }

  private say(connection: Tcb): void {
    tally.regions++;
    send(connection, this.at, 700, this, 0);
  }

  private end(how: () => void): void {
    if (this.ended) return;
    this.ended = true;
    how();
  }
}

test(`${CONNECTIONS} connections, ${AT_ONCE} at a time`, (t) => {
  const settings = { receivePoolBytes: 8 << 20, finWait2Us: 2 * SECOND, timeWaitUs: 5 * SECOND };
  const world = new World({ seed: 5, link: { delayUs: 500 }, settingsA: settings, settingsB: settings });
  const random = new SeededRandom(11);
  const at = world.arena.allocate(4096);
  world.b.tcp.listen(80, () => new Guest(at, random.below(7)));
  let started = 0;
  let ended = 0;
  const start = () => {
    if (started === CONNECTIONS) return;
    started++;
    // Someone must end it: not every pair waits for the other's end.
    const guest = new Guest(at, CALLERS[random.below(CALLERS.length)] ?? 0);
    guest.done = () => {
      ended++;
      start();
    };
    const tcb = world.a.tcp.connect(ADDRESS_B, 80, guest);
    if (tcb === null) throw new Error('no connection could be made');
    if (started % 3 === 0) abortLater(tcb, guest);
  };
  // Some callers lose patience, in whatever state their connection is.
  const abortLater = (tcb: Tcb, guest: TcpUser) => {
    world.clock.at(world.clock.nowUs() + 1 + random.below(5000), () => {
      if (tcb.user !== guest || tcb.state === 0) return;
      abort(tcb);
      world.a.stack.wake();
    });
  };
  for (let i = 0; i < AT_ONCE; i++) start();
  world.a.stack.wake();
  t.true(
    world.run(20_000 * SECOND, () => ended === CONNECTIONS),
    `${ended} of ${started} ended`,
  );
  world.run(1000 * SECOND);
  t.deepEqual(findLeaks(world.a), []);
  t.deepEqual(findLeaks(world.b), []);
  t.is(tally.regions, 0);
  t.is(world.a.stack.timers.armed + world.b.stack.timers.armed, 0);
  t.is(world.link.inFlightBytes(), 0);
  // TCBs are used again: never more than were open at once.
  t.true(world.a.stack.timers.live < 3 * (2 * AT_ONCE) + 100, `${world.a.stack.timers.live} timers`);
  world.close();
});

simulate('a flood of SYNs fills the backlog and goes away by itself', (t, world) => {
  const user = new TestUser(world);
  const listener = world.listen(user, 80, 256);
  const honest = world.accept({ hostPort: 81 });
  const flood = new RawPeer(world);
  let port = 0;
  Object.defineProperty(flood, 'port', { get: () => 1024 + (port % 60_000) });
  for (; port < 5000; port++) {
    flood.queue({ flags: 'S', seq: 0, mss: 1460 });
    if (port % 50 === 49) world.settle();
  }
  t.is(listener.halfOpen, 256);
  honest.peer.send({ data: 100 });
  t.is(honest.user.receivedBytes, 100);
  world.advance(200 * SECOND);
  t.is(listener.halfOpen, 0);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  peer.send();
  t.true(user.connected);
});

simulate('strangers are answered within a limit', (t, world) => {
  const peer = new RawPeer(world, { hostPort: 4444 });
  for (let i = 0; i < 5000; i++) {
    peer.queue({ flags: 'S', seq: i });
    if (i % 100 === 99) world.settle();
  }
  const { length } = peer.takeAll();
  t.true(length >= 500 && length <= 1500, `${length} resets`);
  world.advance(2 * SECOND);
  peer.send({ flags: 'S' });
  t.is(peer.takeAll().length, 1);
});

simulate(
  'TIME-WAIT records are bounded, and their peers served as long as they are there',
  (t, world) => {
    const peers = Array.from({ length: 300 }, () => {
      const { peer, tcb } = world.accept();
      world.call(() => closeSend(tcb));
      peer.send({ flags: 'FA', ack: 2 });
      peer.takeAll();
      return peer;
    });
    t.is(world.host.tcp.timeWait.live, 100);
    for (const [index, peer] of peers.entries()) {
      peer.send({ flags: 'FA', seq: 1 });
      t.is(peer.take().flags, index < 200 ? 'R' : 'A');
    }
    world.advance(61 * SECOND);
    t.is(world.host.tcp.timeWait.live, 0);
    t.is(world.host.tcp.table.size, 0);
  },
  { settings: { maxTimeWait: 100 } },
);

simulate('a thousand connections that all send at once are all served', (t, world) => {
  const connected = Array.from({ length: 1000 }, () => world.accept());
  world.call(() => {
    for (const { user, tcb } of connected) user.send(tcb, 20_000);
  });
  for (let round = 0; round < 20; round++) {
    for (const { peer } of connected) peer.queue();
    world.settle();
    world.advance(MILLISECOND);
  }
  for (const { peer, user } of connected) {
    t.is(peer.rcvNxt, 20_001);
    t.is(user.regions, 0);
  }
});
