/**
 * Frames on their way over a simulated link: copies in buffers the link owns, taken from free lists by size and bounded
 * in total, so that a simulation of any length runs in the same memory.
 */
import type { Bytes } from '../wire/bytes.ts';
import { VNET_BYTES } from '../wire/virtio-net.ts';

/** Buffers come in these sizes: acknowledgements, full frames, super-frames. */
const SIZES = [256, 2048, 16384, 65600];

/** A copy of a frame: the virtio header at 0, the Ethernet header at `FLIGHT_AT`. */
export class Flight {
  readonly bytes: Bytes;
  /** Length of the frame, without the virtio header. */
  length = 0;
  /** Where it goes; called with the flight when it gets there. */
  destination: ((flight: Flight) => void) | null = null;
  /** To be given to the clock: made once, so that a frame on its way needs no closure. */
  readonly arrive: () => void;

  constructor(bytes: number) {
    this.bytes = new Uint8Array(bytes);
    this.arrive = () => {
      const { destination } = this;
      this.destination = null;
      if (destination !== null) destination(this);
    };
  }
}

export const FLIGHT_AT = VNET_BYTES;

export class FramePool {
  private readonly free: Flight[][] = SIZES.map(() => []);
  private readonly limitBytes: number;
  private usedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  /** Bytes of buffers that hold frames now. */
  get inUseBytes(): number {
    return this.usedBytes;
  }

  /** A buffer for a frame of this length, or null when the pool has reached its limit. */
  take(length: number): Flight | null {
    const size = SIZES.findIndex((bytes) => bytes >= FLIGHT_AT + length);
    const bytes = SIZES[size];
    if (bytes === undefined) throw new RangeError(`no simulated frame is ${length} bytes long`);
    if (this.usedBytes + bytes > this.limitBytes) return null;
    this.usedBytes += bytes;
    const flight = this.free[size]?.pop() ?? new Flight(bytes);
    flight.length = length;
    return flight;
  }

  give(flight: Flight): void {
    const bytes = flight.bytes.length;
    this.usedBytes -= bytes;
    this.free[SIZES.indexOf(bytes)]?.push(flight);
  }
}
