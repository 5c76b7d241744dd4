/**
 * Resets for segments of no flow (RFC 9293 3.10.7.1: as from a host that knows of no connection), made of the segment itself
 * in the slot that it lies in. Memory: the slot, the caller's.
 */
import type { Bytes } from '../../wire/bytes.ts';
import { finishSum, pseudoSum4, sumBytes } from '../../wire/checksum.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_IPV4,
  ethernetSourceHi,
  ethernetSourceLo,
  setEthernet,
} from '../../wire/ethernet.ts';
import { IPV4_BYTES, ipv4Source, ipv4Target, PROTOCOL_TCP, setIpv4 } from '../../wire/ipv4.ts';
import {
  setTcp,
  setTcpChecksum,
  TCP_ACK,
  TCP_BYTES,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  tcpAck,
  tcpFlags,
  tcpSeq,
  tcpSourcePort,
  tcpTargetPort,
} from '../../wire/tcp.ts';
import { clearVnet } from '../../wire/virtio-net.ts';

const TTL = 64;
const PACKET_BYTES = IPV4_BYTES + TCP_BYTES;

/** Turns the segment at `tcpAt` into the reset that answers it; returns the frame's length. */
export function turnIntoReset(
  bytes: Bytes,
  at: number,
  tcpAt: number,
  textBytes: number,
  macHi: number,
  macLo: number,
): number {
  const ipAt = at + ETHERNET_BYTES;
  const source = ipv4Target(bytes, ipAt);
  const target = ipv4Source(bytes, ipAt);
  const sourcePort = tcpTargetPort(bytes, tcpAt);
  const targetPort = tcpSourcePort(bytes, tcpAt);
  const flags = tcpFlags(bytes, tcpAt);
  const taken = textBytes + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
  const hasAck = (flags & TCP_ACK) !== 0;
  const seq = hasAck ? tcpAck(bytes, tcpAt) : 0;
  const ack = hasAck ? 0 : (tcpSeq(bytes, tcpAt) + taken) | 0;
  const resetAt = ipAt + IPV4_BYTES;
  clearVnet(bytes, at);
  setEthernet(bytes, at, ethernetSourceHi(bytes, at), ethernetSourceLo(bytes, at), macHi, macLo, ETHERTYPE_IPV4);
  setIpv4(bytes, ipAt, PACKET_BYTES, 0, true, TTL, PROTOCOL_TCP, source, target, 0);
  setTcp(bytes, resetAt, sourcePort, targetPort, seq, ack, TCP_BYTES, hasAck ? TCP_RST : TCP_RST | TCP_ACK, 0);
  const pseudo = pseudoSum4(source, target, PROTOCOL_TCP) + TCP_BYTES;
  setTcpChecksum(bytes, resetAt, finishSum(sumBytes(bytes, resetAt, TCP_BYTES, pseudo)));
  return ETHERNET_BYTES + PACKET_BYTES;
}
