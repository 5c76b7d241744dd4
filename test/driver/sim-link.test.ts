import test from 'ava';
import fc from 'fast-check';
import { FRAME_OFFSET_BYTES, TransmitBatch } from '../../src/driver/device.ts';
import type { SimLink, SimLinkOptions } from '../../src/driver/sim-link.ts';
import { createSimLink } from '../../src/driver/sim-link.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { VirtualClock } from '../../src/runtime/virtual-clock.ts';
import { setVnetChecksum, VNET_BYTES, VNET_NEEDS_CSUM, vnetFlags } from '../../src/wire/virtio-net.ts';
import type { Rig } from './compliance.ts';
import { FarEnd, testCompliance } from './compliance.ts';
import { numberedFrame, numberOf, partialTcpFrame, TCP_AT, TCP_CHECKSUM_OFFSET, tcpChecksumHolds } from './frames.ts';

const ARENA_BYTES = 64 << 20;
const LONG_US = 100_000;

function makeRig(options: Partial<SimLinkOptions>): Rig {
  const clock = new VirtualClock();
  const arena = new Arena(ARENA_BYTES);
  const arenaOfB = new Arena(ARENA_BYTES);
  const link = createSimLink({ clock, arena, arenaOfB, delayUs: 100, ...options });
  const far = new FarEnd(link.b, arenaOfB);
  return {
    device: link.a,
    arena,
    inject: (frames) => far.inject(frames),
    collect: () => far.collect(),
    settle: async () => clock.runUntil(clock.nowUs() + LONG_US),
    close: () => {
      link.a.close();
      link.b.close();
      arena.close();
      arenaOfB.close();
    },
  };
}

testCompliance('sim', test, () => makeRig({}));
testCompliance('sim with offload', test, () => makeRig({ offload: true }));
testCompliance('sim that reads late', test, () => makeRig({ offload: true, readDelayUs: 50, ringFrames: 256 }));
testCompliance('sim over a slow wire', test, () => makeRig({ bitsPerSecond: 100e6, mtu: 9000 }));

/** A link with something to send and collect at either end, and a note of when each frame came to b. */
class Bench {
  readonly clock = new VirtualClock();
  readonly arena = new Arena(ARENA_BYTES);
  readonly link: SimLink;
  readonly a: FarEnd;
  readonly b: FarEnd;
  readonly arrivalsUs: number[] = [];

  constructor(options: Partial<SimLinkOptions>) {
    this.link = createSimLink({ clock: this.clock, arena: this.arena, ...options });
    this.a = new FarEnd(this.link.a, this.arena);
    this.b = new FarEnd(this.link.b, this.arena);
    this.link.b.onFrameWaiting = () => this.arrivalsUs.push(this.clock.nowUs());
  }

  sendToB(count: number, length = 100): void {
    this.a.inject(Array.from({ length: count }, (_, i) => numberedFrame(i, length)));
  }

  numbersAtB(): number[] {
    return this.b.collect().map((frame) => numberOf(frame.subarray(VNET_BYTES)));
  }

  finish(): number[] {
    this.clock.runUntil(this.clock.nowUs() + 100 * LONG_US);
    return this.numbersAtB();
  }

  close(): void {
    this.link.a.close();
    this.link.b.close();
    this.arena.close();
  }
}

test('a frame arrives after the delay, not before, and calls the host', (t) => {
  const bench = new Bench({ delayUs: 5000 });
  t.teardown(() => bench.close());
  bench.sendToB(1);
  bench.clock.runUntil(4999);
  t.is(bench.link.b.waitingFrames, 0);
  bench.clock.runUntil(5000);
  t.deepEqual(bench.numbersAtB(), [0]);
  t.deepEqual(bench.arrivalsUs, [5000]);
  t.is(bench.link.inFlightBytes(), 0);
});

test('the two directions have a delay each', (t) => {
  const bench = new Bench({ delayUs: 10, bToA: { delayUs: 300 } });
  t.teardown(() => bench.close());
  bench.sendToB(1);
  bench.b.inject([numberedFrame(9, 60)]);
  bench.clock.runUntil(10);
  t.is(bench.link.b.waitingFrames, 1);
  t.is(bench.link.a.waitingFrames, 0);
  bench.clock.runUntil(300);
  t.is(bench.link.a.waitingFrames, 1);
});

test('frames follow each other at the rate of the wire', (t) => {
  // 1000 bytes at 8 Mbit/s: one millisecond each
  const bench = new Bench({ delayUs: 500, bitsPerSecond: 8e6 });
  t.teardown(() => bench.close());
  bench.sendToB(4, 1000);
  t.deepEqual(bench.finish(), [0, 1, 2, 3]);
  t.deepEqual(bench.arrivalsUs, [1500, 2500, 3500, 4500]);
});

