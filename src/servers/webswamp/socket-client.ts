/**
 * The baseline: the same engine over the kernel's sockets, through node:net as a careful program uses it (one buffer for all
 * reads, no delay, no streams read). Each event of a socket is a turn of its own.
 *
 * Memory: what is read lies in one buffer that the next read writes over, whichever socket it is for; the engine has counted it
 * by then.
 */
import { connect, type Socket } from 'node:net';
import type { TurnClock } from '../../runtime/turn-clock.ts';
import {
  type ConnectionError,
  EVENT_CLOSED,
  EVENT_CONNECTED,
  EVENT_PEER_CLOSED,
  EVENT_READABLE,
  type RegionOwner,
} from '../../tcp/tcb.ts';
import type { Bytes } from '../../wire/bytes.ts';
import type { TransportUser } from '../http/transport.ts';
import type { ClientTransport, Shortage } from './transport.ts';

const READ_BYTES = 64 * 1024;

export class SocketConnection {
  readonly socket: Socket;
  readonly user: TransportUser<SocketConnection>;
  events = 0;
  error: ConnectionError | Shortage = '';
  /** What was read and not consumed. */
  unreadAt = 0;
  unreadBytes = 0;
  /** We have ended our half: what arrives is thrown away. */
  isClosing = false;
  isClosed = false;

  constructor(socket: Socket, user: TransportUser<SocketConnection>) {
    this.socket = socket;
    this.user = user;
  }
}

export interface SocketClientOptions {
  readonly host: string;
  readonly port: number;
  /** Where regions that are sent lie. */
  readonly bytes: Bytes;
  readonly clock: TurnClock;
  /** Called after each event. */
  readonly afterEvent: () => void;
}

export class SocketClient implements ClientTransport<SocketConnection> {
  readonly counters = { sockets: 0, reads: 0, writes: 0 };
  private readonly options: SocketClientOptions;
  private readonly readBuffer = Buffer.alloc(READ_BYTES);
  /** Views of the regions that are sent, by their places; the engine has two. */
  private readonly views = new Map<number, Buffer>();

  constructor(options: SocketClientOptions) {
    this.options = options;
  }

  connect(user: TransportUser<SocketConnection>): SocketConnection {
    const { host, port } = this.options;
    // The first read comes long after the constructor.
    const onread = {
      buffer: this.readBuffer,
      callback: (length: number) => {
        this.arrived(connection, length);
        return true;
      },
    };
    const socket = connect({ host, port, noDelay: true, allowHalfOpen: true, autoSelectFamily: false, onread });
    const connection = new SocketConnection(socket, user);
    this.counters.sockets++;
    // Nothing is read as a stream, but its end is only told to who reads.
    socket.resume();
    socket.on('connect', () => this.raise(connection, EVENT_CONNECTED));
    socket.on('end', () => this.raise(connection, EVENT_PEER_CLOSED));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (connection.error === '') connection.error = errorName(error.code);
    });
    socket.on('close', () => {
      connection.isClosed = true;
      this.raise(connection, EVENT_CLOSED);
    });
    return connection;
  }

  takeEvents(connection: SocketConnection): number {
    const { events } = connection;
    connection.events = 0;
    return events;
  }

  readableBytes(connection: SocketConnection): number {
    return connection.unreadBytes;
  }

  readableAt(connection: SocketConnection): number {
    return connection.unreadAt;
  }

  readableLength(connection: SocketConnection): number {
    return connection.unreadBytes;
  }

  bytesOf(): Bytes {
    return this.readBuffer;
  }

  consume(connection: SocketConnection, bytes: number): void {
    connection.unreadAt += bytes;
    connection.unreadBytes -= bytes;
  }

  /** The region must not change as long as the client lives. */
  send(connection: SocketConnection, at: number, bytes: number, owner: RegionOwner | null, token: number): void {
    this.counters.writes++;
    connection.socket.write(this.viewOf(at, bytes));
    if (owner !== null) owner.release(token);
  }

  close(connection: SocketConnection): void {
    if (connection.isClosing || connection.isClosed) return;
    connection.isClosing = true;
    connection.unreadBytes = 0;
    connection.socket.end();
  }

  abort(connection: SocketConnection): void {
    if (connection.isClosed) return;
    connection.isClosing = true;
    connection.unreadBytes = 0;
    if (connection.error === '') connection.error = 'ECONNABORTED';
    if (connection.socket.connecting) connection.socket.destroy();
    else connection.socket.resetAndDestroy();
  }

  errorOf(connection: SocketConnection): ConnectionError | Shortage {
    return connection.error;
  }

  private arrived(connection: SocketConnection, length: number): void {
    this.counters.reads++;
    if (connection.isClosing) return;
    connection.unreadAt = 0;
    connection.unreadBytes = length;
    this.raise(connection, EVENT_READABLE);
    connection.unreadBytes = 0;
  }

  private raise(connection: SocketConnection, event: number): void {
    this.options.clock.look();
    connection.events |= event;
    connection.user.ready(connection);
    this.options.afterEvent();
  }

  private viewOf(at: number, bytes: number): Buffer {
    let view = this.views.get(at);
    if (view === undefined || view.length !== bytes) {
      const { buffer, byteOffset } = this.options.bytes;
      view = Buffer.from(buffer, byteOffset + at, bytes);
      this.views.set(at, view);
    }
    return view;
  }
}

function errorName(code: string | undefined): ConnectionError | Shortage {
  switch (code) {
    case 'ECONNREFUSED':
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EADDRNOTAVAIL':
    case 'EMFILE':
      return code;
    default:
      return 'ECONNRESET';
  }
}
