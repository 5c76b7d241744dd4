/**
 * One client connection: reads requests in order, answers each before the next is looked at, and leaves it to TCP to merge
 * what it queues into segments.
 *
 * A request for something in the cache is parsed where the device put it and answered with two regions, header block
 * and body, within one call of `ready`: nothing is allocated and nothing copied. A request that cannot be answered at once
 * (its head is in pieces, it has a body, the disk must be asked) has its head copied to a block of its own first, and is
 * parsed again from there when the time has come.
 *
 * Records are pooled, and their timers with them.
 */
import { EVENT_CLOSED, EVENT_PEER_CLOSED, type RegionOwner } from '../../tcp/tcb.ts';
import { u8 } from '../../wire/bytes.ts';
import { BodySkipper } from '../http/body.ts';
import { LF } from '../http/characters.ts';
import { BODY_NONE, INCOMPLETE, METHOD_OTHER } from '../http/request.ts';
import { NO_NOTE } from '../http/request-memo.ts';
import { CONNECTION_ENDS, CONNECTION_KEPT, CONNECTION_PERSISTS } from '../http/response.ts';
import type { TransportUser } from '../http/transport.ts';
import { answer, answerEntry, answerStreamed, sendFixed } from './answers.ts';
import type { CachedFile, FileVersion } from './cached-file.ts';
import { type HttpContext, lookAtClock, readClock } from './context.ts';
import {
  ABORTS,
  BODY_BYTES,
  CONNECTIONS_CLOSED,
  MEMORY_SHORTAGES,
  REQUESTS,
  STREAMS,
  STREAMS_BROKEN,
  TIMEOUTS,
} from './counters.ts';
import { FileStream, type StreamUser } from './file-stream.ts';
import { HeadBuffer } from './head-buffer.ts';
import type { LookupWaiter, PathEntry } from './path-table.ts';
import type { BodyCopy, CopyUser, SendBuffers } from './send-buffers.ts';

/** Between requests, or in the middle of a head. */
const READING = 0;
/** Reading over a body; the head is kept. */
const BODY = 1;
/** Waiting for the disk to say what the path names; the head is kept. */
const LOOKUP = 2;
/** Sending a file past the cache; until it is open the head is kept. */
const STREAM = 3;
/** Copying a body to where it is sent from. */
const COPY = 4;
/** Nothing more is read: TCP sends what is queued and its FIN. */
const CLOSING = 5;

export class HttpConnection<Connection> implements TransportUser<Connection>, LookupWaiter, StreamUser, CopyUser {
  /** Its place among the server's records, and the argument of its timer. */
  readonly index: number;
  /** Null while the record waits to be used. */
  connection: Connection | null = null;
  /** What the answer to the present request says about the connection. */
  variant = CONNECTION_PERSISTS;
  /** The answer needs this entry checked first. */
  entry: PathEntry | null = null;
  /** The answer is this file, past the cache. */
  file: CachedFile | null = null;
  /** Bytes queued so far, modulo 2^32. */
  sentBytes = 0;
  private readonly context: HttpContext<Connection>;
  private readonly timer: number;
  private readonly body = new BodySkipper();
  private state = READING;
  private peerClosed = false;
  private requests = 0;
  /** The note of its last request. */
  private note = NO_NOTE;
  private readonly kept: HeadBuffer;
  private bodyRefusal = 0;
  private stream: FileStream | null = null;
  private streamStarted = false;
  /** The copy that is not complete. */
  private copy: BodyCopy | null = null;
  /** Bytes acknowledged when the timer was armed, modulo 2^32. */
  private ackedBytes = 0;

  constructor(context: HttpContext<Connection>, index: number) {
    this.context = context;
    this.index = index;
    this.kept = new HeadBuffer(context.bytes, context.heads);
    this.timer = context.timers.create(context.timerKind, index);
  }

  /** The record serves a new connection from here on. */
  begin(connection: Connection): void {
    this.connection = connection;
    this.state = READING;
    this.peerClosed = false;
    this.requests = 0;
    this.note = NO_NOTE;
    this.sentBytes = 0;
    readClock(this.context);
    this.arm(this.context.limits.headTimeoutUs);
  }

