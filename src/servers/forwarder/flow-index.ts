/**
 * The index of flows: (source address, both ports, target address), as a frame that arrives has them, to a number. Open
 * addressing with linear probing in a table that is made once, at most half full. The hash is keyed, so that nobody can
 * choose connections that collide.
 */
import { type HashKey, hashWords } from '../../runtime/half-siphash.ts';
import { int32At } from '../../runtime/words.ts';

/** `find` found nothing. */
export const NOT_FOUND = -1;

export class FlowIndex {
  /** Entries in the index. */
  size = 0;
  private readonly key: HashKey;
  private readonly mask: number;
  private readonly sources: Int32Array;
  private readonly ports: Int32Array;
  private readonly targets: Int32Array;
  private readonly values: Int32Array;

  /** An index for so many entries. */
  constructor(entries: number, key: HashKey) {
    const slots = 2 ** Math.ceil(Math.log2(entries * 2));
    this.key = key;
    this.mask = slots - 1;
    this.sources = new Int32Array(slots);
    this.ports = new Int32Array(slots);
    this.targets = new Int32Array(slots);
    this.values = new Int32Array(slots).fill(NOT_FOUND);
  }

  /** The value of a key, or `NOT_FOUND`. `ports` is the source port, shifted, and the target port. */
  find(source: number, ports: number, target: number): number {
    return int32At(this.values, this.locate(source, ports, target));
  }

  /** Adds an entry whose key is not in the index; `value` is not negative. */
  insert(source: number, ports: number, target: number, value: number): void {
    const slot = this.locate(source, ports, target);
    if (this.values[slot] !== NOT_FOUND) throw new RangeError('the flow is in the index already');
    if (this.size * 2 > this.mask) throw new RangeError('the index is full');
    this.sources[slot] = source;
    this.ports[slot] = ports;
    this.targets[slot] = target;
    this.values[slot] = value;
    this.size++;
  }

  /** Takes an entry out, if it is there. */
  delete(source: number, ports: number, target: number): void {
    let hole = this.locate(source, ports, target);
    if (this.values[hole] === NOT_FOUND) return;
    this.size--;
    // Close the hole: an entry behind it that probed past it moves into it.
    let slot = hole;
    for (;;) {
      slot = (slot + 1) & this.mask;
      if (this.values[slot] === NOT_FOUND) break;
      const home = this.home(int32At(this.sources, slot), int32At(this.ports, slot), int32At(this.targets, slot));
      if (((slot - home) & this.mask) < ((slot - hole) & this.mask)) continue;
      this.sources[hole] = int32At(this.sources, slot);
      this.ports[hole] = int32At(this.ports, slot);
      this.targets[hole] = int32At(this.targets, slot);
      this.values[hole] = int32At(this.values, slot);
      hole = slot;
    }
    this.values[hole] = NOT_FOUND;
  }

  private home(source: number, ports: number, target: number): number {
    return hashWords(this.key, source, ports, target) & this.mask;
  }

  private locate(source: number, ports: number, target: number): number {
    const { mask, sources, ports: allPorts, targets, values } = this;
    let slot = this.home(source, ports, target);
    while (int32At(values, slot) !== NOT_FOUND) {
      if (int32At(allPorts, slot) === ports && int32At(sources, slot) === source && int32At(targets, slot) === target) {
        return slot;
      }
      slot = (slot + 1) & mask;
    }
    return slot;
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
