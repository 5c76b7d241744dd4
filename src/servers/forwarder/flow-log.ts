/** The flow log: a line when a flow opens and one when it ends, with what went both ways. */
import type { Log } from '../../runtime/log.ts';
import type { Backend, ServiceGroup } from './backends.ts';
import { type FlowTable, FROM_BACKEND, FROM_CLIENT } from './flow-table.ts';
import { formatEndpoint } from './settings.ts';

export class FlowLog {
  private readonly log: Log;
  private readonly flows: FlowTable;
  private readonly services: readonly ServiceGroup[];

  constructor(log: Log, flows: FlowTable, services: readonly ServiceGroup[]) {
    this.log = log;
    this.flows = flows;
    this.services = services;
  }

  opened(flow: number): void {
    this.log.info(this.describe(flow), 'flow opened');
  }

  ended(flow: number, how: string, nowUs: number): void {
    const { openedUs } = this.flows;
    const durationMs = Math.round((nowUs - (openedUs[flow] as number)) / 1000);
    const toBackend = this.describeHalf(2 * flow + FROM_CLIENT);
    const toClient = this.describeHalf(2 * flow + FROM_BACKEND);
    this.log.info({ ...this.describe(flow), how, durationMs, toBackend, toClient }, 'flow ended');
  }

  private describe(flow: number): object {
    const { keySource, keyPorts, ports, service, backend } = this.flows;
    const half = 2 * flow;
    const clientPort = (keyPorts[half] as number) >>> 16;
    const group = this.services[service[flow] as number] as ServiceGroup;
    const chosen = group.backends[backend[flow] as number] as Backend;
    return {
      client: formatEndpoint({ address: keySource[half] as number, port: clientPort }),
      listen: group.name,
      backend: chosen.name,
      port: (ports[half] as number) >>> 16,
    };
  }

  private describeHalf(half: number): { packets: number; bytes: number } {
    return { packets: this.flows.packets[half] as number, bytes: this.flows.textBytes[half] as number };
  }
}
