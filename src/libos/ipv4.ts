/**
 * IPv4 (RFC 791, RFC 1122 section 3): which packets from the link are for us and whom they are handed to, and the headers
 * of what transports send.
 *
 * Transports put their header behind `begin()`'s room for Ethernet and IPv4 and queue their regions; `send` writes both
 * headers and commits. TCP's packets are sent with DF set, which makes them atomic: their identification means nothing
 * (RFC 6864), it counts up per path so that receivers merge segments more easily.
 *
 * Memory: frames belong to their receive slots; a reassembled datagram is in a block of `Fragments` until `endTurn`.
 */
import type { TransmitQueue } from '../exokernel/transmit-queue.ts';
import { Counters } from '../runtime/counters.ts';
import { isMulticastMac } from '../wire/address.ts';
import { type Bytes, u8 } from '../wire/bytes.ts';
import {
  DROP_ETHERNET_TARGET,
  DROP_FRAME_LONG,
  DROP_IPV4_OPTIONS,
  DROP_IPV4_PROTOCOL,
  DROP_IPV4_SOURCE,
  DROP_IPV4_TARGET,
  DROP_QUEUE_FULL,
  type DropReason,
} from '../wire/drop-reasons.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_IPV4,
  ethernetCheck,
  ethernetTargetHi,
  ethernetTargetLo,
  setEthernet,
} from '../wire/ethernet.ts';
import { ICMP_CODE_PROTOCOL, ICMP_CODE_REASSEMBLY, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE } from '../wire/icmp.ts';
import {
  IPV4_BYTES,
  ipv4Check,
  ipv4HeaderBytes,
  ipv4IsFragment,
  ipv4Protocol,
  ipv4Source,
  ipv4Target,
  ipv4TotalBytes,
  setIpv4,
  setIpv4Fragment,
} from '../wire/ipv4.ts';
import { VNET_GSO_NONE, vnetGsoBytes, vnetGsoType } from '../wire/virtio-net.ts';
import type { ArpCache } from './arp.ts';
import { type FragmentLimits, Fragments } from './fragments.ts';
import type { LocalAddresses } from './local-addresses.ts';
import { NEIGHBOUR_STALE, type Neighbour } from './neighbour.ts';
import { isDirectedBroadcast, type LibosOptions } from './options.ts';
import type { Path } from './path.ts';

/** Hops that our packets may take (RFC 1700's recommendation; what Linux sends). */
export const DEFAULT_TTL = 64;

/** The longest packet that the total length field can tell. */
const MAX_PACKET_BYTES = 0xffff;
/** From the frame's start to the transport header of what we send. */
const HEADERS_BYTES = ETHERNET_BYTES + IPV4_BYTES;
/** Fragments but the last carry a multiple of eight bytes. */
const FRAGMENT_ALIGN_MASK = ~7;
const PROTOCOLS = 256;

// Options (RFC 791 section 3.1).
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_LOOSE_SOURCE_ROUTE = 131;
const OPTION_STRICT_SOURCE_ROUTE = 137;

/** What a transport protocol does with the packets that are for it. Nothing here may throw or keep the memory. */
export interface TransportHandler {
  /**
   * A packet for us, its IPv4 header checked: `transportBytes` from `transportAt` are the transport's. The memory is
   * valid until the end of the turn. `frameAt` names the frame and its virtio header; that of a reassembled datagram says
   * that nothing was verified.
   */
  input(frameAt: number, ipAt: number, transportAt: number, transportBytes: number): void;
  /**
   * An ICMP error about a packet that we seem to have sent: `quotedBytes` (8 or more) of it are at `quotedTransportAt`.
   * Whether we did is for the transport to check. `nextMtu` is above 0 for "fragmentation needed" alone.
   */
  icmpError(
    type: number,
    code: number,
    quotedIpAt: number,
    quotedTransportAt: number,
    quotedBytes: number,
    nextMtu: number,
  ): void;
}

/** Sends ICMP errors about packets received; `Icmp` is the one that does. */
export interface ErrorSender {
  sendError(type: number, code: number, ipAt: number): boolean;
}

export interface Ipv4Options extends LibosOptions {
  readonly arp: ArpCache;
  readonly fragmentLimits?: Partial<FragmentLimits> | undefined;
}

const COUNTERS = [
  'received',
  'delivered',
  'reassembled',
  'dropped',
  'sent',
  'sendRefused',
  'datagramsFragmented',
  'fragmentsSent',
] as const;
const RECEIVED = COUNTERS.indexOf('received');
const DELIVERED = COUNTERS.indexOf('delivered');
const REASSEMBLED = COUNTERS.indexOf('reassembled');
const DROPPED = COUNTERS.indexOf('dropped');
const SENT = COUNTERS.indexOf('sent');
const SEND_REFUSED = COUNTERS.indexOf('sendRefused');
const DATAGRAMS_FRAGMENTED = COUNTERS.indexOf('datagramsFragmented');
const FRAGMENTS_SENT = COUNTERS.indexOf('fragmentsSent');

