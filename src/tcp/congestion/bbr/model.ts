/**
 * BBR's model of the path (draft-ietf-ccwg-bbr section 5.5): rounds, bandwidth, propagation delay, aggregation, and what losses
 * say about both.
 */
import { RECOVERY, type Tcb } from '../../tcb.ts';
import type { CongestionContext } from '../congestion.ts';
import { type BbrState, NO_STATE, PROBE_BW_REFILL, PROBE_BW_UP, PROBE_RTT, STARTUP } from './state.ts';

/** BBR.LossThresh. */
export const LOSS_THRESHOLD = 0.02;
/** BBR.Beta: no reaction is stronger than CUBIC's. */
export const BETA = 0.7;
/** BBR.Headroom. */
const HEADROOM = 0.15;
/** BBR.MinPipeCwnd, segments. */
const MIN_PIPE_SEGMENTS = 4;
const MIN_RTT_FILTER_US = 10_000_000;
const PROBE_RTT_INTERVAL_US = 5_000_000;
/** BBR.ExtraAckedFilterLen is the length of two windows, rounds. */
const EXTRA_ACKED_ROUNDS = 5;

export function maxBw(bbr: BbrState): number {
  return Math.max(bbr.lastCycleBw, bbr.thisCycleBw);
}

export function minPipeCwnd(tcb: Tcb): number {
  return MIN_PIPE_SEGMENTS * tcb.mssBytes;
}

export function isProbingBw(bbr: BbrState): boolean {
  return bbr.state === STARTUP || bbr.state === PROBE_BW_REFILL || bbr.state === PROBE_BW_UP;
}

/** 5.5.1. */
export function startRound(bbr: BbrState, tcb: Tcb): void {
  bbr.nextRoundDelivered = tcb.deliveredBytes;
}

function updateRound(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  const { rateSample } = context;
  bbr.roundStart = rateSample.hasData && rateSample.priorDeliveredBytes >= bbr.nextRoundDelivered;
  if (!bbr.roundStart) return;
  startRound(bbr, tcb);
  bbr.roundCount++;
  bbr.roundsSinceProbeUp++;
}

/** 5.5.5. */
function updateMaxBw(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  const { rateSample } = context;
  updateRound(context, bbr, tcb);
  const bw = rateSample.bytesPerSecond;
  if (bw > 0 && (bw >= maxBw(bbr) || !rateSample.isAppLimited)) bbr.thisCycleBw = Math.max(bbr.thisCycleBw, bw);
}

/** 5.5.6. */
export function advanceMaxBwFilter(bbr: BbrState): void {
  if (bbr.thisCycleBw === 0) return;
  bbr.lastCycleBw = bbr.thisCycleBw;
  bbr.thisCycleBw = 0;
}

/** 5.5.10.3, near the start of an acknowledgment. */
export function updateLatestDeliverySignals(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  const { rateSample } = context;
  bbr.lossRoundStart = false;
  bbr.bwLatest = Math.max(bbr.bwLatest, rateSample.bytesPerSecond);
  bbr.inflightLatest = Math.max(bbr.inflightLatest, rateSample.deliveredBytes);
  if (!rateSample.hasData || rateSample.priorDeliveredBytes < bbr.lossRoundDelivered) return;
  bbr.lossRoundDelivered = tcb.deliveredBytes;
  bbr.lossRoundStart = true;
}

/** 5.5.10.3, near its end. */
export function advanceLatestDeliverySignals(context: CongestionContext, bbr: BbrState): void {
  if (!bbr.lossRoundStart) return;
  bbr.bwLatest = context.rateSample.bytesPerSecond;
  bbr.inflightLatest = context.rateSample.deliveredBytes;
}

export function resetCongestionSignals(bbr: BbrState): void {
  bbr.isLossInRound = false;
  bbr.bwLatest = 0;
  bbr.inflightLatest = 0;
}

export function updateCongestionSignals(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  updateMaxBw(context, bbr, tcb);
  if (!bbr.lossRoundStart) return;
  if (bbr.isLossInRound && !isProbingBw(bbr)) adaptLowerBounds(bbr, tcb);
  bbr.isLossInRound = false;
}

/** AdaptLowerBoundsFromCongestion: once a round, toward what was delivered in it. */
function adaptLowerBounds(bbr: BbrState, tcb: Tcb): void {
  if (bbr.bwShortTerm === Number.POSITIVE_INFINITY) bbr.bwShortTerm = maxBw(bbr);
  if (bbr.inflightShortTerm === Number.POSITIVE_INFINITY) bbr.inflightShortTerm = tcb.cwndBytes;
  bbr.bwShortTerm = Math.max(bbr.bwLatest, BETA * bbr.bwShortTerm);
  bbr.inflightShortTerm = Math.max(bbr.inflightLatest, BETA * bbr.inflightShortTerm);
}

export function resetShortTermModel(bbr: BbrState): void {
  bbr.bwShortTerm = Number.POSITIVE_INFINITY;
  bbr.inflightShortTerm = Number.POSITIVE_INFINITY;
}

