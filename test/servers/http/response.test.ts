import test from 'ava';
import { Arena } from '../../../src/runtime/arena.ts';
import { BlockAllocator } from '../../../src/runtime/block-allocator.ts';
import { VirtualClock } from '../../../src/runtime/virtual-clock.ts';
import { HeaderBlocks, NO_BLOCK } from '../../../src/servers/http/header-blocks.ts';
import {
  CONNECTION_ENDS,
  CONNECTION_KEPT,
  CONNECTION_PERSISTS,
  PreparedHead,
  Responder,
  STATUSES,
} from '../../../src/servers/http/response.ts';

function makeResponder(memoryBytes = 256 * 1024) {
  const arena = new Arena(1024 * 1024);
  const memory = new BlockAllocator(arena, memoryBytes);
  const clock = new VirtualClock();
  const responder = new Responder(arena.bytes, memory, clock);
  const text = (block: number) => {
    const { blocks } = responder;
    return Buffer.from(arena.bytes.subarray(blocks.at(block), blocks.at(block) + blocks.length(block))).toString();
  };
  return { arena, memory, clock, responder, text };
}

test('golden: a head in its three variants', (t) => {
  const { responder, text } = makeResponder();
  const head = new PreparedHead(200, 'Content-Length: 5\r\n');
  const common = 'HTTP/1.1 200 OK\r\nServer: exonet\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 5\r\n';
  t.is(text(responder.acquire(head, CONNECTION_PERSISTS)), `${common}\r\n`);
  t.is(text(responder.acquire(head, CONNECTION_ENDS)), `${common}Connection: close\r\n\r\n`);
  t.is(text(responder.acquire(head, CONNECTION_KEPT)), `${common}Connection: keep-alive\r\n\r\n`);
});

test('golden: every fixed response', (t) => {
  const { arena, responder, text } = makeResponder();
  const lines: string[] = [];
  for (const status of STATUSES) {
    if ([200, 206, 301, 304, 416].includes(status)) continue;
    const response = responder.fixedResponse(status);
    const body = Buffer.from(arena.bytes.subarray(response.bodyAt, response.bodyAt + response.bodyBytes)).toString();
    const head = text(responder.acquire(response.head, CONNECTION_ENDS));
    t.is(response.head.status, status);
    if (status !== 204) t.true(head.includes(`Content-Length: ${body.length}\r\n`), head);
    t.is(head.includes('Allow: GET, HEAD, OPTIONS\r\n'), status === 204 || status === 405);
    lines.push(head.slice(0, head.indexOf('\r\n')));
  }
  t.deepEqual(lines, [
    'HTTP/1.1 204 No Content',
    'HTTP/1.1 400 Bad Request',
    'HTTP/1.1 403 Forbidden',
    'HTTP/1.1 404 Not Found',
    'HTTP/1.1 405 Method Not Allowed',
    'HTTP/1.1 408 Request Timeout',
    'HTTP/1.1 412 Precondition Failed',
    'HTTP/1.1 413 Content Too Large',
    'HTTP/1.1 414 URI Too Long',
    'HTTP/1.1 417 Expectation Failed',
    'HTTP/1.1 431 Request Header Fields Too Large',
    'HTTP/1.1 500 Internal Server Error',
    'HTTP/1.1 501 Not Implemented',
    'HTTP/1.1 503 Service Unavailable',
    'HTTP/1.1 505 HTTP Version Not Supported',
  ]);
});

test('within a second the same block is sent; the next second has another, and the old one stays as it was', (t) => {
  const { clock, responder, text } = makeResponder();
  const head = new PreparedHead(200, '');
  const first = responder.acquire(head, CONNECTION_PERSISTS);
  clock.runUntil(999_000);
  responder.tick(999);
  t.is(responder.acquire(head, CONNECTION_PERSISTS), first);
  clock.runUntil(1_000_000);
  responder.tick(1000);
  const second = responder.acquire(head, CONNECTION_PERSISTS);
  t.not(second, first);
  t.regex(text(first), /00:00:00 GMT/);
  t.regex(text(second), /00:00:01 GMT/);
  t.is(responder.blocks.live, 2);
  responder.blocks.release(first);
  responder.blocks.release(first);
  t.is(responder.blocks.live, 1);
  responder.discard(head);
  t.is(responder.blocks.live, 1);
  responder.blocks.release(second);
  t.is(responder.blocks.live, 0);
});

test('the monotonic milliseconds may wrap', (t) => {
  const { responder, clock, text } = makeResponder();
  const head = new PreparedHead(200, '');
  clock.runUntil(2 ** 31 * 1000 - 500_000);
  responder.tick((clock.nowUs() / 1000) | 0);
  const first = text(responder.acquire(head, CONNECTION_PERSISTS));
  clock.runUntil(clock.nowUs() + 1_500_000);
  responder.tick((clock.nowUs() / 1000) | 0);
  t.not(text(responder.acquire(head, CONNECTION_PERSISTS)), first);
});

test('without memory there is no block, and nothing is lost', (t) => {
  const { responder, memory } = makeResponder(64 * 1024);
  const used = memory.usedBytes;
  const taken: number[] = [];
  for (let block = responder.build(200, '', 0); block !== NO_BLOCK; block = responder.build(200, '', 0))
    taken.push(block);
  t.true(taken.length > 50);
  t.is(responder.acquire(new PreparedHead(200, ''), 0), NO_BLOCK);
  for (const block of taken) responder.blocks.release(block);
  t.is(memory.usedBytes, used);
  responder.close();
  t.true(memory.usedBytes < used);
  t.is(responder.blocks.live, 0);
});

test('everything goes back when the responder closes', (t) => {
  const { responder, memory } = makeResponder();
  for (const status of [400, 404]) responder.blocks.release(responder.acquire(responder.fixedResponse(status).head, 1));
  responder.close();
  t.is(responder.blocks.live, 0);
  // What is left is the interim response, which is nobody's.
  t.is(memory.liveBlocks, 0);
});

test('block records are reused and grow', (t) => {
  const arena = new Arena(1024 * 1024);
  const memory = new BlockAllocator(arena, 512 * 1024);
  const blocks = new HeaderBlocks(arena.bytes, memory);
  const many = Array.from({ length: 1000 }, (_, index) => blocks.create(`block ${index}`));
  t.is(new Set(many).size, 1000);
  for (const [index, block] of many.entries()) {
    const at = blocks.at(block);
    t.is(Buffer.from(arena.bytes.subarray(at, at + blocks.length(block))).toString(), `block ${index}`);
  }
  for (const block of many) blocks.release(block);
  t.is(memory.usedBytes, 0);
  t.true(many.includes(blocks.create('again')));
  t.throws(() => blocks.release(many[0] ?? 0), { instanceOf: RangeError });
});
