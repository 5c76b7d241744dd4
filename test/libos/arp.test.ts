import test from 'ava';
import fc from 'fast-check';
import { DEFAULT_ARP_LIMITS } from '../../src/libos/arp-settings.ts';
import {
  NEIGHBOUR_FAILED,
  NEIGHBOUR_INCOMPLETE,
  NEIGHBOUR_PROBE,
  NEIGHBOUR_REACHABLE,
  NEIGHBOUR_STALE,
  type Neighbour,
} from '../../src/libos/neighbour.ts';
import {
  ARP_REPLY,
  ARP_REQUEST,
  arpCheck,
  arpOperation,
  arpSenderAddress,
  arpSenderHi,
  arpSenderLo,
  arpTargetAddress,
  arpTargetHi,
  arpTargetLo,
} from '../../src/wire/arp.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ethernetSourceLo,
  ethernetTargetHi,
  ethernetTargetLo,
  ethernetType,
} from '../../src/wire/ethernet.ts';
import {
  arpFrame,
  GATEWAY,
  ip,
  LOCAL,
  MAC_HI,
  MAC_LO,
  OTHER,
  PEER,
  PEER_HI,
  PEER_LO,
  pattern,
  payloadOf,
  REMOTE,
  Rig,
  type RigOptions,
  SECOND,
} from './rig.ts';

const NEW_HI = 0x0290;
const NEW_LO = 0x77777777;

function open(t: { teardown: (close: () => void) => void }, options?: RigOptions): Rig {
  const rig = new Rig(options);
  t.teardown(() => rig.close());
  return rig;
}

function entry(rig: Rig, address: number): Neighbour {
  const neighbour = rig.arp.find(address);
  if (neighbour === undefined) throw new Error('no entry');
  return neighbour;
}

interface ArpView {
  operation: number;
  frameHi: number;
  frameLo: number;
  sender: number;
  target: number;
  targetHi: number;
  targetLo: number;
}

/** The ARP frames among those sent, checked for our own address as sender. */
function arpSent(t: { is: (a: unknown, b: unknown) => unknown }, rig: Rig): ArpView[] {
  const frames = rig.sent().filter((frame) => ethernetType(frame, 0) === ETHERTYPE_ARP);
  return frames.map((frame) => {
    t.is(arpCheck(frame, ETHERNET_BYTES, frame.length - ETHERNET_BYTES), 0);
    t.is(arpSenderHi(frame, ETHERNET_BYTES), MAC_HI);
    t.is(arpSenderLo(frame, ETHERNET_BYTES), MAC_LO);
    t.is(ethernetSourceLo(frame, 0), MAC_LO);
    return {
      operation: arpOperation(frame, ETHERNET_BYTES),
      frameHi: ethernetTargetHi(frame, 0),
      frameLo: ethernetTargetLo(frame, 0),
      sender: arpSenderAddress(frame, ETHERNET_BYTES),
      target: arpTargetAddress(frame, ETHERNET_BYTES),
      targetHi: arpTargetHi(frame, ETHERNET_BYTES),
      targetLo: arpTargetLo(frame, ETHERNET_BYTES),
    };
  });
}

const BROADCAST = { operation: ARP_REQUEST, frameHi: 0xffff, frameLo: -1, sender: LOCAL, targetHi: 0, targetLo: 0 };
const REPLY = {
  operation: ARP_REPLY,
  frameHi: PEER_HI,
  frameLo: PEER_LO,
  sender: LOCAL,
  targetHi: PEER_HI,
  targetLo: PEER_LO,
};

test('the address is announced twice at start', (t) => {
  const rig = open(t);
  rig.arp.start();
  const announcement = { ...BROADCAST, target: LOCAL };
  t.deepEqual(arpSent(t, rig), [announcement]);
  rig.advance(1.9 * SECOND);
  t.deepEqual(arpSent(t, rig), []);
  rig.advance(0.2 * SECOND);
  t.deepEqual(arpSent(t, rig), [announcement]);
  rig.advance(100 * SECOND);
  t.deepEqual(arpSent(t, rig), []);
  t.is(rig.arp.counters.get('announcementsSent'), 2);
});

