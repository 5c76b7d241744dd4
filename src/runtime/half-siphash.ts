/**
 * HalfSipHash-2-4 (Aumasson and Bernstein, SipHash's 32-bit sibling): a keyed hash of a few words, for initial sequence
 * numbers (RFC 6528), timestamp offsets, port selection and hash tables that a peer must not be able to aim at.
 */

/** A 64-bit key as two 32-bit halves. */
export interface HashKey {
  readonly low: number;
  readonly high: number;
}

/** The hash of three 32-bit words, as a signed 32-bit integer. */
export function hashWords(key: HashKey, first: number, second: number, third: number): number {
  let v0 = key.low | 0;
  let v1 = key.high | 0;
  let v2 = 0x6c796765 ^ key.low;
  let v3 = 0x74656462 ^ key.high;
  // Four message words: the three given, then the length (12 bytes) in the top byte; then four finishing rounds.
  for (let word = 0; word < 5; word++) {
    const message = word === 0 ? first : word === 1 ? second : word === 2 ? third : word === 3 ? 12 << 24 : 0;
    const rounds = word === 4 ? 4 : 2;
    if (word === 4) v2 ^= 0xff;
    v3 ^= message;
    for (let round = 0; round < rounds; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    v0 ^= message;
  }
  return v1 ^ v3;
}

/**
 * HalfSipHash-1-3 of three words, about half the work: enough where only the place in a table depends on it, which nobody sees.
 */
export function hashWordsForTable(key: HashKey, first: number, second: number, third: number): number {
  let v0 = key.low | 0;
  let v1 = key.high | 0;
  let v2 = 0x6c796765 ^ key.low;
  let v3 = 0x74656462 ^ key.high;
  // A round for each message word, the length being the fourth, and three to finish.
  for (let round = 0; round < 7; round++) {
    const message = round === 0 ? first : round === 1 ? second : round === 2 ? third : round === 3 ? 12 << 24 : 0;
    if (round === 4) v2 ^= 0xff;
    v3 ^= message;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= message;
  }
  return v1 ^ v3;
}
