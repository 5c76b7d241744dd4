/**
 * The user calls on a connection (RFC 9293 section 3.9.1): SEND, RECEIVE, CLOSE, ABORT. OPEN is `Tcp.listen` and
 * `Tcp.connect`. Calls change state and mark; segments are built in the turn's output phase. After calls from outside a
 * turn the application wakes its stack.
 */

import { CONGESTION_CONTROLS, type CongestionControlName } from './congestion/controls.ts';
import { type ConnectionChoice, chooseOptions } from './connection-options.ts';
import { limitToPath } from './mss.ts';
import { unreadBytes } from './receive-queue.ts';
import { noteRead } from './receive-tuning.ts';
import { enqueueRegion } from './send-queue.ts';
import { noteQueued, sendLowWater } from './send-tuning.ts';
import { seqDistance } from './sequence.ts';
import {
  CLOSE_WAIT,
  CLOSED,
  ESTABLISHED,
  FIN_WAIT_1,
  FIN_WAIT_2,
  LAST_ACK,
  maySend,
  SYN_SENT,
  setState,
} from './state.ts';
import type { RegionOwner, Tcb, TcpUser } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { startSlowTimer } from './timers.ts';
import { windowUpdateDue } from './window.ts';

/** What one connection may have queued: sequence numbers tell half their space apart. */
export const MAX_QUEUED_BYTES = 2 ** 30;

/** Reads and clears the connection's events. */
export function takeEvents(connection: Tcb): number {
  const { events } = connection;
  connection.events = 0;
  return events;
}

/** Bytes that have arrived in order and were not consumed. */
export function readableBytes(connection: Tcb): number {
  return unreadBytes(connection);
}

/** Arena offset of the first unread byte; valid until it is consumed or `ready` returns. */
export function readableAt(connection: Tcb): number {
  return connection.tcp.receiveQueues.readableAt(connection);
}

/** How many unread bytes lie together from `readableAt` on; 0 when there are none. */
export function readableLength(connection: Tcb): number {
  return connection.tcp.receiveQueues.readableLength(connection);
}

/** RECEIVE: the application is done with the first `count` unread bytes. Throws `RangeError` beyond them. */
export function consume(connection: Tcb, count: number): void {
  if (!(count >= 0 && count <= unreadBytes(connection)))
    throw new RangeError(`${count} bytes are not there to consume`);
  const { tcp } = connection;
  tcp.receiveQueues.consume(connection, count);
  connection.consumedBytes += count;
  noteRead(tcp, connection);
  if (connection.lingering) {
    if (unreadBytes(connection) === 0) tcp.finishLingering(connection);
  } else if (windowUpdateDue(tcp, connection)) {
    connection.ackNow = true;
    tcp.wantOutput(connection);
  }
}

/**
 * SEND: queues a region of the arena. It belongs to the application and must not change until `owner.release(token)`.
 * On a connection that is gone the region is released at once. Throws `RangeError` for a region that is empty or not in the
 * arena, beyond `MAX_QUEUED_BYTES`, and after `closeSend`.
 * `grid` is where the region's grid of sums lies (wire/sum-grid.ts), 0 for none; it is lent like the region.
 */
export function send(
  connection: Tcb,
  at: number,
  length: number,
  owner: RegionOwner | null,
  token: number,
  grid = 0,
): void {
  const { tcp } = connection;
  if (!(length > 0 && at > 0 && at + length <= tcp.bytes.length)) {
    throw new RangeError(`a region of ${length} bytes at ${at} is not in the arena`);
  }
  if (connection.state === CLOSED) {
    if (owner !== null) owner.release(token);
    return;
  }
  if (connection.finQueued) throw new RangeError('send after close');
  if (queuedBytes(connection) + length > MAX_QUEUED_BYTES)
    throw new RangeError(`more than ${MAX_QUEUED_BYTES} bytes queued`);
  enqueueRegion(tcp.regions, connection, at, length, owner, token, grid);
  noteQueued(tcp, connection, queuedBytes(connection));
  tcp.wantOutput(connection);
}

/**
 * OPEN with the first text (RFC 7413): to a server whose Fast Open cookie we have, it leaves with the SYN; otherwise the SYN asks
 * for a cookie, and the text follows the handshake. The server's application may see it more than once. Otherwise as
 * `Tcp.connect` and `send`; null, with the region released, when no connection could be made.
 */
