/**
 * TCP of one stack: its connections, listeners and lists of work, and the phases of a turn that concern it (design,
 * "Two phases"): segments in (`input`), timers, applications (`runApplications`), segments out (`output`).
 * The protocol itself is in the files beside this one, a section of RFC 9293 each.
 */
import type { DeviceFeatures } from '../exokernel/exokernel.ts';
import type { TransmitQueue } from '../exokernel/transmit-queue.ts';
import type { Ipv4 } from '../libos/ipv4.ts';
import type { LocalAddresses } from '../libos/local-addresses.ts';
import type { Path, Paths } from '../libos/path.ts';
import type { Stack, Transport } from '../libos/stack.ts';
import { BlockAllocator } from '../runtime/block-allocator.ts';
import { Counters } from '../runtime/counters.ts';
import type { Random } from '../runtime/random.ts';
import type { TimerWheel } from '../runtime/timer-wheel.ts';
import type { TurnClock } from '../runtime/turn-clock.ts';
import { formatIpv4 } from '../wire/address.ts';
import type { Bytes } from '../wire/bytes.ts';
import { PROTOCOL_TCP } from '../wire/ipv4.ts';
import { TCP_ACK, TCP_RST } from '../wire/tcp.ts';
import { Acknowledgment } from './acknowledgment.ts';
import type { CongestionControl } from './congestion/congestion.ts';
import { CONGESTION_CONTROLS } from './congestion/controls.ts';
import { type ConnectionOptions, connectionOptionsOf } from './connection-options.ts';
import { ConnectionTable, NOT_FOUND, timeWaitValue } from './connections.ts';
import {
  ACTIVE_OPENS,
  CONNECTIONS_REUSED,
  REPLIES_DROPPED,
  RESETS_SENT,
  TCP_COUNTER_NAMES,
  TIME_WAIT_EVICTED,
} from './counters.ts';
import { RateSample } from './delivery-rate.ts';
import { FAST_OPEN_CLIENT, FAST_OPEN_WANTED, FastOpenCookies, fastOpenIsOver } from './fast-open.ts';
import { FastOpenServers } from './fast-open-client.ts';
import { InitialSequence } from './initial-sequence.ts';
import { input, reportIcmpError } from './input.ts';
import { Listener, type ListenOptions } from './listener.ts';
import { DEFAULT_MSS_BYTES } from './mss.ts';
import { outputConnection, outputReplies } from './output.ts';
import { EPHEMERAL_PORTS, EphemeralPorts } from './ports.ts';
import { ReceiveQueues, unreadBytes } from './receive-queue.ts';
import { MAX_STRAY_REPLIES, Replies } from './replies.ts';
import { SackBlocks } from './sack-blocks.ts';
import { Segment } from './segment.ts';
import { RegionPool, releaseAll } from './send-queue.ts';
import { SentRanges } from './sent-ranges.ts';
import { type Seq, seqBits } from './sequence.ts';
import { DEFAULT_TCP_SETTINGS, type TcpSettings } from './settings.ts';
import { CLOSED, FIN_WAIT_2, SYN_RECEIVED, SYN_SENT, setState, TIME_WAIT } from './state.ts';
import { SynCookies } from './syn-cookies.ts';
import { type ConnectionError, EVENT_CLOSED, EVENT_CONNECTED, EVENT_READABLE, Tcb, type TcpUser } from './tcb.ts';
import { TimeWaitRecords } from './time-wait.ts';
import { delayedAckExpired, pacingExpired, retransmitExpired, slowExpired } from './timers.ts';
import { emptySegmentSeq, receiveWindowField } from './window.ts';

