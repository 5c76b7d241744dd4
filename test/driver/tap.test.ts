import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import test from 'ava';
import { DeviceError, FRAME_OFFSET_BYTES, ReceiveBatch, TransmitBatch } from '../../src/driver/device.ts';
import { InterfaceConfig, kernelOwnsAddress } from '../../src/driver/interface-config.ts';
import { openPacketSocket } from '../../src/driver/packet-socket.ts';
import type { TapDevice, TapOptions } from '../../src/driver/tap.ts';
import { openTap } from '../../src/driver/tap.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { formatIpv4, formatMac, parseCidr, parseIpv4 } from '../../src/wire/address.ts';
import {
  ARP_REPLY,
  ARP_REQUEST,
  arpOperation,
  arpSenderAddress,
  arpSenderHi,
  arpSenderLo,
  setArp,
} from '../../src/wire/arp.ts';
import { finishSum, pseudoSum4, sumBytes } from '../../src/wire/checksum.ts';
import { ETHERNET_BYTES, ETHERTYPE_ARP, ethernetType, setEthernet } from '../../src/wire/ethernet.ts';
import { IPV4_BYTES, PROTOCOL_UDP } from '../../src/wire/ipv4.ts';
import { completeChecksum } from '../../src/wire/partial-checksum.ts';
import { clearVnet, VNET_NEEDS_CSUM, vnetFlags } from '../../src/wire/virtio-net.ts';
import { enterPrivateNetwork, forbidden, integrationTest, ip } from '../support/netns.ts';
import type { Rig } from './compliance.ts';
import { FarEnd, settleKernel, testCompliance } from './compliance.ts';

const ARENA_BYTES = 64 << 20;
const HOST = { address: address('10.90.0.1'), prefixLength: 24 };
const OURS = address('10.90.0.2');
const OUR_MAC = { hi: 0x0200, lo: 0x5a000002 };

if (forbidden === undefined) enterPrivateNetwork();

function makeRig(options: Partial<TapOptions>): Rig {
  const arena = new Arena(ARENA_BYTES);
  const device = openTap({ name: 'exo%d', arena, ...options });
  const farDevice = openPacketSocket({ name: device.name, arena });
  const far = new FarEnd(farDevice, arena);
  return {
    device,
    arena,
    inject: (frames) => far.inject(frames),
    collect: () => far.collect(),
    settle: settleKernel,
    close: () => {
      farDevice.close();
      device.close();
      arena.close();
    },
  };
}

testCompliance('tap', integrationTest, () => makeRig({}));
testCompliance('tap without offload', integrationTest, () => makeRig({ offload: false }));
testCompliance('tap with jumbo frames', integrationTest, () => makeRig({ mtu: 9000, offload: false }));

integrationTest('sets the kernel end up, and takes the device away when closed', (t) => {
  const { tap, arena } = open({ hostAddress: HOST, mtu: 1400 });
  t.teardown(() => arena.close());
  t.is(tap.mtuBytes, 1400);
  t.false(tap.persistent);
  t.deepEqual(tap.hostAddress, HOST);
  const shown = ip('addr', 'show', 'dev', tap.name);
  t.regex(shown, /mtu 1400/);
  t.regex(shown, /[<,]UP[,>]/);
  t.regex(shown, /inet 10\.90\.0\.1\/24 brd 10\.90\.0\.255/);
  t.true(shown.includes(formatMac(tap.hostMac.hi, tap.hostMac.lo)));
  t.is(kernelOwnsAddress(HOST.address), tap.name);
  t.is(kernelOwnsAddress(OURS), undefined);
  tap.close();
  t.throws(() => ip('addr', 'show', 'dev', tap.name));
  t.is(kernelOwnsAddress(HOST.address), undefined);
});

