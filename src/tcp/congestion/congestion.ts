/**
 * The interface of a congestion controller: it moves `cwndBytes` and `ssthreshBytes` of a connection and nothing else.
 * What is lost and sent again is recovery.ts's business, and how the window comes down during a recovery is prr.ts's; how
 * much may be in flight otherwise is decided here.
 */
import type { Tcb } from '../tcb.ts';

/** What congestion was told by. */
export const LOSS_DETECTED = 0;
export const TIMED_OUT = 1;

/** "Arbitrarily high" (RFC 5681 3.1): slow start lasts until the first loss. */
export const INITIAL_SSTHRESH_BYTES = 0x3fffffff;

/** What a controller keeps for a connection; each knows its own. */
export type CongestionState = object;

/** What a controller may ask the stack. The time is read where it is needed: handed on with each call it would be allocated. */
export interface CongestionContext {
  readonly nowUs: number;
  /** Round trip that the acknowledgment has measured, microseconds; -1 for none. */
  readonly acknowledgment: { readonly rttUs: number };
}

export interface CongestionControl {
  readonly name: string;
  /** The connection begins, or is given to this controller: the windows stand. */
  begin(tcb: Tcb): void;
  /** So many bytes more have reached the peer; nothing is being repaired, and the window was the limit. */
  acknowledged(context: CongestionContext, tcb: Tcb, bytes: number): void;
  /** Chooses `ssthreshBytes`; `cause` is one of the above. Once a window of data. */
  reduce(context: CongestionContext, tcb: Tcb, cause: number): void;
  /** The reduction was for nothing; the windows are as they were before it. */
  undo(tcb: Tcb): void;
}
