import { ok, strictEqual } from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { MAX_REGIONS, TRANSMIT_WORDS } from '../../src/driver/device.ts';
import { TransmitQueue } from '../../src/exokernel/transmit-queue.ts';
import { Arena } from '../../src/runtime/arena.ts';
import {
  enqueueRegion,
  gatherRegions,
  RegionPool,
  releaseAcknowledged,
  releaseAll,
  sumRegions,
} from '../../src/tcp/send-queue.ts';
import { seqAdd, seqDistance, toSeq } from '../../src/tcp/sequence.ts';
import type { RegionOwner, Tcb } from '../../src/tcp/tcb.ts';
import { foldSum, sumBytes } from '../../src/wire/checksum.ts';
import { AWKWARD_STARTS, createTcbAt } from './support.ts';

const HEADER_BYTES = 54;
const arena = new Arena(4 << 20);
const flatAt = arena.allocate(1 << 20);
const regionsAt = arena.allocate(1 << 20);
/** Bytes without a pattern, for regions to lie in. */
for (let i = 0; i < 1 << 20; i++) arena.bytes[regionsAt + i] = (Math.imul(i, 0x9e3779b1) >>> 19) & 0xff;

/** A connection's send queue before a real transmit queue, and what should be in it. */
class Rig implements RegionOwner {
  readonly queue = new TransmitQueue(arena, 16, headers);
  readonly pool = new RegionPool(this.queue);
  readonly tcb: Tcb;
  readonly released: number[] = [];
  readonly start: number;
  /** The stream that was queued, where it lies. */
  readonly stream: number[] = [];
  private tokens = 0;

  constructor(start: number) {
    this.start = start;
    this.tcb = createTcbAt(start);
  }

  release(token: number): void {
    this.released.push(token);
  }

  /** Queues the arena's bytes `offset` to `offset + length` and returns the token. */
  enqueue(offset: number, length: number): number {
    const token = this.tokens++;
    enqueueRegion(this.pool, this.tcb, regionsAt + offset, length, this, token);
    for (let i = 0; i < length; i++) this.stream.push(regionsAt + offset + i);
    return token;
  }

  /** Puts a frame with the bytes from `from` on into the transmit queue; returns its payload as bytes. */
  transmit(from: number, limit: number): Uint8Array {
    strictEqual(this.queue.reserve() > 0, true);
    const length = gatherRegions(this.queue, this.tcb, seqAdd(toSeq(this.start), from), limit);
    strictEqual(this.queue.regionBytes, length);
    this.queue.copyRegions(flatAt);
    const frame = this.queue.enqueued & (this.queue.capacity - 1);
    this.queue.commit(HEADER_BYTES);
    let described = 0;
    for (let region = 0; region < MAX_REGIONS; region++) {
      described += this.queue.batch.words[frame * TRANSMIT_WORDS + 3 + 2 * region] ?? 0;
    }
    strictEqual(described, length);
    return arena.bytes.slice(flatAt, flatAt + length);
  }

  expected(from: number, length: number): Uint8Array {
    return Uint8Array.from(this.stream.slice(from, from + length), (at) => arena.bytes[at] ?? 0);
  }

  acknowledge(offset: number): void {
    this.tcb.sndUna = seqAdd(toSeq(this.start), offset);
    releaseAcknowledged(this.pool, this.tcb, this.tcb.sndUna);
  }

  completeAll(): void {
    this.queue.complete(this.queue.enqueued - this.queue.completed);
  }
}

const headers = new TransmitQueue(arena, 16).headersAt;
const start = fc.constantFrom(...AWKWARD_STARTS);
const region = fc.record({
  offset: fc.nat(500_000),
  length: fc.oneof(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 3000 })),
});

function sameBytes(actual: Uint8Array, expected: Uint8Array): void {
  strictEqual(Buffer.compare(actual, expected), 0);
}

test('gathers any part of the queue, in up to three regions', (t) => {
  const rig = new Rig(-1000);
  rig.enqueue(0, 100);
  rig.enqueue(1000, 200);
  rig.enqueue(5000, 300);
  rig.enqueue(9000, 400);
  for (const [from, limit, gathered] of [
    [0, 100, 100],
    [0, 150, 150],
    [50, 50, 50],
    [50, 1000, 550],
    [0, 600, 600],
    [0, 1000, 600],
    [100, 900, 900],
    [100, 901, 900],
    [299, 2, 2],
    [599, 1, 1],
    [600, 1000, 400],
    [999, 10, 1],
  ] as const) {
    const payload = rig.transmit(from, limit);
    t.is(payload.length, gathered, `${limit} from ${from}`);
    t.deepEqual(payload, rig.expected(from, gathered));
    rig.completeAll();
  }
});

