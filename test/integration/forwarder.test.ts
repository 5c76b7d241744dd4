/** `exonet forward` between kernels: curl in one namespace, nginx in another, nothing but the forwarder between them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { commandTest, execute, until, within } from '../support/commands.ts';
import { BACKENDS, CLIENT, ForwardNetwork, ForwardProcess, SERVICE } from '../support/forward-process.ts';
import { findKernelErrors } from '../support/kernel-errors.ts';
import type { SinkReport } from '../support/linux-peer.ts';
import { sendFile, startServer, startSink } from '../support/linux-programs.ts';
import { enterPrivateNetwork, forbidden, integrationTest, Netns } from '../support/netns.ts';
import { PROGRAM } from '../support/program.ts';
import { Site, sha256, temporaryDirectory } from '../support/site.ts';
import { hasInterface, TAP_NAME } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const TEN_MEGABYTES = 10_000_000;
const ONE_SENTENCE = /^exonet: [^\n]+[.?]\n$/;
const SERVICE_ARGUMENTS = ['--listen', `${SERVICE}:80`, '--backend', `${BACKENDS[0]}:8080`];
const TRANSFERS = 500;
const TRANSFER_BYTES = 400_000;

/** nginx as one process, answering when this resolves. */
async function startNginx(t: ExecutionContext, where: Netns, address: string, root: string) {
  const folder = temporaryDirectory(t);
  const config = join(folder, 'nginx.conf');
  writeFileSync(
    config,
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 2048; }
http {
  access_log off; client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b;
  fastcgi_temp_path ${folder}/c; uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
  server { listen ${address}:8080; root ${root}; location = /who { return 200 $remote_addr; } }
}`,
  );
  const child = where.spawn('nginx', ['-c', config, '-e', join(folder, 'error.log')], { stdio: 'ignore' });
  for (let tries = 0; tries < 500; tries++) {
    const answer = await where.exec('curl', ['-s', '-o', '/dev/null', `http://${address}:8080/who`]);
    if (answer.code === 0) return child;
  }
  throw new Error('nginx does not answer');
}

for (const offload of [true, false]) {
  for (const mode of ['nat', 'routed']) {
    commandTest(`curl and nginx, ${mode}, offload ${offload ? 'on' : 'off'}`, ['curl', 'nginx'], async (t) => {
      t.timeout(120_000);
      const network = await ForwardNetwork.create(t);
      const site = Site.create(t);
      const file = site.add('large.bin', TEN_MEGABYTES);
      await startNginx(t, network.backend, BACKENDS[0], site.root);
      const args = [...SERVICE_ARGUMENTS, '--mode', mode, ...(offload ? [] : ['--no-offload'])];
      const forward = await network.forward(...args);
      for (let round = 0; round < 3; round++) {
        const got = await network.client.exec('curl', ['-s', `http://${SERVICE}${file.path}`]);
        t.is(sha256(got.stdout), file.sha256);
      }
      const who = await network.client.exec('curl', ['-s', `http://${SERVICE}/who`]);
      t.is(who.stdout.toString(), mode === 'nat' ? '10.91.0.9' : CLIENT);
      t.deepEqual(findKernelErrors(network.client), []);
      t.deepEqual(findKernelErrors(network.backend), []);
      await until('the flow log', () => forward.log.filter(({ msg }) => msg === 'flow ended').length === 4);
      const ended = forward.log.filter(({ msg }) => msg === 'flow ended');
      t.true(ended.every(({ how }) => how === 'closed'));
      t.true((ended[0]?.toClient?.bytes ?? 0) > TEN_MEGABYTES);
      t.deepEqual(await forward.stop(), { code: 0, signal: null });
      t.is(forward.log.length, forward.stderr.trim().split('\n').length);
    });
  }
}

commandTest('one TAP, the kernel being the way to the backend; gone afterwards', ['curl'], async (t) => {
  t.timeout(120_000);
  const [kernel, backend] = await Promise.all([Netns.create(), Netns.create()]);
  for (const netns of [kernel, backend]) t.teardown(() => netns.remove());
  Netns.connect(kernel, 'inside0', backend, 'backend0');
  kernel.ip('addr', 'add', '10.91.0.1/24', 'dev', 'inside0');
  kernel.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  backend.ip('addr', 'add', `${BACKENDS[0]}/24`, 'dev', 'backend0');
  backend.ip('route', 'add', 'default', 'via', '10.91.0.1');
  const site = Site.create(t);
  const file = site.add('large.bin', TEN_MEGABYTES);
  await startServer(t, backend, BACKENDS[0], 8080, site.root);
  for (const args of [[], ['--no-offload']]) {
    const forward = await ForwardProcess.start(kernel, [...SERVICE_ARGUMENTS, '--log-level', 'warn', ...args]);
    const got = await kernel.exec('curl', ['-s', '-m', '60', `http://${SERVICE}${file.path}`]);
    t.is(sha256(got.stdout), file.sha256);
    t.deepEqual(await forward.stop(), { code: 0, signal: null });
    t.is(forward.stderr, '');
    t.false(kernel.ip('-brief', 'link').includes(TAP_NAME));
  }
});

