/** Passive OPEN (RFC 9293 section 3.9.1.1): a port that waits for connections. RFC 9293's LISTEN, without a TCB. */
import type { Tcb, TcpUser } from './tcb.ts';

/** Connections of a listener in SYN-RECEIVED unless the listener says otherwise. */
export const DEFAULT_BACKLOG = 1024;

/** What a listener uses of its TCP. */
export interface ListeningTcp {
  removeListener(listener: Listener): void;
}

/** A port that takes connections; `close` ends that and leaves the accepted ones alone. */
export class Listener {
  readonly port: number;
  /** Connections that may be in SYN-RECEIVED; whoever listens may change it, to 0 while it can take no more. */
  backlog: number;
  /** Gives a new connection its user; called once the handshake is complete. */
  readonly accept: (connection: Tcb) => TcpUser;
  /** Connections of this listener in SYN-RECEIVED. */
  halfOpen = 0;
  /** Until when acknowledgments of SYN cookies may come. */
  cookiesUntilUs = Number.NEGATIVE_INFINITY;
  private readonly tcp: ListeningTcp;

  constructor(tcp: ListeningTcp, port: number, backlog: number, accept: (connection: Tcb) => TcpUser) {
    this.tcp = tcp;
    this.port = port;
    this.backlog = backlog;
    this.accept = accept;
  }

  close(): void {
    this.tcp.removeListener(this);
  }
}
