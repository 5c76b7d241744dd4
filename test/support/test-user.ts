/** An application that notes what happens to its connection, and reads, sends and closes as a test tells it to. */
import {
  closeSend,
  consume,
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
  EVENT_READABLE,
  EVENT_WRITABLE,
  type RegionOwner,
  type Tcb,
  type TcpUser,
} from '../../src/tcp/tcb.ts';
import { pattern } from './raw-peer.ts';
import type { RawWorld } from './raw-world.ts';

const EVENT_LETTERS: readonly (readonly [number, string])[] = [
  [EVENT_CONNECTED, 'connected'],
  [EVENT_READABLE, 'readable'],
  [EVENT_PEER_CLOSED, 'peer closed'],
  [EVENT_WRITABLE, 'writable'],
  [EVENT_CLOSED, 'closed'],
];

export class TestUser implements TcpUser, RegionOwner {
  /** Read everything at once. */
  reads = true;
  /** Close when the peer has. */
  closes = false;
  connection: Tcb | null = null;
  connected = false;
  peerClosed = false;
  closed = false;
  closedAtUs = -1;
  error: ConnectionError = '';
  /** What each call of `ready` told, in words. */
  readonly history: string[] = [];
  /** What was read. */
  received: Buffer[] = [];
  receivedBytes = 0;
  /** Bytes queued so far, which are the pattern's first. */
  sentBytes = 0;
  /** Regions queued and not given back, and the tokens of those that were, in order. */
  regions = 0;
  readonly released: number[] = [];
  /** Done in `ready`, after what the test user does itself. */
  onReady: ((connection: Tcb, events: number) => void) | null = null;
  onRelease: ((token: number) => void) | null = null;
  private readonly world: RawWorld;

  constructor(world: RawWorld) {
    this.world = world;
  }

  ready(connection: Tcb): void {
    this.connection = connection;
    const events = takeEvents(connection);
    const named = EVENT_LETTERS.filter(([bit]) => (events & bit) !== 0).map(([, name]) => name);
    this.history.push(named.join(', '));
    if ((events & EVENT_CONNECTED) !== 0) this.connected = true;
    if ((events & EVENT_PEER_CLOSED) !== 0) this.peerClosed = true;
    if ((events & EVENT_CLOSED) !== 0) {
      this.closed = true;
      this.closedAtUs = this.world.nowUs;
      this.error = connection.error;
    }
    if (this.reads) this.read(connection);
    this.onReady?.(connection, events);
    if (this.closes && this.peerClosed && !this.closed) closeSend(connection);
  }

  release(token: number): void {
    this.regions--;
    this.released.push(token);
    this.onRelease?.(token);
  }

  /** Reads at most `limit` bytes. */
  read(connection: Tcb, limit = Number.POSITIVE_INFINITY): number {
    const { bytes } = this.world.arena;
    let left = limit;
    while (readableBytes(connection) > 0 && left > 0) {
      const at = readableAt(connection);
      const length = Math.min(left, readableLength(connection));
      if (length === 0) throw new Error('bytes are readable, but none lie together');
      this.received.push(Buffer.from(bytes.slice(at, at + length)));
      this.receivedBytes += length;
      left -= length;
      consume(connection, length);
    }
    return this.receivedBytes;
  }

  /** Queues the next `length` bytes of the pattern. */
  send(connection: Tcb, length: number): void {
    const at = this.world.pattern(this.sentBytes + length);
    this.regions++;
    send(connection, at + this.sentBytes, length, this, this.sentBytes);
    this.sentBytes += length;
  }

  get text(): Buffer {
    return Buffer.concat(this.received);
  }

  /** Whether what was read is the pattern from its first byte on. */
  get isIntact(): boolean {
    return this.text.equals(pattern(0, this.receivedBytes));
  }
}
