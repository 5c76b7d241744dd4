/**
 * Memory for what has not been read: who gives up what when it runs short. First what lies beyond gaps, the oldest first; then
 * windows that would be wider, and new connections; and what was acknowledged never.
 */
import { readableBytes } from '../../src/tcp/calls.ts';
import { seqAfterOrAt } from '../../src/tcp/sequence.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { type Connected, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';

const BLOCK = 4096;
const BLOCKS = 16;
const SMALL = { receiveBufferBytes: BLOCK, receivePoolBytes: BLOCKS * BLOCK };

/** A connection that holds some text beyond a gap of a byte. */
function openWithGap(world: RawWorld): Connected {
  const connected = world.accept({ syn: { sackPermitted: true } });
  makeGap(connected);
  return connected;
}

function makeGap({ peer }: Connected): void {
  peer.send({ seq: 2, data: 100 });
  peer.sndNxt = 1;
}

/** A connection whose application reads nothing, with so many bytes in order. */
function openUnread(world: RawWorld, bytes: number): Connected {
  const connected = world.accept();
  fill(connected, bytes);
  return connected;
}

function fill({ peer, user }: Connected, bytes: number): void {
  user.reads = false;
  for (let left = bytes; left > 0; left -= 1000) peer.send({ data: Math.min(1000, left) });
}

simulate(
  'text in order takes the memory of the oldest gap, and whoever lost it gets all of it again',
  (t, world) => {
    const { counters, receiveQueues, receiveMemory } = world.host.tcp;
    const gapped = Array.from({ length: BLOCKS }, () => world.accept({ syn: { sackPermitted: true } }));
    const late = Array.from({ length: 3 }, () => world.accept());
    for (const connected of gapped) makeGap(connected);
    t.is(receiveMemory.usedBytes, BLOCKS * BLOCK);
    t.is(receiveQueues.outOfOrderBytes, BLOCKS * BLOCK);
    const [first, second] = gapped as [Connected, Connected];
    const last = gapped.at(-1) as Connected;
    last.user.reads = false;
    last.peer.send({ data: 1 });
    t.is(readableBytes(last.tcb), 101, 'its own gap has closed');
    second.user.reads = false;
    second.peer.send({ seq: 1, data: 1 });
    t.is(readableBytes(second.tcb), 101);
    t.is(counters.get('outOfOrderShed'), 0);
    first.peer.takeAll();
    first.peer.send({ seq: 200, data: 10 });
    t.deepEqual(first.peer.take().sack, [
      [200, 210],
      [2, 102],
    ]);
    first.peer.sndNxt = 1;
    for (const { user, tcb, peer } of [second, last]) {
      world.call(() => user.read(tcb));
      peer.send({ data: 50 });
    }
    t.is(receiveMemory.usedBytes, (BLOCKS - 2) * BLOCK);
    for (const connected of late) fill(connected, 500);
    t.is(counters.get('outOfOrderShed'), 1);
    t.is(first.tcb.ring, null);
    t.true(gapped.slice(2, -1).every(({ tcb }) => tcb.ring !== null));
    t.deepEqual(
      late.map(({ tcb }) => readableBytes(tcb)),
      [500, 500, 500],
    );
    first.peer.takeAll();
    first.peer.send({ seq: 1, data: 1 });
    world.advance(SECOND);
    t.is(first.peer.take().ack, 2, 'what was only held was never acknowledged');
    first.peer.send({ seq: 2, data: 100 });
    t.is(first.user.receivedBytes, 101);
    t.true(first.user.isIntact);
  },
  { settings: SMALL },
);

simulate(
  'outOfOrderPoolBytes: a new gap costs the oldest one, and text in order costs nobody anything',
  (t, world) => {
    const { counters, receiveQueues } = world.host.tcp;
    const gapped = [0, 1, 2, 3, 4].map(() => openWithGap(world));
    t.is(receiveQueues.outOfOrderBytes, 4 * BLOCK);
    t.is(counters.get('outOfOrderShed'), 1);
    t.deepEqual(
      gapped.map(({ tcb }) => tcb.ring === null),
      [true, false, false, false, false],
    );
    openUnread(world, 1000);
    t.is(counters.get('outOfOrderShed'), 1);
    // One that closes its gap makes room for another.
    gapped[1]?.peer.send({ data: 1 });
    t.is(receiveQueues.outOfOrderBytes, 3 * BLOCK);
    gapped[0]?.peer.send({ seq: 2, data: 100 });
    t.is(counters.get('outOfOrderShed'), 1);
  },
  { settings: { ...SMALL, outOfOrderPoolBytes: 4 * BLOCK } },
);

simulate(
  'maxOutOfOrderBytes: text too far beyond a gap is refused, and the peer told where we are',
  (t, world) => {
    const { peer, user } = world.accept();
    peer.send({ seq: 2, data: 999 });
    t.is(world.host.tcp.counters.get('outOfOrderRefused'), 0);
    peer.takeAll();
    peer.send({ seq: 1001, data: 1000 });
    t.is(world.host.tcp.counters.get('outOfOrderRefused'), 1);
    t.is(world.host.stack.drops.get('tcp-memory'), 1);
    t.is(peer.take().ack, 1);
    peer.send({ seq: 1, data: 1 });
    t.is(user.receivedBytes, 1000);
    peer.send({ seq: 1001, data: 1000 });
    t.is(user.receivedBytes, 2000);
    t.true(user.isIntact);
  },
  { settings: { maxOutOfOrderBytes: 1000 } },
);

