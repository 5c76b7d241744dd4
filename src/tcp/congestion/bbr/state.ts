/** What BBR keeps for a connection, by the names of draft-ietf-ccwg-bbr section 2. Volumes are bytes, rates bytes a second. */

// BBR.state.
export const STARTUP = 0;
export const DRAIN = 1;
export const PROBE_BW_DOWN = 2;
export const PROBE_BW_CRUISE = 3;
export const PROBE_BW_REFILL = 4;
export const PROBE_BW_UP = 5;
export const PROBE_RTT = 6;

/** By number; as the draft names them. */
export const STATE_NAMES: readonly string[] = [
  'Startup',
  'Drain',
  'ProbeBW_DOWN',
  'ProbeBW_CRUISE',
  'ProbeBW_REFILL',
  'ProbeBW_UP',
  'ProbeRTT',
];
/** `undoState`: there is nothing to go back to. */
export const NO_STATE = -1;

// BBR.ack_phase: what the acknowledgments that arrive now are of.
export const ACKS_INIT = 0;
export const ACKS_REFILLING = 1;
export const ACKS_PROBE_STARTING = 2;
export const ACKS_PROBE_FEEDBACK = 3;
export const ACKS_PROBE_STOPPING = 4;

export class BbrState {
  state = STARTUP;
  pacingGain = 1;
  cwndGain = 2;

  /** Rounds (5.5.1). */
  nextRoundDelivered = 0;
  roundStart = false;
  roundCount = 0;
  drainStartRound = 0;

  /** BBR.max_bw_filter: the best of the last bandwidth probing cycle and of this one. */
  lastCycleBw = 0;
  thisCycleBw = 0;
  /** BBR.bw: what the model allows. */
  bw = 0;

  /** BBR.min_rtt, and the delay that ProbeRTT watches, microseconds; Infinity before any. */
  minRttUs = Number.POSITIVE_INFINITY;
  minRttAtUs = 0;
  probeRttMinDelayUs = Number.POSITIVE_INFINITY;
  probeRttMinAtUs = 0;
  probeRttExpired = false;
  /** BBR.probe_rtt_done_stamp; 0 while it is not known. */
  probeRttDoneUs = 0;
  probeRttRoundDone = false;

  /** The pipe (5.3.1.2). */
  fullBw = 0;
  fullBwCount = 0;
  fullBwNow = false;
  fullBwReached = false;

  /** Congestion signals of the last round (5.5.10). */
  bwLatest = 0;
  inflightLatest = 0;
  lossRoundDelivered = 0;
  lossRoundStart = false;
  isLossInRound = false;
  lossEventsInRound = 0;

  /** The bounds that congestion has set; Infinity while it has not. */
  bwShortTerm = Number.POSITIVE_INFINITY;
  inflightShortTerm = Number.POSITIVE_INFINITY;
  inflightLongTerm = Number.POSITIVE_INFINITY;

  /** Bandwidth probing (5.3.3). */
  ackPhase = ACKS_INIT;
  cycleAtUs = 0;
  probeWaitUs = 0;
  roundsSinceProbeUp = 0;
  probeUpRounds = 0;
  probeUpAcked = 0;
  probeUpAckedPerIncrement = Number.POSITIVE_INFINITY;
  isProbeSample = false;
  previousProbeTooHigh = false;
  previousProbePrecautionary = false;

  /** Aggregation of acknowledgments (5.5.9): maxima of two windows of rounds. */
  extraAckedAtUs = 0;
  extraAckedDelivered = 0;
  extraAcked = 0;
  extraAckedBefore = 0;
  extraAckedRounds = 0;

  idleRestart = false;
  priorCwnd = 0;
  initialCwnd = 0;
  hasMeasuredRtt = false;

  /** For a recovery that turns out to have been for nothing (5.5.11). */
  undoState = NO_STATE;
  undoBwShortTerm = Number.POSITIVE_INFINITY;
  undoInflightShortTerm = Number.POSITIVE_INFINITY;
  undoInflightLongTerm = Number.POSITIVE_INFINITY;
}