test('a request for us is answered, and its sender learned as stale', (t) => {
  const rig = open(t);
  rig.receive(arpFrame());
  t.deepEqual(arpSent(t, rig), [{ ...REPLY, target: PEER }]);
  const peer = entry(rig, PEER);
  t.is(peer.state, NEIGHBOUR_STALE);
  t.is(peer.macHi, PEER_HI);
  t.is(peer.macLo, PEER_LO);
  t.is(rig.totalDrops(), 0);
});

test('a padded request is answered too', (t) => {
  const rig = open(t);
  rig.receive(Buffer.concat([arpFrame(), Buffer.alloc(18)]));
  t.is(arpSent(t, rig).length, 1);
});

test('a request for someone else is neither answered nor learned', (t) => {
  const rig = open(t);
  rig.receive(arpFrame({ target: OTHER }));
  t.deepEqual(rig.sent(), []);
  t.is(rig.arp.size, 0);
  t.is(rig.drop('arp-target'), 1);
});

test('a probe for our address is answered and not learned (RFC 5227)', (t) => {
  const rig = open(t);
  rig.receive(arpFrame({ sender: 0 }));
  t.deepEqual(arpSent(t, rig), [{ ...REPLY, target: 0 }]);
  t.is(rig.arp.size, 0);
  rig.receive(arpFrame({ sender: 0, target: OTHER }));
  t.deepEqual(rig.sent(), []);
  t.is(rig.drop('arp-target'), 1);
});

test('lookup asks, the answer makes the neighbour reachable', (t) => {
  const rig = open(t);
  const peer = rig.arp.lookup(PEER);
  t.is(peer?.state, NEIGHBOUR_INCOMPLETE);
  t.deepEqual(arpSent(t, rig), [{ ...BROADCAST, target: PEER }]);
  t.is(rig.arp.lookup(PEER), peer);
  t.deepEqual(rig.sent(), [], 'asked once');
  rig.receive(arpFrame({ operation: ARP_REPLY }));
  t.is(peer?.state, NEIGHBOUR_REACHABLE);
  t.is(peer?.macLo, PEER_LO);
  rig.advance(10 * SECOND);
  t.deepEqual(rig.sent(), []);
});

test('a frame for an unknown neighbour waits for the answer and keeps its bytes', (t) => {
  const rig = open(t);
  for (const size of [8, 204, 205, 1000, 1480]) {
    const address = ip('10.90.0.100') + (size % 50);
    const payload = pattern(size);
    t.true(rig.send(address, payload));
    t.is(arpSent(t, rig).length, 1);
    t.is(rig.arp.pendingFrames, 1);
    rig.receive(arpFrame({ operation: ARP_REPLY, sender: address, senderLo: size }));
    const [frame, ...more] = rig.sent();
    t.deepEqual(more, []);
    t.is(ethernetType(frame as Buffer, 0), ETHERTYPE_IPV4);
    t.is(ethernetTargetLo(frame as Buffer, 0), size);
    t.deepEqual(payloadOf(frame as Buffer), payload);
    t.is(rig.arp.pendingFrames, 0);
  }
});

test('the virtio header waits with its frame', (t) => {
  const rig = open(t);
  const path = rig.paths.acquire(PEER);
  if (path === undefined) return t.fail();
  rig.sent();
  const at = rig.ipv4.begin();
  rig.bytes.set([1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0], at - 10);
  rig.ipv4.send(path, at, 253, 20, 0);
  rig.bytes.fill(0, at - 10, at);
  rig.queue.reserve();
  rig.receive(arpFrame({ operation: ARP_REPLY }));
  const first = rig.queue.batch.words[rig.queue.nextToGuard() * 8] ?? 0;
  t.deepEqual([...rig.bytes.slice(first - 10, first)], [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0]);
});

test('frames wait in order, the oldest gives way at the limit', (t) => {
  const rig = open(t);
  for (let i = 0; i < 6; i++) rig.send(PEER, pattern(100 + i, i));
  t.is(rig.arp.pendingFrames, DEFAULT_ARP_LIMITS.maxPendingPerNeighbour);
  t.is(rig.drop('arp-pending'), 2);
  rig.sent();
  rig.receive(arpFrame({ operation: ARP_REPLY }));
  t.deepEqual(
    rig.sent().map(payloadOf),
    [2, 3, 4, 5].map((i) => pattern(100 + i, i)),
  );
  t.is(rig.arp.counters.get('framesReleased'), 4);
});

