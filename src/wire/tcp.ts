/**
 * The TCP header (RFC 9293 section 3.1; ECE and CWR are RFC 3168's). `at` is where it starts; `length` counts the whole
 * segment, header, options and payload. Sequence numbers come out as signed 32-bit integers, for `tcp/sequence.ts` to
 * compare. Options are in tcp-options.ts. Memory belongs to the frame's owner.
 */
import type { Bytes } from './bytes.ts';
import { i32, setU8, setU16, setU32, u8, u16 } from './bytes.ts';
import { foldSum, sumBytes } from './checksum.ts';
import type { DropReason } from './drop-reasons.ts';
import { DROP_TCP_HEADER_LENGTH, DROP_TCP_SHORT } from './drop-reasons.ts';

/** Bytes of a header without options. */
export const TCP_BYTES = 20;
/** Bytes of the longest header, 40 of them options. */
export const TCP_MAX_HEADER_BYTES = 60;

export const TCP_FIN = 1;
export const TCP_SYN = 2;
export const TCP_RST = 4;
export const TCP_PSH = 8;
export const TCP_ACK = 16;
export const TCP_URG = 32;
export const TCP_ECE = 64;
export const TCP_CWR = 128;

export const TCP_SOURCE_PORT_OFFSET = 0;
export const TCP_TARGET_PORT_OFFSET = 2;
export const TCP_SEQ_OFFSET = 4;
export const TCP_ACK_OFFSET = 8;
export const TCP_DATA_OFFSET = 12;
export const TCP_FLAGS_OFFSET = 13;
export const TCP_WINDOW_OFFSET = 14;
export const TCP_CHECKSUM_OFFSET = 16;
export const TCP_URGENT_OFFSET = 18;

/** The high nibble counts 32-bit words: `(byte & mask) >>> shift` is bytes. */
const HEADER_MASK = 0xf0;
const HEADER_SHIFT = 2;

/** Once per segment: header complete and its length within the segment. Not the checksum: a device may have seen to it. */
export function tcpCheck(bytes: Bytes, at: number, length: number): DropReason {
  if (length < TCP_BYTES) return DROP_TCP_SHORT;
  const headerBytes = tcpHeaderBytes(bytes, at);
  if (headerBytes < TCP_BYTES || headerBytes > length) return DROP_TCP_HEADER_LENGTH;
  return 0;
}

/** Sums all `length` bytes with `pseudo`, the pseudo-header's sum without the length (`pseudoSum4`). */
export function tcpVerifyChecksum(bytes: Bytes, at: number, length: number, pseudo: number): boolean {
  return foldSum(sumBytes(bytes, at, length, pseudo + length)) === 0xffff;
}

export function tcpSourcePort(bytes: Bytes, at: number): number {
  return u16(bytes, at + TCP_SOURCE_PORT_OFFSET);
}

export function tcpTargetPort(bytes: Bytes, at: number): number {
  return u16(bytes, at + TCP_TARGET_PORT_OFFSET);
}

export function tcpSeq(bytes: Bytes, at: number): number {
  return i32(bytes, at + TCP_SEQ_OFFSET);
}

export function tcpAck(bytes: Bytes, at: number): number {
  return i32(bytes, at + TCP_ACK_OFFSET);
}

export function tcpHeaderBytes(bytes: Bytes, at: number): number {
  return (u8(bytes, at + TCP_DATA_OFFSET) & HEADER_MASK) >>> HEADER_SHIFT;
}

/** The eight `TCP_...` bits. */
export function tcpFlags(bytes: Bytes, at: number): number {
  return u8(bytes, at + TCP_FLAGS_OFFSET);
}

/** The field as sent, not yet scaled. */
export function tcpWindow(bytes: Bytes, at: number): number {
  return u16(bytes, at + TCP_WINDOW_OFFSET);
}

export function tcpChecksum(bytes: Bytes, at: number): number {
  return u16(bytes, at + TCP_CHECKSUM_OFFSET);
}

export function tcpUrgent(bytes: Bytes, at: number): number {
  return u16(bytes, at + TCP_URGENT_OFFSET);
}

/** Writes the header; options, if `headerBytes` (a multiple of four) counts any, are the caller's. Checksum and urgent pointer are zero. */
export function setTcp(
  bytes: Bytes,
  at: number,
  sourcePort: number,
  targetPort: number,
  seq: number,
  ack: number,
  headerBytes: number,
  flags: number,
  window: number,
): void {
  setU16(bytes, at + TCP_SOURCE_PORT_OFFSET, sourcePort);
  setU16(bytes, at + TCP_TARGET_PORT_OFFSET, targetPort);
  setU32(bytes, at + TCP_SEQ_OFFSET, seq);
  setU32(bytes, at + TCP_ACK_OFFSET, ack);
  setU8(bytes, at + TCP_DATA_OFFSET, headerBytes << HEADER_SHIFT);
  setU8(bytes, at + TCP_FLAGS_OFFSET, flags);
  setU16(bytes, at + TCP_WINDOW_OFFSET, window);
  setU32(bytes, at + TCP_CHECKSUM_OFFSET, 0);
}

export function setTcpChecksum(bytes: Bytes, at: number, value: number): void {
  setU16(bytes, at + TCP_CHECKSUM_OFFSET, value);
}
