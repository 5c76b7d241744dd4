/** webswamp beside other load generators, against the same servers with the same processors. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Report } from '../../src/servers/webswamp/report.ts';
import { type Document, writeDocuments } from '../documents.ts';
import { childrenOf } from '../machine.ts';
import { createHttpLab } from '../network.ts';
import { type RunningServer, startNginxEverywhere, startServer } from '../servers.ts';
import { median } from '../statistics.ts';
import type { Context, CoreTime, Rounds } from './context.ts';
import { type Generated, Generators, prepareSwampDevice, SWAMP_HOST_ADDRESS, type Target } from './generators.ts';
import type { ProfileSummary } from './shapes.ts';
import { type Mode, prepareKernel } from './sweep.ts';
import { goodOf } from './sweep-report.ts';

export interface GeneratorSample extends Generated {
  readonly time: CoreTime;
}

export interface GeneratorCell {
  readonly server: string;
  readonly mode: Mode;
  readonly samples: Readonly<Record<string, Rounds<GeneratorSample>>>;
  readonly profile: ProfileSummary | null;
}

export type OpenLoop = Pick<Report, 'requests' | 'errors' | 'requestsPerSecond' | 'latencyMs' | 'rate' | 'verdict'>;

export interface WebswampData {
  readonly generators: readonly string[];
  readonly connections: number;
  readonly cells: readonly GeneratorCell[];
  /** Five times what the server answered in the closed loop. */
  readonly overload: OpenLoop | null;
  /** The server stopped for a second in every ten. */
  readonly frozen: OpenLoop | null;
}

const DOCUMENT_BYTES = 100;
const OVERLOAD = 5;
const FROZEN_RATE = 1000;
const FREEZE_EVERY_MS = 10_000;
const FREEZE_MS = 1000;

export async function measureWebswamp(context: Context): Promise<WebswampData> {
  const { options } = context;
  const lab = context.own(await createHttpLab(context.serverCore, context.clientCore));
  const directory = context.directory();
  const documents = join(directory, 'documents');
  mkdirSync(documents);
  const [document] = writeDocuments(documents, [DOCUMENT_BYTES]);
  if (document === undefined) throw new RangeError('no document');
  prepareKernel(lab);
  for (const space of ['client', 'server']) {
    prepareSwampDevice(lab, space);
    lab.sh(space, 'echo 1 >/proc/sys/net/ipv4/ip_forward');
  }
  const nginx = startNginxEverywhere(lab, documents, join(directory, 'nginx'), {});
  const cheetah = await context.attempt('cheetah', 'start', () => startServer(lab, 'cheetah', documents, directory));
  await delay(SETTLE_MS);
  const generators = new Generators(lab, directory, options.connections);
  const cells: GeneratorCell[] = [];
  const servers = [nginx, ...(cheetah === null ? [] : [cheetah])];
  for (const server of servers) {
    for (const mode of ['keep-alive', 'close'] as const) {
      cells.push(await measureGenerators(context, generators, server, targetOf(server, document), mode));
    }
  }
  const target = targetOf(nginx, document);
  const capacity = median(goodOf(cells[0]?.samples.wrk).map(({ requestsPerSecond }) => requestsPerSecond));
  const overload = await context.attempt('webswamp', 'open loop at five times the capacity', async () => {
    context.say('webswamp: open loop at five times the server’s capacity');
    const rate = Math.round(OVERLOAD * capacity);
    return pick(await generators.swamp(target, ['--rate', `${rate}/s`], options.seconds));
  });
  const frozen = await context.attempt('webswamp', 'frozen server', async () => {
    context.say('webswamp: a server that is frozen one second in every ten');
    return pick(await loadFrozen(context, generators, nginx, target));
  });
  await context.release(lab);
  const names = generators.all().map(({ name }) => name);
  return { generators: names, connections: options.connections, cells, overload, frozen };
}

const SETTLE_MS = 500;

async function measureGenerators(
  context: Context,
  generators: Generators,
  server: RunningServer,
  target: Target,
  mode: Mode,
): Promise<GeneratorCell> {
  const where = `${server.name}, ${mode}`;
  context.say(`webswamp: ${where}`);
  const able = generators.all().filter(({ modes }) => modes.includes(mode));
  const samples = await context.alternate(able, where, async (generator): Promise<GeneratorSample> => {
    const { result, time } = await generators.measure(context, generator, target, mode);
    const { requests, errors, requestsPerSecond } = result;
    return { requests, errors, requestsPerSecond, time };
  });
  const profile = await context.attempt('webswamp', `${where}, profile`, () =>
    generators.summarizeProfile(context, target, mode, `webswamp against ${where}`),
  );
  return { server: server.name, mode, samples, profile };
}

/** webswamp's device is in the namespace where the server is: as near to it as the load's veth end is, or nearer. */
function targetOf(server: RunningServer, { name }: Document): Target {
  const socketsUrl = `${server.url}${name}`;
  if (server.link.space === 'client') return { path: name, socketsUrl, swampSpace: 'client', swampUrl: socketsUrl };
  return { path: name, socketsUrl, swampSpace: 'server', swampUrl: `http://${SWAMP_HOST_ADDRESS}/${name}` };
}

/** A thousand requests a second at a server that stands still now and then; at least one standstill. */
async function loadFrozen(context: Context, generators: Generators, server: RunningServer, target: Target) {
  const seconds = (FREEZE_EVERY_MS / 1000) * (context.options.quick ? 1 : 3);
  const pids = [server.pid, ...childrenOf(server.pid).flatMap((pid) => [pid, ...childrenOf(pid)])];
  const signal = (name: NodeJS.Signals): void => {
    for (const pid of pids.slice(1)) process.kill(pid, name);
  };
  let over = false;
  const freeze = async (): Promise<void> => {
    await delay(FREEZE_EVERY_MS / 2);
    while (!over) {
      signal('SIGSTOP');
      await delay(FREEZE_MS);
      signal('SIGCONT');
      await delay(FREEZE_EVERY_MS - FREEZE_MS);
    }
  };
  const freezing = freeze();
  try {
    return await generators.swamp(target, ['--rate', `${FROZEN_RATE}/s`], seconds);
  } finally {
    over = true;
    signal('SIGCONT');
    await freezing;
  }
}

function pick({ requests, errors, requestsPerSecond, latencyMs, rate, verdict }: Report): OpenLoop {
  return { requests, errors, requestsPerSecond, latencyMs, rate, verdict };
}
