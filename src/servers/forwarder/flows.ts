/**
 * The life of flows: opened by a SYN, followed until both ends are done, forgotten when nothing has moved in them for as long
 * as their state allows. Their timers are set when the state changes and look for themselves, when they fire, whether
 * something has moved since: a segment that passes costs no timer.
 *
 * Memory: tables made by the constructor; a flow's paths are given back when it is freed.
 */
import type { Path } from '../../libos/path.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { TimerWheel } from '../../runtime/timer-wheel.ts';
import { float64At, int32At, uint8At, uint16At } from '../../runtime/words.ts';
import type { Ipv4Address } from '../../wire/address.ts';
import type { TcpOptions } from '../../wire/tcp-options.ts';
import { type Backend, packEndpoint, type ServiceGroup } from './backends.ts';
import {
  FLOWS_CLOSED,
  FLOWS_OPENED,
  FLOWS_REFUSED,
  FLOWS_RESET,
  FLOWS_TIMED_OUT,
  FLOWS_UNROUTED,
  type ForwarderCounters,
  HALF_OPEN_EVICTED,
  LINGERING_EVICTED,
  PORTS_EXHAUSTED,
} from './counters.ts';
import { FlowIndex, NOT_FOUND, packPorts, swapPorts } from './flow-index.ts';
import { FlowLog } from './flow-log.ts';
import { isRefused, MARK_OPEN_FAILED, MARK_UNREACHABLE, nameEnd, openFlow, rememberedOf } from './flow-state.ts';
import {
  FLOW_CLOSED,
  FLOW_FREE,
  FLOW_RESET,
  FLOW_SYN,
  FLOW_SYN_ACK,
  FlowTable,
  FROM_BACKEND,
  FROM_CLIENT,
  hasEnded,
  isHalfOpen,
} from './flow-table.ts';
import { differenceOf } from './rewrite.ts';
import type { FlowLifetimes } from './settings.ts';
import type { Side } from './side.ts';

/** `open` had no room, in the table or among the ports: the client is to hear of it. */
export const OPEN_REFUSED = -1;
/** `open` knows no way to the client, or to any backend. */
export const OPEN_UNROUTED = -2;

export interface FlowsOptions {
  readonly sides: readonly Side[];
  readonly services: readonly ServiceGroup[];
  readonly maxFlows: number;
  readonly maxHalfOpen: number;
  readonly lifetimes: FlowLifetimes;
  readonly counters: ForwarderCounters;
  readonly timers: TimerWheel;
  readonly clock: Clock;
  readonly random: Random;
  /** Where flows are logged; null for nowhere. */
  readonly log: Log | null;
}

export class Flows {
  readonly table: FlowTable;
  readonly index: FlowIndex;
  private readonly sides: readonly Side[];
  private readonly services: readonly ServiceGroup[];
  /** The number of a service by what it listens at (`packEndpoint`). */
  private readonly serviceAt = new Map<number, number>();
  private readonly maxHalfOpen: number;
  private readonly counters: ForwarderCounters;
  private readonly timers: TimerWheel;
  private readonly clock: Clock;
  private readonly log: FlowLog | null;
  private readonly timerKind: number;
  /** By state. */
  private readonly lifetimesUs: Float64Array;

  constructor(options: FlowsOptions) {
    const { services, maxFlows, lifetimes, random } = options;
    this.table = new FlowTable(maxFlows);
    this.index = new FlowIndex(2 * maxFlows, { low: random.i32(), high: random.i32() });
    this.sides = options.sides;
    this.services = services;
    this.maxHalfOpen = options.maxHalfOpen;
    this.counters = options.counters;
    this.timers = options.timers;
    this.clock = options.clock;
    this.log = options.log === null ? null : new FlowLog(options.log, this.table, services);
    this.timerKind = this.timers.addKind((flow) => this.expire(flow));
    const { synUs, synAckUs, establishedUs, halfClosedUs, closedUs, resetUs } = lifetimes;
    // In the order of the states' numbers, of which the first is "free".
    this.lifetimesUs = Float64Array.of(0, synUs, synAckUs, establishedUs, halfClosedUs, closedUs, resetUs);
    for (const [number, { listen }] of services.entries()) {
      this.serviceAt.set(packEndpoint(listen.address, listen.port), number);
    }
  }

  /** The half that a segment belongs to, or `NOT_FOUND`. */
  find(source: Ipv4Address, ports: number, target: Ipv4Address): number {
    return this.index.find(source, ports, target);
  }

  /** The number of the service that listens at the target of a segment, or -1. */
  findService(ports: number, target: Ipv4Address): number {
    return this.serviceAt.get(packEndpoint(target, ports & 0xffff)) ?? -1;
  }

