/**
 * Socket options: getsockopt and setsockopt over the values that a socket keeps.
 *
 * In force: SO_REUSEADDR, SO_ERROR, SO_LINGER, SO_SNDBUF, SO_RCVTIMEO, SO_SNDTIMEO, SO_TYPE, SO_DOMAIN, SO_PROTOCOL,
 * SO_ACCEPTCONN, SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_INFO, TCP_NODELAY, TCP_CORK, TCP_LINGER2,
 * TCP_CONGESTION, TCP_USER_TIMEOUT, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, and TCP_MAXSEG for reading.
 * Stored and given back, because programs only want them taken; the stack does not act on them yet: SO_REUSEPORT, SO_RCVBUF,
 * SO_OOBINLINE, SO_ZEROCOPY, TCP_SYNCNT, TCP_DEFER_ACCEPT, TCP_WINDOW_CLAMP, TCP_QUICKACK.
 * ENOPROTOOPT: to set TCP_MAXSEG, and everything that is not named here.
 */
import { int32At } from '../../runtime/words.ts';
import { setCongestionControl, setConnectionOptions } from '../../tcp/calls.ts';
import { CONGESTION_CONTROLS } from '../../tcp/congestion/controls.ts';
import { CLOSED, ESTABLISHED } from '../../tcp/state.ts';
import type { Tcb } from '../../tcp/tcb.ts';
import type { Tcp } from '../../tcp/tcp.ts';
import {
  AF_INET,
  IPPROTO_TCP,
  LINUX_CLOSE,
  LINUX_LISTEN,
  SO_ACCEPTCONN,
  SO_DOMAIN,
  SO_ERROR,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_OOBINLINE,
  SO_PROTOCOL,
  SO_RCVBUF,
  SO_RCVTIMEO,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_SNDTIMEO,
  SO_TYPE,
  SO_ZEROCOPY,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_CONGESTION,
  TCP_CORK,
  TCP_DEFER_ACCEPT,
  TCP_FASTOPEN,
  TCP_FASTOPEN_CONNECT,
  TCP_INFO,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_LINGER2,
  TCP_MAXSEG,
  TCP_NODELAY,
  TCP_QUICKACK,
  TCP_SYNCNT,
  TCP_TIMESTAMP,
  TCP_USER_TIMEOUT,
  TCP_WINDOW_CLAMP,
} from './constants.ts';
import { EINVAL, ENOENT, ENOPROTOOPT, EOPNOTSUPP, EPERM } from './errno.ts';
import { fail, type Result, succeed } from './result.ts';
import type { PosixSocket } from './socket.ts';
import { TCP_INFO_BYTES, writeTcpInfo } from './tcp-info.ts';

/** Bounds of SO_SNDBUF and SO_RCVBUF (net.core.wmem_max; SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF), and what they are at first. */
const MAX_BUFFER_BYTES = 4 * 1024 * 1024;
const MIN_SEND_BUFFER_BYTES = 4608;
const MIN_RECEIVE_BUFFER_BYTES = 2304;
const FIRST_SEND_BUFFER_BYTES = 16_384;
const FIRST_RECEIVE_BUFFER_BYTES = 131_072;
/** Bytes a connection may have queued unless SO_SNDBUF says otherwise (the end of net.ipv4.tcp_wmem). */
export const DEFAULT_SEND_BUFFER_BYTES = 4 * 1024 * 1024;
/** net.ipv4.tcp_fin_timeout, and the most that TCP_LINGER2 may ask for. */
const FIN_TIMEOUT_SECONDS = 60;
const MAX_LINGER2_SECONDS = 120;
const CONGESTION_NAME_BYTES = 16;
const DEFAULT_MSS_BYTES = 536;

/** An option of one int that is only kept: its bounds, what it is at first, and whether any value but 0 counts as 1. */
interface KeptOption {
  readonly level: number;
  readonly name: number;
  readonly lowest: number;
  readonly highest: number;
  readonly first: number;
  readonly isFlag: boolean;
}

const INT_MIN = -0x80000000;
const INT_MAX = 0x7fffffff;

function flag(level: number, name: number, first = 0): KeptOption {
  return { level, name, lowest: INT_MIN, highest: INT_MAX, first, isFlag: true };
}

function number(name: number, lowest: number, highest: number, first: number): KeptOption {
  return { level: IPPROTO_TCP, name, lowest, highest, first, isFlag: false };
}

