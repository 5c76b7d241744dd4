import test from 'ava';
import fc from 'fast-check';
import { FilterError } from '../../src/downloadfilter/language.ts';
import { arpFilter, ipv4Filter, tcp4Filter } from '../../src/downloadfilter/protocols.ts';
import type { Environment, EnvironmentOptions } from '../../src/exokernel/environment.ts';
import { Exokernel } from '../../src/exokernel/exokernel.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { VirtualClock } from '../../src/runtime/virtual-clock.ts';
import { ARP_BYTES, ARP_REQUEST, setArp } from '../../src/wire/arp.ts';
import { ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, setEthernet } from '../../src/wire/ethernet.ts';
import { IPV4_BYTES, PROTOCOL_TCP, PROTOCOL_UDP, setIpv4 } from '../../src/wire/ipv4.ts';
import { setTcp, TCP_BYTES } from '../../src/wire/tcp.ts';
import { FakeDevice } from './fake-device.ts';

const MAC_HI = 0x0200;
const PEER = 0x0a5a0001;
const HEADERS_BYTES = ETHERNET_BYTES + IPV4_BYTES;

/** The address of environment n. */
const addressOf = (n: number) => 0x0a5a0100 + n;

/** An IPv4 frame to environment n; its mark is the IP identification. */
function frameTo(n: number, mark: number, payloadBytes = 26): Uint8Array {
  const frame = new Uint8Array(HEADERS_BYTES + payloadBytes);
  setEthernet(frame, 0, MAC_HI, n, MAC_HI, 99, ETHERTYPE_IPV4);
  setIpv4(frame, ETHERNET_BYTES, IPV4_BYTES + payloadBytes, mark, true, 64, PROTOCOL_UDP, PEER, addressOf(n), 0);
  return frame;
}

const markOf = (frame: Uint8Array, at = 0) => ((frame[at + 18] as number) << 8) | (frame[at + 19] as number);

interface WorldOptions {
  receiveBatch?: number;
  slots?: number;
  arenaBytes?: number;
  /** Slots that the device brings along. */
  deviceSlots?: number;
}

function createWorld(options: WorldOptions = {}) {
  const arena = new Arena(options.arenaBytes ?? 16 << 20);
  const clock = new VirtualClock();
  const device = new FakeDevice(arena, 2048, options.deviceSlots);
  const { receiveBatch, slots } = options;
  const kernel = new Exokernel({
    arena,
    device,
    clock,
    ...(receiveBatch === undefined ? {} : { receiveBatch }),
    ...(slots === undefined ? {} : { slots }),
  });
  return { arena, clock, device, kernel };
}

/** Environment n, with its address claimed. */
function createTenant(kernel: Exokernel, n: number, options: Partial<EnvironmentOptions> = {}) {
  const environment = kernel.createEnvironment({
    name: `tenant ${n}`,
    macHi: MAC_HI,
    macLo: n,
    addresses: [addressOf(n)],
    ...options,
  });
  environment.claim(ipv4Filter(addressOf(n)));
  return environment;
}

/** A program that notes the marks of its frames and gives the slots back. */
function install(kernel: Exokernel, environment: Environment) {
  const program = {
    marks: [] as number[],
    lengths: [] as number[],
    times: [] as number[],
    deadlineUs: Number.POSITIVE_INFINITY,
    process(nowUs: number) {
      program.times.push(nowUs);
      for (let at = environment.ring.take(); at !== 0; at = environment.ring.take()) {
        program.marks.push(markOf(kernel.bytes, at));
        program.lengths.push(environment.ring.length);
        environment.returnSlot(at);
      }
    },
    nextDeadlineUs: () => program.deadlineUs,
  };
  environment.program = program;
  return program;
}

/** Leaves a frame of environment n in its queue; false when that is full. */
function send(
  kernel: Exokernel,
  environment: Environment,
  mark: number,
  source = environment.addresses[0] ?? 0,
): boolean {
  const at = environment.queue.reserve();
  if (at === 0) return false;
  setEthernet(kernel.bytes, at, 0xffff, -1, environment.macHi, environment.macLo, ETHERTYPE_IPV4);
  setIpv4(kernel.bytes, at + ETHERNET_BYTES, IPV4_BYTES, mark, true, 64, PROTOCOL_UDP, source, PEER, 0);
  environment.queue.commit(HEADERS_BYTES);
  return true;
}

