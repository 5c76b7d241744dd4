/**
 * Responses as a client reads them: a state machine over a byte stream that may be cut anywhere (RFC 9112 sections 4 to 7).
 * It keeps numbers only; a body is counted and never looked at.
 *
 * Memory: none of its own. A parser belongs to a connection and is used for one response after another.
 */
import { type Bytes, u8 } from '../../wire/bytes.ts';
import {
  COLON,
  COMMA,
  CR,
  hexValue,
  isDigit,
  isTokenByte,
  LF,
  SEMICOLON,
  SPACE,
  TAB,
  ZERO,
} from '../http/characters.ts';
import type { KnownHead } from './known-head.ts';
import { ANY_WORD, WordSet } from './words.ts';

/** The longest head, with the interim responses before it and the trailers behind the body. */
export const MAX_HEAD_BYTES = 64 * 1024;
/** The longest line before a chunk. */
const MAX_CHUNK_LINE_BYTES = 4096;
/** Digits of a length: what a double holds exactly. */
const MAX_LENGTH_DIGITS = 15;
const MAX_CHUNK_DIGITS = 13;

const PREFIX = [0x48, 0x54, 0x54, 0x50, 0x2f, 0x31, 0x2e] as const; // HTTP/1.

/** RFC 9112 section 5: the fields that say where a response ends. */
const NAMES = new WordSet(['content-length', 'transfer-encoding', 'connection']);
const CONTENT_LENGTH = 1;
const TRANSFER_ENCODING = 2;
const CONNECTION = 4;

const TOKENS = new WordSet(['chunked', 'close', 'keep-alive']);
const CHUNKED = 1;
const CLOSE = 2;
const KEEP_ALIVE = 4;

// What is read next.
const STATUS_LINE = 0;
const REASON = 1;
const REASON_LF = 2;
const FIELD_START = 3;
const NAME = 4;
const VALUE = 5;
const VALUE_LF = 6;
const HEAD_LF = 7;
const BODY_LENGTH = 8;
const BODY_CLOSE = 9;
const CHUNK_SIZE = 10;
const CHUNK_EXTENSION = 11;
const CHUNK_LF = 12;
const CHUNK_DATA = 13;
const CHUNK_END_CR = 14;
const CHUNK_END_LF = 15;
const TRAILER_START = 16;
const TRAILER = 17;
const TRAILER_LF = 18;
const DONE = 19;
const BROKEN = 20;

// Where in a Content-Length value: before, in and after the digits.
const BEFORE_DIGITS = 0;
const IN_DIGITS = 1;
const AFTER_DIGITS = 2;

export class ResponseParser {
  /** The final response's, once its status line was read. */
  status = 0;
  /** Bytes of the body that have come: of what chunks carry, not of their framing. */
  bodyBytes = 0;
  /** Bytes of this response that have come, interim responses and framing included. */
  receivedBytes = 0;
  /** Interim responses (1xx) before this one. */
  interims = 0;
  /** Whether the server keeps the connection; known once the response is done. */
  keepsAlive = false;
  private readonly known: KnownHead;
  private state = STATUS_LINE;
  /** Whether the request forbids a body (HEAD). */
  private bodiless = false;
  private headLeft = MAX_HEAD_BYTES;
  private lineLeft = 0;
  /** Place in the status line, the name, or the token. */
  private position = 0;
  private possible = 0;
  private field = 0;
  private digits = BEFORE_DIGITS;
  private digitCount = 0;
  private minor = 0;
  /** -1: none was given. */
  private contentLength = -1;
  private lengthRead = 0;
  private encoded = false;
  /** Whether the last transfer coding is chunked. */
  private chunked = false;
  private inParameters = false;
  /** The line before was a field that a folded line may continue. */
  private foldable = false;
  private saysClose = false;
  private saysKeepAlive = false;
  /** Bytes of the body, or of the chunk, still to come. */
  private left = 0;

  /** @param known the head that the server sent last, on whatever connection */
  constructor(known: KnownHead) {
    this.known = known;
  }

  get isDone(): boolean {
    return this.state === DONE;
  }

  /** The bytes are no HTTP response. */
  get isBroken(): boolean {
    return this.state === BROKEN;
  }