  ready(connection: Connection): void {
    const events = this.context.transport.takeEvents(connection);
    if (connection !== this.connection) return;
    if ((events & EVENT_CLOSED) !== 0) {
      this.finish();
      return;
    }
    if ((events & EVENT_PEER_CLOSED) !== 0) this.peerClosed = true;
    readClock(this.context);
    this.run();
  }

  /** The server is shutting down: a connection that rests ends now, the others with the answer they are at. */
  shutdown(): void {
    const { connection, context } = this;
    if (connection === null || this.state !== READING || this.kept.length > 0) return;
    if (context.transport.readableBytes(connection) === 0) this.close();
  }

  /** Resets the connection; `EVENT_CLOSED` follows. */
  abort(): void {
    const { connection, context } = this;
    if (connection === null) return;
    context.counters.increment(ABORTS);
    this.state = CLOSING;
    this.letGo();
    context.transport.abort(connection);
  }

  /** The record is not used any more. */
  destroy(): void {
    this.context.timers.destroy(this.timer);
  }

  /** The timer of the connection has fired. */
  expire(): void {
    const { connection, context } = this;
    if (connection === null) return;
    readClock(context);
    const inRequest = this.state === BODY || (this.state === READING && this.kept.length > 0);
    if (inRequest) {
      context.counters.increment(TIMEOUTS);
      this.refuse(408);
    } else if (context.transport.queuedBytes(connection) > 0) {
      // Whoever takes some of the answer may have the rest, however slowly.
      if (this.acknowledged() === this.ackedBytes) {
        context.counters.increment(TIMEOUTS);
        this.abort();
      } else {
        this.arm(context.limits.sendTimeoutUs);
        this.run();
      }
    } else if (this.state === READING) this.close();
    else if (this.state !== CLOSING) this.arm(context.limits.sendTimeoutUs);
    context.wake();
  }

  // For answers.ts.

  send(at: number, bytes: number, owner: RegionOwner | null, token: number, grid: number): void {
    this.sentBytes = (this.sentBytes + bytes) | 0;
    this.context.transport.send(this.connection as Connection, at, bytes, owner, token, grid);
  }

  /** There is no memory to answer with. */
  giveUp(): false {
    this.context.counters.increment(MEMORY_SHORTAGES);
    this.abort();
    return false;
  }

  /** The answer is queued as far as it will be. */
  endAnswer(): void {
    if (this.state === CLOSING) return;
    if (this.copy !== null) {
      this.state = COPY;
      return;
    }
    if (this.variant === CONNECTION_ENDS || this.context.closing) this.close();
    else this.state = READING;
  }

  /** The open file is to be sent from `first` on. */
  startStream(first: number, length: number): void {
    this.streamStarted = true;
    this.stream?.start(first, length);
  }

  /** Part of a version's body is to be copied and sent. */
  startCopy(copies: SendBuffers, version: FileVersion, first: number, length: number): void {
    const copy = copies.begin(this, version, first, length);
    if (!copy.done) this.copy = copy;
  }

  // CopyUser.

  copiedPiece(copy: BodyCopy, at: number, bytes: number): void {
    if (copy.done) this.copy = null;
    this.send(at, bytes, copy, at, 0);
  }

  copiedAll(): void {
    readClock(this.context);
    this.endAnswer();
    this.run();
  }

  // LookupWaiter and StreamUser: called from outside a turn, and followed by a wake.

  lookedUp(entry: PathEntry): void {
    lookAtClock(this.context);
    this.entry = null;
    this.state = READING;
    this.parseKept();
    this.proceed(answerEntry(this.context, this, entry));
    this.run();
  }

  streamOpened(stream: FileStream): void {
    lookAtClock(this.context);
    this.parseKept();
    answerStreamed(this.context, this, stream);
    this.kept.clear();
    if (this.streamStarted) return;
    // The answer had no body after all (HEAD, 304, ...).
    this.stream = null;
    stream.cancel();
    this.endAnswer();
    this.run();
  }

