/** SEGMENT ARRIVES in LISTEN (RFC 9293 section 3.10.7.2). */
import {
  DROP_TCP_BACKLOG,
  DROP_TCP_CONNECTIONS,
  DROP_TCP_FLAGS,
  DROP_TCP_NO_CONNECTION,
} from '../wire/drop-reasons.ts';
import { TCP_ACK, TCP_RST, TCP_SYN } from '../wire/tcp.ts';
import { PASSIVE_OPENS } from './counters.ts';
import type { Listener } from './listener.ts';
import { acceptSyn } from './open.ts';
import type { Segment } from './segment.ts';
import { type Seq, toSeq } from './sequence.ts';
import { SYN_RECEIVED, setState } from './state.ts';
import type { Tcp } from './tcp.ts';

export function listenArrives(tcp: Tcp, listener: Listener, segment: Segment): void {
  // First, a reset: it cannot be for anything we sent.
  if ((segment.flags & TCP_RST) !== 0) {
    tcp.drops.increment(DROP_TCP_FLAGS);
    return;
  }
  // Second, an acknowledgment of something a listener never sent.
  if ((segment.flags & TCP_ACK) !== 0) {
    tcp.drops.increment(DROP_TCP_NO_CONNECTION);
    if (tcp.takeChallenge()) {
      tcp.reply(segment, segment.ack, toSeq(0), TCP_RST, 0);
    }
    return;
  }
  // Third, a SYN; fourth, anything else should not occur.
  if ((segment.flags & TCP_SYN) === 0) {
    tcp.drops.increment(DROP_TCP_FLAGS);
    return;
  }
  openFromSyn(tcp, listener, segment, null);
}

/**
 * Makes a connection in SYN-RECEIVED. `oldSndNxt` is where an incarnation in TIME-WAIT had come to, null without one.
 * Text on the SYN is left for the peer to send again; RFC 9293 lets it wait for ESTABLISHED.
 */
export function openFromSyn(tcp: Tcp, listener: Listener, segment: Segment, oldSndNxt: Seq | null): void {
  if (listener.halfOpen >= listener.backlog) {
    tcp.drops.increment(DROP_TCP_BACKLOG);
    return;
  }
  const tcb = tcp.createConnection(segment.remoteAddress, segment.remotePort, segment.localAddress, segment.localPort);
  if (tcb === null) {
    tcp.drops.increment(DROP_TCP_CONNECTIONS);
    return;
  }
  tcp.counters.increment(PASSIVE_OPENS);
  tcb.listener = listener;
  listener.halfOpen++;
  tcb.lastReceivedUs = tcp.nowUs;
  if (oldSndNxt === null) tcp.initialSequence.choose(tcb, tcp.nowUs);
  else tcp.initialSequence.chooseAfter(tcb, tcp.nowUs, oldSndNxt);
  setState(tcb, SYN_RECEIVED);
  acceptSyn(tcp, tcb, segment);
  if (tcb.path === null) {
    // Nothing can be sent back to where the SYN says it came from.
    tcp.finish(tcb, 'ENETUNREACH');
    return;
  }
  tcb.synNow = true;
  tcp.wantOutput(tcb);
}
