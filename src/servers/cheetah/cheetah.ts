/**
 * Cheetah, the HTTP server: files from a directory, sent from a cache in the arena straight through the library OS's TCP.
 *
 * This file puts it together and keeps its connections; the life of one is in http-connection.ts, the cache in
 * file-cache.ts. Everything on the way of a request runs inside the stack's turn.
 *
 * Memory: the constructor carves the cache and the other bounded pools from the arena, for good.
 */
import type { Arena } from '../../runtime/arena.ts';
import { BlockAllocator } from '../../runtime/block-allocator.ts';
import { giveWay } from '../../runtime/give-way.ts';
import type { Log } from '../../runtime/log.ts';
import type { TimerWheel } from '../../runtime/timer-wheel.ts';
import type { TurnClock } from '../../runtime/turn-clock.ts';
import { ByteRange } from '../http/conditions.ts';
import { type MemoCounterName, RequestMemo } from '../http/request-memo.ts';
import { Responder, type ResponderCounterName } from '../http/response.ts';
import type { Transport, TransportListener, TransportUser } from '../http/transport.ts';
import type { HttpContext } from './context.ts';
import {
  type CheetahCounterName,
  type CheetahCounters,
  CONNECTIONS,
  createCounters,
  RECORDS_REUSED,
} from './counters.ts';
import { DiskFiles, type FileSource } from './disk.ts';
import { FileCache } from './file-cache.ts';
import { StreamMemory } from './file-stream.ts';
import { HttpConnection } from './http-connection.ts';
import { PageGroups } from './page-groups.ts';
import { SendBuffers } from './send-buffers.ts';
import { type CheetahLimits, checkLimits, DEFAULT_LIMITS } from './settings.ts';
import { ALL_SPECIALISATIONS, type Specialisations } from './specialisations.ts';
import { VersionStore } from './version-store.ts';

export interface CheetahOptions<Connection> {
  /** The directory to serve. */
  readonly root: string;
  /** `new TcpTransport(stack.tcp)`, or another byte stream. */
  readonly tcp: Transport<Connection>;
  readonly arena: Arena;
  readonly clock: TurnClock;
  readonly timers: TimerWheel;
  readonly log: Log;
  /** Has the stack take a turn soon: calls were made outside of one. */
  readonly wake: () => void;
  readonly port: number;
  /** Same as `limits.cacheBytes`. */
  readonly cacheBytes?: number | undefined;
  readonly limits?: Partial<CheetahLimits> | undefined;
  /** All are on unless turned off; those that are TCP's are `tcpSettingsOf` them, for whoever makes the TCP. */
  readonly specialisations?: Partial<Specialisations> | undefined;
  /** Where files come from instead of `root`. */
  readonly source?: FileSource | undefined;
  /** Lets others have their time during long work outside a turn; Node's loop comes round unless a simulation says otherwise. */
  readonly giveWay?: (() => Promise<void>) | undefined;
}

export class Cheetah<Connection> {
  readonly counters: CheetahCounters = createCounters();
  private readonly options: CheetahOptions<Connection>;
  private readonly reuse: boolean;
  private readonly context: HttpContext<Connection>;
  private readonly bodies: BlockAllocator;
  private readonly responses: BlockAllocator;
  private readonly groups: PageGroups | null;
  private readonly graceTimer: number;
  private readonly connections: HttpConnection<Connection>[] = [];
  private readonly free: HttpConnection<Connection>[] = [];
  private listener: TransportListener | null = null;
  private onClosed: (() => void) | null = null;

  /**
   * Throws `RangeError` when the limits make no sense or the arena has no room for them, and the system's error when
   * `root` is no directory.
   */
  constructor(options: CheetahOptions<Connection>) {
    const limits: CheetahLimits = { ...DEFAULT_LIMITS, ...options.limits };
    const settled = options.cacheBytes === undefined ? limits : { ...limits, cacheBytes: options.cacheBytes };
    checkLimits(settled);
    this.options = options;
    const { arena, clock, timers, log } = options;
    const { bytes } = arena;
    const source = options.source ?? new DiskFiles(options.root);
    this.bodies = new BlockAllocator(arena, settled.cacheBytes);
    this.responses = new BlockAllocator(arena, settled.responseMemoryBytes);
    const wake = (): void => {
      this.options.wake();
      this.checkClosed();
    };
    const chosen: Specialisations = { ...ALL_SPECIALISATIONS, ...options.specialisations };
    this.reuse = chosen.reuse;
    const sums = chosen.precomputedChecksums && options.tcp.sums;
    const responder = new Responder(bytes, this.responses, clock, { keepHeads: chosen.headerCache, sums });
    const { counters } = this;
    const versions = new VersionStore(this.bodies, responder, counters, settled.maxVersions);
    const shared = { bytes, source, responder, clock, log, limits: settled, counters, versions, wake };
    const { sendMemoryBytes, sendBufferBytes } = settled;
    const onIdle = (): void => this.checkClosed();
    this.context = {
      ...shared,
      transport: options.tcp,
      // Copies are sent from elsewhere, where the sums of the cache do not hold.
      cache: new FileCache({ ...shared, sums: sums && chosen.mergedCache }),
      streams: new StreamMemory(arena, settled.streamMemoryBytes, settled.streamChunkBytes, onIdle),
      copies: chosen.mergedCache
        ? null
        : new SendBuffers(arena, bytes, sendMemoryBytes, sendBufferBytes, versions, counters, onIdle),
      joinedBodyBytes: chosen.mergedCache && responder.keepsHeads ? settled.joinedBodyBytes : 0,
      heads: new BlockAllocator(arena, settled.requestMemoryBytes),
      timers,
      timerKind: timers.addKind((index) => this.connections[index]?.expire()),
      requests: new RequestMemo(arena, settled, settled.notedHeads),
      range: new ByteRange(),
      nowMs: 0,
      closing: false,
      recycle: (connection) => this.recycle(connection),
    };
    this.groups = chosen.htmlGrouping ? this.groupPages(options.giveWay ?? giveWay) : null;
    this.graceTimer = timers.create(
      timers.addKind(() => this.abortAll()),
      0,
    );
  }

