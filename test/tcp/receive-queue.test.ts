import { ok, strictEqual } from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { BlockAllocator } from '../../src/runtime/block-allocator.ts';
import { MAX_RANGES, ReceiveQueues, unreadBytes } from '../../src/tcp/receive-queue.ts';
import { seqAdd, seqDistance, toSeq } from '../../src/tcp/sequence.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { AWKWARD_STARTS, createTcbAt, PlainMemory, streamByte } from './support.ts';

const SLOTS = 64;
const SLOT_BYTES = 9000;

/**
 * One connection's receive queue and a simple model of it: which bytes of the stream have come, and how many were
 * read. Byte n of the stream is `streamByte(n)`, so that anything out of place shows.
 */
class Rig {
  readonly memory: PlainMemory;
  readonly allocator: BlockAllocator;
  readonly queues: ReceiveQueues;
  readonly tcb: Tcb;
  readonly bufferBytes: number;
  /** What the queue has taken: runs of stream offsets, apart and in order, first to last plus one. */
  arrived: (readonly [left: number, right: number])[] = [];
  /** How far the application has read. */
  read = 0;
  refusals = 0;
  private readonly slotsAt: number;
  private slot = 0;

  constructor(start: number, bufferBytes = 65_536, poolBytes = 1 << 20) {
    this.memory = new PlainMemory(poolBytes + SLOTS * SLOT_BYTES + 65_536);
    this.slotsAt = this.memory.allocate(SLOTS * SLOT_BYTES);
    this.allocator = new BlockAllocator(this.memory, poolBytes);
    this.queues = new ReceiveQueues(this.memory.bytes, this.allocator, bufferBytes);
    this.bufferBytes = bufferBytes;
    this.tcb = createTcbAt(0, start);
  }

  /** Segments that may still arrive in this turn. */
  get slotsLeft(): number {
    return SLOTS - this.slot;
  }

  /** Stream offset of RCV.NXT. */
  get next(): number {
    return this.read + unreadBytes(this.tcb);
  }

  /** The segment text `offset` to `offset + length`, as input would hand it on: trimmed to what is new and in the window. */
  arrive(offset: number, length: number): void {
    const from = Math.max(offset, this.next);
    const to = Math.min(offset + length, this.read + this.bufferBytes);
    if (from >= to) return;
    const { tcb, queues } = this;
    const at = this.fillSlot(from, to - from);
    const failures = this.allocator.failures;
    const inOrder = from === this.next;
    const ranges = tcb.ring?.rangeCount ?? 0;
    const seq = seqAdd(tcb.rcvNxt, from - this.next);
    const taken = inOrder ? queues.deliver(tcb, at, to - from) : queues.holdOutOfOrder(tcb, seq, at, to - from);
    if (taken) {
      this.arrived = merge([...this.arrived, [from, to]]);
      return;
    }
    this.refusals++;
    ok(this.allocator.failures > failures || (!inOrder && ranges === MAX_RANGES), 'refused for no reason');
  }

  /** Reads so many bytes and looks at every one. */
  consume(count: number): void {
    let left = count;
    while (left > 0) {
      const length = Math.min(left, this.queues.readableLength(this.tcb));
      ok(length > 0, 'unread bytes, and none readable');
      this.checkPiece(this.queues.readableAt(this.tcb), this.read, length);
      this.queues.consume(this.tcb, length);
      this.read += length;
      left -= length;
    }
  }

  readAll(): void {
    this.consume(unreadBytes(this.tcb));
    strictEqual(this.queues.readableLength(this.tcb), 0);
  }

  /** The end of a turn: slots go back and are written to. True unless text had to be given up. */
  endTurn(): boolean {
    const before = this.next;
    const failures = this.allocator.failures;
    this.queues.settle(this.tcb);
    this.queues.endTurn();
    this.memory.bytes.fill(0xee, this.slotsAt, this.slotsAt + this.slot * SLOT_BYTES);
    this.slot = 0;
    if (this.next === before) return true;
    ok(this.next < before && this.allocator.failures > failures, 'given up for no reason');
    strictEqual(this.tcb.ring?.rangeCount ?? 0, 0);
    this.arrived = this.next === 0 ? [] : [[0, this.next]];
    return false;
  }

