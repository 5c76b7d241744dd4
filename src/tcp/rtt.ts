/**
 * Round-trip time and the retransmission time-out (RFC 6298), in microseconds.
 *
 * Samples come from segments that were sent once (Karn); after a retransmission the echoed timestamps of RFC 7323 section 4
 * still give some.
 */

import type { Segment } from './segment.ts';
import { type Seq, seqAfter } from './sequence.ts';
import type { TcpSettings } from './settings.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** What a timestamp counts in. */
const TS_TICK_US = 1000;

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

/**
 * Takes the sample of an acknowledgment up to `ack`: what the ranges in flight have measured, or else the age of the echoed
 * timestamp; each is -1 where there is none. One sample a round trip, as the gains of the filter are meant for (Linux: each).
 */
export function sampleFromAck(tcb: Tcb, settings: TcpSettings, ack: Seq, measuredUs: number, echoUs: number): void {
  const sampleUs = measuredUs >= 0 ? measuredUs : echoUs;
  if (sampleUs < 0 || (!settings.sampleEveryAck && !seqAfter(ack, tcb.rttSeq))) return;
  tcb.rttSeq = tcb.sndNxt;
  sampleRtt(tcb, settings, sampleUs);
}

/** The round trip of our SYN, whose acknowledgment the segment is. */
export function sampleFromSyn(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  const measuredUs = tcb.synTimed ? tcp.nowUs - tcb.lastSentUs : -1;
  sampleFromAck(tcb, tcp.settings, segment.ack, measuredUs, echoedRttUs(tcp, tcb, segment));
  tcb.minRttUs = Math.max(0, measuredUs);
  tcb.minRttAtMs = tcp.clock.nowMs;
}

/**
 * The round trip that the echoed timestamp tells of, or -1. After a time-out, an echo older than the last transmission tells how
 * long acknowledgments were lost; taken for a round trip, it would feed the time-out on itself.
 */
export function echoedRttUs(tcp: Tcp, tcb: Tcb, segment: Segment): number {
  const ageUs = echoAgeUs(tcp, tcb, segment);
  return tcb.retries > 0 && ageUs > tcp.nowUs - tcb.lastSentUs + TS_TICK_US ? -1 : ageUs;
}

/** Age of the timestamp that the peer echoes (RFC 7323 4.1), or -1 when there is none to believe. */
export function echoAgeUs(tcp: Tcp, tcb: Tcb, segment: Segment): number {
  if (!tcb.timestamps || !segment.options.hasTimestamps || segment.options.tsEcho === 0) return -1;
  const age = (tcp.timestamp(tcb.tsOffset) - segment.options.tsEcho) | 0;
  return age < 0 ? -1 : age * TS_TICK_US;
}
