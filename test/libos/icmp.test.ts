import test from 'ava';
import { ETHERNET_BYTES, ethernetTargetLo } from '../../src/wire/ethernet.ts';
import {
  fillIcmpChecksum,
  ICMP_BYTES,
  ICMP_ECHO_REPLY,
  ICMP_UNREACHABLE,
  icmpCheck,
  icmpCode,
  icmpType,
  setIcmpError,
} from '../../src/wire/icmp.ts';
import {
  ipv4Check,
  ipv4FragmentOffset,
  ipv4IsFragment,
  ipv4Source,
  ipv4Target,
  ipv4TotalBytes,
  PROTOCOL_ICMP,
} from '../../src/wire/ipv4.ts';
import {
  echoRequest,
  GATEWAY,
  type Ipv4Fields,
  icmpFrame,
  ipv4Frame,
  LOCAL,
  OTHER,
  PEER,
  PEER_HI,
  PROTOCOL_TEST,
  pattern,
  payloadOf,
  REMOTE,
  Rig,
  type RigOptions,
  SECOND,
} from './rig.ts';

function open(t: { teardown: (close: () => void) => void }, options?: RigOptions): Rig {
  const rig = new Rig(options);
  t.teardown(() => rig.close());
  rig.resolve();
  rig.resolve(GATEWAY, PEER_HI, 254);
  return rig;
}

const IP = ETHERNET_BYTES;

/** The ICMP message in the frames sent, put together again when it was fragmented. */
function messageSent(rig: Rig): Buffer | undefined {
  const frames = rig.sent();
  if (frames.length === 0) return undefined;
  const parts = frames.sort((a, b) => ipv4FragmentOffset(a, IP) - ipv4FragmentOffset(b, IP));
  for (const frame of parts) {
    if (ipv4Check(frame, IP, frame.length - IP) !== 0 || frame.length > 1514) throw new Error('bad packet sent');
  }
  return Buffer.concat(parts.map(payloadOf));
}

/** An ICMP error about a packet of ours. */
function errorFrame(type: number, code: number, quoted: Buffer, nextMtu = 0, fields: Ipv4Fields = {}): Buffer {
  const message = Buffer.alloc(ICMP_BYTES + quoted.length);
  setIcmpError(message, 0, type, code, nextMtu);
  message.set(quoted, ICMP_BYTES);
  fillIcmpChecksum(message, 0, message.length);
  return icmpFrame(message, fields);
}

/** The start of a packet that we sent: header and some payload. */
function quote(payloadBytes = 8, fields: Ipv4Fields = {}): Buffer {
  return ipv4Frame(pattern(payloadBytes), { source: LOCAL, target: REMOTE, ...fields }).subarray(ETHERNET_BYTES);
}

test('echo requests of any size are answered byte for byte', (t) => {
  const rig = open(t);
  for (const size of [0, 1, 56, 195, 196, 197, 1000, 1471, 1472]) {
    const request = echoRequest(pattern(size), 0x1234, 77);
    rig.receive(icmpFrame(request));
    const [frame] = rig.sent();
    if (frame === undefined) return t.fail(`${size}`);
    const reply = payloadOf(frame);
    t.is(ipv4Check(frame, IP, frame.length - IP), 0);
    t.is(ipv4Source(frame, IP), LOCAL);
    t.is(ipv4Target(frame, IP), PEER);
    t.is(icmpType(reply, 0), ICMP_ECHO_REPLY);
    t.is(icmpCheck(reply, 0, reply.length), 0);
    t.deepEqual(reply.subarray(4), request.subarray(4), `${size}`);
  }
  t.is(rig.icmp.counters.get('echoReplies'), 9);
  t.is(rig.totalDrops(), 0);
  t.is(rig.paths.activeCount, 0);
});

test('ping -s 3000 and the longest ping: fragments in, fragments out', (t) => {
  const rig = open(t);
  for (const size of [1473, 3000, 65_507]) {
    const request = echoRequest(pattern(size));
    for (let offset = 0; offset < request.length; offset += 1480) {
      const more = offset + 1480 < request.length;
      rig.receive(icmpFrame(request.subarray(offset, offset + 1480), { id: size, offset, more }));
    }
    rig.ipv4.endTurn();
    const reply = messageSent(rig);
    if (reply === undefined) return t.fail();
    t.is(icmpCheck(reply, 0, reply.length), 0);
    t.deepEqual(reply.subarray(4), request.subarray(4));
  }
  t.is(rig.ipv4.fragments.size, 0);
});

test('the reply follows the path MTU', (t) => {
  const rig = open(t);
  const path = rig.paths.acquire(REMOTE);
  path?.lowerMtu(600, 0);
  rig.receive(icmpFrame(echoRequest(pattern(1000)), { source: REMOTE }));
  const frames = rig.sent();
  t.is(frames.length, 2);
  t.true(frames.every((frame) => ipv4IsFragment(frame, IP) && ipv4TotalBytes(frame, IP) <= 600));
  t.true(frames.every((frame) => ethernetTargetLo(frame, 0) === 254));
});

