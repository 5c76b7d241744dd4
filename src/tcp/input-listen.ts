/** SEGMENT ARRIVES in LISTEN (RFC 9293 section 3.10.7.2). */
import {
  DROP_TCP_BACKLOG,
  DROP_TCP_CONNECTIONS,
  DROP_TCP_FLAGS,
  DROP_TCP_MEMORY,
  DROP_TCP_NO_CONNECTION,
} from '../wire/drop-reasons.ts';
import { ECN_NOT_ECT } from '../wire/ipv4.ts';
import { TCP_ACK, TCP_ECE, TCP_FIN, TCP_RST, TCP_SYN } from '../wire/tcp.ts';
import {
  ACCEPT_QUEUE_FULL,
  PASSIVE_OPENS,
  SYN_COOKIES_ACCEPTED,
  SYN_COOKIES_REFUSED,
  SYN_COOKIES_SENT,
  SYNS_REFUSED_FOR_MEMORY,
} from './counters.ts';
import { fastOpenArrives } from './fast-open.ts';
import { setIss } from './initial-sequence.ts';
import { synchronizedArrives } from './input-synchronized.ts';
import type { Listener } from './listener.ts';
import { acceptSyn, agreesOnEcn } from './open.ts';
import { NO_WINDOW_SCALE } from './replies.ts';
import { replyReset } from './reset.ts';
import type { Segment } from './segment.ts';
import { type Seq, seqAdd } from './sequence.ts';
import { SYN_RECEIVED, setState } from './state.ts';
import { COOKIE_LIFETIME_US, restoreOptions, stampWithOptions } from './syn-cookies.ts';
import type { Tcp } from './tcp.ts';
import { synWindowField } from './window.ts';

export function listenArrives(tcp: Tcp, listener: Listener, segment: Segment): void {
  // First, a reset: it cannot be for anything we sent.
  if ((segment.flags & TCP_RST) !== 0) {
    tcp.drops.increment(DROP_TCP_FLAGS);
    return;
  }
  // Second, an acknowledgment of something a listener never sent.
  if ((segment.flags & TCP_ACK) !== 0) {
    if (tcp.nowUs <= listener.cookiesUntilUs && openFromCookie(tcp, listener, segment)) return;
    tcp.drops.increment(DROP_TCP_NO_CONNECTION);
    replyReset(tcp, segment);
    return;
  }
  // Third, a SYN; fourth, anything else should not occur.
  if ((segment.flags & TCP_SYN) === 0) {
    tcp.drops.increment(DROP_TCP_FLAGS);
    return;
  }
  openFromSyn(tcp, listener, segment, null);
}

/**
 * Makes a connection in SYN-RECEIVED. `oldSndNxt` is where an incarnation in TIME-WAIT had come to, null without one.
 * Text on the SYN is left for the peer to send again, but for Fast Open's; RFC 9293 lets it wait for ESTABLISHED.
 */
export function openFromSyn(tcp: Tcp, listener: Listener, segment: Segment, oldSndNxt: Seq | null): void {
  if ((segment.flags & TCP_FIN) !== 0 && tcp.settings.checks === 'linux') {
    // Nobody closes what he opens.
    tcp.drops.increment(DROP_TCP_FLAGS);
    return;
  }
  if (tcp.receiveQueues.isExhausted) {
    // Whoever is connected comes first; the SYN comes again.
    tcp.counters.increment(SYNS_REFUSED_FOR_MEMORY);
    tcp.drops.increment(DROP_TCP_MEMORY);
    return;
  }
  if (!listener.accepting) {
    dropForAcceptQueue(tcp);
    return;
  }
  if (listener.halfOpen >= listener.backlog) {
    if (!tcp.settings.synCookies || !answerWithCookie(tcp, listener, segment)) tcp.drops.increment(DROP_TCP_BACKLOG);
    return;
  }
  const tcb = tcp.createConnection(segment.remoteAddress, segment.remotePort, segment.localAddress, segment.localPort);
  if (tcb === null) {
    tcp.drops.increment(DROP_TCP_CONNECTIONS);
    return;
  }
  tcp.counters.increment(PASSIVE_OPENS);
  tcb.listener = listener;
  tcb.options = listener.connectionOptions;
  listener.halfOpen++;
  tcb.lastReceivedUs = tcp.nowUs;
  if (oldSndNxt === null) tcp.initialSequence.choose(tcb, tcp.nowUs);
  else tcp.initialSequence.chooseAfter(tcb, tcp.nowUs, oldSndNxt);
  setState(tcb, SYN_RECEIVED);
  acceptSyn(tcp, tcb, segment);
  if (tcb.path === null) {
    // Nothing can be sent back to where the SYN says it came from.
    tcp.finish(tcb, 'ENETUNREACH');
    return;
  }
  tcb.synNow = true;
  fastOpenArrives(tcp, listener, tcb, segment);
  tcp.wantOutput(tcb);
}

