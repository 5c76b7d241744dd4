/**
 * Sending again: what recovery has found lost, oldest first, as far as the congestion window allows (RFC 6675 section 5), and
 * the tail loss probe (RFC 8985 section 7.3).
 */
import { largestSegment, outputSegment, segmentEndAfter } from './build.ts';
import { BYTES_RETRANSMITTED, SEGMENTS_RETRANSMITTED } from './counters.ts';
import { segmentBytes } from './mss.ts';
import { isPacedBack, notePaced } from './pacing.ts';
import { pipeBytes } from './pipe.ts';
import { noteRetransmitted } from './recovery.ts';
import { schedule } from './retransmission-timer.ts';
import { NO_RANGE } from './sent-ranges.ts';
import { seqAdd, seqAfter, seqBefore, seqDistance, seqMin } from './sequence.ts';
import { probeSent } from './tail-loss-probe.ts';
import { type Tcb, TIMER_REORDERING, TIMER_RETRANSMIT } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { noteRetransmission, TAIL_LOSS_PROBE } from './trace.ts';

/** Sends what is lost, as far as there is room. False: the transmit queue is full. */
export function outputRetransmissions(tcp: Tcp, tcb: Tcb): boolean {
  const { ranges } = tcp;
  const windowEnd = seqAdd(tcb.sndUna, tcb.sndWnd);
  let range = tcb.sentHead;
  while (range !== NO_RANGE) {
    if (!ranges.isDue(range)) {
      range = ranges.next(range);
      continue;
    }
    const room = tcb.cwndBytes - pipeBytes(tcb);
    if (room <= 0 || isPacedBack(tcp, tcb)) return true;
    // What the window has been taken back from waits for it, but for the first segment, which asks for the window too.
    const windowBytes = seqDistance(windowEnd, ranges.start(range));
    if (windowBytes <= 0 && range !== tcb.sentHead) return true;
    const full = segmentBytes(tcb);
    const wanted = Math.min(Math.max(full, room - (room % full)), largestSegment(tcp, tcb));
    const limit = windowBytes > 0 ? Math.min(wanted, windowBytes) : full;
    if (!outputAgain(tcp, tcb, range, limit)) return false;
    if (range === tcb.sentHead && tcb.timerPurpose !== TIMER_REORDERING && tcb.partialAcks <= 1) {
      schedule(tcp, tcb, TIMER_RETRANSMIT, tcb.rtoUs);
    }
    range = ranges.next(range);
  }
  return true;
}

/** The last segment again. False: the transmit queue is full. */
export function outputTailLossProbe(tcp: Tcp, tcb: Tcb): boolean {
  const { ranges } = tcp;
  tcb.tlpNow = false;
  let range = tcb.sentTail;
  if (range === NO_RANGE) return true;
  const full = segmentBytes(tcb);
  tcb.lossReason = TAIL_LOSS_PROBE;
  if (ranges.bytes(range) > full) {
    const whole = Math.ceil(ranges.bytes(range) / full) - 1;
    const last = ranges.divide(tcb, range, seqAdd(ranges.start(range), whole * full));
    if (last !== NO_RANGE) range = last;
  }
  if (!outputAgain(tcp, tcb, range, full)) {
    tcb.tlpNow = true;
    return false;
  }
  probeSent(tcp, tcb, true);
  schedule(tcp, tcb, TIMER_RETRANSMIT, tcb.rtoUs);
  return true;
}

/** Sends a range again, or its first `limit` bytes. False: the transmit queue is full. */
function outputAgain(tcp: Tcp, tcb: Tcb, range: number, limit: number): boolean {
  const { ranges } = tcp;
  const start = ranges.start(range);
  const end = ranges.end(range);
  const text = Math.min(limit, seqDistance(seqMin(end, tcb.sndEnd), start));
  const withFin = seqAfter(end, tcb.sndEnd);
  const length = outputSegment(tcp, tcb, start, text, withFin);
  if (length < 0) return false;
  const sentEnd = segmentEndAfter(tcp, tcb, start, length, withFin);
  if (seqBefore(sentEnd, end)) ranges.divide(tcb, range, sentEnd);
  ranges.markRetransmitted(tcb, range);
  noteRetransmitted(tcp, tcb, seqDistance(sentEnd, start));
  tcb.retransmissions++;
  if (tcp.tracing) noteRetransmission(tcb, start, sentEnd);
  tcb.prrOutBytes += length;
  notePaced(tcp, tcb, length);
  tcb.lastSentUs = tcp.nowUs;
  tcp.counters.increment(SEGMENTS_RETRANSMITTED);
  tcp.counters.add(BYTES_RETRANSMITTED, length);
  return true;
}
