/** The parser of responses: every kind of body, cut anywhere, and what is no HTTP. */
import test from 'ava';
import fc from 'fast-check';
import { KnownHead, MAX_KNOWN_BYTES } from '../../../src/servers/webswamp/known-head.ts';
import { MAX_HEAD_BYTES, ResponseParser } from '../../../src/servers/webswamp/response.ts';

interface Outcome {
  readonly done: boolean;
  readonly broken: boolean;
  readonly status: number;
  readonly bodyBytes: number;
  readonly interims: number;
  readonly keepsAlive: boolean;
  /** Bytes that it took. */
  readonly taken: number;
}

/** Parses text given in pieces that end at `cuts`; with `fin`, the server closes behind it. */
function parse(
  text: string,
  cuts: readonly number[] = [],
  options: { bodiless?: boolean; fin?: boolean } = {},
): Outcome {
  return parseAfter(new KnownHead(), text, cuts, options);
}

/** The same after what has made a head known, with the pieces' place in memory. */
function parseAfter(
  known: KnownHead,
  text: string,
  cuts: readonly number[],
  { bodiless = false, fin = false, at = 3 } = {},
): Outcome {
  const parser = new ResponseParser(known);
  parser.begin(bodiless);
  const bytes = Buffer.from(text, 'latin1');
  let taken = 0;
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    // Pieces lie anywhere in memory.
    const memory = Buffer.concat([Buffer.alloc(at, 'x'), bytes.subarray(from, to), Buffer.from('yyy')]);
    const length = to - from;
    const here = parser.parse(memory, at, length);
    taken += here;
    if (here < length) break;
    from = to;
  }
  if (fin) parser.end();
  const { isDone, isBroken, status, bodyBytes, interims, keepsAlive } = parser;
  return { done: isDone, broken: isBroken, status, bodyBytes, interims, keepsAlive, taken };
}

const WHOLE: readonly (readonly [name: string, text: string, expected: Partial<Outcome>, options?: object])[] = [
  ['length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', { status: 200, bodyBytes: 5, keepsAlive: true }],
  ['length 0', 'HTTP/1.1 404 Not Found\r\ncontent-LENGTH:0\r\n\r\n', { status: 404, bodyBytes: 0, keepsAlive: true }],
  ['the same length twice', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2 \r\n\r\nab', { bodyBytes: 2 }],
  ['no reason', 'HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na', { bodyBytes: 1 }],
  ['bare line feeds', 'HTTP/1.1 200 OK\nContent-Length: 3\n\nabc', { bodyBytes: 3 }],
  [
    'chunks',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x="y"\r\n0123456789\r\n0\r\n\r\n',
    { bodyBytes: 15, keepsAlive: true },
  ],
  [
    'chunks with trailers, last of two codings',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n1 \r\nx\r\n000\r\nDigest: abc\r\nMore: 1\r\n\r\n',
    { bodyBytes: 1, keepsAlive: true },
  ],
  [
    'chunks go before a length',
    'HTTP/1.1 200 OK\r\nContent-Length: 999\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
    { bodyBytes: 1 },
  ],
  ['until the end', 'HTTP/1.1 200 OK\r\n\r\nall of this', { bodyBytes: 11, keepsAlive: false }, { fin: true }],
  ['until the end, empty', 'HTTP/1.1 200 OK\r\n\r\n', { bodyBytes: 0, keepsAlive: false }, { fin: true }],
  ['not chunked at last', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc', { bodyBytes: 3 }, { fin: true }],
  ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', { bodyBytes: 0, keepsAlive: true }, { bodiless: true }],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', { status: 204, keepsAlive: true }],
  ['304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n', { status: 304, bodyBytes: 0, keepsAlive: true }],
  [
    'interim responses',
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx',
    { status: 200, interims: 2, bodyBytes: 1, keepsAlive: true },
  ],
  ['close', 'HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\nx', { keepsAlive: false }],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx', { keepsAlive: false }],
  ['HTTP/1.0 kept', 'HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx', { keepsAlive: true }],
  ['a folded field', 'HTTP/1.1 200 OK\r\nX: a\r\n  b: c\r\nContent-Length: 1\r\n\r\nx', { bodyBytes: 1 }],
  [
    'names that are nearly known',
    'HTTP/1.1 204 N\r\nContent-Lengthy: x\r\nConnectio: close\r\n\r\n',
    { keepsAlive: true },
  ],
];

for (const [name, text, expected, options] of WHOLE) {
  test(`whole: ${name}, cut anywhere`, (t) => {
    const whole = parse(text, [], options);
    t.true(whole.done);
    t.like(whole, { ...expected, taken: text.length });
    for (let cut = 0; cut <= text.length; cut++) t.deepEqual(parse(text, [cut], options), whole, `cut at ${cut}`);
    const everywhere = Array.from({ length: text.length }, (_, index) => index);
    t.deepEqual(parse(text, everywhere, options), whole);
    if (options === undefined) t.is(parse(`${text}HTTP/1.1`).taken, text.length, 'what follows is left');
    for (let short = 0; short < text.length && options === undefined; short++) {
      const { done, broken } = parse(text.slice(0, short), [], { fin: true });
      t.false(done || broken, `short after ${short}`);
    }
  });
}

const BROKEN: readonly string[] = [
  'SSH-2.0-OpenSSH_9.6\r\n',
  'HTTP/2 200\r\n\r\n',
  'http/1.1 200 OK\r\n\r\n',
  'HTTP/1.1  200 OK\r\n\r\n',
  'HTTP/1.1 20 OK\r\n\r\n',
  'HTTP/1.1 2000 OK\r\n\r\n',
  'HTTP/1.1 099 Low\r\n\r\n',
  'HTTP/1.1 200 OK\rX',
  'HTTP/1.1 101 Switching Protocols\r\n\r\n',
  'HTTP/1.1 200 OK\r\n: no name\r\n\r\n',
  'HTTP/1.1 200 OK\r\nspace before : x\r\n\r\n',
  'HTTP/1.1 200 OK\r\nno colon\r\n\r\n',
  'HTTP/1.1 200 OK\r\n folded first\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 1 1\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\n',
  'HTTP/1.1 200 OK\r\nX: y\rz\r\n\r\n',
  'HTTP/1.1 200 OK\r\n\rx',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\rb',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111\r\n',
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(5000)}`,
  `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(MAX_HEAD_BYTES)}`,
  'HTTP/1.1 100 Continue\r\n\r\n'.repeat(4000),
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'X: y\r\n'.repeat(20_000)}`,
];

