/** A forwarder between two devices of the tests' own: segments are handed in at either, and what leaves is read at the other. */
import { ForwardHost, type ForwardHostOptions } from '../../../src/host/forward-host.ts';
import { Arena } from '../../../src/runtime/arena.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { SeededRandom } from '../../../src/runtime/random.ts';
import { VirtualClock } from '../../../src/runtime/virtual-clock.ts';
import { ARP_BYTES, ARP_REPLY, ARP_REQUEST, arpTargetAddress, setArp } from '../../../src/wire/arp.ts';
import { setU16, setU32 } from '../../../src/wire/bytes.ts';
import { finishSum, pseudoSum4, sumBytes } from '../../../src/wire/checksum.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ethernetTargetHi,
  ethernetTargetLo,
  ethernetType,
  setEthernet,
} from '../../../src/wire/ethernet.ts';
import { fillIcmpChecksum, ICMP_BYTES, setIcmpError } from '../../../src/wire/icmp.ts';
import {
  IPV4_BYTES,
  ipv4Check,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
  ipv4Target,
  ipv4TotalBytes,
  ipv4Ttl,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  setIpv4,
} from '../../../src/wire/ipv4.ts';
import {
  setTcp,
  setTcpChecksum,
  TCP_BYTES,
  tcpAck,
  tcpFlags,
  tcpHeaderBytes,
  tcpSeq,
  tcpSourcePort,
  tcpTargetPort,
  tcpVerifyChecksum,
} from '../../../src/wire/tcp.ts';
import { TIMESTAMPS_BYTES, writeTimestamps } from '../../../src/wire/tcp-options.ts';
import { FakeDevice } from '../../exokernel/fake-device.ts';

export const CLIENT = 0x0a000001;
export const FORWARDER = 0x0a000009;
export const INSIDE = 0x0a000109;
export const BACKEND = 0x0a000102;
export const BACKENDS = [BACKEND, 0x0a000103, 0x0a000104];
export const LISTEN_PORT = 80;
export const BACKEND_PORT = 8080;
export const SECOND = 1_000_000;
const OWN_MAC_HI = 0x0200;
const PEER_MAC_HI = 0x0290;

export interface Segment {
  readonly source: number;
  readonly target: number;
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly ttl: number;
  readonly text: string;
}

export interface SegmentFields {
  source?: number;
  target?: number;
  sourcePort?: number;
  targetPort?: number;
  flags?: number;
  seq?: number;
  ack?: number;
  ttl?: number;
  text?: string | Uint8Array;
  /** The TSval of a timestamps option (RFC 7323); none without. */
  timestamp?: number;
  mac?: number;
}

export type RigOptions = Partial<
  Pick<ForwardHostOptions, 'mode' | 'balance' | 'limits' | 'lifetimes' | 'services' | 'flowLog' | 'log'>
> & {
  readonly backends?: number;
  /** Neighbours are not known from the start. */
  readonly unresolved?: boolean;
};

export class ForwardRig {
  readonly arena = new Arena(256 * 1024 * 1024);
  readonly clock = new VirtualClock();
  readonly outside = new FakeDevice(this.arena, 4096);
  readonly inside = new FakeDevice(this.arena, 4096);
  readonly host: ForwardHost;
  private readonly stations = new Set<number>();

  constructor(options: RigOptions = {}) {
    const { backends = 1, unresolved = false, ...rest } = options;
    const sides = [
      { device: this.outside, address: FORWARDER, prefixLength: 24, macHi: OWN_MAC_HI, macLo: FORWARDER },
      { device: this.inside, address: INSIDE, prefixLength: 24, macHi: OWN_MAC_HI, macLo: INSIDE },
    ];
    const addresses = BACKENDS.slice(0, backends);
    const listen = { address: FORWARDER, port: LISTEN_PORT };
    this.host = new ForwardHost({
      mode: 'nat',
      balance: 'round-robin',
      flowLog: null,
      services: [{ listen, backends: addresses.map((address) => ({ address, port: BACKEND_PORT })) }],
      limits: { maxFlows: 64, ringFrames: 64, transmitFrames: 64 },
      log: silentLog,
      ...rest,
      arena: this.arena,
      clock: this.clock,
      random: new SeededRandom(1),
      sides,
    });
    if (!unresolved) {
      this.introduce(this.outside, CLIENT);
      for (const address of addresses) this.introduce(this.inside, address);
    }
    this.turn();
    this.takeAll();
  }

  get forwarder() {
    return this.host.forwarder;
  }

  count(name: Parameters<typeof this.forwarder.counters.get>[0]): number {
    return this.forwarder.counters.get(name);
  }

