/**
 * The head of an HTTP/1.x request, parsed where it lies in the arena (RFC 9112 sections 2 to 6).
 *
 * One object serves a whole server: `parse` leaves integers in its fields, which hold until the next `parse`, and the
 * offsets among them until the bytes are consumed. Nothing is allocated and no string is made.
 *
 * A line is judged when its LF has arrived, so that it makes no difference how the head was cut into segments.
 *
 * Strict where leniency is how requests are smuggled: one Host, one Content-Length, no whitespace before a colon, no folded
 * lines, no bare CR, no coding but `chunked`, never a length and a coding together. Lenient in one thing that RFC 9112
 * section 2.2 allows: a line may end with LF alone.
 */
import { type Bytes, i32, int32At, u8 } from '../../wire/bytes.ts';
import {
  ASTERISK,
  asciiBytes,
  COLON,
  CR,
  equalBytes,
  equalIgnoringCase,
  HASH_SEED,
  hashByte,
  isDigit,
  isFieldByte,
  isPathByte,
  isTargetByte,
  isTokenByte,
  LF,
  QUESTION,
  SLASH,
  SPACE,
  ZERO,
} from './characters.ts';
import {
  CONNECTION_CLOSE,
  CONNECTION_KEEP_ALIVE,
  connectionOptions,
  isHostAndPort,
  isOptionalSpace,
  memberEnd,
  skipToMember,
} from './field-values.ts';

export const METHOD_GET = 1;
export const METHOD_HEAD = 2;
export const METHOD_OPTIONS = 3;
export const METHOD_OTHER = 4;

export const BODY_NONE = 0;
export const BODY_LENGTH = 1;
export const BODY_CHUNKED = 2;

/** Fields that are kept for later: `fieldAt[FIELD_RANGE]`, and bit FIELD_RANGE of `fields`. */
export const FIELD_IF_MATCH = 0;
export const FIELD_IF_NONE_MATCH = 1;
export const FIELD_IF_MODIFIED_SINCE = 2;
export const FIELD_IF_UNMODIFIED_SINCE = 3;
export const FIELD_RANGE = 4;
export const FIELD_IF_RANGE = 5;
const KEPT_FIELDS = 6;

/** `parse`: the head has not arrived whole. */
export const INCOMPLETE = 0;

export interface RequestLimits {
  /** Longest head, request line and empty line included; a longer one is answered 431 (or 414). */
  readonly maxHeadBytes: number;
  /** Longest request target; a longer one is answered 414. */
  readonly maxTargetBytes: number;
  /** Most header fields; more are answered 431. */
  readonly maxFields: number;
}

const GET_SPACE = 0x47455420;
const HEAD_WORD = 0x48454144;
const HTTP_WORD = 0x48545450;
const VERSION_1_1 = 0x2f312e31;
const VERSION_1_0 = 0x2f312e30;

const OPTIONS = asciiBytes('OPTIONS');
const HTTP_SCHEME = asciiBytes('http://');
const HTTP_SLASH = asciiBytes('HTTP/');
const HOST = asciiBytes('host');
const RANGE = asciiBytes('range');
const EXPECT = asciiBytes('expect');
const IF_MATCH = asciiBytes('if-match');
const IF_RANGE = asciiBytes('if-range');
const CONNECTION = asciiBytes('connection');
const IF_NONE_MATCH = asciiBytes('if-none-match');
const CONTENT_LENGTH = asciiBytes('content-length');
const IF_MODIFIED_SINCE = asciiBytes('if-modified-since');
const TRANSFER_ENCODING = asciiBytes('transfer-encoding');
const IF_UNMODIFIED_SINCE = asciiBytes('if-unmodified-since');
const CONTINUE_100 = asciiBytes('100-continue');
const CHUNKED = asciiBytes('chunked');

const PATH_ROOT_HASH = hashByte(HASH_SEED, SLASH);

