import test from 'ava';
import fc from 'fast-check';
import { BodySkipper } from '../../../src/servers/http/body.ts';
import { BODY_CHUNKED, BODY_LENGTH } from '../../../src/servers/http/request.ts';

const MAX = 64 * 1024;

function skip(kind: number, length: number, text: string, cuts: readonly number[] = [], max = MAX): string {
  const body = new BodySkipper();
  body.begin(kind, length, max);
  const bytes = Buffer.from(text, 'latin1');
  let taken = 0;
  for (const end of [...cuts.filter((cut) => cut < text.length), text.length].sort((a, b) => a - b)) {
    while (taken < end && !body.done && body.status === 0) taken += body.feed(bytes, taken, end - taken);
  }
  if (body.status !== 0) return `refused ${body.status}`;
  return body.done ? `done after ${taken}` : 'more';
}

const CHUNKED: readonly (readonly [string, string, string])[] = [
  ['no chunks', '0\r\n\r\n', 'done after 5'],
  ['one chunk', '5\r\nhello\r\n0\r\n\r\nGET', 'done after 15'],
  ['hexadecimal of either case', 'a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n', 'done after 35'],
  ['leading zeros', '0005\r\nhello\r\n000\r\n\r\n', 'done after 20'],
  ['an extension', '5;name="v\xe4lue"\r\nhello\r\n0;x\r\n\r\n', 'done after 30'],
  ['space after the size', '5 \r\nhello\r\n0\r\n\r\n', 'done after 16'],
  ['trailers', '0\r\nA: b\r\nC: d\r\n\r\n', 'done after 17'],
  ['not yet all', '5\r\nhel', 'more'],
  ['size missing', '\r\nhello', 'refused 400'],
  ['size that is none', 'x\r\n', 'refused 400'],
  ['negative size', '-1\r\n', 'refused 400'],
  ['size with 0x', '0x5\r\nhello', 'refused 400'],
  ['LF alone after the size', '5\nhello\r\n0\r\n\r\n', 'refused 400'],
  ['LF alone after the data', '5\r\nhello\n0\r\n\r\n', 'refused 400'],
  ['data longer than the size', '5\r\nhello!\r\n0\r\n\r\n', 'refused 400'],
  ['bare CR in an extension', '5;a\rb\r\nhello\r\n', 'refused 400'],
  ['LF in an extension', '5;a\nb\r\nhello\r\n', 'refused 400'],
  ['LF alone after trailers', '0\r\nA: b\n\r\n', 'refused 400'],
  ['NUL in a trailer', '0\r\nA\0: b\r\n\r\n', 'refused 400'],
  ['a size beyond the limit', '10000\r\n', 'refused 413'],
  ['a size beyond all numbers', `${'f'.repeat(30)}\r\n`, 'refused 413'],
  ['zeros without end', '0'.repeat(40), 'refused 413'],
];

for (const [what, text, expected] of CHUNKED) {
  test(`chunked, ${what}: ${expected}`, (t) => {
    t.is(skip(BODY_CHUNKED, 0, text), expected);
    for (let cut = 1; cut < text.length; cut++) t.is(skip(BODY_CHUNKED, 0, text, [cut]), expected, `cut at ${cut}`);
  });
}

test('content of a given length', (t) => {
  t.is(skip(BODY_LENGTH, 5, 'helloGET'), 'done after 5');
  t.is(skip(BODY_LENGTH, 5, 'hell'), 'more');
  t.is(skip(BODY_LENGTH, 5, 'hello', [1, 2, 3]), 'done after 5');
  t.is(skip(BODY_LENGTH, MAX, 'x'.repeat(MAX)), `done after ${MAX}`);
  t.is(skip(BODY_LENGTH, MAX + 1, ''), 'refused 413');
  t.is(skip(BODY_LENGTH, 0, 'GET'), 'done after 0');
});

test('framing counts against the limit: tiny chunks do not get past it', (t) => {
  t.is(skip(BODY_CHUNKED, 0, `${'1\r\nx\r\n'.repeat(20)}0\r\n\r\n`, [], 100), 'refused 413');
  t.is(skip(BODY_CHUNKED, 0, `1;${'x'.repeat(200)}`, [], 100), 'refused 413');
  t.is(skip(BODY_CHUNKED, 0, `0\r\n${'A: b\r\n'.repeat(50)}`, [], 100), 'refused 413');
});

test('property: any bytes in any pieces end the same way', (t) => {
  const alphabet = fc.constantFrom('0', '1', '5', 'a', ';', ' ', '\r\n', '\r', '\n', 'x', '\0');
  fc.assert(
    fc.property(fc.array(alphabet, { maxLength: 60 }), fc.array(fc.nat(80)), (parts, cuts) => {
      const text = parts.join('');
      return skip(BODY_CHUNKED, 0, text) === skip(BODY_CHUNKED, 0, text, cuts);
    }),
    { numRuns: 3000, seed: 3 },
  );
  t.pass();
});
