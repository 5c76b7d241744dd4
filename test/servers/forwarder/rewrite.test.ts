/** Checksums brought up to date from the difference are those that a full sum gives, segment by segment. */
import test from 'ava';
import { SeededRandom } from '../../../src/runtime/random.ts';
import { differenceOf, rewriteSegment } from '../../../src/servers/forwarder/rewrite.ts';
import { i32, setU16, setU32, u8, u16 } from '../../../src/wire/bytes.ts';
import { finishSum, foldSum, pseudoSum4, sumBytes } from '../../../src/wire/checksum.ts';
import { ETHERNET_BYTES } from '../../../src/wire/ethernet.ts';
import { ipv4Check, ipv4Source, ipv4Target, ipv4Ttl, PROTOCOL_TCP, setIpv4 } from '../../../src/wire/ipv4.ts';
import { completeChecksum } from '../../../src/wire/partial-checksum.ts';
import { setTcpChecksum, TCP_CHECKSUM_OFFSET, tcpChecksum, tcpVerifyChecksum } from '../../../src/wire/tcp.ts';
import {
  clearVnet,
  setVnetChecksum,
  setVnetGso,
  VNET_BYTES,
  VNET_DATA_VALID,
  VNET_FLAGS_OFFSET,
  VNET_GSO_TCPV4,
  vnetFlags,
  vnetGsoBytes,
} from '../../../src/wire/virtio-net.ts';

const SEGMENTS = Number(process.env.EXONET_SEGMENTS ?? 1_000_000);
const SEED = Number(process.env.EXONET_SEED ?? 1624);
const AT = 18;
const IP_AT = AT + ETHERNET_BYTES;
const MAX_OPTIONS_WORDS = 10;
/** Most are short, so that a million of them do not take long; one in so many is a super-frame. */
const SHORT_TEXT_BYTES = 120;
const SUPER_FRAME_EVERY = 2000;
const SUPER_TEXT_BYTES = 65_000;
/** Words at which ones-complement sums have gone wrong before. */
const EDGES = [0, -1, 0x0000ffff, 0xffff0000 | 0, 0x00010000, 1, 0x7fffffff, 0x80000000 | 0];

const bytes = new Uint8Array(AT + ETHERNET_BYTES + 120 + 65_536);
const random = new SeededRandom(SEED);
const noise = new Uint8Array(1 << 16);
random.fill(noise);

interface Segment {
  readonly tcpAt: number;
  readonly tcpBytes: number;
  readonly partial: boolean;
}

const word = (): number => (random.below(8) === 0 ? (EDGES[random.below(EDGES.length)] as number) : random.i32());

/** A random segment at `AT`, its checksum whole or partial. */
function makeSegment(number: number): Segment {
  const isSuper = number % SUPER_FRAME_EVERY === 0;
  const ipOptions = random.below(4) === 0 ? random.below(MAX_OPTIONS_WORDS + 1) * 4 : 0;
  const textBytes = isSuper ? random.below(SUPER_TEXT_BYTES) : random.below(SHORT_TEXT_BYTES);
  const tcpAt = IP_AT + 20 + ipOptions;
  const tcpBytes = 20 + textBytes;
  const noiseAt = random.below(noise.length - 256);
  bytes.set(noise.subarray(noiseAt, noiseAt + 256), IP_AT);
  if (isSuper) bytes.set(noise.subarray(0, tcpBytes), tcpAt);
  if (random.below(64) === 0) bytes.fill(random.below(2) === 0 ? 0 : 0xff, tcpAt, tcpAt + tcpBytes);
  setIpv4(bytes, IP_AT, 20 + ipOptions + tcpBytes, 7, true, 2 + random.below(254), PROTOCOL_TCP, word(), word(), 0);
  bytes[IP_AT] = 0x40 | (5 + ipOptions / 4);
  setU16(bytes, IP_AT + 10, 0);
  setU16(bytes, IP_AT + 10, finishSum(sumBytes(bytes, IP_AT, 20 + ipOptions)));
  bytes[tcpAt + 12] = 0x50;
  setU32(bytes, tcpAt, word());
  clearVnet(bytes, AT);
  const pseudo = pseudoSum4(ipv4Source(bytes, IP_AT), ipv4Target(bytes, IP_AT), PROTOCOL_TCP) + tcpBytes;
  const partial = isSuper || random.below(2) === 0;
  setTcpChecksum(bytes, tcpAt, 0);
  setTcpChecksum(bytes, tcpAt, partial ? foldSum(pseudo) : finishSum(sumBytes(bytes, tcpAt, tcpBytes, pseudo)));
  if (partial) setVnetChecksum(bytes, AT, tcpAt - AT, TCP_CHECKSUM_OFFSET);
  else if (random.below(2) === 0) bytes[AT + VNET_FLAGS_OFFSET] = VNET_DATA_VALID;
  if (isSuper) setVnetGso(bytes, AT, VNET_GSO_TCPV4, tcpAt + 20 - AT, 1448);
  return { tcpAt, tcpBytes, partial };
}

