/**
 * The time of a turn: a clock that stands still while a batch of frames is worked on, so that nobody in between asks the
 * platform, and everything done in one turn happens at one time. Whoever drives the turns sets it; a call that comes in
 * from outside a turn has it look first.
 */
import type { Clock } from './clock.ts';

export class TurnClock implements Clock {
  private readonly clock: Clock;
  private turnUs = 0;
  /** The same in whole milliseconds modulo 2^32, signed: divided once a turn, not once a segment. */
  nowMs = 0;

  /** Begins with the time that `clock` tells. */
  constructor(clock: Clock) {
    this.clock = clock;
    this.beginTurn(clock.nowUs());
  }

  nowUs(): number {
    return this.turnUs;
  }

  wallMs(): number {
    return this.clock.wallMs();
  }

  /** A turn begins at `nowUs`, as the clock behind this one tells it. */
  beginTurn(nowUs: number): void {
    this.turnUs = nowUs;
    this.nowMs = (nowUs / 1000) | 0;
  }

  /** Asks the clock behind: the last turn may be long ago. */
  look(): void {
    this.beginTurn(this.clock.nowUs());
  }
}
