/**
 * A stack: one environment's library OS wired together (design, "The layers"), and the phases of its turn (principle 2):
 * frames in, timers, applications, segments out. Transports attach to it; it knows them by `Transport` alone.
 *
 * Memory: frames of the ring stay in their receive slots until the end of the turn that took them, then all go back.
 */
import { arpFilter, ipv4Filter } from '../downloadfilter/protocols.ts';
import type { Environment, EnvironmentProgram } from '../exokernel/environment.ts';
import type { DeviceFeatures, Exokernel } from '../exokernel/exokernel.ts';
import type { Arena } from '../runtime/arena.ts';
import type { Clock } from '../runtime/clock.ts';
import { Counters } from '../runtime/counters.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import { TimerWheel } from '../runtime/timer-wheel.ts';
import { TurnClock } from '../runtime/turn-clock.ts';
import { type Cidr, formatIpv4, maskOf } from '../wire/address.ts';
import type { Bytes } from '../wire/bytes.ts';
import { DROP_ETHERNET_TYPE, DROP_NAMES } from '../wire/drop-reasons.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ethernetCheck, ethernetType } from '../wire/ethernet.ts';
import { PROTOCOL_ICMP } from '../wire/ipv4.ts';
import { ArpCache } from './arp.ts';
import { Icmp } from './icmp.ts';
import { Ipv4, type TransportHandler } from './ipv4.ts';
import { LocalAddresses } from './local-addresses.ts';
import { Paths } from './path.ts';
import { RouteTable } from './routes.ts';

/** A transport protocol as the turn sees it. */
export interface Transport extends TransportHandler {
  /** The application phase: input and timers are done, nothing has been sent. */
  runApplications(): void;
  /** The output phase: queue what is to leave. */
  output(): void;
  /** There is something to do that waits for no frame and no timer. */
  readonly hasWork: boolean;
  /** A next hop does not answer. */
  unreachable(neighbourAddress: number): void;
}

/** The addresses of a stack, and its way out of its subnet. */
export interface StackAddresses {
  /** IPv4, and the length of the subnet's prefix. */
  readonly address: number;
  readonly prefixLength: number;
  /** Whole prefixes that are the stack's as well. */
  readonly sources?: readonly Cidr[] | undefined;
  /** Default gateway, undefined for a host that talks to its link only. */
  readonly gateway?: number | undefined;
  readonly macHi: number;
  readonly macLo: number;
}

export interface StackOptions extends StackAddresses {
  readonly name: string;
  readonly arena: Arena;
  readonly kernel: Exokernel;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Largest IP packet on the link. */
  readonly mtuBytes: number;
  readonly features: DeviceFeatures;
}

export class Stack implements EnvironmentProgram {
  readonly arena: Arena;
  readonly bytes: Bytes;
  readonly environment: Environment;
  /** The time of the turn. */
  readonly clock: TurnClock;
  readonly random: Random;
  readonly log: Log;
  readonly timers: TimerWheel;
  readonly drops: Counters<string> = new Counters(DROP_NAMES);
  readonly local: LocalAddresses;
  readonly mtuBytes: number;
  readonly features: DeviceFeatures;
  readonly arp: ArpCache;
  readonly routes = new RouteTable();
  readonly paths: Paths;
  readonly ipv4: Ipv4;
  readonly icmp: Icmp;
  private readonly transports: Transport[] = [];
  /** Frames of this turn, by position, whose slots go back at its end. */
  private readonly taken: Int32Array;
  private takenCount = 0;
  /** Asks whoever drives the turns for one soon; calls from outside a turn end with it. */
  wake: () => void = () => {};

