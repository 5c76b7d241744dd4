/**
 * The ARP cache: link-layer addresses of the hosts on the link (RFC 826; RFC 1122 section 2.3.2 on ageing, flooding and
 * waiting frames; RFC 5227 on announcing our address and on others who claim it).
 *
 * An address is learned from a reply to a question of ours, or from a question asked of us (which must be answered, and
 * proves nothing: the entry starts stale and is probed when used). What nobody asked for updates known entries only. A
 * stale entry goes on being used while unicast probes renew it, so that a busy connection never waits for ARP.
 *
 * Memory: entries are plain objects, at most `maxEntries`, one timer each; waiting frames are copies in a fixed pool.
 */
import type { TransmitQueue } from '../exokernel/transmit-queue.ts';
import type { Clock } from '../runtime/clock.ts';
import { Counters } from '../runtime/counters.ts';
import type { Log } from '../runtime/log.ts';
import type { TimerWheel } from '../runtime/timer-wheel.ts';
import {
  BROADCAST_MAC_HI,
  BROADCAST_MAC_LO,
  formatIpv4,
  formatMac,
  isMulticastMac,
  isOnLink,
} from '../wire/address.ts';
import {
  ARP_BYTES,
  ARP_REPLY,
  ARP_REQUEST,
  arpCheck,
  arpOperation,
  arpSenderAddress,
  arpSenderHi,
  arpSenderLo,
  arpTargetAddress,
  setArp,
} from '../wire/arp.ts';
import type { Bytes } from '../wire/bytes.ts';
import {
  DROP_ARP_CONFLICT,
  DROP_ARP_PENDING,
  DROP_ARP_SENDER,
  DROP_ARP_TABLE,
  DROP_ARP_TARGET,
  DROP_ARP_UNRESOLVED,
  DROP_ARP_UNSOLICITED,
  DROP_ETHERNET_TARGET,
  DROP_QUEUE_FULL,
  type DropReason,
} from '../wire/drop-reasons.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ethernetCheck,
  ethernetTargetHi,
  ethernetTargetLo,
  setEthernet,
} from '../wire/ethernet.ts';
import {
  ANNOUNCEMENTS_SENT,
  ARP_COUNTERS,
  type ArpLimits,
  CONFLICTS,
  DEFAULT_ARP_LIMITS,
  DEFENCES,
  EVICTED,
  EXPIRED,
  FRAMES_DROPPED,
  FRAMES_PARKED,
  FRAMES_RELEASED,
  LEARNED,
  PROBES_SENT,
  QUEUE_FULL,
  RECEIVED,
  REFRESHED,
  REPLIES_SENT,
  REQUESTS_SENT,
  RESOLVED,
  TABLE_FULL,
  UNCHANGED,
  UNREACHABLE,
  UPDATED,
} from './arp-settings.ts';
import type { LocalAddresses } from './local-addresses.ts';
import {
  NEIGHBOUR_FAILED,
  NEIGHBOUR_INCOMPLETE,
  NEIGHBOUR_PROBE,
  NEIGHBOUR_REACHABLE,
  NEIGHBOUR_STALE,
  type Neighbour,
} from './neighbour.ts';
import { NeighbourTable } from './neighbour-table.ts';
import { isDirectedBroadcast, type LibosOptions } from './options.ts';
import { PendingFrames, pendingFrameBytes } from './pending-frames.ts';

export interface ArpOptions extends LibosOptions {
  readonly limits?: Partial<ArpLimits> | undefined;
  /**
   * A neighbour did not answer; paths whose `neighbour.address` is this one lead nowhere for now. Called from the timer
   * wheel. The frames that waited are gone.
   */
  readonly onUnreachable?: ((neighbourAddress: number) => void) | undefined;
}

