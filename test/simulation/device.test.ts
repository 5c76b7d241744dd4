/**
 * TCP over devices with offloads and with rings: super-frames both ways, regions that the device still reads, transmit
 * queues that are full.
 */
import { abort, closeSend, queuedBytes } from '../../src/tcp/calls.ts';
import { pattern } from '../support/raw-peer.ts';
import { MILLISECOND, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';

const MSS = 1460;
const OFFLOAD = { link: { offload: true } };

simulate(
  'super-frames: as many whole segments as the windows allow, cut at the MSS',
  (t, world) => {
    const { peer, user, tcb } = world.accept({ windowScale: 7 });
    world.call(() => user.send(tcb, 100_000));
    // The initial window of ten segments (RFC 6928) in one frame.
    const [first, ...rest] = peer.takeAll();
    t.is(rest.length, 0);
    t.is(first?.length, 10 * MSS);
    t.is(first?.segmentBytes, MSS);
    t.true(first?.payload.equals(pattern(0, 10 * MSS)));
    peer.send();
    const next = peer.takeAll();
    t.is(
      next.reduce((sum, seen) => sum + seen.length, 0),
      20 * MSS,
    );
    while (queuedBytes(tcb) > 0) peer.send();
    for (const seen of peer.log) {
      t.true(seen.payload.equals(pattern(seen.seq - 1, seen.length)));
      t.true(seen.length % MSS === 0 || seen.seq + seen.length === 100_001);
      t.is(seen.segmentBytes, seen.length > MSS ? MSS : 0);
    }
  },
  OFFLOAD,
);

simulate(
  'super-frames end at the window of the peer',
  (t, world) => {
    const { peer, user, tcb } = world.accept({ window: 5000 });
    world.call(() => user.send(tcb, 100_000));
    t.deepEqual(
      peer.takeAll().map((seen) => seen.length),
      [3 * MSS],
    );
  },
  OFFLOAD,
);

simulate(
  'super-frames: the FIN rides on the last, which need not be whole',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    world.call(() => {
      user.send(tcb, 3 * MSS + 10);
      closeSend(tcb);
    });
    t.deepEqual(peer.lines(), ['FA 1:4391(4390) ack 1']);
    peer.send();
  },
  OFFLOAD,
);

simulate(
  'super-frames: an ACK in the middle, a time-out, a fast retransmit of one segment',
  (t, world) => {
    const { peer, user, tcb } = world.accept({ windowScale: 7 });
    world.call(() => user.send(tcb, 10 * MSS));
    peer.takeAll();
    peer.send({ ack: 1 + 3 * MSS + 100 });
    for (let i = 0; i < 3; i++) peer.send({ ack: 1 + 3 * MSS + 100 });
    const [fast] = peer.takeAll();
    t.is(fast?.seq, 1 + 3 * MSS + 100);
    t.is(fast?.length, MSS);
    t.true(fast?.payload.equals(pattern(3 * MSS + 100, MSS)));
    world.advance(300 * MILLISECOND);
    const [again] = peer.takeAll();
    t.is(again?.seq, fast?.seq);
    t.is(again?.length, MSS);
  },
  OFFLOAD,
);

simulate(
  'super-frames of many small regions',
  (t, world) => {
    const { peer, user, tcb } = world.accept({ windowScale: 7 });
    world.call(() => {
      for (let i = 0; i < 40; i++) user.send(tcb, 1 + ((i * 997) % 3000));
    });
    for (let i = 0; i < 50 && queuedBytes(tcb) > 0; i++) peer.send();
    t.is(queuedBytes(tcb), 0);
    for (const seen of peer.log) t.true(seen.payload.equals(pattern(seen.seq - 1, seen.length)));
    t.is(user.regions, 0);
  },
  OFFLOAD,
);

simulate(
  'super-frames in: delivered whole, acknowledged at once',
  (t, world) => {
    const { peer, user } = world.accept({ windowScale: 7 });
    peer.send({ data: 60_000 });
    t.is(user.receivedBytes, 60_000);
    t.deepEqual(peer.lines(), ['A 1:1(0) ack 60001']);
    peer.send({ seq: 1, data: 65_000 });
    t.is(user.receivedBytes, 65_000);
    t.true(user.isIntact);
  },
  OFFLOAD,
);

simulate(
  'super-frames beyond the window are cut off',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    user.reads = false;
    peer.send({ seq: 5001, data: 60_000 });
    peer.send({ seq: 1, data: 60_000 });
    world.advance(50 * MILLISECOND);
    t.is(peer.takeAll().at(-1)?.ack, 8193);
    world.call(() => user.read(tcb));
    t.is(user.receivedBytes, 8192);
    t.true(user.isIntact);
  },
  { ...OFFLOAD, settings: { receiveBufferBytes: 8192 } },
);

simulate(
  "a region that is acknowledged stays the device's until the frames are read",
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    const before = peer.log.length;
    world.call(() => user.send(tcb, 1000));
    world.advance(30 * MILLISECOND);
    t.is(peer.log.length, before + 1);
    // The peer's acknowledgment is on its way for 20 ms; meanwhile the segment is sent again, and read 20 ms after that.
    const counters = world.host.tcp.counters;
    world.advance(tcb.rtoUs - 45 * MILLISECOND);
    peer.queue({ ack: 1001 });
    world.runUntil(() => queuedBytes(tcb) === 0, SECOND);
    t.is(counters.get('segmentsRetransmitted'), 1);
    t.is(peer.log.length, before + 1);
    t.deepEqual(user.released, []);
    world.runUntil(() => user.released.length > 0, SECOND);
    t.is(peer.log.length, before + 2);
    t.deepEqual(user.released, [0]);
  },
  { link: { readDelayUs: 20 * MILLISECOND } },
);

simulate(
  'the same when the connection is aborted',
  (t, world) => {
    const { user, tcb } = world.accept();
    world.call(() => user.send(tcb, 1000));
    world.call(() => abort(tcb));
    t.deepEqual(user.released, []);
    world.advance(25 * MILLISECOND);
    t.deepEqual(user.released, [0]);
  },
  { link: { readDelayUs: 20 * MILLISECOND } },
);

simulate(
  'a device that takes few frames at a time: all are served, nothing spins',
  (t, world) => {
    const connected = Array.from({ length: 100 }, () => world.accept({ windowScale: 7 }));
    const turns = () => world.host.kernel.counters.get('turns');
    const before = turns();
    world.call(() => {
      for (const { user, tcb } of connected) user.send(tcb, 14_600);
    });
    t.true(
      world.runUntil(() => connected.every(({ peer }) => peer.rcvNxt === 14_601), SECOND),
      'within the first time-outs or so',
    );
    for (const { peer } of connected) {
      peer.send();
      world.advance(MILLISECOND);
    }
    t.true(connected.every(({ user }) => user.regions === 0));
    t.true(turns() - before < 5000, `${turns() - before} turns`);
  },
  { link: { readDelayUs: 100, ringFrames: 16 } },
);