test('frames go to their owner, in order and with their length', (t) => {
  const { device, kernel } = createWorld();
  const first = install(kernel, createTenant(kernel, 1));
  const second = install(kernel, createTenant(kernel, 2));
  for (let mark = 0; mark < 20; mark++) device.incoming.push(frameTo(1 + (mark % 2), mark, 26 + mark));
  t.is(kernel.turn(), Number.POSITIVE_INFINITY);
  t.deepEqual(first.marks, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
  t.deepEqual(second.marks, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
  t.deepEqual(second.lengths.slice(0, 2), [61, 63]);
  t.is(kernel.counters.get('framesIn'), 20);
  t.is(kernel.counters.get('framesDropped'), 0);
  t.is(kernel.counters.get('turns'), 1);
});

test('a look receives for the next turn, which receives no more; one that finds nothing changes nothing', (t) => {
  const { device, kernel } = createWorld();
  const program = install(kernel, createTenant(kernel, 1));
  kernel.look();
  device.incoming.push(frameTo(1, 1), frameTo(1, 2));
  kernel.turn();
  t.deepEqual(program.marks, [1, 2]);
  device.incoming.push(frameTo(1, 3));
  kernel.look();
  t.deepEqual(program.marks, [1, 2]);
  t.is(device.incoming.length, 0);
  device.incoming.push(frameTo(1, 4));
  kernel.look();
  t.is(kernel.turn(), Number.POSITIVE_INFINITY);
  t.deepEqual(program.marks, [1, 2, 3]);
  kernel.turn();
  t.deepEqual(program.marks, [1, 2, 3, 4]);
  t.is(kernel.counters.get('framesIn'), 4);
});

test('what nobody has claimed, and what is no frame, is dropped and counted', (t) => {
  const { device, kernel } = createWorld();
  const environment = createTenant(kernel, 1);
  const program = install(kernel, environment);
  device.incoming.push(frameTo(9, 1));
  for (let length = 0; length < ETHERNET_BYTES; length++) device.incoming.push(frameTo(1, 2).subarray(0, length));
  const fromGroup = frameTo(1, 3);
  fromGroup[6] = 0x01;
  device.incoming.push(fromGroup, frameTo(1, 4));
  kernel.turn();
  t.deepEqual(program.marks, [4]);
  t.is(kernel.counters.get('framesDropped'), 16);
  t.is(kernel.drops.get('no-owner'), 1);
  t.is(kernel.drops.get('ethernet-short'), ETHERNET_BYTES);
  t.is(kernel.drops.get('ethernet-source'), 1);
});

test('runts that are long enough and padded frames pass', (t) => {
  const { device, kernel } = createWorld();
  const program = install(kernel, createTenant(kernel, 1));
  device.incoming.push(frameTo(1, 1, 0));
  const padded = new Uint8Array(64);
  padded.set(frameTo(1, 2, 0));
  device.incoming.push(padded);
  kernel.turn();
  t.deepEqual(program.marks, [1, 2]);
  t.deepEqual(program.lengths, [HEADERS_BYTES, 64]);
});

test('a broadcast frame that a filter names is delivered', (t) => {
  const { device, kernel } = createWorld();
  const environment = createTenant(kernel, 1);
  environment.claim(arpFilter(addressOf(1)));
  const program = install(kernel, environment);
  for (const target of [addressOf(2), addressOf(1)]) {
    const frame = new Uint8Array(ETHERNET_BYTES + ARP_BYTES + 18);
    setEthernet(frame, 0, 0xffff, -1, MAC_HI, 99, ETHERTYPE_ARP);
    setArp(frame, ETHERNET_BYTES, ARP_REQUEST, MAC_HI, 99, PEER, 0, 0, target);
    device.incoming.push(frame);
  }
  kernel.turn();
  t.is(program.marks.length, 1);
  t.is(kernel.drops.get('no-owner'), 1);
});

test('a full ring drops and counts, and slows nobody else', (t) => {
  const { device, kernel } = createWorld({ slots: 0, receiveBatch: 8 });
  const slow = createTenant(kernel, 1, { ringFrames: 5 });
  const program = install(kernel, createTenant(kernel, 2, { ringFrames: 32 }));
  for (let mark = 0; mark < 40; mark++) device.incoming.push(frameTo(1 + (mark % 2), mark));
  while (device.incoming.length > 0) kernel.turn();
  t.is(program.marks.length, 20);
  t.is(slow.ring.size, 5);
  t.is(slow.held, 5);
  t.is(slow.counters.get('framesIn'), 5);
  t.is(slow.counters.get('framesLost'), 15);
  t.is(slow.drops.get('ring-full'), 15);
  // The oldest are kept.
  const at = slow.ring.take();
  t.is(markOf(kernel.bytes, at), 0);
  // A frame that was taken out and not returned still counts.
  device.incoming.push(frameTo(1, 100));
  kernel.turn();
  t.is(slow.counters.get('framesLost'), 16);
  slow.returnSlot(at);
  device.incoming.push(frameTo(1, 101));
  kernel.turn();
  t.is(slow.counters.get('framesIn'), 6);
});

test('no slot is in two places', (t) => {
  const { device, kernel } = createWorld({ slots: 0, receiveBatch: 4 });
  const environments = [createTenant(kernel, 0, { ringFrames: 7 }), createTenant(kernel, 1, { ringFrames: 3 })];
  const held: number[][] = [[], []];
  const step = fc.record({ frames: fc.array(fc.nat(2), { maxLength: 20 }), take: fc.nat(8), give: fc.nat(8) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30, size: 'max' }), (steps) => {
      for (const { frames, take, give } of steps) {
        for (const n of frames) device.incoming.push(frameTo(n, 0));
        while (kernel.turn() === 0);
        for (const [n, environment] of environments.entries()) {
          const mine = held[n] as number[];
          for (let i = 0; i < take; i++) {
            const at = environment.ring.take();
            if (at !== 0) mine.push(at);
          }
          t.is(environment.held, mine.length + environment.ring.size);
          t.true(environment.held <= environment.ringFrames);
          for (const at of mine.splice(0, give)) environment.returnSlot(at);
        }
        const all = held.flat();
        t.is(new Set(all).size, all.length);
        t.is(kernel.slots.total, 14);
        const inUse = (environments[0]?.held ?? 0) + (environments[1]?.held ?? 0);
        t.is(kernel.slots.free, 14 - 4 - inUse);
      }
    }),
    { numRuns: 50 },
  );
});

