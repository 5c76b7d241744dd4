/**
 * The asynchronous shell around the synchronous core (design, principle 4): it calls `turn` when a descriptor has
 * something to read, when the deadline of the last turn comes up, and when somebody asks for it; in between it leaves the
 * process to Node's own loop.
 *
 * A running reactor keeps the process alive; a stopped one holds no handle.
 */
import type { Clock } from './clock.ts';
import { type DescriptorWatch, watchReadable } from './syscalls.ts';

/** The longest that `setTimeout` can wait. */
const MAX_SLEEP_MS = 2 ** 31 - 1;

export class Reactor {
  private readonly clock: Clock;
  private readonly descriptors: readonly number[];
  private readonly turn: () => number;
  private running = false;
  /** Kept here because a collected watch stops firing. */
  private watches: DescriptorWatch[] = [];
  private soon: NodeJS.Immediate | undefined = undefined;
  private sleep: NodeJS.Timeout | undefined = undefined;
  /** When `sleep` ends: at the deadline or before. */
  private sleepUntilUs = Number.POSITIVE_INFINITY;
  private deadlineUs = Number.POSITIVE_INFINITY;

  /**
   * @param clock what deadlines are told by; real time
   * @param descriptors watched for readability, one or several; -1 when there is nothing to watch
   * @param turn does what there is to do and returns when it wants to be called again, in microseconds of the clock: 0 for
   *   as soon as the loop has come round, Infinity for not before something happens
   */
  constructor(clock: Clock, descriptors: number | readonly number[], turn: () => number) {
    this.clock = clock;
    this.descriptors = [descriptors].flat().filter((descriptor) => descriptor >= 0);
    this.turn = turn;
  }

  /** Begins with a turn as soon as the loop comes round. */
  start(): void {
    if (this.running) return;
    this.running = true;
    this.watches = this.descriptors.map((descriptor) => watchReadable(descriptor, this.run));
    this.wake();
  }

  /** Has a turn run soon; to be called after anything outside a turn has given it work. Does nothing when stopped. */
  wake(): void {
    if (this.running && this.soon === undefined) this.soon = setImmediate(this.onSoon);
  }

  /** Ends the watching and waiting; a turn that is running comes to its end. */
  stop(): void {
    this.running = false;
    for (const watch of this.watches) watch.close();
    this.watches = [];
    if (this.soon !== undefined) clearImmediate(this.soon);
    this.soon = undefined;
    this.endSleep();
  }

  private readonly onSoon = (): void => {
    this.soon = undefined;
    this.run();
  };

  private readonly onSleepEnd = (): void => {
    this.sleep = undefined;
    this.sleepUntilUs = Number.POSITIVE_INFINITY;
    // The deadline may have moved since.
    if (this.deadlineUs <= this.clock.nowUs()) this.run();
    else this.sleepTo(this.deadlineUs);
  };

  private readonly run = (): void => {
    if (!this.running) return;
    const deadlineUs = this.turn();
    // The turn may have stopped us.
    if (!this.running) return;
    this.deadlineUs = deadlineUs;
    if (deadlineUs <= 0) this.wake();
    else this.sleepTo(deadlineUs);
  };

  /** Keeps a sleep that ends no later than it should: a deadline that moves away costs no new timer. */
  private sleepTo(deadlineUs: number): void {
    if (deadlineUs >= this.sleepUntilUs || deadlineUs === Number.POSITIVE_INFINITY) return;
    const nowUs = this.clock.nowUs();
    if (deadlineUs <= nowUs) {
      this.wake();
      return;
    }
    this.endSleep();
    const sleepMs = Math.min(Math.ceil((deadlineUs - nowUs) / 1000), MAX_SLEEP_MS);
    this.sleepUntilUs = deadlineUs;
    this.sleep = setTimeout(this.onSleepEnd, sleepMs);
  }

  private endSleep(): void {
    if (this.sleep !== undefined) clearTimeout(this.sleep);
    this.sleep = undefined;
    this.sleepUntilUs = Number.POSITIVE_INFINITY;
  }
}