const KEPT: readonly KeptOption[] = [
  flag(SOL_SOCKET, SO_REUSEADDR),
  flag(SOL_SOCKET, SO_REUSEPORT),
  flag(SOL_SOCKET, SO_KEEPALIVE),
  flag(SOL_SOCKET, SO_OOBINLINE),
  flag(SOL_SOCKET, SO_ZEROCOPY),
  flag(IPPROTO_TCP, TCP_NODELAY),
  flag(IPPROTO_TCP, TCP_CORK),
  flag(IPPROTO_TCP, TCP_QUICKACK, 1),
  number(TCP_KEEPIDLE, 1, 32_767, 7200),
  number(TCP_KEEPINTVL, 1, 32_767, 75),
  number(TCP_KEEPCNT, 1, 127, 9),
  number(TCP_SYNCNT, 1, 127, 6),
  number(TCP_DEFER_ACCEPT, INT_MIN, INT_MAX, 0),
  number(TCP_WINDOW_CLAMP, 0, INT_MAX, 0),
  number(TCP_USER_TIMEOUT, 0, INT_MAX, 0),
  number(TCP_FASTOPEN, 0, INT_MAX, 0),
  number(TCP_FASTOPEN_CONNECT, 0, 1, 0),
];

function indexOfKept(level: number, name: number): number {
  return KEPT.findIndex((kept) => kept.level === level && kept.name === name);
}

const REUSE_ADDRESS = indexOfKept(SOL_SOCKET, SO_REUSEADDR);
const NO_DELAY = indexOfKept(IPPROTO_TCP, TCP_NODELAY);
const CORK = indexOfKept(IPPROTO_TCP, TCP_CORK);
const KEEP_ALIVE = indexOfKept(SOL_SOCKET, SO_KEEPALIVE);
const KEEP_IDLE = indexOfKept(IPPROTO_TCP, TCP_KEEPIDLE);
const KEEP_INTERVAL = indexOfKept(IPPROTO_TCP, TCP_KEEPINTVL);
const KEEP_COUNT = indexOfKept(IPPROTO_TCP, TCP_KEEPCNT);
const FAST_OPEN_QUEUE = indexOfKept(IPPROTO_TCP, TCP_FASTOPEN);
const FAST_OPEN_CONNECT = indexOfKept(IPPROTO_TCP, TCP_FASTOPEN_CONNECT);
const USER_TIMEOUT = indexOfKept(IPPROTO_TCP, TCP_USER_TIMEOUT);
const SECOND_US = 1_000_000;

/** What a socket's options are; an accepted socket begins with its listener's. */
export class SocketOptions {
  /** SO_SNDBUF and SO_RCVBUF as they are read. */
  shownSendBuffer = FIRST_SEND_BUFFER_BYTES;
  shownReceiveBuffer = FIRST_RECEIVE_BUFFER_BYTES;
  /** Bytes that may be queued. */
  sendBufferBytes = DEFAULT_SEND_BUFFER_BYTES;
  linger = false;
  lingerSeconds = 0;
  /** How long an orphan stays in FIN-WAIT-2; negative: not at all. */
  linger2Seconds = FIN_TIMEOUT_SECONDS;
  /** Microseconds, 0 for without end. */
  receiveTimeoutUs = 0;
  sendTimeoutUs = 0;
  /** Of the stack's names, empty for the stack's own choice. */
  congestion = '';
  private readonly kept: Int32Array = Int32Array.from(KEPT, ({ first }) => first);

  static like(other: SocketOptions): SocketOptions {
    const options = new SocketOptions();
    const { kept } = options;
    Object.assign(options, other, { kept });
    kept.set(other.kept);
    return options;
  }

  /** How often an orphan is looked at. */
  get orphanUs(): number {
    return Math.max(1, this.linger2Seconds) * 1_000_000;
  }

  get reuseAddress(): boolean {
    return this.kept[REUSE_ADDRESS] !== 0;
  }

  /** Connections that may be accepted before their handshake is complete. */
  get fastOpenQueue(): number {
    return int32At(this.kept, FAST_OPEN_QUEUE);
  }

  get fastOpenConnect(): boolean {
    return this.kept[FAST_OPEN_CONNECT] !== 0;
  }