test('an echo reply waits for its neighbour like any other packet', (t) => {
  const rig = open(t);
  for (const size of [10, 1400]) {
    rig.receive(icmpFrame(echoRequest(pattern(size)), { source: OTHER }));
  }
  t.is(rig.arp.pendingFrames, 2);
  rig.sent();
  rig.resolve(OTHER, PEER_HI, 7);
  t.is(rig.arp.pendingFrames, 0);
  t.is(rig.icmp.counters.get('echoReplies'), 2);
});

test('a wrong checksum is dropped, unless the device has vouched for it', (t) => {
  const rig = open(t);
  const request = echoRequest(pattern(20));
  request.writeUInt16BE(request.readUInt16BE(2) ^ 1, 2);
  rig.receive(icmpFrame(request));
  t.deepEqual(rig.sent(), []);
  t.is(rig.drop('icmp-checksum'), 1);
  for (const flags of [1, 2]) {
    rig.receive(icmpFrame(request), flags);
    const reply = messageSent(rig);
    t.is(icmpCheck(reply ?? Buffer.alloc(0), 0, reply?.length ?? 0), 0);
  }
  rig.receive(icmpFrame(Buffer.alloc(7)), 2);
  rig.receive(icmpFrame(Buffer.alloc(7)));
  t.is(rig.drop('icmp-short'), 2);
});

test('pings to groups are not answered', (t) => {
  const rig = open(t);
  rig.receive(icmpFrame(echoRequest(pattern(8)), { target: -1, frameHi: 0xffff, frameLo: -1 }));
  rig.receive(icmpFrame(echoRequest(pattern(8)), { target: LOCAL | 0xff }));
  rig.receive(icmpFrame(echoRequest(pattern(8)), { frameHi: 0xffff, frameLo: -1 }));
  t.deepEqual(rig.sent(), []);
  t.is(rig.icmp.counters.get('received'), 0);
});

test('echo replies are limited', (t) => {
  const rig = open(t, { icmp: { echoesPerSecond: 10, echoBurst: 5 } });
  for (let i = 0; i < 20; i++) rig.receive(icmpFrame(echoRequest(pattern(8))));
  t.is(rig.sent().length, 5);
  t.is(rig.drop('icmp-rate'), 15);
  rig.advance(SECOND / 2);
  for (let i = 0; i < 20; i++) rig.receive(icmpFrame(echoRequest(pattern(8))));
  t.is(rig.sent().length, 5);
});

test('a device that does not keep up costs replies, not memory', (t) => {
  const rig = open(t, { icmp: { replyBytes: 4096 }, queueFrames: 8 });
  rig.stalled = true;
  for (let i = 0; i < 5; i++) rig.receive(icmpFrame(echoRequest(pattern(1400))));
  t.is(rig.sent().length, 2);
  t.is(rig.drop('queue-full'), 3);
  for (let i = 0; i < 20; i++) rig.receive(icmpFrame(echoRequest(pattern(8))));
  t.is(rig.sent().length, 6);
  rig.queue.complete(8);
  rig.receive(icmpFrame(echoRequest(pattern(1400))));
  t.is(rig.sent().length, 1);
});

test('errors about our packets reach the transport that sent them', (t) => {
  const rig = open(t);
  rig.receive(errorFrame(ICMP_UNREACHABLE, 3, quote(8)));
  rig.receive(errorFrame(11, 0, quote(30), 0, { source: REMOTE }));
  rig.receive(errorFrame(12, 0, quote(8)));
  rig.receive(errorFrame(ICMP_UNREACHABLE, 1, quote(8, { options: Uint8Array.of(1, 1, 1, 1) })));
  t.deepEqual(rig.recorder.errors, [
    { type: 3, code: 3, quoted: pattern(8), nextMtu: 0 },
    { type: 11, code: 0, quoted: pattern(30), nextMtu: 0 },
    { type: 12, code: 0, quoted: pattern(8), nextMtu: 0 },
    { type: 3, code: 1, quoted: pattern(8), nextMtu: 0 },
  ]);
  t.deepEqual(rig.sent(), [], 'errors are never answered');
});

test('"fragmentation needed" carries an MTU, or leaves it to be guessed', (t) => {
  const rig = open(t);
  rig.receive(errorFrame(ICMP_UNREACHABLE, 4, quote(1480).subarray(0, 28), 1400));
  rig.receive(errorFrame(ICMP_UNREACHABLE, 4, quote(1480).subarray(0, 28)));
  rig.receive(errorFrame(ICMP_UNREACHABLE, 4, quote(30).subarray(0, 28)));
  rig.receive(errorFrame(ICMP_UNREACHABLE, 4, quote(1480).subarray(0, 28), 9));
  rig.receive(errorFrame(ICMP_UNREACHABLE, 3, quote(1480).subarray(0, 28), 1400));
  t.deepEqual(
    rig.recorder.errors.map(({ nextMtu }) => nextMtu),
    [1400, 1492, 68, 68, 0],
  );
});

