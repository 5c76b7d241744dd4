/** What an embedder may choose about Cheetah; every limit of its code is named here, with its default. */
import type { RequestLimits } from '../http/request.ts';

export interface CheetahLimits extends RequestLimits {
  /** Memory for file contents. A file longer than a quarter of it is sent past the cache. */
  readonly cacheBytes: number;
  /** File versions kept, however small. */
  readonly maxVersions: number;
  /** Request paths remembered, answers like 404 among them. */
  readonly maxPaths: number;
  /** How long an answer holds before the disk is asked again: a changed file is served at most this much later. */
  readonly revalidateMs: number;
  /** A cached body of up to so many bytes is copied behind its prepared head, once a second, and both leave as one region. */
  readonly joinedBodyBytes: number;
  /** Memory for response heads, and the bodies joined to them. */
  readonly responseMemoryBytes: number;
  /** Memory for request heads that arrive in pieces or wait for the disk. */
  readonly requestMemoryBytes: number;
  /** Request heads remembered, so that the same head is not parsed again; 0 for none. */
  readonly notedHeads: number;
  /** Memory for all files being sent past the cache, and the piece they are read in. */
  readonly streamMemoryBytes: number;
  readonly streamChunkBytes: number;
  /** Without `mergedCache`: memory for all copies of bodies being sent, and for that of one connection. */
  readonly sendMemoryBytes: number;
  readonly sendBufferBytes: number;
  /** Of an HTML page, what is looked through for what it includes. */
  readonly groupPageBytes: number;
  /** Files of a page's group, and bytes read for it. */
  readonly groupMembers: number;
  readonly groupBytes: number;
  /** Files read for groups at one time, and those that may wait for it. */
  readonly groupReads: number;
  readonly groupQueue: number;
  /** Pages whose groups are remembered. */
  readonly maxGroups: number;
  /** Longest request body that is read over, framing included. */
  readonly maxBodyBytes: number;
  /** Time for a request's head to arrive, and for its body. */
  readonly headTimeoutUs: number;
  /** How long a connection may rest between requests. */
  readonly idleTimeoutUs: number;
  /** How long a client may take nothing of what is queued for it. */
  readonly sendTimeoutUs: number;
  /** Queued bytes beyond which no further request is read; not below TCP's `sendLowWaterBytes`. */
  readonly pipelineBytes: number;
  /** Requests answered on one connection, 0 for any number. */
  readonly maxRequests: number;
  /** How long `close` waits for running responses before it resets them. */
  readonly graceUs: number;
}

export const DEFAULT_LIMITS: CheetahLimits = {
  maxHeadBytes: 8192,
  maxTargetBytes: 4096,
  maxFields: 100,
  cacheBytes: 256 * 1024 * 1024,
  maxVersions: 16_384,
  maxPaths: 16_384,
  revalidateMs: 100,
  joinedBodyBytes: 1024,
  responseMemoryBytes: 32 * 1024 * 1024,
  requestMemoryBytes: 16 * 1024 * 1024,
  notedHeads: 64,
  streamMemoryBytes: 32 * 1024 * 1024,
  streamChunkBytes: 256 * 1024,
  sendMemoryBytes: 64 * 1024 * 1024,
  sendBufferBytes: 256 * 1024,
  groupPageBytes: 256 * 1024,
  groupMembers: 64,
  groupBytes: 8 * 1024 * 1024,
  groupReads: 16,
  groupQueue: 1024,
  maxGroups: 1024,
  maxBodyBytes: 64 * 1024,
  headTimeoutUs: 30_000_000,
  idleTimeoutUs: 60_000_000,
  sendTimeoutUs: 60_000_000,
  pipelineBytes: 256 * 1024,
  maxRequests: 0,
  graceUs: 5_000_000,
};

const MAY_BE_ZERO = ['maxRequests', 'revalidateMs', 'joinedBodyBytes', 'notedHeads'];

/** Throws `RangeError` for limits that contradict each other or make no sense. */
export function checkLimits(limits: CheetahLimits): void {
  for (const [name, value] of Object.entries(limits)) {
    const smallest = MAY_BE_ZERO.includes(name) ? 0 : 1;
    if (!Number.isSafeInteger(value) || value < smallest) throw new RangeError(`${name} cannot be ${value}`);
  }
  if (limits.maxTargetBytes > limits.maxHeadBytes) {
    throw new RangeError(`maxTargetBytes ${limits.maxTargetBytes} is more than maxHeadBytes ${limits.maxHeadBytes}`);
  }
  if (limits.streamChunkBytes > limits.streamMemoryBytes) {
    throw new RangeError('streamChunkBytes is more than streamMemoryBytes');
  }
  if (limits.sendBufferBytes > limits.sendMemoryBytes) {
    throw new RangeError('sendBufferBytes is more than sendMemoryBytes');
  }
}
