/**
 * RACK (RFC 8985 section 6): a segment is lost when one that was sent later has been delivered, and a window of time for
 * reordering has passed since. In the RFC's names: RACK.xmit_ts, RACK.end_seq, RACK.rtt, RACK.fack, RACK.reo_wnd.
 */
import { heldBytes } from './pipe.ts';
import { NO_RANGE } from './sent-ranges.ts';
import { type Seq, seqAfter, seqAfterOrAt, seqBefore, seqDistance, seqMax } from './sequence.ts';
import { LOSS, RECOVERY, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { LOST_BY_RACK, LOST_BY_TIMEOUT } from './trace.ts';

/** RFC 5681's threshold, in segments: so much held beyond a gap is believed at once where nothing was ever reordered. */
const DUPLICATE_THRESHOLD = 3;
/** How far is told at most (Linux: tcp_max_reordering). */
const MAX_REORDERING_SEGMENTS = 300;
/** Recoveries that a reordering window widened by D-SACK outlives (6.2 step 4). */
const PERSIST_RECOVERIES = 16;
/** How long a minimum of round trips stands (6.2 step 1: a windowed minimum). */
const MIN_RTT_WINDOW_MS = 300_000;

/** Steps 1 to 3, for a range up to `end` that has just been delivered. */
export function noteDelivered(tcp: Tcp, tcb: Tcb, range: number, end: Seq): void {
  const { ranges } = tcp;
  const rttUs = tcp.nowUs - ranges.sentUs(range);
  const sentAgain = ranges.wasRetransmitted(range);
  if (!sentAgain) {
    noteMinimum(tcp, tcb, rttUs);
    if (seqBefore(end, tcb.rackFack)) noteReordering(tcb, ranges.start(range));
  }
  tcb.rackFack = seqMax(tcb.rackFack, end);
  // Of several transmissions it was not the last, when the echo is older than that or the answer came too soon.
  if (sentAgain && (rttUs < tcb.minRttUs || echoIsOlder(tcp, tcb, rttUs))) return;
  tcb.rackRttUs = Math.max(1, rttUs);
  const sentUs = ranges.sentUs(range);
  if (sentUs > tcb.rackUs || (sentUs === tcb.rackUs && seqAfter(end, tcb.rackEnd))) {
    tcb.rackUs = sentUs;
    tcb.rackEnd = end;
  }
}

/** Something from `start` on has arrived behind what was sent later. */
function noteReordering(tcb: Tcb, start: Seq): void {
  const segments = Math.ceil(seqDistance(tcb.rackFack, start) / tcb.mssBytes);
  tcb.reordered = true;
  tcb.reorderingSegments = Math.min(MAX_REORDERING_SEGMENTS, Math.max(tcb.reorderingSegments, segments));
}

function noteMinimum(tcp: Tcp, tcb: Tcb, rttUs: number): void {
  if (tcb.minRttUs > 0 && rttUs > tcb.minRttUs && ((tcp.clock.nowMs - tcb.minRttAtMs) | 0) <= MIN_RTT_WINDOW_MS) return;
  tcb.minRttUs = Math.max(1, rttUs);
  tcb.minRttAtMs = tcp.clock.nowMs;
}

/** Whether the segment that has arrived echoes a timestamp from more than `ageUs` ago. */
function echoIsOlder(tcp: Tcp, tcb: Tcb, ageUs: number): boolean {
  const { options } = tcp.segment;
  if (!tcb.timestamps || !options.hasTimestamps) return false;
  const echoAgeMs = (tcp.timestamp(tcb.tsOffset) - options.tsEcho) | 0;
  // The timestamp of a segment is rounded down.
  return echoAgeMs > Math.floor(ageUs / 1000) + 1;
}

/** Step 4: each round trip that brings a D-SACK widens the window; it narrows again after recoveries without one. */
export function noteDuplicateReport(tcb: Tcb): void {
  if (tcb.dsackSeen && seqBefore(tcb.sndUna, tcb.dsackRound)) return;
  tcb.dsackSeen = true;
  tcb.dsackRound = tcb.sndNxt;
  tcb.reoWndMultiplier++;
  tcb.reoWndPersist = PERSIST_RECOVERIES;
}

/** Step 4, at the end of a recovery. */
export function recoveryWithoutReport(tcb: Tcb): void {
  if (tcb.reoWndPersist === 0) return;
  tcb.reoWndPersist--;
  if (tcb.reoWndPersist === 0) tcb.reoWndMultiplier = 1;
}

function reorderingWindowUs(tcb: Tcb): number {
  const inRecovery = tcb.recoveryState === RECOVERY || tcb.recoveryState === LOSS;
  if (!tcb.reordered && (inRecovery || heldBytes(tcb) >= DUPLICATE_THRESHOLD * tcb.mssBytes)) return 0;
  return Math.min(tcb.reoWndMultiplier * (tcb.minRttUs >> 2), tcb.srttUs);
}

/**
 * Step 5: marks what is lost. Returns how long from now the last of what may still be lost by then is waited for, in
 * microseconds; 0 when there is nothing to wait for.
 */
export function detectLosses(tcp: Tcp, tcb: Tcb): number {
  if (tcb.rackRttUs === 0) return 0;
  const { ranges } = tcp;
  const patienceUs = tcb.rackRttUs + reorderingWindowUs(tcb);
  let waitUs = 0;
  for (let range = tcb.sentHead; range !== NO_RANGE; range = ranges.next(range)) {
    if (ranges.isSacked(range) || ranges.isDue(range)) continue;
    const sentUs = ranges.sentUs(range);
    if (sentUs > tcb.rackUs || (sentUs === tcb.rackUs && seqAfterOrAt(ranges.end(range), tcb.rackEnd))) continue;
    const leftUs = patienceUs - (tcp.nowUs - sentUs);
    if (leftUs <= 0) {
      markLost(tcp, tcb, range);
      tcb.lossReason = LOST_BY_RACK;
    } else if (leftUs > waitUs) waitUs = leftUs;
  }
  return waitUs;
}

/** RFC 8985 6.3: at a retransmission time-out the first range is lost, and what RACK would take for it by now. */
export function markTimedOut(tcp: Tcp, tcb: Tcb): void {
  const { ranges } = tcp;
  const patienceUs = tcb.rackRttUs + reorderingWindowUs(tcb);
  tcb.lossReason = LOST_BY_TIMEOUT;
  for (let range = tcb.sentHead; range !== NO_RANGE; range = ranges.next(range)) {
    if (ranges.isSacked(range)) continue;
    const isOld = !tcb.sack || tcb.rackRttUs === 0 || tcp.nowUs - ranges.sentUs(range) >= patienceUs;
    if (range === tcb.sentHead || isOld) markLost(tcp, tcb, range);
  }
}

/** A range is taken for lost; a model of the path is told. */
export function markLost(tcp: Tcp, tcb: Tcb, range: number): void {
  if (tcp.ranges.isDue(range)) return;
  tcp.ranges.markLost(tcb, range);
  const { model } = tcb.congestion;
  if (model !== null) model.lost(tcp, tcb, range);
}
