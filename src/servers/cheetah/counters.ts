/** What Cheetah counts: names for people, indexes for the code. */
import { Counters } from '../../runtime/counters.ts';
import { STATUSES } from '../http/response.ts';

const EVENT_NAMES = [
  'connections',
  'connectionsClosed',
  'requests',
  'cacheHits',
  'cacheMisses',
  'lookups',
  'versionsLoaded',
  'versionsEvicted',
  'loadedBytes',
  'bodyBytes',
  'rangeResponses',
  'streams',
  'streamsBroken',
  'timeouts',
  'aborts',
  'memoryShortages',
  'payloadBytesCopied',
  'bytesSummedAtLoad',
  'recordsReused',
  'groupsRead',
  'groupReads',
  'groupHits',
  'groupLate',
  'groupWasted',
  'groupPagesCut',
  'groupMembersOver',
  'groupBytesOver',
  'answersJoined',
] as const;

export type CheetahCounterName = (typeof EVENT_NAMES)[number] | `responses${number}`;

export const CONNECTIONS = 0;
export const CONNECTIONS_CLOSED = 1;
/** Request heads that were whole and well-formed. */
export const REQUESTS = 2;
/** GET and HEAD answered from what the cache held, and those that had to wait for the disk. */
export const CACHE_HITS = 3;
export const CACHE_MISSES = 4;
/** Names looked up on disk, first and later checks alike. */
export const LOOKUPS = 5;
export const VERSIONS_LOADED = 6;
export const VERSIONS_EVICTED = 7;
/** Bytes read into the cache. */
export const LOADED_BYTES = 8;
/** Bytes of files queued to be sent. */
export const BODY_BYTES = 9;
export const RANGE_RESPONSES = 10;
/** Files sent past the cache, and those of them that changed or failed under way. */
export const STREAMS = 11;
export const STREAMS_BROKEN = 12;
/** Connections ended because the client was too slow. */
export const TIMEOUTS = 13;
/** Connections we reset. */
export const ABORTS = 14;
/** Requests that could not be served for want of memory. */
export const MEMORY_SHORTAGES = 15;
/** Bytes of cached files copied into send buffers. */
export const PAYLOAD_BYTES_COPIED = 16;
/** Bytes of files read to make their grids of sums, once a version. */
export const BYTES_SUMMED_AT_LOAD = 17;
/** Connections whose record had served one before. */
export const RECORDS_REUSED = 18;
/** Pages whose includes were looked for. */
export const GROUPS_READ = 19;
/** Files read because a page includes them, before anybody asked for them. */
export const GROUP_READS = 20;
/** First requests for such a file that found it in the cache; those that came while it was read; files that went unasked for. */
export const GROUP_HITS = 21;
export const GROUP_LATE = 22;
export const GROUP_WASTED = 23;
/** Pages longer than is looked through, members beyond the number, and beyond the bytes, of a group. */
export const GROUP_PAGES_CUT = 24;
export const GROUP_MEMBERS_OVER = 25;
export const GROUP_BYTES_OVER = 26;
/** Files sent as one region, head and body. */
export const ANSWERS_JOINED = 27;

/** By status: index of its counter. */
const STATUS_INDEX = new Uint8Array(600);
STATUSES.forEach((status, index) => {
  STATUS_INDEX[status] = EVENT_NAMES.length + index;
});

export type CheetahCounters = Counters<CheetahCounterName>;

export function createCounters(): CheetahCounters {
  return new Counters<CheetahCounterName>([
    ...EVENT_NAMES,
    ...STATUSES.map((status): CheetahCounterName => `responses${status}`),
  ]);
}

export function countResponse(counters: CheetahCounters, status: number): void {
  counters.increment(STATUS_INDEX[status] as number);
}
