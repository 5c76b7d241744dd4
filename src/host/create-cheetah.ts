/** Puts Cheetah on a host: over its TCP, in its turns, with its memory. */
import type { Log } from '../runtime/log.ts';
import { Cheetah, type CheetahOptions } from '../servers/cheetah/cheetah.ts';
import { TcpTransport } from '../servers/http/tcp-transport.ts';
import type { Tcb } from '../tcp/tcb.ts';
import type { Host } from './host.ts';

type OfHost = 'tcp' | 'arena' | 'clock' | 'timers' | 'wake' | 'log';

export interface HostedCheetahOptions extends Omit<CheetahOptions<Tcb>, OfHost> {
  /** Instead of the host's. */
  readonly log?: Log | undefined;
}

/** Throws as `Cheetah` does; the server has not been started. */
export function createCheetah(host: Host, options: HostedCheetahOptions): Cheetah<Tcb> {
  const { arena, stack, tcp } = host;
  return new Cheetah({
    ...options,
    tcp: new TcpTransport(tcp),
    arena,
    clock: stack.clock,
    timers: stack.timers,
    log: options.log ?? stack.log,
    wake: () => stack.wake(),
  });
}
