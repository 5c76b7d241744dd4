/**
 * Loss recovery: fast retransmit and NewReno fast recovery (RFC 5681 section 3.2, RFC 6582), limited transmit
 * (RFC 3042), and the retransmission time-out (RFC 6298 section 5). It marks what is to be sent; output sends it.
 */
import { newReno } from './congestion/newreno.ts';
import { FAST_RETRANSMITS, TIMEOUTS } from './counters.ts';
import { abandonTiming, backOffRto } from './rtt.ts';
import { seqAdd, seqAfter, seqAfterOrAt, seqDistance } from './sequence.ts';
import { SYN_RECEIVED, SYN_SENT } from './state.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

const DUPLICATE_ACK_THRESHOLD = 3;

/** Bytes sent and not acknowledged, whether or not they are lost. */
export function flightBytes(tcb: Tcb): number {
  return seqDistance(tcb.sndMax, tcb.sndUna);
}

/** RFC 5681 3.2: a duplicate ACK arrived. */
export function duplicateAck(tcp: Tcp, tcb: Tcb): void {
  tcb.duplicateAcks++;
  if (tcb.inRecovery) {
    // RFC 6582 3.2 step 3: another segment has left the network.
    tcb.cwndBytes += tcb.mssBytes;
    tcp.wantOutput(tcb);
    return;
  }
  // RFC 3042: the first two duplicates release a new segment each (output adds the allowance).
  tcp.wantOutput(tcb);
  if (tcb.duplicateAcks !== DUPLICATE_ACK_THRESHOLD) return;
  // RFC 6582 3.2 step 1: not for what was sent before the last recovery's end.
  if (!seqAfter(tcb.sndUna, tcb.recover)) return;
  // RFC 5681 3.2 step 2: what limited transmit sent beyond the congestion window does not count.
  newReno.lossDetected(tcb, Math.min(flightBytes(tcb), tcb.cwndBytes));
  tcb.inRecovery = true;
  tcb.partialAcks = 0;
  tcb.recover = tcb.sndMax;
  tcb.cwndBytes = tcb.ssthreshBytes + DUPLICATE_ACK_THRESHOLD * tcb.mssBytes;
  tcb.retransmitOne = true;
  abandonTiming(tcb);
  tcp.counters.increment(FAST_RETRANSMITS);
}

/** New data was acknowledged: `sndUna` has advanced by `bytes`. */
export function acknowledgedNew(tcb: Tcb, bytes: number): void {
  if (!tcb.inRecovery) {
    tcb.duplicateAcks = 0;
    // Kept close behind SND.UNA, or after 2^31 bytes without a loss it would lie ahead.
    if (seqAfter(tcb.sndUna, tcb.recover)) tcb.recover = seqAdd(tcb.sndUna, -1);
    newReno.acknowledged(tcb, bytes);
    return;
  }
  if (seqAfterOrAt(tcb.sndUna, tcb.recover)) {
    // RFC 6582 3.2 step 3, full acknowledgment, first option: no burst into an empty pipe.
    const flight = flightBytes(tcb);
    tcb.cwndBytes = Math.min(tcb.ssthreshBytes, Math.max(flight, tcb.mssBytes) + tcb.mssBytes);
    tcb.inRecovery = false;
    tcb.retransmitOne = false;
    tcb.duplicateAcks = 0;
    return;
  }
  // Partial acknowledgment: the next hole is lost too; deflate by what left, and add back one segment.
  tcb.partialAcks++;
  tcb.retransmitOne = true;
  tcb.cwndBytes = Math.max(tcb.mssBytes, tcb.cwndBytes - bytes);
  if (bytes >= tcb.mssBytes) tcb.cwndBytes += tcb.mssBytes;
}

/** What limited transmit lets out beyond the congestion window (RFC 3042). */
export function limitedTransmitBytes(tcb: Tcb): number {
  if (tcb.inRecovery || tcb.duplicateAcks === 0) return 0;
  return Math.min(tcb.duplicateAcks, DUPLICATE_ACK_THRESHOLD - 1) * tcb.mssBytes;
}

/** RFC 6298 5.4 to 5.6: the retransmission timer expired. The connection has been found worth another try. */
export function retransmitTimedOut(tcp: Tcp, tcb: Tcb): void {
  abandonTiming(tcb);
  backOffRto(tcb, tcp.settings);
  if (tcb.state === SYN_SENT || tcb.state === SYN_RECEIVED) {
    tcb.synNow = true;
    return;
  }
  // RFC 5681 3.1: the flight of the first time-out decides; one segment until it is acknowledged.
  if (tcb.retries === 1) newReno.timedOut(tcb, flightBytes(tcb));
  tcb.cwndBytes = tcb.mssBytes;
  tcb.inRecovery = false;
  tcb.retransmitOne = false;
  tcb.duplicateAcks = 0;
  // RFC 6582 section 4.1: duplicates of this flight start no fast retransmit.
  tcb.recover = tcb.sndMax;
  tcb.sndNxt = tcb.sndUna;
  tcb.regionCursor = null;
  tcp.counters.increment(TIMEOUTS);
}
