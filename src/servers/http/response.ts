/**
 * Response heads: their text, and the prebuilt blocks of it that are sent again and again until the second changes.
 *
 * `Responder` owns the fixed answers (errors and the like) and the block of each; the block of a file's answers belongs to
 * the file's version, as a `PreparedHead`.
 */
import type { BlockAllocator } from '../../runtime/block-allocator.ts';
import type { Clock } from '../../runtime/clock.ts';
import { Counters } from '../../runtime/counters.ts';
import { type Bytes, int32At, setU8 } from '../../wire/bytes.ts';
import { bytesWithGrid, gridBehind, writeGrid } from '../../wire/sum-grid.ts';
import { HeaderBlocks, NO_BLOCK } from './header-blocks.ts';
import { formatHttpDate } from './http-date.ts';

/** What a head says about the connection: nothing (HTTP/1.1 goes on), `close`, or `keep-alive` (for HTTP/1.0). */
export const CONNECTION_PERSISTS = 0;
export const CONNECTION_ENDS = 1;
export const CONNECTION_KEPT = 2;
const VARIANTS = 3;

const CONNECTION_LINES = ['', 'Connection: close\r\n', 'Connection: keep-alive\r\n'];

export const ALLOWED_METHODS = 'GET, HEAD, OPTIONS';

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  204: 'No Content',
  206: 'Partial Content',
  301: 'Moved Permanently',
  304: 'Not Modified',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  414: 'URI Too Long',
  416: 'Range Not Satisfiable',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
  505: 'HTTP Version Not Supported',
};

/** Every status that this server sends. */
export const STATUSES: readonly number[] = Object.keys(REASONS).map(Number);

/** Statuses whose answer is always the same. */
const FIXED_STATUSES = [204, 400, 403, 404, 405, 408, 412, 413, 414, 417, 431, 500, 501, 503, 505];
const STATUS_LIMIT = 600;

/** A head that is sent many times: its text without Date and Connection, and the blocks built from it so far. */
export class PreparedHead {
  readonly status: number;
  readonly fields: string;
  /** A body to stand behind the head in the same block; 0 bytes of it when there is none. Lent for as long as this is used. */
  readonly bodyAt: number;
  readonly bodyBytes: number;
  /** One block a variant, `NO_BLOCK` until it is needed, and the second it was built for. */
  readonly blocks = new Int32Array(VARIANTS);
  readonly seconds = new Int32Array(VARIANTS);

  constructor(status: number, fields: string, bodyAt = 0, bodyBytes = 0) {
    this.status = status;
    this.fields = fields;
    this.bodyAt = bodyAt;
    this.bodyBytes = bodyBytes;
  }
}

/** An answer that never changes but for its Date. */
export class FixedResponse {
  readonly head: PreparedHead;
  /** The body's place in the arena, for good. */
  readonly bodyAt: number;
  readonly bodyBytes: number;
  /** Where the body's grid of sums lies, 0 for none. */
  readonly bodyGrid: number;

  constructor(head: PreparedHead, bodyAt: number, bodyBytes: number, bodyGrid: number) {
    this.head = head;
    this.bodyAt = bodyAt;
    this.bodyBytes = bodyBytes;
    this.bodyGrid = bodyGrid;
  }
}

const COUNTER_NAMES = ['headsBuilt', 'headsReused', 'headBytesSummed', 'bodyBytesJoined'] as const;
export type ResponderCounterName = (typeof COUNTER_NAMES)[number];
/** Heads written, and those that had been written before. */
const HEADS_BUILT = 0;
const HEADS_REUSED = 1;
/** Bytes of heads read to make their grids of sums. */
const HEAD_BYTES_SUMMED = 2;
/** Bytes of short bodies copied behind prepared heads. */
const BODY_BYTES_JOINED = 3;

export interface ResponderOptions {
  /** Prepared heads are kept for the responses that follow (default true). */
  readonly keepHeads?: boolean;
  /** What is sent gets a grid of sums (default false). */
  readonly sums?: boolean;
}

export class Responder {
  readonly counters = new Counters<ResponderCounterName>(COUNTER_NAMES);
  readonly blocks: HeaderBlocks;
  /** Where `HTTP/1.1 100 Continue` lies, for good. */
  readonly continueAt: number;
  readonly continueBytes: number;
  /** Prepared heads are kept for the responses that follow. */
  readonly keepsHeads: boolean;
  private readonly bytes: Bytes;
  private readonly memory: BlockAllocator;
  private readonly sums: boolean;
  private readonly clock: Clock;
  private readonly fixed: (FixedResponse | null)[] = new Array(STATUS_LIMIT).fill(null);
  private readonly bodies: number[] = [];
  /** Wall time in whole seconds, as of the last `tick`, and its text. */
  private second = 0;
  private dateLine = '';
  /** When, on the clock's monotonic time in milliseconds modulo 2^32, the next second begins. */
  private secondEndsMs = 0;

  /** Uses `memory` for blocks and for the bodies of fixed answers; throws `RangeError` when those do not fit. */
  constructor(bytes: Bytes, memory: BlockAllocator, clock: Clock, options: ResponderOptions = {}) {
    this.bytes = bytes;
    this.memory = memory;
    this.clock = clock;
    this.keepsHeads = options.keepHeads ?? true;
    this.sums = options.sums ?? false;
    this.blocks = new HeaderBlocks(bytes, memory, this.sums);
    const text = 'HTTP/1.1 100 Continue\r\n\r\n';
    this.continueAt = this.storeForGood(text);
    this.continueBytes = text.length;
    for (const status of FIXED_STATUSES) this.fixed[status] = this.buildFixed(status);
    this.readWallClock((clock.nowUs() / 1000) | 0);
  }

