/**
 * One line of the socket RPC to one call and back. A request is `OP ARG...`, numbers in decimal, bytes in hex with `-` for
 * none; a response is `VALUE ERRNO PAYLOAD`. A line that is no request is answered with EINVAL, an unknown OP with ENOSYS.
 */
import { EAFNOSUPPORT, EINVAL, ENOSYS } from '../sockets/posix/errno.ts';
import type { PosixSockets } from '../sockets/posix/posix-sockets.ts';
import type { Outcome, Result, SocketAddress } from '../sockets/posix/result.ts';
import { formatIpv4, parseIpv4 } from '../wire/address.ts';

/** The most that one `recv` gives, like the reference. */
const MAX_RECEIVE_BYTES = 190_000;
const MAX_OPTION_BYTES = 65_536;

/** Told the response, with its newline. */
export type Respond = (line: string) => void;

/** Something that a request says and cannot mean. */
class BadRequest extends Error {}

/** The words of a request behind its OP, read one after the other. */
class Words {
  private readonly words: readonly string[];
  private next = 0;

  constructor(words: readonly string[]) {
    this.words = words;
  }

  get left(): number {
    return this.words.length - this.next;
  }

  text(): string {
    const word = this.words[this.next++];
    if (word === undefined) throw new BadRequest('an argument is missing');
    return word;
  }

  /** An int as a C program would hand it on: 32 bits. */
  int(): number {
    const word = this.text();
    if (!/^[+-]?\d{1,18}$/.test(word)) throw new BadRequest(`${word} is no number`);
    return Number(BigInt.asIntN(32, BigInt(word.replace('+', ''))));
  }

  bytes(): Buffer {
    const word = this.text();
    if (word === '-') return Buffer.alloc(0);
    if (word.length % 2 !== 0 || !/^[0-9a-fA-F]+$/.test(word)) throw new BadRequest(`${word} is not in hex`);
    return Buffer.from(word, 'hex');
  }

  /** Null for an address of another family. */
  address(): SocketAddress | null {
    const host = this.text();
    const port = this.int();
    if (port < 0 || port > 65_535) throw new BadRequest(`port ${port}`);
    if (host.includes(':')) return null;
    const address = parseIpv4(host);
    if (address === undefined) throw new BadRequest(`${host} is no address`);
    return { address, port };
  }
}

type Call = (sockets: PosixSockets, words: Words, respond: Respond) => void;

const OTHER_FAMILY: Result = { value: -1, errno: EAFNOSUPPORT };

const CALLS = new Map<string, Call>([
  ['socket', (sockets, words, respond) => tell(respond, sockets.socket(words.int(), words.int(), words.int()))],
  ['listen', (sockets, words, respond) => tell(respond, sockets.listen(words.int(), words.int()))],
  ['shutdown', (sockets, words, respond) => tell(respond, sockets.shutdown(words.int(), words.int()))],
  ['fcntl', (sockets, words, respond) => tell(respond, sockets.fcntl(words.int(), words.int(), words.int()))],
  ['reset', (sockets, _words, respond) => tell(respond, sockets.reset())],
  ['bind', bind],
  ['connect', connect],
  ['accept', accept],
  ['recv', recv],
  ['send', send],
  ['sendto', sendto],
  ['close', close],
  ['ioctl', ioctl],
  ['getsockopt', getsockopt],
  ['setsockopt', setsockopt],
  ['poll', poll],
]);

/** Performs the call that a line asks for; `respond` is called once, now or when the call no longer blocks. */
export function perform(sockets: PosixSockets, line: string, respond: Respond): void {
  const [op, ...rest] = line.split(/\s+/).filter((word) => word !== '');
  const call = op === undefined ? undefined : CALLS.get(op);
  if (call === undefined) {
    tell(respond, { value: -1, errno: op === undefined ? EINVAL : ENOSYS });
    return;
  }
  try {
    call(sockets, new Words(rest), respond);
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
    tell(respond, { value: -1, errno: EINVAL });
  }
}