  /** Has a connection behave as they say. */
  apply(tcb: Tcb): void {
    tcb.nagle = this.kept[NO_DELAY] === 0;
    tcb.corked = this.kept[CORK] !== 0;
    if (tcb.state === CLOSED) return;
    const keepAliveIdleUs = this.kept[KEEP_ALIVE] === 0 ? 0 : int32At(this.kept, KEEP_IDLE) * SECOND_US;
    const changes = keepAliveIdleUs !== tcb.options.keepAliveIdleUs;
    setConnectionOptions(tcb, {
      ...(changes ? { keepAliveIdleUs } : {}),
      keepAliveIntervalUs: int32At(this.kept, KEEP_INTERVAL) * SECOND_US,
      keepAliveProbes: int32At(this.kept, KEEP_COUNT),
      userTimeoutUs: int32At(this.kept, USER_TIMEOUT) * 1000,
    });
    tcb.tcp.wantOutput(tcb);
  }

  /** The value of an option that is only kept, or undefined. */
  get(level: number, name: number): number | undefined {
    return this.kept[indexOfKept(level, name)];
  }

  /** Keeps a value; errno, or -1 when the option is none of these. */
  set(level: number, name: number, value: number): number {
    const index = indexOfKept(level, name);
    const kept = KEPT[index];
    if (kept === undefined) return -1;
    if (value < kept.lowest || value > kept.highest) return EINVAL;
    this.kept[index] = kept.isFlag ? Number(value !== 0) : value;
    return 0;
  }
}

export function getOption(tcp: Tcp, socket: PosixSocket, level: number, name: number, length: number): Result<Buffer> {
  if (length < 0) return fail(EINVAL);
  if (level !== SOL_SOCKET && level !== IPPROTO_TCP) return fail(level === 0 ? ENOPROTOOPT : EOPNOTSUPP);
  const value = level === SOL_SOCKET ? readSocketOption(socket, name) : readTcpOption(tcp, socket, name);
  return value === null ? fail(ENOPROTOOPT) : succeed(0, value.subarray(0, length));
}

function readSocketOption(socket: PosixSocket, name: number): Buffer | null {
  const { options } = socket;
  if (name === SO_ERROR) return ints(socket.takeError());
  if (name === SO_TYPE) return ints(SOCK_STREAM);
  if (name === SO_DOMAIN) return ints(AF_INET);
  if (name === SO_PROTOCOL) return ints(IPPROTO_TCP);
  if (name === SO_ACCEPTCONN) return ints(Number(socket.state === LINUX_LISTEN));
  if (name === SO_SNDBUF) return ints(options.shownSendBuffer);
  if (name === SO_RCVBUF) return ints(options.shownReceiveBuffer);
  if (name === SO_LINGER) return ints(Number(options.linger), options.lingerSeconds);
  if (name === SO_RCVTIMEO) return timeval(options.receiveTimeoutUs);
  if (name === SO_SNDTIMEO) return timeval(options.sendTimeoutUs);
  const kept = options.get(SOL_SOCKET, name);
  return kept === undefined ? null : ints(kept);
}

function readTcpOption(tcp: Tcp, socket: PosixSocket, name: number): Buffer | null {
  const { options, tcb } = socket;
  if (name === TCP_INFO) return writeTcpInfo(Buffer.alloc(TCP_INFO_BYTES), tcp, socket);
  if (name === TCP_CONGESTION) {
    return Buffer.from(linuxName(congestionOf(tcp, socket)).padEnd(CONGESTION_NAME_BYTES, '\0'));
  }
  if (name === TCP_MAXSEG) return ints(tcb === null || tcb.mssBytes === 0 ? DEFAULT_MSS_BYTES : tcb.mssBytes);
  if (name === TCP_LINGER2) return ints(options.linger2Seconds);
  if (name === TCP_TIMESTAMP) return ints(tcp.timestamp(tcb === null ? 0 : tcb.tsOffset));
  const kept = options.get(IPPROTO_TCP, name);
  return kept === undefined ? null : ints(kept);
}

export function setOption(socket: PosixSocket, level: number, name: number, value: Buffer): Result {
  if (level !== SOL_SOCKET && level !== IPPROTO_TCP) return fail(ENOPROTOOPT);
  const errno = level === SOL_SOCKET ? setSocketOption(socket, name, value) : setTcpOption(socket, name, value);
  return errno === 0 ? succeed(0) : fail(errno);
}