export class Tcp implements Transport {
  readonly stack: Stack;
  readonly bytes: Bytes;
  readonly queue: TransmitQueue;
  readonly ip: Ipv4;
  readonly paths: Paths;
  readonly timers: TimerWheel;
  readonly clock: TurnClock;
  readonly local: LocalAddresses;
  readonly mtuBytes: number;
  readonly features: DeviceFeatures;
  readonly settings: TcpSettings;
  /** Somebody wants to know of decisions. */
  readonly tracing: boolean;
  /** What connections begin with. */
  readonly connectionOptions: ConnectionOptions;
  /** The device cuts super-frames, and is given them. */
  readonly superFrames: boolean;
  readonly counters = new Counters(TCP_COUNTER_NAMES);
  /** What the stack dropped, by drop reason. */
  readonly drops: Counters<string>;
  readonly table: ConnectionTable;
  readonly timeWait: TimeWaitRecords;
  readonly regions: RegionPool;
  readonly receiveQueues: ReceiveQueues;
  readonly receiveMemory: BlockAllocator;
  readonly initialSequence: InitialSequence;
  readonly synCookies: SynCookies;
  readonly fastOpenCookies: FastOpenCookies;
  readonly fastOpenServers: FastOpenServers;
  readonly congestion: CongestionControl;
  readonly random: Random;
  readonly replies = new Replies();
  readonly ranges: SentRanges;
  readonly acknowledgment = new Acknowledgment();
  readonly rateSample = new RateSample();
  readonly sackBlocks = new SackBlocks();
  readonly segment = new Segment();
  /** The shift of the windows we advertise (RFC 7323 2.2). */
  readonly receiveScale: number;
  /** Challenge ACKs and stray replies left this second (RFC 5961 section 10). */
  private challengeBudget: number;
  private challengeSecondUs = 0;

  private readonly tcbs: Tcb[] = [];
  private readonly freeTcbs: Tcb[] = [];
  private readonly listeners = new Map<number, Listener>();
  private ready: Tcb[] = [];
  private readyCount = 0;
  private dirty: Tcb[] = [];
  private dirtyCount = 0;
  private dirtyNext: Tcb[] = [];
  private readonly ports: EphemeralPorts;
  private readonly retransmitKind: number;
  private readonly delayedAckKind: number;
  private readonly slowKind: number;
  private readonly pacingKind: number;
  private readonly timeWaitTimer: number;

  /** Attaches TCP to a stack. Throws `RangeError` for settings that cannot be. */
  constructor(stack: Stack, chosen: Partial<TcpSettings> = {}) {
    const settings = { ...DEFAULT_TCP_SETTINGS, ...chosen };
    checkSettings(settings);
    this.settings = settings;
    this.tracing = settings.trace !== null;
    this.connectionOptions = connectionOptionsOf(settings);
    this.congestion = CONGESTION_CONTROLS[settings.congestion];
    this.stack = stack;
    this.bytes = stack.bytes;
    this.queue = stack.environment.queue;
    this.ip = stack.ipv4;
    this.paths = stack.paths;
    this.timers = stack.timers;
    this.clock = stack.clock;
    this.drops = stack.drops;
    this.local = stack.local;
    this.mtuBytes = stack.mtuBytes;
    this.features = stack.features;
    this.superFrames = settings.superFrames && stack.features.segmentTcp4;
    this.ranges = new SentRanges(stack.clock, this.superFrames);
    this.receiveScale = settings.windowScale < 0 ? scaleFor(settings.receiveBufferBytes) : settings.windowScale;
    this.challengeBudget = settings.challengeAcksPerSecond;
    const { random } = stack;
    this.random = random;
    this.table = new ConnectionTable({ low: random.i32(), high: random.i32() });
    this.initialSequence = new InitialSequence(random);
    this.synCookies = new SynCookies(random);
    this.ports = new EphemeralPorts(random);
    this.fastOpenCookies = new FastOpenCookies(random, settings.fastOpenKeyUs);
    this.fastOpenServers = new FastOpenServers(settings.maxFastOpenServers);
    this.timeWait = new TimeWaitRecords(settings.maxTimeWait);
    this.regions = new RegionPool(this.queue, settings.reuseRecords);
    this.receiveMemory = new BlockAllocator(stack.arena, settings.receivePoolBytes);
    const { receiveBufferBytes } = settings;
    this.receiveQueues = new ReceiveQueues(this.bytes, this.receiveMemory, receiveBufferBytes, settings, this.counters);
    this.retransmitKind = this.timers.addKind((index) => retransmitExpired(this, this.connection(index)));
    this.delayedAckKind = this.timers.addKind((index) => delayedAckExpired(this, this.connection(index)));
    this.slowKind = this.timers.addKind((index) => slowExpired(this, this.connection(index)));
    this.pacingKind = this.timers.addKind((index) => pacingExpired(this, this.connection(index)));
    const timeWaitKind = this.timers.addKind(() => this.expireTimeWait());
    this.timeWaitTimer = this.timers.create(timeWaitKind, 0);
    stack.attach(PROTOCOL_TCP, this);
  }

