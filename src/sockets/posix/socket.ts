/**
 * One TCP socket as Linux sees it: the state of the descriptor's side (sk_err, sk_shutdown, SS_CONNECTING...), and the
 * connection or listener behind it. A socket outlives its descriptor while a call waits on it or its connection goes on.
 *
 * Memory: what was sent lies in `SendMemory` until it is released; the connection belongs to TCP and is let go of when it ends.
 */
import { queuedBytes, readableBytes, setCongestionControl, takeEvents } from '../../tcp/calls.ts';
import type { Listener } from '../../tcp/listener.ts';
import {
  CLOSE_WAIT,
  CLOSED,
  CLOSING,
  ESTABLISHED,
  FIN_WAIT_1,
  FIN_WAIT_2,
  LAST_ACK,
  SYN_RECEIVED,
  SYN_SENT,
  TIME_WAIT,
} from '../../tcp/state.ts';
import {
  EVENT_CLOSED,
  EVENT_CONNECTED,
  EVENT_PEER_CLOSED,
  EVENT_WRITABLE,
  type RegionOwner,
  type Tcb,
  type TcpUser,
} from '../../tcp/tcb.ts';
import {
  LINUX_CLOSE,
  LINUX_CLOSE_WAIT,
  LINUX_CLOSING,
  LINUX_ESTABLISHED,
  LINUX_FIN_WAIT1,
  LINUX_FIN_WAIT2,
  LINUX_LAST_ACK,
  LINUX_LISTEN,
  LINUX_SYN_RECV,
  LINUX_SYN_SENT,
  LINUX_TIME_WAIT,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  POLLRDHUP,
  POLLRDNORM,
  POLLWRNORM,
  SHUT_BOTH,
  SHUT_RECEIVE,
  SHUT_SEND,
} from './constants.ts';
import { errnoOf, errnoOfReset } from './errno.ts';
import type { SocketOptions } from './options.ts';
import type { SendMemory } from './send-memory.ts';
import type { Wait } from './waits.ts';

/** Linux's SS_* of a socket: how far `connect` has come, whatever became of the connection. */
export const UNCONNECTED = 0;
export const CONNECTING = 1;
export const CONNECTED = 2;

const LINUX_STATES = new Uint8Array(10);
LINUX_STATES[CLOSED] = LINUX_CLOSE;
LINUX_STATES[SYN_SENT] = LINUX_SYN_SENT;
LINUX_STATES[SYN_RECEIVED] = LINUX_SYN_RECV;
LINUX_STATES[ESTABLISHED] = LINUX_ESTABLISHED;
LINUX_STATES[FIN_WAIT_1] = LINUX_FIN_WAIT1;
LINUX_STATES[FIN_WAIT_2] = LINUX_FIN_WAIT2;
LINUX_STATES[CLOSE_WAIT] = LINUX_CLOSE_WAIT;
LINUX_STATES[CLOSING] = LINUX_CLOSING;
LINUX_STATES[LAST_ACK] = LINUX_LAST_ACK;
LINUX_STATES[TIME_WAIT] = LINUX_TIME_WAIT;

/** What a socket tells the one who keeps it. */
export interface SocketKeeper {
  readonly memory: SendMemory;
  /** Something has happened to the connection. */
  changed(socket: PosixSocket): void;
}

export class PosixSocket implements TcpUser, RegionOwner {
  readonly keeper: SocketKeeper;
  readonly options: SocketOptions;
  /** -1 once it is closed, and before it is accepted. */
  fd = -1;
  /** Calls that wait on it. */
  readonly waits: Wait[] = [];
  holds = 0;
  nonBlocking = false;
  phase = UNCONNECTED;
  tcb: Tcb | null = null;
  listener: Listener | null = null;
  /** The listener that it waits at to be accepted. */
  parent: PosixSocket | null = null;
  /** Accepted by TCP and not by the application, oldest first. */
  readonly acceptQueue: PosixSocket[] = [];
  backlog = 0;
  /** sk_err: what the next call, or SO_ERROR, is told. */
  error = 0;
  /** sk_shutdown. */
  shut = 0;
  /** SOCK_DONE: the peer's FIN was reached. */
  done = false;
  /** Network order as a number, 0 for any. */
  localAddress = 0;
  localPort = 0;
  /** The application chose the port. */
  portChosen = false;
  remoteAddress = 0;
  remotePort = 0;
  /** The connection has ended, though something may be left to read. */
  private isOver = false;
  /** TCP_FASTOPEN_CONNECT: `connect` was called, and the first text will open the connection. */
  deferred = false;
  /** Ends an orphan in FIN-WAIT-2; 0 when there is none. */
  orphanTimer = 0;
  /** It was closed, and no call waited on it any more. */
  ended = false;

