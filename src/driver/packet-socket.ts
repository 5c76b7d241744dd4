/**
 * The packet socket (packet(7)): frames to and from an existing interface, such as a veth end. What arrives the kernel puts
 * into a ring that it shares with us (receive-ring.ts); what leaves goes in batches of one system call (sendmmsg), through a
 * second socket that nobody watches: for each frame that has left, the kernel would wake whoever does.
 *
 * `PACKET_VNET_HDR` is always on, because a veth peer hands over partial checksums and super-frames whether it is asked
 * to or not: without the virtio header such a frame would look corrupted. `offload: false` only takes the right to do
 * the same away from our own frames.
 *
 * The interface is made promiscuous, for the stack above has a MAC address of its own: were it the interface's, the
 * kernel would answer and forward our frames too. For the same reason an IPv4 address the kernel owns is refused. Frames
 * with a VLAN tag are not ours: the kernel has taken the tag off, so that they would pass for untagged ones; a socket
 * filter keeps them out.
 *
 * Memory: owns the ring, and message and iovec tables in the arena. The kernel has copied a frame when the call returns, so
 * that frames are completed as soon as they are taken.
 */
import type { Arena } from '../runtime/arena.ts';
import {
  bind,
  close,
  ERRNO,
  errno,
  errnoName,
  getsockopt,
  MSG_DONTWAIT,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  sendmmsg,
  setsockopt,
  socket,
} from '../runtime/syscalls.ts';
import { int32At } from '../runtime/words.ts';
import type { Cidr, Ipv4Address, MacAddress } from '../wire/address.ts';
import { formatMac } from '../wire/address.ts';
import type { Bytes } from '../wire/bytes.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import type { Device, DeviceCounters, DeviceFeatures, ReceiveBatch, TransmitBatch } from './device.ts';
import { createDeviceCounters, DeviceError, TRANSMIT_WORDS } from './device.ts';
import { asksForOffload, gatheredBytes, LONGEST_FRAME_BYTES, PIECES } from './frame-memory.ts';
import { InterfaceConfig, refuseKernelAddresses } from './interface-config.ts';
import { MessageTable } from './message-table.ts';
import { openReceiveRing, type ReceiveRing } from './receive-ring.ts';

const AF_PACKET = 17;
/** ETH_P_ALL in network order. */
const ALL_PROTOCOLS = 0x0300;
/** A socket bound to it receives nothing. */
const NO_PROTOCOL = 0;

const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_SNDBUF = 7;
const SO_ATTACH_FILTER = 26;
const SO_SNDBUFFORCE = 32;

const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_VNET_HDR = 15;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;

/**
 * Classic BPF, each instruction as the two words of a struct sock_filter: load "is there a VLAN tag" (SKF_AD_OFF +
 * SKF_AD_VLAN_TAG_PRESENT); if it is zero go on, else skip one; return all of the frame; return nothing of it.
 */
const UNTAGGED_ONLY = [0x20, 0xfffff030, 0x01000015, 0, 0x06, 0xffffffff, 0x06, 0];

/** Frames that a system call sends at most. */
const BATCH_FRAMES = 64;
/** Room in the kernel for frames that are leaving. */
const BUFFER_BYTES = 8 << 20;
/** After so many looks in vain the socket is asked whether anything is wrong with it. */
const LOOKS_UNTIL_ASKED = 64;
/** Words of the largest structure handed to setsockopt and bind. */
const SCRATCH_WORDS = 16;

const EAGAIN = ERRNO.EAGAIN as number;
const ENETDOWN = ERRNO.ENETDOWN as number;
const ENOBUFS = ERRNO.ENOBUFS as number;
const ENXIO = ERRNO.ENXIO as number;

export interface PacketSocketOptions {
  /** An Ethernet interface that exists and is up. */
  readonly name: string;
  readonly arena: Arena;
  /** Longest IP packet, if less than the interface's own limit. */
  readonly mtu?: number;
  /** Checksums and segmentation left to the kernel (default true). */
  readonly offload?: boolean;
  /** IPv4 addresses of the stack above: refused when the kernel has one of them. */
  readonly addresses?: readonly Ipv4Address[];
  /** Whole prefixes that are the stack's: refused when the kernel has an address in one of them. */
  readonly sources?: readonly Cidr[];
  /** MAC address of the stack above: refused when it is the interface's. */
  readonly mac?: MacAddress;
}

/** Opens a packet socket on an interface; throws `DeviceError` with one sentence that says what is missing. */
export function openPacketSocket(options: PacketSocketOptions): PacketSocketDevice {
  const config = new InterfaceConfig(options.name);
  const { name, arena } = options;
  let receiver = -1;
  let sender = -1;
  let ring: ReceiveRing | null = null;
  try {
    const index = checkInterface(config, options);
    refuseKernelAddresses(options.addresses ?? [], options.sources);
    sender = openSocket(name);
    receiver = openSocket(name);
    const scratch = arena.allocate(SCRATCH_WORDS * 4);
    setUpSender(new SocketSetUp(sender, arena, scratch, name), index);
    ring = setUpReceiver(new SocketSetUp(receiver, arena, scratch, name), index);
    return new PacketSocketDevice(arena, { receiver, sender, ring, index, config, scratch }, options);
  } catch (error) {
    ring?.close();
    if (sender >= 0) close(sender);
    if (receiver >= 0) close(receiver);
    config.close();
    throw error;
  }
}

