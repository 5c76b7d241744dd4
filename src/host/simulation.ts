/**
 * Hosts, and whatever else takes turns, joined by simulated links under one virtual clock: whole networks in one process,
 * decided by one seed (design, principle 5).
 *
 * Memory: one arena for all of them, the simulation's to close.
 */
import { createSimLink, type SimDevice, type SimLink, type SimLinkOptions } from '../driver/sim-link.ts';
import { Arena } from '../runtime/arena.ts';
import { silentLog } from '../runtime/log.ts';
import { SeededRandom } from '../runtime/random.ts';
import { VirtualClock } from '../runtime/virtual-clock.ts';
import type { ForwarderOptions } from '../servers/forwarder/forwarder.ts';
import { ForwardHost } from './forward-host.ts';
import { Host, type HostOptions } from './host.ts';

const ARENA_BYTES = 512 * 1024 * 1024;
const PREFIX_LENGTH = 24;
/** Locally administered MAC addresses: 02:00, then the IPv4 address. */
const MAC_HI = 0x0200;

export type SimulatedLinkOptions = Omit<SimLinkOptions, 'clock' | 'arena' | 'seed'>;

export type SimulatedHostOptions = Pick<HostOptions, 'sources' | 'gateway' | 'tcpSettings'>;

/** A forwarder's end of a link. */
export interface SimulatedSide {
  readonly device: SimDevice;
  readonly address: number;
  readonly gateway?: number | undefined;
}

export type SimulatedForwarderOptions = Pick<ForwarderOptions, 'services' | 'limits' | 'lifetimes'> &
  Partial<Pick<ForwarderOptions, 'mode' | 'balance' | 'flowLog'>>;

/** Something that takes turns: `turn` returns when the next one is due, Infinity for not before it is woken. */
interface Party {
  readonly turn: () => number;
  /** When its next turn is scheduled. */
  dueUs: number;
}

export class Simulation {
  readonly clock = new VirtualClock();
  readonly arena = new Arena(ARENA_BYTES);
  readonly random: SeededRandom;
  private readonly seed: number;
  private links = 0;

  constructor(seed: number) {
    this.seed = seed;
    this.random = new SeededRandom(seed);
  }

  /** A link whose dice are decided by the simulation's seed. */
  addLink(options: SimulatedLinkOptions = {}): SimLink {
    return createSimLink({ ...options, clock: this.clock, arena: this.arena, seed: this.seed + this.links++ });
  }

  /** A host with TCP on one end of a link; its first turn is due at once. */
  addHost(name: string, device: SimDevice, address: number, options: SimulatedHostOptions = {}): Host {
    const host = new Host({
      ...options,
      name,
      arena: this.arena,
      device,
      clock: this.clock,
      random: new SeededRandom(this.random.u32()),
      log: silentLog,
      address,
      prefixLength: PREFIX_LENGTH,
      macHi: MAC_HI,
      macLo: address,
    });
    host.stack.wake = this.drive([device], () => host.turn());
    return host;
  }

  /** A forwarder between the ends of one link or two; its first turn is due at once. */
  addForwarder(sides: readonly SimulatedSide[], options: SimulatedForwarderOptions): ForwardHost {
    const { mode = 'nat', balance = 'round-robin', flowLog = null, ...rest } = options;
    const host = new ForwardHost({
      ...rest,
      mode,
      balance,
      flowLog,
      arena: this.arena,
      clock: this.clock,
      random: new SeededRandom(this.random.u32()),
      log: silentLog,
      sides: sides.map((side) => ({ ...side, prefixLength: PREFIX_LENGTH, macHi: MAC_HI, macLo: side.address })),
    });
    const devices = sides.map(({ device }) => device);
    const wake = this.drive(devices, () => host.turn());
    for (const stack of host.stacks) stack.wake = wake;
    return host;
  }

  /**
   * Has `turn` called at once, whenever one of the devices has frames waiting, and when the turn before asked for it;
   * the function returned wakes it from outside.
   */
  drive(devices: readonly SimDevice[], turn: () => number): () => void {
    const party: Party = { turn, dueUs: Number.POSITIVE_INFINITY };
    const wake = (): void => this.schedule(party, this.clock.nowUs());
    for (const device of devices) device.onFrameWaiting = wake;
    wake();
    return wake;
  }

  /** Runs until `done` holds; false when the virtual time is up first. */
  run(limitUs: number, done: () => boolean = () => false): boolean {
    const endUs = this.clock.nowUs() + limitUs;
    while (!done()) {
      if (this.clock.nextEventUs() > endUs) {
        this.clock.runUntil(endUs);
        return done();
      }
      this.clock.step();
    }
    return true;
  }

  close(): void {
    this.arena.close();
  }

  /** Has a party take a turn at a time, or earlier if one is due before. */
  private schedule(party: Party, timeUs: number): void {
    if (timeUs >= party.dueUs) return;
    party.dueUs = timeUs;
    this.clock.at(timeUs, () => {
      // An earlier turn has taken this one's place.
      if (party.dueUs !== timeUs) return;
      party.dueUs = Number.POSITIVE_INFINITY;
      const next = party.turn();
      if (next !== Number.POSITIVE_INFINITY) this.schedule(party, Math.max(next, this.clock.nowUs()));
    });
  }
}
