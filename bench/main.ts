/**
 * `make bench`: Cheetah against nginx, node:http and the ceiling, in network namespaces of its own. The servers have one
 * processor and the load another; in every round each server has its turn, and what is compared was measured in the same
 * round. Before anything is measured every server has to give the right answers.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Document, writeDocuments } from './documents.ts';
import { fail } from './fail.ts';
import type { Fetched } from './fetch.ts';
import type { Lab } from './lab.ts';
import { Load } from './load.ts';
import { assertMachine, chooseCores, warnOfLoad } from './machine.ts';
import { measure, profileUnderLoad, type Sample } from './measure.ts';
import { createHttpLab } from './network.ts';
import { type BenchOptions, HELP, readOptions } from './options.ts';
import { printProfiles, printSize, printVerdicts, type SizeResult } from './report.ts';
import { offer, type RunningServer, scriptPath, startServer } from './servers.ts';

/** What a shell reports for a process that a signal has ended: this, and the signal's number. */
const EXIT_SIGNAL = 128;
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** Load before the first round: an engine that compiles as it goes is at its best after seconds, and every server gets as many. */
const WARM_UP_SECONDS = 8;
const PROFILES = fileURLToPath(new URL('../profiles', import.meta.url));

async function main(args: readonly string[]): Promise<void> {
  const options = readOptions(args);
  if (options === undefined) {
    console.log(HELP);
    return;
  }
  assertMachine(options.servers.some((name) => name.startsWith('nginx')));
  const [serverCore, clientCore] = options.cores ?? chooseCores();
  const directory = mkdtempSync(join(tmpdir(), 'exonet-bench-'));
  let lab: Lab | null = null;
  const tidy = async (): Promise<void> => {
    await lab?.remove();
    rmSync(directory, { recursive: true, force: true });
  };
  for (const [signal, number] of Object.entries(SIGNALS)) {
    process.once(signal, () => void tidy().finally(() => process.exit(EXIT_SIGNAL + number)));
  }
  try {
    lab = await createHttpLab(serverCore, clientCore);
    await run(lab, directory, options);
  } finally {
    await tidy();
  }
}

async function run(lab: Lab, directory: string, options: BenchOptions): Promise<void> {
  const documentDirectory = join(directory, 'documents');
  mkdirSync(documentDirectory);
  const documents = writeDocuments(documentDirectory, options.sizes);
  const servers: RunningServer[] = [];
  for (const name of options.servers) servers.push(await startServer(lab, name, documentDirectory, directory));
  for (const server of servers) await checkAnswers(lab, server, documents);

  const { rounds, seconds, connections } = options;
  console.log(
    `${rounds} rounds of ${seconds} s for each server, ${connections} kept-alive connections; servers on processor ${lab.serverCore}, wrk on ${lab.clientCore}; Node ${process.versions.node}.`,
  );
  console.log(noteOnTcp(lab));
  const warning = warnOfLoad();
  if (warning !== undefined) console.log(warning);
  const load = new Load(lab, directory, { connections });
  const results: SizeResult[] = [];
  for (const document of documents) {
    const result = await measureSize(lab, load, servers, document, options);
    printSize(result);
    results.push(result);
  }
  printVerdicts(results);
  if (!options.profile) return;
  mkdirSync(PROFILES, { recursive: true });
  for (const document of documents) {
    for (const server of servers) await profileServer(load, server, document, seconds);
  }
}

function noteOnTcp(lab: Lab): string {
  const control = lab.congestionControl('server');
  const note = `The kernel's TCP has ${control} here, with which nginx and node are measured`;
  if (control !== 'bbr') return `${note}.`;
  return `${note}: its pacing costs them dearly from 10 kB on, which nginx-tuned is free of.`;
}

/** Throws unless the server gives every document, whole, and would go on with the connection. */
async function checkAnswers(lab: Lab, server: RunningServer, documents: readonly Document[]): Promise<void> {
  for (const document of documents) {
    const url = await offer(server, document);
    const place = { space: 'client', core: lab.clientCore } as const;
    const { status, bytes, sha256, keptAlive } = JSON.parse(
      await lab.run(place, process.execPath, [scriptPath('fetch.js'), url]),
    ) as Fetched;
    if (status !== 200 || bytes !== document.bytes || sha256 !== document.sha256 || !keptAlive) {
      throw new Error(`${server.name} answers ${url} with ${status}, ${bytes} bytes: not the document`);
    }
  }
}

async function measureSize(
  lab: Lab,
  load: Load,
  servers: readonly RunningServer[],
  document: Document,
  { rounds, seconds }: BenchOptions,
): Promise<SizeResult> {
  const samples = new Map<string, Sample[]>();
  for (const server of servers) {
    samples.set(server.name, []);
    await load.run(await offer(server, document), WARM_UP_SECONDS);
  }
  for (let round = 0; round < rounds; round++) {
    for (const server of servers) {
      const url = await offer(server, document);
      samples.get(server.name)?.push(await measure(lab, load, server, url, seconds));
    }
  }
  return { document, samples };
}

async function profileServer(load: Load, server: RunningServer, document: Document, seconds: number): Promise<void> {
  if (server.control === null) return;
  const profiles = await profileUnderLoad(load, server.control, await offer(server, document), seconds);
  const file = join(PROFILES, `${server.name}-${document.bytes}.cpuprofile`);
  writeFileSync(file, JSON.stringify(profiles.time));
  printProfiles(server.name, document.label, relative(process.cwd(), file), profiles);
}

main(process.argv.slice(2)).catch((error: unknown) => fail('bench', error));
