import test from 'ava';
import {
  FilterError,
  load8,
  load16,
  load32,
  MAX_ATOMS,
  MAX_REACH_BYTES,
  MAX_SHIFTS,
  shiftBase,
} from '../../src/downloadfilter/language.ts';
import { verify } from '../../src/downloadfilter/verify.ts';

const load = { kind: 'load', width: 16, offset: 12, mask: 0xffff, value: 0x0800 };
const shift = { kind: 'shift', offset: 14, mask: 0x0f, leftShift: 2 };

const refusals: [name: string, filter: unknown, message: RegExp][] = [
  ['no array', { atoms: [] }, /^a filter is an array of atoms$/],
  ['text', 'u8[0]=1', /^a filter is an array of atoms$/],
  ['nothing', [], /without atoms would claim every frame/],
  ['too many atoms', new Array(MAX_ATOMS + 1).fill(load), /at most 64 atoms, this one has 65/],
  ['too many shifts', [...new Array(MAX_SHIFTS + 1).fill(shift), load], /at most 4 shift atoms/],
  ['a hole', new Array(2), /^atom 1 is not an object$/],
  ['a null atom', [load, null], /^atom 2 is not an object$/],
  ['an unknown kind', [{ ...load, kind: 'store' }], /atom 1 is of no known kind/],
  ['a width of 12', [{ ...load, width: 12 }], /8, 16 or 32 bits wide/],
  ['a width as text', [{ ...load, width: '16' }], /8, 16 or 32 bits wide/],
  ['a negative offset', [{ ...load, offset: -1 }], /no valid offset: for 2 byte\(s\) it is an integer from 0 to 2046/],
  ['an offset too far', [{ ...load, offset: MAX_REACH_BYTES - 1 }], /no valid offset/],
  ['a fractional offset', [{ ...load, offset: 0.5 }], /no valid offset/],
  ['an offset NaN', [{ ...load, offset: Number.NaN }], /no valid offset/],
  ['an offset with code in it', [{ ...load, offset: '0]; process.exit(); bytes[0' }], /no valid offset/],
  ['an object that turns into a number', [{ ...load, offset: { valueOf: () => 3 } }], /no valid offset/],
  ['a mask of 0', [{ ...load, mask: 0, value: 0 }], /mask 0 and compares nothing/],
  ['a mask too wide', [{ ...load, mask: 0x10000 }], /mask that does not fit in 16 bits/],
  ['a negative narrow mask', [{ ...load, mask: -1 }], /mask that does not fit in 16 bits/],
  ['a value too wide', [{ ...load, value: 0x10800 }], /value that does not fit in 16 bits/],
  ['a value beyond 32 bits', [{ ...load, width: 32, mask: -1, value: 2 ** 32 }], /value that does not fit in 32 bits/],
  ['a missing value', [{ kind: 'load', width: 8, offset: 0, mask: 255 }], /value that does not fit in 8 bits/],
  ['a value outside the mask', [{ ...load, mask: 0xff00, value: 0x0801 }], /can never hold: .* outside its mask/],
  ['a shift too far left', [{ ...shift, leftShift: 8 }, load], /no valid left shift: it is an integer from 0 to 7/],
  ['a shift by mask 0', [{ ...shift, mask: 0 }, load], /mask 0 and shifts by nothing/],
  ['a shift of a word', [{ ...shift, mask: 0x1ff }, load], /mask that does not fit in 8 bits/],
  ['a shift at the end', [load, shift], /^atom 2 shifts the base, but no load follows it$/],
];

for (const [name, filter, message] of refusals) {
  test(`verifier refuses ${name}`, (t) => {
    const error = t.throws(() => verify(filter), { instanceOf: FilterError });
    t.regex(error.message, message);
    t.false(error.message.includes('\n'));
  });
}

test('verifier returns a frozen copy that the application cannot change afterwards', (t) => {
  const mine = { ...load };
  const list = [mine];
  const verified = verify(list);
  mine.offset = 99;
  list.push(mine);
  t.deepEqual(verified, [load16(12, 0x0800)]);
  t.true(Object.isFrozen(verified) && Object.isFrozen(verified[0]));
});

test('verifier reads an accessor once', (t) => {
  let reads = 0;
  const atom = {
    ...load,
    get offset() {
      return reads++ === 0 ? 12 : 1e9;
    },
  };
  t.deepEqual(verify([atom]), [load16(12, 0x0800)]);
});

test('verifier takes limits, and 32-bit numbers of either sign as signed ones', (t) => {
  t.notThrows(() => verify([load8(MAX_REACH_BYTES - 1, 1), shiftBase(MAX_REACH_BYTES - 1, 0xff, 7), load32(2044, 5)]));
  const unsigned = { kind: 'load', width: 32, offset: 0, mask: 0xffffff00, value: 0xc0a80100 };
  t.deepEqual(verify([unsigned]), [load32(0, 0xc0a80100 | 0, 0xffffff00 | 0)]);
});
