/**
 * What is in flight, as ranges of sequence numbers with the time at which each was last sent: the scoreboard of RFC 6675
 * section 3 and the per-segment records of RFC 8985 section 5. Ranges of one connection follow one another from SND.UNA to
 * SND.NXT without a gap; what leaves together may be one range, and is divided when the peer or a retransmission tells parts of
 * it apart.
 *
 * The records of all connections are columns of one table, in lists; a connection without anything in flight has none.
 * The byte counts of a connection (`sackedBytes`, `lostBytes`, `retransmittedBytes`) change here and nowhere else.
 */
import type { TurnClock } from '../runtime/turn-clock.ts';
import { float64At, int32At, uint8At } from '../runtime/words.ts';
import { pipeBytes } from './pipe.ts';
import { type Seq, seqAfter, seqBefore, seqBeforeOrAt, seqBits, seqDistance, toSeq } from './sequence.ts';
import type { Tcb } from './tcb.ts';

/** No range. */
export const NO_RANGE = -1;

/** The peer holds it (RFC 2018). */
const SACKED = 1;
/** It is taken for lost. */
const LOST = 2;
/** It was sent more than once. */
const RETRANSMITTED = 4;
/** A retransmission of it is under way. */
const IN_FLIGHT_AGAIN = 8;
/** There was no more to send when it was (delivery-rate.ts). */
const APP_LIMITED = 16;
/** What the counts of a connection are made from. */
const COUNTED = SACKED | LOST | IN_FLIGHT_AGAIN;

const INITIAL_RANGES = 1024;
/** Ranges of one connection beyond which none is divided: a peer that holds every second byte must not cost us a search each. */
const MAX_RANGES = 4096;

export class SentRanges {
  private starts = new Int32Array(INITIAL_RANGES);
  private ends = new Int32Array(INITIAL_RANGES);
  private nexts = new Int32Array(INITIAL_RANGES);
  private flags = new Uint8Array(INITIAL_RANGES);
  private sent = new Float64Array(INITIAL_RANGES);
  // What the connection had come to when it was sent, for samples of the delivery rate.
  private delivered = new Float64Array(INITIAL_RANGES);
  private deliveredAt = new Float64Array(INITIAL_RANGES);
  private firstSent = new Float64Array(INITIAL_RANGES);
  private lost = new Float64Array(INITIAL_RANGES);
  private inFlight = new Int32Array(INITIAL_RANGES);
  private made = 0;
  private free = NO_RANGE;
  private readonly clock: Pick<TurnClock, 'nowUs'>;
  private readonly joins: boolean;
  /** Ranges in use. */
  live = 0;

  /**
   * @param joins what leaves in one turn is one range; otherwise a range is a segment, which is sent again as it was: where
   *   checksums are put together from sums made beforehand, it then begins where there is one
   */
  constructor(clock: Pick<TurnClock, 'nowUs'>, joins: boolean) {
    this.clock = clock;
    this.joins = joins;
  }

  start(range: number): Seq {
    return toSeq(int32At(this.starts, range));
  }

  end(range: number): Seq {
    return toSeq(int32At(this.ends, range));
  }

  bytes(range: number): number {
    return seqDistance(this.end(range), this.start(range));
  }

  next(range: number): number {
    return int32At(this.nexts, range);
  }

  /** When it was last sent, microseconds. */
  sentUs(range: number): number {
    return float64At(this.sent, range);
  }

  /** P.delivered: what the connection had delivered when it was sent. */
  deliveredBytesAtSend(range: number): number {
    return float64At(this.delivered, range);
  }

  /** P.delivered_time: when the last of that was, microseconds. */
  deliveredUsAtSend(range: number): number {
    return float64At(this.deliveredAt, range);
  }

  /** P.first_send_time: when that had been sent, microseconds. */
  firstSentUsAtSend(range: number): number {
    return float64At(this.firstSent, range);
  }

  /** P.lost: what the connection had lost. */
  lostBytesAtSend(range: number): number {
    return float64At(this.lost, range);
  }

  /** P.tx_in_flight: what was in flight, this included. */
  inFlightAtSend(range: number): number {
    return int32At(this.inFlight, range);
  }

  wasAppLimited(range: number): boolean {
    return (this.flagsOf(range) & APP_LIMITED) !== 0;
  }

