/**
 * Files larger than the cache will take: streamed with bounded memory, and broken off with a reset when they change.
 * `make test-large` fetches all of the 4 GiB, otherwise a part of it is enough.
 */
import { closeSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, execute, until } from '../support/commands.ts';
import { get, HttpClient } from '../support/http-client.ts';
import { enterPrivateNetwork, forbidden, integrationTest } from '../support/netns.ts';
import { Site, temporaryDirectory } from '../support/site.ts';
import { STACK_ADDRESS, TAP } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const SPARSE_BYTES = 4 * GIB + 12_345;
/** How much of it is fetched: its end, in which all that is not zero lies. */
const FETCHED_BYTES = process.env.EXONET_LARGE === '1' ? SPARSE_BYTES : 256 * MIB;
const FETCH_TIMEOUT_MS = process.env.EXONET_LARGE === '1' ? 600_000 : 60_000;
/** The program and its streams' memory; the file is many times as long, and so is what the cache may hold. */
const RESIDENT_LIMIT_BYTES = 200 * MIB;
const MARK = 'the end of a very long file';

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

commandTest('a sparse file of 4 GiB is streamed with bounded memory', ['curl'], async (t) => {
  const file = join(temporaryDirectory(t), 'sparse.bin');
  const handle = openSync(file, 'w');
  writeSync(handle, MARK, SPARSE_BYTES - MARK.length);
  closeSync(handle);
  const cheetah = await CheetahProcess.serve(t, TAP, join(file, '..'));
  const pid = cheetah.child.pid ?? 0;
  let largest = 0;
  let running = true;
  const watch = (async () => {
    while (running) {
      largest = Math.max(largest, residentBytes(pid));
      await sleep(20);
    }
  })();
  const url = `http://${STACK_ADDRESS}/sparse.bin`;
  const args = ['-sS', '--fail', '-r', `${SPARSE_BYTES - FETCHED_BYTES}-`, url];
  const script = 'set -o pipefail; curl "$@" | tail -c 27';
  const { code, stdout } = await execute('bash', ['-c', script, 'curl', ...args], { timeoutMs: FETCH_TIMEOUT_MS });
  const counted = await execute(
    'bash',
    ['-c', 'curl "$@" -o /dev/null -w "%{size_download} %{http_code}"', 'curl', ...args],
    {
      timeoutMs: FETCH_TIMEOUT_MS,
    },
  );
  running = false;
  await watch;
  t.deepEqual([code, stdout.toString()], [0, MARK]);
  t.is(counted.stdout.toString(), `${FETCHED_BYTES} 206`);
  t.true(largest > 0 && largest < RESIDENT_LIMIT_BYTES, `${Math.round(largest / MIB)} MiB resident`);
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  t.is(cheetah.stderr, '');
});

integrationTest('a streamed file that changes under way ends with a reset and a line in the log', async (t) => {
  const site = Site.create(t);
  const file = site.add('large.bin', 40 * MIB);
  // A quarter of the cache is less than the file.
  const cheetah = await CheetahProcess.serve(t, TAP, site.root, '--cache-size', '64');
  const client = await HttpClient.connect(t);
  client.write(get(file.path));
  while (client.bufferedBytes < MIB) await client.more();
  client.socket.pause();
  truncateSync(file.file, 20 * MIB);
  client.socket.resume();
  await until('the reset', () => client.failed);
  t.false(client.ended);
  t.true(client.bufferedBytes < file.contents.length);
  const received = client.takeAll();
  const bodyAt = received.indexOf('\r\n\r\n') + 4;
  const body = received.subarray(bodyAt);
  t.true(body.equals(file.contents.subarray(0, body.length)), 'no byte of another version');
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  const [line = '', ...more] = cheetah.stderr.trimEnd().split('\n');
  t.deepEqual(more, []);
  const { level, path, msg } = JSON.parse(line) as Record<string, unknown>;
  t.deepEqual([level, path, msg], [40, file.file, 'response broken off: connection reset']);
});
