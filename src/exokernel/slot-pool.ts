/**
 * The receive slots: blocks of arena that the device fills, and who has which.
 *
 * Every slot is free, lies in the exokernel's receive batch, is lent to one environment, or is being sent. The free ones are a stack, so
 * that a lightly loaded machine keeps using the same few and touches no more memory than it needs. Slots that the device
 * brings along have the first numbers; they are never free here, but the device's. The first word of a slot, before the virtio header, is the slot's number: that is how a position is recognised. It is checked against the
 * table, so that no position, however wrong, is taken for a slot.
 *
 * Memory: slots are carved from the arena for the arena's life.
 */
import { FRAME_OFFSET_BYTES, type ReceiveSlots } from '../driver/device.ts';
import type { Arena } from '../runtime/arena.ts';
import { int32At } from '../wire/bytes.ts';
import { VNET_BYTES } from '../wire/virtio-net.ts';

/** Slots start at a cache line. */
const ALIGN_BYTES = 64;

const FREE = -1;
/** Not in the pool and not lent: in the receive batch, or the device's. */
const TAKEN = -2;
/** In a transmit queue: nobody's until the device has completed the frame. */
const SENDING = -3;

export class SlotPool {
  private readonly arena: Arena;
  private readonly strideBytes: number;
  private readonly device: ReceiveSlots | null;
  /** Slots of the device's: slots of a lower number are. */
  private readonly deviceCount: number;
  /** By slot number: where a frame starts in it, and the environment it is lent to. */
  private positions = new Int32Array(0);
  private owners = new Int32Array(0);
  private stack = new Int32Array(0);
  private freeCount = 0;
  private sendingCount = 0;

  /**
   * @param slotBytes what the device needs: `FRAME_OFFSET_BYTES` and the longest frame
   * @param device slots that the device brings along
   */
  constructor(arena: Arena, slotBytes: number, device: ReceiveSlots | null = null) {
    this.arena = arena;
    this.strideBytes = Math.ceil(slotBytes / ALIGN_BYTES) * ALIGN_BYTES;
    this.device = device;
    this.deviceCount = device?.at.length ?? 0;
    if (device === null) return;
    this.positions = device.at.slice();
    this.owners = new Int32Array(this.deviceCount).fill(TAKEN);
    for (const [slot, at] of device.at.entries()) arena.words[(at - FRAME_OFFSET_BYTES) >>> 2] = slot;
  }

  /** Slots there are beside the device's. */
  get total(): number {
    return this.positions.length - this.deviceCount;
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
    const more = total - this.total;
    if (more <= 0) return;
    const before = this.positions.length;
    const start = this.arena.allocate(more * this.strideBytes);
    const positions = new Int32Array(before + more);
    positions.set(this.positions);
    const owners = new Int32Array(before + more).fill(FREE);
    owners.set(this.owners);
    const stack = new Int32Array(total);
    stack.set(this.stack.subarray(0, this.freeCount), more);
    // New slots go under those in use, the first of them on top.
    for (let i = 0; i < more; i++) {
      const slotAt = start + i * this.strideBytes;
      positions[before + i] = slotAt + FRAME_OFFSET_BYTES;
      this.arena.words[slotAt >>> 2] = before + i;
      stack[more - 1 - i] = before + i;
    }
    this.freeCount += more;
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

  /** Nobody gets the frame in a slot of the device's. */
  drop(at: number): void {
    this.device?.release(this.slotOf(at, TAKEN));
  }

  /**
   * Moves a frame that is to be kept for longer than a turn out of a slot of the device's; returns where the frame is now. A
   * free slot is needed for it. Throws `RangeError` when the environment does not have the slot.
   */
  keep(at: number, lengthBytes: number, environment: number): number {
    const slot = this.slotOf(at, environment);
    if (slot >= this.deviceCount) return at;
    const kept = this.take();
    this.lend(kept, environment);
    this.arena.bytes.copyWithin(kept - VNET_BYTES, at - VNET_BYTES, at + lengthBytes);
    this.freeSlot(slot);
    return kept;
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
    if (slot < this.deviceCount) {
      this.owners[slot] = TAKEN;
      this.device?.release(slot);
      return;
    }
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
