import { strictEqual } from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { hashWords, hashWordsForTable } from '../../src/runtime/half-siphash.ts';

const MASK = 0xffffffffn;

function rotate(word: bigint, count: bigint): bigint {
  return ((word << count) | (word >> (32n - count))) & MASK;
}

/** HalfSipHash with 32 bits of output, 2-4 or as many rounds as are asked for, written from the paper's description over bytes and unbounded integers. */
function reference(key: readonly number[], message: readonly number[], rounds = 2, finishing = 4): string {
  const wordOf = (bytes: readonly number[], at: number) =>
    [0, 1, 2, 3].reduce((word, i) => word | (BigInt(bytes[at + i] ?? 0) << BigInt(8 * i)), 0n);
  const key0 = wordOf(key, 0);
  const key1 = wordOf(key, 4);
  let [v0, v1, v2, v3] = [key0, key1, 0x6c796765n ^ key0, 0x74656462n ^ key1];
  const round = () => {
    v0 = (v0 + v1) & MASK;
    v1 = rotate(v1, 5n) ^ v0;
    v0 = rotate(v0, 16n);
    v2 = (v2 + v3) & MASK;
    v3 = rotate(v3, 8n) ^ v2;
    v0 = (v0 + v3) & MASK;
    v3 = rotate(v3, 7n) ^ v0;
    v2 = (v2 + v1) & MASK;
    v1 = rotate(v1, 13n) ^ v2;
    v2 = rotate(v2, 16n);
  };
  const compress = (word: bigint) => {
    v3 ^= word;
    for (let i = 0; i < rounds; i++) round();
    v0 ^= word;
  };
  const whole = message.length - (message.length % 4);
  for (let at = 0; at < whole; at += 4) compress(wordOf(message, at));
  compress(wordOf(message.slice(whole), 0) | ((BigInt(message.length) & 0xffn) << 24n));
  v2 ^= 0xffn;
  for (let i = 0; i < finishing; i++) round();
  const out = v1 ^ v3;
  return [0n, 8n, 16n, 24n].map((shift) => ((out >> shift) & 0xffn).toString(16).padStart(2, '0')).join('');
}

function bytesOf(...words: number[]): number[] {
  return words.flatMap((word) => [word & 0xff, (word >>> 8) & 0xff, (word >>> 16) & 0xff, word >>> 24]);
}

/** A hash as the reference prints it: its bytes, the lowest first. */
function hexOf(hash: number): string {
  return bytesOf(hash)
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('');
}

const COUNTING_KEY = [0, 1, 2, 3, 4, 5, 6, 7];

test('the byte-wise implementation gives the published vectors', (t) => {
  // vectors_hsip32 of the reference implementation: key 00..07, messages of 0, 1 and 2 bytes 00, 01.
  t.is(reference(COUNTING_KEY, []), 'a9359f5b');
  t.is(reference(COUNTING_KEY, [0]), '27475ab8');
  t.is(reference(COUNTING_KEY, [0, 1]), 'fa62a603');
});

test('the hash of three words is the vector of the twelve bytes 00..0b', (t) => {
  const message = Array.from({ length: 12 }, (_, i) => i);
  const hash = hashWords({ low: 0x03020100, high: 0x07060504 }, 0x03020100, 0x07060504, 0x0b0a0908);
  t.is(hexOf(hash), reference(COUNTING_KEY, message));
});

test('agrees with the byte-wise implementation on any key and words', (t) => {
  const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  t.notThrows(() =>
    fc.assert(
      fc.property(word, word, word, word, word, (low, high, first, second, third) => {
        const hash = hashWords({ low, high }, first, second, third);
        strictEqual(hash, hash | 0);
        strictEqual(hexOf(hash), reference(bytesOf(low, high), bytesOf(first, second, third)));
        const short = hashWordsForTable({ low, high }, first, second, third);
        strictEqual(short, short | 0);
        strictEqual(hexOf(short), reference(bytesOf(low, high), bytesOf(first, second, third), 1, 3));
      }),
      { numRuns: 1000 },
    ),
  );
});

test('words count by their bits, signed or not', (t) => {
  const key = { low: -1, high: 0x80000000 };
  t.is(hashWords(key, 0xffffffff, 0x80000000, 0), hashWords(key, -1, -0x80000000, 0));
  t.is(hashWords({ low: 0xffffffff, high: -0x80000000 }, 1, 2, 3), hashWords(key, 1, 2, 3));
});
