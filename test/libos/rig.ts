/** A library OS without an exokernel: frames are handed in, and what it would send is read from its transmit queue. */
import { type Device, FRAME_OFFSET_BYTES, TRANSMIT_WORDS, type TransmitBatch } from '../../src/driver/device.ts';
import { guardFrame } from '../../src/exokernel/transmit-guard.ts';
import { TransmitQueue } from '../../src/exokernel/transmit-queue.ts';
import { ArpCache } from '../../src/libos/arp.ts';
import type { ArpLimits } from '../../src/libos/arp-settings.ts';
import type { FragmentLimits } from '../../src/libos/fragments.ts';
import { Icmp, type IcmpLimits } from '../../src/libos/icmp.ts';
import { Ipv4, type TransportHandler } from '../../src/libos/ipv4.ts';
import { LocalAddresses } from '../../src/libos/local-addresses.ts';
import type { LibosOptions } from '../../src/libos/options.ts';
import { type PathLimits, Paths } from '../../src/libos/path.ts';
import { RouteTable } from '../../src/libos/routes.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { Counters } from '../../src/runtime/counters.ts';
import { type Log, silentLog } from '../../src/runtime/log.ts';
import { TimerWheel } from '../../src/runtime/timer-wheel.ts';
import { VirtualClock } from '../../src/runtime/virtual-clock.ts';
import { type Cidr, maskOf, parseIpv4 } from '../../src/wire/address.ts';
import { ARP_BYTES, ARP_REPLY, ARP_REQUEST, setArp } from '../../src/wire/arp.ts';
import { DROP_NAMES } from '../../src/wire/drop-reasons.ts';
import { ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, ethernetType, setEthernet } from '../../src/wire/ethernet.ts';
import { fillIcmpChecksum, ICMP_BYTES, ICMP_ECHO, setIcmpEcho } from '../../src/wire/icmp.ts';
import { IPV4_BYTES, PROTOCOL_ICMP, setIpv4, setIpv4Fragment } from '../../src/wire/ipv4.ts';
import { VNET_BYTES } from '../../src/wire/virtio-net.ts';

export const SECOND = 1_000_000;

export function ip(text: string): number {
  const address = parseIpv4(text);
  if (address === undefined) throw new RangeError(text);
  return address;
}

export const LOCAL = ip('10.90.0.2');
export const PEER = ip('10.90.0.1');
export const OTHER = ip('10.90.0.7');
export const GATEWAY = ip('10.90.0.254');
export const REMOTE = ip('198.51.100.9');
export const MAC_HI = 0x0290;
export const MAC_LO = 0x00000002;
export const PEER_HI = 0x0290;
export const PEER_LO = 0x00000001;
const BROADCAST_HI = 0xffff;
const BROADCAST_LO = -1;

/** A protocol number without a meaning, for a transport of the tests' own. */
export const PROTOCOL_TEST = 253;

const SLOT_BYTES = 66_000;

export interface RigOptions {
  prefixLength?: number;
  sources?: readonly Cidr[];
  mtuBytes?: number;
  queueFrames?: number;
  arp?: Partial<ArpLimits>;
  paths?: Partial<PathLimits>;
  fragments?: Partial<FragmentLimits>;
  icmp?: Partial<IcmpLimits>;
}

/** What a transport of the tests has been handed. */
export interface Delivery {
  payload: Buffer;
  source: Buffer;
  frameAt: number;
  ipAt: number;
}

export class Recorder implements TransportHandler {
  readonly deliveries: Delivery[] = [];
  readonly errors: { type: number; code: number; quoted: Buffer; nextMtu: number }[] = [];
  private readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  input(frameAt: number, ipAt: number, transportAt: number, transportBytes: number): void {
    const payload = Buffer.from(this.bytes.slice(transportAt, transportAt + transportBytes));
    const source = Buffer.from(this.bytes.slice(ipAt + 12, ipAt + 16));
    this.deliveries.push({ payload, source, frameAt, ipAt });
  }

