import test from 'ava';
import fc from 'fast-check';
import { DEFAULT_TTL } from '../../src/libos/ipv4.ts';
import { foldSum, sumBytes } from '../../src/wire/checksum.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_IPV4,
  ethernetSourceHi,
  ethernetSourceLo,
  ethernetTargetHi,
  ethernetTargetLo,
  ethernetType,
} from '../../src/wire/ethernet.ts';
import { ICMP_BYTES, ICMP_UNREACHABLE, icmpCheck, icmpCode, icmpType } from '../../src/wire/icmp.ts';
import {
  ipv4Check,
  ipv4DontFragment,
  ipv4FragmentOffset,
  ipv4Id,
  ipv4IsFragment,
  ipv4MoreFragments,
  ipv4Protocol,
  ipv4Source,
  ipv4Target,
  ipv4TotalBytes,
  ipv4Ttl,
  PROTOCOL_ICMP,
} from '../../src/wire/ipv4.ts';
import { setVnetChecksum, setVnetGso, VNET_GSO_TCPV4 } from '../../src/wire/virtio-net.ts';
import {
  fixChecksum,
  GATEWAY,
  ip,
  ipv4Frame,
  LOCAL,
  MAC_HI,
  MAC_LO,
  OTHER,
  PEER,
  PEER_HI,
  PEER_LO,
  PROTOCOL_TEST,
  pattern,
  payloadOf,
  REMOTE,
  Rig,
  type RigOptions,
} from './rig.ts';

function open(t: { teardown: (close: () => void) => void }, options?: RigOptions): Rig {
  const rig = new Rig(options);
  t.teardown(() => rig.close());
  rig.resolve();
  rig.resolve(GATEWAY, PEER_HI, 254);
  return rig;
}

const IP = ETHERNET_BYTES;

test('a packet gets both headers', (t) => {
  const rig = open(t);
  t.true(rig.send(PEER, pattern(50)));
  const [frame] = rig.sent();
  if (frame === undefined) return t.fail();
  t.is(frame.length, 84);
  t.is(ethernetTargetHi(frame, 0), PEER_HI);
  t.is(ethernetTargetLo(frame, 0), PEER_LO);
  t.is(ethernetSourceHi(frame, 0), MAC_HI);
  t.is(ethernetSourceLo(frame, 0), MAC_LO);
  t.is(ethernetType(frame, 0), ETHERTYPE_IPV4);
  t.is(ipv4Check(frame, IP, frame.length - IP), 0);
  t.is(ipv4TotalBytes(frame, IP), 70);
  t.is(ipv4Ttl(frame, IP), DEFAULT_TTL);
  t.is(ipv4Protocol(frame, IP), PROTOCOL_TEST);
  t.is(ipv4Source(frame, IP), LOCAL);
  t.is(ipv4Target(frame, IP), PEER);
  t.true(ipv4DontFragment(frame, IP));
  t.false(ipv4IsFragment(frame, IP));
  t.deepEqual(payloadOf(frame), pattern(50));
  t.is(rig.ipv4.counters.get('sent'), 1);
});

test('a packet for another network goes to the gateway', (t) => {
  const rig = open(t);
  rig.send(REMOTE, pattern(50));
  const [frame] = rig.sent();
  t.is(ethernetTargetLo(frame as Buffer, 0), 254);
  t.is(ipv4Target(frame as Buffer, IP), REMOTE);
});