export function connectAndSend(
  tcp: Tcp,
  remoteAddress: number,
  remotePort: number,
  user: TcpUser,
  at: number,
  length: number,
  owner: RegionOwner | null,
  token: number,
): Tcb | null {
  const connection = tcp.connect(remoteAddress, remotePort, user, tcp.local.primary, 0, true);
  if (connection !== null) send(connection, at, length, owner, token);
  else if (owner !== null) owner.release(token);
  return connection;
}

/** Bytes queued that the peer has not acknowledged. */
export function queuedBytes(connection: Tcb): number {
  const bytes = seqDistance(connection.sndEnd, connection.sndUna);
  // Our SYN, while it is not acknowledged, takes a number too; our FIN stands behind what is queued.
  return Math.max(0, connection.sndUna === connection.iss ? bytes - 1 : bytes);
}

/** How many queued bytes keep the connection busy now; it follows the congestion window. More only waits here. */
export function sendBufferBytes(connection: Tcb): number {
  return sendLowWater(connection.tcp, connection);
}

/** CLOSE of the sending half: a FIN follows what is queued; the application goes on reading. */
export function closeSend(connection: Tcb): void {
  if (connection.state === CLOSED || connection.finQueued) return;
  const { tcp } = connection;
  if (connection.state === SYN_SENT && queuedBytes(connection) === 0) {
    tcp.finish(connection, '');
    return;
  }
  connection.finQueued = true;
  // Before ESTABLISHED the FIN waits, with what is queued (RFC 9293 3.10.4).
  if (maySend(connection.state)) setState(connection, connection.state === CLOSE_WAIT ? LAST_ACK : FIN_WAIT_1);
  tcp.wantOutput(connection);
}

/**
 * CLOSE of both halves: like `closeSend`, and what has arrived or will arrive is thrown away. A peer that never closes its
 * half is waited for no longer than `finWait2Us`.
 * Differs: RFC 9293 3.6.1 would reset a connection whose text nobody reads; the last answer of a server that refuses a
 * request would be lost with it. An application that wants the reset calls `abort`.
 */
export function close(connection: Tcb): void {
  const { tcp } = connection;
  if (connection.lingering) {
    tcp.finishLingering(connection);
    return;
  }
  if (connection.state === CLOSED) return;
  connection.readClosed = true;
  tcp.receiveQueues.discard(connection);
  closeSend(connection);
  if (connection.state !== FIN_WAIT_2) return;
  // The call may come from outside a turn, long after the last one.
  tcp.clock.look();
  startSlowTimer(tcp, connection);
}

/** Gives a connection to another congestion control; the windows stay as they are. Throws `RangeError` for one that is not there. */
export function setCongestionControl(connection: Tcb, name: string): void {
  if (!Object.hasOwn(CONGESTION_CONTROLS, name)) throw new RangeError(`there is no congestion control ${name}`);
  connection.tcp.clock.look();
  connection.pacingBytesPerSecond = 0;
  connection.sendQuantumBytes = 0;
  connection.congestion = CONGESTION_CONTROLS[name as CongestionControlName];
  connection.congestion.begin(connection.tcp, connection);
}

/**
 * Chooses keep-alive, user timeout or segment size of one connection; what is left out stays as it is. A clamp of the segment size
 * is told to the peer if it comes before the SYN has left. Throws `RangeError` for what cannot be.
 */
export function setConnectionOptions(connection: Tcb, choice: ConnectionChoice): void {
  connection.options = chooseOptions(connection.options, choice);
  if (connection.state < ESTABLISHED) return;
  if (choice.maxSegmentBytes !== undefined) limitToPath(connection);
  if (choice.keepAliveIdleUs === undefined) return;
  const { tcp } = connection;
  // The call may come from outside a turn, long after the last one.
  tcp.clock.look();
  connection.keepAliveProbesSent = 0;
  startSlowTimer(tcp, connection);
}

/** ABORT: a reset for the peer; everything queued is released. `EVENT_CLOSED` follows with ECONNABORTED. */
export function abort(connection: Tcb): void {
  connection.tcp.abort(connection, 'ECONNABORTED');
}
