/**
 * The send queue: a list of regions of memory that the application owns until they are acknowledged (design, principle 3).
 * Sending and sending again both read the regions; nothing is copied. A region may come with a grid of sums (wire/sum-grid.ts),
 * and where checksums are made here, segments are then cut so that their payload is not read for it.
 *
 * Memory: a region's bytes belong to its owner. They come back through `RegionOwner.release` when the peer has
 * acknowledged the last of them *and* the device has completed every frame that was queued by then; or when the connection
 * dies. Region records are pooled here.
 */

import { MAX_REGIONS, type TransmitQueue } from '../exokernel/transmit-queue.ts';
import type { Bytes } from '../wire/bytes.ts';
import { addSums, foldSum, sumBytes, swapSum } from '../wire/checksum.ts';
import { bytesPastLine, SUM_STEP_BYTES, sumFromGrid } from '../wire/sum-grid.ts';
import { type Seq, seqAdd, seqAfter, seqBeforeOrAt, seqDistance, toSeq } from './sequence.ts';
import type { RegionOwner, Tcb } from './tcb.ts';

export class SendRegion {
  at = 0;
  bytes = 0;
  /** Sequence number of its first byte. */
  start: Seq = toSeq(0);
  owner: RegionOwner | null = null;
  token = 0;
  /** Where its bytes' grid of sums lies in the arena, 0 for none. */
  grid = 0;
  next: SendRegion | null = null;
  /** Frames the transmit queue had taken when the region was acknowledged. */
  framesBefore = 0;
}

/** Region records of one stack, and the acknowledged regions that the device may still be reading. */
export class RegionPool {
  private readonly queue: TransmitQueue;
  private readonly reuse: boolean;
  private free: SendRegion | null = null;
  private waitingHead: SendRegion | null = null;
  private waitingTail: SendRegion | null = null;
  /** Regions that an application has not got back yet. */
  live = 0;

  /** @param reuse records are used again, and not made anew each time */
  constructor(queue: TransmitQueue, reuse = true) {
    this.queue = queue;
    this.reuse = reuse;
  }

  take(at: number, bytes: number, start: Seq, owner: RegionOwner | null, token: number, grid: number): SendRegion {
    let region = this.free;
    if (region === null) region = new SendRegion();
    else this.free = region.next;
    region.at = at;
    region.bytes = bytes;
    region.start = start;
    region.owner = owner;
    region.token = token;
    region.grid = grid;
    region.next = null;
    this.live++;
    return region;
  }

  /** The peer needs the region no more; its owner is told by `releaseCompleted`, once the device does not either. */
  release(region: SendRegion): void {
    region.next = null;
    region.framesBefore = this.queue.enqueued;
    if (this.waitingTail === null) this.waitingHead = region;
    else this.waitingTail.next = region;
    this.waitingTail = region;
  }

  /** Whether `releaseCompleted` would give a region back. */
  get due(): boolean {
    return this.waitingHead !== null && this.waitingHead.framesBefore <= this.queue.completed;
  }

  /**
   * Gives back the waiting regions whose frames the device has completed. Owners may use their connections from `release`,
   * so this is for the application phase and not for the middle of input.
   */
  releaseCompleted(): void {
    while (this.waitingHead !== null && this.waitingHead.framesBefore <= this.queue.completed) {
      const region = this.waitingHead;
      this.waitingHead = region.next;
      if (this.waitingHead === null) this.waitingTail = null;
      this.giveBack(region);
    }
  }

  private giveBack(region: SendRegion): void {
    const owner = region.owner;
    region.owner = null;
    if (this.reuse) {
      region.next = this.free;
      this.free = region;
    }
    this.live--;
    if (owner !== null) owner.release(region.token);
  }
}

export function enqueueRegion(
  pool: RegionPool,
  tcb: Tcb,
  at: number,
  bytes: number,
  owner: RegionOwner | null,
  token: number,
  grid = 0,
): void {
  const region = pool.take(at, bytes, tcb.sndEnd, owner, token, grid);
  if (tcb.regionTail === null) tcb.regionHead = region;
  else tcb.regionTail.next = region;
  tcb.regionTail = region;
  tcb.sndEnd = seqAdd(tcb.sndEnd, bytes);
}

