/**
 * Two hosts, and what they do to be measured: bulk one way, and one byte there and back. Across a simulated link under virtual
 * time, or across one that allocates nothing, turn by turn.
 */

import { Host } from '../../src/host/host.ts';
import { Simulation } from '../../src/host/simulation.ts';
import { Arena } from '../../src/runtime/arena.ts';
import type { Clock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { SeededRandom } from '../../src/runtime/random.ts';
import { consume, queuedBytes, readableBytes, send, sendBufferBytes, takeEvents } from '../../src/tcp/calls.ts';
import type { Tcb, TcpUser } from '../../src/tcp/tcb.ts';
import { DirectDevice } from './direct-link.ts';

const HOST_A = 0x0a000001;
const HOST_B = 0x0a000002;
const DELAY_US = 50;
const CHUNK_BYTES = 64 * 1024;
/** Simulated time that is run at a time. */
const STEP_US = 5000;
const TURNS = 1000;
/** Times that are no small integers, as after the first half hour. */
const START_US = 1e10;
const ARENA_BYTES = 512 * 1024 * 1024;

export type Kind = 'bulk' | 'ping-pong';

class Sender implements TcpUser {
  private readonly at: number;

  constructor(at: number) {
    this.at = at;
  }

  ready(connection: Tcb): void {
    takeEvents(connection);
    while (queuedBytes(connection) <= sendBufferBytes(connection)) send(connection, this.at, CHUNK_BYTES, null, 0);
  }
}

class Reader implements TcpUser {
  ready(connection: Tcb): void {
    takeEvents(connection);
    consume(connection, readableBytes(connection));
  }
}

/** Sends a byte for each byte that arrives; one of the two has the first. */
class Pinger implements TcpUser {
  private readonly at: number;
  private first: boolean;

  constructor(at: number, first: boolean) {
    this.at = at;
    this.first = first;
  }

  ready(connection: Tcb): void {
    takeEvents(connection);
    const bytes = readableBytes(connection);
    consume(connection, bytes);
    if (bytes > 0 || this.first) send(connection, this.at, 1, null, 0);
    this.first = false;
  }
}

function begin(kind: Kind, a: Host, b: Host, textAt: number): void {
  b.tcp.listen(80, () => (kind === 'bulk' ? new Reader() : new Pinger(textAt, false)));
  a.tcp.connect(HOST_B, 80, kind === 'bulk' ? new Sender(textAt) : new Pinger(textAt, true));
}

function segmentsOf(hosts: readonly Host[]): number {
  return hosts.reduce((sum, { tcp }) => sum + tcp.counters.get('segmentsReceived'), 0);
}

/** Time that passes by steps. */
class SteppedClock implements Clock {
  private timeUs = START_US;

  nowUs(): number {
    return this.timeUs;
  }

  wallMs(): number {
    return Math.floor(this.timeUs / 1000);
  }

  step(): void {
    this.timeUs += DELAY_US;
  }
}

export class DirectRig {
  private readonly clock = new SteppedClock();
  private readonly arena = new Arena(ARENA_BYTES);
  private readonly hosts: readonly [Host, Host];

  constructor(kind: Kind, offload: boolean) {
    const { arena } = this;
    const a = new DirectDevice(arena, offload);
    const b = new DirectDevice(arena, offload);
    a.join(b);
    b.join(a);
    this.hosts = [this.createHost(a, HOST_A), this.createHost(b, HOST_B)];
    begin(kind, ...this.hosts, arena.allocate(CHUNK_BYTES));
  }

  get segments(): number {
    return segmentsOf(this.hosts);
  }

  /** Turns that both hosts have taken. */
  get turns(): number {
    return this.hosts.reduce((sum, { kernel }) => sum + kernel.counters.get('turns'), 0);
  }

  /** Runs until so many more segments have been received. */
  runSegments(count: number): void {
    const [a, b] = this.hosts;
    const end = this.segments + count;
    while (this.segments < end) {
      for (let turns = 0; turns < TURNS; turns++) {
        a.turn();
        b.turn();
        this.clock.step();
      }
    }
  }

  close(): void {
    for (const { stack } of this.hosts) stack.close();
    this.arena.close();
  }

  private createHost(device: DirectDevice, address: number): Host {
    const { arena, clock } = this;
    const random = new SeededRandom(address);
    const mac = { macHi: 0x0200, macLo: address };
    return new Host({ name: 'host', arena, device, clock, random, log: silentLog, address, prefixLength: 24, ...mac });
  }
}

export class TransferRig {
  private readonly world = new Simulation(1);
  private readonly hosts: readonly [Host, Host];

  constructor(kind: Kind, offload: boolean) {
    const { world } = this;
    world.clock.runUntil(START_US);
    const link = world.addLink({ delayUs: DELAY_US, offload, queueFrames: 4096, inboxFrames: 8192 });
    const a = world.addHost('a', link.a, HOST_A);
    const b = world.addHost('b', link.b, HOST_B);
    this.hosts = [a, b];
    begin(kind, a, b, world.arena.allocate(CHUNK_BYTES));
    a.stack.wake();
  }

  /** Segments that both hosts have received. */
  get segments(): number {
    return segmentsOf(this.hosts);
  }

  get payloadBytes(): number {
    return this.hosts.reduce((sum, { tcp }) => sum + tcp.counters.get('payloadBytesReceived'), 0);
  }

  /** Runs for some seconds of the wall. */
  run(seconds: number): void {
    const endMs = performance.now() + seconds * 1000;
    while (performance.now() < endMs) this.world.run(STEP_US);
  }

  close(): void {
    this.world.close();
  }
}
