/**
 * SEGMENT ARRIVES in SYN-RECEIVED and the synchronized states (RFC 9293 section 3.10.7.4): one function for each of the
 * RFC's checks, in its order. TIME-WAIT is not here: its TCB is gone (input-time-wait.ts).
 */
import { int32At } from '../runtime/words.ts';
import {
  DROP_TCP_ACK,
  DROP_TCP_BACKLOG,
  DROP_TCP_FLAGS,
  DROP_TCP_MEMORY,
  DROP_TCP_PAWS,
  DROP_TCP_RST,
  DROP_TCP_SEQUENCE,
} from '../wire/drop-reasons.ts';
import { ECN_CE } from '../wire/ipv4.ts';
import { TCP_ACK, TCP_CWR, TCP_FIN, TCP_RST, TCP_SYN } from '../wire/tcp.ts';
import {
  ACCEPT_QUEUE_FULL,
  CHALLENGE_ACKS,
  CONGESTION_MARKS,
  DUPLICATE_SEGMENTS,
  INVALID_NOT_ANSWERED,
  OUT_OF_ORDER_SEGMENTS,
  RESETS_RECEIVED,
} from './counters.ts';
import { FAST_OPEN_ACCEPTED, fastOpenWasReset } from './fast-open.ts';
import { releaseSynText } from './fast-open-client.ts';
import { orphanArrives } from './input-orphan.ts';
import { embryonicArrives } from './input-syn-received.ts';
import { announcedMss } from './mss.ts';
import { establish } from './open.ts';
import { flightBytes } from './pipe.ts';
import { acknowledgmentArrives } from './recovery.ts';
import { replyReset } from './reset.ts';
import { isPersisting, startRetransmitTimer, stopRetransmitTimer } from './retransmission-timer.ts';
import { echoedRttUs, sampleFromAck, sampleFromSyn } from './rtt.ts';
import { reportDuplicate, reportOverlap } from './sack-blocks.ts';
import { type Segment, segmentEnd } from './segment.ts';
import { releaseAcknowledged } from './send-queue.ts';
import { noteRoom } from './send-tuning.ts';
import { NO_RANGE } from './sent-ranges.ts';
import {
  type Seq,
  seqAdd,
  seqAfter,
  seqAfterOrAt,
  seqBefore,
  seqBeforeOrAt,
  seqBits,
  seqDistance,
  seqMin,
  toSeq,
} from './sequence.ts';
import {
  CLOSE_WAIT,
  CLOSING,
  ESTABLISHED,
  FIN_WAIT_1,
  FIN_WAIT_2,
  LAST_ACK,
  mayReceive,
  SYN_RECEIVED,
  setState,
} from './state.ts';
import { EVENT_PEER_CLOSED, EVENT_READABLE, RECOVERY, type Tcb, TIMER_REORDERING } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { startSlowTimer } from './timers.ts';
import { note } from './trace.ts';
import { userTimeoutArrives } from './user-timeout.ts';
import { receiveWindow } from './window.ts';

/** RFC 7323 5.5: a connection idle for longer than this has outlived its recent timestamp. */
const TS_RECENT_LIFETIME_US = 24 * 86_400 * 1_000_000;

/** More duplicates than this in one turn tell the peer nothing new. */
const MAX_DUPLICATE_ACKS = 32;

export function synchronizedArrives(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  if (tcb.state === SYN_RECEIVED && repeatsSyn(tcp, tcb, segment)) return;
  if (tcb.abandoned && tcb.state === FIN_WAIT_2 && tcp.settings.checks === 'linux') {
    orphanArrives(tcp, tcb, segment);
    return;
  }
  // Differs: RFC 9293 has what is out of the window answered whatever it is. No peer sends a segment without ACK now, and whoever
  // does is not told where the window lies (as Linux does).
  if ((segment.flags & (TCP_ACK | TCP_RST | TCP_SYN)) === 0 && !(tcb.state === SYN_RECEIVED && tcb.listener !== null)) {
    tcp.drops.increment(DROP_TCP_FLAGS);
    return;
  }
  if (!checkTimestamps(tcp, tcb, segment)) return;
  if (isEmbryonic(tcp, tcb) && embryonicArrives(tcp, tcb, segment, answerUnacceptable)) return;
  if (!checkSequence(tcp, tcb, segment)) return; // first
  recordTimestamp(tcp, tcb, segment);
  if ((segment.flags & TCP_RST) !== 0) {
    processReset(tcp, tcb, segment); // second
    return;
  }
  // Third, security: RFC 9293 appendix A.1 leaves it out.
  if ((segment.flags & TCP_SYN) !== 0) {
    challenge(tcp, tcb); // fourth (RFC 5961 4.2, for SYN-RECEIVED too)
    return;
  }
  if (!processAck(tcp, tcb, segment)) return; // fifth
  if (segment.options.userTimeout > 0) userTimeoutArrives(tcp, tcb, segment);
  // Sixth, the URG bit: urgent text is text, delivered in its place (RFC 6093 asks for no more).
  processText(tcp, tcb, segment); // seventh and eighth
}

