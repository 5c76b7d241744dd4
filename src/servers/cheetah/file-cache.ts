/**
 * The file cache: what is known about paths and about the files behind them, and how it is learnt from the disk.
 *
 * The hot path is `find` and `isFresh`: no string, no allocation, no disk. Everything else is asynchronous: a path that is
 * unknown or too long unchecked is looked up on disk while its requests wait, and many wait for one lookup. A path in use
 * is checked again ahead of time, so that requests for it never wait.
 *
 * Memory: bodies are in the arena and belong to their versions (version-store.ts).
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Bytes } from '../../wire/bytes.ts';
import { beginGrid, bytesWithGrid, extendGrid, gridBehind } from '../../wire/sum-grid.ts';
import type { Responder } from '../http/response.ts';
import { decodePath, directoryLocation } from '../http/target.ts';
import { CachedFile, FileVersion } from './cached-file.ts';
import {
  BYTES_SUMMED_AT_LOAD,
  type CheetahCounters,
  GROUP_HITS,
  GROUP_LATE,
  GROUP_READS,
  LOADED_BYTES,
  LOOKUPS,
  VERSIONS_LOADED,
} from './counters.ts';
import {
  type FileIdentity,
  type FileSource,
  FOUND_DIRECTORY,
  FOUND_FILE,
  FOUND_FORBIDDEN,
  FOUND_NOTHING,
  type Found,
  kindOfError,
  type OpenFile,
  sameIdentity,
  sameVersion,
} from './disk.ts';
import type { ByteBudget } from './page-groups.ts';
import {
  ENTRY_FILE,
  ENTRY_NEW,
  ENTRY_REDIRECT,
  ENTRY_STATUS,
  type LookupWaiter,
  MAX_KEY_BYTES,
  PathEntry,
  PathTable,
} from './path-table.ts';
import type { CheetahLimits } from './settings.ts';
import type { VersionStore } from './version-store.ts';

/** Reads of a file that keeps changing while it is read. */
const READ_ATTEMPTS = 4;
/** Bytes read, and summed, at a time. */
const READ_BYTES = 1024 * 1024;
/** A file changed this shortly before it was read may change again without its time moving: kernel clock granularity. */
const RACY_MS = 20;
/** The cache takes no file longer than its own length divided by this. */
const LARGEST_SHARE = 4;

export interface FileCacheOptions {
  readonly bytes: Bytes;
  readonly versions: VersionStore;
  readonly source: FileSource;
  readonly responder: Responder;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: CheetahLimits;
  readonly counters: CheetahCounters;
  /** Versions get grids of sums. */
  readonly sums: boolean;
  /** Called after waiters have been served outside a turn. */
  readonly wake: () => void;
}

export class FileCache {
  /** Lookups and loads that are running. */
  pending = 0;
  /** Told when an HTML page that clients ask for has been checked and is in the cache. */
  onPage: (page: PathEntry, version: FileVersion) => void = () => undefined;
  private readonly bytes: Bytes;
  private readonly versions: VersionStore;
  private readonly source: FileSource;
  private readonly responder: Responder;
  private readonly clock: Clock;
  private readonly log: Log;
  private readonly limits: CheetahLimits;
  private readonly counters: CheetahCounters;
  private readonly sums: boolean;
  private readonly wake: () => void;
  private readonly table: PathTable;
  private readonly files = new Map<string, CachedFile>();
  private serial = 0;
  private closed = false;

  constructor(options: FileCacheOptions) {
    this.bytes = options.bytes;
    this.versions = options.versions;
    this.source = options.source;
    this.responder = options.responder;
    this.clock = options.clock;
    this.log = options.log;
    this.limits = options.limits;
    this.counters = options.counters;
    this.sums = options.sums;
    this.wake = options.wake;
    this.table = new PathTable(options.limits.maxPaths);
  }

  /** Files longer than this are sent past the cache. */
  get largestBodyBytes(): number {
    return Math.floor(this.limits.cacheBytes / LARGEST_SHARE);
  }

  // The hot path.

  /** What is known about the path that lies at `at`. */
  find(bytes: Bytes, at: number, length: number, hash: number): PathEntry | null {
    return this.table.find(bytes, at, length, hash);
  }

