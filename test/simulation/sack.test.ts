/** Selective acknowledgment: what we report (RFC 2018, RFC 2883), and what we do with what a peer reports (RFC 8985, RFC 6937). */
import { pattern, RawPeer, type Seen } from '../support/raw-peer.ts';
import { type Connected, MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { assertOnTime, simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

const MSS = 1460;

/** An accepted connection that may use SACK; its handshake took `rttUs`. */
function open(world: RawWorld, rttUs = 0, permits = true): Connected {
  const user = new TestUser(world);
  const listener = world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: MSS, windowScale: 7, sackPermitted: permits });
  world.advance(rttUs);
  peer.send();
  listener.close();
  peer.takeAll();
  const tcb = user.connection;
  if (tcb === null) throw new Error('not accepted');
  return { peer, user, tcb };
}

/** First sequence number of each segment, in segments. */
function numbers(seen: readonly Seen[]): number[] {
  return seen.map((segment) => (segment.seq - 1) / MSS);
}

/** The peer acknowledges `count` segments and holds those from `from` to `to`. */
function holding(count: number, ...blocks: (readonly [from: number, to: number])[]) {
  return {
    ack: 1 + count * MSS,
    sack: blocks.map(([from, to]) => [1 + from * MSS, 1 + to * MSS] as const),
  };
}

simulate('SACK is offered on a SYN, and accepted where it is offered', (t, world) => {
  const user = new TestUser(world);
  const active = new RawPeer(world, { port: 8080 });
  world.call(() => world.host.tcp.connect(active.address, active.port, user));
  t.true(active.take().sackPermitted);
  active.send({ flags: 'RA', ack: 1 });
  for (const permits of [true, false]) {
    const listener = world.listen(new TestUser(world));
    const peer = new RawPeer(world);
    peer.send({ flags: 'S', mss: MSS, sackPermitted: permits });
    t.is(peer.take().sackPermitted, permits);
    peer.send({ flags: 'R', seq: 1 });
    listener.close();
  }
});

simulate('what lies beyond a gap is reported, the latest first', (t, world) => {
  const { peer, user } = open(world);
  peer.send({ seq: 101, data: 100 });
  t.deepEqual(peer.take().sack, [[101, 201]]);
  peer.send({ seq: 301, data: 100 });
  t.deepEqual(peer.take().sack, [
    [301, 401],
    [101, 201],
  ]);
  peer.send({ seq: 501, data: 100 });
  t.deepEqual(peer.take().sack, [
    [501, 601],
    [301, 401],
    [101, 201],
  ]);
  // RFC 2018 section 4: the block that holds the latest segment comes first, and grows.
  peer.send({ seq: 201, data: 50 });
  t.deepEqual(peer.take().sack, [
    [101, 251],
    [501, 601],
    [301, 401],
  ]);
  peer.send({ seq: 701, data: 100 });
  peer.send({ seq: 901, data: 100 });
  // As many as the header has room for: four without timestamps.
  t.deepEqual(peer.takeAll().at(-1)?.sack, [
    [901, 1001],
    [701, 801],
    [101, 251],
    [501, 601],
  ]);
  peer.send({ seq: 1, data: 100 });
  const filled = peer.take();
  t.is(filled.ack, 251);
  t.deepEqual(filled.sack, [
    [901, 1001],
    [701, 801],
    [501, 601],
    [301, 401],
  ]);
  peer.send({ seq: 251, data: 750 });
  // RFC 2883 section 4: of what was held already the first piece is reported.
  t.deepEqual(peer.take().sack, [[301, 401]]);
  t.true(Buffer.concat(user.received).equals(pattern(0, 1000)));
});

simulate('what arrives twice is reported once (RFC 2883)', (t, world) => {
  const { peer } = open(world);
  peer.send({ data: 100 });
  peer.send({ data: 100 });
  peer.takeAll();
  // Section 4.1: wholly below the acknowledgment.
  peer.send({ seq: 1, data: 100 });
  const [whole] = peer.takeAll();
  t.is(whole?.ack, 201);
  t.deepEqual(whole?.sack, [[1, 101]]);
  // Partly new.
  peer.send({ seq: 101, data: 200 });
  t.deepEqual(peer.takeAll().at(-1)?.sack, [[101, 201]]);
  // Section 4.2: within what is held beyond a gap.
  peer.send({ seq: 401, data: 200 });
  t.deepEqual(peer.take().sack, [[401, 601]]);
  peer.send({ seq: 401, data: 100 });
  t.deepEqual(peer.take().sack, [
    [401, 501],
    [401, 601],
  ]);
  peer.send({ seq: 301, data: 100 });
  t.deepEqual(peer.take().sack, []);
});

