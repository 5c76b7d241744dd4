import {
  DeviceError,
  FRAME_OFFSET_BYTES,
  ReceiveBatch,
  type ReceiveSlots,
  TransmitBatch,
} from '../../src/driver/device.ts';
import type { PacketSocketOptions } from '../../src/driver/packet-socket.ts';
import { openPacketSocket } from '../../src/driver/packet-socket.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { parseIpv4, parseMac } from '../../src/wire/address.ts';
import { ETHERNET_BYTES } from '../../src/wire/ethernet.ts';
import { VNET_BYTES } from '../../src/wire/virtio-net.ts';
import { addVeth, enterPrivateNetwork, forbidden, integrationTest, ip, setLinkUp } from '../support/netns.ts';
import type { Rig } from './compliance.ts';
import { FarEnd, receiveFrames as receiveBatch, settleKernel, testCompliance } from './compliance.ts';
import { isOurs, numberedFrame } from './frames.ts';

const ARENA_BYTES = 256 << 20;
const LOOKS = 64;

if (forbidden === undefined) enterPrivateNetwork();

function removeVeth(): void {
  ip('link', 'del', 'near0');
}

function makeRig(options: Partial<PacketSocketOptions>): Rig {
  const arena = new Arena(ARENA_BYTES);
  addVeth('near0', 'far0');
  const device = openPacketSocket({ name: 'near0', arena, ...options });
  const farDevice = openPacketSocket({ name: 'far0', arena });
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
      removeVeth();
      arena.close();
    },
  };
}

testCompliance('packet', integrationTest, () => makeRig({}));
testCompliance('packet without offload', integrationTest, () => makeRig({ offload: false }));

integrationTest('refuses an interface that is missing, down, not Ethernet, or whose names it would share', (t) => {
  const arena = new Arena(ARENA_BYTES);
  t.teardown(() => arena.close());
  addVeth('near0', 'far0');
  t.teardown(removeVeth);
  ip('addr', 'add', '10.92.0.1/24', 'dev', 'far0');
  ip('link', 'set', 'near0', 'down', 'address', '02:00:00:00:00:07');
  const failure = (options: Partial<PacketSocketOptions>): DeviceError | undefined =>
    t.throws(() => openPacketSocket({ name: 'far0', arena, ...options }), { instanceOf: DeviceError });
  const failures = [
    [failure({ name: 'nowhere0' }), 'ENODEV'],
    [failure({ name: 'near0' }), 'ENETDOWN'],
    [failure({ name: 'lo' }), 'EINVAL'],
    [failure({ addresses: [parseIpv4('10.92.0.2') ?? 0, parseIpv4('10.92.0.1') ?? 0] }), 'EADDRINUSE'],
    [failure({ addresses: [parseIpv4('127.0.0.1') ?? 0] }), 'EADDRINUSE'],
  ] as const;
  for (const [error, code] of failures) t.is(error?.code, code);
  t.regex(failures[3][0]?.message ?? '', /10\.92\.0\.1 .*far0/);
  ip('link', 'set', 'near0', 'up');
  t.is(failure({ name: 'near0', mac: parseMac('02:00:00:00:00:07') ?? { hi: 0, lo: 0 } })?.code, 'EADDRINUSE');
  const socket = openPacketSocket({ name: 'near0', arena, addresses: [parseIpv4('10.92.0.2') ?? 0], mtu: 1280 });
  t.is(socket.mtuBytes, 1280);
  socket.close();
});

integrationTest('a frame that finds no slot is lost and counted, and no other is written over', (t) => {
  const rig = makeRig({});
  t.teardown(() => rig.close());
  const { device, arena } = rig;
  const slots = device.slots as ReceiveSlots;
  const count = slots.at.length;
  const batch = new ReceiveBatch(count + 20);
  device.receive(batch);
  rig.inject(numbered(count + 20));
  t.is(device.receive(batch), count);
  const [kept, ...others] = Array.from(batch.at.subarray(0, count), (at) => slots.at.indexOf(at));
  for (const slot of others) slots.release(slot);
  rig.inject(numbered(5));
  t.is(device.receive(batch), 0);
  const keptAt = slots.at[kept as number] as number;
  t.deepEqual(arena.bytes.slice(keptAt, keptAt + 100), numberedFrame(0, 100));
  slots.release(kept as number);
  rig.inject(numbered(5));
  t.deepEqual(receiveFrames(rig), numbered(5));
  t.is(device.counters.receiveLost, 25);
});

integrationTest('frames with a VLAN tag, and those we sent ourselves, do not come in', async (t) => {
  const rig = makeRig({});
  t.teardown(() => rig.close());
  const tagged = numberedFrame(5, 100);
  tagged.set([0x81, 0x00, 0x00, 0x05], ETHERNET_BYTES - 2);
  rig.inject([tagged]);
  const batch = new TransmitBatch(1);
  const at = rig.arena.allocate(256) + FRAME_OFFSET_BYTES;
  rig.arena.bytes.set(numberedFrame(6, 100), at);
  batch.words.set([at, 100]);
  t.is(rig.device.transmit(batch, 0, 1), 1);
  rig.inject([numberedFrame(7, 100)]);
  for (let i = 0; i < 10; i++) await settleKernel();
  const frames = receiveFrames(rig);
  t.deepEqual(frames.filter(isOurs), [numberedFrame(7, 100)]);
});

integrationTest('loses frames while the interface is down, and works again when it is up', async (t) => {
  const rig = makeRig({});
  t.teardown(() => rig.close());
  ip('link', 'set', 'near0', 'down');
  t.deepEqual(receiveFrames(rig), []);
  const batch = new TransmitBatch(1);
  const at = rig.arena.allocate(256) + FRAME_OFFSET_BYTES;
  rig.arena.bytes.set(numberedFrame(1, 100), at);
  batch.words.set([at, 100]);
  t.is(rig.device.transmit(batch, 0, 1), 1);
  t.is(rig.device.counters.transmitErrors, 1);
  t.is(rig.device.failure, null);
  setLinkUp('near0', 'far0');
  rig.inject([numberedFrame(2, 100)]);
  for (let i = 0; i < 10; i++) await settleKernel();
  t.deepEqual(receiveFrames(rig).filter(isOurs), [numberedFrame(2, 100)]);
});

integrationTest('fails for good when the interface is removed', (t) => {
  const rig = makeRig({});
  removeVeth();
  t.teardown(() => {
    addVeth('near0', 'far0');
    rig.close();
  });
  t.deepEqual(receiveFrames(rig), []);
  t.is(rig.device.failure?.code, 'ENODEV');
  const batch = new TransmitBatch(1);
  batch.words.set([rig.arena.allocate(256) + FRAME_OFFSET_BYTES, 100]);
  t.is(rig.device.transmit(batch, 0, 1), 1);
  t.is(rig.device.counters.transmitErrors, 1);
});

function numbered(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => numberedFrame(i, 100));
}

/** Frames that have come by now; enough looks for the socket to be asked what is wrong, too. */
function receiveFrames({ device, arena }: Rig): Uint8Array[] {
  const batch = new ReceiveBatch(8);
  const frames: Uint8Array[] = [];
  for (let look = 0; look < LOOKS; look++) frames.push(...receiveBatch(device, arena, batch));
  return frames.map((frame) => frame.slice(VNET_BYTES));
}
