/**
 * CUBIC (RFC 9438), in its variables: after congestion the window grows along a cubic curve of the time since, flat around
 * where the congestion was, and never more slowly than Reno would. Slow start ends by HyStart++ (RFC 9406).
 */
import type { Tcb } from '../tcb.ts';
import {
  type CongestionContext,
  type CongestionControl,
  ECN_ECHOED,
  INITIAL_SSTHRESH_BYTES,
  TIMED_OUT,
} from './congestion.ts';
import { HyStart } from './hystart.ts';
import { slowStart } from './newreno.ts';

/** C, in segments a second cubed (section 4.1). */
const C = 0.4;
/** beta_cubic (section 4.6). */
const BETA = 0.7;
/** For a mark instead of a loss: the queue that set it is short (RFC 8511 section 3.1). */
const BETA_ECN = 0.85;
/** alpha_cubic: with it Reno's growth after a reduction by beta_cubic takes the share that Reno would (section 4.3). */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

class CubicState {
  readonly hyStart = new HyStart();
  /** W_max, segments. */
  wMax = 0;
  /** The same before this congestion, for `undo`. */
  wMaxBefore = 0;
  /** cwnd_prior: the window at the last reduction, segments (section 4.3), and before that one. */
  windowPrior = 0;
  windowPriorBefore = 0;
  /** K: seconds from the beginning of the epoch until the window is W_max again. */
  k = 0;
  /** When the epoch began, microseconds; -1: it begins with the next acknowledgment. */
  epochUs = -1;
  /** cwnd_epoch, segments. */
  windowAtEpoch = 0;
  /** W_est, segments. */
  wEst = 0;
  /** The window in segments with its fraction, which `cwndBytes` cannot hold, and `cwndBytes` as it was set from it. */
  window = 0;
  windowBytes = 0;

  reset(): void {
    this.hyStart.end();
    this.wMax = 0;
    this.wMaxBefore = 0;
    this.windowPrior = 0;
    this.windowPriorBefore = 0;
    this.epochUs = -1;
  }
}

export const cubic: CongestionControl = {
  name: 'cubic',

  begin(_context: CongestionContext, tcb: Tcb): void {
    // Records of connections are used again, and this with them; a connection that sends nothing needs none.
    if (tcb.congestionState instanceof CubicState) tcb.congestionState.reset();
    else tcb.congestionState = null;
  },

  acknowledged(context: CongestionContext, tcb: Tcb, bytes: number): void {
    const state = stateOf(tcb);
    if (tcb.cwndBytes < tcb.ssthreshBytes) {
      const counted = state.hyStart.acknowledged(context, tcb, bytes);
      const left = slowStart(tcb, counted);
      if (left === 0) return;
    }
    avoidCongestion(context, tcb, state, bytes);
  },

  /** Sections 4.6 to 4.8. */
  reduce(_context: CongestionContext, tcb: Tcb, cause: number): void {
    const state = stateOf(tcb);
    const segments = tcb.cwndBytes / tcb.mssBytes;
    state.wMaxBefore = state.wMax;
    state.windowPriorBefore = state.windowPrior;
    state.windowPrior = segments;
    // Section 4.7, fast convergence: a flow that gets less than before makes room for a new one.
    state.wMax = segments < state.wMax ? (segments * (1 + BETA)) / 2 : segments;
    const beta = cause === ECN_ECHOED && tcb.tcp.settings.alternativeBackoff ? BETA_ECN : BETA;
    tcb.ssthreshBytes = Math.max(Math.floor(beta * segments) * tcb.mssBytes, 2 * tcb.mssBytes);
    state.epochUs = -1;
    state.hyStart.end();
    if (cause === TIMED_OUT) state.wMax = segments;
  },

  undo(tcb: Tcb): void {
    const state = stateOf(tcb);
    state.wMax = state.wMaxBefore;
    state.windowPrior = state.windowPriorBefore;
    state.epochUs = -1;
  },

  model: null,
};

function stateOf(tcb: Tcb): CubicState {
  tcb.congestionState ??= new CubicState();
  return tcb.congestionState as CubicState;
}

/** Sections 4.2 to 4.5. */
function avoidCongestion(context: CongestionContext, tcb: Tcb, state: CubicState, bytes: number): void {
  const { mssBytes } = tcb;
  if (state.epochUs < 0 || state.windowBytes !== tcb.cwndBytes) beginEpoch(context, tcb, state);
  const acked = bytes / mssBytes;
  const srtt = tcb.srttUs / 1e6;
  const t = (context.nowUs - state.epochUs) / 1e6;
  // Section 4.3: as Reno would have grown by now.
  const catchesUp = state.wEst >= state.windowPrior && tcb.tcp.settings.cubicRenoCatchesUp;
  const alpha = catchesUp ? 1 : ALPHA;
  state.wEst += (alpha * acked) / state.window;
  if (curve(state, t) < state.wEst) {
    state.window = Math.max(state.window, state.wEst);
  } else {
    // Section 4.4: where the curve will be in a round trip, within what may be reached in one.
    const target = Math.min(Math.max(curve(state, t + srtt), state.window), 1.5 * state.window);
    state.window += ((target - state.window) / state.window) * acked;
  }
  tcb.cwndBytes = Math.min(Math.floor(state.window * mssBytes), INITIAL_SSTHRESH_BYTES);
  state.windowBytes = tcb.cwndBytes;
}

/** W_cubic(t), segments (section 4.2, figure 1). */
function curve(state: CubicState, t: number): number {
  return C * (t - state.k) ** 3 + state.wMax;
}

/** Section 4.2: congestion avoidance begins, after congestion, or after slow start has ended without any. */
function beginEpoch(context: CongestionContext, tcb: Tcb, state: CubicState): void {
  state.epochUs = context.nowUs;
  state.window = tcb.cwndBytes / tcb.mssBytes;
  state.windowBytes = tcb.cwndBytes;
  state.windowAtEpoch = state.window;
  state.wEst = state.window;
  if (state.wMax <= state.window) {
    state.wMax = state.window;
    state.k = 0;
  } else {
    state.k = Math.cbrt((state.wMax - state.windowAtEpoch) / C);
  }
}
