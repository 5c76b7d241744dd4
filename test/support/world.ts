/** Two hosts joined by a simulated link, the smallest simulation there is of the whole stack. */
import type { SimLink } from '../../src/driver/sim-link.ts';
import type { Host } from '../../src/host/host.ts';
import { type SimulatedLinkOptions, Simulation } from '../../src/host/simulation.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import type { Cidr } from '../../src/wire/address.ts';

export const ADDRESS_A = 0x0a000001;
export const ADDRESS_B = 0x0a000002;

export interface WorldOptions {
  readonly seed?: number;
  readonly link?: SimulatedLinkOptions;
  /** Prefixes that are host a's as well. */
  readonly sourcesA?: readonly Cidr[];
  readonly settingsA?: Partial<TcpSettings>;
  readonly settingsB?: Partial<TcpSettings>;
}

export class World extends Simulation {
  readonly link: SimLink;
  readonly a: Host;
  readonly b: Host;

  constructor(options: WorldOptions = {}) {
    super(options.seed ?? 1);
    this.link = this.addLink(options.link);
    this.a = this.addHost('a', this.link.a, ADDRESS_A, { sources: options.sourcesA, tcpSettings: options.settingsA });
    this.b = this.addHost('b', this.link.b, ADDRESS_B, { tcpSettings: options.settingsB });
  }
}
