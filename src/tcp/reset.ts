/** The reset that answers a segment nobody wants (RFC 9293 section 3.5.2): where its acknowledgment says, or of what it carries. */
import { TCP_ACK, TCP_RST } from '../wire/tcp.ts';
import { type Segment, segmentEnd } from './segment.ts';
import { toSeq } from './sequence.ts';
import type { Tcp } from './tcp.ts';

/** Notes the reset, unless strangers have had theirs for this second. The segment is none itself. */
export function replyReset(tcp: Tcp, segment: Segment): void {
  if (!tcp.takeChallenge()) return;
  if ((segment.flags & TCP_ACK) !== 0) tcp.reply(segment, segment.ack, toSeq(0), TCP_RST, 0);
  else tcp.reply(segment, toSeq(0), segmentEnd(segment), TCP_RST | TCP_ACK, 0);
}
