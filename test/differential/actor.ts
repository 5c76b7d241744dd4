/**
 * What a scenario does to one host: socket calls through the RPC, segments from a scripted peer; and the record of what came of
 * it, written so that the records of two hosts may be compared line by line. What differs for no reason of TCP's is left out:
 * descriptors, initial sequence numbers, the values of the host's timestamps.
 *
 * What a host sends again is no part of the record, but for a SYN that answers another: one that comes within `ANSWER_MS`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PEER, type Subject } from '../support/differential-lab.ts';
import { type Crafted, RawPeer, type Seen } from '../support/raw-peer.ts';
import { callRpc, type RpcResponse } from '../support/rpc-client.ts';

/** Longer than a delayed acknowledgment, shorter than the least retransmission time-out. */
export const QUIET_MS = 140;
const ANSWER_MS = 100;
const PATIENCE_MS = 2000;
const FIRST_TS_VALUE = 1000;
const TS_STEP = 10;

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const MSG_DONTWAIT = 0x40;
const EAGAIN = 11;
const POLL_EVENTS = 0x2001 | 0x4;

export interface Ports {
  readonly host: number;
  readonly peer: number;
}

export class Actor {
  readonly record: string[] = [];
  readonly peer: RawPeer;
  readonly hostPort: number;
  private readonly subject: Subject;
  private readonly descriptors = new Map<string, number>();
  private readonly waiting = new Map<string, Promise<RpcResponse>>();
  /** Behind the last sequence number that the host has sent. */
  private highest = 0;
  private tsValue = FIRST_TS_VALUE;
  private asked: number;

  constructor(subject: Subject, ports: Ports, iss: number) {
    this.subject = subject;
    this.hostPort = ports.host;
    this.peer = new RawPeer(subject.link, { port: ports.peer, hostPort: ports.host, iss });
    this.asked = subject.link.clock.nowUs();
  }

  // Socket calls. A descriptor has a name.

  /** Makes a call and records what it gives. */
  async call(op: string, name: string, ...words: readonly (string | number)[]): Promise<RpcResponse> {
    this.asked = this.subject.link.clock.nowUs();
    const response = await callRpc(this.subject.rpc, op, this.descriptors.get(name) ?? -1, ...words);
    this.note(`${op} ${name} ${words.map(shorten).join(' ')}`, response);
    return response;
  }

  /** Begins a call that may wait; `settle` records what came of it. */
  begin(op: string, name: string, ...words: readonly (string | number)[]): void {
    this.asked = this.subject.link.clock.nowUs();
    this.waiting.set(op, callRpc(this.subject.rpc, op, this.descriptors.get(name) ?? -1, ...words));
  }

  async settle(op: string): Promise<RpcResponse> {
    const response = await this.waiting.get(op);
    if (response === undefined) throw new Error(`${op} was not begun`);
    this.note(op, response);
    return response;
  }

  /** Makes a call whose words are as they stand. */
  async raw(...words: readonly (string | number)[]): Promise<void> {
    this.note(words.join(' '), await callRpc(this.subject.rpc, ...words));
  }

  async poll(timeoutMs: number, ...wanted: readonly (readonly [name: string, events: number])[]): Promise<void> {
    const words = wanted.flatMap(([name, events]) => [this.descriptors.get(name) ?? -1, events]);
    this.note(`poll ${wanted.join(' ')}`, await callRpc(this.subject.rpc, 'poll', timeoutMs, ...words));
  }

  async socket(name: string): Promise<void> {
    const response = await callRpc(this.subject.rpc, 'socket', AF_INET, SOCK_STREAM, 0);
    this.keep(name, response);
    await this.setInt(name, SOL_SOCKET, SO_REUSEADDR, 1);
  }

  /** A socket that listens at the scenario's port. */
  async listen(name: string, backlog = 5): Promise<void> {
    await this.socket(name);
    await this.call('bind', name, '0.0.0.0', this.hostPort);
    await this.call('listen', name, backlog);
  }