integrationTest('the kernel answers an ARP request', async (t) => {
  const { tap, arena } = open({ hostAddress: HOST });
  t.teardown(() => close(tap, arena));
  sendArp(tap, arena, ARP_REQUEST);
  const at = await receiveFrame(tap, arena, (bytes, at) => ethernetType(bytes, at) === ETHERTYPE_ARP);
  const arp = at + ETHERNET_BYTES;
  t.is(arpOperation(arena.bytes, arp), ARP_REPLY);
  t.is(formatIpv4(arpSenderAddress(arena.bytes, arp)), '10.90.0.1');
  t.is(arpSenderHi(arena.bytes, arp), tap.hostMac.hi);
  t.is(arpSenderLo(arena.bytes, arp), tap.hostMac.lo);
});

for (const offload of [true, false]) {
  integrationTest(`the kernel's checksums are ${offload ? 'partial' : 'complete'}, offload ${offload}`, async (t) => {
    const { tap, arena } = open({ hostAddress: HOST, offload });
    const socket = createSocket('udp4');
    t.teardown(async () => {
      socket.close();
      close(tap, arena);
    });
    ip('neigh', 'add', '10.90.0.2', 'lladdr', formatMac(OUR_MAC.hi, OUR_MAC.lo), 'dev', tap.name);
    socket.send(Buffer.alloc(999, 7), 7, '10.90.0.2');
    await once(socket, 'listening');
    const isUdp = (bytes: Uint8Array, at: number): boolean => bytes[at + ETHERNET_BYTES + 9] === PROTOCOL_UDP;
    const at = await receiveFrame(tap, arena, isUdp);
    const length = ETHERNET_BYTES + IPV4_BYTES + 8 + 999;
    t.is((vnetFlags(arena.bytes, at) & VNET_NEEDS_CSUM) !== 0, offload);
    completeChecksum(arena.bytes, at, length);
    const pseudo = pseudoSum4(HOST.address, OURS, PROTOCOL_UDP) + 1007;
    t.is(finishSum(sumBytes(arena.bytes, at + ETHERNET_BYTES + IPV4_BYTES, 1007, pseudo)), 0);
  });
}

integrationTest('a persistent device is given what it lacks and left as it was found', (t) => {
  ip('tuntap', 'add', 'keep0', 'mode', 'tap');
  t.teardown(() => ip('tuntap', 'del', 'keep0', 'mode', 'tap'));
  ip('link', 'set', 'keep0', 'mtu', '1300');
  const before = describe('keep0');
  const { tap, arena } = open({ name: 'keep0', hostAddress: HOST, mtu: 9000 });
  t.teardown(() => arena.close());
  t.true(tap.persistent);
  t.is(tap.mtuBytes, 1300);
  const shown = ip('addr', 'show', 'dev', 'keep0');
  t.regex(shown, /[<,]UP[,>]/);
  t.regex(shown, /inet 10\.90\.0\.1\/24/);
  tap.close();
  t.is(describe('keep0'), before);
});

integrationTest('a persistent device keeps its address and state', (t) => {
  ip('tuntap', 'add', 'keep1', 'mode', 'tap', 'multi_queue');
  t.teardown(() => ip('tuntap', 'del', 'keep1', 'mode', 'tap', 'multi_queue'));
  ip('addr', 'add', '10.91.0.1/25', 'dev', 'keep1');
  ip('link', 'set', 'keep1', 'up');
  const before = describe('keep1');
  const { tap, arena } = open({ name: 'keep1', hostAddress: HOST });
  t.teardown(() => arena.close());
  t.deepEqual(tap.hostAddress, { address: address('10.91.0.1'), prefixLength: 25 });
  t.is(kernelOwnsAddress(HOST.address), undefined);
  tap.close();
  t.is(describe('keep1'), before);
});

integrationTest('says in one sentence why it cannot open', (t) => {
  const { tap, arena } = open({});
  t.teardown(() => close(tap, arena));
  ip('link', 'add', 'pair0', 'type', 'veth', 'peer', 'name', 'pair1');
  t.teardown(() => ip('link', 'del', 'pair0'));
  const failure = (name: string): DeviceError | undefined =>
    t.throws(() => openTap({ name, arena }), { instanceOf: DeviceError });
  t.is(failure(tap.name)?.code, 'EBUSY');
  t.is(failure('pair0')?.code, 'EINVAL');
  t.is(failure('a name')?.code, 'EINVAL');
  t.is(failure('')?.code, 'EINVAL');
  t.is(failure('sixteen-bytes-it-is')?.code, 'EINVAL');
  for (const name of [tap.name, 'pair0', 'a name']) t.regex(failure(name)?.message ?? '', /^[^.]+\.$/);
  t.throws(() => openTap({ name: 'exo%d', arena, mtu: 30 }), { instanceOf: RangeError });
});

