/**
 * One connection of the load generator: sends prepared requests, reads responses where they lie, and classes what goes wrong.
 *
 * Memory: records are pooled by the engine, each with its parser, its timer and the ring of times at which its unanswered
 * requests were meant to be sent. A record belongs to a connection of the transport until `EVENT_CLOSED`.
 */
import { float64At } from '../../runtime/words.ts';
import { EVENT_CLOSED, EVENT_CONNECTED, EVENT_PEER_CLOSED, EVENT_READABLE } from '../../tcp/tcb.ts';
import type { Bytes } from '../../wire/bytes.ts';
import type { TransportUser } from '../http/transport.ts';
import {
  BYTES_COPIED,
  BYTES_RECEIVED,
  CONNECTIONS_ESTABLISHED,
  ERROR_CLOSED_EARLY,
  ERROR_MALFORMED,
  ERROR_REFUSED,
  ERROR_RESET,
  ERROR_RESPONSE_TIMEOUT,
  ERROR_SHORT_BODY,
  ERROR_SYN_TIMEOUT,
  ERROR_UNREACHABLE,
  IDLE_CLOSES,
  LINGER_TIMEOUTS,
  REQUESTS_SENT,
  UNSOLICITED_BYTES,
} from './counters.ts';
import { LINGER_US, UNCOUNTED } from './plan.ts';
import { ResponseParser } from './response.ts';
import type { Webswamp } from './webswamp.ts';

/** In the pool. */
export const FREE = 0;
export const CONNECTING = 1;
export const OPEN = 2;
/** Its last response is whole; the server's FIN is waited for. */
export const DRAINING = 3;
/** Closed or reset by us; `EVENT_CLOSED` is waited for. */
export const ENDING = 4;

export class ClientConnection<Connection> implements TransportUser<Connection> {
  readonly index: number;
  state = FREE;
  connection: Connection | null = null;
  /** Requests sent and not answered. */
  outstanding = 0;
  /** It is on the engine's list of connections that can take a request. */
  isListed = false;
  private readonly swamp: Webswamp<Connection>;
  private readonly parser: ResponseParser;
  private readonly timer: number;
  /** When the unanswered requests were to be sent, from `first` on. */
  private readonly intendedUs: Float64Array;
  private first = 0;
  /** Requests sent on this connection. */
  private sent = 0;

  constructor(swamp: Webswamp<Connection>, index: number, timer: number) {
    this.swamp = swamp;
    this.index = index;
    this.timer = timer;
    this.parser = new ResponseParser(swamp.knownHead);
    this.intendedUs = new Float64Array(swamp.plan.pipeline);
  }

  /** Whether it can be given one more request. */
  get hasRoom(): boolean {
    const { plan } = this.swamp;
    const isUsable = this.state === CONNECTING || this.state === OPEN;
    return isUsable && this.outstanding < plan.pipeline && this.sent < plan.requestsPerConnection;
  }

  begin(connection: Connection): void {
    this.connection = connection;
    this.state = CONNECTING;
    this.outstanding = 0;
    this.first = 0;
    this.sent = 0;
    this.parser.begin(this.swamp.request.bodiless);
    this.startTimer(this.swamp.plan.timeoutUs);
  }

  /** It is never used again. */
  retire(): void {
    this.swamp.timers.destroy(this.timer);
  }

  /** Sends the prepared request; its latency counts from `intendedUs`, or it is `UNCOUNTED`. The caller has asked `hasRoom`. */
  send(intendedUs: number): void {
    const { transport, request, plan, counters } = this.swamp;
    const connection = this.connection as Connection;
    const place = this.first + this.outstanding;
    this.intendedUs[place < plan.pipeline ? place : place - plan.pipeline] = intendedUs;
    if (this.outstanding++ === 0 && this.state === OPEN) this.startTimer(plan.timeoutUs);
    counters.increment(REQUESTS_SENT);
    const isLast = ++this.sent >= plan.requestsPerConnection;
    if (isLast) transport.send(connection, request.closeAt, request.closeBytes, null, 0, 0);
    else transport.send(connection, request.keepAt, request.keepBytes, null, 0, 0);
  }

