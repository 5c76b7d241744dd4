/** `exonet forward`: sends TCP connections on to backends, segment by segment, from an exokernel of its own. */
import type { ForwardHost } from '../host/forward-host.ts';
import { openForwardHost } from '../host/open-forward.ts';
import { type OpenOptions, readLogLevel } from '../host/options.ts';
import {
  BALANCES,
  DEFAULT_LIMITS,
  type Endpoint,
  formatService,
  MODES,
  type Service,
} from '../servers/forwarder/settings.ts';
import { isInNetwork, parseCidr, parseIpv4 } from '../wire/address.ts';
import { NETWORK_ARGUMENTS, NETWORK_HELP, parseArguments, readInteger, readOrder, UsageError } from './arguments.ts';
import { exitOnDeviceFailure } from './failures.ts';
import { forwardSockets } from './forward-sockets.ts';
import { onStopSignal } from './signals.ts';
import { refuseWithSockets } from './socket-options.ts';

export const FORWARD_SUMMARY = 'send TCP connections on to backends';

const HELP = `exonet forward --listen IP:PORT --backend IP:PORT [--backend IP:PORT ...] [options]

Sends TCP connections on to backends, segment by segment: each end has the other's TCP before it.

  --listen IP:PORT        where connections are taken; the backends after it are its own
  --backend IP:PORT       where they go; may be repeated, and so may --listen with its backends
  --mode MODE             nat: backends see the forwarder's address and a leased port (default);
                          routed: they see the client's own, and have their way back through the forwarder
  --balance HOW           round-robin (default) or least-connections
  --max-flows NUMBER      connections at a time (default 65536)
  --max-half-open NUMBER  of them, those not established yet; beyond it the oldest gives way (default 8192)
  --rest-after NUMBER     a backend that so many connections in a row could not be opened to rests for five seconds, unless
                          all do (default 3; 0: never)
  --no-polling            sleep until a frame arrives: less processor time, and each burst of frames waits for a wake-up
  --sockets               use the kernel's sockets instead, two for each connection: a proxy that ends TCP, for comparison
${NETWORK_HELP.replace('(default warn)', '(default info, with a line for every flow)')}
  --help                  this text

Two devices, one towards clients and one towards backends: repeat --device and --address, and --host-address, --mtu, --mac
and --pcap in the same order where they are given. A --gateway belongs to the device on whose network it is; behind a TAP
device that has none it is the kernel. A service may listen at an address that no device has been given: it gets it.

Ctrl-C removes the devices; connections then end by their own time-outs.`;

