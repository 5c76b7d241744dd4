import test, { type ExecutionContext } from 'ava';
import { FILE_DATE, NOTHING_HELD, parseResponse, Rig, splitResponses } from './rig.ts';

const H = 'Host: test\r\n';

for (const [joinedBodyBytes, regions] of [
  [8, 1],
  [7, 2],
  [0, 2],
] as const) {
  test(`golden: the bytes of a response, ${joinedBodyBytes} bytes joined to the head at most`, async (t) => {
    await expectGolden(t, joinedBodyBytes, regions);
  });
}

async function expectGolden(t: ExecutionContext, joinedBodyBytes: number, regions: number): Promise<void> {
  const rig = new Rig({ files: { 'index.html': '<p>hello' }, limits: { joinedBodyBytes } });
  const connection = rig.transport.connect();
  rig.transport.acknowledging = false;
  rig.transport.deliver(connection, `GET / HTTP/1.1\r\n${H}\r\n`);
  await rig.until(() => connection.sent.length > 0);
  t.is(connection.sent.length, regions);
  t.is(
    connection.take(),
    'HTTP/1.1 200 OK\r\n' +
      'Server: exonet\r\n' +
      'Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n' +
      'Content-Type: text/html; charset=utf-8\r\n' +
      'Content-Length: 8\r\n' +
      `Last-Modified: ${FILE_DATE}\r\n` +
      'ETag: "976322e3af2169a9"\r\n' +
      'Accept-Ranges: bytes\r\n' +
      '\r\n' +
      '<p>hello',
  );
  t.is(rig.cheetah.counters.get('answersJoined'), regions === 1 ? 1 : 0);
  t.is(rig.cheetah.snapshot().bodyBytesJoined, regions === 1 ? 8 : 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
}

test('answers joined to their heads: HEAD, ranges and 304 have heads of their own', async (t) => {
  const rig = new Rig({ files: { a: 'text' } });
  const whole = await rig.get('/a');
  t.is(whole.body, 'text');
  const head = await rig.get('/a', '', 'HEAD');
  t.deepEqual([head.status, head.body, head.fields.get('content-length')], [200, '', '4']);
  const range = await rig.get('/a', 'Range: bytes=1-2\r\n');
  t.deepEqual([range.status, range.body], [206, 'ex']);
  t.is((await rig.get('/a', `If-None-Match: ${whole.fields.get('etag')}\r\n`)).status, 304);
  t.is(rig.cheetah.counters.get('answersJoined'), 1);
  t.is(rig.cheetah.counters.get('bodyBytes'), 4 + 2);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('without memory to join an answer, head and body leave as two regions', async (t) => {
  const body = 'x'.repeat(1000);
  const files = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`f${i}`, body]));
  const rig = new Rig({ files, limits: { responseMemoryBytes: 96 * 1024 } });
  await rig.get('/f0', '', 'HEAD');
  rig.transport.acknowledging = false;
  for (let i = 0; i < 60; i++) {
    const connection = rig.transport.connect();
    rig.transport.deliver(connection, `GET /f${i} HTTP/1.1\r\n${H}\r\n`);
    await rig.until(() => connection.sent.length > 0);
    t.is(parseResponse(connection.take()).body, body);
  }
  const joined = rig.cheetah.counters.get('answersJoined');
  t.true(joined > 0 && joined < 60, `${joined} joined`);
  t.is(rig.cheetah.counters.get('memoryShortages'), 0);
  for (const connection of rig.transport.connections) rig.transport.acknowledge(connection);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a cached file is answered within the turn, from the same regions', async (t) => {
  const rig = new Rig({ files: { 'a.txt': 'text' }, limits: { joinedBodyBytes: 0 } });
  await rig.get('/a.txt');
  rig.transport.acknowledging = false;
  const connection = rig.transport.connect();
  rig.transport.deliver(connection, `GET /a.txt HTTP/1.1\r\n${H}\r\n`.repeat(3));
  rig.transport.turn();
  t.is(splitResponses(connection.output.toString()).length, 3);
  const places = connection.lent.map((region) => region.at);
  t.is(new Set(places).size, 2);
  t.is(connection.unread.length, 0);
  t.is(rig.cheetah.counters.get('cacheHits'), 3);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('what is served at which path', async (t) => {
  const rig = new Rig({
    files: {
      'index.html': 'root',
      'sub/index.html': 'sub',
      'sub/page.html': 'page',
      'empty/x.bin': '',
      'with space.txt': 'space',
      'ä.txt': 'umlaut',
      '100%.txt': 'percent',
      '.hidden': 'hidden',
      'sub/.git/config': 'git',
    },
  });
  for (const [path, status, body] of [
    ['/', 200, 'root'],
    ['/?query', 200, 'root'],
    ['/index.html', 200, 'root'],
    ['http://other.example/sub/page.html?x=/..', 200, 'page'],
    ['http://other.example', 200, 'root'],
    ['/sub/', 200, 'sub'],
    ['//sub//', 200, 'sub'],
    ['/sub/./page.html', 200, 'page'],
    ['/%73ub/page%2ehtml', 200, 'page'],
    ['/with%20space.txt', 200, 'space'],
    ['/%C3%A4.txt', 200, 'umlaut'],
    ['/100%25.txt', 200, 'percent'],
    ['/empty/x.bin', 200, ''],
    ['/sub', 301, ''],
    ['/sub?x=1', 301, ''],
    ['/nothing', 404, null],
    ['/empty/', 404, null],
    ['/index.html/', 404, null],
    ['/index.html/x', 404, null],
    ['/.hidden', 404, null],
    ['/sub/.git/config', 404, null],
    ['/sub/%2egit/config', 404, null],
    [`/${'x'.repeat(300)}`, 404, null],
    ['/100%.txt', 400, null],
  ] as const) {
    const response = await rig.get(path);
    t.is(response.status, status, path);
    if (body !== null) t.is(response.body, body, path);
    t.is(Number(response.fields.get('content-length')), response.body.length, path);
  }
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a directory without its slash is redirected within this host', async (t) => {
  const rig = new Rig({ files: { 'a b/index.html': '' } });
  t.is((await rig.get('/a%20b')).fields.get('location'), '/a%20b/');
  t.is((await rig.get('//a%20b')).fields.get('location'), '/a%20b/');
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('content types', async (t) => {
  const types = {
    'a.html': 'text/html; charset=utf-8',
    'a.css': 'text/css; charset=utf-8',
    'a.js': 'text/javascript; charset=utf-8',
    'a.txt': 'text/plain; charset=utf-8',
    'a.svg': 'image/svg+xml',
    'a.PNG': 'image/png',
    'a.json': 'application/json',
    'a.tar.gz': 'application/gzip',
    'a.unheardof': 'application/octet-stream',
    css: 'application/octet-stream',
  };
  const rig = new Rig({ files: Object.fromEntries(Object.keys(types).map((name) => [name, 'x'])) });
  for (const [name, type] of Object.entries(types)) t.is((await rig.get(`/${name}`)).fields.get('content-type'), type);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('HEAD is GET without the body', async (t) => {
  const rig = new Rig({ files: { 'a.txt': 'text' } });
  for (const path of ['/a.txt', '/none', '/a.txt']) {
    const get = await rig.get(path);
    const head = await rig.get(path, '', 'HEAD');
    t.deepEqual(head, { ...get, body: '' });
  }
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('other methods: 405 with Allow, OPTIONS 204, and the connection goes on', async (t) => {
  const rig = new Rig({ files: { 'a.txt': 'text' } });
  const methods = ['POST', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'BREW', 'get'];
  const requests = methods.map((method) => `${method} /a.txt HTTP/1.1\r\n${H}\r\n`).join('');
  const options = `OPTIONS * HTTP/1.1\r\n${H}\r\nOPTIONS /a.txt HTTP/1.1\r\n${H}\r\n`;
  const text = await rig.exchange(`${requests}${options}GET /a.txt HTTP/1.1\r\n${H}Connection: close\r\n\r\n`, 10);
  const responses = splitResponses(text);
  t.deepEqual(
    responses.map(({ status }) => status),
    [405, 405, 405, 405, 405, 405, 405, 204, 204, 200],
  );
  for (const { fields } of responses.slice(0, 9)) t.is(fields.get('allow'), 'GET, HEAD, OPTIONS');
  t.false(responses[7]?.fields.has('content-length'));
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('ranges', async (t) => {
  const content = 'abcdefghijklmnopqrstuvwxyz';
  const rig = new Rig({ files: { a: content, empty: '' } });
  const etag = (await rig.get('/a')).fields.get('etag');
  for (const [range, status, body, contentRange] of [
    ['bytes=0-0', 206, 'a', 'bytes 0-0/26'],
    ['bytes=2-4', 206, 'cde', 'bytes 2-4/26'],
    ['bytes=20-', 206, 'uvwxyz', 'bytes 20-25/26'],
    ['bytes=-3', 206, 'xyz', 'bytes 23-25/26'],
    ['bytes=0-99', 206, content, 'bytes 0-25/26'],
    ['bytes=26-', 416, '', 'bytes */26'],
    ['bytes=0-1,4-5', 200, content, undefined],
    ['bytes=x', 200, content, undefined],
  ] as const) {
    const response = await rig.get('/a', `Range: ${range}\r\n`);
    t.is(response.status, status, range);
    t.is(response.body, body, range);
    t.is(response.fields.get('content-range'), contentRange, range);
    t.is(Number(response.fields.get('content-length')), body.length, range);
    if (status !== 416) t.is(response.fields.get('etag'), etag, range);
    const head = await rig.get('/a', `Range: ${range}\r\n`, 'HEAD');
    t.is(head.status, 200, range);
    t.is(head.fields.get('content-length'), '26');
  }
  t.is((await rig.get('/empty', 'Range: bytes=0-\r\n')).status, 416);
  t.is((await rig.get('/a', `Range: bytes=0-0\r\nIf-Range: ${etag}\r\n`)).status, 206);
  t.is((await rig.get('/a', 'Range: bytes=0-0\r\nIf-Range: "x"\r\n')).status, 200);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('conditions', async (t) => {
  const rig = new Rig({ files: { a: 'text' } });
  const { fields } = await rig.get('/a');
  const etag = fields.get('etag');
  for (const method of ['GET', 'HEAD']) {
    const response = await rig.get('/a', `If-None-Match: ${etag}\r\n`, method);
    t.is(response.status, 304);
    t.is(response.body, '');
    t.is(response.fields.get('etag'), etag);
    t.false(response.fields.has('content-length'));
    t.is((await rig.get('/a', `If-Modified-Since: ${FILE_DATE}\r\n`, method)).status, 304);
    t.is((await rig.get('/a', 'If-None-Match: "x"\r\n', method)).status, 200);
    t.is((await rig.get('/a', 'If-Match: "x"\r\n', method)).status, 412);
  }
  t.is((await rig.get('/none', `If-None-Match: *\r\n`)).status, 404);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('HTTP/1.0: closes, unless asked to keep the connection, and then says so', async (t) => {
  const rig = new Rig({ files: { a: 'text' } });
  const plain = parseResponse(await rig.exchange('GET /a HTTP/1.0\r\n\r\n'));
  t.is(plain.fields.get('connection'), 'close');
  const connection = rig.transport.connect();
  for (let i = 0; i < 3; i++) {
    rig.transport.deliver(connection, 'GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n');
    await rig.until(() => connection.sent.length === 1);
    t.is(parseResponse(connection.take()).fields.get('connection'), 'keep-alive');
  }
  t.false(connection.closed);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('Connection: close ends the connection with the response; what follows is not answered', async (t) => {
  const rig = new Rig({ files: { a: 'text' } });
  await rig.get('/a');
  const connection = rig.transport.connect();
  rig.transport.deliver(connection, `GET /a HTTP/1.1\r\n${H}Connection: close\r\n\r\nGET /a HTTP/1.1\r\n${H}\r\n`);
  rig.transport.turn();
  t.true(connection.closed);
  t.is(splitResponses(connection.output.toString()).length, 1);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('pipelined requests are answered in order, hits and misses, with and without bodies', async (t) => {
  const files = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`f${i}`, `content ${i}`]));
  const rig = new Rig({ files });
  const requests = Array.from({ length: 60 }, (_, i) => {
    const body = i % 7 === 0 ? 'Content-Length: 3\r\n\r\nabc' : '\r\n';
    return `GET /f${(i * 7) % 20} HTTP/1.1\r\n${H}${body}`;
  });
  const responses = splitResponses(await rig.exchange(requests.join(''), 60));
  t.deepEqual(
    responses.map(({ body }) => body),
    requests.map((_, i) => `content ${(i * 7) % 20}`),
  );
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('bodies of GET are read over; too much is refused', async (t) => {
  const rig = new Rig({ files: { a: 'text' } });
  const get = `GET /a HTTP/1.1\r\n${H}`;
  for (const [request, statuses] of [
    [`${get}Content-Length: 5\r\n\r\nhello${get}\r\n`, [200, 200]],
    [`${get}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n${get}\r\n`, [200, 200]],
    [`${get}Content-Length: 65536\r\n\r\n${'x'.repeat(65536)}${get}\r\n`, [200, 200]],
    [`${get}Content-Length: 65537\r\n\r\n`, [413]],
    [`${get}Transfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(20_000)}`, [413]],
    [`${get}Transfer-Encoding: chunked\r\n\r\nnonsense`, [400]],
    [`POST /a HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\nhello${get}\r\n`, [405, 200]],
    [`POST /a HTTP/1.1\r\n${H}Content-Length: 1000000\r\n\r\n`, [405]],
  ] as const) {
    const responses = splitResponses(await rig.exchange(request, statuses.length));
    t.deepEqual(
      responses.map(({ status }) => status),
      [...statuses],
      request.slice(0, 100),
    );
  }
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('Expect: 100-continue', async (t) => {
  const rig = new Rig({ files: { a: 'text' } });
  const connection = rig.transport.connect();
  rig.transport.deliver(connection, `GET /a HTTP/1.1\r\n${H}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`);
  rig.transport.turn();
  t.is(connection.take(), 'HTTP/1.1 100 Continue\r\n\r\n');
  rig.transport.deliver(connection, 'hello');
  await rig.until(() => connection.sent.length === 1);
  t.is(parseResponse(connection.take()).status, 200);
  // A body too long is refused before it is sent.
  rig.transport.deliver(connection, `GET /a HTTP/1.1\r\n${H}Content-Length: 500000\r\nExpect: 100-continue\r\n\r\n`);
  rig.transport.turn();
  t.is(parseResponse(connection.take()).status, 413);
  t.true(connection.closed);
  // Nobody waits when the body is there already.
  const eager = await rig.exchange(`GET /a HTTP/1.1\r\n${H}Content-Length: 2\r\nExpect: 100-continue\r\n\r\nhi`);
  t.is(parseResponse(eager).status, 200);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('requests that cannot be understood: the status, a body of the stated length, and the end', async (t) => {
  const rig = new Rig();
  for (const [request, status] of [
    ['nonsense\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\n\r\n', 400],
    [`GET / HTTP/1.1\r\n${H}${H}\r\n`, 400],
    [`GET /${'a'.repeat(5000)} HTTP/1.1\r\n${H}\r\n`, 414],
    [`GET / HTTP/1.1\r\n${H}X: ${'a'.repeat(9000)}\r\n\r\n`, 431],
    [`GET / HTTP/3.0\r\n${H}\r\n`, 505],
    [`GET / HTTP/1.1\r\n${H}Expect: x\r\n\r\n`, 417],
    [`GET / HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n`, 501],
  ] as const) {
    const connection = rig.transport.connect();
    rig.transport.deliver(connection, request);
    rig.transport.turn();
    t.true(connection.closed, request.slice(0, 30));
    const response = parseResponse(connection.take());
    t.is(response.status, status, request.slice(0, 30));
    t.is(response.fields.get('connection'), 'close');
    t.is(Number(response.fields.get('content-length')), response.body.length);
  }
  t.is(rig.cheetah.counters.get('responses400'), 3);
  t.is(rig.cheetah.counters.get('requests'), 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('the Date moves on, and what is under way keeps the old one', async (t) => {
  const rig = new Rig({ files: { a: 'text' } });
  const request = `GET /a HTTP/1.1\r\n${H}\r\n`;
  rig.transport.acknowledging = false;
  const connection = rig.transport.connect();
  rig.transport.deliver(connection, request);
  await rig.until(() => connection.sent.length === 1);
  rig.pass(1_000_000);
  rig.transport.deliver(connection, request);
  // The transport checks on release that no region changed while it was lent.
  await rig.until(() => connection.sent.length === 2);
  const dates = splitResponses(connection.take()).map(({ fields }) => fields.get('date'));
  t.deepEqual(dates, ['Thu, 01 Jan 2026 00:00:00 GMT', 'Thu, 01 Jan 2026 00:00:01 GMT']);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a limit of requests per connection', async (t) => {
  const rig = new Rig({ files: { a: 'text' }, limits: { maxRequests: 2 } });
  const text = await rig.exchange(`GET /a HTTP/1.1\r\n${H}\r\n`.repeat(5), 5);
  const responses = splitResponses(text);
  t.deepEqual(
    responses.map(({ fields }) => fields.get('connection')),
    [undefined, 'close'],
  );
  t.deepEqual(await rig.close(), NOTHING_HELD);
});