  async accept(listener: string, name: string): Promise<void> {
    const response = await callRpc(this.subject.rpc, 'accept', this.descriptors.get(listener) ?? -1);
    this.keep(name, response);
    this.record.push(`accepted ${response.payload.replace(PEER, 'peer')}`);
  }

  /** Begins a connection to the peer from the scenario's port. */
  async connect(name: string): Promise<void> {
    await this.socket(name);
    await this.call('bind', name, '0.0.0.0', this.hostPort);
    await this.call('fcntl', name, F_SETFL, O_NONBLOCK);
    await this.call('connect', name, PEER, this.peer.port);
  }

  async setInt(name: string, level: number, option: number, value: number): Promise<void> {
    const hex = Buffer.alloc(4);
    hex.writeInt32LE(value);
    await this.call('setsockopt', name, level, option, hex.toString('hex'));
  }

  async send(name: string, bytes: number, flags = MSG_DONTWAIT): Promise<void> {
    await this.call('send', name, flags, Buffer.alloc(bytes, 'h').toString('hex'));
  }

  /** Sends without waiting until the buffer is full; only that it is gets recorded. */
  async fill(name: string): Promise<void> {
    const fd = this.descriptors.get(name) ?? -1;
    const hex = Buffer.alloc(1000).toString('hex');
    for (;;) {
      const { value, errno } = await callRpc(this.subject.rpc, 'send', fd, MSG_DONTWAIT, hex);
      if (value >= 0) continue;
      this.record.push(`full: ${value} ${errno}`);
      return;
    }
  }

  /** Has the peer open its window and acknowledge whatever comes, until nothing comes any more; unrecorded. */
  async open(): Promise<void> {
    for (let rounds = 0; rounds < 20; rounds++) {
      this.segment({ window: 60_000 });
      await sleep(ANSWER_MS);
      if (this.peer.takeAll().length === 0) return;
    }
  }

  /** What a socket says of itself: state, error, what poll sees, and what there is to read. */
  async inspect(name: string): Promise<void> {
    const fd = this.descriptors.get(name);
    if (fd === undefined || fd < 0) return;
    const { rpc } = this.subject;
    const info = await callRpc(rpc, 'getsockopt', fd, IPPROTO_TCP, TCP_INFO, 8);
    this.record.push(`${name} state ${Buffer.from(info.payload, 'hex')[0]}`);
    const revents = await callRpc(rpc, 'poll', 0, fd, POLL_EVENTS);
    const error = await callRpc(rpc, 'getsockopt', fd, SOL_SOCKET, SO_ERROR, 4);
    this.record.push(`${name} poll ${revents.payload} error ${Buffer.from(error.payload, 'hex').readInt32LE(0)}`);
    const read = await callRpc(rpc, 'recv', fd, 100_000, MSG_DONTWAIT);
    this.record.push(`${name} recv ${read.value} ${read.errno}`);
    if (read.value <= 0) return;
    this.record.push(`${name} has ${shorten(read.payload)}`);
    const more = await callRpc(rpc, 'recv', fd, 100_000, MSG_DONTWAIT);
    this.record.push(`${name} recv ${more.value} ${more.errno}`);
  }

  // Segments.

  /** Sends a segment; honest timestamps are counted, not read from a clock. */
  segment(crafted: Crafted = {}): void {
    this.asked = this.subject.link.clock.nowUs();
    const isReset = crafted.flags?.includes('R') === true;
    const { peer } = this;
    if (crafted.timestamps !== undefined || !peer.timestamps || isReset) {
      peer.send(crafted);
      return;
    }
    this.tsValue += TS_STEP;
    peer.send({ ...crafted, timestamps: [this.tsValue, peer.lastTsValue] });
  }

  /** The timestamp of the last honest segment. */
  get lastTsValue(): number {
    return this.tsValue;
  }

  /** Waits until the host has had its say, and records it. */
  async hear(forMs = QUIET_MS): Promise<void> {
    await sleep(forMs);
    for (const seen of this.peer.takeAll()) this.take(seen);
    this.record.push('--');
  }