simulate('no blocks for a peer that has not permitted them', (t, world) => {
  const { peer } = open(world, 0, false);
  peer.send({ seq: 101, data: 100 });
  t.deepEqual(peer.take().sack, []);
  peer.send({ seq: 1, data: 100 });
  peer.send({ seq: 1, data: 100 });
  t.deepEqual(peer.takeAll().at(-1)?.sack, []);
});

simulate('blocks take their room from the text', (t, world) => {
  const { peer, user, tcb } = open(world);
  peer.send({ seq: 101, data: 100 });
  peer.takeAll();
  world.call(() => user.send(tcb, 3000));
  const sent = peer.takeAll();
  t.deepEqual(
    sent.map(({ length }) => length),
    [MSS - 12, MSS - 12, 3000 - 2 * (MSS - 12)],
  );
  t.true(sent.every(({ sack }) => sack.length === 1));
});

simulate('one hole: it is sent again, and nothing else', (t, world) => {
  const { peer, user, tcb } = open(world, 10 * MILLISECOND);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  world.advance(10 * MILLISECOND);
  peer.send(holding(0, [1, 2]));
  peer.send(holding(0, [1, 3]));
  t.deepEqual(peer.lines(), []);
  // RFC 8985 6.2 step 4: three segments held, nothing ever reordered.
  peer.send(holding(0, [1, 4]));
  t.deepEqual(numbers(peer.takeAll()), [0]);
  for (let held = 5; held <= 10; held++) peer.send(holding(0, [1, held]));
  t.deepEqual(peer.lines(), []);
  peer.send(holding(10));
  world.advance(10 * SECOND);
  t.deepEqual(peer.lines(), []);
  t.is(world.host.tcp.counters.get('segmentsRetransmitted'), 1);
  t.is(world.host.tcp.counters.get('timeouts'), 0);
});

simulate('three holes are mended in one round trip', (t, world) => {
  const { peer, user, tcb } = open(world, 10 * MILLISECOND);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  world.advance(10 * MILLISECOND);
  peer.send(holding(0, [1, 3]));
  peer.send(holding(0, [4, 7], [1, 3]));
  peer.send(holding(0, [8, 10], [4, 7], [1, 3]));
  t.deepEqual(numbers(peer.takeAll()), [0, 3, 7]);
  world.advance(10 * MILLISECOND);
  peer.send(holding(10));
  world.advance(10 * SECOND);
  t.deepEqual(peer.lines(), []);
});

simulate('reordering within a quarter of the round trip is waited for', (t, world) => {
  const { peer, user, tcb } = open(world, 40 * MILLISECOND);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  world.advance(40 * MILLISECOND);
  peer.send(holding(0, [1, 3]));
  t.deepEqual(peer.lines(), []);
  // RFC 8985 6.2: RACK.reo_wnd is min_RTT / 4 as long as fewer than three segments are held.
  world.advance(5 * MILLISECOND);
  peer.send(holding(3));
  world.advance(60 * MILLISECOND);
  t.deepEqual(
    numbers(peer.takeAll()).filter((n) => n < 10),
    [],
  );
  t.is(world.host.tcp.counters.get('segmentsRetransmitted'), 0);
});

simulate('the reordering window ends: what is still missing is lost', (t, world) => {
  const { peer, user, tcb } = open(world, 40 * MILLISECOND);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  world.advance(40 * MILLISECOND);
  const ackUs = world.nowUs;
  peer.send(holding(0, [1, 3]));
  world.advance(30 * MILLISECOND);
  const [again] = peer.takeAll();
  t.is(again?.seq, 1);
  assertOnTime(t, again?.timeUs ?? 0, ackUs + 10 * MILLISECOND);
});

simulate('a retransmission that is lost again is found without a time-out', (t, world) => {
  const { peer, user, tcb } = open(world, 10 * MILLISECOND);
  world.call(() => user.send(tcb, 30 * MSS));
  peer.takeAll();
  world.advance(10 * MILLISECOND);
  peer.send(holding(0, [1, 4]));
  t.is(numbers(peer.takeAll())[0], 0);
  world.advance(10 * MILLISECOND);
  peer.send(holding(0, [1, 10]));
  const fresh = numbers(peer.takeAll());
  t.true(
    fresh.every((n) => n >= 10),
    `${fresh}`,
  );
  world.advance(15 * MILLISECOND);
  // What was sent after the retransmission has arrived.
  peer.send(holding(0, [1, 11]));
  world.advance(10 * MILLISECOND);
  t.true(numbers(peer.takeAll()).includes(0));
  t.is(world.host.tcp.counters.get('timeouts'), 0);
});

