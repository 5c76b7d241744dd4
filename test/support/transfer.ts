/** One application for both ends: sends a known stream while it reads and checks the other's, then closes. */

import type { Simulation } from '../../src/host/simulation.ts';
import {
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

/** Bytes queued at a time. */
const QUEUE_BYTES = 256 * 1024;
const MAX_REGION_BYTES = 30_000;

export class Transfer implements TcpUser, RegionOwner {
  readonly sendAt: number;
  readonly sendBytes: number;
  readonly expectAt: number;
  readonly expectBytes: number;
  sent = 0;
  received = 0;
  /** Regions queued and not released. */
  regions = 0;
  wrongBytes = 0;
  connected = false;
  peerClosed = false;
  closed = false;
  error: ConnectionError = '';
  private readonly world: Simulation;

  constructor(world: Simulation, sendAt: number, sendBytes: number, expectAt: number, expectBytes: number) {
    this.world = world;
    this.sendAt = sendAt;
    this.sendBytes = sendBytes;
    this.expectAt = expectAt;
    this.expectBytes = expectBytes;
  }

  /** Everything went both ways, byte by byte, and the connection closed in order. */
  get complete(): boolean {
    return this.closed && this.error === '' && this.received === this.expectBytes && this.wrongBytes === 0;
  }

  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    if ((events & EVENT_CONNECTED) !== 0) this.connected = true;
    this.read(connection);
    if ((events & EVENT_PEER_CLOSED) !== 0) this.peerClosed = true;
    if ((events & EVENT_CLOSED) !== 0) {
      this.closed = true;
      this.error = connection.error;
      return;
    }
    this.write(connection);
  }

  release(): void {
    this.regions--;
  }

  private read(connection: Tcb): void {
    const { bytes } = this.world.arena;
    while (readableBytes(connection) > 0) {
      const at = readableAt(connection);
      const length = readableLength(connection);
      for (let i = 0; i < length; i++) {
        if (bytes[at + i] !== bytes[this.expectAt + this.received + i]) this.wrongBytes++;
      }
      this.received += length;
      consume(connection, length);
    }
  }

  private write(connection: Tcb): void {
    while (this.sent < this.sendBytes && queuedBytes(connection) < QUEUE_BYTES) {
      const length = Math.min(this.sendBytes - this.sent, 1 + this.world.random.below(MAX_REGION_BYTES));
      this.regions++;
      send(connection, this.sendAt + this.sent, length, this, 0);
      this.sent += length;
    }
    if (this.sent === this.sendBytes) closeSend(connection);
  }
}
