/**
 * The memory that sent bytes lie in until the peer has acknowledged them: one bounded pool for all sockets of a host.
 *
 * Memory: a piece belongs to the connection it was queued on until its region is released; then it goes back here.
 */
import type { Arena } from '../../runtime/arena.ts';
import { BlockAllocator } from '../../runtime/block-allocator.ts';
import type { Bytes } from '../../wire/bytes.ts';

/** The longest piece: what is acknowledged goes back in steps of this. */
export const PIECE_BYTES = 16 * 1024;

export class SendMemory {
  private readonly bytes: Bytes;
  private readonly blocks: BlockAllocator;

  constructor(arena: Arena, poolBytes: number) {
    this.bytes = arena.bytes;
    this.blocks = new BlockAllocator(arena, poolBytes);
  }

  get usedBytes(): number {
    return this.blocks.usedBytes;
  }

  /** Requests refused because the pool was used up. */
  get failures(): number {
    return this.blocks.failures;
  }

  /** Copies `length` bytes of `data` from `from` on; where they lie, or 0 when there is no room. */
  copy(data: Uint8Array, from: number, length: number): number {
    const at = this.blocks.allocate(length);
    if (at !== 0) this.bytes.set(data.subarray(from, from + length), at);
    return at;
  }

  free(at: number): void {
    this.blocks.free(at);
  }
}
