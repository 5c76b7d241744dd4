#!/usr/bin/env node
/**
 * Runs ava over the compiled tests and ends with the line `N passed, N failed, N skipped`.
 *
 *   node scripts/run-tests.mjs [all | unit | integration] [ava arguments ...]
 *
 * The tests must have been compiled (`make build-test`); they run on the Node that runs this script. With
 * EXONET_INTEGRATION=require a skipped test is a failure: the caller says that this machine has every right it takes.
 * The exit code is 0 only when at least one test passed and none failed.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PATTERNS = {
  all: [],
  unit: ['test/**/*.test.ts', '!test/integration/**', '!test/packaging.test.ts'],
  integration: ['test/integration/**/*.test.ts'],
};

const [suite = 'all', ...rest] = process.argv.slice(2);
const patterns = PATTERNS[suite];
if (patterns === undefined) {
  console.error(`run-tests: no suite '${suite}', there are: ${Object.keys(PATTERNS).join(', ')}`);
  process.exit(2);
}

const project = fileURLToPath(new URL('..', import.meta.url));
const ava = fileURLToPath(new URL('../node_modules/ava/entrypoints/cli.mjs', import.meta.url));
const child = spawn(process.execPath, [ava, '--tap', ...patterns, ...rest], {
  cwd: project,
  stdio: ['ignore', 'pipe', 'inherit'],
});
// A Ctrl-C reaches ava through the terminal; wait for it, so that the counts are printed all the same.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => child.kill('SIGTERM'));

let passed = 0;
let failed = 0;
let skipped = 0;
/** Title and explanation of every failure, to be repeated at the end. */
const failures = [];
const skips = [];
/** Lines of the failure being read, until the next test. */
let explanation = null;

/** One line of TAP: a result, a comment, or the YAML that explains the result before it. */
function takeLine(line) {
  const result = /^(ok|not ok) \d+ - (.*?)(?: # (SKIP|TODO)\b.*)?$/.exec(line);
  if (result !== null) {
    const [, verdict, title, directive] = result;
    explanation = null;
    if (directive !== undefined) {
      skipped++;
      skips.push(title);
      console.log(`- ${title} (${directive.toLowerCase()})`);
    } else if (verdict === 'ok') {
      passed++;
      console.log(`✔ ${title}`);
    } else {
      failed++;
      explanation = [];
      failures.push({ title, explanation });
      console.log(`✘ ${title}`);
    }
  } else if (/^(TAP version|1\.\.\d|# (tests|pass|skip|fail|todo) \d|---|\.\.\.|\s*$)/.test(line)) {
    // The frame that TAP puts around the results.
  } else {
    console.log(`  ${line}`);
    explanation?.push(line);
  }
}

let pending = '';
child.stdout.setEncoding('utf8');
child.stdout.on('data', (text) => {
  const lines = (pending + text).split('\n');
  pending = lines.pop() ?? '';
  for (const line of lines) takeLine(line);
});

child.on('error', (error) => {
  console.error(`run-tests: cannot run ava: ${error.message}`);
  process.exitCode = 1;
});

child.on('close', (code, signal) => {
  if (pending !== '') takeLine(pending);
  for (const failure of failures) {
    console.log(`\n✘ ${failure.title}`);
    for (const line of failure.explanation) console.log(`  ${line}`);
  }
  console.log('');
  if (process.env.EXONET_INTEGRATION === 'require' && skipped > 0) {
    console.log(`EXONET_INTEGRATION=require, but skipped: ${skips.join('; ')}`);
    failed += skipped;
    skipped = 0;
  }
  if (failed === 0 && (code !== 0 || passed === 0)) {
    console.log(passed === 0 && code === 0 ? 'No test ran.' : `ava ended with ${signal ?? `exit code ${code}`}.`);
    failed = 1;
  }
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = failed > 0 ? 1 : 0;
});