test('a device has its own slots back after the turn, whatever became of their frames', (t) => {
  const { device, kernel } = createWorld({ deviceSlots: 8 });
  const quick = install(kernel, createTenant(kernel, 1));
  const slow = createTenant(kernel, 2, { ringFrames: 5 });
  for (let mark = 0; mark < 90; mark++) device.incoming.push(frameTo(1 + (mark % 3), mark));
  while (device.incoming.length > 0) {
    kernel.turn();
    t.is(device.used.size, 0);
  }
  t.is(quick.marks.length, 30);
  // Nobody is the third one's owner, and the slow one may hold five.
  t.is(kernel.counters.get('framesDropped'), 30);
  t.is(slow.counters.get('framesLost'), 25);
  t.deepEqual(
    [1, 4, 7, 10, 13].map(() => markOf(kernel.bytes, slow.ring.take())),
    [1, 4, 7, 10, 13],
  );
});

test('a frame that is kept leaves the slot of the device', (t) => {
  const { device, kernel } = createWorld({ deviceSlots: 4 });
  const keeper = createTenant(kernel, 1);
  const kept: number[] = [];
  keeper.program = {
    process() {
      for (let at = keeper.ring.take(); at !== 0; at = keeper.ring.take()) {
        const to = keeper.keepSlot(at, keeper.ring.length);
        t.not(to, at);
        t.is(keeper.keepSlot(to, keeper.ring.length), to);
        t.throws(() => keeper.returnSlot(at), { instanceOf: RangeError });
        kept.push(to);
      }
    },
    nextDeadlineUs: () => Number.POSITIVE_INFINITY,
  };
  for (let mark = 0; mark < 20; mark++) device.incoming.push(frameTo(1, mark, 26 + mark));
  while (device.incoming.length > 0) kernel.turn();
  t.is(device.used.size, 0);
  t.is(keeper.held, 20);
  for (const [mark, at] of kept.entries()) {
    t.deepEqual(kernel.bytes.slice(at, at + HEADERS_BYTES + 26 + mark), frameTo(1, mark, 26 + mark));
    keeper.returnSlot(at);
  }
  t.is(keeper.held, 0);
  t.throws(() => keeper.keepSlot(kept[0] as number, 60), { instanceOf: RangeError });
});