  /** Waits for the next segment, which is answered as soon as it is there: round trips are short. */
  async hearOne(): Promise<void> {
    for (let waited = 0; waited < PATIENCE_MS && this.peer.inbox.length === 0; waited++) await sleep(1);
    for (const seen of this.peer.takeAll()) this.take(seen);
    this.record.push('--');
  }

  /** Its descriptors are closed already: their numbers may be somebody else's now. */
  forget(): void {
    this.descriptors.clear();
  }

  /** Waits, and forgets what has come. */
  async ignore(): Promise<void> {
    await sleep(QUIET_MS);
    this.peer.takeAll();
  }

  /** Opens the connection from the peer's side up to the SYN-ACK. */
  async sayHello(syn: Crafted): Promise<void> {
    if (syn.timestamps !== undefined && syn.timestamps !== null) this.peer.timestamps = true;
    this.segment({ flags: 'S', mss: 1460, ...syn });
    await this.hearOne();
  }

  /** The scenario is over: whatever there is is ended, unrecorded. */
  async end(): Promise<void> {
    for (const fd of this.descriptors.values()) {
      if (fd < 0) continue;
      await callRpc(this.subject.rpc, 'setsockopt', fd, SOL_SOCKET, 13, '0100000000000000');
      await callRpc(this.subject.rpc, 'close', fd);
    }
  }

  async close(name: string): Promise<void> {
    await this.call('close', name);
    this.descriptors.delete(name);
  }

  private keep(name: string, response: RpcResponse): void {
    this.descriptors.set(name, response.value);
    if (response.value < 0) this.record.push(`${name} is refused with ${response.errno}`);
  }

  private note(what: string, { value, errno, payload }: RpcResponse): void {
    this.record.push(`${what} = ${value} ${errno === EAGAIN ? 'EAGAIN' : errno} ${shorten(payload)}`);
  }

  private take(seen: Seen): void {
    const { flags, length } = seen;
    // What is answered without an acknowledgment to go by begins at 0.
    const seq = seen.rawSeq === 0 ? 0 : seen.seq;
    const count = Math.max(1, Math.ceil(length / (seen.segmentBytes || Math.max(1, length))));
    const size = seen.segmentBytes || length;
    for (let i = 0; i < count; i++) {
      const from = seq + i * size;
      const bytes = Math.min(size, length - i * size);
      const end = from + bytes + (flags.includes('F') ? 1 : 0) + (flags.includes('S') ? 1 : 0);
      const isAgain = end > from && end <= this.highest;
      if (!flags.includes('R')) this.highest = Math.max(this.highest, end);
      if (isAgain && (!flags.includes('S') || seen.timeUs - this.asked > ANSWER_MS * 1000)) continue;
      this.record.push(describe(seen, from, bytes, i === count - 1));
    }
  }
}

/** As packetdrill writes it: flags, numbers, window as far as it means the same everywhere, options in their order. */
function describe(seen: Seen, from: number, bytes: number, isLast: boolean): string {
  const flags = `${seen.flags}${seen.push && isLast ? 'P' : ''}`;
  const ack = seen.flags.includes('A') ? ` ack ${seen.ack}` : '';
  const window = seen.flags.includes('R') || seen.window > 0 ? '' : ' win 0';
  const options = seen.optionKinds.map((kind) => describeOption(kind, seen));
  return `> ${flags} ${from}:${from + bytes}(${bytes})${ack}${window} <${options.join(',')}>`;
}

function describeOption(kind: number, seen: Seen): string {
  switch (kind) {
    case 1:
      return 'nop';
    case 2:
      return `mss ${seen.mss}`;
    case 3:
      return `wscale ${seen.windowScale}`;
    case 4:
      return 'sackOK';
    case 5:
      return `sack ${seen.sack.map(([left, right]) => `${left}:${right}`).join(' ')}`;
    case 8:
      return `TS ecr ${seen.tsEcho}`;
    default:
      return `option ${kind}`;
  }
}

function shorten(word: string | number): string {
  const text = `${word}`.replace(PEER, 'peer');
  return text.length <= 40 ? text : `${text.slice(0, 16)}..${text.length / 2} bytes`;
}
