/** Frames that leave from the receive slot they arrived in: whose the slot is while they do, and when it comes back. */
import test from 'ava';
import { ipv4Filter } from '../../src/downloadfilter/protocols.ts';
import type { Environment } from '../../src/exokernel/environment.ts';
import { Exokernel, turnTogether } from '../../src/exokernel/exokernel.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { VirtualClock } from '../../src/runtime/virtual-clock.ts';
import { setU32 } from '../../src/wire/bytes.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, setEthernet } from '../../src/wire/ethernet.ts';
import { IPV4_SOURCE_OFFSET, PROTOCOL_TCP, setIpv4 } from '../../src/wire/ipv4.ts';
import { FakeDevice } from './fake-device.ts';

const HERE = 0x0a000001;
const THERE = 0x0a000101;
const PEER = 0x0a000002;
const MAC_HI = 0x0200;
const RING_FRAMES = 8;

interface Party {
  readonly device: FakeDevice;
  readonly kernel: Exokernel;
  readonly environment: Environment;
}

function createParty(arena: Arena, address: number, forwards = true): Party {
  const device = new FakeDevice(arena);
  const kernel = new Exokernel({ arena, device, clock: new VirtualClock(), receiveBatch: 4, slots: 4 });
  const environment = addEnvironment(kernel, address, forwards);
  return { device, kernel, environment };
}

function addEnvironment(kernel: Exokernel, address: number, forwards: boolean): Environment {
  const environment = kernel.createEnvironment({
    name: 'test',
    macHi: MAC_HI,
    macLo: address,
    addresses: [address],
    forwards,
    ringFrames: RING_FRAMES,
    transmitFrames: 4,
  });
  environment.claim(ipv4Filter(address));
  return environment;
}

function frameTo(address: number, mark: number): Uint8Array {
  const frame = new Uint8Array(ETHERNET_BYTES + 21);
  setEthernet(frame, 0, MAC_HI, address, 0x0290, PEER, ETHERTYPE_IPV4);
  setIpv4(frame, ETHERNET_BYTES, 21, 1, true, 64, PROTOCOL_TCP, PEER, address, 0);
  frame[frame.length - 1] = mark;
  return frame;
}

/** Has every frame that arrives leave by another environment, in that one's name. */
function forward(arena: Arena, from: Environment, to: Environment): void {
  from.program = {
    process() {
      for (let at = from.ring.take(); at !== 0; at = from.ring.take()) {
        setEthernet(arena.bytes, at, 0x0290, PEER, to.macHi, to.macLo, ETHERTYPE_IPV4);
        setU32(arena.bytes, at + ETHERNET_BYTES + IPV4_SOURCE_OFFSET, to.addresses[0] as number);
        if (!to.transmitSlot(from, at, from.ring.length)) from.returnSlot(at);
      }
    },
    nextDeadlineUs: () => Number.POSITIVE_INFINITY,
  };
}

const marks = (device: FakeDevice) => device.sent.map((frame) => frame[frame.length - 1]);

test('what comes in on one device leaves on the other in the same turn, and its slot is free again', (t) => {
  const arena = new Arena(8 << 20);
  const here = createParty(arena, HERE);
  const there = createParty(arena, THERE);
  forward(arena, here.environment, there.environment);
  forward(arena, there.environment, here.environment);
  const free = here.kernel.slots.free;
  here.device.incoming.push(frameTo(HERE, 1), frameTo(HERE, 2));
  there.device.incoming.push(frameTo(THERE, 3));
  turnTogether([here.kernel, there.kernel], 0);
  t.deepEqual(marks(there.device), [1, 2]);
  t.deepEqual(marks(here.device), [3]);
  t.is(here.environment.held, 0);
  t.is(there.environment.held, 0);
  t.is(here.kernel.slots.sending, 0);
  t.is(here.kernel.slots.free, free);
});

test('a slot counts as held until the device has completed its frame', (t) => {
  const arena = new Arena(8 << 20);
  const here = createParty(arena, HERE);
  const there = createParty(arena, THERE);
  there.device.prompt = false;
  forward(arena, here.environment, there.environment);
  const kernels = [here.kernel, there.kernel];
  for (let mark = 1; mark <= 4; mark++) here.device.incoming.push(frameTo(HERE, mark));
  turnTogether(kernels, 0);
  t.deepEqual(marks(there.device), [1, 2, 3, 4]);
  t.is(here.environment.held, 4);
  t.is(here.kernel.slots.sending, 4);
  // The queue is full: what comes now is given back at once.
  for (let mark = 5; mark <= 8; mark++) here.device.incoming.push(frameTo(HERE, mark));
  turnTogether(kernels, 0);
  t.is(here.environment.held, 4);
  there.device.finish(3);
  turnTogether(kernels, 0);
  t.is(here.environment.held, 1);
  t.is(here.kernel.slots.sending, 1);
  there.device.finish(1);
  turnTogether(kernels, 0);
  t.is(here.environment.held, 0);
});

