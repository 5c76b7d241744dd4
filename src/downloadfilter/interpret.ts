/**
 * The reference meaning of one filter: what the generated code must compute, written to be read.
 */
import { type Bytes, i32, u8, u16 } from '../wire/bytes.ts';
import type { Filter, LoadAtom } from './language.ts';

/** Whether the frame of `length` bytes at `at` satisfies a verified filter. */
export function interpret(filter: Filter, bytes: Bytes, at: number, length: number): boolean {
  let base = 0;
  for (const atom of filter) {
    const from = base + atom.offset;
    if (atom.kind === 'shift') {
      if (from + 1 > length) return false;
      base += (u8(bytes, at + from) & atom.mask) << atom.leftShift;
    } else {
      if (from + atom.width / 8 > length) return false;
      if ((load(atom, bytes, at + from) & atom.mask) !== atom.value) return false;
    }
  }
  return true;
}

function load(atom: LoadAtom, bytes: Bytes, at: number): number {
  if (atom.width === 8) return u8(bytes, at);
  if (atom.width === 16) return u16(bytes, at);
  return i32(bytes, at);
}
