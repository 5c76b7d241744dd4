/**
 * BBR, version 3 (draft-ietf-ccwg-bbr-06): it keeps a model of the path, its bandwidth and propagation delay, and sends at the
 * rate of the one as much as the two take, instead of as much as gets lost.
 */
import { pipeBytes } from '../../pipe.ts';
import type { Tcb } from '../../tcb.ts';
import { type CongestionContext, type CongestionControl, INITIAL_SSTHRESH_BYTES } from '../congestion.ts';
import { initPacingRate, setCwnd, setPacingRate, setSendQuantum } from './control.ts';
import {
  advanceLatestDeliverySignals,
  boundBwForModel,
  checkFullBwReached,
  isInflightTooHigh,
  LOSS_THRESHOLD,
  noteLoss,
  resetFullBw,
  restoreCwnd,
  saveStateUponLoss,
  updateAckAggregation,
  updateCongestionSignals,
  updateLatestDeliverySignals,
  updateMinRtt,
} from './model.ts';
import { BbrState, NO_STATE, PROBE_BW_DOWN, PROBE_BW_UP, PROBE_RTT, STARTUP } from './state.ts';
import {
  checkDrainDone,
  checkProbeRtt,
  checkProbeRttDone,
  checkStartupDone,
  enterStartup,
  handleInflightTooHigh,
  startRefill,
  updateProbeBwPhase,
} from './states.ts';

export const bbr: CongestionControl = {
  name: 'bbr',

  /** 5.2.1. */
  begin(context: CongestionContext, tcb: Tcb): void {
    const state = new BbrState();
    tcb.congestionState = state;
    tcb.ssthreshBytes = INITIAL_SSTHRESH_BYTES;
    state.initialCwnd = tcb.cwndBytes;
    state.minRttAtUs = context.nowUs;
    state.probeRttMinAtUs = context.nowUs;
    state.extraAckedAtUs = context.nowUs;
    state.nextRoundDelivered = tcb.deliveredBytes;
    state.hasMeasuredRtt = tcb.srttUs > 0;
    if (state.hasMeasuredRtt) {
      state.minRttUs = tcb.srttUs;
      state.probeRttMinDelayUs = tcb.srttUs;
    }
    initPacingRate(state, tcb);
    enterStartup(state, tcb);
  },

  /** The model sees every acknowledgment; there is nothing to add. */
  acknowledged(): void {},

  /** 5.6.4.4: a recovery begins, or congestion was signalled without a loss. */
  reduce(_context: CongestionContext, tcb: Tcb): void {
    const state = tcb.congestionState as BbrState;
    noteLoss(state, tcb);
    saveStateUponLoss(state, tcb);
  },

  /** 5.5.11.2. */
  undo(tcb: Tcb): void {
    const state = tcb.congestionState as BbrState;
    restoreCwnd(state, tcb);
    state.isLossInRound = false;
    resetFullBw(state);
    state.bwShortTerm = Math.max(state.bwShortTerm, state.undoBwShortTerm);
    state.inflightShortTerm = Math.max(state.inflightShortTerm, state.undoInflightShortTerm);
    state.inflightLongTerm = Math.max(state.inflightLongTerm, state.undoInflightLongTerm);
    const { undoState } = state;
    state.undoState = NO_STATE;
    if (undoState === STARTUP && state.state !== STARTUP) {
      state.fullBwReached = false;
      if (state.state !== PROBE_RTT) enterStartup(state, tcb);
    } else if (undoState === PROBE_BW_UP && state.state !== PROBE_BW_UP && state.state !== PROBE_RTT) {
      startRefill(state, tcb);
    }
  },

  model: {
    /** 5.2.3. */
    acknowledged(context: CongestionContext, tcb: Tcb): void {
      const state = tcb.congestionState as BbrState;
      if (!state.hasMeasuredRtt && tcb.srttUs > 0) {
        state.hasMeasuredRtt = true;
        if (state.state === STARTUP) initPacingRate(state, tcb);
      }
      updateLatestDeliverySignals(context, state, tcb);
      updateCongestionSignals(context, state, tcb);
      updateAckAggregation(context, state, tcb);
      checkFullBwReached(context, state);
      checkStartupDone(context, state, tcb);
      checkDrainDone(context, state, tcb);
      updateProbeBwPhase(context, state, tcb);
      updateMinRtt(context, state);
      checkProbeRtt(context, state, tcb);
      advanceLatestDeliverySignals(context, state);
      boundBwForModel(state);
      setPacingRate(state, tcb, state.pacingGain);
      setSendQuantum(tcb);
      setCwnd(context, state, tcb);
    },

    /** HandleLostPacket (5.5.10.2). */
    lost(context: CongestionContext, tcb: Tcb, range: number): void {
      const state = tcb.congestionState as BbrState;
      const { ranges } = context;
      noteLoss(state, tcb);
      state.lossEventsInRound++;
      if (!state.isProbeSample) return;
      const inFlightBytes = ranges.inFlightAtSend(range);
      const lostBytes = tcb.lostTotalBytes - ranges.lostBytesAtSend(range);
      if (!isInflightTooHigh(tcb, lostBytes, inFlightBytes)) return;
      const tooHighBytes = inflightAtLoss(ranges.bytes(range), inFlightBytes, lostBytes);
      handleInflightTooHigh(context, state, tcb, tooHighBytes, ranges.wasAppLimited(range));
    },

    /** HandleRestartFromIdle (5.4.1). */
    transmits(context: CongestionContext, tcb: Tcb): void {
      const state = tcb.congestionState as BbrState;
      if (tcb.appLimitedUntilBytes === 0 || pipeBytes(tcb) > 0) return;
      state.idleRestart = true;
      state.extraAckedAtUs = context.nowUs;
      if (state.state >= PROBE_BW_DOWN && state.state <= PROBE_BW_UP) setPacingRate(state, tcb, 1);
      else if (state.state === PROBE_RTT) checkProbeRttDone(context, state, tcb);
    },

    /** RestoreCwnd (5.6.4.4). */
    recovered(tcb: Tcb): void {
      restoreCwnd(tcb.congestionState as BbrState, tcb);
    },
  },
};

/** InflightAtLoss: at which volume in flight, within a range that left as one, losses were too many. */
function inflightAtLoss(bytes: number, inFlightBytes: number, lostBytes: number): number {
  const inFlightBefore = inFlightBytes - bytes;
  const lostBefore = lostBytes - bytes;
  const lostPrefix = (LOSS_THRESHOLD * inFlightBefore - lostBefore) / (1 - LOSS_THRESHOLD);
  return inFlightBefore + Math.max(0, lostPrefix);
}
