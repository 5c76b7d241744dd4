/** Congestion window validation (RFC 7661), and the decay that stands in for it where Linux's habit is wanted (RFC 2861). */
import { RawPeer } from '../support/raw-peer.ts';
import { type Connected, MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

const MSS = 1460;
const INITIAL_WINDOW = 10 * MSS;
const RTT_US = 20 * MILLISECOND;
const MINUTE = 60 * SECOND;

function open(world: RawWorld): Connected {
  const user = new TestUser(world);
  const listener = world.listen(user);
  const peer = new RawPeer(world);
  peer.window = 4096;
  peer.send({ flags: 'S', mss: MSS, windowScale: 9, sackPermitted: true });
  world.advance(RTT_US);
  peer.send();
  listener.close();
  const tcb = user.connection;
  if (tcb === null) throw new Error('not accepted');
  return { peer, user, tcb };
}

/** Sends so many segments, every second of which is acknowledged, a round trip after it was sent. */
function exchange(world: RawWorld, { peer, user, tcb }: Connected, segments: number): void {
  let acked = 1 + user.sentBytes;
  world.call(() => user.send(tcb, segments * MSS));
  while (acked < 1 + user.sentBytes) {
    const arrived = peer.rcvNxt;
    world.advance(RTT_US);
    while (acked < arrived) {
      acked = Math.min(acked + 2 * MSS, arrived);
      peer.send({ ack: acked });
    }
  }
  peer.takeAll();
}

/** With a window of at least a hundred segments, all of which was used. */
function grown(world: RawWorld): Connected {
  const connected = open(world);
  exchange(world, connected, 200);
  return connected;
}

simulate('4.3: a window that is not used does not grow', (t, world) => {
  const connected = grown(world);
  const { tcb } = connected;
  const before = tcb.cwndBytes;
  t.true(before >= 100 * MSS, `${before}`);
  for (let i = 0; i < 200; i++) exchange(world, connected, 4);
  t.is(tcb.cwndBytes, before);
});

simulate('a pause costs nothing: the next burst may be as large as the last', (t, world) => {
  const connected = grown(world);
  const { peer, user, tcb } = connected;
  const before = tcb.cwndBytes;
  world.advance(MINUTE);
  world.call(() => user.send(tcb, 100 * MSS));
  t.is(tcb.cwndBytes, before);
  t.is(
    peer.takeAll().reduce((sum, { length }) => sum + length, 0),
    100 * MSS,
  );
});

simulate('4.4.2: congestion brings it down to what was used of it', (t, world) => {
  const connected = grown(world);
  const { peer, user, tcb } = connected;
  for (let i = 0; i < 120; i++) exchange(world, connected, 6);
  world.call(() => user.send(tcb, 8 * MSS));
  world.advance(RTT_US);
  const una = 1 + user.sentBytes - 8 * MSS;
  peer.send({ ack: una, sack: [[una + MSS, una + 8 * MSS]] });
  // CUBIC's seven tenths of eight segments, instead of those of a hundred or more.
  t.true(tcb.ssthreshBytes <= 6 * MSS, `${tcb.ssthreshBytes / MSS} segments`);
  peer.send({ ack: 1 + user.sentBytes });
  t.true(tcb.cwndBytes <= 7 * MSS, `${tcb.cwndBytes / MSS} segments`);
});

simulate('4.4.2: one that is used comes down as ever', (t, world) => {
  const connected = grown(world);
  const { peer, user, tcb } = connected;
  const before = tcb.cwndBytes;
  world.call(() => user.send(tcb, 100 * MSS));
  world.advance(RTT_US);
  const una = 1 + user.sentBytes - 100 * MSS;
  peer.send({ ack: una, sack: [[una + MSS, una + 8 * MSS]] });
  t.true(Math.abs(tcb.ssthreshBytes - 0.7 * before) < 2 * MSS, `${tcb.ssthreshBytes} of ${before}`);
});

simulate('4.4.3: after five minutes without use, half is given up, but not what was congestion', (t, world) => {
  const connected = grown(world);
  const { tcb } = connected;
  const before = tcb.cwndBytes;
  const halves = [];
  for (let minute = 0; minute < 40; minute++) {
    exchange(world, connected, 2);
    world.advance(MINUTE);
    if (minute === 4) t.is(tcb.cwndBytes, before);
    halves.push(tcb.cwndBytes);
  }
  t.is(halves[7], before >> 1);
  t.true(tcb.ssthreshBytes >= Math.floor((3 * before) / 4));
  t.true(tcb.cwndBytes >= INITIAL_WINDOW);
  t.is(halves.at(-1), Math.max(INITIAL_WINDOW, halves.at(-1) ?? 0));
});

simulate('... and after a pause of five minutes', (t, world) => {
  const connected = grown(world);
  const { tcb } = connected;
  for (let i = 0; i < 120; i++) exchange(world, connected, 6);
  const before = tcb.cwndBytes;
  world.advance(6 * MINUTE);
  exchange(world, connected, 1);
  t.is(tcb.cwndBytes, before >> 1);
});

simulate(
  'RFC 2861: it halves with every time-out of a pause, to the initial window',
  (t, world) => {
    const connected = grown(world);
    const { user, tcb } = connected;
    const before = tcb.cwndBytes;
    const { rtoUs } = tcb;
    world.advance(1.5 * rtoUs);
    world.call(() => user.send(tcb, 100));
    t.is(tcb.cwndBytes, before >> 1);
    t.is(tcb.ssthreshBytes >= Math.floor((3 * before) / 4), true);
    connected.peer.send({ ack: 1 + user.sentBytes });
    world.advance(MINUTE);
    world.call(() => user.send(tcb, 100));
    t.is(tcb.cwndBytes, INITIAL_WINDOW);
  },
  { settings: { slowStartAfterIdle: true } },
);