  /** Turns until nothing is left to do at this moment. */
  turn(): void {
    while (this.host.turn() === 0 || this.answerQuestions());
  }

  /** Lets time pass, turn by turn. */
  advance(byUs: number): void {
    const endUs = this.clock.nowUs() + byUs;
    for (let dueUs = this.host.turn(); dueUs <= endUs; dueUs = this.host.turn()) {
      this.clock.runUntil(Math.max(dueUs, this.clock.nowUs()));
      this.turn();
    }
    this.clock.runUntil(endUs);
    this.turn();
  }

  /** A station makes itself known, by asking for us, and answers our questions from then on. */
  introduce(device: FakeDevice, address: number): void {
    this.stations.add(address);
    device.incoming.push(arp(ARP_REQUEST, address, this.ownAddress(device)));
    this.turn();
  }

  /** A segment of the client's arrives; what has left by the inside then. */
  fromClient(fields: SegmentFields): Segment[] {
    this.outside.incoming.push(
      segment({
        source: CLIENT,
        target: FORWARDER,
        sourcePort: 40_000,
        targetPort: LISTEN_PORT,
        mac: FORWARDER,
        ...fields,
      }),
    );
    this.turn();
    return segmentsOf(this.take(this.inside));
  }

  /** A segment of a backend's; what has left by the outside then. */
  fromBackend(fields: SegmentFields): Segment[] {
    this.inside.incoming.push(
      segment({
        source: BACKEND,
        target: INSIDE,
        sourcePort: BACKEND_PORT,
        targetPort: 40_000,
        mac: INSIDE,
        ...fields,
      }),
    );
    this.turn();
    return segmentsOf(this.take(this.outside));
  }

  /** Any frame; whether it is for us is for the forwarder to find out. */
  inject(device: FakeDevice, frame: Uint8Array): void {
    device.incoming.push(frame);
    this.turn();
  }

  /** What has been sent since the last call, ARP left out. */
  take(device: FakeDevice): Uint8Array[] {
    return device.sent.splice(0).filter((frame) => ethernetType(frame, 0) === ETHERTYPE_IPV4);
  }

  takeAll(): void {
    this.outside.sent.length = 0;
    this.inside.sent.length = 0;
  }

  /** What is held although nothing is on its way. */
  heldSlots(): number {
    const { sides } = this.forwarder;
    const sending = this.host.kernels.reduce((sum, { slots }) => sum + slots.sending, 0);
    const stacks = this.host.stacks.reduce((sum, { environment }) => sum + environment.held, 0);
    return (
      sending +
      stacks +
      sides.reduce((sum, { environment }) => sum + environment.held, 0) -
      this.forwarder.waitingFrames
    );
  }

  close(): void {
    this.host.close();
  }

  /** Stations that are there answer what they have been asked; whether there was something. */
  private answerQuestions(): boolean {
    let answered = false;
    for (const device of [this.outside, this.inside]) {
      for (let i = device.sent.length - 1; i >= 0; i--) {
        const frame = device.sent[i] as Uint8Array;
        if (ethernetType(frame, 0) !== ETHERTYPE_ARP) continue;
        device.sent.splice(i, 1);
        const asked = arpTargetAddress(frame, ETHERNET_BYTES);
        if (!this.stations.has(asked)) continue;
        device.incoming.push(arp(ARP_REPLY, asked, this.ownAddress(device)));
        answered = true;
      }
    }
    return answered;
  }

  private ownAddress(device: FakeDevice): number {
    return device === this.outside ? FORWARDER : INSIDE;
  }
}

function arp(operation: number, sender: number, target: number): Uint8Array {
  const frame = new Uint8Array(ETHERNET_BYTES + ARP_BYTES);
  setEthernet(frame, 0, OWN_MAC_HI, target, PEER_MAC_HI, sender, ETHERTYPE_ARP);
  setArp(frame, ETHERNET_BYTES, operation, PEER_MAC_HI, sender, sender, OWN_MAC_HI, target, target);
  return frame;
}

/** The frame of a segment, all checksums whole. */
export function segment(fields: SegmentFields): Uint8Array {
  const { source = 0, target = 0, sourcePort = 0, targetPort = 0, flags = 0, seq = 0, ack = 0, ttl = 64 } = fields;
  const text = Buffer.from(fields.text ?? '');
  const tcpAt = ETHERNET_BYTES + IPV4_BYTES;
  const headerBytes = TCP_BYTES + (fields.timestamp === undefined ? 0 : TIMESTAMPS_BYTES);
  const frame = new Uint8Array(tcpAt + headerBytes + text.length);
  setEthernet(frame, 0, OWN_MAC_HI, fields.mac ?? target, PEER_MAC_HI, source, ETHERTYPE_IPV4);
  setIpv4(frame, ETHERNET_BYTES, frame.length - ETHERNET_BYTES, 1, true, ttl, PROTOCOL_TCP, source, target, 0);
  setTcp(frame, tcpAt, sourcePort, targetPort, seq, ack, headerBytes, flags, 1000);
  if (fields.timestamp !== undefined) writeTimestamps(frame, tcpAt + TCP_BYTES, fields.timestamp, 0);
  frame.set(text, tcpAt + headerBytes);
  fixTcpChecksum(frame);
  return frame;
}