commandTest('500 transfers at once through two services, and one backend is killed', ['curl', 'nginx'], async (t) => {
  t.timeout(240_000);
  const network = await ForwardNetwork.create(t);
  const site = Site.create(t);
  const file = site.add('file.bin', TRANSFER_BYTES);
  await startNginx(t, network.backend, BACKENDS[0], site.root);
  const doomed = await startNginx(t, network.backend, BACKENDS[1], site.root);
  const second = ['--listen', `${SERVICE}:81`, '--backend', `${BACKENDS[1]}:8080`];
  const forward = await network.forward(...SERVICE_ARGUMENTS, ...second);
  const folder = temporaryDirectory(t);
  const endless = site.add('endless.bin', 2 * TEN_MEGABYTES);
  const fetchAll = (port: number, path: string, rate: string) => {
    const parallel = ['-Z', '--parallel-immediate', '--parallel-max', `${TRANSFERS / 2}`, '--limit-rate', rate];
    const urls = `http://${SERVICE}:${port}${path}?[1-${TRANSFERS / 2}]`;
    const args = [
      '-s',
      '-f',
      '-m',
      '150',
      ...parallel,
      '-H',
      'Connection: close',
      '-o',
      join(folder, `${port}-#1`),
      urls,
    ];
    return network.client.exec('curl', args, 200_000);
  };
  const kept = fetchAll(80, file.path, '100k');
  const lost = fetchAll(81, endless.path, '100k');
  await until('all of them to be open', () => countOf(forward, 'flow opened') >= TRANSFERS, 60_000);
  // Churn beside them, before and after.
  for (let round = 0; round < 20; round++) {
    if (round === 5) doomed.kill('SIGKILL');
    const who = await network.client.exec('curl', ['-s', '-m', '30', `http://${SERVICE}/who`]);
    t.is(who.stdout.toString(), '10.91.0.9');
  }
  t.is((await kept).code, 0);
  t.not((await lost).code, 0);
  for (let number = 1; number <= TRANSFERS / 2; number++) {
    const contents = readFileSync(join(folder, `80-${number}`));
    if (sha256(contents) !== file.sha256) t.fail(`transfer ${number} is not what it should be`);
  }
  // A SYN-ACK that was sent twice counts as an error to the client's kernel; under load that happens.
  const errors = [network.client, network.backend].flatMap((netns) => findKernelErrors(netns));
  t.deepEqual(
    errors.filter((text) => !text.endsWith(' Tcp.InErrs')),
    [],
  );
  await until('every flow to end', () => countOf(forward, 'flow ended') >= TRANSFERS + 20, 60_000);
  const ends = forward.log.filter(({ msg }) => msg === 'flow ended').map(({ how }) => how);
  // The kernel of a server that was killed closes what was all written, resets the rest, and refuses who comes late.
  const orderly = ends.filter((how) => how === 'closed').length;
  t.true(orderly >= TRANSFERS / 2 + 20, `${orderly} flows were closed`);
  t.true(
    ends.every((how) => how === 'closed' || /^(reset|refused) by /.test(how ?? '')),
    [...new Set(ends)].join(),
  );
  t.deepEqual(await forward.stop(), { code: 0, signal: null });
});

integrationTest(
  'a link beyond the forwarder that is too narrow: fragmentation needed reaches the client',
  async (t) => {
    t.timeout(120_000);
    const network = await ForwardNetwork.create(t);
    const server = await Netns.create();
    t.teardown(() => server.remove());
    const { backend: router, client } = network;
    Netns.connect(router, 'narrow0', server, 'server0');
    router.ip('addr', 'add', '10.92.0.1/24', 'dev', 'narrow0');
    router.ip('link', 'set', 'narrow0', 'mtu', '1200');
    router.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    server.ip('addr', 'add', '10.92.0.2/24', 'dev', 'server0');
    server.ip('route', 'add', 'default', 'via', '10.92.0.1');
    const site = Site.create(t);
    const file = site.add('large.bin', TEN_MEGABYTES);
    await startSink(t, server, '10.92.0.2', 8080);
    const forward = await network.forward(
      '--listen',
      `${SERVICE}:80`,
      '--backend',
      '10.92.0.2:8080',
      '--gateway',
      BACKENDS[0],
    );
    const sent = await sendFile(SERVICE, 80, file.file, client);
    t.is((JSON.parse(sent.stdout.toString()) as SinkReport).sha256, file.sha256);
    t.regex(client.ip('route', 'get', SERVICE), /mtu 1200/);
    t.deepEqual(await forward.stop(), { code: 0, signal: null });
  },
);

