/**
 * Dice that are handed to whoever rolls them (design, principle 5): seeded for simulations, the operating system's for
 * anything a peer must not be able to guess.
 */
import { randomFillSync } from 'node:crypto';

export interface Random {
  /** Uniform in 0 to 2^32 - 1. */
  u32(): number;
  /** Thirty-two uniform bits as a signed integer. */
  i32(): number;
  /** Uniform in 0 to n - 1, without bias; n is an integer in 1 to 2^32. */
  below(n: number): number;
  /** True with probability p; never for 0, always for 1. */
  chance(p: number): boolean;
  /** Fills the array with uniform bytes. */
  fill(target: Uint8Array): void;
}

const TWO_32 = 2 ** 32;

/** What every source of 32-bit words can do. */
abstract class WordRandom implements Random {
  abstract i32(): number;

  u32(): number {
    return this.i32() >>> 0;
  }

  below(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > TWO_32) throw new RangeError(`below(${n}): must be 1 to 2^32`);
    // Of the 2^32 words the lowest `2^32 mod n` are one too many of their remainders: roll again.
    const tooLow = TWO_32 % n;
    let word = this.u32();
    while (word < tooLow) word = this.u32();
    return word % n;
  }

  chance(p: number): boolean {
    return this.u32() < p * TWO_32;
  }

  fill(target: Uint8Array): void {
    for (let at = 0; at < target.length; at += 4) {
      const word = this.i32();
      target[at] = word;
      // Stores beyond the end of a typed array do nothing.
      target[at + 1] = word >>> 8;
      target[at + 2] = word >>> 16;
      target[at + 3] = word >>> 24;
    }
  }
}

/** xoshiro128** 1.1 (Blackman and Vigna): the same seed gives the same rolls on every machine. Not for secrets. */
export class SeededRandom extends WordRandom {
  private s0: number;
  private s1: number;
  private s2: number;
  private s3: number;

  constructor(seed: number) {
    super();
    if (!Number.isSafeInteger(seed)) throw new RangeError(`seed ${seed}: must be an integer`);
    // Both halves of the seed count, and similar seeds are spread far apart.
    const high = Math.floor(seed / TWO_32) | 0;
    this.s0 = mix(seed | 0);
    this.s1 = mix(this.s0 ^ high);
    this.s2 = mix(this.s1);
    this.s3 = mix(this.s2) | 1;
  }

  i32(): number {
    const result = Math.imul(rotateLeft(Math.imul(this.s1, 5), 7), 9);
    const shifted = this.s1 << 9;
    this.s2 ^= this.s0;
    this.s3 ^= this.s1;
    this.s1 ^= this.s2;
    this.s0 ^= this.s3;
    this.s2 ^= shifted;
    this.s3 = rotateLeft(this.s3, 11);
    return result | 0;
  }
}

const SYSTEM_BATCH_BYTES = 4096;

/** The operating system's generator, read in batches. */
export class SystemRandom extends WordRandom {
  private readonly words = new Int32Array(SYSTEM_BATCH_BYTES / 4);
  private next = SYSTEM_BATCH_BYTES / 4;

  i32(): number {
    if (this.next === this.words.length) {
      randomFillSync(this.words);
      this.next = 0;
    }
    const word = this.words[this.next] as number;
    // A word that was handed out is kept nowhere else.
    this.words[this.next++] = 0;
    return word;
  }

  override fill(target: Uint8Array): void {
    randomFillSync(target);
  }
}

function rotateLeft(word: number, count: number): number {
  return (word << count) | (word >>> (32 - count));
}

/** One step of splitmix32. */
function mix(state: number): number {
  let z = (state + 0x9e3779b9) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return z ^ (z >>> 15);
}
