/** Real HTTP clients against `exonet cheetah`: those of ../shared/tools/clients.sh where that is there, and our own list. */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { hasBadWire, joinBadWire, layBadWire, TAP_END, WIRE_COMMANDS } from '../support/bad-wire.ts';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, environment, execute, isInstalled } from '../support/commands.ts';
import { findKernelErrors } from '../support/kernel-errors.ts';
import { type CommandResult, enterPrivateNetwork, forbidden } from '../support/netns.ts';
import { Site, type SiteFile, sha256, temporaryDirectory } from '../support/site.ts';
import { STACK_ADDRESS, TAP, TAP_PLAIN, VETH, VETH_PLAIN, type Wire } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

/** Outside of the repository: a checkout may have it beside. */
const SCRIPT = fileURLToPath(new URL('../../../../shared/tools/clients.sh', import.meta.url));
const SLOW_SCRIPT = fileURLToPath(new URL('../../../../shared/tools/slowhttp.sh', import.meta.url));
const SLOW_COMMANDS = ['bash', 'curl', 'ping', 'slowhttptest'];
/** Of clients.sh, where everything is installed: on the machine that decides about a change. */
const ALL_CLIENTS = 26;
const FILE_NAME = 'file.bin';
/** Few enough that no client's own patience ends. */
const FAULTS = ['seed=7', 'loss=1', 'dup=1', 'reorder=2', 'delay_ms=1'];
/** Where the script finds the clients that are npm packages, which are of this checkout's. */
const NPM = fileURLToPath(new URL('../../..', import.meta.url));
const NPM_CLIENTS = new Set(['undici-pipelining', 'axios', 'autocannon']);
/** Where it has siege keep its configuration. */
const SIEGE_HOME = '/tmp/.siege';
const SCRIPT_MS = 400_000;
const BYTES = 5000;
const REQUESTS = 500;

/** A client, the commands it takes, and a check that throws or returns what is wrong with its answer. */
interface Client {
  readonly name: string;
  readonly wire: Wire;
  readonly commands: readonly string[];
  readonly run: (url: string, home: string) => Promise<CommandResult>;
  readonly check: (t: ExecutionContext, result: CommandResult, file: SiteFile) => void;
}

const PYTHON = `
import hashlib, http.client, sys, urllib.parse
url = urllib.parse.urlparse(sys.argv[1])
connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=20)
digests = set()
for i in range(5):
    connection.request('GET', url.path)
    digests.add(hashlib.sha256(connection.getresponse().read()).hexdigest())
print(*digests)`;

const NODE_HTTP = `
const { Agent, get } = require('node:http');
const { createHash } = require('node:crypto');
const agent = new Agent({ keepAlive: true, maxSockets: 4 });
const one = () => new Promise((resolve, reject) => get(process.argv[1], { agent }, (response) => {
  const hash = createHash('sha256');
  response.on('data', (piece) => hash.update(piece));
  response.on('end', () => resolve(hash.digest('hex')));
}).on('error', reject));
Promise.all(Array.from({ length: 20 }, one)).then((all) => { console.log(...new Set(all)); agent.destroy(); });`;

const NODE_FETCH = `
const { createHash } = require('node:crypto');
const one = async () => createHash('sha256').update(new Uint8Array(await (await fetch(process.argv[1])).arrayBuffer())).digest('hex');
Promise.all(Array.from({ length: 20 }, one)).then((all) => console.log(...new Set(all)));`;

