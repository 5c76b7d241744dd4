/**
 * Every specialisation of Cheetah on and off, over a bad wire: the same bytes arrive, and counters prove that what is on
 * happened and what is off did not.
 */
import test, { type ExecutionContext } from 'ava';
import { ALL_SPECIALISATIONS, type Specialisations } from '../../src/servers/cheetah/specialisations.ts';
import { DEFAULT_TCP_SETTINGS } from '../../src/tcp/settings.ts';
import { ETHERNET_BYTES } from '../../src/wire/ethernet.ts';
import { ipv4HeaderBytes, ipv4Protocol, PROTOCOL_TCP } from '../../src/wire/ipv4.ts';
import { TCP_ACK, TCP_FIN, TCP_SYN, tcpFlags, tcpHeaderBytes } from '../../src/wire/tcp.ts';
import { splitResponses } from '../servers/cheetah/rig.ts';
import { CheetahWorld } from '../support/cheetah-world.ts';
import { TIMER_LATE_US } from '../support/raw-world.ts';

const FAULTS = { loss: 0.05, reordering: 0.05, duplication: 0.05 };
const BAD_WIRE = { delayUs: 2000, bitsPerSecond: 200_000_000, faults: FAULTS };
const GOOD_WIRE = { delayUs: 2000, bitsPerSecond: 200_000_000 };
/** The last is too large for the cache of 1 MiB. */
const SIZES = [0, 1, 100, 1447, 1448, 10_001, 100_000, 200_001, 300_001];
const CACHED_SIZES = SIZES.filter((size) => size <= 256 * 1024);

type Name = keyof Specialisations;
/** Without `polling`, which is the reactor's: there is none in virtual time. */
const NAMES: readonly Name[] = [
  'mergedCache',
  'precomputedChecksums',
  'packetMerging',
  'headerCache',
  'htmlGrouping',
  'gso',
  'reuse',
];

const PAGE = '<!doctype html><title>page</title><link rel="stylesheet" href="/style.css"><img src="/logo.png">';
const INCLUDED = ['/style.css', '/logo.png'] as const;

function contentOf(size: number): Buffer {
  const content = Buffer.alloc(size);
  for (let i = 0; i < size; i++) content[i] = Math.imul(i + size, 0x9e3779b1) >>> 21;
  return content;
}

function addFiles(cheetah: CheetahWorld): void {
  for (const size of SIZES) cheetah.files.add(`${size}`, contentOf(size));
}

/** A page, and what it includes when the page has come. */
async function getPage(t: ExecutionContext, cheetah: CheetahWorld): Promise<void> {
  cheetah.files.add('page.html', Buffer.from(PAGE));
  for (const [index, path] of INCLUDED.entries()) cheetah.files.add(path.slice(1), contentOf(2000 + index));
  const page = splitResponses((await cheetah.get('/page.html')).output.toString('latin1'));
  t.deepEqual(
    page.map(({ body }) => body),
    [PAGE],
  );
  assertResponses(t, (await cheetah.get(...INCLUDED)).output, [2000, 2001]);
}

/** The responses are these files, whole and in order. */
function assertResponses(t: ExecutionContext, output: Buffer, sizes: readonly number[]): void {
  const responses = splitResponses(output.toString('latin1'));
  t.deepEqual(
    responses.map(({ status, body }) => [status, body.length]),
    sizes.map((size) => [200, size]),
  );
  for (const [index, { body, fields }] of responses.entries()) {
    const size = sizes[index] ?? 0;
    t.true(Buffer.from(body, 'latin1').equals(contentOf(size)), `${size}`);
    t.is(fields.get('content-length'), `${size}`);
    t.truthy(fields.get('date'));
  }
}

const allOff = Object.fromEntries(NAMES.map((name) => [name, false])) as Partial<Specialisations>;
const CASES: readonly (readonly [string, Partial<Specialisations>])[] = [
  ['all on', {}],
  ...NAMES.map((name) => [`${name} off`, { [name]: false }] as const),
  ['all off', allOff],
];

