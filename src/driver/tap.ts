/**
 * The TAP device (Linux Documentation/networking/tuntap.rst): frames to and from the kernel's own network stack, one
 * system call each, straight between the kernel and the arena.
 *
 * The device always carries the virtio header (`IFF_VNET_HDR`), so that a frame lies in its slot exactly as readv(2) left
 * it and exactly as writev(2) takes it. With offload the kernel is also told (`TUNSETOFFLOAD`) that it may hand over
 * partial checksums and super-frames of up to 64 KiB, and what we send may leave the same to it.
 *
 * The kernel's side of the device is set up here too (MTU, address, up), by ioctl. A device this program makes goes when
 * it is closed; a persistent one that exists already is attached to, given only what it lacks, and left as it was found
 * (but for the kernel's note of the header format last asked for, which whoever attaches next sets anew).
 *
 * Memory: owns one iovec list in the arena. The kernel has copied a frame when the call returns, so that frames are
 * completed as soon as they are taken.
 */
import type { Arena } from '../runtime/arena.ts';
import {
  close,
  ERRNO,
  errno,
  errnoName,
  ioctl,
  ioctlBytes,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  open,
  readv,
  writev,
} from '../runtime/syscalls.ts';
import { int32At } from '../runtime/words.ts';
import type { Cidr, MacAddress } from '../wire/address.ts';
import type { Bytes } from '../wire/bytes.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { VNET_BYTES } from '../wire/virtio-net.ts';
import type { Device, DeviceCounters, DeviceFeatures, ReceiveBatch, TransmitBatch } from './device.ts';
import { createDeviceCounters, DeviceError, TRANSMIT_WORDS } from './device.ts';
import {
  asksForOffload,
  gatheredBytes,
  IovecLists,
  LONGEST_FRAME_BYTES,
  PIECES,
  roomFromVnet,
  slotBytesFor,
} from './frame-memory.ts';
import { createInterfaceRequest, IFREQ_NAME_BYTES, InterfaceConfig, interfaceRequestName } from './interface-config.ts';

const TUN_PATH = '/dev/net/tun';

const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNGETIFF = 0x800454d2;
const TUNSETVNETHDRSZ = 0x400454d8;

const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_PERSIST = 0x0800;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;

const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;

/** From the best down: UDP super-frames came to the kernel in 6.2; without even the last there is no offload. */
const OFFLOADS = [
  TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6,
  TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
  TUN_F_CSUM | TUN_F_TSO4,
];

const DEFAULT_MTU_BYTES = 1500;
const MIN_MTU_BYTES = 68;
const MAX_MTU_BYTES = 65521;

const EAGAIN = ERRNO.EAGAIN as number;
const EBADFD = ERRNO.EBADFD as number;

export interface TapOptions {
  /** Interface name; a `%d` in it is replaced by the first free number. */
  readonly name: string;
  readonly arena: Arena;
  /** Longest IP packet (default 1500, or what a persistent device has, which also bounds it). */
  readonly mtu?: number;
  /** Checksums and segmentation left to the kernel, super-frames from it (default true). */
  readonly offload?: boolean;
  /** The address of the kernel's end; a persistent device that has one keeps its own. */
  readonly hostAddress?: Cidr;
  /** Prefixes that the kernel is to look for here besides its address's subnet. */
  readonly sources?: readonly Cidr[];
}

/** Opens a TAP device and brings the kernel's end up; throws `DeviceError` with one sentence that says what is missing. */
export function openTap(options: TapOptions): TapDevice {
  const { mtu } = options;
  if (mtu !== undefined && (!Number.isInteger(mtu) || mtu < MIN_MTU_BYTES || mtu > MAX_MTU_BYTES)) {
    throw new RangeError(`MTU ${mtu}: must be ${MIN_MTU_BYTES} to ${MAX_MTU_BYTES}`);
  }
  const request = createInterfaceRequest(options.name);
  const fd = openTunDescriptor();
  let host: HostEnd | null = null;
  try {
    const persistent = attach(fd, request, options.name);
    setHeaderBytes(fd);
    const offload = setOffload(fd, options.offload !== false);
    host = new HostEnd(interfaceRequestName(request), persistent);
    host.setUp(mtu, options.hostAddress, options.sources ?? []);
    return new TapDevice(options.arena, fd, host, offload, mtu);
  } catch (error) {
    ioctl(fd, TUNSETOFFLOAD, 0);
    if (host !== null) host.restore();
    close(fd);
    throw error;
  }
}