  ready(connection: Connection): void {
    const { transport, counters, plan } = this.swamp;
    const events = transport.takeEvents(connection);
    if ((events & EVENT_CONNECTED) !== 0 && this.state === CONNECTING) {
      this.state = OPEN;
      counters.increment(CONNECTIONS_ESTABLISHED);
      this.startTimer(plan.timeoutUs);
    }
    if ((events & EVENT_READABLE) !== 0) this.read(connection);
    if ((events & EVENT_PEER_CLOSED) !== 0) this.peerClosed(connection);
    if ((events & EVENT_CLOSED) !== 0) this.closed(connection);
  }

  /** The timer has expired. */
  expired(): void {
    if (this.state === CONNECTING) this.giveUp(ERROR_SYN_TIMEOUT);
    else if (this.state === OPEN) this.giveUp(ERROR_RESPONSE_TIMEOUT);
    else if (this.state !== FREE) this.swamp.counters.increment(LINGER_TIMEOUTS);
    if (this.connection !== null) this.swamp.transport.abort(this.connection);
  }

  /** The run is over: what is unanswered stays so. */
  end(): void {
    const { connection } = this;
    if (connection === null || this.state === ENDING) return;
    const { transport } = this.swamp;
    const isIdle = this.state === OPEN && this.outstanding === 0;
    this.leave();
    this.outstanding = 0;
    if (isIdle) transport.close(connection);
    else transport.abort(connection);
  }

  /** Unanswered requests that count. */
  get unanswered(): number {
    let count = 0;
    for (let n = 0; n < this.outstanding; n++) if (this.intendedAt(n) !== UNCOUNTED) count++;
    return count;
  }

  /** When the oldest unanswered request that counts was to be sent; Infinity when there is none. */
  get oldestUs(): number {
    let oldestUs = Number.POSITIVE_INFINITY;
    for (let n = 0; n < this.outstanding; n++) {
      const intendedUs = this.intendedAt(n);
      if (intendedUs !== UNCOUNTED && intendedUs < oldestUs) oldestUs = intendedUs;
    }
    return oldestUs;
  }

  private intendedAt(n: number): number {
    const place = this.first + n;
    const { length } = this.intendedUs;
    return float64At(this.intendedUs, place < length ? place : place - length);
  }

  private read(connection: Connection): void {
    const { transport, plan } = this.swamp;
    for (let length = transport.readableLength(connection); length > 0; length = transport.readableLength(connection)) {
      if (this.state === ENDING) return;
      if (this.state === DRAINING || this.outstanding === 0) {
        this.refuse(connection, length);
        continue;
      }
      const at = transport.readableAt(connection);
      const bytes = transport.bytesOf(connection);
      const taken = this.parser.parse(bytes, at, length);
      if (plan.copyPayload) this.copy(bytes, at, taken);
      this.take(connection, taken);
      if (this.parser.isBroken) {
        this.giveUp(ERROR_MALFORMED);
        transport.abort(connection);
      } else if (this.parser.isDone) {
        this.complete();
      }
    }
  }

  private take(connection: Connection, length: number): void {
    this.swamp.counters.add(BYTES_RECEIVED, length);
    this.swamp.transport.consume(connection, length);
  }

  private copy(bytes: Bytes, at: number, length: number): void {
    this.swamp.copy(bytes, at, length);
    this.swamp.counters.add(BYTES_COPIED, length);
  }

  /** Bytes that nothing asked for. */
  private refuse(connection: Connection, length: number): void {
    this.swamp.counters.add(UNSOLICITED_BYTES, length);
    this.take(connection, length);
    if (this.state === DRAINING) return;
    this.leave();
    this.swamp.transport.abort(connection);
  }