test('at the end of the queue there is nothing to gather', (t) => {
  const rig = new Rig(0x7fffffff);
  rig.enqueue(0, 10);
  rig.queue.reserve();
  t.is(gatherRegions(rig.queue, rig.tcb, rig.tcb.sndEnd, 100), 0);
  t.is(sumRegions(arena.bytes, rig.tcb, rig.tcb.sndEnd, 0), 0);
});

/** Where to read next: mostly on from where it was, sometimes back to the start of what is unacknowledged, sometimes anywhere. */
const operation = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('enqueue' as const), region }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('sendNext' as const), limit: fc.integer({ min: 1, max: 4000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('goBack' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('retransmit' as const), limit: fc.integer({ min: 1, max: 1460 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('acknowledge' as const),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('complete' as const), frames: fc.integer({ min: 0, max: 16 }) }),
  },
);

test('whatever is sent, sent again and acknowledged in parts, frames carry the stream and regions come back once, in order, late enough', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(start, fc.array(operation, { maxLength: 100, size: 'max' }), (first, operations) => {
        const rig = new Rig(first);
        /** By token: where the region ends, and frames that had been queued when it was acknowledged. */
        const ends: number[] = [];
        const framesBefore: number[] = [];
        let acknowledged = 0;
        let next = 0;
        let highest = 0;
        const room = () => rig.queue.free > 0;
        const send = (from: number, limit: number): number => {
          const payload = rig.transmit(from, limit);
          ok(payload.length > 0);
          sameBytes(payload, rig.expected(from, payload.length));
          const at = seqAdd(toSeq(first), from);
          sameBytes(flatOf(rig, from, payload.length), payload);
          strictEqual(
            sumRegions(arena.bytes, rig.tcb, at, payload.length) & 0xffff,
            foldSum(sumBytes(arena.bytes, flatAt, payload.length)),
          );
          return payload.length;
        };
        for (const one of operations) {
          if (one.kind === 'enqueue') {
            strictEqual(rig.enqueue(one.region.offset, one.region.length), ends.length);
            ends.push(rig.stream.length);
          } else if (one.kind === 'sendNext' && room() && next < rig.stream.length) {
            next += send(next, Math.min(one.limit, rig.stream.length - next));
            highest = Math.max(highest, next);
          } else if (one.kind === 'goBack') {
            next = acknowledged;
          } else if (one.kind === 'retransmit' && room() && acknowledged < highest) {
            send(acknowledged, Math.min(one.limit, highest - acknowledged));
          } else if (one.kind === 'acknowledge') {
            acknowledged += Math.floor((highest - acknowledged) * one.share);
            next = Math.max(next, acknowledged);
            rig.acknowledge(acknowledged);
            for (const [token, end] of ends.entries()) {
              if (end <= acknowledged) framesBefore[token] ??= rig.queue.enqueued;
            }
          } else if (one.kind === 'complete') {
            rig.queue.complete(Math.min(one.frames, rig.queue.enqueued - rig.queue.completed));
          }
          rig.pool.releaseCompleted();
          const due = framesBefore.filter((frames) => frames <= rig.queue.completed).length;
          strictEqual(rig.released.length, due);
          strictEqual(rig.pool.live, ends.length - due);
        }
        releaseAll(rig.pool, rig.tcb);
        rig.completeAll();
        rig.pool.releaseCompleted();
        strictEqual(rig.released.join(), ends.map((_, token) => token).join());
        strictEqual(rig.pool.live, 0);
        strictEqual(rig.tcb.regionHead ?? rig.tcb.regionTail ?? rig.tcb.regionCursor, null);
      }),
      { numRuns: 300 },
    ),
  );
});

function flatOf(rig: Rig, from: number, length: number): Uint8Array {
  const flat = rig.expected(from, length);
  arena.bytes.set(flat, flatAt);
  return flat;
}

