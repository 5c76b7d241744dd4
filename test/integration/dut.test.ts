/**
 * `exonet dut`: the socket calls of the stack made through its UNIX socket, and the same calls made of a Linux kernel through
 * ../shared/tools/socket-rpc-linux.py: return values, errno, payloads and segments are compared, call by call.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import * as c from '../../src/sockets/posix/constants.ts';
import type { Actor } from '../differential/actor.ts';
import { recordBoth } from '../differential/compare.ts';
import { ALL_OPTIONS, established, PLAIN, synSent } from '../differential/states.ts';
import { execute } from '../support/commands.ts';
import { DifferentialLab, noLab } from '../support/differential-lab.ts';
import { addVeth, enterPrivateNetwork, forbidden, integrationTest } from '../support/netns.ts';
import { PROGRAM } from '../support/program.ts';
import { PIPED, ProgramProcess } from '../support/program-process.ts';
import { callRpc } from '../support/rpc-client.ts';
import { temporaryDirectory } from '../support/site.ts';

if (forbidden === undefined) enterPrivateNetwork();

const ONE_SENTENCE = /^exonet: [^\n]+[.?]\n$/;
const { SOL_SOCKET, IPPROTO_TCP } = c;
const ONE = '01000000';
const DONTWAIT = c.MSG_DONTWAIT;

let lab: DifferentialLab | null = null;

test.before(async () => {
  if (noLab === undefined) lab = await DifferentialLab.create({ arguments: ['--profile', 'linuxLike'] });
});

test.after.always(() => lab?.close());

/** The same calls on both hosts have the same results. */
function sameCalls(title: string, run: (actor: Actor) => Promise<void>): void {
  if (noLab !== undefined) {
    test(`${title} (${noLab})`, (t) => t.pass());
    return;
  }
  test.serial(title, async (t) => {
    if (lab === null) throw new Error('no lab');
    const { linux, exonet } = await recordBoth(lab, { name: title, run });
    t.true(linux.length > 0);
    t.false(
      linux.some((line) => line.startsWith('failed')),
      linux.join('\n'),
    );
    t.deepEqual(exonet, linux);
  });
}

sameCalls('what is not open is EBADF; what cannot be is refused', async (actor) => {
  for (const op of [
    'listen',
    'accept',
    'close',
    'shutdown',
    'recv',
    'send',
    'fcntl',
    'ioctl',
    'getsockopt',
    'setsockopt',
  ]) {
    const words: Record<string, (string | number)[]> = {
      accept: [],
      close: [],
      recv: [10, 0],
      send: [0, '00'],
      fcntl: [c.F_GETFL, 0],
      ioctl: [c.FIONREAD, 7],
      getsockopt: [SOL_SOCKET, c.SO_ERROR, 4],
      setsockopt: [SOL_SOCKET, c.SO_KEEPALIVE, ONE],
    };
    await actor.call(op, 'nothing', ...(words[op] ?? [1]));
  }
  await actor.raw('bind', 99, '10.99.0.2', 80);
  await actor.raw('connect', 99, '10.99.0.1', 80);
  await actor.raw('socket', 99, c.SOCK_STREAM, 0);
  await actor.raw('socket', c.AF_INET, 99, 0);
  await actor.raw('socket', c.AF_INET, 5, 0);
  await actor.raw('socket', c.AF_INET, c.SOCK_STREAM, 17);
  await actor.raw('frobnicate', 1);
  await actor.raw('listen', 'three', 1);
  await actor.raw('listen');
});

sameCalls('bind and listen: EADDRINUSE, EINVAL, EADDRNOTAVAIL, and what a listener refuses', async (actor) => {
  const { hostPort } = actor;
  await actor.listen('l');
  await actor.call('listen', 'l', 7);
  await actor.call('bind', 'l', '10.99.0.2', hostPort + 1);
  await actor.socket('c');
  await actor.call('bind', 'c', '10.99.0.77', hostPort);
  await actor.call('bind', 'c', '0.0.0.0', hostPort);
  await actor.call('bind', 'c', '10.99.0.2', hostPort);
  await actor.call('accept', 'c');
  await actor.call('recv', 'c', 10, 0);
  await actor.call('send', 'c', 0, '00');
  await actor.call('shutdown', 'c', 1);
  await actor.call('shutdown', 'l', 9);
  await actor.call('connect', 'l', '10.99.0.1', 80);
  await actor.call('recv', 'l', 10, 0);
  await actor.call('send', 'l', 0, '00');
  await actor.call('fcntl', 'l', c.F_SETFL, c.O_NONBLOCK);
  await actor.call('accept', 'l');
  await actor.poll(0, ['l', c.POLLIN], ['c', c.POLLIN | c.POLLOUT], ['nothing', c.POLLIN]);
  await actor.call('shutdown', 'l', 0);
  await actor.call('accept', 'l');
});

