/**
 * The IPv4 header (RFC 791; the type-of-service byte is RFC 2474's and RFC 3168's now). `at` is where the IP header
 * starts; `length` counts the bytes of the frame from there, which may be more than the packet: short frames are padded.
 * Memory belongs to the frame's owner.
 */
import type { Bytes } from './bytes.ts';
import { i32, setU16, setU32, u8, u16 } from './bytes.ts';
import { finishSum, foldSum, sumBytes, updateSum } from './checksum.ts';
import type { DropReason } from './drop-reasons.ts';
import {
  DROP_ICMP_QUOTE,
  DROP_IPV4_CHECKSUM,
  DROP_IPV4_HEADER_LENGTH,
  DROP_IPV4_SHORT,
  DROP_IPV4_TOTAL_LENGTH,
  DROP_IPV4_VERSION,
} from './drop-reasons.ts';

/** Bytes of a header without options. */
export const IPV4_BYTES = 20;
/** Bytes of the longest header, 40 of them options. */
export const IPV4_MAX_HEADER_BYTES = 60;

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

export const IPV4_VERSION_OFFSET = 0;
export const IPV4_TOS_OFFSET = 1;
export const IPV4_TOTAL_OFFSET = 2;
export const IPV4_ID_OFFSET = 4;
export const IPV4_FRAGMENT_OFFSET = 6;
export const IPV4_TTL_OFFSET = 8;
export const IPV4_PROTOCOL_OFFSET = 9;
export const IPV4_CHECKSUM_OFFSET = 10;
export const IPV4_SOURCE_OFFSET = 12;
export const IPV4_TARGET_OFFSET = 16;

/** Bits of the 16-bit word at `IPV4_FRAGMENT_OFFSET`. */
export const IPV4_DONT_FRAGMENT_BIT = 0x4000;
export const IPV4_MORE_FRAGMENTS_BIT = 0x2000;
export const IPV4_FRAGMENT_MASK = 0x1fff;

/** Low nibble of the first byte: header length in 32-bit words, so `(byte & mask) << shift` is bytes. */
export const IPV4_HEADER_MASK = 0x0f;
export const IPV4_HEADER_SHIFT = 2;

/** Version 4 and a five-word header, as the high byte of the first word. */
const VERSION_AND_LENGTH = 0x45;
const VERSION_SHIFT = 4;
const VERSION = 4;
/** Fragment offsets count units of eight bytes. */
const FRAGMENT_UNIT_SHIFT = 3;
/** What an ICMP error quotes behind the header at least (RFC 792): ports and sequence number. */
const QUOTED_PAYLOAD_BYTES = 8;

/** Once per packet: version, header length, total length within the frame (padding may follow), header checksum. */
export function ipv4Check(bytes: Bytes, at: number, length: number): DropReason {
  if (length < IPV4_BYTES) return DROP_IPV4_SHORT;
  if (u8(bytes, at + IPV4_VERSION_OFFSET) >>> VERSION_SHIFT !== VERSION) return DROP_IPV4_VERSION;
  const headerBytes = ipv4HeaderBytes(bytes, at);
  if (headerBytes < IPV4_BYTES || headerBytes > length) return DROP_IPV4_HEADER_LENGTH;
  const totalBytes = ipv4TotalBytes(bytes, at);
  if (totalBytes < headerBytes || totalBytes > length) return DROP_IPV4_TOTAL_LENGTH;
  if (foldSum(sumBytes(bytes, at, headerBytes, 0)) !== 0xffff) return DROP_IPV4_CHECKSUM;
  return 0;
}

/**
 * The check for a header quoted in an ICMP error: the packet behind it is cut off, and routers on its way have changed
 * the header (some without its checksum), so only what the accessors rely on is asked for: the header and eight bytes.
 */
export function ipv4CheckQuoted(bytes: Bytes, at: number, length: number): DropReason {
  if (length < IPV4_BYTES) return DROP_ICMP_QUOTE;
  if (u8(bytes, at + IPV4_VERSION_OFFSET) >>> VERSION_SHIFT !== VERSION) return DROP_ICMP_QUOTE;
  const headerBytes = ipv4HeaderBytes(bytes, at);
  if (headerBytes < IPV4_BYTES || headerBytes + QUOTED_PAYLOAD_BYTES > length) return DROP_ICMP_QUOTE;
  return 0;
}

export function ipv4HeaderBytes(bytes: Bytes, at: number): number {
  return (u8(bytes, at + IPV4_VERSION_OFFSET) & IPV4_HEADER_MASK) << IPV4_HEADER_SHIFT;
}

