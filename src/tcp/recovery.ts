/**
 * Loss recovery: what follows from an acknowledgment, a time-out or the end of the reordering window. Losses are found by
 * RACK (RFC 8985), without SACK by duplicate acknowledgments (RFC 5681 section 3.2, NewReno: RFC 6582); the window comes down
 * by RFC 6937; a recovery that turns out to have been for nothing is undone (F-RTO: RFC 5682, Eifel: RFC 3522, D-SACK: RFC
 * 3708). It marks what is to be sent again; output sends it.
 */
import { TCP_ECE } from '../wire/tcp.ts';
import { readAcknowledgment } from './acknowledgment.ts';
import { ECN_ECHOED, LOSS_DETECTED, TIMED_OUT } from './congestion/congestion.ts';
import { CONGESTION_ECHOES, FAST_RETRANSMITS, SACKS_RENEGED, SPURIOUS_RECOVERIES, TIMEOUTS } from './counters.ts';
import { beginRateSample, finishRateSample } from './delivery-rate.ts';
import { forgetProbe, isProbeLoss, judgeBlackHole, noteProbeArrival } from './path-mtu-probing.ts';
import { heldBytes, pipeBytes } from './pipe.ts';
import { beginReduction, reduceProportionally } from './prr.ts';
import { detectLosses, markLost, markTimedOut, noteDuplicateReport, recoveryWithoutReport } from './rack.ts';
import { schedule } from './retransmission-timer.ts';
import { backOffRto } from './rtt.ts';
import type { Segment } from './segment.ts';
import { NO_RANGE } from './sent-ranges.ts';
import { seqAdd, seqAfter, seqAfterOrAt, seqDistance } from './sequence.ts';
import { SYN_RECEIVED, SYN_SENT } from './state.ts';
import { probeHasRepaired } from './tail-loss-probe.ts';
import { CWR, DISORDER, LOSS, OPEN, RECOVERY, type Tcb, TIMER_REORDERING } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { LOST_BY_DUPLICATES, LOST_BY_MTU_PROBE, LOST_BY_PARTIAL_ACK, LOST_BY_ROUTER, note } from './trace.ts';
import { notePipeAck, validateForReduction } from './window-validation.ts';

const DUPLICATE_ACK_THRESHOLD = 3;

/** `undoRetransmittedBytes` while nothing has been sent again in a recovery. */
const NOTHING_YET = -1;

/** Takes in an acceptable acknowledgment of data; SND.UNA, the ranges in flight, the windows and the marks are up to date then. */
export function acknowledgmentArrives(tcp: Tcp, tcb: Tcb, segment: Segment, isDuplicate: boolean): void {
  const { acknowledgment } = tcp;
  const lostBefore = tcb.lostBytes;
  tcb.tlpNow = false;
  beginRateSample(tcp);
  readAcknowledgment(tcp, tcb, segment, isDuplicate);
  const { advancedBytes, deliveredBytes, hasDsack } = acknowledgment;
  if (advancedBytes === 0 && deliveredBytes === 0 && !hasDsack && !isDuplicate) return;
  tcb.deliveredBytes += deliveredBytes;
  tcb.ackedBytes += advancedBytes;
  if (advancedBytes > 0 && tcb.pathSearch !== null) {
    noteProbeArrival(tcp, tcb);
    judgeBlackHole(tcp, tcb);
  }
  if (tcb.tlpOut && probeHasRepaired(tcp, tcb, segment)) beginRecovery(tcp, tcb, CWR, LOSS_DETECTED);
  if (hasDsack) noteDuplicateReport(tcb);
  finishEpisode(tcp, tcb);
  if (tcb.ecn && (segment.flags & TCP_ECE) !== 0) congestionEchoed(tcp, tcb);
  findLosses(tcp, tcb);
  finishRateSample(tcp, tcb, deliveredBytes);
  const { model } = tcb.congestion;
  if (model === null) notePipeAck(tcp, tcb);
  if (model !== null) {
    model.acknowledged(tcp, tcb);
  } else if (tcb.recoveryState === CWR || tcb.recoveryState === RECOVERY) {
    const isProgress = advancedBytes > 0 && tcb.lostBytes <= lostBefore;
    reduceProportionally(tcb, deliveredBytes, isProgress, advancedBytes > 0 && !tcb.sack);
  } else if (deliveredBytes > 0 && (advancedBytes > 0 || tcb.reordered) && isWindowUsed(tcb)) {
    tcb.congestion.acknowledged(tcp, tcb, deliveredBytes);
  }
  tcp.wantOutput(tcb);
}