  /** Gets ready for the next response; `bodiless` says that the request was HEAD. */
  begin(bodiless: boolean): void {
    this.bodiless = bodiless;
    this.bodyBytes = 0;
    this.receivedBytes = 0;
    this.interims = 0;
    this.headLeft = MAX_HEAD_BYTES;
    this.beginHead();
  }

  /** Reads on; returns how many of the bytes it took: all of them, unless the response ended or broke among them. */
  parse(bytes: Bytes, at: number, length: number): number {
    const end = at + length;
    let i = this.receivedBytes === 0 ? this.readFirst(bytes, at, end) : at;
    while (i < end && this.state < DONE) {
      if (this.state === BODY_LENGTH || this.state === CHUNK_DATA || this.state === BODY_CLOSE)
        i = this.skipBody(i, end);
      else i = this.readText(bytes, i, end);
    }
    this.receivedBytes += i - at;
    return i - at;
  }

  /** The server has closed its half: true when that ends the response as it should. */
  end(): boolean {
    if (this.state === BODY_CLOSE) this.finish();
    return this.state === DONE;
  }

  private beginHead(): void {
    this.state = STATUS_LINE;
    this.status = 0;
    this.keepsAlive = false;
    this.position = 0;
    this.minor = 0;
    this.contentLength = -1;
    this.encoded = false;
    this.chunked = false;
    this.foldable = false;
    this.saysClose = false;
    this.saysKeepAlive = false;
    this.left = 0;
  }

  /** Reads from the first byte of a response on: its head without looking at each byte, if it is known. */
  private readFirst(bytes: Bytes, at: number, end: number): number {
    const { known } = this;
    if (known.matches(bytes, at, end - at)) {
      this.status = known.status;
      this.minor = known.minor;
      this.contentLength = known.contentLength;
      this.encoded = known.encoded;
      this.chunked = known.chunked;
      this.saysClose = known.saysClose;
      this.saysKeepAlive = known.saysKeepAlive;
      this.headLeft -= known.length;
      this.finishHead();
      return at + known.length;
    }
    const i = this.readText(bytes, at, end);
    // An interim response is another one's beginning; a head that came in pieces is not together in memory.
    const isWhole = this.state > HEAD_LF && this.state !== BROKEN && this.interims === 0;
    if (isWhole && known.learn(bytes, at, i - at)) {
      known.status = this.status;
      known.minor = this.minor;
      known.contentLength = this.contentLength;
      known.encoded = this.encoded;
      known.chunked = this.chunked;
      known.saysClose = this.saysClose;
      known.saysKeepAlive = this.saysKeepAlive;
    }
    return i;
  }

  private skipBody(at: number, end: number): number {
    if (this.state === BODY_CLOSE) {
      this.bodyBytes += end - at;
      return end;
    }
    const taken = Math.min(this.left, end - at);
    this.left -= taken;
    this.bodyBytes += taken;
    if (this.left === 0) {
      if (this.state === BODY_LENGTH) this.finish();
      else this.state = CHUNK_END_CR;
    }
    return at + taken;
  }

  /** Reads heads, chunk lines and trailers up to the end of the head or the next byte of a body, within their limits. */
  private readText(bytes: Bytes, at: number, end: number): number {
    const isHead = this.state <= HEAD_LF;
    let i = at;
    while (i < end) {
      const skipped = this.skipPlain(bytes, i, Math.min(end, i + this.headLeft)) - i;
      this.headLeft -= skipped;
      i += skipped;
      if (i === end) return i;
      if (this.headLeft-- === 0) {
        this.state = BROKEN;
        return i;
      }
      this.readByte(u8(bytes, i++));
      const { state } = this;
      if (state >= DONE || state === BODY_LENGTH || state === CHUNK_DATA || state === BODY_CLOSE) return i;
      if (isHead && state > HEAD_LF) return i;
    }
    return i;
  }

  /** Passes over what says nothing about where the response ends: most of a head. */
  private skipPlain(bytes: Bytes, at: number, end: number): number {
    const { state } = this;
    let i = at;
    if (state === REASON || (state === VALUE && this.field === 0)) {
      while (i < end && u8(bytes, i) !== LF && u8(bytes, i) !== CR) i++;
    } else if (state === NAME && this.possible === 0) {
      while (i < end && isTokenByte(u8(bytes, i))) i++;
      this.position += i - at;
    }
    return i;
  }