for (const offload of [true, false]) {
  for (const [index, [title, specialisations]] of CASES.entries()) {
    test(`the same bytes with ${title}, ${offload ? 'with' : 'without'} offload`, async (t) => {
      const on = { ...ALL_SPECIALISATIONS, ...specialisations };
      const cheetah = new CheetahWorld({ seed: 100 + index, link: { ...BAD_WIRE, offload }, specialisations });
      addFiles(cheetah);
      // Three connections: the first finds nothing in the cache; each asks for everything twice.
      for (let round = 0; round < 3; round++) {
        const sizes = [...SIZES, ...SIZES];
        const fetch = await cheetah.get(...sizes.map((size) => `/${size}`));
        t.is(fetch.error, '');
        assertResponses(t, fetch.output, sizes);
      }
      // A few more that take less than a second together.
      for (let round = 0; round < 4; round++) await cheetah.get('/1', '/100', '/1', '/100');
      await getPage(t, cheetah);
      const { tcp } = cheetah.world.b;
      const server = cheetah.cheetah.snapshot();
      const cachedBytes = 6 * CACHED_SIZES.reduce((sum, size) => sum + size, 0) + 4 * 202 + PAGE.length + 4001;
      t.is(server.payloadBytesCopied, on.mergedCache ? 0 : cachedBytes);
      t.is(server.bytesSummedAtLoad > 0, !offload && on.precomputedChecksums && on.mergedCache);
      t.is(server.headBytesSummed > 0, !offload && on.precomputedChecksums);
      t.is(server.headsReused > 0, on.headerCache);
      t.is(server.recordsReused, on.reuse ? 8 : 0);
      t.is(tcp.counters.get('connectionsReused'), on.reuse ? 8 : 0);
      t.is(server.groupsRead, on.htmlGrouping ? 1 : 0);
      t.is(server.groupHits, on.htmlGrouping ? 2 : 0);
      t.is(tcp.counters.get('superFramesSent') > 0, offload && on.gso);
      t.is(tcp.counters.get('acksMerged') > 0, on.packetMerging);
      t.is(tcp.counters.get('finsMerged') > 0, on.packetMerging);
      t.deepEqual(await cheetah.close(), []);
    });
  }
}

for (const [wire, link] of [
  ['a good wire', GOOD_WIRE],
  ['a bad wire', BAD_WIRE],
] as const) {
  for (const precomputedChecksums of [true, false]) {
    const switched = precomputedChecksums ? 'on' : 'off';
    test(`payload bytes summed for cached files over ${wire}, precomputedChecksums ${switched}`, async (t) => {
      const cheetah = new CheetahWorld({ seed: 7, link, specialisations: { precomputedChecksums } });
      addFiles(cheetah);
      const paths = CACHED_SIZES.map((size) => `/${size}`);
      await cheetah.get(...paths);
      const { counters } = cheetah.world.b.tcp;
      const before = counters.get('payloadBytesSummed');
      const sentBefore = counters.get('payloadBytesSent');
      const loaded = cheetah.cheetah.counters.get('bytesSummedAtLoad');
      for (let round = 0; round < 5; round++) assertResponses(t, (await cheetah.get(...paths)).output, CACHED_SIZES);
      const sent = counters.get('payloadBytesSent') - sentBefore;
      t.true(sent > 5 * 300_000);
      t.is(counters.get('bytesRetransmitted') > 0, link === BAD_WIRE);
      t.is(counters.get('payloadBytesSummed') - before, precomputedChecksums ? 0 : sent);
      // Once, when they were read.
      t.is(cheetah.cheetah.counters.get('bytesSummedAtLoad'), loaded);
      t.is(loaded, precomputedChecksums ? CACHED_SIZES.reduce((sum, size) => sum + size, 0) : 0);
      t.deepEqual(await cheetah.close(), []);
    });
  }
}