export class ArpCache {
  readonly counters = new Counters(ARP_COUNTERS);
  private readonly bytes: Bytes;
  private readonly queue: TransmitQueue;
  private readonly timers: TimerWheel;
  private readonly clock: Clock;
  private readonly log: Log;
  private readonly drops: Counters<string>;
  private readonly local: LocalAddresses;
  private readonly prefixLength: number;
  private readonly macHi: number;
  private readonly macLo: number;
  private readonly limits: ArpLimits;
  private readonly onUnreachable: (neighbourAddress: number) => void;
  private readonly pending: PendingFrames;
  private readonly table: NeighbourTable;
  private readonly announceTimer: number;
  private announced = 0;
  private closed = false;
  private defendedAtUs = Number.NEGATIVE_INFINITY;

  constructor(options: ArpOptions) {
    this.bytes = options.bytes;
    this.queue = options.queue;
    this.timers = options.timers;
    this.clock = options.clock;
    this.log = options.log;
    this.drops = options.drops;
    this.local = options.local;
    this.prefixLength = options.prefixLength;
    this.macHi = options.macHi;
    this.macLo = options.macLo;
    const limits = { ...DEFAULT_ARP_LIMITS, ...options.limits };
    this.limits = limits;
    this.onUnreachable = options.onUnreachable ?? (() => {});
    const frameBytes = pendingFrameBytes(options.mtuBytes);
    this.pending = new PendingFrames(options.bytes, options.arena, options.queue, limits.maxPendingFrames, frameBytes);
    this.table = new NeighbourTable(
      this.timers,
      this.timers.addKind((index) => this.expire(index)),
    );
    this.announceTimer = this.timers.create(
      this.timers.addKind(() => this.announce()),
      0,
    );
  }

  /** Entries in the table. */
  get size(): number {
    return this.table.size;
  }

  /** Frames that wait for an address. */
  get pendingFrames(): number {
    return this.pending.size;
  }

  /** Tells the link that the address is ours, twice (RFC 5227 section 2.3). */
  start(): void {
    this.announced = 0;
    this.announce();
  }

  /** Forgets everything and gives the timers back; paths may still be released, nothing else may be called. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.timers.destroy(this.announceTimer);
    for (const neighbour of this.table.all()) {
      this.dropPending(neighbour, DROP_ARP_UNRESOLVED);
      this.table.remove(neighbour);
    }
  }

  /** The entry of an address, if there is one; asks nobody. */
  find(address: number): Neighbour | undefined {
    return this.table.find(address);
  }

  /**
   * The neighbour of an address on the link; an unknown or failed one is asked for by broadcast. Undefined when the
   * table is full of neighbours in use. May take a slot of the transmit queue: not to be called while one is reserved.
   */
  lookup(address: number): Neighbour | undefined {
    const known = this.table.find(address);
    if (known !== undefined) {
      if (known.state === NEIGHBOUR_FAILED) this.solicit(known);
      return known;
    }
    const created = this.insert(address);
    if (created !== undefined) this.solicit(created);
    return created;
  }

  /** Marks a neighbour as used by one more path. */
  retain(neighbour: Neighbour): void {
    neighbour.references++;
  }

  /** One path less; an unused entry ages. */
  release(neighbour: Neighbour): void {
    neighbour.references--;
    if (neighbour.references > 0 || this.closed) return;
    if (neighbour.state === NEIGHBOUR_STALE || neighbour.state === NEIGHBOUR_FAILED) {
      this.timers.scheduleAfter(neighbour.timer, this.limits.staleUs);
    }
  }

  /**
   * Negative advice from a transport (RFC 1122 section 2.3.2.1): what goes to this neighbour seems not to arrive, so perhaps
   * the address is no longer true.
   */
  doubt(neighbour: Neighbour): void {
    if (neighbour.state === NEIGHBOUR_REACHABLE) neighbour.state = NEIGHBOUR_STALE;
    this.probe(neighbour);
  }

  /** Renews a stale neighbour that has just been sent to. Takes a slot of the transmit queue. */
  probe(neighbour: Neighbour): void {
    if (neighbour.state !== NEIGHBOUR_STALE) return;
    neighbour.state = NEIGHBOUR_PROBE;
    neighbour.attempts = 0;
    this.ask(neighbour);
  }

