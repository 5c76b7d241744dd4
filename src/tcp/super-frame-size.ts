/**
 * How long super-frames are where `leastSuperFrameSegments` says so, as Linux makes them (tcp_tso_autosize, tcp_cwnd_test): what the
 * pace brings in a millisecond, more on a short path, and never more than half of either window, so that there are two of them.
 */
import { flightBytes } from './pipe.ts';
import type { Tcb } from './tcb.ts';

/** Of the congestion window a round trip, in slow start and after it (tcp_pacing_ss_ratio, tcp_pacing_ca_ratio). */
const SLOW_START_PACE = 2;
const PACE = 1.2;
/** sk_pacing_shift: parts of a second. */
const PACE_SHARE = 1024;
const MOST_BYTES = 0x10000;
/** tcp_tso_rtt_log: with each such part of the least round trip a super-frame may be half as long. */
const RTT_SHIFT = 9;
const WORD_BITS = 32;

/** Bytes of the longest super-frame of segments of `full` bytes. */
export function superFrameBytes(tcb: Tcb, full: number, leastSegments: number): number {
  const pace = tcb.cwndBytes < tcb.ssthreshBytes / 2 ? SLOW_START_PACE : PACE;
  const window = Math.max(tcb.cwndBytes, flightBytes(tcb));
  const paced = tcb.srttUs === 0 ? 0 : (pace * window * 1e6) / tcb.srttUs / PACE_SHARE;
  const halvings = tcb.minRttUs >> RTT_SHIFT;
  const near = halvings < WORD_BITS ? MOST_BYTES >>> halvings : 0;
  const segments = Math.max(leastSegments, Math.floor(Math.min(paced + near, MOST_BYTES) / full));
  const half = Math.max(1, Math.floor(Math.min(tcb.cwndBytes, tcb.maxSndWnd) / 2 / full));
  return Math.min(segments, half) * full;
}
