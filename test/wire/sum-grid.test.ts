import { ok, strictEqual } from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { addSums, finishSum, foldSum, sumBytes } from '../../src/wire/checksum.ts';
import {
  beginGrid,
  bytesPastLine,
  bytesWithGrid,
  extendGrid,
  gridBehind,
  SUM_STEP_BYTES,
  sumFromGrid,
  writeGrid,
} from '../../src/wire/sum-grid.ts';

/** A range with its grid behind it, somewhere in memory. */
interface Ranged {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly length: number;
  readonly grid: number;
}

function place(contents: Uint8Array, at: number): Ranged {
  const { length } = contents;
  const bytes = new Uint8Array(at + bytesWithGrid(length) + 4);
  bytes.set(contents, at);
  const grid = gridBehind(at, length);
  writeGrid(bytes, grid, at, length);
  return { bytes, at, length, grid };
}

/** As the checksum of a message that has something else in it, too: there, the two zeros of a sum are one. */
function assertSameSum(found: number, expected: number): void {
  strictEqual(finishSum(addSums(0x1234, found)), finishSum(addSums(0x1234, expected)));
}

const contents = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 5000 }),
  // Where ones-complement arithmetic has its corners.
  fc.array(fc.constantFrom(0, 0xff), { minLength: 1, maxLength: 500 }).map((values) => Uint8Array.from(values)),
);

test('the sum of any part is the sum of its bytes', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(contents, fc.nat(100), fc.nat(), fc.nat(), (message, at, a, b) => {
        const ranged = place(message, at);
        const from = a % ranged.length;
        const length = 1 + (b % (ranged.length - from));
        const found = sumFromGrid(ranged.bytes, ranged.grid, at + from, length);
        assertSameSum(found & 0xffff, sumBytes(ranged.bytes, at + from, length));
        ok(found >>> 16 <= Math.min(length, 2 * (SUM_STEP_BYTES - 1)));
      }),
      { numRuns: 3000 },
    ),
  );
});

test('a part between lines, or from a line to the end, reads nothing; others less than a step at each end', (t) => {
  const ranged = place(
    Uint8Array.from({ length: 1001 }, (_, i) => (i * 37) & 0xff),
    64,
  );
  const { bytes, at, grid, length } = ranged;
  const read = (from: number, to: number) => sumFromGrid(bytes, grid, at + from, to - from) >>> 16;
  for (let line = 0; line < length; line += SUM_STEP_BYTES) {
    t.is(read(line, length), 0);
    t.is(bytesPastLine(bytes, grid, at + line), 0);
    for (let end = line + SUM_STEP_BYTES; end < length; end += SUM_STEP_BYTES) t.is(read(line, end), 0);
  }
  t.is(read(31, 64), 1);
  t.is(read(32, 65), 1);
  t.is(read(33, 127), 31 + 31);
  t.is(read(33, 63), 30);
  t.is(read(33, length), 31);
  t.is(read(993, length), 8);
  t.is(bytesPastLine(bytes, grid, at + 31), 31);
});

test('a grid made piece by piece is the one made at once', (t) => {
  const message = Uint8Array.from({ length: 100_001 }, (_, i) => (Math.imul(i, 0x9e3779b1) >>> 17) & 0xff);
  const whole = place(message, 2);
  for (const step of [32, 1024, 65_536]) {
    const pieces = place(message, 2);
    pieces.bytes.fill(0, pieces.grid);
    beginGrid(pieces.bytes, pieces.grid, 2, message.length);
    for (let from = 0; from < message.length; from += step) {
      extendGrid(pieces.bytes, pieces.grid, from, Math.min(message.length, from + step));
    }
    t.deepEqual(pieces.bytes, whole.bytes);
  }
});

test('the grid lies behind its range and no further than it says', (t) => {
  for (let length = 1; length < 200; length++) {
    const ranged = place(new Uint8Array(length).fill(0xab), 64);
    const end = 64 + bytesWithGrid(length);
    t.true(ranged.grid >= 64 + length);
    t.deepEqual([...ranged.bytes.subarray(end)], [0, 0, 0, 0]);
    t.is(foldSum(sumFromGrid(ranged.bytes, ranged.grid, 64, length)), foldSum(sumBytes(ranged.bytes, 64, length)));
  }
});