export class TapDevice implements Device {
  readonly name: string;
  readonly mtuBytes: number;
  readonly slotBytes: number;
  readonly features: DeviceFeatures;
  readonly slots = null;
  readonly counters: DeviceCounters = createDeviceCounters();
  /** The device existed before and stays. */
  readonly persistent: boolean;
  /** MAC address of the kernel's end. */
  readonly hostMac: MacAddress;
  /** Address of the kernel's end, if it has one. */
  readonly hostAddress: Cidr | undefined;
  failure: DeviceError | null = null;
  private fd: number;
  private taken = 0;
  private readonly bytes: Bytes;
  private readonly offload: boolean;
  private readonly maxFrameBytes: number;
  private readonly roomBytes: number;
  private readonly iovecs: IovecLists;
  private readonly iovecsAddress: number;
  private readonly host: HostEnd;

  /** Takes over a descriptor that is set up; use `openTap`. */
  constructor(arena: Arena, fd: number, host: HostEnd, offload: boolean, mtu: number | undefined) {
    const linkMtu = host.config.mtuBytes();
    this.name = host.config.name;
    this.mtuBytes = Math.min(linkMtu, mtu ?? linkMtu);
    this.slotBytes = slotBytesFor(offload ? LONGEST_FRAME_BYTES : linkMtu + ETHERNET_BYTES);
    this.maxFrameBytes = offload ? LONGEST_FRAME_BYTES : linkMtu + ETHERNET_BYTES;
    this.features = { transmitChecksum: offload, segmentTcp4: offload, maxFrameBytes: this.maxFrameBytes };
    this.persistent = host.persistent;
    this.hostMac = host.config.hardwareAddress();
    this.hostAddress = host.config.address();
    this.fd = fd;
    this.bytes = arena.bytes;
    this.offload = offload;
    this.roomBytes = roomFromVnet(this.slotBytes);
    this.iovecs = new IovecLists(arena, 1, PIECES);
    this.iovecsAddress = this.iovecs.address(0);
    this.host = host;
  }

  get descriptor(): number {
    return this.fd;
  }

  receive(frames: ReceiveBatch): number {
    const { at, length, capacity } = frames;
    const { fd, iovecs, iovecsAddress, roomBytes, counters } = this;
    if (fd < 0 || this.failure !== null) return 0;
    let count = 0;
    while (count < capacity) {
      // Always through the list at its one address: an address computed for each frame would be allocated for each.
      iovecs.putPiece(0, int32At(at, count) - VNET_BYTES, roomBytes);
      const got = readv(fd, iovecsAddress, 1);
      counters.receiveCalls++;
      if (got < 0) {
        this.noteReceiveError(errno());
        break;
      }
      const bytes = got - VNET_BYTES;
      if (got >= roomBytes || bytes < ETHERNET_BYTES) {
        counters.receiveErrors++;
        continue;
      }
      length[count++] = bytes;
      counters.receivedBytes += bytes;
    }
    counters.receivedFrames += count;
    return count;
  }

  transmit(frames: TransmitBatch, from: number, to: number): number {
    if (this.fd < 0) return 0;
    const { words } = frames;
    let next = from;
    while (next < to && this.send(words, next * TRANSMIT_WORDS)) next++;
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
    const { fd } = this;
    this.fd = -1;
    this.taken = 0;
    if (this.persistent && this.offload) ioctl(fd, TUNSETOFFLOAD, 0);
    this.host.restore();
    close(fd);
  }

  /** Sends one frame; false when the device is full and it is to be offered again. */
  private send(words: Int32Array, word: number): boolean {
    const { counters } = this;
    const bytes = gatheredBytes(words, word);
    const at = int32At(words, word);
    if (bytes > this.maxFrameBytes || this.failure !== null || (!this.offload && asksForOffload(this.bytes, at))) {
      counters.transmitErrors++;
      return true;
    }
    const wrote = writev(this.fd, this.iovecsAddress, this.iovecs.putFrame(0, words, word));
    counters.transmitCalls++;
    if (wrote < 0) return this.noteTransmitError(errno());
    counters.transmittedFrames++;
    counters.transmittedBytes += bytes;
    return true;
  }

  private noteReceiveError(code: number): void {
    if (code === EAGAIN) return;
    this.counters.receiveErrors++;
    if (code === EBADFD) this.fail();
  }

  /** A frame the kernel refuses (EINVAL), or cannot take because its end is down (EIO), is gone like any lost frame. */
  private noteTransmitError(code: number): boolean {
    if (code === EAGAIN) return false;
    this.counters.transmitErrors++;
    if (code === EBADFD) this.fail();
    return true;
  }

