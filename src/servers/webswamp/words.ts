/**
 * Finding which of a few words a run of bytes spells, letter by letter and in any case, wherever the run is cut: a bit for
 * each word stays set while its letters fit.
 */
import { uint8At } from '../../runtime/words.ts';

const CODES = 128;
/** Every word is still possible. */
export const ANY_WORD = 0xff;

export class WordSet {
  /** By position and character: the words that have it there. */
  private readonly letters: Uint8Array;
  /** By position: the words that end there. */
  private readonly ends: Uint8Array;
  private readonly longest: number;

  /** At most eight words; bit n of what the functions return stands for the n-th. */
  constructor(words: readonly string[]) {
    if (words.length > 8) throw new RangeError(`${words.length} words: eight bits hold no more`);
    this.longest = Math.max(...words.map((word) => word.length));
    this.letters = new Uint8Array(this.longest * CODES);
    this.ends = new Uint8Array(this.longest + 1);
    for (const [bit, word] of words.entries()) {
      this.ends[word.length] = uint8At(this.ends, word.length) | (1 << bit);
      for (const [position, letter] of [...word].entries()) {
        for (const form of [letter.toLowerCase(), letter.toUpperCase()]) {
          const at = position * CODES + form.charCodeAt(0);
          this.letters[at] = uint8At(this.letters, at) | (1 << bit);
        }
      }
    }
  }

  /** The words among `possible` that have `byte` at `position`. */
  narrow(possible: number, position: number, byte: number): number {
    if (position >= this.longest || byte >= CODES) return 0;
    return possible & uint8At(this.letters, position * CODES + byte);
  }

  /** The word among `possible` that is `length` letters long: its bit, or 0. */
  match(possible: number, length: number): number {
    return length > this.longest ? 0 : possible & uint8At(this.ends, length);
  }
}
