/**
 * Output: the only place where segments are built (RFC 9293 sections 3.8 and 3.10.2). A turn's output phase visits every
 * marked connection once and sends what window, congestion window and transmit queue allow: the acknowledgment that input
 * asked for rides on data, the FIN on the last of it, and whatever goes to a device that segments leaves as one
 * super-frame.
 *
 * Memory: headers are written into header slots of the transmit queue; payload stays in the application's regions.
 */
import { addSums, finishSum, foldSum, sumBytes } from '../wire/checksum.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { IPV4_BYTES, PROTOCOL_TCP } from '../wire/ipv4.ts';
import {
  setTcp,
  setTcpChecksum,
  TCP_ACK,
  TCP_BYTES,
  TCP_CHECKSUM_OFFSET,
  TCP_FIN,
  TCP_PSH,
  TCP_SYN,
} from '../wire/tcp.ts';
import { TIMESTAMPS_BYTES, writeMss, writeTimestamps, writeWindowScale } from '../wire/tcp-options.ts';
import { setVnetChecksum, setVnetGso, VNET_GSO_TCPV4 } from '../wire/virtio-net.ts';
import {
  ACKS_MERGED,
  ACKS_MERGED_WITH_FIN,
  BYTES_RETRANSMITTED,
  FINS_MERGED,
  KEEP_ALIVE_PROBES,
  PAYLOAD_BYTES_SENT,
  PAYLOAD_BYTES_SUMMED,
  PURE_ACKS_SENT,
  SEGMENTS_RETRANSMITTED,
  SEGMENTS_SENT,
  SUPER_FRAMES_SENT,
  WINDOW_PROBES,
} from './counters.ts';
import { announcedMss } from './mss.ts';
import { limitedTransmitBytes } from './recovery.ts';
import { abandonTiming, timeSegment } from './rtt.ts';
import { cutOnGrid, gatherRegions, sumRegions } from './send-queue.ts';
import { type Seq, seqAdd, seqAfter, seqBefore, seqBits, seqDistance, seqMax } from './sequence.ts';
import { SYN_RECEIVED, SYN_SENT } from './state.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { startPersistTimer, startRetransmitTimer } from './timers.ts';
import { advanceWindow, emptySegmentSeq, receiveWindowField, synWindowField } from './window.ts';

/** Frames that one connection may queue in one output phase; the others come first, then it goes on. */
const FRAMES_PER_TURN = 64;

/** The longest IPv4 packet. */
const MAX_PACKET_BYTES = 0xffff;

/** Sends what the connection has marked. False: there is more to send than this turn had room for. */
export function outputConnection(tcp: Tcp, tcb: Tcb): boolean {
  if (tcb.state === SYN_SENT || tcb.state === SYN_RECEIVED) return outputSyn(tcp, tcb);
  if (tcb.keepAliveNow && !outputKeepAlive(tcp, tcb)) return false;
  // Without packet merging an acknowledgment goes before whatever it could have ridden on.
  if (!tcp.settings.packetMerging && (tcb.ackNow || tcb.ackDelayed) && !outputPureAck(tcp, tcb)) return false;
  if (tcb.retransmitOne && !outputRetransmission(tcp, tcb)) return false;
  if (tcb.probeNow && !outputProbe(tcp, tcb)) return false;
  for (let frames = 0; frames < FRAMES_PER_TURN; frames++) {
    const length = sendableBytes(tcp, tcb);
    if (length < 0) return finishOutput(tcp, tcb);
    if (!outputData(tcp, tcb, tcb.sndNxt, length)) return false;
  }
  return false;
}

/** Nothing more may be sent: what about the acknowledgment, and the timer that sees to the rest? */
function finishOutput(tcp: Tcp, tcb: Tcb): boolean {
  for (; tcb.duplicateAcksOwed > 0; tcb.duplicateAcksOwed--) {
    if (!outputPureAck(tcp, tcb)) return false;
  }
  if (tcb.ackNow) {
    if (!outputPureAck(tcp, tcb)) return false;
  } else if (tcb.ackDelayed && !tcp.timers.isArmed(tcb.delayedAckTimer)) {
    tcp.timers.scheduleAfter(tcb.delayedAckTimer, tcp.settings.delayedAckUs);
  }
  const waiting = seqDistance(tcb.sndEnd, tcb.sndNxt) > 0 || (tcb.finQueued && tcb.sndNxt === tcb.sndEnd);
  if (waiting && tcb.sndNxt === tcb.sndUna && !tcp.timers.isArmed(tcb.retransmitTimer)) startPersistTimer(tcp, tcb);
  return true;
}

