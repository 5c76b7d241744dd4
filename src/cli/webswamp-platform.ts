/** What webswamp's engine runs on: our own stack on a device, or, for comparison, the kernel's sockets. */
import { openHost } from '../host/open.ts';
import { nonZero } from '../runtime/counters.ts';
import { REACTOR_EMPTY_POLL_US } from '../runtime/reactor.ts';
import { TimerLoop } from '../runtime/timer-loop.ts';
import type { TimerWheel } from '../runtime/timer-wheel.ts';
import type { TurnClock } from '../runtime/turn-clock.ts';
import { SocketClient, type SocketConnection } from '../servers/webswamp/socket-client.ts';
import { FilteringTcpClient, TcpClient } from '../servers/webswamp/tcp-client.ts';
import type { ClientTransport } from '../servers/webswamp/transport.ts';
import type { Tcb } from '../tcp/tcb.ts';
import { formatIpv4 } from '../wire/address.ts';
import { networkOptions } from './arguments.ts';
import { exitOnDeviceFailure } from './failures.ts';
import type { Choice } from './webswamp-arguments.ts';

/** The open loop's requests leave when they are due, and not when a timer of the platform's, a millisecond long, ends. */
const AWAKE_BEFORE_DUE_US = 1500;
/** For the prepared requests, of which there are two. */
const SOCKET_MEMORY_BYTES = 1024 * 1024;

export interface Platform<Connection> {
  readonly transport: ClientTransport<Connection>;
  readonly clock: TurnClock;
  readonly timers: TimerWheel;
  readonly memory: { readonly bytes: Uint8Array; allocate(bytes: number): number };
  readonly wake: () => void;
  /** Time so far in which it looked for frames and found none, microseconds: it could have worked. */
  polledUs(): number;
  /** Whether the first connections may be opened; asked again and again until then. */
  isReady(): boolean;
  counters(): Record<string, Record<string, number>>;
  start(): void;
  close(): void;
}

/** Throws `OptionError` or `DeviceError`. */
export function openStack(choice: Choice): Platform<Tcb> {
  const options = {
    ...networkOptions(choice.values),
    sources: choice.sources,
    pollUs: choice.polls ? undefined : 0,
    beforeDeadlineUs: choice.plan.requestsPerSecond > 0 ? AWAKE_BEFORE_DUE_US : 0,
  };
  const host = openHost('webswamp', options, choice.tcpSettings);
  const { arena, stack, tcp, kernel, device } = host;
  exitOnDeviceFailure(host);
  const Client = choice.values['no-single-filter'] === true ? FilteringTcpClient : TcpClient;
  const transport = new Client(tcp, choice.address, choice.port);
  return {
    transport,
    clock: stack.clock,
    timers: stack.timers,
    memory: arena,
    wake: () => stack.wake(),
    polledUs: () => host.reactor.counters.values[REACTOR_EMPTY_POLL_US] as number,
    isReady: () => {
      const found = transport.findServer();
      stack.wake();
      return found;
    },
    counters: () => ({
      tcp: { ...tcp.counters.snapshot(), payloadBytesCopied: tcp.receiveQueues.copiedBytes },
      environment: {
        ...stack.environment.counters.snapshot(),
        filters: stack.environment.claimed,
        connectionFilters: transport instanceof FilteringTcpClient ? transport.filtersClaimed : 0,
      },
      reactor: host.reactor.counters.snapshot(),
      exokernel: kernel.counters.snapshot(),
      device: { ...device.counters },
      drops: nonZero(stack.drops.snapshot()),
    }),
    start: () => host.start(),
    close: () => host.close(),
  };
}

/** The same engine over node:net, whose events are its turns. */
export function openSockets(choice: Choice): Platform<SocketConnection> {
  const loop = new TimerLoop();
  const { clock, timers } = loop;
  const bytes = new Uint8Array(SOCKET_MEMORY_BYTES);
  let used = 0;
  const transport = new SocketClient({
    host: formatIpv4(choice.address),
    port: choice.port,
    bytes,
    clock,
    afterEvent: () => loop.eventHandled(),
  });
  return {
    transport,
    clock,
    timers,
    memory: {
      bytes,
      allocate: (length) => {
        const at = used;
        used += length;
        return at;
      },
    },
    wake: () => loop.wake(),
    polledUs: () => 0,
    isReady: () => true,
    counters: () => ({ sockets: { ...transport.counters } }),
    start: () => loop.start(),
    close: () => loop.stop(),
  };
}
