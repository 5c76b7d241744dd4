/** Linux with other settings than its defaults, and links that change or lose frames under a connection. */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import type { Device } from '../../src/driver/device.ts';
import type { Host } from '../../src/host/host.ts';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, execute, until, within } from '../support/commands.ts';
import { get, HttpClient } from '../support/http-client.ts';
import { findKernelErrors } from '../support/kernel-errors.ts';
import { findLeaks } from '../support/leaks.ts';
import type { SinkReport } from '../support/linux-peer.ts';
import { sendFile, startSink } from '../support/linux-programs.ts';
import { LossyDevice } from '../support/lossy-device.ts';
import { enterPrivateNetwork, forbidden, integrationTest, ip } from '../support/netns.ts';
import { Site, type SiteFile, sha256 } from '../support/site.ts';
import { StackPeer } from '../support/stack-peer.ts';
import {
  FAR_NAME,
  KERNEL_ADDRESS,
  kernelEnd,
  openStack,
  STACK_ADDRESS,
  TAP,
  TAP_NAME,
  VETH,
  VETH_PLAIN,
  WIRES,
} from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const PORT = 7000;
const SINK_PORT = 9000;
const TCP_SETTINGS = { timeWaitUs: 200_000 };

/** What Linux may leave out of its SYN, or add to it. */
const SETTINGS: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ['no timestamps', { tcp_timestamps: '0' }],
  ['no window scaling', { tcp_window_scaling: '0' }],
  ['no selective acknowledgments', { tcp_sack: '0' }],
  ['none of them', { tcp_timestamps: '0', tcp_window_scaling: '0', tcp_sack: '0' }],
  ['explicit congestion notification', { tcp_ecn: '1' }],
  ['little memory', { tcp_rmem: '2304 4096 8192', tcp_wmem: '4608 4608 8192' }],
];

for (const wire of [TAP, VETH_PLAIN]) {
  for (const [what, settings] of SETTINGS) {
    integrationTest(`Linux with ${what}, over ${wire.name}`, async (t) => {
      for (const [name, value] of Object.entries(settings)) setKernel(t, `/proc/sys/net/ipv4/${name}`, value);
      const file = Site.create(t).add('file.bin', 1_000_000);
      const host = await openStack(t, wire, { tcpSettings: TCP_SETTINGS });
      await transferBothWays(t, host, file);
      await checkNothingWrong(t, host);
    });
  }
}

for (const wire of WIRES) {
  commandTest(`the kernel's end with its offloads off, over ${wire.name}`, ['ethtool'], async (t) => {
    const file = Site.create(t).add('file.bin', 5_000_000);
    const host = await openStack(t, wire, { tcpSettings: TCP_SETTINGS });
    const { code, stderr } = await execute('ethtool', ['-K', kernelEnd(wire), 'tx', 'off', 'gso', 'off', 'gro', 'off']);
    t.is(code, 0, stderr);
    await transferBothWays(t, host, file);
    await checkNothingWrong(t, host);
  });
}

for (const wire of WIRES) {
  integrationTest(`frames are lost, over ${wire.name}`, async (t) => {
    const file = Site.create(t).add('file.bin', 2_000_000);
    let lossy: LossyDevice | null = null;
    const wrap = (device: Device): Device => {
      // A super-frame stands for many frames.
      lossy = new LossyDevice(device, wire.offload ? 0.03 : 0.02, 1);
      return lossy;
    };
    const host = await openStack(t, wire, { wrap, tcpSettings: TCP_SETTINGS });
    await transferBothWays(t, host, file);
    const { lostIn, lostOut } = lossy as unknown as LossyDevice;
    t.true(lostIn > 0 && lostOut > 0);
    await checkNothingWrong(t, host);
  });
}

integrationTest('a cable that is pulled for a while does not end a connection', async (t) => {
  const file = Site.create(t).add('file.bin', 20_000_000);
  const host = await openStack(t, VETH, { tcpSettings: TCP_SETTINGS });
  await startSink(t, null, KERNEL_ADDRESS, SINK_PORT);
  const client = StackPeer.connect(host, KERNEL_ADDRESS, SINK_PORT);
  await within('the handshake', client.connected);
  client.write(file.contents);
  client.end();
  await until('the transfer to have begun', () => client.queuedBytes < file.contents.length);
  ip('link', 'set', FAR_NAME, 'down');
  await sleep(700);
  t.true(client.queuedBytes > 0);
  ip('link', 'set', FAR_NAME, 'up');
  t.is(await within('the end', client.closed), '');
  t.deepEqual(JSON.parse(client.received.toString()), { bytes: file.contents.length, sha256: file.sha256 });
  await checkNothingWrong(t, host);
});

integrationTest("the kernel's MAC address changes under a connection", async (t) => {
  const host = await openStack(t, TAP);
  const accepted = StackPeer.accept(host, PORT);
  const socket = connect(t);
  const server = await within('a connection', accepted);
  ip('link', 'set', TAP_NAME, 'address', '02:00:00:00:77:77');
  // The kernel takes no frames to its old address: the stack has to find out.
  const came = once(socket, 'data');
  server.write(Buffer.from('still there?'));
  t.is(String((await within('the bytes', came))[0]), 'still there?');
});