test('mergedCache: what is sent, and sent again, lies where the cache has it', async (t) => {
  const cheetah = new CheetahWorld({ seed: 11, link: BAD_WIRE });
  addFiles(cheetah);
  await cheetah.get('/200001');
  const { tcp } = cheetah.world.b;
  const addRegion = tcp.queue.addRegion.bind(tcp.queue);
  let regions = 0;
  let lowest = Number.POSITIVE_INFINITY;
  let highest = 0;
  tcp.queue.addRegion = (at, length) => {
    addRegion(at, length);
    // Heads, and what goes with one, are shorter.
    if (length < 1200) return;
    regions++;
    lowest = Math.min(lowest, at);
    highest = Math.max(highest, at + length);
  };
  for (let round = 0; round < 5; round++) assertResponses(t, (await cheetah.get('/200001')).output, [200_001]);
  t.true(tcp.counters.get('bytesRetransmitted') > 0);
  t.true(regions > 5 * 100);
  t.true(highest - lowest <= 200_001, 'five responses and what was sent again, from the memory of one');
  t.deepEqual(await cheetah.close(), []);
});

test('a range of a cached file costs less than a step of the grid at each end', async (t) => {
  const cheetah = new CheetahWorld({ link: GOOD_WIRE });
  addFiles(cheetah);
  await cheetah.get('/100000');
  const { counters } = cheetah.world.b.tcp;
  const before = counters.get('payloadBytesSummed');
  const fetch = cheetah.fetch(
    'GET /100000 HTTP/1.1\r\nHost: test\r\nRange: bytes=12345-67891\r\nConnection: close\r\n\r\n',
  );
  await cheetah.until(() => fetch.closed);
  const [response] = splitResponses(fetch.output.toString('latin1'));
  t.is(response?.status, 206);
  t.true(Buffer.from(response?.body ?? '', 'latin1').equals(contentOf(100_000).subarray(12_345, 67_892)));
  const summed = counters.get('payloadBytesSummed') - before;
  t.true(summed > 0 && summed <= 62, `${summed}`);
  t.deepEqual(await cheetah.close(), []);
});

/** What the server's stack sends, and when. */
function watch(cheetah: CheetahWorld): { timeUs: number; length: number; flags: number }[] {
  const segments: { timeUs: number; length: number; flags: number }[] = [];
  cheetah.onFrame = (bytes, at, frameBytes, direction, timeUs) => {
    const ipAt = at + ETHERNET_BYTES;
    if (direction !== 'bToA' || ipv4Protocol(bytes, ipAt) !== PROTOCOL_TCP) return;
    const tcpAt = ipAt + ipv4HeaderBytes(bytes, ipAt);
    const flags = tcpFlags(bytes, tcpAt);
    if ((flags & TCP_SYN) !== 0) return;
    segments.push({ timeUs, length: frameBytes - (tcpAt - at) - tcpHeaderBytes(bytes, tcpAt), flags });
  };
  return segments;
}

test('packetMerging: an answer carries the acknowledgment and the FIN, found in the cache or not', async (t) => {
  const cheetah = new CheetahWorld({ link: GOOD_WIRE });
  addFiles(cheetah);
  for (const round of ['from disk', 'from the cache']) {
    const segments = watch(cheetah);
    assertResponses(t, (await cheetah.get('/100')).output, [100]);
    const [answer, last, ...more] = segments;
    t.true((answer?.length ?? 0) > 100, round);
    t.true(((answer?.flags ?? 0) & TCP_FIN) !== 0, round);
    // The client's FIN is acknowledged by itself: there is nothing to come that it could ride on.
    t.deepEqual([last?.length, last?.flags, more.length], [0, TCP_ACK, 0], round);
  }
  t.deepEqual(await cheetah.close(), []);
});

