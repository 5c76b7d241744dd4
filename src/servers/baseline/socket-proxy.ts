/**
 * The baseline of the forwarder: a proxy over the kernel's sockets, as a careful program uses node:net. It ends the client's
 * connection and opens one of its own to a backend, and copies both ways: each direction with back pressure and its own end.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Log } from '../../runtime/log.ts';
import { formatIpv4 } from '../../wire/address.ts';
import { type Balance, type Endpoint, formatEndpoint, type Service } from '../forwarder/settings.ts';
import { resetSocket } from './reset-socket.ts';

export interface SocketProxyOptions {
  readonly service: Service;
  readonly balance: Balance;
  /** Connections at a time; beyond that they are refused. */
  readonly maxConnections: number;
  readonly log: Log;
}

/** Both sockets of a connection; a direction stops reading when it holds four of Node's reads. */
const STREAMS = { allowHalfOpen: true, noDelay: true, highWaterMark: 256 * 1024 };

interface Backend extends Endpoint {
  /** Connections that are open. */
  live: number;
}

interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
  readonly backend: Backend;
}

export class SocketProxy {
  readonly counters = { connections: 0, failedConnects: 0, resets: 0, bytesToBackends: 0, bytesToClients: 0 };
  private readonly options: SocketProxyOptions;
  private readonly server: Server;
  private readonly backends: readonly Backend[];
  private readonly pairs = new Set<Pair>();
  private turn = 0;

  constructor(options: SocketProxyOptions) {
    this.options = options;
    this.backends = options.service.backends.map(({ address, port }) => ({ address, port, live: 0 }));
    this.server = createServer(STREAMS, (client) => this.take(client));
    this.server.maxConnections = options.maxConnections;
  }

  /** Resolves when connections are taken; rejects when they cannot be. */
  listen(): Promise<void> {
    const { address, port } = this.options.service.listen;
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ host: formatIpv4(address), port }, resolve);
    });
  }

  /** Takes no more connections and resets those that are open: the kernel would otherwise go on without us. */
  close(): void {
    this.server.close();
    for (const { client, upstream } of this.pairs) {
      resetSocket(client);
      resetSocket(upstream);
    }
  }

  private take(client: Socket): void {
    const backend = this.choose();
    const target = { host: formatIpv4(backend.address), port: backend.port, autoSelectFamily: false };
    const upstream = connect({ ...target, ...STREAMS });
    const pair: Pair = { client, upstream, backend };
    this.pairs.add(pair);
    backend.live++;
    this.counters.connections++;
    // Each direction ends when its reader has, and waits for its writer.
    client.pipe(upstream);
    upstream.pipe(client);
    upstream.on('error', (error: NodeJS.ErrnoException) => this.failed(pair, error));
    client.on('error', () => this.counters.resets++);
    client.on('close', (failed: boolean) => this.closed(pair, failed, upstream));
    upstream.on('close', (failed: boolean) => this.closed(pair, failed, client));
  }

  private failed(pair: Pair, error: NodeJS.ErrnoException): void {
    if (error.syscall !== 'connect') {
      this.counters.resets++;
      return;
    }
    this.counters.failedConnects++;
    const backend = formatEndpoint(pair.backend);
    this.options.log.warn({ backend, error: error.code }, 'no connection to a backend');
  }

  /** A socket that has failed takes the other one with it; one that came to its good end leaves it its own. */
  private closed(pair: Pair, failed: boolean, other: Socket): void {
    if (failed) resetSocket(other);
    if (!pair.client.destroyed || !pair.upstream.destroyed || !this.pairs.delete(pair)) return;
    pair.backend.live--;
    this.counters.bytesToBackends += pair.upstream.bytesWritten;
    this.counters.bytesToClients += pair.client.bytesWritten;
  }

  private choose(): Backend {
    const { backends } = this;
    const first = this.turn++ % backends.length;
    let best = backends[first] as Backend;
    if (this.options.balance === 'round-robin') return best;
    for (let step = 1; step < backends.length; step++) {
      const next = backends[(first + step) % backends.length] as Backend;
      if (next.live < best.live) best = next;
    }
    return best;
  }
}
