/**
 * The forwarder: segments of a connection to one of its services go on to a backend and the answers back, rewritten in the
 * receive slot that they arrived in and sent from there. One read and one write a frame, nothing copied. There is no TCP in
 * it: options, sequence numbers, windows, resets and FINs pass as they are, and each end has the other end's TCP before it.
 *
 * Memory: frames belong to their slots; flows are in tables made by the constructor.
 */
import { NEIGHBOUR_FAILED, NEIGHBOUR_INCOMPLETE, NEIGHBOUR_STALE } from '../../libos/neighbour.ts';
import type { Path } from '../../libos/path.ts';
import { TokenBucket } from '../../libos/token-bucket.ts';
import { Counters } from '../../runtime/counters.ts';
import type { Log } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { TurnClock } from '../../runtime/turn-clock.ts';
import { float64At, int32At, uint8At, uint16At } from '../../runtime/words.ts';
import { type Bytes, i32 } from '../../wire/bytes.ts';
import { DROP_IPV4_PROTOCOL, DROP_NAMES, type DropReason } from '../../wire/drop-reasons.ts';
import { ETHERNET_BYTES } from '../../wire/ethernet.ts';
import { ICMP_CODE_FRAG_NEEDED, ICMP_CODE_HOST, ICMP_UNREACHABLE, icmpCode, icmpType } from '../../wire/icmp.ts';
import {
  ipv4HeaderBytes,
  ipv4IsFragment,
  ipv4Protocol,
  ipv4Source,
  ipv4Target,
  ipv4TotalBytes,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
} from '../../wire/ipv4.ts';
import {
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SOURCE_PORT_OFFSET,
  TCP_SYN,
  tcpAck,
  tcpFlags,
  tcpHeaderBytes,
  tcpSeq,
} from '../../wire/tcp.ts';
import { parseTcpOptions, TcpOptions } from '../../wire/tcp-options.ts';
import { VNET_DATA_VALID, VNET_NEEDS_CSUM, vnetFlags } from '../../wire/virtio-net.ts';
import { Backend, packEndpoint, type RestSettings, ServiceGroup } from './backends.ts';
import {
  ERRORS_OF_STRANGERS,
  ERRORS_TRANSLATED,
  FORWARDER_COUNTERS,
  FRAGMENTS_DROPPED,
  FRAMES_IN,
  QUEUE_FULL,
  RESETS_LIMITED,
  RESETS_SENT,
  STRANGERS_DROPPED,
  UNREACHABLE,
} from './counters.ts';
import { Egress } from './egress.ts';
import { followSegment, MARK_TIMESTAMP, MARK_UNREACHABLE } from './flow-state.ts';
import { FLOW_HALF_CLOSED, FLOW_SYN, FROM_CLIENT, hasEnded } from './flow-table.ts';
import { Flows, OPEN_REFUSED } from './flows.ts';
import { frameCheck, segmentCheck } from './frame-check.ts';
import { errorCheck, findQuotedFlow, rewriteError } from './icmp-errors.ts';
import { LeasedPorts } from './leased-ports.ts';
import { turnIntoReset } from './resets.ts';
import {
  type Balance,
  DEFAULT_LIFETIMES,
  DEFAULT_LIMITS,
  type Endpoint,
  type FlowLifetimes,
  type ForwarderLimits,
  type Mode,
  type Service,
} from './settings.ts';
import { Side, type SideOptions } from './side.ts';
import { WaitingFrames } from './waiting-frames.ts';

export interface ForwarderOptions {
  /** One device or two, all over one arena; the first one's timers and clock are the forwarder's. */
  readonly sides: readonly SideOptions[];
  readonly services: readonly Service[];
  readonly mode: Mode;
  readonly balance: Balance;
  readonly random: Random;
  readonly log: Log;
  /** Where flows are logged; null for nowhere. */
  readonly flowLog: Log | null;
  readonly limits?: Partial<ForwarderLimits> | undefined;
  readonly lifetimes?: Partial<FlowLifetimes> | undefined;
}

/** What a service is opened by: a SYN, and nothing that contradicts it. */
const OPENING_FLAGS = TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN;

/** A little less than the least first retransmission time-out, one second, for clocks that tick otherwise. */
const ANSWER_US = 900_000;

