import test from 'ava';
import fc from 'fast-check';
import { ETHERNET_BYTES } from '../../src/wire/ethernet.ts';
import { ICMP_BYTES, ICMP_TIME_EXCEEDED, icmpCheck, icmpCode, icmpType } from '../../src/wire/icmp.ts';
import { ipv4Check, ipv4IsFragment, ipv4Tos, ipv4TotalBytes, PROTOCOL_ICMP } from '../../src/wire/ipv4.ts';
import {
  type Ipv4Fields,
  ip,
  ipv4Frame,
  OTHER,
  PEER,
  pattern,
  payloadOf,
  Rig,
  type RigOptions,
  SECOND,
} from './rig.ts';

function open(t: { teardown: (close: () => void) => void }, options?: RigOptions): Rig {
  const rig = new Rig(options);
  t.teardown(() => rig.close());
  rig.resolve();
  return rig;
}

/** Fragments of a datagram, cut at the given places (multiples of eight). */
function cut(data: Buffer, places: number[], fields: Ipv4Fields = {}): Buffer[] {
  const ends = [...places, data.length];
  return ends.map((end, i) => {
    const offset = i === 0 ? 0 : (ends[i - 1] ?? 0);
    return ipv4Frame(data.subarray(offset, end), { ...fields, offset, more: end < data.length });
  });
}

function permutations<T>(items: T[]): T[][] {
  if (items.length < 2) return [items];
  return items.flatMap((item, i) => permutations(items.filter((_, j) => j !== i)).map((rest) => [item, ...rest]));
}

function receiveAll(rig: Rig, frames: (Buffer | undefined)[]): Buffer[] {
  rig.recorder.deliveries.length = 0;
  for (const frame of frames) if (frame !== undefined) rig.receive(frame);
  const payloads = rig.recorder.deliveries.map(({ payload }) => payload);
  rig.ipv4.endTurn();
  return payloads;
}

const DATA = pattern(3000);

test('fragments make a datagram in every order', (t) => {
  const rig = open(t);
  let id = 0;
  for (const order of permutations([0, 1, 2, 3])) {
    const frames = cut(DATA, [800, 1600, 2400], { id: ++id });
    t.deepEqual(
      receiveAll(
        rig,
        order.map((i) => frames[i]),
      ),
      [DATA],
      order.join(),
    );
  }
  t.is(rig.ipv4.fragments.size, 0);
  t.is(rig.timers.armed, 1, 'only the neighbour');
  t.is(rig.totalDrops(), 0);
  t.is(rig.ipv4.counters.get('reassembled'), 24);
});

test('the datagram is handed over as a whole frame with a clear virtio header', (t) => {
  const rig = open(t);
  const options = Uint8Array.of(1, 1, 1, 0);
  const frames = cut(DATA, [1400, 2800], { tos: 0x20 });
  frames[0] = ipv4Frame(DATA.subarray(0, 1400), { more: true, options, tos: 0x20 });
  for (const frame of frames) rig.receive(frame, 2);
  const [delivery] = rig.recorder.deliveries;
  if (delivery === undefined) return t.fail();
  t.deepEqual(delivery.payload, DATA);
  const { frameAt, ipAt } = delivery;
  t.is(ipAt, frameAt + ETHERNET_BYTES);
  t.true(rig.bytes.slice(frameAt - 10, frameAt).every((byte) => byte === 0));
  t.deepEqual(Buffer.from(rig.bytes.slice(frameAt, ipAt)), frames[0].subarray(0, ETHERNET_BYTES));
  t.is(ipv4Check(rig.bytes, ipAt, 3020), 0);
  t.is(ipv4TotalBytes(rig.bytes, ipAt), 3020);
  t.is(ipv4Tos(rig.bytes, ipAt), 0x20);
  t.false(ipv4IsFragment(rig.bytes, ipAt));
});

test('the memory of a datagram stays until the end of the turn', (t) => {
  const rig = open(t);
  for (let id = 0; id < 5; id++) {
    for (const frame of cut(pattern(2000, id), [1000], { id })) rig.receive(frame);
  }
  t.is(rig.ipv4.fragments.size, 5);
  rig.recorder.deliveries.forEach(({ ipAt }, id) => {
    t.deepEqual(Buffer.from(rig.bytes.slice(ipAt + 20, ipAt + 2020)), pattern(2000, id));
  });
  rig.ipv4.endTurn();
  t.is(rig.ipv4.fragments.size, 0);
  t.is(rig.timers.armed, 1);
  rig.ipv4.endTurn();
});

