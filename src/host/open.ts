/** Opens the device that the options name and puts a host on it; says in one sentence what is missing when it cannot. */
import { type Device, DeviceError } from '../driver/device.ts';
import { refuseKernelAddresses } from '../driver/interface-config.ts';
import { openPacketSocket, type PacketSocketDevice } from '../driver/packet-socket.ts';
import { PcapTee } from '../driver/pcap.ts';
import { openTap, type TapDevice } from '../driver/tap.ts';
import { Arena } from '../runtime/arena.ts';
import { type Clock, MonotonicClock } from '../runtime/clock.ts';
import { createLog, type Log } from '../runtime/log.ts';
import { SystemRandom } from '../runtime/random.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { type Trace, traceLines } from '../tcp/trace.ts';
import { Host } from './host.ts';
import { addressesOf, type NetworkOptions, type OpenOptions, readOptions } from './options.ts';

/** Address space, not memory: pages that nobody touches cost nothing. */
export const ARENA_BYTES = 1536 * 1024 * 1024;

const THREE_WAYS_OUT =
  'run it with sudo, or in a container with docker run --cap-add NET_ADMIN --device /dev/net/tun, or without any right by make run-rootless';

/** Opens a host on a real device. Throws `OptionError`, `DeviceError`, or the file system's error for the capture file. */
export function openHost(name: string, openOptions: OpenOptions = {}, tcpSettings: Partial<TcpSettings> = {}): Host {
  const options = readOptions(openOptions);
  const clock = new MonotonicClock();
  const log = createLog(options.logLevel);
  const arena = new Arena(ARENA_BYTES);
  const opened = openDevice(arena, options);
  try {
    const device = capture(opened, arena, options.pcap, clock, log);
    return new Host({
      name,
      arena,
      device,
      clock,
      random: new SystemRandom(),
      log,
      ...addressesOf(options),
      tcpSettings: options.logLevel === 'trace' ? { trace: traceToLog(log), ...tcpSettings } : tcpSettings,
      pollUs: openOptions.pollUs,
      framesPerTurn: openOptions.framesPerTurn,
      beforeDeadlineUs: openOptions.beforeDeadlineUs,
    });
  } catch (error) {
    opened.close();
    throw error;
  }
}

/** TCP's decisions as lines of the log. */
function traceToLog(log: Log): Trace {
  return traceLines((line) => log.trace({ decision: line }, 'tcp has decided'));
}

/** The device with a capture file behind it, if one is asked for. */
export function capture(device: Device, arena: Arena, path: string | undefined, clock: Clock, log: Log): Device {
  if (path === undefined) return device;
  const tee = new PcapTee(device, arena.bytes, path, clock);
  if (tee.writer.error !== null) throw tee.writer.error;
  tee.writer.onError = (error) =>
    log.warn({ path, error: error.message }, 'the capture ends here: its file takes no more');
  return tee;
}

/** Opens the device alone. Throws `DeviceError`. */
export function openDevice(arena: Arena, options: NetworkOptions): TapDevice | PacketSocketDevice {
  const { interfaceName, address, hostAddress, sources, mac, mtu, offload } = options;
  const shared = { name: interfaceName, arena, offload, ...(mtu === undefined ? {} : { mtu }) };
  try {
    if (options.deviceKind === 'packet')
      return openPacketSocket({ ...shared, addresses: [address.address], sources, mac });
    refuseKernelAddresses([address.address], sources);
    return openTap({ ...shared, sources, ...(hostAddress === undefined ? {} : { hostAddress }) });
  } catch (error) {
    if (!(error instanceof DeviceError) || (error.code !== 'EPERM' && error.code !== 'EACCES')) throw error;
    throw new DeviceError(error.code, `${error.message.replace(/[.:;]$/, '')}: ${THREE_WAYS_OUT}.`);
  }
}
