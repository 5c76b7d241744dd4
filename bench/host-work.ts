/** What a host counts, as the bench wants to know it. */
import type { Host } from '../src/host/host.ts';
import { deviceWork, type Work } from './control.ts';

export function hostWork(host: Host, requests: number): Work {
  return {
    ...deviceWork(host.device.counters),
    requests,
    turns: host.kernel.counters.get('turns'),
    summedBytes: host.tcp.counters.get('payloadBytesSummed'),
    copiedBytes: host.tcp.receiveQueues.copiedBytes,
  };
}
