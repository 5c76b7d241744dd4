/**
 * The user timeout (RFC 9293 section 3.9.1.1): how long something sent may go unacknowledged, or window probes unanswered, before
 * the connection is given up; and the option by which two ends tell each other theirs (RFC 5482), which is off by default.
 */
import type { Bytes } from '../wire/bytes.ts';
import { USER_TIMEOUT_BYTES, writeUserTimeout } from '../wire/tcp-options.ts';
import { USER_TIMEOUTS_ADOPTED } from './counters.ts';
import type { Segment } from './segment.ts';
import { NO_RANGE } from './sent-ranges.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** RFC 9293 3.9.1.1, and so the UTO that is announced where nothing was chosen. */
const DEFAULT_USER_TIMEOUT_US = 300_000_000;

const SECOND_US = 1_000_000;
const MINUTE_US = 60 * SECOND_US;
/** RFC 5482 section 3: fifteen bits of seconds, or with this bit before them of minutes. */
const MINUTES_BIT = 0x8000;
const VALUE_MASK = 0x7fff;

/** The retransmission timer has expired for the first time in a row: since when does the peer not answer? */
export function noteUnanswered(tcp: Tcp, tcb: Tcb, isPersisting: boolean): void {
  tcb.timedOutUs = tcp.nowUs;
  if (isPersisting) tcb.unansweredSinceUs = tcp.nowUs;
  else tcb.unansweredSinceUs = tcb.sentHead === NO_RANGE ? tcb.lastSentUs : tcp.ranges.sentUs(tcb.sentHead);
}

/** Whether the peer has not answered for longer than the connection's user timeout, if it has one. */
export function isUserTimeoutOver(tcp: Tcp, tcb: Tcb): boolean {
  const { userTimeoutUs } = tcb.options;
  return userTimeoutUs > 0 && tcp.nowUs - tcb.unansweredSinceUs >= userTimeoutUs;
}

/** A delay of the retransmission timer, shortened so that it does not outlast the user timeout. */
export function untilUserTimeout(tcp: Tcp, tcb: Tcb, delayUs: number): number {
  const { userTimeoutUs } = tcb.options;
  const leftUs = tcb.retries === 0 ? userTimeoutUs : tcb.unansweredSinceUs + userTimeoutUs - tcp.nowUs;
  return Math.max(1, Math.min(delayUs, leftUs));
}

/** Announces the connection's user timeout on a SYN whose options end at `at`, if it is to and they leave room. */
export function writeUserTimeoutOption(tcp: Tcp, tcb: Tcb, bytes: Bytes, at: number, limit: number): number {
  if (!tcp.settings.userTimeoutOption || at + USER_TIMEOUT_BYTES > limit) return at;
  return writeUserTimeout(bytes, at, encode(announced(tcb)));
}

/** The peer has told its user timeout: RFC 5482 section 3.1, unless the application has chosen ours. */
export function userTimeoutArrives(tcp: Tcp, tcb: Tcb, segment: Segment): void {
  const { userTimeout } = segment.options;
  const { settings } = tcp;
  const value = userTimeout & VALUE_MASK;
  if (!settings.userTimeoutOption || value === 0 || !tcb.options.userTimeoutChangeable) return;
  const remoteUs = value * ((userTimeout & MINUTES_BIT) === 0 ? SECOND_US : MINUTE_US);
  const wantedUs = Math.max(DEFAULT_USER_TIMEOUT_US, remoteUs, settings.leastUserTimeoutUs);
  const userTimeoutUs = Math.min(settings.mostUserTimeoutUs, wantedUs);
  if (userTimeoutUs === tcb.options.userTimeoutUs) return;
  tcb.options = { ...tcb.options, userTimeoutUs };
  tcp.counters.increment(USER_TIMEOUTS_ADOPTED);
}

function announced(tcb: Tcb): number {
  const { userTimeoutUs, userTimeoutChangeable } = tcb.options;
  return userTimeoutChangeable || userTimeoutUs === 0 ? DEFAULT_USER_TIMEOUT_US : userTimeoutUs;
}

/** In seconds where they fit and are enough, else in minutes; never 0, which says nothing. */
function encode(timeoutUs: number): number {
  const seconds = Math.max(1, Math.ceil(timeoutUs / SECOND_US));
  if (seconds <= VALUE_MASK) return seconds;
  return MINUTES_BIT | Math.min(VALUE_MASK, Math.ceil(timeoutUs / MINUTE_US));
}
