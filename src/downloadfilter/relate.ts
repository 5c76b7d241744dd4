/**
 * How two filters stand to each other, decided on their required bits.
 *
 * Bits can be compared where both filters name them from the same base. Contexts of two filters are *comparable* when a
 * constant distance separates their bases in every frame that is considered:
 *
 * - the first contexts of all filters are: both start at the frame's first byte;
 * - if two contexts are comparable and end in the same shift (the same byte of the frame, mask and left shift), then so
 *   are the contexts behind those shifts: both bases move by the same field;
 * - if the bits considered fix the field of a shift, the context behind it lies at a constant distance from the one before.
 *   For "does F imply G" these are the bits that F requires, for "can a frame satisfy both" those that either requires.
 *
 * No other contexts are compared, and what that leaves open is answered so that the caller refuses: F is not said to imply
 * G, and the two are not said to be disjoint. For filters without variable shifts the answers are exact; with them,
 * `implies` and `disjoint` are always true when given, and 'overlap' means that an overlap could not be excluded.
 */
import { Context, type NormalFilter, type Shift } from './normalize.ts';

/** `F to G`: implies = all frames of F are G's; implied = all frames of G are F's; overlap = neither, and some frame may be both's. */
export type Relation = 'identical' | 'implies' | 'implied' | 'disjoint' | 'overlap';

export function relate(f: NormalFilter, g: NormalFilter): Relation {
  const forward = implies(f, g);
  const backward = implies(g, f);
  if (forward) return backward ? 'identical' : 'implies';
  if (backward) return 'implied';
  return contradicts(f, g) ? 'disjoint' : 'overlap';
}

/** Whether every frame that satisfies `f` is known to satisfy `g`. */
function implies(f: NormalFilter, g: NormalFilter): boolean {
  let i = 0;
  // How far the base of g's context lies beyond that of f's.
  let displacement = 0;
  for (const wanted of g) {
    const given = f[i];
    if (given === undefined || !covers(given, wanted, displacement)) return false;
    if (wanted.shift === null) return true;
    const moved = given.resolve(wanted.shift, displacement);
    if (moved >= 0) displacement += moved;
    else if (sameShift(given.shift, 0, wanted.shift, displacement)) i++;
    else return false;
  }
  return true;
}

/** Whether what `given` requires includes all that `wanted` requires, whose base lies `displacement` bytes further on. */
function covers(given: Context, wanted: Context, displacement: number): boolean {
  if (wanted.reachBytes + displacement > given.reachBytes) return false;
  const union = new Context();
  union.requireContext(given, 0);
  if (!union.requireContext(wanted, displacement)) return false;
  return union.words.every((word) => given.int32At(word.offset)?.mask === word.mask);
}

/** Whether `f` and `g` are known to require different values of some bit. */
function contradicts(f: NormalFilter, g: NormalFilter): boolean {
  const left = new Cursor(f);
  const right = new Cursor(g);
  for (;;) {
    // What both require of the bytes around one base: that of the contexts they have reached together.
    const both = new Context();
    if (!left.addTo(both) || !right.addTo(both)) return true;
    for (;;) {
      const one = left.resolveIn(both);
      const two = right.resolveIn(both);
      if (one === CONTRADICTION || two === CONTRADICTION) return true;
      if (one === STUCK && two === STUCK) break;
    }
    if (!sameShift(left.shift, left.displacement, right.shift, right.displacement)) return false;
    left.next();
    right.next();
  }
}

const STUCK = 0;
const MOVED = 1;
const CONTRADICTION = 2;

/** A walk along a filter's contexts. */
class Cursor {
  /** From the common base to that of the current context. */
  displacement = 0;
  private readonly contexts: NormalFilter;
  private index = 0;

  constructor(contexts: NormalFilter) {
    this.contexts = contexts;
  }

  get shift(): Shift | null {
    return this.contexts[this.index]?.shift ?? null;
  }

  next(): void {
    this.index++;
  }

  /** False when the current context contradicts what `both` has. */
  addTo(both: Context): boolean {
    const context = this.contexts[this.index];
    return context === undefined || both.requireContext(context, this.displacement);
  }

  /** Goes on to the next context if `both` fixes the shift to it, and adds that context. */
  resolveIn(both: Context): number {
    const shift = this.shift;
    if (shift === null) return STUCK;
    const moved = both.resolve(shift, this.displacement);
    if (moved < 0) return STUCK;
    this.displacement += moved;
    this.index++;
    return this.addTo(both) ? MOVED : CONTRADICTION;
  }
}

/** Whether two shifts read the same byte, given how far beyond a common base each one's base is, and do the same with it. */
export function sameShift(a: Shift | null, aDisplacement: number, b: Shift | null, bDisplacement: number): boolean {
  return (
    a !== null &&
    b !== null &&
    a.offset + aDisplacement === b.offset + bDisplacement &&
    a.mask === b.mask &&
    a.leftShift === b.leftShift
  );
}
