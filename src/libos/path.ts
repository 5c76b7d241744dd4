/**
 * Paths: what a transport knows of the way to one remote address (addresses, checksum part, MTU, next hop), interned so
 * that all connections to a host share one (design, "TCP never sees an IP version"; path MTU after RFC 1191).
 *
 * Memory: plain objects. A path lives as long as it is referenced; a bounded number of unreferenced ones is kept so that
 * what was learned about a host (its path MTU) outlives one connection.
 */
import type { Clock } from '../runtime/clock.ts';
import { Counters } from '../runtime/counters.ts';
import { formatIpv4, isBroadcast, isLoopback, isMulticast } from '../wire/address.ts';
import { pseudoSum4 } from '../wire/checksum.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { IPV4_BYTES, PROTOCOL_TCP } from '../wire/ipv4.ts';
import type { ArpCache } from './arp.ts';
import type { LocalAddresses } from './local-addresses.ts';
import type { Neighbour } from './neighbour.ts';
import { isDirectedBroadcast } from './options.ts';
import type { RouteTable } from './routes.ts';

/** No path MTU below this is believed: a forged "fragmentation needed" must not shrink segments to nothing. */
export const MIN_PATH_MTU_BYTES = 576;

/** After this long a lowered MTU is forgotten and the link's is tried again (RFC 1191 section 6.3). */
export const PATH_MTU_LIFETIME_US = 600_000_000;

/** Ethernet and IPv4 header: where a transport header starts in a frame that we send. */
const IPV4_PATH_HEADER_BYTES = ETHERNET_BYTES + IPV4_BYTES;

export class Path {
  readonly localAddress: number;
  readonly remoteAddress: number;
  /** Largest IP packet that this path takes; transports lower it through `lowerMtu` after checking the message. */
  mtuBytes: number;
  /** Pseudo-header sum of source, target and TCP, without the length. */
  readonly pseudoSum: number;
  /** From the frame's start to the transport header. */
  readonly headerBytes: number;
  /** The next hop: the remote host itself or a gateway. */
  neighbour: Neighbour;
  /** Users of the path; kept by `Paths`. */
  references: number;
  /** The next packet's IPv4 identification. */
  nextId: number;
  /** When a lowered MTU is forgotten; Infinity while it is the link's. */
  mtuUntilUs: number;

  constructor(localAddress: number, remoteAddress: number, mtuBytes: number, neighbour: Neighbour) {
    this.localAddress = localAddress;
    this.remoteAddress = remoteAddress;
    this.mtuBytes = mtuBytes;
    this.pseudoSum = pseudoSum4(localAddress, remoteAddress, PROTOCOL_TCP);
    this.headerBytes = IPV4_PATH_HEADER_BYTES;
    this.neighbour = neighbour;
    this.references = 0;
    this.nextId = (remoteAddress ^ (remoteAddress >>> 16)) & 0xffff;
    this.mtuUntilUs = Number.POSITIVE_INFINITY;
  }

  /**
   * Takes over the MTU that a checked ICMP "fragmentation needed" reported, not below `MIN_PATH_MTU_BYTES` and never
   * upwards. True when the path's MTU fell.
   */
  lowerMtu(mtuBytes: number, nowUs: number): boolean {
    const bounded = Math.max(mtuBytes, MIN_PATH_MTU_BYTES);
    if (bounded >= this.mtuBytes) return false;
    this.mtuBytes = bounded;
    this.mtuUntilUs = nowUs + PATH_MTU_LIFETIME_US;
    return true;
  }
}

export interface PathLimits {
  /** Unreferenced paths that are remembered. */
  readonly maxIdlePaths: number;
}

export const DEFAULT_PATH_LIMITS: PathLimits = { maxIdlePaths: 1024 };

export interface PathsOptions {
  readonly clock: Clock;
  readonly local: LocalAddresses;
  readonly prefixLength: number;
  readonly mtuBytes: number;
  readonly arp: ArpCache;
  readonly routes: RouteTable;
  readonly limits?: Partial<PathLimits> | undefined;
}

const COUNTERS = ['acquired', 'noRoute', 'noNeighbour', 'notUnicast', 'idleEvicted', 'mtuRestored'] as const;
const ACQUIRED = COUNTERS.indexOf('acquired');
const NO_ROUTE = COUNTERS.indexOf('noRoute');
const NO_NEIGHBOUR = COUNTERS.indexOf('noNeighbour');
const NOT_UNICAST = COUNTERS.indexOf('notUnicast');
const IDLE_EVICTED = COUNTERS.indexOf('idleEvicted');
const MTU_RESTORED = COUNTERS.indexOf('mtuRestored');

