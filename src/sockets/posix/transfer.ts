/** recv and send, with Linux's order of checks (tcp_recvmsg_locked, tcp_sendmsg_locked). */
import { consume, send as queue, readableAt, readableLength } from '../../tcp/calls.ts';
import { FAST_OPEN_CLIENT } from '../../tcp/fast-open.ts';
import { synMayCarryText, synTextRoom } from '../../tcp/fast-open-client.ts';
import { seqBits } from '../../tcp/sequence.ts';
import type { Tcb } from '../../tcp/tcb.ts';
import type { Bytes } from '../../wire/bytes.ts';
import {
  LINUX_CLOSE,
  LINUX_CLOSE_WAIT,
  LINUX_ESTABLISHED,
  LINUX_LISTEN,
  LINUX_SYN_RECV,
  MSG_DONTWAIT,
  MSG_ERRQUEUE,
  MSG_OOB,
  MSG_PEEK,
  MSG_TRUNC,
  MSG_WAITALL,
  SHUT_RECEIVE,
  SHUT_SEND,
} from './constants.ts';
import { EAGAIN, EALREADY, EINPROGRESS, EINVAL, EISCONN, ENOTCONN, EOPNOTSUPP, EPIPE } from './errno.ts';
import { beginConnect, connected } from './open.ts';
import type { PosixSockets } from './posix-sockets.ts';
import { type Done, fail, type Outcome, type Result, succeed } from './result.ts';
import { PIECE_BYTES } from './send-memory.ts';
import { CONNECTED, CONNECTING, type PosixSocket } from './socket.ts';

export function receive(
  sockets: PosixSockets,
  socket: PosixSocket,
  length: number,
  flags: number,
  done: Done<Buffer>,
): Outcome<Buffer> {
  if ((flags & MSG_ERRQUEUE) !== 0) return fail(EAGAIN);
  if (socket.state === LINUX_LISTEN) return fail(ENOTCONN);
  if ((flags & MSG_OOB) !== 0) return fail(EINVAL);
  const peeks = (flags & MSG_PEEK) !== 0;
  const target = (flags & MSG_WAITALL) === 0 ? 1 : length;
  const parts: Buffer[] = [];
  let got = 0;
  const take = (): Result<Buffer> => succeed(got, Buffer.concat(parts));
  const attempt = (): Outcome<Buffer> => {
    const { tcb, readable } = socket;
    const count = Math.min(readable, length - (peeks ? 0 : got));
    if (tcb !== null && count > 0) {
      if (peeks) parts.length = 0;
      parts.push(peeks ? peek(sockets.bytes, tcb, count) : read(sockets.bytes, tcb, count));
      got = peeks ? count : got + count;
      if ((flags & MSG_TRUNC) !== 0) parts[parts.length - 1] = Buffer.alloc(count);
    }
    if (got >= target || (length === 0 && readable > 0)) return take();
    const { state, shut } = socket;
    if (got > 0) return socket.error !== 0 || state === LINUX_CLOSE || (shut & SHUT_RECEIVE) !== 0 ? take() : null;
    if (socket.done) return take();
    if (socket.error !== 0) return fail(socket.takeError());
    if ((shut & SHUT_RECEIVE) !== 0) return take();
    return state === LINUX_CLOSE ? fail(ENOTCONN) : null;
  };
  const nonBlocking = socket.nonBlocking || (flags & MSG_DONTWAIT) !== 0;
  const late = (): Result<Buffer> => (got > 0 ? take() : fail(EAGAIN));
  return sockets.block(socket, nonBlocking, socket.options.receiveTimeoutUs, attempt, late, done);
}

function read(bytes: Bytes, tcb: Tcb, count: number): Buffer {
  const out = Buffer.alloc(count);
  for (let got = 0; got < count; ) {
    const length = Math.min(count - got, readableLength(tcb));
    const at = readableAt(tcb);
    out.set(bytes.subarray(at, at + length), got);
    consume(tcb, length);
    got += length;
  }
  return out;
}

