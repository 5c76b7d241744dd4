/** Retransmission: the timer (RFC 6298), fast retransmit and NewReno (RFC 5681, RFC 6582), limited transmit (RFC 3042). */
import { closeSend, queuedBytes } from '../../src/tcp/calls.ts';
import { RECOVERY } from '../../src/tcp/tcb.ts';
import { pattern, RawPeer, type Seen } from '../support/raw-peer.ts';
import {
  type Connected,
  MILLISECOND,
  type OpenOptions,
  type RawWorld,
  type RawWorldOptions,
  SECOND,
} from '../support/raw-world.ts';
import { assertOnTime, simulate as simulateWith } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

const MSS = 1460;

/** What these tests are about: no SACK (the peers do not permit it), NewReno, and no other ways to tell a loss. */
const PLAIN = { settings: { congestion: 'newreno', frto: false } } as const;

function simulate(title: string, body: Parameters<typeof simulateWith>[1], more: RawWorldOptions = {}): void {
  simulateWith(title, body, { ...PLAIN, ...more });
}

const MIN_RTO_US = 200_000;
const MAX_RTO_US = 120 * SECOND;
/** Initial window (RFC 6928). */
const IW = 10;

/** An accepted connection whose handshake took `rttUs`; the peer's window is never in the way. */
function open(world: RawWorld, rttUs = 0, options: OpenOptions = {}): Connected {
  const user = new TestUser(world);
  const listener = world.listen(user);
  const peer = new RawPeer(world, options);
  peer.timestamps = options.timestamps ?? false;
  peer.send({ flags: 'S', mss: MSS, windowScale: 7 });
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

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/** An acknowledgment of the first `count` full segments. */
function ackOf(count: number): { ack: number } {
  return { ack: 1 + count * MSS };
}

simulate('back-off: doubled each time up to two minutes, given up after 15 retransmissions', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 100));
  t.true(world.runUntil(() => user.closed));
  const seen = peer.takeAll();
  // RFC 6298 5.5, 2.5; RFC 9293 3.8.3.
  const data = seen.filter((segment) => segment.length === 100);
  t.is(data.length, 16);
  let dueUs = data[0]?.timeUs ?? 0;
  // The handshake took no time: SRTT is one microsecond.
  let rtoUs = MIN_RTO_US;
  for (const [index, segment] of data.entries()) {
    t.is(segment.seq, 1);
    t.true(segment.payload.equals(pattern(0, 100)));
    assertOnTime(t, segment.timeUs, dueUs, `segment ${index}`);
    dueUs = segment.timeUs + rtoUs;
    rtoUs = Math.min(MAX_RTO_US, rtoUs * 2);
  }
  assertOnTime(t, user.closedAtUs, dueUs, 'giving up');
  t.is(user.error, 'ETIMEDOUT');
  t.is(user.regions, 0);
});

simulate('the time-out is the smoothed round trip and four deviations', (t, world) => {
  const { peer, user, tcb } = open(world, 100 * MILLISECOND);
  // RFC 6298 2.2: SRTT = R, RTTVAR = R/2; K*RTTVAR = 200 ms.
  world.call(() => user.send(tcb, 100));
  const { timeUs } = peer.take();
  world.advance(SECOND);
  assertOnTime(t, peer.take().timeUs, timeUs + 300 * MILLISECOND);
});

simulate('the time-out follows slow and unsteady round trips', (t, world) => {
  const { peer, user, tcb } = open(world, 400 * MILLISECOND);
  let srtt = 400_000;
  let rttvar = 200_000;
  for (const rttUs of [600_000, 200_000, 1_000_000, 50_000]) {
    world.call(() => user.send(tcb, 100));
    world.advance(rttUs);
    peer.send();
    peer.takeAll();
    // RFC 6298 2.3.
    rttvar = 0.75 * rttvar + 0.25 * Math.abs(srtt - rttUs);
    srtt = 0.875 * srtt + 0.125 * rttUs;
    const expected = srtt + Math.max(MIN_RTO_US, 4 * rttvar);
    t.true(Math.abs(tcb.rtoUs - expected) < 100, `RTO ${tcb.rtoUs}, expected ${expected}`);
  }
});

