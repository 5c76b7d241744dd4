import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { FRAME_OFFSET_BYTES, ReceiveBatch, TransmitBatch } from '../../src/driver/device.ts';
import { PcapTee, PcapWriter } from '../../src/driver/pcap.ts';
import type { SimLinkOptions } from '../../src/driver/sim-link.ts';
import { createSimLink } from '../../src/driver/sim-link.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { VirtualClock } from '../../src/runtime/virtual-clock.ts';
import { clearVnet, setVnetChecksum, setVnetGso, VNET_BYTES, VNET_GSO_TCPV4 } from '../../src/wire/virtio-net.ts';
import type { Rig } from './compliance.ts';
import { FarEnd, testCompliance } from './compliance.ts';
import {
  numberedFrame,
  partialTcpFrame,
  TCP_AT,
  TCP_CHECKSUM_OFFSET,
  TCP_HEADERS_BYTES,
  tcpChecksumHolds,
} from './frames.ts';

const ARENA_BYTES = 64 << 20;
/** 2026-01-01, the virtual clock's wall time at zero. */
const EPOCH_SECONDS = Date.UTC(2026, 0, 1) / 1000;

interface TeeRig extends Rig {
  readonly path: string;
  readonly clock: VirtualClock;
  readonly device: PcapTee;
}

function makeRig(options: Partial<SimLinkOptions>): TeeRig {
  const directory = mkdtempSync(join(tmpdir(), 'exonet-pcap-'));
  const path = join(directory, 'capture.pcap');
  const clock = new VirtualClock();
  const arena = new Arena(ARENA_BYTES);
  const link = createSimLink({ clock, arena, delayUs: 100, ...options });
  const far = new FarEnd(link.b, arena);
  const device = new PcapTee(link.a, arena.bytes, path, clock);
  return {
    device,
    arena,
    path,
    clock,
    inject: (frames) => far.inject(frames),
    collect: () => far.collect(),
    settle: async () => clock.runUntil(clock.nowUs() + 100_000),
    close: () => {
      device.close();
      link.b.close();
      arena.close();
      rmSync(directory, { recursive: true });
    },
  };
}

testCompliance('pcap over sim', test, () => makeRig({}));
testCompliance('pcap over sim with offload', test, () => makeRig({ offload: true }));

interface Packet {
  readonly timeUs: number;
  readonly bytes: Uint8Array;
}

/** Reads a capture independently of what wrote it. */
function readCapture(path: string): Packet[] {
  const file = readFileSync(path);
  if (file.readUInt32LE(0) !== 0xa1b2c3d4 || file.readUInt32LE(20) !== 1) throw new Error('not an Ethernet capture');
  const packets: Packet[] = [];
  for (let at = 24; at < file.length; ) {
    const length = file.readUInt32LE(at + 8);
    if (file.readUInt32LE(at + 12) !== length) throw new Error('a packet was cut');
    const timeUs = (file.readUInt32LE(at) - EPOCH_SECONDS) * 1e6 + file.readUInt32LE(at + 4);
    packets.push({ timeUs, bytes: new Uint8Array(file.subarray(at + 16, at + 16 + length)) });
    at += 16 + length;
  }
  return packets;
}

/** Sends a frame in two pieces; returns where its header is, for the virtio header. */
function send(rig: TeeRig, frame: Uint8Array, vnet: (bytes: Uint8Array, at: number) => void): void {
  const { arena, device } = rig;
  const at = arena.allocate(128) + FRAME_OFFSET_BYTES;
  const region = arena.allocate(frame.length);
  clearVnet(arena.bytes, at);
  arena.bytes.set(frame.subarray(0, TCP_HEADERS_BYTES), at);
  arena.bytes.set(frame.subarray(TCP_HEADERS_BYTES), region);
  vnet(arena.bytes, at);
  const batch = new TransmitBatch(2);
  batch.words.set([at, TCP_HEADERS_BYTES, region, frame.length - TCP_HEADERS_BYTES], 8);
  device.transmit(batch, 1, 2);
}

