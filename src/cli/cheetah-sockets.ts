/** `exonet cheetah --sockets`: the same server over node:net, whose events are its turns. */
import { ARENA_BYTES } from '../host/open.ts';
import { Arena } from '../runtime/arena.ts';
import { createLog } from '../runtime/log.ts';
import { TimerLoop } from '../runtime/timer-loop.ts';
import { type SocketConnection, SocketTransport } from '../servers/baseline/socket-transport.ts';
import { Cheetah } from '../servers/cheetah/cheetah.ts';
import type { Specialisations } from '../servers/cheetah/specialisations.ts';
import { printCountersOnSignal } from './counters.ts';
import { exitWith } from './failures.ts';
import { onStopSignal } from './signals.ts';
import type { SocketOptions } from './socket-options.ts';

export interface CheetahSocketsOptions extends SocketOptions {
  readonly root: string;
  readonly port: number;
  readonly cacheBytes: number;
  readonly specialisations: Specialisations;
}

/** Runs until a signal. A port that cannot be listened at is one sentence, and exit code 1. */
export function cheetahSockets(options: CheetahSocketsOptions): void {
  const { host, port, root, cacheBytes, specialisations } = options;
  const log = createLog(options.logLevel);
  const arena = new Arena(ARENA_BYTES);
  const loop = new TimerLoop();
  const { clock, timers } = loop;
  const transport = new SocketTransport({
    host,
    arena,
    clock,
    timers,
    afterEvent: () => loop.eventHandled(),
    onListening: () => console.log(`cheetah serves ${root} at ${urlOf(host, port)} (sockets)`),
    onError: exitWith,
  });
  loop.onTurn = () => transport.flush();
  const server: Cheetah<SocketConnection> = new Cheetah({
    root,
    tcp: transport,
    arena,
    clock,
    timers,
    log,
    wake: () => {
      transport.flush();
      loop.wake();
    },
    port,
    cacheBytes,
    specialisations,
  });
  server.start();
  loop.start();
  const counters = () => ({ cheetah: server.snapshot(), sockets: { ...transport.counters } });
  printCountersOnSignal(counters);
  onStopSignal(async () => {
    await server.close();
    log.info({ counters: counters() }, 'what was counted');
    loop.stop();
    arena.close();
  });
}

function urlOf(host: string, port: number): string {
  return `http://${host}${port === 80 ? '' : `:${port}`}/`;
}