simulate(
  'memory that others hold is shrunk to what was acknowledged, which stays',
  (t, world) => {
    const { receiveMemory, counters } = world.host.tcp;
    const mixed = openUnread(world, 1000);
    // Far beyond what it holds in order: its ring grows to 16 KiB.
    mixed.peer.send({ seq: 9000, data: 1000 });
    t.is(receiveMemory.usedBytes, 16_384);
    const other = world.accept();
    other.user.reads = false;
    for (let i = 0; i < 16; i++) other.peer.send({ data: 1000 });
    t.is(counters.get('outOfOrderShed'), 1);
    t.is(receiveMemory.usedBytes, BLOCK + 16_384);
    t.is(readableBytes(other.tcb), 16_000);
    for (const { user, tcb } of [mixed, other]) {
      world.call(() => user.read(tcb));
      t.true(user.isIntact);
    }
    t.is(mixed.user.receivedBytes, 1000);
  },
  { settings: { receiveBufferBytes: 16_384, receivePoolBytes: 28_672 } },
);

simulate(
  'where memory is short nobody who holds some is offered more, no window shrinks, and readers notice nothing',
  (t, world) => {
    const { counters, receiveQueues } = world.host.tcp;
    const reader = world.accept();
    const slow = openUnread(world, 3000);
    const edge = slow.tcb.rcvAdv;
    Array.from({ length: 11 }, () => openUnread(world, 3000));
    t.true(receiveQueues.isShort);
    world.call(() => slow.user.read(slow.tcb, 2900));
    slow.peer.send({ data: 500 });
    world.advance(SECOND);
    t.true(seqAfterOrAt(slow.tcb.rcvAdv, edge));
    t.is(slow.peer.log.at(-1)?.window, BLOCK - 3500);
    t.true(counters.get('windowsHeldBack') > 0);
    for (let i = 0; i < 20; i++) reader.peer.send({ data: 1000 });
    t.is(reader.user.receivedBytes, 20_000);
    t.is(reader.peer.log.at(-1)?.window, BLOCK);
    // Whoever has read everything holds nothing, and is offered all again.
    slow.user.reads = true;
    world.call(() => slow.user.read(slow.tcb));
    slow.peer.send({ data: 500 });
    world.advance(SECOND);
    t.is(slow.peer.log.at(-1)?.window, BLOCK - 500);
    t.true(slow.user.isIntact);
  },
  { settings: SMALL },
);

simulate(
  'where there is none left no connection begins, and those there are go on',
  (t, world) => {
    const { tcp } = world.host;
    const reader = world.accept();
    const holders = Array.from({ length: 15 }, () => openUnread(world, 3000));
    t.true(tcp.receiveQueues.isExhausted);
    const listener = world.listen(reader.user);
    const before = tcp.liveConnections;
    const stranger = new RawPeer(world);
    stranger.send({ flags: 'S', mss: 1460 });
    t.deepEqual(stranger.lines(), []);
    t.is(tcp.liveConnections, before);
    t.is(tcp.counters.get('synsRefusedForMemory'), 1);
    reader.peer.send({ data: 1000 });
    t.is(reader.user.receivedBytes, 1000);
    const [first] = holders as [Connected];
    world.call(() => first.user.read(first.tcb));
    stranger.send({ flags: 'S', seq: 0, mss: 1460 });
    t.is(stranger.take().flags, 'SA');
    listener.close();
  },
  { settings: SMALL },
);

for (let seed = 1; seed <= 5; seed++) {
  simulate(
    `whatever is short, what was acknowledged is read, byte by byte (seed ${seed})`,
    (t, world) => {
      const { tcp } = world.host;
      const random = world.host.stack.random;
      const lines = Array.from({ length: 12 }, () => world.accept({ windowScale: 0 }));
      for (const { user } of lines) user.reads = random.chance(0.3);
      for (let step = 0; step < 2000; step++) {
        const { peer, user, tcb } = lines[random.below(lines.length)] as Connected;
        const acknowledged = Math.max(1, peer.log.at(-1)?.ack ?? 1);
        const ahead = random.chance(0.5) ? 0 : random.below(12_000);
        peer.queue({ seq: acknowledged + ahead, data: 1 + random.below(1400) });
        if (random.chance(0.5)) world.settle();
        if (random.chance(0.1)) world.call(() => user.read(tcb, random.below(6000)));
        t.true(tcp.receiveMemory.usedBytes <= tcp.receiveMemory.capacityBytes);
      }
      world.settle();
      t.true(tcp.counters.get('outOfOrderShed') > 0);
      for (const { peer, user, tcb } of lines) {
        const acknowledged = Math.max(1, peer.log.at(-1)?.ack ?? 1);
        world.call(() => user.read(tcb));
        t.true(user.receivedBytes >= acknowledged - 1, 'something that was acknowledged is gone');
        t.true(user.isIntact);
      }
    },
    { seed, settings: { receiveBufferBytes: 16_384, receivePoolBytes: 65_536 } },
  );
}
