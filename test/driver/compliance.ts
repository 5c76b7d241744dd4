/**
 * What every device must do, as one suite that each driver's tests run against a rig of their own: the device under
 * test, and a far end that frames come from and go to.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import type { Device, ReceiveSlots } from '../../src/driver/device.ts';
import {
  FRAME_OFFSET_BYTES,
  MAX_REGIONS,
  ReceiveBatch,
  TRANSMIT_WORDS,
  TransmitBatch,
} from '../../src/driver/device.ts';
import type { Arena } from '../../src/runtime/arena.ts';
import { ETHERNET_BYTES } from '../../src/wire/ethernet.ts';
import { completeChecksum } from '../../src/wire/partial-checksum.ts';
import {
  clearVnet,
  setVnetChecksum,
  setVnetGso,
  VNET_BYTES,
  VNET_GSO_NONE,
  VNET_GSO_TCPV4,
  VNET_NEEDS_CSUM,
  vnetFlags,
  vnetGsoBytes,
  vnetGsoType,
} from '../../src/wire/virtio-net.ts';
import {
  isOurs,
  numberedFrame,
  numberOf,
  partialTcpFrame,
  TCP_AT,
  TCP_CHECKSUM_OFFSET,
  TCP_HEADERS_BYTES,
  tcpChecksumHolds,
} from './frames.ts';

/** A device under test and its far end. */
export interface Rig {
  readonly device: Device;
  readonly arena: Arena;
  /** Sends frames from the far end. */
  inject(frames: readonly Uint8Array[]): void;
  /** Frames that have come to the far end since the last call, each with its virtio header before it. */
  collect(): Uint8Array[];
  /** Lets time pass until what is on its way has arrived. */
  settle(): Promise<void>;
  /** Gives back the device and the far end. */
  close(): void;
}

type Registrar = (title: string, implementation: (t: ExecutionContext) => Promise<void>) => void;
type Check = (t: ExecutionContext, rig: Rig) => Promise<void>;

/** Registers the suite for one kind of device. */
export function testCompliance(kind: string, register: Registrar, makeRig: () => Rig): void {
  for (const [title, check] of CHECKS) {
    register(`${kind}: ${title}`, async (t) => {
      const rig = makeRig();
      t.teardown(() => rig.close());
      await rig.settle();
      rig.collect();
      await check(t, rig);
    });
  }
}

/** Rounds of settling before what has not come is given up. */
const PATIENCE = 50;

const CHECKS: readonly (readonly [string, Check])[] = [
  ['receives nothing when nothing is waiting', receivesNothing],
  ['receives frames in order, byte for byte, with a virtio header', receivesInOrder],
  ['stops at the end of a batch and goes on with the next', stopsAtBatchEnd],
  ['receives more than one system call can bring', receivesMany],
  ['writes nowhere but into its slots', writesIntoSlotsOnly],
  ['sends frames of every length in one piece', sendsWhole],
  ['sends gather lists of up to three regions of any length', sendsGathered],
  ['sends the part of a batch it is told to, in order, and completes it', sendsPart],
  ['sends long batches', sendsMany],
  ['sends the longest frame and gives up a longer one', refusesTooLong],
  ['leaves a checksum to the other side, or refuses to', handlesPartialChecksum],
  ['leaves the cutting of a super-frame to the other side, or refuses to', handlesSuperFrame],
  ['counts frames and bytes', counts],
  ['does nothing once it is closed', closes],
];

async function receivesNothing(t: ExecutionContext, rig: Rig): Promise<void> {
  const batch = makeBatch(rig, 4);
  t.is(rig.device.receive(batch), 0);
  t.is(rig.device.counters.receivedFrames, 0);
  t.is(rig.device.counters.receiveErrors, 0);
  t.is(rig.device.failure, null);
}

async function receivesInOrder(t: ExecutionContext, rig: Rig): Promise<void> {
  const lengths = [60, 61, 127, 128, 1000, rig.device.mtuBytes + ETHERNET_BYTES];
  const frames = lengths.map((length, i) => numberedFrame(i, length));
  rig.inject(frames);
  const received = await receiveAll(rig, makeBatch(rig, 8), frames.length);
  t.deepEqual(received.map(withoutVnet), frames);
  for (const frame of received) {
    t.is(vnetFlags(frame, VNET_BYTES) & VNET_NEEDS_CSUM, 0);
    t.is(vnetGsoType(frame, VNET_BYTES), VNET_GSO_NONE);
  }
}