/** Returns errno. */
function setSocketOption({ options, tcb }: PosixSocket, name: number, value: Buffer): number {
  if (value.length < 4) return EINVAL;
  const first = value.readInt32LE(0);
  if (name === SO_LINGER) {
    if (value.length < 8) return EINVAL;
    options.linger = first !== 0;
    if (options.linger) options.lingerSeconds = value.readInt32LE(4);
    return 0;
  }
  if (name === SO_RCVTIMEO || name === SO_SNDTIMEO) return setTimeLimit(options, name, value);
  if (name === SO_SNDBUF) {
    options.shownSendBuffer = Math.max(MIN_SEND_BUFFER_BYTES, doubled(first));
    options.sendBufferBytes = options.shownSendBuffer;
    return 0;
  }
  if (name === SO_RCVBUF) {
    options.shownReceiveBuffer = Math.max(MIN_RECEIVE_BUFFER_BYTES, doubled(first));
    return 0;
  }
  const errno = options.set(SOL_SOCKET, name, first);
  if (errno === 0 && tcb !== null) options.apply(tcb);
  return errno < 0 ? ENOPROTOOPT : errno;
}

/** Linux doubles what is asked for, its own records being counted too; a negative size is taken for a huge one. */
function doubled(asked: number): number {
  return 2 * Math.min(asked >>> 0, MAX_BUFFER_BYTES);
}

function setTimeLimit(options: SocketOptions, name: number, value: Buffer): number {
  if (value.length < 16) return EINVAL;
  const limitUs = Number(value.readBigInt64LE(0)) * 1_000_000 + Number(value.readBigInt64LE(8));
  if (name === SO_RCVTIMEO) options.receiveTimeoutUs = Math.max(0, limitUs);
  else options.sendTimeoutUs = Math.max(0, limitUs);
  return 0;
}

/** Returns errno. */
function setTcpOption(socket: PosixSocket, name: number, value: Buffer): number {
  const { options, state } = socket;
  if (name === TCP_CONGESTION) {
    const text = value
      .subarray(0, CONGESTION_NAME_BYTES - 1)
      .toString('latin1')
      .split('\0')[0];
    return text === '' ? EINVAL : chooseCongestion(socket, text ?? '');
  }
  if (value.length < 4) return EINVAL;
  const first = value.readInt32LE(0);
  if (name === TCP_TIMESTAMP) return EPERM;
  if (name === TCP_LINGER2) {
    options.linger2Seconds =
      first < 0 ? -1 : first > MAX_LINGER2_SECONDS ? MAX_LINGER2_SECONDS : first || FIN_TIMEOUT_SECONDS;
    return 0;
  }
  const isNew = state === LINUX_CLOSE;
  if (name === TCP_FASTOPEN && !isNew && state !== LINUX_LISTEN) return EINVAL;
  if (name === TCP_FASTOPEN_CONNECT && !isNew) return EINVAL;
  if (name === TCP_WINDOW_CLAMP && first === 0 && !isNew) return EINVAL;
  const errno = options.set(IPPROTO_TCP, name, first);
  if (errno === 0 && socket.tcb !== null) options.apply(socket.tcb);
  if (socket.listener !== null) socket.listener.fastOpenQueue = options.fastOpenQueue;
  return errno < 0 ? ENOPROTOOPT : errno;
}

function congestionOf({ settings }: Tcp, { options, tcb }: PosixSocket): string {
  if (tcb !== null && tcb.state >= ESTABLISHED) return tcb.congestion.name;
  return options.congestion === '' ? settings.congestion : options.congestion;
}

function linuxName(name: string): string {
  return name === 'newreno' ? 'reno' : name;
}

/** Takes a name of Linux's, for the connection there is and for one to come; returns errno. */
function chooseCongestion({ options, tcb }: PosixSocket, text: string): number {
  const name = Object.keys(CONGESTION_CONTROLS).find((candidate) => linuxName(candidate) === text);
  if (name === undefined) return ENOENT;
  options.congestion = name;
  if (tcb !== null && tcb.state >= ESTABLISHED) setCongestionControl(tcb, name);
  return 0;
}

function ints(...values: number[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) buffer.writeInt32LE(value, 4 * index);
  return buffer;
}

function timeval(us: number): Buffer {
  const buffer = Buffer.alloc(16);
  buffer.writeBigInt64LE(BigInt(Math.floor(us / 1_000_000)), 0);
  buffer.writeBigInt64LE(BigInt(us % 1_000_000), 8);
  return buffer;
}