/** How far a parse has come; decides what a head that grew too long is answered. */
const STAGE_METHOD = 0;
const STAGE_TARGET = 1;
const STAGE_FIELDS = 2;

export class RequestHead {
  method = 0;
  /** The x of HTTP/1.x; anything above 1 is taken as 1. */
  minorVersion = 0;
  /** The whole request target. */
  targetAt = 0;
  targetBytes = 0;
  /** Its path, as sent: still percent-encoded, without query. */
  pathAt = 0;
  pathBytes = 0;
  /** `hashBytes` of the path. */
  pathHash = 0;
  /** Whether the client wants the connection to go on (RFC 9112 section 9.3). */
  keepAlive = false;
  bodyKind = BODY_NONE;
  contentLength = 0;
  /** The client waits for a 100 response before it sends its body (RFC 9110 section 10.1.1). */
  expectContinue = false;
  /** Bit set of the fields kept in `fieldAt` and `fieldBytes`. */
  fields = 0;
  readonly fieldAt = new Int32Array(KEPT_FIELDS);
  readonly fieldBytes = new Int32Array(KEPT_FIELDS);

  private readonly limits: RequestLimits;
  private stage = STAGE_METHOD;
  private cursor = 0;
  private fieldCount = 0;
  private hostCount = 0;
  private connection = 0;
  private lengthCount = 0;
  private codings = 0;
  private lastCodingChunked = false;
  /** Kept fields that came twice: which of them holds is not for us to guess, so they are ignored. */
  private repeated = 0;

  constructor(limits: RequestLimits) {
    this.limits = limits;
  }

  /**
   * Parses the head that starts at `at`, of which `length` bytes have arrived. Returns its length in bytes, `INCOMPLETE`,
   * or the negated status to refuse it with.
   */
  parse(bytes: Bytes, at: number, length: number): number {
    this.reset();
    const { maxHeadBytes } = this.limits;
    const end = at + Math.min(length, maxHeadBytes);
    let result = this.parseRequestLine(bytes, at, end);
    if (result > 0) result = this.parseFields(bytes, end);
    if (result > 0) return this.cursor - at;
    if (result !== INCOMPLETE || length < maxHeadBytes) return result;
    if (this.stage === STAGE_FIELDS) return -431;
    return this.stage === STAGE_TARGET ? -414 : -400;
  }

  /** The head lies `by` bytes further on from here on. */
  moved(by: number): void {
    this.targetAt += by;
    this.pathAt += by;
    for (let field = 0; field < KEPT_FIELDS; field++) this.fieldAt[field] = int32At(this.fieldAt, field) + by;
  }

  private reset(): void {
    this.stage = STAGE_METHOD;
    this.bodyKind = BODY_NONE;
    this.contentLength = 0;
    this.expectContinue = false;
    this.fields = 0;
    this.fieldCount = 0;
    this.hostCount = 0;
    this.connection = 0;
    this.lengthCount = 0;
    this.codings = 0;
    this.lastCodingChunked = false;
    this.repeated = 0;
  }

  // The parts return 1 and leave the position after them in `cursor`, or INCOMPLETE, or a negated status.

  /** RFC 9112 section 3: method SP request-target SP HTTP-version CRLF. */
  private parseRequestLine(bytes: Bytes, at: number, end: number): number {
    let p = at;
    // Section 2.2: empty lines before a request line are skipped.
    while (p < end && u8(bytes, p) <= CR) {
      if (u8(bytes, p) === LF) p++;
      else if (u8(bytes, p) !== CR) break;
      else if (p + 1 === end) return INCOMPLETE;
      else if (u8(bytes, p + 1) === LF) p += 2;
      else return refuse(bytes, p, end, 400);
    }
    if (p === end) return INCOMPLETE;
    // A first byte that begins no request (a TLS handshake, say) is not worth waiting for the rest of a line.
    if (p === at && !isTokenByte(u8(bytes, p))) return -400;
    const methodAt = p;
    while (p < end && isTokenByte(u8(bytes, p))) p++;
    if (p === end) return INCOMPLETE;
    if (p === methodAt || u8(bytes, p) !== SPACE) return refuse(bytes, p, end, 400);
    this.method = methodOf(bytes, methodAt, p - methodAt);
    this.stage = STAGE_TARGET;
    const result = this.parseTarget(bytes, p + 1, end);
    return result > 0 ? this.parseVersion(bytes, this.cursor, end) : result;
  }

