/**
 * The socket calls of scripts over the sockets of the host under test. Descriptors go by the numbers that a script gives them;
 * `...` stands for what the script does not care about: the address that everything listens on, bytes without a meaning.
 */
import {
  AF_INET,
  F_SETFL,
  IPPROTO_TCP,
  LINUX_CLOSE,
  MSG_FASTOPEN,
  MSG_PEEK,
  O_NONBLOCK,
  O_RDWR,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  SO_LINGER,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_INFO,
} from '../../src/sockets/posix/constants.ts';
import type { PosixSockets } from '../../src/sockets/posix/posix-sockets.ts';
import type { Outcome, Result } from '../../src/sockets/posix/result.ts';
import { parseIpv4 } from '../../src/wire/address.ts';
import { constant, EFAULT } from './constants.ts';
import type { CallSpec, Expression } from './script.ts';

/** Something that this does not do; the script cannot be run. */
export class UnsupportedCall extends Error {}

/** What a call came to differs from what the script says it comes to. */
export class WrongResult extends Error {}

/** What is bound without an address, and connected to. */
export const LOCAL_PORT = 8080;
export const REMOTE_PORT = 8080;

const INFO_BYTES = 248;
/** Their second argument is a buffer. */
const BUFFER_CALLS: ReadonlySet<string> = new Set(['read', 'recv', 'recvfrom', 'write', 'send', 'sendto']);
const EPOLLET = 0x80000000;
const EPOLL_MASK = POLLIN | POLLOUT | POLLERR | POLLHUP | 0x2000;

export interface Answer {
  readonly value: number;
  readonly errno: number;
  /** Looks at what the call wrote; throws `WrongResult`. */
  readonly verify: () => void;
}

type Tell = (answer: Answer) => void;
type Handler = (args: readonly Expression[], tell: Tell, spec: CallSpec) => Answer | null;

interface Watched {
  readonly fd: number;
  events: number;
  /** What an edge-triggered one has been told of. */
  told: number;
}

export class SocketCalls {
  private readonly sockets: PosixSockets;
  private readonly peerAddress: number;
  /** The script's descriptors, and ours. */
  private readonly live = new Map<number, number>();
  private readonly epolls = new Map<number, Watched[]>();
  /** A connection is being opened, or a port listened on: the wire wants to know. */
  onConnect: (remotePort: number) => void = () => {};
  onListen: (localPort: number) => void = () => {};
  private readonly ports = new Map<number, number>();

  constructor(sockets: PosixSockets, peerAddress: number) {
    this.sockets = sockets;
    this.peerAddress = peerAddress;
  }

  /** Makes a call; null when it waits, and `tell` hears of its end. Throws `UnsupportedCall`. */
  make(spec: CallSpec, tell: Tell): Answer | null {
    const handler = this.handlers[spec.name];
    if (handler === undefined) throw new UnsupportedCall(`the call ${spec.name}`);
    // Our calls take bytes, and know no pointer that leads nowhere.
    if (BUFFER_CALLS.has(spec.name) && isNull(spec.args[1])) return plain({ value: -1, errno: EFAULT });
    return handler(spec.args, tell, spec);
  }

  /** TCP_INFO of a socket of the script; null when it has none. */
  info(scriptFd: number): Buffer | null {
    const fd = this.live.get(scriptFd);
    if (fd === undefined) return null;
    const { value, payload } = this.sockets.getsockopt(fd, IPPROTO_TCP, TCP_INFO, INFO_BYTES);
    return value === 0 ? (payload ?? null) : null;
  }

  /** Notes that the script calls a new descriptor of ours by this number. */
  private name(spec: CallSpec, result: Result<unknown>): Answer {
    if (result.value < 0) return plain(result);
    const scriptFd = spec.result.kind === 'integer' && spec.result.value >= 0 ? spec.result.value : result.value;
    this.live.set(scriptFd, result.value);
    return { value: scriptFd, errno: 0, verify: () => {} };
  }

