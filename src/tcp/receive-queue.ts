/**
 * What has arrived and the application has not read: bytes `readSeq` to `rcvNxt`, and out-of-order ranges beyond.
 *
 * In-order text is offered to the application where the device put it: a *delivery* refers to the receive slot. What the
 * application leaves there at the end of the turn is copied into the connection's ring, so that no peer can pin slots.
 * A byte's place in the ring is its sequence number modulo the capacity: text that arrives out of order is put where it
 * belongs at once, and closing a gap moves nothing. Once a connection has a ring, what arrives goes there, so that
 * deliveries always precede ring bytes.
 *
 * Memory: rings come from one bounded allocator for the whole stack, grow by doubling up to the receive buffer, and go
 * back when they hold nothing. When memory runs out the text is refused, as if it had been lost.
 */
import type { BlockAllocator } from '../runtime/block-allocator.ts';
import { type Bytes, int32At } from '../wire/bytes.ts';
import { MAX_SACK_BLOCKS } from '../wire/tcp-options.ts';
import { noteRecent, reportOverlap } from './sack-blocks.ts';
import {
  type Seq,
  seqAdd,
  seqAfterOrAt,
  seqBefore,
  seqBeforeOrAt,
  seqBits,
  seqDistance,
  seqMax,
  seqMin,
  toSeq,
} from './sequence.ts';
import type { Tcb } from './tcb.ts';

/** Separate out-of-order ranges that a connection may hold; text that would need one more is refused. */
export const MAX_RANGES = 32;

const MIN_RING_BYTES = 4096;

/** Deliveries of one turn; when they run out, text goes to rings. */
const MAX_DELIVERIES = 1024;

export class ReceiveRing {
  at = 0;
  capacity = 0;
  rangeCount = 0;
  /** Out-of-order ranges, disjoint, not touching, in sequence order: first byte and the one after the last. */
  readonly left = new Int32Array(MAX_RANGES);
  readonly right = new Int32Array(MAX_RANGES);
  /** Where the latest segments beyond a gap began, the last one first: one for each of as many ranges (sack-blocks.ts). */
  readonly recent = new Int32Array(MAX_SACK_BLOCKS);
  recentCount = 0;
}

/** The receive queues of one stack. */
export class ReceiveQueues {
  private readonly bytes: Bytes;
  private readonly memory: BlockAllocator;
  private readonly maxRingBytes: number;
  private readonly freeRings: ReceiveRing[] = [];
  private readonly deliveryAt = new Int32Array(MAX_DELIVERIES);
  private readonly deliveryBytes = new Int32Array(MAX_DELIVERIES);
  private readonly deliveryNext = new Int32Array(MAX_DELIVERIES);
  private deliveryCount = 0;
  /** Payload bytes copied into rings. */
  copiedBytes = 0;
  /** Rings in use. */
  liveRings = 0;

  constructor(bytes: Bytes, memory: BlockAllocator, receiveBufferBytes: number) {
    this.bytes = bytes;
    this.memory = memory;
    this.maxRingBytes = receiveBufferBytes;
  }

  /** Takes text that starts at `rcvNxt` and advances `rcvNxt` over it and over what it joins; false: no memory. */
  deliver(tcb: Tcb, at: number, length: number): boolean {
    if (tcb.ring === null && this.deliveryCount < MAX_DELIVERIES) {
      this.appendDelivery(tcb, at, length);
      tcb.rcvNxt = seqAdd(tcb.rcvNxt, length);
      return true;
    }
    if (!this.store(tcb, tcb.rcvNxt, at, length)) return false;
    tcb.rcvNxt = seqAdd(tcb.rcvNxt, length);
    if (tcb.ring !== null && tcb.ring.rangeCount > 0) joinRanges(tcb, tcb.ring);
    return true;
  }

  /** Holds text that lies beyond `rcvNxt`; false: no memory, or too many gaps. */
  holdOutOfOrder(tcb: Tcb, seq: Seq, at: number, length: number): boolean {
    const { ring } = tcb;
    const end = seqAdd(seq, length);
    reportOverlap(tcb, seq, end);
    if (ring !== null && ring.rangeCount === MAX_RANGES && !touchesRange(ring, seq, end)) return false;
    if (!this.store(tcb, seq, at, length)) return false;
    if (tcb.ring !== null) {
      insertRange(tcb.ring, seq, end);
      noteRecent(tcb.ring, seq);
    }
    return true;
  }

