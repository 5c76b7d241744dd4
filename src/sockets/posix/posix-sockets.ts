/**
 * The socket calls of Linux over the TCP of one host: descriptors, return values and errno as there. Everything happens
 * within the stack's turns: a call gives its result at once, or null when it blocks, and then `done` is told later, in a turn.
 * Without a fork and without threads a descriptor is a number in a table, the lowest free one from 3 on.
 *
 * What is not Linux: only AF_INET and SOCK_STREAM; a listener takes connections to every address of the stack; Fast Open and
 * urgent data cannot be sent (EOPNOTSUPP). options.ts says which options are in force and which are only kept.
 *
 * Memory: sent bytes are copied into one pool of the arena, `sendPoolBytes`; received ones stay with TCP until they are read.
 */
import type { Arena } from '../../runtime/arena.ts';
import type { Tcp } from '../../tcp/tcp.ts';
import type { Bytes } from '../../wire/bytes.ts';
import * as calls from './close.ts';
import {
  AF_INET,
  F_GETFD,
  F_GETFL,
  F_SETFD,
  F_SETFL,
  FIONBIO,
  FIONREAD,
  IPPROTO_TCP,
  LINUX_LISTEN,
  MSG_FASTOPEN,
  O_NONBLOCK,
  O_RDWR,
  POLLERR,
  POLLHUP,
  POLLNVAL,
  SIOCATMARK,
  SIOCOUTQ,
  SIOCOUTQNSD,
  SOCK_CLOEXEC,
  SOCK_MAX,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from './constants.ts';
import { EAFNOSUPPORT, EBADF, EINVAL, EMFILE, ENOTTY, EPROTONOSUPPORT, ESOCKTNOSUPPORT } from './errno.ts';
import * as opening from './open.ts';
import { getOption, SocketOptions, setOption } from './options.ts';
import { type Done, fail, type Outcome, type Result, type SocketAddress, succeed } from './result.ts';
import { SendMemory } from './send-memory.ts';
import { CONNECTED, PosixSocket, type SocketKeeper } from './socket.ts';
import { unacknowledged, unsent } from './tcp-info.ts';
import { connectAndTransmit, type Remote, receive, transmit } from './transfer.ts';
import { Waits } from './waits.ts';

/** What one host's sockets may hold. */
export interface PosixLimits {
  /** Descriptors open at a time. */
  readonly maxDescriptors: number;
  /** Memory of what all sockets have sent and no peer has acknowledged. */
  readonly sendPoolBytes: number;
  /** net.core.somaxconn. */
  readonly maxBacklog: number;
  /** Connections of a listener in SYN-RECEIVED. */
  readonly maxHalfOpen: number;
}

export const DEFAULT_POSIX_LIMITS: PosixLimits = {
  maxDescriptors: 1024,
  sendPoolBytes: 64 * 1024 * 1024,
  maxBacklog: 4096,
  maxHalfOpen: 1024,
};

const FIRST_DESCRIPTOR = 3;
const ANYTIME = -1;

export class PosixSockets implements SocketKeeper {
  readonly tcp: Tcp;
  readonly bytes: Bytes;
  readonly limits: PosixLimits;
  readonly memory: SendMemory;
  readonly waits: Waits;
  /** Every socket there is: with a descriptor, not accepted yet, or an orphan. */
  readonly all = new Set<PosixSocket>();
  private readonly descriptors: (PosixSocket | null)[] = [];
  private readonly orphanKind: number;
  private readonly orphans = new Map<number, PosixSocket>();

  constructor(tcp: Tcp, arena: Arena, limits: Partial<PosixLimits> = {}) {
    this.tcp = tcp;
    this.bytes = arena.bytes;
    this.limits = { ...DEFAULT_POSIX_LIMITS, ...limits };
    this.memory = new SendMemory(arena, this.limits.sendPoolBytes);
    this.waits = new Waits(tcp.timers, tcp.clock, (socket) => this.changed(socket));
    this.orphanKind = tcp.timers.addKind((key) => this.orphanExpired(key));
  }

  // The calls.

  socket(domain: number, type: number, protocol: number): Result {
    if (domain !== AF_INET) return fail(EAFNOSUPPORT);
    const kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (kind < 0 || kind >= SOCK_MAX) return fail(EINVAL);
    if (kind !== SOCK_STREAM) return fail(ESOCKTNOSUPPORT);
    if (protocol !== 0 && protocol !== IPPROTO_TCP) return fail(EPROTONOSUPPORT);
    const socket = new PosixSocket(this, new SocketOptions());
    socket.nonBlocking = (type & SOCK_NONBLOCK) !== 0;
    return this.open(socket) ? succeed(socket.fd) : fail(EMFILE);
  }

  bind(fd: number, address: number, port: number): Result {
    const socket = this.find(fd);
    return socket === null ? fail(EBADF) : opening.bind(this, socket, address, port);
  }

  listen(fd: number, backlog: number): Result {
    const socket = this.find(fd);
    return socket === null ? fail(EBADF) : opening.listen(this, socket, backlog);
  }

  accept(fd: number, done: Done<SocketAddress>): Outcome<SocketAddress> {
    const socket = this.find(fd);
    return socket === null ? fail(EBADF) : opening.accept(this, socket, done);
  }

  connect(fd: number, address: number, port: number, done: Done): Outcome {
    const socket = this.find(fd);
    return socket === null ? fail(EBADF) : this.acted(opening.connect(this, socket, address, port, done));
  }

  recv(fd: number, length: number, flags: number, done: Done<Buffer>): Outcome<Buffer> {
    const socket = this.find(fd);
    return socket === null ? fail(EBADF) : this.acted(receive(this, socket, length, flags, done));
  }

  send(fd: number, data: Uint8Array, flags: number, done: Done): Outcome {
    return this.sendTo(fd, data, flags, null, done);
  }

  /** A stream goes to its peer whatever the address says, but for MSG_FASTOPEN. */
  sendto(fd: number, data: Uint8Array, flags: number, address: number, port: number, done: Done): Outcome {
    return this.sendTo(fd, data, flags, { remoteAddress: address, remotePort: port }, done);
  }

  private sendTo(fd: number, data: Uint8Array, flags: number, remote: Remote | null, done: Done): Outcome {
    const socket = this.find(fd);
    if (socket === null) return fail(EBADF);
    const opens = socket.deferred || (flags & MSG_FASTOPEN) !== 0;
    const target = socket.deferred ? socket : remote;
    return this.acted(
      opens ? connectAndTransmit(this, socket, data, flags, target, done) : transmit(this, socket, data, flags, done),
    );
  }

  shutdown(fd: number, how: number): Result {
    const socket = this.find(fd);
    return socket === null ? fail(EBADF) : this.acted(calls.shutdown(this, socket, how));
  }

  close(fd: number, done: Done): Outcome {
    const socket = this.find(fd);
    return socket === null ? fail(EBADF) : this.acted(calls.close(this, socket, done));
  }

  fcntl(fd: number, command: number, argument: number): Result {
    const socket = this.find(fd);
    if (socket === null) return fail(EBADF);
    if (command === F_GETFL) return succeed(O_RDWR | (socket.nonBlocking ? O_NONBLOCK : 0));
    if (command === F_SETFL) socket.nonBlocking = (argument & O_NONBLOCK) !== 0;
    else if (command !== F_GETFD && command !== F_SETFD) return fail(EINVAL);
    return succeed(0);
  }

  /** The payload is what the argument points to, afterwards. */
  ioctl(fd: number, request: number, argument: number): Result<number> {
    const socket = this.find(fd);
    if (socket === null) return fail(EBADF);
    if (request === FIONBIO) {
      socket.nonBlocking = argument !== 0;
      return succeed(0, argument);
    }
    const isQueue = request === FIONREAD || request === SIOCOUTQ || request === SIOCOUTQNSD;
    if (isQueue && socket.state === LINUX_LISTEN) return fail(EINVAL);
    if (request === FIONREAD) return succeed(0, socket.readable);
    if (request === SIOCOUTQ) return succeed(0, unacknowledged(socket));
    if (request === SIOCOUTQNSD) return succeed(0, unsent(socket));
    return request === SIOCATMARK ? succeed(0, 0) : fail(ENOTTY);
  }

  getsockopt(fd: number, level: number, name: number, length: number): Result<Buffer> {
    const socket = this.find(fd);
    return socket === null ? fail(EBADF) : getOption(this.tcp, socket, level, name, length);
  }

  setsockopt(fd: number, level: number, name: number, value: Buffer): Result {
    const socket = this.find(fd);
    return socket === null ? fail(EBADF) : this.acted(setOption(socket, level, name, value));
  }

  /** The payload is the revents of each descriptor. @param timeoutMs negative: without end */
  poll(
    timeoutMs: number,
    wanted: readonly { readonly fd: number; readonly events: number }[],
    done: Done<readonly number[]>,
  ): Outcome<readonly number[]> {
    const found = wanted.map(({ fd }) => this.find(fd));
    const look = (): Result<readonly number[]> => {
      const revents = wanted.map(({ fd, events }, index) => {
        const socket = found[index] ?? null;
        if (socket !== null) return socket.pollMask & (events | POLLERR | POLLHUP);
        return fd < 0 ? 0 : POLLNVAL;
      });
      return succeed(revents.filter((bits) => bits !== 0).length, revents);
    };
    const first = look();
    if (first.value > 0 || timeoutMs === 0) return first;
    const attempt = (): Outcome<readonly number[]> => {
      const result = look();
      return result.value > 0 ? result : null;
    };
    const sockets = found.filter((socket) => socket !== null);
    this.wait(sockets, timeoutMs < 0 ? ANYTIME : timeoutMs * 1000, attempt, look, done);
    return null;
  }

  /** Aborts every connection and closes every descriptor; calls that wait get their result. */
  reset(): Result {
    calls.reset(this);
    return this.acted(succeed(0));
  }

  // What the calls are made of.

  /** Gives a socket the lowest free descriptor; false when there is none. */
  open(socket: PosixSocket): boolean {
    const { descriptors } = this;
    let index = descriptors.indexOf(null);
    if (index < 0) index = descriptors.length;
    if (index >= this.limits.maxDescriptors) return false;
    descriptors[index] = socket;
    socket.fd = FIRST_DESCRIPTOR + index;
    this.all.add(socket);
    return true;
  }

  closeDescriptor(socket: PosixSocket): void {
    if (socket.fd >= 0) this.descriptors[socket.fd - FIRST_DESCRIPTOR] = null;
    socket.fd = -1;
  }

  /** A socket for a connection of a listener, which has no descriptor yet. */
  createChild(listener: PosixSocket): PosixSocket {
    const child = new PosixSocket(this, SocketOptions.like(listener.options));
    child.phase = CONNECTED;
    child.parent = listener;
    this.all.add(child);
    return child;
  }

  /** The result of an attempt, or null when the call waits for one. */
  block<Payload>(
    socket: PosixSocket,
    nonBlocking: boolean,
    limitUs: number,
    attempt: () => Outcome<Payload>,
    late: () => Result<Payload>,
    done: Done<Payload>,
  ): Outcome<Payload> {
    const result = attempt();
    if (result !== null) return result;
    if (nonBlocking) return late();
    this.wait([socket], limitUs === 0 ? ANYTIME : limitUs, attempt, late, done);
    return null;
  }

  private wait<Payload>(
    sockets: readonly PosixSocket[],
    limitUs: number,
    attempt: () => Outcome<Payload>,
    late: () => Result<Payload>,
    done: Done<Payload>,
  ): void {
    const tryAgain = (): (() => void) | null => {
      const result = attempt();
      return result === null ? null : () => done(result);
    };
    this.waits.add(sockets, limitUs, tryAgain, () => done(late()));
  }

  /** Something has happened: calls that wait try again, and what nobody can reach any more goes on to its end. */
  changed(socket: PosixSocket): void {
    const { parent } = socket;
    if (parent !== null) {
      this.waits.wake(parent);
      return;
    }
    this.waits.wake(socket);
    if (socket.fd >= 0 || socket.holds > 0 || !this.all.has(socket)) return;
    if (!socket.ended) calls.end(this, socket);
    if (socket.tcb === null) this.forget(socket);
  }

  private forget(socket: PosixSocket): void {
    this.all.delete(socket);
    if (socket.orphanTimer === 0) return;
    this.orphans.delete(socket.orphanTimer);
    this.tcp.timers.destroy(socket.orphanTimer);
    socket.orphanTimer = 0;
  }

  /** A connection that nobody has open is over some time after it has come to FIN-WAIT-2. */
  watchOrphan(socket: PosixSocket): void {
    const { timers, clock } = this.tcp;
    socket.orphanTimer = timers.create(this.orphanKind, 0);
    timers.setArgument(socket.orphanTimer, socket.orphanTimer);
    this.orphans.set(socket.orphanTimer, socket);
    clock.look();
    timers.scheduleAfter(socket.orphanTimer, socket.options.orphanUs);
  }

  private orphanExpired(timer: number): void {
    const socket = this.orphans.get(timer);
    if (socket === undefined) return;
    if (calls.orphanExpired(this, socket)) this.changed(socket);
    else this.tcp.timers.scheduleAfter(timer, socket.options.orphanUs);
  }

  private find(fd: number): PosixSocket | null {
    return this.descriptors[fd - FIRST_DESCRIPTOR] ?? null;
  }

  /** After a call that may have something to send. */
  private acted<Any>(result: Any): Any {
    this.tcp.stack.wake();
    return result;
  }
}
