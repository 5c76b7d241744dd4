/**
 * How much is worth having queued: what is in flight, and as much again, so that the next window is there when this one is
 * acknowledged (Linux: tcp_sndbuf_expand). The bytes are the application's; TCP tells it when there is room.
 *
 * `EVENT_WRITABLE` is raised when the queue falls to twice the congestion window, and once more when it falls to
 * `sendLowWaterBytes`: an application with a limit of its own, which found the queue too long the first time, is waiting for that.
 */
import { seqDistance } from './sequence.ts';
import { EVENT_WRITABLE, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** What the queue may fall to without the connection running dry. */
export function sendLowWater(tcp: Tcp, tcb: Tcb): number {
  const { sendLowWaterBytes, maxSendLowWaterBytes } = tcp.settings;
  return Math.max(sendLowWaterBytes, Math.min(2 * tcb.cwndBytes, maxSendLowWaterBytes));
}

/** So much is queued: whether the application is to be told when it has become less. */
export function noteQueued(tcp: Tcp, tcb: Tcb, queuedBytes: number): void {
  if (queuedBytes <= tcp.settings.sendLowWaterBytes) return;
  tcb.writableWanted = true;
  tcb.earlyWritableWanted = true;
}

/** Some of the queue was acknowledged. */
export function noteRoom(tcp: Tcp, tcb: Tcb): void {
  if (!tcb.writableWanted) return;
  const queued = seqDistance(tcb.sndEnd, tcb.sndUna);
  const isShort = queued <= tcp.settings.sendLowWaterBytes;
  if (!isShort && !(tcb.earlyWritableWanted && queued <= sendLowWater(tcp, tcb))) return;
  tcb.earlyWritableWanted = false;
  if (isShort) tcb.writableWanted = false;
  tcp.raise(tcb, EVENT_WRITABLE);
}
