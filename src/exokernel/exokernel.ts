/**
 * The exokernel: multiplexes one device among environments and protects them from each other, and knows nothing above a
 * frame (design, principle 1). One call of `turn` receives, demultiplexes, lets every environment work and transmits.
 *
 * A slow environment slows nobody: there are receive slots for all that the environments may hold, and for a batch beside.
 *
 * Memory: receive slots and header slots are carved from the arena, at most `receiveBatch` and the sum of `ringFrames` of the
 * environments that were open at one time; what a closed environment had is used again. Device and arena belong to whoever
 * made them.
 */
import { Demultiplexer } from '../downloadfilter/demultiplexer.ts';
import { type Device, ReceiveBatch } from '../driver/device.ts';
import type { Arena } from '../runtime/arena.ts';
import type { Clock } from '../runtime/clock.ts';
import { Counters } from '../runtime/counters.ts';
import { type Log, silentLog } from '../runtime/log.ts';
import { type Bytes, int32At } from '../wire/bytes.ts';
import { DROP_NAMES, DROP_NO_OWNER } from '../wire/drop-reasons.ts';
import { ethernetCheck } from '../wire/ethernet.ts';
import { assertEnvironmentOptions, Environment, type EnvironmentOptions } from './environment.ts';
import { roundUpToPowerOfTwo } from './packet-ring.ts';
import { SlotPool } from './slot-pool.ts';
import { TransmitQueue } from './transmit-queue.ts';
import { Transmitter } from './transmitter.ts';

export type { DeviceFeatures } from '../driver/device.ts';

export interface ExokernelOptions {
  readonly arena: Arena;
  readonly device: Device;
  readonly clock: Clock;
  readonly log?: Log;
  /** Frames that the device is asked for at a time (64). */
  readonly receiveBatch?: number;
  /** Batches of a turn (default 4). */
  readonly receiveBatches?: number;
  /** Receive slots to begin with (256); environments that may hold more bring theirs. */
  readonly slots?: number;
}

export const EXOKERNEL_COUNTERS = ['turns', 'framesIn', 'bytesIn', 'framesDropped'] as const;
export const EXOKERNEL_TURNS = 0;
export const EXOKERNEL_FRAMES_IN = 1;
export const EXOKERNEL_BYTES_IN = 2;
/** Frames that nobody got. */
export const EXOKERNEL_FRAMES_DROPPED = 3;

const DEFAULT_RECEIVE_BATCH = 64;
const DEFAULT_SLOTS = 256;
const DEFAULT_RING_FRAMES = 256;
const DEFAULT_TRANSMIT_FRAMES = 512;

/** A turn receives at most so many batches, so that the rest of the process gets its time. */
const MAX_BATCHES = 4;

/** When a full device is tried again. */
const DEVICE_FULL_US = 200;
/** When a device that still reads sent frames is asked for them again. */
const IN_FLIGHT_US = 1000;

export class Exokernel {
  /** The whole arena. */
  readonly bytes: Bytes;
  readonly counters = new Counters(EXOKERNEL_COUNTERS);
  /** Frames that went to no environment, by reason; environments count their own. */
  readonly drops = new Counters<string>(DROP_NAMES);
  /** The filters in force. */
  readonly demultiplexer = new Demultiplexer();
  readonly slots: SlotPool;

  private readonly arena: Arena;
  private readonly device: Device;
  private readonly clock: Clock;
  private readonly log: Log;
  private readonly batch: ReceiveBatch;
  /** The device has no slots of its own: the batch has. */
  private readonly lendsSlots: boolean;
  private readonly transmitter: Transmitter;
  /** By id; closed environments leave a gap that is filled again. */
  private readonly environments: (Environment | undefined)[] = [];
  /** Queues of closed environments, for their header slots. */
  private readonly retired: TransmitQueue[] = [];
  /** Receive slots that environments may hold together. */
  private reservedSlots = 0;
  /** The device may have more than this turn has received. */
  private more = false;
  /** Frames were received ahead of the turn. */
  private looked = false;
  private readonly batches: number;

