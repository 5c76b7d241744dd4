/** An endless stream from host a of a world to host b, at a port of its own, and what became of it. */
import { consume, queuedBytes, readableBytes, send, takeEvents } from '../../src/tcp/calls.ts';
import { EVENT_CONNECTED, type Tcb, type TcpUser } from '../../src/tcp/tcb.ts';
import { ADDRESS_B, type World } from './world.ts';

const REGION_BYTES = 64 * 1024;

export class Stream implements TcpUser {
  /** The sender's end, once it is connected. */
  connection: Tcb | null = null;
  receivedBytes = 0;
  /** Bytes queued at most; nothing is added while it is 0. */
  queueBytes: number;
  private readonly world: World;
  private readonly at: number;

  constructor(world: World, port = 5001, queueBytes = 4 * 1024 * 1024) {
    this.world = world;
    this.queueBytes = queueBytes;
    this.at = world.arena.allocate(REGION_BYTES);
    world.b.tcp.listen(port, () => ({ ready: (connection: Tcb) => this.read(connection) }));
    world.a.tcp.connect(ADDRESS_B, port, this);
    world.a.stack.wake();
  }

  ready(connection: Tcb): void {
    if ((takeEvents(connection) & EVENT_CONNECTED) !== 0) this.connection = connection;
    this.fill();
  }

  /** Queues as much as it may. */
  fill(): void {
    const { connection } = this;
    while (connection !== null && queuedBytes(connection) + REGION_BYTES <= this.queueBytes) {
      send(connection, this.at, REGION_BYTES, null, 0);
    }
    this.world.a.stack.wake();
  }

  /** Bytes a second over so much virtual time from now on. */
  rateOver(us: number): number {
    const before = this.receivedBytes;
    this.world.run(us);
    return ((this.receivedBytes - before) * 1e6) / us;
  }

  private read(connection: Tcb): void {
    takeEvents(connection);
    const bytes = readableBytes(connection);
    this.receivedBytes += bytes;
    consume(connection, bytes);
  }
}
