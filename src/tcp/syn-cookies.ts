/**
 * SYN cookies (RFC 4987 section 3.6): when a listener has as many half-open connections as it may, a SYN is answered without
 * remembering it. What has to be known later is in the initial sequence number, and, where the peer has timestamps, in the
 * last bits of ours: the peer brings both back with its acknowledgment.
 */
import { type HashKey, hashWords } from '../runtime/half-siphash.ts';
import type { Random } from '../runtime/random.ts';
import { TCP_CWR, TCP_ECE } from '../wire/tcp.ts';
import type { Segment } from './segment.ts';
import { type Seq, seqAdd, seqBits, toSeq } from './sequence.ts';

/** A cookie is good for the period that it was made in and the next. */
const PERIOD_US = 64_000_000;
/** How long after the last one acknowledgments of cookies are looked for. */
export const COOKIE_LIFETIME_US = 2 * PERIOD_US;

/** What can be told of a peer's MSS, ascending; it is taken for the largest that it is not below. */
const MSS_TABLE: readonly number[] = [88, 536, 1220, 1360, 1440, 1460, 4312, 8960];

// The cookie: period modulo 32, index of the MSS, keyed hash.
const PERIOD_SHIFT = 27;
const MSS_SHIFT = 24;
const HASH_MASK = 0xffffff;

// The last bits of a timestamp: the peer's window scale (all ones: none), and whether it permits SACK and ECN.
const STAMP_BITS = 0x3f;
const STAMP_ECN = 0x20;
const STAMP_SACK = 0x10;
const STAMP_SCALE = 0x0f;
const NO_SCALE = 0x0f;

export class SynCookies {
  private readonly key: HashKey;
  private readonly periodKey: HashKey;

  constructor(random: Random) {
    this.key = { low: random.i32(), high: random.i32() };
    this.periodKey = { low: random.i32(), high: random.i32() };
  }

  /** The initial sequence number of the answer to a SYN. */
  make(segment: Segment, nowUs: number): Seq {
    const mss = indexOfMss(segment.options.mss);
    return toSeq(this.cookie(segment, segment.seq, Math.floor(nowUs / PERIOD_US), mss));
  }

  /** The MSS of the peer whose acknowledgment of a cookie the segment is; 0: of none that we made lately. */
  check(segment: Segment, nowUs: number): number {
    const cookie = seqBits(seqAdd(segment.ack, -1));
    const irs = seqAdd(segment.seq, -1);
    const mss = (cookie >>> MSS_SHIFT) & (MSS_TABLE.length - 1);
    const period = Math.floor(nowUs / PERIOD_US);
    const isOurs =
      cookie === this.cookie(segment, irs, period, mss) || cookie === this.cookie(segment, irs, period - 1, mss);
    return isOurs ? (MSS_TABLE[mss] as number) : 0;
  }

  private cookie(segment: Segment, irs: Seq, period: number, mss: number): number {
    const ports = (segment.remotePort << 16) | segment.localPort;
    const connection = hashWords(this.key, segment.remoteAddress, ports, segment.localAddress);
    const hash = hashWords(this.periodKey, connection, seqBits(irs), (period << 3) | mss);
    return (period << PERIOD_SHIFT) | (mss << MSS_SHIFT) | (hash & HASH_MASK);
  }
}

function indexOfMss(mss: number): number {
  let index = 0;
  while (index + 1 < MSS_TABLE.length && (MSS_TABLE[index + 1] as number) <= mss) index++;
  return index;
}

/** The timestamp `stamp`, or one shortly before it, that tells the options of a SYN. */
export function stampWithOptions(stamp: number, segment: Segment, sack: boolean, ecn: boolean): number {
  const { windowScale } = segment.options;
  const bits = (windowScale < 0 ? NO_SCALE : windowScale) | (sack ? STAMP_SACK : 0) | (ecn ? STAMP_ECN : 0);
  const told = (stamp & ~STAMP_BITS) | bits;
  return ((told - stamp) | 0) > 0 ? (told - STAMP_BITS - 1) | 0 : told;
}

/** Gives the acknowledgment of a cookie the options of the SYN before it, as far as they were told. */
export function restoreOptions(segment: Segment, mss: number): void {
  const { options } = segment;
  options.mss = mss;
  options.windowScale = -1;
  options.sackPermitted = false;
  segment.flags &= ~(TCP_ECE | TCP_CWR);
  if (!options.hasTimestamps) return;
  const scale = options.tsEcho & STAMP_SCALE;
  if (scale !== NO_SCALE) options.windowScale = scale;
  options.sackPermitted = (options.tsEcho & STAMP_SACK) !== 0;
  if ((options.tsEcho & STAMP_ECN) !== 0) segment.flags |= TCP_ECE | TCP_CWR;
}