test('packetMerging: when the answer is slow, the acknowledgment leaves by itself at its deadline', async (t) => {
  const cheetah = new CheetahWorld({ link: { delayUs: 2000 } });
  addFiles(cheetah);
  let release: () => void = () => {};
  cheetah.files.beforeFind = () => new Promise((resolve) => (release = resolve));
  const segments = watch(cheetah);
  const fetch = cheetah.fetch('GET /100 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n');
  await cheetah.until(() => cheetah.cheetah.holdings.lookups === 1);
  const askedUs = cheetah.world.clock.nowUs();
  cheetah.world.run(1_000_000);
  t.is(segments.length, 1);
  t.deepEqual([segments[0]?.length, segments[0]?.flags], [0, TCP_ACK]);
  const waitedUs = (segments[0]?.timeUs ?? 0) - askedUs;
  const { delayedAckUs } = DEFAULT_TCP_SETTINGS;
  t.true(waitedUs >= delayedAckUs && waitedUs <= delayedAckUs + TIMER_LATE_US, `${waitedUs}`);
  release();
  await cheetah.until(() => fetch.closed);
  assertResponses(t, fetch.output, [100]);
  t.deepEqual(await cheetah.close(), []);
});

test('without packetMerging the acknowledgment leaves at once, and the FIN by itself', async (t) => {
  const cheetah = new CheetahWorld({ link: GOOD_WIRE, specialisations: { packetMerging: false } });
  addFiles(cheetah);
  await cheetah.get('/100');
  const segments = watch(cheetah);
  assertResponses(t, (await cheetah.get('/100')).output, [100]);
  const [ack, answer, fin] = segments;
  t.deepEqual([ack?.length, ack?.flags], [0, TCP_ACK]);
  t.true((answer?.length ?? 0) > 100);
  t.is((answer?.flags ?? 0) & TCP_FIN, 0);
  t.deepEqual([fin?.length, fin?.flags], [0, TCP_ACK | TCP_FIN]);
  t.deepEqual(await cheetah.close(), []);
});

test('without mergedCache a client that takes nothing pins its own buffer and no more', async (t) => {
  const cheetah = new CheetahWorld({
    link: GOOD_WIRE,
    specialisations: { mergedCache: false },
    clientSettings: { receiveBufferBytes: 16_384 },
  });
  addFiles(cheetah);
  await cheetah.get('/200001');
  const before = cheetah.cheetah.counters.get('payloadBytesCopied');
  const stuck = Array.from({ length: 12 }, () => {
    const fetch = cheetah.fetch('GET /200001 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n');
    fetch.paused = true;
    return fetch;
  });
  await cheetah.until(() => cheetah.cheetah.holdings.copies === 12);
  cheetah.world.run(1_000_000);
  // 12 connections of at most 128 KiB each, and 1 MiB for all of them.
  const copied = cheetah.cheetah.counters.get('payloadBytesCopied') - before;
  t.true(copied <= 1024 * 1024, `${copied}`);
  t.is(cheetah.cheetah.holdings.copies, 12);
  for (const fetch of stuck) fetch.resume();
  await cheetah.until(() => stuck.every(({ closed }) => closed));
  for (const fetch of stuck) assertResponses(t, fetch.output, [200_001]);
  t.deepEqual(await cheetah.close(), []);
});

test('without mergedCache connections that are reset in the middle give everything back', async (t) => {
  const cheetah = new CheetahWorld({ link: GOOD_WIRE, specialisations: { mergedCache: false } });
  addFiles(cheetah);
  await cheetah.get('/200001');
  for (let bytes = 0; bytes < 200_000; bytes += 20_000) {
    const fetch = cheetah.fetch('GET /200001 HTTP/1.1\r\nHost: test\r\n\r\n');
    await cheetah.until(() => fetch.connection !== null && fetch.receivedBytes >= bytes);
    cheetah.world.a.tcp.abort(fetch.connection as NonNullable<typeof fetch.connection>, 'ECONNABORTED');
    cheetah.world.a.stack.wake();
    await cheetah.until(() => fetch.closed && cheetah.cheetah.liveConnections === 0);
    t.is(cheetah.cheetah.holdings.copies, 0);
  }
  // They may have been cut short, and never be confused with another's.
  assertResponses(t, (await cheetah.get('/200001', '/1', '/200001')).output, [200_001, 1, 200_001]);
  t.deepEqual(await cheetah.close(), []);
});