  private fail(): void {
    this.failure = new DeviceError('ENODEV', `The TAP device ${this.name} was removed while it was in use.`);
  }
}

/** The kernel's end of the device: what was changed on it, and how to undo that. */
class HostEnd {
  readonly config: InterfaceConfig;
  readonly persistent: boolean;
  private gaveAddress = false;
  private broughtUp = false;
  private readonly routes: Cidr[] = [];

  constructor(name: string, persistent: boolean) {
    this.config = new InterfaceConfig(name);
    this.persistent = persistent;
  }

  /** Someone else's device keeps its MTU, and its address if it has one. */
  setUp(mtu: number | undefined, address: Cidr | undefined, sources: readonly Cidr[]): void {
    const { config } = this;
    if (!this.persistent) config.setMtuBytes(mtu ?? DEFAULT_MTU_BYTES);
    if (address !== undefined && config.address() === undefined) {
      config.setAddress(address);
      this.gaveAddress = true;
    }
    if (!config.isUp()) {
      config.setUp(true);
      this.broughtUp = true;
    }
    for (const source of sources) if (config.addRoute(source)) this.routes.push(source);
  }

  /** Undoes `setUp` where the device stays, and lets go of it. */
  restore(): void {
    const { config } = this;
    try {
      if (this.persistent) for (const route of this.routes) config.removeRoute(route);
      if (this.persistent && this.broughtUp) config.setUp(false);
      if (this.persistent && this.gaveAddress) config.removeAddress();
    } catch {
      // the device was removed meanwhile: nothing is left to restore
    }
    config.close();
  }
}

function openTunDescriptor(): number {
  const fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd >= 0) return fd;
  const code = errnoName(errno());
  switch (code) {
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO':
      throw new DeviceError(code, `There is no TAP support here: ${TUN_PATH} is missing (kernel module tun).`);
    case 'EACCES':
    case 'EPERM':
      throw new DeviceError(code, `No permission to open ${TUN_PATH}.`);
    default:
      throw new DeviceError(code, `Cannot open ${TUN_PATH}: ${code}.`);
  }
}

/**
 * Makes the device or attaches to a persistent one; returns whether it is persistent. `request` then has its real name.
 * A device made with several queues is only attached to by asking for them again.
 */
function attach(fd: number, request: Buffer, name: string): boolean {
  const flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  let result = setInterface(fd, request, flags);
  if (result < 0 && errno() === ERRNO.EINVAL) result = setInterface(fd, request, flags | IFF_MULTI_QUEUE);
  if (result < 0) throw attachError(name);
  if (ioctlBytes(fd, TUNGETIFF, request) < 0) throw setUpError('read the state');
  return (request.readUInt16LE(IFREQ_NAME_BYTES) & IFF_PERSIST) !== 0;
}

function setInterface(fd: number, request: Buffer, flags: number): number {
  request.writeUInt16LE(flags, IFREQ_NAME_BYTES);
  return ioctlBytes(fd, TUNSETIFF, request);
}

function attachError(name: string): DeviceError {
  const code = errnoName(errno());
  switch (code) {
    case 'EPERM':
      return new DeviceError(code, `No right to open the TAP device ${name}: this needs root or NET_ADMIN.`);
    case 'EBUSY':
      return new DeviceError(code, `The TAP device ${name} is in use by another program.`);
    case 'EINVAL':
      return new DeviceError(code, `There is an interface ${name} already, and it is not a TAP device.`);
    default:
      return new DeviceError(code, `Cannot open the TAP device ${name}: ${code}.`);
  }
}

function setHeaderBytes(fd: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(VNET_BYTES);
  if (ioctlBytes(fd, TUNSETVNETHDRSZ, bytes) < 0) throw setUpError('set the header size');
}

/** Asks for the most offload the kernel takes; returns whether there is any. A persistent device may still have some set. */
function setOffload(fd: number, wanted: boolean): boolean {
  if (wanted) for (const offload of OFFLOADS) if (ioctl(fd, TUNSETOFFLOAD, offload) === 0) return true;
  if (ioctl(fd, TUNSETOFFLOAD, 0) < 0) throw setUpError('turn offload off');
  return false;
}

function setUpError(doing: string): DeviceError {
  const code = errnoName(errno());
  return new DeviceError(code, `Cannot ${doing} of the TAP device: ${code}.`);
}