export class Paths {
  readonly counters = new Counters(COUNTERS);
  private readonly clock: Clock;
  private readonly local: LocalAddresses;
  private readonly prefixLength: number;
  private readonly linkMtuBytes: number;
  private readonly arp: ArpCache;
  private readonly routes: RouteTable;
  private readonly limits: PathLimits;
  /** By `keyOf` their addresses. */
  private readonly active = new Map<number, Path>();
  /** Unreferenced paths, the longest unused first. */
  private readonly idle = new Map<number, Path>();

  constructor(options: PathsOptions) {
    this.clock = options.clock;
    this.local = options.local;
    this.prefixLength = options.prefixLength;
    this.linkMtuBytes = options.mtuBytes;
    this.arp = options.arp;
    this.routes = options.routes;
    this.limits = { ...DEFAULT_PATH_LIMITS, ...options.limits };
  }

  /** Paths in use. */
  get activeCount(): number {
    return this.active.size;
  }

  /** Unreferenced paths that are remembered. */
  get idleCount(): number {
    return this.idle.size;
  }

  /**
   * The path to a remote address, from an address of ours (default: the primary one), with one more reference; undefined when no route leads there, the address is no other
   * host's, or the neighbour table is full of neighbours in use.
   * May send an ARP request: not to be called between `Ipv4.begin` and `Ipv4.send`.
   */
  acquire(remoteAddress: number, localAddress = this.local.primary): Path | undefined {
    const key = this.keyOf(localAddress, remoteAddress);
    let path = this.active.get(key);
    if (path === undefined) {
      path = this.revive(key, localAddress, remoteAddress);
      if (path === undefined) return undefined;
      this.active.set(key, path);
    }
    if (path.mtuUntilUs <= this.clock.nowUs()) {
      path.mtuBytes = this.linkMtuBytes;
      path.mtuUntilUs = Number.POSITIVE_INFINITY;
      this.counters.increment(MTU_RESTORED);
    }
    path.references++;
    this.counters.increment(ACQUIRED);
    return path;
  }

  /** Gives one reference back. */
  release(path: Path): void {
    if (path.references <= 0) throw new RangeError('path released more often than acquired');
    path.references--;
    if (path.references > 0) return;
    this.arp.release(path.neighbour);
    const key = this.keyOf(path.localAddress, path.remoteAddress);
    this.active.delete(key);
    this.idle.set(key, path);
    if (this.idle.size <= this.limits.maxIdlePaths) return;
    for (const oldest of this.idle.keys()) {
      this.idle.delete(oldest);
      this.counters.increment(IDLE_EVICTED);
      break;
    }
  }

  /** What is sent along this path seems not to arrive: its next hop is to be confirmed. */
  doubt(path: Path): void {
    this.arp.doubt(path.neighbour);
  }

  /** An unreferenced path with its next hop looked up anew. */
  private revive(key: number, localAddress: number, remoteAddress: number): Path | undefined {
    if (!this.isRemoteHost(remoteAddress)) {
      this.counters.increment(NOT_UNICAST);
      return undefined;
    }
    const nextHop = this.routes.lookup(remoteAddress);
    if (nextHop === undefined) {
      this.counters.increment(NO_ROUTE);
      return undefined;
    }
    const neighbour = this.arp.lookup(nextHop);
    if (neighbour === undefined) {
      this.counters.increment(NO_NEIGHBOUR);
      return undefined;
    }
    this.arp.retain(neighbour);
    const idle = this.idle.get(key);
    if (idle === undefined) return new Path(localAddress, remoteAddress, this.linkMtuBytes, neighbour);
    this.idle.delete(key);
    idle.neighbour = neighbour;
    return idle;
  }

  private isRemoteHost(address: number): boolean {
    if (this.local.has(address) || address >>> 24 === 0) return false;
    if (isLoopback(address) || isMulticast(address) || isBroadcast(address)) return false;
    return !isDirectedBroadcast(address, this.local.primary, this.prefixLength);
  }

  /** The number of our address, then theirs: 52 bits at most. Throws `RangeError` when the first is not ours. */
  private keyOf(localAddress: number, remoteAddress: number): number {
    const index = this.local.indexOf(localAddress);
    if (index < 0) throw new RangeError(`${formatIpv4(localAddress)} is not an address of this stack`);
    return index * 2 ** 32 + (remoteAddress >>> 0);
  }
}