test('what is no response is broken, wherever it is cut', (t) => {
  for (const text of BROKEN) {
    const whole = parse(text);
    t.true(whole.broken, text.slice(0, 80));
    t.false(whole.done);
    for (let cut = 0; cut < Math.min(text.length, 100); cut++) t.true(parse(text, [cut]).broken, text.slice(0, 80));
  }
});

test('generated responses end where they should, in any pieces', (t) => {
  const name = fc.constantFrom('Server', 'Content-Type', 'X-Content-Length', 'Date', 'ETag', 'Connections');
  const value = fc.stringMatching(/^[ -~]{0,20}$/);
  const fields = fc.array(fc.tuple(name, value), { maxLength: 6 });
  const chunks = fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 5 });
  const framing = fc.oneof(
    fc.integer({ min: 0, max: 500 }).map((length) => ({ kind: 'length' as const, chunks: [length] })),
    chunks.map((lengths) => ({ kind: 'chunked' as const, chunks: lengths })),
  );
  const cuts = fc.array(fc.nat(), { maxLength: 12 });
  fc.assert(
    fc.property(
      fields,
      framing,
      fc.integer({ min: 200, max: 599 }),
      cuts,
      (pairs, { kind, chunks: lengths }, status, at) => {
        fc.pre(status !== 204 && status !== 304);
        const head = [`HTTP/1.1 ${status} Reason`, ...pairs.map(([field, text]) => `${field}: ${text}`)];
        const total = lengths.reduce((sum, length) => sum + length, 0);
        head.push(kind === 'length' ? `Content-Length: ${total}` : 'Transfer-Encoding: chunked');
        const pieces = lengths.map((length) => `${length.toString(16)}\r\n${'z'.repeat(length)}\r\n`);
        const body = kind === 'length' ? 'z'.repeat(total) : `${pieces.join('')}0\r\n\r\n`;
        const text = `${head.join('\r\n')}\r\n\r\n${body}`;
        const places = at.map((place) => place % (text.length + 1)).sort((a, b) => a - b);
        t.like(parse(`${text}HTTP/1.1 200`, places), { done: true, status, bodyBytes: total, taken: text.length });
      },
    ),
    { numRuns: 500 },
  );
});

