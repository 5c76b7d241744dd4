/**
 * What a request is answered: `context.requests.head` says what it asks for. Each function queues a head and perhaps a body, and
 * tells the connection that the answer is complete.
 */
import { evaluate } from '../http/conditions.ts';
import { NO_BLOCK } from '../http/header-blocks.ts';
import { METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER } from '../http/request.ts';
import type { PreparedHead } from '../http/response.ts';
import { FileVersion } from './cached-file.ts';
import type { HttpContext } from './context.ts';
import { ANSWERS_JOINED, BODY_BYTES, CACHE_HITS, CACHE_MISSES, countResponse, RANGE_RESPONSES } from './counters.ts';
import type { FileStream } from './file-stream.ts';
import type { HttpConnection } from './http-connection.ts';
import { ENTRY_FILE, ENTRY_REDIRECT, ENTRY_STATUS, type PathEntry } from './path-table.ts';

/** Answers the request at once, or sets the connection's `entry` or `file` to what has to be waited for. */
export function answer<C>(context: HttpContext<C>, to: HttpConnection<C>): boolean {
  const { cache, bytes } = context;
  const { head } = context.requests;
  if (head.method >= METHOD_OPTIONS) {
    sendFixed(context, to, head.method === METHOD_OTHER ? 405 : 204, true);
    to.endAnswer();
    return true;
  }
  const known = cache.find(bytes, head.pathAt, head.pathBytes, head.pathHash);
  const entry = known ?? cache.createEntry(bytes, head.pathAt, head.pathBytes, head.pathHash);
  if (cache.isFresh(entry, context.nowMs)) {
    context.counters.increment(CACHE_HITS);
    return answerEntry(context, to, entry);
  }
  context.counters.increment(CACHE_MISSES);
  to.entry = entry;
  return false;
}

/** Answers a GET or HEAD with what an entry says; false, with the connection's `file` set, when that is to be streamed. */
export function answerEntry<C>(context: HttpContext<C>, to: HttpConnection<C>, entry: PathEntry): boolean {
  const { file } = entry;
  if (entry.kind === ENTRY_FILE && file !== null && file.version !== null) {
    if (file.readAhead) context.cache.noteGroupHit(file);
    answerVersion(context, to, file.version);
  } else if (entry.kind === ENTRY_FILE && file?.streamed === true) {
    to.file = file;
    return false;
  } else if (entry.kind === ENTRY_REDIRECT) {
    sendRedirect(context, to, entry.location);
  } else {
    sendFixed(
      context,
      to,
      entry.kind === ENTRY_STATUS ? entry.status : 503,
      context.requests.head.method === METHOD_GET,
    );
  }
  to.endAnswer();
  return true;
}

/** Sends the head that the open file's state calls for, and starts its body if there is one. */
export function answerStreamed<C>(context: HttpContext<C>, to: HttpConnection<C>, stream: FileStream): void {
  const { identity } = stream;
  if (identity === null) return;
  const version = new FileVersion(stream.file, identity, 0, identity.bytes, '', context.responder.wallSeconds);
  const { range } = context;
  const { head } = context.requests;
  const size = version.bodyBytes;
  const status = head.fields === 0 ? 200 : evaluate(head, context.bytes, version, size, range);
  const first = status === 206 ? range.first : 0;
  const length = status === 206 ? range.last - range.first + 1 : size;
  let sent = true;
  if (status === 200) sent = sendBuilt(context, to, 200, version.full.fields);
  else if (status === 206) sent = sendRangeHead(context, to, version);
  else if (status === 304) sent = sendBuilt(context, to, 304, version.notModified.fields);
  else sent = sendRefusal(context, to, status, size);
  if (sent && (status === 200 || status === 206) && head.method === METHOD_GET && length > 0) {
    to.startStream(first, length);
  }
}

/** Sends the answer of a status that always has the same one. */
export function sendFixed<C>(
  context: HttpContext<C>,
  to: HttpConnection<C>,
  status: number,
  withBody: boolean,
): boolean {
  const response = context.responder.fixedResponse(status);
  if (!sendPrepared(context, to, response.head)) return false;
  if (withBody && response.bodyBytes > 0) to.send(response.bodyAt, response.bodyBytes, null, 0, response.bodyGrid);
  return true;
}

