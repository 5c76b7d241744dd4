/** What a host is to be opened with: which device, whose addresses, what may be left to the kernel; as people write it. */
import { LocalAddresses } from '../libos/local-addresses.ts';
import type { StackAddresses } from '../libos/stack.ts';
import { LOG_LEVELS, type LogLevel } from '../runtime/log.ts';
import {
  type Cidr,
  formatIpv4,
  type Ipv4Address,
  isBroadcast,
  isInNetwork,
  isLoopback,
  isMulticast,
  isMulticastMac,
  type MacAddress,
  maskOf,
  parseCidr,
  parseIpv4,
  parseMac,
} from '../wire/address.ts';

/** An option that cannot be as it was given; `problem` says why, in a sentence that follows the option's name. */
export class OptionError extends RangeError {
  override readonly name = 'OptionError';
  readonly option: string;
  readonly problem: string;

  constructor(option: string, problem: string) {
    super(`${option} ${problem}`);
    this.option = option;
    this.problem = problem;
  }
}

export interface OpenOptions {
  /** `tap:NAME`, made if it does not exist (default `tap:exo0`), or `packet:NAME`, an existing Ethernet interface. */
  readonly device?: string | undefined;
  /** Address of the stack with its prefix (default `10.90.0.2/24`). */
  readonly address?: string | undefined;
  /** Address of the kernel's end of a TAP (default `10.90.0.1/24`). */
  readonly hostAddress?: string | undefined;
  /** Where packets for other networks go (default: nowhere). */
  readonly gateway?: string | undefined;
  /** Longest IP packet in bytes (default 1500, or what the device has). */
  readonly mtu?: number | undefined;
  /** Prefixes the stack has as well as its address, for clients with many: `10.91.0.0/24`, several separated by commas. */
  readonly sources?: string | undefined;
  /** MAC address of the stack (default: 02:00 and the address). */
  readonly mac?: string | undefined;
  /** Leave checksums and segmentation to the kernel where it takes them (default true). */
  readonly offload?: boolean | undefined;
  /** File that every frame is written to. */
  readonly pcap?: string | undefined;
  /** Default `warn`. */
  readonly logLevel?: string | undefined;
  /** How long a busy host looks for frames before it sleeps, microseconds (default 100); 0: it always sleeps. */
  readonly pollUs?: number | undefined;
  /** Frames that a turn receives at most; with 1, each is answered by itself (default: what is waiting). */
  readonly framesPerTurn?: number | undefined;
  /** How long before a deadline the host stays awake to meet it, microseconds (default 0). */
  readonly beforeDeadlineUs?: number | undefined;
}

/** The same, checked and understood. */
export interface NetworkOptions {
  readonly deviceKind: 'tap' | 'packet';
  readonly interfaceName: string;
  readonly address: Cidr;
  /** The kernel's end of a TAP; undefined for a packet socket. */
  readonly hostAddress: Cidr | undefined;
  readonly gateway: Ipv4Address | undefined;
  readonly sources: readonly Cidr[];
  readonly mtu: number | undefined;
  readonly mac: MacAddress;
  readonly offload: boolean;
  readonly pcap: string | undefined;
  readonly logLevel: LogLevel;
}

const DEFAULT_DEVICE = 'tap:exo0';
const DEFAULT_ADDRESS = '10.90.0.2/24';
const DEFAULT_LOG_LEVEL = 'warn';
const DEFAULT_HOST_ADDRESS = '10.90.0.1/24';
/** IFNAMSIZ, less the terminating zero. */
const MAX_INTERFACE_NAME = 15;
const MIN_MTU_BYTES = 576;
const MAX_MTU_BYTES = 65_521;
/** Locally administered, not a group's: 02:00, then the IPv4 address. */
const OWN_MAC_HI = 0x0200;

/** Throws `OptionError`. */
export function readOptions(options: OpenOptions): NetworkOptions {
  const { deviceKind, interfaceName } = readDevice(options.device ?? DEFAULT_DEVICE);
  const address = readHostCidr('address', options.address ?? DEFAULT_ADDRESS);
  const hostAddress = readHostAddress(deviceKind, options.hostAddress, address);
  return {
    deviceKind,
    interfaceName,
    address,
    hostAddress,
    gateway: readGateway(options.gateway, address),
    sources: readSources(options.sources, address, hostAddress),
    mtu: readMtu(options.mtu),
    mac: readMac(options.mac, address.address),
    offload: options.offload ?? true,
    pcap: options.pcap,
    logLevel: readLogLevel(options.logLevel),
  };
}

/** What of it a stack is made with. */
export function addressesOf({ address, sources, gateway, mac }: NetworkOptions): StackAddresses {
  return {
    address: address.address,
    prefixLength: address.prefixLength,
    sources,
    gateway,
    macHi: mac.hi,
    macLo: mac.lo,
  };
}

function readMtu(mtu: number | undefined): number | undefined {
  if (mtu === undefined) return undefined;
  if (Number.isInteger(mtu) && mtu >= MIN_MTU_BYTES && mtu <= MAX_MTU_BYTES) return mtu;
  throw new OptionError('mtu', `${mtu}: must be a whole number from ${MIN_MTU_BYTES} to ${MAX_MTU_BYTES}.`);
}

