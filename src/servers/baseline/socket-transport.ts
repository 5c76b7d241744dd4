/**
 * The baseline: the HTTP layer's byte stream over the kernel's sockets, through node:net as a careful program uses it. What is
 * sent in one turn leaves with one writev(2), straight from where it lies in the arena; each event of a socket is a turn of
 * its own.
 *
 * Memory: Node reads into buffers of its own. The HTTP layer reads in the arena, so what it looks at is copied to one window
 * there, which all connections share. Regions that are sent are lent until the kernel has taken them.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { TimerWheel } from '../../runtime/timer-wheel.ts';
import type { TurnClock } from '../../runtime/turn-clock.ts';
import { EVENT_CLOSED, EVENT_PEER_CLOSED, EVENT_READABLE, EVENT_WRITABLE, type RegionOwner } from '../../tcp/tcb.ts';
import type { Bytes } from '../../wire/bytes.ts';
import type { Transport, TransportListener, TransportUser } from '../http/transport.ts';

/** The longest read that Node makes. */
const WINDOW_BYTES = 64 * 1024;
/** Given to Node at a time: whoever takes something of a long body is seen to do so. */
const PIECE_BYTES = 1024 * 1024;
/** As the library OS's TCP has them (tcp/settings.ts). */
const LOW_WATER_BYTES = 128 * 1024;
const LINGER_US = 60_000_000;

const NOTHING = Buffer.alloc(0);

interface Piece {
  readonly at: number;
  readonly bytes: number;
  /** Of a region's last piece. */
  readonly owner: RegionOwner | null;
  readonly token: number;
}

export class SocketConnection {
  readonly socket: Socket;
  /** Its place among the transport's connections. */
  readonly index: number;
  user: TransportUser<SocketConnection> | null = null;
  events = 0;
  /** What was read last, and how much of it has been consumed. */
  unread: Buffer = NOTHING;
  consumedBytes = 0;
  /** Pieces that Node has not been given yet. */
  readonly waiting: Piece[] = [];
  /** Bytes that Node has and the kernel has not. */
  writingBytes = 0;
  queuedBytes = 0;
  writableWanted = false;
  isCorked = false;
  isClosing = false;
  isDead = false;
  /** Runs from our close until theirs. */
  linger = 0;

  constructor(socket: Socket, index: number) {
    this.socket = socket;
    this.index = index;
  }
}

export interface SocketTransportOptions {
  /** The address to listen at. */
  readonly host: string;
  readonly arena: { readonly bytes: Bytes; allocate(bytes: number): number };
  readonly clock: TurnClock;
  readonly timers: TimerWheel;
  /** Called when an event has been handled. */
  readonly afterEvent: () => void;
  readonly onListening: () => void;
  /** The port cannot be listened at. */
  readonly onError: (error: Error) => void;
}

export class SocketTransport implements Transport<SocketConnection> {
  readonly sums = false;
  readonly counters = { connections: 0, reads: 0, writes: 0, readBytesCopied: 0 };
  private readonly options: SocketTransportOptions;
  private readonly bytes: Bytes;
  private readonly windowAt: number;
  /** The buffer whose bytes from `windowFrom` on are in the window. */
  private windowOf: Buffer = NOTHING;
  private windowFrom = 0;
  private readonly lingerKind: number;
  private readonly connections: (SocketConnection | null)[] = [];
  private readonly free: number[] = [];
  private corked: SocketConnection[] = [];

  constructor(options: SocketTransportOptions) {
    this.options = options;
    this.bytes = options.arena.bytes;
    this.windowAt = options.arena.allocate(WINDOW_BYTES);
    this.lingerKind = options.timers.addKind((index) => this.connections[index]?.socket.destroy());
  }

