/**
 * A simulated link: two devices joined by two one-way wires under virtual time, each with a rate, a queue before it, a
 * delay and faults of its own. The same seed gives the same run.
 *
 * A frame passes, in this order: the queue (full: dropped), the rate (frames follow each other at so many bits a
 * second; preamble and frame check are not counted), the dice (lost, duplicated, late, one bit flipped), the delay, and
 * the inbox of the other device, from which its `receive` takes it.
 *
 * Memory: frames are copied out of the sender's arena when the device reads them (at once, or `readDelayUs` later, as a
 * device with a ring would) into buffers the link owns, and into the receiver's slots by `receive`.
 */
import type { Arena } from '../runtime/arena.ts';
import type { VirtualClock } from '../runtime/virtual-clock.ts';
import { int32At } from '../runtime/words.ts';
import type { Bytes } from '../wire/bytes.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { completeChecksum } from '../wire/partial-checksum.ts';
import {
  clearVnet,
  VNET_BYTES,
  VNET_GSO_NONE,
  vnetGsoBytes,
  vnetGsoType,
  vnetHeaderBytes,
} from '../wire/virtio-net.ts';
import type { Device, DeviceCounters, DeviceError, DeviceFeatures, ReceiveBatch, TransmitBatch } from './device.ts';
import { createDeviceCounters, TRANSMIT_WORDS } from './device.ts';
import type { FaultRates } from './faults.ts';
import { FAULT_CORRUPTED, FAULT_DUPLICATED, FAULT_LOST, FAULT_REORDERED, Faults } from './faults.ts';
import { asksForOffload, gatheredBytes, LONGEST_FRAME_BYTES, slotBytesFor } from './frame-memory.ts';
import type { Flight } from './frame-pool.ts';
import { FLIGHT_AT, FramePool } from './frame-pool.ts';

/** One direction of the link. */
export interface WireOptions {
  /** From the last bit sent to the frame's arrival (default 0). */
  readonly delayUs?: number;
  /** Default: no limit, and then nothing ever queues. */
  readonly bitsPerSecond?: number;
  /** Frames that may wait, the one being sent included (default 1000). */
  readonly queueFrames?: number;
  /** Bytes that may wait (default: no limit of its own). */
  readonly queueBytes?: number;
  readonly faults?: FaultRates;
}

export type SimDirection = 'aToB' | 'bToA';

/** Sees each frame that gets onto a wire, before the dice are rolled; `bytes` is only valid during the call. */
export type FrameObserver = (bytes: Bytes, at: number, length: number, direction: SimDirection, timeUs: number) => void;

/** Wire options given at this level hold for both directions, `aToB` and `bToA` go before them. */
export interface SimLinkOptions extends WireOptions {
  readonly clock: VirtualClock;
  /** The arena of device a, and of b unless it has its own. */
  readonly arena: Arena;
  readonly arenaOfB?: Arena;
  readonly seed?: number;
  /** Longest IP packet (default 1500). */
  readonly mtu?: number;
  /** Partial checksums and TCP super-frames pass from device to device as they are (default false). */
  readonly offload?: boolean;
  readonly aToB?: WireOptions;
  readonly bToA?: WireOptions;
  /** Frames that may wait for `receive` (default 1024). */
  readonly inboxFrames?: number;
  /** A device reads, and completes, a frame this long after it took it (default 0: at once). */
  readonly readDelayUs?: number;
  /** With a read delay: frames a device takes before it is full (default 256). */
  readonly ringFrames?: number;
  /** Bytes of buffers for frames on their way (default 64 MiB). */
  readonly poolBytes?: number;
  readonly observe?: FrameObserver;
}

/** What became of the frames of one direction. */
export interface WireCounters {
  /** Frames the sending device put onto the queue or saw dropped there. */
  offered: number;
  /** Frames (copies too) that reached the other device's inbox. */
  delivered: number;
  lost: number;
  duplicated: number;
  reordered: number;
  corrupted: number;
  queueDrops: number;
  /** Dropped because the pool of buffers was empty. */
  poolDrops: number;
  /** Packets, or segments of a super-frame, beyond the wire's MTU: dropped, and nobody is told. */
  tooLong: number;
  /** Dropped because the receiving device's inbox was full, or the device closed. */
  inboxDrops: number;
}

export interface SimLink {
  readonly a: SimDevice;
  readonly b: SimDevice;
  readonly counters: Readonly<Record<SimDirection, WireCounters>>;
  /** The dice, whose rates may be changed while the link runs. */
  readonly faults: Readonly<Record<SimDirection, Faults>>;
  /** From now on IP packets longer than this vanish, in both directions or one: a path with a smaller MTU that tells nobody. */
  setMtu(mtuBytes: number, direction?: SimDirection): void;
  /** Changes the rate of one direction; what is queued already leaves as it would have. */
  setRate(direction: SimDirection, bitsPerSecond: number): void;
  /** Bytes of buffers that hold frames on their way or in an inbox: 0 when nothing has leaked. */
  inFlightBytes(): number;
}

