/** Local ports of our own choice (RFC 6056), from the range that Linux uses. */
import { type HashKey, hashWords } from '../runtime/half-siphash.ts';
import type { Random } from '../runtime/random.ts';

const FIRST_PORT = 32_768;
const PORTS = 28_232;

export class EphemeralPorts {
  private readonly key: HashKey;
  private next: number;

  constructor(random: Random) {
    this.key = { low: random.i32(), high: random.i32() };
    this.next = random.below(PORTS);
  }

  /** Algorithm 3: the ports tried for a destination start at an offset that only we can compute. 0 when none is free. */
  choose(localAddress: number, remoteAddress: number, remotePort: number, isFree: (port: number) => boolean): number {
    const offset = hashWords(this.key, localAddress, remoteAddress, remotePort) >>> 0;
    for (let tried = 0; tried < PORTS; tried++) {
      const port = FIRST_PORT + ((offset + this.next) % PORTS);
      this.next = (this.next + 1) % PORTS;
      if (isFree(port)) return port;
    }
    return 0;
  }
}