/** The first unread bytes, which stay: first all of them are brought into the ring, where they lie together. */
function peek(bytes: Bytes, tcb: Tcb, count: number): Buffer {
  if (tcb.deliveryHead >= 0) tcb.tcp.receiveQueues.settle(tcb);
  const { ring } = tcb;
  if (ring === null) return Buffer.alloc(0);
  const out = Buffer.alloc(count);
  const offset = seqBits(tcb.readSeq) & (ring.capacity - 1);
  const first = Math.min(count, ring.capacity - offset);
  out.set(bytes.subarray(ring.at + offset, ring.at + offset + first));
  out.set(bytes.subarray(ring.at, ring.at + count - first), first);
  return out;
}

export function transmit(
  sockets: PosixSockets,
  socket: PosixSocket,
  data: Uint8Array,
  flags: number,
  done: Done,
): Outcome {
  if ((flags & MSG_OOB) !== 0) return fail(EOPNOTSUPP);
  return sendFrom(sockets, socket, data, 0, flags, EAGAIN, done);
}

/** Where a connection is to go. */
export interface Remote {
  readonly remoteAddress: number;
  readonly remotePort: number;
}

/**
 * MSG_FASTOPEN, or the first text after a `connect` that was deferred (tcp_sendmsg_fastopen): opens the connection, with as much
 * text as the SYN takes. Who does not wait is told how much that was.
 */
export function connectAndTransmit(
  sockets: PosixSockets,
  socket: PosixSocket,
  data: Uint8Array,
  flags: number,
  remote: Remote | null,
  done: Done,
): Outcome {
  const { tcp } = sockets;
  if ((flags & MSG_OOB) !== 0 || (tcp.settings.fastOpen & FAST_OPEN_CLIENT) === 0) return fail(EOPNOTSUPP);
  if (socket.phase === CONNECTED || socket.state === LINUX_LISTEN) return fail(EISCONN);
  if (socket.phase === CONNECTING && !socket.deferred) return sendFrom(sockets, socket, data, 0, flags, EALREADY, done);
  if (remote === null) return fail(EINVAL);
  socket.deferred = false;
  const errno = beginConnect(sockets, socket, remote.remoteAddress, remote.remotePort, true);
  if (errno !== 0) return fail(errno);
  const { tcb } = socket;
  const goes = tcb !== null && synMayCarryText(tcp, tcb.localAddress, tcb.remoteAddress);
  const early = goes ? data.subarray(0, synTextRoom(tcp, tcb)) : data.subarray(0, 0);
  return sendFrom(sockets, socket, data, queuePieces(sockets, socket, early, 0), flags, EINPROGRESS, done);
}

/** Queues what is left from `sent` on; `late` is the error of a call that may not wait and has sent nothing. */
function sendFrom(
  sockets: PosixSockets,
  socket: PosixSocket,
  data: Uint8Array,
  begun: number,
  flags: number,
  late: number,
  done: Done,
): Outcome {
  let sent = begun;
  const attempt = (): Outcome => {
    if (socket.isOpening) return null;
    if (socket.phase === CONNECTING && late !== EAGAIN) {
      const opened = connected(socket);
      if (opened.value < 0) return opened;
    }
    const { state } = socket;
    if (state !== LINUX_ESTABLISHED && state !== LINUX_CLOSE_WAIT && state !== LINUX_SYN_RECV) {
      if (sent > 0) return succeed(sent);
      return fail(socket.error !== 0 ? socket.takeError() : EPIPE);
    }
    if (socket.error !== 0 || (socket.shut & SHUT_SEND) !== 0) {
      return sent > 0 ? succeed(sent) : fail(socket.takeError() || EPIPE);
    }
    sent += queuePieces(sockets, socket, data, sent);
    return sent === data.length ? succeed(sent) : null;
  };
  const nonBlocking = socket.nonBlocking || (flags & MSG_DONTWAIT) !== 0;
  const give = (): Result => (sent > 0 ? succeed(sent) : fail(late));
  return sockets.block(socket, nonBlocking, socket.options.sendTimeoutUs, attempt, give, done);
}

/** Queues what there is room for from `from` on; returns how many bytes that is. */
function queuePieces({ memory }: PosixSockets, socket: PosixSocket, data: Uint8Array, from: number): number {
  const { tcb } = socket;
  if (tcb === null) return 0;
  const end = Math.min(data.length, from + socket.sendRoom);
  let at = from;
  while (at < end) {
    const length = Math.min(PIECE_BYTES, end - at);
    const piece = memory.copy(data, at, length);
    if (piece === 0) break;
    queue(tcb, piece, length, socket, piece);
    at += length;
  }
  return at - from;
}
