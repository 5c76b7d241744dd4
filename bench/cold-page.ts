/**
 * `make bench-cold-page`: how long a browser waits for a page that the server has not in its cache, and for everything that
 * the page includes, with `html-grouping` and without. Two servers, which take turns in every round; each round is about a
 * page of its own, so that it is cold for both. What is compared was measured in the same round.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArguments, readInteger } from '../src/cli/arguments.ts';
import { SeededRandom } from '../src/runtime/random.ts';
import type { Visit, Visited } from './browser.ts';
import { Control } from './control.ts';
import { fail } from './fail.ts';
import { Lab } from './lab.ts';
import { assertMachine, chooseCores, warnOfLoad } from './machine.ts';
import { scriptPath } from './servers.ts';
import { median } from './statistics.ts';

/** Server and browser share a namespace: the server's TAP leads from one to the other. */
const SPACE = 'client';
const HELP = `make bench-cold-page [ARGS='...']   or   node build/bench/cold-page.js [options]

Measures a browser's wait for a cold page with Cheetah's html-grouping and without (root, network namespaces).

  --rounds N       pages visited on each server (default 15)
  --resources N    what each page includes (default 30)
  --read-ms N      what a read of a file takes (default 4; 0: the disk as it is, with the kernel's cache of it dropped)
  --rtt-ms LIST    round trips between browser and server (default 0,20)`;

/** Visits before the first that counts. */
const WARM_UP = 2;
const MODES = ['on', 'off'] as const;
type Mode = (typeof MODES)[number];
/** Shares of resources, and how long they are. */
const RESOURCE_BYTES = [2000, 5000, 12_000, 40_000];
const CACHE_DROP = 'sync "$@"; for file; do dd if="$file" iflag=nocache count=0 status=none; done';

interface Options {
  readonly rounds: number;
  readonly resources: number;
  readonly readMs: number;
  readonly roundTripsMs: readonly number[];
}

const ARGUMENTS = {
  rounds: { type: 'string', default: '15' },
  resources: { type: 'string', default: '30' },
  'read-ms': { type: 'string', default: '4' },
  'rtt-ms': { type: 'string', default: '0,20' },
  help: { type: 'boolean', short: 'h' },
} as const;

function readOptions(args: readonly string[]): Options | undefined {
  const values = parseArguments(args, ARGUMENTS);
  if (values.help === true) return undefined;
  return {
    rounds: readInteger('rounds', values.rounds, 1, 1000),
    resources: readInteger('resources', values.resources, 1, 64),
    readMs: readInteger('read-ms', values['read-ms'], 0, 1000),
    roundTripsMs: values['rtt-ms'].split(',').map((text) => readInteger('rtt-ms', text, 0, 1000)),
  };
}

/** Pages of one look, each in a folder of its own with what it includes. */
class Site {
  readonly root: string;
  private readonly resources: readonly string[];
  private pages = 0;

  constructor(root: string, resources: number) {
    this.root = root;
    this.resources = Array.from({ length: resources }, (_, index) => `${index}.${index % 5 === 0 ? 'css' : 'png'}`);
  }

  /** Makes the next page; returns its path and its files. */
  addPage(): { path: string; names: readonly string[]; files: readonly string[] } {
    const folder = `page-${this.pages++}`;
    mkdirSync(join(this.root, folder));
    const random = new SeededRandom(this.pages);
    const included = this.resources.map((name) =>
      name.endsWith('css') ? `<link rel="stylesheet" href="${name}">` : `<p>Some text.</p><img src="${name}" alt="">`,
    );
    const contents: [string, string | Uint8Array][] = [['index.html', `<!DOCTYPE html>${included.join('\n')}`]];
    this.resources.forEach((name, index) => {
      const bytes = new Uint8Array(RESOURCE_BYTES[index % RESOURCE_BYTES.length] ?? 0);
      random.fill(bytes);
      contents.push([name, bytes]);
    });
    for (const [name, content] of contents) writeFileSync(join(this.root, folder, name), content);
    const files = contents.map(([name]) => join(this.root, folder, name));
    return { path: `/${folder}/`, names: this.resources, files };
  }
}

