/**
 * Services and their backends: which backend a new connection goes to, and from which port.
 *
 * A leased port is the client's own when that is free, for then whatever the ends remember of earlier connections between
 * the same ports (RFC 6191, RFC 1122 4.2.2.13) means the same as without a forwarder between them.
 */
import type { Ipv4Address } from '../../wire/address.ts';
import { type FlowIndex, NOT_FOUND, packPorts } from './flow-index.ts';
import { type FlowTable, hasEnded } from './flow-table.ts';
import { type Balance, type Endpoint, FIRST_LEASED_PORT, LEASED_PORTS, type Service } from './settings.ts';
import type { Side } from './side.ts';

/** Ports tried before a backend counts as having none left. */
const MAX_PORTS_TRIED = 1024;

export class Backend {
  readonly address: Ipv4Address;
  readonly port: number;
  /** The device that leads to it. */
  readonly side: Side;
  /** Flows that go there and have not ended. */
  living = 0;
  /** Where the search for a port goes on. */
  nextPort = 0;

  constructor(endpoint: Endpoint, side: Side) {
    this.address = endpoint.address;
    this.port = endpoint.port;
    this.side = side;
  }
}

/** A service as the forwarder runs it. */
export class ServiceGroup {
  readonly listen: Endpoint;
  readonly backends: readonly Backend[];
  private readonly balance: Balance;
  private next = 0;

  constructor(service: Service, backends: readonly Backend[], balance: Balance) {
    this.listen = service.listen;
    this.backends = backends;
    this.balance = balance;
  }

  /** The number of the backend to be tried first; those after it follow. */
  choose(): number {
    const { backends } = this;
    const first = this.next;
    this.next = (first + 1) % backends.length;
    if (this.balance === 'round-robin') return first;
    let best = first;
    for (let tried = 1; tried < backends.length; tried++) {
      const index = (first + tried) % backends.length;
      if ((backends[index] as Backend).living < (backends[best] as Backend).living) best = index;
    }
    return best;
  }
}

/** Finds ports towards backends that no flow has. */
export class PortLeases {
  private readonly flows: FlowTable;
  private readonly index: FlowIndex;
  /** Ports that are listened at, by `packListen`; none of them is leased. */
  private readonly listening: ReadonlySet<number>;

  constructor(flows: FlowTable, index: FlowIndex, services: readonly ServiceGroup[]) {
    this.flows = flows;
    this.index = index;
    this.listening = new Set(services.map(({ listen }) => packListen(listen.address, listen.port)));
  }

  /**
   * A port for a connection from `local` to a backend, `preferred` if it can be; 0 when none is free. A port that is not the
   * preferred one may still be that of a flow that has ended: whoever takes it frees that flow first.
   */
  lease(backend: Backend, local: Ipv4Address, preferred: number): number {
    if (preferred >= FIRST_LEASED_PORT && this.find(backend, local, preferred) === NOT_FOUND) return preferred;
    let lingering = 0;
    for (let tried = 0; tried < MAX_PORTS_TRIED; tried++) {
      const port = FIRST_LEASED_PORT + backend.nextPort;
      backend.nextPort = (backend.nextPort + 1) % LEASED_PORTS;
      const half = this.find(backend, local, port);
      if (half === NOT_FOUND) return port;
      if (lingering === 0 && half >= 0 && hasEnded(this.flows.state[half >>> 1] as number)) lingering = port;
    }
    return lingering;
  }

  /** The half that has this port to a backend, `NOT_FOUND`, or `LISTENED` when the port is no port to lease. */
  private find(backend: Backend, local: Ipv4Address, port: number): number {
    if (this.listening.has(packListen(local, port))) return LISTENED;
    return this.index.find(backend.address, packPorts(backend.port, port), local);
  }
}

const LISTENED = -2;

/** An address and a port as one number. */
export function packListen(address: Ipv4Address, port: number): number {
  return (address >>> 0) * 0x10000 + port;
}
