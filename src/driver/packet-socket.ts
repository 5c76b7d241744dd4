/**
 * The packet socket (packet(7)): frames to and from an existing interface, such as a veth end, in batches of one system
 * call (recvmmsg, sendmmsg).
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
 * Memory: owns message and iovec tables in the arena. The kernel has copied a frame when the call returns, so that frames
 * are completed as soon as they are taken.
 */
import type { Arena } from '../runtime/arena.ts';
import {
  bind,
  close,
  ERRNO,
  errno,
  errnoName,
  MSG_DONTWAIT,
  recvmmsg,
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
import { VNET_BYTES } from '../wire/virtio-net.ts';
import type { Device, DeviceCounters, DeviceFeatures, ReceiveBatch, TransmitBatch } from './device.ts';
import { createDeviceCounters, DeviceError, TRANSMIT_WORDS } from './device.ts';
import {
  asksForOffload,
  gatheredBytes,
  LONGEST_FRAME_BYTES,
  PIECES,
  roomFromVnet,
  slotBytesFor,
} from './frame-memory.ts';
import { InterfaceConfig, refuseKernelAddresses } from './interface-config.ts';
import { MessageTable } from './message-table.ts';

const AF_PACKET = 17;
/** ETH_P_ALL in network order. */
const ALL_PROTOCOLS = 0x0300;

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_ATTACH_FILTER = 26;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;

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

/** Frames that a system call receives or sends at most. */
const BATCH_FRAMES = 64;
/** Room for bursts of super-frames in the kernel, both ways. */
const BUFFER_BYTES = 8 << 20;
/** Words of the largest structure handed to setsockopt and bind. */
const SCRATCH_WORDS = 16;

const EAGAIN = ERRNO.EAGAIN as number;
const EINVAL = ERRNO.EINVAL as number;
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
  let fd = -1;
  try {
    const index = checkInterface(config, options);
    refuseKernelAddresses(options.addresses ?? [], options.sources);
    fd = openSocket(options.name);
    bindSocket(fd, options.arena, index, options.name);
    return new PacketSocketDevice(options.arena, fd, index, config, options);
  } catch (error) {
    if (fd >= 0) close(fd);
    config.close();
    throw error;
  }
}

export class PacketSocketDevice implements Device {
  readonly name: string;
  readonly mtuBytes: number;
  readonly slotBytes = slotBytesFor(LONGEST_FRAME_BYTES);
  readonly features: DeviceFeatures;
  readonly counters: DeviceCounters = createDeviceCounters();
  failure: DeviceError | null = null;
  private fd: number;
  private taken = 0;
  private readonly index: number;
  private readonly bytes: Bytes;
  private readonly offload: boolean;
  private readonly maxFrameBytes: number;
  private readonly roomBytes = roomFromVnet(this.slotBytes);
  private readonly received: MessageTable;
  private readonly sent: MessageTable;
  private readonly config: InterfaceConfig;

  /** Takes over a bound socket; use `openPacketSocket`. */
  constructor(arena: Arena, fd: number, index: number, config: InterfaceConfig, options: PacketSocketOptions) {
    const linkMtu = config.mtuBytes();
    const offload = options.offload !== false;
    this.name = config.name;
    this.mtuBytes = Math.min(linkMtu, options.mtu ?? linkMtu);
    this.maxFrameBytes = offload ? LONGEST_FRAME_BYTES : linkMtu + ETHERNET_BYTES;
    this.features = { transmitChecksum: offload, segmentTcp4: offload, maxFrameBytes: this.maxFrameBytes };
    this.fd = fd;
    this.index = index;
    this.bytes = arena.bytes;
    this.offload = offload;
    this.received = new MessageTable(arena, BATCH_FRAMES, 1);
    this.sent = new MessageTable(arena, BATCH_FRAMES, PIECES);
    this.config = config;
  }

  get descriptor(): number {
    return this.fd;
  }