/** Nobody would take the connection: whoever wants it asks again. */
function dropForAcceptQueue(tcp: Tcp): void {
  tcp.counters.increment(ACCEPT_QUEUE_FULL);
  tcp.drops.increment(DROP_TCP_BACKLOG);
}

/** Answers a SYN without remembering it. False: too many answers wait. */
function answerWithCookie(tcp: Tcp, listener: Listener, segment: Segment): boolean {
  const { options } = segment;
  const iss = tcp.synCookies.make(segment, tcp.nowUs);
  const stamps = options.hasTimestamps && tcp.settings.timestamps;
  const ecn = stamps && agreesOnEcn(tcp, segment);
  const flags = ecn ? TCP_SYN | TCP_ACK | TCP_ECE : TCP_SYN | TCP_ACK;
  const window = synWindowField(tcp, stamps);
  if (!tcp.reply(segment, iss, seqAdd(segment.seq, 1), flags, window)) return false;
  // Without timestamps nothing else can be told, so that nothing else is agreed on.
  const sack = stamps && options.sackPermitted && tcp.settings.sack;
  if (stamps) {
    const offset = tcp.initialSequence.timestampOffset(segment.localAddress, segment.remoteAddress);
    tcp.replies.addTimestamps(stampWithOptions(tcp.timestamp(offset), segment, sack, ecn), options.tsValue);
  }
  const scales = stamps && options.windowScale >= 0 && tcp.settings.windowScaling;
  tcp.replies.addSynOptions(scales ? tcp.receiveScale : NO_WINDOW_SCALE, sack);
  listener.cookiesUntilUs = tcp.nowUs + COOKIE_LIFETIME_US;
  tcp.counters.increment(SYN_COOKIES_SENT);
  return true;
}

/** Makes the connection whose SYN was answered with a cookie, if the segment brings it back. */
function openFromCookie(tcp: Tcp, listener: Listener, segment: Segment): boolean {
  const mss = (segment.flags & TCP_SYN) === 0 ? tcp.synCookies.check(segment, tcp.nowUs) : 0;
  if (mss === 0) {
    tcp.counters.increment(SYN_COOKIES_REFUSED);
    return false;
  }
  if (!listener.accepting) {
    dropForAcceptQueue(tcp);
    return true;
  }
  const tcb = tcp.createConnection(segment.remoteAddress, segment.remotePort, segment.localAddress, segment.localPort);
  if (tcb === null) {
    // It may come again.
    tcp.drops.increment(DROP_TCP_CONNECTIONS);
    return true;
  }
  tcp.counters.increment(PASSIVE_OPENS);
  tcp.counters.increment(SYN_COOKIES_ACCEPTED);
  tcb.listener = listener;
  tcb.options = listener.connectionOptions;
  listener.halfOpen++;
  tcb.lastReceivedUs = tcp.nowUs;
  setIss(tcb, seqAdd(segment.ack, -1));
  tcb.sndNxt = segment.ack;
  setState(tcb, SYN_RECEIVED);
  // As if the SYN had just arrived; the segment goes on as what it is, the acknowledgment of ours.
  const { flags, ecn } = segment;
  restoreOptions(segment, mss);
  segment.ecn = ECN_NOT_ECT;
  segment.seq = seqAdd(segment.seq, -1);
  acceptSyn(tcp, tcb, segment);
  segment.seq = seqAdd(segment.seq, 1);
  segment.flags = flags;
  segment.ecn = ecn;
  if (tcb.path === null) tcp.finish(tcb, 'ENETUNREACH');
  else synchronizedArrives(tcp, tcb, segment);
  return true;
}
