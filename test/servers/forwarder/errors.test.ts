/** What cannot pass, and the errors about it: our own, and those of others that have to reach the right end. */
import test, { type ExecutionContext } from 'ava';
import { u16 } from '../../../src/wire/bytes.ts';
import { pseudoSum4 } from '../../../src/wire/checksum.ts';
import { ETHERNET_BYTES } from '../../../src/wire/ethernet.ts';
import { icmpCheck, icmpCode, icmpNextMtu, icmpType } from '../../../src/wire/icmp.ts';
import { ipv4Check, ipv4Source, ipv4Target, PROTOCOL_TCP } from '../../../src/wire/ipv4.ts';
import { TCP_ACK, TCP_SYN, tcpSeq, tcpSourcePort, tcpTargetPort, tcpVerifyChecksum } from '../../../src/wire/tcp.ts';
import {
  BACKEND,
  BACKEND_PORT,
  CLIENT,
  FORWARDER,
  ForwardRig,
  fixIpv4Checksum,
  fixTcpChecksum,
  INSIDE,
  icmpError,
  LISTEN_PORT,
  type RigOptions,
  SECOND,
  segment,
} from './rig.ts';

const IP_AT = ETHERNET_BYTES;
const MESSAGE_AT = IP_AT + 20;
const QUOTED_AT = MESSAGE_AT + 8;
const ROUTER = 0x0a000005;
const ROUTER_INSIDE = 0x0a000105;

interface IcmpFrame {
  readonly source: number;
  readonly target: number;
  readonly type: number;
  readonly code: number;
  readonly nextMtu: number;
  readonly quotedSource: number;
  readonly quotedTarget: number;
  readonly quotedPorts: readonly [number, number];
  readonly quotedSeq: number;
}

function readIcmp(t: ExecutionContext, frame: Uint8Array | undefined): IcmpFrame {
  if (frame === undefined) throw new Error('no error was sent');
  t.is(ipv4Check(frame, IP_AT, frame.length - IP_AT), 0);
  t.is(icmpCheck(frame, MESSAGE_AT, frame.length - MESSAGE_AT), 0);
  // The quoted header is whole, and its checksum right.
  t.is(ipv4Check(Uint8Array.from([...frame.subarray(QUOTED_AT), ...new Uint8Array(65_536)]), 0, 65_535), 0);
  const tcpAt = QUOTED_AT + 20;
  return {
    source: ipv4Source(frame, IP_AT),
    target: ipv4Target(frame, IP_AT),
    type: icmpType(frame, MESSAGE_AT),
    code: icmpCode(frame, MESSAGE_AT),
    nextMtu: icmpNextMtu(frame, MESSAGE_AT),
    quotedSource: ipv4Source(frame, QUOTED_AT),
    quotedTarget: ipv4Target(frame, QUOTED_AT),
    quotedPorts: [tcpSourcePort(frame, tcpAt), tcpTargetPort(frame, tcpAt)],
    quotedSeq: tcpSeq(frame, tcpAt),
  };
}

function withRig(title: string, options: RigOptions, body: (t: ExecutionContext, rig: ForwardRig) => void) {
  test(title, (t) => {
    const rig = new ForwardRig(options);
    body(t, rig);
    t.is(rig.heldSlots(), 0);
    rig.close();
  });
}

/** A connection, and the packet that the inside saw first. */
function openFlow(rig: ForwardRig): Uint8Array {
  rig.inject(
    rig.outside,
    segment({
      source: CLIENT,
      target: FORWARDER,
      sourcePort: 40_000,
      targetPort: LISTEN_PORT,
      flags: TCP_SYN,
      seq: 99,
    }),
  );
  const [syn] = rig.take(rig.inside);
  if (syn === undefined) throw new Error('the SYN did not pass');
  rig.fromBackend({ flags: TCP_SYN | TCP_ACK, seq: 7, ack: 100 });
  rig.fromClient({ flags: TCP_ACK, seq: 100, ack: 8 });
  return syn;
}

for (const mode of ['nat', 'routed'] as const) {
  withRig(
    `${mode}: an error about what the client has sent reaches it, about the packet as it sent it`,
    { mode },
    (t, rig) => {
      const syn = openFlow(rig);
      const source = mode === 'nat' ? INSIDE : CLIENT;
      t.is(ipv4Source(syn, IP_AT), source);
      for (const [type, code, mtu] of [
        [3, 4, 1400],
        [3, 1, 0],
        [11, 0, 0],
        [12, 0, 0],
      ] as const) {
        const error = icmpError(type, code, mtu, ROUTER_INSIDE, source, syn.subarray(IP_AT));
        // Towards a client that is no address of ours it is the station that decides.
        error[5] = INSIDE & 0xff;
        error[4] = (INSIDE >>> 8) & 0xff;
        rig.inject(rig.inside, error);
        t.deepEqual(readIcmp(t, rig.take(rig.outside)[0]), {
          source: FORWARDER,
          target: CLIENT,
          type,
          code,
          nextMtu: mtu,
          quotedSource: CLIENT,
          quotedTarget: FORWARDER,
          quotedPorts: [40_000, LISTEN_PORT],
          quotedSeq: 99,
        });
      }
      t.is(rig.count('errorsTranslated'), 4);
    },
  );
}

