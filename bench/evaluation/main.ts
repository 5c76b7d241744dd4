/**
 * `make evaluation`: measures the three applications against their peers, section by section, and writes the report. What
 * fails is reported and the rest goes on; a bar that is missed is a finding and no failure. Whatever ends it, nothing that
 * it has started or made is left.
 */
import { join, relative } from 'node:path';
import { fail } from '../fail.ts';
import { assertMachine, chooseCores, warnOfLoad } from '../machine.ts';
import { Context } from './context.ts';
import { describeMachine, warnOfMissingPeers } from './describe-machine.ts';
import { type EvaluationOptions, HELP, readEvaluationOptions, type SectionName } from './options.ts';
import { printBars, writeRecord, writeReport } from './report.ts';
import { SECTIONS, type Section } from './sections.ts';

/** What a shell reports for a process that a signal has ended: this, and the signal's number. */
const EXIT_SIGNAL = 128;
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

async function main(args: readonly string[]): Promise<void> {
  const options = readEvaluationOptions(args);
  if (options === undefined) {
    console.log(HELP);
    return;
  }
  if (!options.reportOnly) await measureAll(options, args);
  printBars(writeReport(options.output));
  console.log(`The report is ${relative(process.cwd(), join(options.output, 'evaluation.md'))}.`);
}

async function measureAll(options: EvaluationOptions, args: readonly string[]): Promise<void> {
  assertMachine(false);
  const context = new Context(options, options.cores ?? chooseCores());
  for (const [signal, number] of Object.entries(SIGNALS)) {
    // a second one, as some senders give, finds the tidying under way
    process.on(signal, () => {
      if (context.isOver) return;
      context.tidy().then(
        () => process.exit(EXIT_SIGNAL + number),
        (error: unknown) => {
          console.error(error);
          process.exit(EXIT_SIGNAL + number);
        },
      );
    });
  }
  const commandLine = ['make evaluation', ...(args.length > 0 ? [`ARGS='${args.join(' ')}'`] : [])].join(' ');
  try {
    for (const warning of [warnOfLoad(), warnOfMissingPeers()]) if (warning !== undefined) context.say(warning);
    for (const name of options.sections) {
      await measureSection(context, name, SECTIONS[name], commandLine);
    }
  } finally {
    await context.tidy();
  }
}

async function measureSection(context: Context, name: SectionName, section: Section, commandLine: string) {
  const { options, serverCore, clientCore } = context;
  context.say(`${name}: begins`);
  context.failures = [];
  const date = new Date().toISOString();
  const start = performance.now();
  const machine = describeMachine(serverCore, clientCore);
  const data = await context.attempt(name, 'the whole section', () => section.measure(context));
  await context.releaseAll();
  const tookSeconds = Math.round((performance.now() - start) / 1000);
  context.say(`${name}: ends after ${tookSeconds} s, ${context.failures.length} failures`);
  writeRecord(options.output, {
    section: name,
    date,
    commandLine,
    quick: options.quick,
    rounds: options.rounds,
    secondsPerRound: options.seconds,
    tookSeconds,
    machine,
    failures: context.failures,
    data,
  });
}

main(process.argv.slice(2)).catch((error: unknown) => fail('evaluation', error));
