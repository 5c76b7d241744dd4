import test from 'ava';
import fc from 'fast-check';
import { hashBytes } from '../../../src/servers/http/characters.ts';
import {
  BODY_CHUNKED,
  BODY_LENGTH,
  BODY_NONE,
  FIELD_IF_MODIFIED_SINCE,
  FIELD_IF_NONE_MATCH,
  FIELD_RANGE,
  INCOMPLETE,
  METHOD_GET,
  METHOD_HEAD,
  METHOD_OPTIONS,
  METHOD_OTHER,
  RequestHead,
} from '../../../src/servers/http/request.ts';

const LIMITS = { maxHeadBytes: 8192, maxTargetBytes: 4096, maxFields: 100 };

/** Where heads are put: not at 0, so that relative offsets show. */
const AT = 64;

function place(text: string): Uint8Array {
  const bytes = new Uint8Array(AT + text.length + 64).fill(0xff);
  bytes.set(Buffer.from(text, 'latin1'), AT);
  return bytes;
}

function parse(text: string, limits = LIMITS): { head: RequestHead; result: number; bytes: Uint8Array } {
  const head = new RequestHead(limits);
  const bytes = place(text);
  return { head, bytes, result: head.parse(bytes, AT, text.length) };
}

function slice(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.subarray(at, at + length)).toString('latin1');
}

const H = 'Host: x\r\n';

test('a plain GET', (t) => {
  const text = `GET /a/b.html?q=1 HTTP/1.1\r\n${H}\r\n`;
  const { head, bytes, result } = parse(`${text}GET /next`);
  t.is(result, text.length);
  t.is(head.method, METHOD_GET);
  t.is(head.minorVersion, 1);
  t.is(slice(bytes, head.targetAt, head.targetBytes), '/a/b.html?q=1');
  t.is(slice(bytes, head.pathAt, head.pathBytes), '/a/b.html');
  t.is(head.pathHash, hashBytes(bytes, head.pathAt, head.pathBytes));
  t.true(head.keepAlive);
  t.is(head.bodyKind, BODY_NONE);
  t.is(head.fields, 0);
});

test('every proper prefix of a head is incomplete', (t) => {
  const text = `GET /a HTTP/1.1\r\nHost: example.org:8080\r\nRange: bytes=0-1\r\nContent-Length: 12\r\n\r\n`;
  for (let length = 0; length < text.length; length++) {
    t.is(parse(text.slice(0, length)).result, INCOMPLETE, `${length} bytes`);
  }
  t.is(parse(text).result, text.length);
});