export function fixTcpChecksum(frame: Uint8Array): void {
  const tcpAt = ETHERNET_BYTES + ipv4HeaderBytes(frame, ETHERNET_BYTES);
  const tcpBytes = frame.length - tcpAt;
  const pseudo = pseudoSum4(ipv4Source(frame, ETHERNET_BYTES), ipv4Target(frame, ETHERNET_BYTES), PROTOCOL_TCP);
  setTcpChecksum(frame, tcpAt, 0);
  setTcpChecksum(frame, tcpAt, finishSum(sumBytes(frame, tcpAt, tcpBytes, pseudo + tcpBytes)));
}

export function fixIpv4Checksum(frame: Uint8Array): void {
  setU16(frame, ETHERNET_BYTES + 10, 0);
  const headerBytes = ipv4HeaderBytes(frame, ETHERNET_BYTES);
  setU16(frame, ETHERNET_BYTES + 10, finishSum(sumBytes(frame, ETHERNET_BYTES, headerBytes)));
}

/** An ICMP error about a packet (from its IP header on), which quotes its first `quotedBytes`. */
export function icmpError(
  type: number,
  code: number,
  nextMtu: number,
  router: number,
  target: number,
  packet: Uint8Array,
  quotedBytes = packet.length,
): Uint8Array {
  const messageAt = ETHERNET_BYTES + IPV4_BYTES;
  const frame = new Uint8Array(messageAt + ICMP_BYTES + quotedBytes);
  setEthernet(frame, 0, OWN_MAC_HI, target, PEER_MAC_HI, router, ETHERTYPE_IPV4);
  setIpv4(frame, ETHERNET_BYTES, frame.length - ETHERNET_BYTES, 1, false, 64, PROTOCOL_ICMP, router, target, 0);
  setIcmpError(frame, messageAt, type, code, nextMtu);
  frame.set(packet.subarray(0, quotedBytes), messageAt + ICMP_BYTES);
  fillIcmpChecksum(frame, messageAt, ICMP_BYTES + quotedBytes);
  return frame;
}

/** The TCP segments among frames; throws when one is not right in every checksum. */
export function segmentsOf(frames: readonly Uint8Array[]): Segment[] {
  return frames.flatMap((frame) => {
    if (ipv4Check(frame, ETHERNET_BYTES, frame.length - ETHERNET_BYTES) !== 0) throw new Error('a bad IPv4 header');
    if (ipv4Protocol(frame, ETHERNET_BYTES) !== PROTOCOL_TCP) return [];
    if (ethernetTargetHi(frame, 0) !== PEER_MAC_HI) throw new Error('to no station');
    const tcpAt = ETHERNET_BYTES + ipv4HeaderBytes(frame, ETHERNET_BYTES);
    const tcpBytes = ipv4TotalBytes(frame, ETHERNET_BYTES) - ipv4HeaderBytes(frame, ETHERNET_BYTES);
    const source = ipv4Source(frame, ETHERNET_BYTES);
    const target = ipv4Target(frame, ETHERNET_BYTES);
    if (ethernetTargetLo(frame, 0) !== target) throw new Error('to the wrong station');
    if (!tcpVerifyChecksum(frame, tcpAt, tcpBytes, pseudoSum4(source, target, PROTOCOL_TCP))) {
      throw new Error('a bad TCP checksum');
    }
    return [
      {
        source,
        target,
        sourcePort: tcpSourcePort(frame, tcpAt),
        targetPort: tcpTargetPort(frame, tcpAt),
        flags: tcpFlags(frame, tcpAt),
        seq: tcpSeq(frame, tcpAt),
        ack: tcpAck(frame, tcpAt),
        ttl: ipv4Ttl(frame, ETHERNET_BYTES),
        text: Buffer.from(frame.subarray(tcpAt + tcpHeaderBytes(frame, tcpAt), tcpAt + tcpBytes)).toString('latin1'),
      },
    ];
  });
}

/** Makes a frame's packet seem to come from elsewhere. */
export function setSource(frame: Uint8Array, source: number): void {
  setU32(frame, ETHERNET_BYTES + 12, source);
  fixIpv4Checksum(frame);
  fixTcpChecksum(frame);
}