test('a wire that was idle starts at once', (t) => {
  const bench = new Bench({ bitsPerSecond: 8e6 });
  t.teardown(() => bench.close());
  bench.sendToB(1, 1000);
  bench.clock.runUntil(50_000);
  bench.sendToB(1, 1000);
  bench.finish();
  t.deepEqual(bench.arrivalsUs, [1000, 51_000]);
});

test('a full queue drops at its tail, by frames', (t) => {
  const bench = new Bench({ bitsPerSecond: 8e6, queueFrames: 5 });
  t.teardown(() => bench.close());
  bench.sendToB(8, 1000);
  t.is(bench.link.counters.aToB.queueDrops, 3);
  bench.clock.runUntil(2000);
  bench.a.inject([numberedFrame(100, 1000), numberedFrame(101, 1000), numberedFrame(102, 1000)]);
  t.deepEqual(bench.finish(), [0, 1, 2, 3, 4, 100, 101]);
  t.is(bench.link.counters.aToB.queueDrops, 4);
  t.is(bench.link.counters.aToB.delivered, 7);
});

test('a full queue drops at its tail, by bytes', (t) => {
  const bench = new Bench({ bitsPerSecond: 8e6, queueBytes: 2500 });
  t.teardown(() => bench.close());
  bench.sendToB(3, 1000);
  bench.a.inject([numberedFrame(9, 400)]);
  t.deepEqual(bench.finish(), [0, 1, 9]);
});

test('a lost frame never comes, a duplicated one comes twice', (t) => {
  const lossy = new Bench({ faults: { loss: 1 } });
  t.teardown(() => lossy.close());
  lossy.sendToB(3);
  t.deepEqual(lossy.finish(), []);
  t.is(lossy.link.counters.aToB.lost, 3);
  lossy.link.faults.aToB.setRates({ duplication: 1 });
  lossy.sendToB(3);
  t.deepEqual(lossy.finish(), [0, 0, 1, 1, 2, 2]);
  t.is(lossy.link.counters.aToB.duplicated, 3);
  t.is(lossy.link.inFlightBytes(), 0);
});

test('a late frame is overtaken', (t) => {
  const bench = new Bench({ delayUs: 1000, bitsPerSecond: 800e6, faults: { reordering: 0.3, reorderingUs: 500 } });
  t.teardown(() => bench.close());
  bench.sendToB(100);
  const numbers = bench.finish();
  t.is(numbers.length, 100);
  t.notDeepEqual(numbers, [...numbers].sort(byNumber));
  t.true(bench.link.counters.aToB.reordered > 15);
});

test('a corrupted frame differs in one bit', (t) => {
  const bench = new Bench({ faults: { corruption: 1 } });
  t.teardown(() => bench.close());
  bench.sendToB(50, 200);
  bench.finish();
  bench.sendToB(0);
  t.is(bench.link.counters.aToB.corrupted, 50);
  bench.a.inject([numberedFrame(1, 200)]);
  bench.clock.runUntil(bench.clock.nowUs() + LONG_US);
  const [frame] = bench.b.collect();
  t.is(differingBits(frame?.subarray(VNET_BYTES), numberedFrame(1, 200)), 1);
});

test('corruption is never covered up by a checksum that was still to be completed', (t) => {
  const bench = new Bench({ offload: true, faults: { corruption: 1 } });
  t.teardown(() => bench.close());
  const batch = new TransmitBatch(1);
  const frame = partialTcpFrame(1000);
  const at = bench.arena.allocate(2048) + FRAME_OFFSET_BYTES;
  bench.arena.bytes.set(frame, at);
  setVnetChecksum(bench.arena.bytes, at, TCP_AT, TCP_CHECKSUM_OFFSET);
  batch.words.set([at, frame.length]);
  for (let i = 0; i < 200; i++) bench.link.a.transmit(batch, 0, 1);
  bench.clock.runUntil(LONG_US);
  const received = bench.b.collect();
  t.is(received.length, 200);
  let inTcp = 0;
  for (const corrupted of received) {
    t.is(vnetFlags(corrupted, VNET_BYTES) & VNET_NEEDS_CSUM, 0);
    const damagedTcp =
      differingBits(corrupted.subarray(VNET_BYTES, VNET_BYTES + TCP_AT), frame.subarray(0, TCP_AT)) === 0;
    if (!damagedTcp) continue;
    inTcp++;
    t.false(tcpChecksumHolds(corrupted.subarray(VNET_BYTES)));
  }
  t.true(inTcp > 150);
});

test('the same seed gives the same run, another does not', (t) => {
  const run = (seed: number): unknown => {
    const faults = { loss: 0.2, duplication: 0.2, reordering: 0.2, corruption: 0.2 };
    const bench = new Bench({ seed, bitsPerSecond: 10e6, delayUs: 2000, faults });
    bench.sendToB(300);
    bench.clock.runUntil(LONG_US * 10);
    const result = [bench.b.collect().map((frame) => [...frame]), bench.arrivalsUs, { ...bench.link.counters.aToB }];
    bench.close();
    return result;
  };
  t.deepEqual(run(11), run(11));
  t.notDeepEqual(run(11), run(12));
});