  /** Where the first unread byte is; meaningful when there is one. */
  readableAt(tcb: Tcb): number {
    if (tcb.deliveryHead >= 0) return int32At(this.deliveryAt, tcb.deliveryHead);
    const ring = tcb.ring;
    return ring === null ? 0 : ring.at + (seqBits(tcb.readSeq) & (ring.capacity - 1));
  }

  /** How many unread bytes lie together from `readableAt` on. */
  readableLength(tcb: Tcb): number {
    if (tcb.deliveryHead >= 0) return int32At(this.deliveryBytes, tcb.deliveryHead);
    const ring = tcb.ring;
    if (ring === null) return 0;
    return Math.min(unreadBytes(tcb), ring.capacity - (seqBits(tcb.readSeq) & (ring.capacity - 1)));
  }

  consume(tcb: Tcb, count: number): void {
    tcb.readSeq = seqAdd(tcb.readSeq, count);
    let left = count;
    while (left > 0 && tcb.deliveryHead >= 0) {
      const head = tcb.deliveryHead;
      const bytes = int32At(this.deliveryBytes, head);
      if (left < bytes) {
        this.deliveryAt[head] = int32At(this.deliveryAt, head) + left;
        this.deliveryBytes[head] = bytes - left;
        return;
      }
      left -= bytes;
      tcb.deliveryHead = int32At(this.deliveryNext, head);
      if (tcb.deliveryHead < 0) tcb.deliveryTail = -1;
    }
    this.releaseEmpty(tcb);
  }

  /** Makes sure of a ring for everything unread, so that `settle` will find room; false: no memory. */
  reserve(tcb: Tcb): boolean {
    return this.ensureRing(tcb, unreadBytes(tcb)) !== null;
  }

  /**
   * Copies what the application left in receive slots into the ring. Without memory for it, text that was not
   * acknowledged yet is given up as if it had been lost.
   */
  settle(tcb: Tcb): void {
    let seq = tcb.readSeq;
    let index = tcb.deliveryHead;
    tcb.deliveryHead = -1;
    tcb.deliveryTail = -1;
    while (index >= 0) {
      const length = int32At(this.deliveryBytes, index);
      if (!this.store(tcb, seq, int32At(this.deliveryAt, index), length)) {
        tcb.rcvNxt = seq;
        if (tcb.ring !== null) tcb.ring.rangeCount = 0;
        return;
      }
      seq = seqAdd(seq, length);
      index = int32At(this.deliveryNext, index);
    }
    this.releaseEmpty(tcb);
  }

  /** Forgets the deliveries of the turn: their slots are going back, and every connection has settled. */
  endTurn(): void {
    this.deliveryCount = 0;
  }

  /** Throws everything unread away and gives the memory back. */
  discard(tcb: Tcb): void {
    tcb.readSeq = seqAdd(tcb.rcvNxt, tcb.finReceived ? -1 : 0);
    tcb.deliveryHead = -1;
    tcb.deliveryTail = -1;
    if (tcb.ring !== null) this.releaseRing(tcb);
  }

  private releaseEmpty(tcb: Tcb): void {
    if (tcb.ring !== null && tcb.ring.rangeCount === 0 && unreadBytes(tcb) === 0) this.releaseRing(tcb);
  }

  private appendDelivery(tcb: Tcb, at: number, length: number): void {
    const index = this.deliveryCount++;
    this.deliveryAt[index] = at;
    this.deliveryBytes[index] = length;
    this.deliveryNext[index] = -1;
    if (tcb.deliveryTail < 0) tcb.deliveryHead = index;
    else this.deliveryNext[tcb.deliveryTail] = index;
    tcb.deliveryTail = index;
  }

  private store(tcb: Tcb, seq: Seq, at: number, length: number): boolean {
    const needed = seqDistance(seqAdd(seq, length), tcb.readSeq);
    if (needed > this.maxRingBytes) return false;
    const ring = this.ensureRing(tcb, needed);
    if (ring === null) return false;
    const position = seqBits(seq) & (ring.capacity - 1);
    const first = Math.min(length, ring.capacity - position);
    this.bytes.copyWithin(ring.at + position, at, at + first);
    if (first < length) this.bytes.copyWithin(ring.at, at + first, at + length);
    this.copiedBytes += length;
    return true;
  }

