/**
 * The neighbours that the ARP cache knows, by address and by index (the argument of their timers), and the choice of who
 * has to go when the table is full. Owns the neighbours' timers.
 */
import type { TimerWheel } from '../runtime/timer-wheel.ts';
import { NEIGHBOUR_FAILED, NEIGHBOUR_STALE, Neighbour } from './neighbour.ts';

export class NeighbourTable {
  private readonly timers: TimerWheel;
  private readonly timerKind: number;
  private readonly byAddress = new Map<number, Neighbour>();
  /** Null where free. */
  private readonly byIndex: (Neighbour | null)[] = [];
  private readonly freeIndices: number[] = [];
  /** Where the search for a victim goes on. */
  private hand = 0;

  /** `timerKind` is called with a neighbour's index. */
  constructor(timers: TimerWheel, timerKind: number) {
    this.timers = timers;
    this.timerKind = timerKind;
  }

  get size(): number {
    return this.byAddress.size;
  }

  find(address: number): Neighbour | undefined {
    return this.byAddress.get(address);
  }

  at(index: number): Neighbour | undefined {
    return this.byIndex[index] ?? undefined;
  }

  /** A copy of the list. */
  all(): Neighbour[] {
    return [...this.byAddress.values()];
  }

  /** Adds an entry for an address that has none. */
  insert(address: number): Neighbour {
    const index = this.freeIndices.pop() ?? this.byIndex.length;
    const neighbour = new Neighbour(address, index, this.timers.create(this.timerKind, index));
    this.byIndex[index] = neighbour;
    this.byAddress.set(address, neighbour);
    return neighbour;
  }

  /** Takes an entry out; nothing may wait for it any more. */
  remove(neighbour: Neighbour): void {
    this.timers.destroy(neighbour.timer);
    this.byAddress.delete(neighbour.address);
    this.byIndex[neighbour.index] = null;
    this.freeIndices.push(neighbour.index);
  }

  /**
   * The next entry that no path uses and that is stale or failed, else the next that no path uses; undefined when all are
   * in use. The search goes round the table, so that a flood of new neighbours displaces its own.
   */
  findVictim(): Neighbour | undefined {
    let victim: Neighbour | undefined;
    for (let step = 0; step < this.byIndex.length; step++) {
      const candidate = this.at((this.hand + step) % this.byIndex.length);
      if (candidate === undefined || candidate.references > 0) continue;
      if (candidate.state === NEIGHBOUR_STALE || candidate.state === NEIGHBOUR_FAILED) {
        victim = candidate;
        break;
      }
      victim ??= candidate;
    }
    if (victim !== undefined) this.hand = victim.index + 1;
    return victim;
  }
}