export class Forwarder {
  readonly counters: Counters<(typeof FORWARDER_COUNTERS)[number]> = new Counters(FORWARDER_COUNTERS);
  /** Frames dropped for what they are, by reason. */
  readonly drops: Counters<string> = new Counters(DROP_NAMES);
  readonly sides: readonly Side[];
  readonly services: readonly ServiceGroup[];
  readonly flows: Flows;
  private readonly bytes: Bytes;
  private readonly clock: TurnClock;
  private readonly resets: TokenBucket;
  private readonly waiting: WaitingFrames;
  private readonly egress: Egress;
  /** Of the segment that is being looked at. */
  private readonly options = new TcpOptions();

  /** Throws `RangeError` when a service listens at no address of the sides, or no route leads to a backend. */
  constructor(options: ForwarderOptions) {
    const { mode, services } = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const lifetimes = { ...DEFAULT_LIFETIMES, ...options.lifetimes };
    const { stack } = options.sides[0] as SideOptions;
    this.sides = options.sides.map((side, index) => new Side(index, side, mode, limits));
    this.services = this.createGroups(options, { restAfter: limits.restAfter, restUs: lifetimes.restUs });
    this.bytes = stack.bytes;
    this.clock = stack.clock;
    this.resets = new TokenBucket(limits.resetsPerSecond, limits.resetBurst);
    this.waiting = new WaitingFrames(limits.maxWaitingFrames);
    this.flows = new Flows({
      sides: this.sides,
      services: this.services,
      maxFlows: limits.maxFlows,
      maxHalfOpen: limits.maxHalfOpen,
      lifetimes,
      counters: this.counters,
      timers: stack.timers,
      clock: stack.clock,
      random: options.random,
      log: options.flowLog,
    });
    this.egress = new Egress(this.bytes, this.sides, this.flows.table, this.waiting, this.counters);
    for (const side of this.sides) {
      const leadsToBackends = this.services.some(({ backends }) => backends.some((backend) => backend.side === side));
      side.claim(services, mode, leadsToBackends);
      side.environment.program = {
        process: () => this.process(side),
        nextDeadlineUs: () => Number.POSITIVE_INFINITY,
      };
    }
  }

  /** Frames that wait for a link-layer address. */
  get waitingFrames(): number {
    return this.waiting.count;
  }

  /** Logs the end of every flow that has none yet, and gives everything back. */
  close(): void {
    this.flows.close();
    for (const side of this.sides) side.environment.close();
  }

  private createGroups({ services, balance, mode, log }: ForwarderOptions, rest: RestSettings): ServiceGroup[] {
    // Services that share a backend share the ports towards it.
    const leases = new Map<number, LeasedPorts>();
    const createBackend = (endpoint: Endpoint): Backend => {
      const side = this.findSide(endpoint);
      if (mode === 'routed') return new Backend(endpoint, side, null);
      const key = packEndpoint(endpoint.address, endpoint.port);
      const own = services.filter(({ listen }) => listen.address === side.stack.localAddress);
      const ports =
        leases.get(key) ??
        new LeasedPorts(
          own.map(({ listen }) => listen.port),
          this.counters,
        );
      leases.set(key, ports);
      return new Backend(endpoint, side, ports);
    };
    return services.map((service) => {
      if (!this.sides.some((side) => side.has(service.listen.address))) {
        throw new RangeError('a service listens at an address that no side has');
      }
      return new ServiceGroup(service, service.backends.map(createBackend), balance, rest, this.counters, log);
    });
  }

  /** The device that leads to a backend: the one whose routes say most exactly where it is. */
  private findSide({ address }: Endpoint): Side {
    const onLink = this.sides.find((side) => side.stack.routes.lookup(address) === (address | 0));
    const side = onLink ?? this.sides.findLast(({ stack }) => stack.routes.lookup(address) !== undefined);
    if (side === undefined) throw new RangeError('no route leads to a backend');
    return side;
  }

  private process(side: Side): void {
    const { environment } = side;
    const { ring } = environment;
    const { size } = ring;
    if (size > 0) this.counters.add(FRAMES_IN, size);
    for (let at = ring.take(); at !== 0; at = ring.take()) {
      if (!this.input(side, at, ring.length)) environment.returnSlot(at);
    }
    if (this.waiting.count > 0) this.retryWaiting();
  }

  /** Works on a frame; true when its slot is to stay: it is being sent, or waits. */
  private input(side: Side, at: number, lengthBytes: number): boolean {
    const { bytes } = this;
    const bad = frameCheck(bytes, at, lengthBytes, side.macHi, side.macLo);
    if (bad !== 0) return this.drop(bad);
    const ipAt = at + ETHERNET_BYTES;
    // The filters let the first one of a segment through; nothing is put together here.
    if (ipv4IsFragment(bytes, ipAt)) return this.refuse(FRAGMENTS_DROPPED);
    const protocol = ipv4Protocol(bytes, ipAt);
    if (protocol === PROTOCOL_TCP) return this.segmentArrives(side, at, ipAt);
    if (protocol === PROTOCOL_ICMP) return this.errorArrives(side, at, ipAt);
    return this.drop(DROP_IPV4_PROTOCOL);
  }