test('a frame sent from a slot of the device gives it back when it is completed', (t) => {
  const { device, kernel } = createWorld({ deviceSlots: 4 });
  const mirror = createTenant(kernel, 1, { forwards: true });
  device.prompt = false;
  mirror.program = {
    process() {
      for (let at = mirror.ring.take(); at !== 0; at = mirror.ring.take()) {
        setEthernet(kernel.bytes, at, MAC_HI, 99, mirror.macHi, mirror.macLo, ETHERTYPE_IPV4);
        setIpv4(kernel.bytes, at + ETHERNET_BYTES, IPV4_BYTES, 0, true, 64, PROTOCOL_UDP, addressOf(1), PEER, 0);
        t.true(mirror.transmitSlot(mirror, at, mirror.ring.length));
      }
    },
    nextDeadlineUs: () => Number.POSITIVE_INFINITY,
  };
  for (let mark = 0; mark < 3; mark++) device.incoming.push(frameTo(1, mark));
  kernel.turn();
  t.is(device.used.size, 3);
  device.finish(2);
  kernel.turn();
  t.is(device.used.size, 1);
  device.finish(1);
  kernel.turn();
  t.is(device.used.size, 0);
  t.is(mirror.held, 0);
});

test('a turn receives four full batches and then reports more work', (t) => {
  const { device, kernel } = createWorld({ receiveBatch: 8 });
  const program = install(kernel, createTenant(kernel, 1));
  for (let mark = 0; mark < 40; mark++) device.incoming.push(frameTo(1, mark));
  t.is(kernel.turn(), 0);
  t.is(program.marks.length, 32);
  t.is(program.times.length, 1);
  t.is(kernel.turn(), Number.POSITIVE_INFINITY);
  t.is(program.marks.length, 40);
});

test('the next turn is due at the earliest deadline', (t) => {
  const { clock, kernel } = createWorld();
  const first = install(kernel, createTenant(kernel, 1));
  const second = install(kernel, createTenant(kernel, 2));
  t.is(kernel.turn(), Number.POSITIVE_INFINITY);
  clock.runUntil(1000);
  first.deadlineUs = 9000;
  second.deadlineUs = 5000;
  t.is(kernel.turn(), 5000);
  t.deepEqual(second.times, [0, 1000]);
  second.deadlineUs = 1000;
  t.is(kernel.turn(), 0);
});

test('queued frames leave at the end of the turn, and the queue is free again', (t) => {
  const { device, kernel } = createWorld();
  const environment = createTenant(kernel, 1, { transmitFrames: 8 });
  for (let mark = 0; mark < 8; mark++) send(kernel, environment, mark);
  t.false(send(kernel, environment, 8));
  kernel.turn();
  t.deepEqual(
    device.sent.map((frame) => markOf(frame)),
    [0, 1, 2, 3, 4, 5, 6, 7],
  );
  t.is(environment.queue.completed, 8);
  t.is(environment.queue.free, 8);
  t.is(environment.counters.get('framesOut'), 8);
});