const CLIENTS: readonly Client[] = [
  {
    name: 'curl, reusing its connection',
    wire: TAP,
    commands: ['curl'],
    run: (url) => execute('curl', ['-sS', '--fail', '-w', '%{num_connects} ', ...outputs(url, 5)]),
    check: (t, { stdout }) => t.is(stdout.toString(), '1 0 0 0 0 '),
  },
  {
    name: 'curl with HTTP/1.0',
    wire: TAP_PLAIN,
    commands: ['curl'],
    run: (url) => execute('curl', ['-sS', '--fail', '--http1.0', url]),
    check: hasContents,
  },
  {
    name: 'wget',
    wire: TAP_PLAIN,
    commands: ['wget'],
    run: (url) => execute('wget', ['-q', '-t', '1', '-T', '20', '-O', '-', url]),
    check: hasContents,
  },
  {
    name: "Python's http.client",
    wire: VETH,
    commands: ['python3'],
    run: (url) => execute('python3', ['-c', PYTHON, url]),
    check: hasDigest,
  },
  {
    name: "Node's http",
    wire: TAP_PLAIN,
    commands: [],
    run: (url) => execute(process.execPath, ['-e', NODE_HTTP, url]),
    check: hasDigest,
  },
  {
    name: "Node's fetch",
    wire: VETH_PLAIN,
    commands: [],
    run: (url) => execute(process.execPath, ['-e', NODE_FETCH, url]),
    check: hasDigest,
  },
  {
    name: 'ab',
    wire: TAP_PLAIN,
    commands: ['ab'],
    run: (url) => execute('ab', ['-q', '-n', `${REQUESTS}`, '-c', '20', url]),
    check: (t, { stdout }) => {
      const said = stdout.toString();
      t.regex(said, /Complete requests: +500\n/);
      t.regex(said, /Failed requests: +0\n/);
      t.notRegex(said, /Non-2xx/);
    },
  },
  {
    name: 'ab with keep-alive',
    wire: VETH_PLAIN,
    commands: ['ab'],
    run: (url) => execute('ab', ['-q', '-k', '-n', `${REQUESTS}`, '-c', '20', url]),
    check: (t, { stdout }) => {
      const said = stdout.toString();
      t.regex(said, /Failed requests: +0\n/);
      t.regex(said, /Keep-Alive requests: +500\n/);
      t.notRegex(said, /Non-2xx/);
    },
  },
  {
    name: 'wrk',
    wire: VETH_PLAIN,
    commands: ['wrk'],
    run: (url) => execute('wrk', ['-t', '1', '-c', '20', '-d', '1s', url]),
    check: (t, { stdout }) => {
      t.regex(stdout.toString(), /Requests\/sec: +[1-9]/);
      t.notRegex(stdout.toString(), /Socket errors|Non-2xx/);
    },
  },
  {
    name: 'h2load with HTTP/1.1, a new connection every 20 ms',
    wire: VETH,
    commands: ['h2load'],
    run: (url) => execute('h2load', ['--h1', '-n', '100', '-c', '100', '-r', '50', '-t', '1', url]),
    check: (t, { stdout }) => t.regex(stdout.toString(), /100 succeeded, 0 failed, 0 errored, 0 timeout/),
  },
  {
    name: 'siege',
    wire: VETH_PLAIN,
    commands: ['siege'],
    run: (url, home) =>
      execute('siege', ['-q', '-b', '-j', '-c', '5', '-r', '20', url], { env: { ...environment, HOME: home } }),
    check: (t, { stdout }) => {
      // Its first run says before that it has made a configuration.
      const report = JSON.parse(stdout.toString().replace(/^[^{]*/, '')) as Record<string, number>;
      t.is(report.transactions, 100);
      t.is(report.failed_transactions, 0);
    },
  },
];

const note = existsSync(SCRIPT) ? '' : ' (no ../shared/tools/clients.sh beside this checkout)';

for (const { name, wire, commands, run, check } of CLIENTS) {
  commandTest(`${name}, over ${wire.name}${note}`, commands, async (t) => {
    const site = Site.create(t);
    const file = site.add('file.bin', BYTES);
    const cheetah = await CheetahProcess.serve(t, wire, site.root);
    const result = await run(`http://${STACK_ADDRESS}${file.path}`, temporaryDirectory(t));
    t.is(result.code, 0, result.stderr);
    check(t, result, file);
    await stop(t, cheetah);
  });
}

if (existsSync(SCRIPT)) {
  for (const wire of [TAP, VETH]) {
    commandTest(`the clients of ../shared/tools/clients.sh over ${wire.name}`, ['bash', 'curl'], async (t) => {
      const site = createSite(t);
      const cheetah = await CheetahProcess.serve(t, wire, site.root);
      await runClients(t, site);
      await stop(t, cheetah);
    });
  }
}

if (hasBadWire) {
  commandTest(
    'the clients of ../shared/tools/clients.sh, and slow ones, through a bad wire',
    [...SLOW_COMMANDS, ...WIRE_COMMANDS],
    async (t) => {
      const site = createSite(t);
      const middle = await layBadWire(t);
      const cheetah = await CheetahProcess.start(t, ['--root', site.root, ...TAP_END], middle);
      await joinBadWire(t, middle, { end: 'tap', faults: FAULTS });
      await runClients(t, site);
      await runSlowClients(t);
      t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
    },
  );
}

if (existsSync(SLOW_SCRIPT)) {
  commandTest('the slow clients of ../shared/tools/slowhttp.sh', SLOW_COMMANDS, async (t) => {
    const site = createSite(t);
    const cheetah = await CheetahProcess.serve(t, TAP, site.root);
    await runSlowClients(t);
    t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  });
}

function createSite(t: ExecutionContext): Site {
  const site = Site.create(t);
  site.add(FILE_NAME, BYTES);
  site.add('index.html', '<html><title>exonet</title></html>');
  return site;
}

async function runClients(t: ExecutionContext, site: Site): Promise<void> {
  t.timeout(SCRIPT_MS);
  // IP PORT PATH SIZE seconds connections
  const args = [SCRIPT, STACK_ADDRESS, '80', `/${FILE_NAME}`, `${BYTES}`, '1', '20'];
  const env = { ...environment, V: '1', NPM, TMPDIR: temporaryDirectory(t) };
  if (!existsSync(SIEGE_HOME)) t.teardown(() => rmSync(SIEGE_HOME, { recursive: true, force: true }));
  const { stdout } = await execute('bash', args, { timeoutMs: SCRIPT_MS, cwd: site.root, env });
  const lines = stdout.toString().trimEnd().split('\n');
  const failed = lines.filter((line) => line.startsWith('FAIL '));
  const missing = failed.filter((line) => !isThere(clientOf(line)));
  const served = lines.filter((line) => line.startsWith('ok ')).length;
  t.log(`${served} clients were served`);
  if (process.env.EXONET_INTEGRATION === 'require') t.is(served, ALL_CLIENTS);
  if (missing.length > 0) t.log(`not installed: ${missing.map(clientOf).join(', ')}`);
  if (!isInstalled('chromium')) t.log('not installed: chromium');
  t.deepEqual(
    failed.filter((line) => !missing.includes(line)),
    [],
  );
  t.regex(lines.at(-1) ?? '', /^pass [1-9]\d* fail \d+$/);
}

/** Heads, bodies and readers that are slow: everybody else is served meanwhile, and afterwards. */
async function runSlowClients(t: ExecutionContext): Promise<void> {
  t.timeout(SCRIPT_MS);
  // IP PORT PATH connections seconds
  const args = [SLOW_SCRIPT, STACK_ADDRESS, '80', `/${FILE_NAME}`, '100', '6'];
  const { stdout } = await execute('bash', args, { timeoutMs: SCRIPT_MS, cwd: temporaryDirectory(t) });
  t.regex(stdout.toString(), /^pass 6 fail 0$/m, stdout.toString());
}

/** The name of a check of clients.sh in a line of its output. */
function clientOf(line: string): string {
  return /^\w+ +([^:]+):/.exec(line)?.[1] ?? line;
}

/** Whether the client of a check of clients.sh is installed: its name begins with the command, or with its module. */
function isThere(client: string): boolean {
  if (NPM_CLIENTS.has(client)) return true;
  const module = /^python-(\w+)/.exec(client)?.[1];
  if (module === undefined) return isInstalled(client.split('-')[0] ?? '');
  return spawnSync('/usr/bin/python3', ['-c', `import ${module}`]).status === 0;
}

function outputs(url: string, count: number): string[] {
  return Array.from({ length: count }, () => ['-o', '/dev/null', url]).flat();
}

function hasContents(t: ExecutionContext, { stdout }: CommandResult, file: SiteFile): void {
  t.is(sha256(stdout), file.sha256);
}

/** It prints the digests of all that it got, each once. */
function hasDigest(t: ExecutionContext, { stdout }: CommandResult, file: SiteFile): void {
  t.is(stdout.toString().trim(), file.sha256);
}

async function stop(t: ExecutionContext, cheetah: CheetahProcess): Promise<void> {
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  t.is(cheetah.stderr, '');
  t.deepEqual(findKernelErrors(), []);
}
