/**
 * An environment: one tenant of the exokernel. It has a name on the link (a MAC address and IPv4 addresses), filters that
 * say which frames are its own, a bounded ring in which it finds them, a queue for what it sends, and the program that does
 * both.
 *
 * Claims: for now any environment may claim any filter that the demultiplexer takes, that is, one that does not overlap a
 * filter in force unless one of the two implies the other; there are no levels of trust. Several environments may share an
 * address, as long as their filters tell their frames apart. Only the environment that claimed a filter may release it.
 *
 * Memory: receive slots are lent to the environment from `ring.take` until `returnSlot`, beyond the turn only what
 * `keepSlot` has returned; it may hold `ringFrames` of them
 * at a time, waiting in the ring, being sent or neither, and what comes beyond that is dropped and counted.
 */
import type { Demultiplexer, FilterId } from '../downloadfilter/demultiplexer.ts';
import type { Filter } from '../downloadfilter/language.ts';
import { Counters } from '../runtime/counters.ts';
import { type Cidr, maskOf } from '../wire/address.ts';
import type { Bytes } from '../wire/bytes.ts';
import { DROP_NAMES, DROP_RING_FULL, type DropReason } from '../wire/drop-reasons.ts';
import { PacketRing } from './packet-ring.ts';
import type { SlotPool } from './slot-pool.ts';
import type { SlotLender, TransmitQueue } from './transmit-queue.ts';

/** What runs in an environment. */
export interface EnvironmentProgram {
  /**
   * Called once a turn: drains the ring and gives the slots back, runs what time has come for, leaves frames in the queue.
   * It must not wait for anything.
   */
  process(nowUs: number): void;
  /** When it wants to be called although nothing arrives; a time that has passed means in the next turn, Infinity never. */
  nextDeadlineUs(): number;
}

export interface EnvironmentOptions {
  /** For logs. */
  readonly name: string;
  /** MAC address, upper 16 bits; not a group's. */
  readonly macHi: number;
  /** MAC address, lower 32 bits. */
  readonly macLo: number;
  /** IPv4 addresses in whose name it may send, as 32-bit integers. */
  readonly addresses: readonly number[];
  /** Whole prefixes of addresses in whose name it may send as well. */
  readonly sources?: readonly Cidr[] | undefined;
  /** It may send on frames that another environment received, on this device or another: the forwarding right (false). */
  readonly forwards?: boolean;
  /** Receive slots it may hold (256). */
  readonly ringFrames?: number;
  /** Frames of the transmit queue, rounded up to a power of two (512). */
  readonly transmitFrames?: number;
}

export const ENVIRONMENT_COUNTERS = ['framesIn', 'bytesIn', 'framesOut', 'framesLost', 'framesRefused'] as const;
/** Frames and bytes put into the ring. */
export const FRAMES_IN = 0;
export const BYTES_IN = 1;
/** Frames that the device took. */
export const FRAMES_OUT = 2;
/** Frames that found the ring full. */
export const FRAMES_LOST = 3;
/** Frames that the transmit guard refused, or that were in the queue when the environment was closed. */
export const FRAMES_REFUSED = 4;

const MAC_HI_LIMIT = 0xffff;
/** In the upper 16 bits of a MAC address: the address is a group's. */
const MAC_GROUP_BIT = 0x0100;

const idleProgram: EnvironmentProgram = {
  process() {},
  nextDeadlineUs: () => Number.POSITIVE_INFINITY,
};

/** What an environment uses of its exokernel. */
export interface EnvironmentHost {
  readonly demultiplexer: Demultiplexer;
  readonly slots: SlotPool;
  readonly bytes: Bytes;
  /** Called once, when the environment is closed. */
  forget(environment: Environment): void;
}

export class Environment implements SlotLender {
  /** Index in the exokernel's table. */
  readonly id: number;
  readonly name: string;
  readonly macHi: number;
  readonly macLo: number;
  readonly addresses: Int32Array;
  readonly sourceNetworks: Int32Array;
  readonly sourceMasks: Int32Array;
  /** Frames that have arrived, oldest first. */
  readonly ring: PacketRing;
  /** Frames to be sent at the end of the turn. */
  readonly queue: TransmitQueue;
  readonly forwards: boolean;
  /** Receive slots it may hold. */
  readonly ringFrames: number;
  readonly counters = new Counters(ENVIRONMENT_COUNTERS);
  /** Frames dropped on their way in or out, by reason. */
  readonly drops = new Counters<string>(DROP_NAMES);
  /** Set by whoever made the environment; until then frames stay in the ring. */
  program: EnvironmentProgram = idleProgram;
  private readonly host: EnvironmentHost;
  private readonly filters = new Set<FilterId>();
  private heldCount = 0;
  private open = true;

  /** Environments are made by `Exokernel.createEnvironment`. */
  constructor(
    host: EnvironmentHost,
    id: number,
    options: EnvironmentOptions,
    ringFrames: number,
    queue: TransmitQueue,
  ) {
    this.host = host;
    this.id = id;
    this.name = options.name;
    this.macHi = options.macHi;
    this.macLo = options.macLo | 0;
    this.addresses = Int32Array.from(options.addresses, (address) => address | 0);
    const sources = options.sources ?? [];
    this.sourceMasks = Int32Array.from(sources, ({ prefixLength }) => maskOf(prefixLength));
    this.sourceNetworks = Int32Array.from(sources, ({ address, prefixLength }) => address & maskOf(prefixLength));
    this.forwards = options.forwards ?? false;
    this.ringFrames = ringFrames;
    this.ring = new PacketRing(ringFrames);
    this.queue = queue;
  }