  /** Connections that have a TCB. */
  get liveConnections(): number {
    return this.tcbs.length - this.freeTcbs.length;
  }

  /** The time of the turn, microseconds. */
  get nowUs(): number {
    return this.clock.nowUs();
  }

  get hasWork(): boolean {
    if (this.readyCount > 0 || this.regions.due) return true;
    // With the transmit queue full, only the device can bring on more.
    return (this.dirtyCount > 0 || this.replies.count > 0) && this.queue.free > 0;
  }

  connection(index: number): Tcb {
    const tcb = this.tcbs[index];
    if (tcb === undefined) throw new RangeError(`no connection ${index}`);
    return tcb;
  }

  // User calls that concern no connection yet (RFC 9293 section 3.9.1.1, OPEN).

  /** Passive OPEN. Throws `RangeError` for a bad port or one that is being listened on. */
  listen(port: number, accept: (connection: Tcb) => TcpUser, options: ListenOptions = {}): Listener {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new RangeError(`port ${port} is not 1 to 65535`);
    if (this.listeners.has(port)) throw new RangeError(`port ${port} is listened on already`);
    const listener = new Listener(this, port, options, accept);
    this.listeners.set(port, listener);
    return listener;
  }

  /**
   * Active OPEN. `user` hears `EVENT_CONNECTED`, or `EVENT_CLOSED` with the error. Null when `maxConnections` is reached
   * or no local port is free; throws `RangeError` for a port that cannot be, and a local address that is not the stack's
   * (default: its primary one). A local port is chosen unless one is given; null too when that one is taken. With `fastOpen`
   * (RFC 7413) what is queued before the turn's output may leave with the SYN, and reach the server's application more than once.
   */
  connect(
    remoteAddress: number,
    remotePort: number,
    user: TcpUser,
    localAddress = this.local.primary,
    chosenPort = 0,
    fastOpen = false,
  ): Tcb | null {
    if (!Number.isInteger(remotePort) || remotePort < 1 || remotePort > 65_535) {
      throw new RangeError(`port ${remotePort} is not 1 to 65535`);
    }
    if (!this.local.has(localAddress)) {
      throw new RangeError(`${formatIpv4(localAddress)} is not an address of this stack`);
    }
    const localPort =
      chosenPort === 0
        ? this.choosePort(remoteAddress, remotePort, localAddress)
        : this.freePort(remoteAddress, remotePort, localAddress, chosenPort);
    const tcb = localPort === 0 ? null : this.createConnection(remoteAddress, remotePort, localAddress, localPort);
    if (tcb === null) return null;
    tcb.user = user;
    this.counters.increment(ACTIVE_OPENS);
    this.clock.look();
    this.initialSequence.choose(tcb, this.nowUs);
    if (fastOpen && (this.settings.fastOpen & FAST_OPEN_CLIENT) !== 0) tcb.fastOpen = FAST_OPEN_WANTED;
    setState(tcb, SYN_SENT);
    if (tcb.path === null) {
      this.finish(tcb, 'ENETUNREACH');
    } else {
      tcb.synNow = true;
      this.wantOutput(tcb);
    }
    return tcb;
  }