export class Ipv4 {
  readonly counters = new Counters(COUNTERS);
  /** The transport of each protocol number; null where there is none. */
  readonly handlers: (TransportHandler | null)[] = new Array<TransportHandler | null>(PROTOCOLS).fill(null);
  readonly fragments: Fragments;
  private readonly bytes: Bytes;
  private readonly queue: TransmitQueue;
  private readonly arp: ArpCache;
  private readonly drops: Counters<string>;
  private readonly local: LocalAddresses;
  private readonly prefixLength: number;
  private readonly macHi: number;
  private readonly macLo: number;
  private readonly mtuBytes: number;
  private errors: ErrorSender | null = null;

  constructor(options: Ipv4Options) {
    this.bytes = options.bytes;
    this.queue = options.queue;
    this.arp = options.arp;
    this.drops = options.drops;
    this.local = options.local;
    this.prefixLength = options.prefixLength;
    this.macHi = options.macHi;
    this.macLo = options.macLo;
    this.mtuBytes = options.mtuBytes;
    const onTimeout = (frameAt: number) => this.reportTimeout(frameAt);
    this.fragments = new Fragments({ ...options, limits: options.fragmentLimits, onTimeout });
  }

  /** Who sends the errors that packets for nobody call for. */
  attachErrors(errors: ErrorSender): void {
    this.errors = errors;
  }

  /** Where the frame to be built starts (the transport header goes `path.headerBytes` behind it); 0 when the queue is full. */
  begin(): number {
    return this.queue.reserve();
  }

  /**
   * Sends the frame begun at `at`: the transport header of `transportHeaderBytes` stands at its place, and regions of
   * `payloadBytes` altogether are queued. A frame for a next hop not yet known is copied and waits. False when it had to
   * be dropped (counted): too long, or too many wait. `tos` is the type of service, with ECN in its last bits.
   */
  send(path: Path, at: number, protocol: number, transportHeaderBytes: number, payloadBytes: number, tos = 0): boolean {
    const totalBytes = IPV4_BYTES + transportHeaderBytes + payloadBytes;
    let packets = 1;
    if (totalBytes > this.mtuBytes) {
      packets = this.countSegments(at, payloadBytes);
      if (packets === 0 || totalBytes > MAX_PACKET_BYTES) {
        this.queue.cancel();
        return this.refuse(DROP_FRAME_LONG);
      }
    }
    const id = path.nextId;
    path.nextId = (id + packets) & 0xffff;
    const { bytes } = this;
    const { localAddress, remoteAddress } = path;
    setIpv4(bytes, at + ETHERNET_BYTES, totalBytes, id, true, DEFAULT_TTL, protocol, localAddress, remoteAddress, tos);
    return this.transmit(path.neighbour, at, HEADERS_BYTES + transportHeaderBytes);
  }

  /**
   * Sends a transport's message that lies in one piece in the arena, in fragments when the path calls for it. The memory
   * must stay until the transmit queue has completed all that it holds on return. False when all or part of it was
   * dropped.
   */
  sendDatagram(path: Path, protocol: number, messageAt: number, messageBytes: number): boolean {
    const roomBytes = path.mtuBytes - IPV4_BYTES;
    const whole = messageBytes <= roomBytes;
    const stepBytes = whole ? messageBytes : roomBytes & FRAGMENT_ALIGN_MASK;
    if (IPV4_BYTES + messageBytes > MAX_PACKET_BYTES) return this.refuse(DROP_FRAME_LONG);
    if (this.queue.free < Math.ceil(messageBytes / stepBytes)) return this.refuse(DROP_QUEUE_FULL);
    const id = path.nextId;
    path.nextId = (id + 1) & 0xffff;
    const { localAddress, remoteAddress } = path;
    let sent = true;
    for (let offset = 0; offset < messageBytes && sent; offset += stepBytes) {
      const at = this.queue.reserve();
      if (at === 0) return this.refuse(DROP_QUEUE_FULL);
      const partBytes = Math.min(stepBytes, messageBytes - offset);
      const ipAt = at + ETHERNET_BYTES;
      this.queue.addRegion(messageAt + offset, partBytes);
      setIpv4(
        this.bytes,
        ipAt,
        IPV4_BYTES + partBytes,
        id,
        false,
        DEFAULT_TTL,
        protocol,
        localAddress,
        remoteAddress,
        0,
      );
      if (!whole) {
        setIpv4Fragment(this.bytes, ipAt, offset, offset + partBytes < messageBytes);
        this.counters.increment(FRAGMENTS_SENT);
      }
      sent = this.transmit(path.neighbour, at, HEADERS_BYTES);
    }
    if (!whole) this.counters.increment(DATAGRAMS_FRAGMENTED);
    return sent;
  }

  /** An IPv4 frame from the link: Ethernet header at `frameAt`. */
  input(frameAt: number, frameBytes: number): void {
    this.counters.increment(RECEIVED);
    const { bytes } = this;
    const ipAt = frameAt + ETHERNET_BYTES;
    const bad =
      ethernetCheck(bytes, frameAt, frameBytes) ||
      ipv4Check(bytes, ipAt, frameBytes - ETHERNET_BYTES) ||
      this.admit(frameAt, ipAt);
    if (bad !== 0) {
      this.drop(bad);
    } else if (ipv4IsFragment(bytes, ipAt)) {
      const whole = this.fragments.input(frameAt, ipAt);
      if (whole === 0) return;
      this.counters.increment(REASSEMBLED);
      this.dispatch(whole, whole + ETHERNET_BYTES);
    } else {
      this.dispatch(frameAt, ipAt);
    }
  }

