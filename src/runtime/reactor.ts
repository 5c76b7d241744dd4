/**
 * The asynchronous shell around the synchronous core (design, principle 4): it calls `turn` when a descriptor has
 * something to read, when the deadline of the last turn comes up, and when somebody asks for it; in between it leaves the
 * process to Node's own loop.
 *
 * To sleep costs the kernel's way down and, when a frame comes, the processor's way up again, which in a virtual machine is
 * longer than a request takes. A reactor that polls therefore stays awake for a while after frames have come, looks whether
 * there are more, and takes turn upon turn within one callback. Every slice of that is bounded and then Node's loop comes
 * round: files, signals and timers get their time under any load. And it stays awake only where that has paid lately: when the next frame
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
/** Who stays awake before a deadline and is this late for it has lost the processor to others, */
const LOST_US = 1000;
/** and gains more by sleeping for a while, as the scheduler then owes it some time. */
const REST_US = 100_000;
/** Looks for frames before the clock is read again. */
const LOOKS = 8;

/** Whether polling pays, as branch predictors guess: up with each frame that came soon, down with each that did not. */
const PAYS_MAX = 3;
const PAYS_ENOUGH = 2;

export const REACTOR_COUNTERS = ['turns', 'emptyPolls', 'slices', 'sleeps', 'emptyPollUs'] as const;
export const REACTOR_TURNS = 0;
/** Looks for frames that had not come. */
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
  /**
   * How long before a deadline to look for frames instead of sleeping (default 0): the platform's timers are milliseconds late, and
   * who has to be punctual stays awake.
   */
  readonly beforeDeadlineUs?: number | undefined;
  /** Frames received so far. */
  received(): number;
  /** Receives what is waiting, for the next turn to work on; cheap when there is nothing. */
  look(): void;
}

const NO_POLLING: Polling = { pollUs: 0, received: () => 0, look: () => {} };

