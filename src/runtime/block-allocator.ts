/**
 * Blocks of any size from one bounded range of the arena, given back in any order.
 *
 * Small blocks come from slabs: a run of pages cut into slots of one size, so that a block of 300 bytes costs 320. Larger
 * ones are runs of whole pages, taken from the tightest free run that fits and joined with their free neighbours when they
 * come back, so that a file of 4.1 MB costs 4.1 MB. When the last slot of a slab comes back its pages do too: a range
 * whose blocks have all been freed is one free run again.
 *
 * Memory: the range belongs to the allocator, a block to whoever allocated it until `free`. All bookkeeping lies outside
 * the range and nothing is allocated per block, so a block's own bytes are never touched here.
 */

import type { Arena } from './arena.ts';
import { int32At, uint8At } from './words.ts';

export const PAGE_BYTES = 4096;
const PAGE_SHIFT = 12;

/** Pages of a slab. */
const SLAB_PAGES = 4;
const SLAB_BYTES = SLAB_PAGES * PAGE_BYTES;

/** Slot sizes of slabs: steps of a quarter of the power of two below, so that at most a fifth of a block is waste. */
const SLOT_BYTES: readonly number[] = [
  64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048,
];
const LARGEST_SLOT_BYTES = 2048;
const MAX_SLOTS = SLAB_BYTES / 64;

/** `SLOT_CLASS[n]` is the class of a block of up to n * 64 bytes. */
const SLOT_CLASS = new Uint8Array(LARGEST_SLOT_BYTES / 64 + 1);
for (let units = 0, slotClass = 0; units < SLOT_CLASS.length; units++) {
  while ((SLOT_BYTES[slotClass] ?? 0) < units * 64) slotClass++;
  SLOT_CLASS[units] = slotClass;
}

/** Free runs shorter than this have a bin for each length; longer ones share bins, four to a doubling. */
const EXACT_BINS = 64;
const BINS = EXACT_BINS + 4 * 16;
/** Runs looked at in a shared bin before the next bin is taken. */
const MAX_BIN_SEARCH = 32;

const PAGE_INNER = 0;
const PAGE_FREE_RUN = 1;
const PAGE_LARGE = 2;
const PAGE_SLAB = 3;

/** A run of pages cut into slots of one size. Records are reused. */
class Slab {
  page = 0;
  slotClass = 0;
  slotBytes = 0;
  slots = 0;
  live = 0;
  /** Slots that have been handed out at least once; those beyond are free and not on the stack. */
  touched = 0;
  freeCount = 0;
  readonly freeStack = new Uint16Array(MAX_SLOTS);
  readonly used = new Uint8Array(MAX_SLOTS);
  /** Neighbours among the slabs of the class that have a free slot. */
  previous: Slab | null = null;
  next: Slab | null = null;
}

export class BlockAllocator {
  /** First byte of the range, page aligned. */
  readonly start: number;
  /** Bytes of the range, whole pages. */
  readonly capacityBytes: number;
  /** Bytes of the blocks in use, each rounded up to its slot or its pages. */
  usedBytes = 0;
  /** Blocks in use. */
  liveBlocks = 0;
  /** Blocks handed out so far. */
  allocations = 0;
  /** Requests refused because nothing that long was free. */
  failures = 0;

  private readonly pages: number;
  private readonly kind: Uint8Array;
  /** At a run's first page, and at a free run's last: its pages. */
  private readonly runPages: Int32Array;
  /** Pages of slabs: index of the slab record. */
  private readonly slabOf: Int32Array;
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  private readonly bins = new Int32Array(BINS).fill(-1);
  private readonly slabs: Slab[] = [];
  private readonly spareSlabs: number[] = [];
  private readonly partial: (Slab | null)[] = SLOT_BYTES.map(() => null);

  /** Carves `bytes` bytes, rounded up to whole pages, from the arena (or from whatever else hands out offsets). */
  constructor(arena: Pick<Arena, 'allocate'>, bytes: number) {
    if (!(bytes > 0)) throw new RangeError(`an allocator over ${bytes} bytes`);
    this.pages = Math.ceil(bytes / PAGE_BYTES);
    this.capacityBytes = this.pages * PAGE_BYTES;
    this.start = Math.ceil(arena.allocate(this.capacityBytes + PAGE_BYTES) / PAGE_BYTES) * PAGE_BYTES;
    this.kind = new Uint8Array(this.pages);
    this.runPages = new Int32Array(this.pages);
    this.slabOf = new Int32Array(this.pages);
    this.next = new Int32Array(this.pages);
    this.previous = new Int32Array(this.pages);
    this.addFreeRun(0, this.pages);
  }

