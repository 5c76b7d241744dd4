/**
 * ICMP for IPv4 (RFC 792; the next-hop MTU in "fragmentation needed" is RFC 1191's). `at` is where the ICMP header starts
 * and `length` counts the whole message, which the checksum covers. Memory belongs to the frame's owner.
 */
import type { Bytes } from './bytes.ts';
import { setU8, setU16, u8, u16 } from './bytes.ts';
import { finishSum, foldSum, sumBytes } from './checksum.ts';
import type { DropReason } from './drop-reasons.ts';
import { DROP_ICMP_CHECKSUM, DROP_ICMP_SHORT } from './drop-reasons.ts';

/** Header bytes; an error quotes the packet it is about right behind them. */
export const ICMP_BYTES = 8;

export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_ECHO = 8;
export const ICMP_TIME_EXCEEDED = 11;
/** Its pointer says which octet of the packet was wrong. */
export const ICMP_PARAMETER_PROBLEM = 12;

// Codes of ICMP_UNREACHABLE.
export const ICMP_CODE_NET = 0;
export const ICMP_CODE_HOST = 1;
export const ICMP_CODE_PROTOCOL = 2;
export const ICMP_CODE_PORT = 3;
export const ICMP_CODE_FRAG_NEEDED = 4;

// Codes of ICMP_TIME_EXCEEDED.
export const ICMP_CODE_TTL = 0;
export const ICMP_CODE_REASSEMBLY = 1;

export const ICMP_TYPE_OFFSET = 0;
export const ICMP_CODE_OFFSET = 1;
export const ICMP_CHECKSUM_OFFSET = 2;
/** The four bytes whose meaning the type decides: unused in errors, but for the MTU in their second half. */
export const ICMP_REST_OFFSET = 4;
export const ICMP_ECHO_ID_OFFSET = 4;
export const ICMP_ECHO_SEQUENCE_OFFSET = 6;
export const ICMP_NEXT_MTU_OFFSET = 6;

/** Once per message: header complete, checksum over all `length` bytes right. */
export function icmpCheck(bytes: Bytes, at: number, length: number): DropReason {
  if (length < ICMP_BYTES) return DROP_ICMP_SHORT;
  if (foldSum(sumBytes(bytes, at, length, 0)) !== 0xffff) return DROP_ICMP_CHECKSUM;
  return 0;
}

export function icmpType(bytes: Bytes, at: number): number {
  return u8(bytes, at + ICMP_TYPE_OFFSET);
}

export function icmpCode(bytes: Bytes, at: number): number {
  return u8(bytes, at + ICMP_CODE_OFFSET);
}

export function icmpChecksum(bytes: Bytes, at: number): number {
  return u16(bytes, at + ICMP_CHECKSUM_OFFSET);
}

/** Of "fragmentation needed": the MTU of the link that was too narrow, 0 from routers older than RFC 1191. */
export function icmpNextMtu(bytes: Bytes, at: number): number {
  return u16(bytes, at + ICMP_NEXT_MTU_OFFSET);
}

export function icmpEchoId(bytes: Bytes, at: number): number {
  return u16(bytes, at + ICMP_ECHO_ID_OFFSET);
}

export function icmpEchoSequence(bytes: Bytes, at: number): number {
  return u16(bytes, at + ICMP_ECHO_SEQUENCE_OFFSET);
}

/** Writes an echo or echo reply header, its checksum zero until `fillIcmpChecksum`. */
export function setIcmpEcho(bytes: Bytes, at: number, type: number, id: number, sequence: number): void {
  setU8(bytes, at + ICMP_TYPE_OFFSET, type);
  setU8(bytes, at + ICMP_CODE_OFFSET, 0);
  setU16(bytes, at + ICMP_CHECKSUM_OFFSET, 0);
  setU16(bytes, at + ICMP_ECHO_ID_OFFSET, id);
  setU16(bytes, at + ICMP_ECHO_SEQUENCE_OFFSET, sequence);
}

/** Writes the header of an error (`nextMtu` 0 unless fragmentation was needed), its checksum zero until `fillIcmpChecksum`. */
export function setIcmpError(bytes: Bytes, at: number, type: number, code: number, nextMtu: number): void {
  setU8(bytes, at + ICMP_TYPE_OFFSET, type);
  setU8(bytes, at + ICMP_CODE_OFFSET, code);
  setU16(bytes, at + ICMP_CHECKSUM_OFFSET, 0);
  setU16(bytes, at + ICMP_REST_OFFSET, 0);
  setU16(bytes, at + ICMP_NEXT_MTU_OFFSET, nextMtu);
}

export function setIcmpChecksum(bytes: Bytes, at: number, value: number): void {
  setU16(bytes, at + ICMP_CHECKSUM_OFFSET, value);
}

/** Sums a whole message of `length` contiguous bytes and stores the checksum. */
export function fillIcmpChecksum(bytes: Bytes, at: number, length: number): void {
  setIcmpChecksum(bytes, at, 0);
  setIcmpChecksum(bytes, at, finishSum(sumBytes(bytes, at, length, 0)));
}
