/**
 * Building segments: header, options, payload by reference, checksum, into the transmit queue. When to send what is
 * output.ts's business and retransmit.ts's.
 *
 * Memory: headers are written into header slots of the transmit queue; payload stays in the application's regions.
 */
import { addSums, finishSum, foldSum, sumBytes } from '../wire/checksum.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { ECN_ECT_0, ECN_NOT_ECT, IPV4_BYTES, PROTOCOL_TCP } from '../wire/ipv4.ts';
import {
  setTcp,
  setTcpChecksum,
  TCP_ACK,
  TCP_BYTES,
  TCP_CHECKSUM_OFFSET,
  TCP_CWR,
  TCP_ECE,
  TCP_FIN,
  TCP_PSH,
} from '../wire/tcp.ts';
import { TIMESTAMPS_BYTES, writeSackBlocks, writeTimestamps } from '../wire/tcp-options.ts';
import { setVnetChecksum, setVnetGso, VNET_GSO_TCPV4 } from '../wire/virtio-net.ts';
import {
  ACKS_MERGED,
  ACKS_MERGED_WITH_FIN,
  FINS_MERGED,
  PAYLOAD_BYTES_SENT,
  PAYLOAD_BYTES_SUMMED,
  PURE_ACKS_SENT,
  SEGMENTS_SENT,
  SUPER_FRAMES_SENT,
} from './counters.ts';
import { segmentBytes } from './mss.ts';
import { collectSackBlocks, sackOptionBytes } from './sack-blocks.ts';
import { cutOnGrid, gatherRegions, sumRegions } from './send-queue.ts';
import { type Seq, seqAdd, seqBefore, seqBits } from './sequence.ts';
import { superFrameBytes } from './super-frame-size.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { advanceWindow, emptySegmentSeq, receiveWindowField } from './window.ts';

/** The longest IPv4 packet. */
const MAX_PACKET_BYTES = 0xffff;

/** Payload bytes of the longest segment: a full one, or as many of them as the device cuts from a super-frame. */
export function largestSegment(tcp: Tcp, tcb: Tcb): number {
  const full = segmentBytes(tcb);
  // A device would set CWR on every segment that it cuts.
  if (!tcp.superFrames || tcb.cwrOwed) return full;
  const packetBytes = Math.min(MAX_PACKET_BYTES, tcp.features.maxFrameBytes - ETHERNET_BYTES);
  const payloadBytes = packetBytes - IPV4_BYTES - headerBytesOf(tcb);
  const { leastSuperFrameSegments } = tcp.settings;
  let most = payloadBytes;
  if (tcb.sendQuantumBytes > 0) most = Math.min(most, Math.max(tcb.sendQuantumBytes, full));
  else if (leastSuperFrameSegments > 0) most = Math.min(most, superFrameBytes(tcb, full, leastSuperFrameSegments));
  return most - (most % full);
}

function headerBytesOf(tcb: Tcb): number {
  return TCP_BYTES + (tcb.timestamps ? TIMESTAMPS_BYTES : 0) + sackOptionBytes(tcb);
}

/** The sequence number behind a segment of `length` bytes from `seq` that may carry the FIN. */
export function segmentEndAfter(tcp: Tcp, tcb: Tcb, seq: Seq, length: number, finAllowed: boolean): Seq {
  const end = seqAdd(seq, length);
  return finAllowed && end === tcb.sndEnd && finMayRide(tcp, tcb, length) ? seqAdd(end, 1) : end;
}

/** Whether there is a FIN that a segment of `length` bytes may carry: without packet merging it is a segment of its own. */
function finMayRide(tcp: Tcp, tcb: Tcb, length: number): boolean {
  return tcb.finQueued && (length === 0 || tcp.settings.packetMerging);
}

/** Counts what rides on a segment with data or a FIN, before its header pays the acknowledgment. */
function countMerged(tcp: Tcp, tcb: Tcb, length: number, flags: number): void {
  if (tcb.ackDelayed || tcb.ackNow) tcp.counters.increment(length > 0 ? ACKS_MERGED : ACKS_MERGED_WITH_FIN);
  if (length > 0 && (flags & TCP_FIN) !== 0) tcp.counters.increment(FINS_MERGED);
}

/**
 * Builds a segment of at most `limit` bytes from `seq`; a FIN that is queued rides on it when it reaches the end and
 * `finAllowed`. Returns the bytes that it carries, -1 when the queue is full.
 */
export function outputSegment(tcp: Tcp, tcb: Tcb, seq: Seq, limit: number, finAllowed: boolean): number {
  const { path } = tcb;
  const at = tcp.ip.begin();
  if (at === 0 || path === null) return -1;
  const offload = tcp.features.transmitChecksum;
  const wanted = offload ? limit : cutOnGrid(tcp.bytes, tcb, seq, limit);
  const length = wanted === 0 ? 0 : gatherRegions(tcp.queue, tcb, seq, wanted);
  let flags = TCP_ACK;
  if (seqAdd(seq, length) === tcb.sndEnd) {
    if (length > 0) flags |= TCP_PSH;
    if (finMayRide(tcp, tcb, length) && finAllowed) flags |= TCP_FIN;
  }
  const fullBytes = segmentBytes(tcb);
  const isNew = !seqBefore(seq, tcb.sndNxt);
  // Receivers that merge frames hand them on at once (as in Linux).
  if (isNew && length > fullBytes && tcp.settings.leastSuperFrameSegments > 0) flags |= TCP_PSH;
  let tos = ECN_NOT_ECT;
  // RFC 3168 6.1.5: what is sent again says nothing about the network as it is.
  if (tcb.ecn && length > 0 && isNew) {
    tos = ECN_ECT_0;
    if (tcb.cwrOwed) flags |= TCP_CWR;
    tcb.cwrOwed = false;
  }
  countMerged(tcp, tcb, length, flags);
  const tcpAt = at + path.headerBytes;
  const headerBytes = writeHeader(tcp, tcb, tcpAt, seq, flags);
  finishSegment(tcp, tcb, at, headerBytes, seq, length);
  if (offload && length > fullBytes) {
    setVnetGso(tcp.bytes, at, VNET_GSO_TCPV4, path.headerBytes + headerBytes, fullBytes);
    tcp.counters.increment(SUPER_FRAMES_SENT);
  }
  tcp.ip.send(path, at, PROTOCOL_TCP, headerBytes, length, tos);
  tcp.counters.increment(SEGMENTS_SENT);
  tcp.counters.add(PAYLOAD_BYTES_SENT, length);
  return length;
}