  streamPiece(stream: FileStream, at: number, bytes: number, token: number, last: boolean): void {
    lookAtClock(this.context);
    this.context.counters.add(BODY_BYTES, bytes);
    if (last) this.stream = null;
    this.send(at, bytes, stream, token, 0);
    if (!last) return;
    this.endAnswer();
    this.run();
  }

  streamBroken(stream: FileStream, reason: string): void {
    lookAtClock(this.context);
    this.stream = null;
    this.context.counters.increment(STREAMS_BROKEN);
    if (this.streamStarted) {
      this.context.log.warn({ path: stream.file.realPath, reason }, 'response broken off: connection reset');
      this.abort();
    } else {
      this.refuse(503);
    }
  }

  // Reading.

  private run(): void {
    while (this.state === READING ? this.readHead() : this.state === BODY && this.readBody());
    const { connection, context } = this;
    if (connection === null || this.state === CLOSING) return;
    if (this.peerClosed && this.state <= BODY && context.transport.readableBytes(connection) === 0) {
      // Nothing is left to answer: no request, or one that will never be whole.
      this.close();
    } else if (this.state === READING && this.kept.length === 0 && this.requests > 0) {
      this.arm(context.limits.idleTimeoutUs);
    }
  }

  /** Reads on in the present head, or a new one; false when that has to wait. */
  private readHead(): boolean {
    const { context } = this;
    const { transport } = context;
    const connection = this.connection as Connection;
    const length = transport.readableLength(connection);
    if (length === 0) return false;
    if (transport.queuedBytes(connection) > context.limits.pipelineBytes) return false;
    const at = transport.readableAt(connection);
    if (this.kept.length > 0) return this.gatherHead(at, length);
    const parsed = context.requests.read(at, length, this.note);
    this.note = context.requests.note;
    if (parsed > 0) return this.takeHead(at, parsed);
    if (parsed !== INCOMPLETE) return this.refuse(-parsed);
    this.arm(context.limits.headTimeoutUs);
    return this.keep(at, Math.min(length, context.limits.maxHeadBytes));
  }

  /** A whole head lies in the receive queue. */
  private takeHead(at: number, length: number): boolean {
    const { context } = this;
    this.acceptHead();
    if (context.requests.head.bodyKind === BODY_NONE && answer(context, this)) {
      // A connection that ends throws the rest away by itself.
      if (this.state !== CLOSING) context.transport.consume(this.connection as Connection, length);
      return true;
    }
    if (!this.keep(at, length)) return false;
    return this.postpone();
  }

  /** Adds what has come to a head that came in pieces. */
  private gatherHead(at: number, length: number): boolean {
    const { context } = this;
    const { bytes, limits } = context;
    const added = Math.min(length, limits.maxHeadBytes - this.kept.length);
    const total = this.kept.length + added;
    // The parser judges whole lines: without a line end it would say what it said before.
    if (total < limits.maxHeadBytes && !hasLineEnd(bytes, at, added)) return this.keep(at, added);
    if (!this.kept.put(at, added)) return this.giveUp();
    const parsed = context.requests.parse(this.kept.at, total);
    if (parsed < 0) return this.refuse(-parsed);
    const used = parsed === INCOMPLETE ? added : parsed - this.kept.length;
    context.transport.consume(this.connection as Connection, used);
    this.kept.length += used;
    if (parsed === INCOMPLETE) return true;
    this.acceptHead();
    if (context.requests.head.bodyKind !== BODY_NONE) return this.postpone();
    return this.proceed(answer(context, this));
  }

  /** Takes bytes from the receive queue into the kept head. */
  private keep(at: number, length: number): boolean {
    if (!this.kept.put(at, length)) return this.giveUp();
    this.kept.length += length;
    this.context.transport.consume(this.connection as Connection, length);
    return true;
  }

