/** Slow start, congestion avoidance and the reactions to loss of RFC 5681, as NewReno (RFC 6582) uses them. */
import { flightBytes } from '../pipe.ts';
import type { Tcb } from '../tcb.ts';
import { type CongestionContext, type CongestionControl, ECN_ECHOED, INITIAL_SSTHRESH_BYTES } from './congestion.ts';

const BETA = 0.5;
/** RFC 8511 section 3.1: a mark comes from a short queue, and calls for less than a loss. */
const BETA_ECN = 0.8;

export const newReno: CongestionControl = {
  name: 'newreno',

  begin(): void {},

  acknowledged(_context: CongestionContext, tcb: Tcb, bytes: number): void {
    const left = slowStart(tcb, bytes);
    if (left > 0) avoidCongestion(tcb, left, tcb.cwndBytes);
  },

  /** RFC 5681 equation 4; what limited transmit has sent beyond the window does not count (3.2 step 2). */
  reduce(_context: CongestionContext, tcb: Tcb, cause: number): void {
    const beta = cause === ECN_ECHOED && tcb.tcp.settings.alternativeBackoff ? BETA_ECN : BETA;
    const flight = Math.min(flightBytes(tcb), tcb.cwndBytes);
    tcb.ssthreshBytes = Math.max(Math.floor(beta * flight), 2 * tcb.mssBytes);
  },

  undo(): void {},

  model: null,
};

/**
 * Grows the window by what was acknowledged, with appropriate byte counting: super-segments are acknowledged whole (RFC 3465,
 * L = all of it). Returns the bytes acknowledged that are left where `ssthreshBytes` is reached.
 */
export function slowStart(tcb: Tcb, bytes: number): number {
  if (tcb.cwndBytes >= tcb.ssthreshBytes) return bytes;
  const counted = Math.min(bytes, tcb.cwndBytes);
  const grown = Math.min(tcb.cwndBytes + counted, tcb.ssthreshBytes);
  const left = counted - (grown - tcb.cwndBytes);
  tcb.cwndBytes = grown;
  return left;
}

/** About one segment for each `windowBytes` acknowledged (RFC 5681 equation 3). */
export function avoidCongestion(tcb: Tcb, bytes: number, windowBytes: number): void {
  const counted = Math.min(bytes, windowBytes);
  const grown = tcb.cwndBytes + Math.max(1, Math.floor((tcb.mssBytes * counted) / windowBytes));
  tcb.cwndBytes = Math.min(grown, INITIAL_SSTHRESH_BYTES);
}