  receive(frames: ReceiveBatch): number {
    const { fd, received, roomBytes, counters } = this;
    if (fd < 0 || this.failure !== null) return 0;
    let count = 0;
    while (count < frames.capacity) {
      const asked = Math.min(frames.capacity - count, BATCH_FRAMES);
      for (let i = 0; i < asked; i++) {
        received.iovecs.putPiece(i, int32At(frames.at, count + i) - VNET_BYTES, roomBytes);
      }
      const got = recvmmsg(fd, received.address, asked, MSG_DONTWAIT, 0);
      counters.receiveCalls++;
      if (got < 0) {
        if (this.noteReceiveError(errno())) continue;
        break;
      }
      count = this.keepWhole(frames, count, got);
      if (got < asked) break;
    }
    counters.receivedFrames += count;
    return count;
  }

  transmit(frames: TransmitBatch, from: number, to: number): number {
    if (this.fd < 0) return 0;
    const { words } = frames;
    let next = from;
    while (next < to) {
      const ready = this.prepare(words, next, to);
      if (ready === 0) {
        this.counters.transmitErrors++;
        next++;
        continue;
      }
      const sent = sendmmsg(this.fd, this.sent.address, ready, MSG_DONTWAIT);
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
    if (this.fd < 0) return;
    close(this.fd);
    this.config.close();
    this.fd = -1;
    this.taken = 0;
  }

  /** Drops frames that came truncated or without a header, moving their slots behind the good ones; returns the new count. */
  private keepWhole(frames: ReceiveBatch, from: number, got: number): number {
    const { at, length } = frames;
    const { received, counters } = this;
    let kept = from;
    for (let i = 0; i < got; i++) {
      const bytes = received.messageBytes(i) - VNET_BYTES;
      if (bytes < ETHERNET_BYTES || received.isTruncated(i)) {
        counters.receiveErrors++;
        continue;
      }
      if (kept !== from + i) {
        const slot = int32At(at, from + i);
        at[from + i] = int32At(at, kept);
        at[kept] = slot;
      }
      length[kept++] = bytes;
      counters.receivedBytes += bytes;
    }
    return kept;
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

  /**
   * Returns whether to go on receiving. EINVAL stands for one frame whose kind of super-frame the virtio header has no
   * word for; ENETDOWN comes once when the interface goes down, and frames after it is up again.
   */
  private noteReceiveError(code: number): boolean {
    if (code === EAGAIN) return false;
    if (code === ENETDOWN && !this.config.hasIndex(this.index)) this.fail();
    if (code !== ENETDOWN) this.counters.receiveErrors++;
    return code === EINVAL;
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

function bindSocket(fd: number, arena: Arena, index: number, name: string): void {
  const scratch = arena.allocate(SCRATCH_WORDS * 4);
  const address = arena.address(scratch);
  /** Writes the words of a structure for the kernel to read; returns its length. */
  const put = (...words: number[]): number => {
    arena.words.set(words, scratch >>> 2);
    return words.length * 4;
  };
  const set = (level: number, option: number, ...words: number[]): boolean =>
    setsockopt(fd, level, option, address, put(...words)) === 0;
  const require = (done: boolean, doing: string): void => {
    if (done) return;
    const code = errnoName(errno());
    throw new DeviceError(code, `Cannot ${doing} of the packet socket on ${name}: ${code}.`);
  };

  if (!set(SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)) set(SOL_SOCKET, SO_RCVBUF, BUFFER_BYTES);
  if (!set(SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)) set(SOL_SOCKET, SO_SNDBUF, BUFFER_BYTES);
  const program = arena.allocate(UNTAGGED_ONLY.length * 4);
  arena.words.set(UNTAGGED_ONLY, program >>> 2);
  const filter = [UNTAGGED_ONLY.length / 2, 0, program, arena.addressHigh];
  require(set(SOL_SOCKET, SO_ATTACH_FILTER, ...filter), 'set the filter');
  require(set(SOL_PACKET, PACKET_VNET_HDR, 1), 'turn on the virtio header');
  require(set(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1), 'leave out the outgoing frames');
  // struct packet_mreq: interface, type and address length, address
  require(set(SOL_PACKET, PACKET_ADD_MEMBERSHIP, index, PACKET_MR_PROMISC, 0, 0), 'turn on the promiscuous mode');
  // struct sockaddr_ll: family and protocol, interface, then fields that a receiver leaves zero
  const length = put(AF_PACKET | (ALL_PROTOCOLS << 16), index, 0, 0, 0);
  require(bind(fd, address, length) === 0, 'bind the end');
}
