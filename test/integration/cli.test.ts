/** The command line of `exonet cheetah`: mistakes, missing rights, signals, and devices that belong to others. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { readCapture } from '../support/capture.ts';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, execute, until, within } from '../support/commands.ts';
import { get, HttpClient } from '../support/http-client.ts';
import { type CommandResult, enterPrivateNetwork, forbidden, integrationTest, ip, Netns } from '../support/netns.ts';
import { PROGRAM } from '../support/program.ts';
import type { Exit } from '../support/program-process.ts';
import { Site, sha256, temporaryDirectory } from '../support/site.ts';
import {
  addVeth,
  FAR_NAME,
  hasInterface,
  KERNEL_ADDRESS,
  NEAR_NAME,
  STACK_ADDRESS,
  TAP,
  TAP_NAME,
  VETH,
} from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const NOBODY = 65_534;
const ONE_SENTENCE = /^exonet: [^\n]+[.?]\n$/;
/** How long the server waits for responses that nobody takes. */
const GRACE_MS = 5000;

/** Arguments that cannot be, and what the sentence has to name. */
const MISTAKES: readonly (readonly [string, RegExp])[] = [
  ['cheetah', /--root/],
  ['cheetah --root', /--root/],
  ['cheetah --root /nowhere/at/all', /--root .*\/nowhere\/at\/all.* no such directory/],
  ['cheetah --root /etc/hostname', /--root .*not a directory/],
  ['cheetah --root / --port 0', /--port 0\b/],
  ['cheetah --root / --port 65536', /--port 65536/],
  ['cheetah --root / --port http', /--port http/],
  ['cheetah --root / --cache-size 0', /--cache-size 0\b/],
  ['cheetah --root / --cache-size 1e9', /--cache-size 1e9/],
  ['cheetah --root / --congestion vegas', /--congestion vegas.*bbr, cubic, newreno/],
  ['cheetah --root / --ecn yes', /--ecn yes.*offer, accept, off/],
  ['cheetah --root / --profile bsdLike', /--profile bsdLike.*linuxLike/],
  ['cheetah --root / --sockets --congestion bbr', /--congestion.*--sockets/],
  ['webswamp http://10.90.0.1/ --congestion vegas', /--congestion vegas/],
  ['webswamp http://10.90.0.1/ --sockets --ecn offer', /--ecn.*--sockets/],
  ['dut --rpc /tmp/rpc --profile bsdLike', /--profile bsdLike.*linuxLike/],
  ['cheetah --root / --device eth0', /--device eth0/],
  ['cheetah --root / --device tun:exo0', /--device tun:exo0/],
  ['cheetah --root / --device tap:', /--device tap:/],
  ['cheetah --root / --device tap:sixteen-bytes-it-is', /--device tap:sixteen-bytes-it-is/],
  ['cheetah --root / --device tap:a/b', /--device tap:a\/b/],
  ['cheetah --root / --address 10.90.0.2', /--address 10\.90\.0\.2/],
  ['cheetah --root / --address 10.90.0.256/24', /--address/],
  ['cheetah --root / --address 10.90.0.2/33', /--address/],
  ['cheetah --root / --address 010.90.0.2/24', /--address/],
  ['cheetah --root / --address 10.90.0.0/24', /--address/],
  ['cheetah --root / --address 10.90.0.255/24', /--address/],
  ['cheetah --root / --address 127.0.0.2/24', /--address/],
  ['cheetah --root / --address 224.0.0.1/24', /--address/],
  ['cheetah --root / --host-address 10.91.0.1/24', /--host-address/],
  ['cheetah --root / --host-address 10.90.0.2/24', /--host-address/],
  ['cheetah --root / --device packet:lo --host-address 10.90.0.1/24', /--host-address/],
  ['cheetah --root / --gateway 10.91.0.1', /--gateway 10\.91\.0\.1/],
  ['cheetah --root / --gateway 10.90.0.2', /--gateway 10\.90\.0\.2/],
  ['cheetah --root / --gateway router', /--gateway router/],
  ['cheetah --root / --mtu 575', /--mtu 575/],
  ['cheetah --root / --mtu 65522', /--mtu 65522/],
  ['cheetah --root / --mtu big', /--mtu big/],
  ['cheetah --root / --mac 02:00:00', /--mac 02:00:00/],
  ['cheetah --root / --mac 01:00:5e:00:00:01', /--mac 01:00:5e:00:00:01/],
  ['cheetah --root / --log-level loud', /--log-level loud/],
  ['cheetah --root / --no-such-option', /no-such-option/],
  ['cheetah --root / --no-offload=maybe', /no-offload/],
  ['cheetah --root / somewhere', /somewhere/],
  ['leopard', /leopard.*cheetah/],
  ['--root /', /--root/],
];

