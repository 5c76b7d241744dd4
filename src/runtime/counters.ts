/**
 * A fixed list of named event counters. The hot path counts by index (a plain constant beside the list of names);
 * names are for snapshots, logs and tests.
 *
 *     const FRAMES_IN = 0;
 *     const counters = new Counters(['framesIn', 'framesOut'] as const);
 *     counters.increment(FRAMES_IN);
 */

export class Counters<Name extends string> {
  readonly names: readonly Name[];
  /** One number per name, exact up to 2^53. */
  readonly values: Float64Array;

  constructor(names: readonly Name[]) {
    if (new Set(names).size !== names.length) throw new RangeError('two counters of one name');
    this.names = names;
    this.values = new Float64Array(names.length);
  }

  add(index: number, n: number): void {
    this.values[index] = (this.values[index] as number) + n;
  }

  increment(index: number): void {
    this.values[index] = (this.values[index] as number) + 1;
  }

  /** The value of the counter called `name`. */
  get(name: Name): number {
    const index = this.names.indexOf(name);
    if (index < 0) throw new RangeError(`no counter is called ${name}`);
    return this.values[index] as number;
  }

  /** All values by name, as they are now. */
  snapshot(): Record<Name, number> {
    const result = {} as Record<Name, number>;
    for (let index = 0; index < this.names.length; index++) {
      result[this.names[index] as Name] = this.values[index] as number;
    }
    return result;
  }
}

/** The counts that are not zero. */
export function nonZero(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}