const DEFAULT_MTU_BYTES = 1500;
const DEFAULT_QUEUE_FRAMES = 1000;
const DEFAULT_INBOX_FRAMES = 1024;
const DEFAULT_RING_FRAMES = 256;
const DEFAULT_POOL_BYTES = 64 << 20;
const DEFAULT_SEED = 1;
/** Seeds of the two directions must differ; any odd distance will do. */
const SEED_STEP = 0x51ed;

export function createSimLink(options: SimLinkOptions): SimLink {
  const pool = new FramePool(options.poolBytes ?? DEFAULT_POOL_BYTES);
  const seed = options.seed ?? DEFAULT_SEED;
  const a = new SimDevice('sim-a', options.arena, options);
  const b = new SimDevice('sim-b', options.arenaOfB ?? options.arena, options);
  const aToB = new Wire('aToB', { ...options, ...options.aToB }, options, pool, seed, b);
  const bToA = new Wire('bToA', { ...options, ...options.bToA }, options, pool, seed + SEED_STEP, a);
  a.connect(aToB, pool);
  b.connect(bToA, pool);
  return {
    a,
    b,
    counters: { aToB: aToB.counters, bToA: bToA.counters },
    faults: { aToB: aToB.faults, bToA: bToA.faults },
    setMtu: (mtuBytes, direction) => {
      if (direction !== 'bToA') aToB.mtuBytes = mtuBytes;
      if (direction !== 'aToB') bToA.mtuBytes = mtuBytes;
    },
    setRate: (direction, bitsPerSecond) => (direction === 'aToB' ? aToB : bToA).setRate(bitsPerSecond),
    inFlightBytes: () => pool.inUseBytes,
  };
}

/** One direction: queue, rate, dice, delay. */
class Wire {
  readonly faults: Faults;
  readonly counters: WireCounters = createWireCounters();
  private readonly direction: SimDirection;
  private readonly clock: VirtualClock;
  private readonly pool: FramePool;
  private readonly delayUs: number;
  private usPerByte = 0;
  private readonly queue: DepartureQueue;
  private readonly observe: FrameObserver | null;
  private readonly deliver: (flight: Flight) => void;
  /** Longer packets are dropped. */
  mtuBytes = Number.POSITIVE_INFINITY;
  /** When the last bit put onto the wire so far has left; not an integer. */
  private busyUntilUs = 0;

  constructor(
    direction: SimDirection,
    wire: WireOptions,
    link: SimLinkOptions,
    pool: FramePool,
    seed: number,
    target: SimDevice,
  ) {
    this.setRate(wire.bitsPerSecond ?? Number.POSITIVE_INFINITY);
    this.direction = direction;
    this.clock = link.clock;
    this.pool = pool;
    this.delayUs = wire.delayUs ?? 0;
    this.queue = new DepartureQueue(
      wire.queueFrames ?? DEFAULT_QUEUE_FRAMES,
      wire.queueBytes ?? Number.POSITIVE_INFINITY,
    );
    this.faults = new Faults(wire.faults ?? {}, seed);
    this.observe = link.observe ?? null;
    this.deliver = (flight) => {
      if (target.accept(flight)) this.counters.delivered++;
      else this.counters.inboxDrops++;
    };
  }

  /** Throws `RangeError` unless the rate is positive. */
  setRate(bitsPerSecond: number): void {
    if (!(bitsPerSecond > 0)) throw new RangeError(`${bitsPerSecond} bits a second: must be positive`);
    this.usPerByte = 8e6 / bitsPerSecond;
  }

  /** Takes a frame from the device's memory. */
  send(bytes: Bytes, words: Int32Array, word: number): void {
    const { counters } = this;
    const length = gatheredBytes(words, word);
    const nowUs = this.clock.nowUs();
    counters.offered++;
    if (packetBytes(bytes, int32At(words, word), length) > this.mtuBytes) {
      counters.tooLong++;
      return;
    }
    if (!this.queue.hasRoom(length, nowUs)) {
      counters.queueDrops++;
      return;
    }
    const flight = this.pool.take(length);
    if (flight === null) {
      counters.poolDrops++;
      return;
    }
    gather(bytes, words, word, flight);
    this.busyUntilUs = Math.max(nowUs, this.busyUntilUs) + length * this.usPerByte;
    if (this.usPerByte > 0) this.queue.add(length, this.busyUntilUs);
    if (this.observe !== null) this.observe(flight.bytes, FLIGHT_AT, length, this.direction, nowUs);
    this.suffer(flight);
  }

