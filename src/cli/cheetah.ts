/** `exonet cheetah`: serves the files of a directory over HTTP from a stack of its own. */
import { statSync } from 'node:fs';
import { createCheetah } from '../host/create-cheetah.ts';
import type { Host } from '../host/host.ts';
import { openHost } from '../host/open.ts';
import { readLogLevel } from '../host/options.ts';
import type { Cheetah } from '../servers/cheetah/cheetah.ts';
import { tcpSettingsOf } from '../servers/cheetah/specialisations.ts';
import type { Tcb } from '../tcp/tcb.ts';
import { formatIpv4 } from '../wire/address.ts';
import {
  NETWORK_ARGUMENTS,
  NETWORK_HELP,
  networkOptions,
  parseArguments,
  readInteger,
  UsageError,
} from './arguments.ts';
import { cheetahSockets } from './cheetah-sockets.ts';
import { hostCounters, logCounters, printCountersOnSignal } from './counters.ts';
import { exitOnDeviceFailure } from './failures.ts';
import { onStopSignal } from './signals.ts';
import { readHostAddress, refuseWithSockets, type SocketOptions } from './socket-options.ts';
import { readSpecialisations, SPECIALISATION_ARGUMENTS, SPECIALISATION_HELP } from './specialisations.ts';
import { readTcpSettings, TCP_ARGUMENTS, TCP_HELP } from './tcp-options.ts';

export const CHEETAH_SUMMARY = 'serve the files of a directory over HTTP';

const HELP = `exonet cheetah --root DIR [options]

Serves the files of a directory over HTTP from a TCP/IP stack of its own.

  --root DIR              the directory to serve
  --port PORT             TCP port (default 80)
  --cache-size MIB        memory for file contents (default 256)
  --sockets               use the kernel's sockets instead: the same program, for comparison; --address is then
                          where it listens (default 0.0.0.0), and nothing else of the network is ours to choose
${NETWORK_HELP}
${TCP_HELP}
  --help                  this text

${SPECIALISATION_HELP}

Ctrl-C finishes the responses under way and removes the device; a second Ctrl-C ends at once. SIGUSR1 prints
what was counted so far; with --log-level info it is logged at the end, too.`;

const ARGUMENTS = {
  ...NETWORK_ARGUMENTS,
  ...TCP_ARGUMENTS,
  ...SPECIALISATION_ARGUMENTS,
  root: { type: 'string' },
  port: { type: 'string', default: '80' },
  'cache-size': { type: 'string', default: '256' },
  sockets: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

const MIB = 1024 * 1024;
const MAX_CACHE_MIB = 1024;

/** Runs until a signal. Throws `UsageError`, `OptionError`, `DeviceError` or the file system's error before it serves. */
export function cheetah(args: readonly string[]): void {
  const values = parseArguments(args, ARGUMENTS);
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  const root = readRoot(values.root);
  const port = readInteger('port', values.port, 1, 65_535);
  const cacheBytes = readInteger('cache-size', values['cache-size'], 1, MAX_CACHE_MIB) * MIB;
  const specialisations = readSpecialisations(values);
  if (values.sockets === true) {
    cheetahSockets({ root, port, cacheBytes, specialisations, ...readSocketOptions(values) });
    return;
  }
  const tcpSettings = readTcpSettings(values);
  const network = { ...networkOptions(values), pollUs: specialisations.polling ? undefined : 0 };
  const host = openHost('cheetah', network, { ...tcpSettings, ...tcpSettingsOf(specialisations) });
  let server: Cheetah<Tcb>;
  try {
    server = createCheetah(host, { root, port, cacheBytes, specialisations });
    server.start();
  } catch (error) {
    host.close();
    throw error;
  }
  exitOnDeviceFailure(host);
  host.start();
  const counters = () => ({ cheetah: server.snapshot(), ...hostCounters(host) });
  printCountersOnSignal(counters);
  announce(host, root, port);
  onStopSignal(async () => {
    await server.close();
    logCounters(host, counters());
    host.close();
  });
}

/** What of the network's options means something to sockets; the others are refused. */
function readSocketOptions(values: ReturnType<typeof parseArguments<typeof ARGUMENTS>>): SocketOptions {
  refuseWithSockets(
    values,
    [...Object.keys(NETWORK_ARGUMENTS), ...Object.keys(TCP_ARGUMENTS)],
    ['address', 'log-level'],
  );
  return { host: readHostAddress(values.address), logLevel: readLogLevel(values['log-level']) };
}

function readRoot(root: string | undefined): string {
  if (root === undefined) throw new UsageError('--root DIR is missing: which directory is to be served?');
  const found = statSync(root, { throwIfNoEntry: false });
  if (found === undefined) throw new UsageError(`--root ${root}: there is no such directory.`);
  if (!found.isDirectory()) throw new UsageError(`--root ${root}: this is not a directory.`);
  return root;
}

function announce(host: Host, root: string, port: number): void {
  const { device, stack } = host;
  const url = `http://${formatIpv4(stack.localAddress)}${port === 80 ? '' : `:${port}`}/`;
  const offload = device.features.transmitChecksum ? 'offload on' : 'offload off';
  console.log(
    `cheetah serves ${root} at ${url} (${device.name}, MTU ${device.mtuBytes}, ${offload}); try: curl ${url}`,
  );
}