/**
 * The peer's SYN again while we wait for its acknowledgment: ours was lost, or both opened at once. A SYN-ACK counts as
 * the acknowledgment it carries (RFC 9293 figure 8); a bare SYN is answered once more. True: the segment is dealt with.
 */
function repeatsSyn(tcp: Tcp, tcb: Tcb, segment: Segment): boolean {
  if ((segment.flags & (TCP_SYN | TCP_RST)) !== TCP_SYN || segment.seq !== tcb.irs) return false;
  const likeLinux = tcp.settings.checks === 'linux';
  if ((segment.flags & TCP_ACK) === 0) {
    if (likeLinux && (tcb.listener === null || !takeAnswer(tcp, tcb))) return false;
    tcb.synNow = true;
    tcp.wantOutput(tcb);
    return true;
  }
  if (likeLinux && (tcb.listener !== null || segment.ack !== tcb.sndNxt)) return false;
  segment.flags &= ~TCP_SYN;
  // The window of a SYN is not scaled (RFC 7323 2.2); the acknowledgment that it becomes here would be.
  segment.window >>= tcb.sndScale;
  segment.seq = seqAdd(segment.seq, 1);
  segment.length--;
  return false;
}

/** Whether the connection is treated as the request that Linux keeps instead of one; with Fast Open somebody has it already. */
function isEmbryonic(tcp: Tcp, tcb: Tcb): boolean {
  if (tcb.state !== SYN_RECEIVED || tcb.listener === null || tcp.settings.checks !== 'linux') return false;
  return (tcb.fastOpen & FAST_OPEN_ACCEPTED) === 0;
}

/** PAWS (RFC 7323 5.3 R1), and the rule that a negotiated timestamp is on every segment but a reset (3.2). */
function checkTimestamps(tcp: Tcp, tcb: Tcb, segment: Segment): boolean {
  if (!tcb.timestamps || (segment.flags & TCP_RST) !== 0) return true;
  const { options } = segment;
  const { timestampsRequired, timestampTolerance } = tcp.settings;
  if (!options.hasTimestamps) {
    if (!timestampsRequired) return true;
    tcp.drops.increment(DROP_TCP_PAWS);
    return false;
  }
  if (((options.tsValue - tcb.tsRecent) | 0) >= -timestampTolerance) return true;
  if (tcp.nowUs - tcb.tsRecentUs > TS_RECENT_LIFETIME_US) return true;
  tcp.drops.increment(DROP_TCP_PAWS);
  if ((segment.flags & TCP_SYN) !== 0) {
    challenge(tcp, tcb);
    return false;
  }
  if (seqBefore(segment.seq, tcb.rcvNxt)) {
    // Acknowledgments are overtaken by others every day (Linux: PAWS_OLD_ACK).
    if (segment.length === 0 && tcp.settings.checks === 'linux') return false;
    reportDuplicate(tcb, segment.seq, seqMin(segmentEnd(segment), tcb.rcvNxt));
  }
  answerUnacceptable(tcp, tcb, segment);
  return false;
}

/** RFC 7323 5.3 R3 (4.3): remember the timestamp of the segment that the next acknowledgment answers. */
export function recordTimestamp(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  const { options } = segment;
  if (!tcb.timestamps || !options.hasTimestamps || !seqBeforeOrAt(segment.seq, tcb.lastAckSent)) return;
  // A forged timestamp would shut the real peer out by PAWS: it must come with an acknowledgment that the peer could give.
  if ((segment.flags & (TCP_ACK | TCP_SYN | TCP_RST)) !== TCP_ACK || !isPlausibleAck(tcb, segment.ack)) return;
  // Linux asks for one that is not overtaken.
  if (tcp.settings.checks === 'linux' && seqBefore(segment.ack, tcb.sndUna)) return;
  if (((options.tsValue - tcb.tsRecent) | 0) < 0 && tcp.nowUs - tcb.tsRecentUs <= TS_RECENT_LIFETIME_US) return;
  tcb.tsRecent = options.tsValue;
  tcb.tsRecentUs = tcp.nowUs;
}

