/**
 * A request head kept for later: one that arrives in pieces, or whose answer has to wait. Holds a block only while it
 * keeps something, and for a head in pieces one that grows with it, so that a client that dribbles pins little.
 */
import type { BlockAllocator } from '../../runtime/block-allocator.ts';
import type { Bytes } from '../../wire/bytes.ts';

const FIRST_BYTES = 1024;

export class HeadBuffer {
  /** Where the kept bytes begin; meaningful while there are any. */
  at = 0;
  /** How many there are. */
  length = 0;
  private readonly bytes: Bytes;
  private readonly memory: BlockAllocator;
  private capacity = 0;

  constructor(bytes: Bytes, memory: BlockAllocator) {
    this.bytes = bytes;
    this.memory = memory;
  }

  /** Copies `length` bytes behind those that are kept, without keeping them yet; false when there is no memory. */
  put(at: number, length: number): boolean {
    const needed = this.length + length;
    if (needed > this.capacity && !this.grow(needed)) return false;
    this.bytes.copyWithin(this.at + this.length, at, at + length);
    return true;
  }

  clear(): void {
    if (this.capacity > 0) this.memory.free(this.at);
    this.at = 0;
    this.length = 0;
    this.capacity = 0;
  }

  private grow(needed: number): boolean {
    let capacity = Math.max(FIRST_BYTES, this.capacity);
    while (capacity < needed) capacity *= 2;
    const at = this.memory.allocate(capacity);
    if (at === 0) return false;
    this.bytes.copyWithin(at, this.at, this.at + this.length);
    if (this.capacity > 0) this.memory.free(this.at);
    this.at = at;
    this.capacity = capacity;
    return true;
  }
}
