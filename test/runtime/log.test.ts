import { spawnSync } from 'node:child_process';
import test from 'ava';
import { createLog, silentLog } from '../../src/runtime/log.ts';

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
