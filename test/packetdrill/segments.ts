/** Segments on the simulated wire, as a script writes them: crafting those it injects, reading and writing down those it expects. */

import { setU16 } from '../../src/wire/bytes.ts';
import { finishSum, pseudoSum4, sumBytes } from '../../src/wire/checksum.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, setEthernet } from '../../src/wire/ethernet.ts';
import { fillIcmpChecksum, ICMP_BYTES, setIcmpError } from '../../src/wire/icmp.ts';
import {
  ECN_MASK,
  IPV4_BYTES,
  ipv4HeaderBytes,
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
  TCP_URGENT_OFFSET,
  tcpAck,
  tcpFlags,
  tcpHeaderBytes,
  tcpSeq,
  tcpSourcePort,
  tcpTargetPort,
  tcpUrgent,
  tcpWindow,
} from '../../src/wire/tcp.ts';
import type { RawWorld, WirePeer } from '../support/raw-world.ts';
import type { OptionSpec } from './script.ts';

const LETTERS: readonly (readonly [letter: string, bit: number])[] = [
  ['F', TCP_FIN],
  ['S', TCP_SYN],
  ['R', TCP_RST],
  ['P', TCP_PSH],
  ['U', TCP_URG],
  ['E', TCP_ECE],
  ['W', TCP_CWR],
  ['.', TCP_ACK],
];

const KIND_EOL = 0;
const KIND_NOP = 1;
const KIND_MSS = 2;
const KIND_WINDOW_SCALE = 3;
const KIND_SACK_PERMITTED = 4;
const KIND_SACK = 5;
const KIND_TIMESTAMPS = 8;
const KIND_FAST_OPEN = 34;
const KIND_EXPERIMENTAL = 254;
const FAST_OPEN_MAGIC = 0xf989;

/** A segment with the numbers that it has on the wire. */
export interface LiveSegment {
  readonly timeUs: number;
  readonly sourcePort: number;
  readonly targetPort: number;
  /** Letters, in the order of `FSRPUEW.`. */
  readonly flags: string;
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  readonly urgent: number;
  readonly length: number;
  readonly ecn: number;
  readonly options: readonly OptionSpec[];
}

export class ScriptWire implements WirePeer {
  /** What the host has sent and nobody has taken, in order. */
  readonly inbox: LiveSegment[] = [];
  private readonly world: RawWorld;

  /** What was sent first, and with it what was sent behind it in one go, as far as that makes `length` bytes. */
  takeUpTo(length: number): LiveSegment | undefined {
    const { inbox } = this;
    let taken = inbox.shift();
    while (taken !== undefined && taken.length > 0 && taken.length < length) {
      const next = inbox[0];
      if (next === undefined || next.timeUs !== taken.timeUs || (taken.seq + taken.length - next.seq) | 0) break;
      if (taken.length + next.length > length || next.sourcePort !== taken.sourcePort) break;
      taken = { ...next, seq: taken.seq, length: taken.length + next.length };
      inbox.shift();
    }
    return taken;
  }

  constructor(world: RawWorld) {
    this.world = world;
    world.attach(this);
  }

  owns(): boolean {
    return true;
  }

  accept(ipAt: number): void {
    const { bytes } = this.world.arena;
    const tcpAt = ipAt + ipv4HeaderBytes(bytes, ipAt);
    const headerBytes = tcpHeaderBytes(bytes, tcpAt);
    this.inbox.push({
      timeUs: this.world.nowUs,
      sourcePort: tcpSourcePort(bytes, tcpAt),
      targetPort: tcpTargetPort(bytes, tcpAt),
      flags: lettersOf(tcpFlags(bytes, tcpAt)),
      seq: tcpSeq(bytes, tcpAt),
      ack: tcpAck(bytes, tcpAt),
      window: tcpWindow(bytes, tcpAt),
      urgent: tcpUrgent(bytes, tcpAt),
      length: ipv4TotalBytes(bytes, ipAt) - ipv4HeaderBytes(bytes, ipAt) - headerBytes,
      ecn: ipv4Tos(bytes, ipAt) & ECN_MASK,
      options: readOptions(Buffer.from(bytes.slice(tcpAt + TCP_BYTES, tcpAt + headerBytes))),
    });
  }

