import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import type { FakeConnection } from '../fake-transport.ts';
import { FakeFiles } from './fake-files.ts';
import { NOTHING_HELD, parseResponse, Rig, splitResponses } from './rig.ts';

const SECOND = 1_000_000;
const GET = 'GET /a HTTP/1.1\r\nHost: test\r\n\r\n';

async function makeRig(options: ConstructorParameters<typeof Rig>[0] = {}): Promise<Rig> {
  const rig = new Rig({ files: { a: 'text' }, ...options });
  await rig.get('/a');
  return rig;
}

/** Keeps the path fresh, so that a request is answered within the turn. */
async function serve(rig: Rig, connection: FakeConnection, text: string): Promise<string> {
  rig.transport.deliver(connection, text);
  await rig.settle();
  return connection.take();
}

test('a head in pieces, cut anywhere, is answered the same', async (t) => {
  const rig = await makeRig();
  const request = GET.replace('\r\n\r\n', '\r\nX-Filler: some more text\r\nConnection: close\r\n\r\n');
  for (let cut = 1; cut < request.length; cut++) {
    const connection = rig.transport.connect();
    rig.transport.deliver(connection, request.slice(0, cut));
    // Sometimes in a turn of its own, sometimes as two regions of one turn.
    if (cut % 2 === 0) rig.transport.turn();
    rig.transport.deliver(connection, request.slice(cut));
    await rig.until(() => connection.closed);
    t.is(parseResponse(connection.take()).body, 'text', `cut at ${cut}`);
  }
  t.is(rig.cheetah.holdings.headBytes, 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('byte by byte, with a body and a second request behind', async (t) => {
  const rig = await makeRig();
  const stream = `\r\n${GET.replace('\r\n\r\n', '\r\nContent-Length: 5\r\n\r\nhello')}${GET}HEAD /none HTTP/1.0\r\n\r\n`;
  const connection = rig.transport.connect();
  for (const character of stream) {
    rig.transport.deliver(connection, character);
    rig.transport.turn();
    await setImmediate();
  }
  await rig.until(() => connection.closed);
  const text = connection.take();
  t.deepEqual(
    splitResponses(text)
      .map(({ status }) => status)
      .slice(0, 2),
    [200, 200],
  );
  t.true(text.includes('HTTP/1.1 404'));
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a long head in many pieces takes memory as it grows, up to the limit', async (t) => {
  const rig = await makeRig();
  const connection = rig.transport.connect();
  rig.transport.deliver(connection, 'GET /a HTTP/1.1\r\nHost: x\r\nX: ');
  rig.transport.turn();
  t.is(rig.cheetah.holdings.headBytes, 1024);
  for (let i = 0; i < 100 && !connection.closed; i++) {
    rig.transport.deliver(connection, 'x'.repeat(100));
    rig.transport.turn();
    t.true(rig.cheetah.holdings.headBytes <= 8192);
  }
  t.is(parseResponse(connection.take()).status, 431);
  t.is(rig.cheetah.holdings.headBytes, 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('half-closed client: the response still comes, then our half closes too', async (t) => {
  const rig = new Rig({ files: { a: 'text' } });
  for (const warm of [false, true]) {
    const connection = rig.transport.connect();
    rig.transport.deliver(connection, GET + GET);
    rig.transport.deliverFin(connection);
    await rig.until(() => connection.dead);
    t.deepEqual(
      splitResponses(connection.take()).map(({ body }) => body),
      ['text', 'text'],
      String(warm),
    );
    t.false(connection.aborted);
  }
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('half a request and FIN: the connection closes without an answer', async (t) => {
  const rig = await makeRig();
  for (const half of [
    '',
    'G',
    'GET / HTTP/1.1\r\nHost: x\r\n',
    GET.replace('\r\n\r\n', '\r\nContent-Length: 9\r\n\r\nabc'),
  ]) {
    const connection = rig.transport.connect();
    rig.transport.turn();
    rig.transport.deliver(connection, half);
    rig.transport.deliverFin(connection);
    await rig.until(() => connection.dead);
    t.is(connection.take(), '');
    t.false(connection.aborted);
  }
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('resets at every step give everything back', async (t) => {
  const source = new FakeFiles();
  source.add('a', 'x'.repeat(300_000));
  const rig = new Rig({ source });
  rig.transport.acknowledging = false;
  const script = [
    (c: FakeConnection) => rig.transport.deliver(c, GET.slice(0, 10)),
    (c: FakeConnection) => rig.transport.deliver(c, GET.slice(10)),
    (c: FakeConnection) => rig.transport.deliver(c, GET.replace('\r\n\r\n', '\r\nContent-Length: 9\r\n\r\nabc')),
    (c: FakeConnection) => rig.transport.deliver(c, 'defghi'),
    (c: FakeConnection) => rig.transport.deliver(c, GET + GET + GET),
    (c: FakeConnection) => rig.transport.acknowledge(c, 3),
  ];
  for (let steps = 0; steps <= script.length; steps++) {
    for (const pause of [0, 1, 5]) {
      rig.pass(100_000);
      const connection = rig.transport.connect();
      for (const step of script.slice(0, steps)) {
        step(connection);
        rig.transport.turn();
        for (let i = 0; i < pause; i++) await setImmediate();
      }
      rig.transport.reset(connection);
      rig.transport.turn();
      t.is(rig.cheetah.liveConnections, 0);
      await rig.settle();
      t.is(rig.cheetah.holdings.headBytes, 0);
    }
  }
  t.is(source.openNow, 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a client that takes nothing stops being read from, and goes on where it stopped', async (t) => {
  const source = new FakeFiles();
  source.add('a', 'x'.repeat(10_000));
  const rig = new Rig({ source });
  await rig.get('/a');
  rig.transport.acknowledging = false;
  const connection = rig.transport.connect();
  rig.transport.deliver(connection, GET.repeat(200));
  await rig.settle();
  const queued = rig.transport.queuedBytes(connection);
  t.true(queued > 256 * 1024 && queued < 300 * 1024, `${queued} bytes queued`);
  t.true(connection.unread.length > 0);
  for (let i = 0; i < 100; i++) {
    rig.transport.acknowledge(connection, 20);
    rig.transport.turn();
    await setImmediate();
  }
  t.is(splitResponses(connection.take()).length, 200);
  t.is(connection.unread.length, 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('time-outs: no request, a head that stops, a body that stops', async (t) => {
  const rig = await makeRig();
  const silent = rig.transport.connect();
  const head = rig.transport.connect();
  rig.transport.deliver(head, 'GET / HTTP/1.1\r\n');
  const body = rig.transport.connect();
  rig.transport.deliver(body, GET.replace('\r\n\r\n', '\r\nContent-Length: 9\r\n\r\nabc'));
  rig.transport.turn();
  for (let second = 0; second < 29; second++) {
    rig.pass(SECOND);
    // Dribbling buys no time.
    rig.transport.deliver(head, 'A: b\r\n');
    rig.transport.turn();
  }
  t.false(silent.closed || head.closed || body.closed);
  rig.pass(2 * SECOND);
  t.true(silent.closed && head.closed && body.closed);
  t.is(silent.take(), '');
  t.is(parseResponse(head.take()).status, 408);
  t.is(parseResponse(body.take()).status, 408);
  t.is(rig.cheetah.counters.get('timeouts'), 2);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('time-outs: a connection rests a minute between requests', async (t) => {
  const rig = await makeRig();
  const connection = rig.transport.connect();
  for (let i = 0; i < 3; i++) {
    t.is(splitResponses(await serve(rig, connection, GET)).length, 1);
    rig.pass(59 * SECOND);
    t.false(connection.closed);
  }
  await serve(rig, connection, GET);
  rig.pass(61 * SECOND);
  t.true(connection.closed);
  t.false(connection.aborted);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('time-outs: a client may take its answer slowly, but not stop', async (t) => {
  const rig = await makeRig();
  rig.transport.acknowledging = false;
  const connection = rig.transport.connect();
  await serve(rig, connection, GET.repeat(10));
  t.is(connection.lent.length, 10);
  for (let i = 0; i < 8; i++) {
    rig.pass(50 * SECOND);
    rig.transport.acknowledge(connection, 1);
  }
  t.false(connection.aborted);
  rig.pass(61 * SECOND);
  rig.pass(61 * SECOND);
  t.true(connection.aborted);
  t.is(rig.cheetah.liveConnections, 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('time-outs: a closing connection whose client stopped taking is reset', async (t) => {
  const rig = await makeRig();
  rig.transport.acknowledging = false;
  const connection = rig.transport.connect();
  await serve(rig, connection, GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
  t.true(connection.closed);
  rig.pass(61 * SECOND);
  t.true(connection.aborted);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('records are pooled', async (t) => {
  const rig = await makeRig();
  const live = rig.timers.live;
  for (let i = 0; i < 50; i++) t.is((await rig.get('/a')).status, 200);
  t.is(rig.timers.live, live);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('memory for heads runs out: the connection that wanted more is reset, the others go on', async (t) => {
  const rig = await makeRig({ limits: { requestMemoryBytes: 64 * 1024 } });
  const dribblers = Array.from({ length: 100 }, () => rig.transport.connect());
  for (const connection of dribblers) rig.transport.deliver(connection, 'GET / HT');
  rig.transport.turn();
  const reset = dribblers.filter((connection) => connection.aborted).length;
  t.true(reset >= 30 && reset <= 40, `${reset} reset`);
  t.is(rig.cheetah.counters.get('memoryShortages'), reset);
  const connection = rig.transport.connect();
  t.is(parseResponse(await serve(rig, connection, GET)).body, 'text');
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('memory for response heads runs out: what is kept for later makes room', async (t) => {
  const files = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`f${i}`, 'x']));
  const rig = new Rig({ files, limits: { responseMemoryBytes: 64 * 1024 } });
  for (let i = 0; i < 400; i++) t.is((await rig.get(`/f${i}`)).status, 200, String(i));
  t.true(rig.cheetah.holdings.versions === 400 && rig.cheetah.holdings.blocks < 200);
  t.is(rig.cheetah.counters.get('memoryShortages'), 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('closing: resting connections end at once, running ones with their response, stuck ones after the grace', async (t) => {
  const source = new FakeFiles();
  source.add('a', 'text');
  source.add('slow', 'slow');
  const rig = new Rig({ source });
  await rig.get('/a');
  let letGo: () => void = () => undefined;
  source.beforeFind = () => new Promise((resolve) => (letGo = resolve));
  const resting = rig.transport.connect();
  await serve(rig, resting, '');
  const running = rig.transport.connect();
  rig.transport.deliver(running, GET.replace('/a', '/slow'));
  const stuck = rig.transport.connect();
  rig.transport.deliver(stuck, 'GET / HT');
  rig.transport.turn();
  let isClosed = false;
  void rig.cheetah.close().then(() => {
    isClosed = true;
  });
  t.is(rig.transport.listening, 0);
  t.true(resting.closed);
  t.false(running.closed || stuck.closed);
  letGo();
  await rig.until(() => running.closed);
  t.is(parseResponse(running.take()).body, 'slow');
  for (const connection of [resting, running]) rig.transport.deliverFin(connection);
  rig.transport.turn();
  await setImmediate();
  t.false(isClosed);
  rig.pass(5 * SECOND + 2000);
  t.true(stuck.aborted);
  await rig.until(() => isClosed);
  t.deepEqual(rig.cheetah.holdings, NOTHING_HELD);
  t.is(rig.timers.live, 0);
});

test('misuse throws', async (t) => {
  const rig = new Rig();
  t.throws(() => rig.cheetah.start(), { instanceOf: TypeError });
  t.throws(() => new Rig({ limits: { maxHeadBytes: 0 } }), { instanceOf: RangeError });
  t.throws(() => new Rig({ limits: { maxTargetBytes: 10_000 } }), { instanceOf: RangeError });
  t.throws(() => new Rig({ limits: { cacheBytes: 1024 ** 3 } }), { instanceOf: RangeError });
  await rig.close();
  await t.throwsAsync(async () => rig.cheetah.close(), { instanceOf: TypeError });
});
