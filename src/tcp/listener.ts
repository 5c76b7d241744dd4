/** Passive OPEN (RFC 9293 section 3.9.1.1): a port that waits for connections. RFC 9293's LISTEN, without a TCB. */
import { type ConnectionChoice, type ConnectionOptions, chooseOptions } from './connection-options.ts';
import type { Tcb, TcpUser } from './tcb.ts';

/** Connections of a listener in SYN-RECEIVED unless the listener says otherwise. */
export const DEFAULT_BACKLOG = 1024;

/** What may be said of a listener when it begins. */
export interface ListenOptions {
  /** Connections in SYN-RECEIVED (default `DEFAULT_BACKLOG`). */
  readonly backlog?: number;
  /**
   * Connections that the application takes before their handshake is complete, when the peer has a Fast Open cookie (RFC 7413;
   * default 0: none). The same text may then arrive on more than one connection: only for requests that bear that.
   */
  readonly fastOpenQueue?: number;
  /** What its connections begin with, where it differs from the stack's settings. */
  readonly connection?: ConnectionChoice;
}

/** What a listener uses of its TCP. */
export interface ListeningTcp {
  readonly connectionOptions: ConnectionOptions;
  removeListener(listener: Listener): void;
}

/** A port that takes connections; `close` ends that and leaves the accepted ones alone. */
export class Listener {
  readonly port: number;
  /** Connections that may be in SYN-RECEIVED; whoever listens may change it. */
  backlog: number;
  /** What its connections begin with. */
  readonly connectionOptions: ConnectionOptions;
  /** Gives a new connection its user; called once the handshake is complete. */
  readonly accept: (connection: Tcb) => TcpUser;
  /**
   * The application's to set. False: it takes no more connections now, its accept queue is full. SYNs are dropped, and whoever has
   * been answered already waits in SYN-RECEIVED, or for its cookie, until its acknowledgment comes again (as Linux does).
   */
  accepting = true;
  /** Connections of this listener in SYN-RECEIVED. */
  halfOpen = 0;
  /** Connections that the application may have before their handshake is complete (RFC 7413), 0 for none; to be set by it. */
  fastOpenQueue: number;
  /** Those that it has now, and until when those that a reset has ended count among them. */
  fastOpens = 0;
  readonly fastOpenResets: number[] = [];
  /** Until when acknowledgments of SYN cookies may come. */
  cookiesUntilUs = Number.NEGATIVE_INFINITY;
  private readonly tcp: ListeningTcp;

  constructor(tcp: ListeningTcp, port: number, options: ListenOptions, accept: (connection: Tcb) => TcpUser) {
    this.tcp = tcp;
    this.port = port;
    this.backlog = options.backlog ?? DEFAULT_BACKLOG;
    this.fastOpenQueue = options.fastOpenQueue ?? 0;
    this.connectionOptions = chooseOptions(tcp.connectionOptions, options.connection ?? {});
    this.accept = accept;
  }

  close(): void {
    this.tcp.removeListener(this);
  }
}
