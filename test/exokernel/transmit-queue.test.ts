import test from 'ava';
import fc from 'fast-check';
import { HEADER_SLOT_BYTES, MAX_HEADER_BYTES, TransmitQueue } from '../../src/exokernel/transmit-queue.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { setVnetChecksum, setVnetGso, VNET_BYTES, VNET_GSO_TCPV4 } from '../../src/wire/virtio-net.ts';
import { FakeDevice } from './fake-device.ts';

function createQueue(frames = 4) {
  const arena = new Arena(1 << 20);
  const queue = new TransmitQueue(arena, frames);
  const payload = arena.allocate(4096);
  for (let i = 0; i < 4096; i++) arena.bytes[payload + i] = i;
  return { arena, queue, payload, device: new FakeDevice(arena) };
}

function pushFrame(arena: Arena, queue: TransmitQueue, mark: number): number {
  const at = queue.reserve();
  if (at === 0) return 0;
  arena.bytes[at] = mark;
  queue.commit(1);
  return at;
}

function guardAll(queue: TransmitQueue, refuses: (index: number) => boolean = () => false): void {
  for (let index = queue.nextToGuard(); index >= 0; index = queue.nextToGuard()) {
    if (refuses(index)) queue.refuse();
    else queue.pass();
  }
}

const marks = (device: FakeDevice) => device.sent.map((frame) => frame[0]);

test('a frame is its header and its regions, in order', (t) => {
  const { arena, queue, payload, device } = createQueue();
  const at = queue.reserve();
  arena.bytes.set([1, 2, 3], at);
  queue.addRegion(payload + 10, 2);
  t.is(queue.regionBytes, 2);
  queue.addRegion(payload + 20, 1);
  queue.addRegion(payload + 30, 3);
  t.is(queue.regionBytes, 6);
  const copy = arena.allocate(16);
  queue.copyRegions(copy);
  t.deepEqual([...arena.bytes.subarray(copy, copy + 7)], [10, 11, 20, 30, 31, 32, 0]);
  queue.commit(3);
  pushFrame(arena, queue, 9);
  t.is(queue.enqueued, 2);
  t.is(queue.pending, 2);
  t.is(queue.offer(device, 10), 0);
  guardAll(queue);
  t.is(queue.offer(device, 10), 2);
  t.deepEqual(
    device.sent.map((frame) => [...frame]),
    [[1, 2, 3, 10, 11, 20, 30, 31, 32], [9]],
  );
});

test('the same slot until commit, its virtio header clear and its regions forgotten', (t) => {
  const { arena, queue, payload, device } = createQueue();
  const at = queue.reserve();
  setVnetChecksum(arena.bytes, at, 34, 16);
  setVnetGso(arena.bytes, at, VNET_GSO_TCPV4, 54, 1460);
  arena.bytes[at] = 77;
  queue.addRegion(payload, 4);
  t.is(queue.reserve(), at);
  t.deepEqual([...arena.bytes.subarray(at - VNET_BYTES, at)], new Array(VNET_BYTES).fill(0));
  t.is(arena.bytes[at], 77);
  t.is(queue.regionBytes, 0);
  queue.addRegion(payload, 1);
  queue.cancel();
  t.is(queue.regionBytes, 0);
  t.is(queue.reserve(), at);
  queue.commit(1);
  t.not(queue.reserve(), at);
  guardAll(queue);
  queue.offer(device, 1);
  t.deepEqual([...(device.sent[0] as Uint8Array)], [77]);
});

test('an old frame leaves no regions behind', (t) => {
  const { arena, queue, payload, device } = createQueue(1);
  queue.reserve();
  for (let i = 0; i < 3; i++) queue.addRegion(payload, 5);
  queue.commit(1);
  guardAll(queue);
  queue.offer(device, 1);
  queue.complete(1);
  pushFrame(arena, queue, 5);
  guardAll(queue);
  queue.offer(device, 1);
  t.is(device.sent[1]?.length, 1);
});

