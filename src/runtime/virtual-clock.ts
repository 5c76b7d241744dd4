/**
 * Virtual time: a clock that moves only when told to, with a queue of things that happen at given moments. Simulated
 * links and tests run on it; two runs with the same seed are the same run.
 */
import type { Clock } from './clock.ts';

/** Wall time at virtual time zero. */
const EPOCH_MS = Date.UTC(2026, 0, 1);

interface Event {
  readonly timeUs: number;
  /** Breaks ties: of two events at one moment, the one that was put in first happens first. */
  readonly sequence: number;
  readonly action: () => void;
}

export class VirtualClock implements Clock {
  private timeUs = 0;
  private sequence = 0;
  /** A binary heap, the earliest event first. */
  private readonly heap: Event[] = [];

  nowUs(): number {
    return this.timeUs;
  }

  wallMs(): number {
    return EPOCH_MS + Math.floor(this.timeUs / 1000);
  }

  /** Has `action` run when the clock reaches `timeUs`; a moment that has passed means as soon as the clock moves. */
  at(timeUs: number, action: () => void): void {
    if (Number.isNaN(timeUs)) throw new RangeError('an event needs a time');
    if (timeUs === Number.POSITIVE_INFINITY) return;
    const event = { timeUs: Math.max(Math.ceil(timeUs), this.timeUs), sequence: this.sequence++, action };
    siftUp(this.heap, event);
  }

  /** When the next event happens; `Infinity` when there is none. */
  nextEventUs(): number {
    const first = this.heap[0];
    return first === undefined ? Number.POSITIVE_INFINITY : first.timeUs;
  }

  /** Runs every event up to and including `timeUs`, those that events add among them, and leaves the clock there. */
  runUntil(timeUs: number): void {
    if (!Number.isFinite(timeUs)) throw new RangeError(`cannot run until ${timeUs}`);
    while (this.nextEventUs() <= timeUs) this.step();
    if (timeUs > this.timeUs) this.timeUs = timeUs;
  }

  /** Moves to the next event and runs it; false when there is none. */
  step(): boolean {
    const event = takeFirst(this.heap);
    if (event === undefined) return false;
    this.timeUs = event.timeUs;
    event.action();
    return true;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.timeUs < b.timeUs || (a.timeUs === b.timeUs && a.sequence < b.sequence);
}

function siftUp(heap: Event[], event: Event): void {
  let index = heap.length;
  heap.push(event);
  while (index > 0) {
    const above = (index - 1) >> 1;
    const parent = heap[above] as Event;
    if (!isBefore(event, parent)) break;
    heap[index] = parent;
    index = above;
  }
  heap[index] = event;
}

function takeFirst(heap: Event[]): Event | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (last === undefined || last === first) return first;
  let index = 0;
  while (true) {
    let below = 2 * index + 1;
    if (below >= heap.length) break;
    if (below + 1 < heap.length && isBefore(heap[below + 1] as Event, heap[below] as Event)) below++;
    const child = heap[below] as Event;
    if (!isBefore(child, last)) break;
    heap[index] = child;
    index = below;
  }
  heap[index] = last;
  return first;
}