test('the two directions roll dice of their own', (t) => {
  const bench = new Bench({ faults: { loss: 0.5 } });
  t.teardown(() => bench.close());
  bench.sendToB(200, 60);
  bench.b.inject(Array.from({ length: 200 }, (_, i) => numberedFrame(i, 60)));
  bench.clock.runUntil(LONG_US);
  const toB = bench.numbersAtB();
  const toA = bench.a.collect().map((frame) => numberOf(frame.subarray(VNET_BYTES)));
  t.notDeepEqual(toA, toB);
});

test('every frame is accounted for, whatever the wire does', (t) => {
  const rate = fc.double({ min: 0, max: 1, noNaN: true });
  const faults = fc.record({ loss: rate, duplication: rate, reordering: rate, corruption: rate });
  const sizes = fc.array(fc.integer({ min: 18, max: 1514 }), { maxLength: 60 });
  const property = fc.property(faults, sizes, fc.integer(), fc.boolean(), (rates, lengths, seed, tight) => {
    const limits = tight ? { bitsPerSecond: 1e6, queueFrames: 10, inboxFrames: 8, poolBytes: 16_384 } : {};
    const bench = new Bench({ faults: rates, seed, ...limits });
    bench.a.inject(lengths.map((length, i) => numberedFrame(i, length)));
    bench.clock.runUntil(LONG_US * 100);
    const { counters } = bench.link;
    const wire = counters.aToB;
    const received = bench.b.collect().length;
    const copies = wire.offered - wire.lost - wire.queueDrops + wire.duplicated - wire.delivered - wire.inboxDrops;
    const leaked = bench.link.inFlightBytes();
    bench.close();
    // frames the pool had no room for, and duplicates it had none for, are counted together
    return (
      wire.offered === lengths.length &&
      received === wire.delivered &&
      leaked === 0 &&
      copies >= 0 &&
      copies <= wire.poolDrops &&
      counters.bToA.offered === 0
    );
  });
  fc.assert(property, { numRuns: 60 });
  t.pass();
});

test('the observer sees what gets onto the wire, when', (t) => {
  const seen: unknown[] = [];
  const bench = new Bench({
    delayUs: 1000,
    faults: { loss: 1 },
    observe: (bytes, at, length, direction, timeUs) => {
      seen.push([numberOf(bytes.subarray(at, at + length)), length, direction, timeUs]);
    },
  });
  t.teardown(() => bench.close());
  bench.sendToB(1, 60);
  bench.clock.runUntil(70);
  bench.b.inject([numberedFrame(8, 61)]);
  t.deepEqual(seen, [
    [0, 60, 'aToB', 0],
    [8, 61, 'bToA', 70],
  ]);
});

test('a device that reads late is full when its ring is, and completes frames as it reads them', (t) => {
  const clock = new VirtualClock();
  const arena = new Arena(ARENA_BYTES);
  const { a, b } = createSimLink({ clock, arena, readDelayUs: 100, ringFrames: 3 });
  t.teardown(() => {
    a.close();
    b.close();
    arena.close();
  });
  const batch = new TransmitBatch(5);
  const at = arena.allocate(128) + FRAME_OFFSET_BYTES;
  arena.bytes.set(numberedFrame(1, 60), at);
  for (let i = 0; i < 5; i++) batch.words.set([at, 60, 0, 0, 0, 0, 0, 0], i * 8);
  let calls = 0;
  a.onFrameWaiting = () => calls++;
  t.is(a.transmit(batch, 0, 5), 3);
  t.is(a.completed(), 0);
  t.is(a.transmit(batch, 3, 5), 0);
  // what is changed before the device has read is what it reads
  arena.bytes.set(numberedFrame(2, 60), at);
  clock.runUntil(100);
  t.is(a.completed(), 3);
  t.is(calls, 3);
  t.is(a.transmit(batch, 3, 5), 2);
  clock.runUntil(300);
  t.is(a.completed(), 2);
  t.deepEqual(
    new FarEnd(b, arena).collect().map((frame) => numberOf(frame.subarray(VNET_BYTES))),
    [2, 2, 2, 2, 2],
  );
});

test('a closed device swallows what still arrives', (t) => {
  const bench = new Bench({ delayUs: 100 });
  t.teardown(() => bench.close());
  bench.sendToB(3);
  bench.link.b.close();
  bench.clock.runUntil(LONG_US);
  t.is(bench.link.counters.aToB.inboxDrops, 3);
  t.is(bench.link.inFlightBytes(), 0);
});

function differingBits(a: Uint8Array | undefined, b: Uint8Array): number {
  if (a === undefined || a.length !== b.length) return -1;
  let bits = 0;
  for (let i = 0; i < b.length; i++) {
    for (let differing = (a[i] ?? 0) ^ (b[i] ?? 0); differing !== 0; differing &= differing - 1) bits++;
  }
  return bits;
}

function byNumber(a: number, b: number): number {
  return a - b;
}