const ARGUMENTS = {
  ...NETWORK_ARGUMENTS,
  device: { type: 'string', multiple: true },
  address: { type: 'string', multiple: true },
  'host-address': { type: 'string', multiple: true },
  gateway: { type: 'string', multiple: true },
  mtu: { type: 'string', multiple: true },
  mac: { type: 'string', multiple: true },
  pcap: { type: 'string', multiple: true },
  listen: { type: 'string', multiple: true },
  backend: { type: 'string', multiple: true },
  mode: { type: 'string', default: 'nat' },
  balance: { type: 'string', default: 'round-robin' },
  'max-flows': { type: 'string', default: '65536' },
  'max-half-open': { type: 'string' },
  'rest-after': { type: 'string' },
  'no-polling': { type: 'boolean' },
  sockets: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

const MAX_DEVICES = 2;
const MAX_FLOWS = 1_000_000;

type Values = ReturnType<typeof parseArguments<typeof ARGUMENTS>>;

/** Runs until a signal. Throws `UsageError`, `OptionError`, `DeviceError` or the file system's error before it forwards. */
export function forward(args: readonly string[]): void {
  const values = parseArguments(args, ARGUMENTS);
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  const services = readServices(readOrder(args, ARGUMENTS, ['listen', 'backend']));
  const mode = readChoice('mode', values.mode, MODES);
  const balance = readChoice('balance', values.balance, BALANCES);
  const maxFlows = readInteger('max-flows', values['max-flows'], 1, MAX_FLOWS);
  if (values.sockets === true) {
    if (mode !== 'nat') throw new UsageError(`--mode ${mode}: with --sockets backends see the proxy's address.`);
    refuseWithSockets(
      values,
      [...Object.keys(NETWORK_ARGUMENTS), 'max-half-open', 'rest-after', 'no-polling'],
      ['log-level'],
    );
    forwardSockets({
      services,
      balance,
      maxConnections: maxFlows,
      logLevel: readLogLevel(values['log-level'] ?? 'info'),
    });
    return;
  }
  const limits = {
    maxFlows,
    maxHalfOpen: readInteger('max-half-open', values['max-half-open'] ?? `${DEFAULT_LIMITS.maxHalfOpen}`, 1, MAX_FLOWS),
    restAfter: readInteger('rest-after', values['rest-after'] ?? `${DEFAULT_LIMITS.restAfter}`, 0, MAX_FLOWS),
  };
  const pollUs = values['no-polling'] === true ? 0 : undefined;
  const host = openForwardHost({ networks: readNetworks(values), services, mode, balance, limits, pollUs });
  exitOnDeviceFailure(host);
  host.start();
  announce(host, services);
  onStopSignal(async () => host.close());
}

function readServices(order: readonly { readonly name: string; readonly value: string }[]): Service[] {
  const services: { listen: Endpoint; backends: Endpoint[]; text: string }[] = [];
  for (const { name, value } of order) {
    const endpoint = readEndpoint(name, value);
    if (name === 'listen') {
      if (services.some(({ listen }) => listen.address === endpoint.address && listen.port === endpoint.port)) {
        throw new UsageError(`--listen ${value}: given twice; its backends are to follow one of them.`);
      }
      services.push({ listen: endpoint, backends: [], text: value });
    } else {
      const service = services.at(-1);
      if (service === undefined) throw new UsageError(`--backend ${value}: a --listen has to stand before it.`);
      service.backends.push(endpoint);
    }
  }
  if (services.length === 0) throw new UsageError('--listen IP:PORT is missing: where are connections to be taken?');
  const alone = services.find(({ backends }) => backends.length === 0);
  if (alone !== undefined) throw new UsageError(`--listen ${alone.text}: a --backend IP:PORT has to follow it.`);
  return services;
}

function readEndpoint(option: string, text: string): Endpoint {
  const [address = '', port = '', ...rest] = text.split(':');
  const parsed = parseIpv4(address);
  const number = Number(port);
  if (parsed === undefined || rest.length > 0 || !/^\d{1,5}$/.test(port) || number < 1 || number > 65_535) {
    throw new UsageError(`--${option} ${text}: must be an address and a port, like 10.90.0.2:80.`);
  }
  return { address: parsed, port: number };
}

function readChoice<Choice extends string>(option: string, text: string, choices: readonly Choice[]): Choice {
  const choice = choices.find((name) => name === text);
  if (choice === undefined) throw new UsageError(`--${option} ${text}: must be ${choices.join(' or ')}.`);
  return choice;
}

/** What is given for each device: by its place among options of the same name, a gateway by the network that it is on. */
function readNetworks(values: Values): OpenOptions[] {
  const count = values.device?.length ?? 1;
  if (count > MAX_DEVICES) throw new UsageError(`--device ${values.device?.[MAX_DEVICES]}: there can be two devices.`);
  for (const option of ['address', 'host-address', 'mtu', 'mac', 'pcap'] as const) {
    const given = values[option]?.length ?? 0;
    if (given > count) throw new UsageError(`--${option} ${values[option]?.at(-1)}: there is no --device for it.`);
    if (option === 'address' && count > 1 && given < count) {
      throw new UsageError('--address CIDR is missing: each of two devices has one of its own.');
    }
  }
  const networks: OpenOptions[] = [];
  for (let index = 0; index < count; index++) {
    const mtu = values.mtu?.[index];
    networks.push({
      device: values.device?.[index],
      address: values.address?.[index],
      hostAddress: values['host-address']?.[index],
      mtu: mtu === undefined ? undefined : readInteger('mtu', mtu, 0, Number.MAX_SAFE_INTEGER),
      mac: values.mac?.[index],
      offload: values['no-offload'] !== true,
      pcap: values.pcap?.[index],
      logLevel: values['log-level'] ?? 'info',
    });
  }
  const gateways = values.gateway ?? [];
  return networks.map((network, index) => ({ ...network, gateway: findGateway(gateways, networks, index) }));
}

/** The gateway on the network of a device; one that is on no network is the first device's, whose options refuse it. */
function findGateway(gateways: readonly string[], networks: readonly OpenOptions[], index: number): string | undefined {
  const cidrs = networks.map(({ address }) => (address === undefined ? undefined : parseCidr(address)));
  return gateways.find((text) => {
    const gateway = parseIpv4(text);
    const owner = cidrs.findIndex((cidr) => gateway !== undefined && cidr !== undefined && isInNetwork(gateway, cidr));
    return Math.max(owner, 0) === index;
  });
}

function announce(host: ForwardHost, services: readonly Service[]): void {
  const devices = host.devices.map((device) => `${device.name}, MTU ${device.mtuBytes}`).join('; ');
  for (const service of services) console.log(`forward takes ${formatService(service)} (${devices})`);
}
