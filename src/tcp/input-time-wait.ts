/**
 * SEGMENT ARRIVES in TIME-WAIT (RFC 9293 section 3.10.7.4, for a connection of which only a record is left), with the
 * additions of RFC 1337 (resets are ignored) and RFC 6191 (a SYN that is surely newer opens a new incarnation).
 *
 * A SYN that may be old is answered with an acknowledgment. Whoever has sent it just now resets that (RFC 9293 figure 9), and
 * would be kept out for as long as we wait if such a reset were ignored: a client that shares its address with others, or has
 * restarted, has timestamps of another clock. It is believed when it bears the number that we have acknowledged.
 */
import { DROP_TCP_CLOSED } from '../wire/drop-reasons.ts';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../wire/tcp.ts';
import { openFromSyn } from './input-listen.ts';
import { type Segment, segmentEnd } from './segment.ts';
import { seqAfter } from './sequence.ts';
import type { Tcp } from './tcp.ts';

export function timeWaitArrives(tcp: Tcp, record: number, segment: Segment): void {
  const { flags } = segment;
  const { timeWait } = tcp;
  if ((flags & TCP_RST) !== 0) {
    const isBelieved = timeWait.hasAnsweredSyn(record) || !tcp.settings.timeWaitIgnoresResets;
    if (isBelieved && segment.seq === timeWait.rcvNxt(record)) tcp.removeTimeWait(record);
    else tcp.drops.increment(DROP_TCP_CLOSED);
    return;
  }
  if ((flags & (TCP_SYN | TCP_ACK)) === TCP_SYN && isNewIncarnation(tcp, record, segment)) {
    const listener = tcp.findListener(segment.localPort);
    if (listener !== null) {
      const oldSndNxt = timeWait.sndNxt(record);
      tcp.removeTimeWait(record);
      openFromSyn(tcp, listener, segment, oldSndNxt);
      return;
    }
  }
  // A retransmitted FIN: acknowledge it and wait again. Anything else is told where the connection stands.
  if ((flags & TCP_FIN) !== 0 && segmentEnd(segment) === timeWait.rcvNxt(record)) {
    timeWait.restart(record, tcp.nowUs + tcp.settings.timeWaitUs);
  } else {
    tcp.drops.increment(DROP_TCP_CLOSED);
    // A segment without text that is in order asks for no answer.
    if (segment.length === 0 && segment.seq === timeWait.rcvNxt(record)) {
      noteTimestamp(tcp, record, segment);
      return;
    }
  }
  if (!tcp.takeChallenge()) return;
  const added = tcp.reply(segment, timeWait.sndNxt(record), timeWait.rcvNxt(record), TCP_ACK, timeWait.window(record));
  if (added && (flags & TCP_SYN) !== 0) timeWait.noteAnsweredSyn(record);
  if (added && timeWait.timestamps(record)) {
    tcp.replies.addTimestamps(tcp.timestamp(timeWait.tsOffset(record)), timeWait.tsRecent(record));
  }
}

/** RFC 7323 4.3: what is answered next echoes it. */
function noteTimestamp({ timeWait }: Tcp, record: number, { options }: Segment): void {
  if (!timeWait.timestamps(record) || !options.hasTimestamps) return;
  if (((options.tsValue - timeWait.tsRecent(record)) | 0) > 0) timeWait.setTsRecent(record, options.tsValue);
}

/**
 * RFC 6191 section 2: a later timestamp, or without timestamps a sequence number beyond the old connection's. One that has
 * timestamps where the old connection had none is let in whatever its numbers: old segments cannot be taken for its own.
 * Differs: what is refused is answered with an acknowledgment (RFC 9293 3.10.7.4), where RFC 6191 would drop it silently.
 */
function isNewIncarnation(tcp: Tcp, record: number, segment: Segment): boolean {
  const { timeWait } = tcp;
  if (segment.options.hasTimestamps) {
    if (!timeWait.timestamps(record)) return true;
    const newer = (segment.options.tsValue - timeWait.tsRecent(record)) | 0;
    if (newer !== 0) return newer > 0;
  }
  return seqAfter(segment.seq, timeWait.rcvNxt(record));
}
