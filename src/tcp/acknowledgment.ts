/**
 * What an acknowledgment says about the ranges in flight: SND.UNA, SACK blocks (RFC 2018 section 5) and D-SACK (RFC 2883
 * section 4); without SACK, what duplicates stand for (RFC 5681 section 3.2). Nothing is decided here: recovery.ts does.
 */
import { int32At } from '../runtime/words.ts';
import { SACK_BLOCKS_IGNORED } from './counters.ts';
import { noteRangeDelivered } from './delivery-rate.ts';
import { noteDeliveryAfterTimeout } from './path-mtu-probing.ts';
import { flightBytes } from './pipe.ts';
import { noteDelivered } from './rack.ts';
import type { Segment } from './segment.ts';
import { NO_RANGE } from './sent-ranges.ts';
import { type Seq, seqAdd, seqAfter, seqBefore, seqBeforeOrAt, seqDistance, seqMax, toSeq } from './sequence.ts';
import { LOSS, RECOVERY, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Of the acknowledgment being processed; one serves a stack. */
export class Acknowledgment {
  /** By how much SND.UNA has advanced. */
  advancedBytes = 0;
  /** What has reached the peer and was not known to have, by SND.UNA or by SACK. */
  deliveredBytes = 0;
  /** Of these, by SACK or a duplicate acknowledgment. */
  heldBytes = 0;
  /** A round trip measured by the oldest that was sent once only, microseconds; -1 for none. */
  rttUs = -1;
  /** The same by the newest, which no delayed or lost acknowledgment has held back. */
  newestRttUs = -1;
  /** Something was reported that had arrived twice. */
  hasDsack = false;
  /** Something has been delivered that was sent once only, before the recovery began. */
  originalDelivered = false;
}

/** Fills in the stack's `acknowledgment`; `isDuplicate` by RFC 5681 section 2. SND.UNA and the ranges are up to date then. */
export function readAcknowledgment(tcp: Tcp, tcb: Tcb, segment: Segment, isDuplicate: boolean): void {
  const told = tcp.acknowledgment;
  told.deliveredBytes = 0;
  told.heldBytes = 0;
  told.rttUs = -1;
  told.newestRttUs = -1;
  told.hasDsack = false;
  told.originalDelivered = false;
  told.advancedBytes = Math.max(0, seqDistance(segment.ack, tcb.sndUna));
  if (told.advancedBytes > 0) advance(tcp, tcb, segment.ack);
  if (!tcb.sack) countDuplicates(tcp, tcb, isDuplicate);
  else if (segment.options.sackCount > 0) readSackBlocks(tcp, tcb, segment);
}

function advance(tcp: Tcp, tcb: Tcb, ack: Seq): void {
  const { ranges, acknowledgment } = tcp;
  tcb.sndUna = ack;
  let retransmittedToo = false;
  while (tcb.sentHead !== NO_RANGE && seqBefore(ranges.start(tcb.sentHead), ack)) {
    const head = tcb.sentHead;
    const isWhole = seqBeforeOrAt(ranges.end(head), ack);
    retransmittedToo ||= ranges.wasRetransmitted(head);
    if (!ranges.isSacked(head)) deliver(tcp, tcb, head, isWhole ? ranges.end(head) : ack);
    if (isWhole) ranges.removeHead(tcb);
    else ranges.trimHead(tcb, ack);
  }
  // Karn: what arrived first may have waited for what was sent again.
  if (retransmittedToo) {
    acknowledgment.rttUs = -1;
    acknowledgment.newestRttUs = -1;
  }
}

/** A range, up to `end`, is known to have arrived. */
function deliver(tcp: Tcp, tcb: Tcb, range: number, end: Seq): void {
  const { ranges, acknowledgment } = tcp;
  acknowledgment.deliveredBytes += seqDistance(end, ranges.start(range));
  if (tcb.retries > 0) noteDeliveryAfterTimeout(tcp, tcb, range);
  if (!ranges.wasRetransmitted(range)) {
    acknowledgment.newestRttUs = tcp.nowUs - ranges.sentUs(range);
    if (acknowledgment.rttUs < 0) acknowledgment.rttUs = acknowledgment.newestRttUs;
    if (seqBeforeOrAt(end, tcb.recover)) acknowledgment.originalDelivered = true;
  }
  noteRangeDelivered(tcp, tcb, range, end);
  noteDelivered(tcp, tcb, range, end);
}

function readSackBlocks(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  const { options } = segment;
  for (let i = 0; i < options.sackCount; i++) {
    const left = toSeq(int32At(options.sackLeft, i));
    const right = toSeq(int32At(options.sackRight, i));
    if (i === 0 && isDuplicateReport(segment, left, right)) {
      reportArrives(tcp, tcb, left, right);
    } else if (!seqBefore(left, right) || seqAfter(right, tcb.sndNxt)) {
      tcp.counters.increment(SACK_BLOCKS_IGNORED);
    } else if (seqAfter(right, tcb.sndUna)) {
      hold(tcp, tcb, seqMax(left, tcb.sndUna), right);
    }
  }
}

/** RFC 2883 section 4: the first block lies below the acknowledgment, or within the second. */
function isDuplicateReport(segment: Segment, left: Seq, right: Seq): boolean {
  const { options } = segment;
  if (!seqAfter(right, segment.ack)) return true;
  if (options.sackCount < 2) return false;
  const outerLeft = toSeq(int32At(options.sackLeft, 1));
  const outerRight = toSeq(int32At(options.sackRight, 1));
  return !seqBefore(left, outerLeft) && !seqAfter(right, outerRight);
}

function reportArrives(tcp: Tcp, tcb: Tcb, left: Seq, right: Seq): void {
  const bytes = seqDistance(right, left);
  if (bytes <= 0 || seqBefore(left, seqAdd(tcb.sndUna, -tcb.maxSndWnd))) return;
  tcp.acknowledgment.hasDsack = true;
  // Of what this recovery has sent again, so much was needless.
  if (seqAfter(right, tcb.sndUna)) return;
  if (tcb.undoRetransmittedBytes > 0) tcb.undoRetransmittedBytes = Math.max(0, tcb.undoRetransmittedBytes - bytes);
}

/** The peer holds `left` to `right`. What it holds side by side becomes one range. */
function hold(tcp: Tcp, tcb: Tcb, left: Seq, right: Seq): void {
  const { ranges, acknowledgment } = tcp;
  let held = NO_RANGE;
  let range = ranges.cutAt(tcb, left);
  while (range !== NO_RANGE && seqBefore(ranges.start(range), right)) {
    if (seqAfter(ranges.end(range), right) && !ranges.isSacked(range)) {
      if (ranges.divide(tcb, range, right) === NO_RANGE) return;
    }
    if (!ranges.isSacked(range)) {
      acknowledgment.heldBytes += ranges.bytes(range);
      deliver(tcp, tcb, range, ranges.end(range));
      ranges.markSacked(tcb, range);
    }
    if (held === NO_RANGE) held = range;
    else ranges.join(tcb, held);
    range = ranges.next(held);
  }
  if (range !== NO_RANGE && held !== NO_RANGE && ranges.isSacked(range)) ranges.join(tcb, held);
}

/** Without SACK each duplicate stands for a segment that has left the network (RFC 5681 3.2 step 4). */
function countDuplicates(tcp: Tcp, tcb: Tcb, isDuplicate: boolean): void {
  const told = tcp.acknowledgment;
  if (told.advancedBytes > 0) {
    const repairs = tcb.recoveryState === RECOVERY || tcb.recoveryState === LOSS;
    // The hole took one segment; the rest had been counted when its duplicates came.
    const counted = Math.min(tcb.duplicateBytes, Math.max(0, told.advancedBytes - tcb.mssBytes));
    told.deliveredBytes -= counted;
    tcb.duplicateBytes = repairs ? tcb.duplicateBytes - counted : 0;
    tcb.duplicateAcks = 0;
  }
  if (isDuplicate) {
    tcb.duplicateAcks++;
    tcb.duplicateBytes += tcb.mssBytes;
    told.deliveredBytes += tcb.mssBytes;
    told.heldBytes += tcb.mssBytes;
  }
  // No more than there is, and the hole itself is not held.
  const most = Math.max(0, flightBytes(tcb) - Math.max(tcb.lostBytes, tcb.mssBytes));
  tcb.duplicateBytes = Math.min(tcb.duplicateBytes, most);
}
