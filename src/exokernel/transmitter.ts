/**
 * The sending half of a turn: every environment's queue goes through the transmit guard and to the device, a quantum each
 * in turn, so that one with a long queue does not keep the others waiting; and what the device has completed is put down to
 * the queues that it came from.
 *
 * Memory: a ledger of what is in flight, one entry for each run of frames of one environment. It grows by doubling.
 */
import type { Device } from '../driver/device.ts';
import { TRANSMIT_WORDS } from '../driver/device.ts';
import { type Bytes, int32At } from '../wire/bytes.ts';
import { type Environment, FRAMES_OUT } from './environment.ts';
import { guardFrame } from './transmit-guard.ts';
import type { TransmitQueue } from './transmit-queue.ts';

/** Frames of one environment before the next one's turn. */
const QUANTUM_FRAMES = 64;

const INITIAL_RUNS = 64;

export class Transmitter {
  private readonly device: Device;
  private readonly bytes: Bytes;
  /** Whose turn is next. */
  private next = 0;
  /** The ledger, a ring: run i is `runFrames[i]` frames of `runQueues[i]`, oldest at `head`. */
  private runQueues: (TransmitQueue | null)[] = new Array<TransmitQueue | null>(INITIAL_RUNS).fill(null);
  private runFrames = new Int32Array(INITIAL_RUNS);
  private head = 0;
  private runs = 0;

  constructor(device: Device, bytes: Bytes) {
    this.device = device;
    this.bytes = bytes;
  }

  /** Whether the device still reads memory of frames that it has taken. */
  get busy(): boolean {
    return this.runs > 0;
  }

  /** Sends what is queued; false when the device was full before everything had left. */
  transmit(environments: readonly (Environment | undefined)[]): boolean {
    const count = environments.length;
    let idle = 0;
    let index = this.next < count ? this.next : 0;
    while (idle < count) {
      const environment = environments[index];
      if (environment === undefined || environment.queue.pending === 0) {
        idle++;
      } else {
        idle = 0;
        guardQueue(environment, this.bytes);
        const queue = environment.queue;
        const taken = queue.offer(this.device, QUANTUM_FRAMES);
        if (taken > 0) {
          this.enter(queue, taken);
          environment.counters.add(FRAMES_OUT, taken);
        }
        if (taken < QUANTUM_FRAMES && queue.pending > 0) {
          // The next one is the first after this; unless this one found the device full and has had nothing.
          this.next = taken === 0 ? index : index + 1;
          return false;
        }
      }
      index = index + 1 < count ? index + 1 : 0;
    }
    return true;
  }

  /** Puts what the device has completed down to the queues that it came from. */
  reclaim(): void {
    if (this.runs === 0) return;
    let count = this.device.completed();
    while (count > 0) {
      if (this.runs === 0) throw new Error(`${this.device.name} has completed more frames than it was given`);
      const frames = int32At(this.runFrames, this.head);
      const done = Math.min(count, frames);
      this.runQueues[this.head]?.complete(done);
      count -= done;
      this.runFrames[this.head] = frames - done;
      if (done < frames) return;
      this.runQueues[this.head] = null;
      this.head = (this.head + 1) & (this.runFrames.length - 1);
      this.runs--;
    }
  }

  private enter(queue: TransmitQueue, frames: number): void {
    const mask = this.runFrames.length - 1;
    if (this.runs > 0) {
      const last = (this.head + this.runs - 1) & mask;
      if (this.runQueues[last] === queue) {
        this.runFrames[last] = int32At(this.runFrames, last) + frames;
        return;
      }
    }
    if (this.runs > mask) this.grow();
    const end = (this.head + this.runs) & (this.runFrames.length - 1);
    this.runQueues[end] = queue;
    this.runFrames[end] = frames;
    this.runs++;
  }

  private grow(): void {
    const before = this.runFrames.length;
    const queues = new Array<TransmitQueue | null>(before * 2).fill(null);
    const frames = new Int32Array(before * 2);
    for (let i = 0; i < this.runs; i++) {
      const from = (this.head + i) & (before - 1);
      queues[i] = this.runQueues[from] ?? null;
      frames[i] = int32At(this.runFrames, from);
    }
    this.runQueues = queues;
    this.runFrames = frames;
    this.head = 0;
  }
}

function guardQueue(environment: Environment, bytes: Bytes): void {
  const queue = environment.queue;
  const words = queue.batch.words;
  for (let index = queue.nextToGuard(); index >= 0; index = queue.nextToGuard()) {
    const reason = guardFrame(environment, bytes, words, index * TRANSMIT_WORDS);
    if (reason === 0) {
      queue.pass();
    } else {
      queue.refuse();
      environment.countRefused(reason);
    }
  }
}
