import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { FilterError, load8, load16, load32, shiftBase } from '../../src/downloadfilter/language.ts';
import { formatFilter, parseFilter } from '../../src/downloadfilter/parse.ts';
import { verify } from '../../src/downloadfilter/verify.ts';
import { tinyFilter, wireFilter } from './support.ts';

test('a filter is written as in the documentation', (t) => {
  const filter = verify([
    load16(12, 0x0800),
    load16(20, 0, 0x1fff),
    load32(30, 0xc0a80001),
    shiftBase(14, 0x0f, 2),
    load8(17, 80),
  ]);
  t.is(
    formatFilter(filter),
    'u16[12]=0x0800 && u16[20]&0x1fff=0x0000 && u32[30]=0xc0a80001 && +(u8[14]&0x0f)<<2 && u8[17]=0x50',
  );
});

test('blanks, decimal numbers and capitals are read', (t) => {
  t.deepEqual(parseFilter(' U16 [ 12 ] & 0xFF00 = 2048&& + ( u8[14] & 15 ) << 2&&u8[17]=80 '), [
    load16(12, 0x0800, 0xff00),
    shiftBase(14, 15, 2),
    load8(17, 80),
  ]);
});

test('what is written reads back as the same filter', (t) => {
  fc.assert(
    fc.property(fc.oneof(tinyFilter, wireFilter), (filter) => {
      const verified = verify(filter);
      assert.deepEqual(parseFilter(formatFilter(verified)), verified);
    }),
  );
  t.pass();
});

for (const [text, message] of [
  ['', /cannot read ""/],
  ['u16[12]=0x0800 &&', /cannot read ""/],
  ['u16[12]', /cannot read "u16\[12\]": an atom is like/],
  ['u24[12]=1', /cannot read/],
  ['u8[-1]=1', /cannot read/],
  ['u8[1]=1 || u8[2]=2', /cannot read/],
  ['u8[1]=1; process.exit()', /cannot read/],
  ['+(u16[14]&15)<<2 && u8[1]=1', /cannot read/],
  ['u8[9999]=1', /no valid offset/],
  ['u8[1]=256', /value that does not fit in 8 bits/],
  [`u8[1]=${'9'.repeat(400)}`, /value that does not fit in 8 bits/],
  ['u8[1]=1'.padEnd(9000), /at most 8192 characters/],
  ['+(u8[14]&15)<<2', /no load follows it/],
] as const) {
  test(`parser refuses ${JSON.stringify(text.slice(0, 40))}`, (t) => {
    const error = t.throws(() => parseFilter(text), { instanceOf: FilterError });
    t.regex(error.message, message);
  });
}
