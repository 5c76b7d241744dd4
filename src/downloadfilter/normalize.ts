/**
 * The normal form of a filter: which bits it requires, and where. Two filters are compared, merged and compiled in this
 * form only.
 *
 * A *context* is all that is read with one value of the base register; a shift atom opens the next context. In a context
 * the atoms are joined into words of four bytes, each with one mask and one value. The words lie on a fixed grid, at
 * offsets that are 2 modulo 4: behind an Ethernet header of 14 bytes that is where the words of IP and ARP lie. A fixed
 * grid makes the form unique, however the atoms were cut and ordered, and lets different filters share their loads.
 *
 * A shift whose field the filter itself fixes (`u8[14]=0x45` before `+(u8[14]&0x0f)<<2`) is a constant: it is *resolved*,
 * and the atoms after it move into the current context at constant offsets. A shift that is left opens a context whose
 * base is only known frame by frame.
 *
 * A filter that requires both values of one bit is refused.
 */
import { type Filter, FilterError } from './language.ts';

/** A length field that the next context's base depends on; `offset` is from the base of the context that it is in. */
export interface Shift {
  readonly offset: number;
  readonly mask: number;
  readonly leftShift: number;
}

/** Required bits of the four bytes at `offset` (may be -2, for the frame's first two bytes); mask and value are signed. */
export interface Word {
  readonly offset: number;
  mask: number;
  value: number;
}

/** The contexts of a filter, first to last; every one but the last ends in a shift. */
export type NormalFilter = readonly Context[];

const GRID_PHASE = 2;

/** Where the grid word that holds a byte begins. */
function wordOffset(offset: number): number {
  return ((offset + GRID_PHASE) & ~3) - GRID_PHASE;
}

/** Left shift of a byte within its grid word. */
function byteShift(offset: number): number {
  return 24 - 8 * ((offset + GRID_PHASE) & 3);
}

/** What is required of the bytes relative to one base. */
export class Context {
  /** In ascending order of offset. */
  readonly words: Word[] = [];
  /** Bytes from the base that the frame must have. */
  reachBytes = 0;
  /** What leads to the next context. */
  shift: Shift | null = null;

  /** The word on the grid at `offset`, if any of its bits is required. */
  int32At(offset: number): Word | undefined {
    for (const word of this.words) if (word.offset === offset) return word;
    return undefined;
  }

  /** Which bits of a byte are required. */
  maskOfByte(offset: number): number {
    const word = this.int32At(wordOffset(offset));
    return word === undefined ? 0 : (word.mask >>> byteShift(offset)) & 0xff;
  }

  /** The required bits of a byte; the others are zero. */
  valueOfByte(offset: number): number {
    const word = this.int32At(wordOffset(offset));
    return word === undefined ? 0 : (word.value >>> byteShift(offset)) & 0xff;
  }

  requireReach(bytes: number): void {
    if (bytes > this.reachBytes) this.reachBytes = bytes;
  }

  /** Adds required bits of one byte; false when a bit of it was required to be otherwise. */
  requireByte(offset: number, mask: number, value: number): boolean {
    if (mask === 0) return true;
    const word = this.makeWord(wordOffset(offset));
    const shift = byteShift(offset);
    if ((word.mask & (mask << shift) & (word.value ^ (value << shift))) !== 0) return false;
    word.mask |= mask << shift;
    word.value |= value << shift;
    return true;
  }

  /** Adds all bits that another context requires, seen from a base `displacement` bytes before its own; false when they contradict. */
  requireContext(other: Context, displacement: number): boolean {
    for (const word of other.words) {
      for (let offset = word.offset; offset < word.offset + 4; offset++) {
        const shift = byteShift(offset);
        const mask = (word.mask >>> shift) & 0xff;
        if (!this.requireByte(offset + displacement, mask, (word.value >>> shift) & 0xff)) return false;
      }
    }
    return true;
  }

  /** How far a shift moves the base if the bits required here fix its field, else -1. */
  resolve(shift: Shift, displacement: number): number {
    const offset = shift.offset + displacement;
    if ((shift.mask & ~this.maskOfByte(offset)) !== 0) return -1;
    return (this.valueOfByte(offset) & shift.mask) << shift.leftShift;
  }

  private makeWord(offset: number): Word {
    let index = 0;
    for (const word of this.words) {
      if (word.offset === offset) return word;
      if (word.offset > offset) break;
      index++;
    }
    const word: Word = { offset, mask: 0, value: 0 };
    this.words.splice(index, 0, word);
    return word;
  }
}

/** The normal form of a verified filter; throws `FilterError` if no frame can satisfy it. */
export function normalize(filter: Filter): NormalFilter {
  let context = new Context();
  const contexts = [context];
  let displacement = 0;
  for (const atom of filter) {
    const from = atom.offset + displacement;
    if (atom.kind === 'shift') {
      context.requireReach(from + 1);
      const moved = context.resolve(atom, displacement);
      if (moved >= 0) {
        displacement += moved;
        continue;
      }
      context.shift = { offset: from, mask: atom.mask, leftShift: atom.leftShift };
      context = new Context();
      contexts.push(context);
      continue;
    }
    const bytes = atom.width / 8;
    context.requireReach(from + bytes);
    for (let index = 0; index < bytes; index++) {
      const shift = 8 * (bytes - 1 - index);
      if (!context.requireByte(from + index, (atom.mask >>> shift) & 0xff, (atom.value >>> shift) & 0xff)) {
        throw new FilterError(`no frame can satisfy the filter: it requires two values of byte ${atom.offset + index}`);
      }
    }
  }
  return contexts;
}
