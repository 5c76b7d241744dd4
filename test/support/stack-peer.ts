/** The stack's end of a connection, for tests: keeps what it reads, sends what it is told, and tells what happened. */
import type { Host } from '../../src/host/host.ts';
import {
  abort,
  closeSend,
  consume,
  queuedBytes,
  readableAt,
  readableBytes,
  readableLength,
  send,
  takeEvents,
} from '../../src/tcp/calls.ts';
import {
  type ConnectionError,
  EVENT_CLOSED,
  EVENT_CONNECTED,
  EVENT_PEER_CLOSED,
  type RegionOwner,
  type Tcb,
  type TcpUser,
} from '../../src/tcp/tcb.ts';
import { parseAddress } from './wire.ts';

export class StackPeer implements TcpUser, RegionOwner {
  /** The stack may use it until the connection is closed. */
  connection: Tcb | null = null;
  receivedBytes = 0;
  /** Regions queued and not released. */
  regions = 0;
  isConnected = false;
  peerHasClosed = false;
  /** Why the connection is gone ('' after an orderly end), null while it is not. */
  error: ConnectionError | null = null;
  /** The handshake is complete, the peer's half is closed, and the connection is gone with this error. */
  readonly connected: Promise<void>;
  readonly peerClosed: Promise<void>;
  readonly closed: Promise<ConnectionError>;
  private readonly host: Host;
  private readonly pieces: Buffer[] = [];
  private paused = false;
  private tellConnected: () => void = () => {};
  private tellPeerClosed: () => void = () => {};
  private tellClosed: (error: ConnectionError) => void = () => {};

  constructor(host: Host) {
    this.host = host;
    this.connected = new Promise((resolve) => {
      this.tellConnected = resolve;
    });
    this.peerClosed = new Promise((resolve) => {
      this.tellPeerClosed = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.tellClosed = resolve;
    });
  }

  /** Opens a connection of the stack. */
  static connect(host: Host, address: string, port: number, source?: string): StackPeer {
    const peer = new StackPeer(host);
    const local = source === undefined ? host.stack.localAddress : parseAddress(source);
    peer.connection = host.tcp.connect(parseAddress(address), port, peer, local);
    host.stack.wake();
    return peer;
  }

  /** Listens, and resolves with the first connection that comes. */
  static accept(host: Host, port: number, options: { paused?: boolean } = {}): Promise<StackPeer> {
    return new Promise((resolve) => {
      host.tcp.listen(port, (connection) => {
        const peer = new StackPeer(host);
        peer.connection = connection;
        if (options.paused === true) peer.pause();
        resolve(peer);
        return peer;
      });
    });
  }

  /** Everything that was read. */
  get received(): Buffer {
    return Buffer.concat(this.pieces);
  }

  /** Bytes that have arrived and were not read. */
  get unreadBytes(): number {
    return this.connection === null ? 0 : readableBytes(this.connection);
  }

  /** Bytes that were sent and not acknowledged, or not sent yet. */
  get queuedBytes(): number {
    return this.connection === null ? 0 : queuedBytes(this.connection);
  }

  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    if ((events & EVENT_CONNECTED) !== 0) {
      this.isConnected = true;
      this.tellConnected();
    }
    if (!this.paused) this.read(connection);
    if ((events & EVENT_PEER_CLOSED) !== 0) {
      this.peerHasClosed = true;
      this.tellPeerClosed();
    }
    if ((events & EVENT_CLOSED) !== 0) {
      this.connection = null;
      this.error = connection.error;
      this.tellClosed(connection.error);
    }
  }

  release(): void {
    this.regions--;
  }

  /** Copies bytes into the arena, for as long as the host lives, and sends them. */
  write(bytes: Uint8Array): void {
    const { arena } = this.host;
    const at = arena.allocate(bytes.length);
    arena.bytes.set(bytes, at);
    this.writeRegion(at, bytes.length);
  }

  /** Sends what lies in the arena. */
  writeRegion(at: number, length: number): void {
    this.regions++;
    send(this.open(), at, length, this, 0);
    this.host.stack.wake();
  }

  /** Closes the sending half. */
  end(): void {
    closeSend(this.open());
    this.host.stack.wake();
  }

  abort(): void {
    abort(this.open());
    this.host.stack.wake();
  }

  /** Reads nothing until `resume`. */
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    if (this.connection !== null) this.read(this.connection);
    this.host.stack.wake();
  }

  private open(): Tcb {
    if (this.connection === null) throw new Error('the connection is gone');
    return this.connection;
  }

  private read(connection: Tcb): void {
    for (let length = readableLength(connection); length > 0; length = readableLength(connection)) {
      const at = readableAt(connection);
      this.pieces.push(Buffer.from(this.host.arena.bytes.subarray(at, at + length)));
      this.receivedBytes += length;
      consume(connection, length);
    }
  }
}
