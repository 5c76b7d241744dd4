/**
 * What `ip link` and `ip addr` would do to one interface, by ioctl on an AF_INET socket (netdevice(7)): index, flags,
 * MTU, hardware address and one IPv4 address.
 *
 * The socket belongs to the network namespace it was opened in, so that an interface found there is still reached (to
 * restore it, say) after the process has moved on.
 */

import {
  close,
  ERRNO,
  errno,
  errnoName,
  ioctlBytes,
  isMapFailed,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  mmap,
  munmap,
  PROT_READ,
  PROT_WRITE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  socket,
  viewMemory,
} from '../runtime/syscalls.ts';
import type { Cidr, Ipv4Address, MacAddress } from '../wire/address.ts';
import { formatIpv4, maskOf } from '../wire/address.ts';
import { i32, setU32, u16 } from '../wire/bytes.ts';
import { DeviceError } from './device.ts';

const AF_INET = 2;

const SIOCADDRT = 0x890b;
const SIOCDELRT = 0x890c;
const SIOCGIFNAME = 0x8910;
const SIOCGIFCONF = 0x8912;
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const SIOCGIFADDR = 0x8915;
const SIOCSIFADDR = 0x8916;
const SIOCGIFNETMASK = 0x891b;
const SIOCSIFNETMASK = 0x891c;
const SIOCGIFMTU = 0x8921;
const SIOCSIFMTU = 0x8922;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;

const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;

const ARPHRD_ETHER = 1;

/** struct ifreq: the name, then a union whose members all start at the same place. */
export const IFREQ_BYTES = 40;
export const IFREQ_NAME_BYTES = 16;
/** struct sockaddr_in in the union: family (2), port (2), address (4). */
const IFREQ_ADDRESS = IFREQ_NAME_BYTES + 4;
/** struct sockaddr for a hardware address: family (2), then its bytes. */
const IFREQ_HARDWARE = IFREQ_NAME_BYTES + 2;

/** struct rtentry: three struct sockaddr_in, flags, and the address of the interface's name. */
const RTENTRY_BYTES = 120;
const RTENTRY_TARGET = 8;
const RTENTRY_MASK = 40;
const RTENTRY_FLAGS = 56;
const RTENTRY_DEVICE = 88;
const RTF_UP = 1;

/** An empty `struct ifreq` for an interface; throws `DeviceError` when no interface can have that name. */
export function createInterfaceRequest(name: string): Buffer {
  const request = Buffer.alloc(IFREQ_BYTES);
  const length = Buffer.byteLength(name);
  if (length === 0 || length >= IFREQ_NAME_BYTES || /[/\s:\0]/.test(name) || name === '.' || name === '..') {
    throw new DeviceError(
      'EINVAL',
      `"${name}" is no interface name: it takes 1 to ${IFREQ_NAME_BYTES - 1} bytes without spaces, slashes and colons.`,
    );
  }
  request.write(name, 0);
  return request;
}

/** The interface name at the start of a `struct ifreq`. */
export function interfaceRequestName(request: Uint8Array, at = 0): string {
  const name = Buffer.from(request.subarray(at, at + IFREQ_NAME_BYTES));
  const end = name.indexOf(0);
  return name.toString('utf8', 0, end < 0 ? IFREQ_NAME_BYTES : end);
}

/** One interface, by name; hold it open to be able to restore what was changed. */
export class InterfaceConfig {
  readonly name: string;
  private readonly request: Buffer;
  private fd: number;

  /** The interface need not exist yet. Throws `DeviceError`. */
  constructor(name: string) {
    this.name = name;
    this.request = createInterfaceRequest(name);
    this.fd = openInetSocket();
  }

  /** Kernel's number of the interface, or 0 when there is none of that name. */
  findIndex(): number {
    return this.tryIoctl(SIOCGIFINDEX) === 0 ? this.request.readInt32LE(IFREQ_NAME_BYTES) : 0;
  }

  /** Is there still an interface of this number, by whatever name, in this namespace? */
  hasIndex(index: number): boolean {
    const request = Buffer.alloc(IFREQ_BYTES);
    request.writeInt32LE(index, IFREQ_NAME_BYTES);
    return ioctlBytes(this.fd, SIOCGIFNAME, request) === 0;
  }

  isUp(): boolean {
    return (this.flags() & IFF_UP) !== 0;
  }

