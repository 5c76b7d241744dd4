/**
 * The connection table: (remote address, remote port, local port) to a number, by open addressing with linear probing.
 * The hash is keyed, so that a peer cannot choose addresses that collide. Values are indices of TCBs (`>= 0`) or of
 * TIME-WAIT records (`timeWaitValue`); the table knows nothing of either.
 */
import { type HashKey, hashWords } from '../runtime/half-siphash.ts';
import { int32At } from '../wire/bytes.ts';

/** `find` found nothing. */
export const NOT_FOUND = -0x80000000;

const EMPTY = NOT_FOUND;
const INITIAL_SLOTS = 256;

export class ConnectionTable {
  private readonly key: HashKey;
  private slots = INITIAL_SLOTS;
  private addresses = new Int32Array(INITIAL_SLOTS);
  private ports = new Int32Array(INITIAL_SLOTS);
  private values = new Int32Array(INITIAL_SLOTS).fill(EMPTY);
  /** Entries in the table. */
  size = 0;

  constructor(key: HashKey) {
    this.key = key;
  }

  find(remoteAddress: number, remotePort: number, localPort: number): number {
    return int32At(this.values, this.locate(remoteAddress, packPorts(remotePort, localPort)));
  }

  /** Adds an entry, or gives an existing one a new value. */
  set(remoteAddress: number, remotePort: number, localPort: number, value: number): void {
    const ports = packPorts(remotePort, localPort);
    let slot = this.locate(remoteAddress, ports);
    if (int32At(this.values, slot) === EMPTY) {
      if (this.size * 2 >= this.slots) {
        this.grow();
        slot = this.locate(remoteAddress, ports);
      }
      this.size++;
    }
    this.addresses[slot] = remoteAddress;
    this.ports[slot] = ports;
    this.values[slot] = value;
  }

  delete(remoteAddress: number, remotePort: number, localPort: number): void {
    let hole = this.locate(remoteAddress, packPorts(remotePort, localPort));
    if (int32At(this.values, hole) === EMPTY) return;
    this.size--;
    // Close the hole: an entry behind it that probed past it moves into it.
    let slot = hole;
    for (;;) {
      slot = (slot + 1) & (this.slots - 1);
      if (int32At(this.values, slot) === EMPTY) break;
      const home = this.home(int32At(this.addresses, slot), int32At(this.ports, slot));
      if (((slot - home) & (this.slots - 1)) < ((slot - hole) & (this.slots - 1))) continue;
      this.addresses[hole] = int32At(this.addresses, slot);
      this.ports[hole] = int32At(this.ports, slot);
      this.values[hole] = int32At(this.values, slot);
      hole = slot;
    }
    this.values[hole] = EMPTY;
  }

  private home(address: number, ports: number): number {
    return hashWords(this.key, address, ports, 0) & (this.slots - 1);
  }

  private locate(address: number, ports: number): number {
    let slot = this.home(address, ports);
    while (int32At(this.values, slot) !== EMPTY) {
      if (int32At(this.addresses, slot) === address && int32At(this.ports, slot) === ports) return slot;
      slot = (slot + 1) & (this.slots - 1);
    }
    return slot;
  }

  private grow(): void {
    const { addresses, ports, values, slots } = this;
    this.slots = slots * 2;
    this.addresses = new Int32Array(this.slots);
    this.ports = new Int32Array(this.slots);
    this.values = new Int32Array(this.slots).fill(EMPTY);
    for (let old = 0; old < slots; old++) {
      if (int32At(values, old) === EMPTY) continue;
      const slot = this.locate(int32At(addresses, old), int32At(ports, old));
      this.addresses[slot] = int32At(addresses, old);
      this.ports[slot] = int32At(ports, old);
      this.values[slot] = int32At(values, old);
    }
  }
}

function packPorts(remotePort: number, localPort: number): number {
  return (remotePort << 16) | localPort;
}

/** The table value that stands for a TIME-WAIT record; its own inverse. */
export function timeWaitValue(record: number): number {
  return -1 - record;
}
