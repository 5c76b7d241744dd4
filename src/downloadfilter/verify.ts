/**
 * The verifier: nothing that an application downloads goes further into the kernel before it has passed here.
 *
 * It takes any value at all (a filter may come from another program) and returns a frozen copy made of checked numbers
 * only; the rest of downloadfilter, the code generator above all, works on that copy and never on the original.
 */
import {
  type Atom,
  type Filter,
  FilterError,
  type LoadAtom,
  MAX_ATOMS,
  MAX_LEFT_SHIFT,
  MAX_REACH_BYTES,
  MAX_SHIFTS,
  type ShiftAtom,
} from './language.ts';

/** Returns the filter as a frozen copy with signed 32-bit masks and values; throws `FilterError` with one sentence. */
export function verify(filter: unknown): Filter {
  if (!Array.isArray(filter)) throw new FilterError('a filter is an array of atoms');
  const count = filter.length;
  if (count === 0) throw new FilterError('a filter without atoms would claim every frame');
  if (count > MAX_ATOMS) throw new FilterError(`a filter has at most ${MAX_ATOMS} atoms, this one has ${count}`);
  const atoms: Atom[] = [];
  let shifts = 0;
  for (let index = 0; index < count; index++) {
    const atom = verifyAtom(filter[index], `atom ${index + 1}`);
    if (atom.kind === 'shift' && ++shifts > MAX_SHIFTS) {
      throw new FilterError(`a filter has at most ${MAX_SHIFTS} shift atoms`);
    }
    atoms.push(atom);
  }
  if (atoms[count - 1]?.kind === 'shift') {
    throw new FilterError(`atom ${count} shifts the base, but no load follows it`);
  }
  return Object.freeze(atoms);
}

function verifyAtom(atom: unknown, name: string): Atom {
  if (typeof atom !== 'object' || atom === null) throw new FilterError(`${name} is not an object`);
  // Each property is read exactly once: an accessor cannot show the checks one number and the compiler another.
  const { kind, width, offset, mask, value, leftShift } = atom as Record<string, unknown>;
  if (kind === 'load') return verifyLoad(name, width, offset, mask, value);
  if (kind === 'shift') return verifyShift(name, offset, mask, leftShift);
  throw new FilterError(`${name} is of no known kind: an atom is a load or a shift`);
}

function verifyLoad(name: string, width: unknown, offset: unknown, mask: unknown, value: unknown): LoadAtom {
  if (width !== 8 && width !== 16 && width !== 32) {
    throw new FilterError(`${name} has no valid width: a load is 8, 16 or 32 bits wide`);
  }
  const place = verifyOffset(name, offset, width / 8);
  const maskBits = verifyBits(name, 'mask', mask, width);
  const valueBits = verifyBits(name, 'value', value, width);
  if (maskBits === 0) throw new FilterError(`${name} has mask 0 and compares nothing`);
  if ((valueBits & ~maskBits) !== 0) {
    throw new FilterError(`${name} can never hold: its value has bits outside its mask`);
  }
  return Object.freeze({ kind: 'load', width, offset: place, mask: maskBits, value: valueBits });
}

function verifyShift(name: string, offset: unknown, mask: unknown, leftShift: unknown): ShiftAtom {
  const place = verifyOffset(name, offset, 1);
  const maskBits = verifyBits(name, 'mask', mask, 8);
  if (maskBits === 0) throw new FilterError(`${name} has mask 0 and shifts by nothing`);
  if (!isInteger(leftShift, 0, MAX_LEFT_SHIFT)) {
    throw new FilterError(`${name} has no valid left shift: it is an integer from 0 to ${MAX_LEFT_SHIFT}`);
  }
  return Object.freeze({ kind: 'shift', offset: place, mask: maskBits, leftShift });
}

function verifyOffset(name: string, offset: unknown, bytes: number): number {
  const limit = MAX_REACH_BYTES - bytes;
  if (!isInteger(offset, 0, limit)) {
    throw new FilterError(`${name} has no valid offset: for ${bytes} byte(s) it is an integer from 0 to ${limit}`);
  }
  return offset;
}

/** Bits of a load, signed when there are 32 of them. */
function verifyBits(name: string, what: string, bits: unknown, width: 8 | 16 | 32): number {
  const low = width === 32 ? -(2 ** 31) : 0;
  if (!isInteger(bits, low, 2 ** width - 1)) {
    throw new FilterError(`${name} has a ${what} that does not fit in ${width} bits`);
  }
  return bits | 0;
}

function isInteger(value: unknown, low: number, high: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high;
}
