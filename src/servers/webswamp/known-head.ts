/**
 * The head that a server sent last. It sends the same again and again, but for its date once a second: bytes that were read once
 * need not be read again to know what they say, only compared, four at a time.
 *
 * Memory: a copy of one head, of at most `MAX_KNOWN_BYTES`, and what it said. One serves all connections of a run.
 */
import { int32At, uint8At } from '../../runtime/words.ts';
import type { Bytes } from '../../wire/bytes.ts';

/** Longer heads are read each time. */
export const MAX_KNOWN_BYTES = 2048;

/** After so many heads in a row that were not the known one, they seem all to differ; then only one in several is learnt. */
const PATIENCE = 4;
const LEARN_ONE_IN = 64;

export class KnownHead {
  /** Of the known head, its empty line included; 0 while there is none. */
  length = 0;

  // What it said (see `ResponseParser`).
  status = 0;
  minor = 0;
  contentLength = -1;
  encoded = false;
  chunked = false;
  saysClose = false;
  saysKeepAlive = false;

  /** Heads that were found to be the known one. */
  hits = 0;
  private misses = 0;
  /** The copy lies as the head lay, as far as words of four bytes go: at `start`, which is less than four. */
  private readonly copy = new Uint8Array(MAX_KNOWN_BYTES + 8);
  private readonly copyWords = new Int32Array(this.copy.buffer);
  private start = 0;
  /** The words of the memory looked at last; null when its bytes do not begin with a word. */
  private memory: Bytes | null = null;
  private words: Int32Array | null = null;

  /** Whether the bytes from `at` on, `available` of them, begin with the known head. */
  matches(bytes: Bytes, at: number, available: number): boolean {
    const { length } = this;
    if (length === 0 || available < length) return false;
    if (bytes !== this.memory) this.view(bytes);
    const { words } = this;
    if (words === null || (at & 3) !== this.start) return false;
    if (!this.equals(bytes, words, at)) return false;
    this.hits++;
    this.misses = 0;
    return true;
  }

  /** Copies a head that was read and was not the known one; false when it is not worth it. */
  learn(bytes: Bytes, at: number, length: number): boolean {
    this.misses++;
    if (length > MAX_KNOWN_BYTES || (this.misses > PATIENCE && this.misses % LEARN_ONE_IN !== 0)) return false;
    this.start = at & 3;
    this.length = length;
    for (let i = 0; i < length; i++) this.copy[this.start + i] = uint8At(bytes, at + i);
    return true;
  }

  private equals(bytes: Bytes, words: Int32Array, at: number): boolean {
    const { copy, copyWords, start } = this;
    const end = start + this.length;
    /** From a place in the copy to the same one in the bytes; a multiple of four. */
    const shift = at - start;
    for (let p = end & ~3; p < end; p++) if (uint8At(copy, p) !== uint8At(bytes, shift + p)) return false;
    const wordShift = shift >> 2;
    const firstWord = (start + 3) >> 2;
    for (let word = firstWord; word < end >> 2; word++) {
      if (int32At(copyWords, word) !== int32At(words, wordShift + word)) return false;
    }
    for (let p = start; p < firstWord << 2 && p < end; p++) {
      if (uint8At(copy, p) !== uint8At(bytes, shift + p)) return false;
    }
    return true;
  }

  private view(bytes: Bytes): void {
    this.memory = bytes;
    const { buffer, byteOffset, length } = bytes;
    this.words = (byteOffset & 3) === 0 ? new Int32Array(buffer, byteOffset, length >>> 2) : null;
  }
}
