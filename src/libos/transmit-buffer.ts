/**
 * A ring of arena bytes for what the library OS itself transmits and nobody else owns (echo replies, released ARP
 * frames): a block is written once, handed to the transmit queue as a region and comes back when the device has
 * completed the frames that were queued by then. Frames complete in order, so blocks come back in order.
 *
 * Memory: one block of the arena, owned for the arena's life.
 */
import type { TransmitQueue } from '../exokernel/transmit-queue.ts';
import type { Arena } from '../runtime/arena.ts';
import { float64At, int32At } from '../wire/bytes.ts';

export class TransmitBuffer {
  private readonly queue: TransmitQueue;
  private readonly start: number;
  private readonly capacityBytes: number;
  private readonly maxBlocks: number;
  /** Offset in the ring behind block i's end. */
  private readonly ends: Int32Array;
  /** Frames that must be completed before block i is free. */
  private readonly releaseAt: Float64Array;
  private firstBlock = 0;
  private blocks = 0;
  /** Where the oldest block in use starts, and where the next one goes. */
  private tail = 0;
  private head = 0;
  private pendingEnd = -1;

  constructor(arena: Arena, queue: TransmitQueue, capacityBytes: number, maxBlocks: number) {
    this.queue = queue;
    this.start = arena.allocate(capacityBytes);
    this.capacityBytes = capacityBytes;
    this.maxBlocks = maxBlocks;
    this.ends = new Int32Array(maxBlocks);
    this.releaseAt = new Float64Array(maxBlocks);
  }

  /** Blocks that the device may still read. */
  get blocksInUse(): number {
    this.reclaim();
    return this.blocks;
  }

  /** A free block of so many bytes, or 0; the same again until `commit`. */
  allocate(lengthBytes: number): number {
    this.reclaim();
    if (this.blocks === this.maxBlocks) return 0;
    let from = this.head;
    if (this.blocks === 0 || this.head > this.tail) {
      if (this.capacityBytes - from < lengthBytes) from = 0;
      if (from !== this.head && this.blocks > 0 && this.tail < lengthBytes) return 0;
      if (this.capacityBytes - from < lengthBytes) return 0;
    } else if (this.tail - from < lengthBytes) {
      return 0;
    }
    this.pendingEnd = from + lengthBytes;
    return this.start + from;
  }

  /** Keeps the block last allocated until everything that is in the transmit queue now has been completed. */
  commit(): void {
    if (this.pendingEnd < 0) throw new RangeError('commit without allocate');
    const block = (this.firstBlock + this.blocks) % this.maxBlocks;
    this.ends[block] = this.pendingEnd;
    this.releaseAt[block] = this.queue.enqueued;
    this.head = this.pendingEnd;
    this.pendingEnd = -1;
    this.blocks++;
  }

  private reclaim(): void {
    const completed = this.queue.completed;
    while (this.blocks > 0 && float64At(this.releaseAt, this.firstBlock) <= completed) {
      this.tail = int32At(this.ends, this.firstBlock);
      this.firstBlock = (this.firstBlock + 1) % this.maxBlocks;
      this.blocks--;
    }
    if (this.blocks === 0) {
      this.tail = 0;
      this.head = 0;
    }
  }
}
