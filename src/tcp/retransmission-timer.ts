/**
 * The timer that sees to what has not been acknowledged. A connection has one, which runs for one purpose at a time: the
 * retransmission time-out (RFC 6298 section 5), the tail loss probe before it (RFC 8985 section 7), the end of the reordering
 * window (RFC 8985 6.2), or, with nothing in flight and a closed window, persistence (RFC 9293 section 3.8.6.1).
 */
import { probeTimeoutUs } from './tail-loss-probe.ts';
import { type Tcb, TIMER_PERSIST, TIMER_RETRANSMIT, TIMER_TAIL_LOSS_PROBE } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { untilUserTimeout } from './user-timeout.ts';

/** Doublings of the persist interval; `maxRtoUs` bounds it long before. */
const MAX_PERSIST_SHIFT = 20;

export function schedule(tcp: Tcp, tcb: Tcb, purpose: number, delayUs: number): void {
  const isBounded = tcb.options.userTimeoutUs > 0 && (purpose === TIMER_RETRANSMIT || purpose === TIMER_PERSIST);
  tcb.timerPurpose = purpose;
  tcp.timers.scheduleAfter(tcb.retransmitTimer, isBounded ? untilUserTimeout(tcp, tcb, delayUs) : delayUs);
}

/** RFC 6298 5.1 and 5.3: (re)starts the timer for what is in flight; for a probe, where one may come first. */
export function startRetransmitTimer(tcp: Tcp, tcb: Tcb): void {
  const probeUs = probeTimeoutUs(tcp, tcb);
  if (probeUs > 0) schedule(tcp, tcb, TIMER_TAIL_LOSS_PROBE, probeUs);
  else schedule(tcp, tcb, TIMER_RETRANSMIT, tcb.rtoUs);
}

/** RFC 9293 3.8.6.1: there is something to send, nothing in flight, and the window does not let it go. */
export function startPersistTimer(tcp: Tcp, tcb: Tcb): void {
  const shift = Math.min(tcb.persistShift, MAX_PERSIST_SHIFT);
  schedule(tcp, tcb, TIMER_PERSIST, Math.min(tcp.settings.maxRtoUs, tcb.rtoUs * 2 ** shift));
}

/** RFC 6298 5.2: everything is acknowledged. */
export function stopRetransmitTimer(tcp: Tcp, tcb: Tcb): void {
  tcb.timerPurpose = TIMER_RETRANSMIT;
  tcp.timers.cancel(tcb.retransmitTimer);
}

/** Whether the timer runs as persist timer. */
export function isPersisting(tcb: Tcb): boolean {
  return tcb.timerPurpose === TIMER_PERSIST;
}
