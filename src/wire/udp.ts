/**
 * The UDP header (RFC 768). `at` is where it starts; `length` counts the bytes of the IP payload from there. Memory
 * belongs to the frame's owner.
 */
import type { Bytes } from './bytes.ts';
import { setU16, u16 } from './bytes.ts';
import type { DropReason } from './drop-reasons.ts';
import { DROP_UDP_LENGTH, DROP_UDP_SHORT } from './drop-reasons.ts';

export const UDP_BYTES = 8;

export const UDP_SOURCE_PORT_OFFSET = 0;
export const UDP_TARGET_PORT_OFFSET = 2;
export const UDP_LENGTH_OFFSET = 4;
export const UDP_CHECKSUM_OFFSET = 6;

/** Once per datagram: header complete, its length field within the IP payload. Not the checksum. */
export function udpCheck(bytes: Bytes, at: number, length: number): DropReason {
  if (length < UDP_BYTES) return DROP_UDP_SHORT;
  const udpBytes = udpLength(bytes, at);
  if (udpBytes < UDP_BYTES || udpBytes > length) return DROP_UDP_LENGTH;
  return 0;
}

export function udpSourcePort(bytes: Bytes, at: number): number {
  return u16(bytes, at + UDP_SOURCE_PORT_OFFSET);
}

export function udpTargetPort(bytes: Bytes, at: number): number {
  return u16(bytes, at + UDP_TARGET_PORT_OFFSET);
}

/** Bytes of header and payload. */
export function udpLength(bytes: Bytes, at: number): number {
  return u16(bytes, at + UDP_LENGTH_OFFSET);
}

/** 0 means that the sender computed none. */
export function udpChecksum(bytes: Bytes, at: number): number {
  return u16(bytes, at + UDP_CHECKSUM_OFFSET);
}

/** Writes the header, its checksum zero. */
export function setUdp(bytes: Bytes, at: number, sourcePort: number, targetPort: number, length: number): void {
  setU16(bytes, at + UDP_SOURCE_PORT_OFFSET, sourcePort);
  setU16(bytes, at + UDP_TARGET_PORT_OFFSET, targetPort);
  setU16(bytes, at + UDP_LENGTH_OFFSET, length);
  setU16(bytes, at + UDP_CHECKSUM_OFFSET, 0);
}