  /**
   * Keeps a copy of the frame being built until the neighbour is known, and cancels the reservation. False when the
   * frame could not be kept (counted).
   */
  park(neighbour: Neighbour, frameAt: number, headerBytes: number): boolean {
    if (
      neighbour.pendingCount >= this.limits.maxPendingPerNeighbour ||
      (this.pending.full && neighbour.pendingCount > 0)
    ) {
      this.dropOldest(neighbour, DROP_ARP_PENDING);
    }
    const kept = this.pending.add(neighbour, frameAt, headerBytes);
    this.queue.cancel();
    if (kept) {
      this.counters.increment(FRAMES_PARKED);
    } else {
      this.counters.increment(FRAMES_DROPPED);
      this.drops.increment(DROP_ARP_PENDING);
    }
    if (neighbour.state === NEIGHBOUR_FAILED) this.solicit(neighbour);
    return kept;
  }

  /** An ARP frame from the link: Ethernet header at `at`. */
  input(at: number, lengthBytes: number): void {
    this.counters.increment(RECEIVED);
    const { bytes } = this;
    const arpAt = at + ETHERNET_BYTES;
    const bad =
      ethernetCheck(bytes, at, lengthBytes) ||
      arpCheck(bytes, arpAt, lengthBytes - ETHERNET_BYTES) ||
      this.checkTarget(ethernetTargetHi(bytes, at), ethernetTargetLo(bytes, at));
    if (bad !== 0) {
      this.drops.increment(bad);
      return;
    }
    const senderHi = arpSenderHi(bytes, arpAt);
    const senderLo = arpSenderLo(bytes, arpAt);
    const sender = arpSenderAddress(bytes, arpAt);
    const target = arpTargetAddress(bytes, arpAt);
    const asksUs = arpOperation(bytes, arpAt) === ARP_REQUEST && this.local.has(target);
    if (!this.isStation(senderHi, senderLo)) {
      this.drops.increment(DROP_ARP_SENDER);
    } else if (this.local.has(sender)) {
      this.defend(sender, senderHi, senderLo);
    } else if (sender === 0) {
      // RFC 5227 section 2.1.1: a probe, by someone who wants to know whether an address is taken; nothing to learn.
      if (asksUs) this.reply(target, senderHi, senderLo, sender);
      else this.drops.increment(DROP_ARP_TARGET);
    } else if (!this.isOurNetwork(sender)) {
      this.drops.increment(DROP_ARP_SENDER);
    } else if (asksUs) {
      this.learn(sender, senderHi, senderLo);
      this.reply(target, senderHi, senderLo, sender);
    } else {
      this.hear(arpAt, sender, senderHi, senderLo);
    }
  }

  /** A reply, or a request that asks someone else: updates what is known (RFC 826), confirms what we asked. */
  private hear(arpAt: number, sender: number, macHi: number, macLo: number): void {
    const { bytes } = this;
    const known = this.table.find(sender);
    if (known === undefined) {
      this.drops.increment(arpOperation(bytes, arpAt) === ARP_REPLY ? DROP_ARP_UNSOLICITED : DROP_ARP_TARGET);
      return;
    }
    const answersUs =
      arpOperation(bytes, arpAt) === ARP_REPLY &&
      arpTargetAddress(bytes, arpAt) === this.local.primary &&
      (known.state === NEIGHBOUR_INCOMPLETE || known.state === NEIGHBOUR_PROBE);
    if (!answersUs) {
      this.update(known, macHi, macLo);
      return;
    }
    this.counters.increment(known.state === NEIGHBOUR_PROBE ? REFRESHED : RESOLVED);
    known.macHi = macHi;
    known.macLo = macLo;
    known.state = NEIGHBOUR_REACHABLE;
    this.timers.scheduleAfter(known.timer, this.limits.reachableUs);
    this.releasePending(known);
  }