withRig('an error about what the backend has sent reaches it', {}, (t, rig) => {
  openFlow(rig);
  rig.inject(
    rig.inside,
    segment({
      source: BACKEND,
      target: INSIDE,
      sourcePort: BACKEND_PORT,
      targetPort: 40_000,
      flags: TCP_ACK,
      seq: 8,
      ack: 100,
      text: 'x'.repeat(100),
    }),
  );
  const [answer] = rig.take(rig.outside);
  if (answer === undefined) throw new Error('the answer did not pass');
  rig.inject(rig.outside, icmpError(3, 4, 900, ROUTER, FORWARDER, answer.subarray(IP_AT)));
  const [frame] = rig.take(rig.inside);
  t.deepEqual(readIcmp(t, frame), {
    source: INSIDE,
    target: BACKEND,
    type: 3,
    code: 4,
    nextMtu: 900,
    quotedSource: BACKEND,
    quotedTarget: INSIDE,
    quotedPorts: [BACKEND_PORT, 40_000],
    quotedSeq: 8,
  });
  // All of the segment was quoted, so that its own checksum can be checked as well.
  const quotedTcp = QUOTED_AT + 20;
  const bytes = frame as Uint8Array;
  t.true(tcpVerifyChecksum(bytes, quotedTcp, bytes.length - quotedTcp, pseudoSum4(BACKEND, INSIDE, PROTOCOL_TCP)));
});

withRig('eight bytes of the segment are enough', {}, (t, rig) => {
  const syn = openFlow(rig);
  rig.inject(rig.inside, icmpError(3, 4, 1280, ROUTER_INSIDE, INSIDE, syn.subarray(IP_AT), 28));
  t.is(readIcmp(t, rig.take(rig.outside)[0]).nextMtu, 1280);
  rig.inject(rig.inside, icmpError(3, 4, 1280, ROUTER_INSIDE, INSIDE, syn.subarray(IP_AT), 27));
  t.deepEqual(rig.take(rig.outside), []);
  t.is(rig.forwarder.drops.get('icmp-quote'), 1);
});

withRig('errors about no flow, or not right, go nowhere', {}, (t, rig) => {
  const syn = openFlow(rig);
  const packet = Uint8Array.from(syn.subarray(IP_AT));
  const stranger = Uint8Array.from(packet);
  stranger[20] = 0xff;
  rig.inject(rig.inside, icmpError(3, 1, 0, ROUTER_INSIDE, INSIDE, stranger));
  t.is(rig.count('errorsOfStrangers'), 1);
  const damaged = icmpError(3, 1, 0, ROUTER_INSIDE, INSIDE, packet);
  damaged[MESSAGE_AT + 20] = (damaged[MESSAGE_AT + 20] as number) ^ 1;
  rig.inject(rig.inside, damaged);
  t.is(rig.forwarder.drops.get('icmp-checksum'), 1);
  const datagram = Uint8Array.from(packet);
  datagram[9] = 17;
  rig.inject(rig.inside, icmpError(3, 1, 0, ROUTER_INSIDE, INSIDE, datagram));
  t.is(rig.forwarder.drops.get('icmp-quote'), 1);
  t.deepEqual(rig.take(rig.outside), []);
});

withRig('the last hop: time exceeded, about the packet as it was', {}, (t, rig) => {
  openFlow(rig);
  t.deepEqual(rig.fromClient({ flags: TCP_ACK, seq: 100, ack: 8, ttl: 1 }), []);
  t.like(readIcmp(t, rig.take(rig.outside)[0]), {
    source: FORWARDER,
    target: CLIENT,
    type: 11,
    code: 0,
    quotedPorts: [40_000, LISTEN_PORT],
    quotedSource: CLIENT,
  });
  t.is(rig.count('hopsExceeded'), 1);
  t.is(rig.fromClient({ flags: TCP_ACK, seq: 100, ack: 8, ttl: 2 })[0]?.ttl, 1);
});

withRig('routed, too: the error comes from an address of ours', { mode: 'routed' }, (t, rig) => {
  rig.fromClient({ flags: TCP_SYN, seq: 5 });
  t.deepEqual(rig.fromBackend({ target: CLIENT, mac: INSIDE, flags: TCP_SYN | TCP_ACK, ack: 6, ttl: 1 }), []);
  t.like(readIcmp(t, rig.take(rig.inside)[0]), { type: 11, source: INSIDE, target: BACKEND, quotedTarget: CLIENT });
});

withRig("too long for the link it has to leave by: fragmentation needed, with that link's MTU", {}, (t, rig) => {
  openFlow(rig);
  const long = { flags: TCP_ACK, seq: 100, ack: 8, text: 'x'.repeat(1461) };
  t.deepEqual(rig.fromClient(long), []);
  t.like(readIcmp(t, rig.take(rig.outside)[0]), { type: 3, code: 4, nextMtu: 1500, target: CLIENT, source: FORWARDER });
  t.is(rig.fromClient({ ...long, text: 'x'.repeat(1460) }).length, 1);
  t.is(rig.count('tooLong'), 1);
});

