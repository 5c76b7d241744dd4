/**
 * SEGMENT ARRIVES (RFC 9293 section 3.10.7): checks a segment, finds whom it is for, and hands it to the section that
 * treats that state. Nothing here transmits; input marks connections and notes replies.
 *
 * Memory: the segment lies in a receive slot that is returned at the end of the turn.
 */
import { pseudoSum4 } from '../wire/checksum.ts';
import { DROP_TCP_CHECKSUM, DROP_TCP_FLAGS, DROP_TCP_NO_CONNECTION } from '../wire/drop-reasons.ts';
import {
  ICMP_CODE_FRAG_NEEDED,
  ICMP_CODE_NET,
  ICMP_CODE_PORT,
  ICMP_CODE_PROTOCOL,
  ICMP_UNREACHABLE,
} from '../wire/icmp.ts';
import { ipv4Source, ipv4Target, PROTOCOL_TCP } from '../wire/ipv4.ts';
import { TCP_RST, tcpCheck, tcpSeq, tcpSourcePort, tcpTargetPort, tcpVerifyChecksum } from '../wire/tcp.ts';
import { VNET_DATA_VALID, VNET_NEEDS_CSUM, vnetFlags } from '../wire/virtio-net.ts';
import { NOT_FOUND, timeWaitValue } from './connections.ts';
import { CHECKSUMS_SKIPPED, CHECKSUMS_VERIFIED, PAYLOAD_BYTES_RECEIVED, SEGMENTS_RECEIVED } from './counters.ts';
import { predictedArrives } from './header-prediction.ts';
import { listenArrives } from './input-listen.ts';
import { synSentArrives } from './input-syn-sent.ts';
import { synchronizedArrives } from './input-synchronized.ts';
import { timeWaitArrives } from './input-time-wait.ts';
import { limitToPath } from './mss.ts';
import { retransmitEverything } from './recovery.ts';
import { replyReset } from './reset.ts';
import { readSegment, type Segment } from './segment.ts';
import { seqAfterOrAt, seqBefore, toSeq } from './sequence.ts';
import { isSynchronized, SYN_SENT } from './state.ts';
import type { ConnectionError, Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** A quoted segment is believed when it carries at least ports and sequence number (RFC 792: 64 bits). */
const QUOTE_BYTES = 8;

export function input(tcp: Tcp, frameAt: number, ipAt: number, at: number, length: number): void {
  const { bytes, segment } = tcp;
  tcp.counters.increment(SEGMENTS_RECEIVED);
  const reason = tcpCheck(bytes, at, length);
  if (reason !== 0) {
    tcp.drops.increment(reason);
    return;
  }
  if ((vnetFlags(bytes, frameAt) & (VNET_NEEDS_CSUM | VNET_DATA_VALID)) === 0 && !isIntact(tcp, ipAt, at, length)) {
    tcp.drops.increment(DROP_TCP_CHECKSUM);
    return;
  }
  readSegment(bytes, ipAt, at, length, segment);
  if (segment.remotePort === 0 || segment.localPort === 0) {
    tcp.drops.increment(DROP_TCP_FLAGS);
    return;
  }
  tcp.counters.add(PAYLOAD_BYTES_RECEIVED, segment.payloadBytes);
  const value = tcp.table.find(segment.remoteAddress, segment.remotePort, segment.localAddress, segment.localPort);
  if (value >= 0) {
    const tcb = tcp.connection(value);
    tcb.lastReceivedUs = tcp.nowUs;
    tcb.keepAliveProbesSent = 0;
    if (tcb.state === SYN_SENT) synSentArrives(tcp, tcb, segment);
    else if (!tcp.settings.headerPrediction || !predictedArrives(tcp, tcb, segment))
      synchronizedArrives(tcp, tcb, segment);
    return;
  }
  if (value !== NOT_FOUND) {
    timeWaitArrives(tcp, timeWaitValue(value), segment);
    return;
  }
  const listener = tcp.findListener(segment.localPort);
  if (listener === null) closedArrives(tcp, segment);
  else listenArrives(tcp, listener, segment);
}

/** RFC 9293 3.10.7.1, CLOSED: everything but a reset is answered with a reset. */
export function closedArrives(tcp: Tcp, segment: Segment): void {
  tcp.drops.increment(DROP_TCP_NO_CONNECTION);
  if ((segment.flags & TCP_RST) === 0) replyReset(tcp, segment);
}

/**
 * An ICMP error quotes a segment of ours. It is believed when the quoted sequence number is in flight (RFC 5927 4.1);
 * hard errors end connections only while they are being opened (RFC 5927 5.2).
 */
export function reportIcmpError(
  tcp: Tcp,
  type: number,
  code: number,
  quotedIpAt: number,
  at: number,
  length: number,
  nextMtu: number,
): void {
  if (length < QUOTE_BYTES) return;
  const { bytes } = tcp;
  const value = tcp.table.find(
    ipv4Target(bytes, quotedIpAt),
    tcpTargetPort(bytes, at),
    ipv4Source(bytes, quotedIpAt),
    tcpSourcePort(bytes, at),
  );
  if (value < 0) return;
  const tcb = tcp.connection(value);
  const seq = toSeq(tcpSeq(bytes, at));
  const inFlight = seqAfterOrAt(seq, tcb.sndUna) && seqBefore(seq, tcb.sndNxt);
  if (!inFlight || type !== ICMP_UNREACHABLE) return;
  if (code === ICMP_CODE_FRAG_NEEDED) lowerSegmentSize(tcp, tcb, nextMtu);
  else if (tcb.state === SYN_SENT) tcp.finish(tcb, openError(code));
}

/** RFC 1191: the segments in flight were too large for the path; they go again at once, smaller, and no window shrinks. */
function lowerSegmentSize(tcp: Tcp, tcb: Tcb, nextMtu: number): void {
  if (tcb.path === null) return;
  // Another connection's message may have lowered the path already.
  tcb.path.lowerMtu(nextMtu, tcp.nowUs);
  if (!isSynchronized(tcb.state)) return;
  const before = tcb.mssBytes;
  limitToPath(tcb);
  if (tcb.mssBytes >= before) return;
  retransmitEverything(tcp, tcb);
}

/** What a connection that is being opened fails with (RFC 5461 section 4, as Linux does). */
function openError(code: number): ConnectionError {
  if (code === ICMP_CODE_PORT || code === ICMP_CODE_PROTOCOL) return 'ECONNREFUSED';
  return code === ICMP_CODE_NET ? 'ENETUNREACH' : 'EHOSTUNREACH';
}

/** Whether the checksum holds, or is not asked for. */
function isIntact(tcp: Tcp, ipAt: number, at: number, length: number): boolean {
  if (!tcp.settings.verifyChecksums) {
    tcp.counters.increment(CHECKSUMS_SKIPPED);
    return true;
  }
  tcp.counters.increment(CHECKSUMS_VERIFIED);
  const { bytes } = tcp;
  const pseudo = pseudoSum4(ipv4Source(bytes, ipAt), ipv4Target(bytes, ipAt), PROTOCOL_TCP);
  return tcpVerifyChecksum(bytes, at, length, pseudo);
}