  get freeBytes(): number {
    return this.capacityBytes - this.usedBytes;
  }

  /** The longest block that could be allocated now. */
  get largestFreeBytes(): number {
    for (let bin = BINS - 1; bin >= 0; bin--) {
      let largest = 0;
      for (let page = int32At(this.bins, bin); page >= 0; page = int32At(this.next, page)) {
        largest = Math.max(largest, int32At(this.runPages, page));
      }
      if (largest > 0) return largest * PAGE_BYTES;
    }
    return 0;
  }

  /** Offset of a block of at least `bytes` bytes (cache-line aligned), or 0 when nothing that long is free. */
  allocate(bytes: number): number {
    if (!(bytes > 0)) throw new RangeError(`cannot allocate ${bytes} bytes`);
    const at = bytes <= LARGEST_SLOT_BYTES ? this.allocateSlot(bytes) : this.allocatePages(bytes);
    if (at === 0) this.failures++;
    else {
      this.allocations++;
      this.liveBlocks++;
    }
    return at;
  }

  /** Gives a block back. Throws `RangeError` for an offset that is no block in use. */
  free(at: number): void {
    const page = (at - this.start) >> PAGE_SHIFT;
    if (!(at >= this.start && page < this.pages)) throw new RangeError(`offset ${at} lies outside the range`);
    const kind = uint8At(this.kind, page);
    if (kind === PAGE_SLAB) this.freeSlot(at, page);
    else if (kind === PAGE_LARGE && at === this.start + page * PAGE_BYTES) {
      const pages = int32At(this.runPages, page);
      this.usedBytes -= pages * PAGE_BYTES;
      this.joinFreeRun(page, pages);
    } else throw new RangeError(`offset ${at} is not a block in use`);
    this.liveBlocks--;
  }

  private allocatePages(bytes: number): number {
    const pages = Math.ceil(bytes / PAGE_BYTES);
    const page = this.takeRun(pages);
    if (page < 0) return 0;
    this.kind[page] = PAGE_LARGE;
    this.usedBytes += pages * PAGE_BYTES;
    return this.start + page * PAGE_BYTES;
  }

  private allocateSlot(bytes: number): number {
    const slotClass = uint8At(SLOT_CLASS, (bytes + 63) >> 6);
    const slab = this.partial[slotClass] ?? this.createSlab(slotClass);
    if (slab === null) return 0;
    let slot = slab.touched;
    if (slab.freeCount > 0) slot = slab.freeStack[--slab.freeCount] as number;
    else slab.touched++;
    slab.used[slot] = 1;
    slab.live++;
    if (slab.live === slab.slots) this.unlinkSlab(slab);
    this.usedBytes += slab.slotBytes;
    return this.start + slab.page * PAGE_BYTES + slot * slab.slotBytes;
  }

  private freeSlot(at: number, page: number): void {
    const slab = this.slabs[int32At(this.slabOf, page)] as Slab;
    const offset = at - (this.start + slab.page * PAGE_BYTES);
    const slot = Math.floor(offset / slab.slotBytes);
    if (slot * slab.slotBytes !== offset || slab.used[slot] !== 1) {
      throw new RangeError(`offset ${at} is not a block in use`);
    }
    if (slab.live === slab.slots) this.linkSlab(slab);
    slab.used[slot] = 0;
    slab.freeStack[slab.freeCount++] = slot;
    slab.live--;
    this.usedBytes -= slab.slotBytes;
    if (slab.live === 0) this.destroySlab(slab);
  }

  /** A new slab of a class, listed; null when there are no pages for it. */
  private createSlab(slotClass: number): Slab | null {
    const page = this.takeRun(SLAB_PAGES);
    if (page < 0) return null;
    let index = this.spareSlabs.pop();
    if (index === undefined) {
      index = this.slabs.length;
      this.slabs.push(new Slab());
    }
    const slab = this.slabs[index] as Slab;
    slab.page = page;
    slab.slotClass = slotClass;
    slab.slotBytes = SLOT_BYTES[slotClass] as number;
    slab.slots = Math.floor(SLAB_BYTES / slab.slotBytes);
    slab.live = 0;
    slab.touched = 0;
    slab.freeCount = 0;
    for (let inner = page; inner < page + SLAB_PAGES; inner++) {
      this.kind[inner] = PAGE_SLAB;
      this.slabOf[inner] = index;
    }
    this.linkSlab(slab);
    return slab;
  }

