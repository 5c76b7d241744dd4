/**
 * Output: what is sent, and when (RFC 9293 sections 3.8 and 3.10.2). A turn's output phase visits every marked connection once
 * and sends what window, congestion window and transmit queue allow: what was lost first, then what is new; the
 * acknowledgment that input asked for rides on data, the FIN on the last of it, and whatever goes to a device that segments
 * leaves as one super-frame. Segments are built in build.ts.
 */
import type { Bytes } from '../wire/bytes.ts';
import { PROTOCOL_TCP } from '../wire/ipv4.ts';
import { setTcp, TCP_ACK, TCP_BYTES, TCP_CWR, TCP_ECE, TCP_SYN } from '../wire/tcp.ts';
import {
  writeMss,
  writeSackPermitted,
  writeSackPermittedTimestamps,
  writeTimestamps,
  writeWindowScale,
} from '../wire/tcp-options.ts';
import {
  finishHeader,
  finishSegment,
  largestSegment,
  outputAck,
  outputPureAck,
  outputSegment,
  segmentEndAfter,
} from './build.ts';
import { KEEP_ALIVE_PROBES, PAYLOAD_BYTES_SENT, SEGMENTS_SENT, WINDOW_PROBES } from './counters.ts';
import { noteIfAppLimited } from './delivery-rate.ts';
import { outputEarly, writeOwedCookie } from './fast-open.ts';
import { gatherSynText, writeFastOpenOffer } from './fast-open-client.ts';
import { announcedMss, connectionMss, segmentBytes } from './mss.ts';
import { isPacedBack, notePaced } from './pacing.ts';
import { PROBE_WAITS, probeBytes, probeHasLeft } from './path-mtu-probing.ts';
import { flightBytes, pipeBytes } from './pipe.ts';
import { NO_WINDOW_SCALE } from './replies.ts';
import { isPersisting, startPersistTimer, startRetransmitTimer } from './retransmission-timer.ts';
import { outputRetransmissions, outputTailLossProbe } from './retransmit.ts';
import { seqAdd, seqAfter, seqBefore, seqBits, seqDistance, seqMax } from './sequence.ts';
import { SYN_RECEIVED, SYN_SENT } from './state.ts';
import { probeSent } from './tail-loss-probe.ts';
import { type Tcb, TIMER_TAIL_LOSS_PROBE } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { note } from './trace.ts';
import { writeUserTimeoutOption } from './user-timeout.ts';
import { emptySegmentSeq, synWindowField } from './window.ts';
import { validateAfterIdle } from './window-validation.ts';

/** RFC 9293 3.1: what the data offset can tell. */
const MAX_TCP_HEADER_BYTES = 60;

/** Frames that one connection may queue in one output phase; the others come first, then it goes on. */
const FRAMES_PER_TURN = 64;

