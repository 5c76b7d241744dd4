/**
 * Pacing: a connection with a pacing rate sends each quantum when its time has come (draft-ietf-ccwg-bbr section 5.6.2). The
 * timer wheel is coarser than the gap between two segments of a fast connection: what a tick has held back leaves together.
 */
import { TICK_US } from '../runtime/timer-wheel.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** How late a turn may be without what was to leave meanwhile being forfeited. */
const MAX_CREDIT_US = 2 * TICK_US;

/** Whether the connection has to wait, for which its timer is set. */
export function isPacedBack(tcp: Tcp, tcb: Tcb): boolean {
  if (tcb.pacingBytesPerSecond === 0) return false;
  const waitUs = tcb.nextSendUs - tcp.nowUs;
  if (waitUs <= 0) return false;
  tcp.startPacingTimer(tcb, waitUs);
  return true;
}

/** So many bytes leave: when may the next follow? */
export function notePaced(tcp: Tcp, tcb: Tcb, bytes: number): void {
  const rate = tcb.pacingBytesPerSecond;
  if (rate > 0) tcb.nextSendUs = Math.max(tcb.nextSendUs, tcp.nowUs - MAX_CREDIT_US) + (bytes * 1e6) / rate;
}
