/**
 * The receive slots: blocks of arena that the device fills, and who has which.
 *
 * Every slot is free, lies in the exokernel's receive batch, is lent to one environment, or is being sent. The free ones are a stack, so
 * that a lightly loaded machine keeps using the same few and touches no more memory than it needs. The first word of a
 * slot, before the virtio header, is the slot's number: that is how a position is recognised. It is checked against the
 * table, so that no position, however wrong, is taken for a slot.
 *
 * Memory: slots are carved from the arena for the arena's life.
 */
import { FRAME_OFFSET_BYTES } from '../driver/device.ts';
import type { Arena } from '../runtime/arena.ts';
import { int32At } from '../wire/bytes.ts';

/** Slots start at a cache line. */
const ALIGN_BYTES = 64;

const FREE = -1;
/** Taken out of the pool and not lent: in the receive batch. */
const TAKEN = -2;
/** In a transmit queue: nobody's until the device has completed the frame. */
const SENDING = -3;

export class SlotPool {
  private readonly arena: Arena;
  private readonly strideBytes: number;
  /** By slot number: where a frame starts in it, and the environment it is lent to. */
  private positions = new Int32Array(0);
  private owners = new Int32Array(0);
  private stack = new Int32Array(0);
  private freeCount = 0;
  private sendingCount = 0;

  /** @param slotBytes what the device needs: `FRAME_OFFSET_BYTES` and the longest frame */
  constructor(arena: Arena, slotBytes: number) {
    this.arena = arena;
    this.strideBytes = Math.ceil(slotBytes / ALIGN_BYTES) * ALIGN_BYTES;
  }

  /** Slots there are. */
  get total(): number {
    return this.positions.length;
  }

  /** Slots that `take` can hand out. */
  get free(): number {
    return this.freeCount;
  }

  /** Slots whose frames are in transmit queues. */
  get sending(): number {
    return this.sendingCount;
  }

  /** Makes slots until there are `total`. Throws `RangeError` when the arena has no room for them. */
  growTo(total: number): void {
    const before = this.total;
    if (total <= before) return;
    const start = this.arena.allocate((total - before) * this.strideBytes);
    const positions = new Int32Array(total);
    positions.set(this.positions);
    const owners = new Int32Array(total).fill(FREE);
    owners.set(this.owners);
    const stack = new Int32Array(total);
    stack.set(this.stack.subarray(0, this.freeCount), total - before);
    // New slots go under those in use, the first of them on top.
    for (let slot = before; slot < total; slot++) {
      const slotAt = start + (slot - before) * this.strideBytes;
      positions[slot] = slotAt + FRAME_OFFSET_BYTES;
      this.arena.words[slotAt >>> 2] = slot;
      stack[total - 1 - slot] = slot;
    }
    this.freeCount += total - before;
    this.positions = positions;
    this.owners = owners;
    this.stack = stack;
  }

  /** Where a frame may be received: the position in a free slot, or 0. */
  take(): number {
    if (this.freeCount === 0) return 0;
    const slot = int32At(this.stack, --this.freeCount);
    this.owners[slot] = TAKEN;
    return int32At(this.positions, slot);
  }

  /** Lends a slot that `take` handed out to an environment. */
  lend(at: number, environment: number): void {
    this.owners[this.slotOf(at, TAKEN)] = environment;
  }

  /** Takes a slot back from an environment. Throws `RangeError` when it does not have it. */
  giveBack(at: number, environment: number): void {
    this.freeSlot(this.slotOf(at, environment));
  }

  /** Takes a slot from an environment for as long as its frame is being sent. Throws `RangeError` when it does not have it. */
  beginSending(at: number, environment: number): void {
    this.owners[this.slotOf(at, environment)] = SENDING;
    this.sendingCount++;
  }

  /** The frame in a slot has been sent: the slot is free. */
  endSending(at: number): void {
    this.freeSlot(this.slotOf(at, SENDING));
    this.sendingCount--;
  }

  /** Takes back whatever an environment has; returns how many slots that were. */
  giveBackAll(environment: number): number {
    let count = 0;
    for (let slot = 0; slot < this.owners.length; slot++) {
      if (this.owners[slot] !== environment) continue;
      this.freeSlot(slot);
      count++;
    }
    return count;
  }

  private freeSlot(slot: number): void {
    this.owners[slot] = FREE;
    this.stack[this.freeCount++] = slot;
  }

  private slotOf(at: number, owner: number): number {
    const slot = this.arena.words[(at - FRAME_OFFSET_BYTES) >>> 2];
    if (slot === undefined || this.positions[slot] !== at || this.owners[slot] !== owner) {
      throw new RangeError(`position ${at} is not a slot that was lent here`);
    }
    return slot;
  }
}
