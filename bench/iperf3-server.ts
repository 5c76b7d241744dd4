/**
 * An iperf3 server over our TCP, for one connection at a time in either direction: what the kernel's iperf3 measures against it is
 * the stack. It talks on a connection for control, where states are single bytes and what is agreed on is JSON behind its length,
 * and each test has a connection for data, which begins with the same cookie.
 *
 *     node iperf3-server.js DEVICE ADDRESS HOST_ADDRESS
 */
import type { Host } from '../src/host/host.ts';
import {
  abort,
  close,
  consume,
  queuedBytes,
  readableAt,
  readableBytes,
  readableLength,
  send,
  takeEvents,
} from '../src/tcp/calls.ts';
import { EVENT_CLOSED, EVENT_PEER_CLOSED, type Tcb, type TcpUser } from '../src/tcp/tcb.ts';
import { answerBench } from './control.ts';
import { hostWork, openAgedHost } from './host.ts';

const PORT = 5201;
const COOKIE_BYTES = 37;
const LENGTH_BYTES = 4;

// States, as they stand on the wire.
const TEST_START = 1;
const TEST_RUNNING = 2;
const TEST_END = 4;
const PARAM_EXCHANGE = 9;
const CREATE_STREAMS = 10;
const EXCHANGE_RESULTS = 13;
const DISPLAY_RESULTS = 14;
const IPERF_DONE = 16;

/** What is sent in the reverse direction, over and over, and how much of it is queued. */
const REGION_BYTES = 256 * 1024;
const QUEUED_BYTES = 8 * 1024 * 1024;
/** Room for what is said on the control connection. */
const SAID_BYTES = 4096;

class Iperf3Server implements TcpUser {
  private readonly host: Host;
  private readonly said: number;
  private saidAt = 0;
  private control: Tcb | null = null;
  private data: Tcb | null = null;
  private heard = Buffer.alloc(0);
  private state = 0;
  private isReverse = false;
  private bytes = 0;
  private startedMs = 0;
  private readonly text: number;

  constructor(host: Host) {
    this.host = host;
    this.said = host.arena.allocate(SAID_BYTES);
    this.text = host.arena.allocate(REGION_BYTES);
    host.tcp.listen(PORT, () => this);
  }

  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    if ((events & EVENT_CLOSED) !== 0) {
      if (connection === this.control) this.forget();
      return;
    }
    if (this.control === null) this.control = connection;
    if (connection === this.control) this.listen(connection);
    else this.move(connection);
    if ((events & EVENT_PEER_CLOSED) !== 0) close(connection);
  }

  /** The control connection. */
  private listen(connection: Tcb): void {
    const { bytes } = this.host.arena;
    for (let length = readableLength(connection); length > 0; length = readableLength(connection)) {
      const at = readableAt(connection);
      this.heard = Buffer.concat([this.heard, bytes.subarray(at, at + length)]);
      consume(connection, length);
    }
    while (this.step());
  }

  /** Takes the next thing that was said; false when it is not complete. */
  private step(): boolean {
    switch (this.state) {
      case 0:
        if (this.take(COOKIE_BYTES) === null) return false;
        this.say(PARAM_EXCHANGE);
        return true;
      case PARAM_EXCHANGE: {
        const parameters = this.takeJson();
        if (parameters === null) return false;
        this.isReverse = parameters.reverse === true;
        this.say(CREATE_STREAMS);
        return true;
      }
      case TEST_RUNNING:
        if (this.take(1)?.[0] !== TEST_END) return false;
        this.say(EXCHANGE_RESULTS);
        return true;
      case EXCHANGE_RESULTS:
        if (this.takeJson() === null) return false;
        this.sayJson(this.results());
        this.say(DISPLAY_RESULTS);
        return true;
      case DISPLAY_RESULTS:
        if (this.take(1)?.[0] !== IPERF_DONE) return false;
        if (this.data !== null) abort(this.data);
        if (this.control !== null) close(this.control);
        return false;
      default:
        return false;
    }
  }

  /** The data connection: the cookie, then whatever there is. */
  private move(connection: Tcb): void {
    if (this.data !== connection) {
      if (readableBytes(connection) < COOKIE_BYTES) return;
      consume(connection, COOKIE_BYTES);
      this.data = connection;
      this.bytes = 0;
      this.startedMs = Date.now();
      this.say(TEST_START);
      this.say(TEST_RUNNING);
    }
    const arrived = readableBytes(connection);
    this.bytes += arrived;
    consume(connection, arrived);
    while (this.isReverse && this.state === TEST_RUNNING && queuedBytes(connection) < QUEUED_BYTES) {
      send(connection, this.text, REGION_BYTES, null, 0);
      this.bytes += REGION_BYTES;
    }
  }

  private results(): unknown {
    const seconds = (Date.now() - this.startedMs) / 1000;
    const stream = { id: 1, bytes: this.bytes, retransmits: 0, jitter: 0, errors: 0, packets: 0 };
    return {
      cpu_util_total: 0,
      cpu_util_user: 0,
      cpu_util_system: 0,
      sender_has_retransmits: -1,
      congestion_used: this.data?.congestion.name ?? '',
      streams: [{ ...stream, start_time: 0, end_time: seconds }],
    };
  }

  private take(length: number): Buffer | null {
    if (this.heard.length < length) return null;
    const taken = this.heard.subarray(0, length);
    this.heard = this.heard.subarray(length);
    return taken;
  }

  private takeJson(): Record<string, unknown> | null {
    if (this.heard.length < LENGTH_BYTES) return null;
    const length = this.heard.readUInt32BE(0);
    if (this.heard.length < LENGTH_BYTES + length) return null;
    this.take(LENGTH_BYTES);
    return JSON.parse((this.take(length) ?? '').toString());
  }

  private say(state: number): void {
    this.state = state;
    this.sendText(Buffer.of(state));
  }

  private sayJson(value: unknown): void {
    const text = Buffer.from(JSON.stringify(value));
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt32BE(text.length);
    this.sendText(Buffer.concat([length, text]));
  }

  /** What is said in a test fits the memory for it, and lies there until the next one. */
  private sendText(text: Buffer): void {
    if (this.control === null) return;
    this.host.arena.bytes.set(text, this.said + this.saidAt);
    send(this.control, this.said + this.saidAt, text.length, null, 0);
    this.saidAt += text.length;
  }

  private forget(): void {
    if (this.data !== null) abort(this.data);
    this.control = null;
    this.data = null;
    this.heard = Buffer.alloc(0);
    this.state = 0;
    this.saidAt = 0;
  }
}

const host = openAgedHost('iperf3', process.argv.slice(2));
new Iperf3Server(host);
host.start();
answerBench({ work: () => hostWork(host, 0) });