  /** Rolls the dice and sends off what is left. */
  private suffer(flight: Flight): void {
    const { counters, faults } = this;
    const fate = faults.roll();
    if ((fate & FAULT_LOST) !== 0) {
      counters.lost++;
      this.pool.give(flight);
      return;
    }
    let arrivalUs = this.busyUntilUs + this.delayUs;
    if ((fate & FAULT_REORDERED) !== 0) {
      counters.reordered++;
      arrivalUs += faults.lateUs();
    }
    if ((fate & FAULT_CORRUPTED) !== 0) {
      counters.corrupted++;
      corrupt(faults, flight);
    }
    this.depart(flight, arrivalUs);
    if ((fate & FAULT_DUPLICATED) !== 0) this.duplicate(flight, arrivalUs);
  }

  private duplicate(flight: Flight, arrivalUs: number): void {
    const copy = this.pool.take(flight.length);
    if (copy === null) {
      this.counters.poolDrops++;
      return;
    }
    this.counters.duplicated++;
    copy.bytes.set(flight.bytes);
    this.depart(copy, arrivalUs);
  }

  private depart(flight: Flight, arrivalUs: number): void {
    flight.destination = this.deliver;
    this.clock.at(arrivalUs, flight.arrive);
  }
}

/** One end of the link. */
export class SimDevice implements Device {
  readonly name: string;
  readonly mtuBytes: number;
  readonly slotBytes: number;
  readonly features: DeviceFeatures;
  readonly slots = null;
  readonly descriptor = -1;
  readonly counters: DeviceCounters = createDeviceCounters();
  readonly failure: DeviceError | null = null;
  /** Called when this device's host has a reason to run a turn: a frame arrived, or (with a read delay) one was read. */
  onFrameWaiting: (() => void) | null = null;
  private readonly bytes: Bytes;
  private readonly clock: VirtualClock;
  private readonly offload: boolean;
  private readonly inbox: Flight[] = [];
  private readonly inboxFrames: number;
  private readonly readDelayUs: number;
  private readonly ring: DescriptorRing;
  private wire: Wire | null = null;
  private pool: FramePool | null = null;
  private done = 0;
  private closed = false;

  constructor(name: string, arena: Arena, options: SimLinkOptions) {
    const offload = options.offload === true;
    this.name = name;
    this.mtuBytes = options.mtu ?? DEFAULT_MTU_BYTES;
    const maxFrameBytes = offload ? LONGEST_FRAME_BYTES : this.mtuBytes + ETHERNET_BYTES;
    this.slotBytes = slotBytesFor(maxFrameBytes);
    this.features = { transmitChecksum: offload, segmentTcp4: offload, maxFrameBytes };
    this.bytes = arena.bytes;
    this.clock = options.clock;
    this.offload = offload;
    this.inboxFrames = options.inboxFrames ?? DEFAULT_INBOX_FRAMES;
    this.readDelayUs = options.readDelayUs ?? 0;
    this.ring = new DescriptorRing(options.ringFrames ?? DEFAULT_RING_FRAMES);
  }

  /** Frames that wait for `receive`. */
  get waitingFrames(): number {
    return this.inbox.length;
  }

  receive(frames: ReceiveBatch): number {
    const { inbox, bytes, counters } = this;
    const count = Math.min(frames.capacity, inbox.length);
    for (let i = 0; i < count; i++) {
      const flight = inbox[i] as Flight;
      bytes.set(flight.bytes.subarray(0, FLIGHT_AT + flight.length), int32At(frames.at, i) - VNET_BYTES);
      frames.length[i] = flight.length;
      counters.receivedBytes += flight.length;
      this.pool?.give(flight);
    }
    inbox.splice(0, count);
    counters.receivedFrames += count;
    return count;
  }

  transmit(frames: TransmitBatch, from: number, to: number): number {
    const { wire } = this;
    if (this.closed || wire === null) return 0;
    let next = from;
    for (; next < to; next++) {
      const word = next * TRANSMIT_WORDS;
      if (this.readDelayUs > 0 && this.ring.isFull()) break;
      // a frame that is refused takes its turn all the same: frames are completed in order
      if (this.readDelayUs > 0) this.readLater(frames.words, word);
      else this.read(wire, frames.words, word);
    }
    return next - from;
  }

  completed(): number {
    const { done } = this;
    this.done = 0;
    return done;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.done = 0;
    for (const flight of this.inbox.splice(0)) this.pool?.give(flight);
  }

  /** Joins the device to the wire it sends on; `createSimLink` does it. */
  connect(wire: Wire, pool: FramePool): void {
    this.wire = wire;
    this.pool = pool;
  }