  private ensureRing(tcb: Tcb, needed: number): ReceiveRing | null {
    const old = tcb.ring;
    if (old !== null && old.capacity >= needed) return old;
    let capacity = old === null ? MIN_RING_BYTES : old.capacity;
    while (capacity < needed) capacity *= 2;
    const at = this.memory.allocate(capacity);
    if (at === 0) return null;
    if (old === null) {
      const ring = this.freeRings.pop() ?? new ReceiveRing();
      ring.at = at;
      ring.capacity = capacity;
      ring.rangeCount = 0;
      ring.recentCount = 0;
      tcb.ring = ring;
      this.liveRings++;
      return ring;
    }
    this.moveRing(tcb, old, at, capacity);
    return old;
  }

  /** Copies what the ring may hold to its new place, position by position of the sequence numbers. */
  private moveRing(tcb: Tcb, ring: ReceiveRing, at: number, capacity: number): void {
    const end = ring.rangeCount > 0 ? toSeq(int32At(ring.right, ring.rangeCount - 1)) : tcb.rcvNxt;
    let seq = tcb.readSeq;
    while (seqBefore(seq, end)) {
      const from = seqBits(seq) & (ring.capacity - 1);
      const to = seqBits(seq) & (capacity - 1);
      const length = Math.min(seqDistance(end, seq), ring.capacity - from, capacity - to);
      this.bytes.copyWithin(at + to, ring.at + from, ring.at + from + length);
      seq = seqAdd(seq, length);
    }
    this.memory.free(ring.at);
    ring.at = at;
    ring.capacity = capacity;
  }

  private releaseRing(tcb: Tcb): void {
    const ring = tcb.ring;
    if (ring === null) return;
    this.memory.free(ring.at);
    tcb.ring = null;
    this.freeRings.push(ring);
    this.liveRings--;
  }
}

/** Text between `readSeq` and `rcvNxt`; a FIN that was reached is no text. */
export function unreadBytes(tcb: Tcb): number {
  return seqDistance(tcb.rcvNxt, tcb.readSeq) - (tcb.finReceived ? 1 : 0);
}

/** Advances `rcvNxt` over the ranges it has reached. */
function joinRanges(tcb: Tcb, ring: ReceiveRing): void {
  let joined = 0;
  while (joined < ring.rangeCount && seqBeforeOrAt(toSeq(int32At(ring.left, joined)), tcb.rcvNxt)) {
    tcb.rcvNxt = seqMax(tcb.rcvNxt, toSeq(int32At(ring.right, joined)));
    joined++;
  }
  if (joined > 0) removeRanges(ring, 0, joined);
}

/** Whether a range would be joined with one that there is. */
function touchesRange(ring: ReceiveRing, left: Seq, right: Seq): boolean {
  for (let i = 0; i < ring.rangeCount; i++) {
    if (seqBefore(toSeq(int32At(ring.right, i)), left)) continue;
    return seqAfterOrAt(right, toSeq(int32At(ring.left, i)));
  }
  return false;
}

/** Adds a range and joins it with those it touches. There is room for one more, or it touches one. */
function insertRange(ring: ReceiveRing, left: Seq, right: Seq): void {
  let first = 0;
  while (first < ring.rangeCount && seqBefore(toSeq(int32At(ring.right, first)), left)) first++;
  let last = first;
  let joinedLeft = left;
  let joinedRight = right;
  while (last < ring.rangeCount && seqAfterOrAt(right, toSeq(int32At(ring.left, last)))) {
    joinedLeft = seqMin(joinedLeft, toSeq(int32At(ring.left, last)));
    joinedRight = seqMax(joinedRight, toSeq(int32At(ring.right, last)));
    last++;
  }
  if (last === first) {
    ring.left.copyWithin(first + 1, first, ring.rangeCount);
    ring.right.copyWithin(first + 1, first, ring.rangeCount);
    ring.rangeCount++;
  } else if (last > first + 1) {
    removeRanges(ring, first + 1, last);
  }
  ring.left[first] = seqBits(joinedLeft);
  ring.right[first] = seqBits(joinedRight);
}

function removeRanges(ring: ReceiveRing, from: number, to: number): void {
  ring.left.copyWithin(from, to, ring.rangeCount);
  ring.right.copyWithin(from, to, ring.rangeCount);
  ring.rangeCount -= to - from;
}
