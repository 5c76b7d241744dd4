/**
 * The short way for the segment that an established connection expects next: in order, an acknowledgment of something new or
 * the next text, and nothing else about it (RFC 1323 appendix A's header prediction, after Van Jacobson). For such a segment
 * the checks of RFC 9293 3.10.7.4 that are left out here could only have passed; what is done for it is done by the same
 * functions. A test sends the same segments both ways.
 */
import { TCP_ACK, TCP_PSH } from '../wire/tcp.ts';
import { SEGMENTS_PREDICTED } from './counters.ts';
import {
  acknowledgeData,
  isPlausibleAck,
  processText,
  recordTimestamp,
  updateSendWindow,
  windowOpened,
} from './input-synchronized.ts';
import { isPersisting } from './retransmission-timer.ts';
import type { Segment } from './segment.ts';
import { seqAfter, seqDistance } from './sequence.ts';
import { ESTABLISHED } from './state.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Takes the segment in if it is what was expected; false: it was not, and nothing has happened. */
export function predictedArrives(tcp: Tcp, tcb: Tcb, segment: Segment): boolean {
  if (!isExpected(tcb, segment)) return false;
  const isNewAck = seqAfter(segment.ack, tcb.sndUna);
  if (segment.payloadBytes === 0 ? !isNewAck : !fitsWindow(tcb, segment.payloadBytes)) return false;
  tcp.counters.increment(SEGMENTS_PREDICTED);
  recordTimestamp(tcp, tcb, segment);
  const windowBefore = tcb.sndWnd;
  if (isNewAck || segment.ack === tcb.sndUna) {
    updateSendWindow(tcb, segment, tcp.settings.checks === 'linux');
  }
  if (tcb.sndWnd > windowBefore) windowOpened(tcp, tcb);
  if (isNewAck) acknowledgeData(tcp, tcb, segment);
  if (segment.payloadBytes > 0) processText(tcp, tcb, segment);
  return true;
}

/** A window that its field rounds to nothing is closed (RFC 7323 2.4). */
function fitsWindow(tcb: Tcb, bytes: number): boolean {
  const window = seqDistance(tcb.rcvAdv, tcb.rcvNxt);
  return bytes <= window && window >> tcb.rcvScale > 0;
}

function isExpected(tcb: Tcb, segment: Segment): boolean {
  const { options } = segment;
  if (tcb.state !== ESTABLISHED || (segment.flags & ~TCP_PSH) !== TCP_ACK || segment.seq !== tcb.rcvNxt) return false;
  if (options.sackCount > 0 || isPersisting(tcb) || !isPlausibleAck(tcb, segment.ack)) return false;
  return !tcb.timestamps || (options.hasTimestamps && ((options.tsValue - tcb.tsRecent) | 0) >= 0);
}