test('a stack that forgets the end of the turn gets the memory back in time', (t) => {
  const rig = open(t);
  for (const frame of cut(DATA, [1000])) rig.receive(frame);
  t.is(rig.ipv4.fragments.size, 1);
  rig.advance(31 * SECOND);
  t.is(rig.ipv4.fragments.size, 0);
  t.is(rig.drop('fragment-timeout'), 0);
});

test('datagrams are told apart by source, identification and protocol', (t) => {
  const rig = open(t);
  const variants: Ipv4Fields[] = [{ id: 1 }, { id: 2 }, { id: 1, source: OTHER }, { id: 1, protocol: 252 }];
  rig.ipv4.handlers[252] = rig.recorder;
  const sets = variants.map((fields, i) => cut(pattern(2000, i), [1000], fields));
  t.deepEqual(
    receiveAll(
      rig,
      sets.map((set) => set[1]),
    ),
    [],
  );
  t.is(rig.ipv4.fragments.size, 4);
  t.deepEqual(
    receiveAll(
      rig,
      sets.map((set) => set[0]),
    ),
    variants.map((_, i) => pattern(2000, i)),
  );
});

test('duplicates are ignored', (t) => {
  const rig = open(t);
  const [a, b, c] = cut(DATA, [1000, 2000]);
  t.deepEqual(receiveAll(rig, [a, a, c, c, a, b]), [DATA]);
  t.is(rig.drop('fragment-duplicate'), 3);
  t.is(rig.ipv4.fragments.counters.get('duplicates'), 3);
  const [d, e] = cut(DATA, [2000], { id: 2 });
  const part = ipv4Frame(DATA.subarray(800, 1600), { id: 2, offset: 800, more: true });
  t.deepEqual(receiveAll(rig, [d, part, e]), [DATA], 'a part of what is here, unchanged');
});

test('overlaps spoil the datagram, and what comes later of it', (t) => {
  const rig = open(t);
  const overlaps: [string, Buffer[]][] = [
    ['partly new', [ipv4Frame(DATA.subarray(504, 1504), { offset: 504, more: true })]],
    ['same place, other bytes', [ipv4Frame(pattern(1000, 9), { offset: 0, more: true })]],
    ['inside, other bytes', [ipv4Frame(pattern(8, 9), { offset: 8, more: true })]],
    ['around', [ipv4Frame(DATA.subarray(0, 1600), { offset: 0, more: true })]],
    ['over a gap', [ipv4Frame(DATA.subarray(992, 2008), { offset: 992, more: true })]],
    ['more beyond the end', [ipv4Frame(pattern(8), { offset: 3000, more: true })]],
    ['another end', [ipv4Frame(pattern(16), { offset: 3008 })]],
    ['an earlier end', [ipv4Frame(DATA.subarray(1000, 1500), { offset: 1000 })]],
    ['the last one goes on', [ipv4Frame(DATA.subarray(2000, 3000), { offset: 2000, more: true })]],
    ['the last one is shorter', [ipv4Frame(DATA.subarray(2000, 2990), { offset: 2000 })]],
  ];
  let id = 100;
  for (const [name, frames] of overlaps) {
    id++;
    for (const frame of frames) frame.writeUInt16BE(id, ETHERNET_BYTES + 4);
    const [a, b, c] = cut(DATA, [1000, 2000], { id });
    const spoilt = frames.map((frame) => {
      // The identification is under the header checksum.
      const payload = payloadOf(frame);
      const word = frame.readUInt16BE(ETHERNET_BYTES + 6);
      return ipv4Frame(payload, { id, offset: (word & 0x1fff) * 8, more: (word & 0x2000) !== 0 });
    });
    const before = rig.ipv4.fragments.counters.get('overlaps') + rig.ipv4.fragments.counters.get('malformed');
    t.deepEqual(receiveAll(rig, [a, c, ...spoilt, b, a, c]), [], name);
    t.is(rig.ipv4.fragments.counters.get('overlaps') + rig.ipv4.fragments.counters.get('malformed'), before + 1, name);
  }
  rig.advance(31 * SECOND);
  t.is(rig.ipv4.fragments.size, 0);
  t.is(rig.ipv4.fragments.counters.get('timedOut'), 0, 'poisoned ones go without a message');
});