/** What a device is made of. */
interface Parts {
  readonly receiver: number;
  readonly sender: number;
  readonly ring: ReceiveRing;
  /** The interface's number. */
  readonly index: number;
  readonly config: InterfaceConfig;
  /** Arena for arguments of system calls. */
  readonly scratch: number;
}

export class PacketSocketDevice implements Device {
  readonly name: string;
  readonly mtuBytes: number;
  readonly slotBytes: number;
  readonly slots: ReceiveRing;
  readonly features: DeviceFeatures;
  readonly counters: DeviceCounters = createDeviceCounters();
  failure: DeviceError | null = null;
  private receiver: number;
  private readonly sender: number;
  private taken = 0;
  /** Looks in vain since the socket was asked. */
  private emptyLooks = 0;
  private readonly index: number;
  private readonly arena: Arena;
  private readonly bytes: Bytes;
  private readonly scratch: number;
  private readonly offload: boolean;
  private readonly maxFrameBytes: number;
  private readonly sent: MessageTable;
  private readonly config: InterfaceConfig;

  /** Takes over sockets that are set up; use `openPacketSocket`. */
  constructor(arena: Arena, { receiver, sender, ring, index, config, scratch }: Parts, options: PacketSocketOptions) {
    const linkMtu = config.mtuBytes();
    const offload = options.offload !== false;
    this.name = config.name;
    this.mtuBytes = Math.min(linkMtu, options.mtu ?? linkMtu);
    this.maxFrameBytes = offload ? LONGEST_FRAME_BYTES : linkMtu + ETHERNET_BYTES;
    this.features = { transmitChecksum: offload, segmentTcp4: offload, maxFrameBytes: this.maxFrameBytes };
    this.slotBytes = ring.slotBytes;
    this.slots = ring;
    this.receiver = receiver;
    this.sender = sender;
    this.index = index;
    this.arena = arena;
    this.bytes = arena.bytes;
    this.scratch = scratch;
    this.offload = offload;
    this.sent = new MessageTable(arena, BATCH_FRAMES, PIECES);
    this.config = config;
  }

  get descriptor(): number {
    return this.receiver;
  }

  receive(frames: ReceiveBatch): number {
    if (this.receiver < 0 || this.failure !== null) return 0;
    const count = this.slots.receive(frames, this.counters);
    if (count > 0) this.emptyLooks = 0;
    else if (++this.emptyLooks === LOOKS_UNTIL_ASKED) this.askForError();
    return count;
  }

  transmit(frames: TransmitBatch, from: number, to: number): number {
    if (this.receiver < 0) return 0;
    const { words } = frames;
    let next = from;
    while (next < to) {
      const ready = this.prepare(words, next, to);
      if (ready === 0) {
        this.counters.transmitErrors++;
        next++;
        continue;
      }
      const sent = sendmmsg(this.sender, this.sent.address, ready, MSG_DONTWAIT);
      this.counters.transmitCalls++;
      if (sent > 0) {
        this.countSent(words, next, sent);
        next += sent;
      } else if (this.noteTransmitError(errno())) {
        next++;
      } else {
        break;
      }
    }
    this.taken += next - from;
    return next - from;
  }

  completed(): number {
    const { taken } = this;
    this.taken = 0;
    return taken;
  }

  /** Stop watching `descriptor` first: its number may be given to something else from here on. */
  close(): void {
    if (this.receiver < 0) return;
    this.slots.close();
    close(this.receiver);
    close(this.sender);
    this.config.close();
    this.receiver = -1;
    this.taken = 0;
  }

  /** Makes messages of the frames from `next` on, up to one that cannot be sent; returns how many. */
  private prepare(words: Int32Array, next: number, to: number): number {
    if (this.failure !== null) return 0;
    const { sent, offload, maxFrameBytes, bytes } = this;
    const end = Math.min(to - next, BATCH_FRAMES);
    let ready = 0;
    while (ready < end) {
      const word = (next + ready) * TRANSMIT_WORDS;
      if (gatheredBytes(words, word) > maxFrameBytes) break;
      if (!offload && asksForOffload(bytes, int32At(words, word))) break;
      sent.setPieces(ready, sent.iovecs.putFrame(ready, words, word));
      ready++;
    }
    return ready;
  }

  private countSent(words: Int32Array, from: number, count: number): void {
    const { counters } = this;
    counters.transmittedFrames += count;
    for (let i = from; i < from + count; i++) counters.transmittedBytes += gatheredBytes(words, i * TRANSMIT_WORDS);
  }

