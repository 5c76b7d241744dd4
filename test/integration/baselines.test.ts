/** The baselines over the kernel's sockets, as programs: `exonet cheetah --sockets` and `exonet forward --sockets`. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { truncateSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { execute, start, until, within } from '../support/commands.ts';
import { get, HttpClient } from '../support/http-client.ts';
import { readKernelCounters } from '../support/kernel-errors.ts';
import { enterPrivateNetwork, forbidden, integrationTest } from '../support/netns.ts';
import { PROGRAM } from '../support/program.ts';
import { PIPED, ProgramProcess } from '../support/program-process.ts';
import { Site, sha256 } from '../support/site.ts';
import { SOCKETS } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const LISTEN_PORT = 7000;
const MIB = 1024 * 1024;

integrationTest('cheetah --sockets answers as Cheetah does: HEAD, ranges, conditions, what is not there', async (t) => {
  const site = Site.create(t);
  const file = site.add('file.bin', 100_000);
  const cheetah = await CheetahProcess.serve(t, SOCKETS, site.root);
  t.regex(cheetah.stdout, /^cheetah serves \S+ at http:\/\/10\.90\.0\.2\/ \(sockets\)\n$/);
  const client = await HttpClient.connect(t);
  client.write(get(file.path));
  const etag = /^ETag: (.*)\r$/im.exec((await client.read()).head)?.[1] ?? '';
  client.write(get(file.path, 'Range: bytes=1000-1999'));
  const part = await client.read();
  t.is(part.status, 206);
  t.deepEqual(part.body, file.contents.subarray(1000, 2000));
  client.write(get(file.path, 'Range: bytes=100000-'));
  t.is((await client.read()).status, 416);
  client.write(get('/nothing'));
  t.is((await client.read()).status, 404);
  client.write(get(file.path).replace('GET', 'POST').replace('\r\n\r\n', '\r\nContent-Length: 3\r\n\r\nabc'));
  t.is((await client.read()).status, 405);
  // Neither has a body: their heads are all there is before the end.
  client.write(
    `${get(file.path).replace('GET', 'HEAD')}${get(file.path, `If-None-Match: ${etag}`, 'Connection: close')}`,
  );
  await until('the end', () => client.ended);
  const heads = client.takeAll().toString().split('\r\n\r\n');
  t.is(heads.length, 3);
  t.regex(heads[0] ?? '', /^HTTP\/1\.1 200 [\s\S]*Content-Length: 100000/);
  t.regex(heads[1] ?? '', /^HTTP\/1\.1 304 /);
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  t.is(cheetah.stderr, '');
});

integrationTest('cheetah --sockets streams what the cache does not take, and never tears it', async (t) => {
  const site = Site.create(t);
  // More than the buffers between here and there hold.
  const file = site.add('large.bin', 64 * MIB);
  const cheetah = await CheetahProcess.serve(t, SOCKETS, site.root, '--cache-size', '4');
  const client = await HttpClient.connect(t);
  client.write(get(file.path) + get(file.path, 'Range: bytes=-5'));
  t.is(sha256((await client.read()).body), file.sha256);
  t.deepEqual((await client.read()).body, file.contents.subarray(-5));
  // Cut short on disk while it is sent: a reset, and a line that says so.
  client.write(get(file.path));
  while (client.bufferedBytes < 100_000) await client.more();
  client.socket.pause();
  const resets = () => readKernelCounters().get('Tcp.EstabResets') ?? 0;
  const before = resets();
  truncateSync(join(site.root, 'large.bin'), 3 * MIB);
  client.socket.resume();
  // Node calls a reset behind data that it has just read in part the end (libuv takes the hang-up for one): the kernel knows.
  await until('the end of the connection', () => client.ended || client.failed);
  await until('the reset', () => resets() > before);
  await until('the line in the log', () => cheetah.stderr.includes('connection reset'));
  t.true(client.bufferedBytes < 64 * MIB);
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
});

integrationTest(
  'cheetah --sockets: Ctrl-C lets a response come to its end, and resets who does not take one',
  async (t) => {
    const site = Site.create(t);
    const file = site.add('large.bin', 40 * MIB);
    const cheetah = await CheetahProcess.serve(t, SOCKETS, site.root);
    const [reader, sleeper, idle] = await Promise.all([1, 2, 3].map(() => HttpClient.connect(t)));
    if (reader === undefined || sleeper === undefined || idle === undefined) throw new Error('no clients');
    for (const client of [reader, sleeper]) {
      client.write(get(file.path));
      while (client.bufferedBytes < 100_000) await client.more();
      client.socket.pause();
    }
    cheetah.child.kill('SIGINT');
    await idle.readEnd();
    reader.socket.resume();
    t.is(sha256((await reader.read()).body), file.sha256);
    await reader.readEnd();
    t.deepEqual(await within('the end', cheetah.exited), { code: 0, signal: null });
    sleeper.socket.resume();
    // The reset has reached it, though it comes without the rest.
    await until('the end of the connection', () => sleeper.ended || sleeper.failed);
    t.true(sleeper.bufferedBytes < file.contents.length);
  },
);

integrationTest(
  'baselines: what makes no sense is one sentence and 2, what the system refuses is one and 1',
  async (t) => {
    const held = createServer().listen(LISTEN_PORT, '127.0.0.1');
    t.teardown(() => held.close());
    await once(held, 'listening');
    const cases: readonly (readonly [number, string, RegExp])[] = [
      [2, 'cheetah --sockets --root / --device tap:exo0', /--device/],
      [2, 'cheetah --sockets --root / --no-offload', /--no-offload/],
      [2, 'cheetah --sockets --root / --address localhost', /--address localhost/],
      [2, 'cheetah --sockets --root / --log-level loud', /--log-level loud/],
      [2, 'cheetah --sockets --root / --trace', /--trace/],
      [2, 'cheetah --sockets', /--root/],
      [1, `cheetah --sockets --root / --address 127.0.0.1 --port ${LISTEN_PORT}`, /EADDRINUSE/],
      [2, 'forward --sockets', /--listen/],
      [2, 'forward --sockets --listen 127.0.0.1:1', /--backend/],
      [2, 'forward --sockets --listen 127.0.0.1:1 --backend 127.0.0.1:2 --mode routed', /--mode routed/],
      [2, 'forward --sockets --listen 127.0.0.1:1 --backend 127.0.0.1:2 --device tap:exo0', /--device/],
      [1, `forward --sockets --listen 127.0.0.1:${LISTEN_PORT} --backend 127.0.0.1:2`, /EADDRINUSE/],
    ];
    for (const [expected, line, named] of cases) {
      const { code, stdout, stderr } = await execute(process.execPath, [PROGRAM, ...line.split(' ')]);
      t.is(code, expected, line);
      t.is(stdout.toString(), '', line);
      t.regex(stderr, /^exonet: [^\n]+\n$/, line);
      t.regex(stderr, named, line);
    }
  },
);

integrationTest('forward --sockets carries bytes both ways, each half closing by itself', async (t) => {
  const sent = randomBytes(5 * MIB);
  const backend = await listen(t, (socket) => {
    const pieces: Buffer[] = [];
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    socket.on('end', () => socket.end(Buffer.concat(pieces)));
  });
  const proxy = await startProxy(t, [backend]);
  const socket = await dial(t);
  socket.end(sent);
  const back: Buffer[] = [];
  socket.on('data', (piece: Buffer) => back.push(piece));
  await within('the echo', once(socket, 'end'));
  t.deepEqual(sha256(Buffer.concat(back)), sha256(sent));
  t.deepEqual(await proxy.stop(), { code: 0, signal: null });
  t.is(proxy.stderr, '');
});

integrationTest('forward --sockets: a sleeping reader holds the writer back', async (t) => {
  const backend = await listen(t, (socket) => socket.pause());
  await startProxy(t, [backend]);
  const socket = await dial(t);
  const piece = Buffer.alloc(MIB);
  let writtenMib = 0;
  const write = (error?: Error | null): void => {
    if (error !== undefined && error !== null) return;
    writtenMib++;
    socket.write(piece, write);
  };
  write();
  let before = -1;
  while (before !== writtenMib) {
    before = writtenMib;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  // What two pairs of sockets and the proxy hold, and no more.
  t.true(writtenMib < 64, `${writtenMib} MiB`);
});

integrationTest(
  'forward --sockets: a reset goes on to the other end, either way; so does a failed connection',
  async (t) => {
    const accepted: Socket[] = [];
    const backend = await listen(t, (socket) => accepted.push(socket));
    const proxy = await startProxy(t, [backend]);
    const first = await dial(t);
    await until('the first connection', () => accepted.length === 1);
    const reset = within('the reset', closeOf(accepted[0] as Socket));
    first.resetAndDestroy();
    t.true(await reset);
    const second = await dial(t);
    await until('the second connection', () => accepted.length === 2);
    const passed = within('the reset', closeOf(second));
    (accepted[1] as Socket).resetAndDestroy();
    t.true(await passed);
    backend.close();
    const third = await dial(t);
    t.true(await within('the reset', closeOf(third)));
    await until('the line in the log', () => proxy.stderr.includes('ECONNREFUSED'));
    t.deepEqual(await proxy.stop(), { code: 0, signal: null });
  },
);

for (const balance of ['round-robin', 'least-connections']) {
  integrationTest(`forward --sockets balances ${balance}`, async (t) => {
    const counts = [0, 0];
    const backends = await Promise.all(
      counts.map((_, index) =>
        listen(t, (socket) => {
          counts[index] = (counts[index] ?? 0) + 1;
          // The first backend keeps its connections, the second ends them.
          if (index === 1) socket.end();
          socket.resume();
        }),
      ),
    );
    const proxy = await startProxy(t, backends, '--balance', balance);
    for (let i = 0; i < 8; i++) {
      const before = counts[0];
      const socket = await dial(t);
      socket.resume();
      // Gone, or taken by the backend that keeps it.
      socket.on('end', () => socket.end());
      await until('the connection to be taken', () => socket.destroyed || counts[0] !== before);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    t.deepEqual(counts, balance === 'round-robin' ? [4, 4] : [1, 7]);
    t.deepEqual(await proxy.stop(), { code: 0, signal: null });
  });
}

/** A backend at a port of its own. */
async function listen(t: ExecutionContext, take: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    take(socket);
  });
  server.listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  return server;
}

async function startProxy(
  t: ExecutionContext,
  backends: readonly Server[],
  ...more: string[]
): Promise<ProgramProcess> {
  const args = backends.flatMap((backend) => {
    const address = backend.address();
    if (address === null || typeof address === 'string') throw new Error('the backend does not listen');
    return ['--backend', `127.0.0.1:${address.port}`];
  });
  const listening = ['--listen', `127.0.0.1:${LISTEN_PORT}`, ...args];
  const command = [PROGRAM, 'forward', '--sockets', ...listening, ...more];
  const proxy = new ProgramProcess('forward', start(t, process.execPath, command, PIPED));
  await proxy.ready();
  return proxy;
}

async function dial(t: ExecutionContext): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: LISTEN_PORT, allowHalfOpen: true });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  await within('the handshake', once(socket, 'connect'));
  return socket;
}

/** Whether it ended with an error. */
function closeOf(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => socket.once('close', resolve));
}
