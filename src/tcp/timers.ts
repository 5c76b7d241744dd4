/**
 * The timers of a connection (RFC 9293 section 3.10.8, RFC 6298 section 5): retransmission or, with nothing in flight and
 * a closed window, persistence; the delayed acknowledgment; and a slow one for keep-alive and FIN-WAIT-2.
 */
import { CONNECTIONS_TIMED_OUT } from './counters.ts';
import { flightBytes, retransmitTimedOut } from './recovery.ts';
import { CLOSED, ESTABLISHED, FIN_WAIT_2, isSynchronized } from './state.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Time-outs in a row after which the path is doubted. */
const DOUBT_RETRIES = 2;

/** Doublings of the persist interval; `maxRtoUs` bounds it long before. */
const MAX_PERSIST_SHIFT = 20;

/** RFC 6298 5.1 and 5.3: (re)starts the retransmission timer. */
export function startRetransmitTimer(tcp: Tcp, tcb: Tcb): void {
  tcb.persisting = false;
  tcp.timers.scheduleAfter(tcb.retransmitTimer, tcb.rtoUs);
}

/** RFC 9293 3.8.6.1: there is something to send, nothing in flight, and the window does not let it go. */
export function startPersistTimer(tcp: Tcp, tcb: Tcb): void {
  tcb.persisting = true;
  const intervalUs = Math.min(tcp.settings.maxRtoUs, tcb.rtoUs * 2 ** tcb.persistShift);
  tcp.timers.scheduleAfter(tcb.retransmitTimer, intervalUs);
}

/** RFC 6298 5.2: everything is acknowledged. */
export function stopRetransmitTimer(tcp: Tcp, tcb: Tcb): void {
  tcb.persisting = false;
  tcp.timers.cancel(tcb.retransmitTimer);
}

/** Starts the slow timer of a synchronized connection: keep-alive, or the wait for the peer's FIN. */
export function startSlowTimer(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === FIN_WAIT_2 && tcb.readClosed) {
    tcp.timers.scheduleAfter(tcb.slowTimer, tcp.settings.finWait2Us);
  } else if (tcp.settings.keepAliveIdleUs > 0) {
    tcp.timers.scheduleAfter(tcb.slowTimer, tcp.settings.keepAliveIdleUs);
  }
}

export function retransmitExpired(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === CLOSED) return;
  tcb.retries++;
  const limit = isSynchronized(tcb.state) ? tcp.settings.dataRetries : tcp.settings.synRetries;
  if (tcb.retries > limit) {
    tcp.counters.increment(CONNECTIONS_TIMED_OUT);
    tcp.abort(tcb, 'ETIMEDOUT');
    return;
  }
  // RFC 1122 4.2.3.5, R1: perhaps it is the next hop that has moved.
  if (tcb.retries === DOUBT_RETRIES && tcb.path !== null) tcp.paths.doubt(tcb.path);
  if (tcb.persisting || (isSynchronized(tcb.state) && tcb.sndWnd === 0 && flightBytes(tcb) <= 1)) {
    tcb.probeNow = true;
    if (tcb.persistShift < MAX_PERSIST_SHIFT) tcb.persistShift++;
  } else {
    retransmitTimedOut(tcp, tcb);
  }
  tcp.wantOutput(tcb);
}

export function delayedAckExpired(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === CLOSED || !tcb.ackDelayed) return;
  tcb.ackNow = true;
  tcp.wantOutput(tcb);
}

export function slowExpired(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === CLOSED) return;
  if (tcb.state === FIN_WAIT_2 && tcb.readClosed) {
    tcp.finish(tcb, '');
    return;
  }
  if (tcb.state >= ESTABLISHED && tcp.settings.keepAliveIdleUs > 0) keepAlive(tcp, tcb);
}

/** RFC 9293 3.8.4: a probe when nothing was heard for the idle time; the end when none of several is answered. */
function keepAlive(tcp: Tcp, tcb: Tcb): void {
  const { settings } = tcp;
  const idleUs = tcp.nowUs - tcb.lastReceivedUs;
  if (idleUs < settings.keepAliveIdleUs) {
    tcb.keepAliveProbesSent = 0;
    tcp.timers.scheduleAfter(tcb.slowTimer, settings.keepAliveIdleUs - idleUs);
    return;
  }
  if (tcb.keepAliveProbesSent >= settings.keepAliveProbes) {
    tcp.counters.increment(CONNECTIONS_TIMED_OUT);
    tcp.abort(tcb, 'ETIMEDOUT');
    return;
  }
  tcb.keepAliveProbesSent++;
  tcb.keepAliveNow = true;
  tcp.wantOutput(tcb);
  tcp.timers.scheduleAfter(tcb.slowTimer, settings.keepAliveIntervalUs);
}