test('the sum over regions of odd lengths and places is that of the bytes in one piece', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(
        start,
        fc.array(region, { minLength: 1, maxLength: 8 }),
        fc.nat(),
        fc.nat(),
        (first, regions, a, b) => {
          const rig = new Rig(first);
          for (const { offset, length } of regions) rig.enqueue(offset, length);
          const total = rig.stream.length;
          const from = a % total;
          const length = 1 + (b % (total - from));
          const flat = flatOf(rig, from, length);
          const sum = sumRegions(arena.bytes, rig.tcb, seqAdd(toSeq(first), from), length);
          strictEqual(sum & 0xffff, foldSum(sumBytes(arena.bytes, flatAt, flat.length)));
        },
      ),
      { numRuns: 500 },
    ),
  );
});

test('a region acknowledged while frames are under way comes back when those are completed, not later ones', (t) => {
  const rig = new Rig(-50);
  rig.enqueue(0, 100);
  rig.enqueue(100, 100);
  rig.transmit(0, 100);
  rig.transmit(100, 100);
  rig.acknowledge(100);
  rig.pool.releaseCompleted();
  t.deepEqual(rig.released, []);
  rig.transmit(100, 100);
  rig.queue.complete(1);
  rig.pool.releaseCompleted();
  t.deepEqual(rig.released, []);
  rig.queue.complete(1);
  rig.pool.releaseCompleted();
  t.deepEqual(rig.released, [0]);
  rig.acknowledge(200);
  rig.pool.releaseCompleted();
  t.deepEqual(rig.released, [0]);
  rig.queue.complete(1);
  rig.pool.releaseCompleted();
  t.deepEqual(rig.released, [0, 1]);
  t.is(rig.pool.live, 0);
});

test('with nothing under way a region comes back at the next occasion', (t) => {
  const rig = new Rig(0);
  rig.enqueue(0, 100);
  rig.transmit(0, 100);
  rig.completeAll();
  rig.acknowledge(99);
  rig.pool.releaseCompleted();
  t.deepEqual(rig.released, []);
  rig.acknowledge(100);
  rig.pool.releaseCompleted();
  t.deepEqual(rig.released, [0]);
});

test('a region without an owner comes back silently', (t) => {
  const rig = new Rig(0);
  enqueueRegion(rig.pool, rig.tcb, regionsAt, 10, null, 0);
  rig.acknowledge(10);
  rig.pool.releaseCompleted();
  t.is(rig.pool.live, 0);
});

test('an owner may queue more from within release: nothing is lost', (t) => {
  const queue = new TransmitQueue(arena, 16, headers);
  const pool = new RegionPool(queue);
  const tcb = createTcbAt(-5);
  const released: number[] = [];
  const owner: RegionOwner = {
    release(token) {
      released.push(token);
      if (token < 10) enqueueRegion(pool, tcb, regionsAt + token, 10, owner, token + 1);
    },
  };
  enqueueRegion(pool, tcb, regionsAt, 10, owner, 0);
  for (let acknowledged = 1; acknowledged <= 11; acknowledged++) {
    t.is(seqDistance(tcb.sndEnd, tcb.sndUna), 10);
    queue.reserve();
    t.is(gatherRegions(queue, tcb, tcb.sndUna, 100), 10);
    queue.commit(HEADER_BYTES);
    queue.complete(1);
    tcb.sndUna = tcb.sndEnd;
    releaseAcknowledged(pool, tcb, tcb.sndUna);
    pool.releaseCompleted();
    t.is(released.length, acknowledged);
  }
  t.is(pool.live, 0);
  t.is(tcb.regionHead, null);
});

test('an owner may drop the whole queue from within release: every region comes back once', (t) => {
  const queue = new TransmitQueue(arena, 16, headers);
  const pool = new RegionPool(queue);
  const tcb = createTcbAt(0x7ffffff0);
  const released: number[] = [];
  const owner: RegionOwner = {
    release(token) {
      released.push(token);
      releaseAll(pool, tcb);
    },
  };
  for (let token = 0; token < 5; token++) enqueueRegion(pool, tcb, regionsAt, 10, owner, token);
  releaseAcknowledged(pool, tcb, seqAdd(tcb.sndUna, 20));
  pool.releaseCompleted();
  t.deepEqual(released, [0, 1, 2, 3, 4]);
  t.is(pool.live, 0);
});

test('region records are used again', (t) => {
  const rig = new Rig(0);
  rig.enqueue(0, 10);
  const record = rig.tcb.regionHead;
  rig.acknowledge(10);
  rig.pool.releaseCompleted();
  rig.enqueue(20, 30);
  t.is(rig.tcb.regionHead, record);
  t.is(rig.tcb.regionTail, record);
  t.is(record?.next, null);
  t.deepEqual(rig.transmit(10, 100), rig.expected(10, 30));
});
