/** A device of the tests' own: what is put into `incoming` arrives, what is sent is kept, and both ends can be throttled. */
import {
  createDeviceCounters,
  type Device,
  type ReceiveBatch,
  TRANSMIT_WORDS,
  type TransmitBatch,
} from '../../src/driver/device.ts';
import type { Arena } from '../../src/runtime/arena.ts';
import { VNET_BYTES } from '../../src/wire/virtio-net.ts';

export class FakeDevice implements Device {
  readonly name = 'fake';
  readonly mtuBytes = 1500;
  readonly slotBytes: number;
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
  private finished = 0;
  private readonly bytes: Uint8Array;

  constructor(arena: Arena, slotBytes = 2048) {
    this.bytes = arena.bytes;
    this.slotBytes = slotBytes;
  }

  receive(frames: ReceiveBatch): number {
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
      const at = frames.at[count] as number;
      this.bytes.fill(0, at - VNET_BYTES, at);
      this.bytes.set(frame, at);
      frames.length[count] = frame.length;
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