/** The end of RACK's reordering window: what has not been delivered by now is lost. */
export function reorderingExpired(tcp: Tcp, tcb: Tcb): void {
  findLosses(tcp, tcb);
  if (tcb.recoveryState === RECOVERY && tcb.congestion.model === null) reduceProportionally(tcb, 0, false, false);
  tcp.wantOutput(tcb);
}

/** RFC 6298 5.4 to 5.6: the retransmission timer expired. The connection has been found worth another try. */
export function retransmitTimedOut(tcp: Tcp, tcb: Tcb): void {
  backOffRto(tcb, tcp.settings);
  if (tcb.state === SYN_SENT || tcb.state === SYN_RECEIVED) {
    tcb.synTimed = false;
    tcb.synNow = true;
    return;
  }
  tcp.counters.increment(TIMEOUTS);
  if (tcp.tracing) note(tcb, `time-out ${tcb.retries}, the next in ${tcb.rtoUs / 1e6} s, RFC 6298 5.5`);
  forgetReneged(tcp, tcb);
  // RFC 5681 3.1: once a window of data, and not for what was sent again before.
  const isRepeated = tcb.recoveryState === LOSS && tcb.retries > 1;
  const isReducing = tcb.recoveryState > DISORDER && tcb.recoveryState !== LOSS && seqAfter(tcb.recover, tcb.sndUna);
  if (!isRepeated && !isReducing) {
    rememberForUndo(tcb);
    reduce(tcp, tcb, TIMED_OUT);
  }
  // RFC 5682 section 2.1: not while another recovery is under way, nor once new data has been tried in this one.
  const mayBeSpurious = tcb.recoveryState < RECOVERY || isRepeated;
  tcb.frtoHolds = false;
  tcb.frto = tcp.settings.frto && mayBeSpurious && (tcb.sack || tcb.duplicateAcks === 0);
  tcb.recoveryState = LOSS;
  tcb.recover = tcb.sndNxt;
  // The next sample ends the back-off, whatever it is of.
  tcb.rttSeq = tcb.sndUna;
  tcb.duplicateAcks = 0;
  tcb.duplicateBytes = 0;
  tcb.partialAcks = 0;
  tcb.tlpOut = false;
  tcb.tlpNow = false;
  markTimedOut(tcp, tcb);
  tcb.cwndBytes = pipeBytes(tcb) + tcb.mssBytes;
}

/** Whether the window is what limits the connection: one that is not used is not widened (RFC 7661 section 4.3). */
function isWindowUsed(tcb: Tcb): boolean {
  if (tcb.cwndLimited) return true;
  return tcb.cwndBytes < tcb.ssthreshBytes && tcb.cwndBytes < 2 * tcb.usedCwndBytes;
}

/** A recovery is over when everything sent before it is acknowledged, or when it was for nothing. */
function finishEpisode(tcp: Tcp, tcb: Tcb): void {
  const isPast = seqAfterOrAt(tcb.sndUna, tcb.recover);
  switch (tcb.recoveryState) {
    case OPEN:
    case DISORDER:
      if (tcp.acknowledgment.hasDsack && tcb.undoRetransmittedBytes === 0) undo(tcp, tcb);
      // Kept close behind SND.UNA, or after 2^31 bytes without a loss it would lie ahead.
      if (seqAfter(tcb.sndUna, tcb.recover)) tcb.recover = seqAdd(tcb.sndUna, -1);
      break;
    case CWR:
      if (isPast) endReduction(tcb);
      break;
    case RECOVERY:
      if (wasForNothing(tcp, tcb) && (isPast || tcb.retransmittedBytes === 0)) undo(tcp, tcb);
      else if (isPast) endReduction(tcb);
      break;
    default:
      finishLoss(tcp, tcb, isPast);
  }
}

/** After a time-out: RFC 5682 section 2.1 in its form with SACK (section 3.1), and the end of the recovery. */
function finishLoss(tcp: Tcp, tcb: Tcb, isPast: boolean): void {
  const { advancedBytes, heldBytes: held, originalDelivered } = tcp.acknowledgment;
  if (advancedBytes > 0 && wasForNothing(tcp, tcb)) {
    undo(tcp, tcb);
    return;
  }
  if (tcb.frto) {
    // Step 3b: what was not sent again arrives; nothing of it was lost.
    if (originalDelivered) {
      undo(tcp, tcb);
      return;
    }
    if (seqAfter(tcb.sndNxt, tcb.recover)) {
      // Step 3a: new data arrived beyond a hole. The loss was real.
      if (held > 0) endFrto(tcb);
    } else if (advancedBytes > 0 && !isPast) {
      // Step 2b: new data leaves before anything more is sent again, if there is some and room for it.
      tcb.recover = tcb.sndNxt;
      tcb.frto = hasNewData(tcb);
      tcb.frtoHolds = tcb.frto;
    }
  }
  if (!isPast) return;
  endFrto(tcb);
  tcb.recoveryState = OPEN;
  if (tcb.congestion.model !== null) tcb.congestion.model.recovered(tcb);
  recoveryWithoutReport(tcb);
}