  private readonly handlers: Readonly<Record<string, Handler>> = {
    socket: ([domain, type, protocol], _tell, spec) => {
      // `...` is the family under test.
      const family = domain?.kind === 'ellipsis' ? AF_INET : number(domain);
      if (family !== AF_INET) throw new UnsupportedCall('a family other than AF_INET');
      if ((number(type) & 0xff) !== SOCK_STREAM) throw new UnsupportedCall('a type other than SOCK_STREAM');
      return this.name(spec, this.sockets.socket(AF_INET, number(type), number(protocol)));
    },
    bind: ([fd, address]) => {
      const port = portOf(address) ?? LOCAL_PORT;
      this.ports.set(number(fd), port);
      return plain(this.sockets.bind(this.fd(fd), 0, port));
    },
    listen: ([fd, backlog]) => {
      const result = this.sockets.listen(this.fd(fd), number(backlog));
      if (result.value === 0) this.onListen(this.ports.get(number(fd)) ?? LOCAL_PORT);
      return plain(result);
    },
    accept: ([fd], tell, spec) => this.accept(fd, tell, spec, 0),
    accept4: ([fd, , , flags], tell, spec) => this.accept(fd, tell, spec, number(flags)),
    connect: ([fd, address], tell) => {
      const port = this.openTo(fd, address);
      return this.wait((done) => this.sockets.connect(this.fd(fd), this.targetOf(address), port, done), tell);
    },
    read: ([fd, , length], tell) => this.receive(fd, number(length), 0, tell),
    recv: ([fd, , length, flags], tell) => this.receive(fd, number(length), number(flags), tell),
    recvfrom: ([fd, , length, flags], tell) => this.receive(fd, number(length), number(flags), tell),
    recvmsg: ([fd, message, flags], tell) => this.receive(fd, lengthOfMessage(message), number(flags), tell),
    readv: ([fd, vector], tell) => this.receive(fd, lengthOfVector(vector), 0, tell),
    write: ([fd, data, length], tell) => this.send(fd, bytesOf(data, number(length)), 0, tell),
    send: ([fd, data, length, flags], tell) => this.send(fd, bytesOf(data, number(length)), number(flags), tell),
    sendto: ([fd, data, length, flags, address], tell) =>
      this.sendTo(fd, bytesOf(data, number(length)), number(flags), address, tell),
    sendmsg: ([fd, message, flags], tell) => {
      const address = fieldOf(message, 'msg_name');
      return this.sendTo(fd, Buffer.alloc(lengthOfMessage(message)), number(flags), address, tell);
    },
    writev: ([fd, vector], tell) => this.send(fd, Buffer.alloc(lengthOfVector(vector)), 0, tell),
    shutdown: ([fd, how]) => plain(this.sockets.shutdown(this.fd(fd), number(how))),
    close: ([fd], tell) => {
      const scriptFd = number(fd);
      if (this.epolls.delete(scriptFd)) return plain({ value: 0, errno: 0 });
      const live = this.fd(fd);
      this.live.delete(scriptFd);
      return this.wait((done) => this.sockets.close(live, done), tell);
    },
    fcntl: ([fd, command, argument]) => {
      const name = number(command);
      const value = argument === undefined ? 0 : number(argument);
      return plain(this.sockets.fcntl(this.fd(fd), name, name === F_SETFL ? value & (O_RDWR | O_NONBLOCK) : value));
    },
    ioctl: ([fd, request, out]) => {
      const isGiven = out?.kind === 'list' && out.items[0]?.kind === 'integer';
      const result = this.sockets.ioctl(this.fd(fd), number(request), isGiven ? number(out.items[0]) : 0);
      return { ...plain(result), verify: () => verifyNumber(out, result.payload) };
    },
    poll: ([fds, , timeout], tell) => this.poll(fds, number(timeout), tell),
    setsockopt: ([fd, level, name, value]) => {
      const bytes = optionBytes(number(level), number(name), value);
      return plain(this.sockets.setsockopt(this.fd(fd), number(level), number(name), bytes));
    },
    getsockopt: ([fd, level, name, out, length]) => {
      const room = length?.kind === 'list' && length.items[0] !== undefined ? number(length.items[0]) : 4;
      const result = this.sockets.getsockopt(this.fd(fd), number(level), number(name), room);
      const { payload } = result;
      const verify = (): void => {
        if (payload === undefined || payload.length !== 4) return;
        verifyNumber(out, payload.readInt32LE(0));
      };
      return { ...plain(result), verify };
    },
    epoll_create: (_args, _tell, spec) => this.createEpoll(spec),
    epoll_create1: (_args, _tell, spec) => this.createEpoll(spec),
    epoll_ctl: ([epoll, operation, fd, event]) =>
      this.controlEpoll(number(epoll), number(operation), number(fd), event),
    epoll_wait: ([epoll, event, , timeout]) => this.waitEpoll(number(epoll), event, number(timeout)),
  };

