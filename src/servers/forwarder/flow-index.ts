/**
 * The index of flows: (source address, both ports, target address), as a frame that arrives has them, to a number. Open
 * addressing with linear probing in a table that is made once, at most half full. The hash is keyed, so that nobody can
 * choose connections that collide. An entry is four words in a row, so that a look-up touches one cache line.
 */
import { type HashKey, hashWordsForTable } from '../../runtime/half-siphash.ts';
import { int32At } from '../../runtime/words.ts';

/** `find` found nothing. */
export const NOT_FOUND = -1;

// An entry's words.
const SOURCE = 0;
const PORTS = 1;
const TARGET = 2;
const VALUE = 3;
const ENTRY_WORDS = 4;
const ENTRY_SHIFT = 2;

export class FlowIndex {
  /** Entries in the index. */
  size = 0;
  private readonly key: HashKey;
  /** The number of the last word: a place in the index is the number of its first. */
  private readonly mask: number;
  private readonly words: Int32Array;

  /** An index for so many entries. */
  constructor(entries: number, key: HashKey) {
    const slots = 2 ** Math.ceil(Math.log2(entries * 2));
    this.key = key;
    this.mask = slots * ENTRY_WORDS - 1;
    this.words = new Int32Array(slots * ENTRY_WORDS).fill(NOT_FOUND);
  }

  /** The value of a key, or `NOT_FOUND`. `ports` is the source port, shifted, and the target port. */
  find(source: number, ports: number, target: number): number {
    return int32At(this.words, this.locate(source, ports, target) + VALUE);
  }

  /** Adds an entry whose key is not in the index; `value` is not negative. */
  insert(source: number, ports: number, target: number, value: number): void {
    const { words } = this;
    const place = this.locate(source, ports, target);
    if (words[place + VALUE] !== NOT_FOUND) throw new RangeError('the flow is in the index already');
    if (this.size * 2 * ENTRY_WORDS > this.mask) throw new RangeError('the index is full');
    words[place + SOURCE] = source;
    words[place + PORTS] = ports;
    words[place + TARGET] = target;
    words[place + VALUE] = value;
    this.size++;
  }

  /** Takes an entry out, if it is there. */
  delete(source: number, ports: number, target: number): void {
    const { words, mask } = this;
    let hole = this.locate(source, ports, target);
    if (words[hole + VALUE] === NOT_FOUND) return;
    this.size--;
    // Close the hole: an entry behind it that probed past it moves into it.
    let place = hole;
    for (;;) {
      place = (place + ENTRY_WORDS) & mask;
      if (words[place + VALUE] === NOT_FOUND) break;
      const home = this.home(
        int32At(words, place + SOURCE),
        int32At(words, place + PORTS),
        int32At(words, place + TARGET),
      );
      if (((place - home) & mask) < ((place - hole) & mask)) continue;
      words.copyWithin(hole, place, place + ENTRY_WORDS);
      hole = place;
    }
    words[hole + VALUE] = NOT_FOUND;
  }

  private home(source: number, ports: number, target: number): number {
    return (hashWordsForTable(this.key, source, ports, target) << ENTRY_SHIFT) & this.mask;
  }

  /** The place that a key has, or would get. */
  private locate(source: number, ports: number, target: number): number {
    const { mask, words } = this;
    let place = this.home(source, ports, target);
    while (int32At(words, place + VALUE) !== NOT_FOUND) {
      if (
        int32At(words, place + PORTS) === ports &&
        int32At(words, place + SOURCE) === source &&
        int32At(words, place + TARGET) === target
      ) {
        return place;
      }
      place = (place + ENTRY_WORDS) & mask;
    }
    return place;
  }
}

/** Both ports in one word, as they stand in a TCP header. */
export function packPorts(source: number, target: number): number {
  return (source << 16) | target;
}

/** The same with source and target exchanged. */
export function swapPorts(ports: number): number {
  return (ports << 16) | (ports >>> 16);
}
