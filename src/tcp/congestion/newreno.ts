/** Slow start, congestion avoidance and the reactions to loss of RFC 5681, as NewReno (RFC 6582) uses them. */
import type { Tcb } from '../tcb.ts';
import type { CongestionControl } from './congestion.ts';

/** "Arbitrarily high" (RFC 5681 3.1): slow start lasts until the first loss. */
const INITIAL_SSTHRESH_BYTES = 0x3fffffff;

export const newReno: CongestionControl = {
  name: 'newreno',

  begin(tcb: Tcb, initialSegments: number): void {
    tcb.cwndBytes = initialSegments * tcb.mssBytes;
    tcb.ssthreshBytes = INITIAL_SSTHRESH_BYTES;
  },

  acknowledged(tcb: Tcb, bytes: number): void {
    if (tcb.cwndBytes < tcb.ssthreshBytes) {
      // Slow start, with appropriate byte counting: super-segments are acknowledged whole (RFC 3465, L = all of it).
      tcb.cwndBytes += Math.min(bytes, tcb.cwndBytes);
    } else {
      // Congestion avoidance: about one segment per round trip (RFC 5681 equation 3).
      tcb.cwndBytes += Math.max(1, Math.floor((tcb.mssBytes * Math.min(bytes, tcb.cwndBytes)) / tcb.cwndBytes));
    }
    tcb.cwndBytes = Math.min(tcb.cwndBytes, INITIAL_SSTHRESH_BYTES);
  },

  lossDetected(tcb: Tcb, flightBytes: number): void {
    tcb.ssthreshBytes = halfOf(tcb, flightBytes);
  },

  timedOut(tcb: Tcb, flightBytes: number): void {
    tcb.ssthreshBytes = halfOf(tcb, flightBytes);
  },
};

/** RFC 5681 equation 4. */
function halfOf(tcb: Tcb, flightBytes: number): number {
  return Math.max(flightBytes >> 1, 2 * tcb.mssBytes);
}
