/**
 * TCP options: maximum segment size (RFC 9293 section 3.7.1), window scale and timestamps (RFC 7323), selective
 * acknowledgement (RFC 2018), Fast Open (RFC 7413, and as before it in an experimental option), user timeout (RFC 5482).
 *
 * Parsing fills one object that is made once and used for every segment: nothing is allocated. Writers lay options out
 * as Linux does, each a whole number of 32-bit words (NOPs in front), so that any sequence of them is a legal header.
 */
import type { Bytes } from './bytes.ts';
import { i32, int32At, setU8, setU16, setU32, u8, u16 } from './bytes.ts';
import { TCP_BYTES } from './tcp.ts';

export const OPTION_END = 0;
export const OPTION_NOP = 1;
export const OPTION_MSS = 2;
export const OPTION_WINDOW_SCALE = 3;
export const OPTION_SACK_PERMITTED = 4;
export const OPTION_SACK = 5;
export const OPTION_TIMESTAMPS = 8;
export const OPTION_USER_TIMEOUT = 28;
export const OPTION_FAST_OPEN = 34;
/** Shared by experiments, told apart by the sixteen bits that follow (RFC 6994). */
export const OPTION_EXPERIMENT = 254;

// What each writer puts into the header, padding included.
export const MSS_BYTES = 4;
export const WINDOW_SCALE_BYTES = 4;
export const SACK_PERMITTED_BYTES = 4;
export const TIMESTAMPS_BYTES = 12;
export const USER_TIMEOUT_BYTES = 4;
/** Of `writeSackBlocks`: this and `SACK_BLOCK_BYTES` for each block. */
export const SACK_BYTES = 4;
export const SACK_BLOCK_BYTES = 8;

/** Blocks that fit into a header without other options. */
export const MAX_SACK_BLOCKS = 4;
/** The largest shift; a larger one received counts as this (RFC 7323 section 2.3). */
export const MAX_WINDOW_SCALE = 14;

// Length bytes of the options themselves: kind, length and value.
const MSS_LENGTH = 4;
const WINDOW_SCALE_LENGTH = 3;
const SACK_PERMITTED_LENGTH = 2;
const TIMESTAMPS_LENGTH = 10;
const SACK_LENGTH = 2;
const USER_TIMEOUT_LENGTH = 4;
const FAST_OPEN_LENGTH = 2;
const FAST_OPEN_EXPERIMENT_LENGTH = 4;

/** The experiment that became RFC 7413. */
const FAST_OPEN_MAGIC = 0xf989;
// RFC 7413 section 4.1.1.
const MIN_FAST_OPEN_COOKIE_BYTES = 4;
export const MAX_FAST_OPEN_COOKIE_BYTES = 16;

// Offsets from an option's kind byte.
const LENGTH_OFFSET = 1;
const VALUE_OFFSET = 2;
const ECHO_OFFSET = 6;
const RIGHT_OFFSET = 4;

// Kind and length (and NOPs before them) as the words that writers store and the fast path compares.
const NOP_NOP = (OPTION_NOP << 8) | OPTION_NOP;
const TIMESTAMPS_KIND = (OPTION_TIMESTAMPS << 8) | TIMESTAMPS_LENGTH;
const SACK_PERMITTED_KIND = (OPTION_SACK_PERMITTED << 8) | SACK_PERMITTED_LENGTH;
const NOP_NOP_TIMESTAMPS = (NOP_NOP << 16) | TIMESTAMPS_KIND;

/** What the options of one segment say; reset by every parse. */
export class TcpOptions {
  /** 0 when absent. */
  mss = 0;
  /** The shift, at most `MAX_WINDOW_SCALE`; -1 when absent. */
  windowScale = -1;
  sackPermitted = false;
  hasTimestamps = false;
  /** TSval and TSecr as signed 32-bit integers; 0 when absent. */
  tsValue = 0;
  tsEcho = 0;
  /** Blocks in `sackLeft` and `sackRight` (left edge, and right edge exclusive), as they came, not yet believed. */
  sackCount = 0;
  readonly sackLeft: Int32Array = new Int32Array(MAX_SACK_BLOCKS);
  readonly sackRight: Int32Array = new Int32Array(MAX_SACK_BLOCKS);
  /** Bytes of the Fast Open cookie, 0 for a request, -1 when absent or of a length that none has; then the two after it mean nothing. */
  fastOpenBytes = -1;
  readonly fastOpenCookie: Bytes = new Uint8Array(MAX_FAST_OPEN_COOKIE_BYTES);
  /** It came in the experimental option. */
  fastOpenExperimental = false;
  /** Granularity and time-out as they came, sixteen bits; -1 when absent. */
  userTimeout = -1;
}