  /** A response is whole: on to the next one, or to the end of the connection. */
  private complete(): void {
    const { swamp, parser } = this;
    const intendedUs = float64At(this.intendedUs, this.first);
    this.first = this.first + 1 < swamp.plan.pipeline ? this.first + 1 : 0;
    this.outstanding--;
    const goesOn = parser.keepsAlive && (this.outstanding > 0 || this.sent < swamp.plan.requestsPerConnection);
    if (goesOn) {
      if (this.outstanding > 0) this.startTimer(swamp.plan.timeoutUs);
      else swamp.timers.cancel(this.timer);
    }
    swamp.answered(parser, intendedUs);
    if (goesOn) parser.begin(swamp.request.bodiless);
    else this.drain();
    // The answer may have ended the run.
    if (this.state === OPEN) swamp.next(this);
  }

  /** The connection has served: requests that it did not answer go to another. */
  private drain(): void {
    const { swamp } = this;
    if (this.state !== OPEN) return;
    this.state = DRAINING;
    this.giveBack();
    this.startTimer(LINGER_US);
    swamp.left();
  }

  /** What is unanswered is for another connection to send. */
  private giveBack(): void {
    const { swamp } = this;
    while (this.outstanding > 0) {
      swamp.sendAgain(float64At(this.intendedUs, this.first));
      this.first = this.first + 1 < swamp.plan.pipeline ? this.first + 1 : 0;
      this.outstanding--;
    }
  }

  private peerClosed(connection: Connection): void {
    const { transport, counters } = this.swamp;
    // Ours is closed already.
    if (this.state === ENDING) return;
    if (this.state === OPEN) {
      if (this.outstanding === 0) {
        counters.increment(IDLE_CLOSES);
        this.leave();
      } else if (this.parser.end()) {
        this.complete();
      } else {
        this.giveUp(this.parser.receivedBytes === 0 ? ERROR_CLOSED_EARLY : ERROR_SHORT_BODY);
      }
    }
    this.state = ENDING;
    this.startTimer(LINGER_US);
    transport.close(connection);
  }

  private closed(connection: Connection): void {
    const { swamp, state } = this;
    if (state === CONNECTING || state === OPEN) {
      const error = swamp.transport.errorOf(connection);
      if (this.outstanding === 0) {
        swamp.counters.increment(IDLE_CLOSES);
        this.leave();
      } else if (error === 'EADDRNOTAVAIL' || error === 'EMFILE') {
        this.state = ENDING;
        this.giveBack();
        swamp.foundNoRoom();
        swamp.left();
      } else if (state === CONNECTING) {
        if (error === 'ETIMEDOUT') this.giveUp(ERROR_SYN_TIMEOUT);
        else this.giveUp(error === 'EHOSTUNREACH' || error === 'ENETUNREACH' ? ERROR_UNREACHABLE : ERROR_REFUSED);
      } else if (error === 'ETIMEDOUT') {
        this.giveUp(ERROR_RESPONSE_TIMEOUT);
      } else if (error === '') {
        this.giveUp(this.parser.receivedBytes === 0 ? ERROR_CLOSED_EARLY : ERROR_SHORT_BODY);
      } else {
        if (this.unanswered > 0) swamp.resets.add(this.parser.receivedBytes);
        this.giveUp(ERROR_RESET);
      }
    }
    this.connection = null;
    this.state = FREE;
    swamp.timers.cancel(this.timer);
    swamp.recycle(this);
  }

  /** What is unanswered fails. */
  private giveUp(errorClass: number): void {
    const { swamp, unanswered } = this;
    const wasConnecting = this.state === CONNECTING;
    this.state = ENDING;
    this.outstanding = 0;
    swamp.failed(errorClass, unanswered, wasConnecting);
    swamp.left();
  }

  private leave(): void {
    const wasInUse = this.state === CONNECTING || this.state === OPEN;
    this.state = ENDING;
    this.startTimer(LINGER_US);
    if (wasInUse) this.swamp.left();
  }

  private startTimer(delayUs: number): void {
    this.swamp.timers.scheduleAfter(this.timer, delayUs);
  }
}
