/** A device of the tests' own: what is put into `incoming` arrives, what is sent is kept, and both ends can be throttled. */
import {
  createDeviceCounters,
  type Device,
  FRAME_OFFSET_BYTES,
  type ReceiveBatch,
  type ReceiveSlots,
  TRANSMIT_WORDS,
  type TransmitBatch,
} from '../../src/driver/device.ts';
import type { Arena } from '../../src/runtime/arena.ts';
import { VNET_BYTES } from '../../src/wire/virtio-net.ts';

export class FakeDevice implements Device {
  readonly name = 'fake';
  readonly mtuBytes = 1500;
  readonly slotBytes: number;
  /** Slots of its own, if it is to have some: filled in turn, like a ring that is shared with the kernel. */
  readonly slots: ReceiveSlots | null;
  readonly features = { transmitChecksum: true, segmentTcp4: true, maxFrameBytes: 65_536 };
  readonly descriptor = -1;
  readonly failure = null;
  readonly counters = createDeviceCounters();
  /** Frames that wait to be received. */
  readonly incoming: Uint8Array[] = [];
  /** Frames that were sent, gathered. */
  readonly sent: Uint8Array[] = [];
  /** Bounds (from, to) of every call of `transmit`. */
  readonly calls: [number, number][] = [];
  /** Every position that was offered for receiving. */
  readonly offered = new Set<number>();
  /** Frames that `transmit` still takes. */
  room = Number.POSITIVE_INFINITY;
  /** Whether sent frames are completed at once; else by `finish`. */
  prompt = true;
  /** Slots of its own that are not free. */
  readonly used = new Set<number>();
  private nextSlot = 0;
  private finished = 0;
  private readonly bytes: Uint8Array;

  constructor(arena: Arena, slotBytes = 2048, ownSlots = 0) {
    this.bytes = arena.bytes;
    this.slotBytes = slotBytes;
    this.slots = ownSlots === 0 ? null : this.createSlots(arena, ownSlots);
  }

  receive(frames: ReceiveBatch): number {
    if (this.slots !== null) return this.receiveInOwn(frames, this.slots);
    const used = new Set<number>();
    for (const at of frames.at) {
      if (at <= 0 || used.has(at)) throw new Error(`position ${at} offered twice, or none`);
      used.add(at);
      this.offered.add(at);
    }
    let count = 0;
    while (count < frames.capacity) {
      const frame = this.incoming.shift();
      if (frame === undefined) break;
      this.put(frames, count, frames.at[count] as number, frame);
      count++;
    }
    this.counters.receivedFrames += count;
    return count;
  }

  transmit(frames: TransmitBatch, from: number, to: number): number {
    this.calls.push([from, to]);
    const count = Math.min(to - from, this.room);
    for (let frame = from; frame < from + count; frame++) this.sent.push(this.gather(frames, frame));
    this.room -= count;
    if (this.prompt) this.finished += count;
    return count;
  }

  /** The memory of the oldest `count` frames in flight is no longer read. */
  finish(count: number): void {
    this.finished += count;
  }

  completed(): number {
    const count = this.finished;
    this.finished = 0;
    return count;
  }

  close(): void {}

  private createSlots(arena: Arena, count: number): ReceiveSlots {
    const at = Int32Array.from({ length: count }, () => arena.allocate(this.slotBytes) + FRAME_OFFSET_BYTES);
    const release = (slot: number): void => {
      if (!this.used.delete(slot)) throw new Error(`slot ${slot} is not used`);
    };
    return { at, release };
  }

  private receiveInOwn(frames: ReceiveBatch, slots: ReceiveSlots): number {
    let count = 0;
    while (count < frames.capacity && !this.used.has(this.nextSlot)) {
      const frame = this.incoming.shift();
      if (frame === undefined) break;
      this.used.add(this.nextSlot);
      this.put(frames, count++, slots.at[this.nextSlot] as number, frame);
      this.nextSlot = (this.nextSlot + 1) % slots.at.length;
    }
    this.counters.receivedFrames += count;
    return count;
  }

  private put(frames: ReceiveBatch, index: number, at: number, frame: Uint8Array): void {
    this.bytes.fill(0, at - VNET_BYTES, at);
    this.bytes.set(frame, at);
    frames.at[index] = at;
    frames.length[index] = frame.length;
  }

  private gather(frames: TransmitBatch, frame: number): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let word = frame * TRANSMIT_WORDS; word < (frame + 1) * TRANSMIT_WORDS; word += 2) {
      const at = frames.words[word] as number;
      const length = frames.words[word + 1] as number;
      if (length > 0) parts.push(this.bytes.slice(at, at + length));
    }
    return Uint8Array.from(parts.flatMap((part) => [...part]));
  }
}