export function outputPureAck(tcp: Tcp, tcb: Tcb): boolean {
  if (!outputAck(tcp, tcb, emptySegmentSeq(tcb))) return false;
  tcp.counters.increment(PURE_ACKS_SENT);
  return true;
}

/** A segment of nothing but an acknowledgment. False: the queue is full. */
export function outputAck(tcp: Tcp, tcb: Tcb, seq: Seq): boolean {
  const { path } = tcb;
  const at = tcp.ip.begin();
  if (at === 0 || path === null) return false;
  const headerBytes = writeHeader(tcp, tcb, at + path.headerBytes, seq, TCP_ACK);
  finishHeader(tcp, at, path.headerBytes, path.pseudoSum, headerBytes);
  tcp.ip.send(path, at, PROTOCOL_TCP, headerBytes, 0);
  tcp.counters.increment(SEGMENTS_SENT);
  return true;
}

/** Writes header and options of a segment with ACK; whatever acknowledgment was owed is paid. */
function writeHeader(tcp: Tcp, tcb: Tcb, tcpAt: number, seq: Seq, flags: number): number {
  const headerBytes = headerBytesOf(tcb);
  advanceWindow(tcp, tcb);
  const window = receiveWindowField(tcb);
  setTcp(
    tcp.bytes,
    tcpAt,
    tcb.localPort,
    tcb.remotePort,
    seqBits(seq),
    seqBits(tcb.rcvNxt),
    headerBytes,
    tcb.ecnEchoOwed ? flags | TCP_ECE : flags,
    window,
  );
  let next = tcpAt + TCP_BYTES;
  if (tcb.timestamps) next = writeTimestamps(tcp.bytes, next, tcp.timestamp(tcb.tsOffset), tcb.tsRecent);
  if (next - tcpAt < headerBytes) writeSack(tcp, tcb, next);
  tcb.lastAckSent = tcb.rcvNxt;
  if (tcb.quickAcks > 0 && (tcb.ackNow || tcb.ackDelayed)) tcb.quickAcks--;
  tcb.ackNow = false;
  if (tcb.ackDelayed) {
    tcb.ackDelayed = false;
    tcp.timers.cancel(tcb.delayedAckTimer);
  }
  return headerBytes;
}

/** What is held beyond gaps, and once what arrived twice. */
function writeSack(tcp: Tcp, tcb: Tcb, at: number): void {
  const blocks = tcp.sackBlocks;
  collectSackBlocks(tcb, blocks);
  writeSackBlocks(tcp.bytes, at, blocks.left, blocks.right, blocks.count);
  tcb.dsackOwed = false;
}

/** The checksum of a segment with `length` bytes of the queue, from `seq` on: left to the device where it can. */
export function finishSegment(tcp: Tcp, tcb: Tcb, at: number, headerBytes: number, seq: Seq, length: number): void {
  const { path } = tcb;
  if (path === null) return;
  if (tcp.features.transmitChecksum) {
    offloadChecksum(tcp, at, path.headerBytes, path.pseudoSum, headerBytes + length);
    return;
  }
  const payload = length === 0 ? 0 : sumRegions(tcp.bytes, tcb, seq, length);
  tcp.counters.add(PAYLOAD_BYTES_SUMMED, Math.floor(payload / 0x10000));
  const sum = addSums(path.pseudoSum + headerBytes + length, payload & 0xffff);
  fillChecksum(tcp, at + path.headerBytes, headerBytes, sum);
}

/** The checksum of a segment without text: left to the device where it can. */
export function finishHeader(tcp: Tcp, at: number, ipBytes: number, pseudoSum: number, headerBytes: number): void {
  if (tcp.features.transmitChecksum) offloadChecksum(tcp, at, ipBytes, pseudoSum, headerBytes);
  else fillChecksum(tcp, at + ipBytes, headerBytes, pseudoSum + headerBytes);
}

/** Leaves the checksum to the device: the field starts as the pseudo-header's sum. */
function offloadChecksum(tcp: Tcp, at: number, ipBytes: number, pseudoSum: number, tcpBytes: number): void {
  setTcpChecksum(tcp.bytes, at + ipBytes, foldSum(pseudoSum + tcpBytes));
  setVnetChecksum(tcp.bytes, at, ipBytes, TCP_CHECKSUM_OFFSET);
}

function fillChecksum(tcp: Tcp, tcpAt: number, headerBytes: number, otherSum: number): void {
  setTcpChecksum(tcp.bytes, tcpAt, finishSum(sumBytes(tcp.bytes, tcpAt, headerBytes, otherSum)));
}
