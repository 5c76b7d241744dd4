/**
 * How wide a window a connection offers at most: at first as much as a Linux host does, then twice what the application has
 * read within a round trip, and room for the segments that a sender's slow start adds meanwhile (dynamic right-sizing,
 * Fisk and Feng, 2001; Linux: tcp_rcv_space_adjust). It never comes down, and ends at `receiveBufferBytes`.
 */
import { RECEIVE_WINDOWS_GROWN } from './counters.ts';
import { seqDistance } from './sequence.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Segments that are added to twice what was read. */
const SPARE_SEGMENTS = 16;
/** The clock of the rounds. */
const TICK_US = 1000;

/** What a connection begins with. */
export function initialWindowBytes(tcp: Tcp): number {
  return Math.min(tcp.settings.initialReceiveWindowBytes, tcp.settings.receiveBufferBytes);
}

/** The first round begins. */
export function beginTuning(tcp: Tcp, tcb: Tcb): void {
  tcb.windowLimitBytes = initialWindowBytes(tcp);
  tcb.readRoundMs = tcp.clock.nowMs;
  tcb.readRoundSeq = tcb.readSeq;
  tcb.readLastRoundSeq = tcb.readSeq;
}

/**
 * The application has read: once a round trip, what it has read in that is compared with the best before. What it reads at the
 * moment at which a round ends, in however many pieces, is that round's.
 */
export function noteRead(tcp: Tcp, tcb: Tcb): void {
  const passedUs = TICK_US * ((tcp.clock.nowMs - tcb.readRoundMs) | 0);
  if (passedUs >= Math.max(TICK_US, tcb.srttUs)) {
    tcb.readLastRoundSeq = tcb.readRoundSeq;
    tcb.readRoundMs = tcp.clock.nowMs;
  } else if (passedUs > 0) {
    return;
  }
  tcb.readRoundSeq = tcb.readSeq;
  const read = seqDistance(tcb.readSeq, tcb.readLastRoundSeq);
  if (read <= tcb.readPerRoundBytes || tcp.receiveQueues.isShort) return;
  tcb.readPerRoundBytes = read;
  const wanted = Math.min(tcp.settings.receiveBufferBytes, 2 * read + SPARE_SEGMENTS * tcb.peerSegmentBytes);
  if (wanted <= tcb.windowLimitBytes) return;
  tcb.windowLimitBytes = wanted;
  tcp.counters.increment(RECEIVE_WINDOWS_GROWN);
}
