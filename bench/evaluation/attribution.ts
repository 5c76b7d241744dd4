/** What each specialisation is worth: every one off alone, all off and then on one by one, for all three programs. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SPECIALISATION_ARGUMENTS } from '../../src/cli/specialisations.ts';
import { type Document, writeDocuments } from '../documents.ts';
import { createHttpLab } from '../network.ts';
import { offer, type RunningServer, startNginxEverywhere, startTapServer } from '../servers.ts';
import type { Context, CoreTime, Rounds } from './context.ts';
import { ForwarderBench, type Workload } from './forwarder.ts';
import { type Forwarder, startForwarder } from './forwarders.ts';
import { Generators, prepareSwampDevice, SWAMP_HOST_ADDRESS, type Target } from './generators.ts';
import type { ProfileSummary } from './shapes.ts';
import { checkAnswers, type Mode, prepareKernel, SweepBench } from './sweep.ts';

/** A program with some of its switches. */
export interface Variant {
  readonly name: string;
  readonly switches: readonly string[];
  /** Its place in the table: one off alone, a step of the way from none to all, or without offload. */
  readonly kind: 'alone' | 'cumulative' | 'no offload';
}

export interface AttributionSample {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly time: CoreTime;
  /** Of our own counters, where the program can be asked. */
  readonly bytesTouched: number | null;
  readonly framesPerRequest: number | null;
}

export interface AttributionCell {
  readonly program: 'cheetah' | 'webswamp' | 'forward';
  readonly workload: string;
  readonly variants: readonly Variant[];
  readonly samples: Readonly<Record<string, Rounds<AttributionSample>>>;
}

export interface AttributionData {
  readonly cells: readonly AttributionCell[];
  readonly profiles: readonly ProfileSummary[];
}

const CHEETAH_SWITCHES = Object.keys(SPECIALISATION_ARGUMENTS).map((name) => `--${name}`);
const SWAMP_SWITCHES = ['--no-packet-merging', '--copy', '--no-reuse', '--no-single-filter'];
const SWAMP_WORKLOADS: readonly Mode[] = ['keep-alive', 'close'];
const FORWARD_WORKLOADS: readonly Workload[] = ['kept alive', 'close', 'bulk'];
const SMALL_BYTES = 100;
const SIZES = [SMALL_BYTES, 10_000, 100_000];
const QUICK_SIZES = [SMALL_BYTES];
const SETTLE_MS = 500;

export async function measureAttribution(context: Context): Promise<AttributionData> {
  const cells: AttributionCell[] = [];
  const profiles: ProfileSummary[] = [];
  await context.attempt('cheetah', 'attribution', () => attributeCheetah(context, cells, profiles));
  await context.attempt('webswamp', 'attribution', () => attributeWebswamp(context, cells, profiles));
  await context.attempt('forward', 'attribution', () => attributeForward(context, cells, profiles));
  return { cells, profiles };
}

function variantsOf(switches: readonly string[], isQuick: boolean): Variant[] {
  const alone = switches.map((name): Variant => ({ name, switches: [name], kind: 'alone' }));
  const steps = switches.map(
    (name, index): Variant => ({
      name: `+ ${name.replace(/^--(no-)?/, '')}`,
      switches: switches.slice(index + 1),
      kind: 'cumulative',
    }),
  );
  return [
    { name: 'all on', switches: [], kind: 'alone' },
    ...alone,
    { name: 'all off', switches, kind: 'cumulative' },
    // the last step is all on again
    ...(isQuick ? [] : steps.slice(0, -1)),
  ];
}

async function attributeCheetah(context: Context, cells: AttributionCell[], profiles: ProfileSummary[]): Promise<void> {
  const { options } = context;
  const lab = context.own(await createHttpLab(context.serverCore, context.clientCore));
  const directory = context.directory();
  const site = join(directory, 'documents');
  mkdirSync(site);
  prepareKernel(lab);
  const documents = writeDocuments(site, options.quick ? QUICK_SIZES : SIZES);
  const variants: Variant[] = [
    ...variantsOf(CHEETAH_SWITCHES, options.quick),
    { name: 'no offload, all on', switches: ['--no-offload'], kind: 'no offload' },
    {
      name: 'no offload, --no-precomputed-checksums',
      switches: ['--no-offload', '--no-precomputed-checksums'],
      kind: 'no offload',
    },
  ];
  const servers: RunningServer[] = [];
  for (const [index, { name, switches }] of variants.entries()) {
    const server = await context.attempt(name, 'start', async () => {
      const place = { script: 'cheetah-server.js', device: `exv${index}`, network: `10.92.${index}`, oneReply: false };
      const started = await startTapServer(lab, { ...place, name, switches }, site);
      for (const document of documents) await checkAnswers(lab, started, document);
      return started;
    });
    if (server !== null) servers.push(server);
  }
  const bench = new SweepBench(context, lab, directory);
  const workloads = [
    ...documents.map((document) => ({ document, mode: 'keep-alive' as const })),
    ...documents.slice(0, 1).map((document) => ({ document, mode: 'close' as const })),
  ];
  for (const { document, mode } of workloads) {
    const workload = `${document.label}, ${mode}`;
    context.say(`attribution: cheetah, ${workload}`);
    for (const server of servers) await bench.warmUp(server, document, mode, cells.length === 0);
    const samples = await context.alternate(servers, workload, (server) =>
      measureServer(bench, server, document, mode),
    );
    cells.push({ program: 'cheetah', workload, variants, samples });
    const [first] = servers;
    if (first === undefined) continue;
    const profile = await context.attempt('cheetah', `${workload}, profile`, async () => ({
      ...(await bench.profile(first, document, mode)),
      what: `cheetah, ${workload}`,
    }));
    if (profile !== null) profiles.push(profile);
  }
  await context.release(lab);
}

