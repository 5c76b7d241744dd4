/** The receive side under every kind of arrival: order, overlap, gaps, small pieces, readers who do not read. */

import { SeededRandom } from '../../src/runtime/random.ts';
import { closeSend, readableBytes } from '../../src/tcp/calls.ts';
import { pattern } from '../support/raw-peer.ts';
import { MILLISECOND, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

simulate('segments in any order, repeated and overlapping, make one stream', (t, world) => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const { peer, user } = world.accept({ iss: random.i32() });
    const total = 30_000;
    // Enough to cover everything, in random pieces; then what is still missing, in order.
    for (let i = 0; i < 150; i++) {
      const seq = 1 + random.below(total);
      peer.queue({ seq, ack: 1, data: Math.min(1 + random.below(1460), total + 1 - seq) });
      if (random.chance(0.3)) world.settle();
    }
    world.settle();
    while (user.receivedBytes < total) {
      const missing = user.receivedBytes;
      peer.send({ seq: missing + 1, ack: 1, data: Math.min(1460, total - missing) });
      t.true(user.receivedBytes > missing);
    }
    t.true(user.isIntact, `seed ${seed}`);
    t.is(peer.takeAll().at(-1)?.flags, 'A');
  }
});

simulate(
  'a slow reader gets the same stream',
  (t, world) => {
    const random = new SeededRandom(7);
    const { peer, user, tcb } = world.accept({ iss: -5000 });
    user.reads = false;
    const total = 200_000;
    let next = 1;
    let steps = 0;
    while (user.receivedBytes < total && steps++ < 5000) {
      const last = peer.takeAll().at(-1);
      const edge = last === undefined ? next + 1000 : last.ack + last.window;
      if (last !== undefined) next = last.ack;
      for (let i = 0; i < 5 && next < edge && next <= total; i++) {
        const data = Math.min(1 + random.below(1460), edge - next, total + 1 - next);
        if (random.chance(0.8)) peer.queue({ seq: next, ack: 1, data });
        next += data;
      }
      world.settle();
      if (random.chance(0.5)) world.call(() => user.read(tcb, random.below(3000)));
      world.advance(50 * MILLISECOND);
      if (peer.inbox.length === 0) peer.send({ seq: 0, ack: 1 });
      world.advance(500 * MILLISECOND);
      t.true(readableBytes(tcb) <= 8192);
      t.true(world.host.tcp.receiveMemory.usedBytes <= 8192);
    }
    t.is(user.receivedBytes, total);
    t.true(user.isIntact);
  },
  { settings: { receiveBufferBytes: 8192 } },
);

simulate('what was readable once never changes, whatever overlaps it says', (t, world) => {
  const { peer, user, tcb } = world.accept();
  user.reads = false;
  const lie = Buffer.alloc(400, 0xee);
  peer.send({ seq: 1, data: 200 });
  // Across what is there, and beyond it.
  peer.send({ seq: 1, data: lie.subarray(0, 200) });
  peer.send({ seq: 101, data: Buffer.concat([lie.subarray(0, 100), pattern(200, 100)]) });
  t.is(readableBytes(tcb), 300);
  world.call(() => user.read(tcb, 150));
  peer.send({ seq: 1, data: lie.subarray(0, 300) });
  world.call(() => user.read(tcb));
  t.is(user.receivedBytes, 300);
  t.true(user.isIntact);
});

simulate('overlaps beyond a gap: one of the versions, and the stream goes on', (t, world) => {
  const { peer, user } = world.accept();
  const other = Buffer.alloc(100, 0xee);
  peer.send({ seq: 101, data: 100 });
  peer.send({ seq: 151, data: other });
  peer.send({ seq: 51, data: other });
  peer.send({ seq: 1, data: 100 });
  t.is(user.receivedBytes, 250);
  const text = user.text;
  for (const [from, to] of [
    [0, 50],
    [50, 100],
    [100, 150],
    [150, 200],
    [200, 250],
  ] as const) {
    const part = text.subarray(from, to);
    const one = part.equals(pattern(from, to - from));
    t.true(one || part.every((byte) => byte === 0xee), `bytes ${from} to ${to}`);
  }
  t.true(text.subarray(0, 50).equals(pattern(0, 50)));
});