  icmpError(type: number, code: number, _ipAt: number, at: number, quotedBytes: number, nextMtu: number): void {
    this.errors.push({ type, code, quoted: Buffer.from(this.bytes.slice(at, at + quotedBytes)), nextMtu });
  }
}

export class Rig {
  readonly arena = new Arena(32 * 1024 * 1024);
  readonly bytes = this.arena.bytes;
  readonly clock = new VirtualClock();
  readonly timers = new TimerWheel(this.clock);
  readonly drops = new Counters<string>(DROP_NAMES);
  readonly warnings: string[] = [];
  readonly unreachable: number[] = [];
  readonly queue: TransmitQueue;
  readonly arp: ArpCache;
  readonly routes = new RouteTable();
  readonly paths: Paths;
  readonly ipv4: Ipv4;
  readonly icmp: Icmp;
  readonly recorder: Recorder;
  /** Frames that the device holds back when it is `stalled`. */
  stalled = false;
  private readonly sources: readonly Cidr[];
  private readonly slot: number;
  private readonly region: number;

  constructor(options: RigOptions = {}) {
    this.sources = options.sources ?? [];
    this.queue = new TransmitQueue(this.arena, options.queueFrames ?? 256);
    this.slot = this.arena.allocate(SLOT_BYTES) + FRAME_OFFSET_BYTES;
    this.region = this.arena.allocate(SLOT_BYTES);
    const log: Log = { ...silentLog, warn: (_fields, message) => this.warnings.push(message) };
    const prefixLength = options.prefixLength ?? 24;
    const shared: LibosOptions = {
      bytes: this.bytes,
      arena: this.arena,
      queue: this.queue,
      timers: this.timers,
      clock: this.clock,
      log,
      drops: this.drops,
      local: new LocalAddresses(LOCAL, options.sources),
      prefixLength,
      macHi: MAC_HI,
      macLo: MAC_LO,
      mtuBytes: options.mtuBytes ?? 1500,
    };
    this.routes.add(LOCAL & maskOf(prefixLength), prefixLength, 0);
    this.routes.add(0, 0, GATEWAY);
    const onUnreachable = (address: number) => this.unreachable.push(address);
    this.arp = new ArpCache({ ...shared, limits: options.arp, onUnreachable });
    this.paths = new Paths({ ...shared, arp: this.arp, routes: this.routes, limits: options.paths });
    this.ipv4 = new Ipv4({ ...shared, arp: this.arp, fragmentLimits: options.fragments });
    this.icmp = new Icmp({ ...shared, ipv4: this.ipv4, paths: this.paths, limits: options.icmp });
    this.recorder = new Recorder(this.bytes);
    this.ipv4.handlers[PROTOCOL_TEST] = this.recorder;
  }

  close(): void {
    this.arp.close();
    this.arena.close();
  }

  /** Hands in a frame as the exokernel's ring would, by EtherType. */
  receive(frame: Uint8Array, vnetFlags = 0): void {
    this.bytes.fill(0, this.slot - VNET_BYTES, this.slot);
    this.bytes[this.slot - VNET_BYTES] = vnetFlags;
    this.bytes.fill(0xee, this.slot + frame.length, this.slot + frame.length + 64);
    this.bytes.set(frame, this.slot);
    if (frame.length >= ETHERNET_BYTES && ethernetType(this.bytes, this.slot) === ETHERTYPE_ARP) {
      this.arp.input(this.slot, frame.length);
    } else {
      this.ipv4.input(this.slot, frame.length);
    }
  }

