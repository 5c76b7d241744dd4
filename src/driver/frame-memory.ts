/**
 * What the drivers over real descriptors share about frames in memory: how large a receive slot must be, and gather
 * lists as the kernel wants them.
 *
 * An iovec is an absolute address and a length, 64 bits each. The arena starts at a multiple of 4 GiB, so that the high
 * words of both are constants, written once here; a frame costs two 32-bit stores a piece.
 *
 * Memory: `IovecLists` owns one block of the arena; the pieces it points at are lent by whoever transmits.
 */
import type { Arena } from '../runtime/arena.ts';
import { int32At } from '../runtime/words.ts';
import type { Bytes } from '../wire/bytes.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { VNET_BYTES, VNET_GSO_NONE, VNET_NEEDS_CSUM, vnetFlags, vnetGsoType } from '../wire/virtio-net.ts';
import { FRAME_OFFSET_BYTES, MAX_REGIONS } from './device.ts';

/** The longest IPv4 packet, which bounds super-frames in both directions. */
export const LONGEST_PACKET_BYTES = 65535;
export const LONGEST_FRAME_BYTES = ETHERNET_BYTES + LONGEST_PACKET_BYTES;

/** Two VLAN tags, should the kernel leave them in, and one byte more that tells a truncated frame from a full slot. */
const SPARE_BYTES = 9;
const LINE_BYTES = 64;

/** Slot size for frames of up to `frameBytes`. */
export function slotBytesFor(frameBytes: number): number {
  return oddLines(FRAME_OFFSET_BYTES + frameBytes + SPARE_BYTES);
}

/**
 * Rounds up to an odd number of cache lines, because headers a power of two apart would all compete for the same few sets
 * of the cache.
 */
export function oddLines(bytes: number): number {
  return (Math.ceil(bytes / LINE_BYTES) | 1) * LINE_BYTES;
}

/** Room in a slot from the virtio header on. */
export function roomFromVnet(slotBytes: number): number {
  return slotBytes - FRAME_OFFSET_BYTES + VNET_BYTES;
}

/** Does the frame leave work to the other side? */
export function asksForOffload(bytes: Bytes, at: number): boolean {
  return (vnetFlags(bytes, at) & VNET_NEEDS_CSUM) !== 0 || vnetGsoType(bytes, at) !== VNET_GSO_NONE;
}

/** Bytes of the frame whose transmit descriptor starts at `word`. */
export function gatheredBytes(words: Int32Array, word: number): number {
  return int32At(words, word + 1) + int32At(words, word + 3) + int32At(words, word + 5) + int32At(words, word + 7);
}

const IOVEC_BYTES = 16;
const IOVEC_WORDS = IOVEC_BYTES / 4;
/** Pieces of a frame: the header and its regions. */
export const PIECES = 1 + MAX_REGIONS;

/** A table of iovec arrays in the arena, `pieces` iovecs each. */
export class IovecLists {
  private readonly words: Uint32Array;
  private readonly at: number;
  private readonly pieces: number;
  private readonly base: number;

  constructor(arena: Arena, lists: number, pieces: number) {
    this.words = arena.words;
    this.pieces = pieces;
    this.base = arena.base;
    this.at = arena.allocate(lists * pieces * IOVEC_BYTES);
    for (let i = 0; i < lists * pieces; i++) {
      this.words[(this.at >>> 2) + i * IOVEC_WORDS + 1] = arena.addressHigh;
      this.words[(this.at >>> 2) + i * IOVEC_WORDS + 3] = 0;
    }
  }

  /** Arena offset of a list. */
  offset(list: number): number {
    return this.at + list * this.pieces * IOVEC_BYTES;
  }

  /** Absolute address of a list. */
  address(list: number): number {
    return this.base + this.offset(list);
  }

  /** Makes a list of the one piece at arena offset `at`. */
  putPiece(list: number, at: number, bytes: number): void {
    const w = this.offset(list) >>> 2;
    this.words[w] = at;
    this.words[w + 2] = bytes;
  }

  /** Makes a list of the frame whose transmit descriptor starts at `word`, virtio header first; returns its pieces. */
  putFrame(list: number, descriptors: Int32Array, word: number): number {
    const words = this.words;
    let w = this.offset(list) >>> 2;
    words[w] = int32At(descriptors, word) - VNET_BYTES;
    words[w + 2] = int32At(descriptors, word + 1) + VNET_BYTES;
    let pieces = 1;
    for (let region = word + 2; region < word + 2 * PIECES; region += 2) {
      const bytes = int32At(descriptors, region + 1);
      if (bytes === 0) continue;
      w += IOVEC_WORDS;
      words[w] = int32At(descriptors, region);
      words[w + 2] = bytes;
      pieces++;
    }
    return pieces;
  }
}
