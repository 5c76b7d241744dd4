/**
 * What the HTTP layer asks of a byte stream: the application's calls of src/tcp/calls.ts, with the connection's type left
 * open. The library OS's TCP is one such transport; the baseline over ordinary sockets and the tests' stand-in are others.
 */
import type { RegionOwner } from '../../tcp/tcb.ts';

/** The application's side of a connection: `ready` runs at most once a turn, when the connection has events. */
export interface TransportUser<Connection> {
  ready(connection: Connection): void;
}

export interface Transport<Connection> {
  /** What is sent is summed here, for checksums: regions may come with grids of sums. */
  readonly sums: boolean;
  listen(port: number, accept: (connection: Connection) => TransportUser<Connection>): TransportListener;
  /** Reads and clears the connection's `EVENT_` bits. */
  takeEvents(connection: Connection): number;
  readableBytes(connection: Connection): number;
  /** First unread region: valid until `consume`, or until `ready` returns. */
  readableAt(connection: Connection): number;
  readableLength(connection: Connection): number;
  consume(connection: Connection, bytes: number): void;
  /**
   * Queues a region of the arena, which is lent until `owner.release(token)`: at once when the connection is dead. `grid` is
   * where the region's grid of sums lies (wire/sum-grid.ts), 0 for none.
   */
  send(connection: Connection, at: number, bytes: number, owner: RegionOwner | null, token: number, grid: number): void;
  /** Bytes queued and not yet acknowledged. */
  queuedBytes(connection: Connection): number;
  /** Ends the connection after what is queued; what still arrives is thrown away. */
  close(connection: Connection): void;
  /** Resets the connection; `EVENT_CLOSED` follows. */
  abort(connection: Connection): void;
}

export interface TransportListener {
  close(): void;
}