  /** What has been queued since the last call, each frame in one piece; all must pass the transmit guard. */
  sent(): Buffer[] {
    const frames: Buffer[] = [];
    const sources = this.sources;
    const sender = {
      macHi: MAC_HI,
      macLo: MAC_LO,
      addresses: Int32Array.of(LOCAL),
      sourceNetworks: Int32Array.from(sources, ({ address }) => address),
      sourceMasks: Int32Array.from(sources, ({ prefixLength }) => maskOf(prefixLength)),
    };
    for (let next = this.queue.nextToGuard(); next >= 0; next = this.queue.nextToGuard()) {
      const refused = guardFrame(sender, this.bytes, this.queue.batch.words, next * TRANSMIT_WORDS);
      if (refused !== 0) throw new Error(`the guard refuses: ${DROP_NAMES[refused]}`);
      this.queue.pass();
    }
    const device = {
      transmit: (batch: TransmitBatch, from: number, to: number) => this.gather(batch, from, to, frames),
    };
    const taken = this.queue.offer(device as Device, this.queue.capacity);
    if (!this.stalled) this.queue.complete(taken);
    return frames;
  }

  /** Lets time pass, timers firing one after the other. */
  advance(byUs: number): void {
    const target = this.clock.nowUs() + byUs;
    for (let next = this.timers.nextDeadlineUs(); next <= target; next = this.timers.nextDeadlineUs()) {
      this.clock.runUntil(next);
      this.timers.advance(next);
    }
    this.clock.runUntil(target);
    this.timers.advance(target);
  }

  /** Sends `payload` to `remote` as the test protocol, the first `inHeader` bytes as transport header; what `send` returned. */
  send(remote: number, payload: Uint8Array, inHeader = Math.min(8, payload.length)): boolean {
    const path = this.paths.acquire(remote);
    if (path === undefined) throw new Error('no path');
    const at = this.ipv4.begin();
    if (at === 0) throw new Error('queue full');
    this.bytes.set(payload.subarray(0, inHeader), at + path.headerBytes);
    if (payload.length > inHeader) {
      this.bytes.set(payload.subarray(inHeader), this.region);
      this.queue.addRegion(this.region, payload.length - inHeader);
    }
    const before = this.queue.enqueued;
    const sent = this.ipv4.send(path, at, PROTOCOL_TEST, inHeader, payload.length - inHeader);
    if (this.queue.enqueued === before) this.bytes.fill(0xdd, this.region, this.region + payload.length);
    this.paths.release(path);
    return sent;
  }

  /** Makes a neighbour known, as if it had asked for us and then answered a question. */
  resolve(address = PEER, macHi = PEER_HI, macLo = PEER_LO): void {
    this.arp.lookup(address);
    this.receive(arpFrame({ operation: ARP_REPLY, sender: address, senderHi: macHi, senderLo: macLo }));
    this.sent();
  }

  drop(name: string): number {
    return this.drops.get(name);
  }

  totalDrops(): number {
    return this.drops.values.reduce((sum, value) => sum + value, 0);
  }

  private gather(batch: TransmitBatch, from: number, to: number, frames: Buffer[]): number {
    for (let index = from; index < to; index++) {
      const parts: Uint8Array[] = [];
      for (let word = index * TRANSMIT_WORDS; word < (index + 1) * TRANSMIT_WORDS; word += 2) {
        const at = batch.words[word] ?? 0;
        parts.push(this.bytes.slice(at, at + (batch.words[word + 1] ?? 0)));
      }
      frames.push(Buffer.concat(parts));
    }
    return to - from;
  }
}

export interface ArpFields {
  operation?: number;
  sender?: number;
  senderHi?: number;
  senderLo?: number;
  target?: number;
  frameHi?: number;
  frameLo?: number;
}

