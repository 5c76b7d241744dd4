/**
 * The receive window (RFC 9293 section 3.8.6.2.2): how far we let the peer send, and when a wider window is worth saying.
 * The advertised edge `rcvAdv` never moves back. On the wire a scaled window is rounded down (RFC 7323 2.4 tells senders
 * to expect that); what was advertised before is accepted all the same.
 */
import { TIMESTAMPS_BYTES } from '../wire/tcp-options.ts';
import { WINDOWS_HELD_BACK } from './counters.ts';
import { announcedMss } from './mss.ts';
import { unreadBytes } from './receive-queue.ts';
import { initialWindowBytes } from './receive-tuning.ts';
import { type Seq, seqAdd, seqDistance, seqMax } from './sequence.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** RCV.WND: what may still arrive, in bytes. */
export function receiveWindow(tcb: Tcb): number {
  // A FIN at the very edge takes one number more than was advertised.
  return Math.max(0, seqDistance(tcb.rcvAdv, tcb.rcvNxt));
}

/** The most that the window may be: without scaling the field says no more. */
function largestWindow(tcp: Tcp, tcb: Tcb): number {
  const scale = tcb.rcvScale;
  const most = Math.min(tcb.windowLimitBytes, 0xffff << scale);
  if (!tcp.settings.windowInSegments) return most;
  // What the field rounds away would be a segment less.
  return ((inSegments(tcp, most, tcb.timestamps) + (1 << scale) - 1) >> scale) << scale;
}

/** Whole segments of the peer's, as far as they fit. */
function inSegments(tcp: Tcp, bytes: number, timestamps: boolean): number {
  const segmentBytes = announcedMss(tcp) - (timestamps ? TIMESTAMPS_BYTES : 0);
  return bytes < segmentBytes ? bytes : bytes - (bytes % segmentBytes);
}

/** How much wider the window could be than what was advertised. */
function windowGain(tcp: Tcp, tcb: Tcb): number {
  return largestWindow(tcp, tcb) - unreadBytes(tcb) - receiveWindow(tcb);
}

/** Where memory is short, a connection that holds some is offered nothing more until it is read. */
function isHeldBack(tcp: Tcp, tcb: Tcb): boolean {
  return tcb.ring !== null && tcp.receiveQueues.isShort;
}

/**
 * Receiver's silly window avoidance: a wider window is offered once it is worth a segment or half the buffer. That the SYN
 * could say no more than 64 KiB is no reason: the first segment after it says the rest, and may be an answer.
 */
export function windowUpdateDue(tcp: Tcp, tcb: Tcb): boolean {
  const saidOnlyBySyn = seqDistance(tcb.lastAckSent, tcb.irs) === 1;
  const largest = saidOnlyBySyn ? synWindowField(tcp, tcb.timestamps) : largestWindow(tcp, tcb);
  if (2 * receiveWindow(tcb) >= largest || isHeldBack(tcp, tcb)) return false;
  return windowGain(tcp, tcb) >= Math.min(largest >> 1, 2 * tcb.mssBytes);
}

/** Moves the right edge as far as memory and silly window avoidance allow; to be called when a segment is built. */
export function advanceWindow(tcp: Tcp, tcb: Tcb): void {
  const gain = windowGain(tcp, tcb);
  if (gain < Math.min(largestWindow(tcp, tcb) >> 1, tcb.mssBytes)) return;
  if (isHeldBack(tcp, tcb)) tcp.counters.increment(WINDOWS_HELD_BACK);
  else tcb.rcvAdv = seqMax(tcb.rcvAdv, seqAdd(tcb.rcvAdv, gain));
}

/** The window field of a segment that is not a SYN. */
export function receiveWindowField(tcb: Tcb): number {
  const field = receiveWindow(tcb) >> tcb.rcvScale;
  return Math.min(field, 0xffff);
}

/** The window field of a SYN: never scaled (RFC 7323 2.2). `timestamps`: known to be agreed on. */
export function synWindowField(tcp: Tcp, timestamps: boolean): number {
  const most = Math.min(initialWindowBytes(tcp), 0xffff);
  return tcp.settings.windowInSegments ? inSegments(tcp, most, timestamps) : most;
}

/**
 * SEG.SEQ of a segment without text: SND.NXT, but no further than the peer's window. From beyond it, because the window has
 * shrunk, the peer would drop the acknowledgment too.
 */
export function emptySegmentSeq(tcb: Tcb): Seq {
  const edge = seqAdd(tcb.sndUna, tcb.sndWnd);
  const beyond = seqDistance(tcb.sndNxt, edge);
  // An edge less than one unit back was rounded down, not moved (RFC 7323 2.4): what is in flight had room.
  const rounded = beyond < 1 << tcb.sndScale;
  return beyond <= 0 || rounded ? tcb.sndNxt : edge;
}
