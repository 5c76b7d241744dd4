/**
 * A host: one device, an exokernel over it and one stack with TCP in it, put together and driven. What most programs
 * embed; a program with several tenants on one device, or without TCP, puts the parts together itself.
 *
 * Memory: the arena and the device are the host's to close.
 */
import type { Device, DeviceError } from '../driver/device.ts';
import { Exokernel } from '../exokernel/exokernel.ts';
import { Stack, type StackAddresses } from '../libos/stack.ts';
import type { Arena } from '../runtime/arena.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import { DEFAULT_POLL_US, Reactor } from '../runtime/reactor.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { Tcp } from '../tcp/tcp.ts';

export interface HostOptions extends StackAddresses {
  readonly name: string;
  readonly arena: Arena;
  readonly device: Device;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly tcpSettings?: Partial<TcpSettings> | undefined;
  /** How long a busy host looks for frames before it sleeps, microseconds (default 100); 0: it always sleeps. */
  readonly pollUs?: number | undefined;
  /** Frames that a turn receives at most; with 1, each is answered by itself, as if it had come alone (default: what is waiting). */
  readonly framesPerTurn?: number | undefined;
  /** How long before a deadline it stays awake to meet it, microseconds (default 0). */
  readonly beforeDeadlineUs?: number | undefined;
}

/** Turns that `close` takes to send the last resets, of a transmit queue full each. */
const CLOSING_TURNS = 256;

export class Host {
  readonly arena: Arena;
  readonly device: Device;
  readonly kernel: Exokernel;
  readonly stack: Stack;
  readonly tcp: Tcp;
  /** Told once when the device is gone for good; the host has stopped then. */
  onDeviceFailure: (failure: DeviceError) => void = () => {};
  /** What drives the turns, with its counters; the host starts and stops it. */
  readonly reactor: Reactor;
  private closed = false;

  constructor(options: HostOptions) {
    const { arena, device, clock, log } = options;
    this.arena = arena;
    this.device = device;
    const { framesPerTurn } = options;
    const batches = framesPerTurn === undefined ? {} : { receiveBatch: framesPerTurn, receiveBatches: 1 };
    this.kernel = new Exokernel({ arena, device, clock, log, ...batches });
    this.stack = new Stack({
      ...options,
      kernel: this.kernel,
      mtuBytes: device.mtuBytes,
      features: device.features,
    });
    this.tcp = new Tcp(this.stack, options.tcpSettings);
    this.reactor = new Reactor(clock, device.descriptor, () => this.turn(), {
      pollUs: options.pollUs ?? DEFAULT_POLL_US,
      beforeDeadlineUs: options.beforeDeadlineUs,
      received: () => device.counters.receivedFrames,
      look: () => this.kernel.look(),
    });
    this.stack.start();
  }

  /** One turn; returns when the next is due (see `Exokernel.turn`). A simulation calls it, otherwise the reactor does. */
  turn(): number {
    const deadlineUs = this.kernel.turn();
    if (this.device.failure === null) return deadlineUs;
    this.reactor.stop();
    this.onDeviceFailure(this.device.failure);
    return Number.POSITIVE_INFINITY;
  }

  /** Begins to run in Node's event loop, and keeps the process alive until `close`. */
  start(): void {
    this.stack.wake = () => this.reactor.wake();
    this.reactor.start();
  }

  /** Resets the connections that are left, sends that, and gives device and arena back. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.reactor.stop();
    this.tcp.close();
    for (let turns = 0; turns < CLOSING_TURNS && this.device.failure === null; turns++) {
      this.kernel.turn();
      if (this.tcp.replies.count === 0 && this.stack.environment.queue.pending === 0) break;
    }
    this.stack.close();
    this.kernel.close();
    this.device.close();
    this.arena.close();
  }
}
