/** Frames for driver tests: plain numbered ones of an experimental EtherType, and TCP segments that lean on offload. */
import type { Bytes } from '../../src/wire/bytes.ts';
import { i32, setU8, setU16, setU32 } from '../../src/wire/bytes.ts';
import { finishSum, foldSum, pseudoSum4, sumBytes } from '../../src/wire/checksum.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, setEthernet } from '../../src/wire/ethernet.ts';
import { IPV4_BYTES, PROTOCOL_TCP, setIpv4 } from '../../src/wire/ipv4.ts';
import { setTcp, TCP_ACK, TCP_BYTES } from '../../src/wire/tcp.ts';

/** IEEE 802 local experimental EtherType 1. */
const ETHERTYPE_EXPERIMENT = 0x88b5;
/** Neither end of any link under test: the kernel looks at such frames and lets them be. */
const TARGET_HI = 0x0200;
const TARGET_LO = 0x00009901;
const SOURCE_HI = 0x0200;
const SOURCE_LO = 0x00009902;

const SOURCE_ADDRESS = 0x0a5a0002;
const TARGET_ADDRESS = 0x0a5a0001;
export const TCP_HEADERS_BYTES = ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES;
export const TCP_AT = ETHERNET_BYTES + IPV4_BYTES;
/** Of the checksum within TCP's header. */
export const TCP_CHECKSUM_OFFSET = 16;

/** A frame of `length` bytes (at least 18) that is told apart by its number. */
export function numberedFrame(number: number, length: number): Uint8Array {
  const frame = new Uint8Array(length);
  setEthernet(frame, 0, TARGET_HI, TARGET_LO, SOURCE_HI, SOURCE_LO, ETHERTYPE_EXPERIMENT);
  setU32(frame, ETHERNET_BYTES, number);
  for (let i = ETHERNET_BYTES + 4; i < length; i++) setU8(frame, i, number * 31 + i * 7);
  return frame;
}

export function numberOf(frame: Bytes): number {
  return i32(frame, ETHERNET_BYTES);
}

/** Any frame of ours, as opposed to what a kernel sends of its own accord. */
export function isOurs(frame: Bytes): boolean {
  return i32(frame, 2) === TARGET_LO && i32(frame, 8) === SOURCE_LO;
}

/** A TCP segment whose checksum is partial: the field holds the pseudo-header's sum, length included. */
export function partialTcpFrame(payloadBytes: number): Uint8Array {
  const frame = new Uint8Array(TCP_HEADERS_BYTES + payloadBytes);
  setEthernet(frame, 0, TARGET_HI, TARGET_LO, SOURCE_HI, SOURCE_LO, ETHERTYPE_IPV4);
  const total = frame.length - ETHERNET_BYTES;
  setIpv4(frame, ETHERNET_BYTES, total, 1, true, 64, PROTOCOL_TCP, SOURCE_ADDRESS, TARGET_ADDRESS, 0);
  setTcp(frame, TCP_AT, 80, 40000, 1000, 2000, TCP_BYTES, TCP_ACK, 65535);
  for (let i = TCP_HEADERS_BYTES; i < frame.length; i++) setU8(frame, i, i * 13 + (i >>> 8));
  setU16(frame, TCP_AT + TCP_CHECKSUM_OFFSET, foldSum(tcpPseudoSum(frame)));
  return frame;
}

/** Is the segment's checksum complete and right? */
export function tcpChecksumHolds(frame: Bytes): boolean {
  return finishSum(sumBytes(frame, TCP_AT, frame.length - TCP_AT, tcpPseudoSum(frame))) === 0;
}

function tcpPseudoSum(frame: Bytes): number {
  return pseudoSum4(SOURCE_ADDRESS, TARGET_ADDRESS, PROTOCOL_TCP) + frame.length - TCP_AT;
}