// Each row: what the request shows, the request, and the status it is refused with (0: it is fine).
const ACCEPTANCE: readonly (readonly [string, string, number])[] = [
  ['GET', `GET / HTTP/1.1\r\n${H}\r\n`, 0],
  ['HEAD', `HEAD / HTTP/1.1\r\n${H}\r\n`, 0],
  ['OPTIONS with a path', `OPTIONS / HTTP/1.1\r\n${H}\r\n`, 0],
  ['OPTIONS *', `OPTIONS * HTTP/1.1\r\n${H}\r\n`, 0],
  ['* is for OPTIONS only', `GET * HTTP/1.1\r\n${H}\r\n`, 400],
  ['a method of our own is syntactically fine', `BREW /pot HTTP/1.1\r\n${H}\r\n`, 0],
  ['methods are case-sensitive but any token', `get / HTTP/1.1\r\n${H}\r\n`, 0],
  ['CONNECT in authority-form', `CONNECT example.org:443 HTTP/1.1\r\n${H}\r\n`, 0],
  ['method that is no token', `G@T / HTTP/1.1\r\n${H}\r\n`, 400],
  ['no method', ` / HTTP/1.1\r\n${H}\r\n`, 400],
  ['empty lines before the request line', `\r\n\r\nGET / HTTP/1.1\r\n${H}\r\n`, 0],
  ['empty line of LF before the request line', `\nGET / HTTP/1.1\r\n${H}\r\n`, 0],
  ['bare CR before the request line', `\rGET / HTTP/1.1\r\n${H}\r\n`, 400],
  ['two spaces after the method', `GET  / HTTP/1.1\r\n${H}\r\n`, 400],
  ['two spaces after the target', `GET /  HTTP/1.1\r\n${H}\r\n`, 400],
  ['tab for a space', `GET\t/ HTTP/1.1\r\n${H}\r\n`, 400],
  ['space at the end of the line', `GET / HTTP/1.1 \r\n${H}\r\n`, 400],
  ['HTTP/0.9', 'GET /\r\n\r\n', 400],
  ['HTTP/1.0 without Host', 'GET / HTTP/1.0\r\n\r\n', 0],
  ['HTTP/1.2 is HTTP/1.1 to us', `GET / HTTP/1.2\r\n${H}\r\n`, 0],
  ['HTTP/2.0', `GET / HTTP/2.0\r\n${H}\r\n`, 505],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
  ['HTTP/0.9 said aloud', `GET / HTTP/0.9\r\n${H}\r\n`, 505],
  ['version in lower case', `GET / http/1.1\r\n${H}\r\n`, 400],
  ['version with two digits', `GET / HTTP/1.10\r\n${H}\r\n`, 400],
  ['version without minor', `GET / HTTP/1\r\n${H}\r\n`, 400],
  ['another protocol', `GET / ICAP/1.0\r\n${H}\r\n`, 400],
  ['lines that end with LF alone', 'GET / HTTP/1.1\nHost: x\n\n', 0],
  ['bare CR in the request line', `GET / HTTP/1.1\rX\r\n${H}\r\n`, 400],
  ['bare CR in a value', `GET / HTTP/1.1\r\n${H}A: b\rc\r\n\r\n`, 400],
  ['bare CR before the end', `GET / HTTP/1.1\r\n${H}\rX\r\n\r\n`, 400],
  ['NUL in the target', `GET /\0 HTTP/1.1\r\n${H}\r\n`, 400],
  ['NUL in a value', `GET / HTTP/1.1\r\n${H}A: \0\r\n\r\n`, 400],
  ['DEL in a value', `GET / HTTP/1.1\r\n${H}A: \x7f\r\n\r\n`, 400],
  ['fragment in the target', `GET /a#b HTTP/1.1\r\n${H}\r\n`, 400],
  ['raw bytes above 0x7f in the target', `GET /\xc3\xa4 HTTP/1.1\r\n${H}\r\n`, 0],
  ['obs-text in a value', `GET / HTTP/1.1\r\n${H}A: \xe4\r\n\r\n`, 0],
  ['space before the colon', 'GET / HTTP/1.1\r\nHost : x\r\n\r\n', 400],
  ['tab before the colon', 'GET / HTTP/1.1\r\nHost\t: x\r\n\r\n', 400],
  ['folded line', `GET / HTTP/1.1\r\n${H}A: b\r\n c\r\n\r\n`, 400],
  ['folded line with a tab', `GET / HTTP/1.1\r\n${H}A: b\r\n\tc\r\n\r\n`, 400],
  ['space before the first field', `GET / HTTP/1.1\r\n ${H}\r\n`, 400],
  ['field without a name', `GET / HTTP/1.1\r\n${H}: b\r\n\r\n`, 400],
  ['field without a colon', `GET / HTTP/1.1\r\n${H}nonsense\r\n\r\n`, 400],
  ['field name that is no token', `GET / HTTP/1.1\r\n${H}A(b): c\r\n\r\n`, 400],
  ['empty value', `GET / HTTP/1.1\r\n${H}A:\r\n\r\n`, 0],
  ['value with space around', 'GET / HTTP/1.1\r\nHost:\t x \t\r\n\r\n', 0],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
  ['two Hosts', `GET / HTTP/1.1\r\n${H}${H}\r\n`, 400],
  ['two Hosts in HTTP/1.0', `GET / HTTP/1.0\r\n${H}${H}\r\n`, 400],
  ['empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n', 400],
  ['Host with a port', 'GET / HTTP/1.1\r\nHost: a.b:80\r\n\r\n', 0],
  ['Host with an empty port', 'GET / HTTP/1.1\r\nHost: a.b:\r\n\r\n', 0],
  ['Host with a port that is none', 'GET / HTTP/1.1\r\nHost: a.b:8x\r\n\r\n', 400],
  ['Host that is a port', 'GET / HTTP/1.1\r\nHost: :80\r\n\r\n', 400],
  ['Host IPv6', 'GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n', 0],
  ['Host IPv6 unclosed', 'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n', 400],
  ['Host with a slash', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 400],
  ['Host with a space', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 400],
  ['Host with user information', 'GET / HTTP/1.1\r\nHost: u@a\r\n\r\n', 400],
  ['Host with a comma list', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 400],
  ['absolute-form', `GET http://example.org/a HTTP/1.1\r\n${H}\r\n`, 0],
  ['absolute-form, scheme in capitals', `GET HTTP://example.org/a HTTP/1.1\r\n${H}\r\n`, 0],
  ['absolute-form without a path', `GET http://example.org HTTP/1.1\r\n${H}\r\n`, 0],
  ['absolute-form with a query alone', `GET http://example.org?a HTTP/1.1\r\n${H}\r\n`, 0],
  ['absolute-form still needs Host', 'GET http://example.org/a HTTP/1.1\r\n\r\n', 400],
  ['absolute-form without a host', `GET http:///a HTTP/1.1\r\n${H}\r\n`, 400],
  ['absolute-form with user information', `GET http://u@example.org/a HTTP/1.1\r\n${H}\r\n`, 400],
  ['absolute-form of another scheme', `GET ftp://example.org/a HTTP/1.1\r\n${H}\r\n`, 400],
  ['relative target', `GET a/b HTTP/1.1\r\n${H}\r\n`, 400],
  ['Content-Length', `GET / HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\n`, 0],
  ['Content-Length twice, equal', `GET / HTTP/1.1\r\n${H}Content-Length: 5\r\nContent-Length: 5\r\n\r\n`, 400],
  ['Content-Length twice, different', `GET / HTTP/1.1\r\n${H}Content-Length: 5\r\nContent-Length: 6\r\n\r\n`, 400],
  ['Content-Length as a list', `GET / HTTP/1.1\r\n${H}Content-Length: 5, 5\r\n\r\n`, 400],
  ['Content-Length negative', `GET / HTTP/1.1\r\n${H}Content-Length: -5\r\n\r\n`, 400],
  ['Content-Length with a plus', `GET / HTTP/1.1\r\n${H}Content-Length: +5\r\n\r\n`, 400],
  ['Content-Length hexadecimal', `GET / HTTP/1.1\r\n${H}Content-Length: 0x5\r\n\r\n`, 400],
  ['Content-Length empty', `GET / HTTP/1.1\r\n${H}Content-Length:\r\n\r\n`, 400],
  ['Content-Length beyond all numbers', `GET / HTTP/1.1\r\n${H}Content-Length: ${'9'.repeat(40)}\r\n\r\n`, 0],
  ['chunked', `GET / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n`, 0],
  ['chunked in capitals', `GET / HTTP/1.1\r\n${H}Transfer-Encoding: CHUNKED\r\n\r\n`, 0],
  ['chunked and a length', `GET / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n`, 400],
  ['a length and chunked', `GET / HTTP/1.1\r\n${H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`, 400],
  ['chunked in HTTP/1.0', 'GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
  ['chunked twice', `GET / HTTP/1.1\r\n${H}Transfer-Encoding: chunked, chunked\r\n\r\n`, 400],
  [
    'chunked in two lines',
    `GET / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    400,
  ],
  ['chunked not last', `GET / HTTP/1.1\r\n${H}Transfer-Encoding: chunked, gzip\r\n\r\n`, 400],
  ['gzip alone', `GET / HTTP/1.1\r\n${H}Transfer-Encoding: gzip\r\n\r\n`, 400],
  ['gzip and chunked', `GET / HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n`, 501],
  ['nothing as a coding', `GET / HTTP/1.1\r\n${H}Transfer-Encoding: ,\r\n\r\n`, 400],
  ['xchunked', `GET / HTTP/1.1\r\n${H}Transfer-Encoding: xchunked\r\n\r\n`, 400],
  ['Expect: 100-continue', `GET / HTTP/1.1\r\n${H}Expect: 100-Continue\r\n\r\n`, 0],
  ['Expect of something else', `GET / HTTP/1.1\r\n${H}Expect: miracles\r\n\r\n`, 417],
  ['Expect in HTTP/1.0 is ignored', 'GET / HTTP/1.0\r\nExpect: miracles\r\n\r\n', 0],
  ['a hundred fields', `GET / HTTP/1.1\r\n${H}${'A: b\r\n'.repeat(99)}\r\n`, 0],
  ['a hundred and one', `GET / HTTP/1.1\r\n${H}${'A: b\r\n'.repeat(100)}\r\n`, 431],
  ['target of 4096', `GET /${'a'.repeat(4095)} HTTP/1.1\r\n${H}\r\n`, 0],
  ['target of 4097', `GET /${'a'.repeat(4096)} HTTP/1.1\r\n${H}\r\n`, 414],
  ['target that never ends', `GET /${'a'.repeat(9000)}`, 414],
  ['method that never ends', 'A'.repeat(9000), 400],
  ['empty lines that never end', '\r\n'.repeat(5000), 400],
  ['field that never ends', `GET / HTTP/1.1\r\n${H}A: ${'b'.repeat(9000)}`, 431],
  ['head of 8192', `GET / HTTP/1.1\r\n${H}A: ${'b'.repeat(8192 - 32)}\r\n\r\n`, 0],
  ['head of 8193', `GET / HTTP/1.1\r\n${H}A: ${'b'.repeat(8193 - 32)}\r\n\r\n`, 431],
  ['a TLS handshake', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
];

for (const [what, text, status] of ACCEPTANCE) {
  test(`${what}: ${status === 0 ? 'taken' : status}`, (t) => {
    const { result } = parse(text);
    t.is(result, status === 0 ? text.length : -status);
  });
}

test('methods are told apart', (t) => {
  for (const [name, method] of [
    ['GET', METHOD_GET],
    ['HEAD', METHOD_HEAD],
    ['OPTIONS', METHOD_OPTIONS],
    ['POST', METHOD_OTHER],
    ['PUT', METHOD_OTHER],
    ['DELETE', METHOD_OTHER],
    ['GETS', METHOD_OTHER],
    ['get', METHOD_OTHER],
    ['Head', METHOD_OTHER],
    ['options', METHOD_OTHER],
    ['G', METHOD_OTHER],
  ] as const) {
    t.is(parse(`${name} / HTTP/1.1\r\n${H}\r\n`).head.method, method, name);
  }
});

test('paths of absolute-form targets', (t) => {
  for (const [target, path] of [
    ['http://h/a/b?c', '/a/b'],
    ['http://h', '/'],
    ['http://h/', '/'],
    ['http://h?q', '/'],
    ['http://h:80/x', '/x'],
    ['HtTp://[::1]:80/x', '/x'],
  ] as const) {
    const { head, bytes } = parse(`GET ${target} HTTP/1.1\r\n${H}\r\n`);
    t.is(slice(bytes, head.pathAt, head.pathBytes), path, target);
    t.is(head.pathHash, hashBytes(Buffer.from(path), 0, path.length), target);
    t.is(slice(bytes, head.targetAt, head.targetBytes), target);
  }
});

test('persistence: version and Connection', (t) => {
  for (const [version, connection, keepAlive] of [
    ['1.1', '', true],
    ['1.1', 'Connection: close\r\n', false],
    ['1.1', 'Connection: Close\r\n', false],
    ['1.1', 'Connection: keep-alive\r\n', true],
    ['1.1', 'Connection: keep-alive, close\r\n', false],
    ['1.1', 'Connection: upgrade ,\tclose\r\n', false],
    ['1.1', 'Connection: closed\r\n', true],
    ['1.1', 'Connection: keep-alive\r\nConnection: close\r\n', false],
    ['1.0', '', false],
    ['1.0', 'Connection: keep-alive\r\n', true],
    ['1.0', 'Connection: Keep-Alive\r\n', true],
    ['1.0', 'Connection: keep-alive\r\nConnection: close\r\n', false],
    ['1.0', 'Keep-Alive: timeout=5\r\n', false],
  ] as const) {
    const { head } = parse(`GET / HTTP/${version}\r\n${H}${connection}\r\n`);
    t.is(head.keepAlive, keepAlive, `${version} ${connection}`);
  }
});

test('bodies and expectations', (t) => {
  const length = parse(`POST / HTTP/1.1\r\n${H}Content-Length: 0012\r\nExpect: 100-continue\r\n\r\n`).head;
  t.is(length.bodyKind, BODY_LENGTH);
  t.is(length.contentLength, 12);
  t.true(length.expectContinue);
  t.is(parse(`POST / HTTP/1.1\r\n${H}Content-Length: 0\r\n\r\n`).head.bodyKind, BODY_NONE);
  t.is(parse(`POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n`).head.bodyKind, BODY_CHUNKED);
  const huge = parse(`POST / HTTP/1.1\r\n${H}Content-Length: ${'9'.repeat(40)}\r\n\r\n`).head;
  t.is(huge.contentLength, Number.MAX_SAFE_INTEGER);
});

test('fields that are kept, and dropped when they come twice', (t) => {
  const { head, bytes } = parse(
    `GET / HTTP/1.1\r\n${H}RANGE:  bytes=1-2 \r\nif-none-match: "a", "b"\r\nIf-Modified-Since: x\r\nIf-Modified-Since: y\r\n\r\n`,
  );
  t.is(head.fields, (1 << FIELD_RANGE) | (1 << FIELD_IF_NONE_MATCH));
  const value = (field: number) => slice(bytes, head.fieldAt[field] ?? 0, head.fieldBytes[field] ?? 0);
  t.is(value(FIELD_RANGE), 'bytes=1-2');
  t.is(value(FIELD_IF_NONE_MATCH), '"a", "b"');
  t.is(value(FIELD_IF_MODIFIED_SINCE), 'y');
});

test('one object parses one head after another without remembering', (t) => {
  const head = new RequestHead(LIMITS);
  const loaded = `POST /x HTTP/1.0\r\n${H}Content-Length: 5\r\nRange: bytes=0-\r\nConnection: keep-alive\r\n\r\n`;
  const plain = `GET / HTTP/1.1\r\n${H}\r\n`;
  t.is(head.parse(place(loaded), AT, loaded.length), loaded.length);
  t.is(head.parse(place(plain), AT, plain.length), plain.length);
  t.deepEqual({ ...head }, { ...parse(plain).head, fieldAt: head.fieldAt, fieldBytes: head.fieldBytes });
});

/** What a server sees when the bytes come in the given pieces: it parses what it has each time, up to the limit. */
function parseInPieces(text: string, cuts: readonly number[]): string {
  const head = new RequestHead(LIMITS);
  const bytes = place(text);
  for (const cut of [...cuts, text.length].sort((a, b) => a - b)) {
    const result = head.parse(bytes, AT, Math.min(cut, text.length));
    if (result !== INCOMPLETE) return describe(head, result);
  }
  return 'incomplete';
}

function describe(head: RequestHead, result: number): string {
  if (result < 0) return `refused ${-result}`;
  const { method, minorVersion, pathAt, pathBytes, pathHash, keepAlive, bodyKind, contentLength, fields } = head;
  return JSON.stringify({
    result,
    method,
    minorVersion,
    pathAt,
    pathBytes,
    pathHash,
    keepAlive,
    bodyKind,
    contentLength,
    fields,
  });
}

const seeds = ACCEPTANCE.map(([, text]) => text).filter((text) => text.length < 400);
const mutated = fc
  .tuple(
    fc.constantFrom(...seeds),
    fc.array(
      fc.record({
        kind: fc.constantFrom('replace', 'insert', 'delete', 'double'),
        at: fc.nat(),
        byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 9, 10, 13, 32, 58, 44)),
      }),
      { maxLength: 4 },
    ),
  )
  .map(([seed, edits]) => {
    let text = seed;
    for (const { kind, at, byte } of edits) {
      const p = at % (text.length + 1);
      const character = String.fromCharCode(byte);
      if (kind === 'insert') text = text.slice(0, p) + character + text.slice(p);
      else if (kind === 'delete') text = text.slice(0, p) + text.slice(p + 1);
      else if (kind === 'replace') text = text.slice(0, p) + character + text.slice(p + 1);
      else text += text.slice(p);
    }
    return text;
  });

test('property: a head cut at any one place is judged as if it had come whole', (t) => {
  fc.assert(
    fc.property(mutated, (text) => {
      const whole = parseInPieces(text, []);
      for (let cut = 1; cut < text.length; cut++) {
        if (parseInPieces(text, [cut]) !== whole) return false;
      }
      return true;
    }),
    { numRuns: 1000, seed: 7 },
  );
  t.pass();
});

test('property: a head that comes byte by byte is judged as if it had come whole', (t) => {
  fc.assert(
    fc.property(mutated, (text) => {
      const everywhere = Array.from(text, (_, index) => index);
      return parseInPieces(text, everywhere) === parseInPieces(text, []);
    }),
    { numRuns: 1000, seed: 8 },
  );
  t.pass();
});

test('property: arbitrary bytes never throw, and nothing beyond them is read', (t) => {
  const head = new RequestHead(LIMITS);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
      const roomy = new Uint8Array(AT + data.length + 64).fill(0x0a);
      roomy.set(data, AT);
      const first = describe(head, head.parse(roomy, AT, data.length));
      roomy.fill(0x41, AT + data.length);
      return describe(head, head.parse(roomy, AT, data.length)) === first;
    }),
    { numRuns: 5000, seed: 9 },
  );
  t.pass();
});