test('all neighbours together have a limit', (t) => {
  const rig = open(t, { arp: { maxPendingFrames: 6 } });
  for (let host = 10; host < 20; host++) rig.send(ip('10.90.0.0') + host, pattern(50, host));
  t.is(rig.arp.pendingFrames, 6);
  t.is(rig.drop('arp-pending'), 4);
  t.true(rig.send(ip('10.90.0.10'), pattern(50, 99)), 'a neighbour with frames gives one of its own');
  t.false(rig.send(ip('10.90.0.19'), pattern(50, 99)));
  rig.sent();
  rig.receive(arpFrame({ operation: ARP_REPLY, sender: ip('10.90.0.10') }));
  t.deepEqual(rig.sent().map(payloadOf), [pattern(50, 99)]);
});

test('a super-frame does not wait', (t) => {
  const rig = open(t);
  const path = rig.paths.acquire(PEER);
  if (path === undefined) return t.fail();
  rig.sent();
  const at = rig.ipv4.begin();
  rig.bytes[at - 9] = 1;
  rig.bytes[at - 6] = 100;
  rig.queue.addRegion(4096, 4000);
  t.false(rig.ipv4.send(path, at, 253, 20, 4000));
  t.is(rig.drop('arp-pending'), 1);
  t.is(rig.arp.pendingFrames, 0);
  t.deepEqual(rig.sent(), []);
});

test('released frames that the queue has no room for are counted', (t) => {
  const rig = open(t, { queueFrames: 8 });
  for (let i = 0; i < 3; i++) rig.send(PEER, pattern(300, i));
  rig.sent();
  rig.stalled = true;
  for (let i = 0; i < 7; i++) {
    rig.queue.reserve();
    rig.queue.commit(14);
  }
  rig.receive(arpFrame({ operation: ARP_REPLY }));
  t.is(rig.arp.counters.get('framesReleased'), 1);
  t.is(rig.drop('queue-full'), 2);
  rig.receive(arpFrame());
  t.is(rig.arp.counters.get('queueFull'), 1);
});

test('nobody answers: three requests, a second apart, then unreachable', (t) => {
  const rig = open(t);
  rig.send(PEER, pattern(20));
  rig.send(PEER, pattern(20));
  t.is(arpSent(t, rig).length, 1);
  rig.advance(1.01 * SECOND);
  t.deepEqual(arpSent(t, rig), [{ ...BROADCAST, target: PEER }]);
  rig.advance(1 * SECOND);
  t.deepEqual(arpSent(t, rig), [{ ...BROADCAST, target: PEER }]);
  t.deepEqual(rig.unreachable, []);
  rig.advance(1 * SECOND);
  t.deepEqual(rig.sent(), []);
  t.deepEqual(rig.unreachable, [PEER]);
  t.is(entry(rig, PEER).state, NEIGHBOUR_FAILED);
  t.is(rig.drop('arp-unresolved'), 2);
  t.is(rig.arp.pendingFrames, 0);
});

test('a failed gateway is reported under its own address', (t) => {
  const rig = open(t);
  rig.send(REMOTE, pattern(20));
  rig.advance(4 * SECOND);
  t.deepEqual(rig.unreachable, [GATEWAY]);
});

test('a failed neighbour is asked for again by the next frame', (t) => {
  const rig = open(t);
  const path = rig.paths.acquire(PEER);
  rig.advance(4 * SECOND);
  t.is(path?.neighbour.state, NEIGHBOUR_FAILED);
  rig.sent();
  rig.send(PEER, pattern(20));
  t.is(path?.neighbour.state, NEIGHBOUR_INCOMPLETE);
  t.is(arpSent(t, rig).length, 1);
  rig.receive(arpFrame({ operation: ARP_REPLY }));
  t.deepEqual(rig.sent().map(payloadOf), [pattern(20)]);
});

