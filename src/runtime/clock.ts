/**
 * The clock that is handed to every part of the system (design, principle 5): nothing outside `src/runtime` asks the
 * platform what time it is, so that the same code runs in real and in virtual time.
 */

export interface Clock {
  /** Microseconds since some fixed moment: an integer that never goes backwards. */
  nowUs(): number;
  /** Milliseconds since 1970-01-01 UTC, for dates shown to people and peers; it may jump. */
  wallMs(): number;
}

/** Real time: `nowUs` starts near zero when the clock is made. */
export class MonotonicClock implements Clock {
  private readonly originMs = performance.now();

  nowUs(): number {
    return Math.floor((performance.now() - this.originMs) * 1000);
  }

  wallMs(): number {
    return Date.now();
  }
}