  /** Takes over a frame that has arrived; false when it had to be dropped. */
  accept(flight: Flight): boolean {
    if (this.closed || this.inbox.length >= this.inboxFrames) {
      this.pool?.give(flight);
      return false;
    }
    this.inbox.push(flight);
    this.onFrameWaiting?.();
    return true;
  }

  private read(wire: Wire, words: Int32Array, word: number): void {
    const { counters } = this;
    const length = gatheredBytes(words, word);
    this.done++;
    const refused =
      length < ETHERNET_BYTES ||
      length > this.features.maxFrameBytes ||
      (!this.offload && asksForOffload(this.bytes, int32At(words, word)));
    if (refused) {
      counters.transmitErrors++;
      return;
    }
    counters.transmittedFrames++;
    counters.transmittedBytes += length;
    wire.send(this.bytes, words, word);
  }

  private readLater(words: Int32Array, word: number): void {
    this.ring.push(words, word);
    this.clock.at(this.clock.nowUs() + this.readDelayUs, this.readNext);
  }

  private readonly readNext = (): void => {
    const { ring, wire } = this;
    if (this.closed || wire === null) return;
    this.read(wire, ring.words, ring.firstWord());
    ring.shift();
    this.onFrameWaiting?.();
  };
}

/** When the frames that wait at a wire's end will have left. */
class DepartureQueue {
  private readonly limitFrames: number;
  private readonly limitBytes: number;
  private readonly departures: { readonly bytes: number; readonly departureUs: number }[] = [];
  private bytes = 0;

  constructor(limitFrames: number, limitBytes: number) {
    this.limitFrames = limitFrames;
    this.limitBytes = limitBytes;
  }

  /** Forgets the frames that have left by now, and tells whether one more can wait. */
  hasRoom(bytes: number, nowUs: number): boolean {
    const { departures } = this;
    while (departures[0] !== undefined && departures[0].departureUs <= nowUs) {
      this.bytes -= departures[0].bytes;
      departures.shift();
    }
    return departures.length < this.limitFrames && this.bytes + bytes <= this.limitBytes;
  }

  add(bytes: number, departureUs: number): void {
    this.departures.push({ bytes, departureUs });
    this.bytes += bytes;
  }
}

/** Transmit descriptors that a device has taken and not read yet. */
class DescriptorRing {
  readonly words: Int32Array;
  private readonly capacity: number;
  private first = 0;
  private count = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.words = new Int32Array(capacity * TRANSMIT_WORDS);
  }

  isFull(): boolean {
    return this.count === this.capacity;
  }

  push(words: Int32Array, word: number): void {
    const at = ((this.first + this.count) % this.capacity) * TRANSMIT_WORDS;
    for (let i = 0; i < TRANSMIT_WORDS; i++) this.words[at + i] = int32At(words, word + i);
    this.count++;
  }

  firstWord(): number {
    return this.first * TRANSMIT_WORDS;
  }

  shift(): void {
    this.first = (this.first + 1) % this.capacity;
    this.count--;
  }
}

/** The longest packet that a frame of `length` bytes is or will be cut into. */
function packetBytes(bytes: Bytes, at: number, length: number): number {
  if (vnetGsoType(bytes, at) === VNET_GSO_NONE) return length - ETHERNET_BYTES;
  return Math.min(length, vnetHeaderBytes(bytes, at) + vnetGsoBytes(bytes, at)) - ETHERNET_BYTES;
}

/** Copies a frame, virtio header first, from where its descriptor says into one piece. */
function gather(bytes: Bytes, words: Int32Array, word: number, flight: Flight): void {
  const at = int32At(words, word);
  let to = FLIGHT_AT + int32At(words, word + 1);
  flight.bytes.set(bytes.subarray(at - VNET_BYTES, at + int32At(words, word + 1)));
  for (let region = word + 2; region < word + TRANSMIT_WORDS; region += 2) {
    const from = int32At(words, region);
    const length = int32At(words, region + 1);
    flight.bytes.set(bytes.subarray(from, from + length), to);
    to += length;
  }
}

/**
 * Flips a bit as a real wire would: behind the point where the checksum was completed, or no checksum could tell, and
 * where a frame is all there is, so that the virtio header is gone as well.
 */
function corrupt(faults: Faults, flight: Flight): void {
  completeChecksum(flight.bytes, FLIGHT_AT, flight.length);
  clearVnet(flight.bytes, FLIGHT_AT);
  faults.flipBit(flight.bytes, FLIGHT_AT, flight.length);
}

function createWireCounters(): WireCounters {
  return {
    offered: 0,
    delivered: 0,
    lost: 0,
    duplicated: 0,
    reordered: 0,
    corrupted: 0,
    queueDrops: 0,
    poolDrops: 0,
    tooLong: 0,
    inboxDrops: 0,
  };
}
