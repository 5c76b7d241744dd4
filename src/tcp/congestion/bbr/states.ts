/**
 * BBR's states (draft-ietf-ccwg-bbr section 5.3): it starts up, drains the queue which that has made, probes for bandwidth in
 * cycles of four phases, and now and then for the propagation delay.
 */
import { markAppLimited } from '../../delivery-rate.ts';
import { pipeBytes } from '../../pipe.ts';
import { RECOVERY, type Tcb } from '../../tcb.ts';
import { note } from '../../trace.ts';
import { type CongestionContext, INITIAL_SSTHRESH_BYTES } from '../congestion.ts';
import { bdpMultiple, inflight, PROBE_RTT_CWND_GAIN, probeRttCwnd, STARTUP_PACING_GAIN } from './control.ts';
import {
  advanceMaxBwFilter,
  BETA,
  inflightWithHeadroom,
  isInflightTooHigh,
  resetCongestionSignals,
  resetFullBw,
  resetShortTermModel,
  restoreCwnd,
  saveCwnd,
  startRound,
} from './model.ts';
import {
  ACKS_INIT,
  ACKS_PROBE_FEEDBACK,
  ACKS_PROBE_STARTING,
  ACKS_PROBE_STOPPING,
  ACKS_REFILLING,
  type BbrState,
  DRAIN,
  PROBE_BW_CRUISE,
  PROBE_BW_DOWN,
  PROBE_BW_REFILL,
  PROBE_BW_UP,
  PROBE_RTT,
  STARTUP,
  STATE_NAMES,
} from './state.ts';

const CWND_GAIN = 2;
const UP_CWND_GAIN = 2.25;
const UP_PACING_GAIN = 1.25;
const DOWN_PACING_GAIN = 0.9;
const DRAIN_PACING_GAIN = 0.5;
/** Losses in a round that end Startup (5.3.1.3). */
const STARTUP_FULL_LOSSES = 6;
const DRAIN_ROUNDS = 3;
const PROBE_RTT_DURATION_US = 200_000;
/** T_bbr (5.3.3.8.2): between two and three seconds. */
const PROBE_WAIT_US = 2_000_000;
const PROBE_WAIT_SPREAD_US = 1_000_000;
/** T_reno_bound. */
const RENO_ROUNDS = 63;
const MAX_PROBE_UP_ROUNDS = 30;

function enter(bbr: BbrState, tcb: Tcb, state: number, pacingGain: number, cwndGain: number): void {
  if (tcb.tcp.tracing) note(tcb, `BBR: ${STATE_NAMES[state]}, draft-ietf-ccwg-bbr 5.3`);
  bbr.state = state;
  bbr.pacingGain = pacingGain;
  bbr.cwndGain = cwndGain;
}

export function enterStartup(bbr: BbrState, tcb: Tcb): void {
  enter(bbr, tcb, STARTUP, STARTUP_PACING_GAIN, CWND_GAIN);
}

function isInAProbeBwState(bbr: BbrState): boolean {
  return bbr.state >= PROBE_BW_DOWN && bbr.state <= PROBE_BW_UP;
}

/** 5.3.1. */
export function checkStartupDone(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  checkStartupHighLoss(context, bbr, tcb);
  if (bbr.state !== STARTUP || !bbr.fullBwReached) return;
  enter(bbr, tcb, DRAIN, DRAIN_PACING_GAIN, CWND_GAIN);
  bbr.drainStartRound = bbr.roundCount;
}

/** 5.3.1.3: losses through a whole round of recovery say that the pipe is full. */
function checkStartupHighLoss(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  const { rateSample } = context;
  const enough = tcb.sack ? STARTUP_FULL_LOSSES : 1;
  const isHigh =
    bbr.lossRoundStart &&
    tcb.recoveryState === RECOVERY &&
    bbr.lossEventsInRound >= enough &&
    isInflightTooHigh(tcb, rateSample.lostBytes, rateSample.txInFlightBytes);
  if (bbr.lossRoundStart) bbr.lossEventsInRound = 0;
  if (!isHigh || bbr.fullBwReached) return;
  bbr.undoState = STARTUP;
  bbr.fullBwReached = true;
  bbr.inflightLongTerm = Math.max(bdpMultiple(bbr, 1), bbr.inflightLatest);
}

/** 5.3.2. */
export function checkDrainDone(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  if (bbr.state !== DRAIN) return;
  const isDrained = pipeBytes(tcb) <= inflight(bbr, tcb, 1);
  if (isDrained || bbr.roundCount > bbr.drainStartRound + DRAIN_ROUNDS) startDown(context, bbr, tcb);
}