async function stopsAtBatchEnd(t: ExecutionContext, rig: Rig): Promise<void> {
  rig.inject(numbered(10, 100));
  await rig.settle();
  const batch = makeBatch(rig, 4);
  const numbers: number[] = [];
  const counts = [4, 4, 2, 0].map(() => {
    const frames = receiveFrames(rig.device, rig.arena, batch);
    for (const frame of frames) numbers.push(numberOf(withoutVnet(frame)));
    return frames.length;
  });
  t.deepEqual(counts, [4, 4, 2, 0]);
  t.deepEqual(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

async function receivesMany(t: ExecutionContext, rig: Rig): Promise<void> {
  const frames = numbered(200, 64);
  rig.inject(frames);
  const received = await receiveAll(rig, makeBatch(rig, 256), frames.length);
  t.deepEqual(received.map(withoutVnet), frames);
}

async function writesIntoSlotsOnly(t: ExecutionContext, rig: Rig): Promise<void> {
  if (rig.device.slots !== null) return writesIntoItsOwnSlotsOnly(t, rig, rig.device.slots);
  const { device, arena } = rig;
  const batch = new ReceiveBatch(2);
  const fence = arena.allocate(64);
  const slot = arena.allocate(device.slotBytes);
  const second = arena.allocate(64) + 64;
  arena.allocate(device.slotBytes + 64);
  arena.bytes.fill(0xa5, fence, second + device.slotBytes + 64);
  batch.at.set([slot + FRAME_OFFSET_BYTES, second + FRAME_OFFSET_BYTES]);
  const frames = numbered(2, device.mtuBytes + ETHERNET_BYTES);
  rig.inject(frames);
  await rig.settle();
  t.is(device.receive(batch), 2);
  t.deepEqual([...batch.at].sort(byNumber), [slot + FRAME_OFFSET_BYTES, second + FRAME_OFFSET_BYTES]);
  const untouched = (from: number, to: number): boolean => arena.bytes.subarray(from, to).every((b) => b === 0xa5);
  t.true(untouched(fence, slot + FRAME_OFFSET_BYTES - VNET_BYTES));
  t.true(untouched(slot + device.slotBytes, second + FRAME_OFFSET_BYTES - VNET_BYTES));
  t.true(untouched(second + device.slotBytes, second + device.slotBytes + 64));
}

async function writesIntoItsOwnSlotsOnly(t: ExecutionContext, rig: Rig, slots: ReceiveSlots): Promise<void> {
  const { device, arena } = rig;
  const marks = Array.from(slots.at, (at) => (at - FRAME_OFFSET_BYTES) >>> 2);
  for (const [slot, word] of marks.entries()) arena.words[word] = slot;
  const batch = makeBatch(rig, 8);
  const given = [...batch.at].map((at) => at - FRAME_OFFSET_BYTES);
  const longest = numberedFrame(0, device.mtuBytes + ETHERNET_BYTES);
  // Three times round: every slot has had a frame.
  for (let sent = 0; sent < 3 * slots.at.length; sent += batch.capacity) {
    rig.inject(Array.from({ length: batch.capacity }, () => longest));
    const count = device.receive(batch);
    t.is(count, batch.capacity);
    for (const at of batch.at) {
      const slot = slots.at.indexOf(at);
      t.true(slot >= 0);
      slots.release(slot);
    }
  }
  t.true(marks.every((word, slot) => arena.words[word] === slot));
  t.true(given.every((at) => arena.bytes.subarray(at, at + device.slotBytes).every((byte) => byte === 0)));
  const [first, second] = slots.at;
  t.true((second as number) - (first as number) >= device.slotBytes);
}

async function sendsWhole(t: ExecutionContext, rig: Rig): Promise<void> {
  const lengths = [18, 59, 60, 61, 62, 63, 64, 333, 1500, rig.device.mtuBytes + ETHERNET_BYTES];
  const frames = lengths.map((length, i) => numberedFrame(i, length));
  const sender = new Sender(rig);
  for (const frame of frames) sender.add(frame, []);
  t.is(sender.send(), frames.length);
  t.deepEqual((await collectAll(rig, frames.length)).map(withoutVnet), frames);
  t.is(await completedAll(rig, frames.length), frames.length);
}

async function sendsGathered(t: ExecutionContext, rig: Rig): Promise<void> {
  const splits = [[], [1], [7, 13], [1, 1, 1], [33, 512, 99], [0, 50], [0, 0, 5], [400, 0, 301]];
  const frames = splits.map((_, i) => numberedFrame(i, 1001));
  const sender = new Sender(rig);
  frames.forEach((frame, i) => {
    sender.add(frame, splits[i] ?? []);
  });
  t.is(sender.send(), frames.length);
  t.deepEqual((await collectAll(rig, frames.length)).map(withoutVnet), frames);
  t.is(await completedAll(rig, frames.length), frames.length);
}

async function sendsPart(t: ExecutionContext, rig: Rig): Promise<void> {
  const frames = numbered(8, 90);
  const sender = new Sender(rig);
  for (const frame of frames) sender.add(frame, [20]);
  t.is(rig.device.completed(), 0);
  t.is(rig.device.transmit(sender.batch, 3, 3), 0);
  t.is(rig.device.transmit(sender.batch, 2, 5), 3);
  t.is(await completedAll(rig, 3), 3);
  t.is(rig.device.transmit(sender.batch, 5, 6), 1);
  t.is(rig.device.transmit(sender.batch, 6, 8), 2);
  t.is(await completedAll(rig, 3), 3);
  t.is(rig.device.completed(), 0);
  t.deepEqual((await collectAll(rig, 6)).map(withoutVnet), frames.slice(2));
}

async function sendsMany(t: ExecutionContext, rig: Rig): Promise<void> {
  const frames = numbered(200, 70);
  const sender = new Sender(rig);
  frames.forEach((frame, i) => {
    sender.add(frame, i % 2 === 0 ? [] : [10, 11]);
  });
  t.is(sender.send(), frames.length);
  t.deepEqual((await collectAll(rig, frames.length)).map(withoutVnet), frames);
  t.is(await completedAll(rig, frames.length), frames.length);
}

async function refusesTooLong(t: ExecutionContext, rig: Rig): Promise<void> {
  const { device } = rig;
  const longest = device.mtuBytes + ETHERNET_BYTES;
  const sender = new Sender(rig);
  sender.add(numberedFrame(1, longest), [100, 1000]);
  sender.add(numberedFrame(2, device.features.maxFrameBytes + 1), [20, 1000]);
  sender.add(numberedFrame(3, device.features.maxFrameBytes + 1), []);
  sender.add(numberedFrame(4, 80), []);
  t.is(sender.send(), 4);
  t.is(await completedAll(rig, 4), 4);
  t.deepEqual((await collectAll(rig, 2)).map(withoutVnet), [numberedFrame(1, longest), numberedFrame(4, 80)]);
  t.is(device.counters.transmitErrors, 2);
  t.is(device.counters.transmittedFrames, 2);
}

async function handlesPartialChecksum(t: ExecutionContext, rig: Rig): Promise<void> {
  const { device } = rig;
  const sender = new Sender(rig);
  const at = sender.add(partialTcpFrame(501), [500]);
  setVnetChecksum(rig.arena.bytes, at, TCP_AT, TCP_CHECKSUM_OFFSET);
  t.is(sender.send(), 1);
  t.is(await completedAll(rig, 1), 1);
  if (!device.features.transmitChecksum) {
    t.is(device.counters.transmitErrors, 1);
    await rig.settle();
    t.is(rig.collect().length, 0);
    return;
  }
  const [frame] = await collectAll(rig, 1);
  if (frame === undefined) return t.fail('the frame did not arrive');
  completeChecksum(frame, VNET_BYTES, frame.length - VNET_BYTES);
  t.true(tcpChecksumHolds(withoutVnet(frame)));
  t.deepEqual(payloadOf(frame), payloadOf(withVnet(partialTcpFrame(501))));
}

async function handlesSuperFrame(t: ExecutionContext, rig: Rig): Promise<void> {
  const { device } = rig;
  const payloadBytes = device.features.segmentTcp4 ? 60_001 : 1000;
  const sent = partialTcpFrame(payloadBytes);
  const sender = new Sender(rig);
  const at = sender.add(sent, [payloadBytes - 600, 300, 300]);
  setVnetChecksum(rig.arena.bytes, at, TCP_AT, TCP_CHECKSUM_OFFSET);
  setVnetGso(rig.arena.bytes, at, VNET_GSO_TCPV4, TCP_HEADERS_BYTES, 1460);
  t.is(sender.send(), 1);
  t.is(await completedAll(rig, 1), 1);
  if (!device.features.segmentTcp4) {
    t.is(device.counters.transmitErrors, 1);
    await rig.settle();
    t.is(rig.collect().length, 0);
    return;
  }
  // every far end of these tests takes super-frames whole
  const [frame] = await collectAll(rig, 1);
  if (frame === undefined) return t.fail('the frame did not arrive');
  t.is(vnetGsoType(frame, VNET_BYTES), VNET_GSO_TCPV4);
  t.is(vnetGsoBytes(frame, VNET_BYTES), 1460);
  t.deepEqual(payloadOf(frame), payloadOf(withVnet(sent)));
  completeChecksum(frame, VNET_BYTES, frame.length - VNET_BYTES);
  t.true(tcpChecksumHolds(withoutVnet(frame)));
}

async function counts(t: ExecutionContext, rig: Rig): Promise<void> {
  const { device } = rig;
  const before = { ...device.counters };
  rig.inject(numbered(3, 100));
  await receiveAll(rig, makeBatch(rig, 8), 3);
  const sender = new Sender(rig);
  sender.add(numberedFrame(0, 70), []);
  sender.add(numberedFrame(1, 81), [13]);
  sender.send();
  await collectAll(rig, 2);
  t.is(device.counters.receivedFrames - before.receivedFrames, 3);
  t.is(device.counters.receivedBytes - before.receivedBytes, 300);
  t.is(device.counters.transmittedFrames - before.transmittedFrames, 2);
  t.is(device.counters.transmittedBytes - before.transmittedBytes, 151);
  t.is(device.counters.receiveErrors, 0);
  t.is(device.counters.transmitErrors, 0);
  const onDescriptor = device.descriptor >= 0;
  t.is(device.counters.receiveCalls > 0, onDescriptor && device.slots === null);
  t.is(device.counters.transmitCalls > 0, onDescriptor);
}

async function closes(t: ExecutionContext, rig: Rig): Promise<void> {
  const { device } = rig;
  rig.inject(numbered(2, 100));
  await rig.settle();
  const sender = new Sender(rig);
  sender.add(numberedFrame(0, 70), []);
  sender.send();
  device.close();
  const before = { ...device.counters };
  t.is(device.descriptor, -1);
  t.is(device.receive(makeBatch(rig, 4)), 0);
  t.is(sender.send(), 0);
  t.is(device.completed(), 0);
  device.close();
  t.deepEqual(device.counters, before);
}

/** Frames to send, laid out in the arena as an environment would: header slots, and regions elsewhere. */
class Sender {
  readonly batch = new TransmitBatch(256);
  private readonly rig: Rig;
  private count = 0;

  constructor(rig: Rig) {
    this.rig = rig;
  }

  /**
   * Adds a frame whose last bytes lie in regions of the given lengths, the rest in the header piece; returns where its
   * header is, for a virtio header other than the empty one.
   */
  add(frame: Uint8Array, regions: readonly number[]): number {
    const { arena } = this.rig;
    const word = this.count++ * TRANSMIT_WORDS;
    const headerBytes = frame.length - regions.reduce((sum, bytes) => sum + bytes, 0);
    const at = arena.allocate(FRAME_OFFSET_BYTES + headerBytes) + FRAME_OFFSET_BYTES;
    clearVnet(arena.bytes, at);
    arena.bytes.set(frame.subarray(0, headerBytes), at);
    const words = [at, headerBytes];
    let from = headerBytes;
    regions.forEach((bytes, i) => {
      // at odd addresses, too
      const region = arena.allocate(bytes + 1) + (i & 1);
      arena.bytes.set(frame.subarray(from, from + bytes), region);
      words.push(bytes === 0 ? 0 : region, bytes);
      from += bytes;
    });
    while (words.length < 2 + 2 * MAX_REGIONS) words.push(0);
    this.batch.words.set(words, word);
    return at;
  }

  send(): number {
    return this.rig.device.transmit(this.batch, 0, this.count);
  }
}

function numbered(count: number, length: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => numberedFrame(i, length));
}

function makeBatch(rig: Rig, capacity: number): ReceiveBatch {
  const batch = new ReceiveBatch(capacity);
  for (let i = 0; i < capacity; i++) batch.at[i] = rig.arena.allocate(rig.device.slotBytes) + FRAME_OFFSET_BYTES;
  return batch;
}

/** Copies of the frames that a device has now, virtio header first; slots of its own it has back. */
export function receiveFrames(device: Device, arena: Arena, batch: ReceiveBatch): Uint8Array[] {
  const count = device.receive(batch);
  return Array.from({ length: count }, (_, i) => {
    const at = batch.at[i] ?? 0;
    const frame = arena.bytes.slice(at - VNET_BYTES, at + (batch.length[i] ?? 0));
    device.slots?.release(device.slots.at.indexOf(at));
    return frame;
  });
}

async function receiveAll(rig: Rig, batch: ReceiveBatch, expected: number): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  for (let round = 0; round < PATIENCE && frames.length < expected; round++) {
    await rig.settle();
    frames.push(...receiveFrames(rig.device, rig.arena, batch));
  }
  return frames;
}