export class Reactor {
  readonly counters = new Counters(REACTOR_COUNTERS);
  private readonly clock: Clock;
  private readonly descriptors: readonly number[];
  private readonly turn: () => number;
  private readonly polling: Polling;
  private readonly pollUs: number;
  private readonly sliceUs: number;
  private readonly beforeDeadlineUs: number;
  private running = false;
  /** Kept here because a collected watch stops firing. */
  private watches: DescriptorWatch[] = [];
  /** Who looks for frames anyway does not have itself told of them: that would cost whoever sends them. */
  private watching = false;
  private soon: NodeJS.Immediate | undefined = undefined;
  private sleep: NodeJS.Timeout | undefined = undefined;
  /** When `sleep` ends: at the deadline or before. */
  private sleepUntilUs = Number.POSITIVE_INFINITY;
  // Times are kept here instead of being handed on: a number beyond the engine's small integers would be allocated each time.
  /** The clock when it was last looked at. */
  private nowUs = 0;
  private sliceEndUs = 0;
  /** How long to look for frames, and since when. */
  private untilUs = 0;
  private emptySinceUs = 0;
  /** When it has to be awake again. */
  private deadlineUs = Number.POSITIVE_INFINITY;
  /** Frames received, and when the turn that found the last of them had ended. */
  private receivedFrames = 0;
  private receivedUs = Number.NEGATIVE_INFINITY;
  /** When the last slice ended, if it did so only to let Node's loop come round; else -1. */
  private gaveWayUs = -1;
  /** Nobody stays awake for a deadline until then. */
  private restsUntilUs = Number.NEGATIVE_INFINITY;
  /** Frames have been found, for the turn that is running or the next one. */
  private found = false;
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
    this.polling = polling;
    this.pollUs = polling.pollUs;
    this.sliceUs = polling.pollUs > 0 ? SLICE_US : 0;
    this.beforeDeadlineUs = polling.pollUs > 0 ? (polling.beforeDeadlineUs ?? 0) : 0;
  }

  /** Begins with a turn as soon as the loop comes round. */
  start(): void {
    if (this.running) return;
    this.running = true;
    this.receivedFrames = this.polling.received();
    this.watches = this.descriptors.map((descriptor) => watchReadable(descriptor, this.onReadable));
    this.watching = true;
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
    else this.sleepToDeadline();
  };

  /** Takes turns: one, or as long as there is work or hope of some, up to the end of the slice. */
  private run(): void {
    if (!this.running) return;
    this.counters.increment(REACTOR_SLICES);
    this.lookAtClock();
    this.sliceEndUs = this.nowUs + this.sliceUs;
    // What others of the process did since the last slice is not the network's silence.
    if (this.gaveWayUs >= 0) this.receivedUs += this.nowUs - this.gaveWayUs;
    let again = true;
    do {
      this.counters.increment(REACTOR_TURNS);
      this.deadlineUs = this.turn();
      // The turn may have stopped us.
      if (!this.running) return;
      this.noteFrames();
      this.lookAtClock();
      if (this.found) this.receivedUs = this.nowUs;
      this.found = false;
      again = this.deadlineUs <= 0;
      const isNear = this.isNear();
      if (!again && (isNear || this.pays >= PAYS_ENOUGH)) again = this.stayAwake(isNear);
      if (isNear) again = true;
    } while (again && this.nowUs < this.sliceEndUs);
    this.gaveWayUs = again ? this.nowUs : -1;
    if (again) {
      if (this.sliceUs > 0) this.pauseWatching();
      this.wake();
    } else {
      this.resumeWatching();
      if (this.nowUs >= this.restsUntilUs) this.deadlineUs -= this.beforeDeadlineUs;
      this.goToSleep();
    }
  }

  private lookAtClock(): void {
    this.nowUs = this.clock.nowUs();
  }

  /** Looks for frames for as long as that pays, or until a deadline that is near; whether there is something to do then. */
  private stayAwake(isNear: boolean): boolean {
    this.untilUs = isNear
      ? Math.min(this.deadlineUs, this.sliceEndUs)
      : Math.min(this.deadlineUs, this.receivedUs + this.pollUs);
    if (this.nowUs >= this.untilUs) return false;
    this.emptySinceUs = this.nowUs;
    this.lookForFrames();
    this.lookAtClock();
    this.counters.add(REACTOR_EMPTY_POLL_US, this.nowUs - this.emptySinceUs);
    if (isNear && this.nowUs - this.deadlineUs > LOST_US) this.restsUntilUs = this.nowUs + REST_US;
    return this.found || this.nowUs >= this.deadlineUs;
  }

  private pauseWatching(): void {
    if (!this.watching) return;
    this.watching = false;
    for (const watch of this.watches) watch.pause();
  }

  private resumeWatching(): void {
    if (this.watching) return;
    this.watching = true;
    for (const watch of this.watches) watch.resume();
  }

  /** Whether a deadline is so near that it is waited for awake. */
  private isNear(): boolean {
    if (this.beforeDeadlineUs === 0) return false;
    return this.deadlineUs - this.beforeDeadlineUs <= this.nowUs && this.nowUs >= this.restsUntilUs;
  }

  /** Looks for frames until there are some, at most until `untilUs`. */
  private lookForFrames(): void {
    do {
      for (let looks = 0; looks < LOOKS; looks++) {
        this.polling.look();
        if (this.polling.received() !== this.receivedFrames) {
          this.lookAtClock();
          this.noteFrames();
          return;
        }
        this.counters.increment(REACTOR_EMPTY_POLLS);
      }
      this.lookAtClock();
    } while (this.nowUs < this.untilUs);
  }

  /** Notes frames that have come by now, and whether that was soon after those before. */
  private noteFrames(): void {
    const frames = this.polling.received();
    if (frames === this.receivedFrames) return;
    const soon = this.nowUs - this.receivedUs <= this.pollUs;
    if (soon && this.pays < PAYS_MAX) this.pays++;
    else if (!soon && this.pays > 0) this.pays--;
    this.receivedFrames = frames;
    this.receivedUs = this.nowUs;
    this.found = true;
  }

  private goToSleep(): void {
    // A turn that asked for another one sleeps no longer than until the loop has come round.
    if (this.soon !== undefined) return;
    this.counters.increment(REACTOR_SLEEPS);
    this.sleepToDeadline();
  }

  /** Keeps a sleep that ends no later than it should: a deadline that moves away costs no new timer. */
  private sleepToDeadline(): void {
    if (this.deadlineUs >= this.sleepUntilUs || this.deadlineUs === Number.POSITIVE_INFINITY) return;
    this.lookAtClock();
    if (this.deadlineUs <= this.nowUs) {
      this.wake();
      return;
    }
    this.endSleep();
    const sleepMs = Math.min(Math.ceil((this.deadlineUs - this.nowUs) / 1000), MAX_SLEEP_MS);
    this.sleepUntilUs = this.deadlineUs;
    this.sleep = setTimeout(this.onSleepEnd, sleepMs);
  }

  private endSleep(): void {
    if (this.sleep !== undefined) clearTimeout(this.sleep);
    this.sleep = undefined;
    this.sleepUntilUs = Number.POSITIVE_INFINITY;
  }
}