simulate('tail loss probe: the last segment again after two round trips', (t, world) => {
  const { peer, user, tcb } = open(world, 40 * MILLISECOND);
  world.call(() => user.send(tcb, 4 * MSS));
  const sentUs = peer.takeAll()[0]?.timeUs ?? 0;
  world.advance(125 * MILLISECOND);
  const [probe] = peer.takeAll();
  t.is(probe?.seq, 1 + 3 * MSS);
  // RFC 8985 7.2, and the two milliseconds of a busy peer.
  assertOnTime(t, probe?.timeUs ?? 0, sentUs + 82 * MILLISECOND);
  peer.send(holding(2, [3, 4]));
  world.advance(15 * MILLISECOND);
  t.deepEqual(numbers(peer.takeAll()), [2]);
  peer.send(holding(4));
  world.advance(10 * SECOND);
  t.deepEqual(peer.lines(), []);
  t.is(world.host.tcp.counters.get('timeouts'), 0);
});

simulate('tail loss probe: new data where there is some', (t, world) => {
  const { peer, user, tcb } = open(world, 40 * MILLISECOND);
  world.call(() => user.send(tcb, 11 * MSS));
  t.deepEqual(numbers(peer.takeAll()).length, 10);
  world.advance(100 * MILLISECOND);
  t.deepEqual(numbers(peer.takeAll()), [10]);
  t.is(world.host.tcp.counters.get('segmentsRetransmitted'), 0);
  peer.send(holding(11));
});

simulate('a spurious time-out is undone (F-RTO)', (t, world) => {
  const { peer, user, tcb } = open(world, 10 * MILLISECOND);
  world.call(() => user.send(tcb, 40 * MSS));
  peer.takeAll();
  const before = tcb.cwndBytes;
  world.advance(400 * MILLISECOND);
  t.true(world.host.tcp.counters.get('timeouts') > 0);
  peer.takeAll();
  // The acknowledgments were late, and nothing is missing.
  peer.send(holding(1));
  peer.send(holding(3));
  t.is(world.host.tcp.counters.get('spuriousRecoveries'), 1);
  t.true(tcb.cwndBytes >= before);
  peer.send(holding(11));
});

simulate('a recovery for nothing is undone when everything sent again arrives twice', (t, world) => {
  const { peer, user, tcb } = open(world, 10 * MILLISECOND);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  world.advance(10 * MILLISECOND);
  const before = tcb.cwndBytes;
  peer.send(holding(0, [1, 4]));
  t.deepEqual(numbers(peer.takeAll()), [0]);
  t.true(tcb.ssthreshBytes < before);
  peer.send(holding(10));
  // RFC 3708: the D-SACK for the only segment that was sent again.
  peer.send({ ack: 1 + 10 * MSS, sack: [[1, 1 + MSS]] });
  t.is(world.host.tcp.counters.get('spuriousRecoveries'), 1);
  t.true(tcb.cwndBytes >= before);
});

simulate('a peer that drops what it held gets it again', (t, world) => {
  const { peer, user, tcb } = open(world, 10 * MILLISECOND);
  world.call(() => user.send(tcb, 5 * MSS));
  peer.takeAll();
  world.advance(10 * MILLISECOND);
  peer.send(holding(0, [1, 5]));
  peer.takeAll();
  peer.send(holding(1));
  // RFC 2018 section 8: it acknowledges the first and has forgotten the rest.
  world.advance(400 * MILLISECOND);
  t.is(world.host.tcp.counters.get('sacksReneged'), 1);
  t.is(numbers(peer.takeAll())[0], 1);
  peer.send(holding(5));
});

simulate('blocks of what was never sent are ignored', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 4 * MSS));
  peer.takeAll();
  peer.send({ ack: 1, sack: [[1 + 2 * MSS, 1 + 5 * MSS]] });
  peer.send({ ack: 1, sack: [[1 + 3 * MSS, 1 + 2 * MSS]] });
  t.is(tcb.sackedBytes, 0);
  t.is(world.host.tcp.counters.get('sackBlocksIgnored'), 2);
  peer.send(holding(4));
});
