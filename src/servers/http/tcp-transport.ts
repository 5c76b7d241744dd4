/** HTTP over the library OS's TCP: the calls of src/tcp/calls.ts as a `Transport`. */
import {
  abort,
  close,
  consume,
  queuedBytes,
  readableAt,
  readableBytes,
  readableLength,
  send,
  takeEvents,
} from '../../tcp/calls.ts';
import type { RegionOwner, Tcb } from '../../tcp/tcb.ts';
import type { Tcp } from '../../tcp/tcp.ts';
import type { Transport, TransportListener, TransportUser } from './transport.ts';

export class TcpTransport implements Transport<Tcb> {
  readonly sums: boolean;
  private readonly tcp: Tcp;

  constructor(tcp: Tcp) {
    this.tcp = tcp;
    this.sums = !tcp.features.transmitChecksum;
  }

  listen(port: number, accept: (connection: Tcb) => TransportUser<Tcb>): TransportListener {
    return this.tcp.listen(port, accept);
  }

  takeEvents(connection: Tcb): number {
    return takeEvents(connection);
  }

  readableBytes(connection: Tcb): number {
    return readableBytes(connection);
  }

  readableAt(connection: Tcb): number {
    return readableAt(connection);
  }

  readableLength(connection: Tcb): number {
    return readableLength(connection);
  }

  consume(connection: Tcb, bytes: number): void {
    consume(connection, bytes);
  }

  send(connection: Tcb, at: number, bytes: number, owner: RegionOwner | null, token: number, grid: number): void {
    send(connection, at, bytes, owner, token, grid);
  }

  queuedBytes(connection: Tcb): number {
    return queuedBytes(connection);
  }

  close(connection: Tcb): void {
    close(connection);
  }

  abort(connection: Tcb): void {
    abort(connection);
  }
}