// The phases of bandwidth probing (5.3.3.9).

function startDown(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  resetCongestionSignals(bbr);
  bbr.probeUpAckedPerIncrement = Number.POSITIVE_INFINITY;
  // PickProbeWait: flows that began together do not probe together for ever.
  bbr.roundsSinceProbeUp = context.random.below(2);
  bbr.probeWaitUs = PROBE_WAIT_US + context.random.below(PROBE_WAIT_SPREAD_US);
  bbr.cycleAtUs = context.nowUs;
  bbr.ackPhase = ACKS_PROBE_STOPPING;
  startRound(bbr, tcb);
  enter(bbr, tcb, PROBE_BW_DOWN, DOWN_PACING_GAIN, CWND_GAIN);
}

function startCruise(bbr: BbrState, tcb: Tcb): void {
  enter(bbr, tcb, PROBE_BW_CRUISE, 1, CWND_GAIN);
}

export function startRefill(bbr: BbrState, tcb: Tcb): void {
  resetShortTermModel(bbr);
  bbr.probeUpRounds = 0;
  bbr.probeUpAcked = 0;
  bbr.previousProbePrecautionary = false;
  bbr.ackPhase = ACKS_REFILLING;
  startRound(bbr, tcb);
  enter(bbr, tcb, PROBE_BW_REFILL, 1, CWND_GAIN);
}

function startUp(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  bbr.ackPhase = ACKS_PROBE_STARTING;
  startRound(bbr, tcb);
  resetFullBw(bbr);
  bbr.fullBw = context.rateSample.bytesPerSecond;
  enter(bbr, tcb, PROBE_BW_UP, UP_PACING_GAIN, UP_CWND_GAIN);
  raiseLongTermSlope(bbr, tcb);
}

/** UpdateProbeBWCyclePhase. */
export function updateProbeBwPhase(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  if (!bbr.fullBwReached || adaptLongTermModel(context, bbr, tcb)) return;
  switch (bbr.state) {
    case PROBE_BW_DOWN:
      if (isTimeToProbe(context, bbr, tcb)) startRefill(bbr, tcb);
      else if (isTimeToCruise(bbr, tcb)) startCruise(bbr, tcb);
      break;
    case PROBE_BW_CRUISE:
      if (isTimeToProbe(context, bbr, tcb)) startRefill(bbr, tcb);
      break;
    case PROBE_BW_REFILL:
      if (!bbr.roundStart) break;
      bbr.isProbeSample = true;
      startUp(context, bbr, tcb);
      break;
    case PROBE_BW_UP:
      if (!isTimeToGoDown(context, bbr, tcb)) break;
      bbr.previousProbeTooHigh = false;
      startDown(context, bbr, tcb);
      break;
  }
}

/** 5.3.3.8: by the clock, or where Reno would have found room by then, in rounds. */
function isTimeToProbe(context: CongestionContext, bbr: BbrState, tcb: Tcb): boolean {
  if (context.nowUs > bbr.cycleAtUs + bbr.probeWaitUs) return true;
  return bbr.roundsSinceProbeUp >= Math.min(targetInflight(bbr, tcb) / tcb.mssBytes, RENO_ROUNDS);
}

function targetInflight(bbr: BbrState, tcb: Tcb): number {
  return Math.min(bdpMultiple(bbr, 1), tcb.cwndBytes);
}

function isTimeToCruise(bbr: BbrState, tcb: Tcb): boolean {
  const pipe = pipeBytes(tcb);
  return pipe <= inflightWithHeadroom(bbr, tcb) && pipe <= inflight(bbr, tcb, 1);
}

function isTimeToGoDown(context: CongestionContext, bbr: BbrState, tcb: Tcb): boolean {
  // 5.3.3.6: after a probe that went too far, the next one goes no farther than where that began.
  if (bbr.previousProbeTooHigh && pipeBytes(tcb) >= bbr.inflightLongTerm) {
    bbr.previousProbePrecautionary = true;
    return true;
  }
  if (tcb.cwndLimited && tcb.cwndBytes >= bbr.inflightLongTerm) {
    resetFullBw(bbr);
    bbr.fullBw = context.rateSample.bytesPerSecond;
    return false;
  }
  return bbr.fullBwNow;
}

function raiseLongTermSlope(bbr: BbrState, tcb: Tcb): void {
  const growthThisRound = 2 ** bbr.probeUpRounds;
  bbr.probeUpRounds = Math.min(bbr.probeUpRounds + 1, MAX_PROBE_UP_ROUNDS);
  bbr.probeUpAckedPerIncrement = Math.max(tcb.cwndBytes / growthThisRound, tcb.mssBytes);
}