  private accept(fd: Expression | undefined, tell: Tell, spec: CallSpec, flags: number): Answer | null {
    const finish = (result: Result<unknown>): Answer => {
      const answer = this.name(spec, result);
      if (result.value >= 0 && (flags & O_NONBLOCK) !== 0) this.sockets.fcntl(result.value, F_SETFL, O_NONBLOCK);
      return answer;
    };
    const result = this.sockets.accept(this.fd(fd), (late) => tell(finish(late)));
    return result === null ? null : finish(result);
  }

  private receive(fd: Expression | undefined, length: number, flags: number, tell: Tell): Answer | null {
    return this.wait((done) => this.sockets.recv(this.fd(fd), length, flags & (MSG_PEEK | 0x7fffffff), done), tell);
  }

  private send(fd: Expression | undefined, data: Uint8Array, flags: number, tell: Tell): Answer | null {
    return this.wait((done) => this.sockets.send(this.fd(fd), data, flags, done), tell);
  }

  private sendTo(
    fd: Expression | undefined,
    data: Uint8Array,
    flags: number,
    address: Expression | undefined,
    tell: Tell,
  ): Answer | null {
    if ((flags & MSG_FASTOPEN) === 0) return this.send(fd, data, flags, tell);
    const port = this.openTo(fd, address);
    const target = this.targetOf(address);
    return this.wait((done) => this.sockets.sendto(this.fd(fd), data, flags, target, port, done), tell);
  }

  /** The port of an address that is connected to, of which the wire is told unless there is a connection already. */
  private openTo(fd: Expression | undefined, address: Expression | undefined): number {
    const port = portOf(address) ?? REMOTE_PORT;
    if (this.info(number(fd))?.readUInt8(0) === LINUX_CLOSE) this.onConnect(port);
    return port;
  }

  private targetOf(address: Expression | undefined): number {
    return (address?.kind === 'struct' ? addressOf(address) : null) ?? this.peerAddress;
  }

  private wait<Payload>(
    make: (done: (result: Result<Payload>) => void) => Outcome<Payload>,
    tell: Tell,
  ): Answer | null {
    const result = make((late) => tell(plain(late)));
    return result === null ? null : plain(result);
  }

  private poll(fds: Expression | undefined, timeoutMs: number, tell: Tell): Answer | null {
    if (fds?.kind !== 'list') throw new UnsupportedCall('poll without a list');
    const wanted = fds.items.map((item) => ({
      fd: this.fd(fieldOf(item, 'fd')),
      events: number(fieldOf(item, 'events')),
      revents: fieldOf(item, 'revents'),
    }));
    const finish = (result: Result<readonly number[]>): Answer => ({
      ...plain(result),
      verify: () => {
        for (const [i, { revents }] of wanted.entries()) {
          if (revents !== undefined) verifyNumber(revents, result.payload?.[i], 'revents');
        }
      },
    });
    const result = this.sockets.poll(timeoutMs, wanted, (late) => tell(finish(late)));
    return result === null ? null : finish(result);
  }

  private createEpoll(spec: CallSpec): Answer {
    const fd = number(spec.result);
    this.epolls.set(fd, []);
    return plain({ value: fd, errno: 0 });
  }

  private controlEpoll(epoll: number, operation: number, fd: number, event: Expression | undefined): Answer {
    const watched = this.epolls.get(epoll);
    if (watched === undefined) throw new UnsupportedCall(`${epoll} is no epoll descriptor`);
    const index = watched.findIndex((each) => each.fd === fd);
    if (index >= 0) watched.splice(index, 1);
    if (operation !== constant('EPOLL_CTL_DEL')) {
      watched.push({ fd, events: number(fieldOf(event, 'events')) >>> 0, told: 0 });
    }
    return plain({ value: 0, errno: 0 });
  }