simulate('the timer starts over when new text is acknowledged and stops with the last', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 2 * MSS));
  world.advance(150 * MILLISECOND);
  peer.takeAll();
  // RFC 6298 5.3.
  const ackUs = world.nowUs;
  peer.send(ackOf(1));
  world.advance(SECOND);
  const [again] = peer.takeAll();
  t.is(again?.seq, 1 + MSS);
  assertOnTime(t, again?.timeUs ?? 0, ackUs + MIN_RTO_US + (150 * MILLISECOND) / 8, 'the second segment');
  peer.send(ackOf(2));
  // RFC 6298 5.2.
  world.advance(100 * SECOND);
  t.deepEqual(peer.lines(), []);
});

simulate('a SYN was lost: three seconds and one segment to begin with', (t, world) => {
  const user = new TestUser(world);
  const peer = new RawPeer(world, { port: 8080 });
  const tcb = world.host.tcp.connect(peer.address, peer.port, user);
  if (tcb === null) throw new Error('no connection');
  world.call(() => user.send(tcb, 10 * MSS));
  world.advance(1100 * MILLISECOND);
  peer.takeAll();
  peer.send({ flags: 'SA', mss: MSS });
  // RFC 5681 3.1: IW of one segment; RFC 6298 5.7: RTO of three seconds.
  const first = peer.takeAll();
  t.deepEqual(numbers(first), [0]);
  world.advance(4 * SECOND);
  const [again] = peer.takeAll();
  assertOnTime(t, again?.timeUs ?? 0, (first[0]?.timeUs ?? 0) + 3 * SECOND);
});

simulate('Karn: what was sent twice is not timed, and the back-off stays until something is', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 100));
  world.advance(700 * MILLISECOND);
  // Sent at 0, 200 and 600 ms: the time-out is 800 ms now.
  t.is(peer.takeAll().length, 3);
  const srttUs = tcb.srttUs;
  peer.send({ ack: 101 });
  t.is(tcb.srttUs, srttUs);
  world.call(() => user.send(tcb, 100));
  const { timeUs } = peer.take();
  world.advance(820 * MILLISECOND);
  // RFC 6298 section 5, note: the backed-off RTO for the next segment.
  const [again] = peer.takeAll();
  t.is(again?.seq, 101);
  const lateUs = (again?.timeUs ?? 0) - timeUs - 800 * MILLISECOND;
  t.true(lateUs >= 0 && lateUs < 5 * MILLISECOND, `${lateUs}`);
  peer.send({ ack: 201 });
  world.call(() => user.send(tcb, 100));
  world.advance(10 * MILLISECOND);
  peer.send({ ack: 301 });
  t.true(tcb.rtoUs < 300 * MILLISECOND);
});

simulate('with timestamps what was sent twice is timed by its echo', (t, world) => {
  const { peer, user, tcb } = open(world, 0, { timestamps: true });
  world.call(() => user.send(tcb, 100));
  world.advance(650 * MILLISECOND);
  t.is(peer.takeAll().length, 3);
  // RFC 7323 4: the last was sent 50 ms ago.
  peer.send({ ack: 101 });
  t.true(tcb.rtoUs < 300 * MILLISECOND, `${tcb.rtoUs}`);
  t.true(tcb.srttUs < 20 * MILLISECOND, `${tcb.srttUs}`);
});

simulate('go-back-N: after a time-out all is sent again, the FIN on the last of it', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => {
    user.send(tcb, 3 * MSS + 100);
    closeSend(tcb);
  });
  t.is(peer.lines().at(-1), 'FA 4381:4481(100) ack 1');
  world.advance(250 * MILLISECOND);
  // RFC 5681 3.1: the loss window is one segment.
  t.deepEqual(numbers(peer.takeAll()), [0]);
  peer.send(ackOf(1));
  t.deepEqual(peer.lines(), ['A 1461:2921(1460) ack 1', 'A 2921:4381(1460) ack 1']);
  peer.send(ackOf(3));
  t.deepEqual(peer.lines(), ['FA 4381:4481(100) ack 1']);
  peer.send({ ack: 4482 });
  t.is(queuedBytes(tcb), 0);
  world.advance(10 * SECOND);
  t.deepEqual(peer.lines(), []);
});

simulate('after a time-out, what the peer has already is not sent again', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  world.advance(250 * MILLISECOND);
  t.deepEqual(numbers(peer.takeAll()), [0]);
  // Only the first was lost.
  peer.send(ackOf(10));
  world.advance(10 * SECOND);
  t.deepEqual(peer.lines(), []);
  t.is(queuedBytes(tcb), 0);
});