/** Drops the regions that lie wholly before `una`. */
export function releaseAcknowledged(pool: RegionPool, tcb: Tcb, una: Seq): void {
  let region = tcb.regionHead;
  while (region !== null && seqBeforeOrAt(seqAdd(region.start, region.bytes), una)) {
    const next = region.next;
    if (tcb.regionCursor === region) tcb.regionCursor = next;
    pool.release(region);
    region = next;
  }
  tcb.regionHead = region;
  if (region === null) tcb.regionTail = null;
}

/** Drops everything that is queued: the connection is dead. */
export function releaseAll(pool: RegionPool, tcb: Tcb): void {
  let region = tcb.regionHead;
  while (region !== null) {
    const next = region.next;
    pool.release(region);
    region = next;
  }
  tcb.regionHead = null;
  tcb.regionTail = null;
  tcb.regionCursor = null;
}

/** The region that holds `from`, null at the end of the queue. The cursor makes the next search short. */
function findRegion(tcb: Tcb, from: Seq): SendRegion | null {
  let region = tcb.regionCursor;
  if (region === null || seqAfter(region.start, from)) region = tcb.regionHead;
  while (region !== null && seqBeforeOrAt(seqAdd(region.start, region.bytes), from)) region = region.next;
  tcb.regionCursor = region;
  return region;
}

/**
 * The checksum part of `length` queued bytes from `from` on, at most 65535, in the low sixteen bits; in those above, how
 * many of them had to be read for it.
 */
export function sumRegions(bytes: Bytes, tcb: Tcb, from: Seq, length: number): number {
  let region = findRegion(tcb, from);
  let summed = 0;
  let sum = 0;
  let read = 0;
  while (region !== null && summed < length) {
    const skip = summed === 0 ? seqDistance(from, region.start) : 0;
    const take = Math.min(region.bytes - skip, length - summed);
    const { grid } = region;
    let part = 0;
    if (grid === 0) {
      part = foldSum(sumBytes(bytes, region.at + skip, take));
      read += take;
    } else {
      const found = sumFromGrid(bytes, grid, region.at + skip, take);
      part = found & 0xffff;
      read += found >>> 16;
    }
    // Bytes that follow an odd number of others stand in the other half of their words.
    sum = addSums(sum, (summed & 1) === 0 ? part : swapSum(part));
    summed += take;
    region = region.next;
  }
  return sum + read * 0x10000;
}

/** Shorter segments are not cut: it would cost more of them than it saves. */
const CUT_FROM_BYTES = 8 * SUM_STEP_BYTES;

/**
 * How many of the `limit` bytes from `from` on a segment should carry for its checksum to cost nothing: as many as end with
 * a region, or on a line of the grid of the region they end in. At most 31 fewer than `limit`.
 *
 * What begins where such a segment has ended begins on a line too. A segment begins elsewhere when the peer acknowledged
 * part of one, or when the region itself begins between lines (a range of a file).
 */
export function cutOnGrid(bytes: Bytes, tcb: Tcb, from: Seq, limit: number): number {
  if (limit < CUT_FROM_BYTES) return limit;
  let region = findRegion(tcb, from);
  let covered = 0;
  for (let regions = 0; region !== null && regions < MAX_REGIONS; regions++) {
    const skip = covered === 0 ? seqDistance(from, region.start) : 0;
    const left = region.bytes - skip;
    const take = limit - covered;
    if (take <= left) {
      if (take === left || region.grid === 0) return limit;
      return limit - Math.min(take, bytesPastLine(bytes, region.grid, region.at + skip + take));
    }
    covered += left;
    region = region.next;
  }
  return limit;
}

/**
 * Adds the queued bytes from `from` on, at most `limit`, to the frame being built. Returns how many it added: fewer than
 * asked when they lie in more regions than a frame can gather.
 */
export function gatherRegions(queue: TransmitQueue, tcb: Tcb, from: Seq, limit: number): number {
  let region = findRegion(tcb, from);
  let gathered = 0;
  let regions = 0;
  while (region !== null && gathered < limit && regions < MAX_REGIONS) {
    const skip = gathered === 0 ? seqDistance(from, region.start) : 0;
    const take = Math.min(region.bytes - skip, limit - gathered);
    queue.addRegion(region.at + skip, take);
    gathered += take;
    regions++;
    region = region.next;
  }
  return gathered;
}
