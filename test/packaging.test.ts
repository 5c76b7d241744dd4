/** `npm pack` gives a package that installs, runs and has types elsewhere; it is made from dist/ as `make build` left it. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'ava';

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

const project = resolve('.');
const elsewhere = mkdtempSync(join(tmpdir(), 'exonet-packaging-'));
let packedFiles: readonly string[] = [];

function run(command: string, ...words: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(command, words, { cwd: elsewhere, encoding: 'utf8', timeout: 110_000 });
}

/** Both outputs of a run that had to succeed, for the message of a failed assertion. */
function outputs(done: SpawnSyncReturns<string>): string {
  return `exit code ${done.status}\n${done.stdout}\n${done.stderr}`;
}

test.before((t) => {
  t.timeout(240_000);
  t.true(existsSync('dist/cli/main.js'), 'dist/ is missing: make build');
  const pack = spawnSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', elsewhere], {
    encoding: 'utf8',
  });
  t.is(pack.status, 0, outputs(pack));
  const [packed] = Object.values(JSON.parse(pack.stdout) as Record<string, Packed>);
  t.assert(packed);
  packedFiles = packed?.files.map((file) => file.path) ?? [];
  writeFileSync(join(elsewhere, 'package.json'), '{ "name": "elsewhere", "private": true, "type": "module" }\n');
  // What `npm ci` fetched for this project lies in npm's cache, so that this seldom needs the registry.
  const install = run(
    'npm',
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    join(elsewhere, packed?.filename ?? ''),
  );
  t.is(install.status, 0, outputs(install));
});

test.after.always(() => {
  rmSync(elsewhere, { recursive: true, force: true });
});

test('holds the compiled program, its types, its licence, and nothing of the workshop', (t) => {
  for (const path of ['package.json', 'LICENSE', 'README.md', 'dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js']) {
    t.true(packedFiles.includes(path), path);
  }
  t.deepEqual(
    packedFiles.filter((path) => /^(src|test|bench|build|node_modules|scripts|docker|\.ci)\//.test(path)),
    [],
  );
});

test('npx exonet --help prints the usage', (t) => {
  const help = run('npx', '--no-install', 'exonet', '--help');
  t.is(help.status, 0, outputs(help));
  t.regex(help.stdout, /cheetah/);
});

test('a command that does not exist ends with 2 and one sentence', (t) => {
  // not through npx, which has an exit code of its own
  const refused = run(join(elsewhere, 'node_modules/.bin/exonet'), 'no-such-command');
  t.is(refused.status, 2, outputs(refused));
  t.is(refused.stderr.trim().split('\n').length, 1, refused.stderr);
});

test("import 'exonet' runs", (t) => {
  writeFileSync(
    join(elsewhere, 'run.js'),
    "import * as exonet from 'exonet';\nconsole.log(Object.keys(exonet).length);\n",
  );
  const done = run(process.execPath, 'run.js');
  t.is(done.status, 0, outputs(done));
  t.true(Number(done.stdout) > 0, 'it exports something');
});

test("import 'exonet' has types, and the examples compile against them", (t) => {
  const sources = ['use.ts'];
  writeFileSync(
    join(elsewhere, 'use.ts'),
    "import * as exonet from 'exonet';\nexport const names: string[] = Object.keys(exonet);\n",
  );
  if (existsSync('examples/echo.ts')) {
    copyFileSync('examples/echo.ts', join(elsewhere, 'echo.ts'));
    sources.push('echo.ts');
  }
  const compiler = join(project, 'node_modules/typescript/bin/tsc');
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--skipLibCheck'];
  const types = ['--typeRoots', join(project, 'node_modules/@types'), '--types', 'node'];
  const compiled = run(process.execPath, compiler, ...options, ...types, '--allowImportingTsExtensions', ...sources);
  t.is(compiled.status, 0, outputs(compiled));
});
