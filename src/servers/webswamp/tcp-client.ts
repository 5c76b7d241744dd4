/** A client over the library OS's TCP, with its addresses used in turn. */

import type { ConnectionError, Tcb } from '../../tcp/tcb.ts';
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
  }

  /** Addresses that connections come from. */
  get sourceCount(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
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
      this.range = (this.range + 1) % this.counts.length;
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