/**
 * Parses the options of the header at `at`, which is `headerBytes` long and lies within the segment (`tcpCheck`).
 * False when an option's length is impossible: the walk stops there, and what came before it stands. An option of
 * unknown kind is skipped; of an option given twice the later counts.
 */
export function parseTcpOptions(bytes: Bytes, at: number, headerBytes: number, into: TcpOptions): boolean {
  into.mss = 0;
  into.windowScale = -1;
  into.sackPermitted = false;
  into.hasTimestamps = false;
  into.tsValue = 0;
  into.tsEcho = 0;
  into.sackCount = 0;
  into.fastOpenBytes = -1;
  into.userTimeout = -1;
  const end = at + headerBytes;
  let p = at + TCP_BYTES;
  // Nearly every segment of a connection with timestamps carries these twelve bytes and nothing else.
  if (headerBytes === TCP_BYTES + TIMESTAMPS_BYTES && i32(bytes, p) === NOP_NOP_TIMESTAMPS) {
    readTimestamps(bytes, p + 2, into);
    return true;
  }
  while (p < end) {
    const kind = u8(bytes, p);
    if (kind === OPTION_END) return true;
    if (kind === OPTION_NOP) {
      p++;
      continue;
    }
    if (p + LENGTH_OFFSET >= end) return false;
    const length = u8(bytes, p + LENGTH_OFFSET);
    if (length < VALUE_OFFSET || p + length > end) return false;
    if (!readOption(bytes, p, kind, length, into)) return false;
    p += length;
  }
  return true;
}

/** Reads one option that lies within the header; false when a kind we know has a length it cannot have. */
function readOption(bytes: Bytes, p: number, kind: number, length: number, into: TcpOptions): boolean {
  switch (kind) {
    case OPTION_MSS:
      if (length !== MSS_LENGTH) return false;
      into.mss = u16(bytes, p + VALUE_OFFSET);
      return true;
    case OPTION_WINDOW_SCALE:
      if (length !== WINDOW_SCALE_LENGTH) return false;
      into.windowScale = Math.min(u8(bytes, p + VALUE_OFFSET), MAX_WINDOW_SCALE);
      return true;
    case OPTION_SACK_PERMITTED:
      if (length !== SACK_PERMITTED_LENGTH) return false;
      into.sackPermitted = true;
      return true;
    case OPTION_SACK:
      return readSackBlocks(bytes, p, length, into);
    case OPTION_TIMESTAMPS:
      if (length !== TIMESTAMPS_LENGTH) return false;
      readTimestamps(bytes, p, into);
      return true;
    case OPTION_FAST_OPEN:
      readFastOpen(bytes, p + VALUE_OFFSET, length - FAST_OPEN_LENGTH, false, into);
      return true;
    case OPTION_EXPERIMENT:
      if (length >= FAST_OPEN_EXPERIMENT_LENGTH && u16(bytes, p + VALUE_OFFSET) === FAST_OPEN_MAGIC) {
        readFastOpen(bytes, p + FAST_OPEN_EXPERIMENT_LENGTH, length - FAST_OPEN_EXPERIMENT_LENGTH, true, into);
      }
      return true;
    case OPTION_USER_TIMEOUT:
      if (length === USER_TIMEOUT_LENGTH) into.userTimeout = u16(bytes, p + VALUE_OFFSET);
      return true;
    default:
      return true;
  }
}

/** RFC 7413 section 4.1.1: a cookie of an odd length, too short or too long is ignored. */
function readFastOpen(bytes: Bytes, at: number, cookieBytes: number, isExperimental: boolean, into: TcpOptions): void {
  const isRequest = cookieBytes === 0;
  const isCookie = cookieBytes >= MIN_FAST_OPEN_COOKIE_BYTES && cookieBytes <= MAX_FAST_OPEN_COOKIE_BYTES;
  if (!isRequest && (!isCookie || (cookieBytes & 1) !== 0)) return;
  into.fastOpenBytes = cookieBytes;
  for (let i = 0; i < cookieBytes; i++) into.fastOpenCookie[i] = u8(bytes, at + i);
  into.fastOpenExperimental = isExperimental;
}

function readTimestamps(bytes: Bytes, p: number, into: TcpOptions): void {
  into.hasTimestamps = true;
  into.tsValue = i32(bytes, p + VALUE_OFFSET);
  into.tsEcho = i32(bytes, p + ECHO_OFFSET);
}

