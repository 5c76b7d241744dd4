/**
 * TCP Fast Open, the listener's side (RFC 7413 section 4.2.2): a SYN that brings back a cookie of ours comes from where it says,
 * so that its text is handed on, and answered, before the handshake is complete. Cookies are keyed hashes of the two addresses;
 * the key changes now and then, and the one before it is good for as long again. Bits and habits are Linux's
 * (net.ipv4.tcp_fastopen). The side that opens is fast-open-client.ts.
 */
import { type HashKey, hashWords } from '../runtime/half-siphash.ts';
import type { Random } from '../runtime/random.ts';
import { type Bytes, i32, setU32 } from '../wire/bytes.ts';
import { writeFastOpen } from '../wire/tcp-options.ts';
import { largestSegment, outputSegment } from './build.ts';
import { FAST_OPEN_COOKIES_SENT, FAST_OPENS_ACCEPTED, FAST_OPENS_OVERFLOWED, FAST_OPENS_REFUSED } from './counters.ts';
import type { Listener } from './listener.ts';
import { segmentBytes } from './mss.ts';
import { beginSending } from './open.ts';
import { flightBytes, pipeBytes } from './pipe.ts';
import type { Segment } from './segment.ts';
import { seqAdd, seqDistance } from './sequence.ts';
import { SYN_RECEIVED } from './state.ts';
import { EVENT_READABLE, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { note } from './trace.ts';

// `TcpSettings.fastOpen`, bits of net.ipv4.tcp_fastopen.
export const FAST_OPEN_CLIENT = 1;
export const FAST_OPEN_SERVER = 2;
/** Our SYNs carry text to servers of which we have no cookie. */
export const FAST_OPEN_CLIENT_NO_COOKIE = 4;
/** Text is taken from SYNs without a cookie. */
export const FAST_OPEN_COOKIE_NOT_REQUIRED = 0x200;
/** Listeners that have not asked for it take part as well. */
export const FAST_OPEN_ALL_LISTENERS = 0x400;

// `Tcb.fastOpen`.
/** The application asked for it (client). */
export const FAST_OPEN_WANTED = 1;
/** The SYN carried the option. */
export const FAST_OPEN_OFFERED = 2;
/** The SYN carried text. */
export const FAST_OPEN_SENT_TEXT = 4;
/** The option went, or is to go, in the form of before the RFC. */
export const FAST_OPEN_EXPERIMENTAL = 8;
/** A cookie goes with the SYN-ACK (server). */
export const FAST_OPEN_COOKIE_OWED = 16;
/** The cookie was good: the application has the connection before the handshake is complete (server). */
export const FAST_OPEN_ACCEPTED = 32;
/** And it counts among those of its listener. */
export const FAST_OPEN_PENDING = 64;

/** The SYN's text was taken, ours or the peer's. */
export const FAST_OPEN_TEXT_TAKEN = 128;

export const FAST_OPEN_COOKIE_BYTES = 8;

/** How long a connection that a reset has ended counts as open (RFC 7413 section 5.1). */
const RESET_MEMORY_US = 60_000_000;

/** What `FastOpenCookies.check` finds. */
const NOT_OURS = 0;
const OF_PREVIOUS_KEY = 1;
const GOOD = 2;

interface CookieKey {
  readonly first: HashKey;
  readonly second: HashKey;
}

/** Cookies of one stack. */
export class FastOpenCookies {
  private readonly random: Random;
  private readonly lifetimeUs: number;
  private current: CookieKey;
  private previous: CookieKey | null = null;
  private changedUs = 0;
  private readonly cookie = new Uint8Array(FAST_OPEN_COOKIE_BYTES);

  constructor(random: Random, lifetimeUs: number) {
    this.random = random;
    this.lifetimeUs = lifetimeUs;
    this.current = drawKey(random);
  }

  /** Makes a new key; cookies of the one before stay good until the next time. */
  changeKey(nowUs: number): void {
    this.previous = this.current;
    this.current = drawKey(this.random);
    this.changedUs = nowUs;
  }

  /** The cookie of a pair of addresses; the array is used again. */
  make(localAddress: number, remoteAddress: number, nowUs: number): Bytes {
    this.look(nowUs);
    const { cookie, current } = this;
    setU32(cookie, 0, hashWords(current.first, remoteAddress, localAddress, 0));
    setU32(cookie, 4, hashWords(current.second, remoteAddress, localAddress, 0));
    return cookie;
  }

  /** Judges the first `length` bytes of a cookie. */
  check(cookie: Bytes, length: number, localAddress: number, remoteAddress: number, nowUs: number): number {
    this.look(nowUs);
    if (length !== FAST_OPEN_COOKIE_BYTES) return NOT_OURS;
    const high = i32(cookie, 0);
    const low = i32(cookie, 4);
    if (isCookie(this.current, high, low, localAddress, remoteAddress)) return GOOD;
    const { previous } = this;
    if (previous !== null && isCookie(previous, high, low, localAddress, remoteAddress)) return OF_PREVIOUS_KEY;
    return NOT_OURS;
  }

  private look(nowUs: number): void {
    const ageUs = nowUs - this.changedUs;
    if (ageUs < this.lifetimeUs) return;
    // After two lifetimes neither key is good any more.
    if (ageUs >= 2 * this.lifetimeUs) this.changeKey(nowUs);
    this.changeKey(nowUs);
  }
}

function drawKey(random: Random): CookieKey {
  return {
    first: { low: random.i32(), high: random.i32() },
    second: { low: random.i32(), high: random.i32() },
  };
}

function isCookie(key: CookieKey, high: number, low: number, localAddress: number, remoteAddress: number): boolean {
  const differs = high ^ hashWords(key.first, remoteAddress, localAddress, 0);
  return (differs | (low ^ hashWords(key.second, remoteAddress, localAddress, 0))) === 0;
}

/** A SYN has made a connection: takes the text that came with it, if it may, and notes what the answer owes. */
export function fastOpenArrives(tcp: Tcp, listener: Listener, tcb: Tcb, segment: Segment): void {
  const { options } = segment;
  const { fastOpen } = tcp.settings;
  const hasOption = options.fastOpenBytes >= 0;
  if ((fastOpen & FAST_OPEN_SERVER) === 0 || (!hasOption && segment.payloadBytes === 0)) return;
  const limit = fastOpenLimit(listener, fastOpen);
  if (limit === 0) return;
  const needsNone = (fastOpen & FAST_OPEN_COOKIE_NOT_REQUIRED) !== 0 && segment.payloadBytes > 0;
  if (!hasOption && !needsNone) return;
  if (!hasRoom(listener, limit, tcp.nowUs)) {
    tcp.counters.increment(FAST_OPENS_OVERFLOWED);
    return;
  }
  if (options.fastOpenExperimental) tcb.fastOpen |= FAST_OPEN_EXPERIMENTAL;
  if (!needsNone && !cookieIsGood(tcp, tcb, segment)) return;
  acceptEarly(tcp, listener, tcb, segment);
}

/** Connections that may be waiting for the end of their handshake with the application at work on them already. */
function fastOpenLimit(listener: Listener, fastOpen: number): number {
  if (listener.fastOpenQueue > 0) return listener.fastOpenQueue;
  return (fastOpen & FAST_OPEN_ALL_LISTENERS) !== 0 ? listener.backlog : 0;
}

/** Those that a reset has ended count for a while: whoever forges SYNs could have the victim clear the queue for him. */
function hasRoom(listener: Listener, limit: number, nowUs: number): boolean {
  const { fastOpenResets } = listener;
  while (fastOpenResets.length > 0 && (fastOpenResets[0] as number) <= nowUs) fastOpenResets.shift();
  return listener.fastOpens + fastOpenResets.length < limit;
}

function cookieIsGood(tcp: Tcp, tcb: Tcb, segment: Segment): boolean {
  const { fastOpenBytes, fastOpenCookie } = segment.options;
  const { localAddress, remoteAddress } = segment;
  const verdict =
    fastOpenBytes === 0
      ? NOT_OURS
      : tcp.fastOpenCookies.check(fastOpenCookie, fastOpenBytes, localAddress, remoteAddress, tcp.nowUs);
  if (verdict !== GOOD) tcb.fastOpen |= FAST_OPEN_COOKIE_OWED;
  if (verdict === NOT_OURS && fastOpenBytes > 0) tcp.counters.increment(FAST_OPENS_REFUSED);
  return verdict !== NOT_OURS;
}

/** The application has the connection from now on, and what came with the SYN; what it sends leaves behind the SYN-ACK. */
function acceptEarly(tcp: Tcp, listener: Listener, tcb: Tcb, segment: Segment): void {
  tcp.counters.increment(FAST_OPENS_ACCEPTED);
  if (tcp.tracing) note(tcb, `take ${segment.payloadBytes} bytes with the SYN, RFC 7413 4.2.2`);
  tcb.fastOpen |= FAST_OPEN_ACCEPTED | FAST_OPEN_PENDING;
  listener.fastOpens++;
  beginSending(tcp, tcb, false);
  const length = Math.min(segment.payloadBytes, seqDistance(tcb.rcvAdv, tcb.rcvNxt));
  // Without memory for it the text is not acknowledged, and comes again.
  if (length > 0 && tcp.receiveQueues.deliver(tcb, segment.payloadAt, length)) {
    tcb.fastOpen |= FAST_OPEN_TEXT_TAKEN;
    tcp.raise(tcb, EVENT_READABLE);
  }
  tcp.introduce(tcb);
}

/** The handshake is complete, or the connection has ended before. */
export function fastOpenIsOver(tcb: Tcb): void {
  if ((tcb.fastOpen & FAST_OPEN_PENDING) === 0 || tcb.listener === null) return;
  tcb.fastOpen &= ~FAST_OPEN_PENDING;
  tcb.listener.fastOpens--;
}

/** A reset ends the connection; its place is not free at once. */
export function fastOpenWasReset(tcp: Tcp, tcb: Tcb): void {
  if ((tcb.fastOpen & FAST_OPEN_PENDING) === 0 || tcb.listener === null) return;
  tcb.listener.fastOpenResets.push(tcp.nowUs + RESET_MEMORY_US);
}

/** Writes the cookie that the SYN-ACK owes, once; returns the position behind it. */
export function writeOwedCookie(tcp: Tcp, tcb: Tcb, at: number): number {
  if ((tcb.fastOpen & FAST_OPEN_COOKIE_OWED) === 0) return at;
  tcb.fastOpen &= ~FAST_OPEN_COOKIE_OWED;
  tcp.counters.increment(FAST_OPEN_COOKIES_SENT);
  const cookie = tcp.fastOpenCookies.make(tcb.localAddress, tcb.remoteAddress, tcp.nowUs);
  const isExperimental = (tcb.fastOpen & FAST_OPEN_EXPERIMENTAL) !== 0;
  return writeFastOpen(tcp.bytes, at, cookie, FAST_OPEN_COOKIE_BYTES, isExperimental);
}

/**
 * Sends what the application has said behind the SYN-ACK, as far as the initial window allows; the FIN waits for the handshake.
 * Until then the SYN-ACK's timer is the only one. False: the transmit queue is full.
 */
export function outputEarly(tcp: Tcp, tcb: Tcb): boolean {
  if (tcb.state !== SYN_RECEIVED || (tcb.fastOpen & FAST_OPEN_ACCEPTED) === 0) return true;
  for (;;) {
    const start = tcb.sndNxt;
    const unsent = seqDistance(tcb.sndEnd, start);
    // Our SYN is in flight too, and takes no room of either window.
    const room = 1 + Math.min(tcb.sndWnd - flightBytes(tcb), tcb.cwndBytes - pipeBytes(tcb));
    const limit = Math.min(unsent, room, largestSegment(tcp, tcb));
    if (limit <= 0 || (limit < unsent && limit < segmentBytes(tcb))) return true;
    const length = outputSegment(tcp, tcb, start, limit, false);
    if (length < 0) return false;
    tcb.sndNxt = seqAdd(start, length);
    tcp.ranges.append(tcb, start, tcb.sndNxt);
  }
}