test('reachable turns stale, and the next frame brings a unicast probe without waiting', (t) => {
  const rig = open(t);
  rig.resolve();
  rig.advance(29 * SECOND);
  t.is(entry(rig, PEER).state, NEIGHBOUR_REACHABLE);
  rig.advance(2 * SECOND);
  t.is(entry(rig, PEER).state, NEIGHBOUR_STALE);
  t.deepEqual(rig.sent(), [], 'unused, it is left alone');
  rig.send(PEER, pattern(20));
  const [data, probe] = rig.sent();
  t.deepEqual(payloadOf(data as Buffer), pattern(20));
  t.is(ethernetTargetLo(probe as Buffer, 0), PEER_LO);
  t.is(arpTargetAddress(probe as Buffer, ETHERNET_BYTES), PEER);
  t.is(entry(rig, PEER).state, NEIGHBOUR_PROBE);
  rig.receive(arpFrame({ operation: ARP_REPLY }));
  t.is(entry(rig, PEER).state, NEIGHBOUR_REACHABLE);
  t.is(rig.arp.counters.get('refreshed'), 1);
});

test('an active sender never stalls while the neighbour is probed', (t) => {
  const rig = open(t);
  rig.resolve();
  const path = rig.paths.acquire(PEER);
  let data = 0;
  for (let second = 0; second < 300; second++) {
    rig.advance(SECOND);
    rig.send(PEER, pattern(10));
    for (const frame of rig.sent()) {
      if (ethernetType(frame, 0) === ETHERTYPE_IPV4) data++;
      else rig.receive(arpFrame({ operation: ARP_REPLY }));
    }
  }
  t.is(data, 300);
  t.is(rig.arp.counters.get('framesParked'), 0);
  t.is(rig.arp.counters.get('refreshed'), 9);
  t.is(path?.neighbour.references, 1);
});

test('unanswered probes end in asking everyone, and then in failure', (t) => {
  const rig = open(t);
  rig.resolve();
  const path = rig.paths.acquire(PEER);
  rig.advance(31 * SECOND);
  rig.send(PEER, pattern(10));
  rig.sent();
  const unicast: boolean[] = [];
  for (let second = 0; second < 7; second++) {
    rig.advance(1.005 * SECOND);
    for (const request of arpSent(t, rig)) unicast.push(request.frameHi !== 0xffff);
  }
  t.deepEqual(unicast, [true, true, false, false, false]);
  t.is(path?.neighbour.state, NEIGHBOUR_FAILED);
  t.deepEqual(rig.unreachable, [PEER]);
});

test('unused entries disappear, their timers with them', (t) => {
  const rig = open(t);
  const before = rig.timers.live;
  rig.resolve();
  rig.receive(arpFrame({ sender: OTHER, senderLo: 9 }));
  rig.arp.lookup(GATEWAY);
  t.is(rig.arp.size, 3);
  rig.advance(200 * SECOND);
  t.is(rig.arp.size, 0);
  t.is(rig.timers.live, before);
  t.is(rig.timers.armed, 0);
  t.is(rig.arp.counters.get('expired'), 3);
});

test('entries that paths use stay, and age when released', (t) => {
  const rig = open(t);
  rig.resolve();
  const path = rig.paths.acquire(PEER);
  rig.advance(500 * SECOND);
  t.is(rig.arp.size, 1);
  t.is(rig.timers.armed, 0);
  if (path !== undefined) rig.paths.release(path);
  rig.advance(61 * SECOND);
  t.is(rig.arp.size, 0);
});

test('what nobody asked for makes no entry', (t) => {
  const rig = open(t);
  rig.receive(arpFrame({ operation: ARP_REPLY, sender: OTHER }));
  rig.receive(arpFrame({ operation: ARP_REQUEST, sender: OTHER, target: OTHER }));
  t.is(rig.arp.size, 0);
  t.is(rig.drop('arp-unsolicited'), 1);
  t.is(rig.drop('arp-target'), 1);
  t.deepEqual(rig.sent(), []);
});