/** Why the rewritten segment is not what it should be, or ''. */
function findFault(segment: Segment, source: number, target: number, ports: number, ttl: number): string {
  const { tcpAt, tcpBytes, partial } = segment;
  if (ipv4Source(bytes, IP_AT) !== source || ipv4Target(bytes, IP_AT) !== target) return 'addresses';
  if (i32(bytes, tcpAt) !== ports) return 'ports';
  if (ipv4Ttl(bytes, IP_AT) !== ttl - 1) return 'time to live';
  if (ipv4Check(bytes, IP_AT, tcpAt - IP_AT + tcpBytes) !== 0) return 'IPv4 checksum';
  if (vnetFlags(bytes, AT) !== (partial ? 1 : 0)) return 'virtio flags';
  const pseudo = pseudoSum4(source, target, PROTOCOL_TCP);
  if (partial) {
    if (tcpChecksum(bytes, tcpAt) !== foldSum(pseudo + tcpBytes)) return 'partial checksum';
    completeChecksum(bytes, AT, tcpAt - AT + tcpBytes);
  }
  if (!tcpVerifyChecksum(bytes, tcpAt, tcpBytes, pseudo)) return 'TCP checksum';
  const told = tcpChecksum(bytes, tcpAt);
  setTcpChecksum(bytes, tcpAt, 0);
  const full = finishSum(sumBytes(bytes, tcpAt, tcpBytes, pseudo + tcpBytes));
  // Completing a partial checksum writes all ones for zero, which is the same number.
  return told === full || (partial && told === 0xffff && full === 0) ? '' : 'TCP checksum, if equivalent';
}

test(`${SEGMENTS} segments of every kind, seed ${SEED}`, (t) => {
  t.timeout(110_000);
  const faults = new Map<string, number>();
  for (let number = 0; number < SEGMENTS; number++) {
    const segment = makeSegment(number);
    const source = word();
    const target = word();
    const ports = word();
    const ttl = ipv4Ttl(bytes, IP_AT);
    const addresses = differenceOf(ipv4Source(bytes, IP_AT), source) + differenceOf(ipv4Target(bytes, IP_AT), target);
    const portDifference = differenceOf(i32(bytes, segment.tcpAt), ports);
    rewriteSegment(bytes, AT, IP_AT, segment.tcpAt, source, target, ports, addresses, portDifference);
    const fault = findFault(segment, source, target, ports, ttl);
    if (fault !== '') faults.set(fault, number);
  }
  t.deepEqual([...faults], [], 'kinds of faults, and the last segment that has each');
});

test('nothing but addresses, ports, hops and checksums changes', (t) => {
  for (let number = 0; number < 5000; number++) {
    const { tcpAt, tcpBytes } = makeSegment(number);
    const before = Uint8Array.from(bytes.subarray(AT - VNET_BYTES, tcpAt + tcpBytes));
    rewriteSegment(bytes, AT, IP_AT, tcpAt, random.i32(), random.i32(), random.i32(), 0, 0);
    const allowed = new Set<number>([AT + VNET_FLAGS_OFFSET, IP_AT + 8, IP_AT + 10, IP_AT + 11]);
    for (let at = IP_AT + 12; at < IP_AT + 20; at++) allowed.add(at);
    for (let at = tcpAt; at < tcpAt + 4; at++) allowed.add(at);
    allowed.add(tcpAt + 16).add(tcpAt + 17);
    const changed = [];
    for (let i = 0; i < before.length; i++) {
      const at = AT - VNET_BYTES + i;
      if (u8(bytes, at) !== before[i] && !allowed.has(at)) changed.push(at);
    }
    t.deepEqual(changed, []);
  }
});

test('a checksum that was wrong stays as wrong as it was', (t) => {
  for (let number = 1; number < 5000; number++) {
    const { tcpAt, tcpBytes, partial } = makeSegment(number);
    if (partial) continue;
    setTcpChecksum(bytes, tcpAt, tcpChecksum(bytes, tcpAt) ^ (1 << random.below(16)));
    const source = random.i32();
    const target = random.i32();
    const ports = random.i32();
    const addresses = differenceOf(ipv4Source(bytes, IP_AT), source) + differenceOf(ipv4Target(bytes, IP_AT), target);
    rewriteSegment(bytes, AT, IP_AT, tcpAt, source, target, ports, addresses, differenceOf(i32(bytes, tcpAt), ports));
    t.false(tcpVerifyChecksum(bytes, tcpAt, tcpBytes, pseudoSum4(source, target, PROTOCOL_TCP)));
  }
});

test('a super-frame keeps its metadata', (t) => {
  makeSegment(0);
  const { tcpAt } = makeSegment(SUPER_FRAME_EVERY);
  rewriteSegment(bytes, AT, IP_AT, tcpAt, 1, 2, 3, 0, 0);
  t.is(vnetGsoBytes(bytes, AT), 1448);
  t.is(u16(bytes, AT - VNET_BYTES), 0x0101);
});