/** An ARP frame, by default a request from the peer for us. A reply is addressed to us, a request to everyone. */
export function arpFrame(fields: ArpFields = {}): Buffer {
  const frame = Buffer.alloc(ETHERNET_BYTES + ARP_BYTES);
  const operation = fields.operation ?? ARP_REQUEST;
  const senderHi = fields.senderHi ?? PEER_HI;
  const senderLo = fields.senderLo ?? PEER_LO;
  const isReply = operation === ARP_REPLY;
  const frameHi = fields.frameHi ?? (isReply ? MAC_HI : BROADCAST_HI);
  const frameLo = fields.frameLo ?? (isReply ? MAC_LO : BROADCAST_LO);
  setEthernet(frame, 0, frameHi, frameLo, senderHi, senderLo, ETHERTYPE_ARP);
  const target = fields.target ?? LOCAL;
  setArp(
    frame,
    ETHERNET_BYTES,
    operation,
    senderHi,
    senderLo,
    fields.sender ?? PEER,
    isReply ? MAC_HI : 0,
    isReply ? MAC_LO : 0,
    target,
  );
  return frame;
}

export interface Ipv4Fields {
  source?: number;
  target?: number;
  protocol?: number;
  id?: number;
  offset?: number;
  more?: boolean;
  options?: Uint8Array;
  frameHi?: number;
  frameLo?: number;
  tos?: number;
}

/** An IPv4 frame to us, by default from the peer and of the test protocol. */
export function ipv4Frame(payload: Uint8Array, fields: Ipv4Fields = {}): Buffer {
  const options = fields.options ?? new Uint8Array(0);
  const headerBytes = IPV4_BYTES + options.length;
  const frame = Buffer.alloc(ETHERNET_BYTES + headerBytes + payload.length);
  setEthernet(frame, 0, fields.frameHi ?? MAC_HI, fields.frameLo ?? MAC_LO, PEER_HI, PEER_LO, ETHERTYPE_IPV4);
  setIpv4(
    frame,
    ETHERNET_BYTES,
    headerBytes + payload.length,
    fields.id ?? 1,
    false,
    64,
    fields.protocol ?? PROTOCOL_TEST,
    fields.source ?? PEER,
    fields.target ?? LOCAL,
    fields.tos ?? 0,
  );
  if (fields.offset !== undefined || fields.more === true) {
    setIpv4Fragment(frame, ETHERNET_BYTES, fields.offset ?? 0, fields.more ?? false);
  }
  if (options.length > 0) {
    frame.set(options, ETHERNET_BYTES + IPV4_BYTES);
    frame[ETHERNET_BYTES] = 0x40 | (headerBytes / 4);
    fixChecksum(frame, headerBytes);
  }
  frame.set(payload, ETHERNET_BYTES + headerBytes);
  return frame;
}

/** Sums the IPv4 header of a frame anew, by a method of its own. */
export function fixChecksum(frame: Buffer, headerBytes: number): void {
  frame.writeUInt16BE(0, ETHERNET_BYTES + 10);
  let sum = 0;
  for (let at = ETHERNET_BYTES; at < ETHERNET_BYTES + headerBytes; at += 2) sum += frame.readUInt16BE(at);
  frame.writeUInt16BE(~((sum % 0xffff) + (sum > 0 && sum % 0xffff === 0 ? 0xffff : 0)) & 0xffff, ETHERNET_BYTES + 10);
}

export function echoRequest(data: Uint8Array, id = 7, sequence = 1): Buffer {
  const message = Buffer.alloc(ICMP_BYTES + data.length);
  setIcmpEcho(message, 0, ICMP_ECHO, id, sequence);
  message.set(data, ICMP_BYTES);
  fillIcmpChecksum(message, 0, message.length);
  return message;
}

export function icmpFrame(message: Uint8Array, fields: Ipv4Fields = {}): Buffer {
  return ipv4Frame(message, { protocol: PROTOCOL_ICMP, ...fields });
}

/** The payload of an IPv4 frame without options. */
export function payloadOf(frame: Buffer): Buffer {
  return frame.subarray(ETHERNET_BYTES + IPV4_BYTES);
}

/** Bytes that differ from place to place. */
export function pattern(lengthBytes: number, seed = 1): Buffer {
  const data = Buffer.alloc(lengthBytes);
  for (let i = 0; i < lengthBytes; i++) data[i] = (i * 31 + (i >>> 8) * 17 + seed * 101) & 0xff;
  return data;
}
