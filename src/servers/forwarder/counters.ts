/** What a forwarder counts, beside frames dropped for what they are (`Forwarder.drops`, by reason). */
import type { Counters } from '../../runtime/counters.ts';

export const FORWARDER_COUNTERS = [
  'framesIn',
  'framesForwarded',
  'framesSegmented',
  'framesWaited',
  'flowsOpened',
  'flowsRefused',
  'flowsUnrouted',
  'portsExhausted',
  'portsRisked',
  'flowsClosed',
  'flowsReset',
  'flowsTimedOut',
  'lingeringEvicted',
  'halfOpenEvicted',
  'opensFailed',
  'backendsRested',
  'backendsReturned',
  'errorsTranslated',
  'errorsOfStrangers',
  'resetsSent',
  'resetsLimited',
  'fragmentsDropped',
  'strangersDropped',
  'hopsExceeded',
  'tooLong',
  'unreachable',
  'waitingFull',
  'queueFull',
] as const;

const at = (name: (typeof FORWARDER_COUNTERS)[number]): number => FORWARDER_COUNTERS.indexOf(name);

export const FRAMES_IN = at('framesIn');
/** Frames that left; a super-frame is one. */
export const FRAMES_FORWARDED = at('framesForwarded');
/** Super-frames that were cut here, because the device they left by takes none. */
export const FRAMES_SEGMENTED = at('framesSegmented');
/** Frames that waited for a neighbour's link-layer address. */
export const FRAMES_WAITED = at('framesWaited');
export const FLOWS_OPENED = at('flowsOpened');
/** New connections refused because the table was full. */
export const FLOWS_REFUSED = at('flowsRefused');
/** New connections dropped because no route leads to the client or to a backend. */
export const FLOWS_UNROUTED = at('flowsUnrouted');
/** New connections refused because no port to any backend was free. */
export const PORTS_EXHAUSTED = at('portsExhausted');
/** New connections from a port on which the backend may still remember another: it might not answer their first SYN. */
export const PORTS_RISKED = at('portsRisked');
export const FLOWS_CLOSED = at('flowsClosed');
export const FLOWS_RESET = at('flowsReset');
export const FLOWS_TIMED_OUT = at('flowsTimedOut');
/** Flows that had ended, and made room for new ones before their time. */
export const LINGERING_EVICTED = at('lingeringEvicted');
/** Flows not yet established that gave way to newer ones: there are limits to them. */
export const HALF_OPEN_EVICTED = at('halfOpenEvicted');
/** Connections that a backend refused, did not answer in time, or could not be reached for. */
export const OPENS_FAILED = at('opensFailed');
/** Backends that were left alone for a while, and those of them that have answered again. */
export const BACKENDS_RESTED = at('backendsRested');
export const BACKENDS_RETURNED = at('backendsReturned');
/** ICMP errors that went on to the other side, and those about no flow. */
export const ERRORS_TRANSLATED = at('errorsTranslated');
export const ERRORS_OF_STRANGERS = at('errorsOfStrangers');
export const RESETS_SENT = at('resetsSent');
export const RESETS_LIMITED = at('resetsLimited');
/** First fragments of segments: the forwarder puts nothing together. */
export const FRAGMENTS_DROPPED = at('fragmentsDropped');
/** Segments of no flow that are answered by nothing. */
export const STRANGERS_DROPPED = at('strangersDropped');
export const HOPS_EXCEEDED = at('hopsExceeded');
/** Frames that the link they had to leave by is too narrow for. */
export const TOO_LONG = at('tooLong');
/** Frames whose next hop does not answer. */
export const UNREACHABLE = at('unreachable');
export const WAITING_FULL = at('waitingFull');
export const QUEUE_FULL = at('queueFull');

export type ForwarderCounters = Counters<(typeof FORWARDER_COUNTERS)[number]>;