  /** A local port that no other connection to the same end has, and nobody listens on; 0 when there is none. */
  private choosePort(remoteAddress: number, remotePort: number, localAddress: number): number {
    const { ports, table, listeners } = this;
    ports.aim(localAddress, remoteAddress, remotePort);
    for (let tried = 0; tried < EPHEMERAL_PORTS; tried++) {
      const port = ports.next();
      const isFree = table.find(remoteAddress, remotePort, localAddress, port) === NOT_FOUND;
      if (isFree && !listeners.has(port)) return port;
    }
    return 0;
  }

  /** The port that the caller has chosen, or 0 when another connection to the same end has it. */
  private freePort(remoteAddress: number, remotePort: number, localAddress: number, port: number): number {
    return this.table.find(remoteAddress, remotePort, localAddress, port) === NOT_FOUND ? port : 0;
  }

  findListener(port: number): Listener | null {
    return this.listeners.get(port) ?? null;
  }

  removeListener(listener: Listener): void {
    if (this.listeners.get(listener.port) !== listener) return;
    this.listeners.delete(listener.port);
    for (const tcb of this.tcbs) {
      const isAccepted = tcb.user !== null;
      if (tcb.listener === listener && tcb.state === SYN_RECEIVED && !isAccepted) this.abort(tcb, 'ECONNABORTED');
    }
  }

  // Segments in (a transport handler of Ipv4).

  input(frameAt: number, ipAt: number, at: number, length: number): void {
    input(this, frameAt, ipAt, at, length);
  }

  icmpError(type: number, code: number, quotedIpAt: number, at: number, length: number, nextMtu: number): void {
    reportIcmpError(this, type, code, quotedIpAt, at, length, nextMtu);
  }

  /** Connections that are being opened through a next hop that does not answer fail. */
  unreachable(neighbourAddress: number): void {
    for (const tcb of this.tcbs) {
      if (tcb.state === SYN_SENT && tcb.path?.neighbour.address === neighbourAddress) this.finish(tcb, 'EHOSTUNREACH');
    }
  }

  // The turn.

  /** The application phase: every connection that has events, once. */
  runApplications(): void {
    this.regions.releaseCompleted();
    for (let i = 0; i < this.readyCount; i++) {
      const tcb = this.ready[i] as Tcb;
      // Served before an application threw and cut an earlier turn short.
      if (!tcb.inReady) continue;
      tcb.inReady = false;
      if (tcb.user !== null && tcb.events !== 0) tcb.user.ready(tcb);
      if (tcb.deliveryHead >= 0) this.receiveQueues.settle(tcb);
      if (tcb.state === CLOSED && !tcb.lingering && !tcb.inReady) this.recycle(tcb);
    }
    this.readyCount = 0;
    this.receiveQueues.endTurn();
  }

  /** The output phase: builds the segments that connections have marked, as far as the transmit queue has room. */
  output(): void {
    this.regions.releaseCompleted();
    outputReplies(this);
    const list = this.dirty;
    const count = this.dirtyCount;
    this.dirty = this.dirtyNext;
    this.dirtyNext = list;
    this.dirtyCount = 0;
    let i = 0;
    while (i < count && this.queue.free > 0) {
      const tcb = list[i++] as Tcb;
      tcb.inOutput = false;
      if (tcb.state !== CLOSED && !outputConnection(this, tcb)) this.wantOutput(tcb);
    }
    if (i < count) this.serveFirst(list, i, count);
  }

  /** The queue is full: those not served yet come first next time, before the one that filled it. */
  private serveFirst(list: Tcb[], from: number, to: number): void {
    let count = 0;
    for (let i = from; i < to; i++) list[count++] = list[i] as Tcb;
    for (let i = 0; i < this.dirtyCount; i++) list[count++] = this.dirty[i] as Tcb;
    this.dirtyNext = this.dirty;
    this.dirty = list;
    this.dirtyCount = count;
  }

