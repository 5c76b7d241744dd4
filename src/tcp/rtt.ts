/**
 * Round-trip time and the retransmission time-out (RFC 6298), in microseconds.
 *
 * One segment at a time is timed, and none that was sent twice (Karn); after a retransmission the echoed timestamps of
 * RFC 7323 section 4 still give samples.
 */

import { type Seq, seqAfterOrAt } from './sequence.ts';
import type { TcpSettings } from './settings.ts';
import type { Tcb } from './tcb.ts';

/** What samples are taken with. The time is read where it is needed: handed on with each acknowledgment it would be allocated. */
export interface RttContext {
  readonly settings: TcpSettings;
  readonly nowUs: number;
}

/** RFC 6298 2.2 and 2.3. */
export function sampleRtt(tcb: Tcb, settings: TcpSettings, sampleUs: number): void {
  const rttUs = Math.min(Math.max(1, Math.round(sampleUs)), settings.maxRtoUs);
  if (tcb.srttUs === 0) {
    tcb.srttUs = rttUs;
    tcb.rttvarUs = rttUs >> 1;
  } else {
    // RTTVAR first, with the old SRTT (2.3); alpha = 1/8, beta = 1/4.
    tcb.rttvarUs += Math.round((Math.abs(tcb.srttUs - rttUs) - tcb.rttvarUs) / 4);
    tcb.srttUs += Math.round((rttUs - tcb.srttUs) / 8);
  }
  // Differs: RFC 6298 2.4 rounds the sum up to a minimum; like Linux we round up the variance's part, so that a peer's delayed
  // acknowledgment always fits in.
  const rtoUs = tcb.srttUs + Math.max(settings.minRtoUs, 4 * tcb.rttvarUs);
  tcb.rtoUs = Math.min(settings.maxRtoUs, rtoUs);
}

/** RFC 6298 5.5: back off the timer. */
export function backOffRto(tcb: Tcb, settings: TcpSettings): void {
  tcb.rtoUs = Math.min(settings.maxRtoUs, tcb.rtoUs * 2);
}

/** Starts timing the segment that ends at `end`, unless one is being timed. */
export function timeSegment(tcb: Tcb, end: Seq, nowUs: number): void {
  if (tcb.rttTimed) return;
  tcb.rttTimed = true;
  tcb.rttSeq = end;
  tcb.rttStartUs = nowUs;
}

/** Something is sent again: its acknowledgment would be ambiguous (Karn's algorithm). */
export function abandonTiming(tcb: Tcb): void {
  tcb.rttTimed = false;
}

/** Takes the sample that an acknowledgment up to `ack` gives; `echoUs` is the age of the echoed timestamp, or -1. */
export function sampleFromAck(tcp: RttContext, tcb: Tcb, ack: Seq, echoUs: number): void {
  if (tcb.rttTimed) {
    if (!seqAfterOrAt(ack, tcb.rttSeq)) return;
    tcb.rttTimed = false;
    sampleRtt(tcb, tcp.settings, tcp.nowUs - tcb.rttStartUs);
  } else if (echoUs >= 0) {
    sampleRtt(tcb, tcp.settings, echoUs);
  }
}