test('full until frames are completed', (t) => {
  const { arena, queue, device } = createQueue(4);
  const slots = new Set<number>();
  for (let i = 0; i < 4; i++) slots.add(pushFrame(arena, queue, i));
  t.is(slots.size, 4);
  for (const at of slots) for (const other of slots) t.true(at === other || Math.abs(at - other) >= HEADER_SLOT_BYTES);
  t.is(queue.free, 0);
  t.is(queue.reserve(), 0);
  guardAll(queue);
  queue.offer(device, 3);
  t.is(queue.reserve(), 0);
  t.is(queue.inFlight, 3);
  queue.complete(2);
  t.is(queue.free, 2);
  t.is(queue.completed, 2);
  t.true(slots.has(queue.reserve()));
});

test('a run that wraps is offered in two', (t) => {
  const { arena, queue, device } = createQueue(4);
  for (let i = 0; i < 3; i++) pushFrame(arena, queue, i);
  guardAll(queue);
  queue.offer(device, 10);
  queue.complete(3);
  for (let i = 3; i < 7; i++) pushFrame(arena, queue, i);
  guardAll(queue);
  t.is(queue.offer(device, 10), 4);
  t.deepEqual(device.calls, [
    [0, 3],
    [3, 4],
    [0, 3],
  ]);
  t.deepEqual(marks(device), [0, 1, 2, 3, 4, 5, 6]);
});

test('a full device gets the rest later', (t) => {
  const { arena, queue, device } = createQueue(8);
  for (let i = 0; i < 5; i++) pushFrame(arena, queue, i);
  guardAll(queue);
  device.room = 2;
  t.is(queue.offer(device, 10), 2);
  t.is(queue.pending, 3);
  t.is(queue.offer(device, 10), 0);
  device.room = 10;
  t.is(queue.offer(device, 2), 2);
  t.is(queue.offer(device, 2), 1);
  t.deepEqual(marks(device), [0, 1, 2, 3, 4]);
});

test('refused frames are not sent, complete in their order and free their slots', (t) => {
  const { arena, queue, device } = createQueue(8);
  for (let i = 0; i < 6; i++) pushFrame(arena, queue, i);
  guardAll(queue, (index) => index === 0 || index === 3 || index === 5);
  t.is(queue.offer(device, 10), 3);
  t.deepEqual(marks(device), [1, 2, 4]);
  // The first had nothing before it; the others wait for what was sent before them.
  t.is(queue.completed, 1);
  queue.complete(2);
  t.is(queue.completed, 4);
  queue.complete(1);
  t.is(queue.completed, 6);
  t.is(queue.free, 8);
});

test('when all are refused all are completed', (t) => {
  const { arena, queue, device } = createQueue(4);
  for (let i = 0; i < 4; i++) pushFrame(arena, queue, i);
  guardAll(queue, () => true);
  t.is(queue.offer(device, 1), 0);
  t.is(queue.pending, 0);
  t.is(queue.completed, 4);
  t.deepEqual(device.calls, []);
});

test('a closed queue gives up what the device has not taken and completes the rest', (t) => {
  const { arena, queue, device } = createQueue(8);
  for (let i = 0; i < 5; i++) pushFrame(arena, queue, i);
  guardAll(queue, (index) => index === 4);
  queue.offer(device, 2);
  queue.reserve();
  t.is(queue.close(), 3);
  t.is(queue.completed, 0);
  t.is(queue.inFlight, 5);
  t.is(queue.reserve(), 0);
  t.is(queue.free, 0);
  t.throws(() => queue.commit(1), { instanceOf: RangeError });
  t.is(queue.offer(device, 10), 0);
  queue.complete(2);
  t.is(queue.completed, 5);
  t.is(queue.enqueued, 5);
});