  /** Opens a flow for a SYN that has none. Returns its half, `OPEN_REFUSED` or `OPEN_UNROUTED`. */
  open(
    side: Side,
    service: number,
    source: Ipv4Address,
    ports: number,
    target: Ipv4Address,
    seq: number,
    options: TcpOptions,
  ): number {
    const flow = this.allocate();
    if (flow < 0) {
      this.counters.increment(FLOWS_REFUSED);
      return OPEN_REFUSED;
    }
    const client = side.stack.paths.acquire(source);
    const result =
      client === undefined ? OPEN_UNROUTED : this.connect(flow, service, source, ports, target, seq, options);
    if (client === undefined || result < 0) {
      if (client !== undefined) side.stack.paths.release(client);
      this.table.free(flow);
      this.counters.increment(result === OPEN_REFUSED ? PORTS_EXHAUSTED : FLOWS_UNROUTED);
      return result;
    }
    this.setHalf(2 * flow + FROM_BACKEND, side, client);
    return 2 * flow;
  }

  /** A flow that `open` has made begins with this segment. */
  begin(flow: number, flags: number, seq: number, textBytes: number): void {
    const { table } = this;
    const nowUs = this.clock.nowUs();
    table.openedUs[flow] = nowUs;
    table.usedUs[flow] = nowUs;
    openFlow(table, flow, seq, flags, textBytes);
    table.halfOpen.append(flow);
    if (table.timer[flow] === 0) table.timer[flow] = this.timers.create(this.timerKind, flow);
    this.arm(flow);
    this.counters.increment(FLOWS_OPENED);
    this.log?.opened(flow);
  }

  /** A flow's state has changed. */
  changed(flow: number, before: number): void {
    const state = uint8At(this.table.state, flow);
    if (isHalfOpen(before) && !isHalfOpen(state)) this.table.halfOpen.remove(flow);
    if (before === FLOW_SYN) this.judgeAnswer(flow, state);
    if (hasEnded(state)) {
      this.counters.increment(state === FLOW_CLOSED ? FLOWS_CLOSED : FLOWS_RESET);
      this.finish(flow, nameEnd(this.table, flow));
      this.table.lingering.append(flow);
    }
    this.arm(flow);
  }

  /** A flow's backend has not let it be opened, or has not answered when it should have: counted once a flow. */
  openFailed(flow: number): void {
    const { table } = this;
    const marks = uint16At(table.marks, flow);
    if ((marks & MARK_OPEN_FAILED) !== 0) return;
    table.marks[flow] = marks | MARK_OPEN_FAILED;
    this.groupOf(flow).failed(this.backendOf(flow), this.clock.nowUs());
  }

  /** Gives back all that a flow has. One that has not ended is finished before. */
  forget(flow: number): void {
    const { table } = this;
    for (let half = 2 * flow; half < 2 * flow + 2; half++) {
      this.index.delete(int32At(table.keySource, half), int32At(table.keyPorts, half), int32At(table.keyTarget, half));
      const path = table.paths[half] as Path;
      (this.sides[uint8At(table.side, half)] as Side).stack.paths.release(path);
      table.paths[half] = null;
    }
    this.timers.cancel(int32At(table.timer, flow));
    table.free(flow);
  }

  /** Ends all of them: the forwarder stops. */
  close(): void {
    const { table } = this;
    for (let flow = 0; flow < table.capacity; flow++) {
      const state = uint8At(table.state, flow);
      if (state === FLOW_FREE) continue;
      if (!hasEnded(state)) this.finish(flow, 'forwarder stopped');
      this.forget(flow);
    }
  }

  /** A place in the table, if need be that of the flow that ended first, or of the oldest that is not established yet. */
  private allocate(): number {
    const { table } = this;
    if (table.halfOpen.count >= this.maxHalfOpen) this.evictHalfOpen();
    const flow = table.allocate();
    if (flow >= 0) return flow;
    if (table.lingering.count > 0) this.evictLingering(table.lingering.oldest);
    else if (table.halfOpen.count > 0) this.evictHalfOpen();
    return table.allocate();
  }

  private evictLingering(flow: number): void {
    this.forget(flow);
    this.counters.increment(LINGERING_EVICTED);
  }

  private evictHalfOpen(): void {
    const flow = this.table.halfOpen.oldest;
    this.counters.increment(HALF_OPEN_EVICTED);
    this.finish(flow, 'gave way');
    this.forget(flow);
  }

  /** What has come of a client's SYN says whether its backend is well. */
  private judgeAnswer(flow: number, state: number): void {
    if (state === FLOW_SYN_ACK) this.groupOf(flow).answered(this.backendOf(flow));
    else if (state === FLOW_RESET && isRefused(this.table, flow)) this.openFailed(flow);
  }

