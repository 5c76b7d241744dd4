/**
 * HyStart++ (RFC 9406): slow start ends when round trips grow longer, before the queue behind that overflows. It then grows
 * a quarter as fast for a few round trips (conservative slow start), to see whether it was mistaken.
 */
import { type Seq, seqAfterOrAt, toSeq } from '../sequence.ts';
import type { Tcb } from '../tcb.ts';
import type { CongestionContext } from './congestion.ts';

// Section 4.3.
const MIN_RTT_THRESH_US = 4000;
const MAX_RTT_THRESH_US = 16_000;
const MIN_RTT_DIVISOR = 8;
const N_RTT_SAMPLE = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

const NOT_MEASURED = 0x7fffffff;

export class HyStart {
  /** windowEnd: the round ends when this is acknowledged. */
  private windowEnd: Seq = toSeq(0);
  private hasRound = false;
  private lastRoundMinRttUs = NOT_MEASURED;
  private currentRoundMinRttUs = NOT_MEASURED;
  private rttSampleCount = 0;
  /** cssBaselineMinRtt; `NOT_MEASURED` in slow start proper. */
  private cssBaselineMinRttUs = NOT_MEASURED;
  private cssRounds = 0;

  /** Section 4.2, for an acknowledgment in slow start: how many of the bytes the window may grow by. */
  acknowledged(context: CongestionContext, tcb: Tcb, bytes: number): number {
    if (!this.hasRound || seqAfterOrAt(tcb.sndUna, this.windowEnd)) this.beginRound(tcb);
    const { newestRttUs } = context.acknowledgment;
    if (newestRttUs >= 0) {
      this.currentRoundMinRttUs = Math.min(this.currentRoundMinRttUs, newestRttUs);
      this.rttSampleCount++;
    }
    if (this.cssBaselineMinRttUs === NOT_MEASURED) this.watchForDelay();
    else this.watchForMistake();
    return this.cssBaselineMinRttUs === NOT_MEASURED ? bytes : Math.floor(bytes / CSS_GROWTH_DIVISOR);
  }

  /** Congestion has ended slow start. */
  end(): void {
    this.hasRound = false;
    this.lastRoundMinRttUs = NOT_MEASURED;
    this.currentRoundMinRttUs = NOT_MEASURED;
    this.cssBaselineMinRttUs = NOT_MEASURED;
    this.cssRounds = 0;
  }

  private beginRound(tcb: Tcb): void {
    this.lastRoundMinRttUs = this.currentRoundMinRttUs;
    this.currentRoundMinRttUs = NOT_MEASURED;
    this.rttSampleCount = 0;
    this.windowEnd = tcb.sndNxt;
    this.hasRound = true;
    if (this.cssBaselineMinRttUs === NOT_MEASURED) return;
    this.cssRounds++;
    // The delay has stayed: slow start is over.
    if (this.cssRounds >= CSS_ROUNDS) tcb.ssthreshBytes = tcb.cwndBytes;
  }

  private watchForDelay(): void {
    if (this.rttSampleCount < N_RTT_SAMPLE) return;
    if (this.currentRoundMinRttUs === NOT_MEASURED || this.lastRoundMinRttUs === NOT_MEASURED) return;
    const share = Math.floor(this.lastRoundMinRttUs / MIN_RTT_DIVISOR);
    const thresholdUs = Math.max(MIN_RTT_THRESH_US, Math.min(share, MAX_RTT_THRESH_US));
    if (this.currentRoundMinRttUs < this.lastRoundMinRttUs + thresholdUs) return;
    this.cssBaselineMinRttUs = this.currentRoundMinRttUs;
    this.cssRounds = 0;
  }

  private watchForMistake(): void {
    if (this.rttSampleCount < N_RTT_SAMPLE || this.currentRoundMinRttUs >= this.cssBaselineMinRttUs) return;
    this.cssBaselineMinRttUs = NOT_MEASURED;
  }
}