/** First, the sequence number: RFC 9293's four cases of an acceptable segment. */
function checkSequence(tcp: Tcp, tcb: Tcb, segment: Segment): boolean {
  // A window that its field rounds to nothing is closed (RFC 7323 2.4): whoever probes it has been told so, and goes on
  // from a sequence number before the byte that the probe carried.
  const exact = receiveWindow(tcb);
  const window = exact >> tcb.rcvScale === 0 ? 0 : exact;
  const offset = seqDistance(segment.seq, tcb.rcvNxt);
  if (segment.length === 0) {
    // Differs: an acknowledgment at the very edge is heard, from a peer that has sent all that the window allowed (as Linux does).
    const limit = (segment.flags & TCP_RST) === 0 ? window : window - 1;
    if (offset === 0 || (offset > 0 && offset <= limit)) return true;
  } else if (window > 0) {
    const last = offset + segment.length - 1;
    if ((offset >= 0 && offset < window) || (last >= 0 && last < window)) return true;
    // Old text and new on one segment, wider than the window: both ends lie outside, the middle is wanted.
    if (offset < 0 && last >= window) return true;
    // Differs: what ends where our last acknowledgment stood is heard, though nothing in it is new, as Linux does: it is the peer's
    // last segment again, its acknowledgment may be new, and its timestamp is the one to echo, or the peer would take its time-out
    // for the round trip.
    if (offset < 0 && !seqBefore(segmentEnd(segment), tcb.lastAckSent)) return true;
  } else if (offset === 0) {
    // "If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept valid
    // ACKs": the text is left, and the probe answered.
    segment.payloadBytes = 0;
    segment.flags &= ~TCP_FIN;
    acknowledgeNow(tcp, tcb);
    return true;
  }
  tcp.drops.increment(DROP_TCP_SEQUENCE);
  if ((segment.flags & TCP_RST) !== 0) {
    if (isLenientReset(tcp, tcb, segment.seq)) processReset(tcp, tcb, segment);
    return false;
  }
  if ((segment.flags & TCP_SYN) !== 0) {
    challenge(tcp, tcb);
    return false;
  }
  // RFC 2883 4.1: the peer learns that it sent this for nothing.
  if (offset < 0) reportDuplicate(tcb, segment.seq, seqMin(segmentEnd(segment), tcb.rcvNxt));
  answerUnacceptable(tcp, tcb, segment);
  return false;
}

/** Second, the RST bit, believed only at the very next sequence number (RFC 5961 3.2). */
function processReset(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  if (segment.seq !== tcb.rcvNxt && !isLenientReset(tcp, tcb, segment.seq)) {
    tcp.drops.increment(DROP_TCP_RST);
    challenge(tcp, tcb);
    return;
  }
  tcp.counters.increment(RESETS_RECEIVED);
  tcb.resetState = tcb.state;
  const allDelivered = seqDistance(tcb.sndEnd, tcb.sndUna) <= 0;
  if (allDelivered && (tcb.state === CLOSING || tcb.state === LAST_ACK)) tcp.finish(tcb, '');
  else {
    fastOpenWasReset(tcp, tcb);
    const isRefused = tcb.state === SYN_RECEIVED && (tcb.fastOpen & FAST_OPEN_ACCEPTED) === 0;
    tcp.finish(tcb, isRefused ? 'ECONNREFUSED' : 'ECONNRESET');
  }
}

/** Whether a reset lies where peers that are not in step send them. */
function isLenientReset(tcp: Tcp, tcb: Tcb, seq: Seq): boolean {
  if (!tcp.settings.lenientResets) return false;
  if (tcb.finReceived && seq === seqAdd(tcb.rcvNxt, -1)) return true;
  const { ring } = tcb;
  return tcb.sack && ring !== null && ring.rangeCount > 0 && seqBits(seq) === int32At(ring.right, ring.rangeCount - 1);
}

