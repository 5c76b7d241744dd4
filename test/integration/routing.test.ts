/**
 * The stack and a server two networks away, with two Linux routers between them: 10.90.0.2 - 10.90.0.1 (this namespace)
 * 10.91.0.1 - 10.91.0.2 (middle) 10.92.0.1 - 10.92.0.2 (server).
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Host } from '../../src/host/host.ts';
import { readCapture } from '../support/capture.ts';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, until, within } from '../support/commands.ts';
import { findKernelErrors, readKernelCounters } from '../support/kernel-errors.ts';
import { findLeaks } from '../support/leaks.ts';
import type { SinkReport } from '../support/linux-peer.ts';
import { sendFile, startServer, startSink } from '../support/linux-programs.ts';
import { enterPrivateNetwork, forbidden, integrationTest, ip, Netns, setLinkUp } from '../support/netns.ts';
import { Site, sha256, temporaryDirectory } from '../support/site.ts';
import { StackPeer } from '../support/stack-peer.ts';
import {
  KERNEL_ADDRESS,
  NEAR_NAME,
  openStack,
  parseAddress,
  STACK_ADDRESS,
  TAP,
  TAP_NAME,
  TAP_PLAIN,
  VETH,
  WIRES,
} from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const SERVER = '10.92.0.2';
const TEN_MEGABYTES = 10_000_000;
const STACK_OPTIONS = { gateway: KERNEL_ADDRESS, tcpSettings: { timeWaitUs: 200_000 } };
const NARROW_MTU = 1200;

for (const wire of WIRES) {
  // No link behind the first router completes checksums by itself, so that the server really verifies what we left to the
  // kernel, and what the kernel cut from our super-frames.
  commandTest(`through routers that complete what offload left open, over ${wire.name}`, ['ethtool'], async (t) => {
    const file = Site.create(t).add('large.bin', TEN_MEGABYTES);
    const { middle, server } = await addRouters(t);
    middle.run('ethtool', '-K', 'mid1', 'tx', 'off');
    server.run('ethtool', '-K', 'srv0', 'tx', 'off');
    const host = await openStack(t, wire, STACK_OPTIONS);
    await startServer(t, server, SERVER, 8080, join(file.file, '..'));
    await startSink(t, server, SERVER, 9000);

    const client = StackPeer.connect(host, SERVER, 8080);
    client.write(Buffer.from(`GET ${file.path} HTTP/1.1\r\nHost: ${SERVER}\r\nConnection: close\r\n\r\n`));
    await within('the response', client.peerClosed);
    client.end();
    t.is(await within('the end', client.closed), '');
    const { received } = client;
    t.is(sha256(received.subarray(received.indexOf('\r\n\r\n') + 4)), file.sha256);

    t.deepEqual(await upload(host, file.contents), { bytes: TEN_MEGABYTES, sha256: file.sha256 });

    // And a client that comes from there.
    const accepted = StackPeer.accept(host, 7000);
    const sent = sendFile(STACK_ADDRESS, 7000, file.file, server);
    const peer = await within('a connection', accepted);
    await within('the upload', peer.peerClosed);
    t.is(sha256(peer.received), file.sha256);
    peer.end();
    t.is((await sent).code, 0);

    t.deepEqual(findKernelErrors(server), []);
    t.deepEqual(findKernelErrors(middle), []);
    t.deepEqual(findKernelErrors(), []);
    await until('everything to be given back', () => findLeaks(host).length === 0).catch(() => {});
    t.deepEqual(findLeaks(host), []);
  });

  commandTest(
    `a link that takes less further on: transfers go on in smaller segments, over ${wire.name}`,
    ['tshark'],
    async (t) => {
      const file = Site.create(t).add('large.bin', TEN_MEGABYTES);
      const capture = join(temporaryDirectory(t), 'pmtu.pcap');
      const { server } = await addRouters(t, NARROW_MTU);
      const host = await openStack(t, wire, { ...STACK_OPTIONS, capture });
      await startSink(t, server, SERVER, 9000);
      // The second connection is in flight when the first one hears of the narrow link.
      const uploads = Promise.all([upload(host, file.contents), upload(host, file.contents)]);
      const expected: SinkReport = { bytes: TEN_MEGABYTES, sha256: file.sha256 };
      t.deepEqual(await uploads, [expected, expected]);
      // A third one knows from its start.
      const path = host.stack.paths.acquire(parseAddress(SERVER));
      t.is(path?.mtuBytes, NARROW_MTU);
      if (path !== undefined) host.stack.paths.release(path);
      t.true((readKernelCounters().get('Ip.FragFails') ?? 0) > 0);
      t.deepEqual(findKernelErrors(), []);
      await until('everything to be given back', () => findLeaks(host).length === 0).catch(() => {});
      t.deepEqual(findLeaks(host), []);
      host.close();
      const told = await readCapture(capture, 'icmp.type == 3 && icmp.code == 4', ['icmp.mtu']);
      t.true(told.length > 0);
      t.deepEqual(new Set(told.flat()), new Set([`${NARROW_MTU}`]));
    },
  );
}

// Super-frames and partial checksums of one stack go to the other as the kernel forwards them: as they are, or cut and
// completed.
for (const [near, far] of [
  [TAP, TAP],
  [TAP, TAP_PLAIN],
  [TAP_PLAIN, TAP],
] as const) {
  integrationTest(`two stacks, the kernel between them: from ${far.name} to ${near.name}`, async (t) => {
    const site = Site.create(t);
    const file = site.add('large.bin', TEN_MEGABYTES);
    allowForwarding();
    const addresses = ['--address', '10.94.0.2/24', '--host-address', '10.94.0.1/24', '--gateway', '10.94.0.1'];
    const args = ['--root', site.root, '--device', 'tap:exo1', ...addresses, ...(far.offload ? [] : ['--no-offload'])];
    const cheetah = await CheetahProcess.start(t, args);
    const host = await openStack(t, near, STACK_OPTIONS);
    for (const round of [1, 2]) {
      const client = StackPeer.connect(host, '10.94.0.2', 80);
      client.write(Buffer.from(`GET ${file.path} HTTP/1.1\r\nHost: 10.94.0.2\r\nConnection: close\r\n\r\n`));
      await within('the response', client.peerClosed);
      client.end();
      t.is(await within('the end', client.closed), '');
      const { received } = client;
      t.is(sha256(received.subarray(received.indexOf('\r\n\r\n') + 4)), file.sha256, `${round}`);
    }
    t.deepEqual(findKernelErrors(), []);
    t.deepEqual(findLeaks(host), []);
    t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  });
}

integrationTest('two stacks on one bridge ask each other for their addresses', async (t) => {
  const site = Site.create(t);
  const file = site.add('large.bin', TEN_MEGABYTES);
  try {
    ip('link', 'add', 'bridge0', 'type', 'bridge');
  } catch (error) {
    t.log(`no bridges here: ${error}`);
    t.pass();
    return;
  }
  t.teardown(() => ip('link', 'del', 'bridge0'));
  ip('link', 'set', 'bridge0', 'up');
  const address = ['--address', '10.90.0.5/24', '--host-address', `${KERNEL_ADDRESS}/24`];
  const cheetah = await CheetahProcess.start(t, ['--root', site.root, '--device', 'tap:exo1', ...address]);
  const host = await openStack(t, TAP);
  for (const port of ['exo1', TAP_NAME]) {
    ip('addr', 'flush', 'dev', port);
    ip('link', 'set', port, 'master', 'bridge0');
  }
  const client = StackPeer.connect(host, '10.90.0.5', 80);
  client.write(Buffer.from(`GET ${file.path} HTTP/1.1\r\nHost: 10.90.0.5\r\nConnection: close\r\n\r\n`));
  await within('the response', client.peerClosed);
  client.end();
  t.is(await within('the end', client.closed), '');
  const { received } = client;
  t.is(sha256(received.subarray(received.indexOf('\r\n\r\n') + 4)), file.sha256);
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
});

integrationTest('a kernel that forwards, on the near side of a veth pair, leaves our frames alone', async (t) => {
  const file = Site.create(t).add('some.bin', 1_000_000);
  let near: Netns | undefined;
  const host = await openStack(t, VETH, {
    tcpSettings: { timeWaitUs: 200_000 },
    prepareNear: (netns) => {
      near = netns;
      netns.within(allowForwarding);
      netns.ip('addr', 'add', '10.90.0.3/24', 'dev', NEAR_NAME);
      netns.ip('route', 'add', 'default', 'via', KERNEL_ADDRESS);
    },
  });
  await startSink(t, null, KERNEL_ADDRESS, 9000);
  t.is((await upload(host, file.contents, KERNEL_ADDRESS)).sha256, file.sha256);
  const accepted = StackPeer.accept(host, 7000);
  const sent = sendFile(STACK_ADDRESS, 7000, file.file);
  const peer = await within('a connection', accepted);
  await within('the upload', peer.peerClosed);
  t.is(sha256(peer.received), file.sha256);
  peer.end();
  t.is((await sent).code, 0);
  const counters = readKernelCounters(near);
  for (const name of ['Ip.ForwDatagrams', 'Ip.InDelivers', 'Tcp.InSegs', 'Tcp.OutRsts', 'Icmp.OutMsgs']) {
    t.is(counters.get(name), 0, name);
  }
});

integrationTest('without a gateway nothing beyond the link is reached', async (t) => {
  const { server } = await addRouters(t);
  await startSink(t, server, SERVER, 9000);
  const host = await openStack(t, TAP);
  t.is(await within('the error', StackPeer.connect(host, SERVER, 9000).closed), 'ENETUNREACH');
});

integrationTest('a network that the gateway does not know, and a port where nobody listens there', async (t) => {
  await addRouters(t);
  const host = await openStack(t, TAP, STACK_OPTIONS);
  t.is(await within('the error', StackPeer.connect(host, '10.99.0.1', 9000).closed), 'ENETUNREACH');
  t.is(await within('the error', StackPeer.connect(host, SERVER, 9999).closed), 'ECONNREFUSED');
  // The second router tells when the server's network has nobody at that address.
  t.is(await within('the error', StackPeer.connect(host, '10.92.0.77', 9000).closed), 'EHOSTUNREACH');
  t.deepEqual(findLeaks(host), []);
});

/** Makes the two routers and the server; the link between the routers may be narrower than the others. */
async function addRouters(t: ExecutionContext, mtu = 1500): Promise<{ middle: Netns; server: Netns }> {
  const middle = await Netns.create();
  t.teardown(() => middle.remove());
  const server = await Netns.create();
  t.teardown(() => server.remove());
  allowForwarding();
  middle.within(allowForwarding);
  ip('link', 'add', 'up0', 'mtu', `${mtu}`, 'type', 'veth', 'peer', 'name', 'mid0', 'netns', `${middle.pid}`);
  t.teardown(() => ip('link', 'del', 'up0'));
  middle.ip('link', 'set', 'mid0', 'mtu', `${mtu}`, 'up');
  setLinkUp('up0');
  ip('addr', 'add', '10.91.0.1/24', 'dev', 'up0');
  middle.ip('addr', 'add', '10.91.0.2/24', 'dev', 'mid0');
  Netns.connect(middle, 'mid1', server, 'srv0');
  middle.ip('addr', 'add', '10.92.0.1/24', 'dev', 'mid1');
  server.ip('addr', 'add', `${SERVER}/24`, 'dev', 'srv0');
  ip('route', 'add', '10.92.0.0/24', 'via', '10.91.0.2');
  middle.ip('route', 'add', '10.90.0.0/24', 'via', '10.91.0.1');
  server.ip('route', 'add', 'default', 'via', '10.92.0.1');
  return { middle, server };
}

function allowForwarding(): void {
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
}

async function upload(host: Host, contents: Uint8Array, address = SERVER): Promise<SinkReport> {
  const client = StackPeer.connect(host, address, 9000);
  await within('the handshake', client.connected);
  client.write(contents);
  client.end();
  await within('the answer', client.peerClosed);
  const error = await within('the end', client.closed);
  if (error !== '') throw new Error(error);
  return JSON.parse(client.received.toString()) as SinkReport;
}
