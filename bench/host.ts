/**
 * A host as the commands make it, but one that has run for an hour: the time has outgrown the engine's small integers by
 * then, and whatever passes it about may allocate. And what a host counts, as the bench wants to know it.
 */
import { openTap } from '../src/driver/tap.ts';
import { Host, type HostOptions } from '../src/host/host.ts';
import { ARENA_BYTES } from '../src/host/open.ts';
import { addressesOf, readOptions } from '../src/host/options.ts';
import { Arena } from '../src/runtime/arena.ts';
import { type Clock, MonotonicClock } from '../src/runtime/clock.ts';
import { inlineAcrossLayers } from '../src/runtime/engine.ts';
import { createLog } from '../src/runtime/log.ts';
import { SystemRandom } from '../src/runtime/random.ts';
import { deviceWork, type Work } from './control.ts';

const AGE_US = 3600 * 1_000_000;

class AgedClock implements Clock {
  private readonly clock = new MonotonicClock();

  nowUs(): number {
    return this.clock.nowUs() + AGE_US;
  }

  wallMs(): number {
    return this.clock.wallMs();
  }
}

export interface AgedHostOptions extends Pick<HostOptions, 'tcpSettings' | 'pollUs'> {
  readonly offload?: boolean;
}

/** Opens a host on a TAP device; the arguments are those of a server's command line behind the directory. */
export function openAgedHost(name: string, args: readonly string[], more: AgedHostOptions = {}): Host {
  const [device, address, hostAddress] = args;
  const { offload = true, tcpSettings, pollUs } = more;
  inlineAcrossLayers();
  const options = readOptions({ device: `tap:${device}`, address, hostAddress });
  const arena = new Arena(ARENA_BYTES);
  return new Host({
    name,
    arena,
    device: openTap({
      name: options.interfaceName,
      arena,
      hostAddress: options.hostAddress ?? options.address,
      offload,
    }),
    clock: new AgedClock(),
    random: new SystemRandom(),
    log: createLog(options.logLevel),
    ...addressesOf(options),
    gateway: options.hostAddress?.address,
    tcpSettings,
    pollUs,
  });
}

export function hostWork(host: Host, requests: number): Work {
  return {
    ...deviceWork(host.device.counters),
    requests,
    turns: host.reactor.counters.get('slices'),
    summedBytes: host.tcp.counters.get('payloadBytesSummed'),
    copiedBytes: host.tcp.receiveQueues.copiedBytes,
  };
}
