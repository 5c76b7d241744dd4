/** The instruments of the integration tests notice what they are for: what nobody can fail proves nothing. */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { FRAME_OFFSET_BYTES, TransmitBatch } from '../../src/driver/device.ts';
import { openPacketSocket } from '../../src/driver/packet-socket.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { parseMac } from '../../src/wire/address.ts';
import { finishSum, pseudoSum4, sumBytes } from '../../src/wire/checksum.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, setEthernet } from '../../src/wire/ethernet.ts';
import { IPV4_BYTES, PROTOCOL_TCP, setIpv4 } from '../../src/wire/ipv4.ts';
import { setTcp, setTcpChecksum, TCP_BYTES, TCP_SYN } from '../../src/wire/tcp.ts';
import { clearVnet } from '../../src/wire/virtio-net.ts';
import { findBadPackets, readCapture } from '../support/capture.ts';
import { commandTest, until, within } from '../support/commands.ts';
import { findKernelErrors, readKernelCounters } from '../support/kernel-errors.ts';
import { findLeaks } from '../support/leaks.ts';
import { enterPrivateNetwork, forbidden, integrationTest, ip, type Netns } from '../support/netns.ts';
import { Site, temporaryDirectory } from '../support/site.ts';
import { StackPeer } from '../support/stack-peer.ts';
import {
  addVeth,
  FAR_NAME,
  KERNEL_ADDRESS,
  NEAR_NAME,
  openStack,
  parseAddress,
  STACK_ADDRESS,
  TAP_PLAIN,
} from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const PORT = 7000;
const MAC_HI = 0x0200;
const MAC_LO = 0x0a5a0002;

commandTest("a capture's reader notices one flipped bit, and a frame cut short", ['tshark'], async (t) => {
  const { contents } = Site.create(t).add('some.bin', 10_000);
  const capture = join(temporaryDirectory(t), 'good.pcap');
  const host = await openStack(t, TAP_PLAIN, { capture });
  const accepted = StackPeer.accept(host, PORT);
  const socket = createConnection({ host: STACK_ADDRESS, port: PORT });
  t.teardown(() => socket.destroy());
  const server = await within('a connection', accepted);
  server.write(contents);
  server.end();
  socket.resume();
  await within('the end', once(socket, 'end'));
  host.close();
  t.deepEqual(await findBadPackets(capture), []);
  t.true((await readCapture(capture, 'tcp.len > 0', ['frame.number'])).length >= contents.length / 1460);

  const bytes = readFileSync(capture);
  const at = bytes.indexOf(contents.subarray(0, 100));
  t.true(at > 0);
  bytes.writeUInt8(bytes.readUInt8(at + 50) ^ 1, at + 50);
  writeFileSync(capture, bytes);
  t.is((await findBadPackets(capture)).length, 1);
  writeFileSync(capture, bytes.subarray(0, bytes.length - 1));
  await t.throwsAsync(findBadPackets(capture));
  writeFileSync(capture, bytes.subarray(0, 24));
  await t.throwsAsync(findBadPackets(capture), { message: /empty/ });
});

integrationTest("the kernel's counters tell of a bad checksum", async (t) => {
  const near = await addVeth(t);
  const segments = (): number => readKernelCounters().get('Tcp.InSegs') ?? 0;
  const before = segments();
  sendSyn(t, near, 0);
  await until('the segment', () => segments() === before + 1);
  t.deepEqual(findKernelErrors(), []);
  sendSyn(t, near, 1);
  await until('the bad segment', () => findKernelErrors().length > 0);
  t.deepEqual(findKernelErrors(), ['1 Tcp.InErrs', '1 Tcp.InCsumErrors']);
});

integrationTest('an open connection, and what is queued on it, counts as a leak', async (t) => {
  const host = await openStack(t, TAP_PLAIN, { tcpSettings: { timeWaitUs: 200_000 } });
  await until('nothing to be held', () => findLeaks(host).length === 0);
  const accepted = StackPeer.accept(host, PORT, { paused: true });
  const socket = createConnection({ host: STACK_ADDRESS, port: PORT });
  t.teardown(() => socket.destroy());
  socket.write(Buffer.alloc(10_000));
  const server = await within('a connection', accepted);
  await until('the bytes', () => server.unreadBytes === 10_000);
  server.write(Buffer.alloc(10_000));
  server.end();
  await sleep(100);
  const leaks = findLeaks(host).join();
  for (const what of ['1 connections', 'receive rings', 'paths in use']) t.true(leaks.includes(what), leaks);
  server.resume();
  socket.end();
  socket.resume();
  await within('the end', server.closed);
  await until('nothing to be left', () => findLeaks(host).length === 0);
  t.pass();
});

/** Sends a SYN to the kernel from the near end of the wire, its checksum wrong by so much. */
function sendSyn(t: ExecutionContext, near: Netns, wrongBy: number): void {
  const arena = new Arena(1 << 26);
  const device = near.within(() => openPacketSocket({ name: NEAR_NAME, arena, offload: false }));
  t.teardown(() => {
    device.close();
    arena.close();
  });
  const { bytes } = arena;
  const source = parseAddress(STACK_ADDRESS);
  const target = parseAddress(KERNEL_ADDRESS);
  const mac = parseMac(/link\/ether (\S+)/.exec(ip('link', 'show', FAR_NAME))?.[1] ?? '');
  if (mac === undefined) throw new Error(`${FAR_NAME} has no MAC address`);
  const at = arena.allocate(256) + FRAME_OFFSET_BYTES;
  const tcpAt = at + ETHERNET_BYTES + IPV4_BYTES;
  clearVnet(bytes, at);
  setEthernet(bytes, at, mac.hi, mac.lo, MAC_HI, MAC_LO, ETHERTYPE_IPV4);
  setIpv4(bytes, at + ETHERNET_BYTES, IPV4_BYTES + TCP_BYTES, 1, true, 64, PROTOCOL_TCP, source, target, 0);
  setTcp(bytes, tcpAt, 40_000, PORT, 1, 0, TCP_BYTES, TCP_SYN, 1000);
  const sum = pseudoSum4(source, target, PROTOCOL_TCP) + TCP_BYTES;
  setTcpChecksum(bytes, tcpAt, finishSum(sumBytes(bytes, tcpAt, TCP_BYTES, sum)) ^ wrongBy);
  const batch = new TransmitBatch(1);
  batch.words.set([at, ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES]);
  if (device.transmit(batch, 0, 1) !== 1) throw new Error('the device is full');
}
