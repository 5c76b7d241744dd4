/** A device behind a bad wire: loses frames both ways, by a seed, and always the tenth. Super-frames are lost whole. */
import type {
  Device,
  DeviceCounters,
  DeviceError,
  DeviceFeatures,
  ReceiveBatch,
  ReceiveSlots,
  TransmitBatch,
} from '../../src/driver/device.ts';
import { SeededRandom } from '../../src/runtime/random.ts';
import { int32At } from '../../src/runtime/words.ts';

const ALWAYS_LOST = 10;

export class LossyDevice implements Device {
  readonly name: string;
  readonly mtuBytes: number;
  readonly slotBytes: number;
  readonly features: DeviceFeatures;
  readonly slots: ReceiveSlots | null;
  lostIn = 0;
  lostOut = 0;
  private readonly device: Device;
  /** Probability, 0 to 1. */
  private readonly loss: number;
  private readonly random: SeededRandom;
  private lostCompletions = 0;
  private framesIn = 0;
  private framesOut = 0;

  constructor(device: Device, loss: number, seed: number) {
    this.device = device;
    this.loss = loss;
    this.name = device.name;
    this.mtuBytes = device.mtuBytes;
    this.slotBytes = device.slotBytes;
    this.features = device.features;
    this.slots = device.slots;
    this.random = new SeededRandom(seed);
  }

  get descriptor(): number {
    return this.device.descriptor;
  }

  get counters(): DeviceCounters {
    return this.device.counters;
  }

  get failure(): DeviceError | null {
    return this.device.failure;
  }

  receive(frames: ReceiveBatch): number {
    const { at, length } = frames;
    const count = this.device.receive(frames);
    let kept = 0;
    for (let i = 0; i < count; i++) {
      if (this.loses(++this.framesIn)) {
        this.lostIn++;
        this.slots?.release(this.slots.at.indexOf(int32At(at, i)));
        continue;
      }
      const slot = int32At(at, i);
      at[i] = int32At(at, kept);
      at[kept] = slot;
      length[kept++] = int32At(length, i);
    }
    return kept;
  }

  /** A lost frame is taken, and completed with the next call. */
  transmit(frames: TransmitBatch, from: number, to: number): number {
    for (let next = from; next < to; next++) {
      if (this.loses(this.framesOut + 1)) {
        this.lostOut++;
        this.lostCompletions++;
      } else if (this.device.transmit(frames, next, next + 1) === 0) {
        return next - from;
      }
      this.framesOut++;
    }
    return to - from;
  }

  completed(): number {
    const count = this.device.completed() + this.lostCompletions;
    this.lostCompletions = 0;
    return count;
  }

  close(): void {
    this.device.close();
  }

  private loses(frame: number): boolean {
    return frame === ALWAYS_LOST || this.random.chance(this.loss);
  }
}