  /** Sends a segment to the host, now. */
  inject(segment: Omit<LiveSegment, 'timeUs'>): void {
    const { world } = this;
    const { bytes } = world.arena;
    const at = world.frameAt;
    const tcpAt = at + ETHERNET_BYTES + IPV4_BYTES;
    const options = writeOptions(segment.options);
    const headerBytes = TCP_BYTES + options.length;
    const flags = LETTERS.reduce((bits, [letter, bit]) => (segment.flags.includes(letter) ? bits | bit : bits), 0);
    const { sourcePort, targetPort, seq, ack, window } = segment;
    setTcp(bytes, tcpAt, sourcePort, targetPort, seq | 0, ack | 0, headerBytes, flags, window);
    setU16(bytes, tcpAt + TCP_URGENT_OFFSET, segment.urgent);
    bytes.set(options, tcpAt + TCP_BYTES);
    bytes.fill(0, tcpAt + headerBytes, tcpAt + headerBytes + segment.length);
    const tcpBytes = headerBytes + segment.length;
    const pseudo = pseudoSum4(world.peerAddress, world.hostAddress, PROTOCOL_TCP) + tcpBytes;
    setTcpChecksum(bytes, tcpAt, finishSum(sumBytes(bytes, tcpAt, tcpBytes, pseudo)));
    this.send(at, PROTOCOL_TCP, tcpBytes, segment.ecn);
  }

  /** Sends an ICMP error that quotes a segment of the host's. */
  injectIcmp(
    type: number,
    code: number,
    mtu: number,
    quoted: { sourcePort: number; targetPort: number; seq: number },
  ): void {
    const { world } = this;
    const { bytes } = world.arena;
    const at = world.frameAt;
    const icmpAt = at + ETHERNET_BYTES + IPV4_BYTES;
    const quotedAt = icmpAt + ICMP_BYTES;
    setIcmpError(bytes, icmpAt, type, code, mtu);
    setIpv4(bytes, quotedAt, 1500, 1, true, 64, PROTOCOL_TCP, world.hostAddress, world.peerAddress, 0);
    setTcp(
      bytes,
      quotedAt + IPV4_BYTES,
      quoted.sourcePort,
      quoted.targetPort,
      quoted.seq | 0,
      0,
      TCP_BYTES,
      TCP_ACK,
      0,
    );
    const icmpBytes = ICMP_BYTES + IPV4_BYTES + TCP_BYTES;
    fillIcmpChecksum(bytes, icmpAt, icmpBytes);
    this.send(at, PROTOCOL_ICMP, icmpBytes, 0);
  }

  private send(at: number, protocol: number, payloadBytes: number, ecn: number): void {
    const { world } = this;
    const { bytes } = world.arena;
    setEthernet(bytes, at, world.hostMacHi, world.hostMacLo, world.peerMacHi, world.peerMacLo, ETHERTYPE_IPV4);
    const packetBytes = IPV4_BYTES + payloadBytes;
    setIpv4(bytes, at + ETHERNET_BYTES, packetBytes, 1, true, 64, protocol, world.peerAddress, world.hostAddress, ecn);
    world.transmit(ETHERNET_BYTES + packetBytes);
    world.settle();
  }
}

function lettersOf(flags: number): string {
  return LETTERS.filter(([, bit]) => (flags & bit) !== 0)
    .map(([letter]) => letter)
    .join('');
}

/** The flags of a script in the order that `LiveSegment` has. */
export function orderFlags(flags: string): string {
  return LETTERS.filter(([letter]) => flags.includes(letter))
    .map(([letter]) => letter)
    .join('');
}

function readOptions(bytes: Buffer): OptionSpec[] {
  const options: OptionSpec[] = [];
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes.readUInt8(at);
    const length = kind <= KIND_NOP ? 1 : (bytes[at + 1] ?? 0);
    if (length < 1 || at + length > bytes.length || (kind > KIND_NOP && length < 2)) {
      options.push({ kind: 'unknown', number: kind, hex: bytes.subarray(at).toString('hex') });
      break;
    }
    options.push(readOption(kind, bytes.subarray(at + Math.min(2, length), at + length)));
    at += length;
  }
  return options;
}