integrationTest('a mistake in the arguments is one sentence, and exit code 2', async (t) => {
  t.timeout(110_000);
  for (let i = 0; i < MISTAKES.length; i += 4) {
    await Promise.all(MISTAKES.slice(i, i + 4).map(([line, named]) => checkMistake(t, line, named)));
  }
  t.false(hasInterface(TAP_NAME));
});

integrationTest('what cannot be opened is one sentence, and exit code 1', async (t) => {
  await addVeth(t);
  ip('link', 'add', 'idle0', 'type', 'veth', 'peer', 'name', 'idle1');
  t.teardown(() => ip('link', 'del', 'idle0'));
  const mac = /link\/ether (\S+)/.exec(ip('link', 'show', FAR_NAME))?.[1] ?? '';
  const held = await CheetahProcess.start(t, [
    '--root',
    '/',
    '--address',
    '10.94.0.2/24',
    '--host-address',
    '10.94.0.1/24',
  ]);
  const cases: readonly (readonly [string, RegExp])[] = [
    ['--device packet:nowhere0', /nowhere0/],
    ['--device packet:idle0', /idle0 is down/],
    ['--device packet:lo', /lo does not carry Ethernet/],
    [`--device tap:${FAR_NAME}`, new RegExp(`${FAR_NAME}.*not a TAP`)],
    [`--device tap:${TAP_NAME}`, new RegExp(`${TAP_NAME} is in use`)],
    // The kernel owns these addresses: two stacks would answer.
    [`--device packet:${FAR_NAME} --address ${KERNEL_ADDRESS}/24`, /10\.90\.0\.1.*far0/],
    [`--device packet:${FAR_NAME} --address 10.94.0.1/24`, /10\.94\.0\.1.*exo0/],
    [`--device tap:other0 --address ${KERNEL_ADDRESS}/24 --host-address 10.90.0.9/24`, /10\.90\.0\.1.*far0/],
    [`--device packet:${FAR_NAME} --mac ${mac}`, new RegExp(mac)],
    ['--device tap:other0 --pcap /nowhere/at/all.pcap', /\/nowhere\/at\/all\.pcap/],
    ['--device tap:other0 --pcap /dev/full', /no space/],
  ];
  for (const [line, named] of cases) {
    const { code, stdout, stderr } = await run(`cheetah --root / ${line}`);
    t.is(code, 1, line);
    t.is(stdout.toString(), '', line);
    t.regex(stderr, /^exonet: [^\n]+\n$/, line);
    t.regex(stderr, named, line);
  }
  t.false(hasInterface('other0'));
  t.deepEqual(await held.stop(), { code: 0, signal: null });
});

