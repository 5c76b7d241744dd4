/**
 * A file sent past the cache: read in pieces into bounded memory, two at a time, each given back when it is acknowledged.
 *
 * A response is never torn: when the file is no longer what it was when the response began, the stream breaks, and the
 * connection is reset rather than completed with bytes of another version.
 */

import type { Arena } from '../../runtime/arena.ts';
import { BlockAllocator } from '../../runtime/block-allocator.ts';
import type { RegionOwner } from '../../tcp/tcb.ts';
import type { Bytes } from '../../wire/bytes.ts';
import type { CachedFile } from './cached-file.ts';
import { type FileIdentity, type FileSource, type OpenFile, sameIdentity } from './disk.ts';

/** Pieces that a stream holds at once: one being sent, one being read. */
const PIECES = 2;

/** The connection that a stream is read for. None of these is called after `cancel`, or before the call that caused it returns. */
export interface StreamUser {
  /** The file is open: `identity` is what it is. The user begins with `start`, or cancels. */
  streamOpened(stream: FileStream): void;
  /** A piece to be sent as a region of the stream. */
  streamPiece(stream: FileStream, at: number, bytes: number, token: number, last: boolean): void;
  /** The file cannot be opened, or not be read on. */
  streamBroken(stream: FileStream, reason: string): void;
}

/** The memory of all streams, and those that wait for some. */
export class StreamMemory {
  readonly pieceBytes: number;
  /** Streams that are open, or whose pieces are still being sent. */
  live = 0;
  private readonly blocks: BlockAllocator;
  private readonly waiting: FileStream[] = [];

  private readonly onIdle: () => void;

  /** @param onIdle called when the last stream has gone */
  constructor(arena: Pick<Arena, 'allocate'>, memoryBytes: number, pieceBytes: number, onIdle: () => void) {
    this.blocks = new BlockAllocator(arena, memoryBytes);
    this.pieceBytes = pieceBytes;
    this.onIdle = onIdle;
  }

  /** Bytes held by streams. */
  get usedBytes(): number {
    return this.blocks.usedBytes;
  }

  /** Memory for a stream's first piece, or 0: then it waits its turn, and `pump` is called. */
  takeFirst(stream: FileStream): number {
    const next = this.waiting[0];
    const at = next === undefined || next === stream ? this.blocks.allocate(this.pieceBytes) : 0;
    if (at !== 0 && next === stream) this.waiting.shift();
    if (at === 0 && !this.waiting.includes(stream)) this.waiting.push(stream);
    return at;
  }

  /** Memory for a second piece, or 0: it stands back behind first ones. */
  takeSecond(): number {
    const scarce = this.waiting.length > 0 || this.blocks.freeBytes * 2 < this.blocks.capacityBytes;
    return scarce ? 0 : this.blocks.allocate(this.pieceBytes);
  }

  give(at: number): void {
    this.blocks.free(at);
    this.waiting[0]?.pump();
  }

  /** A stream holds nothing any more. */
  gone(): void {
    this.live--;
    if (this.live === 0) this.onIdle();
  }

  /** The stream waits no more. */
  forget(stream: FileStream): void {
    const index = this.waiting.indexOf(stream);
    if (index >= 0) this.waiting.splice(index, 1);
  }
}

export class FileStream implements RegionOwner {
  readonly file: CachedFile;
  /** What the file was when it was opened. */
  identity: FileIdentity | null = null;
  private readonly memory: StreamMemory;
  private readonly source: FileSource;
  private readonly bytes: Bytes;
  private readonly user: StreamUser;
  private readonly wake: () => void;
  private opened: OpenFile | null = null;
  private position = 0;
  private end = 0;
  private reading = false;
  private cancelled = false;
  private finished = false;
  private gone = false;
  /** Where the pieces lie that are held, 0 for none; a piece's token is its index. */
  private readonly pieces = new Int32Array(PIECES);
  private held = 0;

  constructor(
    memory: StreamMemory,
    source: FileSource,
    bytes: Bytes,
    file: CachedFile,
    user: StreamUser,
    wake: () => void,
  ) {
    this.memory = memory;
    this.source = source;
    this.bytes = bytes;
    this.file = file;
    this.user = user;
    this.wake = wake;
    memory.live++;
    void this.open();
  }

  /** Sends bytes `first` to `first + length - 1`. */
  start(first: number, length: number): void {
    this.position = first;
    this.end = first + length;
    this.pump();
  }

  /** The user is gone or wants no more; what is being sent is given back as it is released. */
  cancel(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    this.memory.forget(this);
    this.settle();
  }

  /** A piece has been acknowledged. */
  release(token: number): void {
    const at = this.pieces[token] as number;
    if (at === 0) throw new RangeError(`piece ${token} released twice`);
    this.pieces[token] = 0;
    this.held--;
    this.memory.give(at);
    if (this.cancelled || this.finished) this.settle();
    else this.pump();
  }

  /** Reads the next piece if there is one, and room for it. */
  pump(): void {
    if (this.opened === null || this.reading || this.cancelled || this.finished || this.position >= this.end) return;
    if (this.held === PIECES) return;
    const at = this.held === 0 ? this.memory.takeFirst(this) : this.memory.takeSecond();
    if (at === 0) return;
    const token = this.pieces[0] === 0 ? 0 : 1;
    this.pieces[token] = at;
    this.held++;
    this.reading = true;
    void this.readPiece(this.opened, at, token);
  }

  private async open(): Promise<void> {
    let reason = '';
    this.reading = true;
    try {
      this.opened = await this.source.open(this.file.realPath);
      this.identity = await this.opened.identity();
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    this.reading = false;
    if (this.cancelled) {
      this.settle();
      return;
    }
    if (reason === '') this.user.streamOpened(this);
    else this.break(reason);
    this.wake();
  }

  private async readPiece(opened: OpenFile, at: number, token: number): Promise<void> {
    const wanted = Math.min(this.memory.pieceBytes, this.end - this.position);
    let reason = '';
    try {
      reason = await this.fill(opened, at, wanted);
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    this.reading = false;
    if (reason !== '' || this.cancelled) {
      if (!this.cancelled) this.break(reason);
      this.release(token);
    } else {
      this.position += wanted;
      this.finished = this.position === this.end;
      this.user.streamPiece(this, at, wanted, token, this.finished);
      if (this.finished) this.settle();
      else this.pump();
    }
    this.wake();
  }

  /** Reads one piece and makes sure that the file is still the same; returns why not, or nothing. */
  private async fill(opened: OpenFile, at: number, wanted: number): Promise<string> {
    let read = 0;
    while (read < wanted) {
      const count = await opened.read(this.bytes, at + read, wanted - read, this.position + read);
      if (count === 0) return 'the file was cut short';
      read += count;
    }
    const now = await opened.identity();
    return this.identity !== null && sameIdentity(now, this.identity) ? '' : 'the file changed';
  }

  private break(reason: string): void {
    this.cancelled = true;
    this.user.streamBroken(this, reason);
    this.settle();
  }

  /** Closes the file once nothing is read any more, and is gone when nothing is being sent either. */
  private settle(): void {
    if (this.reading || this.gone || !(this.cancelled || this.finished)) return;
    const { opened } = this;
    if (opened !== null) {
      this.opened = null;
      opened.close().catch(() => undefined);
    }
    if (this.held > 0) return;
    this.gone = true;
    this.memory.gone();
  }
}