function readOption(kind: number, body: Buffer): OptionSpec {
  switch (kind) {
    case KIND_EOL:
      return { kind: 'eol' };
    case KIND_NOP:
      return { kind: 'nop' };
    case KIND_MSS:
      return { kind: 'mss', value: body.readUInt16BE(0) };
    case KIND_WINDOW_SCALE:
      return { kind: 'wscale', value: body.readUInt8(0) };
    case KIND_SACK_PERMITTED:
      return { kind: 'sackOK' };
    case KIND_SACK: {
      const edges = Array.from({ length: body.length >> 2 }, (_, i) => body.readInt32BE(4 * i));
      const blocks = Array.from(
        { length: edges.length >> 1 },
        (_, i) => [edges[2 * i] ?? 0, edges[2 * i + 1] ?? 0] as const,
      );
      return { kind: 'sack', blocks };
    }
    case KIND_TIMESTAMPS:
      return { kind: 'TS', value: body.readUInt32BE(0), echo: body.readUInt32BE(4) };
    case KIND_FAST_OPEN:
      return { kind: 'FO', cookie: body.toString('hex') };
    case KIND_EXPERIMENTAL:
      if (body.length >= 2 && body.readUInt16BE(0) === FAST_OPEN_MAGIC) {
        return { kind: 'FOEXP', cookie: body.subarray(2).toString('hex') };
      }
      break;
    default:
  }
  return { kind: 'unknown', number: kind, hex: body.toString('hex') };
}

/** With what a script leaves out at the end: bytes up to a multiple of four. */
function writeOptions(options: readonly OptionSpec[]): Buffer {
  const bytes = Buffer.concat(options.map(writeOption));
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4, KIND_EOL)]);
}

function writeOption(option: OptionSpec): Buffer {
  switch (option.kind) {
    case 'eol':
      return Buffer.of(KIND_EOL);
    case 'nop':
      return Buffer.of(KIND_NOP);
    case 'mss':
      return Buffer.of(KIND_MSS, 4, option.value >> 8, option.value & 0xff);
    case 'wscale':
      return Buffer.of(KIND_WINDOW_SCALE, 3, option.value);
    case 'sackOK':
      return Buffer.of(KIND_SACK_PERMITTED, 2);
    case 'sack':
      return Buffer.concat([
        Buffer.of(KIND_SACK, 2 + 8 * option.blocks.length),
        ...option.blocks.flatMap(([left, right]) => [word(left), word(right)]),
      ]);
    case 'TS':
      return Buffer.concat([Buffer.of(KIND_TIMESTAMPS, 10), word(option.value), word(option.echo)]);
    case 'FO': {
      const cookie = Buffer.from(option.cookie, 'hex');
      return Buffer.concat([Buffer.of(KIND_FAST_OPEN, 2 + cookie.length), cookie]);
    }
    case 'FOEXP': {
      const cookie = Buffer.from(option.cookie, 'hex');
      const magic = Buffer.of(FAST_OPEN_MAGIC >> 8, FAST_OPEN_MAGIC & 0xff);
      return Buffer.concat([Buffer.of(KIND_EXPERIMENTAL, 4 + cookie.length), magic, cookie]);
    }
    default: {
      const body = Buffer.from(option.hex, 'hex');
      return Buffer.concat([Buffer.of(option.number, 2 + body.length), body]);
    }
  }
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
}

/** As tcpdump, and a script, would have them. */
export function writeDownOption(option: OptionSpec): string {
  switch (option.kind) {
    case 'mss':
    case 'wscale':
      return `${option.kind} ${option.value}`;
    case 'sack':
      return `sack ${option.blocks.map(([left, right]) => `${left >>> 0}:${right >>> 0}`).join(' ')}`;
    case 'TS':
      return `TS val ${option.value >>> 0} ecr ${option.echo >>> 0}`;
    case 'FO':
    case 'FOEXP':
      return `${option.kind} ${option.cookie}`.trim();
    case 'unknown':
      return `option ${option.number} ${option.hex}`;
    default:
      return option.kind;
  }
}
