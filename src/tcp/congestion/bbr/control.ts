/** What BBR's model is turned into (draft-ietf-ccwg-bbr section 5.6): pacing rate, send quantum and congestion window. */
import type { Tcb } from '../../tcb.ts';
import type { CongestionContext } from '../congestion.ts';
import { inflightWithHeadroom, minPipeCwnd } from './model.ts';
import { type BbrState, PROBE_BW_CRUISE, PROBE_BW_DOWN, PROBE_BW_REFILL, PROBE_BW_UP, PROBE_RTT } from './state.ts';

export const STARTUP_PACING_GAIN = 2.77;
export const PROBE_RTT_CWND_GAIN = 0.5;
/** BBR.PacingMarginPercent, as what is left. */
const PACING_MARGIN = 0.99;
/** A quantum is what leaves in so long. */
const QUANTUM_US = 1000;
const MAX_QUANTUM_BYTES = 64 * 1024;
/** Quanta on their way through hosts that handle super-frames (5.5.8.1). */
const OFFLOAD_QUANTA = 3;
const NOMINAL_RTT_US = 1000;

/** 5.6.2, InitPacingRate: before any bandwidth is measured. */
export function initPacingRate(bbr: BbrState, tcb: Tcb): void {
  const rttUs = tcb.srttUs > 0 ? tcb.srttUs : NOMINAL_RTT_US;
  tcb.pacingBytesPerSecond = (STARTUP_PACING_GAIN * bbr.initialCwnd * 1e6) / rttUs;
  setSendQuantum(tcb);
}

export function setPacingRate(bbr: BbrState, tcb: Tcb, gain: number): void {
  const rate = gain * bbr.bw * PACING_MARGIN;
  if (bbr.fullBwReached ? rate > 0 : rate > tcb.pacingBytesPerSecond) tcb.pacingBytesPerSecond = rate;
}

/** 5.6.3. */
export function setSendQuantum(tcb: Tcb): void {
  const quantum = Math.min((tcb.pacingBytesPerSecond * QUANTUM_US) / 1e6, MAX_QUANTUM_BYTES);
  tcb.sendQuantumBytes = Math.max(Math.floor(quantum), 2 * tcb.mssBytes);
}

/** BDPMultiple (5.6.4.2). */
export function bdpMultiple(bbr: BbrState, gain: number): number {
  if (bbr.minRttUs === Number.POSITIVE_INFINITY) return bbr.initialCwnd;
  return (gain * bbr.bw * bbr.minRttUs) / 1e6;
}

/** Inflight(gain): so much of the path's capacity, with what hosts hold meanwhile. */
export function inflight(bbr: BbrState, tcb: Tcb, gain: number): number {
  return quantizationBudget(bbr, tcb, bdpMultiple(bbr, gain));
}

function quantizationBudget(bbr: BbrState, tcb: Tcb, cap: number): number {
  const budget = Math.max(cap, OFFLOAD_QUANTA * tcb.sendQuantumBytes, minPipeCwnd(tcb));
  return bbr.state === PROBE_BW_UP ? budget + 2 * tcb.mssBytes : budget;
}

export function probeRttCwnd(bbr: BbrState, tcb: Tcb): number {
  return Math.max(bdpMultiple(bbr, PROBE_RTT_CWND_GAIN), minPipeCwnd(tcb));
}

/** 5.6.4.6. */
export function setCwnd(context: CongestionContext, bbr: BbrState, tcb: Tcb): void {
  const acked = context.acknowledgment.deliveredBytes;
  const extraAcked = Math.max(bbr.extraAcked, bbr.extraAckedBefore);
  const maxInflight = quantizationBudget(bbr, tcb, bdpMultiple(bbr, bbr.cwndGain) + extraAcked);
  let cwnd = tcb.cwndBytes;
  if (bbr.fullBwReached) cwnd = Math.min(cwnd + acked, maxInflight);
  else if (cwnd < maxInflight || tcb.deliveredBytes < bbr.initialCwnd) cwnd += acked;
  cwnd = Math.max(cwnd, minPipeCwnd(tcb));
  if (bbr.state === PROBE_RTT) cwnd = Math.min(cwnd, probeRttCwnd(bbr, tcb));
  tcb.cwndBytes = Math.floor(Math.min(cwnd, modelCap(bbr, tcb)));
}

/** BoundCwndForModel (5.6.4.7). */
function modelCap(bbr: BbrState, tcb: Tcb): number {
  let cap = Number.POSITIVE_INFINITY;
  if (bbr.state === PROBE_BW_DOWN || bbr.state === PROBE_BW_REFILL || bbr.state === PROBE_BW_UP) {
    cap = bbr.inflightLongTerm;
  } else if (bbr.state === PROBE_RTT || bbr.state === PROBE_BW_CRUISE) {
    cap = inflightWithHeadroom(bbr, tcb);
  }
  return Math.max(Math.min(cap, bbr.inflightShortTerm), minPipeCwnd(tcb));
}