  constructor(keeper: SocketKeeper, options: SocketOptions) {
    this.keeper = keeper;
    this.options = options;
  }

  /** sk_state. */
  get state(): number {
    if (this.listener !== null) return LINUX_LISTEN;
    if (this.deferred) return LINUX_SYN_SENT;
    return this.tcb === null ? LINUX_CLOSE : (LINUX_STATES[this.tcb.state] as number);
  }

  /** With Fast Open, an accepted socket may be used in SYN-RECEIVED. */
  get isOpening(): boolean {
    return this.phase !== CONNECTED && (this.state === LINUX_SYN_SENT || this.state === LINUX_SYN_RECV);
  }

  get readable(): number {
    return this.tcb === null ? 0 : readableBytes(this.tcb);
  }

  get queued(): number {
    return this.tcb === null || this.tcb.state === CLOSED ? 0 : queuedBytes(this.tcb);
  }

  /** Bytes that may be queued now. */
  get sendRoom(): number {
    return Math.max(0, this.options.sendBufferBytes - this.queued);
  }

  /** Reads and clears sk_err. */
  takeError(): number {
    const { error } = this;
    this.error = 0;
    return error;
  }

  /** The connection is this socket's from now on. */
  adopt(tcb: Tcb): void {
    this.tcb = tcb;
    this.isOver = false;
    this.options.apply(tcb);
    this.localAddress = tcb.localAddress;
    this.localPort = tcb.localPort;
    this.remoteAddress = tcb.remoteAddress;
    this.remotePort = tcb.remotePort;
  }

  /** The connection is left to TCP, which tells nothing of it any more. */
  letGo(): void {
    if (this.tcb !== null) this.tcb.user = null;
    this.tcb = null;
  }

  ready(tcb: Tcb): void {
    const events = takeEvents(tcb);
    const { congestion } = this.options;
    if ((events & EVENT_CONNECTED) !== 0 && congestion !== '' && tcb.state !== CLOSED)
      setCongestionControl(tcb, congestion);
    if ((events & EVENT_PEER_CLOSED) !== 0) {
      this.shut |= SHUT_RECEIVE;
      this.done = true;
    }
    if (tcb.state === CLOSED) this.over(tcb);
    if ((events & EVENT_CLOSED) !== 0) this.tcb = null;
    this.keeper.changed(this);
  }

  /** tcp_done(): nothing goes either way any more, whatever is left to read; the error is told once. */
  private over(tcb: Tcb): void {
    if (this.isOver) return;
    this.isOver = true;
    this.shut = SHUT_BOTH;
    const error = tcb.resetState === CLOSED ? errnoOf(tcb.error) : errnoOfReset(tcb.resetState);
    if (error !== 0) this.error = error;
  }

  release(token: number): void {
    this.keeper.memory.free(token);
    const { tcb } = this;
    if (tcb !== null && tcb.state !== CLOSED && this.waits.length > 0) tcb.tcp.raise(tcb, EVENT_WRITABLE);
  }

  /** What poll(2) reports (tcp_poll). */
  get pollMask(): number {
    const { state, shut } = this;
    if (state === LINUX_LISTEN) return this.acceptQueue.length > 0 ? POLLIN | POLLRDNORM : 0;
    let mask = 0;
    if (shut === SHUT_BOTH || state === LINUX_CLOSE) mask |= POLLHUP;
    if ((shut & SHUT_RECEIVE) !== 0) mask |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (this.deferred) mask |= POLLOUT | POLLWRNORM;
    if (!this.isOpening) {
      if (this.readable > 0) mask |= POLLIN | POLLRDNORM;
      if ((shut & SHUT_SEND) !== 0 || this.isWritable) mask |= POLLOUT | POLLWRNORM;
    }
    return this.error === 0 ? mask : mask | POLLERR;
  }

  /** A third of the buffer is free (sk_stream_is_writeable). */
  private get isWritable(): boolean {
    return this.sendRoom >= this.queued >> 1 && this.sendRoom > 0;
  }
}
