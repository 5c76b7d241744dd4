/**
 * The path table: from the raw bytes of a request's path to what is known about it, without making a string.
 *
 * It is a set-associative cache: the hash chooses a set of four places, and a newcomer replaces the least deserving of the
 * four. A peer that asks for a million names, or for names of one hash, makes others forgotten and nothing grow.
 */
import { type Bytes, int32At, u8 } from '../../wire/bytes.ts';
import type { TargetPath } from '../http/target.ts';
import type { CachedFile } from './cached-file.ts';
import type { ByteBudget } from './page-groups.ts';

/** Not looked up yet. */
export const ENTRY_NEW = 0;
/** A file: `entry.file`. */
export const ENTRY_FILE = 1;
/** A directory asked for without its slash: 301 to `entry.location`. */
export const ENTRY_REDIRECT = 2;
/** Refused with `entry.status`. */
export const ENTRY_STATUS = 3;

const WAYS = 4;
/** Longer paths are looked up each time: they are rare, and memory is bounded. */
export const MAX_KEY_BYTES = 1024;

/** Told when a lookup is done. */
export interface LookupWaiter {
  lookedUp(entry: PathEntry): void;
}

export class PathEntry {
  readonly key: Uint8Array;
  readonly hash: number;
  readonly segments: readonly string[];
  /** The path ended with a slash. */
  readonly directory: boolean;
  /** The path names nothing that could be on disk, whatever happens there: `status` holds for good. */
  readonly refused: boolean;
  kind: number;
  status: number;
  location = '';
  file: CachedFile | null = null;
  /** When the latest finished lookup began: milliseconds of the monotonic clock, modulo 2^32. */
  checkedMs = 0;
  /** A lookup is running, and when it began. */
  checking = false;
  checkBeganMs = 0;
  /** The running lookup began too long ago for somebody who waits: another one follows. */
  checkAgain = false;
  waiters: LookupWaiter[] = [];
  /** The running lookup is for a group, and nobody waits for it: what it may read. */
  budget: ByteBudget | null = null;
  /** The latest lookup left the file unread: the budget was too small. */
  passedOver = false;
  /** Asked for since a newcomer last looked for a place. */
  used = false;
  inTable = false;

  constructor(key: Uint8Array, hash: number, path: TargetPath) {
    this.key = key;
    this.hash = hash;
    this.segments = path.segments;
    this.directory = path.directory;
    this.refused = path.status !== 0;
    this.kind = this.refused ? ENTRY_STATUS : ENTRY_NEW;
    this.status = path.status;
  }
}

export class PathTable {
  /** Entries in the table. */
  count = 0;
  private readonly entries: (PathEntry | null)[];
  private readonly hashes: Int32Array;
  private readonly setMask: number;

  /** Room for `capacity` entries, rounded up to a power of two. */
  constructor(capacity: number) {
    let sets = 1;
    while (sets * WAYS < capacity) sets *= 2;
    this.setMask = sets - 1;
    this.entries = new Array(sets * WAYS).fill(null);
    this.hashes = new Int32Array(sets * WAYS);
  }

  /** The entry of the path that lies at `at`. */
  find(bytes: Bytes, at: number, length: number, hash: number): PathEntry | null {
    const first = this.firstOf(hash);
    for (let place = first; place < first + WAYS; place++) {
      if (int32At(this.hashes, place) !== hash) continue;
      const entry = this.entries[place] as PathEntry | null;
      if (entry !== null && isKey(entry.key, bytes, at, length)) {
        entry.used = true;
        return entry;
      }
    }
    return null;
  }

  /** Enters a path that is not in the table; returns the entry that had to go for it. */
  insert(entry: PathEntry): PathEntry | null {
    const place = this.placeFor(entry.hash);
    const old = this.entries[place] ?? null;
    if (old !== null) {
      old.inTable = false;
      this.count--;
    }
    this.entries[place] = entry;
    this.hashes[place] = entry.hash;
    entry.inTable = true;
    this.count++;
    return old;
  }

  /** Empties the table, handing each entry to `dropped`. */
  clear(dropped: (entry: PathEntry) => void): void {
    for (let place = 0; place < this.entries.length; place++) {
      const entry = this.entries[place] ?? null;
      this.entries[place] = null;
      if (entry === null) continue;
      entry.inTable = false;
      dropped(entry);
    }
    this.count = 0;
  }

  /** An empty place of the set, or that of an entry nobody asked for lately, or failing that of one that is no file. */
  private placeFor(hash: number): number {
    const first = this.firstOf(hash);
    let victim = first + ((hash >>> 24) & (WAYS - 1));
    let victimRank = Number.MAX_SAFE_INTEGER;
    for (let place = first; place < first + WAYS; place++) {
      const entry = this.entries[place] as PathEntry | null;
      if (entry === null) return place;
      const rank = (entry.kind === ENTRY_FILE ? 1 : 0) + (entry.used ? 2 : 0);
      if (rank < victimRank) {
        victim = place;
        victimRank = rank;
      }
      entry.used = false;
    }
    return victim;
  }

  private firstOf(hash: number): number {
    // FNV's low bits are its best; the high ones are folded in.
    return ((hash ^ (hash >>> 15)) & this.setMask) * WAYS;
  }
}

function isKey(key: Uint8Array, bytes: Bytes, at: number, length: number): boolean {
  if (key.length !== length) return false;
  for (let i = 0; i < length; i++) if (u8(key, i) !== u8(bytes, at + i)) return false;
  return true;
}
