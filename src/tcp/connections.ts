/**
 * The connection table: (remote address and port, local address and port) to a number, by open addressing with linear probing.
 * The hash is keyed, so that a peer cannot choose addresses that collide. Values are indices of TCBs (`>= 0`) or of
 * TIME-WAIT records (`timeWaitValue`); the table knows nothing of either.
 */
import { type HashKey, hashWords } from '../runtime/half-siphash.ts';
import { int32At } from '../wire/bytes.ts';

/** `find` found nothing. */
export const NOT_FOUND = -0x80000000;

const EMPTY = NOT_FOUND;
const INITIAL_SLOTS = 256;

/** Places of the shortcut, a power of two. */
const RECENT_PLACES = 1024;

export class ConnectionTable {
  private readonly key: HashKey;
  private slots = INITIAL_SLOTS;
  private remotes = new Int32Array(INITIAL_SLOTS);
  private locals = new Int32Array(INITIAL_SLOTS);
  private ports = new Int32Array(INITIAL_SLOTS);
  private values = new Int32Array(INITIAL_SLOTS).fill(EMPTY);
  /**
   * Where a connection of these ports was found last: to look there first costs a tenth of the keyed hash. A peer that aims at a
   * place has its segments cost the hash, and no more.
   */
  private readonly recent = new Int32Array(RECENT_PLACES);
  /** Entries in the table. */
  size = 0;

  constructor(key: HashKey) {
    this.key = key;
  }

  find(remoteAddress: number, remotePort: number, localAddress: number, localPort: number): number {
    const ports = packPorts(remotePort, localPort);
    const place = (remotePort ^ localPort) & (RECENT_PLACES - 1);
    const recent = int32At(this.recent, place);
    if (this.isAt(recent, remoteAddress, localAddress, ports)) return int32At(this.values, recent);
    const slot = this.locate(remoteAddress, localAddress, ports);
    this.recent[place] = slot;
    return int32At(this.values, slot);
  }

  /** Adds an entry, or gives an existing one a new value. */
  set(remoteAddress: number, remotePort: number, localAddress: number, localPort: number, value: number): void {
    const ports = packPorts(remotePort, localPort);
    let slot = this.locate(remoteAddress, localAddress, ports);
    if (int32At(this.values, slot) === EMPTY) {
      if (this.size * 2 >= this.slots) {
        this.grow();
        slot = this.locate(remoteAddress, localAddress, ports);
      }
      this.size++;
    }
    this.remotes[slot] = remoteAddress;
    this.locals[slot] = localAddress;
    this.ports[slot] = ports;
    this.values[slot] = value;
  }

  /** Removes an entry, unless it stands for something else by now than `value`. */
  delete(remoteAddress: number, remotePort: number, localAddress: number, localPort: number, value: number): void {
    let hole = this.locate(remoteAddress, localAddress, packPorts(remotePort, localPort));
    if (int32At(this.values, hole) !== value) return;
    this.size--;
    // Close the hole: an entry behind it that probed past it moves into it.
    let slot = hole;
    for (;;) {
      slot = (slot + 1) & (this.slots - 1);
      if (int32At(this.values, slot) === EMPTY) break;
      const home = this.home(int32At(this.remotes, slot), int32At(this.locals, slot), int32At(this.ports, slot));
      if (((slot - home) & (this.slots - 1)) < ((slot - hole) & (this.slots - 1))) continue;
      this.remotes[hole] = int32At(this.remotes, slot);
      this.locals[hole] = int32At(this.locals, slot);
      this.ports[hole] = int32At(this.ports, slot);
      this.values[hole] = int32At(this.values, slot);
      hole = slot;
    }
    this.values[hole] = EMPTY;
  }

  private home(remote: number, local: number, ports: number): number {
    return hashWords(this.key, remote, ports, local) & (this.slots - 1);
  }

  /** Whether a slot holds this connection; the slot need not be one that the hash leads to. */
  private isAt(slot: number, remote: number, local: number, ports: number): boolean {
    if (int32At(this.ports, slot) !== ports || int32At(this.remotes, slot) !== remote) return false;
    return int32At(this.locals, slot) === local && int32At(this.values, slot) !== EMPTY;
  }

  private locate(remote: number, local: number, ports: number): number {
    let slot = this.home(remote, local, ports);
    while (int32At(this.values, slot) !== EMPTY && !this.isAt(slot, remote, local, ports)) {
      slot = (slot + 1) & (this.slots - 1);
    }
    return slot;
  }

  private grow(): void {
    const { remotes, locals, ports, values, slots } = this;
    this.slots = slots * 2;
    this.remotes = new Int32Array(this.slots);
    this.locals = new Int32Array(this.slots);
    this.ports = new Int32Array(this.slots);
    this.values = new Int32Array(this.slots).fill(EMPTY);
    for (let old = 0; old < slots; old++) {
      if (int32At(values, old) === EMPTY) continue;
      const slot = this.locate(int32At(remotes, old), int32At(locals, old), int32At(ports, old));
      this.remotes[slot] = int32At(remotes, old);
      this.locals[slot] = int32At(locals, old);
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