function answerVersion<C>(context: HttpContext<C>, to: HttpConnection<C>, version: FileVersion): void {
  const { range } = context;
  const { head } = context.requests;
  const status = head.fields === 0 ? 200 : evaluate(head, context.bytes, version, version.bodyBytes, range);
  if (status === 200) {
    if (sendJoined(context, to, version)) return;
    if (sendPrepared(context, to, version.full)) sendBody(context, to, version, 0, version.bodyBytes);
  } else if (status === 206) {
    const { first, last } = range;
    if (sendRangeHead(context, to, version)) sendBody(context, to, version, first, last - first + 1);
  } else if (status === 304) {
    sendPrepared(context, to, version.notModified);
  } else {
    sendRefusal(context, to, status, version.bodyBytes);
  }
}

/** Sends a short file and its head as one region; false when it is not to be sent so, or there is no memory for it. */
function sendJoined<C>(context: HttpContext<C>, to: HttpConnection<C>, version: FileVersion): boolean {
  const { bodyBytes } = version;
  if (bodyBytes === 0 || bodyBytes > context.joinedBodyBytes || context.requests.head.method === METHOD_HEAD)
    return false;
  const block = context.responder.acquire(version.joined, to.variant);
  if (block === NO_BLOCK) return false;
  context.counters.add(BODY_BYTES, bodyBytes);
  context.counters.increment(ANSWERS_JOINED);
  context.versions.touch(version);
  return sendBlock(context, to, 200, block);
}

/** Queues a region of a version's body, from where it lies in the cache (or, unmerged, a copy of it). */
function sendBody<C>(
  context: HttpContext<C>,
  to: HttpConnection<C>,
  version: FileVersion,
  first: number,
  length: number,
): void {
  if (length === 0 || context.requests.head.method === METHOD_HEAD) return;
  const { copies, counters, versions } = context;
  counters.add(BODY_BYTES, length);
  if (copies !== null) {
    to.startCopy(copies, version, first, length);
    return;
  }
  versions.retain(version);
  to.send(version.bodyAt + first, length, versions, version.token, version.grid);
}

function sendRangeHead<C>(context: HttpContext<C>, to: HttpConnection<C>, version: FileVersion): boolean {
  context.counters.increment(RANGE_RESPONSES);
  return sendBuilt(context, to, 206, version.rangeFields(context.range.first, context.range.last));
}

/** 412, or 416 with the length that the range was out of. */
function sendRefusal<C>(context: HttpContext<C>, to: HttpConnection<C>, status: number, size: number): boolean {
  const withBody = context.requests.head.method === METHOD_GET;
  if (status !== 416) return sendFixed(context, to, status, withBody);
  return sendBuilt(context, to, 416, `Content-Range: bytes */${size}\r\nContent-Length: 0\r\n`);
}

function sendRedirect<C>(context: HttpContext<C>, to: HttpConnection<C>, location: string): boolean {
  return sendBuilt(context, to, 301, `Location: ${location}\r\nContent-Length: 0\r\n`);
}

function sendPrepared<C>(context: HttpContext<C>, to: HttpConnection<C>, head: PreparedHead): boolean {
  const { responder } = context;
  let block = responder.acquire(head, to.variant);
  if (block === NO_BLOCK) {
    context.versions.discardHeads();
    block = responder.acquire(head, to.variant);
  }
  return sendBlock(context, to, head.status, block);
}

function sendBuilt<C>(context: HttpContext<C>, to: HttpConnection<C>, status: number, fields: string): boolean {
  const { responder } = context;
  let block = responder.build(status, fields, to.variant);
  if (block === NO_BLOCK) {
    context.versions.discardHeads();
    block = responder.build(status, fields, to.variant);
  }
  return sendBlock(context, to, status, block);
}

function sendBlock<C>(context: HttpContext<C>, to: HttpConnection<C>, status: number, block: number): boolean {
  if (block === NO_BLOCK) return to.giveUp();
  const { blocks } = context.responder;
  countResponse(context.counters, status);
  to.send(blocks.at(block), blocks.length(block), blocks, block, blocks.grid(block));
  return true;
}
