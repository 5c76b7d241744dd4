/**
 * Timers by the hundred thousand: a hierarchical timing wheel (Varghese and Lauck, SOSP 1987) on typed arrays.
 *
 * Time is cut into ticks of 1024 us. A timer lies in the slot of the tick that its deadline is rounded up to, so it
 * never fires early, and at most one tick late plus what the caller is late with `advance`. There are five levels of 64
 * slots; the level is that of the highest bit in which the timer's tick and the present one differ, so that whatever lies
 * on a level lies in the same slot of the level above as the present does, and the lowest level that holds anything
 * holds what comes first. When the present reaches a slot of a higher level, its timers move down. Deadlines beyond the
 * span (2^30 ticks, twelve days) wait on one more list that is looked through once a span.
 *
 * Scheduling a timer later than it lies only writes its deadline: it moves on when its slot comes up. A connection that
 * pushes its retransmission timer back with every acknowledgment pays one store for it. Likewise a timer that is disarmed
 * goes on lying where it lies until its slot comes up, and armed again before that it is there already.
 *
 * Memory: arrays are allocated by the constructor and, doubling, by `create`; nothing else allocates.
 */
import { Alarms } from './alarm.ts';
import type { Clock } from './clock.ts';
import { float64At, int32At } from './words.ts';

/** Called with the timer's argument when it fires. */
export type TimerHandler = (argument: number) => void;

/** The granularity of the wheel. */
export const TICK_US = 1024;

const LEVEL_BITS = 6;
const LEVEL_SLOTS = 1 << LEVEL_BITS;
const LEVELS = 5;
const SPAN_BITS = LEVEL_BITS * LEVELS;
const SPAN_TICKS = 2 ** SPAN_BITS;

/** The list of deadlines beyond the span comes after the slots of all levels. */
const FAR = LEVELS * LEVEL_SLOTS;
/** What handlers schedule waits here until the wheel has come to rest. */
const DEFERRED = FAR + 1;
/** Nodes below this are list heads, from here on timers. */
const FIRST_TIMER = DEFERRED + 1;

/** `slot` of a timer that is in no list. */
const NOWHERE = -1;
/** `kind` of an id that is no timer. */
const FREE = -1;

const DEFAULT_CAPACITY = 256;
const DEFAULT_LIMIT = 2 ** 24;

export class TimerWheel {
  /** Deadlines that no tick is waited for; they go off before the timers do. */
  readonly alarms = new Alarms();
  private readonly clock: Clock;
  private readonly handlers: TimerHandler[] = [];
  private readonly limit: number;
  private capacity: number;

  /** Everything before this tick, and it too, has fired. */
  private presentTick: number;
  private advancing = false;

  private armedCount = 0;
  private liveCount = 0;
  /** First of the free ids, linked through `next`; 0 when there is none. */
  private freeHead = 0;
  /** Ids from here on have never been used. */
  private unused = FIRST_TIMER;

  /** Two words for each level: bit s is set when slot s holds a timer. */
  private readonly occupied = new Int32Array(2 * LEVELS);

  // By node, the list heads first. Lists are circular and include their head.
  private next: Int32Array;
  private previous: Int32Array;
  /** The list that a timer is in; one that is not armed may still be in the one it was armed in. */
  private slot: Int32Array;
  /** The tick, modulo 2^32, that the timer lies at: that of its deadline, or an earlier one. */
  private tick: Int32Array;
  /** Infinity when the timer is not armed. */
  private deadline: Float64Array;
  private kind: Int32Array;
  private argument: Int32Array;