/** Fifth, the ACK field. False: the segment is dropped, or the connection is over. */
function processAck(tcp: Tcp, tcb: Tcb, segment: Segment): boolean {
  if ((segment.flags & TCP_ACK) === 0) {
    tcp.drops.increment(DROP_TCP_FLAGS);
    return false;
  }
  const { ack } = segment;
  if (tcb.state === SYN_RECEIVED) {
    if (!seqAfter(ack, tcb.sndUna) || seqAfter(ack, tcb.sndNxt)) {
      tcp.drops.increment(DROP_TCP_ACK);
      if (tcp.takeChallenge()) tcp.reply(segment, ack, toSeq(0), TCP_RST, 0);
      return false;
    }
    if (tcb.listener !== null && !tcb.listener.accepting) {
      tcp.counters.increment(ACCEPT_QUEUE_FULL);
      tcp.drops.increment(DROP_TCP_BACKLOG);
      return false;
    }
    updateSendWindow(tcb, segment, false);
    acknowledgeSyn(tcp, tcb, segment);
    // With Fast Open there may be more to acknowledge than the SYN.
    if (tcb.state < ESTABLISHED || !seqAfter(ack, tcb.sndUna)) return true;
  }
  if (!isPlausibleAck(tcb, ack)) {
    tcp.drops.increment(DROP_TCP_ACK);
    challenge(tcp, tcb);
    return false;
  }
  const windowBefore = tcb.sndWnd;
  if (seqAfterOrAt(ack, tcb.sndUna)) updateSendWindow(tcb, segment, tcp.settings.checks === 'linux');
  if (tcb.sndWnd > windowBefore) windowOpened(tcp, tcb);
  if (seqAfter(ack, tcb.sndUna)) return acknowledgeData(tcp, tcb, segment);
  if (ack !== tcb.sndUna) {
    // Overtaken by a newer one, it may still tell what the peer holds (as in Linux).
    if (segment.options.sackCount > 0) acknowledgmentArrives(tcp, tcb, segment, false);
    return true;
  }
  // The peer answers: whatever waits on its window may wait on.
  // Once the application has closed, a peer that keeps its window shut is not waited for without end.
  if (isPersisting(tcb) && !tcb.readClosed) tcb.retries = 0;
  // RFC 5681 section 2: a duplicate acknowledgment.
  const isDuplicate = segment.length === 0 && tcb.sndWnd === windowBefore && tcb.sndWnd > 0 && flightBytes(tcb) > 0;
  if (isDuplicate || segment.options.sackCount > 0) acknowledgmentArrives(tcp, tcb, segment, isDuplicate);
  return true;
}

/**
 * RFC 5961 5.2: neither newer than anything sent nor older than the peer's largest window.
 * Differs: nor from before the connection, when less than a window has been acknowledged (as Linux has it).
 */
export function isPlausibleAck(tcb: Tcb, ack: Seq): boolean {
  const oldest = Math.min(tcb.maxSndWnd, tcb.ackedBytes);
  return !seqAfter(ack, tcb.sndNxt) && !seqBefore(ack, seqAdd(tcb.sndUna, -oldest));
}

/** SYN-RECEIVED: our SYN is acknowledged. */
function acknowledgeSyn(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  if (tcb.sentHead === NO_RANGE) {
    tcb.sndUna = segment.ack;
    tcb.sndNxt = segment.ack;
    releaseSynText(tcp, tcb);
  } else {
    // Fast Open: what left behind the SYN-ACK is acknowledged like anything else.
    tcb.sndUna = seqAdd(tcb.iss, 1);
  }
  sampleFromSyn(tcp, tcb, segment);
  stopRetransmitTimer(tcp, tcb);
  tcb.synNow = false;
  establish(tcp, tcb);
  if (flightBytes(tcb) > 0 && tcb.state >= ESTABLISHED) startRetransmitTimer(tcp, tcb);
}

/**
 * SND.WND from the segment, unless an older one is overtaken (RFC 9293: the SND.WL1 and SND.WL2 test). Linux does not believe an
 * acknowledgment that says nothing new but a smaller window.
 */
