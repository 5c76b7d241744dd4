/**
 * Reassembly of IPv4 fragments (RFC 791 section 3.2, RFC 815's question answered with a bit per eight bytes, RFC 1122
 * section 3.3.2; RFC 5722's verdict on overlaps: no honest sender makes them, the whole datagram goes and stays gone).
 * A fragment that repeats bytes already here unchanged is a duplicate and is ignored.
 *
 * Everything is bounded: datagrams in the making, how many of them one source may have, how long they may take. At a
 * limit the oldest goes, the source's own first.
 *
 * Memory: one block of the arena for each datagram, allocated at construction and touched when first used. The whole
 * datagram is handed out in its block, as a frame whose virtio header is clear and whose IPv4 header has lost its
 * options, and the block is free again with `releaseDelivered`.
 */
import { Counters } from '../runtime/counters.ts';
import type { TimerWheel } from '../runtime/timer-wheel.ts';
import { type Bytes, float64At, int32At } from '../wire/bytes.ts';
import {
  DROP_FRAGMENT_DUPLICATE,
  DROP_FRAGMENT_FORMAT,
  DROP_FRAGMENT_LIMIT,
  DROP_FRAGMENT_OVERLAP,
  DROP_FRAGMENT_TIMEOUT,
} from '../wire/drop-reasons.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import {
  IPV4_BYTES,
  IPV4_MAX_HEADER_BYTES,
  ipv4FragmentOffset,
  ipv4HeaderBytes,
  ipv4Id,
  ipv4MoreFragments,
  ipv4Protocol,
  ipv4Source,
  ipv4Target,
  ipv4Tos,
  ipv4TotalBytes,
  ipv4Ttl,
  setIpv4,
} from '../wire/ipv4.ts';
import { clearVnet, VNET_BYTES } from '../wire/virtio-net.ts';
import type { LibosOptions } from './options.ts';

export interface FragmentLimits {
  /** Datagrams in the making, and those delivered in this turn. */
  readonly maxDatagrams: number;
  /** Of these, how many from one source address. */
  readonly maxPerSource: number;
  /** From the first fragment to arrive until the datagram is given up. */
  readonly timeoutUs: number;
}

export const DEFAULT_FRAGMENT_LIMITS: FragmentLimits = { maxDatagrams: 64, maxPerSource: 16, timeoutUs: 30_000_000 };

export interface FragmentsOptions extends LibosOptions {
  readonly limits?: Partial<FragmentLimits> | undefined;
  /**
   * A datagram whose first fragment had arrived was given up for time: `frameAt` is that fragment as it came (as a frame,
   * contiguous for its own total length). Valid during the call.
   */
  readonly onTimeout?: ((frameAt: number) => void) | undefined;
}

/** Bytes of payload that a datagram may have: its total length is a 16-bit field. */
const MAX_PAYLOAD_BYTES = 0xffff - IPV4_BYTES;
/** From a block's start to the payload: any IPv4 header fits before it. */
const PAYLOAD_OFFSET_BYTES = VNET_BYTES + ETHERNET_BYTES + IPV4_MAX_HEADER_BYTES;
const BLOCK_BYTES = PAYLOAD_OFFSET_BYTES + MAX_PAYLOAD_BYTES;

/** Fragment offsets count units of eight bytes; one bit each says that the unit is here. */
const UNIT_SHIFT = 3;
const UNIT_MASK = 7;
const WORD_SHIFT = 5;
const WORD_BITS = 32;
const MAP_WORDS = 65536 >>> (UNIT_SHIFT + WORD_SHIFT);

const NONE = -1;
const UNKNOWN = -1;

// States of a place.
const FREE = 0;
const COLLECTING = 1;
/** Overlapped: what else comes of this datagram is dropped until it times out. */
const POISONED = 2;
const DELIVERED = 3;

const COUNTERS = [
  'fragments',
  'started',
  'completed',
  'duplicates',
  'overlaps',
  'malformed',
  'evicted',
  'timedOut',
] as const;
const FRAGMENTS = COUNTERS.indexOf('fragments');
const STARTED = COUNTERS.indexOf('started');
const COMPLETED = COUNTERS.indexOf('completed');
const DUPLICATES = COUNTERS.indexOf('duplicates');
const OVERLAPS = COUNTERS.indexOf('overlaps');
const MALFORMED = COUNTERS.indexOf('malformed');
const EVICTED = COUNTERS.indexOf('evicted');
const TIMED_OUT = COUNTERS.indexOf('timedOut');