  /**
   * @param clock what `scheduleAfter` counts from; asked often, so that a `TurnClock` serves best
   * @param capacity timers there is room for at first; the room doubles when it is used up
   * @param limit timers there may ever be; `create` throws beyond it
   */
  constructor(clock: Clock, capacity = DEFAULT_CAPACITY, limit = DEFAULT_LIMIT) {
    if (!Number.isInteger(limit) || limit < 1 || limit > DEFAULT_LIMIT)
      throw new RangeError(`limit of ${limit} timers`);
    if (!Number.isInteger(capacity) || capacity < 1) throw new RangeError(`capacity of ${capacity} timers`);
    this.clock = clock;
    this.limit = limit;
    this.capacity = Math.min(capacity, limit);
    this.presentTick = Math.floor(clock.nowUs() / TICK_US);
    const nodes = FIRST_TIMER + this.capacity;
    this.next = new Int32Array(nodes);
    this.previous = new Int32Array(nodes);
    this.slot = new Int32Array(nodes).fill(NOWHERE);
    this.tick = new Int32Array(nodes);
    this.deadline = new Float64Array(nodes).fill(Number.POSITIVE_INFINITY);
    this.kind = new Int32Array(nodes).fill(FREE);
    this.argument = new Int32Array(nodes);
    for (let head = 0; head < FIRST_TIMER; head++) {
      this.next[head] = head;
      this.previous[head] = head;
    }
  }

  /** Timers that are going to fire. */
  get armed(): number {
    return this.armedCount;
  }

  /** Timers that exist, armed or not. */
  get live(): number {
    return this.liveCount;
  }

  /** Registers what timers of one kind do and returns the kind. */
  addKind(handler: TimerHandler): number {
    return this.handlers.push(handler) - 1;
  }

  /**
   * Makes a timer, not armed, and returns its id: a positive integer, used again after `destroy`.
   * @param argument 32 bits signed, passed to the handler
   */
  create(kind: number, argument: number): number {
    if (this.handlers[kind] === undefined) throw new RangeError(`no timer kind ${kind}`);
    let id = this.freeHead;
    if (id !== 0) {
      this.freeHead = this.next[id] as number;
    } else {
      if (this.unused === FIRST_TIMER + this.capacity) this.grow();
      id = this.unused++;
    }
    this.kind[id] = kind;
    this.argument[id] = argument;
    this.liveCount++;
    return id;
  }

  /** Changes what the handler is passed. */
  setArgument(id: number, argument: number): void {
    this.assertLive(id);
    this.argument[id] = argument;
  }

  /** Ends a timer: it does not fire any more and its id must not be used again. */
  destroy(id: number): void {
    this.cancel(id);
    if (this.slot[id] !== NOWHERE) this.unlink(id);
    this.kind[id] = FREE;
    this.next[id] = this.freeHead;
    this.freeHead = id;
    this.liveCount--;
  }

  /** Arms a timer, or moves it, to fire once at `deadlineUs`; one in the past fires with the next tick. Infinity cancels. */
  schedule(id: number, deadlineUs: number): void {
    this.assertLive(id);
    if (!(deadlineUs < Number.POSITIVE_INFINITY)) {
      if (Number.isNaN(deadlineUs)) throw new RangeError('a deadline cannot be NaN');
      this.cancel(id);
      return;
    }
    const before = float64At(this.deadline, id);
    this.deadline[id] = deadlineUs;
    this.rearm(id, before === Number.POSITIVE_INFINITY, deadlineUs < before);
  }

  /**
   * Arms a timer, or moves it, to fire once `delayUs` after the clock's present time. For hot paths: a delay is a small
   * integer, where a deadline that is handed from function to function is allocated each time.
   */
  scheduleAfter(id: number, delayUs: number): void {
    this.assertLive(id);
    const deadlineUs = this.clock.nowUs() + delayUs;
    if (!(deadlineUs < Number.POSITIVE_INFINITY)) throw new RangeError(`a delay of ${delayUs} us`);
    const before = float64At(this.deadline, id);
    this.deadline[id] = deadlineUs;
    this.rearm(id, before === Number.POSITIVE_INFINITY, deadlineUs < before);
  }

  /** Disarms a timer; nothing happens when it is not armed. */
  cancel(id: number): void {
    this.assertLive(id);
    if (this.deadline[id] === Number.POSITIVE_INFINITY) return;
    this.deadline[id] = Number.POSITIVE_INFINITY;
    this.armedCount--;
  }

  isArmed(id: number): boolean {
    this.assertLive(id);
    return this.deadline[id] !== Number.POSITIVE_INFINITY;
  }

  /** When the timer is to fire, as it was given to `schedule`; Infinity when it is not armed. */
  deadlineUs(id: number): number {
    this.assertLive(id);
    return this.deadline[id] as number;
  }