/** Arguments that cannot be, and what the sentence has to name. */
const MISTAKES: readonly (readonly [string, RegExp])[] = [
  ['', /--listen/],
  ['--listen', /--listen/],
  ['--listen 10.90.0.2:80', /--listen 10\.90\.0\.2:80: a --backend/],
  ['--backend 10.91.0.2:80', /--backend 10\.91\.0\.2:80: a --listen/],
  ['--listen 10.90.0.2 --backend 10.91.0.2:80', /--listen 10\.90\.0\.2: must be/],
  ['--listen 10.90.0.2:0 --backend 10.91.0.2:80', /--listen/],
  ['--listen 10.90.0.2:65536 --backend 10.91.0.2:80', /--listen/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.256:80', /--backend/],
  ['--listen 10.90.0.2:80 --backend localhost:80', /--backend localhost:80/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --listen 10.90.0.2:80 --backend 10.91.0.2:81', /twice/],
  ['--listen 10.90.0.2:80 --backend 10.90.0.2:81', /--backend 10\.90\.0\.2:81/],
  ['--listen 10.90.0.5:80 --backend 10.90.0.5:81', /--backend 10\.90\.0\.5:81/],
  ['--listen 10.90.0.1:80 --backend 10.91.0.2:81', /--listen 10\.90\.0\.1/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --device packet:x0', /--backend .*--gateway/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --mode bridged', /--mode bridged.*nat or routed/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --balance fair', /--balance fair/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --max-flows 0', /--max-flows 0/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --max-half-open 0', /--max-half-open 0/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --rest-after often', /--rest-after often/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --rest-after 3 --sockets', /--rest-after/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --device tap:a --device tap:b', /--address/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --device tap:a --device tap:b --device tap:c', /two devices/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --address 10.90.0.2/24 --address 10.91.0.9/24', /no --device/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --gateway 10.99.0.1', /--gateway 10\.99\.0\.1/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 --mtu 12', /--mtu 12/],
  ['--listen 10.90.0.2:80 --backend 10.91.0.2:80 elsewhere', /elsewhere/],
];

integrationTest('a mistake in the arguments is one sentence, and exit code 2', async (t) => {
  t.timeout(110_000);
  for (let i = 0; i < MISTAKES.length; i += 4) {
    await Promise.all(
      MISTAKES.slice(i, i + 4).map(async ([line, named]) => {
        const args = line.split(' ').filter((word) => word !== '');
        const { code, stderr, stdout } = await execute(process.execPath, [PROGRAM, 'forward', ...args]);
        t.is(code, 2, line);
        t.regex(stderr, ONE_SENTENCE, line);
        t.regex(stderr, named, line);
        t.is(stdout.length, 0, line);
      }),
    );
  }
  t.false(hasInterface(TAP_NAME));
});

integrationTest('the same device twice is one sentence; help is help', async (t) => {
  const networks = [
    '--device',
    'tap:same0',
    '--address',
    '10.90.0.2/24',
    '--device',
    'tap:same0',
    '--address',
    '10.93.0.2/24',
  ];
  const hosts = ['--host-address', '10.90.0.1/24', '--host-address', '10.93.0.1/24'];
  const args = [PROGRAM, 'forward', ...SERVICE_ARGUMENTS, ...networks, ...hosts];
  const { code, stderr } = await execute(process.execPath, args);
  t.is(code, 1);
  t.regex(stderr, ONE_SENTENCE);
  t.regex(stderr, /same0/);
  t.false(hasInterface('same0'));
  const help = await within('help', execute(process.execPath, [PROGRAM, 'forward', '--help']));
  t.is(help.code, 0);
  t.regex(help.stdout.toString(), /--backend IP:PORT/);
});

function countOf(forward: ForwardProcess, message: string): number {
  return forward.stderr.split(`"msg":"${message}"`).length - 1;
}