export class Fragments {
  readonly counters = new Counters(COUNTERS);
  private readonly bytes: Bytes;
  private readonly timers: TimerWheel;
  private readonly drops: Counters<string>;
  private readonly limits: FragmentLimits;
  private readonly onTimeout: (frameAt: number) => void;
  private readonly start: number;

  // One element for each place.
  private readonly state: Int32Array;
  private readonly source: Int32Array;
  /** Identification and protocol; the target is always us. */
  private readonly key: Int32Array;
  private readonly timer: Int32Array;
  /** Grows with every datagram started: the smallest is the oldest. */
  private readonly order: Float64Array;
  /** Payload bytes altogether, once the last fragment is here. */
  private readonly endBytes: Int32Array;
  private readonly receivedBytes: Int32Array;
  /** End of the furthest fragment. */
  private readonly highestBytes: Int32Array;
  /** Header of the first fragment, 0 until it is here. */
  private readonly headerBytes: Int32Array;
  /** `MAP_WORDS` words each. */
  private readonly map: Int32Array;

  private lastOrder = 0;
  private used = 0;
  private delivered = 0;

  constructor(options: FragmentsOptions) {
    this.bytes = options.bytes;
    this.timers = options.timers;
    this.drops = options.drops;
    this.limits = { ...DEFAULT_FRAGMENT_LIMITS, ...options.limits };
    this.onTimeout = options.onTimeout ?? (() => {});
    const places = this.limits.maxDatagrams;
    this.start = options.arena.allocate(places * BLOCK_BYTES);
    this.state = new Int32Array(places);
    this.source = new Int32Array(places);
    this.key = new Int32Array(places);
    this.timer = new Int32Array(places);
    this.order = new Float64Array(places);
    this.endBytes = new Int32Array(places);
    this.receivedBytes = new Int32Array(places);
    this.highestBytes = new Int32Array(places);
    this.headerBytes = new Int32Array(places);
    this.map = new Int32Array(places * MAP_WORDS);
    const kind = this.timers.addKind((place) => this.expire(place));
    for (let place = 0; place < places; place++) this.timer[place] = this.timers.create(kind, place);
  }

  /** Places in use: datagrams in the making, poisoned ones, delivered ones not yet released. */
  get size(): number {
    return this.used;
  }

  /**
   * Takes a fragment whose header has been checked, Ethernet header at `frameAt`. Returns the frame position of the whole
   * datagram when this one completed it (its IPv4 header follows its Ethernet header), else 0.
   */
  input(frameAt: number, ipAt: number): number {
    const { bytes } = this;
    this.counters.increment(FRAGMENTS);
    const headerBytes = ipv4HeaderBytes(bytes, ipAt);
    const dataBytes = ipv4TotalBytes(bytes, ipAt) - headerBytes;
    const from = ipv4FragmentOffset(bytes, ipAt);
    const end = from + dataBytes;
    const more = ipv4MoreFragments(bytes, ipAt);
    if (dataBytes === 0 || end > MAX_PAYLOAD_BYTES || (more && (dataBytes & UNIT_MASK) !== 0)) {
      this.counters.increment(MALFORMED);
      this.drops.increment(DROP_FRAGMENT_FORMAT);
      return 0;
    }
    const place = this.findOrStart(ipv4Source(bytes, ipAt), (ipv4Id(bytes, ipAt) << 8) | ipv4Protocol(bytes, ipAt));
    if (place === NONE) return 0;
    if (int32At(this.state, place) === POISONED) {
      this.drops.increment(DROP_FRAGMENT_OVERLAP);
      return 0;
    }
    const dataAt = ipAt + headerBytes;
    const present = this.countUnits(place, from, end);
    if (present !== 0) {
      this.repeat(place, present, from, end, dataAt, more);
      return 0;
    }
    if (!this.endFits(place, end, more)) {
      this.poison(place);
      return 0;
    }
    const payloadAt = this.payloadAt(place);
    bytes.copyWithin(payloadAt + from, dataAt, dataAt + dataBytes);
    this.markUnits(place, from, end);
    this.receivedBytes[place] = int32At(this.receivedBytes, place) + dataBytes;
    if (end > int32At(this.highestBytes, place)) this.highestBytes[place] = end;
    if (!more) this.endBytes[place] = end;
    if (from === 0) {
      this.headerBytes[place] = headerBytes;
      bytes.copyWithin(payloadAt - headerBytes - ETHERNET_BYTES, frameAt, dataAt);
    }
    return int32At(this.receivedBytes, place) === int32At(this.endBytes, place) ? this.complete(place) : 0;
  }

