/** `make fuzz`: fuzzes the stack until the time is up, or something is wrong. */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { fuzz, type Progress, STEP_BYTES } from './fuzzer.ts';
import { StackTarget } from './stack-target.ts';

const USAGE = `usage: make fuzz [ARGS='OPTIONS']
  --seconds N    how long (default 600)
  --seed N       where to begin (default: the time)
  --replay FILE  runs one input that failed, and nothing else`;

const COVERED = /\/build\/src\/(tcp|libos|wire)\//;
const FAILURE_FILE = 'fuzz-failure.bin';
const REPORT_MS = 10_000;

function main(): number {
  const options = {
    seconds: { type: 'string', default: '600' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    replay: { type: 'string' },
    help: { type: 'boolean' },
  } as const;
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];
  try {
    values = parseArgs({ options }).values;
  } catch (error) {
    console.error(`fuzz: ${(error as Error).message}`);
    return 2;
  }
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  const seconds = Number(values.seconds);
  const seed = Number(values.seed);
  if (!(seconds > 0) || !Number.isInteger(seed)) {
    console.error('fuzz: --seconds is a number above 0, and --seed an integer');
    return 2;
  }
  const target = new StackTarget();
  if (values.replay !== undefined) {
    target.run(readFileSync(values.replay));
    console.log('nothing is wrong with it');
    return 0;
  }
  return report(target, seed, seconds);
}

function report(target: StackTarget, seed: number, seconds: number): number {
  const began = Date.now();
  let reported = began;
  let last: Progress = { inputs: 0, steps: 0, kept: 0, reached: 0 };
  const say = () =>
    console.log(
      `${Math.round((Date.now() - began) / 1000)} s: ${last.inputs} inputs of ${last.steps} steps, ${last.kept} kept, ${last.reached} characters of source run`,
    );
  const failure = fuzz({
    seed,
    covers: COVERED,
    run: (input) => target.run(input),
    goOn: (progress) => {
      last = progress;
      if (Date.now() - reported > REPORT_MS) {
        reported = Date.now();
        say();
      }
      return Date.now() - began < 1000 * seconds;
    },
  });
  say();
  if (failure === null) return 0;
  writeFileSync(FAILURE_FILE, failure.input);
  console.error(
    `${failure.message}\n${failure.input.length / STEP_BYTES} steps, from --seed ${seed}; replay: make fuzz ARGS='--replay ${FAILURE_FILE}'`,
  );
  return 1;
}

process.exitCode = main();