test('errors that quote nothing of ours are dropped', (t) => {
  const rig = open(t);
  const strangers = [
    quote(8, { source: PEER }),
    quote(8, { protocol: 77 }),
    quote(8, { offset: 80 }),
    quote(7),
    quote(8).subarray(0, 19),
    Buffer.alloc(0),
    Buffer.concat([Buffer.from([0x65]), quote(8).subarray(1)]),
    Buffer.concat([Buffer.from([0x4f]), quote(8).subarray(1)]),
    Buffer.concat([Buffer.from([0x44]), quote(8).subarray(1)]),
  ];
  for (const quoted of strangers) rig.receive(errorFrame(ICMP_UNREACHABLE, 3, quoted));
  t.deepEqual(rig.recorder.errors, []);
  t.is(rig.drop('icmp-quote'), strangers.length);
  rig.receive(errorFrame(ICMP_UNREACHABLE, 3, quote(8, { protocol: PROTOCOL_ICMP })));
  t.is(rig.icmp.counters.get('errorsDelivered'), 1, 'our own pings: nobody is interested');
});

test('other messages are ignored: replies, quench, redirect, timestamp, nonsense', (t) => {
  const rig = open(t);
  const types = [0, 4, 5, 9, 10, 13, 14, 17, 18, 40, 255];
  for (const type of types) rig.receive(errorFrame(type, 0, quote(8)));
  t.deepEqual(rig.sent(), []);
  t.deepEqual(rig.recorder.errors, []);
  t.is(rig.drop('icmp-type'), types.length);
});

test('no error is sent about an error or a later fragment (RFC 1122 section 3.2.2)', (t) => {
  const rig = open(t);
  const at = rig.arena.allocate(2048);
  const report = (frame: Buffer) => {
    rig.bytes.set(frame, at);
    return rig.icmp.sendUnreachable(3, at + ETHERNET_BYTES);
  };
  t.false(report(errorFrame(ICMP_UNREACHABLE, 3, quote(8))));
  t.false(report(errorFrame(11, 0, quote(8))));
  t.false(report(errorFrame(5, 0, quote(8))));
  t.false(report(icmpFrame(Buffer.alloc(0))));
  t.false(report(ipv4Frame(pattern(8), { offset: 8 })));
  t.is(rig.icmp.counters.get('errorsSuppressed'), 5);
  t.true(report(icmpFrame(echoRequest(pattern(8)))));
  t.true(report(ipv4Frame(pattern(8), { more: true })));
  t.true(report(ipv4Frame(pattern(1400), { protocol: 17 })));
  const frames = rig.sent();
  t.is(frames.length, 3);
  const message = payloadOf(frames[2] as Buffer);
  t.is(icmpCode(message, 0), 3);
  t.is(icmpCheck(message, 0, message.length), 0);
  t.deepEqual(
    message.subarray(ICMP_BYTES),
    ipv4Frame(pattern(1400), { protocol: 17 }).subarray(IP, IP + message.length - ICMP_BYTES),
  );
  t.true((frames[2]?.length ?? 0) <= 238);
});

test('errors are limited', (t) => {
  const rig = open(t, { icmp: { errorsPerSecond: 10, errorBurst: 4 } });
  for (let i = 0; i < 30; i++) rig.receive(ipv4Frame(pattern(8), { protocol: 99 }));
  t.is(rig.sent().length, 4);
  t.is(rig.icmp.counters.get('errorsLimited'), 26);
  t.is(rig.drop('icmp-rate'), 26);
  rig.advance(SECOND);
  for (let i = 0; i < 30; i++) rig.receive(ipv4Frame(pattern(8), { protocol: 99 }));
  t.is(rig.sent().length, 4);
});

test('without a route or room nothing is sent, and it is counted', (t) => {
  const rig = open(t, { queueFrames: 4 });
  rig.routes.remove(0, 0);
  rig.receive(icmpFrame(echoRequest(pattern(8)), { source: REMOTE }));
  rig.receive(ipv4Frame(pattern(8), { source: REMOTE, protocol: 99 }));
  t.is(rig.drop('no-route'), 2);
  rig.stalled = true;
  for (let i = 0; i < 5; i++) rig.receive(ipv4Frame(pattern(8), { protocol: 99 }));
  t.is(rig.sent().length, 4);
  t.is(rig.drop('queue-full'), 1);
  t.is(rig.paths.activeCount, 0);
});

test('a message of the test protocol is none of its business', (t) => {
  const rig = open(t);
  rig.receive(ipv4Frame(pattern(8), { protocol: PROTOCOL_TEST }));
  t.is(rig.icmp.counters.get('received'), 0);
});
