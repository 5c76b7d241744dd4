/**
 * A scripted TCP peer: crafts single segments and keeps what the host answers, so that a test can assert every flag,
 * number, option and moment. It does nothing by itself but note what it has seen.
 *
 * Sequence numbers are told relative to the first of each side, as unsigned small integers: 0 is the SYN, 1 the first
 * byte. A segment is written as packetdrill writes it, `FA 1:101(100) ack 1`; PSH is left out.
 */

import type { Arena } from '../../src/runtime/arena.ts';
import { finishSum, pseudoSum4, sumBytes } from '../../src/wire/checksum.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, setEthernet } from '../../src/wire/ethernet.ts';
import { fillIcmpChecksum, ICMP_BYTES, setIcmpError } from '../../src/wire/icmp.ts';
import {
  ECN_MASK,
  IPV4_BYTES,
  ipv4HeaderBytes,
  ipv4Source,
  ipv4Tos,
  ipv4TotalBytes,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  setIpv4,
} from '../../src/wire/ipv4.ts';
import {
  setTcp,
  setTcpChecksum,
  TCP_ACK,
  TCP_BYTES,
  TCP_CWR,
  TCP_ECE,
  TCP_FIN,
  TCP_PSH,
  TCP_RST,
  TCP_SYN,
  TCP_URG,
  tcpAck,
  tcpFlags,
  tcpHeaderBytes,
  tcpSeq,
  tcpSourcePort,
  tcpTargetPort,
  tcpVerifyChecksum,
  tcpWindow,
} from '../../src/wire/tcp.ts';
import {
  parseTcpOptions,
  TcpOptions,
  writeMss,
  writeSackBlocks,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from '../../src/wire/tcp-options.ts';
import { VNET_GSO_NONE, vnetGsoBytes, vnetGsoType } from '../../src/wire/virtio-net.ts';

const FLAG_BITS: Readonly<Record<string, number>> = {
  F: TCP_FIN,
  S: TCP_SYN,
  R: TCP_RST,
  A: TCP_ACK,
  P: TCP_PSH,
  U: TCP_URG,
  E: TCP_ECE,
  W: TCP_CWR,
};

/** What connects peers to a host: a simulated link (raw-world.ts) or a real one (wire-link.ts). */
export interface RawLink {
  readonly arena: Arena;
  readonly clock: { nowUs(): number };
  readonly hostAddress: number;
  readonly peerAddress: number;
  readonly hostMacHi: number;
  readonly hostMacLo: number;
  readonly peerMacHi: number;
  readonly peerMacLo: number;
  /** Checksums may be left to the other side. */
  readonly offload: boolean;
  readonly mtuBytes: number;
  /** Where the next frame to the host is built. */
  readonly frameAt: number;
  nextPort(): number;
  attach(peer: RawPeer): void;
  /** An honest peer's timestamp clock. */
  tsValue(): number;
  /** Sends the frame that was built at `frameAt`. */
  transmit(frameBytes: number): void;
  /** Everything that is to happen at this moment. */
  settle(): void;
}

/** A segment as the host sent it. */
export interface Seen {
  readonly timeUs: number;
  /** Letters of FSRAEW, without PSH; E is ECE, and W CWR. */
  readonly flags: string;
  readonly push: boolean;
  /** The ECN bits of its packet. */
  readonly ecn: number;
  /** Relative to the host's ISS. */
  readonly seq: number;
  /** Relative to the peer's ISS, 0 without the ACK flag. */
  readonly ack: number;
  /** The field, not scaled. */
  readonly window: number;
  readonly length: number;
  readonly payload: Buffer;
  /** 0 when absent. */
  readonly mss: number;
  /** -1 when absent. */
  readonly windowScale: number;
  readonly sackPermitted: boolean;
  /** Blocks, relative to the peer's ISS: first byte, and the one after the last. */
  readonly sack: readonly (readonly [left: number, right: number])[];
  readonly hasTimestamps: boolean;
  readonly tsValue: number;
  readonly tsEcho: number;
  /** The Fast Open cookie, empty for a request; null when the option is absent. */
  readonly fastOpen: Buffer | null;
  readonly fastOpenExperimental: boolean;
  /** Sixteen bits; -1 when absent. */
  readonly userTimeout: number;
  readonly rawSeq: number;
  readonly rawAck: number;
  /** Kinds of the options in their order, NOP and all. */
  readonly optionKinds: readonly number[];
  /** What a super-frame is to be cut into; 0 for other frames. */
  readonly segmentBytes: number;
}

/** A segment for the host; what is left out is what an honest peer would send now. */
export interface Crafted {
  /** Letters of FSRAPUEW; 'A' unless given. */
  readonly flags?: string;
  /** The ECN bits of its packet; 0 unless given. */
  readonly ecn?: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  /** Payload: bytes, or so many bytes of the pattern that belongs at this sequence number. */
  readonly data?: Uint8Array | number;
  readonly mss?: number;
  readonly windowScale?: number;
  readonly sackPermitted?: boolean;
  /** Blocks, relative to the host's ISS. */
  readonly sack?: readonly (readonly [left: number, right: number])[];
  /** TSval and TSecr; null for a segment without timestamps on a connection that has them. */
  readonly timestamps?: readonly [number, number] | null;
  /** Raw option bytes behind the others, a multiple of four. */
  readonly options?: Uint8Array;
  readonly spoilChecksum?: boolean;
}

export interface PeerOptions {
  readonly address?: number;
  readonly port?: number;
  /** The host's port: that of its listener, or learned from its SYN. */
  readonly hostPort?: number;
  /** The peer's initial sequence number. */
  readonly iss?: number;
}

export class RawPeer {
  readonly world: RawLink;
  readonly address: number;
  readonly port: number;
  hostPort: number;
  /** Raw sequence numbers of the two SYNs. */
  iss: number;
  hostIss = 0;
  knowsHost = false;
  /** What honest segments carry, relative: kept by `send` and by what is seen in order. */
  sndNxt = 0;
  rcvNxt = 0;
  window = 65_535;
  /** Send timestamps on every segment. */
  timestamps = false;
  lastTsValue = 0;
  /** Copy the text of segments; a test that moves gigabytes does without. */
  keepsPayload = true;
  /** Segments not taken yet. */
  readonly inbox: Seen[] = [];
  /** All segments ever seen. */
  readonly log: Seen[] = [];

  constructor(world: RawLink, options: PeerOptions = {}) {
    this.world = world;
    this.address = options.address ?? world.peerAddress;
    this.port = options.port ?? world.nextPort();
    this.hostPort = options.hostPort ?? 80;
    this.iss = (options.iss ?? 1_000_000) | 0;
    world.attach(this);
  }

  /** Sends a segment; the host sees it, and its answer is there, when this returns (if the link has no delay). */
  send(crafted: Crafted = {}): void {
    this.queue(crafted);
    this.world.settle();
  }

  /** Puts a segment on the wire without letting the host run: several make one batch of one turn. */
  queue(crafted: Crafted = {}): void {
    const flags = [...(crafted.flags ?? 'A')].reduce((bits, letter) => bits | (FLAG_BITS[letter] ?? 0), 0);
    const seq = crafted.seq ?? this.sndNxt;
    const payload = this.payloadOf(crafted.data, (flags & TCP_SYN) === 0 ? seq : seq + 1);
    const ack = crafted.ack ?? this.rcvNxt;
    const { bytes } = this.world.arena;
    const at = this.world.frameAt;
    const tcpAt = at + ETHERNET_BYTES + IPV4_BYTES;
    let next = tcpAt + TCP_BYTES;
    if (crafted.mss !== undefined) next = writeMss(bytes, next, crafted.mss);
    const stamps = crafted.timestamps === undefined ? this.honestTimestamps(flags) : crafted.timestamps;
    if (stamps !== null) next = writeTimestamps(bytes, next, stamps[0], stamps[1]);
    if (crafted.windowScale !== undefined) next = writeWindowScale(bytes, next, crafted.windowScale);
    if (crafted.sackPermitted === true) next = writeSackPermitted(bytes, next);
    if (crafted.sack !== undefined) {
      const edges = (side: 0 | 1) => Int32Array.from(crafted.sack ?? [], (block) => this.hostIss + block[side]);
      next = writeSackBlocks(bytes, next, edges(0), edges(1), crafted.sack.length);
    }
    if (crafted.options !== undefined) {
      bytes.set(crafted.options, next);
      next += crafted.options.length;
    }
    const headerBytes = next - tcpAt;
    const rawAck = (flags & TCP_ACK) === 0 ? 0 : (this.hostIss + ack) | 0;
    const window = crafted.window ?? this.window;
    setTcp(bytes, tcpAt, this.port, this.hostPort, (this.iss + seq) | 0, rawAck, headerBytes, flags, window);
    bytes.set(payload, next);
    const tcpBytes = headerBytes + payload.length;
    const { hostAddress } = this.world;
    const pseudo = pseudoSum4(this.address, hostAddress, PROTOCOL_TCP) + tcpBytes;
    const check = finishSum(sumBytes(bytes, tcpAt, tcpBytes, pseudo));
    setTcpChecksum(bytes, tcpAt, crafted.spoilChecksum === true ? check ^ 0x0100 : check);
    if (IPV4_BYTES + tcpBytes > this.world.mtuBytes) throw new RangeError(`${tcpBytes} bytes do not fit the link`);
    this.putHeaders(at, IPV4_BYTES + tcpBytes, PROTOCOL_TCP, crafted.ecn ?? 0);
    this.world.transmit(ETHERNET_BYTES + IPV4_BYTES + tcpBytes);
    const length = payload.length + ((flags & TCP_SYN) === 0 ? 0 : 1) + ((flags & TCP_FIN) === 0 ? 0 : 1);
    const end = (seq + length) | 0;
    if ((flags & TCP_RST) === 0 && ((end - this.sndNxt) | 0) > 0) this.sndNxt = end;
  }

  /** Sends an ICMP unreachable that quotes a segment of the host's from relative `seq`. */
  icmpUnreachable(code: number, seq: number, nextMtu = 0, quotedBytes = 8): void {
    const { bytes } = this.world.arena;
    const at = this.world.frameAt;
    const icmpAt = at + ETHERNET_BYTES + IPV4_BYTES;
    const quotedAt = icmpAt + ICMP_BYTES;
    setIcmpError(bytes, icmpAt, 3, code, nextMtu);
    setIpv4(bytes, quotedAt, 1500, 1, true, 64, PROTOCOL_TCP, this.world.hostAddress, this.address, 0);
    setTcp(bytes, quotedAt + IPV4_BYTES, this.hostPort, this.port, (this.hostIss + seq) | 0, 0, TCP_BYTES, TCP_ACK, 0);
    const icmpBytes = ICMP_BYTES + IPV4_BYTES + quotedBytes;
    fillIcmpChecksum(bytes, icmpAt, icmpBytes);
    this.putHeaders(at, IPV4_BYTES + icmpBytes, PROTOCOL_ICMP, 0);
    this.world.transmit(ETHERNET_BYTES + IPV4_BYTES + icmpBytes);
    this.world.settle();
  }

  /** The oldest segment not taken yet. Throws when there is none. */
  take(): Seen {
    const seen = this.inbox.shift();
    if (seen === undefined) throw new Error('the host has sent nothing');
    return seen;
  }

  /** All segments not taken yet. */
  takeAll(): Seen[] {
    return this.inbox.splice(0);
  }

  /** The segments not taken yet, written down. */
  lines(): string[] {
    return this.takeAll().map(writeDown);
  }

  /** For `RawWorld`: a segment from the host to this peer, its IPv4 header at `ipAt`. */
  accept(ipAt: number): void {
    const { bytes } = this.world.arena;
    const tcpAt = ipAt + ipv4HeaderBytes(bytes, ipAt);
    const tcpBytes = ipv4TotalBytes(bytes, ipAt) - ipv4HeaderBytes(bytes, ipAt);
    const pseudo = pseudoSum4(ipv4Source(bytes, ipAt), this.address, PROTOCOL_TCP);
    const complete = !this.world.offload;
    if (complete && !tcpVerifyChecksum(bytes, tcpAt, tcpBytes, pseudo)) throw new Error('the host sent a bad checksum');
    const bits = tcpFlags(bytes, tcpAt);
    const rawSeq = tcpSeq(bytes, tcpAt);
    const rawAck = tcpAck(bytes, tcpAt);
    if ((bits & TCP_SYN) !== 0) {
      if (!this.knowsHost) this.hostPort = tcpSourcePort(bytes, tcpAt);
      this.hostIss = rawSeq;
      this.knowsHost = true;
    }
    const headerBytes = tcpHeaderBytes(bytes, tcpAt);
    const options = new TcpOptions();
    if (!parseTcpOptions(bytes, tcpAt, headerBytes, options)) throw new Error('the host sent malformed options');
    const payloadAt = tcpAt + headerBytes;
    const payloadBytes = tcpBytes - headerBytes;
    const payload = Buffer.from(this.keepsPayload ? bytes.slice(payloadAt, payloadAt + payloadBytes) : []);
    const seen: Seen = {
      timeUs: this.world.clock.nowUs(),
      flags: [...'FSRAEW'].filter((letter) => (bits & (FLAG_BITS[letter] ?? 0)) !== 0).join(''),
      push: (bits & TCP_PSH) !== 0,
      ecn: ipv4Tos(bytes, ipAt) & ECN_MASK,
      seq: (rawSeq - this.hostIss) | 0,
      ack: (bits & TCP_ACK) === 0 ? 0 : (rawAck - this.iss) | 0,
      window: tcpWindow(bytes, tcpAt),
      length: payloadBytes,
      payload,
      mss: options.mss,
      windowScale: options.windowScale,
      sackPermitted: options.sackPermitted,
      sack: Array.from({ length: options.sackCount }, (_, i) => [
        ((options.sackLeft[i] ?? 0) - this.iss) | 0,
        ((options.sackRight[i] ?? 0) - this.iss) | 0,
      ]),
      hasTimestamps: options.hasTimestamps,
      tsValue: options.tsValue,
      tsEcho: options.tsEcho,
      fastOpen:
        options.fastOpenBytes < 0 ? null : Buffer.from(options.fastOpenCookie.subarray(0, options.fastOpenBytes)),
      fastOpenExperimental: options.fastOpenBytes >= 0 && options.fastOpenExperimental,
      userTimeout: options.userTimeout,
      rawSeq,
      rawAck,
      optionKinds: optionKinds(bytes.subarray(tcpAt + TCP_BYTES, tcpAt + headerBytes)),
      segmentBytes:
        vnetGsoType(bytes, ipAt - ETHERNET_BYTES) === VNET_GSO_NONE ? 0 : vnetGsoBytes(bytes, ipAt - ETHERNET_BYTES),
    };
    if (options.hasTimestamps) this.lastTsValue = options.tsValue;
    const length = payloadBytes + ((bits & TCP_SYN) === 0 ? 0 : 1) + ((bits & TCP_FIN) === 0 ? 0 : 1);
    const known = (this.rcvNxt - seen.seq) | 0;
    if ((bits & TCP_RST) === 0 && known >= 0 && known < length) this.rcvNxt = (seen.seq + length) | 0;
    this.inbox.push(seen);
    this.log.push(seen);
  }

  /** Whether a segment of the host belongs to this peer. */
  owns(ipTarget: number, tcpAt: number): boolean {
    const { bytes } = this.world.arena;
    if (ipTarget !== this.address || tcpTargetPort(bytes, tcpAt) !== this.port) return false;
    return !this.knowsHost || tcpSourcePort(bytes, tcpAt) === this.hostPort;
  }

  private payloadOf(data: Uint8Array | number | undefined, seq: number): Uint8Array {
    if (data === undefined) return new Uint8Array(0);
    return typeof data === 'number' ? pattern(seq - 1, data) : data;
  }

  private honestTimestamps(flags: number): readonly [number, number] | null {
    if (!this.timestamps || (flags & TCP_RST) !== 0) return null;
    return [this.world.tsValue(), (flags & TCP_ACK) === 0 ? 0 : this.lastTsValue];
  }

  private putHeaders(at: number, packetBytes: number, protocol: number, tos: number): void {
    const { world } = this;
    const { bytes } = world.arena;
    setEthernet(bytes, at, world.hostMacHi, world.hostMacLo, world.peerMacHi, world.peerMacLo, ETHERTYPE_IPV4);
    setIpv4(bytes, at + ETHERNET_BYTES, packetBytes, 1, true, 64, protocol, this.address, world.hostAddress, tos);
  }
}

function optionKinds(options: Uint8Array): number[] {
  const kinds: number[] = [];
  for (let at = 0; at < options.length; ) {
    const kind = options[at] ?? 0;
    kinds.push(kind);
    at += kind <= 1 ? 1 : Math.max(2, options[at + 1] ?? 0);
  }
  return kinds;
}

/** A segment as packetdrill would write it: flags, sequence numbers from and to, bytes, acknowledgment. */
export function writeDown(seen: Seen): string {
  const ack = seen.flags.includes('A') ? ` ack ${seen.ack}` : '';
  return `${seen.flags} ${seen.seq}:${seen.seq + seen.length}(${seen.length})${ack}`;
}

/** Bytes `offset` to `offset + length` of a stream without a short period; either direction may carry it. */
export function pattern(offset: number, length: number): Buffer {
  const data = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) data[i] = patternByte(offset + i);
  return data;
}

export function patternByte(offset: number): number {
  return (Math.imul(offset + 1, 0x9e3779b1) >>> 19) & 0xff;
}
