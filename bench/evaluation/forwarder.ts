/** The forwarder beside proxies on sockets and the kernel's own address translation. */
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Document, writeDocuments } from '../documents.ts';
import type { Fetched } from '../fetch.ts';
import { Lab } from '../lab.ts';
import { Load, type LoadResult } from '../load.ts';
import type { CpuProfile } from '../profile.ts';
import { scriptPath, startNginxEverywhere } from '../servers.ts';
import { profileInto, summarize } from './buckets.ts';
import { type Context, type CoreTime, FIRST_WARM_UP_SECONDS, type Rounds, WARM_UP_SECONDS } from './context.ts';
import { FORWARDER_NAMES, type Forwarder, startForwarder } from './forwarders.ts';
import type { ProfileSummary } from './shapes.ts';
import { prepareSpace } from './sweep.ts';

export interface ForwarderSample extends LoadResult {
  /** The server's side is the forwarder's core; the client's that of both ends. */
  readonly time: CoreTime;
}

export const WORKLOADS = ['kept alive', 'close', 'bulk', 'latency'] as const;
export type Workload = (typeof WORKLOADS)[number];

export interface ForwarderData {
  readonly parties: readonly string[];
  readonly connections: number;
  readonly bulkBytes: number;
  readonly samples: Readonly<Record<Workload, Readonly<Record<string, Rounds<ForwarderSample>>>>>;
  readonly profiles: Readonly<Partial<Record<Workload, ProfileSummary | null>>>;
}

const SMALL_BYTES = 100;
const BULK_BYTES = 10_000_000;
const QUICK_BULK_BYTES = 1_000_000;
const BULK_CONNECTIONS = 8;
const SPACES = ['client', 'forwarder', 'server'];

/** A forwarder between clients and servers: the ends share one processor, the forwarder has the other. */
export class ForwarderBench {
  private readonly context: Context;
  readonly lab: Lab;
  readonly directory: string;
  private readonly documents: Readonly<Record<Workload, Document>>;
  private readonly loads: Readonly<Record<Workload, Load>>;

  private constructor(context: Context, lab: Lab, directory: string, documents: readonly Document[]) {
    this.context = context;
    this.lab = lab;
    this.directory = directory;
    const [small, bulk] = documents;
    if (small === undefined || bulk === undefined) throw new RangeError('two documents are needed');
    this.documents = { 'kept alive': small, close: small, bulk, latency: small };
    const { connections } = context.options;
    this.loads = {
      'kept alive': new Load(lab, directory, { connections }),
      close: new Load(lab, directory, { connections, closes: true }),
      bulk: new Load(lab, directory, { connections: BULK_CONNECTIONS }),
      latency: new Load(lab, directory, { connections: 1 }),
    };
  }

  static async create(context: Context): Promise<ForwarderBench> {
    const lab = context.own(await Lab.create(SPACES, context.serverCore, context.clientCore));
    const directory = context.directory();
    const site = join(directory, 'documents');
    mkdirSync(site);
    const documents = writeDocuments(site, [SMALL_BYTES, context.options.quick ? QUICK_BULK_BYTES : BULK_BYTES]);
    for (const space of SPACES) prepareSpace(lab, space);
    startNginxEverywhere(lab, site, join(directory, 'nginx'), { core: context.clientCore });
    return new ForwarderBench(context, lab, directory, documents);
  }

  get bulkBytes(): number {
    return this.documents.bulk.bytes;
  }

  async check(forwarder: Forwarder): Promise<void> {
    for (const { name, bytes, sha256 } of Object.values(this.documents)) {
      const url = `${forwarder.url}${name}`;
      const place = { space: 'client', core: this.lab.clientCore, patienceMs: PATIENCE_MS } as const;
      const output = await this.lab.run(place, process.execPath, [scriptPath('fetch.js'), url]);
      const fetched = JSON.parse(output) as Fetched;
      if (fetched.bytes !== bytes || fetched.sha256 !== sha256) throw new Error(`${url} is not the document`);
    }
  }

  async measure(forwarder: Forwarder, workload: Workload): Promise<ForwarderSample> {
    const url = `${forwarder.url}${this.documents[workload].name}`;
    const { seconds } = this.context.options;
    const { result, time } = await this.context.timed(() => this.loads[workload].run(url, seconds));
    return { ...result, time };
  }

  /** Load for nothing, before the first measurement of a workload. */
  async warmUp({ url }: Forwarder, workload: Workload, isFirst: boolean): Promise<void> {
    if (this.context.options.quick) return;
    const { name } = this.documents[workload];
    await this.loads[workload].run(`${url}${name}`, isFirst ? FIRST_WARM_UP_SECONDS : WARM_UP_SECONDS);
  }

  /** Where our forwarder's time goes: one of its own, which writes its profile when it is told to end. */
  async profile(workload: Workload, index: number): Promise<ProfileSummary> {
    const file = join(this.directory, `forward-${index}.cpuprofile`);
    const node = profileInto(file);
    const forwarder = await startForwarder(this.lab, 'forward', index, this.directory, { node });
    await this.warmUp(forwarder, workload, true);
    const { seconds } = this.context.options;
    const { time } = await this.context.timedInside(seconds, () => this.measure(forwarder, workload));
    const { child } = forwarder;
    if (child !== null) {
      const gone = once(child, 'exit');
      child.kill('SIGINT');
      await Promise.race([gone, delay(PATIENCE_MS)]);
    }
    const profile = JSON.parse(readFileSync(file, 'utf8')) as CpuProfile;
    return summarize(`forward, ${workload}`, profile, time, 'server');
  }
}

const PATIENCE_MS = 15_000;

export async function measureForwarder(context: Context): Promise<ForwarderData> {
  const bench = await ForwarderBench.create(context);
  const ready: Forwarder[] = [];
  for (const [index, name] of FORWARDER_NAMES.entries()) {
    const started = await context.attempt(name, 'start', async () => {
      const forwarder = await startForwarder(bench.lab, name, index, bench.directory);
      await bench.check(forwarder);
      return forwarder;
    });
    if (started !== null) ready.push(started);
  }
  const samples = {} as Record<Workload, Record<string, Rounds<ForwarderSample>>>;
  const profiles: Partial<Record<Workload, ProfileSummary | null>> = {};
  for (const [index, workload] of WORKLOADS.entries()) {
    context.say(`forwarder: ${workload}`);
    for (const forwarder of ready) await bench.warmUp(forwarder, workload, index === 0);
    samples[workload] = await context.alternate(ready, workload, (forwarder) => bench.measure(forwarder, workload));
    if (workload === 'latency') continue;
    const place = FORWARDER_NAMES.length + index;
    profiles[workload] = await context.attempt('forward', `${workload}, profile`, () => bench.profile(workload, place));
  }
  await context.release(bench.lab);
  const { connections } = context.options;
  return { parties: FORWARDER_NAMES, connections, bulkBytes: bench.bulkBytes, samples, profiles };
}
