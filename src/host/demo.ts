/**
 * The three applications in one process under virtual time: webswamp loads two Cheetahs through a forwarder, over simulated
 * links that lose frames. No privilege, no device, and the same seed gives the same run to the last bit.
 *
 *     webswamp 10.0.0.1 --- 10.0.0.9 forwarder 10.0.1.9 --- 10.0.1.2 Cheetah :8080, Cheetah :8081
 */

import type { SimLink } from '../driver/sim-link.ts';
import { giveWay } from '../runtime/give-way.ts';
import type { Cheetah } from '../servers/cheetah/cheetah.ts';
import { MemoryFiles } from '../servers/cheetah/memory-files.ts';
import { DEFAULT_PLAN, type SwampPlan } from '../servers/webswamp/plan.ts';
import { createReport, type Report } from '../servers/webswamp/report.ts';
import { prepareRequest } from '../servers/webswamp/request.ts';
import { TcpClient } from '../servers/webswamp/tcp-client.ts';
import { Webswamp } from '../servers/webswamp/webswamp.ts';
import type { Tcb } from '../tcp/tcb.ts';
import { createCheetah } from './create-cheetah.ts';
import type { ForwardHost } from './forward-host.ts';
import type { Host } from './host.ts';
import { Simulation } from './simulation.ts';

export interface DemoOptions {
  readonly seed: number;
  /** What is asked of the servers, and how often. */
  readonly plan: Partial<SwampPlan>;
  /** Of the page that is asked for. */
  readonly bodyBytes: number;
  /** Of each link, one way. */
  readonly delayUs: number;
  readonly bitsPerSecond: number;
  /** Share of the frames that each link loses. */
  readonly loss: number;
}

export interface DemoResult {
  readonly report: Report;
  readonly cheetahs: readonly Record<string, number>[];
  readonly forwarder: Record<string, number>;
  readonly links: readonly Record<string, Readonly<Record<string, number>>>[];
  /** What was not given back at the end, by name; empty, or there is a defect. */
  readonly leaks: readonly string[];
}

const CLIENT = 0x0a000001;
const FORWARDER = 0x0a000009;
const FORWARDER_INSIDE = 0x0a000109;
const SERVER = 0x0a000102;
const PORT = 80;
const SERVER_PORTS = [8080, 8081];
const PAGE = 'page.html';
const MIB = 1024 * 1024;
/** Between two slices of virtual time the promises of the file cache come to their end. */
const SLICE_US = 1000;
/** For the forwarder's link address; connections are opened all the same when it has not been told by then. */
const PATIENCE_US = 3_000_000;
/** Longer than connections and flows linger. */
const AFTERMATH_US = 200_000_000;

export class Demo {
  private readonly world: Simulation;
  private readonly links: readonly SimLink[];
  private readonly client: Host;
  private readonly server: Host;
  private readonly forward: ForwardHost;
  private readonly cheetahs: readonly Cheetah<Tcb>[];
  private readonly transport: TcpClient;
  private readonly swamp: Webswamp<Tcb>;

  /** Throws `RangeError` for a plan that cannot be. */
  constructor(options: DemoOptions) {
    const { seed, delayUs, bitsPerSecond, loss, bodyBytes } = options;
    this.world = new Simulation(seed);
    const link = { delayUs, bitsPerSecond, faults: { loss } };
    const outside = this.world.addLink(link);
    const inside = this.world.addLink(link);
    this.links = [outside, inside];
    this.client = this.world.addHost('webswamp', outside.a, CLIENT);
    this.server = this.world.addHost('cheetah', inside.b, SERVER);
    const sides = [
      { device: outside.b, address: FORWARDER },
      { device: inside.a, address: FORWARDER_INSIDE },
    ];
    const backends = SERVER_PORTS.map((port) => ({ address: SERVER, port }));
    this.forward = this.world.addForwarder(sides, {
      services: [{ listen: { address: FORWARDER, port: PORT }, backends }],
    });
    const files = new MemoryFiles({ [PAGE]: Buffer.alloc(bodyBytes, 'exonet ') });
    this.cheetahs = SERVER_PORTS.map((port) => this.createCheetah(port, files));
    const { stack, tcp } = this.client;
    const authority = '10.0.0.9';
    this.transport = new TcpClient(tcp, FORWARDER, PORT);
    this.swamp = new Webswamp({
      transport: this.transport,
      clock: stack.clock,
      timers: stack.timers,
      wake: () => stack.wake(),
      plan: { ...DEFAULT_PLAN, expectedBytes: bodyBytes, ...options.plan },
      request: prepareRequest(this.world.arena, { method: 'GET', target: `/${PAGE}`, authority, fields: [] }),
    });
  }

  /** The load as it runs. */
  get running(): Webswamp<Tcb> {
    return this.swamp;
  }

  /** Runs it all; `onSecond` is told of each second of virtual time, `signal` ends it before its time. */
  async run(onSecond: () => void = () => {}, signal?: AbortSignal): Promise<DemoResult> {
    const { swamp, world } = this;
    let ended = false;
    swamp.onEnd = () => {
      ended = true;
    };
    world.run(PATIENCE_US, () => this.transport.findServer());
    const startedAtMs = world.clock.wallMs();
    let secondUs = world.clock.nowUs();
    swamp.start();
    await this.until(() => {
      if (signal?.aborted === true && !swamp.isOver) swamp.stop();
      if (world.clock.nowUs() - secondUs >= 1_000_000) {
        secondUs += 1_000_000;
        onSecond();
      }
      return ended;
    });
    await this.closeServers();
    world.run(AFTERMATH_US);
    const report = createReport(swamp, { url: `http://10.0.0.9/${PAGE}`, startedAtMs, busyShare: 0, counters: {} });
    return {
      report,
      cheetahs: this.cheetahs.map((cheetah) => cheetah.snapshot()),
      forwarder: this.forward.forwarder.counters.snapshot(),
      links: this.links.map(({ counters }) => ({ aToB: { ...counters.aToB }, bToA: { ...counters.bToA } })),
      leaks: this.findLeaks(),
    };
  }

  /** Gives the memory back. */
  close(): void {
    this.world.close();
  }

  private createCheetah(port: number, source: MemoryFiles): Cheetah<Tcb> {
    const cheetah = createCheetah(this.server, {
      root: '/',
      port,
      source,
      cacheBytes: 64 * MIB,
      giveWay: () => Promise.resolve(),
    });
    cheetah.start();
    return cheetah;
  }

  private async until(done: () => boolean): Promise<void> {
    while (!this.world.run(SLICE_US, done)) await giveWay();
  }

  private async closeServers(): Promise<void> {
    let open = this.cheetahs.length;
    for (const cheetah of this.cheetahs) {
      void cheetah.close().then(() => {
        open--;
      });
    }
    await this.until(() => open === 0);
  }

  private findLeaks(): string[] {
    const { table } = this.forward.forwarder.flows;
    const held: Record<string, number> = {
      'connections of webswamp': this.client.tcp.liveConnections,
      'connections of the servers': this.server.tcp.liveConnections,
      'send regions': this.client.tcp.regions.live + this.server.tcp.regions.live,
      'receive slots': this.client.stack.environment.held + this.server.stack.environment.held,
      'living flows': table.live,
      'frames on the links': this.links.reduce((sum, link) => sum + link.inFlightBytes(), 0),
    };
    return Object.entries(held).flatMap(([name, count]) => (count === 0 ? [] : [`${count} ${name}`]));
  }
}
