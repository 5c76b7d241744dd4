/**
 * The bounded ring in which an environment finds its frames: (position, length) pairs in the order they arrived.
 * The exokernel puts them in, the environment takes them out; a ring that is full refuses and waits for nobody.
 *
 * Memory: the ring owns its descriptors only. A frame's slot is the environment's from `take` until `returnSlot`.
 */
import { int32At } from '../wire/bytes.ts';

export class PacketRing {
  /** Frames the ring has room for, a power of two. */
  readonly capacity: number;
  /** Length in bytes of the frame that `take` returned last. */
  length = 0;
  private readonly mask: number;
  private readonly positions: Int32Array;
  private readonly lengths: Int32Array;
  // Counters modulo 2^32: their difference is how many frames there are.
  private head = 0;
  private tail = 0;

  /** A ring for `frames` frames, rounded up to a power of two. */
  constructor(frames: number) {
    this.capacity = roundUpToPowerOfTwo(frames);
    this.mask = this.capacity - 1;
    this.positions = new Int32Array(this.capacity);
    this.lengths = new Int32Array(this.capacity);
  }

  /** Frames that wait. */
  get size(): number {
    return (this.tail - this.head) | 0;
  }

  /** Appends a frame; false when the ring is full. */
  push(at: number, length: number): boolean {
    if (((this.tail - this.head) | 0) === this.capacity) return false;
    const index = this.tail & this.mask;
    this.positions[index] = at;
    this.lengths[index] = length;
    this.tail = (this.tail + 1) | 0;
    return true;
  }

  /** Takes out the oldest frame and returns its position, 0 when there is none; its length is in `length`. */
  take(): number {
    if (this.head === this.tail) return 0;
    const index = this.head & this.mask;
    this.head = (this.head + 1) | 0;
    this.length = int32At(this.lengths, index);
    return int32At(this.positions, index);
  }
}

/** The lowest power of two that is not below `count`. Throws `RangeError` unless count is in 1 to 2^20. */
export function roundUpToPowerOfTwo(count: number): number {
  if (!Number.isInteger(count) || count < 1 || count > 2 ** 20)
    throw new RangeError(`${count} frames: must be 1 to 2^20`);
  return 2 ** Math.ceil(Math.log2(count));
}
