/** What is to be asked of a server, how often, and what counts as an answer; limits are named here, with their defaults. */

export interface SwampPlan {
  /** Connections at a time. */
  readonly connections: number;
  /** Requests in all; Infinity when the time decides. */
  readonly requests: number;
  /** Infinity when the number of requests decides. */
  readonly durationUs: number;
  /** Load before the clock begins: what is sent in this time is counted nowhere. */
  readonly warmUpUs: number;
  /** Open loop: requests a second, whatever the server does. 0 is the closed loop: the next request when one is answered. */
  readonly requestsPerSecond: number;
  /** 1 opens a connection for each request. */
  readonly requestsPerConnection: number;
  /** Requests that a connection may have unanswered (RFC 9112 9.3.2). */
  readonly pipeline: number;
  /** How long a connection may take to open, and a response to be whole. */
  readonly timeoutUs: number;
  /** 0: any from 200 to 399. */
  readonly expectedStatus: number;
  /** Bytes that the body of every response must have; -1: as many as the response says. */
  readonly expectedBytes: number;
  /** Copy what arrives out of the receive slots, as reading a socket does. */
  readonly copyPayload: boolean;
  /** Use the records of connections again. */
  readonly reuseRecords: boolean;
}

export const DEFAULT_PLAN: SwampPlan = {
  connections: 64,
  requests: Number.POSITIVE_INFINITY,
  durationUs: 10_000_000,
  warmUpUs: 0,
  requestsPerSecond: 0,
  requestsPerConnection: Number.POSITIVE_INFINITY,
  pipeline: 1,
  timeoutUs: 10_000_000,
  expectedStatus: 0,
  expectedBytes: -1,
  copyPayload: false,
  reuseRecords: true,
};

/** Limits of what a plan may ask for. */
export const MAX_CONNECTIONS = 100_000;
export const MAX_PIPELINE = 1024;

/** The open loop looks at its schedule no more often than this: what is due in between leaves together. */
export const PACE_US = 50;
/** Connections opened in one go; the next go is a tick later, so that a start does not flood the path with SYNs. */
export const OPENS_PER_TURN = 128;
/** How long nobody connects after a connection could not be opened. */
export const REOPEN_DELAY_US = 10_000;
/** How long a connection that is over may take to close before it is reset. */
export const LINGER_US = 1_000_000;
/** Connections that are over and not yet closed, beside those in use: beyond it no more are opened. */
export const MAX_DRAINING = 16_384;
/** A request handed over later than this after it was due has missed its time. */
export const LATE_US = 50_000;

/** Stands where the time of a request would, when the request belongs to the warm-up. */
export const UNCOUNTED = -1;

/** Throws `RangeError` for what cannot be. */
export function checkPlan(plan: SwampPlan): void {
  checkCount('connections', plan.connections, MAX_CONNECTIONS);
  checkCount('requests', plan.requests, Number.POSITIVE_INFINITY);
  checkCount('requestsPerConnection', plan.requestsPerConnection, Number.POSITIVE_INFINITY);
  checkCount('pipeline', plan.pipeline, MAX_PIPELINE);
  if (!(plan.durationUs > 0 && plan.timeoutUs > 0)) throw new RangeError('a time must be more than nothing');
  if (!(plan.warmUpUs >= 0 && plan.warmUpUs < Number.POSITIVE_INFINITY)) {
    throw new RangeError(`warmUpUs ${plan.warmUpUs} is no time`);
  }
  if (plan.requests === Number.POSITIVE_INFINITY && plan.durationUs === Number.POSITIVE_INFINITY) {
    throw new RangeError('neither requests nor durationUs says when to end');
  }
  if (!(plan.requestsPerSecond >= 0 && plan.requestsPerSecond < Number.POSITIVE_INFINITY)) {
    throw new RangeError(`requestsPerSecond ${plan.requestsPerSecond} is no rate`);
  }
}

function checkCount(name: string, count: number, most: number): void {
  const isCount = count === Number.POSITIVE_INFINITY || Number.isSafeInteger(count);
  if (!isCount || count < 1 || count > most) throw new RangeError(`${name} ${count} is not 1 to ${most}`);
}