simulate('one-byte segments: nothing is pinned, and the stream is whole', (t, world) => {
  const { peer, user, tcb } = world.accept();
  user.reads = false;
  for (let i = 0; i < 5000; i++) {
    peer.queue({ data: 1 });
    if (i % 100 === 99) world.settle();
  }
  world.settle();
  t.is(readableBytes(tcb), 5000);
  t.true(world.host.tcp.receiveMemory.usedBytes <= 8192);
  t.is(world.host.stack.environment.held, 0);
  world.call(() => user.read(tcb));
  t.true(user.isIntact);
  t.is(world.host.tcp.receiveMemory.usedBytes, 0);
});

simulate('one-byte segments, every second first: more gaps than are kept, and the stream is whole', (t, world) => {
  const { peer, user } = world.accept();
  for (let seq = 2; seq <= 400; seq += 2) peer.send({ seq, data: 1 });
  t.true(world.host.tcp.receiveMemory.usedBytes <= 4096);
  t.true(world.host.stack.drops.get('tcp-memory') > 0);
  let steps = 0;
  while (user.receivedBytes < 400 && steps++ < 1000) peer.send({ seq: user.receivedBytes + 1, data: 1 });
  t.is(user.receivedBytes, 400);
  t.true(user.isIntact);
  t.true(steps < 400);
});

simulate('with all gaps taken, what joins two ranges is still kept', (t, world) => {
  const { peer, user } = world.accept();
  for (let i = 0; i < 32; i++) peer.send({ seq: 101 + i * 20, data: 10 });
  t.is(world.host.stack.drops.get('tcp-memory'), 0);
  // Between the first two ranges: afterwards there is one range less.
  peer.send({ seq: 111, data: 10 });
  peer.send({ seq: 1, data: 100 });
  t.is(user.receivedBytes, 130);
});

simulate(
  'text beyond the window is cut off',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    user.reads = false;
    peer.send({ seq: 4001, data: 1000 });
    for (let seq = 1; seq < 4000; seq += 1000) peer.send({ seq, data: 1000 });
    t.is(readableBytes(tcb), 4096);
    world.advance(50 * MILLISECOND);
    t.is(peer.takeAll().at(-1)?.ack, 4097);
    t.true(world.host.tcp.receiveMemory.usedBytes <= 4096);
  },
  { settings: { receiveBufferBytes: 4096 } },
);

simulate(
  'no memory: text is refused as if it were lost, readers are served, others are not harmed',
  (t, world) => {
    // 16 blocks of 4096 for 20 readers who do not read.
    const greedy = Array.from({ length: 20 }, () => {
      const connected = world.accept();
      connected.user.reads = false;
      return connected;
    });
    const reader = world.accept();
    for (const { peer } of greedy) for (let i = 0; i < 4; i++) peer.send({ data: 1024 });
    t.true(world.host.tcp.receiveMemory.usedBytes <= 65_536);
    // Someone who reads needs no memory.
    for (let i = 0; i < 20; i++) reader.peer.send({ data: 1024 });
    t.is(reader.user.receivedBytes, 20 * 1024);
    // Those refused were not acknowledged, and get it in when there is room.
    world.advance(50 * MILLISECOND);
    const refused = greedy.filter(({ peer }) => (peer.log.at(-1)?.ack ?? 1) < 4097);
    t.true(refused.length >= 4);
    t.true(refused.every(({ user }) => !user.closed));
    for (const { user, tcb } of greedy) {
      world.call(() => user.read(tcb));
      user.reads = true;
    }
    for (const { peer, user } of refused) {
      while (user.receivedBytes < 4096) {
        const before = user.receivedBytes;
        peer.send({ seq: before + 1, data: 1024 });
        t.true(user.receivedBytes > before);
      }
    }
    for (const { user } of greedy) {
      t.is(user.receivedBytes, 4096);
      t.true(user.isIntact);
    }
  },
  { settings: { receiveBufferBytes: 4096, receivePoolBytes: 65_536 } },
);

