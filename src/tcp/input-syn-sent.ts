/** SEGMENT ARRIVES in SYN-SENT (RFC 9293 section 3.10.7.3). */
import { DROP_TCP_ACK, DROP_TCP_FLAGS } from '../wire/drop-reasons.ts';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../wire/tcp.ts';
import { RESETS_RECEIVED } from './counters.ts';
import { fastOpenAnswered, releaseSynText } from './fast-open-client.ts';
import { processText } from './input-synchronized.ts';
import { acceptSyn, establish } from './open.ts';
import { stopRetransmitTimer } from './retransmission-timer.ts';
import { sampleFromSyn } from './rtt.ts';
import type { Segment } from './segment.ts';
import { seqAdd, seqAfter, seqBeforeOrAt, toSeq } from './sequence.ts';
import { SYN_RECEIVED, SYN_SENT, setState } from './state.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** How soon a SYN follows the reset of an older incarnation. */
const OLD_INCARNATION_RETRY_US = 2000;

export function synSentArrives(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  const { flags } = segment;
  // First, the ACK bit: it must cover our SYN and nothing we have not sent.
  if ((flags & TCP_ACK) !== 0 && (seqBeforeOrAt(segment.ack, tcb.iss) || seqAfter(segment.ack, tcb.sndNxt))) {
    tcp.drops.increment(DROP_TCP_ACK);
    refuseAck(tcp, tcb, segment);
    return;
  }
  // Second, the RST bit.
  if ((flags & TCP_RST) !== 0) {
    if ((flags & TCP_ACK) === 0) {
      tcp.drops.increment(DROP_TCP_FLAGS);
      return;
    }
    tcp.counters.increment(RESETS_RECEIVED);
    tcb.resetState = SYN_SENT;
    tcp.finish(tcb, 'ECONNREFUSED');
    return;
  }
  // Fourth, the SYN bit; fifth, without SYN or RST the segment is dropped.
  if ((flags & TCP_SYN) === 0) {
    tcp.drops.increment(DROP_TCP_FLAGS);
    return;
  }
  acceptSyn(tcp, tcb, segment);
  if ((flags & TCP_ACK) === 0) {
    // Simultaneous open: our SYN again, now with the acknowledgment of theirs.
    setState(tcb, SYN_RECEIVED);
    tcb.synNow = true;
    tcp.wantOutput(tcb);
    return;
  }
  if (tcb.fastOpen !== 0) fastOpenAnswered(tcp, tcb, segment);
  tcb.sndUna = segment.ack;
  tcb.sndNxt = segment.ack;
  tcb.sndWl2 = segment.ack;
  releaseSynText(tcp, tcb);
  sampleFromSyn(tcp, tcb, segment);
  stopRetransmitTimer(tcp, tcb);
  tcb.ackNow = true;
  establish(tcp, tcb);
  // Seventh and eighth: text and FIN of the SYN are processed like any other.
  if (segment.payloadBytes > 0 || (flags & TCP_FIN) !== 0) {
    segment.seq = seqAdd(segment.seq, 1);
    processText(tcp, tcb, segment);
  }
}

/**
 * The peer acknowledges what we have not sent: most often it has an older incarnation of the connection in TIME-WAIT, which a
 * reset ends. The first time that costs nothing of what strangers are given, and the SYN goes again right behind the reset, not
 * a whole time-out later (as Linux does).
 */
function refuseAck(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  const isFirst = tcb.lastUnacceptableUs === Number.NEGATIVE_INFINITY;
  // A reset is no answer to a reset; but what it was for may have been our SYN, and gone.
  const isReset = (segment.flags & TCP_RST) !== 0;
  if (!isReset && (isFirst || tcp.takeChallenge())) tcp.reply(segment, segment.ack, toSeq(0), TCP_RST, 0);
  if (!isFirst) return;
  tcb.lastUnacceptableUs = tcp.nowUs;
  if (tcb.retries === 0) tcp.timers.scheduleAfter(tcb.retransmitTimer, OLD_INCARNATION_RETRY_US);
}