  /** Connections that are open. */
  get liveConnections(): number {
    return this.connections.length - this.free.length;
  }

  /** Bytes of file contents in the cache, those being sent among them. */
  get cachedBytes(): number {
    return this.bodies.usedBytes;
  }

  /**
   * What is held for connections and responses and must come back: file versions and header blocks that are kept or being
   * sent, memory of heads and streams, disk work under way.
   */
  get holdings(): {
    versions: number;
    blocks: number;
    headBytes: number;
    streams: number;
    copies: number;
    lookups: number;
  } {
    const { cache, versions, responder, heads, streams, copies } = this.context;
    return {
      versions: versions.live,
      blocks: responder.blocks.live,
      headBytes: heads.usedBytes,
      streams: streams.live,
      copies: copies?.live ?? 0,
      lookups: cache.pending,
    };
  }

  /** All counters by name. */
  snapshot(): Record<CheetahCounterName | ResponderCounterName | MemoCounterName, number> {
    const { responder, requests } = this.context;
    return { ...this.counters.snapshot(), ...responder.counters.snapshot(), ...requests.counters.snapshot() };
  }

  /** Begins to listen; throws `RangeError` when the port is taken. */
  start(): void {
    if (this.listener !== null || this.context.closing) throw new TypeError('a Cheetah starts once');
    this.listener = this.options.tcp.listen(this.options.port, (connection) => this.accept(connection));
  }

  /**
   * Stops listening, ends connections that rest, and the others with the response they are at; what has not ended after
   * `graceUs` is reset. Resolves when the last connection is gone and no disk work is left; the stack must go on taking turns until
   * then.
   */
  close(): Promise<void> {
    const { context } = this;
    if (context.closing) throw new TypeError('a Cheetah closes once');
    context.closing = true;
    this.listener?.close();
    this.groups?.close();
    context.clock.look();
    context.timers.scheduleAfter(this.graceTimer, context.limits.graceUs);
    return new Promise((resolve) => {
      this.onClosed = resolve;
      for (const connection of this.connections) connection.shutdown();
      context.wake();
    });
  }

  private groupPages(way: () => Promise<void>): PageGroups {
    const { cache, bytes, limits, counters } = this.context;
    const groups = new PageGroups({ cache, bytes, limits, counters, giveWay: way });
    cache.onPage = (page, version) => groups.pageChecked(page, version);
    return groups;
  }

  private accept(connection: Connection): TransportUser<Connection> {
    const record = this.takeRecord();
    this.counters.increment(CONNECTIONS);
    record.begin(connection);
    return record;
  }

  private takeRecord(): HttpConnection<Connection> {
    const free = this.free.pop();
    if (free !== undefined && this.reuse) {
      this.counters.increment(RECORDS_REUSED);
      return free;
    }
    free?.destroy();
    const record = new HttpConnection(this.context, free?.index ?? this.connections.length);
    this.connections[record.index] = record;
    return record;
  }

  private recycle(connection: HttpConnection<Connection>): void {
    this.free.push(connection);
    this.checkClosed();
  }

  private abortAll(): void {
    for (const connection of this.connections) connection.abort();
    this.context.wake();
  }

  /** Resolves `close` once nothing is left. */
  private checkClosed(): void {
    const { cache, streams, copies, timers } = this.context;
    if (this.onClosed === null || this.liveConnections > 0 || cache.pending > 0) return;
    if (streams.live > 0 || (copies?.live ?? 0) > 0) return;
    const resolve = this.onClosed;
    this.onClosed = null;
    timers.destroy(this.graceTimer);
    for (const connection of this.connections) connection.destroy();
    cache.close();
    this.context.responder.close();
    resolve();
  }
}
