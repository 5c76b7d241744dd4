/** `exonet webswamp` against real servers, and one that misbehaves: the program as people run it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Report } from '../../src/servers/webswamp/report.ts';
import { commandTest, execute, start, until, within } from '../support/commands.ts';
import { findKernelErrors } from '../support/kernel-errors.ts';
import { type CommandResult, enterPrivateNetwork, forbidden, integrationTest, ip } from '../support/netns.ts';
import { PROGRAM } from '../support/program.ts';
import { PIPED, ProgramProcess } from '../support/program-process.ts';
import { temporaryDirectory } from '../support/site.ts';
import { hasInterface, KERNEL_ADDRESS, TAP_NAME } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const FILE = 'a file that is served\n'.repeat(500);
const PORT = 8080;

interface Outcome extends CommandResult {
  readonly report: Report;
}

/** Runs webswamp to its end and reads its report. */
async function swamp(t: ExecutionContext, path: string, ...args: string[]): Promise<Outcome> {
  return swampAt(t, `http://${KERNEL_ADDRESS}:${PORT}${path}`, ...args);
}

async function swampAt(t: ExecutionContext, url: string, ...args: string[]): Promise<Outcome> {
  const json = join(temporaryDirectory(t), 'report.json');
  const result = await execute(process.execPath, [PROGRAM, 'webswamp', url, '--json', json, ...args]);
  t.is(result.stderr, '');
  t.false(hasInterface(TAP_NAME));
  return { ...result, report: JSON.parse(readFileSync(json, 'utf8')) as Report };
}

function assertClean(t: ExecutionContext, { code, report, stdout }: Outcome, requests: number): void {
  t.is(code, 0, stdout.toString());
  t.is(report.requests, requests, stdout.toString());
  t.is(report.errors, 0, stdout.toString());
  t.regex(stdout.toString(), /the (server|generator) is the limit/);
  t.is(report.counters.environment?.framesRefused, 0);
  t.is(report.counters.tcp?.payloadBytesCopied, 0);
}

/** Each switch has a counter that shows what it did. */
function assertSwitches(t: ExecutionContext, { counters, bytesReceived }: Report, args: readonly string[]): void {
  const { webswamp = {}, tcp = {}, environment = {} } = counters;
  const opened = webswamp.connectionsOpened ?? 0;
  t.is(webswamp.bytesCopied, args.includes('--copy') ? bytesReceived : 0);
  t.is(environment.connectionFilters, args.includes('--no-single-filter') ? opened : 0);
  // ARP and IPv4 of the one address; those of connections have been given up.
  t.is(environment.filters, 2);
  t.is((tcp.acksMerged ?? 0) > 0, !args.includes('--no-packet-merging'));
  t.is((tcp.checksumsSkipped ?? 0) > 0, args.includes('--no-checksum'));
  if (args.includes('--no-reuse')) t.is(webswamp.recordsReused, 0);
}

async function startNginx(t: ExecutionContext): Promise<string> {
  const directory = temporaryDirectory(t);
  const log = join(directory, 'access.log');
  writeFileSync(join(directory, 'file'), FILE);
  writeFileSync(
    join(directory, 'nginx.conf'),
    `daemon off; master_process off; user root; pid ${directory}/pid; error_log ${directory}/error.log;
events { worker_connections 2048; }
http { access_log ${log}; server { listen ${PORT} backlog=2048; root ${directory}; } }`,
  );
  await serve(t, 'nginx', ['-p', directory, '-c', join(directory, 'nginx.conf')]);
  return log;
}

async function serve(t: ExecutionContext, command: string, args: readonly string[]): Promise<void> {
  const child = start(t, command, args, { stdio: 'ignore' });
  await until(`${command} to listen`, () => readFileSync('/proc/net/tcp', 'latin1').includes(':1F90 00000000:0000 0A'));
  t.is(child.exitCode, null);
}