  /** Compares queue and model. */
  check(): void {
    const next = this.arrived[0]?.[0] === 0 ? this.arrived[0][1] : 0;
    strictEqual(this.next, next, 'RCV.NXT');
    const { tcb } = this;
    const unread = unreadBytes(tcb);
    strictEqual(unread, next - this.read);
    if (unread > 0) {
      const length = this.queues.readableLength(tcb);
      ok(length > 0 && length <= unread);
    }
    this.checkRanges(next);
    strictEqual(this.allocator.usedBytes, tcb.ring === null ? 0 : tcb.ring.capacity, 'memory');
    strictEqual(this.queues.liveRings, tcb.ring === null ? 0 : 1);
  }

  /** The out-of-order ranges are exactly the runs of bytes beyond RCV.NXT. */
  private checkRanges(next: number): void {
    const { ring } = this.tcb;
    const runs = this.arrived.filter(([left]) => left > 0).map(([left, right]) => `${left}-${right}`);
    const ranges: string[] = [];
    for (let i = 0; ring !== null && i < ring.rangeCount; i++) {
      const offsetOf = (bits: number | undefined) => next + seqDistance(toSeq(bits ?? 0), this.tcb.rcvNxt);
      ranges.push(`${offsetOf(ring.left[i])}-${offsetOf(ring.right[i])}`);
    }
    strictEqual(ranges.join(' '), runs.join(' '), 'ranges');
  }

  private checkPiece(at: number, offset: number, length: number): void {
    for (let i = 0; i < length; i++) {
      if (this.memory.bytes[at + i] !== streamByte(offset + i)) throw new Error(`byte ${offset + i} is wrong`);
    }
  }

  private fillSlot(offset: number, length: number): number {
    const at = this.slotsAt + this.slot * SLOT_BYTES;
    ok(this.slot++ < SLOTS);
    for (let i = 0; i < length; i++) this.memory.bytes[at + i] = streamByte(offset + i);
    return at;
  }
}

/** Sorts runs and joins those that touch. */
function merge(runs: (readonly [left: number, right: number])[]): (readonly [left: number, right: number])[] {
  const merged: [left: number, right: number][] = [];
  for (const [left, right] of runs.sort((a, b) => a[0] - b[0])) {
    const last = merged[merged.length - 1];
    if (last !== undefined && left <= last[1]) last[1] = Math.max(last[1], right);
    else merged.push([left, right]);
  }
  return merged;
}

type Step =
  | { readonly kind: 'arrive'; readonly ahead: number; readonly length: number }
  | { readonly kind: 'consume'; readonly share: number }
  | { readonly kind: 'endTurn' };

/** Segments begin around RCV.NXT: behind it (repeats), at it, beyond it (gaps). */
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('arrive' as const),
      ahead: fc.constantFrom(0, 0, -200, -1, 1, 2, 100, 700, 1460, 2920, 5000, 20_000),
      length: fc.integer({ min: 1, max: 1460 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('arrive' as const),
      ahead: fc.integer({ min: -3000, max: 12_000 }),
      length: fc.integer({ min: 1, max: 9000 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('consume' as const), share: fc.integer({ min: 0, max: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('endTurn' as const) }) },
);

function runSteps(rig: Rig, steps: readonly Step[]): void {
  for (const one of steps) {
    if (one.kind === 'arrive') {
      if (rig.slotsLeft === 0) rig.endTurn();
      rig.arrive(Math.max(0, rig.next + one.ahead), one.length);
    } else if (one.kind === 'consume') {
      rig.consume(Math.floor((unreadBytes(rig.tcb) * one.share) / 4));
    } else {
      rig.endTurn();
    }
    rig.check();
  }
}

const start = fc.constantFrom(...AWKWARD_STARTS);

test('behaves like the stream that arrived, whatever is split, repeated, lost and out of order', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(start, fc.array(step, { maxLength: 120, size: 'max' }), (first, steps) => {
        const rig = new Rig(first);
        runSteps(rig, steps);
        rig.readAll();
        rig.endTurn();
        rig.check();
        rig.queues.discard(rig.tcb);
        strictEqual(rig.allocator.usedBytes, 0);
        strictEqual(rig.refusals, 0);
      }),
      { numRuns: 300 },
    ),
  );
});

test('behaves the same with a small buffer whose end is always near', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(start, fc.array(step, { maxLength: 120, size: 'max' }), (first, steps) => {
        const rig = new Rig(first, 4096);
        runSteps(rig, steps);
        rig.queues.discard(rig.tcb);
        strictEqual(rig.allocator.usedBytes, 0);
        strictEqual(rig.refusals, 0);
      }),
      { numRuns: 200 },
    ),
  );
});

