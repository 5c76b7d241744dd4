/** `exonet dut`: a device under test, whose socket calls somebody else makes through a UNIX socket. */
import { lstatSync } from 'node:fs';
import type { Host } from '../host/host.ts';
import { openHost } from '../host/open.ts';
import { PosixSockets } from '../sockets/posix/posix-sockets.ts';
import { formatIpv4 } from '../wire/address.ts';
import { NETWORK_ARGUMENTS, NETWORK_HELP, networkOptions, parseArguments, UsageError } from './arguments.ts';
import { hostCounters, logCounters, printCountersOnSignal } from './counters.ts';
import { exitWith } from './failures.ts';
import { onStopSignal } from './signals.ts';
import { SocketRpc } from './socket-rpc.ts';
import { readTcpSettings, TCP_ARGUMENTS, TCP_HELP } from './tcp-options.ts';

export const DUT_SUMMARY = 'let a tester make the socket calls of the stack, through a UNIX socket';

const HELP = `exonet dut --rpc PATH [options]

Puts the TCP/IP stack on a device and lets a tester on the other end of the wire make its socket calls: one
connection to the UNIX socket for each call, one line there ("socket 2 1 6"), one line back ("3 0"). Numbers are
Linux's, errors too.

  --rpc PATH              where the UNIX socket is made; it is removed at the end
${NETWORK_HELP}
${TCP_HELP}
  --help                  this text

Ctrl-C resets the connections and removes the device. SIGUSR1 prints what was counted so far; with --log-level info it
is logged at the end, too.`;

const ARGUMENTS = {
  ...NETWORK_ARGUMENTS,
  ...TCP_ARGUMENTS,
  rpc: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Of a sockaddr_un, less the terminating zero. */
const MAX_PATH_BYTES = 107;

/** Runs until a signal. Throws `UsageError`, `OptionError` or `DeviceError` before it serves. */
export function dut(args: readonly string[]): void {
  const values = parseArguments(args, ARGUMENTS);
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  const path = readPath(values.rpc);
  // A tester counts answers: none is for two segments that happened to come together.
  const options = { ...networkOptions(values), framesPerTurn: 1 };
  const host = openHost('dut', options, readTcpSettings(values));
  const sockets = new PosixSockets(host.tcp, host.arena);
  const rpc = new SocketRpc(sockets);
  const tidy = (): void => {
    rpc.close();
    host.close();
  };
  rpc.onError = (error) => exitWith(error, tidy);
  host.onDeviceFailure = (failure) => exitWith(failure, tidy);
  host.start();
  rpc.listen(path, () => announce(host, path));
  printCountersOnSignal(() => hostCounters(host));
  onStopSignal(async () => {
    logCounters(host, hostCounters(host));
    tidy();
  });
}

function readPath(path: string | undefined): string {
  if (path === undefined || path === '')
    throw new UsageError('--rpc PATH is missing: where is the UNIX socket to be made?');
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    throw new UsageError(`--rpc ${path}: a UNIX socket's path has at most ${MAX_PATH_BYTES} bytes.`);
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined && !found.isSocket())
    throw new UsageError(`--rpc ${path}: there is a file already that is no socket.`);
  return path;
}

function announce({ device, stack }: Host, path: string): void {
  console.log(`dut serves its socket calls at ${path} (${formatIpv4(stack.localAddress)}, ${device.name})`);
}
