/** What a client asks of a byte stream: the calls of the HTTP layer's `Transport`, and opening connections instead of taking them. */
import type { ConnectionError } from '../../tcp/tcb.ts';
import type { Bytes } from '../../wire/bytes.ts';
import type { Transport, TransportUser } from '../http/transport.ts';

export interface ClientTransport<Connection> extends Omit<Transport<Connection>, 'listen' | 'queuedBytes' | 'sums'> {
  /**
   * Opens a connection to the server; `user` hears `EVENT_CONNECTED`, or `EVENT_CLOSED` with the error. What is sent before that
   * leaves with it. Null when there is no local port left, or no room for one more connection.
   */
  connect(user: TransportUser<Connection>): Connection | null;
  /** The memory that `readableAt` is a place in. */
  bytesOf(connection: Connection): Bytes;
  /** Why the connection ended; an empty string after an orderly end. */
  errorOf(connection: Connection): ConnectionError | Shortage;
}

/** What `connect` may find out too late: the kernel has no local port, or no descriptor, for one more connection. */
export type Shortage = 'EADDRNOTAVAIL' | 'EMFILE';