  setUp(up: boolean): void {
    const flags = this.flags();
    this.request.writeUInt16LE(up ? flags | IFF_UP | IFF_RUNNING : flags & ~IFF_UP, IFREQ_NAME_BYTES);
    this.ioctl(SIOCSIFFLAGS, up ? `bring ${this.name} up` : `take ${this.name} down`);
  }

  mtuBytes(): number {
    this.ioctl(SIOCGIFMTU, `read the MTU of ${this.name}`);
    return this.request.readInt32LE(IFREQ_NAME_BYTES);
  }

  setMtuBytes(mtuBytes: number): void {
    this.request.writeInt32LE(mtuBytes, IFREQ_NAME_BYTES);
    this.ioctl(SIOCSIFMTU, `set the MTU of ${this.name} to ${mtuBytes}`);
  }

  /** The interface's own MAC address. */
  hardwareAddress(): MacAddress {
    this.ioctl(SIOCGIFHWADDR, `read the hardware address of ${this.name}`);
    return { hi: u16(this.request, IFREQ_HARDWARE), lo: i32(this.request, IFREQ_HARDWARE + 2) };
  }

  /** The interface's first IPv4 address, if it has one. */
  address(): Cidr | undefined {
    if (this.tryIoctl(SIOCGIFADDR) !== 0) {
      if (errno() === ERRNO.EADDRNOTAVAIL) return undefined;
      throw this.error(`read the address of ${this.name}`);
    }
    const address = i32(this.request, IFREQ_ADDRESS);
    this.ioctl(SIOCGIFNETMASK, `read the netmask of ${this.name}`);
    return { address, prefixLength: Math.clz32(~i32(this.request, IFREQ_ADDRESS)) };
  }

  /** Does the interface carry Ethernet frames? (`lo` and tunnels do not, or pretend.) */
  isEthernet(): boolean {
    this.ioctl(SIOCGIFHWADDR, `read the hardware type of ${this.name}`);
    return this.request.readUInt16LE(IFREQ_NAME_BYTES) === ARPHRD_ETHER;
  }

  /** Gives the interface its first IPv4 address, in place of the one it had. */
  setAddress(address: Cidr): void {
    const doing = `give ${this.name} the address ${formatIpv4(address.address)}/${address.prefixLength}`;
    this.putAddress(address.address);
    this.ioctl(SIOCSIFADDR, doing);
    this.putAddress(maskOf(address.prefixLength));
    this.ioctl(SIOCSIFNETMASK, doing);
  }

  /** Takes the first IPv4 address away. */
  removeAddress(): void {
    this.putAddress(0);
    this.ioctl(SIOCSIFADDR, `take the address of ${this.name} away`);
  }

  /** Has the kernel look for the hosts of a prefix on this link, beside its address's subnet; false when it does already. */
  addRoute(prefix: Cidr): boolean {
    const code = this.route(SIOCADDRT, prefix);
    if (code === 0 || code === ERRNO.EEXIST) return code === 0;
    throw this.error(`add a route to ${formatIpv4(prefix.address)}/${prefix.prefixLength} on ${this.name}`, code);
  }

  /** Undoes `addRoute`; a route that is gone already is no error. */
  removeRoute(prefix: Cidr): void {
    this.route(SIOCDELRT, prefix);
  }

  close(): void {
    if (this.fd >= 0) close(this.fd);
    this.fd = -1;
  }

  private flags(): number {
    this.ioctl(SIOCGIFFLAGS, `read the state of ${this.name}`);
    return this.request.readUInt16LE(IFREQ_NAME_BYTES);
  }