/** A server of this process; it is closed, with its connections, when the test is over. */
async function listen(t: ExecutionContext, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await within('listen', new Promise<void>((resolve) => server.listen(0, '0.0.0.0', 2048, resolve)));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

commandTest(
  'nginx: every request is in its log, kept alive, with connections of their own, and pipelined',
  ['nginx'],
  async (t) => {
    const log = await startNginx(t);
    const logged = (): string[] => readFileSync(log, 'latin1').split('\n').slice(0, -1);
    assertClean(t, await swamp(t, '/file', '-c', '16', '-n', '2000'), 2000);
    await until('the log', () => logged().length >= 2000);
    t.is(logged().length, 2000);
    // Three segments of ours for a request: SYN, the request with the handshake's ACK, the FIN with the last one.
    const each = await swamp(
      t,
      '/file',
      '-c',
      '8',
      '-n',
      '1000',
      '--requests-per-connection',
      '1',
      '--expect-length',
      `${FILE.length}`,
    );
    assertClean(t, each, 1000);
    t.is(each.report.counters.webswamp?.connectionsOpened, 1000);
    t.true((each.report.counters.tcp?.acksMerged ?? 0) >= 1000);
    t.true((each.report.counters.tcp?.acksMergedWithFin ?? 0) >= 900);
    await until('the log', () => logged().length >= 3000);
    t.is(logged().length, 3000);
    assertClean(t, await swamp(t, '/file', '-c', '4', '-n', '3000', '--pipeline', '8'), 3000);
    const timed = await swamp(t, '/file', '-c', '8', '-d', '500ms');
    t.is(timed.code, 0);
    await until('the log', () => logged().length >= 6000 + timed.report.requests);
    const served = logged().length - 6000;
    t.true(served >= timed.report.requests && served <= timed.report.requests + timed.report.unanswered);
    t.deepEqual(findKernelErrors(), []);
  },
);

commandTest('nginx: requests from a prefix of addresses, each in turn', ['nginx'], async (t) => {
  const log = await startNginx(t);
  assertClean(
    t,
    await swamp(t, '/file', '-c', '8', '-n', '600', '--requests-per-connection', '1', '--sources', '10.91.0.0/29'),
    600,
  );
  await until('the log', () => readFileSync(log, 'latin1').split('\n').length > 600);
  const counts = new Map<string, number>();
  for (const line of readFileSync(log, 'latin1').split('\n').slice(0, -1)) {
    const source = line.split(' ')[0] ?? '';
    counts.set(source, (counts.get(source) ?? 0) + 1);
  }
  t.deepEqual(
    [...counts.keys()].sort(),
    [1, 2, 3, 4, 5, 6].map((n) => `10.91.0.${n}`),
  );
  for (const count of counts.values()) t.is(count, 100);
});

commandTest(
  'nginx: an open loop keeps its rate; two generators start together and are merged',
  ['nginx'],
  async (t) => {
    await startNginx(t);
    const startAt = `${Math.ceil(Date.now() / 1000) + 4}`;
    const options = ['-c', '8', '-d', '1s', '--rate', '400/s', '--start-at', startAt];
    const url = `http://${KERNEL_ADDRESS}:${PORT}/file`;
    const directory = temporaryDirectory(t);
    const files = ['a.json', 'b.json'].map((name) => join(directory, name));
    const networks = [[], ['--device', 'tap:exo9', '--address', '10.94.0.2/24', '--host-address', '10.94.0.1/24']];
    const targets = [url, url.replace(KERNEL_ADDRESS, '10.94.0.1')];
    const results = await Promise.all(
      files.map((file, i) =>
        execute(process.execPath, [
          PROGRAM,
          'webswamp',
          targets[i] as string,
          '--json',
          file,
          ...options,
          ...(networks[i] as string[]),
        ]),
      ),
    );
    const reports = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Report);
    for (const [i, report] of reports.entries()) {
      t.is(results[i]?.stderr, '');
      t.is(report.rate?.due, 400);
      t.is(report.requests + report.unanswered + report.unsent, 400);
      t.true(Date.parse(report.startedAt) >= Number(startAt) * 1000);
    }
    const merged = join(directory, 'merged.json');
    const { code, stdout } = await execute(process.execPath, [
      PROGRAM,
      'webswamp',
      'merge',
      ...files,
      '--json',
      merged,
    ]);
    t.true(code === 0 || code === 3);
    t.regex(stdout.toString(), /800 due/);
    const whole = JSON.parse(readFileSync(merged, 'utf8')) as Report;
    t.is(whole.requests, (reports[0]?.requests ?? 0) + (reports[1]?.requests ?? 0));
    t.is(whole.latencyMs.max, Math.max(...reports.map(({ latencyMs }) => latencyMs.max)));
  },
);

commandTest('lighttpd: it ends connections after some requests, and no request is lost', ['lighttpd'], async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'file'), FILE);
  const config = join(directory, 'lighttpd.conf');
  writeFileSync(
    config,
    `server.document-root = "${directory}"\nserver.port = ${PORT}\nserver.max-keep-alive-requests = 10\n`,
  );
  await serve(t, 'lighttpd', ['-D', '-f', config]);
  const outcome = await swamp(t, '/file', '-c', '8', '-n', '1000', '--expect-length', `${FILE.length}`);
  assertClean(t, outcome, 1000);
  t.true((outcome.report.counters.webswamp?.connectionsOpened ?? 0) >= 90);
  const missing = await swamp(t, '/nothing', '-c', '2', '-n', '20');
  t.is(missing.report.requests, 0);
  t.is(missing.report.errorClasses.badStatus, 20);
  t.is(missing.code, 1);
});