withRig('a backend that is not known yet: the SYN waits for its address', { unresolved: true }, (t, rig) => {
  rig.introduce(rig.outside, CLIENT);
  t.deepEqual(rig.fromClient({ flags: TCP_SYN, seq: 5 }), []);
  t.is(rig.forwarder.waitingFrames, 1);
  rig.introduce(rig.inside, BACKEND);
  const [syn] = rig.fromClient({ flags: TCP_SYN, seq: 5 });
  t.is(syn?.target, BACKEND);
  t.is(rig.forwarder.waitingFrames, 0);
  t.is(rig.count('framesForwarded'), 2);
});

withRig(
  'a backend that does not answer: host unreachable, after the time that ARP takes',
  { unresolved: true },
  (t, rig) => {
    rig.introduce(rig.outside, CLIENT);
    rig.fromClient({ flags: TCP_SYN, seq: 5 });
    rig.advance(10 * SECOND);
    t.like(readIcmp(t, rig.take(rig.outside)[0]), {
      type: 3,
      code: 1,
      source: FORWARDER,
      target: CLIENT,
      quotedPorts: [40_000, LISTEN_PORT],
      quotedSeq: 5,
    });
    t.is(rig.forwarder.waitingFrames, 0);
    t.is(rig.count('unreachable'), 1);
    // The next SYN asks anew.
    rig.fromClient({ flags: TCP_SYN, seq: 5 });
    t.is(rig.forwarder.waitingFrames, 1);
    rig.advance(10 * SECOND);
  },
);

withRig(
  'frames that wait are bounded',
  { unresolved: true, limits: { maxFlows: 64, maxWaitingFrames: 4 } },
  (t, rig) => {
    rig.introduce(rig.outside, CLIENT);
    for (let n = 0; n < 10; n++) rig.fromClient({ sourcePort: 40_000 + n, flags: TCP_SYN });
    t.is(rig.forwarder.waitingFrames, 4);
    t.is(rig.count('waitingFull'), 6);
    rig.advance(10 * SECOND);
    t.is(rig.forwarder.waitingFrames, 0);
  },
);

const PROPER = { source: CLIENT, target: FORWARDER, sourcePort: 40_000, targetPort: LISTEN_PORT, flags: TCP_SYN };

/** Frames that must be dropped, and the count that shows it. */
const IMPROPER: readonly (readonly [string, string, (frame: Uint8Array) => Uint8Array])[] = [
  ['a bad TCP checksum', 'tcp-checksum', (frame) => frame.with(frame.length - 1, 0x55)],
  ['a bad IPv4 checksum', 'ipv4-checksum', (frame) => frame.with(IP_AT + 4, 0x55)],
  ['a frame cut off', 'ipv4-total-length', (frame) => frame.subarray(0, frame.length - 3)],
  ['for another station', 'ethernet-target', (frame) => frame.with(0, 0x06)],
  [
    'a TCP header longer than the segment',
    'tcp-header-length',
    (frame) => {
      const longer = frame.with(IP_AT + 20 + 12, 0xf0);
      fixTcpChecksum(longer);
      return longer;
    },
  ],
  [
    'a packet too short for TCP',
    'tcp-short',
    (frame) => {
      const shorter = frame.with(IP_AT + 3, 39);
      fixIpv4Checksum(shorter);
      return shorter;
    },
  ],
];

for (const [name, reason, spoil] of IMPROPER) {
  withRig(`${name} is dropped and counted`, {}, (t, rig) => {
    rig.inject(rig.outside, spoil(segment({ ...PROPER, text: 'text' })));
    t.is(rig.forwarder.drops.get(reason), 1);
    t.is(rig.forwarder.flows.table.live, 0);
    t.deepEqual(rig.take(rig.inside), []);
    t.deepEqual(rig.take(rig.outside), []);
  });
}

withRig('fragments are dropped and counted, overlapping or not', {}, (t, rig) => {
  const whole = segment({ ...PROPER, text: 'x'.repeat(64) });
  for (const [offset, more] of [
    [0, true],
    [0, true],
    [3, true],
    [4, false],
    [3, false],
  ] as const) {
    const frame = Uint8Array.from(whole);
    frame[IP_AT + 6] = more ? 0x20 : 0;
    frame[IP_AT + 7] = offset;
    fixIpv4Checksum(frame);
    rig.inject(rig.outside, frame);
  }
  t.is(rig.count('fragmentsDropped'), 2);
  t.is(rig.forwarder.flows.table.live, 0);
  rig.advance(60 * SECOND);
  t.deepEqual(rig.take(rig.inside), []);
  t.deepEqual(rig.take(rig.outside), []);
  t.is(u16(whole, IP_AT + 6), 0x4000);
});
