/**
 * The queue in which an environment leaves frames for the end of the turn: gather lists of a header and up to three
 * regions of arena. Building one frame is `reserve`, write the headers at the position it returned, `addRegion` for each
 * piece of payload, `commit`.
 *
 * A frame is counted three times, in `enqueued` when it is committed, when the device (or the guard) has taken it, and in
 * `completed` when nobody reads its header and regions any more. All happen in order, so a frame is its number, its
 * descriptor and header slot are those of the number modulo the capacity, and a region is free again when it is
 * acknowledged and `completed` has reached what `enqueued` was.
 *
 * A frame that lies in a receive slot is sent from there (`commitSlot`): its header is the whole frame, and its slot goes
 * back to whoever lent it when the frame is completed.
 *
 * Memory: the queue owns its header slots (one block of the arena). Regions belong to whoever added them.
 */
import { type Device, FRAME_OFFSET_BYTES, MAX_REGIONS, TRANSMIT_WORDS, TransmitBatch } from '../driver/device.ts';
import type { Arena } from '../runtime/arena.ts';
import { type Bytes, int32At } from '../wire/bytes.ts';
import { clearVnet } from '../wire/virtio-net.ts';
import { roundUpToPowerOfTwo } from './packet-ring.ts';

/** Bytes of a header slot. */
export { MAX_REGIONS };

export const HEADER_SLOT_BYTES = 256;
const HEADER_SLOT_SHIFT = 8;

/** Longest header that fits a slot, Ethernet header included. */
export const MAX_HEADER_BYTES = HEADER_SLOT_BYTES - FRAME_OFFSET_BYTES;

const NO_RESERVATION = -1;

/** Where the slot of a frame goes when the frame has been sent. */
export interface SlotLender {
  slotSent(at: number): void;
}

export class TransmitQueue {
  /** Frames the queue has room for, a power of two. */
  readonly capacity: number;
  /** Where the header slots start in the arena. */
  readonly headersAt: number;
  /** The descriptors; frame number n has index `n mod capacity`. */
  readonly batch: TransmitBatch;
  /** Frames ever committed. */
  enqueued = 0;
  /** Frames, in the order of `enqueued`, whose memory is no longer read. */
  completed = 0;

  private readonly bytes: Bytes;
  private readonly mask: number;
  /** Frames there may be in the queue: its capacity, and 0 when it is closed. */
  private limit: number;
  /** Regions of the frame that is being built, or `NO_RESERVATION`. */
  private regions = NO_RESERVATION;
  /** Frames that the guard has looked at. */
  private guarded = 0;
  /** Frames that the device has taken or the guard refused. */
  private offered = 0;
  /** Frames that the guard has refused and `completed` has not passed yet. */
  private refusedCount = 0;
  private readonly refused: Uint8Array;
  /** Frames not completed that have a receive slot to give back, and by index that slot and its lender. */
  private slotCount = 0;
  private readonly slots: Int32Array;
  private readonly lenders: (SlotLender | null)[];

  /**
   * @param frames frames there is room for, rounded up to a power of two
   * @param headersAt a block of header slots to use again; without it one is allocated
   */
  constructor(arena: Arena, frames: number, headersAt?: number) {
    this.capacity = roundUpToPowerOfTwo(frames);
    this.mask = this.capacity - 1;
    this.limit = this.capacity;
    this.bytes = arena.bytes;
    this.headersAt = headersAt ?? arena.allocate(this.capacity * HEADER_SLOT_BYTES);
    this.batch = new TransmitBatch(this.capacity);
    this.refused = new Uint8Array(this.capacity);
    this.slots = new Int32Array(this.capacity);
    this.lenders = new Array<SlotLender | null>(this.capacity).fill(null);
  }

  /** Frames that can still be committed. */
  get free(): number {
    return Math.max(0, this.limit - (this.enqueued - this.completed));
  }

  /** Committed frames that the device has not taken yet. */
  get pending(): number {
    return this.enqueued - this.offered;
  }

  /** Frames that the device has taken and not completed. */
  get inFlight(): number {
    return this.offered - this.completed;
  }

  /**
   * Begins a frame: the position for its Ethernet header, with a cleared virtio header before it, or 0 when the queue is
   * full. Until `commit` it is the same position again, and whatever was begun there is forgotten.
   */
  reserve(): number {
    if (this.enqueued - this.completed >= this.limit) return 0;
    const at = this.headersAt + ((this.enqueued & this.mask) << HEADER_SLOT_SHIFT) + FRAME_OFFSET_BYTES;
    clearVnet(this.bytes, at);
    this.regions = 0;
    return at;
  }

  /**
   * Adds `length` bytes from `at` to the frame behind what is there already; at most `MAX_REGIONS` times. The bytes must
   * stay as they are until `completed` reaches what `enqueued` is after the commit.
   */
  addRegion(at: number, length: number): void {
    const region = this.regions;
    if (region < 0 || region >= MAX_REGIONS)
      throw new RangeError(region < 0 ? 'no frame was begun' : 'too many regions');
    if (!(length > 0 && at > 0 && at + length <= this.bytes.length)) {
      throw new RangeError(`a region of ${length} bytes at ${at} is not in the arena`);
    }
    const word = (this.enqueued & this.mask) * TRANSMIT_WORDS + 2 + 2 * region;
    this.batch.words[word] = at;
    this.batch.words[word + 1] = length;
    this.regions = region + 1;
  }

  /** Bytes of the regions that the frame being built has so far. */
  get regionBytes(): number {
    const first = (this.enqueued & this.mask) * TRANSMIT_WORDS + 2;
    let total = 0;
    for (let region = 0; region < this.regions; region++) total += int32At(this.batch.words, first + 2 * region + 1);
    return total;
  }