export function updateSendWindow(tcb: Tcb, segment: Segment, likeLinux: boolean): void {
  const newer = seqBefore(tcb.sndWl1, segment.seq);
  if (!newer && !(tcb.sndWl1 === segment.seq && seqBeforeOrAt(tcb.sndWl2, segment.ack))) return;
  const window = segment.window << tcb.sndScale;
  if (!newer && likeLinux && !seqAfter(segment.ack, tcb.sndUna) && window > 0 && window < tcb.sndWnd) return;
  tcb.sndWnd = window;
  tcb.sndWl1 = segment.seq;
  tcb.sndWl2 = segment.ack;
  if (tcb.sndWnd > tcb.maxSndWnd) tcb.maxSndWnd = tcb.sndWnd;
}

export function windowOpened(tcp: Tcp, tcb: Tcb): void {
  if (isPersisting(tcb)) {
    stopRetransmitTimer(tcp, tcb);
    tcb.persistShift = 0;
    tcb.retries = 0;
  }
  tcp.wantOutput(tcb);
}

/** SND.UNA advances: regions go back to the application, timers and window move on, our FIN may be acknowledged. */
export function acknowledgeData(tcp: Tcp, tcb: Tcb, segment: Segment): boolean {
  const echoUs = echoedRttUs(tcp, tcb, segment);
  acknowledgmentArrives(tcp, tcb, segment, false);
  releaseAcknowledged(tcp.regions, tcb, tcb.sndUna);
  tcb.retries = 0;
  tcb.persistShift = 0;
  sampleFromAck(tcb, tcp.settings, segment.ack, tcp.acknowledgment.rttUs, echoUs);
  // RFC 6298 5.2 and 5.3; without SACK the first partial acknowledgment only, so that the timer ends a recovery that takes a
  // round trip for each of many losses (RFC 6582 3.2 step 3).
  const isSlow = tcb.recoveryState === RECOVERY && !tcb.sack && tcb.partialAcks > 1;
  if (flightBytes(tcb) === 0) stopRetransmitTimer(tcp, tcb);
  else if (tcb.timerPurpose !== TIMER_REORDERING && !isSlow) startRetransmitTimer(tcp, tcb);
  noteRoom(tcp, tcb);
  tcp.wantOutput(tcb);
  if (!tcb.finQueued || tcb.sndUna !== seqAdd(tcb.sndEnd, 1)) return true;
  return finAcknowledged(tcp, tcb, segment);
}

function finAcknowledged(tcp: Tcp, tcb: Tcb, segment: Segment): boolean {
  if (tcb.state === FIN_WAIT_1) {
    setState(tcb, FIN_WAIT_2);
    startSlowTimer(tcp, tcb);
    if (!tcb.abandoned || tcp.settings.checks !== 'linux') return true;
    // What brings nothing new has done its work.
    return (segment.flags & TCP_FIN) !== 0 || seqAfter(segmentEnd(segment), tcb.rcvNxt);
  }
  if (tcb.state === CLOSING) tcp.enterTimeWait(tcb);
  else if (tcb.state === LAST_ACK) tcp.finish(tcb, '');
  else return true;
  return false;
}

/** Seventh, the segment text, and eighth, the FIN bit. */
export function processText(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  if (segment.length === 0) return;
  if (!seqAfter(segmentEnd(segment), tcb.rcvNxt)) {
    tcp.counters.increment(DUPLICATE_SEGMENTS);
    reportDuplicate(tcb, segment.seq, segmentEnd(segment));
    stopInteraction(tcp, tcb);
    acknowledgeNow(tcp, tcb);
    return;
  }
  if (!mayReceive(tcb.state)) {
    if (tcp.settings.checks === 'linux') refuseTextBeyondFin(tcp, tcb, segment);
    return;
  }
  const textEnd = seqAdd(segment.seq, segment.payloadBytes);
  if (tcb.resetsOnText && tcb.state !== ESTABLISHED && seqAfter(textEnd, tcb.rcvNxt)) {
    // RFC 9293 3.6.1 (SHLD-3): it would be lost, and the peer is to know.
    tcb.resetState = tcb.state;
    replyReset(tcp, segment);
    tcp.finish(tcb, 'ECONNRESET');
    return;
  }
  if (tcb.ecn && segment.payloadBytes > 0) noteCongestionMark(tcp, tcb, segment);
  let seq = segment.seq;
  let at = segment.payloadAt;
  let length = segment.payloadBytes;
  const repeated = Math.min(seqDistance(tcb.rcvNxt, seq), length);
  if (repeated > 0) {
    tcp.counters.increment(DUPLICATE_SEGMENTS);
    reportDuplicate(tcb, seq, seqAdd(seq, repeated));
    seq = seqAdd(seq, repeated);
    at += repeated;
    length -= repeated;
    acknowledgeNow(tcp, tcb);
  }
  const room = seqDistance(tcb.rcvAdv, seq);
  let fin = (segment.flags & TCP_FIN) !== 0;
  if (length > room) {
    length = room;
    fin = false;
  }
  const isAgain = fin && tcb.peerFinSeen && tcb.peerFin === seqAdd(seq, length);
  if (fin) {
    tcb.peerFinSeen = true;
    tcb.peerFin = seqAdd(seq, length);
  }
  if (length > 0) acceptText(tcp, tcb, seq, at, length);
  if (isAgain && tcb.peerFinSeen) reportFin(tcb, length);
  if (tcb.peerFinSeen) {
    // Beyond it only when the peer has contradicted itself.
    if (seqAfterOrAt(tcb.rcvNxt, tcb.peerFin)) finReached(tcp, tcb);
    else if (fin) acknowledgeNow(tcp, tcb);
  }
}