simulate('a time-out: window of one segment, threshold of half the flight, slow start from there', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 40 * MSS));
  t.deepEqual(numbers(peer.takeAll()), range(0, IW));
  world.advance(250 * MILLISECOND);
  t.deepEqual(numbers(peer.takeAll()), [0]);
  // RFC 5681 equation 4.
  t.is(tcb.ssthreshBytes, 5 * MSS);
  world.advance(500 * MILLISECOND);
  // RFC 5681 3.1: a second time-out for the same segment leaves the threshold alone.
  t.deepEqual(numbers(peer.takeAll()), [0]);
  t.is(tcb.ssthreshBytes, 5 * MSS);
  peer.send(ackOf(1));
  t.deepEqual(numbers(peer.takeAll()), [1, 2]);
  peer.send(ackOf(3));
  t.is(tcb.cwndBytes, 4 * MSS);
});

simulate('slow start: the window grows by what is acknowledged, never by more', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 200 * MSS));
  t.is(peer.takeAll().length, IW);
  peer.send(ackOf(1));
  // RFC 5681 3.1.
  t.deepEqual(numbers(peer.takeAll()), [10, 11]);
  peer.send(ackOf(10));
  t.deepEqual(numbers(peer.takeAll()), range(12, 30));
});

simulate('ACK division does not make the window grow faster', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 200 * MSS));
  peer.takeAll();
  const before = tcb.cwndBytes;
  // RFC 3465, RFC 5681 3.1: by bytes acknowledged, not by ACKs.
  for (let ack = 11; ack <= 1461; ack += 10) peer.send({ ack });
  t.true(tcb.cwndBytes <= before + MSS);
});

simulate('congestion avoidance: about one segment a round trip', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 400 * MSS));
  peer.takeAll();
  world.advance(250 * MILLISECOND);
  peer.takeAll();
  peer.send(ackOf(10));
  let acked = 10;
  // Up to the threshold, five segments, then linear.
  for (let round = 0; round < 6; round++) {
    const flight = (tcb.sndNxt as unknown as number) - (tcb.sndUna as unknown as number);
    const cwnd = tcb.cwndBytes;
    acked += flight / MSS;
    for (let i = acked - flight / MSS + 1; i <= acked; i++) peer.send(ackOf(i));
    if (cwnd >= tcb.ssthreshBytes) t.true(tcb.cwndBytes <= cwnd + MSS + 10, `${cwnd} to ${tcb.cwndBytes}`);
    t.true(tcb.cwndBytes > cwnd);
  }
});

simulate('fast retransmit: at the third duplicate, not before', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  peer.send(ackOf(0));
  peer.send(ackOf(0));
  t.deepEqual(peer.lines(), []);
  // RFC 5681 3.2 step 2.
  peer.send(ackOf(0));
  t.deepEqual(numbers(peer.takeAll()), [0]);
  peer.send(ackOf(0));
  peer.send(ackOf(0));
  t.deepEqual(peer.lines(), []);
  peer.send(ackOf(10));
  world.advance(10 * SECOND);
  t.deepEqual(peer.lines(), []);
  t.is(world.host.tcp.counters.get('fastRetransmits'), 1);
  t.is(world.host.tcp.counters.get('timeouts'), 0);
});

simulate('limited transmit: the first two duplicates release a new segment each', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 30 * MSS));
  peer.takeAll();
  // RFC 3042 section 2.
  peer.send(ackOf(0));
  t.deepEqual(numbers(peer.takeAll()), [10]);
  peer.send(ackOf(0));
  t.deepEqual(numbers(peer.takeAll()), [11]);
  peer.send(ackOf(0));
  t.deepEqual(numbers(peer.takeAll()), [0]);
});

simulate('limited transmit is not counted when the threshold is set', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 30 * MSS));
  for (let i = 0; i < 3; i++) peer.send(ackOf(0));
  // RFC 5681 3.2 step 2: "additional data sent in limited transmit MUST NOT be included in this calculation".
  t.is(tcb.ssthreshBytes, 5 * MSS);
});

simulate('limited transmit respects the window of the peer', (t, world) => {
  const { peer, user, tcb } = open(world);
  peer.window = Math.ceil((10 * MSS) / 128);
  peer.send();
  world.call(() => user.send(tcb, 30 * MSS));
  t.is(peer.takeAll().length, IW);
  peer.send(ackOf(0));
  peer.send(ackOf(0));
  t.deepEqual(peer.lines(), []);
});

