/**
 * Hostile input: frames of living connections, mutated in any way, most with their checksums made good again, at both
 * devices. Nothing throws, every frame is accounted for, and in the end nothing is left.
 */
import test from 'ava';
import { SeededRandom } from '../../../src/runtime/random.ts';
import type { FORWARDER_COUNTERS } from '../../../src/servers/forwarder/counters.ts';
import { ETHERNET_BYTES } from '../../../src/wire/ethernet.ts';
import { ipv4HeaderBytes } from '../../../src/wire/ipv4.ts';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../../../src/wire/tcp.ts';
import {
  BACKENDS,
  CLIENT,
  FORWARDER,
  ForwardRig,
  fixIpv4Checksum,
  fixTcpChecksum,
  INSIDE,
  icmpError,
  SECOND,
  segment,
} from './rig.ts';

const MUTATIONS = Number(process.env.EXONET_MUTATIONS ?? 100_000);
const SEED = Number(process.env.EXONET_SEED ?? 20_262);
const HEADERS_BYTES = 62;
const MAX_FRAME_BYTES = 1514;
const FLAGS = [TCP_SYN, TCP_SYN | TCP_ACK, TCP_ACK, TCP_ACK, TCP_ACK | TCP_FIN, TCP_RST, TCP_RST | TCP_ACK];
/** Each frame that reaches the forwarder ends in one of these, or is dropped for what it is, or waits. */
const OUTCOMES: readonly (typeof FORWARDER_COUNTERS)[number][] = [
  'framesForwarded',
  'resetsSent',
  'resetsLimited',
  'errorsOfStrangers',
  'fragmentsDropped',
  'strangersDropped',
  'hopsExceeded',
  'tooLong',
  'unreachable',
  'waitingFull',
  'queueFull',
];

for (const mode of ['nat', 'routed'] as const) {
  test(`${MUTATIONS} mutated frames, ${mode}, seed ${SEED}`, (t) => {
    t.timeout(110_000);
    const random = new SeededRandom(SEED);
    const rig = new ForwardRig({ backends: 2, mode });
    const pick = <T>(values: readonly T[]): T => values[random.below(values.length)] as T;

    const makeFrame = (outside: boolean): Uint8Array => {
      const port = 40_000 + random.below(40);
      const fields = { flags: pick(FLAGS), seq: random.below(300), ack: random.below(300), ttl: 1 + random.below(64) };
      const text = 'x'.repeat(random.below(8) === 0 ? random.below(1440) : 0);
      const frame = outside
        ? segment({ ...fields, text, source: CLIENT, target: FORWARDER, sourcePort: port, targetPort: 80 })
        : segment({
            ...fields,
            text,
            source: pick(BACKENDS),
            target: mode === 'nat' ? INSIDE : CLIENT,
            mac: INSIDE,
            sourcePort: 8080,
            targetPort: port,
          });
      if (random.below(4) !== 0) return frame;
      // An error that quotes it, as if it had been ours.
      const quoted = Uint8Array.from(frame.subarray(ETHERNET_BYTES));
      quoted.set(frame.subarray(ETHERNET_BYTES + 16, ETHERNET_BYTES + 20), 12);
      quoted.set(frame.subarray(ETHERNET_BYTES + 12, ETHERNET_BYTES + 16), 16);
      quoted.set(frame.subarray(ETHERNET_BYTES + 22, ETHERNET_BYTES + 24), 20);
      quoted.set(frame.subarray(ETHERNET_BYTES + 20, ETHERNET_BYTES + 22), 22);
      const target = outside ? FORWARDER : INSIDE;
      return icmpError(pick([3, 11, 12]), random.below(6), random.below(1500), pick(BACKENDS), target, quoted);
    };

    const mutate = (frame: Uint8Array): Uint8Array => {
      let mutated = frame;
      for (let changes = random.below(4); changes > 0; changes--) {
        const at = ETHERNET_BYTES + random.below(Math.min(mutated.length, HEADERS_BYTES) - ETHERNET_BYTES);
        mutated = mutated.with(at, random.below(256));
      }
      if (random.below(8) === 0) mutated = mutated.slice(0, ETHERNET_BYTES + random.below(mutated.length));
      if (random.below(8) === 0) {
        const longer = new Uint8Array(Math.min(MAX_FRAME_BYTES, mutated.length + random.below(200)));
        longer.set(mutated.subarray(0, longer.length));
        mutated = longer;
      }
      if (random.below(4) !== 0) repair(mutated);
      return mutated;
    };

    for (let sent = 0; sent < MUTATIONS; sent++) {
      const outside = random.below(2) === 0;
      const device = outside ? rig.outside : rig.inside;
      device.incoming.push(mutate(makeFrame(outside)));
      if (random.below(8) === 0) rig.turn();
      if (random.below(64) === 0) rig.takeAll();
      if (random.below(2048) === 0) rig.advance(random.below(30) * SECOND);
    }
    rig.turn();
    const { counters, drops, flows } = rig.forwarder;
    const outcomes = OUTCOMES.reduce((sum, name) => sum + counters.get(name), 0);
    const dropped = drops.values.reduce((sum, count) => sum + count, 0);
    t.is(counters.get('framesIn'), outcomes + dropped + rig.forwarder.waitingFrames);
    t.true(counters.get('framesForwarded') > MUTATIONS / 50);
    t.true(counters.get('errorsTranslated') > MUTATIONS / 1000);
    t.true(counters.get('flowsOpened') > 10);
    // What leaves by a device leaves in the name that it has there.
    for (const { environment } of rig.forwarder.sides) t.is(environment.counters.get('framesRefused'), 0);
    rig.advance(8000 * SECOND);
    t.is(rig.heldSlots(), 0);
    t.is(rig.forwarder.waitingFrames, 0);
    t.is(flows.table.live, 0);
    t.is(flows.table.lingering.count, 0);
    t.is(flows.index.size, 0);
    t.is(
      rig.host.stacks.reduce((sum, { paths }) => sum + paths.activeCount, 0),
      0,
    );
    for (const { living } of rig.forwarder.services[0]?.backends ?? []) t.is(living, 0);
    rig.close();
  });
}

/** Makes checksums good again, where the headers are whole. */
function repair(frame: Uint8Array): void {
  if (frame.length < ETHERNET_BYTES + 20) return;
  const headerBytes = ipv4HeaderBytes(frame, ETHERNET_BYTES);
  if (headerBytes < 20 || frame.length < ETHERNET_BYTES + headerBytes + 20) return;
  fixIpv4Checksum(frame);
  if (frame[ETHERNET_BYTES + 9] === 6) fixTcpChecksum(frame);
}