  private readByte(byte: number): void {
    switch (this.state) {
      case STATUS_LINE:
        this.readStatusLine(byte);
        break;
      case REASON:
        if (byte === LF) this.state = FIELD_START;
        else if (byte === CR) this.state = REASON_LF;
        break;
      case REASON_LF:
        this.expectLf(byte, FIELD_START);
        break;
      case FIELD_START:
        this.startField(byte);
        break;
      case NAME:
        this.readName(byte);
        break;
      case VALUE:
        this.readValue(byte);
        break;
      case VALUE_LF:
        this.expectLf(byte, FIELD_START);
        break;
      case HEAD_LF:
        if (byte === LF) this.finishHead();
        else this.state = BROKEN;
        break;
      default:
        this.readChunkByte(byte);
    }
  }

  private expectLf(byte: number, next: number): void {
    this.state = byte === LF ? next : BROKEN;
  }

  /** RFC 9112 section 4: `HTTP/1.x 200 reason`; the space before the reason may be missing with it. */
  private readStatusLine(byte: number): void {
    const { position } = this;
    this.position++;
    if (position < PREFIX.length) {
      if (byte !== PREFIX[position]) this.state = BROKEN;
      return;
    }
    const place = position - PREFIX.length;
    if (place === 0 || (place >= 2 && place <= 4)) {
      if (!isDigit(byte)) this.state = BROKEN;
      else if (place === 0) this.minor = byte - ZERO;
      else this.status = this.status * 10 + byte - ZERO;
      return;
    }
    if (place === 1) {
      if (byte !== SPACE) this.state = BROKEN;
      return;
    }
    if (this.status < 100) this.state = BROKEN;
    else if (byte === SPACE) this.state = REASON;
    else if (byte === CR) this.state = REASON_LF;
    else this.state = byte === LF ? FIELD_START : BROKEN;
  }

  private startField(byte: number): void {
    if (byte === CR) {
      this.state = HEAD_LF;
    } else if (byte === LF) {
      this.finishHead();
    } else if (byte === SPACE || byte === TAB) {
      // RFC 9112 5.2: an obsolete line folding could hide anything in a field that says where the response ends.
      this.state = this.foldable ? VALUE : BROKEN;
    } else {
      this.position = 0;
      this.possible = ANY_WORD;
      this.state = NAME;
      this.readName(byte);
    }
  }

  private readName(byte: number): void {
    if (byte === COLON && this.position > 0) {
      this.field = NAMES.match(this.possible, this.position);
      this.state = VALUE;
      this.digits = BEFORE_DIGITS;
      this.digitCount = 0;
      this.lengthRead = 0;
      this.inParameters = false;
      this.startToken();
      return;
    }
    if (!isTokenByte(byte)) {
      this.state = BROKEN;
      return;
    }
    this.possible = NAMES.narrow(this.possible, this.position, byte);
    this.position++;
  }

  private readValue(byte: number): void {
    if (byte === LF || byte === CR) {
      this.endValue();
      if (this.state !== BROKEN) this.state = byte === LF ? FIELD_START : VALUE_LF;
      return;
    }
    if (this.field === 0) return;
    if (this.field === CONTENT_LENGTH) this.readLength(byte);
    else this.readTokens(byte);
  }

  private readLength(byte: number): void {
    if (byte === SPACE || byte === TAB) {
      if (this.digits === IN_DIGITS) this.digits = AFTER_DIGITS;
    } else if (!isDigit(byte) || this.digits === AFTER_DIGITS || ++this.digitCount > MAX_LENGTH_DIGITS) {
      this.state = BROKEN;
    } else {
      this.digits = IN_DIGITS;
      this.lengthRead = this.lengthRead * 10 + byte - ZERO;
    }
  }

  private readTokens(byte: number): void {
    if (byte === COMMA) {
      this.endToken();
      this.inParameters = false;
    } else if (byte === SPACE || byte === TAB || byte === SEMICOLON) {
      this.endToken();
      if (byte === SEMICOLON) this.inParameters = true;
    } else if (!this.inParameters) {
      this.possible = TOKENS.narrow(this.possible, this.position, byte);
      this.position++;
    }
  }

  private startToken(): void {
    this.position = 0;
    this.possible = ANY_WORD;
  }