  /** Whether the entry may be answered from as it is; has it checked in the background when it soon may not. */
  isFresh(entry: PathEntry, nowMs: number): boolean {
    if (entry.refused) return true;
    const { revalidateMs } = this.limits;
    const ageMs = (nowMs - entry.checkedMs) | 0;
    if (entry.kind === ENTRY_NEW || ageMs >= revalidateMs) return false;
    if (entry.kind === ENTRY_FILE && !isServable(entry.file)) return false;
    if (ageMs * 2 >= revalidateMs && !entry.checking) void this.startCheck(entry);
    return true;
  }

  // Lookups.

  /** An entry for a path that `find` does not know. */
  createEntry(bytes: Bytes, at: number, length: number, hash: number): PathEntry {
    const path = decodePath(bytes, at, length);
    const key = length <= MAX_KEY_BYTES ? bytes.slice(at, at + length) : new Uint8Array(0);
    const entry = new PathEntry(key, hash, path);
    if (length > MAX_KEY_BYTES) return entry;
    const old = this.table.insert(entry);
    if (old !== null && !old.checking) this.detach(old);
    return entry;
  }

  /** Has `waiter.lookedUp` called, never before this returns, when the entry has been checked. */
  wait(entry: PathEntry, waiter: LookupWaiter): void {
    entry.waiters.push(waiter);
    if (entry.budget !== null) {
      entry.budget = null;
      this.counters.increment(GROUP_LATE);
    }
    if (!entry.checking) void this.startCheck(entry);
    else if (((this.nowMs() - entry.checkBeganMs) | 0) >= this.limits.revalidateMs) entry.checkAgain = true;
  }

  /** The waiter is gone. */
  cancel(entry: PathEntry, waiter: LookupWaiter): void {
    const index = entry.waiters.indexOf(waiter);
    if (index >= 0) entry.waiters.splice(index, 1);
  }

  // Groups (page-groups.ts).

  /** The entry of a path that no request need have asked for. */
  entryOf(key: Uint8Array, hash: number): PathEntry {
    return this.find(key, 0, key.length, hash) ?? this.createEntry(key, 0, key.length, hash);
  }

  /**
   * Has a path that nobody waits for looked up and its file read, if it is not in the cache yet and the budget allows it.
   * Resolves when that is done; false when the file was too long.
   */
  async readAhead(entry: PathEntry, budget: ByteBudget): Promise<boolean> {
    const missing = entry.kind === ENTRY_NEW || (entry.kind === ENTRY_FILE && !isServable(entry.file));
    if (!missing || entry.checking) return true;
    entry.budget = budget;
    await this.startCheck(entry);
    return !entry.passedOver;
  }

  /** Has an entry checked in the background when its age calls for it. */
  refresh(entry: PathEntry): void {
    if (!this.isFresh(entry, this.nowMs()) && !entry.checking) void this.startCheck(entry);
  }

  /** The first request for a file that was read ahead finds it here. */
  noteGroupHit(file: CachedFile): void {
    file.readAhead = false;
    this.counters.increment(GROUP_HITS);
  }

  /** Forgets everything; what is being sent is released by those who send it. */
  close(): void {
    this.closed = true;
    this.table.clear((entry) => {
      if (!entry.checking) this.detach(entry);
    });
    for (const file of [...this.files.values()]) this.versions.dropCurrent(file);
  }

  private startCheck(entry: PathEntry): Promise<void> {
    entry.checking = true;
    entry.checkBeganMs = this.nowMs();
    this.pending++;
    this.counters.increment(LOOKUPS);
    return this.check(entry);
  }

  private async check(entry: PathEntry): Promise<void> {
    try {
      do {
        entry.checkAgain = false;
        entry.passedOver = false;
        entry.checkBeganMs = this.nowMs();
        await this.checkOnce(entry);
        entry.checkedMs = entry.checkBeganMs;
        // Somebody may have come to wait for what was too long to read ahead.
      } while (entry.checkAgain || (entry.passedOver && entry.waiters.length > 0));
    } catch (error) {
      this.log.error({ error, path: entry.segments.join('/') }, 'lookup failed');
      this.refuse(entry, 500);
    }
    entry.checking = false;
    this.pending--;
    const { waiters, budget } = entry;
    entry.waiters = [];
    entry.budget = null;
    for (const waiter of waiters) waiter.lookedUp(entry);
    // Nobody finds it any more: it must not keep its file.
    if (!entry.inTable && !entry.checking) this.detach(entry);
    this.wake();
    const version = entry.file?.version ?? null;
    if (budget === null && version !== null && version.file.isPage) this.onPage(entry, version);
  }