test('a frame that the guard refuses gives its slot back', (t) => {
  const arena = new Arena(8 << 20);
  const { kernel, device, environment } = createParty(arena, HERE);
  environment.program = {
    process() {
      // As it came: in the name of whoever sent it.
      for (let at = environment.ring.take(); at !== 0; at = environment.ring.take()) {
        t.true(environment.transmitSlot(environment, at, environment.ring.length));
      }
    },
    nextDeadlineUs: () => Number.POSITIVE_INFINITY,
  };
  device.incoming.push(frameTo(HERE, 1));
  kernel.turn();
  t.deepEqual(device.sent, []);
  t.is(environment.held, 0);
  t.is(kernel.slots.sending, 0);
  t.is(environment.counters.get('framesRefused'), 1);
});

test('slots that are being sent outlive the environment that received them', (t) => {
  const arena = new Arena(8 << 20);
  const here = createParty(arena, HERE);
  const there = createParty(arena, THERE);
  there.device.prompt = false;
  forward(arena, here.environment, there.environment);
  for (let mark = 1; mark <= 3; mark++) here.device.incoming.push(frameTo(HERE, mark));
  turnTogether([here.kernel, there.kernel], 0);
  here.environment.close();
  t.is(here.kernel.slots.sending, 3);
  // Whoever comes next has slots for all that it may hold, beside those.
  const next = addEnvironment(here.kernel, HERE, true);
  for (let mark = 0; mark < RING_FRAMES; mark++) here.device.incoming.push(frameTo(HERE, mark));
  turnTogether([here.kernel, there.kernel], 0);
  t.is(next.held, RING_FRAMES);
  there.device.finish(3);
  turnTogether([here.kernel, there.kernel], 0);
  t.is(here.kernel.slots.sending, 0);
  t.is(here.environment.held, 0);
});

test('closing the environment that sends gives back what the device has not taken', (t) => {
  const arena = new Arena(8 << 20);
  const here = createParty(arena, HERE);
  const there = createParty(arena, THERE);
  there.device.room = 1;
  forward(arena, here.environment, there.environment);
  for (let mark = 1; mark <= 3; mark++) here.device.incoming.push(frameTo(HERE, mark));
  turnTogether([here.kernel, there.kernel], 0);
  t.deepEqual(marks(there.device), [1]);
  t.is(here.environment.held, 2);
  there.environment.close();
  t.is(here.environment.held, 0);
  t.is(here.kernel.slots.sending, 0);
});

test('a slot is sent once, by whoever holds it and may', (t) => {
  const arena = new Arena(8 << 20);
  const here = createParty(arena, HERE);
  const bystander = createParty(arena, THERE, false);
  here.device.incoming.push(frameTo(HERE, 1), frameTo(HERE, 2));
  here.kernel.turn();
  const at = here.environment.ring.take();
  const length = here.environment.ring.length;
  t.throws(() => bystander.environment.transmitSlot(here.environment, at, length), { message: /no right to forward/ });
  t.throws(() => here.environment.transmitSlot(here.environment, at + 64, length), { instanceOf: RangeError });
  const stranger = createParty(new Arena(8 << 20), THERE);
  t.throws(() => stranger.environment.transmitSlot(here.environment, at, length), { message: /share no arena/ });
  t.true(here.environment.transmitSlot(here.environment, at, length));
  t.throws(() => here.environment.transmitSlot(here.environment, at, length), { instanceOf: RangeError });
  t.throws(() => here.environment.returnSlot(at), { instanceOf: RangeError });
  here.environment.close();
  t.throws(() => bystander.environment.transmitSlot(here.environment, at, length));
});

test('regions of a slot keep it until the last frame that has them is completed', (t) => {
  const arena = new Arena(8 << 20);
  const here = createParty(arena, HERE);
  const { environment, device, kernel } = here;
  device.prompt = false;
  device.incoming.push(frameTo(HERE, 7));
  kernel.turn();
  const at = environment.ring.take();
  const { queue } = environment;
  for (let part = 0; part < 2; part++) {
    const headerAt = queue.reserve();
    arena.bytes.copyWithin(headerAt, at, at + ETHERNET_BYTES + 20);
    setEthernet(arena.bytes, headerAt, 0x0290, PEER, MAC_HI, HERE, ETHERTYPE_IPV4);
    setU32(arena.bytes, headerAt + ETHERNET_BYTES + IPV4_SOURCE_OFFSET, HERE);
    queue.addRegion(at + ETHERNET_BYTES + 20, 1);
    queue.commit(ETHERNET_BYTES + 20);
  }
  environment.transmitRegionsOf(environment, at);
  kernel.turn();
  t.deepEqual(marks(device), [7, 7]);
  device.finish(1);
  kernel.turn();
  t.is(environment.held, 1);
  device.finish(1);
  kernel.turn();
  t.is(environment.held, 0);
});
