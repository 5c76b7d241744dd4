/**
 * Turns for a program whose input comes by Node's own events (its sockets, say): a reactor that watches nothing, and in its
 * turns runs the timers that are due. Each event is handled where Node reports it; afterwards the loop is told.
 *
 * Memory: the wheel's own. A running loop keeps the process alive; a stopped one holds no handle.
 */
import { type Clock, MonotonicClock } from './clock.ts';
import { Reactor } from './reactor.ts';
import { TimerWheel } from './timer-wheel.ts';
import { TurnClock } from './turn-clock.ts';

export class TimerLoop {
  readonly clock: TurnClock;
  readonly timers: TimerWheel;
  /** Called in each turn, after the timers. */
  onTurn: () => void = () => {};
  private readonly real: Clock;
  private readonly reactor: Reactor;
  /** When the reactor takes the next turn by itself. */
  private deadlineUs = 0;

  constructor(real: Clock = new MonotonicClock()) {
    this.real = real;
    this.clock = new TurnClock(real);
    this.timers = new TimerWheel(this.clock);
    this.reactor = new Reactor(real, -1, () => this.turn());
  }

  start(): void {
    this.reactor.start();
  }

  stop(): void {
    this.reactor.stop();
  }

  /** Has a turn taken soon. */
  wake(): void {
    this.reactor.wake();
  }

  /** An event has been handled; a timer that it set may be due before the next turn. */
  eventHandled(): void {
    if (this.timers.nextDeadlineUs() < this.deadlineUs) this.reactor.wake();
  }

  private turn(): number {
    const nowUs = this.real.nowUs();
    this.clock.beginTurn(nowUs);
    this.timers.advance(nowUs);
    this.onTurn();
    this.deadlineUs = this.timers.nextDeadlineUs();
    return this.deadlineUs;
  }
}
