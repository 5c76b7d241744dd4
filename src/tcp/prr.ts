/**
 * Proportional rate reduction (RFC 6937): during a recovery the window comes down to `ssthreshBytes` in proportion to what
 * is delivered, and does not fall below it when more was lost than that.
 */
import { flightBytes, pipeBytes } from './pipe.ts';
import type { Tcb } from './tcb.ts';

/** Section 3: RecoverFS, prr_delivered and prr_out, when a recovery begins. */
export function beginReduction(tcb: Tcb): void {
  tcb.recoverFlightBytes = Math.max(1, flightBytes(tcb));
  tcb.prrDeliveredBytes = 0;
  tcb.prrOutBytes = 0;
}

/**
 * Section 3.1, on every acknowledgment: DeliveredData is `deliveredBytes`. `isProgress`: SND.UNA has advanced and nothing
 * more was found lost, so that the slow start part may be used (PRR-SSRB); otherwise as much leaves as was delivered (PRR-CRB).
 * Differs: like Linux in whole segments, rounded up, as half a segment cannot be sent; and the first retransmission of a
 * recovery is never held back, nor, `mendsNext`, that of the next hole, of which NewReno has been told (RFC 6582 3.2 step 3).
 */
export function reduceProportionally(tcb: Tcb, deliveredBytes: number, isProgress: boolean, mendsNext: boolean): void {
  tcb.prrDeliveredBytes += deliveredBytes;
  const pipe = pipeBytes(tcb);
  let count = 0;
  if (pipe > tcb.ssthreshBytes) {
    const share = (tcb.prrDeliveredBytes * tcb.ssthreshBytes) / tcb.recoverFlightBytes;
    count = roundUp(tcb, share) - tcb.prrOutBytes;
  } else {
    let limit = Math.max(tcb.prrDeliveredBytes - tcb.prrOutBytes, deliveredBytes);
    if (isProgress) limit += tcb.mssBytes;
    count = Math.min(tcb.ssthreshBytes - pipe, roundUp(tcb, limit));
  }
  if (tcb.prrOutBytes === 0 || mendsNext) count = Math.max(count, tcb.mssBytes);
  tcb.cwndBytes = Math.max(tcb.mssBytes, pipe + Math.max(0, count));
}

function roundUp(tcb: Tcb, bytes: number): number {
  return Math.ceil(bytes / tcb.mssBytes) * tcb.mssBytes;
}
