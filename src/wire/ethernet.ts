/**
 * Ethernet II header (IEEE 802.3 clause 3; the type field as in RFC 894). No VLAN tags, no trailing frame check sequence:
 * devices hand over neither. A MAC address is two numbers, `hi` of 16 bits and `lo`, a signed 32-bit integer.
 *
 * `at` is where the header starts; memory belongs to the frame's owner.
 */
import type { Bytes } from './bytes.ts';
import { i32, setU16, setU32, u8, u16 } from './bytes.ts';
import type { DropReason } from './drop-reasons.ts';
import { DROP_ETHERNET_SHORT, DROP_ETHERNET_SOURCE } from './drop-reasons.ts';

export const ETHERNET_BYTES = 14;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;

export const ETHERNET_TARGET_HI_OFFSET = 0;
export const ETHERNET_TARGET_LO_OFFSET = 2;
export const ETHERNET_SOURCE_HI_OFFSET = 6;
export const ETHERNET_SOURCE_LO_OFFSET = 8;
export const ETHERNET_TYPE_OFFSET = 12;

/** The bit of an address's first byte that makes it a group address. */
const GROUP_BIT = 1;

/** Once per frame: long enough, and not sent "by" a group, which no station is. Every EtherType passes. */
export function ethernetCheck(bytes: Bytes, at: number, length: number): DropReason {
  if (length < ETHERNET_BYTES) return DROP_ETHERNET_SHORT;
  if ((u8(bytes, at + ETHERNET_SOURCE_HI_OFFSET) & GROUP_BIT) !== 0) return DROP_ETHERNET_SOURCE;
  return 0;
}

export function ethernetTargetHi(bytes: Bytes, at: number): number {
  return u16(bytes, at + ETHERNET_TARGET_HI_OFFSET);
}

export function ethernetTargetLo(bytes: Bytes, at: number): number {
  return i32(bytes, at + ETHERNET_TARGET_LO_OFFSET);
}

export function ethernetSourceHi(bytes: Bytes, at: number): number {
  return u16(bytes, at + ETHERNET_SOURCE_HI_OFFSET);
}

export function ethernetSourceLo(bytes: Bytes, at: number): number {
  return i32(bytes, at + ETHERNET_SOURCE_LO_OFFSET);
}

export function ethernetType(bytes: Bytes, at: number): number {
  return u16(bytes, at + ETHERNET_TYPE_OFFSET);
}

export function setEthernet(
  bytes: Bytes,
  at: number,
  targetHi: number,
  targetLo: number,
  sourceHi: number,
  sourceLo: number,
  type: number,
): void {
  setU16(bytes, at + ETHERNET_TARGET_HI_OFFSET, targetHi);
  setU32(bytes, at + ETHERNET_TARGET_LO_OFFSET, targetLo);
  setU16(bytes, at + ETHERNET_SOURCE_HI_OFFSET, sourceHi);
  setU32(bytes, at + ETHERNET_SOURCE_LO_OFFSET, sourceLo);
  setU16(bytes, at + ETHERNET_TYPE_OFFSET, type);
}