test('an announcement updates a known entry, which is probed when used', (t) => {
  const rig = open(t);
  rig.resolve();
  rig.receive(arpFrame({ target: PEER, senderHi: NEW_HI, senderLo: NEW_LO }));
  const peer = entry(rig, PEER);
  t.is(peer.macLo, NEW_LO);
  t.is(peer.state, NEIGHBOUR_STALE);
  rig.send(PEER, pattern(10));
  const [data, probe] = rig.sent();
  t.is(ethernetTargetLo(data as Buffer, 0), NEW_LO);
  t.is(ethernetTargetLo(probe as Buffer, 0), NEW_LO);
});

test('a repeated address proves nothing and changes nothing', (t) => {
  const rig = open(t);
  rig.resolve();
  rig.advance(31 * SECOND);
  rig.receive(arpFrame({ operation: ARP_REPLY }));
  rig.receive(arpFrame({ target: PEER }));
  t.is(entry(rig, PEER).state, NEIGHBOUR_STALE);
  t.is(rig.arp.counters.get('updated'), 0);
});

test('a request for us resolves a neighbour that we are asking for', (t) => {
  const rig = open(t);
  rig.send(PEER, pattern(30));
  rig.sent();
  rig.receive(arpFrame());
  const frames = rig.sent();
  t.deepEqual(payloadOf(frames[0] as Buffer), pattern(30));
  t.is(entry(rig, PEER).state, NEIGHBOUR_PROBE, 'used, so probed');
  t.is(frames.length, 3, 'frame, probe, reply');
});

test('a reply meant for another host confirms nothing', (t) => {
  const rig = open(t);
  rig.send(PEER, pattern(30));
  rig.sent();
  rig.receive(arpFrame({ operation: ARP_REPLY, target: OTHER }));
  t.is(entry(rig, PEER).state, NEIGHBOUR_PROBE, 'it updates, and is probed');
});

test('impossible senders are dropped', (t) => {
  const rig = open(t);
  const bad = [
    { sender: ip('10.90.0.255') },
    { sender: ip('10.90.0.0') },
    { sender: ip('224.0.0.5') },
    { sender: -1 },
    { sender: ip('10.91.0.1') },
    { sender: ip('127.0.0.1') },
    { senderHi: 0, senderLo: 0 },
    { senderHi: MAC_HI, senderLo: MAC_LO },
  ];
  for (const fields of bad) rig.receive(arpFrame(fields));
  t.is(rig.arp.size, 0);
  t.deepEqual(rig.sent(), []);
  t.is(rig.drop('arp-sender'), bad.length);
  rig.receive(arpFrame({ senderHi: 0xffff, senderLo: -1 }));
  rig.receive(arpFrame({ senderHi: 0x0100, senderLo: 5 }));
  t.is(rig.drop('ethernet-source'), 2);
  const inner = arpFrame();
  inner.writeUInt8(0x01, ETHERNET_BYTES + 8);
  rig.receive(inner);
  t.is(rig.drop('arp-sender'), bad.length + 1, 'a group address inside an honest frame');
  rig.receive(arpFrame({ frameHi: PEER_HI, frameLo: 77 }));
  t.is(rig.drop('ethernet-target'), 1, 'a frame for another station');
  t.is(rig.arp.size, 0);
});

test('another host with our address: one warning and one defence in ten seconds', (t) => {
  const rig = open(t);
  for (let i = 0; i < 5; i++) {
    rig.receive(arpFrame({ sender: LOCAL, target: i % 2 === 0 ? LOCAL : OTHER }));
    rig.receive(arpFrame({ operation: ARP_REPLY, sender: LOCAL }));
    rig.advance(SECOND);
  }
  t.deepEqual(arpSent(t, rig), [{ ...BROADCAST, target: LOCAL }]);
  t.is(rig.warnings.length, 1);
  t.is(rig.arp.counters.get('conflicts'), 10);
  rig.advance(5.1 * SECOND);
  rig.receive(arpFrame({ sender: LOCAL }));
  t.is(arpSent(t, rig).length, 1);
  t.is(rig.warnings.length, 2);
  t.is(rig.arp.counters.get('defences'), 2);
  t.is(rig.arp.size, 0, 'nothing is learned from it');
});

