/**
 * The versions of files that hold memory: current ones, and those that are still being sent. Owner of the regions that
 * responses are made of.
 *
 * A version that is no longer current goes when the last send queue has released it; a current one may be evicted when
 * nobody is being sent it.
 */
import type { BlockAllocator } from '../../runtime/block-allocator.ts';
import type { RegionOwner } from '../../tcp/tcb.ts';
import type { Responder } from '../http/response.ts';
import type { CachedFile, FileVersion } from './cached-file.ts';
import { type CheetahCounters, GROUP_WASTED, VERSIONS_EVICTED } from './counters.ts';

export class VersionStore implements RegionOwner {
  /** Versions that hold memory. */
  live = 0;
  private readonly bodies: BlockAllocator;
  private readonly responder: Responder;
  private readonly counters: CheetahCounters;
  private readonly maxVersions: number;
  private readonly versions: (FileVersion | null)[] = [];
  private readonly freeTokens: number[] = [];
  private hand = 0;

  constructor(bodies: BlockAllocator, responder: Responder, counters: CheetahCounters, maxVersions: number) {
    this.bodies = bodies;
    this.responder = responder;
    this.counters = counters;
    this.maxVersions = maxVersions;
  }

  /** A region of the version's body is being sent. */
  retain(version: FileVersion): void {
    version.references++;
    version.used = true;
  }

  /** A copy of the version's body is being sent. */
  touch(version: FileVersion): void {
    version.used = true;
  }

  /** Lets go of a reference to the version with this token. */
  release(token: number): void {
    const version = this.versions[token];
    if (version === null || version === undefined) throw new RangeError(`no version ${token} to release`);
    if (--version.references > 0) return;
    if (version.bodyAt !== 0) this.bodies.free(version.bodyAt);
    this.discardHeadsOf(version);
    this.versions[token] = null;
    this.freeTokens.push(token);
    this.live--;
  }

  /** Makes a version its file's current one; its body's block belongs to it from here on. */
  add(version: FileVersion): void {
    const token = this.freeTokens.pop() ?? this.versions.length;
    version.token = token;
    version.references = 1;
    this.versions[token] = version;
    this.live++;
    version.file.version = version;
  }

  /** The current version is current no more; it stays for as long as it is being sent. */
  dropCurrent(file: CachedFile): void {
    const { version } = file;
    if (version === null) return;
    if (file.readAhead) {
      file.readAhead = false;
      this.counters.increment(GROUP_WASTED);
    }
    file.version = null;
    this.release(version.token);
  }

  /** A block for a body, 0 when none that long is free. */
  allocateBody(bytes: number): number {
    return this.bodies.allocate(bytes);
  }

  freeBody(at: number): void {
    this.bodies.free(at);
  }

  /** There are as many versions as may be: one has to be evicted for the next. */
  get full(): boolean {
    return this.live >= this.maxVersions;
  }

  /**
   * CLOCK: evicts the next version that nobody is being sent and that was not sent since the hand last passed. Returns
   * the file that lost it, null when none could be evicted.
   */
  evictOne(): CachedFile | null {
    for (let steps = 2 * this.versions.length; steps > 0; steps--) {
      this.hand = this.hand + 1 < this.versions.length ? this.hand + 1 : 0;
      const version = this.versions[this.hand] ?? null;
      if (version === null || version.references !== 1 || version.file.version !== version) continue;
      if (version.used) {
        version.used = false;
        continue;
      }
      this.dropCurrent(version.file);
      this.counters.increment(VERSIONS_EVICTED);
      return version.file;
    }
    return null;
  }

  /** Lets go of every head block that is kept for later, to make room for those that are needed now. */
  discardHeads(): void {
    for (const version of this.versions) if (version !== null) this.discardHeadsOf(version);
  }

  private discardHeadsOf(version: FileVersion): void {
    this.responder.discard(version.full);
    this.responder.discard(version.joined);
    this.responder.discard(version.notModified);
  }
}
