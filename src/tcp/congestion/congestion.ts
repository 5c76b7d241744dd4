/**
 * The interface of a congestion controller: it moves `cwndBytes` and `ssthreshBytes` of a connection and nothing else.
 * When to retransmit is recovery.ts's business; how much may be in flight is decided here.
 */
import type { Tcb } from '../tcb.ts';

export interface CongestionControl {
  readonly name: string;
  /** The handshake is complete: the initial window (RFC 6928). */
  begin(tcb: Tcb, initialSegments: number): void;
  /** New data was acknowledged outside recovery. */
  acknowledged(tcb: Tcb, bytes: number): void;
  /** A loss was inferred from duplicate ACKs; recovery begins. */
  lossDetected(tcb: Tcb, flightBytes: number): void;
  /** The retransmission timer expired for the first time for this data. */
  timedOut(tcb: Tcb, flightBytes: number): void;
}