test('identifications count up, by as many as a super-frame is cut into', (t) => {
  const rig = open(t);
  rig.send(PEER, pattern(10));
  const path = rig.paths.acquire(PEER);
  if (path === undefined) return t.fail();
  const at = rig.ipv4.begin();
  setVnetChecksum(rig.bytes, at, 34, 16);
  setVnetGso(rig.bytes, at, VNET_GSO_TCPV4, 54, 1000);
  rig.queue.addRegion(4096, 4500);
  t.true(rig.ipv4.send(path, at, PROTOCOL_TEST, 20, 4500));
  rig.send(PEER, pattern(10));
  const [a, b, c] = rig.sent().map((frame) => ipv4Id(frame, IP));
  t.is(b, ((a ?? 0) + 1) & 0xffff);
  t.is(c, ((b ?? 0) + 5) & 0xffff);
  path.nextId = 0xffff;
  rig.send(PEER, pattern(10));
  rig.send(PEER, pattern(10));
  const frames = rig.sent();
  t.deepEqual(
    frames.map((frame) => ipv4Id(frame, IP)),
    [0xffff, 0],
  );
  t.true(frames.every((frame) => ipv4Check(frame, IP, frame.length - IP) === 0));
});

test('what is too long and not to be cut is refused', (t) => {
  const rig = open(t);
  t.true(rig.send(PEER, pattern(1480)));
  t.false(rig.send(PEER, pattern(1481)));
  t.is(rig.drop('frame-long'), 1);
  t.is(rig.ipv4.counters.get('sendRefused'), 1);
  const path = rig.paths.acquire(PEER);
  if (path === undefined) return t.fail();
  for (const [gsoBytes, payloadBytes] of [
    [0, 3000],
    [1000, 65_500],
  ] as const) {
    const at = rig.ipv4.begin();
    setVnetGso(rig.bytes, at, VNET_GSO_TCPV4, 54, gsoBytes);
    rig.queue.addRegion(4096, payloadBytes);
    t.false(rig.ipv4.send(path, at, PROTOCOL_TEST, 20, payloadBytes));
  }
  t.is(rig.sent().length, 1);
});

test('a full queue gives no room', (t) => {
  const rig = open(t, { queueFrames: 2 });
  rig.stalled = true;
  rig.send(PEER, pattern(10));
  rig.send(PEER, pattern(10));
  t.is(rig.ipv4.begin(), 0);
});

test('property: header checksums are right for any addresses and ids', (t) => {
  const rig = open(t);
  fc.assert(
    fc.property(fc.integer(), fc.nat(0xffff), fc.integer({ min: 1, max: 1480 }), (remote, id, size) => {
      const path = rig.paths.acquire(remote);
      if (path === undefined) return true;
      rig.resolve(path.neighbour.address);
      path.nextId = id;
      rig.send(remote, pattern(size));
      rig.paths.release(path);
      const [frame] = rig.sent();
      if (frame === undefined) return false;
      return (
        ipv4Check(frame, IP, frame.length - IP) === 0 &&
        ipv4Id(frame, IP) === id &&
        ipv4TotalBytes(frame, IP) === 20 + size
      );
    }),
  );
  t.pass();
});

test('a message is fragmented on the way out, and the fragments make it whole again', (t) => {
  const rig = open(t);
  const path = rig.paths.acquire(PEER);
  if (path === undefined) return t.fail();
  const at = rig.arena.allocate(65_515);
  for (const [size, mtuBytes] of [
    [1480, 1500],
    [1481, 1500],
    [3008, 1500],
    [65_515, 1500],
    [4000, 577],
  ] as const) {
    path.mtuBytes = mtuBytes;
    const message = pattern(size);
    rig.bytes.set(message, at);
    t.true(rig.ipv4.sendDatagram(path, PROTOCOL_TEST, at, size));
    const frames = rig.sent();
    const step = (mtuBytes - 20) & ~7;
    t.is(frames.length, size <= mtuBytes - 20 ? 1 : Math.ceil(size / step));
    t.is(new Set(frames.map((frame) => ipv4Id(frame, IP))).size, 1);
    const whole = Buffer.alloc(size);
    for (const frame of frames) {
      t.is(ipv4Check(frame, IP, frame.length - IP), 0);
      t.true(frame.length <= mtuBytes + ETHERNET_BYTES);
      t.false(ipv4DontFragment(frame, IP));
      const offset = ipv4FragmentOffset(frame, IP);
      t.is(ipv4MoreFragments(frame, IP), offset + frame.length - 34 < size);
      payloadOf(frame).copy(whole, offset);
    }
    t.deepEqual(whole, message);
  }
  t.is(rig.ipv4.counters.get('datagramsFragmented'), 4);
  t.false(rig.ipv4.sendDatagram(path, PROTOCOL_TEST, at, 65_516));
});

