/** bind, listen, accept and connect, with Linux's order of checks (inet_bind, inet_listen, __inet_stream_connect). */

import { synMayCarryText } from '../../tcp/fast-open-client.ts';
import { EPHEMERAL_PORTS, FIRST_PORT } from '../../tcp/ports.ts';
import { CLOSED } from '../../tcp/state.ts';
import type { Tcb } from '../../tcp/tcb.ts';
import { LINUX_CLOSE, LINUX_LISTEN } from './constants.ts';
import {
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EALREADY,
  ECONNABORTED,
  EINPROGRESS,
  EINVAL,
  EISCONN,
  EMFILE,
  errnoOf,
} from './errno.ts';
import type { PosixSockets } from './posix-sockets.ts';
import { type Done, fail, type Outcome, type Result, type SocketAddress, succeed } from './result.ts';
import { CONNECTED, CONNECTING, type PosixSocket, UNCONNECTED } from './socket.ts';

export function bind(sockets: PosixSockets, socket: PosixSocket, address: number, port: number): Result {
  if (address !== 0 && !sockets.tcp.local.has(address)) return fail(EADDRNOTAVAIL);
  if (socket.state !== LINUX_CLOSE || socket.localPort !== 0) return fail(EINVAL);
  const errno = takePort(sockets, socket, address, port);
  if (errno !== 0) return fail(errno);
  socket.localAddress = address;
  return succeed(0);
}

/** Gives the socket a port, a free one for 0; returns errno. */
function takePort(sockets: PosixSockets, socket: PosixSocket, address: number, port: number): number {
  const chosen = port === 0 ? findFreePort(sockets) : port;
  if (chosen === 0) return EADDRINUSE;
  for (const other of sockets.all) {
    if (other !== socket && other.localPort === chosen && conflicts(socket, other, address)) return EADDRINUSE;
  }
  socket.localPort = chosen;
  socket.portChosen = port !== 0;
  return 0;
}

/** inet_csk_bind_conflict: both must allow the address to be used again, and nobody may listen. */
function conflicts(socket: PosixSocket, other: PosixSocket, address: number): boolean {
  const overlaps = address === 0 || other.localAddress === 0 || address === other.localAddress;
  const shared = socket.options.reuseAddress && other.options.reuseAddress && other.state !== LINUX_LISTEN;
  return overlaps && !shared;
}

function findFreePort({ tcp, all }: PosixSockets): number {
  const taken = new Set([...all].map(({ localPort }) => localPort));
  const first = tcp.stack.random.below(EPHEMERAL_PORTS);
  for (let tried = 0; tried < EPHEMERAL_PORTS; tried++) {
    const port = FIRST_PORT + ((first + tried) % EPHEMERAL_PORTS);
    if (!taken.has(port) && tcp.findListener(port) === null) return port;
  }
  return 0;
}

export function listen(sockets: PosixSockets, socket: PosixSocket, backlog: number): Result {
  const { tcp } = sockets;
  if (socket.phase !== UNCONNECTED || (socket.state !== LINUX_CLOSE && socket.state !== LINUX_LISTEN)) {
    return fail(EINVAL);
  }
  // A negative one is the largest (unsigned), as Linux has it.
  socket.backlog = backlog < 0 ? sockets.limits.maxBacklog : Math.min(backlog, sockets.limits.maxBacklog);
  if (socket.listener !== null) {
    limitListener(socket);
    return succeed(0);
  }
  if (socket.localPort === 0) {
    const errno = takePort(sockets, socket, 0, 0);
    if (errno !== 0) return fail(errno);
  }
  for (const other of sockets.all) {
    if (other !== socket && other.localPort === socket.localPort && other.listener !== null) return fail(EADDRINUSE);
  }
  if (tcp.findListener(socket.localPort) !== null) return fail(EADDRINUSE);
  socket.shut = 0;
  const accept = (tcb: Tcb): PosixSocket => {
    const child = sockets.createChild(socket);
    child.adopt(tcb);
    socket.acceptQueue.push(child);
    limitListener(socket);
    return child;
  };
  const { fastOpenQueue } = socket.options;
  socket.listener = tcp.listen(socket.localPort, accept, { backlog: sockets.limits.maxHalfOpen, fastOpenQueue });
  limitListener(socket);
  return succeed(0);
}

