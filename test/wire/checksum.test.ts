import test from 'ava';
import fc from 'fast-check';
import { addSums, finishSum, foldSum, pseudoSum4, sumBytes, swapSum, updateSum } from '../../src/wire/checksum.ts';
import { bytesOfHex, DATA_FRAME } from './frames.ts';

/** The second implementation: RFC 1071's definition, one pair after the other, carry at once. */
function sumNaively(bytes: Uint8Array, at: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i += 2) {
    const high = bytes[at + i] ?? 0;
    const low = i + 1 < length ? (bytes[at + i + 1] ?? 0) : 0;
    sum += high * 256 + low;
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

test('RFC 1071 section 3: the example', (t) => {
  const bytes = bytesOfHex('0001 f203 f4f5 f6f7');
  t.is(foldSum(sumBytes(bytes, 0, 8)), 0xddf2);
  t.is(finishSum(sumBytes(bytes, 0, 8)), 0x220d);
});

test('a known IPv4 header sums to all ones, and without its checksum gives it', (t) => {
  const bytes = bytesOfHex('4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7');
  t.is(foldSum(sumBytes(bytes, 0, 20)), 0xffff);
  bytes.fill(0, 10, 12);
  t.is(finishSum(sumBytes(bytes, 0, 20)), 0xb861);
});

test('a known TCP segment with its pseudo-header sums to all ones', (t) => {
  const length = DATA_FRAME.length - 34;
  const pseudo = pseudoSum4(0x0a5a0001, 0x0a5a0002, 6) + length;
  t.is(foldSum(sumBytes(DATA_FRAME, 34, length, pseudo)), 0xffff);
});

test('agrees with the naive sum at every start and length up to 80', (t) => {
  const bytes = new Uint8Array(100);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 151 + 77) ^ (i << 3);
  for (let at = 0; at < 16; at++) {
    for (let length = 0; length <= 80; length++) {
      t.is(foldSum(sumBytes(bytes, at, length)), sumNaively(bytes, at, length), `${length} bytes from ${at}`);
    }
  }
});

test('agrees with the naive sum on random bytes, starts, lengths and windows of a buffer', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 0, maxLength: 3000, size: 'max' }),
      fc.nat(9),
      fc.nat(9),
      fc.nat(7),
      (data, skip, spare, windowAt) => {
        // The array itself begins anywhere in its buffer, whose length is no multiple of a word either.
        const buffer = new Uint8Array(windowAt + skip + data.length + spare).fill(0xee);
        buffer.set(data, windowAt + skip);
        const bytes = buffer.subarray(windowAt);
        t.is(foldSum(sumBytes(bytes, skip, data.length)), sumNaively(data, 0, data.length));
      },
    ),
    { numRuns: 500 },
  );
});

test('carries survive the largest payloads: all ones, and more than one fold of words', (t) => {
  const bytes = new Uint8Array(1_000_003).fill(0xff);
  for (const at of [0, 1, 2, 3]) {
    for (const length of [65_535, 65_536, 262_143, 262_144, 262_150, 1_000_000]) {
      t.is(foldSum(sumBytes(bytes, at, length)), sumNaively(bytes, at, length), `${length} bytes from ${at}`);
    }
  }
});

test('zero stays zero, and other multiples of 65535 do not become zero', (t) => {
  t.is(foldSum(sumBytes(new Uint8Array(64), 0, 64)), 0);
  t.is(foldSum(sumBytes(new Uint8Array(64).fill(0xff), 0, 64)), 0xffff);
  t.is(swapSum(0xffff), 0xffff);
});

test('arrays may take turns: the words of one are not mistaken for those of another', (t) => {
  const one = new Uint8Array(64).fill(1);
  const two = new Uint8Array(64).fill(2);
  for (let round = 0; round < 3; round++) {
    t.is(foldSum(sumBytes(one, 0, 64)), 32 * 0x0101);
    t.is(foldSum(sumBytes(two, 0, 64)), 32 * 0x0202);
  }
});

test('sums of parts join to the sum of the whole, swapped where the part starts at an odd place', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300, size: 'max' }), fc.nat(300), (data, where) => {
      const cut = Math.min(where, data.length);
      const first = sumBytes(data, 0, cut);
      const second = sumBytes(data, cut, data.length - cut);
      const whole = addSums(first, cut % 2 === 0 ? second : swapSum(second));
      t.is(whole, sumNaively(data, 0, data.length));
      if (cut % 2 === 0) t.is(foldSum(sumBytes(data, cut, data.length - cut, first)), whole);
    }),
  );
});

test('folding agrees with the remainder for any sum below 2^32', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), (sum) => {
      t.is(foldSum(sum), sum === 0 ? 0 : sum % 0xffff || 0xffff);
      t.is(finishSum(sum), 0xffff - foldSum(sum));
    }),
  );
  t.is(addSums(0xffffffff, 0xffffffff), 0xffff);
});

test('the pseudo-header sum takes either sign and reads addresses and protocol', (t) => {
  fc.assert(
    fc.property(fc.integer(), fc.integer(), fc.constantFrom(1, 6, 17), (source, target, protocol) => {
      const pseudo = new Uint8Array(12);
      const view = new DataView(pseudo.buffer);
      view.setInt32(0, source);
      view.setInt32(4, target);
      view.setUint16(8, protocol);
      t.is(foldSum(pseudoSum4(source, target, protocol)), sumNaively(pseudo, 0, 12));
      t.is(pseudoSum4(source >>> 0, target >>> 0, protocol), pseudoSum4(source, target, protocol));
    }),
  );
});

test('RFC 1624 section 4: the example that older equations get wrong', (t) => {
  t.is(updateSum(0xdd2f, 0x5555, 0x3285), 0x0000);
});

test('an updated checksum is the recomputed one', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 20, maxLength: 60 }),
      fc.nat(9),
      fc.integer({ min: 0, max: 0xffff }),
      (data, place, word) => {
        const view = new DataView(data.buffer, data.byteOffset);
        // A header is never all zeros, the one case where ones-complement has two answers.
        view.setUint16(0, view.getUint16(0) | 0x4000);
        const at = 2 + place * 2;
        if (at === 10 || at + 2 > data.length) return;
        view.setUint16(10, 0);
        const before = finishSum(sumBytes(data, 0, data.length));
        const updated = updateSum(before, view.getUint16(at), word);
        view.setUint16(at, word);
        t.is(updated, 0xffff - sumNaively(data, 0, data.length));
      },
    ),
    { numRuns: 500 },
  );
});
