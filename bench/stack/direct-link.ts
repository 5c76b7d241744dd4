/**
 * A link that costs as little as a link can: what one device sends lies in the other's inbox at once. It allocates nothing, so
 * that what is allocated while frames pass is the stack's. Nothing is lost unless an inbox is full.
 *
 * Memory: both devices and their inboxes are in one arena.
 */
import {
  createDeviceCounters,
  type Device,
  type DeviceCounters,
  type DeviceError,
  type DeviceFeatures,
  FRAME_OFFSET_BYTES,
  type ReceiveBatch,
  TRANSMIT_WORDS,
  type TransmitBatch,
} from '../../src/driver/device.ts';
import { LONGEST_FRAME_BYTES, slotBytesFor } from '../../src/driver/frame-memory.ts';
import type { Arena } from '../../src/runtime/arena.ts';
import { int32At } from '../../src/runtime/words.ts';
import { VNET_BYTES } from '../../src/wire/virtio-net.ts';

const INBOX_FRAMES = 1024;
const MTU_BYTES = 1500;

export class DirectDevice implements Device {
  readonly name = 'direct';
  readonly mtuBytes = MTU_BYTES;
  readonly slotBytes: number;
  readonly features: DeviceFeatures;
  readonly slots = null;
  readonly descriptor = -1;
  readonly counters: DeviceCounters = createDeviceCounters();
  readonly failure: DeviceError | null = null;
  private readonly bytes: Uint8Array;
  private readonly inboxAt: number;
  private readonly lengths = new Int32Array(INBOX_FRAMES);
  private first = 0;
  private count = 0;
  private done = 0;
  private other: DirectDevice | null = null;

  constructor(arena: Arena, offload: boolean) {
    const maxFrameBytes = offload ? LONGEST_FRAME_BYTES : MTU_BYTES + 14;
    this.slotBytes = slotBytesFor(maxFrameBytes);
    this.features = { transmitChecksum: offload, segmentTcp4: offload, maxFrameBytes };
    this.bytes = arena.bytes;
    this.inboxAt = arena.allocate(INBOX_FRAMES * this.slotBytes) + FRAME_OFFSET_BYTES;
  }

  receive(frames: ReceiveBatch): number {
    const count = Math.min(frames.capacity, this.count);
    for (let i = 0; i < count; i++) {
      const slot = this.first;
      const length = int32At(this.lengths, slot);
      const from = this.inboxAt + slot * this.slotBytes - VNET_BYTES;
      this.bytes.copyWithin(int32At(frames.at, i) - VNET_BYTES, from, from + VNET_BYTES + length);
      frames.length[i] = length;
      this.first = (slot + 1) % INBOX_FRAMES;
    }
    this.count -= count;
    this.counters.receivedFrames += count;
    return count;
  }

  transmit(frames: TransmitBatch, from: number, to: number): number {
    for (let next = from; next < to; next++) this.other?.accept(frames.words, next * TRANSMIT_WORDS);
    this.done += to - from;
    return to - from;
  }

  completed(): number {
    const { done } = this;
    this.done = 0;
    return done;
  }

  close(): void {}

  join(other: DirectDevice): void {
    this.other = other;
  }

  private accept(words: Int32Array, word: number): void {
    if (this.count === INBOX_FRAMES) return;
    const slot = (this.first + this.count++) % INBOX_FRAMES;
    const frameAt = this.inboxAt + slot * this.slotBytes;
    let to = frameAt;
    for (let region = word; region < word + TRANSMIT_WORDS; region += 2) {
      const at = int32At(words, region);
      const length = int32At(words, region + 1);
      // The virtio header goes before the first piece.
      const before = region === word ? VNET_BYTES : 0;
      this.bytes.copyWithin(to - before, at - before, at + length);
      to += length;
    }
    this.lengths[slot] = to - frameAt;
  }
}