async function captureConversation(t: ExecutionContext): Promise<TeeRig> {
  const rig = makeRig({ offload: true });
  t.teardown(() => rig.close());
  const batchFrames = new ReceiveBatch(8);
  for (let i = 0; i < 8; i++) batchFrames.at[i] = rig.arena.allocate(rig.device.slotBytes) + FRAME_OFFSET_BYTES;
  rig.clock.runUntil(1_500_000);
  send(rig, numberedFrame(1, 100), () => {});
  rig.clock.runUntil(2_000_001);
  send(rig, partialTcpFrame(1001), (bytes, at) => setVnetChecksum(bytes, at, TCP_AT, TCP_CHECKSUM_OFFSET));
  send(rig, partialTcpFrame(60_001), (bytes, at) => {
    setVnetChecksum(bytes, at, TCP_AT, TCP_CHECKSUM_OFFSET);
    setVnetGso(bytes, at, VNET_GSO_TCPV4, TCP_HEADERS_BYTES, 1460);
  });
  rig.inject([numberedFrame(2, 61), numberedFrame(3, 1514)]);
  await rig.settle();
  rig.device.receive(batchFrames);
  rig.device.close();
  return rig;
}

test('captures both directions with the time, checksums completed, super-frames whole', async (t) => {
  const rig = await captureConversation(t);
  const packets = readCapture(rig.path);
  t.deepEqual(
    packets.map(({ bytes }) => bytes.length),
    [100, TCP_HEADERS_BYTES + 1001, TCP_HEADERS_BYTES + 60_001, 61, 1514],
  );
  t.deepEqual(
    packets.map(({ timeUs }) => timeUs),
    [1_500_000, 2_000_001, 2_000_001, 2_100_001, 2_100_001],
  );
  t.deepEqual(packets[0]?.bytes, numberedFrame(1, 100));
  t.deepEqual(packets[4]?.bytes, numberedFrame(3, 1514));
  for (const i of [1, 2]) t.true(tcpChecksumHolds(packets[i]?.bytes ?? new Uint8Array(100)));
  // the frame itself still leaves its checksum to the other side
  const arrived = rig.collect()[1] ?? new Uint8Array(100);
  t.deepEqual(arrived.slice(VNET_BYTES), partialTcpFrame(1001));
  t.is(rig.device.writer.writtenFrames, 5);
  t.is(rig.device.writer.droppedFrames, 0);
});

const hasTshark = spawnSync('tshark', ['--version']).error === undefined;
const tsharkTest = hasTshark ? test : test.skip;

tsharkTest(`tshark finds nothing wrong with a capture${hasTshark ? '' : ' (needs tshark)'}`, async (t) => {
  const rig = await captureConversation(t);
  const check = ['-o', 'tcp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE', '-r', rig.path];
  const all = spawnSync('tshark', [...check, '-T', 'fields', '-e', 'frame.len'], { encoding: 'utf8' });
  t.is(all.stdout.trim().split('\n').length, 5);
  const wrong = '_ws.malformed || tcp.checksum.status == "Bad" || ip.checksum.status == "Bad"';
  const found = spawnSync('tshark', [...check, '-Y', wrong], { encoding: 'utf8' });
  t.is(found.stdout, '');
  t.is(found.status, 0);
  const good = spawnSync('tshark', [...check, '-Y', 'tcp.checksum.status == "Good"'], { encoding: 'utf8' });
  t.is(good.stdout.trim().split('\n').length, 2);
});

test('what is captured reaches the file in time, not only at the end', (t) => {
  const rig = makeRig({});
  t.teardown(() => rig.close());
  t.is(readCapture(rig.path).length, 0);
  const noVnet = (): void => {};
  send(rig, numberedFrame(1, 100), noVnet);
  rig.clock.runUntil(200_000);
  send(rig, numberedFrame(2, 100), noVnet);
  t.is(readCapture(rig.path).length, 2);
  for (let i = 0; i < 2000; i++) send(rig, numberedFrame(i, 1000), noVnet);
  t.true(readCapture(rig.path).length > 1000);
});

test('a file that cannot be made is an error at once', (t) => {
  t.throws(() => new PcapWriter('/nonexistent/capture.pcap', new VirtualClock()), { code: 'ENOENT' });
});

test('a disk that is full ends the capture and nothing else', (t) => {
  const writer = new PcapWriter('/dev/full', new VirtualClock());
  const frame = new Uint8Array(VNET_BYTES + 100);
  writer.writeFrame(frame, VNET_BYTES, 100);
  writer.writeFrame(frame, VNET_BYTES, 100);
  t.is(writer.droppedFrames, 2);
  t.regex(writer.error?.message ?? '', /ENOSPC/);
  writer.close();
  writer.close();
});