test('a last fragment that ends where others go on spoils the datagram', (t) => {
  const rig = open(t);
  const first = ipv4Frame(pattern(1600), { offset: 0, more: true });
  const last = ipv4Frame(pattern(8), { offset: 1592 });
  const short = ipv4Frame(pattern(8), { offset: 400 });
  t.deepEqual(receiveAll(rig, [first, last]), []);
  t.deepEqual(receiveAll(rig, [ipv4Frame(pattern(8), { id: 3, offset: 1600, more: true }), short]), []);
  t.true(rig.drop('fragment-overlap') >= 1);
});

test('a gap keeps a datagram waiting until its time is up', (t) => {
  const rig = open(t);
  const [a, , c] = cut(DATA, [1000, 2000]);
  t.deepEqual(receiveAll(rig, [c]), []);
  rig.advance(20 * SECOND);
  t.deepEqual(receiveAll(rig, [a]), []);
  rig.advance(9.9 * SECOND);
  t.is(rig.ipv4.fragments.size, 1);
  t.deepEqual(rig.sent(), []);
  rig.advance(0.2 * SECOND);
  t.is(rig.ipv4.fragments.size, 0, 'counted from the first to arrive');
  t.is(rig.drop('fragment-timeout'), 1);
  const messages = rig.sent().filter((frame) => frame.readUInt16BE(12) === 0x0800);
  t.is(messages.length, 1);
  const message = payloadOf(messages[0] as Buffer);
  t.is(icmpCheck(message, 0, message.length), 0);
  t.is(icmpType(message, 0), ICMP_TIME_EXCEEDED);
  t.is(icmpCode(message, 0), 1);
  t.deepEqual(
    message.subarray(ICMP_BYTES),
    (a as Buffer).subarray(ETHERNET_BYTES, ETHERNET_BYTES + message.length - ICMP_BYTES),
  );
  t.true(message.length >= ICMP_BYTES + 28);
});

test('without the first fragment nobody is told, nor about an ICMP error', (t) => {
  const rig = open(t);
  receiveAll(rig, [cut(DATA, [1000, 2000])[1]]);
  const error = pattern(3000);
  error.writeUInt8(3, 0);
  receiveAll(rig, [cut(error, [1000], { protocol: PROTOCOL_ICMP })[0]]);
  rig.advance(31 * SECOND);
  t.is(rig.drop('fragment-timeout'), 2);
  t.deepEqual(rig.sent(), []);
});

test('malformed fragments are dropped', (t) => {
  const rig = open(t);
  const frames = [
    ipv4Frame(pattern(9), { more: true }),
    ipv4Frame(pattern(7), { offset: 16, more: true }),
    ipv4Frame(pattern(0), { more: true }),
    ipv4Frame(pattern(0), { offset: 80 }),
  ];
  receiveAll(rig, frames);
  t.is(rig.drop('fragment-format'), 4);
  t.is(rig.ipv4.fragments.size, 0);
});

test('the ping of death: offsets beyond 64 KiB are dropped', (t) => {
  const rig = open(t);
  receiveAll(rig, [
    ipv4Frame(pattern(1480), { offset: 65_528 }),
    ipv4Frame(pattern(16), { offset: 65_504 }),
    ipv4Frame(pattern(8), { offset: 65_512 }),
    ipv4Frame(pattern(8), { offset: 65_512, more: true }),
  ]);
  t.is(rig.drop('fragment-format'), 4);
  t.is(rig.ipv4.fragments.size, 0);
});

test('the longest datagram there can be', (t) => {
  const rig = open(t);
  const data = pattern(65_515);
  const places: number[] = [];
  for (let at = 1480; at < data.length; at += 1480) places.push(at);
  t.deepEqual(receiveAll(rig, cut(data, places).toReversed()), [data]);
});

test('a datagram of eight-byte fragments', (t) => {
  const rig = open(t);
  const data = pattern(4001);
  const places: number[] = [];
  for (let at = 8; at < data.length; at += 8) places.push(at);
  t.deepEqual(receiveAll(rig, cut(data, places)), [data]);
  t.deepEqual(receiveAll(rig, cut(data, places, { id: 2 }).toReversed()), [data]);
});

test('one source has a limit and displaces its own', (t) => {
  const rig = open(t, { fragments: { maxDatagrams: 8, maxPerSource: 3 } });
  const other = cut(DATA, [1000], { id: 1, source: OTHER });
  receiveAll(rig, [other[0]]);
  const sets = [1, 2, 3, 4, 5].map((id) => cut(DATA, [1000], { id }));
  receiveAll(
    rig,
    sets.map((set) => set[0]),
  );
  t.is(rig.ipv4.fragments.size, 4);
  t.is(rig.drop('fragment-limit'), 2);
  t.deepEqual(receiveAll(rig, [other[1]]), [DATA]);
  t.deepEqual(receiveAll(rig, [sets[4]?.[1]]), [DATA]);
});