  /** Takes the address of someone who asks for ours, known or not. */
  private learn(sender: number, macHi: number, macLo: number): void {
    let neighbour = this.table.find(sender);
    if (neighbour === undefined) {
      neighbour = this.insert(sender);
      if (neighbour === undefined) return;
      this.counters.increment(LEARNED);
    }
    this.update(neighbour, macHi, macLo);
  }

  /** Takes over an address that we did not ask for. It is used at once and probed when it is. */
  private update(neighbour: Neighbour, macHi: number, macLo: number): void {
    if (neighbour.state >= NEIGHBOUR_STALE && neighbour.macHi === macHi && neighbour.macLo === macLo) {
      this.counters.increment(UNCHANGED);
      return;
    }
    neighbour.macHi = macHi;
    neighbour.macLo = macLo;
    neighbour.state = NEIGHBOUR_STALE;
    this.counters.increment(UPDATED);
    this.timers.scheduleAfter(neighbour.timer, this.limits.staleUs);
    if (neighbour.pendingCount === 0) return;
    this.releasePending(neighbour);
    this.probe(neighbour);
  }

  private expire(index: number): void {
    const neighbour = this.table.at(index);
    if (neighbour === undefined) return;
    switch (neighbour.state) {
      case NEIGHBOUR_REACHABLE:
        neighbour.state = NEIGHBOUR_STALE;
        if (neighbour.references === 0) {
          this.timers.scheduleAfter(neighbour.timer, this.limits.staleUs);
        }
        break;
      case NEIGHBOUR_PROBE:
        if (neighbour.attempts < this.limits.maxRequests) this.ask(neighbour);
        else this.solicit(neighbour);
        break;
      case NEIGHBOUR_INCOMPLETE:
        if (neighbour.attempts < this.limits.maxRequests) this.ask(neighbour);
        else this.fail(neighbour);
        break;
      default:
        if (neighbour.references === 0) {
          this.table.remove(neighbour);
          this.counters.increment(EXPIRED);
        }
    }
  }

  /** Starts over: nothing is known, everyone is asked. */
  private solicit(neighbour: Neighbour): void {
    neighbour.state = NEIGHBOUR_INCOMPLETE;
    neighbour.attempts = 0;
    this.ask(neighbour);
  }

  /** Sends one request, to the address to be confirmed or to everyone. */
  private ask(neighbour: Neighbour): void {
    neighbour.attempts++;
    this.timers.scheduleAfter(neighbour.timer, this.limits.requestIntervalUs);
    if (neighbour.state === NEIGHBOUR_PROBE) {
      const { macHi, macLo, address } = neighbour;
      this.transmit(ARP_REQUEST, this.local.primary, macHi, macLo, 0, 0, address, PROBES_SENT);
    } else {
      this.broadcast(this.local.primary, neighbour.address, REQUESTS_SENT);
    }
  }

  private fail(neighbour: Neighbour): void {
    neighbour.state = NEIGHBOUR_FAILED;
    this.counters.increment(UNREACHABLE);
    this.dropPending(neighbour, DROP_ARP_UNRESOLVED);
    if (neighbour.references === 0) this.timers.scheduleAfter(neighbour.timer, this.limits.staleUs);
    this.onUnreachable(neighbour.address);
  }

  /** RFC 826: the address asked for is told; for all of a prefix we answer as RFC 1027's gateways do. */
  private reply(asked: number, macHi: number, macLo: number, asker: number): void {
    this.transmit(ARP_REPLY, asked, macHi, macLo, macHi, macLo, asker, REPLIES_SENT);
  }

  private announce(): void {
    this.announced++;
    if (this.announced < this.limits.announcements) {
      this.timers.scheduleAfter(this.announceTimer, this.limits.announceIntervalUs);
    }
    this.broadcast(this.local.primary, this.local.primary, ANNOUNCEMENTS_SENT);
  }