  /**
   * Fires every timer whose time has come, in the order of their ticks, and returns how many there were. A handler may
   * do anything to any timer; a timer that it arms fires in a later call, however early the deadline.
   */
  advance(nowUs: number): number {
    let fired = this.alarms.ring(nowUs);
    const target = Math.floor(nowUs / TICK_US);
    if (!(target > this.presentTick)) return fired;
    if (this.advancing) throw new Error('a timer handler cannot advance the wheel');
    this.advancing = true;
    try {
      while (true) {
        const slot = this.firstSlot();
        if (slot === NOWHERE) break;
        const tick = this.slotTick(slot);
        if (tick > target) break;
        this.presentTick = tick;
        if (slot < LEVEL_SLOTS) fired += this.fire(slot);
        else this.moveDown(slot);
      }
      this.presentTick = target;
    } finally {
      this.advancing = false;
      while (this.next[DEFERRED] !== DEFERRED) {
        const id = int32At(this.next, DEFERRED);
        this.unlink(id);
        if (this.isArmed(id)) this.enter(id);
      }
    }
    return fired;
  }

  /**
   * When `advance` has something to do: no timer fires before. It may find that it only has to move timers about, at most
   * a few times for each of them; what it returns after `advance(nowUs)` is always later than `nowUs`. Infinity when
   * nothing is armed.
   */
  nextDeadlineUs(): number {
    const alarmUs = this.alarms.nextUs();
    if (this.armedCount === 0) return alarmUs;
    const slot = this.firstSlot();
    return slot === NOWHERE ? alarmUs : Math.min(alarmUs, this.slotTick(slot) * TICK_US);
  }

  private assertLive(id: number): void {
    if ((this.kind[id] ?? FREE) === FREE) throw new RangeError(`${id} is no timer`);
  }

  /** A timer has got a deadline, its first since it was `idle` or one `earlier` than before: does it lie where it should? */
  private rearm(id: number, idle: boolean, earlier: boolean): void {
    if (idle) this.armedCount++;
    if (this.slot[id] === NOWHERE) {
      this.enter(id);
    } else if ((idle && this.advancing) || (earlier && !this.liesEarlyEnough(id))) {
      this.unlink(id);
      this.enter(id);
    }
  }

  /** Puts a timer that has got a deadline and is in no list where it belongs. */
  private enter(id: number): void {
    if (this.advancing) {
      this.link(id, DEFERRED);
    } else {
      this.place(id, this.dueTick(id));
    }
  }

  /** The tick that a timer is to fire at: that of its deadline, or the next one if that has passed. */
  private dueTick(id: number): number {
    return Math.max(Math.ceil((this.deadline[id] as number) / TICK_US), this.presentTick + 1);
  }

  /** Whether a timer is looked at where it lies by the time that it is to fire. */
  private liesEarlyEnough(id: number): boolean {
    const tick = this.dueTick(id);
    if (this.slot[id] === FAR) return this.isFar(tick);
    return tick - this.presentTick >= (((this.tick[id] as number) - this.presentTick) | 0);
  }

  /** Whether a tick differs from the present one in a bit above the levels. */
  private isFar(tick: number): boolean {
    return tick - this.presentTick >= SPAN_TICKS || (tick ^ this.presentTick) >>> SPAN_BITS !== 0;
  }

  /** Puts a timer that is in no list into the slot of `tick`, which is the present one or a later one. */
  private place(id: number, tick: number): void {
    let slot = FAR;
    if (!this.isFar(tick)) {
      const highestBit = 31 - Math.clz32(tick ^ this.presentTick);
      const level = highestBit < 0 ? 0 : (highestBit / LEVEL_BITS) | 0;
      const index = (tick >>> (level * LEVEL_BITS)) & (LEVEL_SLOTS - 1);
      slot = level * LEVEL_SLOTS + index;
      this.occupied[slot >>> 5] = int32At(this.occupied, slot >>> 5) | (1 << (slot & 31));
    }
    this.tick[id] = tick;
    this.link(id, slot);
  }

