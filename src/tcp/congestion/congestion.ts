/**
 * The interface of a congestion controller: it moves `cwndBytes`, `ssthreshBytes` and the pacing rate of a connection and
 * nothing else. What is lost and sent again is recovery.ts's business. How much may be in flight is decided here; while a
 * window comes down during a recovery it is prr.ts that does, unless the controller has a model of the path.
 */
import type { Random } from '../../runtime/random.ts';
import type { Acknowledgment } from '../acknowledgment.ts';
import type { RateSample } from '../delivery-rate.ts';
import type { SentRanges } from '../sent-ranges.ts';
import type { Tcb } from '../tcb.ts';

/** What congestion was told by. */
export const LOSS_DETECTED = 0;
export const TIMED_OUT = 1;
/** By the network itself (RFC 3168). */
export const ECN_ECHOED = 2;

/** "Arbitrarily high" (RFC 5681 3.1): slow start lasts until the first loss. */
export const INITIAL_SSTHRESH_BYTES = 0x3fffffff;

/** What a controller keeps for a connection; each knows its own. */
export type CongestionState = object;

/** What a controller may ask the stack. The time is read where it is needed: handed on with each call it would be allocated. */
export interface CongestionContext {
  readonly nowUs: number;
  /** What the acknowledgment being processed says, and of the rate of delivery. */
  readonly acknowledgment: Acknowledgment;
  readonly rateSample: RateSample;
  readonly ranges: SentRanges;
  readonly random: Random;
}

export interface CongestionControl {
  readonly name: string;
  /** The connection begins, or is given to this controller: the windows stand. */
  begin(context: CongestionContext, tcb: Tcb): void;
  /** So many bytes more have reached the peer; nothing is being repaired, and the window was the limit. */
  acknowledged(context: CongestionContext, tcb: Tcb, bytes: number): void;
  /** Chooses `ssthreshBytes`; `cause` is one of the above. Once a window of data. */
  reduce(context: CongestionContext, tcb: Tcb, cause: number): void;
  /** The reduction was for nothing; the windows are as they were before it. */
  undo(tcb: Tcb): void;
  /** Null where the window follows from losses alone. */
  readonly model: PathModel | null;
}

/** What a controller that models the path is told as well; it sets window and pacing rate itself, in a recovery too. */
export interface PathModel {
  /** An acknowledgment has been taken in, and losses have been found. */
  acknowledged(context: CongestionContext, tcb: Tcb): void;
  /** A range is taken for lost. */
  lost(context: CongestionContext, tcb: Tcb, range: number): void;
  /** Something is about to be sent. */
  transmits(context: CongestionContext, tcb: Tcb): void;
  /** A recovery has come to its end. */
  recovered(tcb: Tcb): void;
}