function readDevice(text: string): Pick<NetworkOptions, 'deviceKind' | 'interfaceName'> {
  const match = /^(tap|packet):(.+)$/.exec(text);
  const kind = match?.[1];
  const name = match?.[2] ?? '';
  if (kind === undefined) throw new OptionError('device', `${text}: must be tap:NAME or packet:NAME.`);
  if (name.length > MAX_INTERFACE_NAME || !/^[A-Za-z0-9_.-]+$/.test(name) || name === '.' || name === '..') {
    throw new OptionError(
      'device',
      `${text}: ${name} is no name for an interface (at most 15 letters, digits, _ . -).`,
    );
  }
  return { deviceKind: kind === 'tap' ? 'tap' : 'packet', interfaceName: name };
}

function readHostCidr(option: string, text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined)
    throw new OptionError(option, `${text}: must be an address and its prefix, like 10.90.0.2/24.`);
  const { address, prefixLength } = cidr;
  const hostBits = address & ~maskOf(prefixLength);
  const isNetwork = prefixLength < 31 && (hostBits === 0 || hostBits === ~maskOf(prefixLength));
  if (isNetwork || !isUnicast(address))
    throw new OptionError(option, `${text}: this is no address that a host can have.`);
  return cidr;
}

function readHostAddress(kind: 'tap' | 'packet', text: string | undefined, address: Cidr): Cidr | undefined {
  if (kind === 'packet') {
    if (text !== undefined)
      throw new OptionError('hostAddress', 'is for TAP devices; an existing interface keeps its own.');
    return undefined;
  }
  const host = readHostCidr('hostAddress', text ?? DEFAULT_HOST_ADDRESS);
  if (host.address === address.address) {
    throw new OptionError('hostAddress', `${formatIpv4(host.address)}: the stack has this address itself.`);
  }
  if (!isInNetwork(host.address, address) || !isInNetwork(address.address, host)) {
    const both = `${formatIpv4(address.address)}/${address.prefixLength} and ${formatIpv4(host.address)}/${host.prefixLength}`;
    throw new OptionError('hostAddress', `must be on one network with the address; ${both} are not.`);
  }
  return host;
}

function readGateway(text: string | undefined, address: Cidr): Ipv4Address | undefined {
  if (text === undefined) return undefined;
  const gateway = parseIpv4(text);
  if (gateway === undefined) throw new OptionError('gateway', `${text}: must be an address like 10.90.0.1.`);
  if (!isInNetwork(gateway, address) || gateway === address.address || !isUnicast(gateway)) {
    throw new OptionError('gateway', `${text}: must be another host of the network of the address.`);
  }
  return gateway;
}

function readSources(text: string | undefined, address: Cidr, hostAddress: Cidr | undefined): Cidr[] {
  if (text === undefined) return [];
  const sources = text.split(',').map((part) => readSource(part.trim()));
  for (const source of sources) {
    const taken = [address, hostAddress].find((one) => one !== undefined && isInNetwork(one.address, source));
    if (taken === undefined) continue;
    throw new OptionError('sources', `${text}: ${formatIpv4(taken.address)} is in use already.`);
  }
  try {
    new LocalAddresses(address.address, sources);
  } catch (error) {
    throw new OptionError('sources', `${(error as Error).message}.`);
  }
  return sources;
}

function readSource(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new OptionError('sources', `${text}: must be a prefix like 10.91.0.0/24.`);
  if ((cidr.address & ~maskOf(cidr.prefixLength)) !== 0) {
    const network = formatIpv4(cidr.address & maskOf(cidr.prefixLength));
    throw new OptionError('sources', `${text}: the prefix begins with ${network}/${cidr.prefixLength}.`);
  }
  if (!isUnicast(cidr.address)) throw new OptionError('sources', `${text}: these are no addresses of hosts.`);
  return cidr;
}

function readMac(text: string | undefined, address: Ipv4Address): MacAddress {
  if (text === undefined) return { hi: OWN_MAC_HI, lo: address };
  const mac = parseMac(text);
  if (mac === undefined) throw new OptionError('mac', `${text}: must be six bytes like 02:00:0a:5a:00:02.`);
  if (isMulticastMac(mac.hi) || (mac.hi === 0 && mac.lo === 0)) {
    throw new OptionError(
      'mac',
      `${text}: this is a group's address, or none at all; one host's begins with 02, for example.`,
    );
  }
  return mac;
}

/** The level of a log, `warn` unless it is given. Throws `OptionError`. */
export function readLogLevel(text: string = DEFAULT_LOG_LEVEL): LogLevel {
  const level = LOG_LEVELS.find((name) => name === text);
  if (level === undefined) throw new OptionError('logLevel', `${text}: must be one of ${LOG_LEVELS.join(', ')}.`);
  return level;
}

function isUnicast(address: Ipv4Address): boolean {
  return address >>> 24 !== 0 && !isLoopback(address) && !isMulticast(address) && !isBroadcast(address);
}
