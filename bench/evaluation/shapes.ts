/** What a section of the evaluation leaves: figures as they were measured, and what is shown of them. */
import type { MachineDescription } from './describe-machine.ts';

/** Something that did not work, whatever else did. */
export interface Failure {
  readonly party: string;
  readonly where: string;
  readonly reason: string;
}

/** A section's measurements as they lie in its JSON file. */
export interface SectionRecord<Data = unknown> {
  readonly section: string;
  /** When it began, UTC. */
  readonly date: string;
  readonly commandLine: string;
  readonly quick: boolean;
  readonly rounds: number;
  readonly secondsPerRound: number;
  readonly tookSeconds: number;
  readonly machine: MachineDescription;
  readonly failures: readonly Failure[];
  readonly data: Data;
}

export interface Table {
  readonly title: string;
  readonly rows: readonly (readonly string[])[];
}

/** Groups of bars: `series[s].values[g]` is the height in group g, null where nothing was measured. */
export interface Chart {
  /** Of its file, without the ending. */
  readonly name: string;
  readonly title: string;
  /** What a bar's height is, in words. */
  readonly unit: string;
  readonly groups: readonly string[];
  readonly series: readonly { readonly name: string; readonly values: readonly (number | null)[] }[];
  /** Each group by itself, its tallest bar 1: for groups of different size. */
  readonly relative?: boolean;
}

/** A part of the time of a processor. */
export interface Bucket {
  readonly name: string;
  readonly part: number;
}

/** Where the processor time of a program went. */
export interface ProfileSummary {
  readonly what: string;
  readonly buckets: readonly Bucket[];
  /** What the buckets with a name come to, of the time that the program's core was busy. */
  readonly explained: number;
}

/** A requirement of the issue, and what was found. */
export interface Bar {
  readonly claim: string;
  readonly threshold: string;
  /** As it is printed; null where it could not be measured. */
  readonly figure: string | null;
  readonly isMet: boolean;
  /** For one that is missed: which profile says why. */
  readonly profile?: ProfileSummary | undefined;
}

export interface Presentation {
  readonly notes: readonly string[];
  readonly tables: readonly Table[];
  readonly charts: readonly Chart[];
  readonly bars: readonly Bar[];
}

/** A bar of the form `figure >= atLeast`; a figure that is missing misses it. */
export function atLeast(claim: string, threshold: number, figure: number | undefined, unit = 'x'): Bar {
  const known = figure !== undefined && Number.isFinite(figure);
  return {
    claim,
    threshold: `>= ${threshold}${unit === 'x' ? ' x' : ` ${unit}`}`,
    figure: known ? `${figure.toFixed(2)} ${unit}` : null,
    isMet: known && figure >= threshold,
  };
}