simulate('fast recovery: duplicates let new segments out, and a full ACK ends it', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 60 * MSS));
  peer.takeAll();
  for (let i = 0; i < 3; i++) peer.send(ackOf(0));
  t.deepEqual(numbers(peer.takeAll()), [10, 11, 0]);
  const { ssthreshBytes } = tcb;
  // RFC 5681 3.2 step 4: eight more segments (of 12 in flight, the first lost) have arrived.
  for (let i = 0; i < 8; i++) peer.send(ackOf(0));
  const fresh = numbers(peer.takeAll());
  t.deepEqual(fresh, range(12, 12 + fresh.length));
  t.true(fresh.length >= 4 && fresh.length <= 6);
  // RFC 6582 3.2 step 3: a full acknowledgment.
  peer.send(ackOf(12));
  t.true(tcb.cwndBytes <= ssthreshBytes + MSS);
  t.not(tcb.recoveryState, RECOVERY);
});

simulate('NewReno: a partial ACK has the next hole sent again, a full ACK ends it', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  // Segments 0, 3 and 7 are lost.
  for (let i = 0; i < 3; i++) peer.send(ackOf(0));
  t.deepEqual(numbers(peer.takeAll()), [0]);
  peer.send(ackOf(3));
  t.deepEqual(numbers(peer.takeAll()), [3]);
  peer.send(ackOf(7));
  t.deepEqual(numbers(peer.takeAll()), [7]);
  t.is(tcb.recoveryState, RECOVERY);
  peer.send(ackOf(10));
  t.not(tcb.recoveryState, RECOVERY);
  world.advance(10 * SECOND);
  t.deepEqual(peer.lines(), []);
  t.is(world.host.tcp.counters.get('timeouts'), 0);
  t.is(world.host.tcp.counters.get('segmentsRetransmitted'), 3);
});

simulate('NewReno: only the first partial ACK of a recovery starts the timer over', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  for (let i = 0; i < 3; i++) peer.send(ackOf(0));
  // Every second segment is lost: one hole is mended in a round trip (RFC 6582 3.2 step 3, the impatient variant).
  world.advance(150 * MILLISECOND);
  const firstUs = world.nowUs;
  peer.send(ackOf(2));
  world.advance(150 * MILLISECOND);
  peer.send(ackOf(4));
  peer.takeAll();
  t.is(world.host.tcp.counters.get('timeouts'), 0);
  world.runUntil(() => world.host.tcp.counters.get('timeouts') > 0, SECOND);
  world.settle();
  assertOnTime(t, world.nowUs, firstUs + MIN_RTO_US);
  t.deepEqual(numbers(peer.takeAll()), [4]);
});

simulate('NewReno: a partial and the full ACK in one turn have nothing sent again', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  for (let i = 0; i < 3; i++) peer.send(ackOf(0));
  peer.takeAll();
  peer.queue(ackOf(3));
  peer.queue(ackOf(10));
  world.settle();
  t.deepEqual(peer.lines(), []);
});

simulate('the segment that was sent again is lost again: a time-out', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  world.advance(100 * MILLISECOND);
  for (let i = 0; i < 9; i++) peer.send(ackOf(0));
  const [first] = peer.takeAll();
  t.is(first?.seq, 1);
  world.advance(250 * MILLISECOND);
  const [again] = peer.takeAll();
  t.is(again?.seq, 1);
  assertOnTime(t, again?.timeUs ?? 0, (first?.timeUs ?? 0) + MIN_RTO_US);
  peer.send(ackOf(10));
  world.advance(10 * SECOND);
  t.deepEqual(peer.lines(), []);
});

simulate('after a time-out duplicates of the old flight start no fast retransmit', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  world.advance(250 * MILLISECOND);
  t.deepEqual(numbers(peer.takeAll()), [0]);
  // RFC 6582 section 4.1 ("recover").
  for (let i = 0; i < 5; i++) peer.send(ackOf(0));
  t.is(world.host.tcp.counters.get('fastRetransmits'), 0);
  t.not(tcb.recoveryState, RECOVERY);
  t.false(peer.takeAll().some((seen) => seen.seq === 1));
});

simulate('no duplicates: ACKs with text, with another window, and of nothing in flight', (t, world) => {
  const { peer, user, tcb } = open(world);
  for (let i = 0; i < 5; i++) peer.send(ackOf(0));
  t.is(tcb.duplicateAcks, 0);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  // RFC 5681 section 2, (b) to (e).
  for (let i = 0; i < 5; i++) peer.send({ ...ackOf(0), data: 10 });
  for (let i = 0; i < 5; i++) peer.send({ ...ackOf(0), window: 1000 + i });
  peer.send({ ...ackOf(0), flags: 'FA' });
  t.is(world.host.tcp.counters.get('fastRetransmits'), 0);
  t.false(peer.takeAll().some((seen) => seen.length > 0));
});