  listen(port: number, accept: (connection: SocketConnection) => TransportUser<SocketConnection>): TransportListener {
    const { host, onListening, onError } = this.options;
    const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.accepted(socket, accept),
    );
    server.on('error', onError);
    server.listen({ port, host }, onListening);
    return { close: () => server.close() };
  }

  takeEvents(connection: SocketConnection): number {
    const { events } = connection;
    connection.events = 0;
    return events;
  }

  readableBytes(connection: SocketConnection): number {
    return connection.unread.length - connection.consumedBytes;
  }

  readableAt(connection: SocketConnection): number {
    this.bringIn(connection);
    return this.windowAt + connection.consumedBytes - this.windowFrom;
  }

  readableLength(connection: SocketConnection): number {
    this.bringIn(connection);
    return Math.min(connection.unread.length, this.windowFrom + WINDOW_BYTES) - connection.consumedBytes;
  }

  consume(connection: SocketConnection, bytes: number): void {
    connection.consumedBytes += bytes;
    if (connection.consumedBytes < connection.unread.length) return;
    this.forget(connection);
    if (connection.socket.isPaused()) connection.socket.resume();
  }

  /** Queues the region until the turn is over: `flush`. */
  send(connection: SocketConnection, at: number, bytes: number, owner: RegionOwner | null, token: number): void {
    if (connection.isDead) {
      owner?.release(token);
      return;
    }
    connection.queuedBytes += bytes;
    if (connection.queuedBytes > LOW_WATER_BYTES) connection.writableWanted = true;
    const end = at + bytes;
    let from = at;
    for (; end - from > PIECE_BYTES; from += PIECE_BYTES) {
      connection.waiting.push({ at: from, bytes: PIECE_BYTES, owner: null, token: 0 });
    }
    connection.waiting.push({ at: from, bytes: end - from, owner, token });
    this.pump(connection);
  }

  queuedBytes(connection: SocketConnection): number {
    return connection.queuedBytes;
  }

  close(connection: SocketConnection): void {
    if (connection.isClosing || connection.isDead) return;
    connection.isClosing = true;
    this.forget(connection);
    connection.socket.resume();
    this.end(connection);
  }

  abort(connection: SocketConnection): void {
    if (connection.isDead) return;
    this.bury(connection);
    connection.socket.resetAndDestroy();
  }

  /** A turn is over: what was sent in it leaves. */
  flush(): void {
    const { corked } = this;
    if (corked.length === 0) return;
    this.corked = [];
    for (const connection of corked) {
      connection.isCorked = false;
      connection.socket.uncork();
    }
  }

  private accepted(socket: Socket, accept: (connection: SocketConnection) => TransportUser<SocketConnection>): void {
    const index = this.free.pop() ?? this.connections.length;
    const connection = new SocketConnection(socket, index);
    this.connections[index] = connection;
    this.counters.connections++;
    this.options.clock.look();
    connection.user = accept(connection);
    socket.on('data', (chunk: Buffer) => this.arrived(connection, chunk));
    socket.on('end', () => this.raise(connection, EVENT_PEER_CLOSED));
    // What went wrong is of no interest: the end of the connection follows.
    socket.on('error', () => {});
    socket.on('close', () => this.closed(connection));
    this.options.afterEvent();
  }

  private arrived(connection: SocketConnection, chunk: Buffer): void {
    this.counters.reads++;
    if (connection.isClosing || connection.isDead) return;
    const rest = connection.unread.subarray(connection.consumedBytes);
    connection.unread = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    connection.consumedBytes = 0;
    this.raise(connection, EVENT_READABLE);
    // What is left waits for an answer under way; the client has to wait, too.
    if (connection.unread.length > 0) connection.socket.pause();
  }

  private closed(connection: SocketConnection): void {
    if (!connection.isDead) this.bury(connection);
    this.connections[connection.index] = null;
    this.free.push(connection.index);
    if (connection.linger !== 0) this.options.timers.destroy(connection.linger);
    this.raise(connection, EVENT_CLOSED);
  }

  /** One event, handled to its end. */
  private raise(connection: SocketConnection, event: number): void {
    connection.events |= event;
    this.options.clock.look();
    connection.user?.ready(connection);
    this.flush();
    this.options.afterEvent();
  }

  private bringIn(connection: SocketConnection): void {
    const { unread, consumedBytes } = connection;
    const isThere = this.windowOf === unread && consumedBytes >= this.windowFrom;
    if (isThere && consumedBytes < Math.min(unread.length, this.windowFrom + WINDOW_BYTES)) return;
    this.windowOf = unread;
    this.windowFrom = consumedBytes;
    this.counters.readBytesCopied += unread.copy(
      this.bytes,
      this.windowAt,
      consumedBytes,
      consumedBytes + WINDOW_BYTES,
    );
  }

  private forget(connection: SocketConnection): void {
    connection.unread = NOTHING;
    connection.consumedBytes = 0;
  }

  /** Gives Node as much as it may have at a time. */
  private pump(connection: SocketConnection): void {
    const { socket, waiting } = connection;
    while (waiting.length > 0 && connection.writingBytes < PIECE_BYTES) {
      const { at, bytes, owner, token } = waiting.shift() as Piece;
      if (!connection.isCorked) {
        connection.isCorked = true;
        socket.cork();
        this.corked.push(connection);
      }
      connection.writingBytes += bytes;
      this.counters.writes++;
      socket.write(Buffer.from(this.bytes.buffer, this.bytes.byteOffset + at, bytes), () => {
        owner?.release(token);
        this.written(connection, bytes);
      });
    }
  }

  /** The kernel has taken them, or never will. */
  private written(connection: SocketConnection, bytes: number): void {
    connection.writingBytes -= bytes;
    if (connection.isDead) return;
    connection.queuedBytes -= bytes;
    this.pump(connection);
    if (connection.isClosing) this.end(connection);
    if (connection.writableWanted && connection.queuedBytes <= LOW_WATER_BYTES) {
      connection.writableWanted = false;
      this.raise(connection, EVENT_WRITABLE);
    } else {
      this.flush();
    }
  }

  /** Our half ends behind what Node has been given, once that is all; theirs has to end in time from when it is taken. */
  private end(connection: SocketConnection): void {
    if (connection.waiting.length > 0) return;
    if (!connection.socket.writableEnded) connection.socket.end();
    if (connection.writingBytes > 0 || connection.linger !== 0) return;
    const { clock, timers } = this.options;
    clock.look();
    connection.linger = timers.create(this.lingerKind, connection.index);
    timers.scheduleAfter(connection.linger, LINGER_US);
  }

  private bury(connection: SocketConnection): void {
    connection.isDead = true;
    connection.queuedBytes = 0;
    this.forget(connection);
    for (const { owner, token } of connection.waiting.splice(0)) owner?.release(token);
  }
}
