/**
 * Request bodies that nobody wants (a GET may have one): read over, within a limit, so that the next request is found.
 * Content-Length and chunked framing, RFC 9112 sections 6.3 and 7.1; chunked is read strictly, CRLF and all.
 */
import { type Bytes, u8 } from '../../wire/bytes.ts';
import { CR, hexValue, isFieldByte, LF, SEMICOLON, SPACE, TAB } from './characters.ts';
import { BODY_CHUNKED } from './request.ts';

const DONE = 0;
/** Content-Length bytes. */
const COUNTED = 1;
const SIZE = 2;
const EXTENSION = 3;
const SIZE_LF = 4;
const DATA = 5;
const DATA_CR = 6;
const DATA_LF = 7;
const TRAILER_START = 8;
const TRAILER = 9;
const TRAILER_LF = 10;
const LAST_LF = 11;
const FAILED = 12;

/** Hexadecimal digits of a chunk size: 28 bits, far beyond any limit. */
const MAX_SIZE_DIGITS = 7;

export class BodySkipper {
  /** The status to refuse the request with, 0 while all is well. */
  status = 0;
  private state = DONE;
  /** Bytes left of the chunk or of the whole body. */
  private left = 0;
  private digits = 0;
  /** Bytes that may still come, framing included. */
  private allowance = 0;

  get done(): boolean {
    return this.state === DONE;
  }

  /** Makes ready for a body; check `status` at once, the length alone may be too much. */
  begin(bodyKind: number, contentLength: number, maxBytes: number): void {
    this.status = 0;
    this.allowance = maxBytes;
    if (bodyKind === BODY_CHUNKED) {
      this.state = SIZE;
      this.left = 0;
      this.digits = 0;
      return;
    }
    this.state = contentLength === 0 ? DONE : COUNTED;
    this.left = 0;
    if (contentLength > maxBytes) this.fail(413);
    else this.left = contentLength;
  }

  /** Reads from `length` bytes at `at`; returns how many belong to the body (all of them unless `done`). */
  feed(bytes: Bytes, at: number, length: number): number {
    const end = at + length;
    let p = at;
    while (p < end && this.state !== DONE && this.state !== FAILED) {
      if (this.state === COUNTED || this.state === DATA) {
        const taken = Math.min(this.left, end - p);
        p += taken;
        this.left -= taken;
        this.allowance -= taken;
        if (this.left === 0) this.state = this.state === COUNTED ? DONE : DATA_CR;
      } else {
        this.step(u8(bytes, p));
        p++;
        this.allowance--;
      }
      if (this.allowance < 0 && this.status === 0) this.fail(413);
    }
    return p - at;
  }

  /** One byte of chunked framing. */
  private step(byte: number): void {
    switch (this.state) {
      case SIZE:
        this.stepSize(byte);
        break;
      case EXTENSION:
        if (byte === CR) this.state = SIZE_LF;
        else if (!isFieldByte(byte)) this.fail(400);
        break;
      case SIZE_LF:
        if (byte !== LF) this.fail(400);
        else this.state = this.left === 0 ? TRAILER_START : DATA;
        break;
      case DATA_CR:
        this.expect(byte, CR, DATA_LF);
        break;
      case DATA_LF:
        this.expect(byte, LF, SIZE);
        this.left = 0;
        this.digits = 0;
        break;
      case TRAILER_START:
        if (byte === CR) this.state = LAST_LF;
        else if (isFieldByte(byte)) this.state = TRAILER;
        else this.fail(400);
        break;
      case TRAILER:
        if (byte === CR) this.state = TRAILER_LF;
        else if (!isFieldByte(byte)) this.fail(400);
        break;
      case TRAILER_LF:
        this.expect(byte, LF, TRAILER_START);
        break;
      default:
        this.expect(byte, LF, DONE);
    }
  }

  private stepSize(byte: number): void {
    const digit = hexValue(byte);
    if (digit >= 0) {
      if (++this.digits > MAX_SIZE_DIGITS) this.fail(413);
      this.left = this.left * 16 + digit;
      if (this.left > this.allowance) this.fail(413);
    } else if (this.digits === 0) this.fail(400);
    else if (byte === CR) this.state = SIZE_LF;
    else if (byte === SEMICOLON || byte === SPACE || byte === TAB) this.state = EXTENSION;
    else this.fail(400);
  }

  private expect(byte: number, wanted: number, next: number): void {
    if (byte === wanted) this.state = next;
    else this.fail(400);
  }

  private fail(status: number): void {
    this.status = status;
    this.state = FAILED;
  }
}