sameCalls('a connect that does not wait: EINPROGRESS, EALREADY, poll, 0, EISCONN', async (actor) => {
  const { peer } = actor;
  await synSent(actor);
  await actor.call('connect', 'c', '10.99.0.1', peer.port);
  await actor.poll(0, ['c', c.POLLIN | c.POLLOUT]);
  await actor.call('send', 'c', DONTWAIT, '00');
  await actor.call('recv', 'c', 1, DONTWAIT);
  actor.segment({ flags: 'SA', mss: 1460 });
  await actor.hear();
  await actor.poll(1000, ['c', c.POLLIN | c.POLLOUT]);
  await actor.call('getsockopt', 'c', SOL_SOCKET, c.SO_ERROR, 4);
  await actor.call('connect', 'c', '10.99.0.1', peer.port);
  await actor.call('connect', 'c', '10.99.0.1', peer.port);
  await actor.call('listen', 'c', 1);
});

sameCalls('a refused connect is ECONNREFUSED once, waited for or not', async (actor) => {
  await synSent(actor);
  actor.segment({ flags: 'RA' });
  await actor.hear();
  await actor.poll(1000, ['c', c.POLLIN | c.POLLOUT]);
  await actor.call('connect', 'c', '10.99.0.1', actor.peer.port);
  await actor.call('getsockopt', 'c', SOL_SOCKET, c.SO_ERROR, 4);
  await actor.call('fcntl', 'c', c.F_SETFL, 0);
  actor.begin('connect', 'c', '10.99.0.1', actor.peer.port);
  await actor.hear();
  actor.segment({ flags: 'RA', seq: 0 });
  await actor.settle('connect');
  await actor.call('send', 'c', 0, '00');
  await actor.call('recv', 'c', 1, 0);
});

sameCalls('recv: EAGAIN, MSG_PEEK, MSG_WAITALL, MSG_TRUNC, and a wait that data ends', async (actor) => {
  await established(actor, PLAIN);
  await actor.call('recv', 'c', 10, DONTWAIT);
  actor.begin('recv', 'c', 10, 0);
  await actor.hear(30);
  actor.segment({ data: 30 });
  await actor.settle('recv');
  await actor.hear();
  await actor.call('recv', 'c', 5, c.MSG_PEEK);
  await actor.call('ioctl', 'c', c.FIONREAD, 0);
  await actor.call('recv', 'c', 0, 0);
  await actor.call('recv', 'c', 7, 0);
  await actor.call('recv', 'c', 4, c.MSG_TRUNC);
  await actor.call('recv', 'c', 1, c.MSG_OOB);
  actor.begin('recv', 'c', 29, c.MSG_WAITALL);
  actor.segment({ data: 20 });
  await actor.settle('recv');
  await actor.hear();
  actor.segment({ flags: 'FA', data: 3 });
  await actor.hear();
  await actor.poll(0, ['c', c.POLLIN | c.POLLOUT | c.POLLRDHUP]);
  await actor.call('recv', 'c', 100, c.MSG_WAITALL);
  await actor.call('recv', 'c', 100, 0);
});

sameCalls('half closed: EPIPE to send, the rest to read; shutdown of what is shut', async (actor) => {
  await established(actor, ALL_OPTIONS);
  await actor.call('shutdown', 'c', 1);
  await actor.hear();
  await actor.call('send', 'c', DONTWAIT, '00');
  await actor.call('shutdown', 'c', 1);
  actor.segment({ data: 50 });
  await actor.hear();
  await actor.inspect('c');
  actor.segment({ flags: 'FA' });
  await actor.hear();
  await actor.inspect('c');
  await actor.call('shutdown', 'c', 2);
});

sameCalls('a reset: ECONNRESET once, then an end and EPIPE; after the peer has closed, EPIPE', async (actor) => {
  await established(actor, PLAIN);
  actor.begin('recv', 'c', 10, 0);
  await actor.hear(30);
  actor.segment({ flags: 'R' });
  await actor.settle('recv');
  await actor.call('recv', 'c', 10, 0);
  await actor.call('send', 'c', 0, '00');
  await actor.call('shutdown', 'c', 1);
  await actor.inspect('c');
});

sameCalls("a reset behind the peer's FIN is EPIPE", async (actor) => {
  await established(actor, PLAIN);
  actor.segment({ flags: 'FA' });
  await actor.hear();
  actor.segment({ flags: 'R' });
  await actor.hear();
  await actor.poll(0, ['c', c.POLLIN | c.POLLOUT | c.POLLRDHUP]);
  await actor.call('send', 'c', 0, '00');
  await actor.call('send', 'c', 0, '00');
  await actor.call('recv', 'c', 10, 0);
});