export function boundBwForModel(bbr: BbrState): void {
  bbr.bw = Math.min(maxBw(bbr), bbr.bwShortTerm);
}

/** 5.5.9: how much more than expected is acknowledged at a time. */
export function updateAckAggregation(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  const windowRounds = bbr.fullBwReached ? EXTRA_ACKED_ROUNDS : 1;
  if (bbr.roundStart && ++bbr.extraAckedRounds >= windowRounds) {
    bbr.extraAckedRounds = 0;
    bbr.extraAckedBefore = bbr.extraAcked;
    bbr.extraAcked = 0;
  }
  let expected = (bbr.bw * (context.nowUs - bbr.extraAckedAtUs)) / 1e6;
  if (bbr.extraAckedDelivered <= expected) {
    bbr.extraAckedDelivered = 0;
    bbr.extraAckedAtUs = context.nowUs;
    expected = 0;
  }
  bbr.extraAckedDelivered += context.acknowledgment.deliveredBytes;
  bbr.extraAcked = Math.max(bbr.extraAcked, Math.min(bbr.extraAckedDelivered - expected, tcb.cwndBytes));
}

/** 5.3.4.3. */
export function updateMinRtt(context: CongestionContext, bbr: BbrState): void {
  const { nowUs } = context;
  const { rttUs } = context.rateSample;
  bbr.probeRttExpired = nowUs > bbr.probeRttMinAtUs + PROBE_RTT_INTERVAL_US;
  if (rttUs >= 0 && (rttUs < bbr.probeRttMinDelayUs || bbr.probeRttExpired)) {
    bbr.probeRttMinDelayUs = rttUs;
    bbr.probeRttMinAtUs = nowUs;
  }
  const isExpired = nowUs > bbr.minRttAtUs + MIN_RTT_FILTER_US;
  if (bbr.probeRttMinDelayUs < bbr.minRttUs || isExpired) {
    bbr.minRttUs = bbr.probeRttMinDelayUs;
    bbr.minRttAtUs = bbr.probeRttMinAtUs;
  }
}

/** 5.3.1.2: three rounds without a quarter more. */
export function checkFullBwReached(context: CongestionContext, bbr: BbrState): void {
  const { rateSample } = context;
  if (bbr.fullBwNow || !bbr.roundStart || rateSample.isAppLimited) return;
  if (rateSample.bytesPerSecond >= bbr.fullBw * 1.25) {
    resetFullBw(bbr);
    bbr.fullBw = rateSample.bytesPerSecond;
    return;
  }
  bbr.fullBwCount++;
  bbr.fullBwNow = bbr.fullBwCount >= 3;
  if (bbr.fullBwNow) bbr.fullBwReached = true;
}

export function resetFullBw(bbr: BbrState): void {
  bbr.fullBw = 0;
  bbr.fullBwCount = 0;
  bbr.fullBwNow = false;
}

/** 5.5.10.2: whether `lostBytes` of `inFlightBytes` are too many. */
export function isInflightTooHigh(tcb: Tcb, lostBytes: number, inFlightBytes: number): boolean {
  return lostBytes > inFlightBytes * LOSS_THRESHOLD || (lostBytes > 0 && !tcb.sack);
}

export function inflightWithHeadroom(bbr: BbrState, tcb: Tcb): number {
  if (bbr.inflightLongTerm === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  const headroom = Math.max(tcb.mssBytes, HEADROOM * bbr.inflightLongTerm);
  return Math.max(bbr.inflightLongTerm - headroom, minPipeCwnd(tcb));
}

/** NoteLoss: the first of a round begins the round that it is judged by. */
export function noteLoss(bbr: BbrState, tcb: Tcb): void {
  if (!bbr.isLossInRound) {
    bbr.lossRoundDelivered = tcb.deliveredBytes;
    saveStateUponLoss(bbr, tcb);
  }
  bbr.isLossInRound = true;
}

/** 5.5.11.1. */
export function saveStateUponLoss(bbr: BbrState, tcb: Tcb): void {
  saveCwnd(bbr, tcb);
  bbr.undoState = NO_STATE;
  bbr.undoBwShortTerm = bbr.bwShortTerm;
  bbr.undoInflightShortTerm = bbr.inflightShortTerm;
  bbr.undoInflightLongTerm = bbr.inflightLongTerm;
}

/** 5.6.4.4: the window as it was, but for loss recovery and ProbeRTT. */
export function saveCwnd(bbr: BbrState, tcb: Tcb): void {
  const isModulated = tcb.recoveryState >= RECOVERY || bbr.state === PROBE_RTT;
  bbr.priorCwnd = isModulated ? Math.max(bbr.priorCwnd, tcb.cwndBytes) : tcb.cwndBytes;
}

export function restoreCwnd(bbr: BbrState, tcb: Tcb): void {
  tcb.cwndBytes = Math.max(tcb.cwndBytes, bbr.priorCwnd);
}
