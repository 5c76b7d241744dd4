/**
 * Header blocks: response heads written into the arena once and sent from there any number of times. A short body may stand
 * behind its head, so that the answer is one region.
 *
 * A block is immutable. Whoever keeps it for later use and every send queue it lies in hold a reference; the last one to
 * let go gives the memory back. A new Date therefore means a new block, and what is under way still says the old one.
 */
import type { BlockAllocator } from '../../runtime/block-allocator.ts';
import type { RegionOwner } from '../../tcp/tcb.ts';
import { type Bytes, int32At, setU8 } from '../../wire/bytes.ts';
import { bytesWithGrid, gridBehind, writeGrid } from '../../wire/sum-grid.ts';

/** No block: there was no memory. */
export const NO_BLOCK = 0;

const FIRST_CAPACITY = 256;

export class HeaderBlocks implements RegionOwner {
  /** Blocks written so far. */
  built = 0;
  /** Blocks that somebody holds. */
  live = 0;
  private readonly bytes: Bytes;
  private readonly memory: BlockAllocator;
  private readonly sums: boolean;
  private capacity = FIRST_CAPACITY;
  private atOf = new Int32Array(FIRST_CAPACITY);
  private bytesOf = new Int32Array(FIRST_CAPACITY);
  private references = new Int32Array(FIRST_CAPACITY);
  private nextFree = new Int32Array(FIRST_CAPACITY);
  private firstFree = NO_BLOCK;
  private unused = NO_BLOCK + 1;

  /** @param sums blocks get a grid of sums */
  constructor(bytes: Bytes, memory: BlockAllocator, sums = false) {
    this.bytes = bytes;
    this.memory = memory;
    this.sums = sums;
  }

  /**
   * Writes a block of ASCII text and a copy of `bodyBytes` bytes from `bodyAt` behind it; the caller holds its first
   * reference. `NO_BLOCK` when memory has run out.
   */
  create(text: string, bodyAt = 0, bodyBytes = 0): number {
    const length = text.length + bodyBytes;
    const at = this.memory.allocate(this.sums ? bytesWithGrid(length) : length);
    if (at === 0) return NO_BLOCK;
    for (let i = 0; i < text.length; i++) setU8(this.bytes, at + i, text.charCodeAt(i));
    if (bodyBytes > 0) this.bytes.copyWithin(at + text.length, bodyAt, bodyAt + bodyBytes);
    if (this.sums) writeGrid(this.bytes, gridBehind(at, length), at, length);
    const block = this.takeIndex();
    this.atOf[block] = at;
    this.bytesOf[block] = length;
    this.references[block] = 1;
    this.built++;
    this.live++;
    return block;
  }

  at(block: number): number {
    return int32At(this.atOf, block);
  }

  length(block: number): number {
    return int32At(this.bytesOf, block);
  }

  /** Where the block's grid of sums lies, 0 for none. */
  grid(block: number): number {
    return this.sums ? gridBehind(this.at(block), this.length(block)) : 0;
  }

  retain(block: number): void {
    this.references[block] = int32At(this.references, block) + 1;
  }

  /** Lets go of one reference. */
  release(block: number): void {
    const left = int32At(this.references, block) - 1;
    this.references[block] = left;
    if (left > 0) return;
    if (left < 0) throw new RangeError(`header block ${block} released once too often`);
    this.memory.free(int32At(this.atOf, block));
    this.nextFree[block] = this.firstFree;
    this.firstFree = block;
    this.live--;
  }

  private takeIndex(): number {
    const block = this.firstFree;
    if (block !== NO_BLOCK) {
      this.firstFree = int32At(this.nextFree, block);
      return block;
    }
    if (this.unused === this.capacity) this.grow();
    return this.unused++;
  }

  private grow(): void {
    this.capacity *= 2;
    this.atOf = doubled(this.atOf);
    this.bytesOf = doubled(this.bytesOf);
    this.references = doubled(this.references);
    this.nextFree = doubled(this.nextFree);
  }
}

function doubled(old: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const longer = new Int32Array(old.length * 2);
  longer.set(old);
  return longer;
}