async function measureServer(
  bench: SweepBench,
  server: RunningServer,
  document: Document,
  mode: Mode,
): Promise<AttributionSample> {
  await offer(server, document, mode === 'close');
  const { requests, requestsPerSecond, time, work, framesIn, framesOut } = await bench.measure(server, document, mode);
  const bytesTouched = work === null ? null : (work.summedBytes + work.copiedBytes) / Math.max(1, work.requests);
  return { requests, requestsPerSecond, time, bytesTouched, framesPerRequest: (framesIn + framesOut) / requests };
}

async function attributeWebswamp(
  context: Context,
  cells: AttributionCell[],
  profiles: ProfileSummary[],
): Promise<void> {
  const { options } = context;
  const lab = context.own(await createHttpLab(context.serverCore, context.clientCore));
  const directory = context.directory();
  const site = join(directory, 'documents');
  mkdirSync(site);
  prepareKernel(lab);
  prepareSwampDevice(lab, 'server');
  const [document] = writeDocuments(site, [SMALL_BYTES]);
  const path = document?.name ?? '';
  const nginx = startNginxEverywhere(lab, site, join(directory, 'nginx'), {});
  await delay(SETTLE_MS);
  const target: Target = {
    path,
    socketsUrl: `${nginx.url}${path}`,
    swampSpace: 'server',
    swampUrl: `http://${SWAMP_HOST_ADDRESS}/${path}`,
  };
  const generators = new Generators(lab, directory, options.connections);
  const variants: Variant[] = [
    ...variantsOf(SWAMP_SWITCHES, options.quick),
    { name: '--no-checksum', switches: ['--no-checksum'], kind: 'alone' },
  ];
  const parties = variants.map(({ name, switches }) => generators.webswamp(name, switches));
  for (const mode of SWAMP_WORKLOADS) {
    const workload = `against nginx, ${mode}`;
    context.say(`attribution: webswamp, ${workload}`);
    const samples = await context.alternate(parties, workload, async (party): Promise<AttributionSample> => {
      const { result, time } = await generators.measure(context, party, target, mode);
      const { requests, requestsPerSecond } = result;
      // the generator's core is what is asked about here
      const swapped = { ...time, serverSeconds: time.clientSeconds, clientSeconds: time.serverSeconds };
      return { requests, requestsPerSecond, time: swapped, bytesTouched: null, framesPerRequest: null };
    });
    cells.push({ program: 'webswamp', workload, variants, samples });
    const profile = await context.attempt('webswamp', `${workload}, profile`, () =>
      generators.summarizeProfile(context, target, mode, `webswamp ${workload}`),
    );
    if (profile !== null) profiles.push(profile);
  }
  await context.release(lab);
}

async function attributeForward(context: Context, cells: AttributionCell[], profiles: ProfileSummary[]): Promise<void> {
  const bench = await ForwarderBench.create(context);
  const variants: Variant[] = [
    { name: 'all on', switches: [], kind: 'alone' },
    { name: '--no-offload', switches: ['--no-offload'], kind: 'alone' },
    { name: '--no-polling', switches: ['--no-polling'], kind: 'alone' },
  ];
  const ready: Forwarder[] = [];
  for (const [index, { name, switches }] of variants.entries()) {
    const started = await context.attempt(`forward ${name}`, 'start', async () => {
      const forwarder = await startForwarder(bench.lab, 'forward', index, bench.directory, { more: switches });
      await bench.check(forwarder);
      return { ...forwarder, name };
    });
    if (started !== null) ready.push(started);
  }
  for (const [index, workload] of FORWARD_WORKLOADS.entries()) {
    context.say(`attribution: forward, ${workload}`);
    for (const forwarder of ready) await bench.warmUp(forwarder, workload, index === 0);
    const samples = await context.alternate(ready, workload, async (forwarder): Promise<AttributionSample> => {
      const { requests, requestsPerSecond, time } = await bench.measure(forwarder, workload);
      return { requests, requestsPerSecond, time, bytesTouched: null, framesPerRequest: null };
    });
    cells.push({ program: 'forward', workload, variants, samples });
    const place = variants.length + index;
    const profile = await context.attempt('forward', `${workload}, profile`, () => bench.profile(workload, place));
    if (profile !== null) profiles.push(profile);
  }
  await context.release(bench.lab);
}
