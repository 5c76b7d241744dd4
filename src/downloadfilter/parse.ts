/**
 * The textual form of a filter, for people, logs and command lines:
 *
 *     u16[12]=0x0800 && u16[20]&0x1fff=0 && u8[23]=6 && +(u8[14]&0x0f)<<2 && u16[16]=80
 *
 *     filter = atom { "&&" atom }
 *     atom   = load | shift
 *     load   = ( "u8" | "u16" | "u32" ) "[" offset "]" [ "&" mask ] "=" value
 *     shift  = "+(" "u8" "[" offset "]" "&" mask ")" "<<" leftShift
 *
 * Numbers are decimal or 0x-hexadecimal and unsigned; blanks may stand between any two tokens; a load without a mask
 * compares all its bits. `formatFilter` writes masks and values in hexadecimal of the load's width, so that the text of
 * a verified filter reads back as the same filter.
 */
import { type Atom, type Filter, FilterError, type LoadAtom } from './language.ts';
import { verify } from './verify.ts';

/** Longest text that is read; the longest filter written by `formatFilter` is shorter. */
const MAX_TEXT = 8192;

const NUMBER = '(0x[0-9a-f]+|[0-9]+)';
const LOAD = pattern('u(8|16|32)', '\\[', NUMBER, '\\]', `(?:&\\s*${NUMBER}\\s*)?=`, NUMBER);
const SHIFT = pattern('\\+', '\\(', 'u8', '\\[', NUMBER, '\\]', '&', NUMBER, '\\)', '<<', NUMBER);

/** Reads and verifies a filter; throws `FilterError`. */
export function parseFilter(text: string): Filter {
  if (text.length > MAX_TEXT) throw new FilterError(`a filter's text has at most ${MAX_TEXT} characters`);
  return verify(text.split('&&').map(parseAtom));
}

/** The text of a verified filter. */
export function formatFilter(filter: Filter): string {
  return filter.map(formatAtom).join(' && ');
}

function parseAtom(text: string): Atom {
  const load = LOAD.exec(text);
  if (load !== null) {
    const [, width, offset, mask, value] = load;
    const bits = Number(width) as LoadAtom['width'];
    const all = 2 ** bits - 1;
    return {
      kind: 'load',
      width: bits,
      offset: Number(offset),
      mask: mask === undefined ? all : Number(mask),
      value: Number(value),
    };
  }
  const shift = SHIFT.exec(text);
  if (shift !== null) {
    const [, offset, mask, leftShift] = shift;
    return { kind: 'shift', offset: Number(offset), mask: Number(mask), leftShift: Number(leftShift) };
  }
  const shown = text.trim().slice(0, 40);
  throw new FilterError(`cannot read "${shown}": an atom is like u16[12]&0xff00=0x0800 or +(u8[14]&0x0f)<<2`);
}

function formatAtom(atom: Atom): string {
  if (atom.kind === 'shift') return `+(u8[${atom.offset}]&${hex(atom.mask, 8)})<<${atom.leftShift}`;
  const all = atom.width === 32 ? -1 : 2 ** atom.width - 1;
  const mask = atom.mask === all ? '' : `&${hex(atom.mask, atom.width)}`;
  return `u${atom.width}[${atom.offset}]${mask}=${hex(atom.value, atom.width)}`;
}

function hex(value: number, width: number): string {
  return `0x${(value >>> 0).toString(16).padStart(width / 4, '0')}`;
}

function pattern(...tokens: string[]): RegExp {
  return new RegExp(`^\\s*${tokens.join('\\s*')}\\s*$`, 'i');
}
