/** A client, a forwarder and two backends, joined by simulated links: 10.0.0.1 - 10.0.0.9 | 10.0.1.9 - 10.0.1.2, 10.0.2.2. */
import type { SimLink } from '../../src/driver/sim-link.ts';
import type { ForwardHost } from '../../src/host/forward-host.ts';
import type { Host } from '../../src/host/host.ts';
import { type SimulatedForwarderOptions, type SimulatedLinkOptions, Simulation } from '../../src/host/simulation.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';

export const CLIENT = 0x0a000001;
export const FORWARDER = 0x0a000009;
export const FORWARDER_INSIDE = 0x0a000109;
export const BACKEND = 0x0a000102;
export const LISTEN_PORT = 80;
export const BACKEND_PORT = 8080;

export interface ForwardWorldOptions extends Partial<SimulatedForwarderOptions> {
  readonly seed?: number;
  readonly outside?: SimulatedLinkOptions;
  readonly inside?: SimulatedLinkOptions;
  readonly tcpSettings?: Partial<TcpSettings>;
}

export class ForwardWorld extends Simulation {
  readonly outside: SimLink;
  readonly inside: SimLink;
  readonly client: Host;
  readonly backend: Host;
  readonly forward: ForwardHost;

  constructor(options: ForwardWorldOptions = {}) {
    super(options.seed ?? 1);
    const { outside, inside, tcpSettings, seed: _, ...forwarderOptions } = options;
    this.outside = this.addLink(outside);
    this.inside = this.addLink(inside);
    this.client = this.addHost('client', this.outside.a, CLIENT, { tcpSettings });
    this.backend = this.addHost('backend', this.inside.b, BACKEND, { tcpSettings, gateway: FORWARDER_INSIDE });
    const sides = [
      { device: this.outside.b, address: FORWARDER },
      { device: this.inside.a, address: FORWARDER_INSIDE },
    ];
    this.forward = this.addForwarder(sides, {
      services: [
        {
          listen: { address: FORWARDER, port: LISTEN_PORT },
          backends: [{ address: BACKEND, port: BACKEND_PORT }],
        },
      ],
      ...forwarderOptions,
    });
  }

  /** What the forwarder holds that it should not, by name, when nothing is on its way; empty when nothing has leaked. */
  forwarderLeaks(): string[] {
    const { forwarder, stacks, kernels } = this.forward;
    const { table, index } = forwarder.flows;
    const held: Record<string, number> = {
      flows: table.live,
      'lingering flows': table.lingering.count,
      'index entries': index.size,
      'frames waiting': forwarder.waitingFrames,
      'living flows of backends': forwarder.services
        .flatMap((group) => group.backends.map(({ living }) => living))
        .reduce((sum, living) => sum + living, 0),
      'receive slots': forwarder.sides.reduce((sum, { environment }) => sum + environment.held, 0),
      'slots of stacks': stacks.reduce((sum, { environment }) => sum + environment.held, 0),
      'slots being sent': kernels.reduce((sum, { slots }) => sum + slots.sending, 0),
      'paths in use': stacks.reduce((sum, { paths }) => sum + paths.activeCount, 0),
      'frames queued': forwarder.sides.reduce(
        (sum, { environment: { queue } }) => sum + queue.enqueued - queue.completed,
        0,
      ),
    };
    return Object.entries(held).flatMap(([name, count]) => (count === 0 ? [] : [`${count} ${name}`]));
  }
}
