/**
 * The tail loss probe (RFC 8985 section 7): when nothing has answered for two round trips, the last segment goes again, or
 * a new one, so that the peer's acknowledgment tells what is lost before the retransmission time-out would.
 */
import { TAIL_LOSS_PROBES } from './counters.ts';
import { flightBytes } from './pipe.ts';
import type { Segment } from './segment.ts';
import { seqAfter, seqAfterOrAt } from './sequence.ts';
import { ESTABLISHED } from './state.ts';
import { DISORDER, OPEN, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** What a peer's delayed acknowledgment of a lone segment may add (7.2: WCDelAckT). */
const WORST_DELAYED_ACK_US = 200_000;

/**
 * Differs: 7.2 adds nothing where more is in flight. A host that waits for a processor acknowledges milliseconds late, which on
 * a short path is many round trips (Linux: TCP_TIMEOUT_MIN, two ticks of its clock).
 */
const BUSY_PEER_US = 2000;

/** 7.2: the probe time-out, 0 when none is to be sent. */
export function probeTimeoutUs(tcp: Tcp, tcb: Tcb): number {
  if (!tcp.settings.tailLossProbe || !tcb.sack || tcb.recoveryState !== OPEN || tcb.state < ESTABLISHED) return 0;
  if (tcb.tlpOut || tcb.retries > 0 || tcb.srttUs === 0 || tcb.sackedBytes > 0) return 0;
  const timeoutUs = 2 * tcb.srttUs + (flightBytes(tcb) <= tcb.mssBytes ? WORST_DELAYED_ACK_US : BUSY_PEER_US);
  return Math.min(timeoutUs, tcb.rtoUs);
}

/** 7.3: a probe has been sent; SND.NXT covers it. */
export function probeSent(tcp: Tcp, tcb: Tcb, wasRetransmission: boolean): void {
  tcp.counters.increment(TAIL_LOSS_PROBES);
  tcb.tlpNow = false;
  tcb.tlpOut = true;
  tcb.tlpEnd = tcb.sndNxt;
  tcb.tlpRetransmitted = wasRetransmission;
}

/** 7.4.2: whether the acknowledgment shows that the probe has repaired a loss, which nothing else has told of. */
export function probeHasRepaired(tcp: Tcp, tcb: Tcb, segment: Segment): boolean {
  const { acknowledgment } = tcp;
  if (!seqAfterOrAt(segment.ack, tcb.tlpEnd)) return false;
  if (!tcb.tlpRetransmitted || acknowledgment.hasDsack) {
    tcb.tlpOut = false;
  } else if (seqAfter(segment.ack, tcb.tlpEnd)) {
    tcb.tlpOut = false;
    return tcb.recoveryState <= DISORDER;
  } else if (acknowledgment.advancedBytes === 0 && acknowledgment.heldBytes === 0) {
    // A second acknowledgment of the same: both copies have arrived.
    tcb.tlpOut = false;
  }
  return false;
}
