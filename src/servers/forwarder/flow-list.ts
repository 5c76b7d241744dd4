/** A list of flows in the order that they came into it. A flow is in one list at most, so that all of them share their links. */
import { int32At } from '../../runtime/words.ts';

const NONE = -1;

export class FlowList {
  count = 0;
  /** The flow that has been in it for the longest time, or -1. */
  oldest = NONE;
  private newest = NONE;
  private readonly next: Int32Array;
  private readonly previous: Int32Array;

  constructor(next: Int32Array, previous: Int32Array) {
    this.next = next;
    this.previous = previous;
  }

  append(flow: number): void {
    this.next[flow] = NONE;
    this.previous[flow] = this.newest;
    if (this.newest === NONE) this.oldest = flow;
    else this.next[this.newest] = flow;
    this.newest = flow;
    this.count++;
  }

  remove(flow: number): void {
    const next = int32At(this.next, flow);
    const previous = int32At(this.previous, flow);
    if (previous === NONE) this.oldest = next;
    else this.next[previous] = next;
    if (next === NONE) this.newest = previous;
    else this.previous[next] = previous;
    this.count--;
  }
}
