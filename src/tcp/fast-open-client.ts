/**
 * TCP Fast Open, the side that opens (RFC 7413 section 4.2.1): the first SYN to a server asks for a cookie, later ones bring it
 * back with the first text. Only the first transmission of a SYN has either. Cookies are kept by pair of addresses, with the
 * server's MSS, and so is what went wrong (section 4.1.3): where SYNs with text vanish, or connections that began so stall, the
 * handshake is an ordinary one for a while, longer each time.
 *
 * Memory: a bounded number of records; the one unused for longest makes room.
 */
import { IPV4_BYTES } from '../wire/ipv4.ts';
import { TCP_BYTES } from '../wire/tcp.ts';
import { MAX_FAST_OPEN_COOKIE_BYTES, writeFastOpen } from '../wire/tcp-options.ts';
import {
  FAST_OPEN_BLACK_HOLES,
  FAST_OPEN_COOKIES_RECEIVED,
  FAST_OPEN_TEXT_ACKNOWLEDGED,
  FAST_OPEN_TEXT_IGNORED,
  FAST_OPENS_SUSPENDED,
} from './counters.ts';
import {
  FAST_OPEN_CLIENT,
  FAST_OPEN_CLIENT_NO_COOKIE,
  FAST_OPEN_EXPERIMENTAL,
  FAST_OPEN_OFFERED,
  FAST_OPEN_SENT_TEXT,
  FAST_OPEN_TEXT_TAKEN,
  FAST_OPEN_WANTED,
} from './fast-open.ts';
import { DEFAULT_MSS_BYTES } from './mss.ts';
import type { Segment } from './segment.ts';
import { gatherRegions, releaseAcknowledged } from './send-queue.ts';
import { seqAdd, seqDistance } from './sequence.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { note } from './trace.ts';

/** Left of a segment for the options of a SYN. */
const OPTION_ROOM_BYTES = 40;
/** Time-outs in a row after which a connection that began with text on its SYN is taken for a black hole's (as in Linux). */
const BLACK_HOLE_TIMEOUTS = 3;
/** One SYN may be lost like any other; from so many failures on it is the text that does not get through. */
const FAILURES = 2;
const MAX_DOUBLINGS = 6;

/** The form of the request next time: the RFC's, the older one after the RFC's was not answered, then the RFC's for good. */
const TRY_STANDARD = 0;
const TRY_EXPERIMENTAL = 1;
const TRIED_BOTH = 2;

class ServerRecord {
  readonly cookie = new Uint8Array(MAX_FAST_OPEN_COOKIE_BYTES);
  cookieBytes = 0;
  isExperimental = false;
  mssBytes = DEFAULT_MSS_BYTES;
  form = TRY_STANDARD;
  /** Failures in a row, and when the last one was. */
  failures = 0;
  failedUs = 0;
  learnedUs = 0;
}

/** What is known of servers, the longest unused first. */
export class FastOpenServers {
  private readonly records = new Map<number, ServerRecord>();
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  get size(): number {
    return this.records.size;
  }

  find(key: number): ServerRecord | null {
    return this.records.get(key) ?? null;
  }

  /** The record of a server, made if need be: the one used last from now on. */
  use(key: number): ServerRecord {
    const record = this.records.get(key) ?? new ServerRecord();
    this.records.delete(key);
    this.records.set(key, record);
    if (this.records.size > this.limit) {
      for (const oldest of this.records.keys()) {
        this.records.delete(oldest);
        break;
      }
    }
    return record;
  }
}

/** Cookies are bound to our address too. */
function keyOf(tcp: Tcp, localAddress: number, remoteAddress: number): number {
  return tcp.local.indexOf(localAddress) * 2 ** 32 + (remoteAddress >>> 0);
}

function keyOfConnection(tcp: Tcp, { localAddress, remoteAddress }: Tcb): number {
  return keyOf(tcp, localAddress, remoteAddress);
}

/** Whether the first SYN of a connection with Fast Open would carry text: a cookie is known, or none is needed. */
export function synMayCarryText(tcp: Tcp, localAddress: number, remoteAddress: number): boolean {
  const { fastOpen } = tcp.settings;
  if ((fastOpen & FAST_OPEN_CLIENT) === 0) return false;
  const record = tcp.fastOpenServers.find(keyOf(tcp, localAddress, remoteAddress));
  if (record !== null && isSuspended(tcp, record)) return false;
  return (fastOpen & FAST_OPEN_CLIENT_NO_COOKIE) !== 0 || (record !== null && hasCookie(tcp, record));
}

function hasCookie(tcp: Tcp, record: ServerRecord): boolean {
  return record.cookieBytes > 0 && tcp.nowUs - record.learnedUs < tcp.settings.fastOpenCookieUs;
}

/** Writes the option of the first SYN, if one goes with it; returns the position behind it. */
export function writeFastOpenOffer(tcp: Tcp, tcb: Tcb, at: number): number {
  if ((tcb.fastOpen & FAST_OPEN_WANTED) === 0 || tcb.retries > 0) return at;
  const { settings } = tcp;
  const record = tcp.fastOpenServers.find(keyOfConnection(tcp, tcb));
  if (record !== null && isSuspended(tcp, record)) {
    tcp.counters.increment(FAST_OPENS_SUSPENDED);
    if (tcp.tracing) note(tcb, 'no Fast Open because it has failed with this server, RFC 7413 4.1.3');
    return at;
  }
  const mayGoWithout = (settings.fastOpen & FAST_OPEN_CLIENT_NO_COOKIE) !== 0;
  tcb.fastOpen |= FAST_OPEN_OFFERED;
  if (record !== null && hasCookie(tcp, record)) {
    tcb.fastOpen |= FAST_OPEN_SENT_TEXT | (record.isExperimental ? FAST_OPEN_EXPERIMENTAL : 0);
    return writeFastOpen(tcp.bytes, at, record.cookie, record.cookieBytes, record.isExperimental);
  }
  if (mayGoWithout) {
    tcb.fastOpen |= FAST_OPEN_SENT_TEXT;
    return at;
  }
  const isExperimental = record !== null && record.form === TRY_EXPERIMENTAL;
  if (isExperimental) tcb.fastOpen |= FAST_OPEN_EXPERIMENTAL;
  return writeFastOpen(tcp.bytes, at, null, 0, isExperimental);
}