  /** Receive slots that it holds: frames in the ring, and frames taken out that were neither returned nor sent. */
  get held(): number {
    return this.heldCount;
  }

  /** Filters that it has claimed. */
  get claimed(): number {
    return this.filters.size;
  }

  get closed(): boolean {
    return !this.open;
  }

  /**
   * Claims the frames that satisfy a filter. Throws `FilterError` when the filter is malformed or overlaps one in force, and
   * `RangeError` when the environment is closed.
   */
  claim(filter: Filter): FilterId {
    if (!this.open) throw new RangeError(`environment ${this.name} is closed`);
    const id = this.host.demultiplexer.insert(filter, this.id);
    this.filters.add(id);
    return id;
  }

  /** Gives a claim up; frames that have arrived stay. Throws `RangeError` when the filter is another's. */
  release(id: FilterId): void {
    if (!this.filters.delete(id)) throw new RangeError(`environment ${this.name} has no filter ${id}`);
    this.host.demultiplexer.remove(id);
  }

  /**
   * Gives the slot of a frame back that was taken out of the ring; `at` is the frame's position. Throws `RangeError` when
   * the environment does not hold it. After `close`, which returns all slots, it does nothing.
   */
  returnSlot(at: number): void {
    if (!this.open) return;
    this.host.slots.giveBack(at, this.id);
    this.heldCount--;
  }

  /**
   * To be called for a frame that is kept beyond the turn: a slot of the device's would hold up its ring, so that the frame
   * is moved out of it. Returns where the frame is from now on. Throws `RangeError` when the environment does not hold `at`.
   */
  keepSlot(at: number, lengthBytes: number): number {
    return this.host.slots.keep(at, lengthBytes, this.id);
  }

  /**
   * Leaves the frame in a receive slot for transmission as it lies there, `lengthBytes` from `at`; the slot, which `owner`
   * holds, goes back when the device has sent it. False when the queue is full: the slot stays with its owner then. Throws
   * `RangeError` when `owner` does not hold the slot, or is another environment and this one has no right to forward.
   */
  transmitSlot(owner: Environment, at: number, lengthBytes: number): boolean {
    this.assertMayForward(owner);
    if (this.queue.free === 0) return false;
    owner.host.slots.beginSending(at, owner.id);
    return this.queue.commitSlot(at, lengthBytes, owner);
  }

  /** The same for a slot that regions of the frame committed last, and of those before it, lie in. */
  transmitRegionsOf(owner: Environment, at: number): void {
    this.assertMayForward(owner);
    owner.host.slots.beginSending(at, owner.id);
    this.queue.attachSlot(at, owner);
  }

  /** For transmit queues: the frame in a slot of this environment's has been sent. */
  slotSent(at: number): void {
    this.host.slots.endSending(at);
    if (this.open) this.heldCount--;
  }

  /**
   * Ends the environment: its filters are released, its slots go back, what it has queued and the device has not taken is
   * dropped and counted. Frames that a program wants to leave have to leave in a turn before.
   */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.program = idleProgram;
    for (const id of this.filters) this.host.demultiplexer.remove(id);
    this.filters.clear();
    while (this.ring.take() !== 0);
    this.host.slots.giveBackAll(this.id);
    this.heldCount = 0;
    this.counters.add(FRAMES_REFUSED, this.queue.close());
    this.host.forget(this);
  }

  /** For the exokernel: puts a frame into the ring, its slot lent to the environment; false when it may hold no more. */
  accept(at: number, length: number): boolean {
    if (this.heldCount >= this.ringFrames || !this.ring.push(at, length)) {
      this.counters.increment(FRAMES_LOST);
      this.drops.increment(DROP_RING_FULL);
      return false;
    }
    this.heldCount++;
    this.host.slots.lend(at, this.id);
    this.counters.increment(FRAMES_IN);
    this.counters.add(BYTES_IN, length);
    return true;
  }

  /** For the exokernel: frames still in the ring at the end of the turn are moved out of the device's slots. */
  keepWaiting(): void {
    const { ring } = this;
    for (let waiting = ring.size; waiting > 0; waiting--) {
      const at = ring.take();
      ring.push(this.keepSlot(at, ring.length), ring.length);
    }
  }

  private assertMayForward(owner: Environment): void {
    if (owner !== this && !this.forwards) throw new RangeError(`environment ${this.name} has no right to forward`);
    if (owner.closed) throw new RangeError(`environment ${owner.name} is closed`);
    if (owner.host.bytes !== this.host.bytes) throw new RangeError(`${owner.name} and ${this.name} share no arena`);
  }

  /** For the exokernel: counts a frame that the guard has refused. */
  countRefused(reason: DropReason): void {
    this.counters.increment(FRAMES_REFUSED);
    this.drops.increment(reason);
  }
}

/** Throws `RangeError` when the options name no proper tenant. */
export function assertEnvironmentOptions(options: EnvironmentOptions): void {
  const { name, macHi, macLo, addresses } = options;
  if (!Number.isInteger(macHi) || macHi < 0 || macHi > MAC_HI_LIMIT || !Number.isInteger(macLo)) {
    throw new RangeError(`environment ${name}: not a MAC address`);
  }
  if ((macHi & MAC_GROUP_BIT) !== 0) throw new RangeError(`environment ${name}: the MAC address is a group's`);
  if (!addresses.every(Number.isInteger)) throw new RangeError(`environment ${name}: not an IPv4 address`);
}
