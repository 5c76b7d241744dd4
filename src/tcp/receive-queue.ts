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
 * back when they hold nothing. When it runs short, this goes first and that last:
 *
 * 1. From three quarters on, windows grow no more, and who holds some is offered nothing more until it is read (window.ts).
 * 2. From 15 sixteenths on, SYNs are dropped (input-listen.ts).
 * 3. When there is none left for text in order, what other connections hold beyond gaps is given up, the oldest gap first;
 *    RFC 2018 section 8 has the sender keep it. `outOfOrderPoolBytes` bounds it before that.
 * 4. Then text is refused, as if it had been lost. What was acknowledged is never given up.
 */
import type { BlockAllocator } from '../runtime/block-allocator.ts';
import { Counters } from '../runtime/counters.ts';
import { type Bytes, int32At } from '../wire/bytes.ts';
import { MAX_SACK_BLOCKS } from '../wire/tcp-options.ts';
import { OUT_OF_ORDER_REFUSED, OUT_OF_ORDER_SHED, TCP_COUNTER_NAMES } from './counters.ts';
import { GappedRings } from './gapped-rings.ts';
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

/** Parts of the memory, in sixteenths: from here on it is short, and from here on exhausted. */
const SHORT_SIXTEENTHS = 12;
const EXHAUSTED_SIXTEENTHS = 15;

export interface OutOfOrderLimits {
  /** How far beyond a gap a connection holds text. */
  readonly maxOutOfOrderBytes: number;
  /** Memory of all rings that wait for a gap to close. */
  readonly outOfOrderPoolBytes: number;
}

const NO_LIMITS: OutOfOrderLimits = {
  maxOutOfOrderBytes: Number.POSITIVE_INFINITY,
  outOfOrderPoolBytes: Number.POSITIVE_INFINITY,
};

export class ReceiveRing {
  /** The connection that has it. */
  owner: Tcb | null = null;
  at = 0;
  capacity = 0;
  rangeCount = 0;
  /** Out-of-order ranges, disjoint, not touching, in sequence order: first byte and the one after the last. */
  readonly left = new Int32Array(MAX_RANGES);
  readonly right = new Int32Array(MAX_RANGES);
  /** Where the latest segments beyond a gap began, the last one first: one for each of as many ranges (sack-blocks.ts). */
  readonly recent = new Int32Array(MAX_SACK_BLOCKS);
  recentCount = 0;
  // Kept by gapped-rings.ts: the memory that it counts there, and its neighbours.
  gappedBytes = 0;
  older: ReceiveRing | null = null;
  newer: ReceiveRing | null = null;
}

/** The receive queues of one stack. */
export class ReceiveQueues {
  private readonly bytes: Bytes;
  private readonly memory: BlockAllocator;
  private readonly maxRingBytes: number;
  private readonly limits: OutOfOrderLimits;
  private readonly counters: Counters<string>;
  private readonly shortBytes: number;
  private readonly exhaustedBytes: number;
  private readonly gapped = new GappedRings();
  private readonly freeRings: ReceiveRing[] = [];
  private readonly deliveryAt = new Int32Array(MAX_DELIVERIES);
  private readonly deliveryBytes = new Int32Array(MAX_DELIVERIES);
  private readonly deliveryNext = new Int32Array(MAX_DELIVERIES);
  private deliveryCount = 0;
  /** Payload bytes copied into rings. */
  copiedBytes = 0;
  /** Rings in use. */
  liveRings = 0;

  constructor(
    bytes: Bytes,
    memory: BlockAllocator,
    receiveBufferBytes: number,
    limits: OutOfOrderLimits = NO_LIMITS,
    counters: Counters<string> = new Counters<string>(TCP_COUNTER_NAMES),
  ) {
    this.bytes = bytes;
    this.memory = memory;
    this.maxRingBytes = receiveBufferBytes;
    this.limits = limits;
    this.counters = counters;
    this.shortBytes = (memory.capacityBytes / 16) * SHORT_SIXTEENTHS;
    this.exhaustedBytes = (memory.capacityBytes / 16) * EXHAUSTED_SIXTEENTHS;
  }

  /** Memory is short: nobody is promised more of it. */
  get isShort(): boolean {
    return this.memory.usedBytes >= this.shortBytes;
  }

  /** There is hardly any left: no connection is begun. */
  get isExhausted(): boolean {
    return this.memory.usedBytes >= this.exhaustedBytes;
  }

  /** Memory of the rings that wait for a gap to close. */
  get outOfOrderBytes(): number {
    return this.gapped.bytes;
  }

