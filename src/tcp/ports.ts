/** Local ports of our own choice (RFC 6056), from the range that Linux uses. */
import { type HashKey, hashWords } from '../runtime/half-siphash.ts';
import type { Random } from '../runtime/random.ts';

export const FIRST_PORT = 32_768;
/** How many there are. */
export const EPHEMERAL_PORTS = 28_232;

/** Algorithm 3: the ports tried for a destination start at an offset that only we can compute. */
export class EphemeralPorts {
  private readonly key: HashKey;
  private counter: number;
  /** The destination aimed at, and its offset: a client opens one connection after another to the same. */
  private localAddress = 0;
  private remoteAddress = 0;
  private remotePort = 0;
  private offset: number;

  constructor(random: Random) {
    this.key = { low: random.i32(), high: random.i32() };
    this.counter = random.below(EPHEMERAL_PORTS);
    this.offset = this.offsetOf(0, 0, 0);
  }

  /** Ports are wanted for connections from one address to one destination. */
  aim(localAddress: number, remoteAddress: number, remotePort: number): void {
    const isSame = remoteAddress === this.remoteAddress && remotePort === this.remotePort;
    if (isSame && localAddress === this.localAddress) return;
    this.localAddress = localAddress;
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
    this.offset = this.offsetOf(localAddress, remoteAddress, remotePort);
  }

  /** The next one to try: each of `EPHEMERAL_PORTS` once before the first comes again. */
  next(): number {
    const place = this.offset + this.counter;
    if (++this.counter === EPHEMERAL_PORTS) this.counter = 0;
    return FIRST_PORT + (place < EPHEMERAL_PORTS ? place : place - EPHEMERAL_PORTS);
  }

  private offsetOf(localAddress: number, remoteAddress: number, remotePort: number): number {
    return (hashWords(this.key, localAddress, remoteAddress, remotePort) >>> 0) % EPHEMERAL_PORTS;
  }
}