  private async checkOnce(entry: PathEntry): Promise<void> {
    const segments = entry.directory ? [...entry.segments, 'index.html'] : entry.segments;
    if (isLoaded(entry) && (await this.stillHolds(entry, segments))) return;
    const found = await this.source.find(segments);
    if (found.kind === FOUND_FILE && found.identity !== null) await this.checkFile(entry, found, found.identity);
    else if (found.kind === FOUND_DIRECTORY && !entry.directory) this.redirect(entry);
    else this.refuse(entry, statusOfKind(found.kind));
  }

  /**
   * Whether a loaded entry's path still names the very file that was loaded, unchanged. It was inside the root then; one look
   * is enough, where finding it anew takes three.
   */
  private async stillHolds(entry: PathEntry, segments: readonly string[]): Promise<boolean> {
    const identity = await this.source.look(segments);
    return identity !== null && isLoaded(entry) && isCurrent(entry.file as CachedFile, identity);
  }

  private async checkFile(entry: PathEntry, found: Found, identity: FileIdentity): Promise<void> {
    entry.passedOver = entry.budget !== null && !entry.budget.take(identity.bytes);
    if (entry.passedOver) return;
    const file = this.fileFor(found.realPath);
    this.attach(entry, file);
    // A load that was already running may have begun before the file became what was found.
    if (file.loading !== null) await file.loading;
    let status = 0;
    if (!isCurrent(file, identity)) {
      if (file.loading === null) {
        file.loading = this.load(file);
        this.pending++;
      }
      status = await file.loading;
      if (entry.budget !== null && file.version !== null) {
        file.readAhead = true;
        this.counters.increment(GROUP_READS);
      }
    }
    if (status !== 0) this.refuse(entry, status);
    else entry.kind = ENTRY_FILE;
  }

  private refuse(entry: PathEntry, status: number): void {
    const { file } = entry;
    this.detach(entry);
    if (file !== null && file.entries === 0) {
      this.versions.dropCurrent(file);
      this.forgetUnused(file);
    }
    entry.kind = ENTRY_STATUS;
    entry.status = status;
  }

  private redirect(entry: PathEntry): void {
    this.detach(entry);
    entry.kind = ENTRY_REDIRECT;
    entry.location = directoryLocation(entry.segments);
  }

  // Files and their versions.

  private fileFor(realPath: string): CachedFile {
    let file = this.files.get(realPath);
    if (file === undefined) {
      file = new CachedFile(realPath);
      this.files.set(realPath, file);
    }
    return file;
  }

  private attach(entry: PathEntry, file: CachedFile): void {
    if (entry.file === file) return;
    this.detach(entry);
    entry.file = file;
    file.entries++;
  }

  private detach(entry: PathEntry): void {
    const { file } = entry;
    if (file === null) return;
    entry.file = null;
    entry.kind = ENTRY_NEW;
    file.entries--;
    this.forgetUnused(file);
  }

  private forgetUnused(file: CachedFile): void {
    if (file.entries > 0 || file.version !== null || file.loading !== null) return;
    if (this.files.get(file.realPath) === file) this.files.delete(file.realPath);
  }