  /**
   * RFC 5227 section 2.4 (c): someone else sends as our address. We keep it, and say so at most once an interval, so that
   * two hosts that both insist do not flood the link.
   */
  private defend(ours: number, macHi: number, macLo: number): void {
    this.counters.increment(CONFLICTS);
    this.drops.increment(DROP_ARP_CONFLICT);
    const nowUs = this.clock.nowUs();
    if (nowUs - this.defendedAtUs < this.limits.defendIntervalUs) return;
    this.defendedAtUs = nowUs;
    this.log.warn(
      { address: formatIpv4(ours), mac: formatMac(macHi, macLo) },
      'another host on the link uses our address',
    );
    this.broadcast(ours, ours, DEFENCES);
  }

  /** Asks everyone for an address. */
  private broadcast(sender: number, targetAddress: number, counter: number): void {
    this.transmit(ARP_REQUEST, sender, BROADCAST_MAC_HI, BROADCAST_MAC_LO, 0, 0, targetAddress, counter);
  }

  private transmit(
    operation: number,
    sender: number,
    frameHi: number,
    frameLo: number,
    targetHi: number,
    targetLo: number,
    targetAddress: number,
    counter: number,
  ): void {
    const at = this.queue.reserve();
    if (at === 0) {
      this.counters.increment(QUEUE_FULL);
      this.drops.increment(DROP_QUEUE_FULL);
      return;
    }
    const { bytes, macHi, macLo } = this;
    setEthernet(bytes, at, frameHi, frameLo, macHi, macLo, ETHERTYPE_ARP);
    setArp(bytes, at + ETHERNET_BYTES, operation, macHi, macLo, sender, targetHi, targetLo, targetAddress);
    this.queue.commit(ETHERNET_BYTES + ARP_BYTES);
    this.counters.increment(counter);
  }

  private releasePending(neighbour: Neighbour): void {
    while (neighbour.pendingCount > 0) {
      if (this.pending.send(neighbour, this.macHi, this.macLo)) {
        this.counters.increment(FRAMES_RELEASED);
      } else {
        this.counters.increment(FRAMES_DROPPED);
        this.drops.increment(DROP_QUEUE_FULL);
      }
    }
  }

  private dropPending(neighbour: Neighbour, reason: number): void {
    while (neighbour.pendingCount > 0) this.dropOldest(neighbour, reason);
  }

  private dropOldest(neighbour: Neighbour, reason: number): void {
    this.pending.drop(neighbour);
    this.counters.increment(FRAMES_DROPPED);
    this.drops.increment(reason);
  }

  private insert(address: number): Neighbour | undefined {
    if (this.table.size >= this.limits.maxEntries) {
      const victim = this.table.findVictim();
      if (victim === undefined) {
        this.counters.increment(TABLE_FULL);
        this.drops.increment(DROP_ARP_TABLE);
        return undefined;
      }
      this.dropPending(victim, DROP_ARP_UNRESOLVED);
      this.table.remove(victim);
      this.counters.increment(EVICTED);
    }
    return this.table.insert(address);
  }

  /** A promiscuous interface also shows what is for other stations. */
  private checkTarget(macHi: number, macLo: number): DropReason {
    if (isMulticastMac(macHi) || (macHi === this.macHi && macLo === this.macLo)) return 0;
    return DROP_ETHERNET_TARGET;
  }

  /** A hardware address that another station can have: no group, not zero, not ours. */
  private isStation(macHi: number, macLo: number): boolean {
    if (isMulticastMac(macHi) || (macHi === 0 && macLo === 0)) return false;
    return macHi !== this.macHi || macLo !== this.macLo;
  }

  /** An address that another host of our subnet can have. */
  private isOurNetwork(address: number): boolean {
    if (!isOnLink(address, this.local.primary, this.prefixLength)) return false;
    return !isDirectedBroadcast(address, this.local.primary, this.prefixLength);
  }
}