sameCalls('close: with SO_LINGER of 0 and with unread text a reset', async (actor) => {
  await established(actor, PLAIN);
  await actor.call('setsockopt', 'c', SOL_SOCKET, c.SO_LINGER, '0100000000000000');
  await actor.close('c');
  await actor.hear();
});

sameCalls('close with unread text is a reset', async (actor) => {
  await established(actor, ALL_OPTIONS);
  actor.segment({ data: 10 });
  await actor.hear();
  await actor.close('c');
  await actor.hear();
});

sameCalls('an orphan that is sent more text answers with a reset', async (actor) => {
  await established(actor, PLAIN);
  await actor.close('c');
  await actor.hear();
  actor.segment();
  await actor.hear();
  actor.segment({ data: 10 });
  await actor.hear();
});

sameCalls('options: what is set is read, what is wrong is refused', async (actor) => {
  await established(actor, ALL_OPTIONS);
  const flags: readonly (readonly [level: number, name: number])[] = [
    [SOL_SOCKET, c.SO_REUSEADDR],
    [SOL_SOCKET, c.SO_KEEPALIVE],
    [IPPROTO_TCP, c.TCP_NODELAY],
    [IPPROTO_TCP, c.TCP_CORK],
  ];
  for (const [level, name] of flags) {
    for (const hex of [ONE, '00000000', '05000000', '01', '-']) {
      await actor.call('setsockopt', 'c', level, name, hex);
      await actor.call('getsockopt', 'c', level, name, 4);
    }
  }
  for (const name of [
    c.TCP_KEEPIDLE,
    c.TCP_KEEPINTVL,
    c.TCP_KEEPCNT,
    c.TCP_SYNCNT,
    c.TCP_USER_TIMEOUT,
    c.TCP_LINGER2,
  ]) {
    await actor.call('getsockopt', 'c', IPPROTO_TCP, name, 4);
    for (const hex of ['03000000', '00000000', 'ffffffff', '00ffff00']) {
      await actor.call('setsockopt', 'c', IPPROTO_TCP, name, hex);
      await actor.call('getsockopt', 'c', IPPROTO_TCP, name, 4);
    }
  }
  for (const name of [c.SO_TYPE, c.SO_DOMAIN, c.SO_PROTOCOL, c.SO_ACCEPTCONN, c.SO_ERROR, c.SO_OOBINLINE]) {
    await actor.call('getsockopt', 'c', SOL_SOCKET, name, 4);
  }
  await actor.call('setsockopt', 'c', SOL_SOCKET, c.SO_LINGER, '0100000009000000');
  await actor.call('getsockopt', 'c', SOL_SOCKET, c.SO_LINGER, 8);
  await actor.call('setsockopt', 'c', SOL_SOCKET, c.SO_LINGER, ONE);
  await actor.call('setsockopt', 'c', SOL_SOCKET, c.SO_RCVTIMEO, `${'01'.padEnd(16, '0')}${'10'.padEnd(16, '0')}`);
  await actor.call('setsockopt', 'c', SOL_SOCKET, c.SO_SNDBUF, '00100000');
  await actor.call('getsockopt', 'c', SOL_SOCKET, c.SO_SNDBUF, 4);
  await actor.call('setsockopt', 'c', SOL_SOCKET, c.SO_RCVBUF, '00100000');
  await actor.call('getsockopt', 'c', SOL_SOCKET, c.SO_RCVBUF, 4);
  await actor.call('getsockopt', 'c', IPPROTO_TCP, c.TCP_MAXSEG, 4);
  await actor.call('setsockopt', 'c', IPPROTO_TCP, c.TCP_CONGESTION, Buffer.from('reno').toString('hex'));
  await actor.call('getsockopt', 'c', IPPROTO_TCP, c.TCP_CONGESTION, 16);
  await actor.call('setsockopt', 'c', IPPROTO_TCP, c.TCP_CONGESTION, Buffer.from('nosuch').toString('hex'));
  await actor.call('getsockopt', 'c', IPPROTO_TCP, 99, 4);
  await actor.call('setsockopt', 'c', IPPROTO_TCP, 99, ONE);
  await actor.call('getsockopt', 'c', SOL_SOCKET, 999, 4);
  await actor.call('setsockopt', 'c', SOL_SOCKET, 999, ONE);
  await actor.call('setsockopt', 'c', 77, 1, ONE);
});

