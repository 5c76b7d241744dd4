/** What the person at the command line asks of an evaluation. */
import { parseArguments, readInteger } from '../../src/cli/arguments.ts';
import { readCores, readNames } from '../options.ts';

export const SECTION_NAMES = ['sweep', 'attribution', 'webswamp', 'forwarder', 'semantics'] as const;
export type SectionName = (typeof SECTION_NAMES)[number];

export interface EvaluationOptions {
  readonly quick: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
  readonly sections: readonly SectionName[];
  readonly cores: readonly [server: number, client: number] | undefined;
  /** Where evaluation.md and its folder are written. */
  readonly output: string;
  /** Nothing is measured: the report is written from what lies there. */
  readonly reportOnly: boolean;
}

export const HELP = `make evaluation [ARGS='...']   or   node build/bench/evaluation/main.js [options]

Measures the three applications against their peers in network namespaces of its own (root), and writes
docs/evaluation.md with its charts and raw figures. A peer that is not installed is reported and left out.

  --quick            one short round of everything: shows that it works, not how fast it is
  --only LIST        of these sections (default all): ${SECTION_NAMES.join(', ')}
  --rounds N         rounds, the parties taking turns in each (default 5, quick 1)
  --seconds N        seconds of load of each party in a round (default 3, quick 1)
  --connections N    connections of the load (default 64)
  --cores S,C        processors of the servers and of the load (default: the first two cores)
  --output DIR       where evaluation.md goes (default docs)
  --report           measure nothing; write the report from the raw figures there`;

const MAX_ROUNDS = 1000;
const MAX_SECONDS = 600;
const MAX_CONNECTIONS = 10_000;

const ARGUMENTS = {
  quick: { type: 'boolean' },
  only: { type: 'string', default: SECTION_NAMES.join(',') },
  rounds: { type: 'string' },
  seconds: { type: 'string' },
  connections: { type: 'string', default: '64' },
  cores: { type: 'string' },
  output: { type: 'string', default: 'docs' },
  report: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Reads the arguments; undefined when they ask for help. Throws `UsageError`. */
export function readEvaluationOptions(args: readonly string[]): EvaluationOptions | undefined {
  const values = parseArguments(args, ARGUMENTS);
  if (values.help === true) return undefined;
  const quick = values.quick === true;
  return {
    quick,
    rounds: readInteger('rounds', values.rounds ?? (quick ? '1' : '5'), 1, MAX_ROUNDS),
    seconds: readInteger('seconds', values.seconds ?? (quick ? '1' : '3'), 1, MAX_SECONDS),
    connections: readInteger('connections', values.connections, 1, MAX_CONNECTIONS),
    sections: readNames(values.only, SECTION_NAMES),
    cores: values.cores === undefined ? undefined : readCores(values.cores),
    output: values.output,
    reportOnly: values.report === true,
  };
}
