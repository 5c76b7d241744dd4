#!/usr/bin/env node
/** `exonet COMMAND [options]`: finds the command, and turns errors into one sentence and an exit code. */
import { readFileSync } from 'node:fs';
import { DeviceError } from '../driver/device.ts';
import { inlineAcrossLayers } from '../runtime/engine.ts';
import { UsageError, usageSentence } from './arguments.ts';
import { CHEETAH_SUMMARY, cheetah } from './cheetah.ts';
import { DEMO_SUMMARY, demo } from './demo.ts';
import { DUT_SUMMARY, dut } from './dut.ts';
import { FORWARD_SUMMARY, forward } from './forward.ts';
import { WEBSWAMP_SUMMARY, webswamp } from './webswamp.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

interface Command {
  readonly summary: string;
  /** Starts the command, which then lives by what it has opened. */
  readonly run: (args: readonly string[]) => void;
}

const COMMANDS = new Map<string, Command>([
  ['cheetah', { summary: CHEETAH_SUMMARY, run: cheetah }],
  ['webswamp', { summary: WEBSWAMP_SUMMARY, run: webswamp }],
  ['demo', { summary: DEMO_SUMMARY, run: demo }],
  ['forward', { summary: FORWARD_SUMMARY, run: forward }],
  ['dut', { summary: DUT_SUMMARY, run: dut }],
]);

function help(): string {
  const commands = [...COMMANDS].map(([name, { summary }]) => `  ${name.padEnd(12)}${summary}`).join('\n');
  return `exonet: application-level networking, TCP/IP in user space\n\nusage: exonet COMMAND [options]\n\n${commands}\n\nexonet COMMAND --help lists the options of a command; exonet --version prints the version.`;
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function main(args: readonly string[]): void {
  inlineAcrossLayers();
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    console.log(help());
  } else if (name === '--version' || name === '-v') {
    console.log(version());
  } else {
    const command = COMMANDS.get(name);
    if (command === undefined) {
      throw new UsageError(`There is no command ${name}; there is ${[...COMMANDS.keys()].join(', ')}.`);
    }
    command.run(rest);
  }
}

/** Errors that a person can do something about are one sentence; any other is a defect and keeps its stack. */
function fail(error: unknown): void {
  const usage = usageSentence(error);
  if (usage !== undefined) {
    console.error(`exonet: ${usage}`);
    process.exitCode = EXIT_USAGE;
  } else if (error instanceof DeviceError || isSystemError(error)) {
    console.error(`exonet: ${error.message}`);
    process.exitCode = EXIT_FAILURE;
  } else {
    console.error(error);
    process.exitCode = EXIT_FAILURE;
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}

try {
  main(process.argv.slice(2));
} catch (error) {
  fail(error);
}
