/**
 * Services and their backends: which backend a new connection goes to.
 *
 * A backend that several connections in a row could not be opened to (refused, unreachable, or the client had to ask again)
 * rests: new connections go to the others. When its rest is over one connection tries it, and it rests on unless that one is
 * answered. Where all rest, none does; thus a service of one backend is as it would be without a forwarder.
 */
import type { Log } from '../../runtime/log.ts';
import type { Ipv4Address } from '../../wire/address.ts';
import { BACKENDS_RESTED, BACKENDS_RETURNED, type ForwarderCounters, OPENS_FAILED } from './counters.ts';
import type { LeasedPorts } from './leased-ports.ts';
import { type Balance, type Endpoint, formatEndpoint, type Service } from './settings.ts';
import type { Side } from './side.ts';

export class Backend {
  readonly address: Ipv4Address;
  readonly port: number;
  /** Both, for logs. */
  readonly name: string;
  /** The device that leads to it. */
  readonly side: Side;
  /** Where connections to it come from; null where the client's own address and port are kept. */
  readonly leases: LeasedPorts | null;
  /** Flows that go there and have not ended. */
  living = 0;
  /** Flows in a row that could not be opened. */
  failures = 0;
  /** Until when it rests; 0 when it does not. */
  restsUntilUs = 0;

  constructor(endpoint: Endpoint, side: Side, leases: LeasedPorts | null) {
    this.address = endpoint.address;
    this.port = endpoint.port;
    this.name = formatEndpoint(endpoint);
    this.side = side;
    this.leases = leases;
  }
}

export interface RestSettings {
  /** Connections in a row that cannot be opened before a backend rests; 0: it never does. */
  readonly restAfter: number;
  readonly restUs: number;
}

/** A service as the forwarder runs it. */
export class ServiceGroup {
  readonly listen: Endpoint;
  /** The same, for logs. */
  readonly name: string;
  readonly backends: readonly Backend[];
  private readonly balance: Balance;
  private readonly rest: RestSettings;
  private readonly counters: ForwarderCounters;
  private readonly log: Log;
  private next = 0;

  constructor(
    service: Service,
    backends: readonly Backend[],
    balance: Balance,
    rest: RestSettings,
    counters: ForwarderCounters,
    log: Log,
  ) {
    this.listen = service.listen;
    this.name = formatEndpoint(service.listen);
    this.backends = backends;
    this.balance = balance;
    this.rest = rest;
    this.counters = counters;
    this.log = log;
  }

  /** The number of the backend to be tried first; those after it follow. */
  choose(nowUs: number): number {
    let chosen = this.findNext(nowUs);
    if (chosen < 0) chosen = this.findNext(Number.POSITIVE_INFINITY);
    const backend = this.backends[chosen] as Backend;
    if (backend.restsUntilUs !== 0) backend.restsUntilUs = nowUs + this.rest.restUs;
    this.next = (chosen + 1) % this.backends.length;
    return chosen;
  }

  /** A connection to a backend could not be opened. */
  failed(backend: Backend, nowUs: number): void {
    this.counters.increment(OPENS_FAILED);
    backend.failures++;
    const { restAfter, restUs } = this.rest;
    if (restAfter === 0 || backend.failures < restAfter || backend.restsUntilUs !== 0) return;
    if (this.backends.length === 1) return;
    backend.restsUntilUs = nowUs + restUs;
    this.counters.increment(BACKENDS_RESTED);
    this.log.warn({ ...this.describe(backend), failures: backend.failures, restMs: restUs / 1000 }, 'backend rests');
  }

  /** A backend has answered. */
  answered(backend: Backend): void {
    backend.failures = 0;
    if (backend.restsUntilUs === 0) return;
    backend.restsUntilUs = 0;
    this.counters.increment(BACKENDS_RETURNED);
    this.log.warn(this.describe(backend), 'backend is back');
  }

  /** Whose turn it is among those that rest no longer than until then; -1 when there is none. */
  private findNext(untilUs: number): number {
    const { backends, next } = this;
    let best = -1;
    for (let tried = 0; tried < backends.length; tried++) {
      const index = (next + tried) % backends.length;
      const backend = backends[index] as Backend;
      if (backend.restsUntilUs > untilUs) continue;
      if (this.balance === 'round-robin') return index;
      if (best < 0 || backend.living < (backends[best] as Backend).living) best = index;
    }
    return best;
  }

  private describe(backend: Backend): object {
    return { listen: this.name, backend: backend.name };
  }
}

/** An address and a port as one number. */
export function packEndpoint(address: Ipv4Address, port: number): number {
  return (address >>> 0) * 0x10000 + port;
}