test('misuse throws', (t) => {
  const { arena, queue, payload } = createQueue();
  t.throws(() => queue.commit(14), { instanceOf: RangeError });
  t.throws(() => queue.addRegion(payload, 4), { instanceOf: RangeError });
  queue.reserve();
  for (const headerBytes of [0, -1, MAX_HEADER_BYTES + 1, Number.NaN]) {
    t.throws(() => queue.commit(headerBytes), { instanceOf: RangeError });
  }
  const beyond = arena.bytes.length - 3;
  for (const [at, length] of [
    [payload, 0],
    [payload, -1],
    [0, 5],
    [-1, 5],
    [beyond, 4],
    [payload, 2 ** 31],
    [Number.NaN, 1],
  ] as const) {
    t.throws(() => queue.addRegion(at, length), { instanceOf: RangeError });
  }
  for (let i = 0; i < 3; i++) queue.addRegion(payload, 4);
  t.throws(() => queue.addRegion(payload, 4), { instanceOf: RangeError });
  queue.commit(MAX_HEADER_BYTES);
  t.throws(() => queue.commit(14), { instanceOf: RangeError });
  t.throws(() => new TransmitQueue(arena, 0), { instanceOf: RangeError });
});

test('agrees with a list, whatever the device and the guard do', (t) => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('push' as const), bad: fc.boolean() }),
    fc.record({ do: fc.constant('offer' as const), limit: fc.integer({ min: 1, max: 9 }), room: fc.nat(9) }),
    fc.record({ do: fc.constant('complete' as const), count: fc.nat(9) }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4 }), fc.array(step, { maxLength: 200, size: 'max' }), (exponent, steps) => {
      const arena = sharedArena;
      const queue = new TransmitQueue(arena, 2 ** exponent, sharedHeaders);
      const device = new FakeDevice(arena);
      // Every frame: refused or not, taken or not, completed or not.
      const frames: { bad: boolean; taken: boolean; done: boolean }[] = [];
      const completed = () => {
        const first = frames.findIndex((frame) => !frame.done);
        return first < 0 ? frames.length : first;
      };
      const expected: number[] = [];
      for (const next of steps) {
        if (next.do === 'push') {
          const free = 2 ** exponent - (frames.length - completed());
          const at = queue.reserve();
          t.is(at === 0, free === 0);
          if (at === 0) continue;
          arena.bytes[at] = frames.length;
          arena.bytes[at + 1] = next.bad ? 1 : 0;
          queue.commit(2);
          frames.push({ bad: next.bad, taken: false, done: false });
        } else if (next.do === 'offer') {
          device.room = next.room;
          guardAll(queue, (index) => arena.bytes[(queue.batch.words[index * 8] as number) + 1] === 1);
          let left = Math.min(next.room, next.limit);
          let taken = 0;
          for (const [number, frame] of frames.entries()) {
            if (frame.taken) continue;
            if (!frame.bad) {
              if (left === 0) break;
              left--;
              taken++;
              expected.push(number & 0xff);
            } else if (left === 0 && next.limit <= next.room) {
              // The limit was reached: it is looked at in the next call.
              break;
            }
            frame.taken = true;
          }
          t.is(queue.offer(device, next.limit), taken);
        } else {
          let count = 0;
          for (const frame of frames) {
            if (count < next.count && frame.taken && !frame.bad && !frame.done) {
              frame.done = true;
              count++;
            }
          }
          queue.complete(count);
        }
        // A refused frame is done as soon as everything before it is.
        for (const frame of frames) {
          if (frame.bad && frame.taken) frame.done = true;
          if (!frame.done) break;
        }
        t.is(queue.enqueued, frames.length);
        t.is(queue.completed, completed());
        t.is(queue.pending, frames.filter((frame) => !frame.taken).length);
        t.deepEqual(marks(device), expected);
      }
    }),
    { numRuns: 300 },
  );
});

const sharedArena = new Arena(1 << 20);
const sharedHeaders = sharedArena.allocate(16 * HEADER_SLOT_BYTES);
