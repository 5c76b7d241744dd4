/**
 * The memory arena: one reserved address range seen through one view and addressed by offsets (design, "The data path").
 * Receive slots, transmit header slots and application regions are all carved from it, so that one kind of offset serves
 * every layer and the kernel can be handed any of it.
 *
 * The range starts at a multiple of 4 GiB: an absolute address is then the constant high word `addressHigh` and the
 * offset as low word, and an iovec is written as two stores. It is at most 2 GiB long, because offsets below 2^31 are
 * small integers in the engine and larger ones would be allocated each time they are stored.
 *
 * Memory: the arena owns the mapping until `close()`; blocks belong to whoever allocated them. Offset 0 is never given
 * out and stands for "none".
 */
import {
  errno,
  errnoName,
  isMapFailed,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  mmap,
  munmap,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  viewMemory,
} from './syscalls.ts';

const GIB = 2 ** 30;
const FOUR_GIB = 4 * GIB;
const PAGE_BYTES = 4096;

/** The longest arena: two gibibytes less one page. */
export const ARENA_LIMIT_BYTES = 2 * GIB - PAGE_BYTES;

/** Blocks start at a cache line. */
const ALIGN_BYTES = 64;

export class Arena {
  /** The whole range as bytes; `bytes[offset]` for any offset handed out. */
  readonly bytes: Uint8Array;
  /** The whole range as little-endian words; `words[offset >>> 2]`. */
  readonly words: Uint32Array;
  /** Absolute address of offset 0. */
  readonly base: number;
  /** High word of every absolute address in the arena. */
  readonly addressHigh: number;
  private readonly lengthBytes: number;
  private top = PAGE_BYTES;
  private closed = false;

  /** Reserves `lengthBytes` of address space; pages are backed by memory when first touched. */
  constructor(lengthBytes: number) {
    if (!Number.isInteger(lengthBytes) || lengthBytes < PAGE_BYTES || lengthBytes > ARENA_LIMIT_BYTES) {
      throw new RangeError(`arena of ${lengthBytes} bytes: must be ${PAGE_BYTES} to ${ARENA_LIMIT_BYTES}`);
    }
    this.lengthBytes = Math.ceil(lengthBytes / PAGE_BYTES) * PAGE_BYTES;
    this.base = reserveAligned(this.lengthBytes);
    this.addressHigh = this.base / 2 ** 32;
    const memory = viewMemory(this.base, this.lengthBytes);
    this.bytes = new Uint8Array(memory);
    this.words = new Uint32Array(memory);
  }

  /** Bytes handed out so far. */
  get usedBytes(): number {
    return this.top;
  }

  /** Bytes that can still be handed out. */
  get freeBytes(): number {
    return this.lengthBytes - this.top;
  }

  /**
   * Carves a block that lives as long as the arena (zero-filled, cache-line aligned).
   * Throws `RangeError` when the arena is exhausted: sizes are fixed at start-up, never by a peer.
   */
  allocate(bytes: number): number {
    const at = this.top;
    const next = Math.ceil((at + bytes) / ALIGN_BYTES) * ALIGN_BYTES;
    if (next > this.lengthBytes) {
      throw new RangeError(`arena exhausted: ${bytes} bytes asked, ${this.lengthBytes - at} left`);
    }
    this.top = next;
    return at;
  }

  /**
   * Carves a block of whole pages and maps what a descriptor offers into it, shared; the block's offset, or 0 when the kernel
   * refuses, and errno says why. Throws `RangeError` as `allocate` does.
   */
  map(fd: number, bytes: number): number {
    const block = this.allocate(bytes + PAGE_BYTES);
    const at = Math.ceil(block / PAGE_BYTES) * PAGE_BYTES;
    const mapped = mmap(this.base + at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    return isMapFailed(mapped) ? 0 : at;
  }

  /** Puts ordinary memory in the place of what `map` has mapped. */
  unmap(at: number, bytes: number): void {
    if (!this.closed) mapMemory(this.base + at, bytes);
  }

  /** Absolute address of an offset, for a system call's argument. */
  address(offset: number): number {
    return this.base + offset;
  }

  /** Unmaps the range; every view of it is dead from here on and must not be touched. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    munmap(this.base, this.lengthBytes);
  }
}

function reserveAligned(lengthBytes: number): number {
  const reserved = FOUR_GIB + lengthBytes;
  const start = mmap(0, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (isMapFailed(start)) throw new Error(`cannot reserve ${reserved} bytes of address space: ${errnoName(errno())}`);
  const base = Math.ceil(start / FOUR_GIB) * FOUR_GIB;
  if (base > start) munmap(start, base - start);
  const end = start + reserved;
  if (end > base + lengthBytes) munmap(base + lengthBytes, end - base - lengthBytes);
  mapMemory(base, lengthBytes);
  return base;
}

function mapMemory(address: number, lengthBytes: number): void {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  const mapped = mmap(address, lengthBytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (isMapFailed(mapped)) throw new Error(`cannot map the arena: ${errnoName(errno())}`);
}