  constructor(options: ExokernelOptions) {
    this.arena = options.arena;
    this.device = options.device;
    this.clock = options.clock;
    this.log = options.log ?? silentLog;
    this.bytes = options.arena.bytes;
    const receiveBatch = options.receiveBatch ?? DEFAULT_RECEIVE_BATCH;
    const slots = options.slots ?? DEFAULT_SLOTS;
    if (!Number.isInteger(receiveBatch) || receiveBatch < 1) throw new RangeError(`a batch of ${receiveBatch} frames`);
    if (!Number.isInteger(slots) || slots < 0) throw new RangeError(`${slots} receive slots`);
    this.slots = new SlotPool(options.arena, options.device.slotBytes, options.device.slots);
    this.slots.growTo(Math.max(slots, receiveBatch));
    this.batch = new ReceiveBatch(receiveBatch);
    this.batches = options.receiveBatches ?? MAX_BATCHES;
    this.lendsSlots = options.device.slots === null;
    if (this.lendsSlots) for (let i = 0; i < receiveBatch; i++) this.batch.at[i] = this.slots.take();
    this.transmitter = new Transmitter(options.device, this.bytes);
  }

  /**
   * Admits a tenant. Throws `RangeError` when the options make no sense or the arena has no room for its slots.
   * It gets frames as soon as it claims filters, and works once its `program` is set.
   */
  createEnvironment(options: EnvironmentOptions): Environment {
    assertEnvironmentOptions(options);
    const ringFrames = options.ringFrames ?? DEFAULT_RING_FRAMES;
    const transmitFrames = roundUpToPowerOfTwo(options.transmitFrames ?? DEFAULT_TRANSMIT_FRAMES);
    // Checks the size before anything is allocated for it.
    roundUpToPowerOfTwo(ringFrames);
    // What a closed environment had received may still be leaving.
    this.slots.growTo(this.reservedSlots + ringFrames + this.batch.capacity + this.slots.sending);
    const queue = new TransmitQueue(this.arena, transmitFrames, this.takeRetired(transmitFrames)?.headersAt);
    const gap = this.environments.indexOf(undefined);
    const id = gap < 0 ? this.environments.length : gap;
    const environment = new Environment(this, id, options, ringFrames, queue);
    this.environments[id] = environment;
    this.reservedSlots += ringFrames;
    this.log.debug({ environment: options.name, id, ringFrames, transmitFrames }, 'environment opened');
    return environment;
  }

  /**
   * One turn: receive and demultiplex, run every program, transmit, reclaim. Returns when the next one is due, in
   * microseconds of the clock: 0 when there is work left already, Infinity when only a frame or a call from outside can
   * bring some.
   */
  turn(): number {
    const nowUs = this.clock.nowUs();
    this.beginTurn();
    this.runEnvironments(nowUs);
    return this.endTurn(nowUs);
  }

  /** Receives ahead of the next turn, which works on what there is and receives no more: for whoever polls. */
  look(): void {
    if (this.looked) return;
    const before = this.counters.values[EXOKERNEL_FRAMES_IN];
    this.more = this.receive();
    this.looked = this.counters.values[EXOKERNEL_FRAMES_IN] !== before;
  }

  /** First part of a turn: what the device has for us goes to its owners. */
  beginTurn(): void {
    this.counters.increment(EXOKERNEL_TURNS);
    this.transmitter.reclaim();
    if (!this.looked) this.more = this.receive();
    this.looked = false;
  }

  /** Second part: every environment works. */
  runEnvironments(nowUs: number): void {
    const environments = this.environments;
    for (let i = 0; i < environments.length; i++) {
      const environment = environments[i];
      if (environment !== undefined) environment.program.process(nowUs);
    }
  }