  /** Puts a connection on the list of the next output phase. */
  wantOutput(tcb: Tcb): void {
    if (tcb.inOutput) return;
    tcb.inOutput = true;
    this.dirty[this.dirtyCount++] = tcb;
  }

  /** Tells the user of a connection something, in the next application phase. */
  raise(tcb: Tcb, event: number): void {
    tcb.events |= event;
    if (tcb.inReady) return;
    tcb.inReady = true;
    this.ready[this.readyCount++] = tcb;
  }

  /** Takes no more connections and aborts those there are; the resets leave in the turns that follow. */
  close(): void {
    this.listeners.clear();
    for (const tcb of this.tcbs) this.abort(tcb, 'ECONNABORTED');
  }

  // The life of a connection.

  /** A TCB entered in the table, with its path if there is one; null when there are too many. */
  createConnection(remoteAddress: number, remotePort: number, localAddress: number, localPort: number): Tcb | null {
    if (this.liveConnections >= this.settings.maxConnections) return null;
    const tcb = this.takeTcb();
    tcb.remoteAddress = remoteAddress;
    tcb.remotePort = remotePort;
    tcb.localAddress = localAddress;
    tcb.localPort = localPort;
    tcb.path = this.paths.acquire(remoteAddress, localAddress) ?? null;
    tcb.options = this.connectionOptions;
    tcb.rtoUs = this.settings.initialRtoUs;
    tcb.tsOffset = this.initialSequence.timestampOffset(localAddress, remoteAddress);
    tcb.rcvScale = this.settings.windowScaling ? this.receiveScale : 0;
    this.table.set(remoteAddress, remotePort, localAddress, localPort, tcb.index);
    return tcb;
  }

  /** The connection has reached ESTABLISHED. */
  announce(tcb: Tcb): void {
    if (tcb.listener !== null) {
      tcb.listener.halfOpen--;
      fastOpenIsOver(tcb);
      if (tcb.user !== null) return;
    }
    this.introduce(tcb);
  }

  /** The application gets the connection: once it is established, or with Fast Open before. */
  introduce(tcb: Tcb): void {
    if (tcb.listener !== null) {
      try {
        tcb.user = tcb.listener.accept(tcb);
      } catch (error) {
        // Nobody could ever close it.
        this.abort(tcb, 'ECONNABORTED');
        throw error;
      }
    }
    this.raise(tcb, EVENT_CONNECTED);
  }

  /**
   * The connection is over: everything it holds goes back. Its user is told; after an orderly end not before it has read
   * what is left.
   */
  finish(tcb: Tcb, error: ConnectionError): void {
    if (tcb.state === CLOSED) return;
    if (tcb.state === SYN_RECEIVED && tcb.listener !== null) {
      tcb.listener.halfOpen--;
      fastOpenIsOver(tcb);
    }
    setState(tcb, CLOSED);
    tcb.error = error;
    this.timers.cancel(tcb.retransmitTimer);
    this.timers.cancel(tcb.delayedAckTimer);
    this.timers.cancel(tcb.slowTimer);
    if (tcb.pacingTimer > 0) this.timers.cancel(tcb.pacingTimer);
    releaseAll(this.regions, tcb);
    this.ranges.clear(tcb);
    const { remoteAddress, remotePort, localAddress, localPort } = tcb;
    // What waits in TIME-WAIT has it already.
    this.table.delete(remoteAddress, remotePort, localAddress, localPort, tcb.index);
    if (tcb.path !== null) {
      this.paths.release(tcb.path);
      tcb.path = null;
    }
    // RFC 9293 3.10.7.4 flushes what is unread after a reset; Linux lets it be read.
    const mayLinger = error === '' || this.settings.checks === 'linux';
    tcb.lingering = mayLinger && !tcb.readClosed && unreadBytes(tcb) > 0;
    if (tcb.lingering) {
      if (error !== '') this.raise(tcb, EVENT_READABLE);
      return;
    }
    this.receiveQueues.discard(tcb);
    this.raise(tcb, EVENT_CLOSED);
  }