simulate('duplicates that wait for one turn count each', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 10 * MSS));
  peer.takeAll();
  for (let i = 0; i < 3; i++) peer.queue(ackOf(0));
  world.settle();
  t.deepEqual(numbers(peer.takeAll()), [0]);
});

simulate('fast retransmit of the last text carries the FIN that was sent with it', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => {
    user.send(tcb, 100);
    closeSend(tcb);
  });
  peer.takeAll();
  for (let i = 0; i < 3; i++) peer.send(ackOf(0));
  t.deepEqual(peer.lines(), ['FA 1:101(100) ack 1']);
  peer.send({ ack: 102 });
  t.is(queuedBytes(tcb), 0);
});

simulate('a FIN asked for while the last text is being sent again is counted as sent once', (t, world) => {
  const { peer, user, tcb } = open(world);
  peer.window = 100;
  peer.send();
  world.call(() => user.send(tcb, 12_800));
  peer.takeAll();
  for (let i = 0; i < 2; i++) peer.send(ackOf(0));
  // The third duplicate and the application's close in one turn; the window of 12,800 is full.
  peer.queue(ackOf(0));
  closeSend(tcb);
  world.settle();
  peer.takeAll();
  peer.send({ ack: 12_801 });
  t.deepEqual(peer.lines(), ['FA 12801:12801(0) ack 1']);
  peer.send({ ack: 12_802 });
  t.deepEqual(peer.lines(), []);
  t.is(queuedBytes(tcb), 0);
});

simulate('an ACK in the middle of a segment', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 3 * MSS));
  peer.takeAll();
  peer.send({ ack: 1001 });
  world.advance(250 * MILLISECOND);
  const [again] = peer.takeAll();
  t.is(again?.seq, 1001);
  // What is left of the segment that was sent.
  t.is(again?.length, MSS - 1000);
  t.true(again?.payload.equals(pattern(1000, MSS - 1000)));
});

simulate('what is sent again is the same, however the regions lie', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => {
    // Odd lengths and more regions than a frame can gather.
    for (const length of [1, 2, 3, 999, 5, 7, 1461, 13, 4000, 1, 1, 1, 1, 1]) user.send(tcb, length);
  });
  const total = user.sentBytes;
  const received = Buffer.alloc(total);
  for (let i = 0; i < 60 && queuedBytes(tcb) > 0; i++) {
    for (const seen of peer.takeAll()) seen.payload.copy(received, seen.seq - 1);
    world.advance(500 * MILLISECOND);
    peer.send({ ack: Math.min(total + 1, 1 + 200 * i) });
  }
  for (const seen of peer.log) t.true(seen.payload.equals(pattern(seen.seq - 1, seen.length)));
  t.true(received.equals(pattern(0, total)));
  t.is(user.regions, 0);
});

simulate('progress keeps a connection alive however often a time-out comes', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 30 * MSS));
  for (let i = 1; i <= 30; i++) {
    world.runUntil(() => false, 3 * SECOND);
    peer.send(ackOf(i));
  }
  t.false(user.closed);
  t.is(queuedBytes(tcb), 0);
});

simulate(
  'fast retransmit works beyond two gigabytes',
  (t, world) => {
    const { peer, user, tcb } = open(world);
    peer.keepsPayload = false;
    const block = 512 * 1024;
    const total = 2 ** 31 + 64 * block;
    let acked = 0;
    const at = world.pattern(block);
    t.truthy(at);
    // The peer acknowledges everything at once; no loss, so `recover` is the ISS all the while.
    while (acked < total) {
      world.call(() => {
        user.sentBytes = 0;
        user.send(tcb, block);
      });
      for (let i = 0; i < 1000 && queuedBytes(tcb) > 0; i++) peer.send();
      acked += block;
      peer.takeAll();
      peer.log.splice(0);
    }
    world.call(() => {
      user.sentBytes = 0;
      user.send(tcb, 10 * MSS);
    });
    const first = peer.take().seq;
    peer.takeAll();
    for (let i = 0; i < 3; i++) peer.send({ ack: first });
    t.is(peer.takeAll()[0]?.seq, first);
    t.is(world.host.tcp.counters.get('fastRetransmits'), 1);
  },
  { link: { offload: true } },
);
