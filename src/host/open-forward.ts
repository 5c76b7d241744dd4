/** Opens the devices that the options name and puts a forwarder on them; says in one sentence what is wrong when it cannot. */
import { type Device, DeviceError } from '../driver/device.ts';
import { Arena } from '../runtime/arena.ts';
import { MonotonicClock } from '../runtime/clock.ts';
import { collectLines, createLog } from '../runtime/log.ts';
import { SystemRandom } from '../runtime/random.ts';
import {
  type Balance,
  type Endpoint,
  type ForwarderLimits,
  formatEndpoint,
  type Mode,
  type Service,
} from '../servers/forwarder/settings.ts';
import { type Cidr, formatIpv4, isInNetwork } from '../wire/address.ts';
import { ForwardHost, type ForwardSideOptions } from './forward-host.ts';
import { ARENA_BYTES, capture, openDevice } from './open.ts';
import { addressesOf, type NetworkOptions, type OpenOptions, OptionError, readOptions } from './options.ts';

export interface OpenForwardOptions {
  /** One device or two. */
  readonly networks: readonly OpenOptions[];
  readonly services: readonly Service[];
  readonly mode: Mode;
  readonly balance: Balance;
  readonly limits?: Partial<ForwarderLimits> | undefined;
  /** See `ForwardHostOptions`. */
  readonly pollUs?: number | undefined;
}

/** Throws `OptionError`, `DeviceError`, or the file system's error for a capture file. */
export function openForwardHost(options: OpenForwardOptions): ForwardHost {
  const { services, mode, balance, limits, pollUs } = options;
  const networks = readNetworks(options);
  const logLevel = (networks[0] as NetworkOptions).logLevel;
  const clock = new MonotonicClock();
  const log = createLog(logLevel, collectLines());
  const arena = new Arena(ARENA_BYTES);
  const devices: Device[] = [];
  try {
    const sides = networks.map((network): ForwardSideOptions => {
      const opened = openDevice(arena, network);
      devices.push(opened);
      return { device: capture(opened, arena, network.pcap, clock, log), ...addressesOf(network) };
    });
    assertDistinct(devices);
    const logsFlows = logLevel === 'trace' || logLevel === 'debug' || logLevel === 'info';
    const flowLog = logsFlows ? log : null;
    return new ForwardHost({
      arena,
      clock,
      log,
      random: new SystemRandom(),
      sides,
      services,
      mode,
      balance,
      flowLog,
      limits,
      pollUs,
    });
  } catch (error) {
    for (const device of devices) device.close();
    throw error;
  }
}

/** The options of each device, with the services' further addresses, and ways to backends beyond the link. */
function readNetworks({ networks, services }: OpenForwardOptions): NetworkOptions[] {
  const read = networks.map((network) => withKernelAsGateway(readOptions(network)));
  const sources = read.map((): Cidr[] => []);
  for (const { listen, backends } of services) {
    if (!read.some(({ address }) => address.address === listen.address)) {
      const onLink = read.findIndex(({ address }) => isInNetwork(listen.address, address));
      const further = sources[Math.max(onLink, 0)] as Cidr[];
      if (!further.some(({ address }) => address === listen.address)) {
        further.push({ address: listen.address, prefixLength: 32 });
      }
    }
    for (const backend of backends) {
      assertNotOurs(backend, read, services);
      assertReachable(backend, read);
    }
  }
  for (const [index, { hostAddress }] of read.entries()) {
    const taken = (sources[index] as Cidr[]).find(({ address }) => address === hostAddress?.address);
    if (taken !== undefined) {
      throw new OptionError('listen', `${formatIpv4(taken.address)}: the kernel's end of the device has this address.`);
    }
  }
  return read.map((network, index) => ({ ...network, sources: sources[index] as Cidr[] }));
}

/** Behind a TAP device there is nobody but this machine's kernel, which knows the way to everywhere else. */
function withKernelAsGateway(network: NetworkOptions): NetworkOptions {
  const { gateway, hostAddress } = network;
  return gateway === undefined && hostAddress !== undefined ? { ...network, gateway: hostAddress.address } : network;
}

function assertNotOurs(backend: Endpoint, networks: readonly NetworkOptions[], services: readonly Service[]): void {
  const { address } = backend;
  const own = networks.some((network) => network.address.address === address);
  if (own || services.some(({ listen }) => listen.address === address)) {
    throw new OptionError('backend', `${formatEndpoint(backend)}: this is the forwarder's own address.`);
  }
}

function assertReachable(backend: Endpoint, networks: readonly NetworkOptions[]): void {
  const text = formatEndpoint(backend);
  const reachable = networks.some(
    (network) => isInNetwork(backend.address, network.address) || network.gateway !== undefined,
  );
  if (!reachable) {
    throw new OptionError('backend', `${text}: no device leads there; --gateway says where its network is behind.`);
  }
}

function assertDistinct(devices: readonly Device[]): void {
  const [first, second] = devices;
  if (first !== undefined && second !== undefined && first.name === second.name) {
    throw new DeviceError('EBUSY', `The device ${first.name} is named twice: one device needs to be named once.`);
  }
}