/** 5.3.3.5: by one segment in the first round, two in the next, four ... */
function probeLongTermUpward(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  if (!tcb.cwndLimited || tcb.cwndBytes < bbr.inflightLongTerm) return;
  bbr.probeUpAcked += context.acknowledgment.deliveredBytes;
  if (bbr.probeUpAcked >= bbr.probeUpAckedPerIncrement) {
    const increments = Math.floor(bbr.probeUpAcked / bbr.probeUpAckedPerIncrement);
    bbr.probeUpAcked -= increments * bbr.probeUpAckedPerIncrement;
    bbr.inflightLongTerm = Math.min(bbr.inflightLongTerm + increments * tcb.mssBytes, INITIAL_SSTHRESH_BYTES);
  }
  if (bbr.roundStart) raiseLongTermSlope(bbr, tcb);
}

/** AdaptLongTermModel. True: a phase has been entered. */
function adaptLongTermModel(context: CongestionContext, bbr: BbrState, tcb: Tcb): boolean {
  const { rateSample } = context;
  if (bbr.ackPhase === ACKS_PROBE_STARTING && bbr.roundStart) bbr.ackPhase = ACKS_PROBE_FEEDBACK;
  if (bbr.ackPhase === ACKS_PROBE_STOPPING && bbr.roundStart) {
    bbr.isProbeSample = false;
    bbr.ackPhase = ACKS_INIT;
    const isProbeBw = isInAProbeBwState(bbr);
    if (isProbeBw && !rateSample.isAppLimited) advanceMaxBwFilter(bbr);
    if (isProbeBw && bbr.previousProbePrecautionary && !bbr.previousProbeTooHigh) {
      startRefill(bbr, tcb);
      return true;
    }
  }
  if (isInflightTooHigh(tcb, rateSample.lostBytes, rateSample.txInFlightBytes)) return false;
  if (bbr.inflightLongTerm === Number.POSITIVE_INFINITY) return false;
  if (rateSample.txInFlightBytes > bbr.inflightLongTerm) bbr.inflightLongTerm = rateSample.txInFlightBytes;
  if (bbr.state === PROBE_BW_UP) probeLongTermUpward(context, bbr, tcb);
  return false;
}

/** 5.5.10.2: a probe has lost too much with so many bytes in flight. */
export function handleInflightTooHigh(
  context: CongestionContext,
  bbr: BbrState,
  tcb: Tcb,
  inFlightBytes: number,
  isAppLimited: boolean,
): void {
  bbr.previousProbeTooHigh = true;
  bbr.isProbeSample = false;
  if (!isAppLimited) bbr.inflightLongTerm = Math.max(inFlightBytes, targetInflight(bbr, tcb) * BETA);
  if (bbr.state !== PROBE_BW_UP) return;
  bbr.undoState = PROBE_BW_UP;
  startDown(context, bbr, tcb);
}

// 5.3.4.3.

export function checkProbeRtt(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  if (bbr.state !== PROBE_RTT && bbr.probeRttExpired && !bbr.idleRestart) {
    saveCwnd(bbr, tcb);
    enter(bbr, tcb, PROBE_RTT, 1, PROBE_RTT_CWND_GAIN);
    bbr.probeRttDoneUs = 0;
    bbr.ackPhase = ACKS_PROBE_STOPPING;
    startRound(bbr, tcb);
  }
  if (bbr.state === PROBE_RTT) handleProbeRtt(context, bbr, tcb);
  if (context.rateSample.deliveredBytes > 0) bbr.idleRestart = false;
}

function handleProbeRtt(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  // The rate is low on purpose.
  markAppLimited(tcb);
  if (bbr.probeRttDoneUs === 0) {
    if (pipeBytes(tcb) > probeRttCwnd(bbr, tcb)) return;
    bbr.probeRttDoneUs = context.nowUs + PROBE_RTT_DURATION_US;
    bbr.probeRttRoundDone = false;
    startRound(bbr, tcb);
    return;
  }
  if (bbr.roundStart) bbr.probeRttRoundDone = true;
  if (bbr.probeRttRoundDone) checkProbeRttDone(context, bbr, tcb);
}

export function checkProbeRttDone(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  if (bbr.probeRttDoneUs === 0 || context.nowUs <= bbr.probeRttDoneUs) return;
  bbr.probeRttMinAtUs = context.nowUs;
  bbr.probeRttDoneUs = 0;
  restoreCwnd(bbr, tcb);
  resetShortTermModel(bbr);
  if (bbr.fullBwReached) {
    startDown(context, bbr, tcb);
    startCruise(bbr, tcb);
  } else {
    enterStartup(bbr, tcb);
  }
}