/** A full accept queue takes no SYN any more: Linux lets one more than the backlog wait (sk_acceptq_is_full). */
export function limitListener({ listener, acceptQueue, backlog }: PosixSocket): void {
  if (listener !== null) listener.accepting = acceptQueue.length <= backlog;
}

export function accept(sockets: PosixSockets, socket: PosixSocket, done: Done<SocketAddress>): Outcome<SocketAddress> {
  const attempt = (): Outcome<SocketAddress> => {
    if (socket.state !== LINUX_LISTEN) return fail(EINVAL);
    const child = socket.acceptQueue[0];
    if (child === undefined) return null;
    if (!sockets.open(child)) return fail(EMFILE);
    socket.acceptQueue.shift();
    child.parent = null;
    limitListener(socket);
    return succeed(child.fd, { address: child.remoteAddress, port: child.remotePort });
  };
  const { receiveTimeoutUs } = socket.options;
  return sockets.block(socket, socket.nonBlocking, receiveTimeoutUs, attempt, () => fail(EAGAIN), done);
}

export function connect(
  sockets: PosixSockets,
  socket: PosixSocket,
  address: number,
  port: number,
  done: Done,
): Outcome {
  if (socket.phase === CONNECTED || socket.deferred) return fail(EISCONN);
  const { fastOpenConnect, sendTimeoutUs } = socket.options;
  let waiting = EALREADY;
  if (socket.phase === UNCONNECTED) {
    if (socket.state !== LINUX_CLOSE) return fail(EISCONN);
    if (fastOpenConnect && defersConnect(sockets, socket, address, port)) return succeed(0);
    const errno = beginConnect(sockets, socket, address, port, fastOpenConnect);
    if (errno !== 0) return fail(errno);
    waiting = EINPROGRESS;
  }
  const attempt = (): Outcome => (socket.isOpening ? null : connected(socket));
  return sockets.block(socket, socket.nonBlocking, sendTimeoutUs, attempt, () => fail(waiting), done);
}

/** What became of a connection that is not being opened any more. */
export function connected(socket: PosixSocket): Result {
  if (socket.state !== LINUX_CLOSE) {
    socket.phase = CONNECTED;
    return succeed(0);
  }
  const errno = socket.takeError();
  socket.phase = UNCONNECTED;
  disconnected(socket);
  return fail(errno === 0 ? ECONNABORTED : errno);
}

/** tcp_fastopen_defer_connect(): where the SYN may carry text, it waits for some. */
function defersConnect(sockets: PosixSockets, socket: PosixSocket, address: number, port: number): boolean {
  const { tcp } = sockets;
  const local = socket.localAddress === 0 ? tcp.local.primary : socket.localAddress;
  if (!synMayCarryText(tcp, local, address)) return false;
  socket.deferred = true;
  socket.phase = CONNECTING;
  socket.remoteAddress = address;
  socket.remotePort = port;
  return true;
}

/** Sends the SYN; returns errno. */
export function beginConnect(
  sockets: PosixSockets,
  socket: PosixSocket,
  address: number,
  port: number,
  fastOpen: boolean,
): number {
  const { tcp } = sockets;
  const local = socket.localAddress === 0 ? tcp.local.primary : socket.localAddress;
  // tcp_connect_init()
  socket.error = 0;
  socket.done = false;
  const tcb = port === 0 ? null : tcp.connect(address, port, socket, local, socket.localPort, fastOpen);
  if (tcb === null) return EADDRNOTAVAIL;
  if (tcb.state === CLOSED) {
    tcb.user = null;
    return errnoOf(tcb.error);
  }
  socket.shut = 0;
  socket.phase = CONNECTING;
  socket.adopt(tcb);
  return 0;
}

/** tcp_disconnect() of a socket whose connection is gone: it may connect once more; only a chosen port stays. */
export function disconnected(socket: PosixSocket): void {
  socket.shut = 0;
  socket.done = false;
  socket.deferred = false;
  socket.remoteAddress = 0;
  socket.remotePort = 0;
  if (!socket.portChosen) {
    socket.localAddress = 0;
    socket.localPort = 0;
  }
}
