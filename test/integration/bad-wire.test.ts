/** Our programs behind a wire that loses, repeats and reorders frames (test/support/bad-wire.ts): the same bytes, only later. */

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  hasBadWire,
  joinBadWire,
  KERNEL_ADDRESS,
  layBadWire,
  PACKET_END,
  TAP_END,
  WIRE_COMMANDS,
} from '../support/bad-wire.ts';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, execute, until } from '../support/commands.ts';
import { ForwardProcess } from '../support/forward-process.ts';
import { enterPrivateNetwork, forbidden } from '../support/netns.ts';
import { PROGRAM } from '../support/program.ts';
import { Site, sha256, temporaryDirectory } from '../support/site.ts';
import { STACK_ADDRESS, TAP_NAME } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const FAULTS = ['seed=7', 'loss=5', 'dup=2', 'reorder=3', 'delay_ms=1'];
const SIZES = [1, 1460, 65_536, 300_000];
const TEST_MS = 180_000;
const SPECIALISATIONS = [
  'merged-cache',
  'precomputed-checksums',
  'packet-merging',
  'header-cache',
  'html-grouping',
  'gso',
  'polling',
  'reuse',
];

function badWireTest(title: string, implementation: (t: ExecutionContext) => Promise<void>): void {
  if (!hasBadWire) return;
  commandTest(title, ['curl', ...WIRE_COMMANDS], (t) => {
    t.timeout(TEST_MS);
    return implementation(t);
  });
}

if (!hasBadWire)
  test('there is no ../shared/tools/wirefault.c beside this checkout: nothing is tested here', (t) => t.pass());

const switches = [
  [],
  ...SPECIALISATIONS.map((name) => [`--no-${name}`]),
  SPECIALISATIONS.map((name) => `--no-${name}`),
];

for (const off of switches) {
  badWireTest(`Cheetah ${off.length === 0 ? 'as it is' : off.join(' ')}`, async (t) => {
    const site = Site.create(t);
    const files = SIZES.map((size) => site.add(`${size}.bin`, size));
    const middle = await layBadWire(t);
    const cheetah = await CheetahProcess.start(t, ['--root', site.root, ...TAP_END, ...off], middle);
    const wire = await joinBadWire(t, middle, { end: 'tap', faults: FAULTS });
    await fetchAll(
      t,
      files.map(({ path }) => `http://${STACK_ADDRESS}${path}`),
      Buffer.concat(files.map(({ contents }) => contents)),
    );
    t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
    t.true((await wire.cut()) > 0);
  });
}

badWireTest('webswamp', async (t) => {
  const body = Buffer.alloc(20_000, 'exonet');
  const port = await serve(t, body);
  const middle = await layBadWire(t);
  const report = join(temporaryDirectory(t), 'report.json');
  const url = `http://${KERNEL_ADDRESS}:${port}/`;
  const args = [PROGRAM, 'webswamp', url, '-c', '16', '-n', '300', '--json', report, ...TAP_END];
  const load = middle.exec(process.execPath, args, TEST_MS);
  // The device is there when the program has opened it; until the wire joins it nothing arrives.
  await until('the TAP device', () => middle.ip('-o', 'link').includes(`${TAP_NAME}:`));
  const wire = await joinBadWire(t, middle, { end: 'tap', faults: FAULTS });
  const { code, stderr } = await load;
  t.is(code, 0, stderr);
  const { requests, errors } = JSON.parse(readFileSync(report, 'utf8')) as { requests: number; errors: number };
  t.is(requests, 300);
  t.is(errors, 0);
  t.true((await wire.cut()) > 0);
});

badWireTest('the forwarder, between clients and backends that are all behind it', async (t) => {
  const body = Buffer.alloc(300_000, 'exonet');
  const port = await serve(t, body);
  const middle = await layBadWire(t);
  const args = ['--listen', `${STACK_ADDRESS}:80`, '--backend', `${KERNEL_ADDRESS}:${port}`, ...PACKET_END];
  const forward = await ForwardProcess.start(middle, args);
  const wire = await joinBadWire(t, middle, { end: 'packet', faults: FAULTS });
  await fetchAll(t, [`http://${STACK_ADDRESS}/`, `http://${STACK_ADDRESS}/`], Buffer.concat([body, body]));
  t.deepEqual(await forward.stop(), { code: 0, signal: null });
  t.true((await wire.cut()) > 0);
});

async function fetchAll(t: ExecutionContext, urls: readonly string[], expected: Buffer): Promise<void> {
  const { code, stdout, stderr } = await execute('curl', ['-sS', '--fail', '--max-time', '120', ...urls], {
    timeoutMs: TEST_MS,
  });
  t.is(code, 0, stderr);
  t.is(stdout.length, expected.length);
  t.is(sha256(stdout), sha256(expected));
}

/** A server of the kernel's TCP that answers everything with `body`; returns its port. */
async function serve(t: ExecutionContext, body: Buffer): Promise<number> {
  const server = createServer((_request, response) => response.end(body));
  await new Promise<void>((resolve) => server.listen(0, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