function readSackBlocks(bytes: Bytes, p: number, length: number, into: TcpOptions): boolean {
  const count = (length - SACK_LENGTH) / SACK_BLOCK_BYTES;
  if (count < 1 || count > MAX_SACK_BLOCKS || (length - SACK_LENGTH) % SACK_BLOCK_BYTES !== 0) return false;
  for (let i = 0; i < count; i++) {
    const block = p + VALUE_OFFSET + i * SACK_BLOCK_BYTES;
    into.sackLeft[i] = i32(bytes, block);
    into.sackRight[i] = i32(bytes, block + RIGHT_OFFSET);
  }
  into.sackCount = count;
  return true;
}

/** Four bytes; returns the position behind them, as all writers do. */
export function writeMss(bytes: Bytes, at: number, mss: number): number {
  setU16(bytes, at, (OPTION_MSS << 8) | MSS_LENGTH);
  setU16(bytes, at + VALUE_OFFSET, mss);
  return at + MSS_BYTES;
}

/** NOP and the shift: four bytes. */
export function writeWindowScale(bytes: Bytes, at: number, shift: number): number {
  setU16(bytes, at, (OPTION_NOP << 8) | OPTION_WINDOW_SCALE);
  setU8(bytes, at + 2, WINDOW_SCALE_LENGTH);
  setU8(bytes, at + 3, shift);
  return at + WINDOW_SCALE_BYTES;
}

/** NOP, NOP, SACK permitted: four bytes, for a SYN without timestamps. */
export function writeSackPermitted(bytes: Bytes, at: number): number {
  setU32(bytes, at, (NOP_NOP << 16) | SACK_PERMITTED_KIND);
  return at + SACK_PERMITTED_BYTES;
}

/** NOP, NOP and both timestamps: twelve bytes. */
export function writeTimestamps(bytes: Bytes, at: number, value: number, echo: number): number {
  setU32(bytes, at, NOP_NOP_TIMESTAMPS);
  setU32(bytes, at + 4, value);
  setU32(bytes, at + 8, echo);
  return at + TIMESTAMPS_BYTES;
}

/** SACK permitted in the place of the two NOPs, as Linux has it on a SYN: twelve bytes for both. */
export function writeSackPermittedTimestamps(bytes: Bytes, at: number, value: number, echo: number): number {
  setU32(bytes, at, (SACK_PERMITTED_KIND << 16) | TIMESTAMPS_KIND);
  setU32(bytes, at + 4, value);
  setU32(bytes, at + 8, echo);
  return at + TIMESTAMPS_BYTES;
}

/** A Fast Open cookie, or with none of its bytes the request for one; NOPs behind it, as Linux has them, up to a whole word. */
export function writeFastOpen(
  bytes: Bytes,
  at: number,
  cookie: Bytes | null,
  cookieBytes: number,
  isExperimental: boolean,
): number {
  const headBytes = isExperimental ? FAST_OPEN_EXPERIMENT_LENGTH : FAST_OPEN_LENGTH;
  setU8(bytes, at, isExperimental ? OPTION_EXPERIMENT : OPTION_FAST_OPEN);
  setU8(bytes, at + LENGTH_OFFSET, headBytes + cookieBytes);
  if (isExperimental) setU16(bytes, at + VALUE_OFFSET, FAST_OPEN_MAGIC);
  let p = at + headBytes;
  if (cookie !== null) for (let i = 0; i < cookieBytes; i++) setU8(bytes, p++, u8(cookie, i));
  while (((p - at) & 3) !== 0) setU8(bytes, p++, OPTION_NOP);
  return p;
}

/** The user timeout: four bytes; `value` as `TcpOptions.userTimeout`. */
export function writeUserTimeout(bytes: Bytes, at: number, value: number): number {
  setU16(bytes, at, (OPTION_USER_TIMEOUT << 8) | USER_TIMEOUT_LENGTH);
  setU16(bytes, at + VALUE_OFFSET, value);
  return at + USER_TIMEOUT_LENGTH;
}

/** NOP, NOP and the first `count` (1 to 4) blocks: `SACK_BYTES + count * SACK_BLOCK_BYTES` bytes. */
export function writeSackBlocks(bytes: Bytes, at: number, left: Int32Array, right: Int32Array, count: number): number {
  setU16(bytes, at, NOP_NOP);
  setU8(bytes, at + 2, OPTION_SACK);
  setU8(bytes, at + 3, SACK_LENGTH + count * SACK_BLOCK_BYTES);
  let p = at + SACK_BYTES;
  for (let i = 0; i < count; i++) {
    setU32(bytes, p, int32At(left, i));
    setU32(bytes, p + RIGHT_OFFSET, int32At(right, i));
    p += SACK_BLOCK_BYTES;
  }
  return p;
}
