/** A token bucket in integer microseconds: how often the network may make us do something (RFC 1812 section 4.3.2.8). */
export class TokenBucket {
  private readonly intervalUs: number;
  private readonly depthUs: number;
  /** When the bucket was empty last, moved forward by one interval for every token taken. */
  private emptyAtUs: number;

  /** Starts full. Throws `RangeError` unless both numbers are positive. */
  constructor(perSecond: number, burst: number) {
    if (!(perSecond > 0) || !(burst >= 1))
      throw new RangeError('a token bucket needs a positive rate and a burst of one or more');
    this.intervalUs = Math.ceil(1_000_000 / perSecond);
    this.depthUs = this.intervalUs * burst;
    this.emptyAtUs = Number.NEGATIVE_INFINITY;
  }

  /** Takes a token; false when none is left. */
  take(nowUs: number): boolean {
    const from = Math.max(this.emptyAtUs, nowUs - this.depthUs);
    if (nowUs - from < this.intervalUs) return false;
    this.emptyAtUs = from + this.intervalUs;
    return true;
  }
}