test('a frame in another’s name is refused and counted, the others leave', (t) => {
  const { device, kernel } = createWorld();
  const environment = createTenant(kernel, 1);
  createTenant(kernel, 2);
  send(kernel, environment, 1);
  send(kernel, environment, 2, addressOf(2));
  send(kernel, environment, 3);
  const at = environment.queue.reserve();
  setEthernet(kernel.bytes, at, 0xffff, -1, MAC_HI, 2, ETHERTYPE_IPV4);
  environment.queue.commit(HEADERS_BYTES);
  kernel.turn();
  t.deepEqual(
    device.sent.map((frame) => markOf(frame)),
    [1, 3],
  );
  t.is(environment.counters.get('framesRefused'), 2);
  t.is(environment.drops.get('guard-address'), 1);
  t.is(environment.drops.get('guard-mac'), 1);
  t.is(environment.queue.completed, environment.queue.enqueued);
});

test('a full device is tried again a little later, without a hot loop', (t) => {
  const { clock, device, kernel } = createWorld();
  const environment = createTenant(kernel, 1);
  clock.runUntil(1_000_000);
  for (let mark = 0; mark < 10; mark++) send(kernel, environment, mark);
  device.room = 4;
  t.is(kernel.turn(), 1_000_200);
  t.is(device.sent.length, 4);
  const program = install(kernel, environment);
  program.deadlineUs = 1_000_100;
  t.is(kernel.turn(), 1_000_100);
  device.room = 100;
  program.deadlineUs = Number.POSITIVE_INFINITY;
  t.is(kernel.turn(), Number.POSITIVE_INFINITY);
  t.is(device.sent.length, 10);
});

test('environments take turns at the device', (t) => {
  const { device, kernel } = createWorld();
  const environments = [1, 2, 3].map((n) => createTenant(kernel, n));
  for (const environment of environments) for (let mark = 0; mark < 200; mark++) send(kernel, environment, mark);
  const senderOf = (frame: Uint8Array) => frame[11] as number;
  const shares = () => {
    const count = [0, 0, 0, 0];
    for (const frame of device.sent) count[senderOf(frame)] = (count[senderOf(frame)] ?? 0) + 1;
    return count.slice(1);
  };
  // A device that takes little each turn still serves all.
  for (let turn = 0; turn < 9; turn++) {
    device.room = 5;
    kernel.turn();
  }
  t.deepEqual(shares(), [15, 15, 15]);
  device.room = Number.POSITIVE_INFINITY;
  kernel.turn();
  t.deepEqual(shares(), [200, 200, 200]);
  // The rest went out in quanta: the longest run of one sender is one of them.
  let run = 0;
  let longest = 0;
  for (const [index, frame] of device.sent.entries()) {
    const before = device.sent[index - 1];
    run = before !== undefined && senderOf(before) === senderOf(frame) ? run + 1 : 1;
    longest = Math.max(longest, run);
  }
  t.true(longest <= 64 + 5, `${longest}`);
  // And each sender's frames in its own order.
  for (const n of [1, 2, 3]) {
    const marks = device.sent.filter((frame) => senderOf(frame) === n).map((frame) => markOf(frame));
    t.deepEqual(
      marks,
      Array.from({ length: 200 }, (_, mark) => mark),
    );
  }
});

test('completions of a device that takes its time go to the queues they came from', (t) => {
  const { clock, device, kernel } = createWorld();
  device.prompt = false;
  const first = createTenant(kernel, 1, { transmitFrames: 256 });
  const second = createTenant(kernel, 2, { transmitFrames: 256 });
  // The ledger starts somewhere else than at its beginning.
  for (let mark = 0; mark < 5; mark++) {
    send(kernel, mark % 2 === 0 ? first : second, mark);
    kernel.turn();
  }
  device.finish(5);
  kernel.turn();
  const before = { first: first.queue.completed, second: second.queue.completed };
  t.deepEqual(before, { first: 3, second: 2 });
  // Enough runs of one frame to make the ledger grow, and refused ones in between.
  for (let round = 0; round < 100; round++) {
    send(kernel, first, round);
    kernel.turn();
    send(kernel, second, round);
    if (round % 10 === 0) send(kernel, second, round, PEER);
    t.is(kernel.turn(), clock.nowUs() + 1000);
  }
  t.is(first.queue.completed - before.first, 0);
  device.finish(3);
  kernel.turn();
  t.is(first.queue.completed - before.first, 2);
  // Its first frame and the refused one after it.
  t.is(second.queue.completed - before.second, 2);
  device.finish(196);
  kernel.turn();
  t.is(first.queue.completed - before.first, 100);
  t.is(second.queue.completed - before.second, 109);
  device.finish(1);
  t.is(kernel.turn(), Number.POSITIVE_INFINITY);
  t.is(second.queue.completed - before.second, 110);
  device.finish(5);
  t.is(kernel.turn(), Number.POSITIVE_INFINITY);
  // More than it was given is the driver's error.
  send(kernel, first, 1);
  t.throws(() => kernel.turn(), { message: /completed more frames/ });
});

