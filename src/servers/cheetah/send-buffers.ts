/**
 * Sending by copying, as a conventional stack does and Cheetah only without `mergedCache`: a body is copied from the file
 * cache into a retransmission buffer of its connection, which is freed as it is acknowledged. A body longer than the
 * connection's buffer follows piece by piece.
 *
 * Memory: pieces belong to the copy they were made by until they are released. A copy holds its version only until all of
 * it has been copied. Records of copies are pooled.
 */
import type { Arena } from '../../runtime/arena.ts';
import { BlockAllocator } from '../../runtime/block-allocator.ts';
import type { RegionOwner } from '../../tcp/tcb.ts';
import type { Bytes } from '../../wire/bytes.ts';
import type { FileVersion } from './cached-file.ts';
import { type CheetahCounters, PAYLOAD_BYTES_COPIED } from './counters.ts';
import type { VersionStore } from './version-store.ts';

/** The longest piece. */
const PIECE_BYTES = 64 * 1024;

/** The connection that a body is copied for. Neither is called after `cancel`. */
export interface CopyUser {
  /** A piece to be sent as a region of the copy. */
  copiedPiece(copy: BodyCopy, at: number, bytes: number): void;
  /** The last piece was queued, later than in the call that began the copy. */
  copiedAll(copy: BodyCopy): void;
}

/** The memory of all copies, and those that wait for some. */
export class SendBuffers {
  readonly bytes: Bytes;
  readonly versions: VersionStore;
  readonly counters: CheetahCounters;
  /** Pieces that one copy may hold. */
  readonly piecesPerCopy: number;
  /** Copies whose pieces are being sent, or still to be made. */
  live = 0;
  private readonly blocks: BlockAllocator;
  private readonly waiting: BodyCopy[] = [];
  private readonly free: BodyCopy[] = [];
  private readonly onIdle: () => void;

  /** @param onIdle called when the last copy has gone */
  constructor(
    arena: Pick<Arena, 'allocate'>,
    bytes: Bytes,
    memoryBytes: number,
    bufferBytes: number,
    versions: VersionStore,
    counters: CheetahCounters,
    onIdle: () => void,
  ) {
    this.blocks = new BlockAllocator(arena, memoryBytes);
    this.bytes = bytes;
    this.versions = versions;
    this.counters = counters;
    this.piecesPerCopy = Math.max(1, Math.floor(bufferBytes / PIECE_BYTES));
    this.onIdle = onIdle;
  }

  /** Bytes held by copies. */
  get usedBytes(): number {
    return this.blocks.usedBytes;
  }

  /** Begins to send `length` bytes of a version from `first` on; what there is room for is queued before this returns. */
  begin(user: CopyUser, version: FileVersion, first: number, length: number): BodyCopy {
    const copy = this.free.pop() ?? new BodyCopy(this);
    this.live++;
    copy.begin(user, version, first, length);
    return copy;
  }

  /** Memory for a piece, or 0: then the copy waits its turn, and `pump` is called. */
  take(copy: BodyCopy, bytes: number): number {
    const next = this.waiting[0];
    const at = next === undefined || next === copy ? this.blocks.allocate(bytes) : 0;
    if (at !== 0 && next === copy) this.waiting.shift();
    if (at === 0 && !this.waiting.includes(copy)) this.waiting.push(copy);
    return at;
  }

  give(at: number): void {
    this.blocks.free(at);
    this.waiting[0]?.pump();
  }

  /** The copy waits no more. */
  forget(copy: BodyCopy): void {
    const index = this.waiting.indexOf(copy);
    if (index >= 0) this.waiting.splice(index, 1);
  }

  /** A copy holds nothing any more. */
  recycle(copy: BodyCopy): void {
    this.free.push(copy);
    this.live--;
    if (this.live === 0) this.onIdle();
  }
}

export class BodyCopy implements RegionOwner {
  private readonly buffers: SendBuffers;
  private user: CopyUser | null = null;
  /** What is left to copy: null when that is nothing. */
  private version: FileVersion | null = null;
  private position = 0;
  private end = 0;
  /** Pieces that are being sent. */
  private held = 0;
  private beginning = false;
  private pumping = false;
  /** What was sent came back at once: the connection is dead, and `cancel` will follow. */
  private stalled = false;

  constructor(buffers: SendBuffers) {
    this.buffers = buffers;
  }

  /** Everything has been copied, or nothing more is to be. */
  get done(): boolean {
    return this.version === null;
  }

  begin(user: CopyUser, version: FileVersion, first: number, length: number): void {
    this.user = user;
    this.version = version;
    this.position = first;
    this.end = first + length;
    this.stalled = false;
    this.buffers.versions.retain(version);
    this.beginning = true;
    this.pump();
    this.beginning = false;
  }

  /** Copies on as far as there is room. */
  pump(): void {
    const { user } = this;
    if (user === null || this.pumping || this.done) return;
    this.pumping = true;
    while (this.copyPiece(user));
    this.pumping = false;
    if (this.done && !this.beginning && !this.stalled) user.copiedAll(this);
    this.settle();
  }

  /** Copies and sends one piece; false when there is none, or no room for it. */
  private copyPiece(user: CopyUser): boolean {
    const { buffers, version } = this;
    if (version === null || this.stalled || this.held === buffers.piecesPerCopy) return false;
    const length = Math.min(PIECE_BYTES, this.end - this.position);
    const at = buffers.take(this, length);
    if (at === 0) return false;
    const from = version.bodyAt + this.position;
    buffers.bytes.copyWithin(at, from, from + length);
    buffers.counters.add(PAYLOAD_BYTES_COPIED, length);
    this.position += length;
    this.held++;
    if (this.position === this.end) this.letGo();
    user.copiedPiece(this, at, length);
    return true;
  }

  /** The user is gone; what is being sent is given back as it is released. */
  cancel(): void {
    if (this.done) return;
    this.buffers.forget(this);
    this.letGo();
    this.settle();
  }

  /** A piece has been acknowledged; its token is where it lies. */
  release(token: number): void {
    this.held--;
    this.buffers.give(token);
    if (this.pumping) this.stalled = true;
    else if (this.done) this.settle();
    else this.pump();
  }

  private letGo(): void {
    const { version } = this;
    this.version = null;
    if (version !== null) this.buffers.versions.release(version.token);
  }

  private settle(): void {
    if (!this.done || this.held > 0 || this.user === null) return;
    this.user = null;
    this.buffers.recycle(this);
  }
}