/** As whom the program has no right to devices: root without any capability, and a user like any other. */
const POWERLESS: readonly (readonly [string, readonly string[]])[] = [
  ['root without capabilities', ['--inh-caps=-all', '--bounding-set=-all']],
  ['nobody', [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']],
];

for (const [who, becoming] of POWERLESS) {
  integrationTest(`without the right to open a device: three ways out, as ${who}`, async (t) => {
    const readable = await execute('setpriv', [...becoming, process.execPath, PROGRAM, '--version']);
    if (readable.code !== 0) {
      t.log(`this checkout is not for ${who} to read: ${readable.stderr.trim().split('\n').at(-1)}`);
      t.pass();
      return;
    }
    await addVeth(t);
    for (const device of [`tap:${TAP_NAME}`, `packet:${FAR_NAME}`]) {
      const args = [...becoming, process.execPath, PROGRAM, 'cheetah', '--root', '/', '--device', device];
      const { code, stdout, stderr } = await execute('setpriv', args);
      t.is(code, 1, device);
      t.is(stdout.toString(), '', device);
      t.regex(stderr, ONE_SENTENCE, device);
      for (const way of [/sudo/, /docker run --cap-add NET_ADMIN --device \/dev\/net\/tun/, /make run-rootless/]) {
        t.regex(stderr, way, device);
      }
    }
    t.false(hasInterface(TAP_NAME));
  });
}

integrationTest('help and version are printed, and open nothing', async (t) => {
  for (const line of ['--help', 'cheetah --help', 'cheetah -h', '--version', '']) {
    const { code, stdout, stderr } = await run(line);
    t.is(code, 0, line);
    t.is(stderr, '', line);
    t.regex(stdout.toString(), line === '--version' ? /^\d+\.\d+\.\d+\n$/ : /exonet cheetah|usage: exonet/, line);
  }
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  commandTest(`${signal} closes connections, removes the device and ends with 0`, ['tshark'], async (t) => {
    const site = Site.create(t);
    const file = site.add('file.bin', 1000);
    const capture = join(temporaryDirectory(t), 'stop.pcap');
    const cheetah = await CheetahProcess.serve(t, TAP, site.root, '--pcap', capture);
    t.true(hasInterface(TAP_NAME));
    t.regex(
      cheetah.stdout,
      /^cheetah serves \S+ at http:\/\/10\.90\.0\.2\/ \(exo0, [^\n]+curl http:\/\/10\.90\.0\.2\/\n$/,
    );
    const clients = await Promise.all(Array.from({ length: 5 }, () => HttpClient.connect(t)));
    for (const client of clients.slice(1)) {
      client.write(get(file.path));
      t.is((await client.read()).status, 200);
    }
    const ends = Promise.all(clients.map((client) => client.readEnd()));
    t.deepEqual(await cheetah.stop(signal), { code: 0, signal: null });
    await ends;
    t.is(cheetah.stderr, '');
    t.false(hasInterface(TAP_NAME));
    const fins = await readCapture(capture, `ip.src == ${STACK_ADDRESS} && tcp.flags.fin == 1`, ['tcp.stream']);
    t.is(new Set(fins.flat()).size, clients.length);
    const resets = await readCapture(capture, `ip.src == ${STACK_ADDRESS} && tcp.flags.reset == 1`, ['frame.number']);
    t.deepEqual(resets, []);
  });
}

integrationTest('Ctrl-C lets a response come to its end', async (t) => {
  const site = Site.create(t);
  const file = site.add('large.bin', 20_000_000);
  const cheetah = await CheetahProcess.serve(t, TAP, site.root);
  const client = await HttpClient.connect(t);
  client.write(get(file.path));
  while (client.bufferedBytes < 100_000) await client.more();
  client.socket.pause();
  cheetah.child.kill('SIGINT');
  await sleep(300);
  t.is(cheetah.child.exitCode, null);
  // No new connection is taken meanwhile.
  await t.throwsAsync(HttpClient.connect(t), { code: 'ECONNREFUSED' });
  client.socket.resume();
  t.is(sha256((await client.read()).body), file.sha256);
  await client.readEnd();
  t.deepEqual(await within('the end', cheetah.exited), { code: 0, signal: null });
  t.is(cheetah.stderr, '');
  t.false(hasInterface(TAP_NAME));
});

commandTest('Ctrl-C resets who does not take a response, after a while', ['tshark'], async (t) => {
  const capture = join(temporaryDirectory(t), 'reset.pcap');
  const { cheetah, client } = await interruptWhileStalled(t, '--pcap', capture);
  const interruptedMs = Date.now();
  t.deepEqual(await within('the end', cheetah.exited), { code: 0, signal: null });
  const tookMs = Date.now() - interruptedMs;
  t.true(tookMs > GRACE_MS - 500, `${tookMs}`);
  t.false(hasInterface(TAP_NAME));
  const filter = `ip.src == ${STACK_ADDRESS} && tcp.flags.reset == 1`;
  t.is((await readCapture(capture, filter, ['frame.number'])).length, 1);
  // The reset has reached the client, though it comes without the rest.
  client.socket.resume();
  await until('the end of the connection', () => client.ended || client.failed);
});

integrationTest('a second Ctrl-C ends at once', async (t) => {
  const { cheetah } = await interruptWhileStalled(t);
  await sleep(300);
  t.is(cheetah.child.exitCode, null);
  cheetah.child.kill('SIGINT');
  t.deepEqual(await within('the end', cheetah.exited, 2000), { code: 130, signal: null });
  t.false(hasInterface(TAP_NAME));
});

integrationTest('a persistent TAP is attached to, and left as it was found', async (t) => {
  const site = Site.create(t);
  const file = site.add('file.bin', 1000);
  const stackAddress = '10.94.0.2/24';
  const variants: readonly (readonly [string, readonly string[][]])[] = [
    ['bare', []],
    ['with an address', [['addr', 'add', '10.94.0.1/24', 'dev', 'keep0']]],
    [
      'with an address of its own, an MTU, and up',
      [
        ['addr', 'add', '10.94.0.7/25', 'dev', 'keep0'],
        ['link', 'set', 'keep0', 'mtu', '1400', 'address', '02:00:00:00:00:42', 'up'],
      ],
    ],
    ['with several queues', [['link', 'set', 'keep0', 'up']]],
  ];
  for (const [what, commands] of variants) {
    const queues = what === 'with several queues' ? ['multi_queue'] : [];
    ip('tuntap', 'add', 'keep0', 'mode', 'tap', ...queues);
    try {
      for (const command of commands) ip(...command);
      const before = describe('keep0');
      const args = ['--root', site.root, '--device', 'tap:keep0', '--address', stackAddress];
      const cheetah = await CheetahProcess.start(t, [...args, '--host-address', '10.94.0.1/24', '--mtu', '1400']);
      t.regex(cheetah.stdout, /keep0, MTU 1400/, what);
      const client = await HttpClient.connect(t, 80, '10.94.0.2');
      client.write(get(file.path, 'Connection: close'));
      t.is(sha256((await client.read()).body), file.sha256, what);
      await client.readEnd();
      // In between it has what it lacked.
      t.regex(ip('addr', 'show', 'dev', 'keep0'), /[<,]UP[,>][\s\S]*inet 10\.94\.0\.[17]/, what);
      t.deepEqual(await cheetah.stop(), { code: 0, signal: null }, what);
      t.is(describe('keep0'), before, what);
    } finally {
      ip('tuntap', 'del', 'keep0', 'mode', 'tap', ...queues);
    }
  }
});

integrationTest('a TAP that is removed while it serves: one sentence, exit code 1', async (t) => {
  const cheetah = await CheetahProcess.serve(t, TAP, Site.create(t).root);
  const client = await HttpClient.connect(t);
  t.false(client.ended);
  ip('link', 'del', TAP_NAME);
  checkVanished(t, cheetah, await within('the end', cheetah.exited, 5000), TAP_NAME);
});

integrationTest('an interface that is removed while it serves: one sentence, exit code 1', async (t) => {
  const cheetah = await CheetahProcess.serve(t, VETH, Site.create(t).root);
  const client = await HttpClient.connect(t);
  t.false(client.ended);
  ip('link', 'del', FAR_NAME);
  checkVanished(t, cheetah, await within('the end', cheetah.exited, 5000), NEAR_NAME);
});

integrationTest('an interface that goes down and comes up again is served on', async (t) => {
  const site = Site.create(t);
  const file = site.add('file.bin', 100_000);
  const cheetah = await CheetahProcess.serve(t, VETH, site.root);
  ip('link', 'set', FAR_NAME, 'down');
  await sleep(200);
  t.is(cheetah.child.exitCode, null);
  ip('link', 'set', FAR_NAME, 'up');
  const client = await HttpClient.connect(t);
  client.write(get(file.path, 'Connection: close'));
  t.is(sha256((await client.read()).body), file.sha256);
  await client.readEnd();
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
});

integrationTest('a capture whose disk is full ends with a warning, the server does not', async (t) => {
  const site = Site.create(t);
  const file = site.add('large.bin', 1_000_000);
  const capture = join(temporaryDirectory(t), 'full.pcap');
  // A file of at most 100 blocks, which is a full disk to whoever writes more.
  const limited = ['-c', 'trap "" XFSZ; ulimit -f 100; exec "$0" "$@"', process.execPath];
  const cheetah = await CheetahProcess.run(t, 'sh', [
    ...limited,
    PROGRAM,
    'cheetah',
    '--root',
    site.root,
    '--pcap',
    capture,
  ]);
  const client = await HttpClient.connect(t);
  client.write(get(file.path, 'Connection: close'));
  t.is(sha256((await client.read()).body), file.sha256);
  await client.readEnd();
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  t.regex(cheetah.stderr, /^[^\n]*full\.pcap[^\n]*EFBIG[^\n]*\n$/);
});

integrationTest('options: another port, MTU, MAC address and gateway', async (t) => {
  const site = Site.create(t);
  const file = site.add('file.bin', 100_000);
  const options = ['--port', '8080', '--mtu', '1280', '--mac', '02:11:22:33:44:55', '--gateway', KERNEL_ADDRESS];
  const cheetah = await CheetahProcess.serve(t, TAP, site.root, ...options);
  t.regex(cheetah.stdout, /http:\/\/10\.90\.0\.2:8080\/.*MTU 1280/);
  const client = await HttpClient.connect(t, 8080);
  client.write(get(file.path, 'Connection: close'));
  t.is(sha256((await client.read()).body), file.sha256);
  await client.readEnd();
  t.regex(ip('neigh', 'show', STACK_ADDRESS), /02:11:22:33:44:55/);
  t.regex(ip('link', 'show', TAP_NAME), /mtu 1280/);
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
});

integrationTest('the program works in a namespace that has nothing but its TAP', async (t) => {
  const netns = await Netns.create();
  t.teardown(() => netns.remove());
  const site = Site.create(t);
  const file = site.add('file.bin', 1000);
  const cheetah = await CheetahProcess.start(t, ['--root', site.root], netns);
  const script = `fetch('http://10.90.0.2${file.path}').then((answer) => answer.arrayBuffer()).then((body) => process.stdout.write(Buffer.from(body)))`;
  const { stdout } = await netns.exec(process.execPath, ['-e', script]);
  t.is(sha256(stdout), file.sha256);
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
});

function run(line: string): Promise<CommandResult> {
  return execute(process.execPath, [PROGRAM, ...line.split(' ').filter((word) => word !== '')]);
}

async function checkMistake(t: ExecutionContext, line: string, named: RegExp): Promise<void> {
  const { code, stdout, stderr } = await run(line);
  t.is(code, 2, line);
  t.is(stdout.toString(), '', line);
  t.regex(stderr, ONE_SENTENCE, line);
  t.regex(stderr, named, line);
}

/** A server interrupted while a client takes nothing of what it asked for. */
async function interruptWhileStalled(t: ExecutionContext, ...args: string[]) {
  const site = Site.create(t);
  const file = site.add('large.bin', 20_000_000);
  const cheetah = await CheetahProcess.serve(t, TAP, site.root, ...args);
  const client = await HttpClient.connect(t);
  client.write(get(file.path));
  while (client.bufferedBytes < 100_000) await client.more();
  client.socket.pause();
  // Until the client's window is full.
  await sleep(300);
  cheetah.child.kill('SIGINT');
  return { cheetah, client };
}

function checkVanished(t: ExecutionContext, cheetah: CheetahProcess, exit: Exit, name: string): void {
  t.deepEqual(exit, { code: 1, signal: null });
  t.regex(cheetah.stderr, ONE_SENTENCE);
  t.true(cheetah.stderr.includes(name));
}

/**
 * All that `ip` knows of a persistent device, but for the queueing discipline it gets when it first comes up, and the
 * header format that the last program to attach asked for.
 */
function describe(name: string): string {
  return ip('-details', 'addr', 'show', 'dev', name).replace(/ (vnet_hdr|qdisc) \w+/g, '');
}

integrationTest('the program that these tests start has been built', (t) => {
  t.true(existsSync(PROGRAM), `make build: there is no ${PROGRAM}`);
});
