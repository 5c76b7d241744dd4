/**
 * FIN-WAIT-2 after the application has closed, as Linux has it (`checks`): it keeps no connection for the wait, and looks at little
 * more than where a segment lies. Text that nobody will read, and a SYN, are answered with a reset (RFC 9293 3.6.1); what brings
 * neither text nor a FIN is passed over.
 */
import { DROP_TCP_CLOSED, DROP_TCP_SEQUENCE } from '../wire/drop-reasons.ts';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../wire/tcp.ts';
import { RESETS_RECEIVED } from './counters.ts';
import { acknowledgeNow, answerUnacceptable, processText } from './input-synchronized.ts';
import { replyReset } from './reset.ts';
import { type Segment, segmentEnd } from './segment.ts';
import { seqAdd, seqAfter, seqBefore } from './sequence.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

export function orphanArrives(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  const { flags, options } = segment;
  const end = segmentEnd(segment);
  const isReset = (flags & TCP_RST) !== 0;
  const isOld = tcb.timestamps && options.hasTimestamps && ((options.tsValue - tcb.tsRecent) | 0) < 0;
  if (!isInWindow(tcb, segment) || (isOld && !isReset)) {
    tcp.drops.increment(DROP_TCP_SEQUENCE);
    if (segment.length > 0 && (flags & TCP_SYN) === 0) acknowledgeNow(tcp, tcb);
    else answerUnacceptable(tcp, tcb, segment);
    return;
  }
  if (isReset) {
    tcp.counters.increment(RESETS_RECEIVED);
    tcp.finish(tcb, '');
    return;
  }
  const isUnwanted = (flags & TCP_FIN) === 0 || end !== seqAdd(tcb.rcvNxt, 1);
  if ((flags & TCP_SYN) !== 0 && !seqBefore(segment.seq, tcb.rcvNxt)) {
    refuse(tcp, tcb, segment);
  } else if ((flags & TCP_ACK) === 0 || segment.length === 0 || !seqAfter(end, tcb.rcvNxt)) {
    tcp.drops.increment(DROP_TCP_CLOSED);
  } else if (isUnwanted) {
    refuse(tcp, tcb, segment);
  } else {
    if (options.hasTimestamps) tcb.tsRecent = options.tsValue;
    processText(tcp, tcb, segment);
  }
}

function refuse(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  replyReset(tcp, segment);
  tcp.finish(tcb, 'ECONNABORTED');
}

function isInWindow(tcb: Tcb, segment: Segment): boolean {
  if (segment.seq === tcb.rcvNxt) return true;
  if (seqAfter(segmentEnd(segment), tcb.rcvNxt) && seqBefore(segment.seq, tcb.rcvAdv)) return true;
  return segment.length === 0 && segment.seq === tcb.rcvAdv;
}
