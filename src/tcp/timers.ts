/**
 * TIMEOUTS (RFC 9293 section 3.10.8): what happens when a timer of a connection expires. There are three: the retransmission
 * timer, the delayed acknowledgment, and a slow one for keep-alive and FIN-WAIT-2.
 */
import { CONNECTIONS_TIMED_OUT } from './counters.ts';
import { reorderingExpired, retransmitTimedOut } from './recovery.ts';
import { isPersisting, startRetransmitTimer } from './retransmission-timer.ts';
import { CLOSED, ESTABLISHED, FIN_WAIT_2, isSynchronized } from './state.ts';
import { type Tcb, TIMER_REORDERING, TIMER_TAIL_LOSS_PROBE } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Time-outs in a row after which the path is doubted. */
const DOUBT_RETRIES = 2;

/** Starts the slow timer of a synchronized connection: keep-alive, or the wait for the peer's FIN. */
export function startSlowTimer(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === FIN_WAIT_2 && tcb.readClosed) {
    tcp.timers.scheduleAfter(tcb.slowTimer, tcp.settings.finWait2Us);
  } else if (tcb.keepAliveIdleUs > 0) {
    tcp.timers.scheduleAfter(tcb.slowTimer, tcb.keepAliveIdleUs);
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
        retransmitTimedOut(tcp, tcb);
      }
  }
  tcp.wantOutput(tcb);
}

/** Counts the attempt; false: it was the last, and the connection is over (RFC 9293 3.8.3, R2). */
function mayTryAgain(tcp: Tcp, tcb: Tcb): boolean {
  tcb.retries++;
  const limit = isSynchronized(tcb.state) ? tcp.settings.dataRetries : tcp.settings.synRetries;
  if (tcb.retries > limit) {
    tcp.counters.increment(CONNECTIONS_TIMED_OUT);
    tcp.abort(tcb, 'ETIMEDOUT');
    return false;
  }
  // RFC 1122 4.2.3.5, R1: perhaps it is the next hop that has moved.
  if (tcb.retries >= DOUBT_RETRIES && tcb.path !== null) tcp.paths.doubt(tcb.path);
  return true;
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
  if (tcb.state >= ESTABLISHED && tcb.keepAliveIdleUs > 0) keepAlive(tcp, tcb);
}

/** RFC 9293 3.8.4: a probe when nothing was heard for the idle time; the end when none of several is answered. */
function keepAlive(tcp: Tcp, tcb: Tcb): void {
  const idleUs = tcp.nowUs - tcb.lastReceivedUs;
  if (idleUs < tcb.keepAliveIdleUs) {
    tcb.keepAliveProbesSent = 0;
    tcp.timers.scheduleAfter(tcb.slowTimer, tcb.keepAliveIdleUs - idleUs);
    return;
  }
  if (tcb.keepAliveProbesSent >= tcb.keepAliveProbes) {
    tcp.counters.increment(CONNECTIONS_TIMED_OUT);
    tcp.abort(tcb, 'ETIMEDOUT');
    return;
  }
  tcb.keepAliveProbesSent++;
  tcb.keepAliveNow = true;
  tcp.wantOutput(tcb);
  tcp.timers.scheduleAfter(tcb.slowTimer, tcb.keepAliveIntervalUs);
}