async function collectAll(rig: Rig, expected: number): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  for (let round = 0; round < PATIENCE && frames.length < expected; round++) {
    await rig.settle();
    frames.push(...rig.collect().filter((frame) => isOurs(withoutVnet(frame))));
  }
  return frames;
}

async function completedAll(rig: Rig, expected: number): Promise<number> {
  let done = rig.device.completed();
  for (let round = 0; round < PATIENCE && done < expected; round++) {
    await rig.settle();
    done += rig.device.completed();
  }
  return done;
}

function withoutVnet(frame: Uint8Array): Uint8Array {
  return frame.slice(VNET_BYTES);
}

function withVnet(frame: Uint8Array): Uint8Array {
  const whole = new Uint8Array(VNET_BYTES + frame.length);
  whole.set(frame, VNET_BYTES);
  return whole;
}

/** Payload of a TCP frame that has its virtio header before it. */
function payloadOf(frame: Uint8Array): Uint8Array {
  return frame.slice(VNET_BYTES + TCP_HEADERS_BYTES);
}

function byNumber(a: number, b: number): number {
  return a - b;
}

/** For kernel devices: what was sent has long arrived when the far end's softirq has run. */
export function settleKernel(): Promise<void> {
  return sleep(2);
}

/** A far end made of a second device: sends and receives whole frames with it. */
export class FarEnd {
  private readonly device: Device;
  private readonly arena: Arena;
  private readonly batch = new ReceiveBatch(64);
  private readonly one = new TransmitBatch(1);

  constructor(device: Device, arena: Arena) {
    this.device = device;
    this.arena = arena;
    for (let i = 0; i < 64; i++) this.batch.at[i] = arena.allocate(device.slotBytes) + FRAME_OFFSET_BYTES;
  }

  inject(frames: readonly Uint8Array[]): void {
    const { arena, one, device } = this;
    for (const frame of frames) {
      // memory of its own: a device may read late
      const at = arena.allocate(FRAME_OFFSET_BYTES + frame.length) + FRAME_OFFSET_BYTES;
      clearVnet(arena.bytes, at);
      arena.bytes.set(frame, at);
      one.words.set([at, frame.length, 0, 0, 0, 0, 0, 0]);
      if (device.transmit(one, 0, 1) !== 1) throw new Error('the far end is full');
      device.completed();
    }
  }

  collect(): Uint8Array[] {
    const { arena, batch, device } = this;
    const all: Uint8Array[] = [];
    for (let frames = receiveFrames(device, arena, batch); frames.length > 0; ) {
      all.push(...frames);
      frames = receiveFrames(device, arena, batch);
    }
    return all;
  }
}