  private link(id: number, slot: number): void {
    const last = int32At(this.previous, slot);
    this.slot[id] = slot;
    this.next[id] = slot;
    this.previous[id] = last;
    this.next[last] = id;
    this.previous[slot] = id;
  }

  private unlink(id: number): void {
    const after = int32At(this.next, id);
    const before = int32At(this.previous, id);
    this.next[before] = after;
    this.previous[after] = before;
    // Neighbours that are the same node are the head of a list that is now empty.
    if (after === before && after < FAR) {
      this.occupied[after >>> 5] = int32At(this.occupied, after >>> 5) & ~(1 << (after & 31));
    }
    this.slot[id] = NOWHERE;
  }

  /** The slot that comes up first, the present one included; `FAR` when only that list has timers. */
  private firstSlot(): number {
    for (let level = 0; level < LEVELS; level++) {
      const from = (this.presentTick >>> (level * LEVEL_BITS)) & (LEVEL_SLOTS - 1);
      let word = level * 2 + (from >>> 5);
      let bits = int32At(this.occupied, word) & (-1 << (from & 31));
      if (bits === 0 && from < 32) bits = int32At(this.occupied, ++word);
      if (bits !== 0) return word * 32 + 31 - Math.clz32(bits & -bits);
    }
    return this.next[FAR] === FAR ? NOWHERE : FAR;
  }

  /** The first tick of a slot. */
  private slotTick(slot: number): number {
    if (slot === FAR) return this.presentTick - (this.presentTick & (SPAN_TICKS - 1)) + SPAN_TICKS;
    const shift = (slot >>> LEVEL_BITS) * LEVEL_BITS;
    const below = this.presentTick & ((1 << (shift + LEVEL_BITS)) - 1);
    return this.presentTick - below + ((slot & (LEVEL_SLOTS - 1)) << shift);
  }

  /** Fires the timers of a slot of the lowest level; those scheduled later since move on, those disarmed are let go. */
  private fire(slot: number): number {
    const presentUs = this.presentTick * TICK_US;
    let fired = 0;
    // A handler may take timers out of this list but not put any in: what it schedules lies later than the present.
    while (this.next[slot] !== slot) {
      const id = int32At(this.next, slot);
      this.unlink(id);
      const deadlineUs = this.deadline[id] as number;
      if (deadlineUs > presentUs) {
        if (deadlineUs < Number.POSITIVE_INFINITY) this.place(id, Math.ceil(deadlineUs / TICK_US));
        continue;
      }
      this.deadline[id] = Number.POSITIVE_INFINITY;
      this.armedCount--;
      fired++;
      const handler = this.handlers[int32At(this.kind, id)] as TimerHandler;
      handler(int32At(this.argument, id));
    }
    return fired;
  }

  /** Spreads the timers of a slot that has become the present over the levels below. */
  private moveDown(slot: number): void {
    const last = int32At(this.previous, slot);
    let id = slot;
    while (id !== last) {
      id = int32At(this.next, slot);
      this.unlink(id);
      if (!this.isArmed(id)) continue;
      // A deadline that had passed when it was scheduled lies before the slot.
      this.place(id, Math.max(Math.ceil((this.deadline[id] as number) / TICK_US), this.presentTick));
    }
  }

  private grow(): void {
    if (this.capacity >= this.limit) throw new RangeError(`more than ${this.limit} timers`);
    this.capacity = Math.min(this.capacity * 2, this.limit);
    const nodes = FIRST_TIMER + this.capacity;
    this.next = enlarge(this.next, nodes, 0);
    this.previous = enlarge(this.previous, nodes, 0);
    this.slot = enlarge(this.slot, nodes, NOWHERE);
    this.tick = enlarge(this.tick, nodes, 0);
    this.kind = enlarge(this.kind, nodes, FREE);
    this.argument = enlarge(this.argument, nodes, 0);
    const deadline = new Float64Array(nodes).fill(Number.POSITIVE_INFINITY);
    deadline.set(this.deadline);
    this.deadline = deadline;
  }
}

function enlarge(words: Int32Array, length: number, filler: number): Int32Array {
  const result = new Int32Array(length).fill(filler, words.length);
  result.set(words);
  return result;
}
