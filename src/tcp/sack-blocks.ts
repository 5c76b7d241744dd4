/**
 * The SACK option that we send (RFC 2018 section 4, D-SACK: RFC 2883): first what arrived twice, then the range that the
 * latest segment fell into, then those reported most recently, then whatever else there is room for.
 */
import { int32At } from '../runtime/words.ts';
import { MAX_SACK_BLOCKS, SACK_BLOCK_BYTES, SACK_BYTES, TIMESTAMPS_BYTES } from '../wire/tcp-options.ts';
import type { ReceiveRing } from './receive-queue.ts';
import { type Seq, seqBefore, seqBeforeOrAt, seqBits, seqMax, seqMin, toSeq } from './sequence.ts';
import type { Tcb } from './tcb.ts';

const MAX_OPTION_BYTES = 40;
const NO_RANGE = -1;

/** The blocks of one option, most important first. */
export class SackBlocks {
  count = 0;
  readonly left = new Int32Array(MAX_SACK_BLOCKS);
  readonly right = new Int32Array(MAX_SACK_BLOCKS);
}

/** How many bytes of options a segment of the connection carries now for SACK: 0 unless there is something to report. */
export function sackOptionBytes(tcb: Tcb): number {
  if (!tcb.sack || (tcb.ring === null && !tcb.dsackOwed && !tcb.peerFinSeen)) return 0;
  const count = blockCount(tcb);
  return count === 0 ? 0 : SACK_BYTES + count * SACK_BLOCK_BYTES;
}

/** Fills in as many blocks as `sackOptionBytes` has made room for. */
export function collectSackBlocks(tcb: Tcb, into: SackBlocks): void {
  const count = blockCount(tcb);
  into.count = 0;
  if (tcb.dsackOwed) addBlock(into, seqBits(tcb.dsackLeft), seqBits(tcb.dsackRight));
  const { ring } = tcb;
  if (hasLoneFin(tcb) && into.count < count) addBlock(into, seqBits(tcb.peerFin), seqBits(tcb.peerFin) + 1);
  if (ring === null) return;
  const first = into.count;
  for (let i = 0; i < ring.recentCount && into.count < count; i++) {
    const range = findRange(ring, toSeq(int32At(ring.recent, i)));
    if (range !== NO_RANGE) addRange(tcb, into, first, ring, range);
  }
  for (let range = 0; range < ring.rangeCount && into.count < count; range++) addRange(tcb, into, first, ring, range);
}

/** A FIN beyond a gap, without text right before it: a range of its own number alone. */
function hasLoneFin(tcb: Tcb): boolean {
  if (!tcb.peerFinSeen) return false;
  const { ring } = tcb;
  if (ring === null || ring.rangeCount === 0) return true;
  return int32At(ring.right, ring.rangeCount - 1) !== seqBits(tcb.peerFin);
}

/** Text has arrived that we have already: the next segment says so, once. */
export function reportDuplicate(tcb: Tcb, left: Seq, right: Seq): void {
  if (!tcb.sack || !seqBefore(left, right)) return;
  tcb.dsackOwed = true;
  tcb.dsackLeft = left;
  tcb.dsackRight = right;
}

/** The same for more of one segment: joined with what was found of it before, or left out, as an option has one such block. */
function extendDuplicate(tcb: Tcb, left: Seq, right: Seq): void {
  if (!tcb.dsackOwed) {
    reportDuplicate(tcb, left, right);
  } else if (!seqBefore(tcb.dsackRight, left) && !seqBefore(right, tcb.dsackLeft)) {
    tcb.dsackLeft = seqMin(tcb.dsackLeft, left);
    tcb.dsackRight = seqMax(tcb.dsackRight, right);
  }
}

/** Reports what of `left` to `right` is held beyond a gap already. */
export function reportOverlap(tcb: Tcb, left: Seq, right: Seq): void {
  const { ring } = tcb;
  if (ring === null) return;
  for (let i = 0; i < ring.rangeCount; i++) {
    const heldLeft = toSeq(int32At(ring.left, i));
    const heldRight = toSeq(int32At(ring.right, i));
    if (!seqBefore(left, heldRight) || !seqBefore(heldLeft, right)) continue;
    extendDuplicate(tcb, seqMax(left, heldLeft), seqMin(right, heldRight));
  }
}

/** Notes that the segment that begins at `seq` was the latest to arrive beyond a gap. */
export function noteRecent(ring: ReceiveRing, seq: Seq): void {
  const { recent } = ring;
  const range = findRange(ring, seq);
  let kept = 0;
  for (let i = 0; i < ring.recentCount; i++) {
    const other = int32At(recent, i);
    const holds = findRange(ring, toSeq(other));
    // One place for each range, and none for what has been delivered since.
    if (holds !== NO_RANGE && holds !== range) recent[kept++] = other;
  }
  kept = Math.min(kept, recent.length - 1);
  recent.copyWithin(1, 0, kept);
  recent[0] = seqBits(seq);
  ring.recentCount = kept + 1;
}

function blockCount(tcb: Tcb): number {
  const ranges = tcb.ring === null ? 0 : tcb.ring.rangeCount;
  const room = MAX_OPTION_BYTES - (tcb.timestamps ? TIMESTAMPS_BYTES : 0) - SACK_BYTES;
  return Math.min((tcb.dsackOwed ? 1 : 0) + (hasLoneFin(tcb) ? 1 : 0) + ranges, Math.floor(room / SACK_BLOCK_BYTES));
}

function findRange(ring: ReceiveRing, seq: Seq): number {
  for (let i = 0; i < ring.rangeCount; i++) {
    const isInside = seqBeforeOrAt(toSeq(int32At(ring.left, i)), seq) && seqBefore(seq, toSeq(int32At(ring.right, i)));
    if (isInside) return i;
  }
  return NO_RANGE;
}

/** Adds a range unless it is among the blocks from `first` on. */
function addRange(tcb: Tcb, into: SackBlocks, first: number, ring: ReceiveRing, range: number): void {
  const left = int32At(ring.left, range);
  for (let i = first; i < into.count; i++) if (int32At(into.left, i) === left) return;
  const right = int32At(ring.right, range);
  // The FIN behind it is held, too.
  const withFin = tcb.peerFinSeen && right === seqBits(tcb.peerFin);
  addBlock(into, left, withFin ? right + 1 : right);
}

function addBlock(into: SackBlocks, left: number, right: number): void {
  into.left[into.count] = left;
  into.right[into.count] = right;
  into.count++;
}