simulate('a user that never reads: the peer is blocked, memory is bounded, others are not affected', (t, world) => {
  const stuck = world.accept({ windowScale: 7 });
  stuck.user.reads = false;
  const other = world.accept();
  let edge = 65_536;
  for (let i = 0; i < 3000; i++) {
    if (stuck.peer.sndNxt < edge) stuck.peer.send({ data: Math.min(1460, edge - stuck.peer.sndNxt) });
    if (i % 10 === 0) other.peer.send({ data: 100 });
    world.advance(MILLISECOND);
    for (const seen of stuck.peer.takeAll()) edge = Math.max(edge, seen.ack + (seen.window << 7));
  }
  t.is(stuck.peer.sndNxt, 64 * 1024);
  t.is(stuck.peer.log.at(-1)?.window, 0);
  t.is(world.host.tcp.receiveMemory.usedBytes, 64 * 1024);
  t.is(other.user.receivedBytes, 300 * 100);
  t.is(world.host.stack.environment.held, 0);
  world.call(() => stuck.user.read(stuck.tcb));
  t.true(stuck.user.isIntact);
});

simulate('many segments in one turn, more than are noted as deliveries', (t, world) => {
  const { peer, user } = world.accept();
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 1000; i++) peer.queue({ data: 13 });
    world.settle();
  }
  // The link's inbox is bounded; what it dropped is sent again.
  while (user.receivedBytes < 65_000) {
    const before = user.receivedBytes;
    peer.send({ seq: before + 1, data: 1000 });
    t.true(user.receivedBytes > before);
  }
  t.true(user.isIntact);
});

simulate('text, a hole, text and a FIN in one turn', (t, world) => {
  const { peer, user } = world.accept();
  peer.queue({ seq: 1, data: 100 });
  peer.queue({ seq: 201, data: 100 });
  peer.queue({ flags: 'FA', seq: 301, data: 50 });
  peer.queue({ seq: 101, data: 100 });
  world.settle();
  t.is(user.receivedBytes, 350);
  t.true(user.isIntact);
  t.true(user.peerClosed);
  t.is(peer.lines().at(-1), 'A 1:1(0) ack 352');
});

simulate('a reader who stops half-way through a turn finds the rest', (t, world) => {
  const { peer, user, tcb } = world.accept();
  user.reads = false;
  user.onReady = (connection) => {
    user.read(connection, 70);
  };
  for (let round = 0; round < 30; round++) {
    peer.queue({ data: 50 });
    peer.queue({ seq: peer.sndNxt + 30, data: 20 });
    peer.queue({ seq: peer.sndNxt - 50, data: 30 });
    world.settle();
  }
  user.onReady = null;
  world.call(() => user.read(tcb));
  t.is(user.receivedBytes, 3000);
  t.true(user.isIntact);
});

simulate(
  'a FIN with memory exhausted: an end in order, or an error, but not a stream that is cut',
  (t, world) => {
    const user = new TestUser(world);
    const blocker = world.accept();
    blocker.user.reads = false;
    user.reads = false;
    const { peer, tcb } = world.accept({ user });
    for (let i = 0; i < 4; i++) blocker.peer.send({ data: 1024 });
    t.is(world.host.tcp.receiveMemory.usedBytes, 4096);
    peer.send({ flags: 'FA', data: 1000 });
    world.call(() => closeSend(tcb));
    peer.send();
    world.advance(SECOND);
    if (!user.closed) world.call(() => user.read(tcb));
    t.true(user.error !== '' || user.receivedBytes === 1000 || !user.closed);
  },
  { settings: { receiveBufferBytes: 4096, receivePoolBytes: 4096 } },
);
