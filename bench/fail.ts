/** How a bench ends that cannot go on: what a person can mend is one sentence, anything else keeps its stack. */
import { UsageError } from '../src/cli/arguments.ts';
import { ObstacleError } from './machine.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

/** @param name of the bench, before the sentence */
export function fail(name: string, error: unknown): void {
  const isSentence = error instanceof UsageError || error instanceof ObstacleError;
  console.error(isSentence ? `${name}: ${error.message}` : error);
  process.exitCode = error instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE;
}