test('with too little memory it refuses text or gives it up, and what it kept is right', (t) => {
  let refusals = 0;
  t.notThrows(() =>
    fc.assert(
      fc.property(start, fc.array(step, { maxLength: 120, size: 'max' }), (first, steps) => {
        // Room for rings of 4 and 8 KiB, not for the 16 that the window would allow.
        const rig = new Rig(first, 65_536, 12_288);
        runSteps(rig, steps);
        rig.readAll();
        rig.queues.discard(rig.tcb);
        strictEqual(rig.allocator.usedBytes, 0);
        refusals += rig.refusals;
      }),
      { numRuns: 200 },
    ),
  );
  t.true(refusals > 0);
});

test('text that comes in order is offered where it lies, and nothing is copied when it is read at once', (t) => {
  const rig = new Rig(-700);
  for (let i = 0; i < 10; i++) rig.arrive(i * 1000, 1000);
  t.is(unreadBytes(rig.tcb), 10_000);
  t.is(rig.queues.readableLength(rig.tcb), 1000);
  rig.readAll();
  t.true(rig.endTurn());
  t.is(rig.queues.copiedBytes, 0);
  t.is(rig.allocator.allocations, 0);
});

test('a part that is left is copied once, the rest of it can be read next turn', (t) => {
  const rig = new Rig(0x7fffffff - 500);
  rig.arrive(0, 1000);
  rig.arrive(1000, 1000);
  rig.consume(1300);
  rig.check();
  t.is(rig.queues.readableLength(rig.tcb), 700);
  t.true(rig.endTurn());
  t.is(rig.queues.copiedBytes, 700);
  rig.check();
  rig.readAll();
  t.is(rig.allocator.usedBytes, 0);
});

test('a connection with a ring puts what follows there, and the ring grows by doubling, around sequence number 0', (t) => {
  const rig = new Rig(-10_000);
  const capacities = new Set<number>();
  for (let i = 0; i < 60; i++) {
    rig.arrive(i * 1000, 1000);
    rig.endTurn();
    rig.check();
    capacities.add(rig.tcb.ring?.capacity ?? 0);
  }
  t.deepEqual([...capacities], [4096, 8192, 16_384, 32_768, 65_536]);
  t.is(rig.allocator.usedBytes, 65_536);
  rig.readAll();
  t.is(rig.allocator.usedBytes, 0);
});

test('the whole buffer can be filled, and not a byte more', (t) => {
  const rig = new Rig(0x7fffffff - 4000, 8192);
  for (let offset = 0; offset < 8192; offset += 512) rig.arrive(offset, 512);
  rig.endTurn();
  rig.check();
  t.is(unreadBytes(rig.tcb), 8192);
  t.is(rig.tcb.ring?.capacity, 8192);
  const slot = rig.memory.bytes.length - SLOT_BYTES;
  t.false(rig.queues.deliver(rig.tcb, slot, 1));
  t.is(unreadBytes(rig.tcb), 8192);
  rig.readAll();
});

test('a gap that closes makes everything behind it readable and moves nothing', (t) => {
  const rig = new Rig(-2500);
  for (const offset of [4000, 2000, 6000, 1000, 3000, 5000]) rig.arrive(offset, 1000);
  rig.check();
  t.is(rig.tcb.ring?.rangeCount, 1);
  const copied = rig.queues.copiedBytes;
  rig.arrive(0, 1000);
  t.is(unreadBytes(rig.tcb), 7000);
  t.is(rig.queues.copiedBytes, copied + 1000);
  t.is(rig.tcb.ring?.rangeCount, 0);
  rig.check();
  rig.readAll();
  t.is(rig.allocator.usedBytes, 0);
});

test('text beyond a gap may arrive while text before it still lies in a slot', (t) => {
  const rig = new Rig(-1200);
  rig.arrive(0, 1000);
  t.is(rig.tcb.ring, null);
  rig.arrive(2000, 500);
  rig.check();
  rig.arrive(1000, 1000);
  rig.check();
  t.is(unreadBytes(rig.tcb), 2500);
  t.is(rig.queues.readableLength(rig.tcb), 1000);
  t.true(rig.endTurn());
  rig.check();
  rig.readAll();
  t.is(rig.allocator.usedBytes, 0);
});