/**
 * How many bytes the next segment at SND.NXT carries: 0 for a lone FIN, -1 when nothing may leave now.
 * Sender's silly window avoidance as in RFC 9293 3.8.6.2.1; its override time-out is the persist timer.
 */
function sendableBytes(tcp: Tcp, tcb: Tcb): number {
  const unsent = seqDistance(tcb.sndEnd, tcb.sndNxt);
  if (unsent < 0 || (unsent === 0 && !tcb.finQueued)) return -1;
  const flight = seqDistance(tcb.sndNxt, tcb.sndUna);
  if (flight === 0) restartAfterIdle(tcp, tcb);
  // A FIN takes a sequence number of the peer's window and nothing of the network's.
  if (unsent === 0) return tcb.sndWnd > flight ? 0 : -1;
  const room = Math.min(tcb.sndWnd, tcb.cwndBytes + limitedTransmitBytes(tcb)) - flight;
  if (room <= 0) return -1;
  let length = Math.min(unsent, room, largestSegment(tcp, tcb));
  if (length === unsent) return length;
  if (length < tcb.mssBytes) {
    // What was sent before is no silly window: the retransmission timer sends it again however little it is.
    const worthwhile = 2 * length >= tcb.maxSndWnd || seqBefore(tcb.sndNxt, tcb.sndMax);
    return flight === 0 && worthwhile ? length : -1;
  }
  length -= length % tcb.mssBytes;
  return length;
}

/** RFC 5681 4.1: after an idle time-out the congestion window starts over. */
function restartAfterIdle(tcp: Tcp, tcb: Tcb): void {
  if (tcp.nowUs - tcb.lastSentUs <= tcb.rtoUs) return;
  tcb.cwndBytes = Math.min(tcb.cwndBytes, tcp.settings.initialWindowSegments * tcb.mssBytes);
}

/** Payload bytes of the longest segment: one MSS, or as many as the device cuts from a super-frame. */
function largestSegment(tcp: Tcp, tcb: Tcb): number {
  if (!tcp.superFrames) return tcb.mssBytes;
  const packetBytes = Math.min(MAX_PACKET_BYTES, tcp.features.maxFrameBytes - ETHERNET_BYTES);
  const payloadBytes = packetBytes - IPV4_BYTES - headerBytesOf(tcb);
  return payloadBytes - (payloadBytes % tcb.mssBytes);
}

function headerBytesOf(tcb: Tcb): number {
  return TCP_BYTES + (tcb.timestamps ? TIMESTAMPS_BYTES : 0);
}

/** Sends up to `limit` bytes from `seq` = SND.NXT, with the FIN when they are the last. False: the queue is full. */
function outputData(tcp: Tcp, tcb: Tcb, seq: Seq, limit: number): boolean {
  const windowEnd = seqAdd(tcb.sndUna, tcb.sndWnd);
  // The FIN needs a place in the peer's window of its own, unless it was sent before.
  const finFits = seqBefore(tcb.sndEnd, windowEnd) || seqAfter(tcb.sndMax, tcb.sndEnd);
  const length = outputSegment(tcp, tcb, seq, limit, finFits);
  if (length < 0) return false;
  const end = segmentEndAfter(tcp, tcb, seq, length, finFits);
  if (seqBefore(seq, tcb.sndMax)) countRetransmission(tcp, length);
  else timeSegment(tcb, end, tcp.nowUs);
  tcb.sndNxt = end;
  tcb.sndMax = seqMax(tcb.sndMax, end);
  tcb.lastSentUs = tcp.nowUs;
  if (tcb.persisting || !tcp.timers.isArmed(tcb.retransmitTimer)) startRetransmitTimer(tcp, tcb);
  return true;
}

/** Fast retransmit: one segment from SND.UNA; SND.NXT stays (RFC 5681 3.2 step 3). */
function outputRetransmission(tcp: Tcp, tcb: Tcb): boolean {
  if (tcb.sndUna === tcb.sndMax) {
    tcb.retransmitOne = false;
    return true;
  }
  const sent = seqDistance(tcb.sndMax, tcb.sndUna);
  const limit = Math.min(tcb.mssBytes, sent, seqDistance(tcb.sndEnd, tcb.sndUna));
  const length = outputSegment(tcp, tcb, tcb.sndUna, limit, seqAfter(tcb.sndMax, tcb.sndEnd));
  if (length < 0) return false;
  tcb.retransmitOne = false;
  countRetransmission(tcp, length);
  tcb.lastSentUs = tcp.nowUs;
  if (tcb.partialAcks <= 1) startRetransmitTimer(tcp, tcb);
  return true;
}

