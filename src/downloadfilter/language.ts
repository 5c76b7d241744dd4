/**
 * The filter language: what an application downloads to say which frames are its own.
 * After DPF (Engler, Kaashoek: "DPF: Fast, Flexible Message Demultiplexing using Dynamic Code Generation", SIGCOMM '96).
 *
 * A filter is a conjunction of atoms read from left to right over one frame. A base register starts at the frame's first
 * byte (the Ethernet header).
 *
 * - A load atom reads 8, 16 or 32 bits, big-endian, at base + offset, and holds when `(loaded & mask) === value`.
 * - A shift atom adds `(byte at base + offset & mask) << leftShift` to the base, so that what follows a header of variable
 *   length can be named; the atoms after it are relative to the new base.
 *
 * An atom that reads beyond the frame makes the filter false, whatever its mask. A filter is plain data and declares all
 * it depends on: that is what lets the kernel verify it, compare it with others and compile it.
 */

export interface LoadAtom {
  readonly kind: 'load';
  readonly width: 8 | 16 | 32;
  /** Bytes from the base. */
  readonly offset: number;
  /** Which bits are compared; of 32 bits: either sign is understood, the verified form is signed. */
  readonly mask: number;
  readonly value: number;
}

export interface ShiftAtom {
  readonly kind: 'shift';
  /** Bytes from the base to the byte that holds the length field. */
  readonly offset: number;
  readonly mask: number;
  readonly leftShift: number;
}

export type Atom = LoadAtom | ShiftAtom;

/** A conjunction of atoms. */
export type Filter = readonly Atom[];

/** Longest filter. */
export const MAX_ATOMS = 64;
/** Most shift atoms in a filter. */
export const MAX_SHIFTS = 4;
/** No atom reads a byte at this distance from its base, or further. */
export const MAX_REACH_BYTES = 2048;
/** Largest left shift of a length field. */
export const MAX_LEFT_SHIFT = 7;

/** A filter was refused; the message is one sentence that says why. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
}

export function load8(offset: number, value: number, mask = 0xff): LoadAtom {
  return { kind: 'load', width: 8, offset, mask, value };
}

export function load16(offset: number, value: number, mask = 0xffff): LoadAtom {
  return { kind: 'load', width: 16, offset, mask, value };
}

/** `value` and `mask` signed or unsigned. */
export function load32(offset: number, value: number, mask = -1): LoadAtom {
  return { kind: 'load', width: 32, offset, mask: mask | 0, value: value | 0 };
}

export function shiftBase(offset: number, mask: number, leftShift: number): ShiftAtom {
  return { kind: 'shift', offset, mask, leftShift };
}