/** The FIN beyond a gap came again: alone, or behind text that may have come again, too. */
function reportFin(tcb: Tcb, length: number): void {
  const behind = seqAdd(tcb.peerFin, 1);
  if (length > 0 && tcb.dsackOwed && tcb.dsackRight === tcb.peerFin) tcb.dsackRight = behind;
  else if (length === 0) reportDuplicate(tcb, tcb.peerFin, behind);
}

/** The peer goes on where its FIN was. RFC 9293 ignores it; Linux ends the connection when it repeats something before it. */
function refuseTextBeyondFin(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  if (!seqBefore(segment.seq, tcb.rcvNxt)) return;
  if (!seqAfter(seqAdd(segment.seq, segment.payloadBytes), tcb.rcvNxt)) return;
  tcb.resetState = tcb.state;
  replyReset(tcp, segment);
  tcp.finish(tcb, 'ECONNRESET');
}

/** RFC 3168 6.1.3: what is marked is told to the peer until it has reacted; that its window may be small by then is no reason to wait. */
function noteCongestionMark(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  if ((segment.flags & TCP_CWR) !== 0) {
    tcb.ecnEchoOwed = false;
    acknowledgeNow(tcp, tcb);
  }
  if (segment.ecn !== ECN_CE) return;
  tcp.counters.increment(CONGESTION_MARKS);
  if (tcb.ecnEchoOwed) return;
  tcb.ecnEchoOwed = true;
  acknowledgeNow(tcp, tcb);
}

function acceptText(tcp: Tcp, tcb: Tcb, seq: Seq, at: number, length: number): void {
  const hadGap = tcb.ring !== null && tcb.ring.rangeCount > 0;
  if (seq !== tcb.rcvNxt) {
    tcp.counters.increment(OUT_OF_ORDER_SEGMENTS);
    // RFC 5681 4.2: every segment beyond a gap is acknowledged at once; the peer counts them.
    if (tcb.duplicateAcksOwed < MAX_DUPLICATE_ACKS) tcb.duplicateAcksOwed++;
    stopInteraction(tcp, tcb);
    tcp.wantOutput(tcb);
    if (tcb.readClosed) return;
    if (!tcp.receiveQueues.holdOutOfOrder(tcb, seq, at, length)) tcp.drops.increment(DROP_TCP_MEMORY);
    return;
  }
  if (tcb.readClosed) {
    // The application reads no more: the text is acknowledged and forgotten.
    tcb.rcvNxt = seqAdd(tcb.rcvNxt, length);
    tcb.readSeq = tcb.rcvNxt;
  } else {
    if (hadGap) reportOverlap(tcb, seq, seqAdd(seq, length));
    if (!tcp.receiveQueues.deliver(tcb, at, length)) {
      tcp.drops.increment(DROP_TCP_MEMORY);
      return;
    }
    tcp.raise(tcb, EVENT_READABLE);
  }
  // RFC 9293 3.8.6.3: at least every second full segment at once; RFC 5681 4.2: a segment that fills a gap, too.
  if (hadGap) tcb.duplicateAcksOwed = 0;
  if (length > tcb.peerSegmentBytes) tcb.peerSegmentBytes = Math.min(length, announcedMss(tcp));
  const isFirst = tcb.lastTextUs === Number.NEGATIVE_INFINITY;
  // After a silence the peer may begin slowly again, and waits for every acknowledgment.
  if (isFirst || tcp.nowUs - tcb.lastTextUs > tcb.rtoUs) acknowledgeQuickly(tcp, tcb);
  tcb.lastTextUs = tcp.nowUs;
  const unsaid = seqDistance(tcb.rcvNxt, tcb.lastAckSent);
  const isQuick = tcb.quickAcks > 0 && !tcb.interactive;
  if (hadGap || isQuick || unsaid >= 2 * tcb.peerSegmentBytes) acknowledgeNow(tcp, tcb);
  else acknowledgeSoon(tcp, tcb);
}

