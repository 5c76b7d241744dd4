import test from 'ava';
import { SeededRandom } from '../../src/runtime/random.ts';
import { ETHERNET_BYTES } from '../../src/wire/ethernet.ts';
import { fillIcmpChecksum, ICMP_BYTES } from '../../src/wire/icmp.ts';
import {
  arpFrame,
  echoRequest,
  fixChecksum,
  GATEWAY,
  icmpFrame,
  ipv4Frame,
  LOCAL,
  OTHER,
  PEER,
  pattern,
  REMOTE,
  Rig,
  SECOND,
} from './rig.ts';

const ROUNDS = 60_000;

/** Valid frames of every kind that the library OS understands. */
function seeds(): Buffer[] {
  const quoted = ipv4Frame(pattern(40), { source: LOCAL, target: REMOTE }).subarray(ETHERNET_BYTES);
  const error = Buffer.concat([Buffer.from([3, 4, 0, 0, 0, 0, 5, 120]), quoted]);
  fillIcmpChecksum(error, 0, error.length);
  return [
    arpFrame(),
    arpFrame({ operation: 2 }),
    arpFrame({ sender: LOCAL }),
    arpFrame({ sender: OTHER, senderLo: 9 }),
    ipv4Frame(pattern(60)),
    ipv4Frame(pattern(60), { options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0) }),
    ipv4Frame(pattern(80), { more: true }),
    ipv4Frame(pattern(80), { offset: 80 }),
    ipv4Frame(pattern(20), { protocol: 99 }),
    icmpFrame(echoRequest(pattern(56))),
    icmpFrame(echoRequest(pattern(400)), { source: REMOTE }),
    icmpFrame(error),
    icmpFrame(error, { source: GATEWAY }),
  ];
}

/** Flips, overwrites, cuts or lengthens; half the time with the header checksum made right again. */
function mutate(frame: Buffer, random: SeededRandom): Buffer {
  let mutant = Buffer.from(frame);
  for (let n = random.below(4); n >= 0; n--) {
    const at = random.below(mutant.length);
    const values = [mutant.readUInt8(at) ^ (1 << random.below(8)), random.below(256), 0, 255];
    mutant.writeUInt8(values[random.below(4)] ?? 0, at);
  }
  if (random.chance(0.1)) mutant = mutant.subarray(0, random.below(mutant.length));
  if (random.chance(0.1)) mutant = Buffer.concat([mutant, pattern(random.below(64), random.below(9))]);
  if (mutant.length < ETHERNET_BYTES + 20 || mutant.readUInt16BE(12) !== 0x0800 || random.chance(0.5)) return mutant;
  const headerBytes = (mutant.readUInt8(ETHERNET_BYTES) & 15) * 4;
  if (headerBytes < 20 || ETHERNET_BYTES + headerBytes > mutant.length) return mutant;
  fixChecksum(mutant, headerBytes);
  const messageAt = ETHERNET_BYTES + headerBytes;
  const messageEnd = ETHERNET_BYTES + mutant.readUInt16BE(ETHERNET_BYTES + 2);
  if (
    mutant.readUInt8(ETHERNET_BYTES + 9) === 1 &&
    messageEnd <= mutant.length &&
    messageEnd - messageAt >= ICMP_BYTES
  ) {
    fillIcmpChecksum(mutant, messageAt, messageEnd - messageAt);
  }
  return mutant;
}

for (const seed of [1, 2, 3]) {
  test(`mutated frames never throw, each is accounted for, nothing is left behind (seed ${seed})`, (t) => {
    const rig = new Rig();
    t.teardown(() => rig.close());
    const random = new SeededRandom(seed);
    const frames = seeds();
    const timers = rig.timers.live;
    let silent = 0;
    const outcomes = () =>
      rig.totalDrops() +
      rig.recorder.deliveries.length +
      rig.recorder.errors.length +
      rig.icmp.counters.get('echoRequests') +
      rig.icmp.counters.get('ignored') +
      rig.ipv4.fragments.counters.get('fragments') +
      rig.arp.counters.get('repliesSent') +
      rig.arp.counters.get('queueFull') +
      rig.arp.counters.get('resolved') +
      rig.arp.counters.get('refreshed') +
      rig.arp.counters.get('updated') +
      rig.arp.counters.get('unchanged');
    for (let round = 0; round < ROUNDS; round++) {
      const before = outcomes();
      rig.receive(mutate(frames[random.below(frames.length)] ?? arpFrame(), random), random.below(4) === 0 ? 2 : 0);
      if (outcomes() === before) silent++;
      if (random.chance(0.02)) rig.ipv4.endTurn();
      if (random.chance(0.05)) rig.sent();
      if (random.chance(0.01)) rig.advance(random.below(3 * SECOND));
      if (random.chance(0.02)) rig.paths.acquire(random.chance(0.5) ? PEER : REMOTE)?.neighbour;
    }
    t.is(silent, 0, 'frames without a trace');
    t.true(rig.recorder.deliveries.length > 1000);
    t.true(rig.recorder.errors.length > 100);
    t.true(rig.icmp.counters.get('echoReplies') > 1000);
    rig.ipv4.endTurn();
    rig.sent();
    rig.advance(1000 * SECOND);
    rig.sent();
    t.is(rig.ipv4.fragments.size, 0);
    t.is(rig.arp.pendingFrames, 0);
    t.is(rig.timers.armed, 0);
    t.is(rig.timers.live - rig.arp.size, timers);
    t.is(rig.paths.activeCount, 2);
    t.is(rig.arp.size, 2, 'those in use');
  });
}

test('random bytes never throw', (t) => {
  const rig = new Rig();
  t.teardown(() => rig.close());
  const random = new SeededRandom(4);
  const frame = Buffer.alloc(200);
  for (let round = 0; round < ROUNDS; round++) {
    random.fill(frame);
    frame.writeUInt16BE(random.chance(0.5) ? 0x0800 : 0x0806, 12);
    const length = random.below(frame.length);
    rig.receive(frame.subarray(0, length));
  }
  t.is(rig.totalDrops(), ROUNDS);
  t.deepEqual(rig.sent(), []);
});