test('a connection holds so many gaps and no more; closing one makes room for another', (t) => {
  const rig = new Rig(-20_000);
  for (let i = 0; i < MAX_RANGES; i++) rig.arrive(1000 + i * 1000, 500);
  t.is(rig.tcb.ring?.rangeCount, MAX_RANGES);
  rig.arrive(1000 + MAX_RANGES * 1000, 500);
  t.is(rig.refusals, 1);
  rig.check();
  rig.arrive(0, 1000);
  t.is(rig.tcb.ring?.rangeCount, MAX_RANGES - 1);
  rig.arrive(1000 + MAX_RANGES * 1000, 500);
  t.is(rig.refusals, 1);
  rig.check();
});

test('text given up for lack of memory is taken again when it comes again', (t) => {
  const rig = new Rig(-100, 65_536, 4096);
  rig.arrive(0, 3000);
  rig.arrive(3000, 3000);
  t.is(unreadBytes(rig.tcb), 6000);
  t.false(rig.endTurn());
  rig.check();
  t.is(unreadBytes(rig.tcb), 3000);
  rig.readAll();
  rig.arrive(3000, 3000);
  rig.check();
  t.true(rig.endTurn());
  rig.readAll();
  t.is(rig.allocator.usedBytes, 0);
});

test('text that a FIN follows has its place reserved first, and is then never given up', (t) => {
  const rig = new Rig(5, 65_536, 16_384);
  rig.arrive(0, 5000);
  t.true(rig.queues.reserve(rig.tcb));
  rig.tcb.finReceived = true;
  rig.tcb.rcvNxt = seqAdd(rig.tcb.rcvNxt, 1);
  rig.queues.settle(rig.tcb);
  t.is(unreadBytes(rig.tcb), 5000);
  rig.queues.discard(rig.tcb);
  t.is(rig.allocator.usedBytes, 0);

  const poor = new Rig(5, 65_536, 4096);
  poor.arrive(0, 5000);
  t.false(poor.queues.reserve(poor.tcb));
});

test('deliveries that run out in a turn go to rings', (t) => {
  const rig = new Rig(-500);
  const at = rig.memory.bytes.length - 2000;
  for (let i = 0; i < 1100; i++) rig.queues.deliver(rig.tcb, at + i, 1);
  t.is(unreadBytes(rig.tcb), 1100);
  t.not(rig.tcb.ring, null);
  t.is(rig.queues.copiedBytes, 1100 - 1024);
});

test('discarding leaves nothing to read and no memory behind', (t) => {
  const rig = new Rig(-500);
  rig.arrive(0, 1000);
  rig.arrive(3000, 1000);
  rig.queues.discard(rig.tcb);
  t.is(rig.allocator.usedBytes, 0);
  t.is(rig.queues.liveRings, 0);
  t.is(rig.queues.readableLength(rig.tcb), 0);
  t.is(unreadBytes(rig.tcb), 0);
});

test('connections share the deliveries of a turn and the memory, and do not mix', (t) => {
  const memory = new PlainMemory(1 << 20);
  const slots = memory.allocate(64 * 1024);
  const allocator = new BlockAllocator(memory, 256 * 1024);
  const queues = new ReceiveQueues(memory.bytes, allocator, 65_536);
  const tcbs = Array.from({ length: 8 }, (_, i) => createTcbAt(0, i * 0x20000000 - 300));
  for (let round = 0; round < 5; round++) {
    for (const [i, tcb] of tcbs.entries()) {
      const at = slots + i * 1000;
      memory.bytes.fill(16 * i + round, at, at + 500);
      t.true(queues.deliver(tcb, at, 500));
    }
    for (const tcb of tcbs) queues.settle(tcb);
    queues.endTurn();
  }
  for (const [i, tcb] of tcbs.entries()) {
    for (let offset = 0; offset < 2500; ) {
      const at = queues.readableAt(tcb);
      const length = queues.readableLength(tcb);
      for (let byte = 0; byte < length; byte++) {
        if (memory.bytes[at + byte] !== 16 * i + Math.floor((offset + byte) / 500)) t.fail(`connection ${i}`);
      }
      queues.consume(tcb, length);
      offset += length;
    }
    t.is(unreadBytes(tcb), 0);
  }
  t.is(allocator.usedBytes, 0);
});
