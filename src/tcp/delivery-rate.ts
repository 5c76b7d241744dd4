/**
 * How fast the network delivers: delivery rate estimation (draft-ietf-ccwg-bbr section 4.1, as Linux's tcp_rate.c has it). What
 * a range remembers of the time it was sent (sent-ranges.ts) is compared with the time at which it is known to have arrived.
 */
import { pipeBytes } from './pipe.ts';
import { type Seq, seqAfter, seqDistance, toSeq } from './sequence.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** RS: what the acknowledgment being processed says about the rate of delivery; one serves a stack. */
export class RateSample {
  /** Something has been delivered by it that was sent in a time known. */
  hasData = false;
  /** P.delivered, P.delivered_time and P.lost of the newest that it delivers. */
  priorDeliveredBytes = 0;
  priorDeliveredUs = 0;
  priorLostBytes = 0;
  /** What was in flight when that was sent, itself included. */
  txInFlightBytes = 0;
  isAppLimited = false;
  sendElapsedUs = 0;
  /** Its round trip, microseconds; -1 where it was sent more than once. */
  rttUs = -1;
  end: Seq = toSeq(0);
  /** Delivered since that was sent, and in which time. */
  deliveredBytes = 0;
  intervalUs = 0;
  /** Lost since. */
  lostBytes = 0;
  /** Bytes a second; 0 where the sample is not to be relied on. */
  bytesPerSecond = 0;
}

/** InitRateSample. */
export function beginRateSample(tcp: Tcp): void {
  const { rateSample } = tcp;
  rateSample.hasData = false;
  rateSample.rttUs = -1;
  rateSample.deliveredBytes = 0;
  rateSample.intervalUs = 0;
  rateSample.lostBytes = 0;
  rateSample.bytesPerSecond = 0;
}

/** UpdateRateSample: a range, up to `end`, is known to have arrived; its record still says how it was sent. */
export function noteRangeDelivered(tcp: Tcp, tcb: Tcb, range: number, end: Seq): void {
  const { rateSample, ranges } = tcp;
  const sentUs = ranges.sentUs(range);
  const isNewest = sentUs > tcb.firstSentUs || (sentUs === tcb.firstSentUs && seqAfter(end, rateSample.end));
  if (rateSample.hasData && !isNewest) return;
  rateSample.hasData = true;
  rateSample.priorDeliveredBytes = ranges.deliveredBytesAtSend(range);
  rateSample.priorDeliveredUs = ranges.deliveredUsAtSend(range);
  rateSample.priorLostBytes = ranges.lostBytesAtSend(range);
  rateSample.txInFlightBytes = ranges.inFlightAtSend(range);
  rateSample.isAppLimited = ranges.wasAppLimited(range);
  rateSample.sendElapsedUs = sentUs - ranges.firstSentUsAtSend(range);
  rateSample.rttUs = ranges.wasRetransmitted(range) ? -1 : tcp.nowUs - sentUs;
  rateSample.end = end;
  tcb.firstSentUs = sentUs;
}

/** GenerateRateSample: `deliveredBytes` have been added to what was delivered, and losses have been found. */
export function finishRateSample(tcp: Tcp, tcb: Tcb, deliveredBytes: number): void {
  const { rateSample } = tcp;
  if (deliveredBytes > 0) tcb.deliveredUs = tcp.nowUs;
  // The bubble has been acknowledged, and is gone.
  if (tcb.appLimitedUntilBytes > 0 && tcb.deliveredBytes > tcb.appLimitedUntilBytes) tcb.appLimitedUntilBytes = 0;
  if (!rateSample.hasData) return;
  const ackElapsedUs = tcp.nowUs - rateSample.priorDeliveredUs;
  rateSample.intervalUs = Math.max(rateSample.sendElapsedUs, ackElapsedUs);
  rateSample.deliveredBytes = tcb.deliveredBytes - rateSample.priorDeliveredBytes;
  rateSample.lostBytes = tcb.lostTotalBytes - rateSample.priorLostBytes;
  // Sooner than any round trip: an acknowledgment of the first of two transmissions was taken for one of the second.
  if (rateSample.intervalUs < tcb.minRttUs || rateSample.intervalUs === 0) return;
  rateSample.bytesPerSecond = (rateSample.deliveredBytes * 1e6) / rateSample.intervalUs;
  const isBetter = rateSample.bytesPerSecond >= tcb.deliveryBytesPerSecond;
  if (!rateSample.isAppLimited || isBetter) tcb.deliveryBytesPerSecond = rateSample.bytesPerSecond;
}

/** CheckIfApplicationLimited: the network could take more than there is to send. */
export function noteIfAppLimited(tcb: Tcb): void {
  if (seqDistance(tcb.sndEnd, tcb.sndNxt) > 0 || tcb.lostBytes > tcb.retransmittedBytes) return;
  if (pipeBytes(tcb) < tcb.cwndBytes) markAppLimited(tcb);
}

/** Until what is in flight now is delivered, samples tell what was asked for, not what the network can do. */
export function markAppLimited(tcb: Tcb): void {
  tcb.appLimitedUntilBytes = Math.max(1, tcb.deliveredBytes + pipeBytes(tcb));
}