/**
 * The persist timer expired: at least one byte, whatever the window says (RFC 9293 3.8.6.1). A byte sent into a closed
 * window does not count as sent (SND.NXT stays), but may be acknowledged (SND.MAX covers it).
 */
function outputProbe(tcp: Tcp, tcb: Tcb): boolean {
  const queued = seqDistance(tcb.sndEnd, tcb.sndUna);
  if (queued < 0 || (queued === 0 && !tcb.finQueued)) {
    tcb.probeNow = false;
    return true;
  }
  const limit = Math.min(queued, tcb.mssBytes, Math.max(1, tcb.sndWnd));
  const length = outputSegment(tcp, tcb, tcb.sndUna, limit, true);
  if (length < 0) return false;
  if (tcb.sndUna !== tcb.sndMax) abandonTiming(tcb);
  tcb.probeNow = false;
  tcp.counters.increment(WINDOW_PROBES);
  const end = segmentEndAfter(tcp, tcb, tcb.sndUna, length, true);
  tcb.sndMax = seqMax(tcb.sndMax, end);
  tcb.lastSentUs = tcp.nowUs;
  if (tcb.sndWnd > 0) {
    tcb.sndNxt = end;
    startRetransmitTimer(tcp, tcb);
  } else {
    tcb.sndNxt = tcb.sndUna;
    startPersistTimer(tcp, tcb);
  }
  return true;
}

function outputKeepAlive(tcp: Tcp, tcb: Tcb): boolean {
  // RFC 9293 3.8.4: a sequence number that the peer has acknowledged makes it answer. It drops what else the segment says, so
  // an acknowledgment or a window that is owed stays owed.
  const owed = tcb.ackNow || tcb.ackDelayed;
  const edge = tcb.rcvAdv;
  if (!outputAck(tcp, tcb, seqAdd(emptySegmentSeq(tcb), -1))) return false;
  if (owed || tcb.rcvAdv !== edge) tcb.ackNow = true;
  tcb.keepAliveNow = false;
  tcp.counters.increment(KEEP_ALIVE_PROBES);
  return true;
}

/** The sequence number behind a segment of `length` bytes from `seq` that may carry the FIN. */
function segmentEndAfter(tcp: Tcp, tcb: Tcb, seq: Seq, length: number, finAllowed: boolean): Seq {
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
function outputSegment(tcp: Tcp, tcb: Tcb, seq: Seq, limit: number, finAllowed: boolean): number {
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
  countMerged(tcp, tcb, length, flags);
  const tcpAt = at + path.headerBytes;
  const headerBytes = writeHeader(tcp, tcb, tcpAt, seq, flags);
  if (offload) {
    offloadChecksum(tcp, at, path.headerBytes, path.pseudoSum, headerBytes + length);
    if (length > tcb.mssBytes) {
      setVnetGso(tcp.bytes, at, VNET_GSO_TCPV4, path.headerBytes + headerBytes, tcb.mssBytes);
      tcp.counters.increment(SUPER_FRAMES_SENT);
    }
  } else {
    const payload = length === 0 ? 0 : sumRegions(tcp.bytes, tcb, seq, length);
    tcp.counters.add(PAYLOAD_BYTES_SUMMED, Math.floor(payload / 0x10000));
    fillChecksum(tcp, tcpAt, headerBytes, addSums(path.pseudoSum + headerBytes + length, payload & 0xffff));
  }
  tcp.ip.send(path, at, PROTOCOL_TCP, headerBytes, length);
  tcp.counters.increment(SEGMENTS_SENT);
  tcp.counters.add(PAYLOAD_BYTES_SENT, length);
  return length;
}

function outputPureAck(tcp: Tcp, tcb: Tcb): boolean {
  if (!outputAck(tcp, tcb, emptySegmentSeq(tcb))) return false;
  tcp.counters.increment(PURE_ACKS_SENT);
  return true;
}

/** A segment of nothing but an acknowledgment. False: the queue is full. */
function outputAck(tcp: Tcp, tcb: Tcb, seq: Seq): boolean {
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
    flags,
    window,
  );
  if (tcb.timestamps) writeTimestamps(tcp.bytes, tcpAt + TCP_BYTES, tcp.timestamp(tcb.tsOffset), tcb.tsRecent);
  tcb.lastAckSent = tcb.rcvNxt;
  tcb.ackNow = false;
  if (tcb.ackDelayed) {
    tcb.ackDelayed = false;
    tcp.timers.cancel(tcb.delayedAckTimer);
  }
  return headerBytes;
}

