/**
 * ARP packets for IPv4 over Ethernet (RFC 826; announcements and probes are RFC 5227's use of the same format).
 * `at` is where the ARP packet starts, behind the Ethernet header; memory belongs to the frame's owner.
 */
import type { Bytes } from './bytes.ts';
import { i32, setU8, setU16, setU32, u8, u16 } from './bytes.ts';
import type { DropReason } from './drop-reasons.ts';
import { DROP_ARP_FORMAT, DROP_ARP_OPERATION, DROP_ARP_SHORT } from './drop-reasons.ts';
import { ETHERTYPE_IPV4 } from './ethernet.ts';

export const ARP_BYTES = 28;

export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

export const ARP_HARDWARE_OFFSET = 0;
export const ARP_PROTOCOL_OFFSET = 2;
export const ARP_HARDWARE_BYTES_OFFSET = 4;
export const ARP_PROTOCOL_BYTES_OFFSET = 5;
export const ARP_OPERATION_OFFSET = 6;
export const ARP_SENDER_HI_OFFSET = 8;
export const ARP_SENDER_LO_OFFSET = 10;
export const ARP_SENDER_ADDRESS_OFFSET = 14;
export const ARP_TARGET_HI_OFFSET = 18;
export const ARP_TARGET_LO_OFFSET = 20;
export const ARP_TARGET_ADDRESS_OFFSET = 24;

const HARDWARE_ETHERNET = 1;
const MAC_BYTES = 6;
const IPV4_ADDRESS_BYTES = 4;

/** Once per packet: complete, of Ethernet and IPv4, a request or a reply. Padding behind it is allowed. */
export function arpCheck(bytes: Bytes, at: number, length: number): DropReason {
  if (length < ARP_BYTES) return DROP_ARP_SHORT;
  if (
    u16(bytes, at + ARP_HARDWARE_OFFSET) !== HARDWARE_ETHERNET ||
    u16(bytes, at + ARP_PROTOCOL_OFFSET) !== ETHERTYPE_IPV4 ||
    u8(bytes, at + ARP_HARDWARE_BYTES_OFFSET) !== MAC_BYTES ||
    u8(bytes, at + ARP_PROTOCOL_BYTES_OFFSET) !== IPV4_ADDRESS_BYTES
  ) {
    return DROP_ARP_FORMAT;
  }
  const operation = u16(bytes, at + ARP_OPERATION_OFFSET);
  if (operation !== ARP_REQUEST && operation !== ARP_REPLY) return DROP_ARP_OPERATION;
  return 0;
}

export function arpOperation(bytes: Bytes, at: number): number {
  return u16(bytes, at + ARP_OPERATION_OFFSET);
}

export function arpSenderHi(bytes: Bytes, at: number): number {
  return u16(bytes, at + ARP_SENDER_HI_OFFSET);
}

export function arpSenderLo(bytes: Bytes, at: number): number {
  return i32(bytes, at + ARP_SENDER_LO_OFFSET);
}

export function arpSenderAddress(bytes: Bytes, at: number): number {
  return i32(bytes, at + ARP_SENDER_ADDRESS_OFFSET);
}

export function arpTargetHi(bytes: Bytes, at: number): number {
  return u16(bytes, at + ARP_TARGET_HI_OFFSET);
}

export function arpTargetLo(bytes: Bytes, at: number): number {
  return i32(bytes, at + ARP_TARGET_LO_OFFSET);
}

export function arpTargetAddress(bytes: Bytes, at: number): number {
  return i32(bytes, at + ARP_TARGET_ADDRESS_OFFSET);
}

export function setArp(
  bytes: Bytes,
  at: number,
  operation: number,
  senderHi: number,
  senderLo: number,
  senderAddress: number,
  targetHi: number,
  targetLo: number,
  targetAddress: number,
): void {
  setU16(bytes, at + ARP_HARDWARE_OFFSET, HARDWARE_ETHERNET);
  setU16(bytes, at + ARP_PROTOCOL_OFFSET, ETHERTYPE_IPV4);
  setU8(bytes, at + ARP_HARDWARE_BYTES_OFFSET, MAC_BYTES);
  setU8(bytes, at + ARP_PROTOCOL_BYTES_OFFSET, IPV4_ADDRESS_BYTES);
  setU16(bytes, at + ARP_OPERATION_OFFSET, operation);
  setU16(bytes, at + ARP_SENDER_HI_OFFSET, senderHi);
  setU32(bytes, at + ARP_SENDER_LO_OFFSET, senderLo);
  setU32(bytes, at + ARP_SENDER_ADDRESS_OFFSET, senderAddress);
  setU16(bytes, at + ARP_TARGET_HI_OFFSET, targetHi);
  setU32(bytes, at + ARP_TARGET_LO_OFFSET, targetLo);
  setU32(bytes, at + ARP_TARGET_ADDRESS_OFFSET, targetAddress);
}
