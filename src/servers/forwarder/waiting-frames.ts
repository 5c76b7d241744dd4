/**
 * Frames that wait, each in its receive slot and not yet rewritten, until their next hop's link-layer address is known. Bounded;
 * memory: the slots stay with the environments that received the frames.
 */
import type { Neighbour } from '../../libos/neighbour.ts';
import { int32At, uint8At } from '../../runtime/words.ts';

export class WaitingFrames {
  count = 0;
  private readonly positions: Int32Array;
  private readonly lengths: Int32Array;
  private readonly sides: Uint8Array;
  private readonly neighbours: (Neighbour | null)[];

  constructor(capacity: number) {
    this.positions = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
    this.sides = new Uint8Array(capacity);
    this.neighbours = new Array<Neighbour | null>(capacity).fill(null);
  }

  get isFull(): boolean {
    return this.count === this.positions.length;
  }

  /** Keeps a frame that arrived on a side; there must be room. */
  add(at: number, lengthBytes: number, side: number, neighbour: Neighbour): void {
    const index = this.count++;
    this.positions[index] = at;
    this.lengths[index] = lengthBytes;
    this.sides[index] = side;
    this.neighbours[index] = neighbour;
  }

  at(index: number): number {
    return int32At(this.positions, index);
  }

  lengthBytes(index: number): number {
    return int32At(this.lengths, index);
  }

  side(index: number): number {
    return uint8At(this.sides, index);
  }

  neighbour(index: number): Neighbour {
    return this.neighbours[index] as Neighbour;
  }

  /** Forgets all of them. Their entries can be read until others are added in their places, so that a pass may keep some. */
  clear(): void {
    this.count = 0;
  }
}