  /** Reads the file into a new version, or finds that it is to be streamed; returns 0 or the status of a failure. */
  private async load(file: CachedFile): Promise<number> {
    // The caller stores the promise before anything of this can end.
    await null;
    let status = 503;
    try {
      for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
        const opened = await this.source.open(file.realPath);
        let done = false;
        try {
          done = await this.readVersion(file, opened);
        } finally {
          await opened.close();
        }
        if (done) {
          status = 0;
          break;
        }
      }
    } catch (error) {
      status = statusOfKind(kindOfError(error));
      this.log.debug({ error, path: file.realPath }, 'file could not be read');
    }
    if (status !== 0) this.versions.dropCurrent(file);
    file.loading = null;
    this.pending--;
    this.forgetUnused(file);
    return status;
  }

  /** False when the file changed while it was read. */
  private async readVersion(file: CachedFile, opened: OpenFile): Promise<boolean> {
    const wallMs = this.clock.wallMs();
    const before = await opened.identity();
    const at = before.bytes > this.largestBodyBytes ? 0 : this.makeRoom(before.bytes);
    if (at === 0 && before.bytes > 0) {
      this.versions.dropCurrent(file);
      file.streamed = true;
      return true;
    }
    let kept = false;
    try {
      const read = await this.readBody(opened, at, before.bytes);
      const after = await opened.identity();
      if (read !== before.bytes || !sameIdentity(before, after)) return false;
      kept = this.install(file, after, at, isRacy(after, wallMs));
      return true;
    } finally {
      if (!kept && at !== 0) this.versions.freeBody(at);
    }
  }

  /** Reads a body to where it will be sent from, and sums it on the way if it is to be; returns how much of it there was. */
  private async readBody(opened: OpenFile, at: number, length: number): Promise<number> {
    const { bytes } = this;
    const grid = gridBehind(at, length);
    if (this.sums && length > 0) beginGrid(bytes, grid, at, length);
    for (let from = 0; from < length; from += READ_BYTES) {
      const to = Math.min(length, from + READ_BYTES);
      for (let read = from; read < to; ) {
        const count = await opened.read(bytes, at + read, to - read, read);
        if (count === 0) return read;
        read += count;
      }
      if (!this.sums) continue;
      extendGrid(bytes, grid, from, to);
      this.counters.add(BYTES_SUMMED_AT_LOAD, to - from);
    }
    return length;
  }

  /** Makes what was read the current version; false when it is what the current version holds already. */
  private install(file: CachedFile, identity: FileIdentity, at: number, racy: boolean): boolean {
    const old = file.version;
    let salt = '';
    if (old !== null && sameVersion(old.identity, identity)) {
      if (this.sameBody(old, at, identity.bytes)) {
        old.identity = identity;
        old.racy = racy;
        return false;
      }
      salt = `${this.clock.wallMs()} ${this.serial++}`;
    }
    this.versions.dropCurrent(file);
    file.streamed = false;
    const version = new FileVersion(file, identity, at, identity.bytes, salt, this.responder.wallSeconds);
    version.racy = racy;
    if (this.sums && at !== 0) version.grid = gridBehind(at, identity.bytes);
    this.versions.add(version);
    this.counters.increment(VERSIONS_LOADED);
    this.counters.add(LOADED_BYTES, identity.bytes);
    if (this.closed) this.versions.dropCurrent(file);
    return true;
  }

  private sameBody(version: FileVersion, at: number, length: number): boolean {
    const old = this.bytes.subarray(version.bodyAt, version.bodyAt + version.bodyBytes);
    return version.bodyBytes === length && Buffer.compare(old, this.bytes.subarray(at, at + length)) === 0;
  }

  /** Memory for a body, others evicted for it where needed; 0 when there is none (or nothing to store). */
  private makeRoom(bytes: number): number {
    while (this.versions.full && this.evictOne());
    if (bytes === 0 || this.versions.full) return 0;
    const needed = this.sums ? bytesWithGrid(bytes) : bytes;
    let at = this.versions.allocateBody(needed);
    while (at === 0 && this.evictOne()) at = this.versions.allocateBody(needed);
    return at;
  }

  private evictOne(): boolean {
    const loser = this.versions.evictOne();
    if (loser !== null) this.forgetUnused(loser);
    return loser !== null;
  }

  private nowMs(): number {
    return (this.clock.nowUs() / 1000) | 0;
  }
}

function isLoaded(entry: PathEntry): boolean {
  return entry.kind === ENTRY_FILE && entry.file !== null && entry.file.version !== null;
}

function isServable(file: CachedFile | null): boolean {
  return file !== null && (file.version !== null || file.streamed);
}

/** Whether the cache holds the file as it was found. A streamed file is looked at anew each time: it may have shrunk. */
function isCurrent(file: CachedFile, identity: FileIdentity): boolean {
  const { version } = file;
  return version !== null && !version.racy && sameIdentity(version.identity, identity);
}

function isRacy(identity: FileIdentity, wallMs: number): boolean {
  return Math.abs(wallMs - Number(identity.mtimeNs / 1_000_000n)) < RACY_MS;
}

function statusOfKind(kind: number): number {
  if (kind === FOUND_NOTHING || kind === FOUND_DIRECTORY) return 404;
  return kind === FOUND_FORBIDDEN ? 403 : 503;
}
