/** What webswamp counts, and the classes of what goes wrong: names for people, indexes for the code. */

export const SWAMP_COUNTER_NAMES = [
  'connectionsOpened',
  'connectionsEstablished',
  'connectionsClosed',
  'connectionsUnavailable',
  'idleCloses',
  'lingerTimeouts',
  'requestsSent',
  'requestsSentAgain',
  'requestsHandedLate',
  'requestsLateByOurFault',
  'responses',
  'interimResponses',
  'unsolicitedBytes',
  'bytesReceived',
  'bodyBytes',
  'bytesCopied',
  'recordsMade',
  'recordsReused',
] as const;

export const CONNECTIONS_OPENED = SWAMP_COUNTER_NAMES.indexOf('connectionsOpened');
export const CONNECTIONS_ESTABLISHED = SWAMP_COUNTER_NAMES.indexOf('connectionsEstablished');
export const CONNECTIONS_CLOSED = SWAMP_COUNTER_NAMES.indexOf('connectionsClosed');
/** Times that no connection was to be had: no local port, or too many of them. */
export const CONNECTIONS_UNAVAILABLE = SWAMP_COUNTER_NAMES.indexOf('connectionsUnavailable');
/** Connections that the server ended between requests. */
export const IDLE_CLOSES = SWAMP_COUNTER_NAMES.indexOf('idleCloses');
export const LINGER_TIMEOUTS = SWAMP_COUNTER_NAMES.indexOf('lingerTimeouts');
export const REQUESTS_SENT = SWAMP_COUNTER_NAMES.indexOf('requestsSent');
/** Pipelined requests that a server closed its connection before. */
export const REQUESTS_SENT_AGAIN = SWAMP_COUNTER_NAMES.indexOf('requestsSentAgain');
/** Requests handed over later than `LATE_US` after they were due, for whatever reason. */
export const REQUESTS_HANDED_LATE = SWAMP_COUNTER_NAMES.indexOf('requestsHandedLate');
/** Those that were late although nothing but the generator was in the way. */
export const REQUESTS_LATE_BY_OUR_FAULT = SWAMP_COUNTER_NAMES.indexOf('requestsLateByOurFault');
/** Whole responses, wrong ones included. */
export const RESPONSES = SWAMP_COUNTER_NAMES.indexOf('responses');
export const INTERIM_RESPONSES = SWAMP_COUNTER_NAMES.indexOf('interimResponses');
/** Bytes that came when nothing was asked for; the connection is given up. */
export const UNSOLICITED_BYTES = SWAMP_COUNTER_NAMES.indexOf('unsolicitedBytes');
export const BYTES_RECEIVED = SWAMP_COUNTER_NAMES.indexOf('bytesReceived');
export const BODY_BYTES = SWAMP_COUNTER_NAMES.indexOf('bodyBytes');
export const BYTES_COPIED = SWAMP_COUNTER_NAMES.indexOf('bytesCopied');
export const RECORDS_MADE = SWAMP_COUNTER_NAMES.indexOf('recordsMade');
export const RECORDS_REUSED = SWAMP_COUNTER_NAMES.indexOf('recordsReused');

export const ERROR_CLASSES = [
  'refused',
  'unreachable',
  'synTimeout',
  'reset',
  'closedEarly',
  'shortBody',
  'badStatus',
  'wrongLength',
  'malformed',
  'responseTimeout',
] as const;

export type ErrorClass = (typeof ERROR_CLASSES)[number];

export const ERROR_REFUSED = ERROR_CLASSES.indexOf('refused');
export const ERROR_UNREACHABLE = ERROR_CLASSES.indexOf('unreachable');
export const ERROR_SYN_TIMEOUT = ERROR_CLASSES.indexOf('synTimeout');
export const ERROR_RESET = ERROR_CLASSES.indexOf('reset');
/** The server closed before the first byte of its response. */
export const ERROR_CLOSED_EARLY = ERROR_CLASSES.indexOf('closedEarly');
/** The server closed in the middle of its response. */
export const ERROR_SHORT_BODY = ERROR_CLASSES.indexOf('shortBody');
export const ERROR_BAD_STATUS = ERROR_CLASSES.indexOf('badStatus');
export const ERROR_WRONG_LENGTH = ERROR_CLASSES.indexOf('wrongLength');
export const ERROR_MALFORMED = ERROR_CLASSES.indexOf('malformed');
export const ERROR_RESPONSE_TIMEOUT = ERROR_CLASSES.indexOf('responseTimeout');

/** Places in a response at which resets are counted apart; further ones are counted together. */
const MAX_RESET_PLACES = 32;

/** Resets by the byte of the response that they came instead of. */
export class ResetPlaces {
  private readonly counts = new Map<number, number>();
  private elsewhere = 0;

  add(byte: number): void {
    const count = this.counts.get(byte);
    if (count !== undefined) this.counts.set(byte, count + 1);
    else if (this.counts.size < MAX_RESET_PLACES) this.counts.set(byte, 1);
    else this.elsewhere++;
  }

  /** By byte, in order; `elsewhere` for those beyond the limit. */
  snapshot(): Record<string, number> {
    const places = [...this.counts].sort(([a], [b]) => a - b).map(([byte, count]) => [`${byte}`, count]);
    if (this.elsewhere > 0) places.push(['elsewhere', this.elsewhere]);
    return Object.fromEntries(places);
  }
}
