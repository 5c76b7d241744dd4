/**
 * Congestion window validation (RFC 7661): a window that an application has not used for a while says little about the path. It
 * does not grow meanwhile, congestion brings it down to what was used, and it shrinks when it stays unused for minutes; a pause
 * alone costs nothing.
 * With `slowStartAfterIdle` it decays during a pause instead (RFC 2861, RFC 5681 section 4.1), as Linux does by default.
 */
import { flightBytes } from './pipe.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** The non-validated period (section 4.4). */
const NON_VALIDATED_MS = 300_000;
/** Section 4.2: the pipeACK sampling period is three round trips, and at least this long. */
const MIN_SAMPLING_US = 1_000_000;
const SAMPLING_ROUNDS = 3;

/** pipeACK before anything was measured (section 4.2, "undefined"). */
export const NO_PIPE_ACK = -1;

/** Section 4.2, for an acknowledgment: what is delivered in a round trip, the most of it in the sampling period. */
export function notePipeAck(tcp: Tcp, tcb: Tcb): void {
  const { rateSample } = tcp;
  if (!rateSample.hasData) return;
  if (tcp.nowUs - tcb.pipeAckAtUs > Math.max(SAMPLING_ROUNDS * tcb.srttUs, MIN_SAMPLING_US)) {
    tcb.pipeAckBeforeBytes = tcb.pipeAckBytes;
    tcb.pipeAckBytes = 0;
    tcb.pipeAckAtUs = tcp.nowUs;
  }
  tcb.pipeAckBytes = Math.max(tcb.pipeAckBytes, rateSample.deliveredBytes);
  if (isValidated(tcb)) tcb.validatedAtMs = tcp.clock.nowMs;
  else if (((tcp.clock.nowMs - tcb.validatedAtMs) | 0) > NON_VALIDATED_MS) shrinkUnused(tcp, tcb);
}

/** Section 4.3: at least half of the window is used. */
export function isValidated(tcb: Tcb): boolean {
  const pipeAck = Math.max(tcb.pipeAckBytes, tcb.pipeAckBeforeBytes);
  return pipeAck === NO_PIPE_ACK || 2 * pipeAck >= tcb.cwndBytes;
}

/** Section 4.4.2: before congestion brings the window down it becomes what was used of it, which is not known any more then. */
export function validateForReduction(tcp: Tcp, tcb: Tcb): void {
  if (tcp.settings.slowStartAfterIdle || isValidated(tcb)) return;
  const used = Math.max(tcb.pipeAckBytes, tcb.pipeAckBeforeBytes, flightBytes(tcb));
  tcb.cwndBytes = Math.min(tcb.cwndBytes, Math.max(used, 2 * tcb.mssBytes));
  tcb.pipeAckBytes = NO_PIPE_ACK;
  tcb.pipeAckBeforeBytes = NO_PIPE_ACK;
}

/** Something is to be sent, and nothing is in flight. */
export function validateAfterIdle(tcp: Tcp, tcb: Tcb): void {
  const idleUs = tcp.nowUs - tcb.lastSentUs;
  if (tcp.settings.slowStartAfterIdle) {
    if (idleUs > tcb.rtoUs) decay(tcp, tcb, idleUs);
  } else if (idleUs > 1000 * NON_VALIDATED_MS && !isValidated(tcb)) {
    shrinkUnused(tcp, tcb);
  }
}

/** Section 4.4.3: the period is over. */
function shrinkUnused(tcp: Tcp, tcb: Tcb): void {
  tcb.ssthreshBytes = Math.max(tcb.ssthreshBytes, Math.floor((3 * tcb.cwndBytes) / 4));
  tcb.cwndBytes = Math.max(tcb.cwndBytes >> 1, initialWindow(tcp, tcb));
  tcb.validatedAtMs = tcp.clock.nowMs;
}

/** RFC 2861: half as much for every time-out of the pause, but no less than in the beginning. */
function decay(tcp: Tcp, tcb: Tcb, idleUs: number): void {
  const least = Math.min(initialWindow(tcp, tcb), tcb.cwndBytes);
  tcb.ssthreshBytes = Math.max(tcb.ssthreshBytes, Math.floor((3 * tcb.cwndBytes) / 4));
  for (let leftUs = idleUs - tcb.rtoUs; leftUs > 0 && tcb.cwndBytes > least; leftUs -= tcb.rtoUs) tcb.cwndBytes >>= 1;
  tcb.cwndBytes = Math.max(tcb.cwndBytes, least);
  tcb.usedCwndBytes = 0;
  tcb.cwndLimited = false;
}

/** RFC 6928. */
function initialWindow(tcp: Tcp, tcb: Tcb): number {
  return tcp.settings.initialWindowSegments * tcb.mssBytes;
}
