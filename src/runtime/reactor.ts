/**
 * The asynchronous shell around the synchronous core (design, principle 4): it calls `turn` when a descriptor has
 * something to read, when the deadline of the last turn comes up, and when somebody asks for it; in between it leaves the
 * process to Node's own loop.
 *
 * To sleep costs the kernel's way down and, when a frame comes, the processor's way up again, which in a virtual machine is
 * longer than a request takes. A reactor that polls therefore stays awake for a while after frames have come and takes
 * turn upon turn within one callback. Every slice of that is bounded and then Node's loop comes round: files, signals
 * and timers get their time under any load. And it stays awake only where that has paid lately: when the next frame
 * came sooner than it would have given up, as virtual machines decide about halting (KVM's halt polling). A server that
 * rests, or hears of its clients every millisecond, uses no processor time for nothing.
 *
 * A running reactor keeps the process alive; a stopped one holds no handle.
 */
import type { Clock } from './clock.ts';
import { Counters } from './counters.ts';
import { type DescriptorWatch, watchReadable } from './syscalls.ts';

/** The longest that `setTimeout` can wait. */
const MAX_SLEEP_MS = 2 ** 31 - 1;

/** How long to look for frames after the last one: about what a sleep and a wake-up cost, so that neither choice is far off. */
export const DEFAULT_POLL_US = 100;
/** How long turns are taken in a row before Node's loop comes round. */
const SLICE_US = 500;

/** Whether polling pays, as branch predictors guess: up with each frame that came soon, down with each that did not. */
const PAYS_MAX = 3;
const PAYS_ENOUGH = 2;

export const REACTOR_COUNTERS = ['turns', 'emptyPolls', 'slices', 'sleeps', 'emptyPollUs'] as const;
export const REACTOR_TURNS = 0;
/** Turns taken to look for frames that had not come. */
export const REACTOR_EMPTY_POLLS = 1;
/** Callbacks of Node's loop in which turns were taken. */
export const REACTOR_SLICES = 2;
/** Times that the process was left to Node's loop until something happens. */
export const REACTOR_SLEEPS = 3;
/** Time spent looking in vain: the processor was busy, and nothing was done. */
export const REACTOR_EMPTY_POLL_US = 4;

export interface Polling {
  /** How long to look for frames after the last one, microseconds; 0: not at all. */
  readonly pollUs: number;
  /** Frames received so far. */
  readonly received: () => number;
}

const NO_POLLING: Polling = { pollUs: 0, received: () => 0 };

export class Reactor {
  readonly counters = new Counters(REACTOR_COUNTERS);
  private readonly clock: Clock;
  private readonly descriptors: readonly number[];
  private readonly turn: () => number;
  private readonly pollUs: number;
  private readonly received: () => number;
  private readonly sliceUs: number;
  private running = false;
  /** Kept here because a collected watch stops firing. */
  private watches: DescriptorWatch[] = [];
  private soon: NodeJS.Immediate | undefined = undefined;
  private sleep: NodeJS.Timeout | undefined = undefined;
  /** When `sleep` ends: at the deadline or before. */
  private sleepUntilUs = Number.POSITIVE_INFINITY;
  private deadlineUs = Number.POSITIVE_INFINITY;
  /** Frames received, and when the turn that found the last of them had ended. */
  private receivedFrames = 0;
  private receivedUs = Number.NEGATIVE_INFINITY;
  private pays = 0;

  /**
   * @param clock what deadlines are told by; real time
   * @param descriptors watched for readability, one or several; -1 when there is nothing to watch
   * @param turn does what there is to do and returns when it wants to be called again, in microseconds of the clock: 0 for
   *   as soon as possible, Infinity for not before something happens
   * @param polling how to look for frames instead of sleeping; without it a turn is taken for each event
   */
  constructor(
    clock: Clock,
    descriptors: number | readonly number[],
    turn: () => number,
    polling: Polling = NO_POLLING,
  ) {
    if (!Number.isFinite(polling.pollUs) || polling.pollUs < 0) throw new RangeError(`pollUs ${polling.pollUs}`);
    this.clock = clock;
    this.descriptors = [descriptors].flat().filter((descriptor) => descriptor >= 0);
    this.turn = turn;
    this.pollUs = polling.pollUs;
    this.received = polling.received;
    this.sliceUs = polling.pollUs > 0 ? SLICE_US : 0;
  }

  /** Begins with a turn as soon as the loop comes round. */
  start(): void {
    if (this.running) return;
    this.running = true;
    this.receivedFrames = this.received();
    this.watches = this.descriptors.map((descriptor) => watchReadable(descriptor, this.onReadable));
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

  private readonly onReadable = (): void => {
    // Immediates come right after the descriptors, in the same round of Node's loop.
    if (this.soon === undefined) this.run();
  };

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

  /** Takes turns: one, or as long as there is work or hope of some, up to the end of the slice. */
  private run(): void {
    if (!this.running) return;
    this.counters.increment(REACTOR_SLICES);
    const startUs = this.clock.nowUs();
    let nowUs = startUs;
    let deadlineUs = 0;
    let again = false;
    do {
      const beganUs = nowUs;
      const polls = deadlineUs > 0;
      this.counters.increment(REACTOR_TURNS);
      deadlineUs = this.turn();
      // The turn may have stopped us.
      if (!this.running) return;
      nowUs = this.clock.nowUs();
      if (!this.noteFrames(beganUs, nowUs) && polls) {
        this.counters.increment(REACTOR_EMPTY_POLLS);
        this.counters.add(REACTOR_EMPTY_POLL_US, nowUs - beganUs);
      }
      again = deadlineUs <= 0 || this.isWorthPolling(nowUs);
    } while (again && nowUs - startUs < this.sliceUs);
    this.deadlineUs = deadlineUs;
    if (again) this.wake();
    else this.goToSleep(deadlineUs);
  }

  /** Notes whether a turn has found frames, and whether they came soon after those before. */
  private noteFrames(beganUs: number, endedUs: number): boolean {
    const frames = this.received();
    if (frames === this.receivedFrames) return false;
    const soon = beganUs - this.receivedUs <= this.pollUs;
    if (soon && this.pays < PAYS_MAX) this.pays++;
    else if (!soon && this.pays > 0) this.pays--;
    this.receivedFrames = frames;
    this.receivedUs = endedUs;
    return true;
  }

  private isWorthPolling(nowUs: number): boolean {
    return this.pays >= PAYS_ENOUGH && nowUs - this.receivedUs < this.pollUs;
  }

  private goToSleep(deadlineUs: number): void {
    // A turn that asked for another one sleeps no longer than until the loop has come round.
    if (this.soon !== undefined) return;
    this.counters.increment(REACTOR_SLEEPS);
    this.sleepTo(deadlineUs);
  }

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
