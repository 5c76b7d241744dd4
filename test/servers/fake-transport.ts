/**
 * A byte stream that stands in for TCP: requests are put in, responses come out, and everything that the contract forbids
 * throws: bytes that change while they are lent, reads after `ready` has returned, sends after a close.
 */
import type { Transport, TransportListener, TransportUser } from '../../src/servers/http/transport.ts';
import {
  EVENT_CLOSED,
  EVENT_CONNECTED,
  EVENT_PEER_CLOSED,
  EVENT_READABLE,
  EVENT_WRITABLE,
  type RegionOwner,
} from '../../src/tcp/tcb.ts';

const LOW_WATER_BYTES = 128 * 1024;
const SCRATCH_BYTES = 8 * 1024 * 1024;

interface Lent {
  readonly at: number;
  readonly bytes: number;
  readonly owner: RegionOwner | null;
  readonly token: number;
  /** What the region held when it was lent. */
  readonly copy: Buffer;
}

export class FakeConnection {
  user: TransportUser<FakeConnection> | null = null;
  events = 0;
  /** Arrived and not consumed: pieces as they lie in the arena. */
  unread: { at: number; length: number }[] = [];
  lent: Lent[] = [];
  /** Everything that was sent, region by region. */
  sent: Buffer[] = [];
  sentBytes = 0;
  closed = false;
  aborted = false;
  dead = false;
  peerClosed = false;
  writableWanted = false;

  get output(): Buffer {
    return Buffer.concat(this.sent);
  }

  /** What was sent, as text, and forgotten. */
  take(): string {
    const text = this.output.toString('latin1');
    this.sent = [];
    return text;
  }
}

export class FakeTransport implements Transport<FakeConnection> {
  readonly sums = false;
  readonly connections: FakeConnection[] = [];
  /** Acknowledge everything at the end of each turn. */
  acknowledging = true;
  listening = 0;
  wakes = 0;
  private readonly bytes: Uint8Array;
  private readonly scratchAt: number;
  private scratchUsed = 0;
  private accept: ((connection: FakeConnection) => TransportUser<FakeConnection>) | null = null;

  constructor(arena: { bytes: Uint8Array; allocate(bytes: number): number }) {
    this.bytes = arena.bytes;
    this.scratchAt = arena.allocate(SCRATCH_BYTES);
  }

  // The test's side.

  connect(): FakeConnection {
    if (this.accept === null) throw new Error('nobody listens');
    const connection = new FakeConnection();
    connection.user = this.accept(connection);
    connection.events = EVENT_CONNECTED;
    this.connections.push(connection);
    return connection;
  }

  /** Puts bytes into the receive queue, as one contiguous region. */
  deliver(connection: FakeConnection, data: string | Uint8Array): void {
    const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
    if (bytes.length === 0 || connection.dead || connection.closed) return;
    connection.unread.push({ at: this.store(bytes), length: bytes.length });
    connection.events |= EVENT_READABLE;
  }

  deliverFin(connection: FakeConnection): void {
    connection.peerClosed = true;
    connection.events |= EVENT_PEER_CLOSED;
    this.endIfDone(connection);
  }

  reset(connection: FakeConnection): void {
    this.kill(connection);
  }

  /** One turn: the application phase, then what TCP does at its end. */
  turn(): void {
    for (const connection of [...this.connections]) {
      if (connection.events !== 0) connection.user?.ready(connection);
      this.settle(connection);
      if (this.acknowledging) this.acknowledge(connection);
    }
  }

  /** The peer acknowledges the oldest `regions` regions. */
  acknowledge(connection: FakeConnection, regions = Number.POSITIVE_INFINITY): void {
    let count = Math.min(regions, connection.lent.length);
    while (count-- > 0) {
      const lent = connection.lent.shift();
      if (lent !== undefined) this.giveBack(lent);
    }
    if (connection.writableWanted && this.queuedBytes(connection) <= LOW_WATER_BYTES) {
      connection.writableWanted = false;
      connection.events |= EVENT_WRITABLE;
    }
    this.endIfDone(connection);
  }

  // The application's side.

  listen(_port: number, accept: (connection: FakeConnection) => TransportUser<FakeConnection>): TransportListener {
    this.accept = accept;
    this.listening++;
    return {
      close: () => {
        this.accept = null;
        this.listening--;
      },
    };
  }

  takeEvents(connection: FakeConnection): number {
    const { events } = connection;
    connection.events = 0;
    return events;
  }

  readableBytes(connection: FakeConnection): number {
    return connection.unread.reduce((sum, region) => sum + region.length, 0);
  }

  readableAt(connection: FakeConnection): number {
    return connection.unread[0]?.at ?? 0;
  }

  readableLength(connection: FakeConnection): number {
    return connection.unread[0]?.length ?? 0;
  }

  consume(connection: FakeConnection, count: number): void {
    let left = count;
    while (left > 0) {
      const region = connection.unread[0];
      if (region === undefined) throw new RangeError(`${left} bytes are not there to consume`);
      const taken = Math.min(left, region.length);
      this.bytes.fill(0xdd, region.at, region.at + taken);
      region.at += taken;
      region.length -= taken;
      left -= taken;
      if (region.length === 0) connection.unread.shift();
    }
  }

  send(connection: FakeConnection, at: number, bytes: number, owner: RegionOwner | null, token: number): void {
    if (!(bytes > 0) || !(at > 0)) throw new RangeError(`a region of ${bytes} bytes at ${at}`);
    if (connection.dead) {
      owner?.release(token);
      return;
    }
    if (connection.closed) throw new RangeError('send after close');
    const copy = Buffer.from(this.bytes.subarray(at, at + bytes));
    connection.lent.push({ at, bytes, owner, token, copy });
    connection.sent.push(copy);
    connection.sentBytes += bytes;
    if (this.queuedBytes(connection) > LOW_WATER_BYTES) connection.writableWanted = true;
  }

  queuedBytes(connection: FakeConnection): number {
    return connection.lent.reduce((sum, lent) => sum + lent.bytes, 0);
  }

  close(connection: FakeConnection): void {
    connection.closed = true;
    connection.unread = [];
    this.endIfDone(connection);
  }

  abort(connection: FakeConnection): void {
    if (connection.dead) return;
    connection.aborted = true;
    this.kill(connection);
  }

  private endIfDone(connection: FakeConnection): void {
    if (connection.closed && connection.peerClosed && connection.lent.length === 0) this.kill(connection);
  }

  private kill(connection: FakeConnection): void {
    if (connection.dead) return;
    connection.dead = true;
    connection.unread = [];
    for (const lent of connection.lent.splice(0)) this.giveBack(lent);
    connection.events |= EVENT_CLOSED;
  }

  private giveBack(lent: Lent): void {
    if (!lent.copy.equals(this.bytes.subarray(lent.at, lent.at + lent.bytes))) {
      throw new Error(`region at ${lent.at} changed while it was lent`);
    }
    lent.owner?.release(lent.token);
  }

  /** What the application left moves, as it does in TCP; where it was is overwritten. */
  private settle(connection: FakeConnection): void {
    for (const region of connection.unread) {
      const at = this.store(this.bytes.slice(region.at, region.at + region.length));
      this.bytes.fill(0xee, region.at, region.at + region.length);
      region.at = at;
    }
  }

  private store(data: Uint8Array): number {
    if (this.scratchUsed + data.length > SCRATCH_BYTES) this.scratchUsed = 0;
    const at = this.scratchAt + this.scratchUsed;
    this.bytes.set(data, at);
    // The next begins on a word, as text does behind its headers.
    this.scratchUsed += (data.length + 3) & ~3;
    return at;
  }
}
