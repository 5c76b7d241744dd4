/**
 * Two hosts joined by a simulated link under one virtual clock: the whole stack, from devices to applications, in one
 * process and decided by one seed.
 */
import { createSimLink, type SimDevice, type SimLink, type SimLinkOptions } from '../../src/driver/sim-link.ts';
import { Host } from '../../src/host/host.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { SeededRandom } from '../../src/runtime/random.ts';
import { VirtualClock } from '../../src/runtime/virtual-clock.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import type { Cidr } from '../../src/wire/address.ts';

export const ADDRESS_A = 0x0a000001;
export const ADDRESS_B = 0x0a000002;
const MAC_HI = 0x0200;
const ARENA_BYTES = 512 * 1024 * 1024;

export interface WorldOptions {
  readonly seed?: number;
  readonly link?: Omit<SimLinkOptions, 'clock' | 'arena' | 'seed'>;
  /** Prefixes that are host a's as well. */
  readonly sourcesA?: readonly Cidr[];
  readonly settingsA?: Partial<TcpSettings>;
  readonly settingsB?: Partial<TcpSettings>;
}

export class World {
  readonly clock = new VirtualClock();
  readonly arena = new Arena(ARENA_BYTES);
  readonly link: SimLink;
  readonly a: Host;
  readonly b: Host;
  readonly random: SeededRandom;
  private readonly turns = new Map<Host, number>();

  constructor(options: WorldOptions = {}) {
    const seed = options.seed ?? 1;
    this.random = new SeededRandom(seed);
    this.link = createSimLink({ ...options.link, clock: this.clock, arena: this.arena, seed });
    this.a = this.createHost('a', this.link.a, ADDRESS_A, options.settingsA, options.sourcesA);
    this.b = this.createHost('b', this.link.b, ADDRESS_B, options.settingsB);
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

  private createHost(
    name: string,
    device: SimDevice,
    address: number,
    tcpSettings?: Partial<TcpSettings>,
    sources?: readonly Cidr[],
  ): Host {
    const host = new Host({
      name,
      arena: this.arena,
      device,
      clock: this.clock,
      random: new SeededRandom(this.random.u32()),
      log: silentLog,
      address,
      prefixLength: 24,
      sources,
      macHi: MAC_HI,
      macLo: address,
      tcpSettings,
    });
    device.onFrameWaiting = () => this.schedule(host, this.clock.nowUs());
    host.stack.wake = () => this.schedule(host, this.clock.nowUs());
    this.schedule(host, 0);
    return host;
  }

  /** Has a host take a turn at a time, or earlier if one is due before. */
  private schedule(host: Host, timeUs: number): void {
    const due = this.turns.get(host) ?? Number.POSITIVE_INFINITY;
    if (timeUs >= due) return;
    this.turns.set(host, timeUs);
    this.clock.at(timeUs, () => {
      // An earlier turn has taken this one's place.
      if (this.turns.get(host) !== timeUs) return;
      this.turns.delete(host);
      const next = host.turn();
      if (next !== Number.POSITIVE_INFINITY) this.schedule(host, Math.max(next, this.clock.nowUs()));
    });
  }
}