  /** The application has read the last byte of a connection that had ended. */
  finishLingering(tcb: Tcb): void {
    tcb.lingering = false;
    this.receiveQueues.discard(tcb);
    this.raise(tcb, EVENT_CLOSED);
  }

  /** ABORT: a reset for the peer (RFC 9293 3.9.1.6), and the end. */
  abort(tcb: Tcb, error: ConnectionError): void {
    if (tcb.state === CLOSED) {
      if (!tcb.lingering) return;
      tcb.error = error;
      this.finishLingering(tcb);
      return;
    }
    // It may be called from outside a turn, long after the last one.
    this.clock.look();
    if (tcb.state !== SYN_SENT) this.replyFor(tcb, TCP_RST | TCP_ACK);
    this.finish(tcb, error);
  }

  /** Enters TIME-WAIT: the FIN is acknowledged, a record stays, the TCB is free. */
  enterTimeWait(tcb: Tcb): void {
    // From CLOSING, the peer's FIN has been acknowledged, unless it came in this very turn.
    const owed = tcb.state === FIN_WAIT_2 || tcb.ackNow || tcb.ackDelayed;
    setState(tcb, TIME_WAIT);
    if (owed) this.replyFor(tcb, TCP_ACK);
    if (this.timeWait.full) {
      this.counters.increment(TIME_WAIT_EVICTED);
      this.removeTimeWait(this.timeWait.oldest);
    }
    const expiryUs = this.nowUs + this.settings.timeWaitUs;
    const record = this.timeWait.add(tcb, receiveWindowField(tcb), expiryUs);
    tcb.path = null;
    this.table.set(tcb.remoteAddress, tcb.remotePort, tcb.localAddress, tcb.localPort, timeWaitValue(record));
    if (!this.timers.isArmed(this.timeWaitTimer)) this.timers.schedule(this.timeWaitTimer, expiryUs);
    this.finish(tcb, '');
  }

  removeTimeWait(record: number): void {
    const { timeWait } = this;
    this.table.delete(
      timeWait.remoteAddress(record),
      timeWait.remotePort(record),
      timeWait.localAddress(record),
      timeWait.localPort(record),
      timeWaitValue(record),
    );
    const path: Path | null = timeWait.path(record);
    timeWait.remove(record);
    if (path !== null) this.paths.release(path);
  }

  /** Notes the last segment of a connection, whose TCB will be gone when it leaves. */
  private replyFor(tcb: Tcb, flags: number): void {
    const { remoteAddress, remotePort, localAddress, localPort } = tcb;
    const seq = seqBits(emptySegmentSeq(tcb));
    const ack = seqBits(tcb.rcvNxt);
    this.replies.add(remoteAddress, remotePort, localAddress, localPort, seq, ack, flags, receiveWindowField(tcb));
    if (tcb.timestamps) this.replies.addTimestamps(this.timestamp(tcb.tsOffset), tcb.tsRecent);
    if ((flags & TCP_RST) !== 0) this.counters.increment(RESETS_SENT);
  }

  /** Notes a control segment for whoever sent a segment; false when too many wait. */
  reply(to: Segment, seq: Seq, ack: Seq, flags: number, window: number): boolean {
    if (this.replies.count >= MAX_STRAY_REPLIES) {
      this.counters.increment(REPLIES_DROPPED);
      return false;
    }
    const { remoteAddress, remotePort, localAddress, localPort } = to;
    this.replies.add(remoteAddress, remotePort, localAddress, localPort, seqBits(seq), seqBits(ack), flags, window);
    if ((flags & TCP_RST) !== 0) this.counters.increment(RESETS_SENT);
    return true;
  }