test('only the environment that claimed a filter releases it', (t) => {
  const { device, kernel } = createWorld();
  const first = createTenant(kernel, 1);
  const second = createTenant(kernel, 2);
  const third = first.claim(tcp4Filter({ target: addressOf(3), targetPort: 80 }));
  t.is(first.claimed, 2);
  t.throws(() => second.release(third), { instanceOf: RangeError });
  t.throws(() => second.claim(tcp4Filter({ target: addressOf(3), targetPort: 80 })), { instanceOf: FilterError });
  t.is(second.claimed, 1);
  first.release(third);
  t.throws(() => first.release(third), { instanceOf: RangeError });
  second.claim(tcp4Filter({ target: addressOf(3), targetPort: 80 }));
  const frame = frameTo(3, 5, TCP_BYTES);
  setIpv4(frame, ETHERNET_BYTES, IPV4_BYTES + TCP_BYTES, 5, true, 64, PROTOCOL_TCP, PEER, addressOf(3), 0);
  setTcp(frame, HEADERS_BYTES, 1, 80, 0, 0, TCP_BYTES, 0, 0);
  device.incoming.push(frame);
  kernel.turn();
  t.is(second.ring.size, 1);
});

test('a closed environment gives everything back', (t) => {
  const { device, kernel } = createWorld({ slots: 0, receiveBatch: 8 });
  const environment = createTenant(kernel, 1, { ringFrames: 16 });
  const program = install(kernel, environment);
  for (let mark = 0; mark < 6; mark++) device.incoming.push(frameTo(1, mark));
  environment.program = { process: () => {}, nextDeadlineUs: () => 1 };
  kernel.turn();
  const kept = environment.ring.take();
  send(kernel, environment, 1);
  send(kernel, environment, 2);
  environment.close();
  environment.close();
  t.true(environment.closed);
  t.is(environment.held, 0);
  t.is(environment.ring.size, 0);
  t.is(environment.claimed, 0);
  t.is(kernel.slots.free, 16);
  t.is(kernel.demultiplexer.size, 0);
  t.is(environment.counters.get('framesRefused'), 2);
  environment.returnSlot(kept);
  t.is(kernel.slots.free, 16);
  t.throws(() => environment.claim(ipv4Filter(addressOf(1))), { instanceOf: RangeError });
  t.is(environment.queue.reserve(), 0);
  device.incoming.push(frameTo(1, 9));
  t.is(kernel.turn(), Number.POSITIVE_INFINITY);
  t.is(kernel.drops.get('no-owner'), 1);
  t.deepEqual(device.sent, []);
  t.deepEqual(program.marks, []);
});

test('what a closed environment had is used again', (t) => {
  const { arena, device, kernel } = createWorld();
  device.prompt = false;
  const before: number[] = [];
  for (let round = 0; round < 10; round++) {
    const environment = createTenant(kernel, 1);
    send(kernel, environment, round);
    kernel.turn();
    environment.close();
    // Its memory is still being read: the next one must not get it.
    const other = createTenant(kernel, 2);
    t.not(other.queue.headersAt, environment.queue.headersAt);
    other.close();
    device.finish(1);
    kernel.turn();
    t.is(environment.queue.completed, 1);
    before.push(arena.usedBytes);
  }
  t.is(before[9], before[1]);
});