  private destroySlab(slab: Slab): void {
    this.unlinkSlab(slab);
    for (let page = slab.page; page < slab.page + SLAB_PAGES; page++) this.kind[page] = PAGE_INNER;
    this.spareSlabs.push(int32At(this.slabOf, slab.page));
    this.joinFreeRun(slab.page, SLAB_PAGES);
  }

  private linkSlab(slab: Slab): void {
    const first = this.partial[slab.slotClass] ?? null;
    slab.previous = null;
    slab.next = first;
    if (first !== null) first.previous = slab;
    this.partial[slab.slotClass] = slab;
  }

  private unlinkSlab(slab: Slab): void {
    if (slab.previous === null) this.partial[slab.slotClass] = slab.next;
    else slab.previous.next = slab.next;
    if (slab.next !== null) slab.next.previous = slab.previous;
    slab.previous = null;
    slab.next = null;
  }

  /** Cuts `pages` pages from a free run; -1 when none is long enough. */
  private takeRun(pages: number): number {
    const page = this.findRun(pages);
    if (page < 0) return -1;
    const found = int32At(this.runPages, page);
    this.removeFreeRun(page);
    if (found > pages) this.addFreeRun(page + pages, found - pages);
    this.kind[page] = PAGE_INNER;
    this.runPages[page] = pages;
    return page;
  }

  /** The tightest run of the first bins that have one that fits. */
  private findRun(pages: number): number {
    for (let bin = binOf(pages); bin < BINS; bin++) {
      let best = -1;
      let looked = 0;
      for (let page = int32At(this.bins, bin); page >= 0; page = int32At(this.next, page)) {
        const length = int32At(this.runPages, page);
        if (length >= pages && (best < 0 || length < int32At(this.runPages, best))) best = page;
        // A bin above the first holds only runs that fit: any of them will do after a fair look. In the first one the
        // search goes on until one fits, or a request could fail beside a run that is long enough.
        if (++looked >= MAX_BIN_SEARCH && best >= 0) break;
      }
      if (best >= 0) return best;
    }
    return -1;
  }

  /** Makes a run free and joins it with the free runs on both sides. */
  private joinFreeRun(page: number, pages: number): void {
    let first = page;
    let length = pages;
    const after = page + pages;
    this.kind[page] = PAGE_INNER;
    if (after < this.pages && uint8At(this.kind, after) === PAGE_FREE_RUN) {
      length += int32At(this.runPages, after);
      this.removeFreeRun(after);
    }
    if (page > 0 && uint8At(this.kind, page - 1) === PAGE_FREE_RUN) {
      const before = int32At(this.runPages, page - 1);
      first -= before;
      length += before;
      this.removeFreeRun(first);
    }
    this.addFreeRun(first, length);
  }

  private addFreeRun(page: number, pages: number): void {
    const last = page + pages - 1;
    this.kind[page] = PAGE_FREE_RUN;
    this.kind[last] = PAGE_FREE_RUN;
    this.runPages[page] = pages;
    this.runPages[last] = pages;
    const bin = binOf(pages);
    const first = int32At(this.bins, bin);
    this.next[page] = first;
    this.previous[page] = -1;
    if (first >= 0) this.previous[first] = page;
    this.bins[bin] = page;
  }

  private removeFreeRun(page: number): void {
    const pages = int32At(this.runPages, page);
    const before = int32At(this.previous, page);
    const after = int32At(this.next, page);
    if (before < 0) this.bins[binOf(pages)] = after;
    else this.next[before] = after;
    if (after >= 0) this.previous[after] = before;
    this.kind[page] = PAGE_INNER;
    this.kind[page + pages - 1] = PAGE_INNER;
  }
}

/** The bin of a run: its length, or two bits below the highest one. */
function binOf(pages: number): number {
  if (pages < EXACT_BINS) return pages;
  const log = 31 - Math.clz32(pages);
  return EXACT_BINS + 4 * (log - 6) + ((pages >>> (log - 2)) & 3);
}
