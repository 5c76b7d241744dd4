/** The size sweep: documents of every size from every server, over kept-alive connections and a connection for each. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { WorkDone } from '../control.ts';
import { type Document, writeDocuments } from '../documents.ts';
import type { Fetched } from '../fetch.ts';
import type { Lab } from '../lab.ts';
import { Load, type LoadResult } from '../load.ts';
import { createHttpLab, unpace } from '../network.ts';
import type { ServerName } from '../options.ts';
import { offer, type RunningServer, scriptPath, startServer } from '../servers.ts';
import { summarize } from './buckets.ts';
import { type Context, type CoreTime, FIRST_WARM_UP_SECONDS, type Rounds, WARM_UP_SECONDS } from './context.ts';
import type { ProfileSummary } from './shapes.ts';
import { countSystemCalls } from './system-calls.ts';

export type Mode = 'keep-alive' | 'close';

export interface SweepSample extends LoadResult {
  readonly time: CoreTime;
  /** Frames that passed the server's interface, super-frames as one each. */
  readonly framesIn: number;
  readonly framesOut: number;
  /** Our own servers count what they do. */
  readonly work: WorkDone | null;
}

export interface SweepCell {
  readonly bytes: number;
  readonly label: string;
  readonly mode: Mode;
  readonly samples: Readonly<Record<string, Rounds<SweepSample>>>;
  /** System calls per request by party, null where they could not be counted. */
  readonly systemCalls: Readonly<Record<string, number | null>>;
  /** Of Cheetah and the ceiling. */
  readonly profiles: Readonly<Record<string, ProfileSummary | null>>;
}

export interface SweepData {
  readonly parties: readonly string[];
  readonly congestionControl: string;
  /** What the kernel's TCP has here unless it is told otherwise. */
  readonly foundControl: string;
  readonly connections: number;
  readonly cells: readonly SweepCell[];
}

export const SWEEP_PARTIES: readonly ServerName[] = [
  'cheetah',
  'sockets',
  'nginx',
  'nginx-tuned',
  'nginx-as-found',
  'lighttpd',
  'sirv',
  'ceiling',
];
const SIZES = [0, 100, 1000, 10_000, 100_000, 1_000_000];
const QUICK_SIZES = [100, 100_000];
const MODES: readonly Mode[] = ['keep-alive', 'close'];
const PROFILED = ['cheetah', 'ceiling'];

export async function measureSweep(context: Context): Promise<SweepData> {
  const lab = context.own(await createHttpLab(context.serverCore, context.clientCore));
  const foundControl = lab.congestionControl('server');
  const congestionControl = prepareKernel(lab);
  const directory = context.directory();
  const documentDirectory = join(directory, 'documents');
  mkdirSync(documentDirectory);
  const documents = writeDocuments(documentDirectory, context.options.quick ? QUICK_SIZES : SIZES);
  const bench = new SweepBench(context, lab, directory);
  const servers: RunningServer[] = [];
  for (const name of SWEEP_PARTIES) {
    const server = await context.attempt(name, 'start', async () => {
      const started = await startServer(lab, name, documentDirectory, directory);
      await checkAnswers(lab, started, documents[0]);
      return started;
    });
    if (server !== null) servers.push(server);
  }
  const cells: SweepCell[] = [];
  for (const mode of MODES) {
    for (const [index, document] of documents.entries()) {
      cells.push(await bench.measureCell(servers, document, mode, index === 0));
    }
  }
  await context.release(lab);
  const { connections } = context.options;
  return { parties: SWEEP_PARTIES, congestionControl, foundControl, connections, cells };
}

/**
 * Makes the kernel's TCP in both namespaces what a comparison is fair with: no pacing by BBR, and enough ports for a
 * connection a request.
 */
export function prepareKernel(lab: Lab): string {
  for (const space of ['client', 'server']) prepareSpace(lab, space);
  unpace(lab, 'client');
  return unpace(lab, 'server');
}

/** Room in a namespace for a connection a request: ports, and queues of connections that are not yet taken. */
export function prepareSpace(lab: Lab, space: string): void {
  lab.sh(space, 'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range');
  lab.sh(space, 'echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse');
  lab.sh(space, 'echo 8192 >/proc/sys/net/core/somaxconn');
  lab.sh(space, 'echo 8192 >/proc/sys/net/ipv4/tcp_max_syn_backlog');
}

/** Throws unless the server gives the document, whole. */
export async function checkAnswers(lab: Lab, server: RunningServer, document: Document | undefined): Promise<void> {
  if (document === undefined) return;
  const url = await offer(server, document);
  const place = { space: 'client', core: lab.clientCore, patienceMs: CHECK_PATIENCE_MS } as const;
  const output = await lab.run(place, process.execPath, [scriptPath('fetch.js'), url]).catch((error: unknown) => {
    const { exitCode } = server.child;
    throw exitCode === null ? error : new Error(`it has ended with ${exitCode}`);
  });
  const { status, bytes, sha256 } = JSON.parse(output) as Fetched;
  if (status !== 200 || bytes !== document.bytes || sha256 !== document.sha256) {
    throw new Error(`${server.name} answers ${url} with ${status}, ${bytes} bytes: not the document`);
  }
}