integrationTest('loses frames while the kernel end is down, and works again when it is up', async (t) => {
  const { tap, arena } = open({ hostAddress: HOST });
  t.teardown(() => close(tap, arena));
  const config = new InterfaceConfig(tap.name);
  t.teardown(() => config.close());
  config.setUp(false);
  sendArp(tap, arena, ARP_REQUEST);
  t.is(tap.counters.transmitErrors, 1);
  t.is(tap.failure, null);
  config.setUp(true);
  sendArp(tap, arena, ARP_REQUEST);
  await receiveFrame(tap, arena, (bytes, at) => ethernetType(bytes, at) === ETHERTYPE_ARP);
  t.is(tap.counters.transmitErrors, 1);
});

integrationTest('fails for good when the device is removed', (t) => {
  const { tap, arena } = open({});
  t.teardown(() => close(tap, arena));
  ip('link', 'del', tap.name);
  const batch = new ReceiveBatch(1);
  batch.at[0] = arena.allocate(tap.slotBytes) + FRAME_OFFSET_BYTES;
  t.is(tap.receive(batch), 0);
  t.is(tap.failure?.code, 'ENODEV');
  sendArp(tap, arena, ARP_REQUEST);
  t.is(tap.counters.transmitErrors, 1);
  t.is(tap.completed(), 1);
});

test('an interface name must be one', (t) => {
  for (const name of ['', 'a/b', 'a b', 'a:b', '.', '..', 'abcdefghijklmnop']) {
    t.is(t.throws(() => new InterfaceConfig(name), { instanceOf: DeviceError })?.code, 'EINVAL', name);
  }
});

function open(options: Partial<TapOptions>): { tap: TapDevice; arena: Arena } {
  const arena = new Arena(ARENA_BYTES);
  return { tap: openTap({ name: 'exo%d', arena, ...options }), arena };
}

function close(tap: TapDevice, arena: Arena): void {
  tap.close();
  arena.close();
}

function address(text: string): number {
  const parsed = parseIpv4(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

/**
 * All that `ip` knows of a persistent device, but for the queueing discipline it gets when it first comes up, and the
 * header format that the last program to attach asked for.
 */
function describe(name: string): string {
  return ip('-details', 'addr', 'show', 'dev', name).replace(/ (vnet_hdr|qdisc) \w+/g, '');
}

function sendArp(tap: TapDevice, arena: Arena, operation: number): void {
  const at = arena.allocate(128) + FRAME_OFFSET_BYTES;
  clearVnet(arena.bytes, at);
  setEthernet(arena.bytes, at, 0xffff, -1, OUR_MAC.hi, OUR_MAC.lo, ETHERTYPE_ARP);
  setArp(arena.bytes, at + ETHERNET_BYTES, operation, OUR_MAC.hi, OUR_MAC.lo, OURS, 0, 0, HOST.address);
  const batch = new TransmitBatch(1);
  batch.words.set([at, 42]);
  if (tap.transmit(batch, 0, 1) !== 1) throw new Error('the device is full');
}

/** Waits for a frame; returns where it is. */
async function receiveFrame(
  tap: TapDevice,
  arena: Arena,
  wanted: (bytes: Uint8Array, at: number) => boolean,
): Promise<number> {
  const batch = new ReceiveBatch(1);
  const at = arena.allocate(tap.slotBytes) + FRAME_OFFSET_BYTES;
  batch.at[0] = at;
  for (let round = 0; round < 500; round++) {
    while (tap.receive(batch) > 0) if (wanted(arena.bytes, at)) return at;
    await settleKernel();
  }
  throw new Error('no such frame came');
}

test('addresses of these tests parse', (t) => {
  t.deepEqual(parseCidr('10.90.0.1/24'), HOST);
});