  private acceptHead(): void {
    const { requests, limits } = this.context;
    const { head } = requests;
    this.context.counters.increment(REQUESTS);
    this.requests++;
    const last = limits.maxRequests > 0 && this.requests >= limits.maxRequests;
    if (!head.keepAlive || last || this.context.closing) this.variant = CONNECTION_ENDS;
    else this.variant = head.minorVersion === 0 ? CONNECTION_KEPT : CONNECTION_PERSISTS;
  }

  /** The kept head was answered, or something has to come first. */
  private proceed(answered: boolean): boolean {
    if (!answered) return this.postpone();
    this.kept.clear();
    return true;
  }

  /** The head is kept: starts what has to come before the answer. */
  private postpone(): boolean {
    const { context } = this;
    if (this.entry !== null) {
      this.state = LOOKUP;
      context.cache.wait(this.entry, this);
      return false;
    }
    if (this.file !== null) {
      this.state = STREAM;
      this.streamStarted = false;
      context.counters.increment(STREAMS);
      this.stream = new FileStream(context.streams, context.source, context.bytes, this.file, this, context.wake);
      this.file = null;
      return false;
    }
    return this.beginBody();
  }

  private beginBody(): boolean {
    const { requests, limits, transport, responder } = this.context;
    const { head } = requests;
    this.bodyRefusal = head.method === METHOD_OTHER ? 405 : 413;
    this.body.begin(head.bodyKind, head.contentLength, limits.maxBodyBytes);
    if (this.body.status !== 0) return this.refuseBody();
    this.state = BODY;
    this.arm(limits.headTimeoutUs);
    if (head.expectContinue && transport.readableBytes(this.connection as Connection) === 0) {
      this.send(responder.continueAt, responder.continueBytes, null, 0, 0);
    }
    return true;
  }

  private readBody(): boolean {
    const { context, body } = this;
    const connection = this.connection as Connection;
    const length = context.transport.readableLength(connection);
    if (length === 0) return false;
    const taken = body.feed(context.bytes, context.transport.readableAt(connection), length);
    context.transport.consume(connection, taken);
    if (body.status !== 0) return this.refuseBody();
    if (!body.done) return true;
    this.state = READING;
    this.parseKept();
    return this.proceed(answer(context, this));
  }

  private refuseBody(): boolean {
    return this.refuse(this.body.status === 413 ? this.bodyRefusal : this.body.status);
  }

  /** Answers a request that cannot be understood, or not be finished, and ends the connection: what follows is unknown. */
  private refuse(status: number): boolean {
    this.variant = CONNECTION_ENDS;
    sendFixed(this.context, this, status, true);
    this.endAnswer();
    return false;
  }

  // What the record holds.

  /** Makes `context.requests.head` say again what they said when the kept head was first read. */
  private parseKept(): void {
    const { context } = this;
    context.requests.parse(this.kept.at, this.kept.length);
  }

  /** Gives back everything but the connection itself. */
  private letGo(): void {
    const { entry, stream, copy } = this;
    this.entry = null;
    this.file = null;
    this.stream = null;
    this.copy = null;
    if (entry !== null) this.context.cache.cancel(entry, this);
    if (stream !== null) stream.cancel();
    if (copy !== null) copy.cancel();
    this.kept.clear();
  }

  private close(): void {
    this.state = CLOSING;
    this.letGo();
    this.arm(this.context.limits.sendTimeoutUs);
    this.context.transport.close(this.connection as Connection);
  }

  private finish(): void {
    this.letGo();
    this.connection = null;
    this.context.timers.cancel(this.timer);
    this.context.counters.increment(CONNECTIONS_CLOSED);
    this.context.recycle(this);
  }

  private arm(afterUs: number): void {
    this.ackedBytes = this.acknowledged();
    this.context.timers.scheduleAfter(this.timer, afterUs);
  }

  /** Bytes acknowledged so far, modulo 2^32. */
  private acknowledged(): number {
    return (this.sentBytes - this.context.transport.queuedBytes(this.connection as Connection)) | 0;
  }
}

function hasLineEnd(bytes: Uint8Array, at: number, length: number): boolean {
  for (let i = at; i < at + length; i++) if (u8(bytes, i) === LF) return true;
  return false;
}
