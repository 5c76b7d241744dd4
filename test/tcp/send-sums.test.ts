/** Checksums of segments whose payload comes with grids of sums: right for every cut, and for the usual ones free. */
import { ok, strictEqual } from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { MAX_REGIONS, TransmitQueue } from '../../src/exokernel/transmit-queue.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { cutOnGrid, enqueueRegion, RegionPool, releaseAcknowledged, sumRegions } from '../../src/tcp/send-queue.ts';
import { seqAdd, toSeq } from '../../src/tcp/sequence.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { addSums, finishSum, sumBytes } from '../../src/wire/checksum.ts';
import { gridBehind, SUM_STEP_BYTES, writeGrid } from '../../src/wire/sum-grid.ts';
import { AWKWARD_STARTS, createTcbAt } from './support.ts';

const VERSION_BYTES = 128 * 1024;
const arena = new Arena(4 << 20);
const flatAt = arena.allocate(1 << 20);
const headers = new TransmitQueue(arena, 16).headersAt;

/** What a region refers to: part of a version, which has a grid or none. */
interface Piece {
  readonly versionBytes: number;
  readonly from: number;
  readonly length: number;
  readonly hasGrid: boolean;
}

const whole = fc
  .oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 20_000 }))
  .map((length): Piece => ({ versionBytes: length, from: 0, length, hasGrid: true }));

const anyPiece = fc
  .record({ versionBytes: fc.integer({ min: 1, max: 20_000 }), a: fc.nat(), b: fc.nat(), hasGrid: fc.boolean() })
  .map(({ versionBytes, a, b, hasGrid }): Piece => {
    const from = a % versionBytes;
    return { versionBytes, from, length: 1 + (b % (versionBytes - from)), hasGrid };
  });

const start = fc.constantFrom(...AWKWARD_STARTS);
/** From the smallest that anybody announces to that of jumbo frames; odd ones too. */
const mss = fc.oneof(fc.integer({ min: 88, max: 9000 }), fc.constantFrom(536, 1448, 1460, 8948));

/** A send queue of such pieces. */
class Queue {
  readonly tcb: Tcb;
  readonly pool = new RegionPool(new TransmitQueue(arena, 16, headers));
  readonly total: number;
  private readonly start: number;
  private readonly stream: Uint8Array;

  constructor(start: number, pieces: readonly Piece[]) {
    this.start = start;
    this.tcb = createTcbAt(start);
    const parts: Uint8Array[] = [];
    let at = versionsAt;
    for (const { versionBytes, from, length, hasGrid } of pieces) {
      const grid = hasGrid ? gridBehind(at, versionBytes) : 0;
      for (let i = 0; i < versionBytes; i++) arena.bytes[at + i] = (Math.imul(at + i, 0x9e3779b1) >>> 19) & 0xff;
      if (hasGrid) writeGrid(arena.bytes, grid, at, versionBytes);
      enqueueRegion(this.pool, this.tcb, at + from, length, null, 0, grid);
      parts.push(arena.bytes.slice(at + from, at + from + length));
      at = Math.ceil((gridBehind(at, versionBytes) + 8 + versionBytes / 16 + 2) / 64) * 64;
    }
    this.stream = Buffer.concat(parts);
    this.total = this.stream.length;
  }

  /** As output does: how long the segment at `from` becomes. */
  cut(from: number, limit: number): number {
    return cutOnGrid(arena.bytes, this.tcb, this.seq(from), Math.min(limit, this.total - from));
  }

  /** Checks the sum of a segment; returns how many bytes were read for it. */
  check(from: number, length: number): number {
    const sum = sumRegions(arena.bytes, this.tcb, this.seq(from), length);
    arena.bytes.set(this.stream.subarray(from, from + length), flatAt);
    const expected = finishSum(addSums(0x4321, sumBytes(arena.bytes, flatAt, length)));
    strictEqual(finishSum(addSums(0x4321, sum & 0xffff)), expected);
    return Math.floor(sum / 0x10000);
  }

  acknowledge(upTo: number): void {
    this.tcb.sndUna = this.seq(upTo);
    releaseAcknowledged(this.pool, this.tcb, this.tcb.sndUna);
  }

  private seq(offset: number) {
    return seqAdd(toSeq(this.start), offset);
  }
}

const versionsAt = arena.allocate(16 * VERSION_BYTES);

test('sums are right for any regions, offsets, lengths and retransmission offsets', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(
        start,
        fc.array(anyPiece, { minLength: 1, maxLength: 8 }),
        fc.array(fc.tuple(fc.nat(), mss), { minLength: 1, maxLength: 20 }),
        fc.nat(),
        (first, pieces, segments, acknowledged) => {
          const queue = new Queue(first, pieces);
          const una = acknowledged % queue.total;
          queue.acknowledge(una);
          for (const [a, limit] of segments) {
            const from = una + (a % (queue.total - una));
            const wanted = Math.min(limit, queue.total - from);
            const length = queue.cut(from, limit);
            ok(length > 0 && length <= wanted && length > wanted - SUM_STEP_BYTES);
            queue.check(from, length);
            queue.check(from, wanted);
          }
        },
      ),
      { numRuns: 1000 },
    ),
  );
});

test('whole versions one behind the other: no segment reads a byte, whatever the MSS, nor does any sent again', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(start, fc.array(whole, { minLength: 1, maxLength: 12 }), mss, mss, (first, pieces, one, another) => {
        if (Math.min(one, another) < 8 * SUM_STEP_BYTES) return;
        const queue = new Queue(first, pieces);
        for (let from = 0; from < queue.total; ) {
          const length = cutAsGathered(queue, pieces, from, one);
          strictEqual(queue.check(from, length), 0);
          // The path's MTU has shrunk: the same bytes in segments of another size.
          for (let again = from; again < queue.total && again < from + 20_000; ) {
            const shorter = cutAsGathered(queue, pieces, again, another);
            strictEqual(queue.check(again, shorter), 0);
            again += shorter;
          }
          from += length;
        }
      }),
      { numRuns: 200 },
    ),
  );
});

test('from an offset between lines, what is read is less than a step, and the next segment reads nothing', (t) => {
  const queue = new Queue(1000, [{ versionBytes: 50_000, from: 0, length: 50_000, hasGrid: true }]);
  for (let from = 1; from < 200; from++) {
    const length = queue.cut(from, 1448);
    t.is(queue.check(from, length), (SUM_STEP_BYTES - (from % SUM_STEP_BYTES)) % SUM_STEP_BYTES);
    t.is(queue.check(from + length, queue.cut(from + length, 1448)), 0);
  }
});

/** A frame gathers so many regions and no more; what it carries ends there. */
function cutAsGathered(queue: Queue, pieces: readonly Piece[], from: number, limit: number): number {
  const length = queue.cut(from, limit);
  let end = 0;
  let regions = 0;
  for (const piece of pieces) {
    end += piece.length;
    if (end > from && ++regions === MAX_REGIONS) return Math.min(length, end - from);
  }
  return length;
}
