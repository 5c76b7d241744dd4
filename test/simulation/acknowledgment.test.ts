/** When the host acknowledges (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2), and keep-alive (RFC 9293 3.8.4). */
import { abort, closeSend } from '../../src/tcp/calls.ts';
import { type Connected, MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { assertOnTime, simulate } from '../support/simulate.ts';

const MSS = 1460;
const DELAYED_ACK_US = 40_000;

/** A connection on which the receiver has settled: the window is wide open and nothing is owed. */
function quiet(world: RawWorld): Connected {
  const connected = world.accept({ windowScale: 7 });
  const { peer } = connected;
  peer.send({ data: MSS });
  peer.send({ data: MSS });
  world.advance(SECOND);
  peer.takeAll();
  return connected;
}

simulate('a single segment is acknowledged after 40 ms, a full one, too', (t, world) => {
  const { peer } = quiet(world);
  for (const data of [1, 700, MSS]) {
    const startUs = world.nowUs;
    peer.send({ data });
    t.deepEqual(peer.lines(), []);
    world.advance(100 * MILLISECOND);
    const ack = peer.take();
    t.is(ack.ack, peer.sndNxt);
    // RFC 9293 3.8.6.3, MUST-58: less than half a second.
    assertOnTime(t, ack.timeUs, startUs + DELAYED_ACK_US);
    t.deepEqual(peer.lines(), []);
  }
});

simulate('every second full segment is acknowledged at once', (t, world) => {
  const { peer } = quiet(world);
  // MUST-59.
  for (let i = 0; i < 10; i++) {
    peer.send({ data: MSS });
    t.is(peer.takeAll().length, i % 2);
  }
});

simulate('small segments: the timer of the first is not pushed back by the others', (t, world) => {
  const { peer } = quiet(world);
  const startUs = world.nowUs;
  for (let i = 0; i < 10; i++) {
    peer.send({ data: 10 });
    world.advance(10 * MILLISECOND);
  }
  const acks = peer.takeAll();
  assertOnTime(t, acks[0]?.timeUs ?? 0, startUs + DELAYED_ACK_US);
  t.true(acks.length <= 2);
});

simulate('a peer whose segments are smaller than ours is acknowledged every second segment', (t, world) => {
  const { peer, tcb } = world.accept({ windowScale: 7 });
  peer.send({ data: 536 });
  world.advance(SECOND);
  peer.takeAll();
  t.is(tcb.mssBytes, MSS);
  // RFC 5681 4.2: "at least every second full-sized segment", of the size the sender uses, which the path may have lowered.
  for (let i = 0; i < 10; i++) peer.send({ data: 536 });
  t.true(peer.takeAll().length >= 4);
});

simulate('an acknowledgment rides on text that is sent in the meantime', (t, world) => {
  const { peer, user, tcb } = quiet(world);
  peer.send({ data: 100 });
  world.advance(20 * MILLISECOND);
  world.call(() => user.send(tcb, 50));
  t.deepEqual(peer.lines(), [`A 1:51(50) ack ${peer.sndNxt}`]);
  world.advance(100 * MILLISECOND);
  t.deepEqual(peer.lines(), []);
  peer.send({ ack: 51 });
});

simulate('an answer in the same turn needs no acknowledgment of its own', (t, world) => {
  const { peer, user } = quiet(world);
  user.onReady = (connection) => user.send(connection, 200);
  peer.send({ data: 100 });
  t.deepEqual(peer.lines(), [`A 1:201(200) ack ${peer.sndNxt}`]);
  world.advance(100 * MILLISECOND);
  t.deepEqual(peer.lines(), []);
});

simulate('segments of one turn are acknowledged together', (t, world) => {
  const { peer } = quiet(world);
  for (let i = 0; i < 20; i++) peer.queue({ data: MSS });
  world.settle();
  t.deepEqual(peer.lines(), [`A 1:1(0) ack ${peer.sndNxt}`]);
});

simulate('text beyond a gap is acknowledged at once, each segment by an ACK of its own', (t, world) => {
  const { peer } = quiet(world);
  const hole = peer.sndNxt;
  // RFC 5681 4.2: the sender counts them.
  for (let i = 1; i <= 3; i++) {
    peer.send({ seq: hole + i * MSS, data: MSS });
    t.deepEqual(peer.lines(), [`A 1:1(0) ack ${hole}`]);
  }
  for (let i = 4; i <= 8; i++) peer.queue({ seq: hole + i * MSS, data: MSS });
  world.settle();
  const duplicates = peer.takeAll();
  t.is(duplicates.length, 5);
  // What the sender counts as duplicates must not change the window (RFC 5681 section 2).
  t.is(new Set(duplicates.map((seen) => seen.window)).size, 1);
});

simulate('duplicate ACKs are not given up for text that is sent in the same turn', (t, world) => {
  const { peer, user, tcb } = quiet(world);
  const hole = peer.sndNxt;
  user.send(tcb, 100);
  for (let i = 1; i <= 4; i++) peer.queue({ seq: hole + i * MSS, data: MSS });
  world.settle();
  // An ACK on text is no duplicate.
  t.is(peer.takeAll().filter((seen) => seen.length === 0).length, 4);
  peer.send({ seq: hole, ack: 101 });
});

simulate('what fills a gap, all or a part of it, is acknowledged at once', (t, world) => {
  const { peer } = quiet(world);
  const hole = peer.sndNxt;
  peer.send({ seq: hole + 1000, data: 100 });
  peer.send({ seq: hole + 500, data: 100 });
  peer.takeAll();
  peer.send({ seq: hole, data: 250 });
  t.deepEqual(peer.lines(), [`A 1:1(0) ack ${hole + 250}`]);
  peer.send({ seq: hole + 250, data: 250 });
  t.deepEqual(peer.lines(), [`A 1:1(0) ack ${hole + 600}`]);
  peer.send({ seq: hole + 600, data: 400 });
  t.deepEqual(peer.lines(), [`A 1:1(0) ack ${hole + 1100}`]);
});

simulate('repeated text is acknowledged at once', (t, world) => {
  const { peer } = quiet(world);
  const end = peer.sndNxt;
  peer.send({ seq: end - MSS, data: MSS });
  t.deepEqual(peer.lines(), [`A 1:1(0) ack ${end}`]);
  // Old and new on one segment.
  peer.send({ seq: end - 10, data: 20 });
  t.deepEqual(peer.lines(), [`A 1:1(0) ack ${end + 10}`]);
});

simulate('a FIN is acknowledged at once', (t, world) => {
  const { peer } = quiet(world);
  peer.send({ flags: 'FA', data: 10 });
  t.is(peer.takeAll().length, 1);
});

simulate('an ACK is never acknowledged', (t, world) => {
  const { peer } = quiet(world);
  for (let i = 0; i < 5; i++) peer.send();
  world.advance(SECOND);
  t.deepEqual(peer.lines(), []);
});

simulate('the delayed ACK dies with its connection', (t, world) => {
  const { peer, tcb } = quiet(world);
  peer.send({ data: 10 });
  world.call(() => abort(tcb));
  t.is(peer.takeAll().length, 1);
  world.advance(SECOND);
  t.deepEqual(peer.lines(), []);
});

const KEEP_ALIVE = { keepAliveIdleUs: 30 * SECOND, keepAliveIntervalUs: 5 * SECOND, keepAliveProbes: 3 };

simulate('keep-alive is off unless asked for', (t, world) => {
  const { peer, user } = quiet(world);
  world.advance(100_000 * SECOND);
  t.deepEqual(peer.lines(), []);
  t.false(user.closed);
});

simulate(
  'keep-alive: a probe after the idle time, an answer starts it over',
  (t, world) => {
    const { peer, user } = world.accept();
    for (let round = 0; round < 5; round++) {
      const idleFromUs = world.nowUs;
      t.true(world.runUntil(() => peer.inbox.length > 0, 40 * SECOND));
      const probe = peer.take();
      // RFC 9293 3.8.4: SEG.SEQ = SND.NXT - 1, and no text.
      t.is(probe.seq, 0);
      t.is(probe.length, 0);
      t.is(probe.flags, 'A');
      assertOnTime(t, probe.timeUs, idleFromUs + 30 * SECOND, `probe ${round}`);
      peer.send();
    }
    t.false(user.closed);
    t.deepEqual(peer.lines(), []);
  },
  { settings: KEEP_ALIVE },
);

simulate(
  'keep-alive: a peer that does not answer is given up',
  (t, world) => {
    const { peer, user } = world.accept();
    const startUs = world.nowUs;
    t.true(world.runUntil(() => user.closed, 200 * SECOND));
    const seen = peer.takeAll();
    t.is(user.error, 'ETIMEDOUT');
    t.is(seen.filter((segment) => segment.flags === 'A').length, 3);
    let dueUs = startUs + 30 * SECOND;
    for (const probe of seen.slice(0, 3)) {
      assertOnTime(t, probe.timeUs, dueUs);
      dueUs = probe.timeUs + 5 * SECOND;
    }
    assertOnTime(t, user.closedAtUs, dueUs, 'giving up');
  },
  { settings: KEEP_ALIVE },
);

simulate(
  'keep-alive: traffic keeps the probes away',
  (t, world) => {
    const { peer, user } = world.accept({ windowScale: 7 });
    for (let i = 0; i < 20; i++) {
      world.advance(20 * SECOND);
      peer.send({ data: 1 });
    }
    t.true(peer.takeAll().every((seen) => seen.seq === 1));
    t.false(user.closed);
  },
  { settings: KEEP_ALIVE },
);

simulate(
  'keep-alive: an interval longer than the idle time does not give up a peer that answers',
  (t, world) => {
    const { peer, user } = world.accept();
    for (let i = 0; i < 30; i++) {
      world.runUntil(() => peer.inbox.length > 0, 100 * SECOND);
      peer.takeAll();
      peer.send();
    }
    t.false(user.closed);
  },
  { settings: { keepAliveIdleUs: 10 * SECOND, keepAliveIntervalUs: 75 * SECOND, keepAliveProbes: 2 } },
);

simulate(
  'keep-alive: probes in CLOSE-WAIT and FIN-WAIT-2, too',
  (t, world) => {
    const first = world.accept();
    const second = world.accept();
    first.peer.send({ flags: 'FA' });
    world.call(() => closeSend(second.tcb));
    second.peer.send();
    first.peer.takeAll();
    second.peer.takeAll();
    world.advance(200 * SECOND);
    t.is(first.user.error, 'ETIMEDOUT');
    t.is(second.user.error, 'ETIMEDOUT');
    t.is(first.peer.takeAll().filter((seen) => seen.flags === 'A').length, 3);
  },
  { settings: KEEP_ALIVE },
);
