/** A client over the library OS's TCP, with its addresses used in turn. */

import { tcp4Filter } from '../../downloadfilter/protocols.ts';
import { NEIGHBOUR_STALE } from '../../libos/neighbour.ts';
import type { Path } from '../../libos/path.ts';
import { type ConnectionError, EVENT_CLOSED, type Tcb } from '../../tcp/tcb.ts';
import type { Tcp } from '../../tcp/tcp.ts';
import { type Cidr, maskOf } from '../../wire/address.ts';
import type { Bytes } from '../../wire/bytes.ts';
import { TcpTransport } from '../http/tcp-transport.ts';
import type { TransportUser } from '../http/transport.ts';
import type { ClientTransport } from './transport.ts';

/** Addresses that are tried before a connection counts as not to be had. */
const MAX_TRIES = 4;

export class TcpClient extends TcpTransport implements ClientTransport<Tcb> {
  private readonly client: Tcp;
  private readonly remoteAddress: number;
  private readonly remotePort: number;
  /** First addresses of the ranges that connections come from, and how many each holds. */
  private readonly firsts: Int32Array;
  private readonly counts: Int32Array;
  /** Addresses that connections come from. */
  readonly sourceCount: number;
  /** Held, so that the next hop is not forgotten between connections. */
  private path: Path | null = null;
  private range = 0;
  private next = 0;

  /** Connections come from the addresses of `sources` in turn, from the stack's own without any. */
  constructor(tcp: Tcp, remoteAddress: number, remotePort: number, sources: readonly Cidr[] = tcp.local.prefixes) {
    super(tcp);
    this.client = tcp;
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
    const ranges = sources.length === 0 ? [{ first: tcp.local.primary, count: 1 }] : sources.map(hostsOf);
    this.firsts = Int32Array.from(ranges, ({ first }) => first);
    this.counts = Int32Array.from(ranges, ({ count }) => count);
    this.sourceCount = this.counts.reduce((sum, count) => sum + count, 0);
  }

  /**
   * Looks for the next hop, which takes the network a moment; true once it is known. SYNs that left before that would wait
   * in a short queue of frames, and be lost when there are many.
   */
  findServer(): boolean {
    if (this.path === null) {
      this.client.clock.look();
      this.path = this.client.paths.acquire(this.remoteAddress) ?? null;
    }
    return this.path !== null && this.path.neighbour.state >= NEIGHBOUR_STALE;
  }

  connect(user: TransportUser<Tcb>): Tcb | null {
    const tries = Math.min(MAX_TRIES, this.sourceCount);
    for (let tried = 0; tried < tries; tried++) {
      const connection = this.client.connect(this.remoteAddress, this.remotePort, user, this.takeSource());
      if (connection !== null) return connection;
    }
    return null;
  }

  bytesOf(connection: Tcb): Bytes {
    return connection.tcp.bytes;
  }

  errorOf(connection: Tcb): ConnectionError {
    return connection.error;
  }

  /** The next address in turn. */
  private takeSource(): number {
    const address = ((this.firsts[this.range] as number) + this.next) | 0;
    if (++this.next === this.counts[this.range]) {
      this.next = 0;
      if (++this.range === this.counts.length) this.range = 0;
    }
    return address;
  }
}

/** The addresses of a prefix that hosts have: not the network's own, nor its broadcast address (RFC 3021: both, of a /31). */
function hostsOf({ address, prefixLength }: Cidr): { first: number; count: number } {
  const first = address & maskOf(prefixLength);
  const count = 2 ** (32 - prefixLength);
  return prefixLength >= 31 ? { first, count } : { first: first + 1, count: count - 2 };
}

/**
 * The same with a filter for each connection, as if each were a tenant's own: what one filter for all of them saves.
 * A more specific filter goes before the stack's.
 */
export class FilteringTcpClient extends TcpClient {
  /** Filters claimed so far. */
  filtersClaimed = 0;
  private readonly filters = new Map<Tcb, number>();

  override connect(user: TransportUser<Tcb>): Tcb | null {
    const connection = super.connect(user);
    if (connection === null) return null;
    const { localAddress, localPort, remoteAddress, remotePort, tcp } = connection;
    const parameters = { target: localAddress, targetPort: localPort, source: remoteAddress, sourcePort: remotePort };
    this.filters.set(connection, tcp.stack.environment.claim(tcp4Filter(parameters)));
    this.filtersClaimed++;
    return connection;
  }

  override takeEvents(connection: Tcb): number {
    const events = super.takeEvents(connection);
    const filter = (events & EVENT_CLOSED) === 0 ? undefined : this.filters.get(connection);
    if (filter !== undefined) {
      this.filters.delete(connection);
      connection.tcp.stack.environment.release(filter);
    }
    return events;
  }
}
