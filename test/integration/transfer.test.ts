/** Ten megabytes between the stack and the Linux kernel, both ways, over every wire; and at other MTUs. */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Host } from '../../src/host/host.ts';
import { findBadPackets, readCapture } from '../support/capture.ts';
import { commandTest, until, within } from '../support/commands.ts';
import { findKernelErrors } from '../support/kernel-errors.ts';
import { findLeaks } from '../support/leaks.ts';
import type { SinkReport } from '../support/linux-peer.ts';
import { sendFile, startServer, startSink } from '../support/linux-programs.ts';
import { enterPrivateNetwork, forbidden, integrationTest } from '../support/netns.ts';
import { Site, type SiteFile, sha256, temporaryDirectory } from '../support/site.ts';
import { StackPeer } from '../support/stack-peer.ts';
import {
  KERNEL_ADDRESS,
  openStack,
  STACK_ADDRESS,
  TAP,
  TAP_PLAIN,
  VETH,
  VETH_PLAIN,
  WIRES,
  type Wire,
} from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const TEN_MEGABYTES = 10_000_000;
const ETHERNET_BYTES = 14;
/** The short TIME-WAIT lets what is left of a connection be counted as a leak soon. */
const TCP_SETTINGS = { timeWaitUs: 200_000 };

for (const wire of WIRES) {
  integrationTest(`the stack fetches from a Linux server over ${wire.name}`, async (t) => {
    const site = Site.create(t);
    const file = site.add('large.bin', TEN_MEGABYTES);
    const host = await openStack(t, wire, { tcpSettings: TCP_SETTINGS });
    await startServer(t, null, KERNEL_ADDRESS, 8080, site.root);
    await fetchFile(t, host, file);
    await checkNothingWrong(t, host);
  });

  integrationTest(`the stack takes an upload from Linux over ${wire.name}`, async (t) => {
    const file = Site.create(t).add('large.bin', TEN_MEGABYTES);
    const host = await openStack(t, wire, { tcpSettings: TCP_SETTINGS });
    await takeUpload(t, host, file);
    await checkNothingWrong(t, host);
  });

  integrationTest(`the stack uploads to Linux, and closes its half first, over ${wire.name}`, async (t) => {
    const file = Site.create(t).add('large.bin', TEN_MEGABYTES);
    const host = await openStack(t, wire, { tcpSettings: TCP_SETTINGS });
    await startSink(t, null, KERNEL_ADDRESS, 9000);
    await upload(t, host, file);
    await checkNothingWrong(t, host);
  });
}

const OTHER_MTUS: readonly (readonly [Wire, number])[] = [
  [TAP, 9000],
  [TAP_PLAIN, 9000],
  [VETH, 9000],
  [VETH_PLAIN, 9000],
  [TAP, 576],
  [TAP_PLAIN, 576],
  [VETH_PLAIN, 576],
];

for (const [wire, mtu] of OTHER_MTUS) {
  commandTest(`both ways at an MTU of ${mtu} over ${wire.name}`, ['tshark'], async (t) => {
    const site = Site.create(t);
    const file = site.add('some.bin', 1_000_000);
    const capture = join(temporaryDirectory(t), 'mtu.pcap');
    const host = await openStack(t, wire, { mtu, capture, tcpSettings: TCP_SETTINGS });
    t.is(host.stack.mtuBytes, mtu);
    await startServer(t, null, KERNEL_ADDRESS, 8080, site.root);
    await startSink(t, null, KERNEL_ADDRESS, 9000);
    await fetchFile(t, host, file);
    await upload(t, host, file);
    await takeUpload(t, host, file);
    await checkNothingWrong(t, host);
    host.close();
    t.deepEqual(await findBadPackets(capture), []);
    const ours = await readCapture(capture, `ip.src == ${STACK_ADDRESS}`, ['frame.len']);
    const longest = Math.max(...ours.map(([length]) => Number(length)));
    // A super-frame is longer than the link's frames, and cut by the kernel; without offload the longest is a full one.
    if (wire.offload) t.true(longest > mtu + ETHERNET_BYTES, `${longest}`);
    else t.is(longest, mtu + ETHERNET_BYTES);
    const announced = await readCapture(capture, `ip.src == ${STACK_ADDRESS} && tcp.flags.syn == 1`, [
      'tcp.options.mss_val',
    ]);
    t.deepEqual([...new Set(announced.flat())], [`${mtu - 40}`]);
  });
}

async function fetchFile(t: ExecutionContext, host: Host, file: SiteFile): Promise<void> {
  const client = StackPeer.connect(host, KERNEL_ADDRESS, 8080);
  client.write(Buffer.from(`GET ${file.path} HTTP/1.1\r\nHost: ${KERNEL_ADDRESS}\r\nConnection: close\r\n\r\n`));
  await within('the end of the response', client.peerClosed);
  client.end();
  t.is(await within('the end of the connection', client.closed), '');
  const { received } = client;
  const bodyAt = received.indexOf('\r\n\r\n') + 4;
  t.regex(received.toString('latin1', 0, bodyAt), /^HTTP\/1\.1 200 OK\r\n/);
  t.is(sha256(received.subarray(bodyAt)), file.sha256);
}

async function takeUpload(t: ExecutionContext, host: Host, file: SiteFile): Promise<void> {
  const accepted = StackPeer.accept(host, 9001);
  const sent = sendFile(STACK_ADDRESS, 9001, file.file);
  const server = await within('a connection', accepted);
  await within('the end of the upload', server.peerClosed);
  t.is(server.receivedBytes, file.contents.length);
  t.is(sha256(server.received), file.sha256);
  server.write(Buffer.from('that was all'));
  server.end();
  t.is(await within('the end of the connection', server.closed), '');
  const { code, stdout } = await sent;
  t.is(code, 0);
  t.is(stdout.toString(), 'that was all');
}

async function upload(t: ExecutionContext, host: Host, file: SiteFile): Promise<void> {
  // All of it is queued before the handshake, and the end too.
  const client = StackPeer.connect(host, KERNEL_ADDRESS, 9000);
  client.write(file.contents);
  client.end();
  await within('the answer', client.peerClosed);
  t.is(await within('the end of the connection', client.closed), '');
  const report = JSON.parse(client.received.toString()) as SinkReport;
  t.deepEqual(report, { bytes: file.contents.length, sha256: file.sha256 });
  t.is(client.regions, 0);
}

/** Neither end has seen a bad packet, and the stack holds nothing any more. */
async function checkNothingWrong(t: ExecutionContext, host: Host): Promise<void> {
  t.deepEqual(findKernelErrors(), []);
  t.is(host.stack.drops.get('tcp-checksum'), 0);
  await until('everything to be given back', () => findLeaks(host).length === 0).catch(() => {});
  t.deepEqual(findLeaks(host), []);
}