  private segmentArrives(side: Side, at: number, ipAt: number): boolean {
    const { bytes, flows } = this;
    const headerBytes = ipv4HeaderBytes(bytes, ipAt);
    const totalBytes = ipv4TotalBytes(bytes, ipAt);
    const tcpAt = ipAt + headerBytes;
    const tcpBytes = totalBytes - headerBytes;
    const source = ipv4Source(bytes, ipAt);
    const target = ipv4Target(bytes, ipAt);
    const bad = segmentCheck(bytes, at, tcpAt, tcpBytes, source, target);
    if (bad !== 0) return this.drop(bad);
    const ports = i32(bytes, tcpAt + TCP_SOURCE_PORT_OFFSET);
    const flags = tcpFlags(bytes, tcpAt);
    const textBytes = tcpBytes - tcpHeaderBytes(bytes, tcpAt);
    let half = flows.find(source, ports, target);
    if ((flags & OPENING_FLAGS) === TCP_SYN && (half < 0 || this.mayReopen(half))) {
      parseTcpOptions(bytes, tcpAt, tcpHeaderBytes(bytes, tcpAt), this.options);
      half = this.open(side, source, ports, target, flags, tcpSeq(bytes, tcpAt), textBytes);
      if (half === OPEN_REFUSED) return this.reset(side, at, tcpAt, textBytes);
      if (half < 0) return this.refuse(UNREACHABLE);
    } else if (half < 0) {
      return this.reset(side, at, tcpAt, textBytes);
    } else {
      this.follow(half, tcpAt, flags, textBytes);
    }
    return this.egress.forward(side, half, at, totalBytes, tcpAt, textBytes);
  }

  /** The client's SYN meets a flow that has ended: it begins a new one, as it would at a host (RFC 9293 3.10.7.4). */
  private mayReopen(half: number): boolean {
    const flow = half >>> 1;
    if ((half & 1) !== 0 || !hasEnded(uint8At(this.flows.table.state, flow))) return false;
    this.flows.forget(flow);
    return true;
  }

  /** The half of a new flow, or why there is none; below `OPEN_UNROUTED` when nobody listens. */
  private open(
    side: Side,
    source: number,
    ports: number,
    target: number,
    flags: number,
    seq: number,
    textBytes: number,
  ): number {
    const service = this.flows.findService(ports, target);
    // To a port that nobody listens at: refused like any host does.
    if (service < 0) return OPEN_REFUSED;
    const half = this.flows.open(side, service, source, ports, target, seq, this.options);
    if (half >= 0) this.flows.begin(half >>> 1, flags, seq, textBytes);
    return half;
  }

  private follow(half: number, tcpAt: number, flags: number, textBytes: number): void {
    const flow = half >>> 1;
    const { bytes } = this;
    const { table } = this.flows;
    const before = uint8At(table.state, flow);
    const nowUs = this.clock.nowUs();
    table.usedUs[flow] = nowUs;
    if ((half & 1) === FROM_CLIENT) {
      if ((flags & TCP_FIN) !== 0 || before === FLOW_HALF_CLOSED) this.noteTimestamp(flow, tcpAt);
      // The client asks again: there was no answer for as long as a first retransmission takes to come (RFC 6298 section 2).
      if (before === FLOW_SYN && nowUs - float64At(table.openedUs, flow) > ANSWER_US) this.flows.openFailed(flow);
    }
    followSegment(table, half, flags, tcpSeq(bytes, tcpAt), tcpAck(bytes, tcpAt), textBytes);
    if (uint8At(table.state, flow) !== before) this.flows.changed(flow, before);
  }

  /** What the backend will compare the next SYN from this port with. */
  private noteTimestamp(flow: number, tcpAt: number): void {
    const { bytes, options } = this;
    const { table } = this.flows;
    parseTcpOptions(bytes, tcpAt, tcpHeaderBytes(bytes, tcpAt), options);
    if (!options.hasTimestamps) return;
    table.clientTimestamp[flow] = options.tsValue;
    table.marks[flow] = uint16At(table.marks, flow) | MARK_TIMESTAMP;
  }