/** Adds the first text to the SYN that is being built, as far as the server's MSS lets it; returns how many bytes. */
export function gatherSynText(tcp: Tcp, tcb: Tcb): number {
  if ((tcb.fastOpen & FAST_OPEN_SENT_TEXT) === 0 || tcb.retries > 0) return 0;
  const start = seqAdd(tcb.iss, 1);
  const wanted = Math.min(synTextRoom(tcp, tcb), seqDistance(tcb.sndEnd, start));
  const length = wanted > 0 ? gatherRegions(tcp.queue, tcb, start, wanted) : 0;
  if (length === 0) tcb.fastOpen &= ~FAST_OPEN_SENT_TEXT;
  return length;
}

/** Bytes of text that a SYN to the server takes: the MSS it told last, less all options. */
export function synTextRoom(tcp: Tcp, tcb: Tcb): number {
  if (tcb.path === null) return 0;
  const record = tcp.fastOpenServers.find(keyOfConnection(tcp, tcb));
  const mssBytes = record === null ? DEFAULT_MSS_BYTES : record.mssBytes;
  return Math.min(mssBytes, tcb.path.mtuBytes - IPV4_BYTES - TCP_BYTES) - OPTION_ROOM_BYTES;
}

/** The SYN-ACK has come: what it says of the text, and the cookie that it may bring. SND.UNA has not advanced yet. */
export function fastOpenAnswered(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  if ((tcb.fastOpen & FAST_OPEN_OFFERED) === 0) return;
  const { options } = segment;
  const { counters } = tcp;
  const record = tcp.fastOpenServers.use(keyOfConnection(tcp, tcb));
  const sentText = (tcb.fastOpen & FAST_OPEN_SENT_TEXT) !== 0;
  const isTextTaken = seqDistance(segment.ack, tcb.iss) > 1;
  const bringsCookie = options.fastOpenBytes > 0;
  if (tcp.tracing && sentText) note(tcb, `the SYN's text was ${isTextTaken ? '' : 'not '}taken, RFC 7413 4.2.1`);
  if (sentText) counters.increment(isTextTaken ? FAST_OPEN_TEXT_ACKNOWLEDGED : FAST_OPEN_TEXT_IGNORED);
  if (sentText && isTextTaken) tcb.fastOpen |= FAST_OPEN_TEXT_TAKEN;
  record.mssBytes = options.mss === 0 ? DEFAULT_MSS_BYTES : options.mss;
  if (bringsCookie) {
    counters.increment(FAST_OPEN_COOKIES_RECEIVED);
    learnCookie(tcp, record, segment);
  } else if (!sentText && tcb.retries === 0) {
    record.form =
      (tcb.fastOpen & FAST_OPEN_EXPERIMENTAL) !== 0 || record.form === TRIED_BOTH ? TRIED_BOTH : TRY_EXPERIMENTAL;
  }
  // The SYN had to be sent again without the text, and the server has not heard of the first one.
  if (sentText && tcb.retries > 0 && !isTextTaken && !bringsCookie) noteFailure(tcp, record, 1);
  else record.failures = 0;
}

/** What the SYN-ACK has acknowledged of the text goes back to its owner; the rest is sent as if for the first time. */
export function releaseSynText(tcp: Tcp, tcb: Tcb): void {
  if ((tcb.fastOpen & FAST_OPEN_SENT_TEXT) !== 0) releaseAcknowledged(tcp.regions, tcb, tcb.sndUna);
}

/** The retransmission timer has expired: connections like this one may be swallowed by something on the way. */
export function fastOpenTimedOut(tcp: Tcp, tcb: Tcb): void {
  if ((tcb.fastOpen & FAST_OPEN_SENT_TEXT) === 0 || tcb.retries !== BLACK_HOLE_TIMEOUTS) return;
  tcp.counters.increment(FAST_OPEN_BLACK_HOLES);
  noteFailure(tcp, tcp.fastOpenServers.use(keyOfConnection(tcp, tcb)), FAILURES);
}

function noteFailure(tcp: Tcp, record: ServerRecord, atLeast: number): void {
  record.failures = Math.max(record.failures + 1, atLeast);
  record.failedUs = tcp.nowUs;
}

function isSuspended(tcp: Tcp, record: ServerRecord): boolean {
  if (record.failures < FAILURES) return false;
  const doublings = Math.min(record.failures - FAILURES, MAX_DOUBLINGS);
  return tcp.nowUs - record.failedUs < tcp.settings.fastOpenBlackHoleUs * 2 ** doublings;
}

function learnCookie(tcp: Tcp, record: ServerRecord, segment: Segment): void {
  const { fastOpenBytes, fastOpenCookie, fastOpenExperimental } = segment.options;
  record.cookie.set(fastOpenCookie);
  record.cookieBytes = fastOpenBytes;
  record.isExperimental = fastOpenExperimental;
  record.form = TRY_STANDARD;
  record.learnedUs = tcp.nowUs;
}
