/**
 * TIMEOUTS (RFC 9293 section 3.10.8): what happens when a timer of a connection expires. There are three: the retransmission
 * timer, the delayed acknowledgment, and a slow one for keep-alive and FIN-WAIT-2.
 */
import { CONNECTIONS_TIMED_OUT } from './counters.ts';
import { fastOpenTimedOut } from './fast-open-client.ts';
import { detectBlackHole } from './path-mtu-probing.ts';
import { flightBytes } from './pipe.ts';
import { reorderingExpired, retransmitTimedOut } from './recovery.ts';
import { isPersisting, startRetransmitTimer } from './retransmission-timer.ts';
import { seqDistance } from './sequence.ts';
import { CLOSED, ESTABLISHED, FIN_WAIT_2, SYN_RECEIVED, SYN_SENT } from './state.ts';
import { type Tcb, TIMER_REORDERING, TIMER_TAIL_LOSS_PROBE } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { note } from './trace.ts';
import { isUserTimeoutOver, noteUnanswered } from './user-timeout.ts';

/** Starts the slow timer of a synchronized connection: keep-alive, or the wait for the peer's FIN. */
export function startSlowTimer(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === FIN_WAIT_2 && tcb.readClosed) {
    tcp.timers.scheduleAfter(tcb.slowTimer, tcp.settings.finWait2Us);
  } else if (tcb.options.keepAliveIdleUs > 0) {
    tcp.timers.scheduleAfter(tcb.slowTimer, tcb.options.keepAliveIdleUs);
  }
}

/** The retransmission timer expired, whatever it ran for. */
export function retransmitExpired(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === CLOSED) return;
  switch (tcb.timerPurpose) {
    case TIMER_TAIL_LOSS_PROBE:
      tcb.tlpNow = true;
      break;
    case TIMER_REORDERING:
      startRetransmitTimer(tcp, tcb);
      reorderingExpired(tcp, tcb);
      break;
    default:
      if (!mayTryAgain(tcp, tcb)) return;
      if (isPersisting(tcb)) {
        tcb.probeNow = true;
        tcb.persistShift++;
      } else {
        detectBlackHole(tcp, tcb);
        retransmitTimedOut(tcp, tcb);
      }
  }
  tcp.wantOutput(tcb);
}

/** Counts the attempt; false: it was the last, and the connection is over (RFC 9293 3.8.3, R2). */
function mayTryAgain(tcp: Tcp, tcb: Tcb): boolean {
  tcb.retries++;
  if (tcb.fastOpen !== 0) fastOpenTimedOut(tcp, tcb);
  if (tcb.retries === 1) noteUnanswered(tcp, tcb, isPersisting(tcb));
  if (isHopeless(tcp, tcb)) {
    tcp.counters.increment(CONNECTIONS_TIMED_OUT);
    if (tcp.tracing) note(tcb, `give up after ${tcb.retries} attempts, RFC 9293 3.8.3`);
    tcp.abort(tcb, 'ETIMEDOUT');
    return false;
  }
  // RFC 1122 4.2.3.5, R1: perhaps it is the next hop that has moved.
  if (tcb.retries >= tcp.settings.doubtRetries && tcb.path !== null) tcp.paths.doubt(tcb.path);
  return true;
}

/** A user timeout takes the place of a number of attempts, but for those to open a connection, which it may only cut short. */
function isHopeless(tcp: Tcp, tcb: Tcb): boolean {
  if (isUserTimeoutOver(tcp, tcb)) return true;
  const { synRetries, synAckRetries, dataRetries, orphanRetries } = tcp.settings;
  if (tcb.state === SYN_SENT) return tcb.retries > synRetries;
  if (tcb.state === SYN_RECEIVED) return tcb.retries > (tcb.listener === null ? synRetries : synAckRetries);
  if (tcb.options.userTimeoutUs > 0) return false;
  return tcb.retries > (tcb.readClosed ? Math.min(orphanRetries, dataRetries) : dataRetries);
}

export function delayedAckExpired(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === CLOSED || !tcb.ackDelayed) return;
  tcb.ackNow = true;
  tcp.wantOutput(tcb);
}

/** The next quantum of a paced connection may leave. */
export function pacingExpired(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state !== CLOSED) tcp.wantOutput(tcb);
}

export function slowExpired(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === CLOSED) return;
  if (tcb.state === FIN_WAIT_2 && tcb.readClosed) {
    tcp.finish(tcb, '');
    return;
  }
  if (tcb.state >= ESTABLISHED && tcb.options.keepAliveIdleUs > 0) keepAlive(tcp, tcb);
}

/**
 * RFC 9293 3.8.4: a probe when nothing was heard for the idle time, and nothing is to be sent whose retransmission would be one; the
 * end when none of several is answered, or none within the user timeout.
 */
function keepAlive(tcp: Tcp, tcb: Tcb): void {
  const { keepAliveIdleUs, keepAliveIntervalUs, keepAliveProbes, userTimeoutUs } = tcb.options;
  const idleUs = tcp.nowUs - tcb.lastReceivedUs;
  const isBusy = seqDistance(tcb.sndEnd, tcb.sndUna) > 0 || flightBytes(tcb) > 0;
  if (idleUs < keepAliveIdleUs || isBusy) {
    tcb.keepAliveProbesSent = 0;
    tcp.timers.scheduleAfter(tcb.slowTimer, isBusy ? keepAliveIdleUs : keepAliveIdleUs - idleUs);
    return;
  }
  const sent = tcb.keepAliveProbesSent;
  const isOver = userTimeoutUs > 0 ? sent > 0 && idleUs >= userTimeoutUs : sent >= keepAliveProbes;
  if (isOver) {
    tcp.counters.increment(CONNECTIONS_TIMED_OUT);
    if (tcp.tracing) note(tcb, `give up: ${sent} keep-alive probes without an answer, RFC 9293 3.8.4`);
    tcp.abort(tcb, 'ETIMEDOUT');
    return;
  }
  tcb.keepAliveProbesSent++;
  tcb.keepAliveNow = true;
  tcp.wantOutput(tcb);
  tcp.timers.scheduleAfter(tcb.slowTimer, keepAliveIntervalUs);
}
