/** Cheetah's specialisations as the kernel and a capture see them: what each does on a real wire, on and off. */
import { rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Device } from '../../src/driver/device.ts';
import { createCheetah } from '../../src/host/create-cheetah.ts';
import { ALL_SPECIALISATIONS, type Specialisations, tcpSettingsOf } from '../../src/servers/cheetah/specialisations.ts';
import { findBadPackets, readConnections } from '../support/capture.ts';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, execute, until, within } from '../support/commands.ts';
import { get, HttpClient } from '../support/http-client.ts';
import { findKernelErrors } from '../support/kernel-errors.ts';
import { LossyDevice } from '../support/lossy-device.ts';
import { enterPrivateNetwork, forbidden, integrationTest } from '../support/netns.ts';
import { Site, type SiteFile, sha256, temporaryDirectory } from '../support/site.ts';
import { openStack, STACK_ADDRESS, TAP, TAP_PLAIN, VETH_PLAIN, type Wire } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const URL_BASE = `http://${STACK_ADDRESS}`;
const ROUNDS = 30;
/** Until the next request sees a change, and some more for a machine that is busy. */
const SEEN_MS = 10_000;

interface Counters {
  readonly cheetah: Record<string, number>;
  readonly tcp: Record<string, number>;
}

/** Serves, has `use` fetch, ends; returns what was counted. */
async function count(t: ExecutionContext, wire: Wire, root: string, args: string[], use: () => Promise<void>) {
  const cheetah = await CheetahProcess.serve(t, wire, root, '--log-level', 'info', ...args);
  await use();
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  const line = cheetah.stderr.split('\n').find((text) => text.includes('"counters"')) ?? '';
  return (JSON.parse(line) as { counters: Counters }).counters;
}

async function fetchAll(t: ExecutionContext, file: SiteFile, times: number, ...args: string[]): Promise<void> {
  const urls = Array.from({ length: times }, () => `${URL_BASE}${file.path}`);
  const { code, stdout } = await execute('curl', ['-sS', '--fail', ...args, ...urls]);
  t.is(code, 0);
  t.is(stdout.length, times * file.contents.length);
  t.is(sha256(stdout.subarray(0, file.contents.length)), file.sha256);
}

for (const wire of [TAP, VETH_PLAIN]) {
  for (const on of [true, false]) {
    commandTest(
      `packet merging ${on ? 'on' : 'off'}, in a capture over ${wire.name}`,
      ['curl', 'tshark'],
      async (t) => {
        const site = Site.create(t);
        const file = site.add('1k.bin', 1000);
        const capture = join(temporaryDirectory(t), 'merging.pcap');
        const args = ['--pcap', capture, ...(on ? [] : ['--no-packet-merging'])];
        const use = () => fetchAll(t, file, ROUNDS, '-H', 'Connection: close');
        const { tcp } = await count(t, wire, site.root, args, use);
        t.deepEqual(await findBadPackets(capture), []);
        const connections = await readConnections(capture);
        t.is(connections.length, ROUNDS);
        const loneFins = connections.filter((segments) => segments.some(({ length, fin }) => fin && length === 0));
        const pureAcks = connections.filter((segments) => segments[0]?.length === 0);
        t.is(loneFins.length, on ? 0 : ROUNDS);
        // An answer that the disk of a busy machine holds up for 40 ms is acknowledged before, and rightly so.
        if (on) t.true(pureAcks.length < ROUNDS / 2, `${pureAcks.length}`);
        else t.is(pureAcks.length, ROUNDS);
        t.is(tcp.finsMerged, on ? ROUNDS : 0);
        t.is((tcp.acksMerged ?? 0) > 0, on);
      },
    );
  }
}

const FILE_BYTES = 100_000;
const TIMES = 20;
const OFF = ['--no-merged-cache', '--no-gso', '--no-header-cache', '--no-reuse'];
type Check = (t: ExecutionContext, counters: Counters) => void;

const ALL_ON_TAP: Check = (t, { cheetah, tcp }) => {
  t.is(cheetah.payloadBytesCopied, 0);
  t.is(cheetah.bytesSummedAtLoad, 0);
  t.is(tcp.payloadBytesSummed, 0);
  t.true((tcp.superFramesSent ?? 0) > 0);
  t.true((cheetah.headsReused ?? 0) > 0);
};

const ALL_OFF_TAP: Check = (t, { cheetah, tcp }) => {
  t.is(cheetah.payloadBytesCopied, TIMES * FILE_BYTES);
  t.is(tcp.superFramesSent, 0);
  t.is(cheetah.headsReused, 0);
  t.is(cheetah.recordsReused, 0);
  t.is(tcp.connectionsReused, 0);
};

const SUMS: Check = (t, { cheetah, tcp }) => {
  t.is(tcp.payloadBytesSummed, 0);
  t.is(cheetah.bytesSummedAtLoad, FILE_BYTES);
};

