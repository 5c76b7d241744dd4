/**
 * webswamp: an HTTP load generator. In the closed loop each connection sends its next request when the last one is answered;
 * in the open loop requests are due on a schedule that no answer can move, and their latencies count from when they were
 * due, so that a server that stalls cannot hide how many had to wait.
 *
 * A warm-up is the same load before the clock begins. A request belongs to it that was sent before its end; the answer may come
 * later, and is not counted then either. In the open loop the schedule begins anew at its end: what was due before and not sent
 * by then is not sent any more.
 *
 * Everything happens in the turn of whoever drives the transport: no promise, closure or object for a request.
 *
 * Memory: records of connections are pooled; requests lie in the arena once and are lent to every connection.
 */
import type { Alarm } from '../../runtime/alarm.ts';
import { Counters } from '../../runtime/counters.ts';
import type { TimerWheel } from '../../runtime/timer-wheel.ts';
import { TICK_US } from '../../runtime/timer-wheel.ts';
import type { TurnClock } from '../../runtime/turn-clock.ts';
import type { Bytes } from '../../wire/bytes.ts';
import { ClientConnection } from './connection.ts';
import {
  BODY_BYTES,
  CONNECTIONS_CLOSED,
  CONNECTIONS_OPENED,
  CONNECTIONS_UNAVAILABLE,
  ERROR_BAD_STATUS,
  ERROR_CLASSES,
  ERROR_WRONG_LENGTH,
  INTERIM_RESPONSES,
  RECORDS_MADE,
  RECORDS_REUSED,
  REQUESTS_HANDED_LATE,
  REQUESTS_LATE_BY_OUR_FAULT,
  REQUESTS_SENT_AGAIN,
  RESPONSES,
  ResetPlaces,
  SWAMP_COUNTER_NAMES,
} from './counters.ts';
import { KnownHead } from './known-head.ts';
import { Latencies } from './latency.ts';
import {
  checkPlan,
  LATE_US,
  MAX_DRAINING,
  OPENS_PER_TURN,
  PACE_US,
  REOPEN_DELAY_US,
  type SwampPlan,
  UNCOUNTED,
} from './plan.ts';
import type { PreparedRequest } from './request.ts';
import type { ResponseParser } from './response.ts';
import { IndexRing, TimeRing } from './rings.ts';
import { Schedule } from './schedule.ts';
import type { ClientTransport } from './transport.ts';

export interface WebswampOptions<Connection> {
  readonly transport: ClientTransport<Connection>;
  readonly clock: TurnClock;
  readonly timers: TimerWheel;
  /** Asks for a turn, after calls from outside one. */
  readonly wake: () => void;
  readonly plan: SwampPlan;
  readonly request: PreparedRequest;
}

const NEVER = Number.POSITIVE_INFINITY;

/** Where bodies are copied to when they are to be copied; longer pieces are copied into it again and again. */
const COPY_BYTES = 64 * 1024;

export class Webswamp<Connection> {
  readonly transport: ClientTransport<Connection>;
  readonly timers: TimerWheel;
  readonly plan: SwampPlan;
  readonly request: PreparedRequest;
  readonly counters = new Counters(SWAMP_COUNTER_NAMES);
  readonly errors = new Counters(ERROR_CLASSES);
  readonly resets = new ResetPlaces();
  readonly latencies = new Latencies();
  readonly knownHead = new KnownHead();
  /** Told once, when the clock begins: at once, or when the warm-up is over. */
  onBegin: () => void = () => {};
  /** Told once, in a turn, when the run is over and every connection has gone. */
  onEnd: () => void = () => {};
  /** When the run began, its warm-up over, and when it ended, microseconds of the clock. */
  startUs = NEVER;
  endUs = NEVER;
  /** Requests sent and not answered when the run ended, those that waited for a connection, and the oldest's waiting time. */
  unanswered = 0;
  unsent = 0;
  oldestWaitUs = 0;
  /** Requests that were due on the schedule. */
  due = 0;

