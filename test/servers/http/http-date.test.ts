import test from 'ava';
import fc from 'fast-check';
import { formatHttpDate, NO_DATE, parseHttpDate } from '../../../src/servers/http/http-date.ts';

function parse(text: string): number {
  return parseHttpDate(Buffer.from(`??${text}????????????????????????????????`, 'latin1'), 2, text.length);
}

const MOMENT = 784_111_777;

const DATES: readonly (readonly [string, number])[] = [
  ['Sun, 06 Nov 1994 08:49:37 GMT', MOMENT],
  ['Sunday, 06-Nov-94 08:49:37 GMT', MOMENT],
  ['Sun Nov  6 08:49:37 1994', MOMENT],
  ['Wed, 16-Nov-94 08:49:37 GMT', NO_DATE],
  ['Wednesday, 16-Nov-94 08:49:37 GMT', MOMENT + 864_000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['Sat, 29 Feb 2020 23:59:60 GMT', 1_583_020_800],
  ['Tue, 19 Jan 2038 03:14:08 GMT', 2 ** 31],
  ['Friday, 01-Jan-38 00:00:00 GMT', 2_145_916_800],
  ['', NO_DATE],
  ['0', NO_DATE],
  ['yesterday', NO_DATE],
  ['Sun, 06 Nov 1994 08:49:37 UTC', NO_DATE],
  ['Sun, 06 Nov 1994 08:49:37', NO_DATE],
  ['Sun, 06 Nov 1994 8:49:37 GMT', NO_DATE],
  ['Sun, 32 Nov 1994 08:49:37 GMT', NO_DATE],
  ['Sun, 00 Nov 1994 08:49:37 GMT', NO_DATE],
  ['Fri, 29 Feb 2019 08:49:37 GMT', NO_DATE],
  ['Sun, 06 Nix 1994 08:49:37 GMT', NO_DATE],
  ['Sun, 06 Nov 1994 24:49:37 GMT', NO_DATE],
  ['Sun, 06 Nov 1994 08:60:37 GMT', NO_DATE],
  ['Sun, 06 Nov 1969 08:49:37 GMT', NO_DATE],
  ['Sun, 06-Nov-1994 08:49:37 GMT', NO_DATE],
  ['Sun Nov 06 08-49-37 1994', NO_DATE],
  ['Sun Nov 16 08:49:37 1994', MOMENT + 864_000],
];

for (const [text, seconds] of DATES) {
  test(`"${text}" is ${seconds === NO_DATE ? 'no date' : seconds}`, (t) => {
    t.is(parse(text), seconds);
  });
}

test('property: the preferred form is what the platform writes, and reads back', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 8_000_000_000 }), (seconds) => {
      const text = formatHttpDate(seconds);
      return text === new Date(seconds * 1000).toUTCString() && parse(text) === seconds;
    }),
    { numRuns: 2000, seed: 4 },
  );
  t.pass();
});

test('property: any bytes are a date or none, and never throw', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary-ascii', maxLength: 40 }), (text) => Number.isInteger(parse(text))),
    { numRuns: 2000, seed: 5 },
  );
  t.pass();
});
