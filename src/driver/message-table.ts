/**
 * A table of `struct mmsghdr` in the arena, each with an iovec list of its own: what sendmmsg(2) takes.
 * Everything constant is written once; a batch rewrites only where its pieces are.
 *
 * Layout (64-bit): name (8), name length (4, padded), iovecs (8), iovec count (8), control (8), control length (8),
 * flags (4, padded); then how much was sent (4, padded).
 */
import type { Arena } from '../runtime/arena.ts';
import { IovecLists } from './frame-memory.ts';

const MESSAGE_BYTES = 64;
const MESSAGE_WORDS = MESSAGE_BYTES / 4;
const IOVECS_WORD = 4;
const IOVEC_COUNT_WORD = 6;

export class MessageTable {
  /** List i belongs to message i. */
  readonly iovecs: IovecLists;
  /** Absolute address of the table. */
  readonly address: number;
  private readonly words: Uint32Array;
  private readonly first: number;

  /** A table of `messages` messages of up to `pieces` pieces, one piece each to begin with. */
  constructor(arena: Arena, messages: number, pieces: number) {
    this.iovecs = new IovecLists(arena, messages, pieces);
    const at = arena.allocate(messages * MESSAGE_BYTES);
    this.address = arena.address(at);
    this.words = arena.words;
    this.first = at >>> 2;
    this.words.fill(0, this.first, this.first + messages * MESSAGE_WORDS);
    for (let i = 0; i < messages; i++) {
      const message = this.first + i * MESSAGE_WORDS;
      this.words[message + IOVECS_WORD] = this.iovecs.offset(i);
      this.words[message + IOVECS_WORD + 1] = arena.addressHigh;
      this.words[message + IOVEC_COUNT_WORD] = 1;
    }
  }

  setPieces(message: number, pieces: number): void {
    this.words[this.first + message * MESSAGE_WORDS + IOVEC_COUNT_WORD] = pieces;
  }
}