  private readonly clock: TurnClock;
  private readonly wake: () => void;
  private readonly records: ClientConnection<Connection>[] = [];
  private readonly freeRecords: ClientConnection<Connection>[] = [];
  /** Connections that can take a request, in the order in which they became free. */
  private readonly listed: IndexRing;
  /** Times of requests that are to be sent once more. */
  private readonly again: TimeRing;
  private readonly connectionKind: number;
  private readonly pumpTimer: number;
  /** When something is due on the schedule: no tick is waited for. */
  private readonly dueAlarm: Alarm;
  private readonly endTimer: number;
  private readonly warmUpAlarm: Alarm;
  private warmUpEndUs = 0;
  /** What the counters said when the run began. */
  private readonly before = new Float64Array(SWAMP_COUNTER_NAMES.length);
  private schedule: Schedule | null = null;
  /** Connections in use, and those with a record, which may still be closing. */
  private inUse = 0;
  private withRecord = 0;
  /** Requests begun, not counting those sent again. */
  private issued = 0;
  private issueLimit = 0;
  /** Requests that have come to their end, good or bad. */
  private completed = 0;
  private noOpensBeforeUs = 0;
  /** Requests that were due when the schedule was looked at last; and whether all of them had been handed over. */
  private dueSeen = 0;
  private keptUp = true;
  private readonly scratch: Uint8Array;

  /** Throws `RangeError` for a plan that cannot be. */
  constructor(options: WebswampOptions<Connection>) {
    const { plan, timers } = options;
    checkPlan(plan);
    this.transport = options.transport;
    this.clock = options.clock;
    this.timers = timers;
    this.wake = options.wake;
    this.plan = plan;
    this.request = options.request;
    this.listed = new IndexRing(plan.connections + MAX_DRAINING);
    this.again = new TimeRing(plan.connections * plan.pipeline);
    this.scratch = new Uint8Array(plan.copyPayload ? COPY_BYTES : 0);
    this.connectionKind = timers.addKind((index) => this.connectionExpired(index));
    this.pumpTimer = timers.create(
      timers.addKind(() => this.pump()),
      0,
    );
    this.dueAlarm = timers.alarms.create(() => this.pump());
    this.endTimer = timers.create(
      timers.addKind(() => this.finish()),
      0,
    );
    this.warmUpAlarm = timers.alarms.create(() => this.endWarmUp());
  }

  /** Begins now, with the warm-up if there is one. */
  start(): void {
    const { plan, clock } = this;
    clock.look();
    const nowUs = clock.nowUs();
    if (plan.warmUpUs === 0) {
      this.begin(nowUs);
    } else {
      this.warmUpEndUs = nowUs + plan.warmUpUs;
      this.follow(nowUs, plan.warmUpUs, NEVER);
      this.warmUpAlarm.deadlineUs = this.warmUpEndUs;
    }
    this.pump();
    this.wake();
  }

  /** The clock begins. */
  private begin(startUs: number): void {
    const { plan } = this;
    this.startUs = startUs;
    this.before.set(this.counters.values);
    this.follow(startUs, plan.durationUs, plan.requests);
    if (plan.durationUs !== NEVER) this.timers.schedule(this.endTimer, startUs + plan.durationUs);
    this.onBegin();
  }

  /** Issues requests from now on for so long, and so many of them. */
  private follow(startUs: number, durationUs: number, requests: number): void {
    const { requestsPerSecond } = this.plan;
    this.schedule = requestsPerSecond > 0 ? new Schedule(startUs, requestsPerSecond, durationUs, requests) : null;
    this.issueLimit = this.schedule === null ? requests : this.schedule.length;
    this.issued = 0;
    this.dueSeen = 0;
    this.keptUp = true;
  }

  private endWarmUp(): void {
    // The open loop's schedule goes on without a gap; the closed loop's requests so far began before this moment.
    this.begin(this.schedule === null ? this.clock.nowUs() : this.warmUpEndUs);
    this.pump();
  }

  /** Ends before its time; `onEnd` follows. From outside a turn. */
  stop(): void {
    this.clock.look();
    this.finish();
    this.wake();
  }

  /** Microseconds of warm-up still to come; 0 when there is none, or no more. */
  get warmUpLeftUs(): number {
    return this.hasBegun || this.isOver ? 0 : Math.max(1, this.warmUpEndUs - this.clock.nowUs());
  }

  /** What a counter has counted since the run began, its warm-up left out. */
  counted(index: number): number {
    return (this.counters.values[index] as number) - (this.before[index] as number);
  }

  /** The clock has begun: the warm-up, if there is one, is over. */
  get hasBegun(): boolean {
    return this.startUs !== NEVER;
  }

  get isOver(): boolean {
    return this.endUs !== NEVER;
  }

  get errorCount(): number {
    let sum = 0;
    for (const count of this.errors.values) sum += count;
    return sum;
  }

  /** What it holds: nothing, once it has ended. */
  get holdings(): { connections: number; requests: number } {
    return { connections: this.withRecord, requests: this.again.length };
  }

