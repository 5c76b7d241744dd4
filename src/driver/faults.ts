/**
 * The dice of a bad wire: for each frame, whether it is lost, duplicated, held back so that others overtake it, or has
 * one bit flipped. Each kind of fault rolls a die of its own, so that changing one rate leaves the others' rolls as they
 * were and two runs can be compared.
 */
import type { Random } from '../runtime/random.ts';
import { SeededRandom } from '../runtime/random.ts';
import type { Bytes } from '../wire/bytes.ts';
import { setU8, u8 } from '../wire/bytes.ts';

/** Probabilities, 0 to 1, each 0 unless given. */
export interface FaultRates {
  readonly loss?: number;
  readonly duplication?: number;
  readonly reordering?: number;
  readonly corruption?: number;
  /** A frame to be reordered is late by 1 to this many microseconds (default 2000). */
  readonly reorderingUs?: number;
}

/** What `Faults.roll` returns, as a set of bits. */
export const FAULT_LOST = 1;
export const FAULT_DUPLICATED = 2;
export const FAULT_REORDERED = 4;
export const FAULT_CORRUPTED = 8;

const DEFAULT_REORDERING_US = 2000;

export class Faults {
  private loss = 0;
  private duplication = 0;
  private reordering = 0;
  private corruption = 0;
  private reorderingUs = DEFAULT_REORDERING_US;
  private readonly lossDie: Random;
  private readonly duplicationDie: Random;
  private readonly reorderingDie: Random;
  private readonly corruptionDie: Random;
  /** Decides how late and which bit. */
  private readonly detailDie: Random;

  constructor(rates: FaultRates, seed: number) {
    const seeds = new SeededRandom(seed);
    this.lossDie = new SeededRandom(seeds.u32());
    this.duplicationDie = new SeededRandom(seeds.u32());
    this.reorderingDie = new SeededRandom(seeds.u32());
    this.corruptionDie = new SeededRandom(seeds.u32());
    this.detailDie = new SeededRandom(seeds.u32());
    this.setRates(rates);
  }

  /** Changes the wire from the next frame on; a rate not given is 0. `{ loss: 1 }` is a cut cable. */
  setRates(rates: FaultRates): void {
    this.loss = checkRate('loss', rates.loss);
    this.duplication = checkRate('duplication', rates.duplication);
    this.reordering = checkRate('reordering', rates.reordering);
    this.corruption = checkRate('corruption', rates.corruption);
    this.reorderingUs = rates.reorderingUs ?? DEFAULT_REORDERING_US;
    if (!Number.isInteger(this.reorderingUs) || this.reorderingUs < 1) {
      throw new RangeError(`reordering by ${this.reorderingUs} us: must be a positive integer`);
    }
  }

  /** What happens to the next frame: `FAULT_...` bits, 0 when it is spared. Every die is rolled for every frame. */
  roll(): number {
    const lost = this.lossDie.chance(this.loss) ? FAULT_LOST : 0;
    const duplicated = this.duplicationDie.chance(this.duplication) ? FAULT_DUPLICATED : 0;
    const reordered = this.reorderingDie.chance(this.reordering) ? FAULT_REORDERED : 0;
    const corrupted = this.corruptionDie.chance(this.corruption) ? FAULT_CORRUPTED : 0;
    return lost | duplicated | reordered | corrupted;
  }

  /** How late a reordered frame is. */
  lateUs(): number {
    return 1 + this.detailDie.below(this.reorderingUs);
  }

  /** Flips one bit anywhere in the frame. */
  flipBit(bytes: Bytes, at: number, length: number): void {
    const bit = this.detailDie.below(length * 8);
    const position = at + (bit >>> 3);
    setU8(bytes, position, u8(bytes, position) ^ (1 << (bit & 7)));
  }
}

function checkRate(name: string, rate = 0): number {
  if (!(rate >= 0 && rate <= 1)) throw new RangeError(`${name} ${rate}: must be 0 to 1`);
  return rate;
}