  /** Frees the blocks of the datagrams handed out since the last call. */
  releaseDelivered(): void {
    for (let place = 0; this.delivered > 0; place++) {
      if (int32At(this.state, place) === DELIVERED) this.free(place);
    }
  }

  /** A fragment of which something is here already: the same again is ignored, anything else spoils the datagram. */
  private repeat(place: number, present: number, from: number, end: number, dataAt: number, more: boolean): void {
    const units = ((end + UNIT_MASK) >>> UNIT_SHIFT) - (from >>> UNIT_SHIFT);
    const known = int32At(this.endBytes, place);
    const consistent = more ? known === UNKNOWN || end < known : end === known;
    if (present !== units || !consistent || !this.sameBytes(this.payloadAt(place) + from, dataAt, end - from)) {
      this.poison(place);
      return;
    }
    this.counters.increment(DUPLICATES);
    this.drops.increment(DROP_FRAGMENT_DUPLICATE);
  }

  /** Whether a new fragment that ends at `end` agrees with the others on where the datagram ends. */
  private endFits(place: number, end: number, more: boolean): boolean {
    const known = int32At(this.endBytes, place);
    if (more) return known === UNKNOWN || end < known;
    return known === UNKNOWN && end > int32At(this.highestBytes, place);
  }

  /** Makes one frame of the collected bytes. */
  private complete(place: number): number {
    const { bytes } = this;
    const payloadAt = this.payloadAt(place);
    const first = payloadAt - int32At(this.headerBytes, place);
    const ipAt = payloadAt - IPV4_BYTES;
    const frameAt = ipAt - ETHERNET_BYTES;
    const protocol = ipv4Protocol(bytes, first);
    const id = ipv4Id(bytes, first);
    const ttl = ipv4Ttl(bytes, first);
    const tos = ipv4Tos(bytes, first);
    const source = ipv4Source(bytes, first);
    const target = ipv4Target(bytes, first);
    bytes.copyWithin(frameAt, first - ETHERNET_BYTES, first);
    clearVnet(bytes, frameAt);
    const totalBytes = IPV4_BYTES + int32At(this.endBytes, place);
    setIpv4(bytes, ipAt, totalBytes, id, false, ttl, protocol, source, target, tos);
    this.state[place] = DELIVERED;
    this.delivered++;
    this.timers.scheduleAfter(int32At(this.timer, place), this.limits.timeoutUs);
    this.counters.increment(COMPLETED);
    return frameAt;
  }

  private poison(place: number): void {
    this.state[place] = POISONED;
    this.counters.increment(OVERLAPS);
    this.drops.increment(DROP_FRAGMENT_OVERLAP);
  }

  private findOrStart(source: number, key: number): number {
    const places = this.limits.maxDatagrams;
    let ofSource = 0;
    let empty = NONE;
    let left = this.used;
    for (let place = 0; place < places && (left > 0 || empty === NONE); place++) {
      const state = int32At(this.state, place);
      if (state === FREE) {
        if (empty === NONE) empty = place;
        continue;
      }
      left--;
      if (state === DELIVERED || int32At(this.source, place) !== source) continue;
      if (int32At(this.key, place) === key) return place;
      ofSource++;
    }
    if (ofSource >= this.limits.maxPerSource) empty = this.evict(source, true);
    else if (empty === NONE) empty = this.evict(source, false);
    if (empty === NONE) {
      this.drops.increment(DROP_FRAGMENT_LIMIT);
      return NONE;
    }
    return this.begin(empty, source, key);
  }