  isSacked(range: number): boolean {
    return (this.flagsOf(range) & SACKED) !== 0;
  }

  isLost(range: number): boolean {
    return (this.flagsOf(range) & LOST) !== 0;
  }

  wasRetransmitted(range: number): boolean {
    return (this.flagsOf(range) & RETRANSMITTED) !== 0;
  }

  /** A retransmission of it is under way. */
  isInFlightAgain(range: number): boolean {
    return (this.flagsOf(range) & IN_FLIGHT_AGAIN) !== 0;
  }

  /** Lost, and not sent again since. */
  isDue(range: number): boolean {
    return (this.flagsOf(range) & (SACKED | LOST | IN_FLIGHT_AGAIN)) === LOST;
  }

  /** Notes that `start` to `end`, which follow SND.NXT, have left. */
  append(tcb: Tcb, start: Seq, end: Seq): void {
    const tail = tcb.sentTail;
    const nowUs = this.clock.nowUs();
    if (this.joins && tail !== NO_RANGE && (this.flagsOf(tail) & ~APP_LIMITED) === 0 && this.sentUs(tail) === nowUs) {
      this.ends[tail] = seqBits(end);
      this.inFlight[tail] = pipeBytes(tcb);
      return;
    }
    const range = this.take(start, end, 0, nowUs, NO_RANGE);
    tcb.sentRanges++;
    if (tail === NO_RANGE) {
      tcb.sentHead = range;
      tcb.firstSentUs = nowUs;
      tcb.deliveredUs = nowUs;
    } else {
      this.nexts[tail] = range;
    }
    tcb.sentTail = range;
    this.snapshot(tcb, range);
  }

  /** Divides a range so that one begins at `at`, which lies inside it; returns that one, `NO_RANGE` beyond `MAX_RANGES`. */
  divide(tcb: Tcb, range: number, at: Seq): number {
    if (tcb.sentRanges >= MAX_RANGES) return NO_RANGE;
    tcb.sentRanges++;
    const rest = this.take(at, this.end(range), this.flagsOf(range), this.sentUs(range), this.next(range));
    this.ends[range] = seqBits(at);
    this.nexts[range] = rest;
    if (tcb.sentTail === range) tcb.sentTail = rest;
    this.delivered[rest] = float64At(this.delivered, range);
    this.deliveredAt[rest] = float64At(this.deliveredAt, range);
    this.firstSent[rest] = float64At(this.firstSent, range);
    this.lost[rest] = float64At(this.lost, range);
    this.inFlight[rest] = int32At(this.inFlight, range);
    return rest;
  }

  /**
   * The range that begins at `at`, divided so if need be, or the one around it that the peer holds already; `NO_RANGE` beyond
   * SND.NXT.
   */
  cutAt(tcb: Tcb, at: Seq): number {
    let range = tcb.sentHead;
    while (range !== NO_RANGE && seqBeforeOrAt(this.end(range), at)) range = this.next(range);
    if (range === NO_RANGE || this.isSacked(range) || !seqBefore(this.start(range), at)) return range;
    return this.divide(tcb, range, at);
  }

  /** Makes one of a range that is held by the peer and the one after it, which is held as well. */
  join(tcb: Tcb, range: number): void {
    const other = this.next(range);
    this.ends[range] = int32At(this.ends, other);
    this.nexts[range] = this.next(other);
    if (tcb.sentTail === other) tcb.sentTail = range;
    tcb.sentRanges--;
    this.release(other);
  }

  /** Takes the first range away: the peer has acknowledged it. */
  removeHead(tcb: Tcb): void {
    const range = tcb.sentHead;
    tcb.sentRanges--;
    this.count(tcb, range, -1);
    tcb.sentHead = this.next(range);
    if (tcb.sentHead === NO_RANGE) tcb.sentTail = NO_RANGE;
    this.release(range);
  }

  markSacked(tcb: Tcb, range: number): void {
    this.setFlags(tcb, range, (this.flagsOf(range) & RETRANSMITTED) | SACKED);
  }

  /** The peer has gone back on it (RFC 2018 section 8). */
  clearSacked(tcb: Tcb, range: number): void {
    this.setFlags(tcb, range, this.flagsOf(range) & ~SACKED);
  }

