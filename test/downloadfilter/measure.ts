/**
 * Nanoseconds and heap bytes per classified frame, for people: `node --expose-gc build/test/downloadfilter/measure.js`.
 * Not a test: figures of one machine prove nothing on another, ratios in one run do.
 */
import { Demultiplexer } from '../../src/downloadfilter/demultiplexer.ts';
import { interpret } from '../../src/downloadfilter/interpret.ts';
import { type Filter, load8, load16 } from '../../src/downloadfilter/language.ts';
import { arpFilter, ipv4Filter, tcp4Filter } from '../../src/downloadfilter/protocols.ts';
import { satisfy } from './support.ts';

const FRAMES = 1024;
const FRAME_BYTES = 128;
const ROUNDS = 9;
const CALLS = 2_000_000;
const A = 0x0a5a0002;

function makeFrames(filters: readonly Filter[]): Uint8Array {
  const bytes = new Uint8Array(FRAMES * FRAME_BYTES);
  for (let index = 0; index < FRAMES; index++) {
    bytes[index * FRAME_BYTES + 14] = 0x45;
    satisfy(filters[Math.imul(index, 7919) % filters.length] ?? [], bytes, index * FRAME_BYTES);
  }
  return bytes;
}

function measure(name: string, filters: readonly Filter[], hits: readonly Filter[] = filters): void {
  const demultiplexer = new Demultiplexer();
  const before = performance.now();
  for (const [owner, filter] of filters.entries()) demultiplexer.insert(filter, owner);
  const inserted = performance.now();
  const source = demultiplexer.source;
  const compiled = performance.now();
  const bytes = makeFrames(hits);
  const figures: number[] = [];
  let owners = 0;
  let heap = 0;
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc?.();
    const heapBefore = process.memoryUsage().heapUsed;
    const start = performance.now();
    for (let call = 0; call < CALLS; call++) {
      owners ^= demultiplexer.classify(bytes, (call & (FRAMES - 1)) * FRAME_BYTES, 64);
    }
    figures.push(((performance.now() - start) * 1e6) / CALLS);
    heap = (process.memoryUsage().heapUsed - heapBefore) / CALLS;
  }
  figures.sort((a, b) => a - b);
  const [best, median] = [figures[0] ?? 0, figures[ROUNDS >> 1] ?? 0];
  console.log(
    `${name.padEnd(52)} ${median.toFixed(1)} ns (best ${best.toFixed(1)}), ${heap.toFixed(3)} heap bytes a call; ` +
      `insert ${(inserted - before).toFixed(0)} ms, compile ${(compiled - inserted).toFixed(1)} ms, ` +
      `${source.length} characters of code (${owners % 10})`,
  );
}

function measureInterpreter(name: string, filters: readonly Filter[]): void {
  const bytes = makeFrames(filters);
  const calls = Math.ceil(2_000_000 / filters.length);
  const start = performance.now();
  let owners = 0;
  for (let call = 0; call < calls; call++) {
    const at = (call & (FRAMES - 1)) * FRAME_BYTES;
    owners += filters.findIndex((filter) => interpret(filter, bytes, at, 64));
  }
  console.log(
    `${name.padEnd(52)} ${(((performance.now() - start) * 1e6) / calls).toFixed(0)} ns interpreted (${owners % 10})`,
  );
}

function tenThousand(make: (index: number) => Filter): Filter[] {
  return Array.from({ length: 10_000 }, (_, index) => make(index));
}

const four = [
  tcp4Filter({ target: A, source: 0x0a5a0001, sourcePort: 40_000, targetPort: 80 }),
  tcp4Filter({ target: A, targetPort: 80 }),
  ipv4Filter(A),
  arpFilter(A),
];
const ports = tenThousand((index) => tcp4Filter({ target: A, targetPort: index + 1 }));
const hosts = tenThousand((index) => tcp4Filter({ target: A + index, targetPort: 80 }));
const connections = tenThousand((index) =>
  tcp4Filter({ target: A, targetPort: 80, source: 0x0a5a0001 + (index >> 7), sourcePort: 40_000 + (index & 127) }),
);

const [connection = [], listen = [], address = []] = four;
measure('1 filter: IPv4', [address]);
measure('4 filters, all hit', four);
measure('4 filters, TCP to the port', four, [listen]);
measure('4 filters, the connection', four, [connection]);
measure('4 filters, UDP', four, [[...address, load8(23, 17)]]);
measure('4 filters, not IP', four, [[load16(12, 0x86dd)]]);
measure('10,000 ports', ports);
measure('10,000 ports and the address, all hit', [...ports, address]);
measure('10,000 listen addresses', hosts);
measure('10,000 connections, the port and the address', [...connections, listen, address]);
measure('10,000 connections, frames of the address only', [...connections, listen, address], [address]);
measureInterpreter('4 filters', four);
measureInterpreter('10,000 ports', ports);