  constructor(options: StackOptions) {
    const { arena, kernel, log, address, prefixLength, macHi, macLo, mtuBytes } = options;
    this.arena = arena;
    this.bytes = arena.bytes;
    const clock = new TurnClock(options.clock);
    this.clock = clock;
    this.random = options.random;
    this.log = log;
    const local = new LocalAddresses(address, options.sources);
    this.local = local;
    this.mtuBytes = mtuBytes;
    this.features = options.features;
    this.timers = new TimerWheel(clock);
    this.environment = kernel.createEnvironment({
      name: options.name,
      macHi,
      macLo,
      addresses: [address],
      sources: options.sources,
    });
    this.environment.program = this;
    this.taken = new Int32Array(this.environment.ring.capacity);
    const { queue } = this.environment;
    const shared = {
      bytes: arena.bytes,
      arena,
      queue,
      timers: this.timers,
      clock,
      log,
      drops: this.drops,
      local,
      prefixLength,
      macHi,
      macLo,
      mtuBytes,
    };
    this.routes.add(address & maskOf(prefixLength), prefixLength, 0);
    if (options.gateway !== undefined) this.routes.add(0, 0, options.gateway);
    this.arp = new ArpCache({ ...shared, onUnreachable: (neighbour) => this.neighbourUnreachable(neighbour) });
    this.paths = new Paths({
      clock,
      local,
      prefixLength,
      mtuBytes,
      arp: this.arp,
      routes: this.routes,
    });
    this.ipv4 = new Ipv4({ ...shared, arp: this.arp });
    this.icmp = new Icmp({ ...shared, ipv4: this.ipv4, paths: this.paths });
    this.ipv4.handlers[PROTOCOL_ICMP] = this.icmp;
  }

  /** Claims the stack's addresses of the exokernel and announces them (RFC 5227). */
  start(): void {
    this.environment.claim(arpFilter(this.localAddress));
    this.environment.claim(ipv4Filter(this.localAddress));
    for (const { address, prefixLength } of this.local.prefixes) {
      this.environment.claim(arpFilter(address, undefined, prefixLength));
      this.environment.claim(ipv4Filter(address, undefined, prefixLength));
    }
    this.arp.start();
    this.log.debug({ address: formatIpv4(this.localAddress) }, 'stack started');
  }

  /** The primary one of its addresses. */
  get localAddress(): number {
    return this.local.primary;
  }

  /** Gives a protocol number to a transport and the transport a part in every turn. */
  attach(protocol: number, transport: Transport): void {
    this.ipv4.handlers[protocol] = transport;
    this.transports.push(transport);
  }

  process(nowUs: number): void {
    const { transports } = this;
    this.clock.beginTurn(nowUs);
    this.takeFrames();
    this.timers.advance(nowUs);
    for (let i = 0; i < transports.length; i++) (transports[i] as Transport).runApplications();
    for (let i = 0; i < transports.length; i++) (transports[i] as Transport).output();
    this.returnFrames();
  }

  nextDeadlineUs(): number {
    const { transports } = this;
    for (let i = 0; i < transports.length; i++) if ((transports[i] as Transport).hasWork) return 0;
    return this.timers.nextDeadlineUs();
  }

  /** Ends ARP's timers; connections are the transports' to end before. */
  close(): void {
    this.arp.close();
    this.environment.close();
  }

  private takeFrames(): void {
    const { ring } = this.environment;
    while (this.takenCount < this.taken.length) {
      const at = ring.take();
      if (at === 0) return;
      this.taken[this.takenCount++] = at;
      this.frameArrives(at, ring.length);
    }
  }

  private returnFrames(): void {
    for (let i = 0; i < this.takenCount; i++) this.environment.returnSlot(this.taken[i] as number);
    this.takenCount = 0;
    this.ipv4.endTurn();
  }

  private frameArrives(at: number, length: number): void {
    const reason = ethernetCheck(this.bytes, at, length);
    if (reason !== 0) {
      this.drops.increment(reason);
      return;
    }
    const type = ethernetType(this.bytes, at);
    if (type === ETHERTYPE_IPV4) this.ipv4.input(at, length);
    else if (type === ETHERTYPE_ARP) this.arp.input(at, length);
    else this.drops.increment(DROP_ETHERNET_TYPE);
  }

  private neighbourUnreachable(neighbourAddress: number): void {
    for (const transport of this.transports) transport.unreachable(neighbourAddress);
  }
}