/** SYN, or SYN-ACK (RFC 9293 3.5): options in the order that Linux sends them. */
function outputSyn(tcp: Tcp, tcb: Tcb): boolean {
  // In SYN-RECEIVED an acknowledgment may be owed to something unacceptable.
  if (!tcb.synNow) return !tcb.ackNow || tcb.state === SYN_SENT || outputPureAck(tcp, tcb);
  const { path } = tcb;
  const at = tcp.ip.begin();
  if (at === 0 || path === null) return false;
  const isAnswer = tcb.state === SYN_RECEIVED;
  const { bytes } = tcp;
  const tcpAt = at + path.headerBytes;
  let next = writeMss(bytes, tcpAt + TCP_BYTES, announcedMss(tcp));
  if (!isAnswer || tcb.timestamps) {
    next = writeTimestamps(bytes, next, tcp.timestamp(tcb.tsOffset), isAnswer ? tcb.tsRecent : 0);
  }
  if (!isAnswer || tcb.windowScaling) next = writeWindowScale(bytes, next, tcb.rcvScale);
  const headerBytes = next - tcpAt;
  const flags = isAnswer ? TCP_SYN | TCP_ACK : TCP_SYN;
  const ack = isAnswer ? seqBits(tcb.rcvNxt) : 0;
  setTcp(bytes, tcpAt, tcb.localPort, tcb.remotePort, seqBits(tcb.iss), ack, headerBytes, flags, synWindowField(tcp));
  finishHeader(tcp, at, path.headerBytes, path.pseudoSum, headerBytes);
  tcp.ip.send(path, at, PROTOCOL_TCP, headerBytes, 0);
  tcp.counters.increment(SEGMENTS_SENT);
  const end = seqAdd(tcb.iss, 1);
  if (seqAfter(end, tcb.sndMax)) timeSegment(tcb, end, tcp.nowUs);
  tcb.sndNxt = end;
  tcb.sndMax = seqMax(tcb.sndMax, end);
  tcb.lastSentUs = tcp.nowUs;
  tcb.synNow = false;
  tcb.ackNow = false;
  startRetransmitTimer(tcp, tcb);
  return true;
}

/** Sends the control segments that input and user calls have noted, as far as the queue has room. */
export function outputReplies(tcp: Tcp): void {
  const { replies } = tcp;
  let sent = 0;
  while (sent < replies.count && tcp.queue.free > 0) {
    outputReply(tcp, sent);
    sent++;
  }
  if (sent > 0) replies.drop(sent);
}

function outputReply(tcp: Tcp, index: number): void {
  const { bytes, replies } = tcp;
  // The path first: finding it may send an ARP request.
  const path = tcp.paths.acquire(replies.address(index), replies.localAddress(index));
  if (path === undefined) return;
  const at = tcp.ip.begin();
  if (at !== 0) {
    const tcpAt = at + path.headerBytes;
    let headerBytes = TCP_BYTES;
    if (replies.hasTimestamps(index)) {
      writeTimestamps(bytes, tcpAt + TCP_BYTES, replies.tsValue(index), replies.tsEcho(index));
      headerBytes += TIMESTAMPS_BYTES;
    }
    setTcp(
      bytes,
      tcpAt,
      replies.localPort(index),
      replies.remotePort(index),
      replies.seq(index),
      replies.ack(index),
      headerBytes,
      replies.flags(index),
      replies.window(index),
    );
    finishHeader(tcp, at, path.headerBytes, path.pseudoSum, headerBytes);
    tcp.ip.send(path, at, PROTOCOL_TCP, headerBytes, 0);
    tcp.counters.increment(SEGMENTS_SENT);
  }
  tcp.paths.release(path);
}

/** The checksum of a segment without text: left to the device where it can. */
function finishHeader(tcp: Tcp, at: number, ipBytes: number, pseudoSum: number, headerBytes: number): void {
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

function countRetransmission(tcp: Tcp, length: number): void {
  tcp.counters.increment(SEGMENTS_RETRANSMITTED);
  tcp.counters.add(BYTES_RETRANSMITTED, length);
}