  /** RFC 9112 section 3.2: origin-form, absolute-form, or asterisk-form; the authority-form is CONNECT's alone. */
  private parseTarget(bytes: Bytes, at: number, end: number): number {
    let p = at;
    this.targetAt = at;
    if (p === end) return INCOMPLETE;
    if (u8(bytes, p) !== SLASH) {
      const result = this.parseAuthority(bytes, at, end);
      if (result <= 0) return result;
      p = this.cursor;
    }
    let hash = HASH_SEED;
    this.pathAt = p;
    while (p < end && isPathByte(u8(bytes, p))) {
      hash = hashByte(hash, u8(bytes, p));
      p++;
    }
    this.pathBytes = p - this.pathAt;
    this.pathHash = hash;
    while (p < end && isTargetByte(u8(bytes, p))) p++;
    if (p === end) return INCOMPLETE;
    if (u8(bytes, p) !== SPACE || p === at) return refuse(bytes, p, end, 400);
    this.targetBytes = p - at;
    if (this.targetBytes > this.limits.maxTargetBytes) return refuse(bytes, p, end, 414);
    if (this.pathBytes === 0) {
      // `http://host` asks for "/" (RFC 9110 section 4.2.3): a slash of the scheme stands in for the path.
      this.pathAt = at + HTTP_SCHEME.length - 1;
      this.pathBytes = 1;
      this.pathHash = PATH_ROOT_HASH;
    }
    this.cursor = p + 1;
    return 1;
  }

  /** A target that begins without a slash: leaves the cursor where its path begins. */
  private parseAuthority(bytes: Bytes, at: number, end: number): number {
    let p = at;
    while (p < end && isTargetByte(u8(bytes, p))) p++;
    if (p === end) return INCOMPLETE;
    this.cursor = at;
    if (this.method === METHOD_OTHER) return 1;
    if (this.method === METHOD_OPTIONS && p - at === 1 && u8(bytes, at) === ASTERISK) return 1;
    const authorityAt = at + HTTP_SCHEME.length;
    if (p <= authorityAt || !equalIgnoringCase(bytes, at, HTTP_SCHEME)) return refuse(bytes, p, end, 400);
    let pathAt = authorityAt;
    while (pathAt < p && u8(bytes, pathAt) !== SLASH && u8(bytes, pathAt) !== QUESTION) pathAt++;
    if (!isHostAndPort(bytes, authorityAt, pathAt - authorityAt)) return refuse(bytes, p, end, 400);
    this.cursor = pathAt;
    return 1;
  }

  /** RFC 9112 section 2.3 and the end of the request line. */
  private parseVersion(bytes: Bytes, at: number, end: number): number {
    if (at + 10 <= end && i32(bytes, at) === HTTP_WORD && u8(bytes, at + 8) === CR && u8(bytes, at + 9) === LF) {
      const version = i32(bytes, at + 4);
      if (version === VERSION_1_1 || version === VERSION_1_0) {
        this.minorVersion = version === VERSION_1_1 ? 1 : 0;
        this.cursor = at + 10;
        return 1;
      }
    }
    let p = at;
    while (p < end && u8(bytes, p) !== CR && u8(bytes, p) !== LF) p++;
    const lineEnd = endOfLine(bytes, p, end);
    if (lineEnd <= 0) return lineEnd;
    if (p - at !== 8 || !equalBytes(bytes, at, HTTP_SLASH) || u8(bytes, at + 6) !== 0x2e) return -400;
    if (!isDigit(u8(bytes, at + 5)) || !isDigit(u8(bytes, at + 7))) return -400;
    if (u8(bytes, at + 5) !== ZERO + 1) return -505;
    this.minorVersion = u8(bytes, at + 7) === ZERO ? 0 : 1;
    this.cursor = lineEnd;
    return 1;
  }

