/**
 * SYN-RECEIVED by passive OPEN, with the checks in the order that Linux has them (`checks`). The connection is nobody's yet,
 * and whoever began it may begin anew: the acknowledgment comes first, then the window; a SYN in the window returns to LISTEN as RFC
 * 9293 3.10.7.4 has it, with a reset.
 */
import { DROP_TCP_ACK, DROP_TCP_FLAGS, DROP_TCP_RST, DROP_TCP_SEQUENCE } from '../wire/drop-reasons.ts';
import { TCP_ACK, TCP_RST, TCP_SYN } from '../wire/tcp.ts';
import { RESETS_RECEIVED } from './counters.ts';
import { replyReset } from './reset.ts';
import { type Segment, segmentEnd } from './segment.ts';
import { seqAdd, seqAfter, seqBefore } from './sequence.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** True: the segment is dealt with. `answer` acknowledges what is out of the window. */
export function embryonicArrives(
  tcp: Tcp,
  tcb: Tcb,
  segment: Segment,
  answer: (tcp: Tcp, tcb: Tcb, segment: Segment) => void,
): boolean {
  const { flags } = segment;
  const isReset = (flags & TCP_RST) !== 0;
  if (isReset && isInWindow(tcb, segment)) {
    // RFC 5961 3.2, whatever it acknowledges.
    if (segment.seq !== tcb.rcvNxt) {
      tcp.drops.increment(DROP_TCP_RST);
      answer(tcp, tcb, segment);
      return true;
    }
    tcp.counters.increment(RESETS_RECEIVED);
    tcp.finish(tcb, 'ECONNREFUSED');
    return true;
  }
  if (!isReset && (flags & TCP_ACK) !== 0 && segment.ack !== seqAdd(tcb.iss, 1)) {
    tcp.drops.increment(DROP_TCP_ACK);
    replyReset(tcp, segment);
    return true;
  }
  if (!isInWindow(tcb, segment)) {
    tcp.drops.increment(DROP_TCP_SEQUENCE);
    if (!isReset) answer(tcp, tcb, segment);
    return true;
  }
  if ((flags & TCP_SYN) === 0) return false;
  replyReset(tcp, segment);
  tcp.drops.increment(DROP_TCP_FLAGS);
  tcp.finish(tcb, 'ECONNREFUSED');
  return true;
}

function isInWindow(tcb: Tcb, segment: Segment): boolean {
  if (segment.seq === tcb.rcvNxt) return true;
  const end = segmentEnd(segment);
  if (seqAfter(end, tcb.rcvNxt) && seqBefore(segment.seq, tcb.rcvAdv)) return true;
  return segment.length === 0 && segment.seq === tcb.rcvAdv;
}
