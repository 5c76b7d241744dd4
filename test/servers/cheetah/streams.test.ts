import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { silentLog } from '../../../src/runtime/log.ts';
import { FakeFiles } from './fake-files.ts';
import { NOTHING_HELD, parseResponse, Rig, splitResponses } from './rig.ts';

const MIB = 1024 * 1024;
const LIMITS = { cacheBytes: MIB, streamMemoryBytes: MIB, streamChunkBytes: 64 * 1024 };
const GET = 'GET /big HTTP/1.1\r\nHost: test\r\n\r\n';

function makeContent(bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  for (let i = 0; i + 4 <= bytes; i += 4) content.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i);
  return content;
}

const CONTENT = makeContent(1_500_001);

test('a file too large for the cache is sent past it, from the disk', async (t) => {
  const rig = new Rig({ files: { big: CONTENT, small: 'x' }, limits: LIMITS });
  const response = await rig.get('/big');
  t.is(response.fields.get('content-length'), String(CONTENT.length));
  t.true(Buffer.from(response.body, 'latin1').equals(CONTENT));
  t.is(rig.cheetah.counters.get('streams'), 1);
  t.is(rig.cheetah.holdings.versions, 0);
  t.is(rig.cheetah.counters.get('bodyBytes'), CONTENT.length);
  const etag = response.fields.get('etag');
  t.is((await rig.get('/big', `If-None-Match: ${etag}\r\n`)).status, 304);
  const head = await rig.get('/big', '', 'HEAD');
  t.is(head.fields.get('content-length'), String(CONTENT.length));
  t.is(head.body, '');
  const range = await rig.get('/big', 'Range: bytes=100000-299999\r\n');
  t.is(range.status, 206);
  t.is(range.fields.get('content-range'), `bytes 100000-299999/${CONTENT.length}`);
  t.true(Buffer.from(range.body, 'latin1').equals(CONTENT.subarray(100_000, 300_000)));
  t.is((await rig.get('/big', 'Range: bytes=9000000-\r\n')).status, 416);
  t.is((await rig.get('/big', 'If-Match: "x"\r\n')).status, 412);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('requests before and behind a large file keep their order', async (t) => {
  const rig = new Rig({ files: { big: CONTENT.subarray(0, 400_000), a: 'small' }, limits: LIMITS });
  const small = GET.replace('/big', '/a');
  const responses = splitResponses(await rig.exchange(small + GET + small + GET + small, 5));
  t.deepEqual(
    responses.map(({ body }) => body.length),
    [5, 400_000, 5, 400_000, 5],
  );
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('FIN is queued with the last piece', async (t) => {
  const rig = new Rig({ files: { big: CONTENT }, limits: LIMITS });
  const connection = rig.transport.connect();
  rig.transport.deliver(connection, GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
  let sentWhenClosed = 0;
  const close = rig.transport.close.bind(rig.transport);
  rig.transport.close = (which) => {
    sentWhenClosed = which.output.length;
    close(which);
  };
  await rig.until(() => connection.closed);
  t.true(sentWhenClosed > CONTENT.length);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('memory is bounded by two pieces a stream, whatever the client takes', async (t) => {
  const rig = new Rig({ files: { big: CONTENT }, limits: LIMITS });
  rig.transport.acknowledging = false;
  const connection = rig.transport.connect();
  rig.transport.deliver(connection, GET);
  await rig.until(() => connection.sent.length === 3);
  for (let i = 0; i < 50; i++) {
    rig.transport.turn();
    await setImmediate();
  }
  t.is(connection.sent.length, 3);
  let most = 0;
  while (connection.output.length < CONTENT.length) {
    rig.transport.acknowledge(connection, 1);
    await rig.until(() => rig.cheetah.holdings.streams === 0 || connection.lent.length === 2);
    most = Math.max(
      most,
      connection.lent.reduce((sum, lent) => sum + lent.bytes, 0),
    );
  }
  t.true(most <= 3 * LIMITS.streamChunkBytes);
  t.true(Buffer.from(parseResponse(connection.take()).body, 'latin1').equals(CONTENT));
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('many streams share the memory, and slow clients do not starve the others', async (t) => {
  const rig = new Rig({ files: { big: CONTENT }, limits: { ...LIMITS, streamMemoryBytes: 512 * 1024 } });
  rig.transport.acknowledging = false;
  const connections = Array.from({ length: 20 }, () => rig.transport.connect());
  for (const connection of connections) rig.transport.deliver(connection, GET);
  const [stuck, ...others] = connections;
  await rig.until(() => {
    for (const connection of others) rig.transport.acknowledge(connection, 1);
    return others.every((one) => one.sentBytes > CONTENT.length);
  });
  for (const connection of others) {
    t.true(Buffer.from(parseResponse(connection.take()).body, 'latin1').equals(CONTENT));
  }
  t.true((stuck?.output.length ?? 0) < CONTENT.length);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a file that changes, shrinks or fails under way breaks the response off, with a line in the log', async (t) => {
  for (const harm of ['change', 'shrink', 'touch', 'fail'] as const) {
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (fields: object) => warnings.push(JSON.stringify(fields)) };
    const source = new FakeFiles();
    const file = source.add('big', CONTENT);
    const rig = new Rig({ source, limits: LIMITS, log });
    source.beforeRead = (_, position) => {
      if (position < 500_000) return;
      if (harm === 'change') file.change(Buffer.alloc(CONTENT.length));
      if (harm === 'shrink') file.content = file.content.subarray(0, 400_000);
      if (harm === 'touch') file.ctimeNs++;
      if (harm === 'fail') throw new Error('I/O error');
    };
    const connection = rig.transport.connect();
    rig.transport.deliver(connection, GET);
    await rig.until(() => connection.dead);
    t.true(connection.aborted, harm);
    const { body } = parseResponse(connection.take());
    t.true(body.length < CONTENT.length);
    t.true(Buffer.from(body, 'latin1').equals(CONTENT.subarray(0, body.length)), harm);
    t.is(warnings.length, 1);
    t.is(rig.cheetah.counters.get('streamsBroken'), 1);
    t.deepEqual(await rig.close(), NOTHING_HELD);
    t.is(source.openNow, 0);
  }
});

test('clients that leave in the middle leave nothing behind', async (t) => {
  const source = new FakeFiles();
  source.add('big', CONTENT);
  const rig = new Rig({ source, limits: LIMITS });
  rig.transport.acknowledging = false;
  for (let steps = 0; steps < 40; steps++) {
    const connection = rig.transport.connect();
    rig.transport.deliver(connection, GET);
    for (let i = 0; i < steps; i++) {
      rig.transport.turn();
      if (i % 5 === 4) rig.transport.acknowledge(connection, 1);
      await setImmediate();
    }
    rig.transport.reset(connection);
    rig.transport.turn();
  }
  await rig.until(() => rig.cheetah.holdings.streams === 0);
  t.is(source.openNow, 0);
  t.is(rig.cheetah.liveConnections, 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a file that would fit, but not beside what is being sent, is streamed', async (t) => {
  const source = new FakeFiles();
  for (let i = 0; i < 5; i++) source.add(`f${i}`, CONTENT.subarray(0, 250_000));
  const rig = new Rig({ source, limits: LIMITS });
  rig.transport.acknowledging = false;
  const connections = Array.from({ length: 5 }, () => rig.transport.connect());
  for (const [i, connection] of connections.entries()) {
    rig.transport.deliver(connection, GET.replace('/big', `/f${i}`));
    await rig.until(() => connection.sent.length > 1);
  }
  t.is(rig.cheetah.counters.get('streams'), 1);
  rig.transport.acknowledging = true;
  await rig.until(() => rig.cheetah.holdings.streams === 0);
  for (const connection of connections) {
    t.true(Buffer.from(parseResponse(connection.take()).body, 'latin1').equals(CONTENT.subarray(0, 250_000)));
  }
  // With room again the cache takes it.
  rig.pass(100_000);
  await rig.get('/f4');
  t.is(rig.cheetah.counters.get('streams'), 1);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a file that grows past the cache and shrinks again', async (t) => {
  const source = new FakeFiles();
  const file = source.add('big', 'small');
  const rig = new Rig({ source, limits: LIMITS });
  for (const [content, streams] of [
    ['small', 0],
    [CONTENT, 1],
    ['small again', 1],
    ['', 1],
    [CONTENT, 2],
  ] as const) {
    file.change(Buffer.from(content));
    rig.pass(100_000);
    t.true(Buffer.from((await rig.get('/big')).body, 'latin1').equals(file.content));
    t.is(rig.cheetah.counters.get('streams'), streams);
  }
  t.deepEqual(await rig.close(), NOTHING_HELD);
});