/** Sends what the connection has marked. False: there is more to send than this turn had room for. */
export function outputConnection(tcp: Tcp, tcb: Tcb): boolean {
  if (tcb.state === SYN_SENT || tcb.state === SYN_RECEIVED) {
    return outputSyn(tcp, tcb) && (tcb.fastOpen === 0 || outputEarly(tcp, tcb));
  }
  if (tcb.keepAliveNow && !outputKeepAlive(tcp, tcb)) return false;
  // Without packet merging an acknowledgment goes before whatever it could have ridden on.
  if (!tcp.settings.packetMerging && (tcb.ackNow || tcb.ackDelayed) && !outputPureAck(tcp, tcb)) return false;
  if (tcb.lostBytes > 0 && !tcb.frtoHolds && !outputRetransmissions(tcp, tcb)) return false;
  if (tcb.tlpNow && !outputLossProbe(tcp, tcb)) return false;
  if (tcb.probeNow && !outputProbe(tcp, tcb)) return false;
  if (tcb.pathSearch !== null && !isPacedBack(tcp, tcb)) {
    const bytes = probeBytes(tcp, tcb);
    if (bytes === PROBE_WAITS) return finishOutput(tcp, tcb);
    if (bytes > 0 && !outputPathProbe(tcp, tcb, bytes)) return false;
  }
  for (let frames = 0; frames < FRAMES_PER_TURN; frames++) {
    const length = sendableBytes(tcp, tcb);
    if (length < 0) return finishOutput(tcp, tcb);
    if (!outputData(tcp, tcb, length)) return false;
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
  noteWindowUse(tcb);
  noteIfAppLimited(tcb);
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
  const { model } = tcb.congestion;
  if (model !== null) model.transmits(tcp, tcb);
  else if (flight === 0 && tcb.sndWnd > 0) validateAfterIdle(tcp, tcb);
  // A FIN takes a sequence number of the peer's window and nothing of the network's.
  if (unsent === 0) return tcb.sndWnd > flight ? 0 : -1;
  const room = Math.min(tcb.sndWnd - flight, tcb.cwndBytes - pipeBytes(tcb));
  if (room <= 0 || isPacedBack(tcp, tcb)) return -1;
  let length = Math.min(unsent, room, largestSegment(tcp, tcb));
  const full = segmentBytes(tcb);
  if (length === unsent) {
    const rest = length % full;
    if (rest === 0 || !isHeldBack(tcb)) return length;
    return rest < length ? length - rest : -1;
  }
  if (length < full) return flight === 0 && 2 * length >= tcb.maxSndWnd ? length : -1;
  length -= length % full;
  return length;
}

/**
 * Nagle's algorithm (RFC 9293 3.7.4): less than a segment waits. Differs: like Linux in Minshall's form, only while another that
 * was not full is unacknowledged, so that the end of a long text does not wait for its beginning.
 */
function isHeldBack(tcb: Tcb): boolean {
  if (tcb.finQueued) return false;
  return tcb.corked || (tcb.nagle && seqAfter(tcb.smallEnd, tcb.sndUna));
}

/** What of the congestion window is used, over a window of data (as Linux keeps it, is_cwnd_limited and max_packets_out). */
function noteWindowUse(tcb: Tcb): void {
  const pipe = pipeBytes(tcb);
  const room = tcb.cwndBytes - pipe;
  const hasNew = seqDistance(tcb.sndEnd, tcb.sndNxt) > 0 && tcb.sndWnd - flightBytes(tcb) > room;
  const isLimited = room < tcb.mssBytes && (hasNew || tcb.lostBytes > tcb.retransmittedBytes);
  const isNewWindow = !seqBefore(tcb.sndUna, tcb.usedCwndSeq);
  if (!isNewWindow && !isLimited && (tcb.cwndLimited || pipe <= tcb.usedCwndBytes)) return;
  tcb.cwndLimited = isLimited;
  tcb.usedCwndBytes = pipe;
  tcb.usedCwndSeq = tcb.sndNxt;
}

/** Sends up to `limit` bytes from SND.NXT on, with the FIN when they are the last. False: the queue is full. */
function outputData(tcp: Tcp, tcb: Tcb, limit: number): boolean {
  const seq = tcb.sndNxt;
  // The FIN needs a place in the peer's window of its own.
  const finFits = seqBefore(tcb.sndEnd, seqAdd(tcb.sndUna, tcb.sndWnd));
  const length = outputSegment(tcp, tcb, seq, limit, finFits);
  if (length < 0) return false;
  tcb.sndNxt = segmentEndAfter(tcp, tcb, seq, length, finFits);
  if (length % segmentBytes(tcb) !== 0) tcb.smallEnd = seqAdd(seq, length);
  tcp.ranges.append(tcb, seq, tcb.sndNxt);
  tcb.prrOutBytes += length;
  notePaced(tcp, tcb, length);
  tcb.lastSentUs = tcp.nowUs;
  // An answer to what has just come: the next one may carry the acknowledgment, too.
  if (tcp.nowUs - tcb.lastTextUs < tcp.settings.delayedAckUs) tcb.interactive = true;
  const isTimed = tcp.timers.isArmed(tcb.retransmitTimer) && !isPersisting(tcb);
  // The probe counts from the last transmission (RFC 8985 7.2), the time-out from the first (RFC 6298 5.1).
  if (!isTimed || tcb.timerPurpose === TIMER_TAIL_LOSS_PROBE) startRetransmitTimer(tcp, tcb);
  return true;
}

/** RFC 4821 section 7.4: a probe of the path's MTU is new data like any other, in a segment longer than the others. */
function outputPathProbe(tcp: Tcp, tcb: Tcb, bytes: number): boolean {
  const start = tcb.sndNxt;
  const { mssBytes } = tcb;
  tcb.mssBytes = bytes;
  const hasLeft = outputData(tcp, tcb, bytes);
  tcb.mssBytes = mssBytes;
  if (hasLeft) probeHasLeft(tcp, tcb, start);
  return hasLeft;
}

/** RFC 8985 7.3: the probe is a new segment if the peer has room for all of it, else the last one again. */
function outputLossProbe(tcp: Tcp, tcb: Tcb): boolean {
  const length = Math.min(seqDistance(tcb.sndEnd, tcb.sndNxt), segmentBytes(tcb));
  if (length <= 0 || tcb.sndWnd - flightBytes(tcb) < length) return outputTailLossProbe(tcp, tcb);
  // Known before it leaves: no other probe is timed until this one is answered.
  tcb.tlpOut = true;
  if (!outputData(tcp, tcb, length)) {
    tcb.tlpOut = false;
    return false;
  }
  probeSent(tcp, tcb, false);
  return true;
}

/**
 * The persist timer expired (RFC 9293 3.8.6.1). A window that is open but not worth a segment is used now; one that is closed
 * is asked about.
 * Differs: the RFC has the probe carry an octet of new data. Like Linux, ours carries none and lies just below SND.UNA: the
 * peer has to answer it all the same, and what is in flight stays what the window has allowed.
 */
function outputProbe(tcp: Tcp, tcb: Tcb): boolean {
  const unsent = seqDistance(tcb.sndEnd, tcb.sndNxt);
  if (unsent < 0 || (unsent === 0 && !tcb.finQueued)) {
    tcb.probeNow = false;
    return true;
  }
  if (tcb.sndWnd > 0 && unsent > 0) {
    if (!outputData(tcp, tcb, Math.min(unsent, tcb.sndWnd, segmentBytes(tcb)))) return false;
  } else {
    const isOwed = tcb.ackNow || tcb.ackDelayed;
    if (!outputAck(tcp, tcb, seqAdd(tcb.sndUna, -1))) return false;
    if (isOwed) tcb.ackNow = true;
    startPersistTimer(tcp, tcb);
  }
  tcb.probeNow = false;
  tcp.counters.increment(WINDOW_PROBES);
  if (tcp.tracing) note(tcb, `probe a window of ${tcb.sndWnd}, RFC 9293 3.8.6.1`);
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
  // Opened from both sides, Linux sends its SYN's options again, whatever the peer's has.
  const repeats = !isAnswer || (tcb.listener === null && tcp.settings.checks === 'linux');
  const sack = repeats ? tcp.settings.sack : tcb.sack;
  const scales = repeats ? tcp.settings.windowScaling : tcb.windowScaling;
  const scale = scales ? (repeats ? tcp.receiveScale : tcb.rcvScale) : NO_WINDOW_SCALE;
  let next = writeMss(bytes, tcpAt + TCP_BYTES, connectionMss(tcp, tcb));
  if (repeats ? tcp.settings.timestamps : tcb.timestamps) {
    next = writeStamps(bytes, next, sack, tcp.timestamp(tcb.tsOffset), isAnswer ? tcb.tsRecent : 0);
  } else if (sack) {
    next = writeSackPermitted(bytes, next);
  }
  if (scale !== NO_WINDOW_SCALE) next = writeWindowScale(bytes, next, scale);
  if (tcb.fastOpen !== 0) {
    next = isAnswer ? writeOwedCookie(tcp, tcb, next) : writeFastOpenOffer(tcp, tcb, next);
  }
  next = writeUserTimeoutOption(tcp, tcb, bytes, next, tcpAt + MAX_TCP_HEADER_BYTES);
  const text = isAnswer || tcb.fastOpen === 0 ? 0 : gatherSynText(tcp, tcb);
  const headerBytes = next - tcpAt;
  const flags = isAnswer ? synAckFlags(tcb) : synFlags(tcp, tcb);
  const ack = isAnswer ? seqBits(tcb.rcvNxt) : 0;
  const window = synWindowField(tcp, tcb.timestamps);
  setTcp(bytes, tcpAt, tcb.localPort, tcb.remotePort, seqBits(tcb.iss), ack, headerBytes, flags, window);
  finishSegment(tcp, tcb, at, headerBytes, seqAdd(tcb.iss, 1), text);
  tcp.ip.send(path, at, PROTOCOL_TCP, headerBytes, text);
  tcp.counters.increment(SEGMENTS_SENT);
  tcp.counters.add(PAYLOAD_BYTES_SENT, text);
  const end = seqAdd(tcb.iss, 1 + text);
  tcb.synTimed = seqAfter(end, tcb.sndNxt);
  tcb.sndNxt = seqMax(tcb.sndNxt, end);
  tcb.lastSentUs = tcp.nowUs;
  tcb.synNow = false;
  tcb.ackNow = false;
  if (isAnswer) acknowledgedBySyn(tcp, tcb);
  startRetransmitTimer(tcp, tcb);
  return true;
}

/** A SYN-ACK pays what is owed for text that came with the SYN. */
function acknowledgedBySyn(tcp: Tcp, tcb: Tcb): void {
  tcb.lastAckSent = tcb.rcvNxt;
  if (!tcb.ackDelayed) return;
  tcb.ackDelayed = false;
  tcp.timers.cancel(tcb.delayedAckTimer);
}

/** RFC 3168 6.1.1: ECN is offered once; a SYN that was lost may have been for that (6.1.1.1). */
function synFlags(tcp: Tcp, tcb: Tcb): number {
  tcb.ecn = tcp.settings.ecn === 'offer' && tcb.retries === 0;
  return tcb.ecn ? TCP_SYN | TCP_ECE | TCP_CWR : TCP_SYN;
}

function synAckFlags(tcb: Tcb): number {
  return tcb.ecn ? TCP_SYN | TCP_ACK | TCP_ECE : TCP_SYN | TCP_ACK;
}

/** Timestamps on a SYN, with SACK permitted where Linux has it. */
function writeStamps(bytes: Bytes, at: number, sack: boolean, value: number, echo: number): number {
  return sack ? writeSackPermittedTimestamps(bytes, at, value, echo) : writeTimestamps(bytes, at, value, echo);
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
    const headerBytes = writeReplyOptions(tcp, index, tcpAt + TCP_BYTES) - tcpAt;
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

/** Returns the position behind the options. */
function writeReplyOptions(tcp: Tcp, index: number, at: number): number {
  const { bytes, replies } = tcp;
  const isSyn = (replies.flags(index) & TCP_SYN) !== 0;
  const sack = isSyn && replies.synSack(index);
  let next = isSyn ? writeMss(bytes, at, announcedMss(tcp)) : at;
  if (replies.hasTimestamps(index)) {
    next = writeStamps(bytes, next, sack, replies.tsValue(index), replies.tsEcho(index));
  } else if (sack) {
    next = writeSackPermitted(bytes, next);
  }
  if (!isSyn || replies.synScale(index) === NO_WINDOW_SCALE) return next;
  return writeWindowScale(bytes, next, replies.synScale(index));
}