const NO_SUMS: Check = (t, { cheetah, tcp }) => {
  t.true((tcp.payloadBytesSummed ?? 0) >= TIMES * FILE_BYTES);
  t.is(cheetah.bytesSummedAtLoad, 0);
};

const COUNTED: readonly (readonly [Wire, string[], Check])[] = [
  [TAP, [], ALL_ON_TAP],
  [TAP, OFF, ALL_OFF_TAP],
  [TAP_PLAIN, [], SUMS],
  [TAP_PLAIN, ['--no-precomputed-checksums'], NO_SUMS],
  [VETH_PLAIN, [], SUMS],
  [VETH_PLAIN, ['--no-precomputed-checksums'], NO_SUMS],
];

for (const [wire, args, check] of COUNTED) {
  commandTest(`counters prove what happened over ${wire.name} ${args.join(' ')}`, ['curl'], async (t) => {
    const site = Site.create(t);
    const file = site.add('some.bin', FILE_BYTES);
    check(t, await count(t, wire, site.root, args, () => fetchAll(t, file, TIMES)));
    t.deepEqual(findKernelErrors(), []);
  });
}

const ALL_OFF: Specialisations = {
  mergedCache: false,
  precomputedChecksums: false,
  packetMerging: false,
  headerCache: false,
  htmlGrouping: false,
  gso: false,
  polling: false,
  reuse: false,
};

for (const wire of [TAP, TAP_PLAIN, VETH_PLAIN]) {
  for (const specialisations of [ALL_SPECIALISATIONS, ALL_OFF]) {
    const title = specialisations === ALL_OFF ? 'all off' : 'all on';
    integrationTest(`the same bytes while frames are lost, ${title}, over ${wire.name}`, async (t) => {
      const site = Site.create(t);
      const files = [0, 1, 1000, 1448, 100_001, 1_000_000].map((size) => site.add(`${size}.bin`, size));
      const wrap = (device: Device): Device => new LossyDevice(device, wire.offload ? 0.05 : 0.02, 1);
      const tcpSettings = { ...tcpSettingsOf(specialisations), timeWaitUs: 200_000 };
      const host = await openStack(t, wire, { wrap, tcpSettings });
      const cheetah = createCheetah(host, {
        root: site.root,
        port: 80,
        cacheBytes: 16_000_000,
        specialisations,
      });
      cheetah.start();
      for (let round = 0; round < 3; round++) {
        const client = await HttpClient.connect(t);
        client.write(files.map(({ path }) => get(path)).join(''));
        for (const file of files) t.is(sha256((await client.read()).body), file.sha256, file.path);
        client.socket.end();
      }
      t.true(host.tcp.counters.get('bytesRetransmitted') > 0);
      await within('Cheetah to close', cheetah.close());
      t.deepEqual(findKernelErrors(), []);
    });
  }
}

commandTest('SIGUSR1 prints what was counted so far', ['curl'], async (t) => {
  const site = Site.create(t);
  const file = site.add('some.bin', 1000);
  const cheetah = await CheetahProcess.serve(t, TAP, site.root);
  await fetchAll(t, file, 3);
  cheetah.child.kill('SIGUSR1');
  await until('the table', () => /^cheetah\.requests +3$/m.test(cheetah.stderr));
  t.regex(cheetah.stderr, /^tcp\.payloadBytesSent +\d+$/m);
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
});

for (const args of [[], ['--no-merged-cache']]) {
  const title = args.length === 0 ? '' : `, ${args.join(' ')}`;
  integrationTest(`a file that changes on disk never changes a response that began${title}`, async (t) => {
    const site = Site.create(t);
    const harms: readonly ((file: SiteFile) => void)[] = [
      ({ file }) => writeFileSync(file, 'quite another content'),
      ({ file }) => truncateSync(file, 1000),
      ({ file }) => rmSync(file),
    ];
    const cheetah = await CheetahProcess.serve(t, TAP, site.root, ...args);
    for (const [index, harm] of harms.entries()) {
      // More than the buffers between here and there hold.
      const file = site.add(`${index}.bin`, 30_000_000);
      const slow = await HttpClient.connect(t);
      slow.write(get(file.path));
      while (slow.bufferedBytes < 100_000) await slow.more();
      slow.socket.pause();
      harm(file);
      const expected = index === 2 ? 404 : 200;
      const changed = index === 2 ? null : statSync(file.file).size;
      const beganMs = Date.now();
      for (;;) {
        const other = await HttpClient.connect(t);
        const askedMs = Date.now();
        other.write(get(file.path, 'Connection: close'));
        const { status, body } = await other.read();
        await other.readEnd();
        if (status === expected && (changed === null || body.length === changed)) break;
        t.true(askedMs - beganMs <= 150, 'a request after a tenth of a second sees the new version');
        t.true(Date.now() - beganMs < SEEN_MS);
      }
      slow.socket.resume();
      const { status, body } = await slow.read();
      t.is(status, 200);
      t.is(sha256(body), file.sha256);
      slow.socket.end();
    }
    t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
    t.is(cheetah.stderr, '');
  });
}