/** What an OP that cannot be performed at all is answered with. */
export const MALFORMED = `-1 ${EINVAL} \n`;

function tell(respond: Respond, { value, errno }: Result<unknown>, payload = ''): void {
  respond(`${value} ${errno} ${payload}\n`);
}

/** Tells the result of a call, or sees to it that it is told when there is one. */
function settle<Payload>(
  respond: Respond,
  make: (done: (result: Result<Payload>) => void) => Outcome<Payload>,
  format: (payload: Payload) => string = () => '',
): void {
  const finish = (result: Result<Payload>): void => {
    tell(respond, result, result.payload === undefined ? '' : format(result.payload));
  };
  const result = make(finish);
  if (result !== null) finish(result);
}

function bind(sockets: PosixSockets, words: Words, respond: Respond): void {
  const fd = words.int();
  const to = words.address();
  tell(respond, to === null ? OTHER_FAMILY : sockets.bind(fd, to.address, to.port));
}

function connect(sockets: PosixSockets, words: Words, respond: Respond): void {
  const fd = words.int();
  const to = words.address();
  if (to === null) tell(respond, OTHER_FAMILY);
  else settle(respond, (done) => sockets.connect(fd, to.address, to.port, done));
}

function accept(sockets: PosixSockets, words: Words, respond: Respond): void {
  const fd = words.int();
  settle(
    respond,
    (done) => sockets.accept(fd, done),
    ({ address, port }: SocketAddress) => `${formatIpv4(address)} ${port}`,
  );
}

function recv(sockets: PosixSockets, words: Words, respond: Respond): void {
  const fd = words.int();
  const length = Math.min(words.int(), MAX_RECEIVE_BYTES);
  const flags = words.int();
  if (length < 0) throw new BadRequest(`${length} bytes`);
  settle(respond, (done) => sockets.recv(fd, length, flags, done), toHex);
}

function send(sockets: PosixSockets, words: Words, respond: Respond): void {
  const fd = words.int();
  const flags = words.int();
  const data = words.bytes();
  settle(respond, (done) => sockets.send(fd, data, flags, done));
}

function sendto(sockets: PosixSockets, words: Words, respond: Respond): void {
  const fd = words.int();
  const flags = words.int();
  const to = words.address();
  const data = words.bytes();
  settle(respond, (done) => sockets.sendto(fd, data, flags, to?.address ?? 0, to?.port ?? 0, done));
}

function close(sockets: PosixSockets, words: Words, respond: Respond): void {
  const fd = words.int();
  settle(respond, (done) => sockets.close(fd, done));
}

function ioctl(sockets: PosixSockets, words: Words, respond: Respond): void {
  const fd = words.int();
  const request = words.int();
  const argument = words.int();
  const result = sockets.ioctl(fd, request, argument);
  tell(respond, result, `${result.payload ?? argument}`);
}

function getsockopt(sockets: PosixSockets, words: Words, respond: Respond): void {
  const fd = words.int();
  const level = words.int();
  const name = words.int();
  const length = words.int();
  if (length < 0 || length > MAX_OPTION_BYTES) throw new BadRequest(`${length} bytes`);
  const result = sockets.getsockopt(fd, level, name, length);
  // Memory that the call has not written, like the reference.
  tell(respond, result, toHex(result.payload ?? Buffer.alloc(length)));
}

function setsockopt(sockets: PosixSockets, words: Words, respond: Respond): void {
  tell(respond, sockets.setsockopt(words.int(), words.int(), words.int(), words.bytes()));
}

function poll(sockets: PosixSockets, words: Words, respond: Respond): void {
  const timeoutMs = words.int();
  const wanted: { fd: number; events: number }[] = [];
  while (words.left >= 2) wanted.push({ fd: words.int(), events: words.int() });
  settle(
    respond,
    (done) => sockets.poll(timeoutMs, wanted, done),
    (revents: readonly number[]) => revents.join(' '),
  );
}

function toHex(bytes: Buffer): string {
  return bytes.toString('hex');
}