  /** RFC 9112 section 5: field lines up to the empty line. */
  private parseFields(bytes: Bytes, end: number): number {
    this.stage = STAGE_FIELDS;
    let p = this.cursor;
    while (p < end) {
      const nameAt = p;
      while (p < end && isTokenByte(u8(bytes, p))) p++;
      if (p === end) return INCOMPLETE;
      if (p === nameAt && u8(bytes, p) <= CR) {
        this.cursor = endOfLine(bytes, p, end);
        return this.cursor > 0 ? this.checkFraming() : this.cursor;
      }
      // Also refuses what sections 5.1 and 5.2 want refused: a space before the colon, and a folded line.
      if (p === nameAt || u8(bytes, p) !== COLON) return refuse(bytes, p, end, 400);
      const nameBytes = p - nameAt;
      p++;
      while (p < end && isOptionalSpace(u8(bytes, p))) p++;
      const valueAt = p;
      while (p < end && isFieldByte(u8(bytes, p))) p++;
      let valueEnd = p;
      p = endOfLine(bytes, p, end);
      if (p <= 0) return p;
      while (valueEnd > valueAt && isOptionalSpace(u8(bytes, valueEnd - 1))) valueEnd--;
      if (++this.fieldCount > this.limits.maxFields) return -431;
      const status = this.takeField(bytes, nameAt, nameBytes, valueAt, valueEnd - valueAt);
      if (status !== 0) return -status;
    }
    return INCOMPLETE;
  }

  /** Notes a field that concerns us; returns the status to refuse it with, or 0. */
  private takeField(bytes: Bytes, nameAt: number, nameBytes: number, at: number, length: number): number {
    switch (nameBytes) {
      case 4:
        return equalIgnoringCase(bytes, nameAt, HOST) ? this.takeHost(bytes, at, length) : 0;
      case 5:
        return equalIgnoringCase(bytes, nameAt, RANGE) ? this.keep(FIELD_RANGE, at, length) : 0;
      case 6:
        return equalIgnoringCase(bytes, nameAt, EXPECT) ? this.takeExpect(bytes, at, length) : 0;
      case 8:
        if (equalIgnoringCase(bytes, nameAt, IF_RANGE)) return this.keep(FIELD_IF_RANGE, at, length);
        return equalIgnoringCase(bytes, nameAt, IF_MATCH) ? this.keep(FIELD_IF_MATCH, at, length) : 0;
      case 10:
        if (equalIgnoringCase(bytes, nameAt, CONNECTION)) this.connection |= connectionOptions(bytes, at, length);
        return 0;
      case 13:
        return equalIgnoringCase(bytes, nameAt, IF_NONE_MATCH) ? this.keep(FIELD_IF_NONE_MATCH, at, length) : 0;
      case 14:
        return equalIgnoringCase(bytes, nameAt, CONTENT_LENGTH) ? this.takeLength(bytes, at, length) : 0;
      case 17:
        if (equalIgnoringCase(bytes, nameAt, TRANSFER_ENCODING)) return this.takeCodings(bytes, at, length);
        return equalIgnoringCase(bytes, nameAt, IF_MODIFIED_SINCE) ? this.keep(FIELD_IF_MODIFIED_SINCE, at, length) : 0;
      case 19:
        if (!equalIgnoringCase(bytes, nameAt, IF_UNMODIFIED_SINCE)) return 0;
        return this.keep(FIELD_IF_UNMODIFIED_SINCE, at, length);
      default:
        return 0;
    }
  }

  private keep(field: number, at: number, length: number): number {
    const bit = 1 << field;
    this.repeated |= this.fields & bit;
    this.fields |= bit;
    this.fieldAt[field] = at;
    this.fieldBytes[field] = length;
    return 0;
  }

