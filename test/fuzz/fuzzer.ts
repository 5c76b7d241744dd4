/**
 * A fuzzer guided by coverage: it runs inputs, keeps those that reach what none before has reached, and makes new ones of them.
 * The same seed gives the same run as long as the program is the same.
 */
import { SeededRandom } from '../../src/runtime/random.ts';
import { Coverage } from './coverage.ts';

/** A step of an input is so many bytes: what edits add, take away and move. */
export const STEP_BYTES = 8;
const MAX_STEPS = 64;
const FIRST_STEPS = 12;
const MAX_EDITS = 6;

export interface FuzzOptions {
  readonly seed: number;
  /** Throws when it finds something wrong. */
  readonly run: (input: Uint8Array) => void;
  /** The files, by URL, whose code counts. */
  readonly covers: RegExp;
  /** Told after every input; false ends the run. */
  readonly goOn: (progress: Progress) => boolean;
}

export interface Progress {
  readonly inputs: number;
  readonly steps: number;
  readonly kept: number;
  /** Characters of source text that have run. */
  readonly reached: number;
}

export interface Failure {
  /** As short as it could be made. */
  readonly input: Uint8Array;
  readonly message: string;
}

/** Runs until it is told to stop (null) or something is wrong. */
export function fuzz(options: FuzzOptions): Failure | null {
  const random = new SeededRandom(options.seed);
  const coverage = new Coverage(options.covers);
  const corpus: Uint8Array[] = [];
  let inputs = 0;
  let steps = 0;
  try {
    do {
      const input = corpus.length === 0 || random.chance(0.05) ? fresh(random) : descend(random, corpus);
      const message = messageOf(options.run, input);
      if (message !== null) return shorten(options.run, input, message);
      if (coverage.takeNew()) corpus.push(input);
      inputs++;
      steps += input.length / STEP_BYTES;
    } while (options.goOn({ inputs, steps, kept: corpus.length, reached: coverage.reached }));
    return null;
  } finally {
    coverage.close();
  }
}

function messageOf(run: (input: Uint8Array) => void, input: Uint8Array): string | null {
  try {
    run(input);
    return null;
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

function fresh(random: SeededRandom): Uint8Array {
  const input = new Uint8Array(STEP_BYTES * (1 + random.below(FIRST_STEPS)));
  random.fill(input);
  return input;
}

/** One input of the corpus, edited, or the beginning of one with the end of another; the latest are taken more often. */
function descend(random: SeededRandom, corpus: readonly Uint8Array[]): Uint8Array {
  const choose = (): Uint8Array => {
    const age = Math.min(random.below(corpus.length), random.below(corpus.length));
    return corpus[corpus.length - 1 - age] as Uint8Array;
  };
  let steps = stepsOf(choose());
  if (random.chance(0.2)) {
    const other = stepsOf(choose());
    steps = [...steps.slice(0, 1 + random.below(steps.length)), ...other.slice(random.below(other.length))];
  }
  for (let edits = 1 + random.below(MAX_EDITS); edits > 0; edits--) edit(random, steps);
  return joined(steps.slice(0, MAX_STEPS));
}

function edit(random: SeededRandom, steps: Uint8Array[]): void {
  const index = random.below(steps.length);
  const step = steps[index] as Uint8Array;
  const place = random.below(STEP_BYTES);
  switch (random.below(6)) {
    case 0:
      step[place] = (step[place] as number) ^ (1 << random.below(8));
      break;
    case 1:
      step[place] = random.below(256);
      break;
    case 2:
      step[place] = ((step[place] as number) + random.below(9) - 4) & 0xff;
      break;
    case 3:
      if (steps.length > 1) steps.splice(index, 1);
      break;
    case 4:
      steps.splice(index, 0, step.slice());
      break;
    default: {
      const added = new Uint8Array(STEP_BYTES);
      random.fill(added);
      steps.splice(index + random.below(2), 0, added);
    }
  }
}

/** Leaves out whatever is not needed for it to fail. */
function shorten(run: (input: Uint8Array) => void, input: Uint8Array, message: string): Failure {
  let steps = stepsOf(input);
  let last = message;
  for (let size = steps.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at < steps.length && steps.length > size; ) {
      const fewer = [...steps.slice(0, at), ...steps.slice(at + size)];
      const found = messageOf(run, joined(fewer));
      if (found === null) {
        at += size;
      } else {
        steps = fewer;
        last = found;
      }
    }
  }
  return { input: joined(steps), message: last };
}

export function stepsOf(input: Uint8Array): Uint8Array[] {
  const steps: Uint8Array[] = [];
  for (let at = 0; at + STEP_BYTES <= input.length; at += STEP_BYTES) steps.push(input.slice(at, at + STEP_BYTES));
  return steps;
}

function joined(steps: readonly Uint8Array[]): Uint8Array {
  const input = new Uint8Array(STEP_BYTES * steps.length);
  for (const [i, step] of steps.entries()) input.set(step, i * STEP_BYTES);
  return input;
}