  /** A socket with an error is readable until it is asked for it. The interface going down is one that passes. */
  private askForError(): void {
    this.emptyLooks = 0;
    const { arena, scratch } = this;
    const address = arena.address(scratch);
    arena.words[(scratch >>> 2) + 1] = 4;
    getsockopt(this.receiver, SOL_SOCKET, SO_ERROR, address, address + 4);
    const code = arena.words[scratch >>> 2] as number;
    if (code === 0) return;
    if (code !== ENETDOWN) this.counters.receiveErrors++;
    if (!this.config.hasIndex(this.index)) this.fail();
  }

  /** Returns whether the frame is given up. A full queue is no error; an interface that is down loses what it is given. */
  private noteTransmitError(code: number): boolean {
    if (code === EAGAIN || code === ENOBUFS) return false;
    this.counters.transmitErrors++;
    if (code === ENXIO) this.fail();
    return true;
  }

  private fail(): void {
    this.failure = new DeviceError('ENODEV', `The interface ${this.name} was removed while it was in use.`);
  }
}

/** Throws unless the interface can be used; returns its number. */
function checkInterface(config: InterfaceConfig, options: PacketSocketOptions): number {
  const { name } = config;
  const index = config.findIndex();
  if (index === 0) throw new DeviceError('ENODEV', `There is no interface ${name}.`);
  if (!config.isEthernet()) throw new DeviceError('EINVAL', `The interface ${name} does not carry Ethernet frames.`);
  if (!config.isUp()) {
    throw new DeviceError('ENETDOWN', `The interface ${name} is down: bring it up with "ip link set ${name} up".`);
  }
  const own = config.hardwareAddress();
  if (options.mac !== undefined && options.mac.hi === own.hi && options.mac.lo === own.lo) {
    const text = formatMac(own.hi, own.lo);
    throw new DeviceError('EADDRINUSE', `The MAC address ${text} is that of ${name} itself: the stack needs another.`);
  }
  return index;
}

function openSocket(name: string): number {
  // protocol 0: no frame arrives, from whatever interface, until the socket is bound
  const fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0) return fd;
  const code = errnoName(errno());
  throw code === 'EPERM'
    ? new DeviceError(code, `No right to open a packet socket on ${name}: this needs root or NET_RAW.`)
    : new DeviceError(code, `Cannot open a packet socket on ${name}: ${code}.`);
}

/** Sets one socket up; throws `DeviceError` for what it cannot do without. */
class SocketSetUp {
  readonly fd: number;
  readonly arena: Arena;
  readonly scratch: number;
  private readonly name: string;

  constructor(fd: number, arena: Arena, scratch: number, name: string) {
    this.fd = fd;
    this.arena = arena;
    this.scratch = scratch;
    this.name = name;
  }

  /** Sets an option to the words of a structure; false when the kernel refuses. */
  set(level: number, option: number, ...words: number[]): boolean {
    return setsockopt(this.fd, level, option, this.arena.address(this.scratch), this.put(words)) === 0;
  }

  bind(protocol: number, index: number): void {
    // struct sockaddr_ll: family and protocol, interface, then fields that matter to others
    const length = this.put([AF_PACKET | (protocol << 16), index, 0, 0, 0]);
    this.require(bind(this.fd, this.arena.address(this.scratch), length) === 0, 'bind the end');
  }

  require(done: boolean, doing: string): void {
    if (done) return;
    const code = errnoName(errno());
    throw new DeviceError(code, `Cannot ${doing} of the packet socket on ${this.name}: ${code}.`);
  }

  /** Writes words for the kernel to read; returns their length in bytes. */
  private put(words: readonly number[]): number {
    this.arena.words.set(words, this.scratch >>> 2);
    return words.length * 4;
  }
}

function setUpSender(socket: SocketSetUp, index: number): void {
  if (!socket.set(SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)) socket.set(SOL_SOCKET, SO_SNDBUF, BUFFER_BYTES);
  socket.require(socket.set(SOL_PACKET, PACKET_VNET_HDR, 1), 'turn on the virtio header');
  socket.bind(NO_PROTOCOL, index);
}

function setUpReceiver(socket: SocketSetUp, index: number): ReceiveRing {
  const { arena, scratch, fd } = socket;
  const program = arena.allocate(UNTAGGED_ONLY.length * 4);
  arena.words.set(UNTAGGED_ONLY, program >>> 2);
  const filter = [UNTAGGED_ONLY.length / 2, 0, program, arena.addressHigh];
  socket.require(socket.set(SOL_SOCKET, SO_ATTACH_FILTER, ...filter), 'set the filter');
  socket.require(socket.set(SOL_PACKET, PACKET_VNET_HDR, 1), 'turn on the virtio header');
  socket.require(socket.set(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1), 'leave out the outgoing frames');
  // struct packet_mreq: interface, type and address length, address
  const promiscuous = socket.set(SOL_PACKET, PACKET_ADD_MEMBERSHIP, index, PACKET_MR_PROMISC, 0, 0);
  socket.require(promiscuous, 'turn on the promiscuous mode');
  const ring = openReceiveRing(arena, fd, scratch);
  socket.require(ring !== null, 'share the receive ring');
  try {
    socket.bind(ALL_PROTOCOLS, index);
  } catch (error) {
    ring?.close();
    throw error;
  }
  return ring as ReceiveRing;
}