  /** Frames whose next hop has answered begin anew; those whose next hop does not answer have come to their end. */
  private retryWaiting(): void {
    const { waiting, sides } = this;
    const { count } = waiting;
    waiting.clear();
    for (let i = 0; i < count; i++) {
      const at = waiting.at(i);
      const lengthBytes = waiting.lengthBytes(i);
      const neighbour = waiting.neighbour(i);
      const side = sides[waiting.side(i)] as Side;
      if (neighbour.state === NEIGHBOUR_INCOMPLETE) {
        waiting.add(at, lengthBytes, side.index, neighbour);
      } else if (neighbour.state === NEIGHBOUR_FAILED) {
        this.giveUp(side, at);
        side.environment.returnSlot(at);
      } else if (!this.input(side, at, lengthBytes)) {
        side.environment.returnSlot(at);
      }
    }
  }

  /** RFC 1812 section 5.2.7.1: the next hop does not answer, which whoever sent the frame is told. */
  private giveUp(side: Side, at: number): void {
    const { bytes } = this;
    const ipAt = at + ETHERNET_BYTES;
    this.counters.increment(UNREACHABLE);
    const ports = i32(bytes, ipAt + ipv4HeaderBytes(bytes, ipAt) + TCP_SOURCE_PORT_OFFSET);
    const half = this.flows.find(ipv4Source(bytes, ipAt), ports, ipv4Target(bytes, ipAt));
    if (half >= 0) this.markUnreachable(half >>> 1);
    side.stack.icmp.sendError(ICMP_UNREACHABLE, ICMP_CODE_HOST, ipAt);
  }

  private markUnreachable(flow: number): void {
    const { table } = this.flows;
    if (uint8At(table.state, flow) !== FLOW_SYN) return;
    table.marks[flow] = uint16At(table.marks, flow) | MARK_UNREACHABLE;
    this.flows.openFailed(flow);
  }

  private errorArrives(side: Side, at: number, ipAt: number): boolean {
    const { bytes, flows } = this;
    const messageAt = ipAt + ipv4HeaderBytes(bytes, ipAt);
    const messageBytes = ipv4TotalBytes(bytes, ipAt) - ipv4HeaderBytes(bytes, ipAt);
    const verified = (vnetFlags(bytes, at) & (VNET_NEEDS_CSUM | VNET_DATA_VALID)) !== 0;
    const bad = errorCheck(bytes, messageAt, messageBytes, verified);
    if (bad !== 0) return this.drop(bad);
    const half = findQuotedFlow(bytes, flows.index, messageAt);
    if (half < 0 || ipv4Target(bytes, ipAt) !== int32At(flows.table.keyTarget, half)) {
      return this.refuse(ERRORS_OF_STRANGERS);
    }
    const to = this.sides[uint8At(flows.table.side, half)] as Side;
    const { neighbour } = flows.table.paths[half] as Path;
    if (!this.egress.mayPass(side, to, at, ipAt, ipv4TotalBytes(bytes, ipAt), 0)) return false;
    if (neighbour.state < NEIGHBOUR_STALE) return this.refuse(UNREACHABLE);
    const type = icmpType(bytes, messageAt);
    if (type === ICMP_UNREACHABLE && icmpCode(bytes, messageAt) !== ICMP_CODE_FRAG_NEEDED) {
      this.markUnreachable(half >>> 1);
    }
    rewriteError(bytes, flows.table, half, at, ipAt, messageAt, messageBytes);
    if (!this.egress.send(side, to, at, ETHERNET_BYTES + ipv4TotalBytes(bytes, ipAt), neighbour)) return false;
    this.counters.increment(ERRORS_TRANSLATED);
    return true;
  }

  /** Answers a segment of no flow as a host would that knows of no connection, if it is for an address of ours. */
  private reset(side: Side, at: number, tcpAt: number, textBytes: number): boolean {
    const { bytes } = this;
    const isReset = (tcpFlags(bytes, tcpAt) & TCP_RST) !== 0;
    if (isReset || !side.has(ipv4Target(bytes, at + ETHERNET_BYTES))) return this.refuse(STRANGERS_DROPPED);
    if (!this.resets.take(this.clock.nowUs())) return this.refuse(RESETS_LIMITED);
    const lengthBytes = turnIntoReset(bytes, at, tcpAt, textBytes, side.macHi, side.macLo);
    if (!side.environment.transmitSlot(side.environment, at, lengthBytes)) return this.refuse(QUEUE_FULL);
    this.counters.increment(RESETS_SENT);
    return true;
  }

  private drop(reason: DropReason): false {
    this.drops.increment(reason);
    return false;
  }

  private refuse(counter: number): false {
    this.counters.increment(counter);
    return false;
  }
}
