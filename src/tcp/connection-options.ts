/**
 * What an application may choose for one connection (Linux's SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT,
 * TCP_USER_TIMEOUT, TCP_MAXSEG). Connections share the record of their stack or listener until one is given its own.
 */
import type { TcpSettings } from './settings.ts';

export interface ConnectionOptions {
  /** RFC 9293 3.8.4: idle time before the first keep-alive probe; 0 for none. */
  readonly keepAliveIdleUs: number;
  readonly keepAliveIntervalUs: number;
  readonly keepAliveProbes: number;
  /**
   * RFC 9293 3.9.1.1: the connection ends when something sent has not been acknowledged for so long, or probes not been answered; 0:
   * after `dataRetries`.
   */
  readonly userTimeoutUs: number;
  /** The peer's user timeout option may change it (RFC 5482 section 3.1: CHANGEABLE). */
  readonly userTimeoutChangeable: boolean;
  /** The longest text of a segment, ours and the peer's; 0: what the path takes. */
  readonly maxSegmentBytes: number;
}

/** What may be given for a connection; what is left out stays as it is. */
export type ConnectionChoice = Partial<Omit<ConnectionOptions, 'userTimeoutChangeable'>>;

// As in Linux.
const LEAST_MAX_SEGMENT_BYTES = 88;
const MOST_MAX_SEGMENT_BYTES = 32_767;
const MOST_KEEP_ALIVE_PROBES = 127;

/** What the connections of a stack begin with. */
export function connectionOptionsOf(settings: TcpSettings): ConnectionOptions {
  const { keepAliveIdleUs, keepAliveIntervalUs, keepAliveProbes, userTimeoutUs } = settings;
  const userTimeoutChangeable = userTimeoutUs === 0;
  return {
    keepAliveIdleUs,
    keepAliveIntervalUs,
    keepAliveProbes,
    userTimeoutUs,
    userTimeoutChangeable,
    maxSegmentBytes: 0,
  };
}

/** Options with a choice put in. Throws `RangeError` for one that cannot be. */
export function chooseOptions(options: ConnectionOptions, choice: ConnectionChoice): ConnectionOptions {
  const { maxSegmentBytes, keepAliveProbes } = choice;
  for (const name of ['keepAliveIdleUs', 'userTimeoutUs'] as const) {
    const value = choice[name];
    if (value !== undefined && !(value >= 0)) throw new RangeError(`${name} ${value} is negative`);
  }
  const { keepAliveIntervalUs } = choice;
  if (keepAliveIntervalUs !== undefined && !(keepAliveIntervalUs > 0)) {
    throw new RangeError(`keepAliveIntervalUs ${keepAliveIntervalUs} is not above 0`);
  }
  if (keepAliveProbes !== undefined && !(keepAliveProbes >= 1 && keepAliveProbes <= MOST_KEEP_ALIVE_PROBES)) {
    throw new RangeError(`keepAliveProbes ${keepAliveProbes} is not 1 to ${MOST_KEEP_ALIVE_PROBES}`);
  }
  if (maxSegmentBytes !== undefined && maxSegmentBytes !== 0) {
    if (!(maxSegmentBytes >= LEAST_MAX_SEGMENT_BYTES && maxSegmentBytes <= MOST_MAX_SEGMENT_BYTES)) {
      throw new RangeError(
        `maxSegmentBytes ${maxSegmentBytes} is not 0, or ${LEAST_MAX_SEGMENT_BYTES} to ${MOST_MAX_SEGMENT_BYTES}`,
      );
    }
  }
  // What the application has chosen the peer does not change.
  const userTimeoutChangeable = options.userTimeoutChangeable && choice.userTimeoutUs === undefined;
  return { ...options, ...choice, userTimeoutChangeable };
}