test('a message that does not fit the queue is not begun', (t) => {
  const rig = open(t, { queueFrames: 4 });
  const path = rig.paths.acquire(PEER);
  if (path === undefined) return t.fail();
  t.false(rig.ipv4.sendDatagram(path, PROTOCOL_TEST, 4096, 1480 * 4 + 1));
  t.is(rig.drop('queue-full'), 1);
  t.deepEqual(rig.sent(), []);
  t.true(rig.ipv4.sendDatagram(path, PROTOCOL_TEST, 4096, 1480 * 4));
  t.is(rig.sent().length, 4);
});

test('a packet for us reaches its transport, padding does not', (t) => {
  const rig = open(t);
  rig.receive(Buffer.concat([ipv4Frame(pattern(11)), Buffer.alloc(20, 0xff)]));
  rig.receive(ipv4Frame(pattern(0)));
  const [first, second] = rig.recorder.deliveries;
  t.deepEqual(first?.payload, pattern(11));
  t.is(first?.source.readInt32BE(), PEER);
  t.is(second?.payload.length, 0);
  t.is(rig.ipv4.counters.get('delivered'), 2);
  t.is(rig.totalDrops(), 0);
});

test('packets for other addresses are dropped', (t) => {
  const rig = open(t);
  for (const target of [OTHER, -1, ip('10.90.0.255'), ip('10.90.0.0'), ip('224.0.0.1'), 0, ip('127.0.0.1')]) {
    rig.receive(ipv4Frame(pattern(8), { target }));
  }
  t.is(rig.drop('ipv4-target'), 7);
  t.is(rig.recorder.deliveries.length, 0);
  t.deepEqual(rig.sent(), []);
});

test('packets that came to a group of stations, or to another station, are dropped', (t) => {
  const rig = open(t);
  rig.receive(ipv4Frame(pattern(8), { frameHi: 0xffff, frameLo: -1 }));
  rig.receive(ipv4Frame(pattern(8), { frameHi: 0x0100, frameLo: 0x5e000001 }));
  rig.receive(ipv4Frame(pattern(8), { protocol: PROTOCOL_ICMP, frameHi: 0xffff, frameLo: -1 }));
  t.is(rig.drop('ipv4-target'), 3);
  rig.receive(ipv4Frame(pattern(8), { frameLo: 99 }));
  t.is(rig.drop('ethernet-target'), 1);
  t.is(rig.recorder.deliveries.length, 0);
});

test('packets from what is no other host are dropped (RFC 1122 section 3.2.1.3)', (t) => {
  const rig = open(t);
  const bad = [
    '0.0.0.0',
    '0.9.9.9',
    '127.0.0.1',
    '224.0.0.1',
    '239.1.2.3',
    '240.0.0.1',
    '255.255.255.255',
    '10.90.0.255',
    '10.90.0.0',
    '10.90.0.2',
  ];
  for (const source of bad) rig.receive(ipv4Frame(pattern(8), { source: ip(source) }));
  t.is(rig.drop('ipv4-source'), bad.length);
  t.is(rig.recorder.deliveries.length, 0);
  for (const source of ['1.0.0.1', '126.9.9.9', '128.0.0.1', '223.255.255.255', '10.90.0.254']) {
    rig.receive(ipv4Frame(pattern(8), { source: ip(source) }));
  }
  t.is(rig.recorder.deliveries.length, 5);
});

