/** A host on one end of a simulated link, and a peer without memory on the other. */
import { createSimLink } from '../../src/driver/sim-link.ts';
import { Host } from '../../src/host/host.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { SeededRandom } from '../../src/runtime/random.ts';
import { VirtualClock } from '../../src/runtime/virtual-clock.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import { StatelessPeer } from './stateless-peer.ts';

export const HOST = 0x0a000001;
export const PEER = 0x0a000002;
const ARENA_BYTES = 512 * 1024 * 1024;
/** Times of a clock that has run for a while are no small integers, as they would be in the first half hour. */
const START_US = 1e10;
const ROUND_US = 10_000;

export class Rig {
  readonly clock = new VirtualClock();
  readonly arena = new Arena(ARENA_BYTES);
  readonly host: Host;
  readonly peer: StatelessPeer;
  private dueUs = Number.POSITIVE_INFINITY;

  constructor(tcpSettings: Partial<TcpSettings> = {}) {
    const { clock, arena } = this;
    clock.runUntil(START_US);
    const link = createSimLink({ clock, arena, seed: 1 });
    this.peer = new StatelessPeer(link.a, arena, clock, PEER, HOST);
    this.host = new Host({
      name: 'host',
      arena,
      device: link.b,
      clock,
      random: new SeededRandom(1),
      log: silentLog,
      address: HOST,
      prefixLength: 24,
      macHi: 0x0200,
      macLo: HOST,
      tcpSettings,
    });
    link.b.onFrameWaiting = () => this.schedule(clock.nowUs());
    this.host.stack.wake = () => this.schedule(clock.nowUs());
    // The two ends know each other's addresses before anything is counted.
    const path = this.host.stack.paths.acquire(PEER);
    this.schedule(clock.nowUs());
    this.advance(ROUND_US);
    if (path !== undefined) this.host.stack.paths.release(path);
  }

  advance(byUs: number): void {
    this.clock.runUntil(this.clock.nowUs() + byUs);
  }

  private schedule(timeUs: number): void {
    if (timeUs >= this.dueUs) return;
    this.dueUs = timeUs;
    this.clock.at(timeUs, () => {
      if (this.dueUs !== timeUs) return;
      this.dueUs = Number.POSITIVE_INFINITY;
      const next = this.host.turn();
      if (next !== Number.POSITIVE_INFINITY) this.schedule(Math.max(next, this.clock.nowUs()));
    });
  }
}