test('all sources together have a limit: poisoned ones go first, then the oldest', (t) => {
  const rig = open(t, { fragments: { maxDatagrams: 4, maxPerSource: 2 } });
  const source = (i: number) => ip('192.0.2.0') + i;
  const sets = [1, 2, 3, 4, 5, 6].map((i) => cut(DATA, [1000, 2000], { source: source(i) }));
  receiveAll(
    rig,
    sets.slice(0, 4).map((set) => set[0]),
  );
  receiveAll(rig, [ipv4Frame(pattern(1000, 5), { source: source(3), more: true })]);
  receiveAll(rig, [sets[4]?.[0]]);
  receiveAll(rig, [sets[5]?.[0]]);
  t.is(rig.ipv4.fragments.size, 4);
  t.is(rig.drop('fragment-limit'), 2);
  for (const i of [1, 3, 4, 5]) t.deepEqual(receiveAll(rig, [sets[i]?.[1], sets[i]?.[2]]), [DATA], `set ${i}`);
});

test('delivered datagrams are not displaced in their turn', (t) => {
  const rig = open(t, { fragments: { maxDatagrams: 2 } });
  for (let id = 0; id < 4; id++) for (const frame of cut(pattern(2000, id), [1000], { id })) rig.receive(frame);
  t.deepEqual(
    rig.recorder.deliveries.map(({ payload }) => payload),
    [pattern(2000, 0), pattern(2000, 1)],
  );
  t.is(rig.drop('fragment-limit'), 4);
});

test('property: a datagram cut anywhere, shuffled, with duplicates, comes out byte for byte', (t) => {
  const rig = open(t);
  let id = 0;
  fc.assert(
    fc.property(
      fc.integer({ min: 9, max: 20_000 }),
      fc.array(fc.nat(2499), { minLength: 1, maxLength: 30 }),
      fc.infiniteStream(fc.nat(1_000_000)),
      fc.boolean(),
      (size, units, dice, repeat) => {
        const data = pattern(size, id);
        const places = [...new Set(units.map((unit) => unit * 8))]
          .filter((at) => at > 0 && at < size)
          .sort((a, b) => a - b);
        if (places.length === 0) return true;
        id = (id + 1) & 0xffff;
        const frames = cut(data, places, { id });
        const roll = (n: number) => Number(dice.next().value) % n;
        for (let i = frames.length - 1; i > 0; i--) {
          const j = roll(i + 1);
          const held = frames[i] as Buffer;
          frames[i] = frames[j] as Buffer;
          frames[j] = held;
        }
        const last = frames.pop();
        if (repeat) frames.splice(roll(frames.length + 1), 0, ...frames.slice(0, 1 + roll(3)));
        const [payload, ...more] = receiveAll(rig, [...frames, last]);
        return more.length === 0 && payload?.equals(data) === true && rig.ipv4.fragments.size === 0;
      },
    ),
    { numRuns: 500 },
  );
  t.is(rig.drop('fragment-overlap'), 0);
});

test('property: hostile fragments deliver what one sender could have meant, or nothing', (t) => {
  const rig = open(t, { fragments: { maxDatagrams: 6, maxPerSource: 3 } });
  const whole = pattern(600);
  const fragment = fc.record({
    id: fc.nat(2),
    source: fc.constantFrom(PEER, OTHER, ip('192.0.2.1')),
    unit: fc.nat(80),
    size: fc.oneof(
      fc.nat(40).map((n) => n * 8),
      fc.nat(300),
    ),
    more: fc.boolean(),
    forged: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(fragment, { maxLength: 40 }), fc.boolean(), (fragments, wait) => {
      for (const { id, source, unit, size, more, forged } of fragments) {
        const offset = unit * 8;
        const data = forged ? pattern(size, 7) : Buffer.concat([whole, whole]).subarray(offset, offset + size);
        rig.receive(ipv4Frame(data, { id, source, offset, more: more || offset === 0 }));
        rig.sent();
        if (rig.ipv4.fragments.size > 6) return false;
      }
      rig.ipv4.endTurn();
      if (wait) rig.advance(31 * SECOND);
      rig.sent();
      return !wait || rig.ipv4.fragments.size === 0;
    }),
    { numRuns: 1000 },
  );
  rig.advance(31 * SECOND);
  t.is(rig.ipv4.fragments.size, 0);
});