  /** Microseconds of the run so far, or of all of it. */
  get elapsedUs(): number {
    if (!this.hasBegun) return 0;
    return (this.isOver ? this.endUs : this.clock.nowUs()) - this.startUs;
  }

  // For connections.

  /** A response is whole: was it the right one? */
  answered(parser: ResponseParser, intendedUs: number): void {
    const { plan, counters } = this;
    counters.increment(RESPONSES);
    counters.add(BODY_BYTES, parser.bodyBytes);
    if (parser.interims > 0) counters.add(INTERIM_RESPONSES, parser.interims);
    if (intendedUs === UNCOUNTED) return;
    if (!isExpectedStatus(parser.status, plan.expectedStatus)) this.errors.increment(ERROR_BAD_STATUS);
    else if (plan.expectedBytes >= 0 && parser.bodyBytes !== plan.expectedBytes)
      this.errors.increment(ERROR_WRONG_LENGTH);
    else this.latencies.record(this.clock.nowUs() - intendedUs);
    this.complete(1);
  }

  /** A connection has failed, with so many requests that count. */
  failed(errorClass: number, requests: number, wasConnecting: boolean): void {
    if (wasConnecting) this.noOpensBeforeUs = this.clock.nowUs() + REOPEN_DELAY_US;
    this.errors.add(errorClass, requests);
    this.complete(requests);
  }

  /** A connection has room for a request. */
  next(record: ClientConnection<Connection>): void {
    if (this.schedule === null) {
      while (record.hasRoom && this.mayIssue()) this.issue(record, this.clock.nowUs());
      return;
    }
    this.list(record);
    if (!this.keptUp) this.pump();
  }

  /** A request goes to another connection, without losing its place in time. */
  sendAgain(intendedUs: number): void {
    // The warm-up has no number of requests to keep.
    if (intendedUs === UNCOUNTED) return;
    this.counters.increment(REQUESTS_SENT_AGAIN);
    this.again.push(intendedUs);
  }

  /** There was no port, or no room, for one more connection. */
  foundNoRoom(): void {
    this.counters.increment(CONNECTIONS_UNAVAILABLE);
    this.noOpensBeforeUs = this.clock.nowUs() + REOPEN_DELAY_US;
  }

  /** A connection is in use no more. */
  left(): void {
    this.inUse--;
    this.pump();
  }

  /** A connection has gone. */
  recycle(record: ClientConnection<Connection>): void {
    this.counters.increment(CONNECTIONS_CLOSED);
    this.withRecord--;
    this.freeRecords.push(record);
    if (!this.isOver) this.pump();
    else if (this.withRecord === 0) this.onEnd();
  }

  copy(bytes: Bytes, at: number, length: number): void {
    for (let done = 0; done < length; done += COPY_BYTES) {
      this.scratch.set(bytes.subarray(at + done, at + Math.min(length, done + COPY_BYTES)));
    }
  }

  // Sending.

  /** Sends what may be sent now, opening connections for it. */
  private pump(): void {
    if (this.isOver) return;
    if (this.schedule === null) this.pumpClosedLoop();
    else this.pumpOpenLoop(this.schedule);
  }

  private pumpClosedLoop(): void {
    for (let opened = 0; this.inUse < this.plan.connections && this.mayIssue(); opened++) {
      const record = opened < OPENS_PER_TURN ? this.open() : null;
      if (record === null) {
        this.pumpLater();
        return;
      }
      while (record.hasRoom && this.mayIssue()) this.issue(record, this.clock.nowUs());
    }
  }

  private pumpOpenLoop(schedule: Schedule): void {
    const nowUs = this.clock.nowUs();
    this.noteDue(schedule, nowUs);
    let opened = 0;
    while (this.again.length > 0 || this.issued < this.dueSeen) {
      let record: ClientConnection<Connection> | null = null;
      if (this.inUse < this.plan.connections && opened++ < OPENS_PER_TURN) record = this.open();
      if (record === null) record = this.takeListed();
      if (record === null) break;
      const intendedUs = this.again.length > 0 ? this.again.peek() : schedule.timeUs(this.issued);
      if (nowUs - intendedUs > LATE_US) this.counters.increment(REQUESTS_HANDED_LATE);
      this.issue(record, intendedUs);
      if (record.hasRoom) this.list(record);
    }
    this.keptUp = this.again.length === 0 && this.issued >= this.dueSeen;
    if (!this.keptUp && this.inUse < this.plan.connections) {
      this.pumpLater();
    } else if (this.dueSeen < schedule.length) {
      const nextUs = schedule.timeUs(this.dueSeen);
      // What has to wait for a connection need not be looked at to the microsecond.
      if (this.keptUp) this.dueAlarm.deadlineUs = Math.max(nextUs, nowUs + PACE_US);
      else this.timers.schedule(this.pumpTimer, nextUs);
    }
  }

