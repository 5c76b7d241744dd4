import { spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { collectLines, createLog, silentLog } from '../../src/runtime/log.ts';

function createLines() {
  const lines: Record<string, unknown>[] = [];
  return { lines, destination: { write: (line: string) => lines.push(JSON.parse(line)) } };
}

test('writes one object a line, at its level and above', (t) => {
  const { lines, destination } = createLines();
  const log = createLog('info', destination);
  log.trace({}, 'no');
  log.debug({}, 'no');
  log.info({ port: 80 }, 'listening');
  log.warn({}, 'careful');
  log.error({ code: 'EPERM' }, 'refused');
  t.deepEqual(
    lines.map((line) => line.msg),
    ['listening', 'careful', 'refused'],
  );
  t.is(lines[0]?.port, 80);
  t.is(lines[2]?.code, 'EPERM');
});

test('a child carries its fields', (t) => {
  const { lines, destination } = createLines();
  createLog('trace', destination).child({ room: 'tcp' }).child({ id: 3 }).trace({ seq: 1 }, 'input');
  t.is(lines.length, 1);
  t.like(lines[0], { room: 'tcp', id: 3, seq: 1, msg: 'input' });
});

function linesOf(text: string): number[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).n);
}

test('collected lines are written together, in their order, and soon', async (t) => {
  const file = join(mkdtempSync(join(tmpdir(), 'exonet-log-')), 'log');
  // It stays open: it is written to until the process ends.
  const descriptor = openSync(file, 'w');
  t.teardown(() => rmSync(dirname(file), { recursive: true }));
  const log = createLog('info', collectLines(descriptor));
  log.info({ n: 0 }, 'line');
  t.is(readFileSync(file, 'utf8'), '');
  while (readFileSync(file, 'utf8') === '') await delay(10);
  t.deepEqual(linesOf(readFileSync(file, 'utf8')), [0]);
  const count = 1000;
  for (let n = 1; n < count; n++) log.info({ n }, 'line');
  // What waits is bounded.
  t.true(linesOf(readFileSync(file, 'utf8')).length > count / 2);
  while (linesOf(readFileSync(file, 'utf8')).length < count) await delay(10);
  t.deepEqual(
    linesOf(readFileSync(file, 'utf8')),
    Array.from({ length: count }, (_, n) => n),
  );
});

for (const [title, end] of [
  ['exit', 'process.exit(0)'],
  ['an error', "throw new Error('expected')"],
  ['nothing left to do', ''],
] as const) {
  test(`collected lines are not lost at the end of the process: ${title}`, (t) => {
    const script = `
      import { collectLines, createLog } from ${JSON.stringify(new URL('../../src/runtime/log.js', import.meta.url).href)};
      const log = createLog('info', collectLines());
      for (let n = 0; n < 300; n++) log.info({ n }, 'line');
      ${end}`;
    const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    const written = stderr.split('\n').filter((line) => line.startsWith('{'));
    t.is(written.length, 300);
  });
}

test('silence', (t) => {
  const { lines, destination } = createLines();
  const log = createLog('silent', destination);
  log.error({}, 'unheard');
  silentLog.error({}, 'unheard');
  silentLog.child({ a: 1 }).info({}, 'unheard');
  t.deepEqual(lines, []);
});

test('goes to standard error, and nothing is lost when the process ends at once', (t) => {
  const program = `
    const { createLog } = await import(${JSON.stringify(new URL('../../src/runtime/log.js', import.meta.url).href)});
    createLog('info').info({ n: 1 }, 'last words');
    process.exit(0);`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  t.is(child.stdout, '');
  t.is(JSON.parse(child.stderr).msg, 'last words');
});
