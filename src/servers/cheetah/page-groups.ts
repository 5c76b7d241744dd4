/**
 * Pages and what they include (the specialisation `html-grouping`): when a page has been read from disk, so is what a
 * browser is going to ask for next, before it asks; and as long as the page is in use its group stays together in the
 * cache: with each check of the page its members are spared from eviction, and those that clients have asked for are
 * checked with it.
 *
 * Everything here is outside the turn and bounded: a page is read in pieces between which Node's loop comes round, members
 * are read by a few at a time, and a group may hold so many of so many bytes (limits `group...`).
 *
 * Memory: a copy of a page while it is read; the paths of the groups in use.
 */
import type { Bytes } from '../../wire/bytes.ts';
import { hashBytes } from '../http/characters.ts';
import type { FileVersion } from './cached-file.ts';
import {
  type CheetahCounters,
  GROUP_BYTES_OVER,
  GROUP_MEMBERS_OVER,
  GROUP_PAGES_CUT,
  GROUPS_READ,
} from './counters.ts';
import type { FileCache } from './file-cache.ts';
import { keyOfPath, PageIncludes, pathOfKey } from './page-includes.ts';
import { MAX_KEY_BYTES, type PathEntry } from './path-table.ts';
import type { CheetahLimits } from './settings.ts';

/** Characters of a page that are looked through before Node's loop comes round: well below a millisecond. */
const PIECE_CHARACTERS = 8192;

const decoder = new TextDecoder('utf-8');

/** What a group may still read from disk. */
export class ByteBudget {
  private leftBytes: number;

  constructor(bytes: number) {
    this.leftBytes = bytes;
  }

  /** False, and nothing taken, when that is more than is left. */
  take(bytes: number): boolean {
    if (bytes > this.leftBytes) return false;
    this.leftBytes -= bytes;
    return true;
  }
}

class Member {
  readonly key: Uint8Array;
  readonly hash: number;
  /** A client has asked for it since it was last read for the group. */
  asked = false;

  constructor(path: string) {
    this.key = keyOfPath(path);
    this.hash = hashBytes(this.key, 0, this.key.length);
  }
}

class PageGroup {
  /** The version of the page that names the members. */
  readonly version: FileVersion;
  readonly members: Member[] = [];

  constructor(version: FileVersion) {
    this.version = version;
  }
}

interface Wanted {
  readonly member: Member;
  readonly budget: ByteBudget;
}

export interface PageGroupsOptions {
  readonly cache: FileCache;
  readonly bytes: Bytes;
  readonly limits: CheetahLimits;
  readonly counters: CheetahCounters;
  /** Lets others have their time. */
  readonly giveWay: () => Promise<void>;
}

export class PageGroups {
  private readonly cache: FileCache;
  private readonly bytes: Bytes;
  private readonly limits: CheetahLimits;
  private readonly counters: CheetahCounters;
  private readonly giveWay: () => Promise<void>;
  /** By page, the one that was in use longest ago first. */
  private readonly groups = new Map<PathEntry, PageGroup>();
  /** Members to be read, in order. */
  private wanted: Wanted[] = [];
  private readers = 0;
  private closed = false;

  constructor(options: PageGroupsOptions) {
    this.cache = options.cache;
    this.bytes = options.bytes;
    this.limits = options.limits;
    this.counters = options.counters;
    this.giveWay = options.giveWay;
  }

  /** A page that clients ask for has been checked, and perhaps read: `version` is what it is now. */
  pageChecked(page: PathEntry, version: FileVersion): void {
    if (this.closed) return;
    const known = this.groups.get(page);
    this.groups.delete(page);
    if (!page.inTable) return;
    if (known !== undefined && known.version === version) {
      this.groups.set(page, known);
      this.keepTogether(known);
      return;
    }
    const { maxGroups } = this.limits;
    const group = new PageGroup(version);
    this.groups.set(page, group);
    for (const oldest of this.groups.keys()) {
      if (this.groups.size <= maxGroups) break;
      this.groups.delete(oldest);
    }
    void this.readPage(page, version, group);
  }

  /** Looks for nothing more; what is being read comes to its end. */
  close(): void {
    this.closed = true;
    this.groups.clear();
    this.wanted = [];
  }

  /** Finds the members and has them read as they are found. */
  private async readPage(page: PathEntry, version: FileVersion, group: PageGroup): Promise<void> {
    const { groupPageBytes, groupMembers } = this.limits;
    const length = Math.min(version.bodyBytes, groupPageBytes);
    if (length < version.bodyBytes) this.counters.increment(GROUP_PAGES_CUT);
    this.counters.increment(GROUPS_READ);
    // The version may go while the page is read.
    const copy = this.bytes.slice(version.bodyAt, version.bodyAt + length);
    // Its own answer first.
    await this.giveWay();
    const includes = new PageIncludes(decoder.decode(copy), pathOfKey(page.key), groupMembers, MAX_KEY_BYTES);
    const budget = this.createBudget();
    let more = true;
    for (let taken = 0; more && !this.closed; ) {
      more = includes.read(PIECE_CHARACTERS);
      for (; taken < includes.paths.length; taken++) {
        const member = new Member(includes.paths[taken] ?? '');
        group.members.push(member);
        this.want(member, budget);
      }
      if (more) await this.giveWay();
    }
    if (includes.cut) this.counters.increment(GROUP_MEMBERS_OVER);
    // Some may have been there already.
    if (!this.closed) this.keepTogether(group);
  }

  private createBudget(): ByteBudget {
    return new ByteBudget(Math.min(this.limits.groupBytes, this.cache.largestBodyBytes));
  }

  private want(member: Member, budget: ByteBudget): void {
    if (this.closed) return;
    if (this.wanted.length >= this.limits.groupQueue) {
      this.counters.increment(GROUP_MEMBERS_OVER);
      return;
    }
    this.wanted.push({ member, budget });
    if (this.readers < this.limits.groupReads) void this.readMembers();
  }

  /** Reads members one after the other until none is wanted; so many of these run beside each other. */
  private async readMembers(): Promise<void> {
    this.readers++;
    for (let next = this.wanted.shift(); next !== undefined; next = this.wanted.shift()) {
      const { key, hash } = next.member;
      const entry = this.cache.entryOf(key, hash);
      if (!(await this.cache.readAhead(entry, next.budget))) this.counters.increment(GROUP_BYTES_OVER);
    }
    this.readers--;
  }

  /** What holds of the page holds of its members: in use, as fresh, and in the cache where clients have asked for them. */
  private keepTogether(group: PageGroup): void {
    const budget = this.createBudget();
    for (const member of group.members) {
      const entry = this.cache.find(member.key, 0, member.key.length, member.hash);
      const version = entry?.file?.version ?? null;
      if (entry === null || version === null) {
        if (member.asked) this.want(member, budget);
        member.asked = false;
        continue;
      }
      version.used = true;
      if (version.file.readAhead) continue;
      member.asked = true;
      this.cache.refresh(entry);
    }
  }
}
