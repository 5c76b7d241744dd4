/**
 * ICMP errors about packets of flows, translated as the packets were (RFC 5508 section 4.2, without its liberty to drop): the
 * quoted packet becomes the one that the receiver of the error has sent, the error comes from whom that was sent to.
 * Memory: the slot that the error lies in.
 */
import { type Bytes, setU16, setU32, u16 } from '../../wire/bytes.ts';
import { foldSum } from '../../wire/checksum.ts';
import { DROP_ICMP_QUOTE, DROP_ICMP_TYPE, type DropReason } from '../../wire/drop-reasons.ts';
import {
  fillIcmpChecksum,
  ICMP_BYTES,
  ICMP_PARAMETER_PROBLEM,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  icmpCheck,
  icmpType,
} from '../../wire/icmp.ts';
import {
  IPV4_CHECKSUM_OFFSET,
  IPV4_SOURCE_OFFSET,
  IPV4_TARGET_OFFSET,
  ipv4CheckQuoted,
  ipv4FragmentOffset,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
  ipv4Target,
  PROTOCOL_TCP,
} from '../../wire/ipv4.ts';
import {
  TCP_CHECKSUM_OFFSET,
  TCP_SOURCE_PORT_OFFSET,
  TCP_URGENT_OFFSET,
  tcpSourcePort,
  tcpTargetPort,
} from '../../wire/tcp.ts';
import { clearVnet } from '../../wire/virtio-net.ts';
import { type FlowIndex, packPorts, swapPorts } from './flow-index.ts';
import type { FlowTable } from './flow-table.ts';
import { differenceOf, rewritePacket, updateCheck } from './rewrite.ts';

/** The checksum over the message, that it is an error, and that it quotes the beginning of a TCP segment. */
export function errorCheck(bytes: Bytes, messageAt: number, messageBytes: number, verified: boolean): DropReason {
  const bad = verified ? 0 : icmpCheck(bytes, messageAt, messageBytes);
  if (bad !== 0) return bad;
  const type = icmpType(bytes, messageAt);
  if (type !== ICMP_UNREACHABLE && type !== ICMP_TIME_EXCEEDED && type !== ICMP_PARAMETER_PROBLEM)
    return DROP_ICMP_TYPE;
  const quotedAt = messageAt + ICMP_BYTES;
  const quoted = ipv4CheckQuoted(bytes, quotedAt, messageBytes - ICMP_BYTES);
  if (quoted !== 0) return quoted;
  const isSegment = ipv4Protocol(bytes, quotedAt) === PROTOCOL_TCP && ipv4FragmentOffset(bytes, quotedAt) === 0;
  return isSegment ? 0 : DROP_ICMP_QUOTE;
}

/** The half that a checked error belongs to: that of the answers to the quoted segment; or `NOT_FOUND`. */
export function findQuotedFlow(bytes: Bytes, index: FlowIndex, messageAt: number): number {
  const quotedAt = messageAt + ICMP_BYTES;
  const tcpAt = quotedAt + ipv4HeaderBytes(bytes, quotedAt);
  const ports = packPorts(tcpTargetPort(bytes, tcpAt), tcpSourcePort(bytes, tcpAt));
  return index.find(ipv4Target(bytes, quotedAt), ports, ipv4Source(bytes, quotedAt));
}

/** Translates a checked error of a half; the Ethernet header is the caller's to write. */
export function rewriteError(
  bytes: Bytes,
  flows: FlowTable,
  half: number,
  at: number,
  ipAt: number,
  messageAt: number,
  messageBytes: number,
): void {
  const source = flows.source[half] as number;
  const target = flows.target[half] as number;
  // The quoted packet went the other way: the same words change, and the same sums are their difference.
  const addresses = flows.addressDifference[half] as number;
  const quotedAt = messageAt + ICMP_BYTES;
  const tcpAt = quotedAt + ipv4HeaderBytes(bytes, quotedAt);
  const ipCheckAt = quotedAt + IPV4_CHECKSUM_OFFSET;
  setU16(bytes, ipCheckAt, updateCheck(u16(bytes, ipCheckAt), addresses));
  setU32(bytes, quotedAt + IPV4_SOURCE_OFFSET, target);
  setU32(bytes, quotedAt + IPV4_TARGET_OFFSET, source);
  if (tcpAt + TCP_URGENT_OFFSET <= messageAt + messageBytes) {
    const tcpCheckAt = tcpAt + TCP_CHECKSUM_OFFSET;
    const both = addresses + (flows.portDifference[half] as number);
    setU16(bytes, tcpCheckAt, updateCheck(u16(bytes, tcpCheckAt), both));
  }
  setU32(bytes, tcpAt + TCP_SOURCE_PORT_OFFSET, swapPorts(flows.ports[half] as number));
  fillIcmpChecksum(bytes, messageAt, messageBytes);
  const outer = differenceOf(ipv4Source(bytes, ipAt), source) + differenceOf(ipv4Target(bytes, ipAt), target);
  rewritePacket(bytes, ipAt, source, target, foldSum(outer));
  clearVnet(bytes, at);
}
