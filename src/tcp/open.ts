/** What both ends do when a SYN arrives: its options (RFC 9293 3.7.1, RFC 7323), and the step to ESTABLISHED. */
import { ECN_NOT_ECT } from '../wire/ipv4.ts';
import { TCP_ACK, TCP_CWR, TCP_ECE } from '../wire/tcp.ts';
import { INITIAL_SSTHRESH_BYTES } from './congestion/congestion.ts';
import { ESTABLISHED_TOTAL } from './counters.ts';
import { FAST_OPEN_ACCEPTED } from './fast-open.ts';
import { DEFAULT_MSS_BYTES, limitToPath } from './mss.ts';
import { beginPathSearch } from './path-mtu-probing.ts';
import { beginTuning } from './receive-tuning.ts';
import type { Segment } from './segment.ts';
import { seqAdd } from './sequence.ts';
import { ESTABLISHED, FIN_WAIT_1, SYN_RECEIVED, SYN_SENT, setState } from './state.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { startSlowTimer } from './timers.ts';
import { userTimeoutArrives } from './user-timeout.ts';
import { synWindowField } from './window.ts';

const LOST_SYN_RTO_US = 3_000_000;

/** Takes IRS and the options of the peer's SYN. */
export function acceptSyn(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  const { options } = segment;
  tcb.irs = segment.seq;
  tcb.rcvNxt = seqAdd(segment.seq, 1);
  tcb.readSeq = tcb.rcvNxt;
  tcb.lastAckSent = tcb.rcvNxt;
  beginTuning(tcp, tcb);
  tcb.peerMssBytes = options.mss === 0 ? DEFAULT_MSS_BYTES : options.mss;
  // RFC 7323 1.3: in force only when both SYNs carry it.
  tcb.windowScaling = options.windowScale >= 0 && tcp.settings.windowScaling;
  if (tcb.windowScaling) tcb.sndScale = options.windowScale;
  else tcb.rcvScale = 0;
  const hasTimestamps = options.hasTimestamps && tcp.settings.timestamps;
  // What our SYN says has been said, or will be.
  tcb.rcvAdv = seqAdd(tcb.rcvNxt, synWindowField(tcp, tcb.state === SYN_RECEIVED && hasTimestamps));
  tcb.timestamps = hasTimestamps;
  if (hasTimestamps) {
    tcb.tsRecent = options.tsValue;
    tcb.tsRecentUs = tcp.nowUs;
  }
  const isAnswer = tcb.state === SYN_SENT && (segment.flags & TCP_ACK) !== 0;
  tcb.ecn = isAnswer ? tcb.ecn && (segment.flags & (TCP_ECE | TCP_CWR)) === TCP_ECE : agreesOnEcn(tcp, segment);
  tcb.sack = options.sackPermitted && tcp.settings.sack;
  limitToPath(tcb);
  if (options.userTimeout > 0) userTimeoutArrives(tcp, tcb, segment);
  tcb.peerSegmentBytes = Math.min(DEFAULT_MSS_BYTES, tcb.peerMssBytes);
  // The window in a SYN is never scaled (RFC 7323 2.2).
  tcb.sndWnd = segment.window;
  tcb.maxSndWnd = segment.window;
  tcb.sndWl1 = segment.seq;
}

/**
 * Whether we answer the SYN with an ECN-setup SYN-ACK (RFC 3168 6.1.1). A network that marks SYNs would make every connection
 * look congested (Linux refuses as well).
 */
export function agreesOnEcn(tcp: Tcp, segment: Segment): boolean {
  const asks = (segment.flags & (TCP_ECE | TCP_CWR)) === (TCP_ECE | TCP_CWR);
  return asks && tcp.settings.ecn !== 'off' && segment.ecn === ECN_NOT_ECT;
}

/** Our SYN is acknowledged and the peer's has arrived. */
export function establish(tcp: Tcp, tcb: Tcb): void {
  setState(tcb, ESTABLISHED);
  // RFC 6298 5.7 and RFC 5681 3.1: after a lost SYN, three seconds and one segment, until something is measured.
  const synWasLost = tcb.retries > 0;
  tcb.retries = 0;
  if (tcb.srttUs === 0) tcb.rtoUs = synWasLost ? LOST_SYN_RTO_US : tcp.settings.initialRtoUs;
  tcp.counters.increment(ESTABLISHED_TOTAL);
  beginPathSearch(tcp, tcb);
  if ((tcb.fastOpen & FAST_OPEN_ACCEPTED) === 0) beginSending(tcp, tcb, synWasLost);
  tcb.rackFack = tcb.sndUna;
  tcb.validatedAtMs = tcp.clock.nowMs;
  startSlowTimer(tcp, tcb);
  // A CLOSE that came before was kept until now (RFC 9293 3.10.4).
  if (tcb.finQueued) setState(tcb, FIN_WAIT_1);
  tcp.announce(tcb);
  tcp.wantOutput(tcb);
}

/** The first congestion window (RFC 6928). */
export function beginSending(tcp: Tcp, tcb: Tcb, synWasLost: boolean): void {
  tcb.cwndBytes = (synWasLost ? 1 : tcp.settings.initialWindowSegments) * tcb.mssBytes;
  tcb.ssthreshBytes = INITIAL_SSTHRESH_BYTES;
  tcb.congestion = tcp.congestion;
  tcb.congestion.begin(tcp, tcb);
}