  /** Copies the regions that the frame being built has so far, one behind the other, to `target`. */
  copyRegions(target: number): void {
    const first = (this.enqueued & this.mask) * TRANSMIT_WORDS + 2;
    let to = target;
    for (let region = 0; region < this.regions; region++) {
      const from = int32At(this.batch.words, first + 2 * region);
      const length = int32At(this.batch.words, first + 2 * region + 1);
      this.bytes.copyWithin(to, from, from + length);
      to += length;
    }
  }

  /** Ends the frame and leaves it for transmission; `headerBytes` bytes were written at the reserved position. */
  commit(headerBytes: number): void {
    if (this.regions < 0) throw new RangeError('no frame was begun');
    if (!(headerBytes > 0 && headerBytes <= MAX_HEADER_BYTES)) throw new RangeError(`header of ${headerBytes} bytes`);
    const index = this.enqueued & this.mask;
    const words = this.batch.words;
    const word = index * TRANSMIT_WORDS;
    words[word] = this.headersAt + (index << HEADER_SLOT_SHIFT) + FRAME_OFFSET_BYTES;
    words[word + 1] = headerBytes;
    for (let rest = word + 2 + 2 * this.regions; rest < word + TRANSMIT_WORDS; rest++) words[rest] = 0;
    this.regions = NO_RESERVATION;
    this.enqueued++;
  }

  /**
   * Leaves a frame for transmission that lies in a receive slot, its virtio header before it; the slot is the queue's until
   * the frame is completed. False when the queue is full. Not to be called while a frame is being built.
   */
  commitSlot(at: number, lengthBytes: number, lender: SlotLender): boolean {
    if (this.enqueued - this.completed >= this.limit) return false;
    const index = this.enqueued & this.mask;
    const words = this.batch.words;
    const word = index * TRANSMIT_WORDS;
    words[word] = at;
    words[word + 1] = lengthBytes;
    for (let rest = word + 2; rest < word + TRANSMIT_WORDS; rest++) words[rest] = 0;
    this.keepSlot(index, at, lender);
    this.enqueued++;
    return true;
  }

  /** Has the slot that regions of the frame committed last lie in go back when that frame is completed. */
  attachSlot(at: number, lender: SlotLender): void {
    if (this.enqueued === this.completed) throw new RangeError('no frame to attach a slot to');
    this.keepSlot((this.enqueued - 1) & this.mask, at, lender);
  }

  /** Forgets the frame that is being built. */
  cancel(): void {
    this.regions = NO_RESERVATION;
  }

  // What follows is for the exokernel.

  /** Index of the next frame for the guard, or -1 when it has seen them all. */
  nextToGuard(): number {
    return this.guarded === this.enqueued ? -1 : this.guarded & this.mask;
  }

  /** The guard lets the frame of `nextToGuard` pass. */
  pass(): void {
    this.guarded++;
  }

  /** The guard refuses the frame of `nextToGuard`: the device will not see it, and the others keep their order. */
  refuse(): void {
    this.refused[this.guarded & this.mask] = 1;
    this.refusedCount++;
    this.guarded++;
  }

  /**
   * Offers up to `limit` frames that have passed the guard to the device and returns how many it took. It is full when
   * that is fewer and frames are still pending.
   */
  offer(device: Device, limit: number): number {
    let taken = 0;
    while (this.offered < this.guarded && taken < limit) {
      const from = this.offered & this.mask;
      if (this.refusedCount > 0 && this.refused[from] === 1) {
        this.offered++;
        continue;
      }
      const count = Math.min(this.guarded - this.offered, limit - taken, this.capacity - from);
      const to = this.refusedCount > 0 ? this.runEnd(from, from + count) : from + count;
      const took = device.transmit(this.batch, from, to);
      this.offered += took;
      taken += took;
      if (took < to - from) break;
    }
    if (this.refusedCount > 0) this.complete(0);
    return taken;
  }

  /** The device has completed the next `count` frames that it took. */
  complete(count: number): void {
    if (this.refusedCount === 0 && this.slotCount === 0) {
      this.completed += count;
      return;
    }
    let left = count;
    while (this.completed < this.offered) {
      const index = this.completed & this.mask;
      if (this.refusedCount > 0 && this.refused[index] === 1) {
        this.refused[index] = 0;
        this.refusedCount--;
      } else if (left-- === 0) {
        break;
      }
      if (this.slotCount > 0) this.releaseSlot(index);
      this.completed++;
    }
  }

  /**
   * Refuses whatever is begun from now on, and all frames that the device has not taken; returns how many those are. What
   * it has taken it still completes.
   */
  close(): number {
    const discarded = this.pending;
    this.limit = 0;
    this.cancel();
    this.guarded = this.enqueued;
    for (; this.offered < this.enqueued; this.offered++) {
      const index = this.offered & this.mask;
      if (this.refused[index] === 0) this.refusedCount++;
      this.refused[index] = 1;
    }
    this.complete(0);
    return discarded;
  }

  private keepSlot(index: number, at: number, lender: SlotLender): void {
    this.slots[index] = at;
    this.lenders[index] = lender;
    this.slotCount++;
  }

  private releaseSlot(index: number): void {
    const lender = this.lenders[index];
    if (lender === null || lender === undefined) return;
    this.lenders[index] = null;
    this.slotCount--;
    lender.slotSent(int32At(this.slots, index));
  }

  /** The first refused frame in `from` to `to`, or `to`. */
  private runEnd(from: number, to: number): number {
    for (let index = from; index < to; index++) if (this.refused[index] === 1) return index;
    return to;
  }
}
