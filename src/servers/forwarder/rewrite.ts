/**
 * Rewriting a segment where it lies: addresses, ports and time to live, with both checksums brought up to date from the
 * difference alone (RFC 1624 equation 3). What a rewriting changes is the same for all segments of a flow in one direction,
 * so the differences are sums made once, when the flow opens.
 *
 * A partial checksum (`VNET_NEEDS_CSUM`) is the sum of the pseudo-header alone, and not
 * complemented. Only the addresses are in it, and whoever completes it finds the new ports under the rest.
 *
 * Memory: a receive slot, the caller's.
 */
import { type Bytes, setU8, setU16, setU32, u8, u16 } from '../../wire/bytes.ts';
import { finishSum, foldSum } from '../../wire/checksum.ts';
import { IPV4_CHECKSUM_OFFSET, IPV4_SOURCE_OFFSET, IPV4_TARGET_OFFSET, IPV4_TTL_OFFSET } from '../../wire/ipv4.ts';
import { TCP_CHECKSUM_OFFSET, TCP_SOURCE_PORT_OFFSET } from '../../wire/tcp.ts';
import { VNET_FLAGS_OFFSET, VNET_NEEDS_CSUM, vnetFlags } from '../../wire/virtio-net.ts';

/** What one hop takes off the word that begins with the time to live: ~old + new of any word and that word less 0x100. */
const HOP_DIFFERENCE = 0xfeff;

/** The sum ~before + after of two 32-bit words, folded: what a checksum over them changes by. */
export function differenceOf(before: number, after: number): number {
  return foldSum((~before >>> 16) + (~before & 0xffff) + (after >>> 16) + (after & 0xffff));
}

/** A checksum field after what it covers has changed by a difference. */
export function updateCheck(check: number, difference: number): number {
  return finishSum((check ^ 0xffff) + difference);
}

/** Gives a segment new addresses and ports (source in the upper half) and takes one hop off its life. */
export function rewriteSegment(
  bytes: Bytes,
  frameAt: number,
  ipAt: number,
  tcpAt: number,
  source: number,
  target: number,
  ports: number,
  addressDifference: number,
  portDifference: number,
): void {
  rewritePacket(bytes, ipAt, source, target, addressDifference);
  setU32(bytes, tcpAt + TCP_SOURCE_PORT_OFFSET, ports);
  const checkAt = tcpAt + TCP_CHECKSUM_OFFSET;
  const check = u16(bytes, checkAt);
  const flags = vnetFlags(bytes, frameAt);
  if ((flags & VNET_NEEDS_CSUM) !== 0) setU16(bytes, checkAt, foldSum(check + addressDifference));
  else setU16(bytes, checkAt, updateCheck(check, addressDifference + portDifference));
  // "Verified" is what a receiver is told; nobody may say it of what he sends (virtio 1.2 section 5.1.6.2).
  setU8(bytes, frameAt + VNET_FLAGS_OFFSET, flags & VNET_NEEDS_CSUM);
}

/** The part of it that concerns the IPv4 header. */
export function rewritePacket(
  bytes: Bytes,
  ipAt: number,
  source: number,
  target: number,
  addressDifference: number,
): void {
  const check = updateCheck(u16(bytes, ipAt + IPV4_CHECKSUM_OFFSET), addressDifference + HOP_DIFFERENCE);
  setU8(bytes, ipAt + IPV4_TTL_OFFSET, u8(bytes, ipAt + IPV4_TTL_OFFSET) - 1);
  setU16(bytes, ipAt + IPV4_CHECKSUM_OFFSET, check);
  setU32(bytes, ipAt + IPV4_SOURCE_OFFSET, source);
  setU32(bytes, ipAt + IPV4_TARGET_OFFSET, target);
}
