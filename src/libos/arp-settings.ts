/** The limits of the ARP cache and what it counts (its drops are counted by reason beside it). */

export interface ArpLimits {
  /** Entries of the table; those that paths use are never evicted. */
  readonly maxEntries: number;
  /** Frames that wait for one neighbour; the oldest gives way. */
  readonly maxPendingPerNeighbour: number;
  /** Frames that wait for all of them. */
  readonly maxPendingFrames: number;
  /** Unanswered requests before a neighbour is unreachable, and unicast probes before it is asked for by broadcast. */
  readonly maxRequests: number;
  /** Between two requests (RFC 1122 section 2.3.2.1: at most one a second). */
  readonly requestIntervalUs: number;
  /** How long an answer counts as fresh. */
  readonly reachableUs: number;
  /** How long an unused stale or failed entry is kept. */
  readonly staleUs: number;
  /** Between two defences of our address (RFC 5227 DEFEND_INTERVAL). */
  readonly defendIntervalUs: number;
  /** Announcements at start, and between two of them (RFC 5227 ANNOUNCE_NUM, ANNOUNCE_INTERVAL). */
  readonly announcements: number;
  readonly announceIntervalUs: number;
}

export const DEFAULT_ARP_LIMITS: ArpLimits = {
  maxEntries: 1024,
  maxPendingPerNeighbour: 4,
  maxPendingFrames: 64,
  maxRequests: 3,
  requestIntervalUs: 1_000_000,
  reachableUs: 30_000_000,
  staleUs: 60_000_000,
  defendIntervalUs: 10_000_000,
  announcements: 2,
  announceIntervalUs: 2_000_000,
};

export const ARP_COUNTERS = [
  'received',
  'requestsSent',
  'probesSent',
  'repliesSent',
  'announcementsSent',
  'resolved',
  'refreshed',
  'learned',
  'updated',
  'unchanged',
  'conflicts',
  'defences',
  'unreachable',
  'evicted',
  'expired',
  'tableFull',
  'framesParked',
  'framesReleased',
  'framesDropped',
  'queueFull',
] as const;
export const RECEIVED = ARP_COUNTERS.indexOf('received');
export const REQUESTS_SENT = ARP_COUNTERS.indexOf('requestsSent');
export const PROBES_SENT = ARP_COUNTERS.indexOf('probesSent');
export const REPLIES_SENT = ARP_COUNTERS.indexOf('repliesSent');
export const ANNOUNCEMENTS_SENT = ARP_COUNTERS.indexOf('announcementsSent');
export const RESOLVED = ARP_COUNTERS.indexOf('resolved');
export const REFRESHED = ARP_COUNTERS.indexOf('refreshed');
export const LEARNED = ARP_COUNTERS.indexOf('learned');
export const UPDATED = ARP_COUNTERS.indexOf('updated');
export const UNCHANGED = ARP_COUNTERS.indexOf('unchanged');
export const CONFLICTS = ARP_COUNTERS.indexOf('conflicts');
export const DEFENCES = ARP_COUNTERS.indexOf('defences');
export const UNREACHABLE = ARP_COUNTERS.indexOf('unreachable');
export const EVICTED = ARP_COUNTERS.indexOf('evicted');
export const EXPIRED = ARP_COUNTERS.indexOf('expired');
export const TABLE_FULL = ARP_COUNTERS.indexOf('tableFull');
export const FRAMES_PARKED = ARP_COUNTERS.indexOf('framesParked');
export const FRAMES_RELEASED = ARP_COUNTERS.indexOf('framesReleased');
export const FRAMES_DROPPED = ARP_COUNTERS.indexOf('framesDropped');
export const QUEUE_FULL = ARP_COUNTERS.indexOf('queueFull');