const CHECK_PATIENCE_MS = 15_000;

/** Measures servers in one lab. */
export class SweepBench {
  private readonly context: Context;
  private readonly lab: Lab;
  private readonly loads: Readonly<Record<Mode, Load>>;

  constructor(context: Context, lab: Lab, directory: string) {
    this.context = context;
    this.lab = lab;
    const { connections } = context.options;
    this.loads = {
      'keep-alive': new Load(lab, directory, { connections }),
      close: new Load(lab, directory, { connections, closes: true }),
    };
  }

  async measureCell(
    servers: readonly RunningServer[],
    document: Document,
    mode: Mode,
    isFirst: boolean,
  ): Promise<SweepCell> {
    const { context } = this;
    const where = `${document.label} ${mode}`;
    context.say(`sweep: ${where}`);
    const ready: RunningServer[] = [];
    for (const server of servers) {
      const warm = await context.attempt(server.name, `${where}, warming up`, async () => {
        await checkAnswers(this.lab, server, document);
        await this.warmUp(server, document, mode, isFirst);
        return server;
      });
      if (warm !== null) ready.push(warm);
    }
    const samples = await context.alternate(ready, where, (server) => this.measure(server, document, mode));
    const systemCalls: Record<string, number | null> = {};
    const profiles: Record<string, ProfileSummary | null> = {};
    for (const server of ready) {
      systemCalls[server.name] = await this.systemCallsOf(server, document, mode, where);
      if (!PROFILED.includes(server.name)) continue;
      profiles[server.name] = await context.attempt(server.name, `${where}, profile`, () =>
        this.profile(server, document, mode),
      );
    }
    return { bytes: document.bytes, label: document.label, mode, samples, systemCalls, profiles };
  }

  /** Load for nothing, before the first measurement of a document. */
  async warmUp(server: RunningServer, document: Document, mode: Mode, isFirst: boolean): Promise<void> {
    if (this.context.options.quick) return;
    const url = await offer(server, document, mode === 'close');
    await this.loads[mode].run(url, isFirst ? FIRST_WARM_UP_SECONDS : WARM_UP_SECONDS);
  }

  /** One party's turn. */
  async measure(server: RunningServer, document: Document, mode: Mode): Promise<SweepSample> {
    const { lab, context } = this;
    const { seconds } = context.options;
    const url = await offer(server, document, mode === 'close');
    await server.control?.startCounting();
    const before = lab.frames(server.link.space, server.link.name);
    const { result, time } = await context.timed(() => this.loads[mode].run(url, seconds));
    const after = lab.frames(server.link.space, server.link.name);
    const work = (await server.control?.stopCounting()) ?? null;
    // the kernel counts a TAP from its own end: what it has sent is what the server got
    const sent = after.sent - before.sent;
    const received = after.received - before.received;
    const isTap = server.link.space === 'client';
    return { ...result, time, framesIn: isTap ? sent : received, framesOut: isTap ? received : sent, work };
  }

  /** Where the processor time of one of our servers goes. */
  async profile(server: RunningServer, document: Document, mode: Mode): Promise<ProfileSummary> {
    const { control } = server;
    if (control === null) throw new Error('it cannot be asked');
    const { seconds } = this.context.options;
    const url = await offer(server, document, mode === 'close');
    const [, summary] = await Promise.all([
      this.loads[mode].run(url, seconds + 1),
      (async () => {
        await delay(LEAD_MS);
        await control.startProfile();
        const { time } = await this.context.timed(() => delay(seconds * 1000));
        const profile = await control.stopProfile();
        return summarize(`${server.name}, ${document.label}, ${mode}`, profile, time, 'server');
      })(),
    ]);
    return summary;
  }

  private async systemCallsOf(
    server: RunningServer,
    document: Document,
    mode: Mode,
    where: string,
  ): Promise<number | null> {
    return this.context.attempt(server.name, `${where}, system calls`, async () => {
      const url = await offer(server, document, mode === 'close');
      const [load, calls] = await Promise.all([
        this.loads[mode].run(url, COUNT_LOAD_SECONDS),
        delay(LEAD_MS).then(() => countSystemCalls(server.pid, COUNT_SECONDS * 1000)),
      ]);
      return calls / (load.requestsPerSecond * COUNT_SECONDS);
    });
  }
}

/** A load to count in, the part of it that is counted, and what comes before. */
const COUNT_LOAD_SECONDS = 1;
const COUNT_SECONDS = 0.5;
const LEAD_MS = 300;
