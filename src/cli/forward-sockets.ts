/** `exonet forward --sockets`: a proxy over node:net for each address listened at. */
import { createLog, type LogLevel } from '../runtime/log.ts';
import { SocketProxy } from '../servers/baseline/socket-proxy.ts';
import { type Balance, formatService, type Service } from '../servers/forwarder/settings.ts';
import { printCountersOnSignal } from './counters.ts';
import { exitWith } from './failures.ts';
import { onStopSignal } from './signals.ts';

export interface ForwardSocketsOptions {
  readonly services: readonly Service[];
  readonly balance: Balance;
  readonly maxConnections: number;
  readonly logLevel: LogLevel;
}

/** Runs until a signal. A port that cannot be listened at is one sentence, and exit code 1. */
export function forwardSockets(options: ForwardSocketsOptions): void {
  const { services, balance, maxConnections } = options;
  const log = createLog(options.logLevel);
  const proxies = services.map((service) => {
    const proxy = new SocketProxy({ service, balance, maxConnections, log });
    proxy.listen().then(() => console.log(`forward takes ${formatService(service)} (sockets)`), exitWith);
    return proxy;
  });
  printCountersOnSignal(() =>
    Object.fromEntries(proxies.map(({ counters }, index) => [`proxy${index}`, { ...counters }])),
  );
  onStopSignal(async () => {
    for (const proxy of proxies) proxy.close();
  });
}