  private endToken(): void {
    if (this.position > 0) {
      const token = TOKENS.match(this.possible, this.position);
      if (this.field === TRANSFER_ENCODING) {
        this.encoded = true;
        this.chunked = token === CHUNKED;
      } else if (this.field === CONNECTION) {
        if (token === CLOSE) this.saysClose = true;
        else if (token === KEEP_ALIVE) this.saysKeepAlive = true;
      }
    }
    this.startToken();
  }

  private endValue(): void {
    this.foldable = this.field === 0;
    if (this.field === CONTENT_LENGTH) {
      // RFC 9112 6.3: one length, or the same one again.
      const contradicts = this.contentLength >= 0 && this.contentLength !== this.lengthRead;
      if (this.digits === BEFORE_DIGITS || contradicts) this.state = BROKEN;
      else this.contentLength = this.lengthRead;
    } else if (this.field !== 0) {
      this.endToken();
    }
  }

  /** RFC 9112 6.3: what is the length of the body? */
  private finishHead(): void {
    const { status } = this;
    if (status < 200) {
      // RFC 9110 15.2: an interim response; nobody asked to switch protocols.
      if (status === 101) {
        this.state = BROKEN;
        return;
      }
      this.interims++;
      this.beginHead();
      return;
    }
    this.keepsAlive = !this.saysClose && (this.minor > 0 || this.saysKeepAlive);
    if (this.bodiless || status === 204 || status === 304) {
      this.finish();
    } else if (this.encoded) {
      if (this.chunked) this.startChunk();
      else this.startUnbounded();
    } else if (this.contentLength < 0) {
      this.startUnbounded();
    } else {
      this.left = this.contentLength;
      this.state = BODY_LENGTH;
      if (this.left === 0) this.finish();
    }
  }

  private startUnbounded(): void {
    this.keepsAlive = false;
    this.state = BODY_CLOSE;
  }

  private finish(): void {
    this.state = DONE;
  }

  private startChunk(): void {
    this.state = CHUNK_SIZE;
    this.left = 0;
    this.digitCount = 0;
    this.lineLeft = MAX_CHUNK_LINE_BYTES;
  }

  /** RFC 9112 7.1; the framing of chunks has a limit of its own for each line, trailers count as part of the head. */
  private readChunkByte(byte: number): void {
    switch (this.state) {
      case CHUNK_SIZE:
        this.headLeft++;
        this.readChunkSize(byte);
        break;
      case CHUNK_EXTENSION:
        this.headLeft++;
        if (byte === LF) this.endChunkLine();
        else if (byte === CR) this.state = CHUNK_LF;
        else if (--this.lineLeft === 0) this.state = BROKEN;
        break;
      case CHUNK_LF:
        this.headLeft++;
        if (byte === LF) this.endChunkLine();
        else this.state = BROKEN;
        break;
      case CHUNK_END_CR:
        this.headLeft++;
        if (byte === LF) this.startChunk();
        else this.state = byte === CR ? CHUNK_END_LF : BROKEN;
        break;
      case CHUNK_END_LF:
        this.headLeft++;
        if (byte === LF) this.startChunk();
        else this.state = BROKEN;
        break;
      case TRAILER_START:
        if (byte === LF) this.finish();
        else this.state = byte === CR ? TRAILER_LF : TRAILER;
        break;
      case TRAILER:
        if (byte === LF) this.state = TRAILER_START;
        break;
      default:
        if (byte === LF) this.finish();
        else this.state = BROKEN;
    }
  }

  private readChunkSize(byte: number): void {
    const digit = hexValue(byte);
    if (digit >= 0) {
      this.left = this.left * 16 + digit;
      if (++this.digitCount > MAX_CHUNK_DIGITS) this.state = BROKEN;
    } else if (this.digitCount === 0) {
      this.state = BROKEN;
    } else if (byte === LF) {
      this.endChunkLine();
    } else if (byte === CR) {
      this.state = CHUNK_LF;
    } else {
      this.state = byte === SEMICOLON || byte === SPACE || byte === TAB ? CHUNK_EXTENSION : BROKEN;
    }
  }

  private endChunkLine(): void {
    this.state = this.left === 0 ? TRAILER_START : CHUNK_DATA;
  }
}