  private begin(place: number, source: number, key: number): number {
    this.state[place] = COLLECTING;
    this.source[place] = source;
    this.key[place] = key;
    this.order[place] = ++this.lastOrder;
    this.endBytes[place] = UNKNOWN;
    this.receivedBytes[place] = 0;
    this.highestBytes[place] = 0;
    this.headerBytes[place] = 0;
    this.map.fill(0, place * MAP_WORDS, (place + 1) * MAP_WORDS);
    this.used++;
    this.timers.scheduleAfter(int32At(this.timer, place), this.limits.timeoutUs);
    this.counters.increment(STARTED);
    return place;
  }

  /** Frees the place of the oldest datagram, of one source or of any, poisoned ones first; `NONE` when all were delivered. */
  private evict(source: number, ofSourceOnly: boolean): number {
    let victim = NONE;
    for (let place = 0; place < this.limits.maxDatagrams; place++) {
      const state = int32At(this.state, place);
      if (state !== COLLECTING && state !== POISONED) continue;
      if (ofSourceOnly && int32At(this.source, place) !== source) continue;
      if (victim === NONE || this.goesBefore(place, victim)) victim = place;
    }
    if (victim === NONE) return NONE;
    this.free(victim);
    this.counters.increment(EVICTED);
    this.drops.increment(DROP_FRAGMENT_LIMIT);
    return victim;
  }

  private goesBefore(place: number, other: number): boolean {
    const poisoned = int32At(this.state, place) === POISONED;
    if (poisoned !== (int32At(this.state, other) === POISONED)) return poisoned;
    return float64At(this.order, place) < float64At(this.order, other);
  }

  private free(place: number): void {
    if (int32At(this.state, place) === DELIVERED) this.delivered--;
    this.state[place] = FREE;
    this.used--;
    this.timers.cancel(int32At(this.timer, place));
  }

  private expire(place: number): void {
    const state = int32At(this.state, place);
    if (state === COLLECTING) {
      this.counters.increment(TIMED_OUT);
      this.drops.increment(DROP_FRAGMENT_TIMEOUT);
      const headerBytes = int32At(this.headerBytes, place);
      if (headerBytes !== 0) this.onTimeout(this.payloadAt(place) - headerBytes - ETHERNET_BYTES);
    }
    if (state !== FREE) this.free(place);
  }

  private payloadAt(place: number): number {
    return this.start + place * BLOCK_BYTES + PAYLOAD_OFFSET_BYTES;
  }

  private sameBytes(a: number, b: number, lengthBytes: number): boolean {
    const { bytes } = this;
    for (let i = 0; i < lengthBytes; i++) {
      if (bytes[a + i] !== bytes[b + i]) return false;
    }
    return true;
  }

  /** How many of the units from `from` to `end` are here. */
  private countUnits(place: number, from: number, end: number): number {
    let count = 0;
    const last = (end - 1) >>> UNIT_SHIFT;
    for (let unit = from >>> UNIT_SHIFT; unit <= last; unit = nextWord(unit)) {
      count += countBits(int32At(this.map, place * MAP_WORDS + (unit >>> WORD_SHIFT)) & maskOfUnits(unit, last));
    }
    return count;
  }

  private markUnits(place: number, from: number, end: number): void {
    const last = (end - 1) >>> UNIT_SHIFT;
    for (let unit = from >>> UNIT_SHIFT; unit <= last; unit = nextWord(unit)) {
      const word = place * MAP_WORDS + (unit >>> WORD_SHIFT);
      this.map[word] = int32At(this.map, word) | maskOfUnits(unit, last);
    }
  }
}

/** The first unit of the map word after the one that `unit` is in. */
function nextWord(unit: number): number {
  return ((unit >>> WORD_SHIFT) + 1) << WORD_SHIFT;
}

/** Bits of `unit` and those after it in the same word, up to `last`. */
function maskOfUnits(unit: number, last: number): number {
  const first = unit & (WORD_BITS - 1);
  const count = Math.min(WORD_BITS - first, last - unit + 1);
  return count === WORD_BITS ? -1 : ((1 << count) - 1) << first;
}

function countBits(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
