/**
 * The send queue: a list of regions of memory that the application owns until they are acknowledged (design, principle 3).
 * Sending and sending again both read the regions; nothing is copied.
 *
 * Memory: a region's bytes belong to its owner. They come back through `RegionOwner.release` when the peer has
 * acknowledged the last of them *and* the device has completed every frame that was queued by then; or when the connection
 * dies. Region records are pooled here.
 */

import { MAX_REGIONS, type TransmitQueue } from '../exokernel/transmit-queue.ts';
import type { Bytes } from '../wire/bytes.ts';
import { addSums, sumBytes, swapSum } from '../wire/checksum.ts';
import { type Seq, seqAdd, seqAfter, seqBeforeOrAt, seqDistance, toSeq } from './sequence.ts';
import type { RegionOwner, Tcb } from './tcb.ts';

export class SendRegion {
  at = 0;
  bytes = 0;
  /** Sequence number of its first byte. */
  start: Seq = toSeq(0);
  owner: RegionOwner | null = null;
  token = 0;
  next: SendRegion | null = null;
  /** Frames the transmit queue had taken when the region was acknowledged. */
  framesBefore = 0;
}

/** Region records of one stack, and the acknowledged regions that the device may still be reading. */
export class RegionPool {
  private readonly queue: TransmitQueue;
  private free: SendRegion | null = null;
  private waitingHead: SendRegion | null = null;
  private waitingTail: SendRegion | null = null;
  /** Regions that an application has not got back yet. */
  live = 0;

  constructor(queue: TransmitQueue) {
    this.queue = queue;
  }

  take(at: number, bytes: number, start: Seq, owner: RegionOwner | null, token: number): SendRegion {
    let region = this.free;
    if (region === null) region = new SendRegion();
    else this.free = region.next;
    region.at = at;
    region.bytes = bytes;
    region.start = start;
    region.owner = owner;
    region.token = token;
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
    region.next = this.free;
    this.free = region;
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
): void {
  const region = pool.take(at, bytes, tcb.sndEnd, owner, token);
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

/** The checksum part of `length` queued bytes from `from` on. */
export function sumRegions(bytes: Bytes, tcb: Tcb, from: Seq, length: number): number {
  let region = findRegion(tcb, from);
  let summed = 0;
  let sum = 0;
  while (region !== null && summed < length) {
    const skip = summed === 0 ? seqDistance(from, region.start) : 0;
    const take = Math.min(region.bytes - skip, length - summed);
    const part = sumBytes(bytes, region.at + skip, take);
    // Bytes that follow an odd number of others stand in the other half of their words.
    sum = addSums(sum, (summed & 1) === 0 ? part : swapSum(part));
    summed += take;
    region = region.next;
  }
  return sum;
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