sameCalls('fcntl and ioctl: flags, queues, and what there is not', async (actor) => {
  await established(actor, PLAIN);
  await actor.call('fcntl', 'c', c.F_GETFL, 0);
  await actor.call('fcntl', 'c', c.F_SETFL, c.O_NONBLOCK);
  await actor.call('fcntl', 'c', c.F_GETFL, 0);
  await actor.call('recv', 'c', 10, 0);
  await actor.call('ioctl', 'c', c.FIONBIO, 0);
  await actor.call('fcntl', 'c', c.F_GETFL, 0);
  await actor.send('c', 100);
  await actor.call('ioctl', 'c', c.SIOCOUTQ, 0);
  await actor.call('ioctl', 'c', c.SIOCOUTQNSD, 0);
  await actor.hear();
  actor.segment({ data: 20 });
  await actor.hear();
  await actor.call('ioctl', 'c', c.SIOCOUTQ, 0);
  await actor.call('ioctl', 'c', c.FIONREAD, 0);
  await actor.call('ioctl', 'c', 0x1234, 9);
  await actor.call('ioctl', 'l', c.FIONREAD, 5);
});

sameCalls('send waits for room and gets it; without waiting it is EAGAIN', async (actor) => {
  await established(actor, PLAIN);
  await actor.call('setsockopt', 'c', SOL_SOCKET, c.SO_SNDBUF, '00100000');
  actor.segment({ window: 0 });
  await actor.hear();
  // How much fits is the buffer's business: records of the kernel's own take room there.
  await actor.fill('c');
  await actor.poll(0, ['c', c.POLLOUT]);
  actor.begin('send', 'c', 0, '0011');
  await actor.hear(30);
  await actor.open();
  await actor.settle('send');
});

sameCalls('reset aborts every connection there is', async (actor) => {
  await established(actor, PLAIN);
  actor.begin('recv', 'c', 10, 0);
  await actor.hear(30);
  await actor.raw('reset');
  actor.forget();
  // The reference shuts its sockets down before it resets them, so that a FIN goes first.
  await actor.ignore();
  await actor.settle('recv');
});

const MISTAKES: readonly (readonly [string, RegExp])[] = [
  ['dut', /--rpc/],
  ['dut --rpc', /--rpc/],
  [`dut --rpc /tmp/${'x'.repeat(110)}`, /--rpc .*107 bytes/],
  ['dut --rpc /etc/hostname', /--rpc \/etc\/hostname.*no socket/],
  ['dut --rpc /tmp/never --profile windows', /--profile windows.*linuxLike/],
  ['dut --rpc /tmp/never --address 10.90.0.2', /--address/],
  ['dut --rpc /tmp/never and more', /and/],
];

integrationTest('dut: a mistake is one sentence and exit code 2', async (t) => {
  for (const [line, names] of MISTAKES) {
    const { code, stderr } = await execute(process.execPath, [PROGRAM, ...line.split(' ')]);
    t.is(code, 2, line);
    t.regex(stderr, ONE_SENTENCE, line);
    t.regex(stderr, names, line);
  }
  const help = await execute(process.execPath, [PROGRAM, 'dut', '--help']);
  t.is(help.code, 0);
  t.regex(help.stdout.toString(), /--profile NAME/);
});

integrationTest('dut: a left-over socket is taken over; Ctrl-C resets connections and removes it', async (t) => {
  const { path, program } = await startDut(t);
  t.deepEqual(await callRpc(path, 'socket', 2, 1, 0), { value: 3, errno: 0, payload: '' });
  const waiting = callRpc(path, 'poll', -1, 3, 0).then(
    () => 'answered',
    () => 'ended',
  );
  t.deepEqual(await callRpc(path, 'bind', 3, '0.0.0.0', 80), { value: 0, errno: 0, payload: '' });
  t.deepEqual(await program.stop('SIGINT'), { code: 0, signal: null });
  t.false(existsSync(path));
  t.is(program.stderr, '');
  t.true(['answered', 'ended'].includes(await waiting));
});

async function startDut(t: ExecutionContext): Promise<{ path: string; program: ProgramProcess }> {
  addVeth('dut0', 'dut1');
  const path = join(temporaryDirectory(t), 'rpc');
  const args = ['--device', 'packet:dut0', '--rpc', path, '--profile', 'linuxLike'];
  const first = new ProgramProcess('dut', spawn(process.execPath, [PROGRAM, 'dut', ...args], PIPED));
  await first.ready();
  await first.stop('SIGKILL');
  t.true(existsSync(path));
  const program = new ProgramProcess('dut', spawn(process.execPath, [PROGRAM, 'dut', ...args], PIPED));
  t.teardown(() => program.child.kill('SIGKILL'));
  await program.ready();
  return { path, program };
}