integrationTest('node:http: lengths, chunks, no body, and bodies that end with the connection', async (t) => {
  const server = createHttpServer((request, response) => {
    if (request.url === '/chunks') {
      response.write('some ');
      setTimeout(() => response.end('chunks'), 1);
    } else if (request.url === '/close') {
      response.writeHead(200, { connection: 'close' });
      response.useChunkedEncodingByDefault = false;
      response.end(FILE);
    } else if (request.url === '/nothing') {
      response.writeHead(204).end();
    } else if (request.url === '/hints') {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      response.end('hinted');
    } else {
      response.end(FILE);
    }
  });
  const port = await listen(t, server);
  const cases: readonly (readonly [path: string, bytes: number, ...args: string[]])[] = [
    ['/file', FILE.length],
    ['/file', 0, '-X', 'HEAD'],
    ['/chunks', 11],
    ['/close', FILE.length],
    ['/nothing', 0, '--expect-status', '204'],
    ['/hints', 6],
    ['/file', FILE.length, '--copy', '--no-reuse', '--no-packet-merging', '--no-single-filter'],
    ['/file', FILE.length, '--no-checksum', '--no-offload', '--requests-per-connection', '3'],
  ];
  for (const [path, bytes, ...args] of cases) {
    const url = `http://${KERNEL_ADDRESS}:${port}${path}`;
    const outcome = await swampAt(t, url, '-c', '4', '-n', '100', '--expect-length', `${bytes}`, ...args);
    assertClean(t, outcome, 100);
    t.is(outcome.report.bodyBytes, 100 * bytes, `${path} ${args.join(' ')}`);
    assertSwitches(t, outcome.report, args);
  }
  // The baseline counts the same.
  for (const [path, bytes] of cases.slice(0, 1).concat(cases.slice(2, 6))) {
    const url = `http://127.0.0.1:${port}${path}`;
    const { report, code } = await swampAt(t, url, '--sockets', '-c', '4', '-n', '100', '--expect-length', `${bytes}`);
    t.is(code, 0);
    t.like(report, { requests: 100, errors: 0, bodyBytes: 100 * bytes });
  }
});

integrationTest('a server that misbehaves: each error in its class, over our stack and over sockets', async (t) => {
  const partial = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf';
  const server = createServer((socket) => {
    socket.once('data', (data) => {
      const path = data.toString('latin1').split(' ')[1];
      if (path === '/malformed') socket.write('\0\0\0 this is no HTTP\r\n\r\n');
      else if (path === '/reset') socket.resetAndDestroy();
      else if (path === '/late-reset') socket.write(partial, () => setTimeout(() => socket.resetAndDestroy(), 50));
      else if (path === '/short') socket.end(partial);
      else if (path === '/nothing') socket.end();
      else if (path === '/status') socket.write('HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno');
    });
  });
  const port = await listen(t, server);
  const cases: readonly (readonly [path: string, expected: string, place?: number])[] = [
    ['/malformed', 'malformed'],
    ['/reset', 'reset', 0],
    ['/late-reset', 'reset', partial.length],
    ['/short', 'shortBody'],
    ['/nothing', 'closedEarly'],
    ['/status', 'badStatus'],
    ['/silence', 'responseTimeout'],
  ];
  for (const variant of [[], ['--sockets']]) {
    const address = variant.length === 0 ? KERNEL_ADDRESS : '127.0.0.1';
    for (const [path, expected, place] of cases) {
      const options = ['-c', '4', '-n', '20', '--timeout', '1s', '--requests-per-connection', '1', ...variant];
      const { report, code } = await swampAt(t, `http://${address}:${port}${path}`, ...options);
      // Not one of them was answered.
      t.is(code, 1);
      t.is(report.requests, 0, path);
      t.is(report.errorClasses[expected], 20, `${path}: ${JSON.stringify(report.errorClasses)}`);
      t.is(report.errors, 20);
      if (place !== undefined) t.deepEqual(report.resetsAtByte, { [place]: 20 });
    }
    const nobody = await swampAt(t, `http://${address}:9/`, '-c', '4', '-n', '20', ...variant);
    t.is(nobody.report.errorClasses.refused, 20);
  }
  const nowhere = await swampAt(t, 'http://10.90.0.77/', '-c', '2', '-n', '4', '--timeout', '2s');
  t.is((nowhere.report.errorClasses.unreachable ?? 0) + (nowhere.report.errorClasses.synTimeout ?? 0), 4);
});

