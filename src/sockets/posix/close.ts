/** shutdown, close and reset (inet_shutdown, __tcp_close, tcp_disconnect), and the connections that nobody has open any more. */
import { abort, closeSend } from '../../tcp/calls.ts';
import { SYN_SENT } from '../../tcp/state.ts';
import {
  LINUX_CLOSE,
  LINUX_CLOSING,
  LINUX_FIN_WAIT1,
  LINUX_FIN_WAIT2,
  LINUX_LAST_ACK,
  LINUX_LISTEN,
  LINUX_SYN_SENT,
  SHUT_BOTH,
  SHUT_RECEIVE,
  SHUT_SEND,
} from './constants.ts';
import { ECONNRESET, EINVAL, ENOTCONN } from './errno.ts';
import { disconnected } from './open.ts';
import type { PosixSockets } from './posix-sockets.ts';
import { type Done, fail, type Outcome, type Result, succeed } from './result.ts';
import { CONNECTED, CONNECTING, type PosixSocket, UNCONNECTED } from './socket.ts';

export function shutdown(sockets: PosixSockets, socket: PosixSocket, how: number): Result {
  const bits = how + 1;
  if (bits < SHUT_RECEIVE || bits > SHUT_BOTH) return fail(EINVAL);
  const { state } = socket;
  if (socket.phase === CONNECTING && !socket.isOpening && state !== LINUX_CLOSE) socket.phase = CONNECTED;
  if (state === LINUX_SYN_SENT || (state === LINUX_LISTEN && (bits & SHUT_RECEIVE) !== 0)) {
    if (state === LINUX_SYN_SENT) socket.error = ECONNRESET;
    disconnect(sockets, socket);
    socket.phase = UNCONNECTED;
  } else if (state !== LINUX_LISTEN) {
    socket.shut |= bits;
    if ((bits & SHUT_RECEIVE) !== 0 && socket.tcb !== null) socket.tcb.resetsOnText = true;
    if ((bits & SHUT_SEND) !== 0 && socket.tcb !== null) closeSend(socket.tcb);
  }
  sockets.waits.wake(socket);
  return state === LINUX_CLOSE ? fail(ENOTCONN) : succeed(0);
}

/** Ends what the socket has, without a word to a peer that would not understand it. */
function disconnect(sockets: PosixSockets, socket: PosixSocket): void {
  if (socket.listener !== null) closeListener(sockets, socket);
  const { tcb } = socket;
  socket.letGo();
  if (tcb !== null) abort(tcb);
  disconnected(socket);
}

/** Connections that were not accepted are reset (inet_csk_listen_stop). */
function closeListener(sockets: PosixSockets, socket: PosixSocket): void {
  socket.listener?.close();
  socket.listener = null;
  for (const child of socket.acceptQueue.splice(0)) {
    const { tcb } = child;
    child.parent = null;
    child.ended = true;
    child.letGo();
    if (tcb !== null) abort(tcb);
    sockets.changed(child);
  }
}

/** The descriptor is gone; the socket follows once no call waits on it any more. */
export function close(sockets: PosixSockets, socket: PosixSocket, done: Done): Outcome {
  sockets.closeDescriptor(socket);
  if (socket.holds > 0) return succeed(0);
  end(sockets, socket);
  sockets.changed(socket);
  const { linger, lingerSeconds } = socket.options;
  if (!linger || lingerSeconds === 0) return succeed(0);
  const attempt = (): Outcome => {
    const { state } = socket;
    return state === LINUX_FIN_WAIT1 || state === LINUX_CLOSING || state === LINUX_LAST_ACK ? null : succeed(0);
  };
  return sockets.block(socket, false, lingerSeconds * 1_000_000, attempt, () => succeed(0), done);
}

/** tcp_close(): of a socket without a descriptor that no call waits on. */
export function end(sockets: PosixSockets, socket: PosixSocket): void {
  const { tcb } = socket;
  const { linger, lingerSeconds } = socket.options;
  socket.shut = SHUT_BOTH;
  socket.ended = true;
  if (tcb === null || socket.readable > 0 || (linger && lingerSeconds === 0) || tcb.state === SYN_SENT) {
    disconnect(sockets, socket);
  } else {
    tcb.resetsOnText = true;
    tcb.abandoned = true;
    closeSend(tcb);
    sockets.watchOrphan(socket);
  }
}

/** FIN-WAIT-2 without an end of the peer's is over. Returns false when it has not begun. */
export function orphanExpired(sockets: PosixSockets, socket: PosixSocket): boolean {
  if (socket.state !== LINUX_FIN_WAIT2 || socket.tcb === null) return socket.tcb === null;
  const { tcb } = socket;
  socket.letGo();
  sockets.tcp.finish(tcb, '');
  return true;
}

/** Everything is aborted, with a reset where a peer knows of it. */
export function reset(sockets: PosixSockets): void {
  for (const socket of [...sockets.all]) {
    sockets.closeDescriptor(socket);
    if (socket.state === LINUX_SYN_SENT) socket.error = ECONNRESET;
    disconnect(sockets, socket);
    socket.parent = null;
    socket.shut = SHUT_BOTH;
    socket.ended = true;
    sockets.changed(socket);
  }
}
