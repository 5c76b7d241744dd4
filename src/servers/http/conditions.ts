/**
 * Conditional and range requests (RFC 9110 sections 13 and 14): what a GET or HEAD of a representation is to be answered.
 * Works on the request's bytes where they lie; nothing is allocated.
 */
import { type Bytes, u8 } from '../../wire/bytes.ts';
import {
  ASTERISK,
  asciiBytes,
  COMMA,
  DASH,
  equalBytes,
  equalIgnoringCase,
  isDigit,
  QUOTE,
  ZERO,
} from './characters.ts';
import { isOptionalSpace, skipToMember } from './field-values.ts';
import { NO_DATE, parseHttpDate } from './http-date.ts';
import {
  FIELD_IF_MATCH,
  FIELD_IF_MODIFIED_SINCE,
  FIELD_IF_NONE_MATCH,
  FIELD_IF_RANGE,
  FIELD_IF_UNMODIFIED_SINCE,
  FIELD_RANGE,
  METHOD_GET,
  type RequestHead,
} from './request.ts';

/** What a version of a resource is told apart by. */
export interface Validators {
  /** A strong entity tag with its quotes. */
  readonly etagBytes: Uint8Array;
  /** Seconds since 1970. */
  readonly lastModified: number;
}

const BYTES_UNIT = asciiBytes('bytes');

/** The single range that was asked for, when `evaluate` says 206. */
export class ByteRange {
  first = 0;
  /** The last byte itself, not the one after it. */
  last = 0;
}

/** The status that a GET or HEAD of `size` bytes is answered: 200, 206 (with `range` set), 304, 412 or 416. */
export function evaluate(
  head: RequestHead,
  bytes: Bytes,
  validators: Validators,
  size: number,
  range: ByteRange,
): number {
  // RFC 9110 section 13.2.2, in its order.
  if (has(head, FIELD_IF_MATCH)) {
    if (!matchesAny(head, FIELD_IF_MATCH, bytes, validators, false)) return 412;
  } else if (has(head, FIELD_IF_UNMODIFIED_SINCE)) {
    const date = dateOf(head, FIELD_IF_UNMODIFIED_SINCE, bytes);
    if (date !== NO_DATE && validators.lastModified > date) return 412;
  }
  if (has(head, FIELD_IF_NONE_MATCH)) {
    if (matchesAny(head, FIELD_IF_NONE_MATCH, bytes, validators, true)) return 304;
  } else if (has(head, FIELD_IF_MODIFIED_SINCE)) {
    const date = dateOf(head, FIELD_IF_MODIFIED_SINCE, bytes);
    if (date !== NO_DATE && validators.lastModified <= date) return 304;
  }
  if (head.method !== METHOD_GET || !has(head, FIELD_RANGE)) return 200;
  if (has(head, FIELD_IF_RANGE) && !rangeStillValid(head, bytes, validators)) return 200;
  return parseRange(bytes, fieldAt(head, FIELD_RANGE), fieldBytes(head, FIELD_RANGE), size, range);
}

/**
 * A Range field (RFC 9110 section 14.2) against `size` bytes: 206 with `range` set, 416 when no byte of it exists, 200
 * when it is to be ignored: another unit, several ranges, nonsense.
 */
export function parseRange(bytes: Bytes, at: number, length: number, size: number, range: ByteRange): number {
  const end = at + length;
  let p = at + BYTES_UNIT.length;
  if (length <= BYTES_UNIT.length + 1 || u8(bytes, p) !== 0x3d || !equalIgnoringCase(bytes, at, BYTES_UNIT)) return 200;
  for (let i = p; i < end; i++) if (u8(bytes, i) === COMMA) return 200;
  p++;
  while (p < end && isOptionalSpace(u8(bytes, p))) p++;
  const firstAt = p;
  while (p < end && isDigit(u8(bytes, p))) p++;
  if (p === end || u8(bytes, p) !== DASH) return 200;
  const lastAt = p + 1;
  for (let i = lastAt; i < end; i++) if (!isDigit(u8(bytes, i))) return 200;
  if (firstAt === p) return lastAt === end ? 200 : takeSuffix(decimal(bytes, lastAt, end), size, range);
  const first = decimal(bytes, firstAt, p);
  const last = lastAt === end ? Number.MAX_SAFE_INTEGER : decimal(bytes, lastAt, end);
  if (last < first) return 200;
  if (first >= size) return 416;
  range.first = first;
  range.last = Math.min(last, size - 1);
  return 206;
}

/** The last `count` bytes. Of an empty resource that is satisfiable, but no Content-Range can say it (section 14.1.2). */
function takeSuffix(count: number, size: number, range: ByteRange): number {
  if (count === 0) return 416;
  if (size === 0) return 200;
  range.first = Math.max(0, size - count);
  range.last = size - 1;
  return 206;
}

/** RFC 9110 section 13.1.5: a strong tag that matches, or exactly our date. */
function rangeStillValid(head: RequestHead, bytes: Bytes, validators: Validators): boolean {
  const at = fieldAt(head, FIELD_IF_RANGE);
  const length = fieldBytes(head, FIELD_IF_RANGE);
  const tag = validators.etagBytes;
  if (length > 0 && u8(bytes, at) === QUOTE) return length === tag.length && equalBytes(bytes, at, tag);
  return parseHttpDate(bytes, at, length) === validators.lastModified;
}

/** Whether `*` or one of the listed entity tags (RFC 9110 section 8.8.3) is ours; a malformed list ends where it breaks. */
function matchesAny(head: RequestHead, field: number, bytes: Bytes, validators: Validators, weak: boolean): boolean {
  const at = fieldAt(head, field);
  const end = at + fieldBytes(head, field);
  if (end - at === 1 && u8(bytes, at) === ASTERISK) return true;
  const tag = validators.etagBytes;
  let p = skipToMember(bytes, at, end);
  while (p < end) {
    const isWeak = end - p > 2 && u8(bytes, p) === 0x57 && u8(bytes, p + 1) === 0x2f;
    const tagAt = isWeak ? p + 2 : p;
    if (u8(bytes, tagAt) !== QUOTE) return false;
    let tagEnd = tagAt + 1;
    while (tagEnd < end && u8(bytes, tagEnd) !== QUOTE) tagEnd++;
    if (tagEnd === end) return false;
    tagEnd++;
    if ((weak || !isWeak) && tagEnd - tagAt === tag.length && equalBytes(bytes, tagAt, tag)) return true;
    p = skipToMember(bytes, tagEnd, end);
  }
  return false;
}

function has(head: RequestHead, field: number): boolean {
  return (head.fields & (1 << field)) !== 0;
}

function fieldAt(head: RequestHead, field: number): number {
  return head.fieldAt[field] as number;
}

function fieldBytes(head: RequestHead, field: number): number {
  return head.fieldBytes[field] as number;
}

function dateOf(head: RequestHead, field: number, bytes: Bytes): number {
  return parseHttpDate(bytes, fieldAt(head, field), fieldBytes(head, field));
}

function decimal(bytes: Bytes, at: number, end: number): number {
  let value = 0;
  for (let p = at; p < end; p++) value = Math.min(value * 10 + u8(bytes, p) - ZERO, Number.MAX_SAFE_INTEGER);
  return value;
}