  /** Finds a backend and a port towards it, and fills in what both halves' frames become. */
  private connect(
    flow: number,
    service: number,
    source: Ipv4Address,
    ports: number,
    target: Ipv4Address,
    seq: number,
    options: TcpOptions,
  ): number {
    const group = this.services[service] as ServiceGroup;
    const first = group.choose(this.clock.nowUs());
    let result = OPEN_UNROUTED;
    for (let tried = 0; tried < group.backends.length; tried++) {
      const number = (first + tried) % group.backends.length;
      const backend = group.backends[number] as Backend;
      const local = backend.leases === null ? source : backend.side.stack.localAddress;
      const path = backend.side.stack.paths.acquire(backend.address);
      if (path === undefined) continue;
      const port = this.lease(backend, local, ports >>> 16, seq, options);
      if (port === 0) {
        backend.side.stack.paths.release(path);
        result = OPEN_REFUSED;
        continue;
      }
      this.table.service[flow] = service;
      this.table.backend[flow] = number;
      backend.living++;
      this.setHalf(2 * flow + FROM_CLIENT, backend.side, path);
      this.setKeys(flow, source, ports, target, local, packPorts(port, backend.port), backend.address);
      return flow;
    }
    return result;
  }

  /** A port towards a backend that no flow has from now on; 0 when there is none. */
  private lease(
    backend: Backend,
    local: Ipv4Address,
    clientPort: number,
    seq: number,
    { hasTimestamps, tsValue }: TcpOptions,
  ): number {
    const own = this.findFromBackend(backend, local, clientPort);
    let port = clientPort;
    if (backend.leases !== null) {
      const preferred = own === NOT_FOUND ? clientPort : 0;
      port = backend.leases.lease(preferred, seq, hasTimestamps, tsValue, this.clock.nowUs());
      if (port === 0) return 0;
    }
    const half = port === clientPort ? own : this.findFromBackend(backend, local, port);
    if (half === NOT_FOUND) return port;
    // Of the client's own ports one may be in use; a leased one can be that of a flow that has ended.
    if (!hasEnded(uint8At(this.table.state, half >>> 1))) return 0;
    this.evictLingering(half >>> 1);
    return port;
  }

  private findFromBackend(backend: Backend, local: Ipv4Address, port: number): number {
    return this.index.find(backend.address, packPorts(backend.port, port), local);
  }

  private setHalf(half: number, side: Side, path: Path): void {
    this.table.side[half] = side.index;
    this.table.paths[half] = path;
  }

  /** What the client's frames have and become, and the backend's, which is the same read backwards. */
  private setKeys(
    flow: number,
    source: Ipv4Address,
    ports: number,
    target: Ipv4Address,
    newSource: Ipv4Address,
    newPorts: number,
    newTarget: Ipv4Address,
  ): void {
    const there = 2 * flow + FROM_CLIENT;
    const back = 2 * flow + FROM_BACKEND;
    this.setHalfKeys(there, source, ports, target, newSource, newPorts, newTarget);
    this.setHalfKeys(back, newTarget, swapPorts(newPorts), newSource, target, swapPorts(ports), source);
  }

  private setHalfKeys(
    half: number,
    source: Ipv4Address,
    ports: number,
    target: Ipv4Address,
    newSource: Ipv4Address,
    newPorts: number,
    newTarget: Ipv4Address,
  ): void {
    const { table } = this;
    table.keySource[half] = source;
    table.keyPorts[half] = ports;
    table.keyTarget[half] = target;
    table.source[half] = newSource;
    table.ports[half] = newPorts;
    table.target[half] = newTarget;
    table.addressDifference[half] = differenceOf(source, newSource) + differenceOf(target, newTarget);
    table.portDifference[half] = differenceOf(ports, newPorts);
    this.index.insert(source, ports, target, half);
  }

  private arm(flow: number): void {
    const { table } = this;
    this.timers.scheduleAfter(int32At(table.timer, flow), float64At(this.lifetimesUs, uint8At(table.state, flow)));
  }

  private expire(flow: number): void {
    const { table } = this;
    const state = uint8At(table.state, flow);
    const leftUs = float64At(table.usedUs, flow) + float64At(this.lifetimesUs, state) - this.clock.nowUs();
    if (leftUs > 0) {
      this.timers.scheduleAfter(int32At(table.timer, flow), leftUs);
      return;
    }
    if (!hasEnded(state)) {
      const unreachable = (uint16At(table.marks, flow) & MARK_UNREACHABLE) !== 0;
      if (state === FLOW_SYN) this.openFailed(flow);
      this.counters.increment(FLOWS_TIMED_OUT);
      this.finish(flow, unreachable ? 'unreachable' : 'timed out');
    }
    this.forget(flow);
  }

  /** Nothing more is expected of a flow. */
  private finish(flow: number, how: string): void {
    const { table } = this;
    const nowUs = this.clock.nowUs();
    const backend = this.backendOf(flow);
    const half = 2 * flow + FROM_CLIENT;
    backend.living--;
    backend.leases?.giveBack(
      int32At(table.ports, half) >>> 16,
      rememberedOf(table, flow),
      int32At(table.sentEnd, half),
      int32At(table.clientTimestamp, flow),
      nowUs,
    );
    this.log?.ended(flow, how, nowUs);
  }

  private groupOf(flow: number): ServiceGroup {
    return this.services[int32At(this.table.service, flow)] as ServiceGroup;
  }

  private backendOf(flow: number): Backend {
    return this.groupOf(flow).backends[int32At(this.table.backend, flow)] as Backend;
  }
}