test('environments may come and go while the turn is running', (t) => {
  const { kernel } = createWorld();
  const first = createTenant(kernel, 1);
  const second = createTenant(kernel, 2);
  const third = createTenant(kernel, 3);
  const seen: string[] = [];
  third.program = { process: () => seen.push('third'), nextDeadlineUs: () => Number.POSITIVE_INFINITY };
  first.program = {
    process: () => {
      seen.push('first');
      if (seen.length > 1) return;
      second.close();
      createTenant(kernel, 4).program = {
        process: () => seen.push('fourth'),
        nextDeadlineUs: () => Number.POSITIVE_INFINITY,
      };
    },
    nextDeadlineUs: () => Number.POSITIVE_INFINITY,
  };
  kernel.turn();
  t.deepEqual(seen, ['first', 'fourth', 'third']);
  kernel.close();
  seen.length = 0;
  t.is(kernel.turn(), Number.POSITIVE_INFINITY);
  t.deepEqual(seen, []);
});

test('misuse throws', (t) => {
  const { kernel } = createWorld();
  const good = { name: 'x', macHi: MAC_HI, macLo: 1, addresses: [1] };
  for (const bad of [
    { macHi: 0x10000 },
    { macHi: -1 },
    { macHi: 0x0300 },
    { macHi: 0xffff },
    { macLo: 0.5 },
    { addresses: [Number.NaN] },
    { ringFrames: 0 },
    { ringFrames: 1.5 },
    { transmitFrames: -1 },
    { transmitFrames: 2 ** 21 },
    // The arena has no room for it.
    { ringFrames: 2 ** 20 },
  ]) {
    t.throws(() => kernel.createEnvironment({ ...good, ...bad }), { instanceOf: RangeError });
  }
  t.throws(() => createWorld({ receiveBatch: 0 }), { instanceOf: RangeError });
  t.throws(() => createWorld({ slots: -1 }), { instanceOf: RangeError });
  const environment = kernel.createEnvironment(good);
  t.throws(() => environment.returnSlot(4242), { instanceOf: RangeError });
  t.is(environment.held, 0);
});

test('an address is the same with either sign', (t) => {
  const { device, kernel } = createWorld();
  const unsigned = 0xc0a80101;
  const environment = kernel.createEnvironment({ name: 'x', macHi: MAC_HI, macLo: 0xdeadbeef, addresses: [unsigned] });
  t.is(environment.addresses[0], unsigned | 0);
  send(kernel, environment, 7, unsigned | 0);
  kernel.turn();
  t.is(device.sent.length, 1);
});

test('a steady exchange of frames allocates next to nothing', (t) => {
  const { arena, clock } = createWorld();
  // A device that neither keeps nor makes objects.
  const frame = frameTo(1, 1);
  const source = arena.allocate(frame.length);
  arena.bytes.set(frame, source);
  let waiting = 0;
  let finished = 0;
  const device = new FakeDevice(arena);
  device.receive = (frames) => {
    let count = 0;
    for (; count < frames.capacity && waiting > 0; count++, waiting--) {
      arena.bytes.copyWithin(frames.at[count] as number, source, source + frame.length);
      frames.length[count] = frame.length;
    }
    return count;
  };
  device.transmit = (_frames, from, to) => {
    finished += to - from;
    return to - from;
  };
  device.completed = () => {
    const count = finished;
    finished = 0;
    return count;
  };
  const kernel = new Exokernel({ arena, device, clock });
  const environment = createTenant(kernel, 1);
  environment.program = {
    process: () => {
      for (let at = environment.ring.take(); at !== 0; at = environment.ring.take()) {
        environment.returnSlot(at);
        send(kernel, environment, 1);
      }
    },
    nextDeadlineUs: () => Number.POSITIVE_INFINITY,
  };
  const work = () => {
    for (let turn = 0; turn < 200; turn++) {
      waiting = 63;
      kernel.turn();
    }
  };
  for (let i = 0; i < 20; i++) work();
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const before = process.memoryUsage().heapUsed;
    work();
    least = Math.min(least, Math.abs(process.memoryUsage().heapUsed - before));
  }
  t.true(least / (200 * 63) < 8, `${least / (200 * 63)} bytes a frame`);
  t.is(environment.counters.get('framesOut'), 25 * 200 * 63);
});
