/** How much is in the network (RFC 6675 section 4, "pipe"), from the counts of the ranges in flight. */
import { seqDistance } from './sequence.ts';
import type { Tcb } from './tcb.ts';

/** Bytes sent and not acknowledged, whether or not they are lost or held by the peer. */
export function flightBytes(tcb: Tcb): number {
  return seqDistance(tcb.sndNxt, tcb.sndUna);
}

/** Bytes that have left the network for the peer's memory. */
export function heldBytes(tcb: Tcb): number {
  return tcb.sackedBytes + tcb.duplicateBytes;
}

/** Bytes believed to be in the network. */
export function pipeBytes(tcb: Tcb): number {
  return flightBytes(tcb) - heldBytes(tcb) - tcb.lostBytes + tcb.retransmittedBytes;
}