test('a flood of neighbours displaces unused ones only', (t) => {
  const rig = open(t, { arp: { maxEntries: 16 }, prefixLength: 16 });
  rig.resolve(OTHER, PEER_HI, 3);
  const path = rig.paths.acquire(OTHER);
  rig.resolve();
  for (let i = 0; i < 500; i++) {
    rig.receive(arpFrame({ sender: ip('10.90.4.0') + i, senderLo: 100 + i }));
    rig.sent();
  }
  t.is(rig.arp.size, 16);
  t.is(rig.arp.find(OTHER), path?.neighbour);
  t.truthy(rig.arp.find(PEER), 'stale ones go before one that answered');
  t.is(rig.arp.counters.get('evicted'), 486);
  t.is(rig.timers.live, 16 + 1 + 64);
});

test('a table full of neighbours in use still answers requests', (t) => {
  const rig = open(t, { arp: { maxEntries: 2 } });
  rig.paths.acquire(OTHER);
  rig.paths.acquire(GATEWAY);
  rig.sent();
  rig.receive(arpFrame());
  t.is(arpSent(t, rig).length, 1);
  t.is(rig.arp.find(PEER), undefined);
  t.is(rig.arp.counters.get('tableFull'), 1);
});

test('an evicted entry takes its waiting frames along', (t) => {
  const rig = open(t, { arp: { maxEntries: 1 } });
  rig.send(OTHER, pattern(10));
  t.is(rig.arp.pendingFrames, 1);
  rig.send(PEER, pattern(10));
  t.is(rig.arp.pendingFrames, 1);
  t.is(rig.drop('arp-unresolved'), 1);
});

test('closing gives the timers back, and paths may still be released', (t) => {
  const rig = open(t);
  const path = rig.paths.acquire(PEER);
  rig.send(OTHER, pattern(10));
  rig.arp.close();
  rig.arp.close();
  t.is(rig.timers.live, 64, 'those of reassembly');
  t.is(rig.timers.armed, 0);
  if (path !== undefined) t.notThrows(() => rig.paths.release(path));
});

test('truncated and foreign packets are dropped with a reason', (t) => {
  const rig = open(t);
  const frame = arpFrame();
  for (let length = 0; length < frame.length; length++) rig.receive(frame.subarray(0, length));
  t.is(rig.totalDrops(), frame.length);
  t.is(rig.drop('arp-short'), ETHERNET_BYTES * 2);
  for (const at of [0, 2, 4, 5, 6]) {
    const foreign = arpFrame();
    foreign.writeUInt8(0x7f, ETHERNET_BYTES + at);
    rig.receive(foreign);
  }
  t.is(rig.drop('arp-format') + rig.drop('arp-operation'), 5);
  t.is(rig.arp.size, 0);
});

test('property: random packets never throw, the table stays bounded, each is accounted for', (t) => {
  const rig = open(t, { arp: { maxEntries: 8 } });
  const fields = fc.record({
    operation: fc.constantFrom(1, 2),
    sender: fc.constantFrom(
      PEER,
      OTHER,
      GATEWAY,
      LOCAL,
      0,
      -1,
      ip('10.90.0.33'),
      ip('10.90.0.34'),
      ip('10.90.0.35'),
      REMOTE,
    ),
    senderLo: fc.integer({ min: 0, max: 4 }),
    target: fc.constantFrom(LOCAL, OTHER, PEER),
  });
  const step = fc.oneof(
    { weight: 6, arbitrary: fields },
    { weight: 2, arbitrary: fc.constantFrom(PEER, OTHER, GATEWAY) },
    { weight: 1, arbitrary: fc.constant('advance' as const) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      for (const action of steps) {
        if (action === 'advance') rig.advance(7 * SECOND);
        else if (typeof action === 'number') rig.send(action, pattern(40));
        else if (action instanceof Uint8Array)
          rig.receive(Buffer.concat([arpFrame().subarray(0, ETHERNET_BYTES), action]));
        else rig.receive(arpFrame(action));
        rig.sent();
        if (rig.arp.size > 8 || rig.arp.pendingFrames > 64) return false;
      }
      return true;
    }),
  );
  rig.advance(1000 * SECOND);
  t.is(rig.arp.pendingFrames, 0);
  t.is(rig.arp.size, 0);
  t.is(rig.timers.armed, 0);
});
