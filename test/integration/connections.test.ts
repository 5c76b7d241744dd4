/** How connections between the stack and the Linux kernel stall, end, fail and are refused; and who else is on the link. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import type { Host } from '../../src/host/host.ts';
import { readCapture } from '../support/capture.ts';
import { commandTest, until, within } from '../support/commands.ts';
import { findKernelErrors } from '../support/kernel-errors.ts';
import { findLeaks } from '../support/leaks.ts';
import { enterPrivateNetwork, forbidden, integrationTest, ip } from '../support/netns.ts';
import { Site, sha256, temporaryDirectory } from '../support/site.ts';
import { StackPeer } from '../support/stack-peer.ts';
import { KERNEL_ADDRESS, openStack, STACK_ADDRESS, TAP, TAP_NAME, TAP_PLAIN, VETH_PLAIN } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const PORT = 7000;
const TEN_MEGABYTES = 10_000_000;
const TCP_SETTINGS = { timeWaitUs: 200_000 };
const STACK_WIRES = [TAP, TAP_PLAIN, VETH_PLAIN];

for (const wire of STACK_WIRES) {
  commandTest(`the stack reads slowly: its window closes and opens again, over ${wire.name}`, ['tshark'], async (t) => {
    const file = Site.create(t).add('large.bin', TEN_MEGABYTES);
    const capture = join(temporaryDirectory(t), 'window.pcap');
    const host = await openStack(t, wire, { capture, tcpSettings: TCP_SETTINGS });
    const accepted = StackPeer.accept(host, PORT, { paused: true });
    const socket = connect(t);
    socket.end(file.contents);
    const server = await within('a connection', accepted);
    // What is never read never widens it.
    const window = host.tcp.settings.initialReceiveWindowBytes;
    await until('the window to close', () => server.unreadBytes > window / 2);
    // Long enough for the kernel to probe the closed window.
    await sleep(1000);
    t.true(server.unreadBytes <= window);
    t.is(server.receivedBytes, 0);
    server.resume();
    await within('the rest', server.peerClosed);
    t.is(sha256(server.received), file.sha256);
    server.end();
    t.is(await within('the end', server.closed), '');
    await checkNothingWrong(t, host);
    host.close();
    const closedWindows = await readCapture(
      capture,
      `ip.src == ${STACK_ADDRESS} && tcp.flags.reset == 0 && tcp.window_size_value == 0`,
      ['frame.number'],
    );
    t.true(closedWindows.length > 0);
  });

  integrationTest(`Linux reads slowly: the stack probes its window, over ${wire.name}`, async (t) => {
    const file = Site.create(t).add('large.bin', TEN_MEGABYTES);
    const host = await openStack(t, wire, { tcpSettings: TCP_SETTINGS });
    const accepted = StackPeer.accept(host, PORT);
    const socket = connect(t);
    socket.pause();
    const server = await within('a connection', accepted);
    server.write(file.contents);
    server.end();
    await until('the window to be probed', () => host.tcp.counters.get('windowProbes') >= 2);
    t.true(server.queuedBytes > 0);
    const received = collect(socket);
    socket.resume();
    t.is(sha256(await within('the rest', received)), file.sha256);
    t.is(await within('the end', server.closed), '');
    t.is(server.regions, 0);
    await checkNothingWrong(t, host);
  });

  integrationTest(`a client that closes its half first gets its whole answer, over ${wire.name}`, async (t) => {
    const file = Site.create(t).add('answer.bin', 2_000_000);
    const host = await openStack(t, wire, { tcpSettings: TCP_SETTINGS });
    const accepted = StackPeer.accept(host, PORT);
    const socket = connect(t);
    const received = collect(socket);
    socket.end('the question');
    const server = await within('a connection', accepted);
    await within('the end of the question', server.peerClosed);
    t.is(server.received.toString(), 'the question');
    // The other half stays open as long as the stack has something to say.
    await sleep(300);
    server.write(file.contents);
    server.end();
    t.is(sha256(await within('the answer', received)), file.sha256);
    t.is(await within('the end', server.closed), '');
    await checkNothingWrong(t, host);
  });

  integrationTest(`clients that reset in the middle leave nothing behind, over ${wire.name}`, async (t) => {
    const host = await openStack(t, wire, { tcpSettings: TCP_SETTINGS });
    const contents = Site.create(t).add('large.bin', 4_000_000).contents;
    const servers: StackPeer[] = [];
    const at = host.arena.allocate(contents.length);
    host.arena.bytes.set(contents, at);
    host.tcp.listen(PORT, (connection) => {
      const server = new StackPeer(host);
      server.connection = connection;
      servers.push(server);
      // Half of them have unread bytes when the reset comes.
      if (servers.length % 2 === 0) server.pause();
      server.writeRegion(at, contents.length);
      return server;
    });
    const count = 30;
    for (let i = 0; i < count; i++) {
      const socket = connect(t);
      socket.on('error', () => {});
      socket.write(contents.subarray(0, 100_000));
      let left = i * 20_000;
      socket.on('data', (data) => {
        left -= data.length;
        if (left < 0) socket.resetAndDestroy();
      });
    }
    await until('all connections', () => servers.length === count);
    const errors = await within('their ends', Promise.all(servers.map((server) => server.closed)));
    t.deepEqual(new Set(errors), new Set(['ECONNRESET']));
    t.deepEqual(
      servers.map((server) => server.regions),
      servers.map(() => 0),
    );
    await checkNothingWrong(t, host);
  });
}

integrationTest('the stack resets a connection: Linux sees a reset', async (t) => {
  const host = await openStack(t, TAP);
  const accepted = StackPeer.accept(host, PORT);
  const socket = connect(t);
  const failed = once(socket, 'error');
  const server = await within('a connection', accepted);
  server.abort();
  const [error] = await within('the reset', failed);
  t.is((error as NodeJS.ErrnoException).code, 'ECONNRESET');
  t.is(await server.closed, 'ECONNABORTED');
  t.deepEqual(findLeaks(host), []);
});

integrationTest('closing the host resets what is open, and the device is gone', async (t) => {
  const host = await openStack(t, TAP);
  const accepted = StackPeer.accept(host, PORT);
  const sockets = Array.from({ length: 10 }, () => connect(t));
  const failed = Promise.all(sockets.map((socket) => once(socket, 'error')));
  await within('a connection', accepted);
  await until('all connections', () => host.tcp.liveConnections === sockets.length);
  host.close();
  const errors = (await within('the resets', failed)).map(([error]) => (error as NodeJS.ErrnoException).code);
  t.deepEqual(new Set(errors), new Set(['ECONNRESET']));
  t.throws(() => ip('link', 'show', TAP_NAME));
});

integrationTest('nobody listens: refused, in both directions', async (t) => {
  const host = await openStack(t, TAP);
  const [error] = await within('the refusal', once(connect(t), 'error'));
  t.is((error as NodeJS.ErrnoException).code, 'ECONNREFUSED');
  const client = StackPeer.connect(host, KERNEL_ADDRESS, PORT);
  t.is(await within('the refusal', client.closed), 'ECONNREFUSED');
  t.deepEqual(findLeaks(host), []);
});

integrationTest('UDP is answered with an ICMP error', async (t) => {
  await openStack(t, TAP);
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.connect(9, STACK_ADDRESS);
  await once(socket, 'connect');
  const failed = once(socket, 'error');
  socket.send('anybody there?');
  const [error] = await within('the error', failed);
  t.is((error as NodeJS.ErrnoException).syscall, 'recvmsg');
  t.deepEqual(findKernelErrors(), []);
});

integrationTest('a host that is not there, or beyond no route, is unreachable', async (t) => {
  const host = await openStack(t, TAP);
  t.is(await within('the error', StackPeer.connect(host, '10.90.0.77', PORT).closed), 'EHOSTUNREACH');
  t.is(await within('the error', StackPeer.connect(host, '10.91.0.1', PORT).closed), 'ENETUNREACH');
  t.deepEqual(findLeaks(host), []);
});

integrationTest('many connections at once, each with its own bytes', async (t) => {
  const host = await openStack(t, TAP, { tcpSettings: TCP_SETTINGS });
  const sizes = Array.from({ length: 200 }, (_, index) => 1 + index * 100);
  const server = await listen(t, (socket) => {
    socket.pipe(socket);
  });
  t.true(server.listening);
  const payload = Site.create(t).add('payload.bin', 20_000).contents;
  const clients = sizes.map(() => StackPeer.connect(host, KERNEL_ADDRESS, PORT));
  await within('the handshakes', Promise.all(clients.map((client) => client.connected)));
  for (const [index, size] of sizes.entries()) {
    clients[index]?.write(payload.subarray(index, index + size));
    clients[index]?.end();
  }
  t.deepEqual(new Set(await within('their ends', Promise.all(clients.map((client) => client.closed)))), new Set(['']));
  for (const [index, size] of sizes.entries()) {
    t.deepEqual(clients[index]?.received, payload.subarray(index, index + size));
  }
  await checkNothingWrong(t, host);
});

integrationTest('another host that claims our address is noticed, and told', async (t) => {
  const warnings: string[] = [];
  const note = (fields: object, message: string): void => {
    warnings.push(`${message} ${JSON.stringify(fields)}`);
  };
  const ignore = (): void => {};
  const log = { trace: ignore, debug: ignore, info: ignore, warn: note, error: note, child: () => log };
  const host = await openStack(t, TAP, { log });
  // The kernel takes the stack's address for its own end, and announces that.
  ip('addr', 'add', `${STACK_ADDRESS}/24`, 'dev', TAP_NAME);
  writeFileSync(`/proc/sys/net/ipv4/conf/${TAP_NAME}/arp_notify`, '1');
  ip('link', 'set', TAP_NAME, 'address', '02:00:00:00:00:99');
  await until('the notice', () => warnings.length > 0);
  t.regex(warnings[0] ?? '', /another host on the link uses our address .*10\.90\.0\.2.*02:00:00:00:00:99/);
  t.is(host.stack.arp.counters.get('defences'), 1);
});

/** A connection from the kernel to the stack. */
function connect(t: ExecutionContext): Socket {
  const socket = createConnection({ host: STACK_ADDRESS, port: PORT, allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  return socket;
}

async function listen(t: ExecutionContext, accept: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, accept);
  t.teardown(() => server.close());
  server.listen(PORT, KERNEL_ADDRESS, 511);
  await once(server, 'listening');
  return server;
}

/** Everything up to the other side's end; closes our half then. */
async function collect(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  socket.on('data', (piece) => pieces.push(piece));
  await once(socket, 'end');
  socket.end();
  return Buffer.concat(pieces);
}

async function checkNothingWrong(t: ExecutionContext, host: Host): Promise<void> {
  t.deepEqual(findKernelErrors(), []);
  await until('everything to be given back', () => findLeaks(host).length === 0).catch(() => {});
  t.deepEqual(findLeaks(host), []);
}
