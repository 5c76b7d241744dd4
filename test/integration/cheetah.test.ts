/** `exonet cheetah` as a process, over every wire, fetched from by curl and by raw sockets of the kernel's. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { createCheetah } from '../../src/host/create-cheetah.ts';
import { findBadPackets, readConnections } from '../support/capture.ts';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, execute, until, within } from '../support/commands.ts';
import { get, HttpClient } from '../support/http-client.ts';
import { findKernelErrors } from '../support/kernel-errors.ts';
import { findLeaks } from '../support/leaks.ts';
import { enterPrivateNetwork, forbidden, integrationTest } from '../support/netns.ts';
import { Site, sha256, temporaryDirectory } from '../support/site.ts';
import { openStack, SOCKETS, STACK_ADDRESS, TAP, VETH_PLAIN, WIRES } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const URL_BASE = `http://${STACK_ADDRESS}`;
const SIZES = [0, 1, 1460, 65_536, 10_000_000];

for (const wire of [...WIRES, SOCKETS]) {
  commandTest(`curl fetches files of every size over ${wire.name}`, ['curl', 'tshark'], async (t) => {
    const site = Site.create(t);
    const files = SIZES.map((size) => site.add(`${size}.bin`, size));
    const capture = join(temporaryDirectory(t), 'curl.pcap');
    const captured = wire !== SOCKETS;
    const cheetah = await CheetahProcess.serve(t, wire, site.root, ...(captured ? ['--pcap', capture] : []));
    for (const file of files) {
      // The first time from the disk, then from the cache.
      for (const round of [1, 2]) {
        const { code, stdout } = await execute('curl', ['-sS', '--fail', `${URL_BASE}${file.path}`]);
        t.is(code, 0, `${file.path} ${round}`);
        t.is(stdout.length, file.contents.length);
        t.is(sha256(stdout), file.sha256, `${file.path} ${round}`);
      }
    }
    await stop(t, cheetah);
    if (captured) t.deepEqual(await findBadPackets(capture), []);
  });

  commandTest(`100 curls in parallel over ${wire.name}`, ['curl'], async (t) => {
    const site = Site.create(t);
    const file = site.add('some.bin', 100_000);
    const results = temporaryDirectory(t);
    const cheetah = await CheetahProcess.serve(t, wire, site.root);
    const script =
      'for i in $(seq 100); do curl -sS --fail --max-time 50 -o "$1/$i" "$2?$i" || echo "curl $i: $?" & done; wait';
    const { stdout, stderr } = await execute('bash', ['-c', script, 'bash', results, `${URL_BASE}${file.path}`]);
    t.is(stdout.toString() + stderr, '');
    const digests = Array.from({ length: 100 }, (_, index) => sha256(readFileSync(join(results, `${index + 1}`))));
    t.deepEqual(new Set(digests), new Set([file.sha256]));
    await stop(t, cheetah);
  });

  integrationTest(`keep-alive: requests pipelined, in pieces and byte by byte, over ${wire.name}`, async (t) => {
    const site = Site.create(t);
    const files = Array.from({ length: 20 }, (_, index) => site.add(`${index}.bin`, 1 + index * 1000));
    const cheetah = await CheetahProcess.serve(t, wire, site.root);
    const client = await HttpClient.connect(t);
    // Twice: the second time everything is in the cache.
    for (const round of [1, 2]) {
      client.write(files.map(({ path }) => get(path)).join(''));
      for (const file of files) {
        const { status, body } = await client.read();
        t.is(status, 200);
        t.is(sha256(body), file.sha256, `${file.path} ${round}`);
      }
    }
    const file = site.add('again.bin', 1000);
    const request = get(file.path);
    for (let split = 1; split < request.length; split++) {
      client.write(request.slice(0, split));
      // Long enough for the first piece to be read on its own.
      await sleep(2);
      client.write(request.slice(split));
      const { status, body } = await client.read();
      t.is(status, 200, `split at ${split}`);
      t.is(sha256(body), file.sha256);
    }
    for (const byte of request) {
      client.write(byte);
      await sleep(1);
    }
    t.is(sha256((await client.read()).body), file.sha256);
    // A pipeline whose last request ends the connection.
    client.write(files.map(({ path }) => get(path)).join('') + get('/0.bin', 'Connection: close'));
    for (const file of files) t.is(sha256((await client.read()).body), file.sha256);
    t.regex((await client.read()).head, /^Connection: close\r$/im);
    await client.readEnd();
    await stop(t, cheetah);
  });

  integrationTest(
    `clients that reset in the middle, and one that closes its half first, over ${wire.name}`,
    async (t) => {
      const site = Site.create(t);
      const file = site.add('large.bin', 10_000_000);
      const cheetah = await CheetahProcess.serve(t, wire, site.root);
      const impatient = Array.from({ length: 20 }, async () => {
        const client = await HttpClient.connect(t);
        client.write(get(file.path) + get(file.path));
        while (client.bufferedBytes < 100_000) await client.more();
        client.socket.resetAndDestroy();
      });
      await Promise.all(impatient);
      const halfClosed = await HttpClient.connect(t);
      halfClosed.socket.end(get(file.path) + get('/'));
      t.is(sha256((await halfClosed.read()).body), file.sha256);
      t.is((await halfClosed.read()).status, 404);
      await halfClosed.readEnd();
      // Closed before it has asked for anything whole.
      const mute = await HttpClient.connect(t);
      mute.socket.end('GET / HT');
      await mute.readEnd();
      await stop(t, cheetah);
    },
  );
}

for (const wire of [TAP, VETH_PLAIN]) {
  commandTest(`Connection: close puts the FIN on the last data over ${wire.name}`, ['curl', 'tshark'], async (t) => {
    const site = Site.create(t);
    const small = site.add('small.bin', 100);
    const large = site.add('large.bin', 65_536);
    const capture = join(temporaryDirectory(t), 'close.pcap');
    const cheetah = await CheetahProcess.serve(t, wire, site.root, '--pcap', capture);
    const rounds = 20;
    for (const { path } of [small, large]) {
      const urls = Array.from({ length: rounds }, () => ['-o', '/dev/null', `${URL_BASE}${path}`]).flat();
      t.is((await execute('curl', ['-sS', '--fail', '-H', 'Connection: close', ...urls])).code, 0);
    }
    await stop(t, cheetah);
    const connections = await readConnections(capture);
    t.is(connections.length, 2 * rounds);
    for (const segments of connections) {
      const fins = segments.filter(({ fin }) => fin);
      t.is(fins.length, 1);
      t.true((fins[0]?.length ?? 0) > 0, 'the FIN is on a data segment');
      t.is(fins[0], segments.filter(({ length }) => length > 0).at(-1), 'and on the last one');
    }
    // Where nothing has to be read from the disk, the first segment is the answer: none only acknowledges the request.
    const direct = connections.filter((segments) => (segments[0]?.length ?? 0) > 0);
    t.true(direct.length > rounds, `${direct.length}`);
    // A small answer is one segment, head and body and FIN.
    const single = connections.filter((segments) => segments.filter(({ length }) => length > 0).length === 1);
    t.true(single.length >= rounds);
    t.deepEqual(await findBadPackets(capture), []);
  });
}

for (const wire of [TAP, VETH_PLAIN]) {
  integrationTest(`resets in the middle leave nothing behind in Cheetah, over ${wire.name}`, async (t) => {
    const site = Site.create(t);
    // One that is kept in the cache, and one that is too large for it.
    const files = [site.add('cached.bin', 2_000_000), site.add('streamed.bin', 8_000_000)];
    const host = await openStack(t, wire, { tcpSettings: { timeWaitUs: 200_000 } });
    const cheetah = createCheetah(host, {
      root: site.root,
      port: 80,
      cacheBytes: 16_000_000,
    });
    cheetah.start();
    for (let round = 0; round < 20; round++) {
      const clients = await Promise.all(files.map(() => HttpClient.connect(t)));
      for (const [index, client] of clients.entries()) {
        const path = files[index]?.path ?? '';
        client.write(get(path) + get(path));
        while (client.bufferedBytes < round * 50_000) await client.more();
        client.socket.resetAndDestroy();
      }
    }
    await until('the connections to be gone', () => cheetah.liveConnections === 0);
    // A stream ends when the read that was under way has ended.
    await until('what they held to be given back', () => {
      const { headBytes, streams, lookups } = cheetah.holdings;
      return headBytes + streams + lookups === 0;
    });
    for (const file of files) {
      const client = await HttpClient.connect(t);
      client.write(get(file.path, 'Connection: close'));
      t.is(sha256((await client.read()).body), file.sha256);
      await client.readEnd();
    }
    await within('Cheetah to close', cheetah.close());
    t.deepEqual(cheetah.holdings, { versions: 0, blocks: 0, headBytes: 0, streams: 0, copies: 0, lookups: 0 });
    t.is(cheetah.cachedBytes, 0);
    await until('everything to be given back', () => findLeaks(host).length === 0).catch(() => {});
    t.deepEqual(findLeaks(host), []);
    t.deepEqual(findKernelErrors(), []);
  });
}

/** The server has nothing to complain of, ends well, and the kernel has not seen a bad packet. */
async function stop(t: ExecutionContext, cheetah: CheetahProcess): Promise<void> {
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  t.is(cheetah.stderr, '');
  t.deepEqual(findKernelErrors(), []);
}