  /** Third part: what they leave is sent. Returns what `turn` does. */
  endTurn(nowUs: number): number {
    const environments = this.environments;
    const sent = this.transmitter.transmit(environments);
    this.transmitter.reclaim();
    if (this.more) return 0;
    let deadlineUs = Number.POSITIVE_INFINITY;
    if (!sent) deadlineUs = nowUs + DEVICE_FULL_US;
    else if (this.transmitter.busy) deadlineUs = nowUs + IN_FLIGHT_US;
    for (let i = 0; i < environments.length; i++) {
      const environment = environments[i];
      if (environment === undefined) continue;
      if (!this.lendsSlots) environment.keepWaiting();
      const wantedUs = environment.program.nextDeadlineUs();
      if (wantedUs < deadlineUs) deadlineUs = wantedUs;
    }
    return deadlineUs > nowUs ? deadlineUs : 0;
  }

  /** Closes every environment. The device and the arena stay open. */
  close(): void {
    for (const environment of this.environments) environment?.close();
  }

  /** For environments: called by `Environment.close`. */
  forget(environment: Environment): void {
    this.environments[environment.id] = undefined;
    this.reservedSlots -= environment.ringFrames;
    this.retired.push(environment.queue);
    this.log.debug({ environment: environment.name, ...environment.counters.snapshot() }, 'environment closed');
  }

  /** Receives what is waiting, up to so many batches; whether there may be more. */
  private receive(): boolean {
    for (let batches = 0; batches < this.batches; batches++) {
      const count = this.device.receive(this.batch);
      this.counters.add(EXOKERNEL_FRAMES_IN, count);
      for (let i = 0; i < count; i++) this.demultiplex(i);
      if (count < this.batch.capacity) return false;
    }
    return true;
  }

  /** Hands frame i of the batch to its owner, and puts another slot in its place; a frame that nobody gets leaves its own. */
  private demultiplex(i: number): void {
    const at = int32At(this.batch.at, i);
    const length = int32At(this.batch.length, i);
    this.counters.add(EXOKERNEL_BYTES_IN, length);
    let reason = ethernetCheck(this.bytes, at, length);
    if (reason === 0) {
      const owner = this.demultiplexer.classify(this.bytes, at, length);
      const environment = owner < 0 ? undefined : this.environments[owner];
      if (environment !== undefined) {
        // There is a free slot, because there are as many as environments may hold and the batch takes.
        if (!environment.accept(at, length)) this.drop(at);
        else if (this.lendsSlots) this.batch.at[i] = this.slots.take();
        return;
      }
      reason = DROP_NO_OWNER;
    }
    this.counters.increment(EXOKERNEL_FRAMES_DROPPED);
    this.drops.increment(reason);
    this.drop(at);
  }

  /** Nobody gets a frame: its slot stays in the batch, or is the device's again. */
  private drop(at: number): void {
    if (!this.lendsSlots) this.slots.drop(at);
  }

  /** Takes out a queue whose frames have all been completed. */
  private takeRetired(capacity: number): TransmitQueue | undefined {
    const index = this.retired.findIndex((queue) => queue.capacity === capacity && queue.completed === queue.enqueued);
    return index < 0 ? undefined : this.retired.splice(index, 1)[0];
  }
}

/**
 * One turn of several devices whose programs pass frames to each other: all receive, then all work, then all send, so that
 * what comes in on one leaves on another in the same turn. Returns what `Exokernel.turn` does.
 */
export function turnTogether(kernels: readonly Exokernel[], nowUs: number): number {
  for (let i = 0; i < kernels.length; i++) (kernels[i] as Exokernel).beginTurn();
  for (let i = 0; i < kernels.length; i++) (kernels[i] as Exokernel).runEnvironments(nowUs);
  let deadlineUs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < kernels.length; i++) {
    const wantedUs = (kernels[i] as Exokernel).endTurn(nowUs);
    if (wantedUs < deadlineUs) deadlineUs = wantedUs;
  }
  return deadlineUs;
}