function hasNewData(tcb: Tcb): boolean {
  return seqDistance(tcb.sndEnd, tcb.sndNxt) > 0 && tcb.sndWnd > seqDistance(tcb.sndNxt, tcb.sndUna);
}

/** RFC 6937: the window has come down. */
function endReduction(tcb: Tcb): void {
  const { model } = tcb.congestion;
  if (model === null) tcb.cwndBytes = Math.max(tcb.mssBytes, tcb.ssthreshBytes);
  else model.recovered(tcb);
  tcb.recoveryState = OPEN;
  tcb.duplicateAcks = 0;
  tcb.duplicateBytes = 0;
  recoveryWithoutReport(tcb);
}

function findLosses(tcp: Tcp, tcb: Tcb): void {
  const waitUs = tcb.sack ? findLossesBySack(tcp, tcb) : findLossesByDuplicates(tcp, tcb);
  if (tcb.lostBytes > 0 && tcb.recoveryState < RECOVERY && !repairsProbe(tcp, tcb)) {
    tcp.counters.increment(FAST_RETRANSMITS);
    beginRecovery(tcp, tcb, RECOVERY, LOSS_DETECTED);
  }
  if (tcb.recoveryState === OPEN && heldBytes(tcb) > 0) tcb.recoveryState = DISORDER;
  else if (tcb.recoveryState === DISORDER && heldBytes(tcb) === 0) tcb.recoveryState = OPEN;
  if (waitUs > 0) schedule(tcp, tcb, TIMER_REORDERING, waitUs);
}

/** RFC 4821 section 7.5: what was too long for the path goes again in segments that are not, and no window comes down. */
function repairsProbe(tcp: Tcp, tcb: Tcb): boolean {
  if (tcb.pathSearch === null || !isProbeLoss(tcp, tcb)) return false;
  tcb.lossReason = LOST_BY_MTU_PROBE;
  repairWithoutReduction(tcb);
  return true;
}

function findLossesBySack(tcp: Tcp, tcb: Tcb): number {
  if (tcb.sackedBytes === 0 && tcb.retransmittedBytes === 0) return 0;
  return detectLosses(tcp, tcb);
}

/** RFC 6582 3.2: three duplicates in a row, or an acknowledgment that ends at the next hole. */
function findLossesByDuplicates(tcp: Tcp, tcb: Tcb): number {
  const isThird = tcb.duplicateAcks === DUPLICATE_ACK_THRESHOLD && tcp.acknowledgment.heldBytes > 0;
  const begins = tcb.recoveryState <= DISORDER && isThird && seqAfter(tcb.sndUna, tcb.recover);
  const isPartial = tcb.recoveryState === RECOVERY && tcp.acknowledgment.advancedBytes > 0;
  if (isPartial) tcb.partialAcks++;
  if (begins || isPartial) {
    tcb.lossReason = isPartial ? LOST_BY_PARTIAL_ACK : LOST_BY_DUPLICATES;
    markFirstLost(tcp, tcb);
  }
  return 0;
}

/** One segment from SND.UNA on. */
function markFirstLost(tcp: Tcp, tcb: Tcb): void {
  const { ranges } = tcp;
  const head = tcb.sentHead;
  if (head === NO_RANGE || ranges.isLost(head)) return;
  if (ranges.bytes(head) > tcb.mssBytes) ranges.divide(tcb, head, seqAdd(tcb.sndUna, tcb.mssBytes));
  markLost(tcp, tcb, head);
}

/** RFC 3168 6.1.2: the network was congested. Once a window of data, and not when a loss has said so already. */
function congestionEchoed(tcp: Tcp, tcb: Tcb): void {
  tcp.counters.increment(CONGESTION_ECHOES);
  if (tcb.recoveryState > DISORDER) return;
  beginRecovery(tcp, tcb, CWR, ECN_ECHOED);
  tcb.undoPossible = false;
}

