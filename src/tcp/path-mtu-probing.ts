/**
 * Packetization layer path MTU discovery (RFC 4821, RFC 8899): the size that a path takes is found out by what arrives, not by
 * what routers tell. Segments that time out again and again are tried smaller (section 7.7, a black hole), and now and then
 * a longer one, made of queued data, goes as a probe; a probe that is lost alone says something of the path's MTU and nothing
 * of congestion (section 7.6). Habits and figures are Linux's (net.ipv4.tcp_mtu_probing).
 *
 * It stands beside RFC 1191 (input.ts, libos/path.ts), which bounds the search from above. What is found is a connection's own.
 * Memory: a `PathSearch` is made for a connection that searches; by default that is one whose path has swallowed segments.
 */
import { IPV4_BYTES } from '../wire/ipv4.ts';
import { TCP_BYTES } from '../wire/tcp.ts';
import { TIMESTAMPS_BYTES } from '../wire/tcp-options.ts';
import {
  MTU_BLACK_HOLES,
  MTU_BLACK_HOLES_DENIED,
  MTU_PROBES_ARRIVED,
  MTU_PROBES_LOST,
  MTU_PROBES_SENT,
} from './counters.ts';
import { limitToPath } from './mss.ts';
import { flightBytes, heldBytes, pipeBytes } from './pipe.ts';
import { sackOptionBytes } from './sack-blocks.ts';
import { NO_RANGE } from './sent-ranges.ts';
import { type Seq, seqAfterOrAt, seqBefore, seqDistance, toSeq } from './sequence.ts';
import { isSynchronized } from './state.ts';
import { OPEN, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { note } from './trace.ts';

/** `probeBytes`: nothing is to leave until there is room for a probe. */
export const PROBE_WAITS = -1;

/** Of `TcpSettings.mtuProbing`. */
const PROBE_AFTER_BLACK_HOLE = 1;
const PROBE_ALWAYS = 2;

/** A window smaller than this, in segments, is not troubled with the loss of a probe. */
const LEAST_WINDOW_SEGMENTS = 11;
/** Segments that must follow a probe, so that its loss shows without a time-out (RFC 4821 section 7.4). */
const SEGMENTS_BEHIND = 4;

/** Time-outs of short segments that refute a black hole; one is to be expected where the base size is still too long. */
const FIRST_PATIENCE = 2;

/** The search of one connection; sizes are of IP packets. */
export class PathSearch {
  /** The longest that is known to arrive: what is sent. */
  lowMtu = 0;
  /** The longest that may arrive, as far as we know. */
  highMtu = 0;
  /** The probe in flight, 0 for none, and the sequence numbers that it carries. */
  probeMtu = 0;
  probeStart: Seq = toSeq(0);
  probeEnd: Seq = toSeq(0);
  /** When the range was last opened upwards. */
  openedUs = 0;
  /** The size before a black hole that no probe has refuted or confirmed, 0 for none; time-outs since, and how many refute it. */
  suspectedMss = 0;
  timeouts = 0;
  patience = FIRST_PATIENCE;
}

/** The connection is established: where probing is always on, its search begins at the base size (RFC 4821 section 7.2). */
export function beginPathSearch(tcp: Tcp, tcb: Tcb): void {
  if (tcp.settings.mtuProbing === PROBE_ALWAYS) search(tcp, tcb, tcp.settings.mtuBaseMssBytes);
}

/**
 * The retransmission timer has expired: if segments of full size are what does not arrive, again and again, they are made
 * smaller; at first of the base size, then half as long each time.
 */
export function detectBlackHole(tcp: Tcp, tcb: Tcb): void {
  const { settings, ranges } = tcp;
  const { pathSearch, mssBytes } = tcb;
  if (pathSearch !== null && pathSearch.suspectedMss > 0) pathSearch.timeouts++;
  if (settings.mtuProbing < PROBE_AFTER_BLACK_HOLE || tcb.retries < retriesNeeded(tcp, tcb)) return;
  const head = tcb.sentHead;
  if (head === NO_RANGE || !isSynchronized(tcb.state)) return;
  const { mtuBaseMssBytes } = settings;
  const isFirst = pathSearch === null || (pathSearch.suspectedMss === 0 && mssBytes > mtuBaseMssBytes);
  const smaller = isFirst ? mtuBaseMssBytes : Math.min(mtuBaseMssBytes, mssBytes >> 1);
  const triedBytes = Math.max(settings.mtuFloorMssBytes, smaller);
  // Of what is not longer than that, the size cannot be what is wrong; nor where something else of full size gets through.
  if (Math.min(ranges.bytes(head), mssBytes) <= triedBytes || tcb.timedOutUs === Number.POSITIVE_INFINITY) return;
  const lowered = search(tcp, tcb, triedBytes);
  if (lowered.suspectedMss === 0) lowered.suspectedMss = mssBytes;
  tcp.counters.increment(MTU_BLACK_HOLES);
  if (tcp.tracing) note(tcb, `segments of ${tcb.mssBytes} because longer ones vanish, RFC 4821 7.7`);
}

/** More time-outs are asked for where a black hole was suspected before, and was none. */
function retriesNeeded(tcp: Tcp, tcb: Tcb): number {
  const { blackHoleRetries } = tcp.settings;
  const { pathSearch } = tcb;
  if (pathSearch === null || pathSearch.suspectedMss > 0) return blackHoleRetries;
  return blackHoleRetries * (pathSearch.patience / FIRST_PATIENCE);
}

/** A range has arrived between time-outs: if it is long, and was sent after the first of them, no black hole is to blame. */
export function noteDeliveryAfterTimeout(tcp: Tcp, tcb: Tcb, range: number): void {
  const { ranges } = tcp;
  if (ranges.bytes(range) <= tcp.settings.mtuBaseMssBytes || ranges.sentUs(range) < tcb.timedOutUs) return;
  tcb.timedOutUs = Number.POSITIVE_INFINITY;
}

/**
 * Something has been acknowledged. Where short segments vanish as well the network loses everything alike, for a while or
 * always: it was no black hole, and segments are what they were; the next time more is asked for before that is believed.
 */
export function judgeBlackHole(tcp: Tcp, tcb: Tcb): void {
  const { pathSearch } = tcb;
  if (pathSearch === null || pathSearch.suspectedMss === 0 || pathSearch.timeouts < pathSearch.patience) return;
  search(tcp, tcb, pathSearch.suspectedMss);
  keepOneSegment(tcb);
  pathSearch.suspectedMss = 0;
  pathSearch.timeouts = 0;
  pathSearch.patience *= 2;
  tcp.counters.increment(MTU_BLACK_HOLES_DENIED);
  if (tcp.tracing) note(tcb, `segments of ${tcb.mssBytes} because short ones had vanished too`);
}

/**
 * Payload bytes of the probe that may leave now, 0 for none, `PROBE_WAITS`. As in Linux, a probe is sent when nothing is out of
 * order, the window is worth it, and enough is queued to follow it.
 */
export function probeBytes(tcp: Tcp, tcb: Tcb): number {
  const { pathSearch } = tcb;
  if (pathSearch === null || pathSearch.probeMtu !== 0 || tcb.recoveryState !== OPEN || heldBytes(tcb) > 0) return 0;
  if (tcb.cwndBytes < LEAST_WINDOW_SEGMENTS * tcb.mssBytes || sackOptionBytes(tcb) > 0) return 0;
  const highMtu = Math.min(pathSearch.highMtu, largestMtu(tcp, tcb));
  if (highMtu - pathSearch.lowMtu < tcp.settings.mtuProbeThresholdBytes) {
    openRange(tcp, tcb, pathSearch);
    return 0;
  }
  const bytes = ((pathSearch.lowMtu + highMtu) >> 1) - headersOf(tcb);
  const neededBytes = bytes + SEGMENTS_BEHIND * tcb.mssBytes;
  if (bytes <= tcb.mssBytes || seqDistance(tcb.sndEnd, tcb.sndNxt) < neededBytes) return 0;
  if (tcb.sndWnd - flightBytes(tcb) < neededBytes) return 0;
  const pipe = pipeBytes(tcb);
  if (pipe + bytes <= tcb.cwndBytes) return bytes;
  return pipe > 0 ? PROBE_WAITS : 0;
}

/** What was to be a probe has left, from `start` to SND.NXT. */
export function probeHasLeft(tcp: Tcp, tcb: Tcb, start: Seq): void {
  const { pathSearch } = tcb;
  const length = seqDistance(tcb.sndNxt, start);
  // It may have come out shorter, where a frame could not gather the regions or was cut for its checksum.
  if (pathSearch === null || length <= tcb.mssBytes) return;
  pathSearch.probeMtu = length + headersOf(tcb);
  pathSearch.probeStart = start;
  pathSearch.probeEnd = tcb.sndNxt;
  tcp.counters.increment(MTU_PROBES_SENT);
  if (tcp.tracing) note(tcb, `probe the path with a packet of ${pathSearch.probeMtu}, RFC 4821 7.4`);
}

/** SND.UNA has advanced: a probe that it covers has arrived (RFC 4821 section 7.6.1). */
export function noteProbeArrival(tcp: Tcp, tcb: Tcb): void {
  const { pathSearch } = tcb;
  if (pathSearch === null || pathSearch.probeMtu === 0 || !seqAfterOrAt(tcb.sndUna, pathSearch.probeEnd)) return;
  pathSearch.lowMtu = pathSearch.probeMtu;
  pathSearch.probeMtu = 0;
  pathSearch.suspectedMss = 0;
  pathSearch.timeouts = 0;
  limitToPath(tcb);
  keepOneSegment(tcb);
  tcp.counters.increment(MTU_PROBES_ARRIVED);
  if (tcp.tracing) note(tcb, `segments of ${tcb.mssBytes} because the probe has arrived, RFC 4821 7.6.1`);
}

/**
 * Something was found lost. True: it is the probe and nothing else (RFC 4821 section 7.6.2), all of which is marked lost now;
 * otherwise a probe in flight has told nothing (7.6.4).
 */
export function isProbeLoss(tcp: Tcp, tcb: Tcb): boolean {
  const { pathSearch } = tcb;
  if (pathSearch === null || pathSearch.probeMtu === 0) return false;
  const { ranges } = tcp;
  const { probeMtu, probeEnd } = pathSearch;
  pathSearch.probeMtu = 0;
  if (tcb.sndUna !== pathSearch.probeStart) return false;
  ranges.cutAt(tcb, probeEnd);
  let lostBytes = 0;
  let range = tcb.sentHead;
  for (; range !== NO_RANGE && seqBefore(ranges.start(range), probeEnd); range = ranges.next(range)) {
    if (ranges.isLost(range)) lostBytes += ranges.bytes(range);
  }
  if (lostBytes !== tcb.lostBytes) return false;
  range = tcb.sentHead;
  for (; range !== NO_RANGE && seqBefore(ranges.start(range), probeEnd); range = ranges.next(range)) {
    if (!ranges.isSacked(range)) ranges.markLost(tcb, range);
  }
  pathSearch.highMtu = probeMtu - 1;
  tcp.counters.increment(MTU_PROBES_LOST);
  if (tcp.tracing) note(tcb, `the path takes no packet of ${probeMtu}, RFC 4821 7.6.2`);
  return true;
}

/** Something is sent again: whatever becomes of a probe in flight, it tells nothing. */
export function forgetProbe(tcb: Tcb): void {
  if (tcb.pathSearch !== null) tcb.pathSearch.probeMtu = 0;
}

/** The congestion window holds a segment, however long segments have become. */
function keepOneSegment(tcb: Tcb): void {
  tcb.cwndBytes = Math.max(tcb.cwndBytes, tcb.mssBytes);
}

/** Begins a search, or lowers one, to segments of `mssBytes` at most. */
function search(tcp: Tcp, tcb: Tcb, mssBytes: number): PathSearch {
  if (tcb.pathSearch === null) tcb.pathSearch = new PathSearch();
  const { pathSearch } = tcb;
  pathSearch.highMtu = largestMtu(tcp, tcb);
  pathSearch.lowMtu = Math.min(pathSearch.highMtu, mssBytes + headersOf(tcb));
  pathSearch.probeMtu = 0;
  pathSearch.openedUs = tcp.nowUs;
  limitToPath(tcb);
  return pathSearch;
}

/** RFC 4821 section 7.6.2: paths change, so a search that has ended is taken up again after a while. */
function openRange(tcp: Tcp, tcb: Tcb, pathSearch: PathSearch): void {
  if (tcp.nowUs - pathSearch.openedUs < tcp.settings.mtuProbeIntervalUs) return;
  pathSearch.highMtu = largestMtu(tcp, tcb);
  pathSearch.openedUs = tcp.nowUs;
}

/** What the peer, the link and the routers that have told leave room for. */
function largestMtu(tcp: Tcp, tcb: Tcb): number {
  const pathMtu = tcb.path === null ? tcp.mtuBytes : tcb.path.mtuBytes;
  const { maxSegmentBytes } = tcb.options;
  const peerMss = maxSegmentBytes === 0 ? tcb.peerMssBytes : Math.min(tcb.peerMssBytes, maxSegmentBytes);
  return Math.min(peerMss + IPV4_BYTES + TCP_BYTES, pathMtu, tcp.mtuBytes);
}

/** Headers of a segment with text: those, and the options that each carries. */
function headersOf(tcb: Tcb): number {
  return IPV4_BYTES + TCP_BYTES + (tcb.timestamps ? TIMESTAMPS_BYTES : 0);
}