  /** Takes back the memory of reassembled datagrams; the stack calls it when the application has had its turn. */
  endTurn(): void {
    this.fragments.releaseDelivered();
  }

  /** What RFC 1122 has a host drop silently: packets not for us, or not from a host. */
  private admit(frameAt: number, ipAt: number): DropReason {
    const { bytes } = this;
    if (ethernetTargetHi(bytes, frameAt) !== this.macHi || ethernetTargetLo(bytes, frameAt) !== this.macLo) {
      // Section 3.3.6: a link-layer broadcast whose IP target is one host is dropped, and we serve no other.
      return isMulticastMac(ethernetTargetHi(bytes, frameAt)) ? DROP_IPV4_TARGET : DROP_ETHERNET_TARGET;
    }
    if (!this.local.has(ipv4Target(bytes, ipAt))) return DROP_IPV4_TARGET;
    if (!this.isHost(ipv4Source(bytes, ipAt))) return DROP_IPV4_SOURCE;
    const headerBytes = ipv4HeaderBytes(bytes, ipAt);
    return headerBytes === IPV4_BYTES ? 0 : this.checkOptions(ipAt + IPV4_BYTES, ipAt + headerBytes);
  }

  /** Section 3.2.1.3: a source that one other host can have: no loopback, network 0, group, class E, broadcast; not ours. */
  private isHost(address: number): boolean {
    const first = address >>> 24;
    if (first === 0 || first === 127 || first >= 224 || this.local.has(address)) return false;
    return !isDirectedBroadcast(address, this.local.primary, this.prefixLength);
  }

  /** Options are skipped, but for source routes: a host's answer would have to follow them (RFC 7126 section 4.3). */
  private checkOptions(from: number, end: number): DropReason {
    const { bytes } = this;
    let at = from;
    while (at < end) {
      const kind = u8(bytes, at);
      if (kind === OPTION_END) return 0;
      if (kind === OPTION_NOP) {
        at++;
        continue;
      }
      if (kind === OPTION_LOOSE_SOURCE_ROUTE || kind === OPTION_STRICT_SOURCE_ROUTE) return DROP_IPV4_OPTIONS;
      const optionBytes = at + 1 < end ? u8(bytes, at + 1) : 0;
      if (optionBytes < 2 || at + optionBytes > end) return DROP_IPV4_OPTIONS;
      at += optionBytes;
    }
    return 0;
  }

  private dispatch(frameAt: number, ipAt: number): void {
    const { bytes } = this;
    const handler = this.handlers[ipv4Protocol(bytes, ipAt)];
    if (handler === null || handler === undefined) {
      this.drop(DROP_IPV4_PROTOCOL);
      this.errors?.sendError(ICMP_UNREACHABLE, ICMP_CODE_PROTOCOL, ipAt);
      return;
    }
    this.counters.increment(DELIVERED);
    const headerBytes = ipv4HeaderBytes(bytes, ipAt);
    handler.input(frameAt, ipAt, ipAt + headerBytes, ipv4TotalBytes(bytes, ipAt) - headerBytes);
  }

  /** RFC 792: whoever sends fragments hears when they did not make a datagram in time. */
  private reportTimeout(frameAt: number): void {
    this.errors?.sendError(ICMP_TIME_EXCEEDED, ICMP_CODE_REASSEMBLY, frameAt + ETHERNET_BYTES);
  }

  /** Writes the Ethernet header and lets the frame go, or keeps it until the next hop is known. */
  private transmit(neighbour: Neighbour, at: number, headerBytes: number): boolean {
    if (neighbour.state < NEIGHBOUR_STALE) return this.arp.park(neighbour, at, headerBytes);
    setEthernet(this.bytes, at, neighbour.macHi, neighbour.macLo, this.macHi, this.macLo, ETHERTYPE_IPV4);
    this.queue.commit(headerBytes);
    this.counters.increment(SENT);
    if (neighbour.state === NEIGHBOUR_STALE) this.arp.probe(neighbour);
    return true;
  }

  /** Packets that a frame beyond the link's MTU is cut into; 0 when nothing says that it is to be cut. */
  private countSegments(at: number, payloadBytes: number): number {
    if (vnetGsoType(this.bytes, at) === VNET_GSO_NONE) return 0;
    const gsoBytes = vnetGsoBytes(this.bytes, at);
    return gsoBytes === 0 ? 0 : Math.ceil(payloadBytes / gsoBytes);
  }

  private drop(reason: DropReason): void {
    this.counters.increment(DROPPED);
    this.drops.increment(reason);
  }

  private refuse(reason: DropReason): boolean {
    this.counters.increment(SEND_REFUSED);
    this.drops.increment(reason);
    return false;
  }
}