  /** Takes one of this second's challenge ACKs or stray replies; false when they are used up. */
  takeChallenge(): boolean {
    if (this.nowUs - this.challengeSecondUs >= 1_000_000) {
      this.challengeSecondUs = this.nowUs;
      // Not the same each second, or an attacker could count what is left of it (RFC 5961 section 7).
      const average = this.settings.challengeAcksPerSecond;
      this.challengeBudget = (average >> 1) + this.stack.random.below(average + 1);
    }
    if (this.challengeBudget === 0) return false;
    this.challengeBudget--;
    return true;
  }

  /** TSval: milliseconds, from an offset of the connection's own (RFC 7323 5.4). */
  timestamp(offset: number): number {
    return (this.clock.nowMs + offset) | 0;
  }

  /** The connection wants to send again in `delayUs`, when its pacing lets it. */
  startPacingTimer(tcb: Tcb, delayUs: number): void {
    const { timers } = this;
    if (tcb.pacingTimer === 0) tcb.pacingTimer = timers.create(this.pacingKind, tcb.index);
    if (!timers.isArmed(tcb.pacingTimer)) timers.scheduleAfter(tcb.pacingTimer, delayUs);
  }

  private takeTcb(): Tcb {
    const free = this.freeTcbs.pop();
    if (free === undefined) return this.makeTcb(this.tcbs.length);
    if (this.settings.reuseRecords) {
      this.counters.increment(CONNECTIONS_REUSED);
      return free;
    }
    this.timers.destroy(free.retransmitTimer);
    this.timers.destroy(free.delayedAckTimer);
    this.timers.destroy(free.slowTimer);
    if (free.pacingTimer > 0) this.timers.destroy(free.pacingTimer);
    return this.makeTcb(free.index);
  }

  private makeTcb(index: number): Tcb {
    const { timers } = this;
    const retransmit = timers.create(this.retransmitKind, index);
    const tcb = new Tcb(
      this,
      index,
      retransmit,
      timers.create(this.delayedAckKind, index),
      timers.create(this.slowKind, index),
    );
    this.tcbs[index] = tcb;
    return tcb;
  }

  private recycle(tcb: Tcb): void {
    // A stale place in the output list is passed over there; the flag must survive so that it is not listed twice.
    const inOutput = tcb.inOutput;
    tcb.reset();
    tcb.inOutput = inOutput;
    this.freeTcbs.push(tcb);
  }

  private expireTimeWait(): void {
    const { timeWait } = this;
    while (timeWait.live > 0 && timeWait.expiryUs(timeWait.oldest) <= this.nowUs) this.removeTimeWait(timeWait.oldest);
    if (timeWait.live > 0) this.timers.schedule(this.timeWaitTimer, timeWait.expiryUs(timeWait.oldest));
  }
}

/** The smallest shift that lets a 16-bit field say the whole buffer (RFC 7323 2.3: at most 14). */
function scaleFor(receiveBufferBytes: number): number {
  let scale = 0;
  while (scale < 14 && receiveBufferBytes >> scale > 0xffff) scale++;
  return scale;
}

function checkSettings(settings: TcpSettings): void {
  if (!Object.hasOwn(CONGESTION_CONTROLS, settings.congestion)) {
    throw new RangeError(
      `congestion control ${settings.congestion}: there are ${Object.keys(CONGESTION_CONTROLS).join(', ')}`,
    );
  }
  const buffer = settings.receiveBufferBytes;
  if (buffer < 4096 || buffer > 2 ** 30 || (buffer & (buffer - 1)) !== 0) {
    throw new RangeError(`receiveBufferBytes ${buffer} is not a power of two from 4096 to 2^30`);
  }
  const window = settings.initialReceiveWindowBytes;
  if (!Number.isInteger(window) || window < DEFAULT_MSS_BYTES) {
    throw new RangeError(`initialReceiveWindowBytes ${window} is less than ${DEFAULT_MSS_BYTES}`);
  }
  const scale = settings.windowScale;
  if (!Number.isInteger(scale) || scale < -1 || scale > 14)
    throw new RangeError(`windowScale ${scale} is not -1 to 14`);
}