integrationTest('a warm-up is load that the report does not count', async (t) => {
  let served = 0;
  const server = createHttpServer((_request, response) => {
    served++;
    response.end('x');
  });
  const port = await listen(t, server);
  const variants: readonly (readonly string[])[] = [
    [],
    ['--rate', '400/s'],
    ['--sockets'],
    ['--requests-per-connection', '1'],
  ];
  for (const variant of variants) {
    served = 0;
    const address = variant.includes('--sockets') ? '127.0.0.1' : KERNEL_ADDRESS;
    const options = ['-c', '4', '-n', '300', '--warm-up', '1500ms', ...variant];
    const { code, report, stdout } = await swampAt(t, `http://${address}:${port}/`, ...options);
    t.is(code, 0, stdout.toString());
    t.is(report.warmUpSeconds, 1.5);
    t.is(report.requests, 300);
    t.is(report.errors, 0);
    t.true(served > 300, variant.join(' '));
    t.regex(stdout.toString(), /^ *\S* *warming up, 0\.\d s to go$/m);
    t.regex(stdout.toString(), /after 1\.5 s of warm-up/);
  }
});

integrationTest('Ctrl-C ends a run early, with its summary', async (t) => {
  const port = await listen(
    t,
    createHttpServer((_request, response) => response.end('x')),
  );
  const args = [PROGRAM, 'webswamp', `http://${KERNEL_ADDRESS}:${port}/`, '-d', '60s'];
  const swamp = new ProgramProcess('webswamp', start(t, process.execPath, args, PIPED));
  await until('progress', () => /\d+ requests\/s, [1-9]\d* so far/.test(swamp.stdout));
  t.deepEqual(await swamp.stop(), { code: 0, signal: null });
  t.is(swamp.stderr, '');
  t.regex(swamp.stdout, /verdict/);
  t.false(ip('-brief', 'link').includes(TAP_NAME));
});

const MISTAKES: readonly (readonly [string, RegExp])[] = [
  ['', /URL is missing/],
  ['10.90.0.1', /no URL/],
  ['https://10.90.0.1/', /only http/],
  ['http://localhost/', /localhost: .*IPv4/],
  ['http://10.90.0.1/ http://10.90.0.1/', /one URL/],
  ['http://u:p@10.90.0.1/', /--header/],
  ['http://10.90.0.1/ -c 0', /--connections 0\b/],
  ['http://10.90.0.1/ -n many', /--requests many/],
  ['http://10.90.0.1/ -d 0s', /--duration 0s/],
  ['http://10.90.0.1/ -d soon', /--duration soon/],
  ['http://10.90.0.1/ --warm-up later', /--warm-up later/],
  ['http://10.90.0.1/ --rate 0', /--rate 0/],
  ['http://10.90.0.1/ --rate 5/h', /--rate 5\/h/],
  ['http://10.90.0.1/ --pipeline 5000', /--pipeline 5000/],
  ['http://10.90.0.1/ --requests-per-connection 0', /--requests-per-connection 0/],
  ['http://10.90.0.1/ --expect-status 42', /--expect-status 42/],
  ['http://10.90.0.1/ --start-at 1', /--start-at 1: .*passed/],
  ['http://10.90.0.1/ --start-at noon', /--start-at noon/],
  ['http://10.90.0.1/ --header nonsense', /--header nonsense/],
  ['http://10.90.0.1/ -H Connection:close', /--header Connection/],
  ['http://10.90.0.1/ -X G(T', /--method G\(T/],
  ['http://10.90.0.1/ --sources 10.91.0.1/24', /--sources 10\.91\.0\.1\/24/],
  ['http://10.90.0.1/ --sockets --no-checksum', /--no-checksum.*--sockets/],
  ['http://10.90.0.1/ --no-such', /no-such/],
  ['merge', /Which reports/],
  ['merge /etc/hostname', /\/etc\/hostname.*no JSON/],
  ['merge /nowhere/nothing/there.json', /there\.json/],
];

integrationTest('a mistake in the arguments is one sentence', async (t) => {
  t.timeout(110_000);
  for (let i = 0; i < MISTAKES.length; i += 4) {
    await Promise.all(
      MISTAKES.slice(i, i + 4).map(async ([line, named]) => {
        const args = line.split(' ').filter((word) => word !== '');
        const { code, stdout, stderr } = await execute(process.execPath, [PROGRAM, 'webswamp', ...args]);
        t.is(code, line.includes('/nothing/there') ? 1 : 2, line);
        t.is(stdout.toString(), '', line);
        t.regex(stderr, /^exonet: [^\n]+\n$/, line);
        t.regex(stderr, named, line);
      }),
    );
  }
  t.false(hasInterface(TAP_NAME));
});
