/**
 * TIME-WAIT (RFC 9293 section 3.6.1): the TCB is freed at entry, and what is left is a record of a few words, enough to
 * acknowledge a retransmitted FIN, to judge a reset (RFC 1337) and to let a new incarnation in (RFC 6191).
 *
 * Every record waits equally long, so they form a queue in order of expiry and one timer serves them all.
 */
import type { Path } from '../libos/path.ts';
import { float64At, int32At } from '../wire/bytes.ts';
import { type Seq, seqBits, toSeq } from './sequence.ts';
import type { Tcb } from './tcb.ts';

const NONE = -1;

export class TimeWaitRecords {
  private readonly limit: number;
  private readonly remoteAddresses: Int32Array;
  private readonly localAddresses: Int32Array;
  private readonly ports: Int32Array;
  private readonly sndNxts: Int32Array;
  private readonly rcvNxts: Int32Array;
  private readonly windows: Int32Array;
  private readonly tsRecents: Int32Array;
  private readonly tsOffsets: Int32Array;
  private readonly hasTimestamps: Uint8Array;
  private readonly answeredSyns: Uint8Array;
  private readonly expiries: Float64Array;
  private readonly paths: (Path | null)[] = [];
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  private free = NONE;
  /** The record that expires first, `-1` when there is none. */
  oldest = NONE;
  private newest = NONE;
  /** Records never used yet start here. */
  private fresh = 0;
  live = 0;

  constructor(limit: number) {
    this.limit = limit;
    this.remoteAddresses = new Int32Array(limit);
    this.localAddresses = new Int32Array(limit);
    this.ports = new Int32Array(limit);
    this.sndNxts = new Int32Array(limit);
    this.rcvNxts = new Int32Array(limit);
    this.windows = new Int32Array(limit);
    this.tsRecents = new Int32Array(limit);
    this.tsOffsets = new Int32Array(limit);
    this.hasTimestamps = new Uint8Array(limit);
    this.answeredSyns = new Uint8Array(limit);
    this.expiries = new Float64Array(limit);
    this.next = new Int32Array(limit);
    this.previous = new Int32Array(limit);
  }

  get full(): boolean {
    return this.live === this.limit;
  }

  /** Makes the record of a connection that enters TIME-WAIT. There is room; the path passes into the record's keeping. */
  add(tcb: Tcb, window: number, expiryUs: number): number {
    let record = this.free;
    if (record === NONE) record = this.fresh++;
    else this.free = int32At(this.next, record);
    this.remoteAddresses[record] = tcb.remoteAddress;
    this.localAddresses[record] = tcb.localAddress;
    this.ports[record] = (tcb.remotePort << 16) | tcb.localPort;
    this.sndNxts[record] = seqBits(tcb.sndNxt);
    this.rcvNxts[record] = seqBits(tcb.rcvNxt);
    this.windows[record] = window;
    this.tsRecents[record] = tcb.tsRecent;
    this.tsOffsets[record] = tcb.tsOffset;
    this.hasTimestamps[record] = tcb.timestamps ? 1 : 0;
    this.answeredSyns[record] = 0;
    this.paths[record] = tcb.path;
    this.live++;
    this.append(record, expiryUs);
    return record;
  }

  remove(record: number): void {
    this.unlink(record);
    this.paths[record] = null;
    this.next[record] = this.free;
    this.free = record;
    this.live--;
  }

  /** Starts the wait anew (RFC 9293 3.10.7.4, eighth: "Restart the 2 MSL time-wait timeout"). */
  restart(record: number, expiryUs: number): void {
    this.unlink(record);
    this.append(record, expiryUs);
  }

  remoteAddress(record: number): number {
    return int32At(this.remoteAddresses, record);
  }

  remotePort(record: number): number {
    return int32At(this.ports, record) >>> 16;
  }

  localAddress(record: number): number {
    return int32At(this.localAddresses, record);
  }

  localPort(record: number): number {
    return int32At(this.ports, record) & 0xffff;
  }

  sndNxt(record: number): Seq {
    return toSeq(int32At(this.sndNxts, record));
  }

  rcvNxt(record: number): Seq {
    return toSeq(int32At(this.rcvNxts, record));
  }

  /** The window field of its acknowledgments, as on the wire. */
  window(record: number): number {
    return int32At(this.windows, record);
  }

  timestamps(record: number): boolean {
    return this.hasTimestamps[record] === 1;
  }

  tsRecent(record: number): number {
    return int32At(this.tsRecents, record);
  }

  setTsRecent(record: number, value: number): void {
    this.tsRecents[record] = value;
  }

  tsOffset(record: number): number {
    return int32At(this.tsOffsets, record);
  }

  /** A SYN that may be old was answered with an acknowledgment. */
  hasAnsweredSyn(record: number): boolean {
    return this.answeredSyns[record] === 1;
  }

  noteAnsweredSyn(record: number): void {
    this.answeredSyns[record] = 1;
  }

  path(record: number): Path | null {
    return this.paths[record] ?? null;
  }

  expiryUs(record: number): number {
    return float64At(this.expiries, record);
  }

  private append(record: number, expiryUs: number): void {
    this.expiries[record] = expiryUs;
    this.previous[record] = this.newest;
    this.next[record] = NONE;
    if (this.newest === NONE) this.oldest = record;
    else this.next[this.newest] = record;
    this.newest = record;
  }

  private unlink(record: number): void {
    const before = int32At(this.previous, record);
    const after = int32At(this.next, record);
    if (before === NONE) this.oldest = after;
    else this.next[before] = after;
    if (after === NONE) this.newest = before;
    else this.previous[after] = before;
  }
}