  /** Lost, again if a retransmission of it was under way. */
  markLost(tcb: Tcb, range: number): void {
    if (!this.isDue(range)) tcb.lostTotalBytes += this.bytes(range);
    this.setFlags(tcb, range, (this.flagsOf(range) | LOST) & ~IN_FLIGHT_AGAIN);
  }

  /** It was not lost after all. */
  clearLost(tcb: Tcb, range: number): void {
    this.setFlags(tcb, range, this.flagsOf(range) & ~LOST);
  }

  /** It has been sent again. */
  markRetransmitted(tcb: Tcb, range: number): void {
    this.setFlags(tcb, range, (this.flagsOf(range) & ~APP_LIMITED) | RETRANSMITTED | IN_FLIGHT_AGAIN);
    this.sent[range] = this.clock.nowUs();
    this.snapshot(tcb, range);
  }

  /** OnPacketSent (draft-ietf-ccwg-bbr 4.1.2.2). */
  private snapshot(tcb: Tcb, range: number): void {
    this.delivered[range] = tcb.deliveredBytes;
    this.deliveredAt[range] = tcb.deliveredUs;
    this.firstSent[range] = tcb.firstSentUs;
    this.lost[range] = tcb.lostTotalBytes;
    this.inFlight[range] = pipeBytes(tcb);
    if (tcb.appLimitedUntilBytes > 0) this.flags[range] = this.flagsOf(range) | APP_LIMITED;
  }

  /** Forgets everything: the connection is over. */
  clear(tcb: Tcb): void {
    while (tcb.sentHead !== NO_RANGE) this.removeHead(tcb);
  }

  /** The first `to - start` bytes of the head are acknowledged: it begins at `to`. */
  trimHead(tcb: Tcb, to: Seq): void {
    const range = tcb.sentHead;
    if (!seqAfter(to, this.start(range))) return;
    this.count(tcb, range, -1);
    this.starts[range] = seqBits(to);
    this.count(tcb, range, 1);
  }

  private flagsOf(range: number): number {
    return uint8At(this.flags, range);
  }

  private setFlags(tcb: Tcb, range: number, flags: number): void {
    this.count(tcb, range, -1);
    this.flags[range] = flags;
    this.count(tcb, range, 1);
  }

  /** Adds a range to the counts of its connection, or takes it from them. */
  private count(tcb: Tcb, range: number, sign: number): void {
    const flags = this.flagsOf(range);
    if ((flags & COUNTED) === 0) return;
    const bytes = sign * this.bytes(range);
    if ((flags & SACKED) !== 0) tcb.sackedBytes += bytes;
    else {
      if ((flags & LOST) !== 0) tcb.lostBytes += bytes;
      if ((flags & IN_FLIGHT_AGAIN) !== 0) tcb.retransmittedBytes += bytes;
    }
  }

  private take(start: Seq, end: Seq, flags: number, sentUs: number, next: number): number {
    let range = this.free;
    if (range === NO_RANGE) {
      if (this.made === this.starts.length) this.grow();
      range = this.made++;
    } else {
      this.free = this.next(range);
    }
    this.starts[range] = seqBits(start);
    this.ends[range] = seqBits(end);
    this.flags[range] = flags;
    this.sent[range] = sentUs;
    this.nexts[range] = next;
    this.live++;
    return range;
  }

  private release(range: number): void {
    this.nexts[range] = this.free;
    this.free = range;
    this.live--;
  }

  private grow(): void {
    const length = this.starts.length * 2;
    this.starts = widen(this.starts, new Int32Array(length));
    this.ends = widen(this.ends, new Int32Array(length));
    this.nexts = widen(this.nexts, new Int32Array(length));
    this.flags = widen(this.flags, new Uint8Array(length));
    this.sent = widen(this.sent, new Float64Array(length));
    this.delivered = widen(this.delivered, new Float64Array(length));
    this.deliveredAt = widen(this.deliveredAt, new Float64Array(length));
    this.firstSent = widen(this.firstSent, new Float64Array(length));
    this.lost = widen(this.lost, new Float64Array(length));
    this.inFlight = widen(this.inFlight, new Int32Array(length));
  }
}

function widen<Column extends Int32Array | Uint8Array | Float64Array>(column: Column, into: Column): Column {
  into.set(column);
  return into;
}
