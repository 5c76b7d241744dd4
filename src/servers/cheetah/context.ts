/** What all connections of one Cheetah share. */
import type { BlockAllocator } from '../../runtime/block-allocator.ts';
import type { Log } from '../../runtime/log.ts';
import type { TimerWheel } from '../../runtime/timer-wheel.ts';
import type { TurnClock } from '../../runtime/turn-clock.ts';
import type { Bytes } from '../../wire/bytes.ts';
import type { ByteRange } from '../http/conditions.ts';
import type { RequestMemo } from '../http/request-memo.ts';
import type { Responder } from '../http/response.ts';
import type { Transport } from '../http/transport.ts';
import type { CheetahCounters } from './counters.ts';
import type { FileSource } from './disk.ts';
import type { FileCache } from './file-cache.ts';
import type { StreamMemory } from './file-stream.ts';
import type { HttpConnection } from './http-connection.ts';
import type { SendBuffers } from './send-buffers.ts';
import type { CheetahLimits } from './settings.ts';
import type { VersionStore } from './version-store.ts';

export interface HttpContext<Connection> {
  readonly transport: Transport<Connection>;
  readonly bytes: Bytes;
  readonly cache: FileCache;
  /** What responses are sent from. */
  readonly versions: VersionStore;
  readonly responder: Responder;
  readonly source: FileSource;
  readonly streams: StreamMemory;
  /** What bodies are copied to before they are sent; null when they are sent from the cache. */
  readonly copies: SendBuffers | null;
  /** Bodies of up to so many bytes are joined to their heads; 0 for none. */
  readonly joinedBodyBytes: number;
  /** Request heads that arrived in pieces or wait for the disk. */
  readonly heads: BlockAllocator;
  readonly counters: CheetahCounters;
  readonly clock: TurnClock;
  readonly timers: TimerWheel;
  readonly timerKind: number;
  readonly log: Log;
  readonly limits: CheetahLimits;
  readonly wake: () => void;
  /** The request being handled is its `head`, and the range that it asks for: one at a time. */
  readonly requests: RequestMemo;
  readonly range: ByteRange;
  /** The time of the turn, as of `readClock`: milliseconds modulo 2^32. */
  nowMs: number;
  /** The server is shutting down: every response is its connection's last. */
  closing: boolean;
  /** The connection is gone and its record may be used again. */
  recycle(connection: HttpConnection<Connection>): void;
}

/** Takes the time of the turn for all that is done next. */
export function readClock(context: HttpContext<unknown>): void {
  context.nowMs = context.clock.nowMs;
  context.responder.tick(context.nowMs);
}

/** The same for what begins outside a turn. */
export function lookAtClock(context: HttpContext<unknown>): void {
  context.clock.look();
  readClock(context);
}