/** The window is to come down: for losses (RECOVERY), or without any (CWR). Once a window of data. */
function beginRecovery(tcp: Tcp, tcb: Tcb, state: number, cause: number): void {
  if (tcb.recoveryState !== CWR) {
    rememberForUndo(tcb);
    reduce(tcp, tcb, cause);
    beginReduction(tcb);
  }
  if (tcp.tracing)
    note(tcb, `${state === CWR ? 'reduce the window' : 'recovery'}: ssthresh ${tcb.ssthreshBytes}, RFC 6937`);
  tcb.recoveryState = state;
  tcb.recover = tcb.sndNxt;
  tcb.partialAcks = 0;
  tcb.tlpOut = false;
}

function reduce(tcp: Tcp, tcb: Tcb, cause: number): void {
  if (tcb.congestion.model === null) validateForReduction(tcp, tcb);
  tcb.congestion.reduce(tcp, tcb, cause);
  // RFC 3168 6.1.2: the peer hears of it whatever the reason.
  tcb.cwrOwed = tcb.ecn;
}

function rememberForUndo(tcb: Tcb): void {
  tcb.undoPossible = true;
  tcb.undoCwndBytes = tcb.cwndBytes;
  tcb.undoSsthreshBytes = tcb.ssthreshBytes;
  tcb.undoRetransmittedBytes = NOTHING_YET;
}

/** Output has sent `bytes` again. */
export function noteRetransmitted(tcp: Tcp, tcb: Tcb, bytes: number): void {
  forgetProbe(tcb);
  if (tcb.undoRetransmittedBytes === NOTHING_YET) {
    tcb.undoRetransmittedBytes = 0;
    tcb.firstRetransmitStamp = tcp.timestamp(tcb.tsOffset);
  }
  tcb.undoRetransmittedBytes += bytes;
}

/**
 * Whether a recovery was for nothing: everything that was sent again had arrived (RFC 3708), or the peer answers what was
 * sent before the first retransmission (RFC 3522).
 */
function wasForNothing(tcp: Tcp, tcb: Tcb): boolean {
  if (!tcb.undoPossible || tcb.undoRetransmittedBytes === NOTHING_YET) return false;
  if (tcb.undoRetransmittedBytes === 0) return true;
  const { options } = tcp.segment;
  if (!tcb.timestamps || !options.hasTimestamps || options.tsEcho === 0) return false;
  return ((options.tsEcho - tcb.firstRetransmitStamp) | 0) < 0;
}

/** The windows as they were, and nothing lost. */
function undo(tcp: Tcp, tcb: Tcb): void {
  const { ranges } = tcp;
  if (!tcb.undoPossible) return;
  tcp.counters.increment(SPURIOUS_RECOVERIES);
  if (tcp.tracing) note(tcb, 'undo the reduction: nothing was lost, RFC 5682, RFC 3522, RFC 3708');
  tcb.undoPossible = false;
  tcb.cwndBytes = Math.max(tcb.cwndBytes, tcb.undoCwndBytes);
  tcb.ssthreshBytes = Math.max(tcb.ssthreshBytes, tcb.undoSsthreshBytes);
  tcb.congestion.undo(tcb);
  for (let range = tcb.sentHead; range !== NO_RANGE; range = ranges.next(range)) {
    if (ranges.isDue(range)) ranges.clearLost(tcb, range);
  }
  tcb.recoveryState = OPEN;
  endFrto(tcb);
}

function endFrto(tcb: Tcb): void {
  tcb.frto = false;
  tcb.frtoHolds = false;
}

/** RFC 1191 section 6.4: what is in flight was too large for the path; it goes again, and no window comes down. */
export function retransmitEverything(tcp: Tcp, tcb: Tcb): void {
  const { ranges } = tcp;
  for (let range = tcb.sentHead; range !== NO_RANGE; range = ranges.next(range)) {
    if (!ranges.isSacked(range)) ranges.markLost(tcb, range);
  }
  tcb.lossReason = LOST_BY_ROUTER;
  repairWithoutReduction(tcb);
  tcp.wantOutput(tcb);
}

/** What is marked lost goes again; it was too long, and no sign of congestion. */
function repairWithoutReduction(tcb: Tcb): void {
  tcb.recoveryState = LOSS;
  tcb.recover = tcb.sndNxt;
  tcb.undoPossible = false;
  endFrto(tcb);
}

/** RFC 2018 section 8: a peer that has dropped what it held is seen by that at the latest when the timer expires. */
function forgetReneged(tcp: Tcp, tcb: Tcb): void {
  const { ranges } = tcp;
  if (tcb.sentHead === NO_RANGE || !ranges.isSacked(tcb.sentHead)) return;
  tcp.counters.increment(SACKS_RENEGED);
  for (let range = tcb.sentHead; range !== NO_RANGE; range = ranges.next(range)) {
    if (ranges.isSacked(range)) ranges.clearSacked(tcb, range);
  }
}