test('damaged headers are dropped with their reason', (t) => {
  const rig = open(t);
  const damage: [number, number, string][] = [
    [0, 0x65, 'ipv4-version'],
    [0, 0x44, 'ipv4-header-length'],
    [2, 0x40, 'ipv4-total-length'],
    [8, 1, 'ipv4-checksum'],
  ];
  for (const [at, value, reason] of damage) {
    const frame = ipv4Frame(pattern(8));
    frame.writeUInt8(value, IP + at);
    rig.receive(frame);
    t.is(rig.drop(reason), 1, reason);
  }
  const frame = ipv4Frame(pattern(8));
  for (let length = 0; length < frame.length; length++) rig.receive(frame.subarray(0, length));
  t.is(rig.totalDrops(), damage.length + frame.length);
  t.is(rig.recorder.deliveries.length, 0);
});

test('options are skipped', (t) => {
  const rig = open(t);
  const tolerated = [
    [1, 1, 1, 0],
    [0, 0, 0, 0],
    [0, 137, 255, 255],
    [148, 4, 0, 0],
    [7, 7, 4, 0, 0, 0, 0, 0],
    [1, 68, 7, 5, 0, 1, 2, 3],
    new Array<number>(40).fill(1),
  ];
  for (const options of tolerated) rig.receive(ipv4Frame(pattern(9), { options: Uint8Array.from(options) }));
  t.is(rig.recorder.deliveries.length, tolerated.length);
  t.true(rig.recorder.deliveries.every(({ payload }) => payload.equals(pattern(9))));
});

test('source routes and malformed options are dropped', (t) => {
  const rig = open(t);
  const refused = [
    [131, 7, 4, 10, 0, 0, 1, 0],
    [1, 137, 7, 4, 10, 0, 0, 1],
    [148, 0, 0, 0],
    [148, 1, 0, 0],
    [148, 5, 0, 0],
    [1, 1, 1, 148],
  ];
  for (const options of refused) rig.receive(ipv4Frame(pattern(9), { options: Uint8Array.from(options) }));
  t.is(rig.drop('ipv4-options'), refused.length);
  t.is(rig.recorder.deliveries.length, 0);
});

test('an unknown protocol is answered with "protocol unreachable"', (t) => {
  const rig = open(t);
  const frame = ipv4Frame(pattern(40), { protocol: 200 });
  rig.receive(frame);
  const [answer] = rig.sent();
  if (answer === undefined) return t.fail();
  const message = payloadOf(answer);
  t.is(ipv4Protocol(answer, IP), PROTOCOL_ICMP);
  t.is(icmpCheck(message, 0, message.length), 0);
  t.is(icmpType(message, 0), ICMP_UNREACHABLE);
  t.is(icmpCode(message, 0), 2);
  t.deepEqual(message.subarray(ICMP_BYTES), frame.subarray(IP));
  t.is(rig.drop('ipv4-protocol'), 1);
});

test('property: any header with a right checksum is delivered or dropped with a reason', (t) => {
  const rig = open(t);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 0, maxLength: 100 }), fc.boolean(), (random, repair) => {
      const frame = ipv4Frame(pattern(80));
      frame.set(random.subarray(0, frame.length - IP), IP);
      const headerBytes = (frame.readUInt8(IP) & 15) * 4;
      if (repair) {
        frame.writeUInt8(0x40 | Math.max(5, frame.readUInt8(IP) & 15), IP);
        frame.writeUInt16BE(headerBytes + (frame.readUInt8(IP + 3) & 31), IP + 2);
        fixChecksum(frame, Math.max(20, headerBytes));
        if (foldSum(sumBytes(frame, IP, Math.max(20, headerBytes))) !== 0xffff) return false;
      }
      const before =
        rig.totalDrops() + rig.ipv4.counters.get('delivered') + rig.ipv4.fragments.counters.get('fragments');
      rig.receive(frame);
      rig.sent();
      return (
        rig.totalDrops() + rig.ipv4.counters.get('delivered') + rig.ipv4.fragments.counters.get('fragments') > before
      );
    }),
    { numRuns: 5000 },
  );
  t.true(rig.ipv4.counters.get('delivered') > 0);
});
