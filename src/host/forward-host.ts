/**
 * A forwarder on its devices: for each one an exokernel and a stack, one turn for all of them, and the forwarder between. The
 * stacks have no TCP; they speak ARP and ICMP for the forwarder's addresses.
 *
 * Memory: the arena and the devices are the host's to close.
 */
import type { Device, DeviceError } from '../driver/device.ts';
import { Exokernel, turnTogether } from '../exokernel/exokernel.ts';
import { Stack, type StackAddresses } from '../libos/stack.ts';
import type { Arena } from '../runtime/arena.ts';
import type { Clock } from '../runtime/clock.ts';
import { nonZero } from '../runtime/counters.ts';
import type { Log } from '../runtime/log.ts';
import { DEFAULT_POLL_US, Reactor } from '../runtime/reactor.ts';
import { Forwarder, type ForwarderOptions } from '../servers/forwarder/forwarder.ts';

/** A device, and who the forwarder is on it; `sources` are further addresses of services there. */
export interface ForwardSideOptions extends StackAddresses {
  readonly device: Device;
}

export interface ForwardHostOptions extends Omit<ForwarderOptions, 'sides'> {
  readonly arena: Arena;
  readonly clock: Clock;
  readonly log: Log;
  readonly sides: readonly ForwardSideOptions[];
  /** How long a busy host looks for frames before it sleeps, microseconds (default 100); 0: it always sleeps. */
  readonly pollUs?: number | undefined;
}

export class ForwardHost {
  readonly devices: readonly Device[];
  readonly kernels: readonly Exokernel[];
  readonly stacks: readonly Stack[];
  readonly forwarder: Forwarder;
  /** Told once when a device is gone for good; the host has stopped then. */
  onDeviceFailure: (failure: DeviceError) => void = () => {};
  private readonly arena: Arena;
  private readonly clock: Clock;
  private readonly log: Log;
  /** What drives the turns, with its counters; the host starts and stops it. */
  readonly reactor: Reactor;
  private closed = false;

  constructor(options: ForwardHostOptions) {
    const { arena, clock, log, random, sides } = options;
    this.arena = arena;
    this.clock = clock;
    this.log = log;
    this.devices = sides.map(({ device }) => device);
    this.kernels = this.devices.map((device) => new Exokernel({ arena, device, clock, log }));
    this.stacks = sides.map(({ device, ...side }, index) => {
      const kernel = this.kernels[index] as Exokernel;
      const { mtuBytes, features, name } = device;
      return new Stack({ ...side, name, arena, kernel, clock, random, log, mtuBytes, features });
    });
    this.forwarder = new Forwarder({
      ...options,
      sides: this.stacks.map((stack, index) => ({ stack, kernel: this.kernels[index] as Exokernel })),
    });
    const descriptors = this.devices.map((device) => device.descriptor);
    this.reactor = new Reactor(clock, descriptors, () => this.turn(), {
      pollUs: options.pollUs ?? DEFAULT_POLL_US,
      received: () => this.receivedFrames(),
      look: () => this.look(),
    });
    for (const stack of this.stacks) stack.start();
  }

  /** One turn; returns when the next is due (see `Exokernel.turn`). A simulation calls it, otherwise the reactor does. */
  turn(): number {
    const deadlineUs = turnTogether(this.kernels, this.clock.nowUs());
    for (const device of this.devices) {
      if (device.failure === null) continue;
      this.reactor.stop();
      this.onDeviceFailure(device.failure);
      return Number.POSITIVE_INFINITY;
    }
    return deadlineUs;
  }

  /** Begins to run in Node's event loop, and keeps the process alive until `close`. */
  start(): void {
    for (const stack of this.stacks) stack.wake = () => this.reactor.wake();
    this.reactor.start();
  }

  private look(): void {
    for (let i = 0; i < this.kernels.length; i++) (this.kernels[i] as Exokernel).look();
  }

  private receivedFrames(): number {
    let frames = 0;
    for (let i = 0; i < this.devices.length; i++) frames += (this.devices[i] as Device).counters.receivedFrames;
    return frames;
  }

  /** Logs what is left of the flows, which end as if a cable had been pulled, and the counts; gives devices and arena back. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.reactor.stop();
    this.forwarder.close();
    const { counters, drops } = this.forwarder;
    this.log.info({ ...counters.snapshot(), dropped: nonZero(drops.snapshot()) }, 'forwarder stopped');
    for (const stack of this.stacks) stack.close();
    for (const kernel of this.kernels) kernel.close();
    for (const device of this.devices) device.close();
    this.arena.close();
  }
}