  /** Edge-triggered ones are told again when what they were told of has gone meanwhile. */
  private waitEpoll(epoll: number, event: Expression | undefined, timeoutMs: number): Answer {
    if (timeoutMs !== 0) throw new UnsupportedCall('epoll_wait that waits');
    const ready: number[] = [];
    for (const watched of this.epolls.get(epoll) ?? []) {
      const fd = this.live.get(watched.fd);
      if (fd === undefined) continue;
      const poll = this.sockets.poll(0, [{ fd, events: EPOLL_MASK }], () => {});
      const mask = (poll?.payload?.[0] ?? 0) & (watched.events | POLLERR | POLLHUP) & EPOLL_MASK;
      const isEdge = (watched.events & EPOLLET) !== 0;
      const news = isEdge ? mask & ~watched.told : mask;
      watched.told = mask;
      if (news !== 0) ready.push(mask);
    }
    const verify = (): void => {
      if (ready[0] !== undefined) verifyNumber(fieldOf(event, 'events'), ready[0], 'events');
    };
    return { value: ready.length, errno: 0, verify };
  }

  /** Our descriptor for one of the script's; one that it made up stays so. */
  private fd(expression: Expression | undefined): number {
    const scriptFd = number(expression);
    return this.live.get(scriptFd) ?? -1;
  }
}

function plain(result: Result<unknown>): Answer {
  return { value: result.value, errno: result.errno, verify: () => {} };
}

/** The value of a number, a name, or several joined with `|`. */
export function number(expression: Expression | undefined): number {
  switch (expression?.kind) {
    case 'integer':
      return expression.value;
    case 'or':
      return expression.parts.reduce((bits, part) => bits | number(part), 0);
    case 'word': {
      const value = constant(expression.name);
      if (value === undefined) throw new UnsupportedCall(`the name ${expression.name}`);
      return value;
    }
    case 'ellipsis':
    case undefined:
      return 0;
    default:
      throw new UnsupportedCall(`${expression?.kind} where a number is expected`);
  }
}

function verifyNumber(wanted: Expression | undefined, found: number | undefined, what = 'the value'): void {
  const expected = wanted?.kind === 'list' ? wanted.items[0] : wanted;
  if (expected === undefined || expected.kind === 'ellipsis' || found === undefined) return;
  if (number(expected) >>> 0 !== found >>> 0) throw new WrongResult(`${what} is ${found}, not ${number(expected)}`);
}

function fieldOf(expression: Expression | undefined, name: string): Expression | undefined {
  if (expression?.kind !== 'struct') return undefined;
  return expression.fields.find(([field]) => field === name)?.[1];
}

/** `{sa_family = AF_INET, sin_port = htons(8080), ...}`. */
function portOf(address: Expression | undefined): number | null {
  const port = fieldOf(address, 'sin_port');
  return port?.kind === 'apply' ? number(port.args[0]) : null;
}

function addressOf(address: Expression): number | null {
  const value = fieldOf(address, 'sin_addr');
  const text = value?.kind === 'apply' && value.args[0]?.kind === 'string' ? value.args[0].text : null;
  return text === null ? null : (parseIpv4(text) ?? null);
}

function isNull(value: Expression | undefined): boolean {
  return value?.kind === 'word' && value.name === 'NULL';
}

/** Of `[{..., 1000}, {..., 20}]`. */
function lengthOfVector(vector: Expression | undefined): number {
  if (vector?.kind !== 'list') return 0;
  return vector.items.reduce((sum, item) => sum + (item.kind === 'struct' ? number(item.fields.at(-1)?.[1]) : 0), 0);
}

function lengthOfMessage(message: Expression | undefined): number {
  return lengthOfVector(fieldOf(message, 'msg_iov'));
}

function bytesOf(data: Expression | undefined, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  if (data?.kind === 'string') bytes.write(data.text, 'latin1');
  return bytes;
}

function optionBytes(level: number, name: number, value: Expression | undefined): Buffer {
  if (value?.kind === 'string') return Buffer.from(value.text, 'latin1');
  if (level === SOL_SOCKET && name === SO_LINGER) {
    return words([
      number(fieldOf(value, 'onoff') ?? fieldOf(value, 'l_onoff')),
      number(fieldOf(value, 'linger') ?? fieldOf(value, 'l_linger')),
    ]);
  }
  if (value?.kind === 'list') return words(value.items.map(number));
  if (value?.kind === 'struct') return words(value.fields.map(([, field]) => number(field)));
  return words([number(value)]);
}

function words(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeInt32LE(value | 0, 4 * i);
  return bytes;
}
