/** `node build/test/packetdrill/main.js FILE...`: runs packetdrill scripts against the stack, in this process and virtual time. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Outcome, runScript, type Verdict } from './runner.ts';

const USAGE = `usage: node build/test/packetdrill/main.js [options] FILE|DIRECTORY...

Runs packetdrill scripts against the stack. Exits with 0 when none has failed, with 1 when one has, with 2 for what makes no sense.

  -D, --define NAME=VALUE  what a name in a script stands for, like a cookie (may be repeated)
  -q, --quiet              only what did not pass
  -h, --help`;

const OPTIONS = {
  define: { type: 'string', short: 'D', multiple: true },
  quiet: { type: 'boolean', short: 'q' },
  help: { type: 'boolean', short: 'h' },
} as const;

function main(): number {
  let parsed: ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>>;
  try {
    parsed = parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (error) {
    return refuse((error as Error).message);
  }
  const { values, positionals } = parsed;
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  if (positionals.length === 0) return refuse('no scripts are named');
  const definitions = new Map<string, string>();
  for (const definition of values.define ?? []) {
    const [name = '', ...value] = definition.split('=');
    if (value.length === 0) return refuse(`--define ${definition} is not NAME=VALUE`);
    definitions.set(name, value.join('='));
  }
  let files: string[];
  try {
    files = positionals.flatMap(filesOf);
  } catch (error) {
    return refuse((error as Error).message);
  }
  const counts: Record<Verdict, number> = { passed: 0, failed: 0, refused: 0 };
  for (const file of files) {
    const outcome = runScript(readFileSync(file, 'utf8'), { definitions });
    counts[outcome.verdict]++;
    if (outcome.verdict !== 'passed' || values.quiet !== true) console.log(describe(file, outcome));
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.refused} refused`);
  return counts.failed > 0 ? 1 : 0;
}

function refuse(message: string): number {
  console.error(`packetdrill: ${message}`);
  return 2;
}

function filesOf(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.pkt'))
    .sort()
    .map((name) => join(path, name));
}

function describe(file: string, { verdict, line, message }: Outcome): string {
  return verdict === 'passed' ? `passed   ${file}` : `${verdict.padEnd(8)} ${file}:${line}: ${message}`;
}

process.exitCode = main();