  /** 0, or the errno of what went wrong. */
  private route(request: number, prefix: Cidr): number {
    const entry = Buffer.alloc(RTENTRY_BYTES);
    for (const [at, address] of [
      [RTENTRY_TARGET, prefix.address & maskOf(prefix.prefixLength)],
      [RTENTRY_MASK, maskOf(prefix.prefixLength)],
    ] as const) {
      entry.writeUInt16LE(AF_INET, at);
      setU32(entry, at + 4, address);
    }
    entry.writeUInt16LE(RTF_UP, RTENTRY_FLAGS);
    // The kernel reads the name through a pointer, and only memory that is mapped here has an address we know.
    const name = mmap(0, IFREQ_NAME_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (isMapFailed(name)) return errno();
    Buffer.from(viewMemory(name, IFREQ_NAME_BYTES)).write(this.name, 0);
    entry.writeBigUInt64LE(BigInt(name), RTENTRY_DEVICE);
    const result = ioctlBytes(this.fd, request, entry);
    const code = result === 0 ? 0 : errno();
    munmap(name, IFREQ_NAME_BYTES);
    return code;
  }

  private putAddress(address: Ipv4Address): void {
    this.request.fill(0, IFREQ_NAME_BYTES);
    this.request.writeUInt16LE(AF_INET, IFREQ_NAME_BYTES);
    setU32(this.request, IFREQ_ADDRESS, address);
  }

  private tryIoctl(request: number): number {
    return ioctlBytes(this.fd, request, this.request);
  }

  private ioctl(request: number, doing: string): void {
    if (this.tryIoctl(request) !== 0) throw this.error(doing);
  }

  private error(doing: string, failure = errno()): DeviceError {
    const code = errnoName(failure);
    if (code === 'EPERM') {
      return new DeviceError(code, `Cannot ${doing}: this needs root or the capability NET_ADMIN.`);
    }
    if (code === 'ENODEV') return new DeviceError(code, `Cannot ${doing}: there is no such interface.`);
    return new DeviceError(code, `Cannot ${doing}: ${code}.`);
  }
}

/** Name of an interface of this network namespace, up or down, that has this IPv4 address, or one of its prefix. */
export function kernelOwnsAddress(address: Ipv4Address, prefixLength = 32): string | undefined {
  const fd = openInetSocket();
  try {
    return findInterfaceOf(fd, address, maskOf(prefixLength));
  } finally {
    close(fd);
  }
}

/** Throws `DeviceError` when the kernel would answer for one of these addresses or prefixes as well as we. */
export function refuseKernelAddresses(addresses: readonly Ipv4Address[], prefixes: readonly Cidr[] = []): void {
  for (const { address, prefixLength } of prefixes) {
    const name = kernelOwnsAddress(address, prefixLength);
    if (name !== undefined) {
      throw new DeviceError(
        'EADDRINUSE',
        `An address of ${formatIpv4(address)}/${prefixLength} belongs to the kernel (on ${name}): choose a prefix that no interface is in.`,
      );
    }
  }
  for (const address of addresses) {
    const name = kernelOwnsAddress(address);
    if (name !== undefined) {
      throw new DeviceError(
        'EADDRINUSE',
        `The address ${formatIpv4(address)} belongs to the kernel (on ${name}): choose one that no interface has.`,
      );
    }
  }
}

/** struct ifconf: length (4), padding (4), address of an array of struct ifreq. */
const IFCONF_BYTES = 16;

function findInterfaceOf(fd: number, address: Ipv4Address, mask: number): string | undefined {
  const query = Buffer.alloc(IFCONF_BYTES);
  if (ioctlBytes(fd, SIOCGIFCONF, query) !== 0) throw listError();
  // room for as many again, in case some appear between the two calls
  const roomBytes = 2 * query.readInt32LE(0) + IFREQ_BYTES;
  const room = mmap(0, roomBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (isMapFailed(room)) throw listError();
  query.writeInt32LE(roomBytes, 0);
  query.writeUInt32LE(room % 2 ** 32, 8);
  query.writeUInt32LE(Math.floor(room / 2 ** 32), 12);
  const listed = ioctlBytes(fd, SIOCGIFCONF, query);
  const bytes = listed === 0 ? Buffer.from(new Uint8Array(viewMemory(room, roomBytes))) : Buffer.alloc(0);
  munmap(room, roomBytes);
  if (listed !== 0) throw listError();
  const end = query.readInt32LE(0);
  for (let at = 0; at + IFREQ_BYTES <= end; at += IFREQ_BYTES) {
    if (((i32(bytes, at + IFREQ_ADDRESS) ^ address) & mask) === 0) return interfaceRequestName(bytes, at);
  }
  return undefined;
}

function listError(): DeviceError {
  const code = errnoName(errno());
  return new DeviceError(code, `Cannot list the addresses of this machine: ${code}.`);
}

function openInetSocket(): number {
  const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    const code = errnoName(errno());
    throw new DeviceError(code, `Cannot open a socket to configure interfaces with: ${code}.`);
  }
  return fd;
}
