/**
 * Values of header fields that decide about the connection, read as bytes: Host and Connection, and the walk over a
 * comma-separated list (RFC 9110 section 5.6.1).
 */
import { type Bytes, u8 } from '../../wire/bytes.ts';
import {
  asciiBytes,
  BRACKET_CLOSE,
  BRACKET_OPEN,
  COLON,
  COMMA,
  DOT,
  equalIgnoringCase,
  hexValue,
  isDigit,
  isHostByte,
  SPACE,
  TAB,
} from './characters.ts';

/** `connectionOptions`: the options that concern us. */
export const CONNECTION_CLOSE = 1;
export const CONNECTION_KEEP_ALIVE = 2;

const CLOSE = asciiBytes('close');
const KEEP_ALIVE = asciiBytes('keep-alive');

export function isOptionalSpace(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

/** The position of the next list member at or after `p`: past commas and whitespace. */
export function skipToMember(bytes: Bytes, p: number, end: number): number {
  let at = p;
  while (at < end && (isOptionalSpace(u8(bytes, at)) || u8(bytes, at) === COMMA)) at++;
  return at;
}

/** Where the list member at `p` ends: before the next comma, without trailing whitespace. Members have no quotes. */
export function memberEnd(bytes: Bytes, p: number, end: number): number {
  let at = p;
  while (at < end && u8(bytes, at) !== COMMA) at++;
  while (at > p && isOptionalSpace(u8(bytes, at - 1))) at--;
  return at;
}

/** RFC 9110 section 7.6.1: `close` and `keep-alive` among the connection options, as bits. */
export function connectionOptions(bytes: Bytes, at: number, length: number): number {
  const end = at + length;
  let options = 0;
  let p = skipToMember(bytes, at, end);
  while (p < end) {
    const last = memberEnd(bytes, p, end);
    if (last - p === CLOSE.length && equalIgnoringCase(bytes, p, CLOSE)) options |= CONNECTION_CLOSE;
    if (last - p === KEEP_ALIVE.length && equalIgnoringCase(bytes, p, KEEP_ALIVE)) options |= CONNECTION_KEEP_ALIVE;
    p = skipToMember(bytes, last, end);
  }
  return options;
}

/**
 * RFC 9110 section 7.2: uri-host [ ":" port ]. An empty host is no valid one for an http URI (section 4.2.1); user
 * information is not allowed (section 4.2.4).
 */
export function isHostAndPort(bytes: Bytes, at: number, length: number): boolean {
  const end = at + length;
  let p = at;
  if (p < end && u8(bytes, p) === BRACKET_OPEN) {
    p++;
    while (p < end && isIpv6Byte(u8(bytes, p))) p++;
    if (p === end || u8(bytes, p) !== BRACKET_CLOSE || p === at + 1) return false;
    p++;
  } else {
    while (p < end && isHostByte(u8(bytes, p))) p++;
    if (p === at) return false;
  }
  if (p === end) return true;
  if (u8(bytes, p) !== COLON || end - p > 6) return false;
  for (p++; p < end; p++) if (!isDigit(u8(bytes, p))) return false;
  return true;
}

function isIpv6Byte(byte: number): boolean {
  return hexValue(byte) >= 0 || byte === COLON || byte === DOT;
}
