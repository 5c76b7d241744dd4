import { renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { FakeFiles } from './fake-files.ts';
import { NOTHING_HELD, parseResponse, Rig, splitResponses } from './rig.ts';

const GET = 'GET /a HTTP/1.1\r\nHost: test\r\n\r\n';

test('a file that changes is a new version for the next request; what began with the old one keeps it', async (t) => {
  await changeUnderWay(t, 0);
});

test('the same when short bodies are joined to their heads: the old body is a copy, and its version can go', async (t) => {
  await changeUnderWay(t, 1024);
});

async function changeUnderWay(t: ExecutionContext, joinedBodyBytes: number): Promise<void> {
  const rig = new Rig({ files: { a: 'old content' }, limits: { joinedBodyBytes } });
  rig.transport.acknowledging = false;
  const early = rig.transport.connect();
  rig.transport.deliver(early, GET);
  await rig.until(() => early.sent.length === (joinedBodyBytes === 0 ? 2 : 1));
  for (const content of ['new', 'a third, longer than the first']) {
    rig.write('a', content, content.length);
    rig.pass(100_000);
    const late = rig.transport.connect();
    rig.transport.deliver(late, GET);
    await rig.until(() => late.sent.length === (joinedBodyBytes === 0 ? 2 : 1));
    t.is(parseResponse(late.take()).body, content);
  }
  t.is(rig.cheetah.holdings.versions, joinedBodyBytes === 0 ? 3 : 1);
  // The transport compares each region with what it held when it was lent.
  for (const connection of rig.transport.connections) rig.transport.acknowledge(connection);
  t.is(rig.cheetah.holdings.versions, 1);
  t.is(parseResponse(early.take()).body, 'old content');
  t.deepEqual(await rig.close(), NOTHING_HELD);
}

test('the entity tag names the version', async (t) => {
  const rig = new Rig({ files: { a: 'one' } });
  const etag = async () => (await rig.get('/a')).fields.get('etag') ?? '';
  const first = await etag();
  t.is(await etag(), first);
  rig.write('a', 'two', 1);
  rig.pass(100_000);
  const second = await etag();
  t.not(second, first);
  t.is((await rig.get('/a', `If-None-Match: ${first}\r\n`)).status, 200);
  t.is((await rig.get('/a', `If-None-Match: ${second}\r\n`)).status, 304);
  // Another content of the same size and time: only the change time tells.
  rig.write('a', 'too', 1);
  rig.pass(100_000);
  t.is((await rig.get('/a')).body, 'too');
  t.not(await etag(), second);
  // The same content touched is the same version.
  const third = await etag();
  rig.write('a', 'too', 1);
  rig.pass(100_000);
  t.is(await etag(), third);
  t.is(rig.cheetah.holdings.versions, 1);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('deleted, replaced and created files show after at most a tenth of a second', async (t) => {
  const rig = new Rig({ files: { a: 'one', b: 'the other' } });
  t.is((await rig.get('/a')).body, 'one');
  unlinkSync(join(rig.root, 'a'));
  t.is((await rig.get('/a')).body, 'one');
  rig.pass(100_000);
  t.is((await rig.get('/a')).status, 404);
  t.is(rig.cheetah.holdings.versions, 0);
  renameSync(join(rig.root, 'b'), join(rig.root, 'a'));
  t.is((await rig.get('/a')).status, 404);
  rig.pass(100_000);
  t.is((await rig.get('/a')).body, 'the other');
  rig.pass(3_600_000_000);
  rig.write('a', 'after an hour', 9);
  t.is((await rig.get('/a')).body, 'after an hour');
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a path in use is checked ahead of time and never waits', async (t) => {
  const source = new FakeFiles();
  source.add('a', 'text');
  const rig = new Rig({ source });
  await rig.get('/a');
  for (let i = 0; i < 50; i++) {
    rig.pass(20_000);
    const connection = rig.transport.connect();
    rig.transport.deliver(connection, GET);
    rig.transport.turn();
    t.is(connection.sent.length, 1, `after ${i * 20} ms`);
    await setImmediate();
  }
  t.is(rig.cheetah.counters.get('cacheMisses'), 1);
  t.true(source.finds >= 10 && source.finds <= 25, `${source.finds} lookups`);
  t.is(source.reads, 1);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('requests that miss together share one lookup and one read', async (t) => {
  const source = new FakeFiles();
  source.add('a', 'text');
  const rig = new Rig({ source });
  const connections = Array.from({ length: 30 }, () => rig.transport.connect());
  connections.forEach((connection, i) => {
    // Two spellings of one name: two lookups, one read.
    rig.transport.deliver(connection, GET.replace('/a', i % 2 === 0 ? '/a' : '/%61'));
  });
  await rig.until(() => connections.every((connection) => connection.sent.length === 1));
  t.is(source.finds, 2);
  t.is(source.opens, 1);
  t.is(rig.cheetah.holdings.versions, 1);
  for (const connection of connections) t.is(parseResponse(connection.take()).body, 'text');
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('while one file is read the others are served', async (t) => {
  const source = new FakeFiles();
  source.add('slow', 'slow');
  source.add('a', 'quick');
  let letGo: () => void = () => undefined;
  const rig = new Rig({ source });
  await rig.get('/a');
  source.beforeRead = () => new Promise((resolve) => (letGo = resolve));
  const slow = rig.transport.connect();
  rig.transport.deliver(slow, GET.replace('/a', '/slow'));
  for (let i = 0; i < 5; i++) t.is((await rig.get('/a')).body, 'quick');
  t.is(slow.sent.length, 0);
  letGo();
  await rig.until(() => slow.sent.length === 1);
  t.is(parseResponse(slow.take()).body, 'slow');
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a file that changes while it is read is read again, and never served torn', async (t) => {
  const source = new FakeFiles();
  const file = source.add('a', 'a'.repeat(50));
  let changes = 2;
  source.beforeRead = () => {
    if (changes-- > 0) file.change('b'.repeat(changes === 0 ? 50 : 70));
  };
  const rig = new Rig({ source });
  t.is((await rig.get('/a')).body, 'b'.repeat(50));
  t.is(source.opens, 3);
  changes = 1000;
  file.change('x');
  rig.pass(100_000);
  t.is((await rig.get('/a')).status, 503);
  changes = 0;
  rig.pass(100_000);
  t.is((await rig.get('/a')).status, 200);
  t.is(source.openNow, 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a file changed the moment before it was read is looked at once more', async (t) => {
  const source = new FakeFiles();
  const file = source.add('a', 'first');
  const rig = new Rig({ source });
  file.mtimeNs = BigInt(rig.clock.wallMs()) * 1_000_000n;
  t.is((await rig.get('/a')).body, 'first');
  // Written again within the granularity of the clock: nothing about the file tells.
  file.content = Buffer.from('other');
  rig.pass(100_000);
  const second = await rig.get('/a');
  t.is(second.body, 'other');
  rig.pass(100_000);
  t.is((await rig.get('/a')).fields.get('etag'), second.fields.get('etag'));
  t.is(source.reads, 2);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('errors of the disk: 403 for what may not be read, 503 for trouble, and neither lasts', async (t) => {
  const source = new FakeFiles();
  source.add('a', 'text');
  let code = 'EACCES';
  source.beforeRead = () => {
    if (code !== '') throw Object.assign(new Error('no'), { code });
  };
  const rig = new Rig({ source });
  t.is((await rig.get('/a')).status, 403);
  code = 'EIO';
  rig.pass(100_000);
  const trouble = await rig.get('/a');
  t.is(trouble.status, 503);
  t.is(trouble.fields.get('retry-after'), '1');
  code = '';
  rig.pass(100_000);
  t.is((await rig.get('/a')).status, 200);
  source.beforeFind = () => {
    throw new Error('a defect');
  };
  rig.pass(100_000);
  t.is((await rig.get('/a')).status, 500);
  t.is(source.openNow, 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('what is asked for least is evicted, what is being sent never', async (t) => {
  const source = new FakeFiles();
  for (let i = 0; i < 12; i++) source.add(`f${i}`, String.fromCharCode(97 + i).repeat(100_000));
  // Room for ten of them.
  const rig = new Rig({ source, limits: { cacheBytes: 1_024_000 } });
  rig.transport.acknowledging = false;
  const pinned = rig.transport.connect();
  rig.transport.deliver(pinned, GET.replace('/a', '/f0'));
  await rig.until(() => pinned.sent.length === 2);
  rig.transport.acknowledging = true;
  const hold = rig.transport.acknowledge.bind(rig.transport);
  rig.transport.acknowledge = (connection, regions) => {
    if (connection !== pinned) hold(connection, regions);
  };
  for (let round = 0; round < 3; round++) {
    for (let i = 1; i < 12; i++) t.is((await rig.get(`/f${i}`)).body.length, 100_000);
  }
  t.true(rig.cheetah.counters.get('versionsEvicted') > 0);
  t.true(rig.cheetah.cachedBytes <= 1_024_000);
  t.is(parseResponse(pinned.take()).body, 'a'.repeat(100_000));
  const { opens } = source;
  await rig.get('/f0');
  t.is(source.opens, opens);
  rig.transport.acknowledge = hold;
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('files without a byte count against the number of versions', async (t) => {
  const source = new FakeFiles();
  for (let i = 0; i < 40; i++) source.add(`f${i}`, '');
  const rig = new Rig({ source, limits: { maxVersions: 8 } });
  for (let i = 0; i < 40; i++) t.is((await rig.get(`/f${i}`)).status, 200);
  t.true(rig.cheetah.holdings.versions <= 8);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('names that do not exist push out no file and take no memory', async (t) => {
  const rig = new Rig({ files: { a: 'text' }, limits: { maxPaths: 64 } });
  await rig.get('/a');
  const misses = rig.cheetah.counters.get('cacheMisses');
  for (let i = 0; i < 40; i++) {
    const requests = Array.from({ length: 10 }, (_, j) => GET.replace('/a', `/none-${i}-${j}`)).join('') + GET;
    const responses = splitResponses(await rig.exchange(requests, 11));
    t.deepEqual(
      responses.map(({ status }) => status),
      [...new Array(10).fill(404), 200],
    );
  }
  t.is(rig.cheetah.counters.get('cacheMisses') - misses, 400);
  t.is(rig.cheetah.holdings.versions, 1);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('very long names are looked up each time', async (t) => {
  const source = new FakeFiles();
  const name = Array.from({ length: 20 }, () => 'd'.repeat(100)).join('/');
  source.add(name, 'deep');
  const rig = new Rig({ source });
  for (let i = 0; i < 3; i++) t.is((await rig.get(`/${name}`)).body, 'deep');
  t.is(source.finds, 3);
  t.is(source.opens, 1);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});