  /** Takes text that starts at `rcvNxt` and advances `rcvNxt` over it and over what it joins; false: no memory. */
  deliver(tcb: Tcb, at: number, length: number): boolean {
    if (tcb.ring === null && this.deliveryCount < MAX_DELIVERIES) {
      this.appendDelivery(tcb, at, length);
      tcb.rcvNxt = seqAdd(tcb.rcvNxt, length);
      return true;
    }
    if (!this.storeInOrder(tcb, tcb.rcvNxt, at, length)) return false;
    tcb.rcvNxt = seqAdd(tcb.rcvNxt, length);
    if (tcb.ring !== null && tcb.ring.rangeCount > 0) {
      joinRanges(tcb, tcb.ring);
      this.gapped.update(tcb.ring);
    }
    return true;
  }

  /** Holds text that lies beyond `rcvNxt`; false: no memory, or a limit. */
  holdOutOfOrder(tcb: Tcb, seq: Seq, at: number, length: number): boolean {
    const { ring } = tcb;
    const end = seqAdd(seq, length);
    reportOverlap(tcb, seq, end);
    const isFull = ring !== null && ring.rangeCount === MAX_RANGES && !touchesRange(ring, seq, end);
    const isFar = seqDistance(end, tcb.rcvNxt) > this.limits.maxOutOfOrderBytes;
    if (isFull || isFar || !this.makeRoomOutOfOrder(tcb, end)) {
      this.counters.increment(OUT_OF_ORDER_REFUSED);
      return false;
    }
    if (!this.store(tcb, seq, at, length)) return false;
    if (tcb.ring !== null) {
      insertRange(tcb.ring, seq, end);
      noteRecent(tcb.ring, seq);
      this.gapped.update(tcb.ring);
    }
    return true;
  }

  /** Keeps to `outOfOrderPoolBytes` by what others hold, the oldest gap first; false: what there is would not do. */
  private makeRoomOutOfOrder(tcb: Tcb, end: Seq): boolean {
    const { gapped, limits } = this;
    const { ring } = tcb;
    const capacity = ringBytesFor(seqDistance(end, tcb.readSeq), ring);
    const more = capacity - (ring === null ? 0 : ring.gappedBytes);
    while (gapped.bytes + more > limits.outOfOrderPoolBytes) {
      const victim = gapped.oldest(ring);
      if (victim === null) return false;
      this.shed(victim);
    }
    return true;
  }

  /** Gives up what a ring holds beyond gaps, and the memory, as far as nothing that was acknowledged lies in it. */
  private shed(ring: ReceiveRing): void {
    const tcb = ring.owner as Tcb;
    this.counters.increment(OUT_OF_ORDER_SHED);
    ring.rangeCount = 0;
    ring.recentCount = 0;
    this.gapped.update(ring);
    const unread = unreadBytes(tcb);
    if (unread === 0) {
      this.releaseRing(tcb);
      return;
    }
    const capacity = ringBytesFor(unread, null);
    if (capacity >= ring.capacity) return;
    const at = this.memory.allocate(capacity);
    if (at !== 0) this.moveRing(tcb, ring, at, capacity);
  }

  /** Stores text that is to be acknowledged: what others hold beyond gaps makes room for it. */
  private storeInOrder(tcb: Tcb, seq: Seq, at: number, length: number): boolean {
    while (!this.store(tcb, seq, at, length)) {
      if (seqDistance(seqAdd(seq, length), tcb.readSeq) > this.maxRingBytes || !this.shedOldest(tcb)) return false;
    }
    return true;
  }

  /** False: no other connection holds anything beyond a gap. */
  private shedOldest(tcb: Tcb): boolean {
    const victim = this.gapped.oldest(tcb.ring);
    if (victim === null) return false;
    this.shed(victim);
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
    while (this.ensureRing(tcb, unreadBytes(tcb)) === null) if (!this.shedOldest(tcb)) return false;
    return true;
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
      if (!this.storeInOrder(tcb, seq, int32At(this.deliveryAt, index), length)) {
        tcb.rcvNxt = seq;
        if (tcb.ring !== null) {
          tcb.ring.rangeCount = 0;
          this.gapped.update(tcb.ring);
        }
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
    const capacity = ringBytesFor(needed, old);
    const at = this.memory.allocate(capacity);
    if (at === 0) return null;
    if (old === null) {
      const ring = this.freeRings.pop() ?? new ReceiveRing();
      ring.at = at;
      ring.capacity = capacity;
      ring.rangeCount = 0;
      ring.recentCount = 0;
      ring.owner = tcb;
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
    this.gapped.update(ring);
  }

  private releaseRing(tcb: Tcb): void {
    const ring = tcb.ring;
    if (ring === null) return;
    this.memory.free(ring.at);
    ring.rangeCount = 0;
    this.gapped.update(ring);
    ring.owner = null;
    tcb.ring = null;
    this.freeRings.push(ring);
    this.liveRings--;
  }
}

/** The capacity of a ring that holds `needed` bytes: a power of two, no less than it has. */
function ringBytesFor(needed: number, ring: ReceiveRing | null): number {
  let capacity = ring === null ? MIN_RING_BYTES : ring.capacity;
  while (capacity < needed) capacity *= 2;
  return capacity;
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