  /** RFC 9112 section 3.2: exactly one Host, and a valid one. */
  private takeHost(bytes: Bytes, at: number, length: number): number {
    this.hostCount++;
    return this.hostCount === 1 && isHostAndPort(bytes, at, length) ? 0 : 400;
  }

  private takeExpect(bytes: Bytes, at: number, length: number): number {
    if (this.minorVersion === 0) return 0;
    if (length !== CONTINUE_100.length || !equalIgnoringCase(bytes, at, CONTINUE_100)) return 417;
    this.expectContinue = true;
    return 0;
  }

  /** RFC 9112 section 6.3: one Content-Length, of digits. */
  private takeLength(bytes: Bytes, at: number, length: number): number {
    if (++this.lengthCount > 1 || length === 0) return 400;
    let value = 0;
    for (let p = at; p < at + length; p++) {
      if (!isDigit(u8(bytes, p))) return 400;
      value = Math.min(value * 10 + u8(bytes, p) - ZERO, Number.MAX_SAFE_INTEGER);
    }
    this.contentLength = value;
    return 0;
  }

  private takeCodings(bytes: Bytes, at: number, length: number): number {
    const end = at + length;
    let p = skipToMember(bytes, at, end);
    while (p < end) {
      // Chunked must come last (section 7.1): a coding after it, or a second one, makes the length a matter of opinion.
      if (this.lastCodingChunked) return 400;
      const last = memberEnd(bytes, p, end);
      this.codings++;
      this.lastCodingChunked = last - p === CHUNKED.length && equalIgnoringCase(bytes, p, CHUNKED);
      p = skipToMember(bytes, last, end);
    }
    return this.codings === 0 ? 400 : 0;
  }

  /** What fields mean together: RFC 9112 sections 3.2, 6.1, 6.3 and 9.3. */
  private checkFraming(): number {
    if (this.hostCount === 0 && this.minorVersion > 0) return -400;
    if (this.codings > 0) {
      if (this.lengthCount > 0 || this.minorVersion === 0 || !this.lastCodingChunked) return -400;
      if (this.codings > 1) return -501;
      this.bodyKind = BODY_CHUNKED;
    } else if (this.contentLength > 0) {
      this.bodyKind = BODY_LENGTH;
    }
    this.fields &= ~this.repeated;
    if ((this.connection & CONNECTION_CLOSE) !== 0) this.keepAlive = false;
    else this.keepAlive = this.minorVersion > 0 || (this.connection & CONNECTION_KEEP_ALIVE) !== 0;
    return 1;
  }
}

function methodOf(bytes: Bytes, at: number, length: number): number {
  if (length === 3) return i32(bytes, at) === GET_SPACE ? METHOD_GET : METHOD_OTHER;
  if (length === 4) return i32(bytes, at) === HEAD_WORD ? METHOD_HEAD : METHOD_OTHER;
  return length === OPTIONS.length && equalBytes(bytes, at, OPTIONS) ? METHOD_OPTIONS : METHOD_OTHER;
}

/** The position after the line end expected at `p`; INCOMPLETE, or -400 when something else is there. */
function endOfLine(bytes: Bytes, p: number, end: number): number {
  if (p >= end) return INCOMPLETE;
  if (u8(bytes, p) === LF) return p + 1;
  if (u8(bytes, p) !== CR) return refuse(bytes, p, end, 400);
  if (p + 1 >= end) return INCOMPLETE;
  return u8(bytes, p + 1) === LF ? p + 2 : refuse(bytes, p, end, 400);
}

/** The negated status once the line that is wrong at `p` has ended; until then the head is just incomplete. */
function refuse(bytes: Bytes, p: number, end: number, status: number): number {
  for (let i = p; i < end; i++) if (u8(bytes, i) === LF) return -status;
  return INCOMPLETE;
}