  /** Tells what time it is, in milliseconds of the monotonic clock (modulo 2^32): a new second means a new Date. */
  tick(nowMs: number): void {
    if (((nowMs - this.secondEndsMs) | 0) >= 0) this.readWallClock(nowMs);
  }

  /** Wall time in whole seconds. */
  get wallSeconds(): number {
    return this.second;
  }

  /** The answer of a status that has one. */
  fixedResponse(status: number): FixedResponse {
    const response = this.fixed[status] ?? this.fixed[500];
    if (response === null || response === undefined) throw new RangeError(`no fixed response for ${status}`);
    return response;
  }

  /** A block of a prepared head for now, with a reference for the caller; `NO_BLOCK` without memory. */
  acquire(head: PreparedHead, variant: number): number {
    if (!this.keepsHeads) return this.build(head.status, head.fields, variant, head.bodyAt, head.bodyBytes);
    let block = int32At(head.blocks, variant);
    if (block === NO_BLOCK || int32At(head.seconds, variant) !== this.second) {
      block = this.rebuild(head, variant);
      if (block === NO_BLOCK) return NO_BLOCK;
    } else {
      this.counters.increment(HEADS_REUSED);
    }
    this.blocks.retain(block);
    return block;
  }

  /** A block that is sent once: the caller has the only reference. */
  build(status: number, fields: string, variant: number, bodyAt = 0, bodyBytes = 0): number {
    const block = this.blocks.create(this.text(status, fields, variant), bodyAt, bodyBytes);
    if (block === NO_BLOCK) return NO_BLOCK;
    this.counters.increment(HEADS_BUILT);
    this.counters.add(BODY_BYTES_JOINED, bodyBytes);
    if (this.sums) this.counters.add(HEAD_BYTES_SUMMED, this.blocks.length(block));
    return block;
  }

  /** Lets go of what a prepared head keeps; what is being sent lives on. */
  discard(head: PreparedHead): void {
    for (let variant = 0; variant < VARIANTS; variant++) {
      const block = int32At(head.blocks, variant);
      head.blocks[variant] = NO_BLOCK;
      if (block !== NO_BLOCK) this.blocks.release(block);
    }
  }

  /** Gives back everything this object holds. */
  close(): void {
    for (const response of this.fixed) if (response !== null) this.discard(response.head);
    for (const at of this.bodies) this.memory.free(at);
    this.bodies.length = 0;
  }

  private rebuild(head: PreparedHead, variant: number): number {
    const block = this.build(head.status, head.fields, variant, head.bodyAt, head.bodyBytes);
    if (block === NO_BLOCK) return NO_BLOCK;
    const old = int32At(head.blocks, variant);
    if (old !== NO_BLOCK) this.blocks.release(old);
    head.blocks[variant] = block;
    head.seconds[variant] = this.second;
    return block;
  }

  private text(status: number, fields: string, variant: number): string {
    const line = `HTTP/1.1 ${status} ${REASONS[status]}\r\n`;
    return `${line}Server: exonet\r\n${this.dateLine}${fields}${CONNECTION_LINES[variant]}\r\n`;
  }

  private readWallClock(nowMs: number): void {
    const wallMs = this.clock.wallMs();
    this.second = Math.floor(wallMs / 1000);
    this.dateLine = `Date: ${formatHttpDate(this.second)}\r\n`;
    this.secondEndsMs = (nowMs + 1000 - (wallMs - this.second * 1000)) | 0;
  }

  private buildFixed(status: number): FixedResponse {
    if (status === 204) return new FixedResponse(new PreparedHead(204, `Allow: ${ALLOWED_METHODS}\r\n`), 0, 0, 0);
    const body = errorPage(status);
    let fields = bodyFields('text/html; charset=utf-8', body.length);
    if (status === 405) fields += `Allow: ${ALLOWED_METHODS}\r\n`;
    if (status === 503) fields += 'Retry-After: 1\r\n';
    const at = this.storeForGood(body);
    const grid = this.sums ? gridBehind(at, body.length) : 0;
    return new FixedResponse(new PreparedHead(status, fields), at, body.length, grid);
  }

  private storeForGood(text: string): number {
    const at = this.memory.allocate(this.sums ? bytesWithGrid(text.length) : text.length);
    if (at === 0) throw new RangeError('no memory for the fixed responses');
    this.bodies.push(at);
    for (let i = 0; i < text.length; i++) setU8(this.bytes, at + i, text.charCodeAt(i));
    if (this.sums) writeGrid(this.bytes, gridBehind(at, text.length), at, text.length);
    return at;
  }
}

export function bodyFields(contentType: string, bytes: number): string {
  return `Content-Type: ${contentType}\r\nContent-Length: ${bytes}\r\n`;
}

/** A small page that names a status. */
export function errorPage(status: number): string {
  const title = `${status} ${REASONS[status]}`;
  const style = 'font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem;color:#234';
  return (
    `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>${title}</title></head>\n` +
    `<body style="${style}"><h1>${title}</h1><p>exonet</p></body></html>\n`
  );
}