  /** What has become due since the last look; it is late by our own fault if all before it had been handed over. */
  private noteDue(schedule: Schedule, nowUs: number): void {
    if (this.keptUp) {
      const late = schedule.dueBy(nowUs - LATE_US - 1) - this.dueSeen;
      if (late > 0) this.counters.add(REQUESTS_LATE_BY_OUR_FAULT, late);
    }
    this.dueSeen = schedule.dueBy(nowUs);
  }

  private mayIssue(): boolean {
    return !this.isOver && (this.again.length > 0 || this.issued < this.issueLimit);
  }

  private issue(record: ClientConnection<Connection>, intendedUs: number): void {
    if (this.again.length > 0) {
      record.send(this.again.take());
    } else {
      this.issued++;
      record.send(this.hasBegun ? intendedUs : UNCOUNTED);
    }
  }

  private pumpLater(): void {
    this.timers.schedule(this.pumpTimer, Math.max(this.clock.nowUs() + TICK_US, this.noOpensBeforeUs));
  }

  /** A new connection, null when there can be none now. */
  private open(): ClientConnection<Connection> | null {
    const { counters, plan } = this;
    if (this.clock.nowUs() < this.noOpensBeforeUs || this.withRecord >= plan.connections + MAX_DRAINING) return null;
    const record = this.takeRecord();
    const connection = this.transport.connect(record);
    if (connection === null) {
      this.foundNoRoom();
      this.freeRecords.push(record);
      return null;
    }
    counters.increment(CONNECTIONS_OPENED);
    this.inUse++;
    this.withRecord++;
    record.begin(connection);
    return record;
  }

  private takeRecord(): ClientConnection<Connection> {
    const free = this.freeRecords.pop();
    if (free !== undefined && this.plan.reuseRecords) {
      this.counters.increment(RECORDS_REUSED);
      return free;
    }
    this.counters.increment(RECORDS_MADE);
    const index = free === undefined ? this.records.length : free.index;
    if (free !== undefined) free.retire();
    const record = new ClientConnection(this, index, this.timers.create(this.connectionKind, index));
    // What stands for it on the list stands for the new one.
    record.isListed = free?.isListed ?? false;
    this.records[index] = record;
    return record;
  }

  private list(record: ClientConnection<Connection>): void {
    if (record.isListed) return;
    record.isListed = true;
    this.listed.push(record.index);
  }

  /** The connection that has been free for longest, null when none is; those that have ended meanwhile are passed over. */
  private takeListed(): ClientConnection<Connection> | null {
    while (this.listed.length > 0) {
      const record = this.records[this.listed.take()] as ClientConnection<Connection>;
      record.isListed = false;
      if (record.hasRoom) return record;
    }
    return null;
  }

  private connectionExpired(index: number): void {
    (this.records[index] as ClientConnection<Connection>).expired();
  }

  // The end.

  private complete(requests: number): void {
    this.completed += requests;
    if (!this.isOver && this.completed >= this.plan.requests) this.finish();
  }

  private finish(): void {
    if (this.isOver) return;
    const { schedule } = this;
    this.endUs = this.clock.nowUs();
    if (!this.hasBegun) {
      this.before.set(this.counters.values);
    } else if (schedule !== null) {
      this.due = schedule.dueBy(this.endUs);
      this.unsent = this.due - this.issued;
      if (this.unsent > 0) this.oldestWaitUs = this.endUs - schedule.timeUs(this.issued);
    }
    this.unsent += this.again.length;
    this.again.clear();
    this.timers.cancel(this.pumpTimer);
    this.dueAlarm.deadlineUs = NEVER;
    this.timers.cancel(this.endTimer);
    this.warmUpAlarm.deadlineUs = NEVER;
    for (const record of this.records) {
      const { unanswered } = record;
      if (unanswered === 0) continue;
      this.unanswered += unanswered;
      this.oldestWaitUs = Math.max(this.oldestWaitUs, this.endUs - record.oldestUs);
    }
    for (const record of this.records) record.end();
    if (this.withRecord === 0) this.onEnd();
  }
}

function isExpectedStatus(status: number, expected: number): boolean {
  return expected === 0 ? status >= 200 && status < 400 : status === expected;
}