integrationTest("Linux's keep-alive probes are answered", async (t) => {
  setKernel(t, '/proc/sys/net/ipv4/tcp_keepalive_intvl', '1');
  setKernel(t, '/proc/sys/net/ipv4/tcp_keepalive_probes', '1');
  const host = await openStack(t, TAP);
  const accepted = StackPeer.accept(host, PORT);
  const socket = connect(t);
  await within('a connection', accepted);
  socket.setKeepAlive(true, 1000);
  const before = host.tcp.counters.get('segmentsReceived');
  // Unanswered, the first probe would have ended the connection by now.
  await sleep(3500);
  t.true(host.tcp.counters.get('segmentsReceived') >= before + 3);
  t.false(socket.destroyed);
});

integrationTest('the stack probes with keep-alive: Linux answers, and a dead peer is noticed', async (t) => {
  const tcpSettings = { keepAliveIdleUs: 300_000, keepAliveIntervalUs: 200_000, keepAliveProbes: 3 };
  const host = await openStack(t, VETH, { tcpSettings });
  const accepted = StackPeer.accept(host, PORT);
  connect(t);
  const server = await within('a connection', accepted);
  await until('probes', () => host.tcp.counters.get('keepAliveProbes') >= 5);
  t.is(server.error, null);
  ip('link', 'set', FAR_NAME, 'down');
  t.is(await within('the end', server.closed), 'ETIMEDOUT');
});

commandTest('ports are used again while the server still remembers them', ['ab'], async (t) => {
  setKernel(t, '/proc/sys/net/ipv4/ip_local_port_range', '40000 40099');
  const site = Site.create(t);
  const file = site.add('file.bin', 100);
  const cheetah = await CheetahProcess.serve(t, TAP, site.root);
  // One after the other, so that the server closes first and remembers every one of them for a minute.
  const startMs = Date.now();
  const { code, stdout } = await execute('ab', ['-q', '-n', '1000', '-c', '1', `http://${STACK_ADDRESS}${file.path}`]);
  t.is(code, 0);
  t.regex(stdout.toString(), /Complete requests: +1000\n/);
  t.regex(stdout.toString(), /Failed requests: +0\n/);
  // A SYN that is not accepted at once is sent again after a second.
  t.true(Date.now() - startMs < 15_000);
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
});

for (const wire of [TAP, VETH]) {
  integrationTest(`a server that has nothing to do sleeps, over ${wire.name}`, async (t) => {
    const site = Site.create(t);
    const file = site.add('large.bin', 20_000_000);
    const cheetah = await CheetahProcess.serve(t, wire, site.root);
    const idle = await HttpClient.connect(t);
    const stalled = await HttpClient.connect(t);
    stalled.write(get(file.path));
    while (stalled.bufferedBytes < 100_000) await stalled.more();
    stalled.socket.pause();
    await sleep(1000);
    const before = cpuTicks(cheetah);
    await sleep(2000);
    const busy = (cpuTicks(cheetah) - before) / 200;
    t.true(busy < 0.1, `${busy * 100} % of a processor`);
    stalled.socket.destroy();
    idle.socket.end();
    await idle.readEnd();
    t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  });
}

/** Hundredths of a second that the process has run for (proc(5), stat: utime and stime). */
function cpuTicks({ child }: CheetahProcess): number {
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** Uploads to the stack and from it. */
async function transferBothWays(t: ExecutionContext, host: Host, file: SiteFile): Promise<void> {
  const accepted = StackPeer.accept(host, PORT);
  const sent = sendFile(STACK_ADDRESS, PORT, file.file);
  const server = await within('a connection', accepted);
  await within('the upload', server.peerClosed);
  t.is(sha256(server.received), file.sha256);
  server.end();
  t.is(await within('the end', server.closed), '');
  t.is((await sent).code, 0);

  await startSink(t, null, KERNEL_ADDRESS, SINK_PORT);
  const client = StackPeer.connect(host, KERNEL_ADDRESS, SINK_PORT);
  await within('the handshake', client.connected);
  client.write(file.contents);
  client.end();
  t.is(await within('the end', client.closed), '');
  const expected: SinkReport = { bytes: file.contents.length, sha256: file.sha256 };
  t.deepEqual(JSON.parse(client.received.toString()), expected);
}

/** Sets something of the kernel's for the test. */
function setKernel(t: ExecutionContext, path: string, value: string): void {
  const before = readFileSync(path, 'utf8');
  writeFileSync(path, value);
  t.teardown(() => writeFileSync(path, before));
}

function connect(t: ExecutionContext): Socket {
  const socket = createConnection({ host: STACK_ADDRESS, port: PORT });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  return socket;
}

async function checkNothingWrong(t: ExecutionContext, host: Host): Promise<void> {
  t.deepEqual(findKernelErrors(), []);
  await until('everything to be given back', () => findLeaks(host).length === 0).catch(() => {});
  t.deepEqual(findLeaks(host), []);
}