export function ipv4Tos(bytes: Bytes, at: number): number {
  return u8(bytes, at + IPV4_TOS_OFFSET);
}

/** Bytes of the packet, header included. */
export function ipv4TotalBytes(bytes: Bytes, at: number): number {
  return u16(bytes, at + IPV4_TOTAL_OFFSET);
}

export function ipv4Id(bytes: Bytes, at: number): number {
  return u16(bytes, at + IPV4_ID_OFFSET);
}

export function ipv4DontFragment(bytes: Bytes, at: number): boolean {
  return (u16(bytes, at + IPV4_FRAGMENT_OFFSET) & IPV4_DONT_FRAGMENT_BIT) !== 0;
}

export function ipv4MoreFragments(bytes: Bytes, at: number): boolean {
  return (u16(bytes, at + IPV4_FRAGMENT_OFFSET) & IPV4_MORE_FRAGMENTS_BIT) !== 0;
}

/** Where this fragment lies in the datagram's payload, in bytes. */
export function ipv4FragmentOffset(bytes: Bytes, at: number): number {
  return (u16(bytes, at + IPV4_FRAGMENT_OFFSET) & IPV4_FRAGMENT_MASK) << FRAGMENT_UNIT_SHIFT;
}

/** Part of a datagram rather than a whole one. */
export function ipv4IsFragment(bytes: Bytes, at: number): boolean {
  return (u16(bytes, at + IPV4_FRAGMENT_OFFSET) & (IPV4_MORE_FRAGMENTS_BIT | IPV4_FRAGMENT_MASK)) !== 0;
}

export function ipv4Ttl(bytes: Bytes, at: number): number {
  return u8(bytes, at + IPV4_TTL_OFFSET);
}

export function ipv4Protocol(bytes: Bytes, at: number): number {
  return u8(bytes, at + IPV4_PROTOCOL_OFFSET);
}

export function ipv4Checksum(bytes: Bytes, at: number): number {
  return u16(bytes, at + IPV4_CHECKSUM_OFFSET);
}

export function ipv4Source(bytes: Bytes, at: number): number {
  return i32(bytes, at + IPV4_SOURCE_OFFSET);
}

export function ipv4Target(bytes: Bytes, at: number): number {
  return i32(bytes, at + IPV4_TARGET_OFFSET);
}

// ECN (RFC 3168 section 5): the last two bits of the type of service.
export const ECN_NOT_ECT = 0;
export const ECN_ECT_0 = 2;
export const ECN_CE = 3;
export const ECN_MASK = 3;

/** Writes a header of 20 bytes with its checksum, which is summed from the arguments: nothing is read back. */
export function setIpv4(
  bytes: Bytes,
  at: number,
  totalBytes: number,
  id: number,
  dontFragment: boolean,
  ttl: number,
  protocol: number,
  source: number,
  target: number,
  tos: number,
): void {
  const first = (VERSION_AND_LENGTH << 8) | tos;
  const fragment = dontFragment ? IPV4_DONT_FRAGMENT_BIT : 0;
  const life = (ttl << 8) | protocol;
  const sum =
    first +
    totalBytes +
    id +
    fragment +
    life +
    (source >>> 16) +
    (source & 0xffff) +
    (target >>> 16) +
    (target & 0xffff);
  setU16(bytes, at + IPV4_VERSION_OFFSET, first);
  setU16(bytes, at + IPV4_TOTAL_OFFSET, totalBytes);
  setU16(bytes, at + IPV4_ID_OFFSET, id);
  setU16(bytes, at + IPV4_FRAGMENT_OFFSET, fragment);
  setU16(bytes, at + IPV4_TTL_OFFSET, life);
  setU16(bytes, at + IPV4_CHECKSUM_OFFSET, finishSum(sum));
  setU32(bytes, at + IPV4_SOURCE_OFFSET, source);
  setU32(bytes, at + IPV4_TARGET_OFFSET, target);
}

/** Makes a written header one of a fragment at `offsetBytes` (a multiple of eight), and keeps its checksum right. */
export function setIpv4Fragment(bytes: Bytes, at: number, offsetBytes: number, more: boolean): void {
  const before = u16(bytes, at + IPV4_FRAGMENT_OFFSET);
  const after = (more ? IPV4_MORE_FRAGMENTS_BIT : 0) | (offsetBytes >>> FRAGMENT_UNIT_SHIFT);
  const check = updateSum(u16(bytes, at + IPV4_CHECKSUM_OFFSET), before, after);
  setU16(bytes, at + IPV4_FRAGMENT_OFFSET, after);
  setU16(bytes, at + IPV4_CHECKSUM_OFFSET, check);
}