test('any bytes are taken, and none make it throw', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, prefixed) => {
      const text = `${prefixed ? 'HTTP/1.1 200 OK\r\n' : ''}${Buffer.from(bytes).toString('latin1')}`;
      const { taken } = parse(text, [text.length >> 1], { fin: true });
      t.true(taken <= text.length);
    }),
    { numRuns: 2000 },
  );
});

/** Heads as servers send them one after the other: the same, another date, something else; now and then a byte is wrong. */
const HEADS: readonly string[] = [
  'HTTP/1.1 200 OK\r\nServer: x\r\nDate: Sun, 22 Nov 2026 23:00:00 GMT\r\nContent-Length: 5\r\n\r\n',
  'HTTP/1.1 200 OK\r\nServer: x\r\nDate: Sun, 22 Nov 2026 23:00:01 GMT\r\nContent-Length: 5\r\n\r\n',
  'HTTP/1.1 200 OK\r\nServer: x\r\nDate: Sun, 22 Nov 2026 23:00:01 GMT\r\nContent-Length: 4\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n',
  'HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n',
  'HTTP/1.1 404 Not Found\nContent-Length: 5\n\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
  'HTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
  `HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: ${'x'.repeat(MAX_KNOWN_BYTES)}\r\n\r\n`,
];
const BODIES: readonly string[] = ['hello', '5\r\nhello\r\n0\r\n\r\n', '', '0\r\nA: b\r\n\r\n', 'hel'];

test('a head that is known says what it says when it is read, whatever came before and however it is cut', (t) => {
  const response = fc.record({
    head: fc.oneof(fc.constantFrom(...HEADS.slice(0, 2)), fc.constantFrom(...HEADS)),
    body: fc.constantFrom(...BODIES),
    wrongAt: fc.oneof({ weight: 3, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: fc.nat() }),
    wrongByte: fc.integer({ min: 0, max: 255 }),
    cuts: fc.oneof(fc.constant<number[]>([]), fc.array(fc.nat(), { maxLength: 4 })),
    at: fc.oneof({ weight: 3, arbitrary: fc.constant(2) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 7 }) }),
    bodiless: fc.boolean(),
    fin: fc.boolean(),
  });
  let hits = 0;
  fc.assert(
    fc.property(fc.array(response, { minLength: 4, maxLength: 12 }), (responses) => {
      const known = new KnownHead();
      for (const { head, body, wrongAt, wrongByte, cuts, ...options } of responses) {
        const bytes = Buffer.from(`${head}${body}`, 'latin1');
        if (wrongAt >= 0) bytes[wrongAt % head.length] = wrongByte;
        const text = bytes.toString('latin1');
        const places = cuts.map((place) => place % (text.length + 1)).sort((a, b) => a - b);
        t.deepEqual(parseAfter(known, text, places, options), parseAfter(new KnownHead(), text, places, options));
      }
      hits += known.hits;
    }),
    { numRuns: 2000 },
  );
  t.true(hits > 500, `${hits}`);
});

test('trailers behind a known head have what it leaves of the limit', (t) => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  const left = MAX_HEAD_BYTES - head.length - '\r\n'.length;
  const known = new KnownHead();
  for (const [length, done] of [
    [left, true],
    [left + 1, false],
  ] as const) {
    const text = `${head}0\r\n${'t'.repeat(length - 1)}\n\r\n`;
    for (let times = 0; times < 2; times++) t.is(parseAfter(known, text, [], {}).done, done, `${length}, ${times}`);
  }
  t.true(known.hits >= 2);
});

test('a server whose heads all differ is soon not copied any more', (t) => {
  const known = new KnownHead();
  let learnt = 0;
  const bytes = Buffer.from('HTTP/1.1 204 No Content\r\n\r\n');
  for (let times = 0; times < 1000; times++) if (known.learn(bytes, 0, bytes.length)) learnt++;
  t.true(learnt > 4 && learnt < 30, `${learnt}`);
  t.true(known.matches(bytes, 0, bytes.length));
  t.false(known.matches(bytes, 0, bytes.length - 1));
});