/** The next acknowledgments do not wait, as far as they fit the window. */
function acknowledgeQuickly(tcp: Tcp, tcb: Tcb): void {
  const fitting = Math.max(2, Math.floor(receiveWindow(tcb) / (2 * tcb.peerSegmentBytes)));
  tcb.quickAcks = Math.max(tcb.quickAcks, Math.min(tcp.settings.quickAcks, fitting));
}

/** Something is amiss on the way: the peer needs to hear of it. */
function stopInteraction(tcp: Tcp, tcb: Tcb): void {
  if (tcp.settings.quickAcks === 0) return;
  tcb.interactive = false;
  acknowledgeQuickly(tcp, tcb);
}

/** The peer's FIN is next; it is taken once there is memory for the text before it, else left for the peer to repeat. */
function finReached(tcp: Tcp, tcb: Tcb): void {
  if (tcb.deliveryHead >= 0 && !tcp.receiveQueues.reserve(tcb)) {
    tcb.peerFinSeen = false;
    tcp.drops.increment(DROP_TCP_MEMORY);
    return;
  }
  processFin(tcp, tcb);
}

/** The peer will send no more. */
function processFin(tcp: Tcp, tcb: Tcb): void {
  tcb.peerFinSeen = false;
  tcb.finReceived = true;
  // There is nothing left that the peer could send less of; as Linux, who tells it all the same when it has closed itself.
  if (tcb.state === ESTABLISHED) tcb.dsackOwed = false;
  tcb.rcvNxt = seqAdd(tcb.rcvNxt, 1);
  if (tcb.readClosed) tcb.readSeq = seqAdd(tcb.rcvNxt, -1);
  tcp.raise(tcb, EVENT_PEER_CLOSED);
  if (tcb.state === FIN_WAIT_2) {
    tcp.enterTimeWait(tcb);
    return;
  }
  acknowledgeNow(tcp, tcb);
  if (tcb.state === ESTABLISHED) setState(tcb, CLOSE_WAIT);
  else if (tcb.state === FIN_WAIT_1) setState(tcb, CLOSING);
}

export function acknowledgeNow(tcp: Tcp, tcb: Tcb): void {
  tcb.ackNow = true;
  tcp.wantOutput(tcb);
}

function acknowledgeSoon(tcp: Tcp, tcb: Tcb): void {
  tcb.ackDelayed = true;
  tcp.wantOutput(tcb);
}

/**
 * The acknowledgment that RFC 9293 owes an unacceptable segment. One without text may itself be such an answer: these are
 * answered seldom, so that two ends out of step do not answer each other for ever.
 */
export function answerUnacceptable(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  if (segment.length > 0 || takeAnswer(tcp, tcb)) acknowledgeNow(tcp, tcb);
}

/** Takes the connection's leave to answer what is not acceptable; it is given once in a while. */
function takeAnswer(tcp: Tcp, tcb: Tcb): boolean {
  if (tcp.nowUs - tcb.lastUnacceptableUs < tcp.settings.invalidRateLimitUs) {
    tcp.counters.increment(INVALID_NOT_ANSWERED);
    return false;
  }
  tcb.lastUnacceptableUs = tcp.nowUs;
  return true;
}

/**
 * RFC 5961: an acknowledgment that lets a real peer show itself, and tells a forger nothing. Limited for each connection, so that
 * one under attack does not use up what all have together (section 7; both limits are Linux's).
 */
function challenge(tcp: Tcp, tcb: Tcb): void {
  if (!takeAnswer(tcp, tcb) || !tcp.takeChallenge()) return;
  tcp.counters.increment(CHALLENGE_ACKS);
  if (tcp.tracing) note(tcb, 'challenge ACK, RFC 5961');
  acknowledgeNow(tcp, tcb);
}