async function main(args: readonly string[]): Promise<void> {
  const options = readOptions(args);
  if (options === undefined) {
    console.log(HELP);
    return;
  }
  assertMachine(false);
  const [serverCore, clientCore] = chooseCores();
  const directory = mkdtempSync(join(tmpdir(), 'exonet-cold-'));
  let lab: Lab | null = null;
  const tidy = async (): Promise<void> => {
    await lab?.remove();
    rmSync(directory, { recursive: true, force: true });
  };
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
    process.once(signal, () => void tidy().finally(() => process.exit(1)));
  }
  try {
    lab = await Lab.create([SPACE], serverCore, clientCore);
    await measure(lab, new Site(directory, options.resources), options);
  } finally {
    await tidy();
  }
}

async function measure(lab: Lab, site: Site, options: Options): Promise<void> {
  const { rounds, resources, readMs } = options;
  const servers = {
    on: await startServer(lab, site, 'on', 0, readMs),
    off: await startServer(lab, site, 'off', 1, readMs),
  };
  const browser = await Browser.start(lab);
  const disk = readMs === 0 ? 'from disk, the kernel does not have them' : `each read takes ${readMs} ms`;
  console.log(`A page and ${resources} files it includes, ${disk}; ${rounds} rounds, medians.`);
  const warning = warnOfLoad();
  if (warning !== undefined) console.log(warning);
  for (const roundTripMs of options.roundTripsMs) {
    const results: Record<Mode, Visited[]> = { on: [], off: [] };
    for (let round = -WARM_UP; round < rounds; round++) {
      const { path, names, files } = site.addPage();
      // Who goes first changes from round to round.
      for (const mode of round % 2 === 0 ? MODES : MODES.toReversed()) {
        if (readMs === 0) execFileSync('bash', ['-c', CACHE_DROP, 'bash', ...files]);
        const url = `${servers[mode]}${path}`;
        const visited = await browser.visit({ page: url, resources: names.map((name) => url + name), roundTripMs });
        if (round >= 0) results[mode].push(visited);
      }
    }
    print(roundTripMs, results);
  }
}

/** Starts a server; returns the beginning of its URLs. */
async function startServer(lab: Lab, site: Site, mode: Mode, index: number, readMs: number): Promise<string> {
  const network = `10.90.${index}`;
  const args = [site.root, mode, `${readMs}`, `exo${index}`, `${network}.2/24`, `${network}.1/24`];
  const place = { space: SPACE, core: lab.serverCore, channel: true } as const;
  const child = lab.start(place, process.execPath, [scriptPath('cold-page-server.js'), ...args]);
  await new Control(mode, child).ready();
  return `http://${network}.2`;
}

/** The bench's end of browser.ts. */
class Browser {
  private readonly child: ChildProcess;
  private readonly gone: Promise<never>;

  private constructor(child: ChildProcess) {
    this.child = child;
    this.gone = once(child, 'exit').then(() => {
      throw new Error('the browser has ended');
    });
    // An end nobody waits for is none: the bench kills it.
    this.gone.catch(() => {});
  }

  static async start(lab: Lab): Promise<Browser> {
    const place = { space: SPACE, core: lab.clientCore, channel: true } as const;
    const browser = new Browser(lab.start(place, process.execPath, [scriptPath('browser.js')]));
    await browser.hear();
    return browser;
  }

  visit(order: Visit): Promise<Visited> {
    this.child.send(order);
    return this.hear() as Promise<Visited>;
  }

  private hear(): Promise<unknown> {
    return Promise.race([new Promise((resolve) => this.child.once('message', resolve)), this.gone]);
  }
}

function print(roundTripMs: number, results: Record<Mode, Visited[]>): void {
  const line = (mode: Mode): string => {
    const page = median(results[mode].map(({ pageMs }) => pageMs));
    const total = median(results[mode].map(({ totalMs }) => totalMs));
    return `  html-grouping ${mode.padEnd(4)} page ${page.toFixed(1).padStart(7)} ms   everything ${total.toFixed(1).padStart(7)} ms`;
  };
  const ratios = results.off.map(({ totalMs }, round) => totalMs / (results.on[round]?.totalMs ?? Number.NaN));
  console.log(`\nround trip ${roundTripMs} ms`);
  for (const mode of MODES) console.log(line(mode));
  console.log(
    `  off / on, everything: ${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`,
  );
}

main(process.argv.slice(2)).catch((error: unknown) => fail('bench', error));
