/**
 * Character classes of RFC 9110 and RFC 3986 as tables, and comparisons over bytes that make no strings.
 */
import { type Bytes, u8 } from '../../wire/bytes.ts';

export const TAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SPACE = 0x20;
export const QUOTE = 0x22;
export const PERCENT = 0x25;
export const ASTERISK = 0x2a;
export const COMMA = 0x2c;
export const DASH = 0x2d;
export const DOT = 0x2e;
export const SLASH = 0x2f;
export const ZERO = 0x30;
export const NINE = 0x39;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;
export const QUESTION = 0x3f;
export const BRACKET_OPEN = 0x5b;
export const BACKSLASH = 0x5c;
export const BRACKET_CLOSE = 0x5d;

/** RFC 9110 5.6.2: a token's characters. */
const TCHAR = 1;
/** RFC 9110 5.5: what a field value may contain: visible, obs-text, space and tab. */
const FIELD = 2;
/**
 * What a request target may contain. RFC 3986 allows less, but browsers send some of the rest, and bytes above 0x7f, raw;
 * controls, spaces and `#` are out.
 */
const TARGET = 4;
/** RFC 3986 3.2.2: a host's characters outside brackets. */
const HOST = 8;
/** What a target's path may contain: everything up to the query. */
const PATH = 16;

const CLASS = new Uint8Array(256);
for (let code = 0; code < 256; code++) {
  const character = String.fromCharCode(code);
  if (/[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(character)) CLASS[code] = (CLASS[code] ?? 0) | TCHAR;
  if (code === TAB || (code >= SPACE && code !== 0x7f)) CLASS[code] = (CLASS[code] ?? 0) | FIELD;
  if (code > SPACE && code !== 0x7f && character !== '#') CLASS[code] = (CLASS[code] ?? 0) | TARGET;
  if (code > SPACE && code !== 0x7f && character !== '#' && character !== '?') CLASS[code] = (CLASS[code] ?? 0) | PATH;
  if (/[A-Za-z0-9\-._~%!$&'()*+,;=]/.test(character)) CLASS[code] = (CLASS[code] ?? 0) | HOST;
}

export function isTokenByte(byte: number): boolean {
  return ((CLASS[byte] as number) & TCHAR) !== 0;
}

export function isFieldByte(byte: number): boolean {
  return ((CLASS[byte] as number) & FIELD) !== 0;
}

export function isTargetByte(byte: number): boolean {
  return ((CLASS[byte] as number) & TARGET) !== 0;
}

export function isPathByte(byte: number): boolean {
  return ((CLASS[byte] as number) & PATH) !== 0;
}

export function isHostByte(byte: number): boolean {
  return ((CLASS[byte] as number) & HOST) !== 0;
}

export function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

/** Value of a hexadecimal digit, -1 for anything else. */
export function hexValue(byte: number): number {
  if (byte >= ZERO && byte <= NINE) return byte - ZERO;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}

/** The bytes of an ASCII string, for comparisons. */
export function asciiBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Whether the bytes at `at` equal the pattern. */
export function equalBytes(bytes: Bytes, at: number, pattern: Uint8Array): boolean {
  for (let i = 0; i < pattern.length; i++) if (u8(bytes, at + i) !== u8(pattern, i)) return false;
  return true;
}

/** Whether the bytes at `at`, letters of either case, spell a pattern of lower-case letters, digits and dashes. */
export function equalIgnoringCase(bytes: Bytes, at: number, pattern: Uint8Array): boolean {
  for (let i = 0; i < pattern.length; i++) {
    const byte = u8(bytes, at + i);
    const lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (lower !== u8(pattern, i)) return false;
  }
  return true;
}

/** FNV-1a, one byte at a time: `hash = hashByte(hash, byte)` from `HASH_SEED` on. Signed 32 bits. */
export const HASH_SEED = 0x811c9dc5 | 0;

export function hashByte(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, 0x01000193);
}

export function hashBytes(bytes: Bytes, at: number, length: number): number {
  let hash = HASH_SEED;
  for (let i = at; i < at + length; i++) hash = hashByte(hash, u8(bytes, i));
  return hash;
}
