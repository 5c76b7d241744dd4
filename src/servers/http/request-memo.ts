/**
 * Heads of requests that were read before. A client sends the same head again and again on its connection (load generators,
 * proxies and whoever polls always, browsers often), and to compare it word by word costs a fraction of parsing it.
 *
 * A note is a head's bytes and what they say. Where a head ends and what it says follows from its own bytes alone, so bytes
 * that begin with those of a note are that head; whatever is not the same byte for byte is parsed. A connection remembers the
 * note of its last request and nothing else.
 *
 * Memory: the notes' bytes are a block of the arena, for good. What a noted head's offsets point at lies there.
 */
import type { Arena } from '../../runtime/arena.ts';
import { Counters } from '../../runtime/counters.ts';
import { type Bytes, int32At, u8 } from '../../wire/bytes.ts';
import { RequestHead, type RequestLimits } from './request.ts';

/** No note. */
export const NO_NOTE = -1;

/** Longer heads are parsed each time. */
const NOTE_BYTES = 1024;

const COUNTER_NAMES = ['requestsRecognised'] as const;
export type MemoCounterName = (typeof COUNTER_NAMES)[number];
/** Requests that were the same as their connection's last, and not parsed. */
const REQUESTS_RECOGNISED = 0;

export class RequestMemo {
  readonly counters = new Counters<MemoCounterName>(COUNTER_NAMES);
  /** What the request read last says, until the next is read. Not to be parsed into: it may be a note. */
  head: RequestHead;
  /** Its note, to be handed in with the next request of the connection. */
  note = NO_NOTE;
  private readonly bytes: Bytes;
  private readonly words: Int32Array;
  private readonly notesAt: number;
  private readonly heads: RequestHead[] = [];
  /** Bytes of each note's head, 0 while there is none. */
  private readonly lengths: Int32Array;
  /** The one that is no note. */
  private spare: RequestHead;

  /** @param notes heads remembered; 0: every request is parsed */
  constructor(arena: Arena, limits: RequestLimits, notes: number) {
    this.bytes = arena.bytes;
    this.words = new Int32Array(arena.bytes.buffer, arena.bytes.byteOffset, arena.bytes.length >>> 2);
    this.notesAt = notes === 0 ? 0 : arena.allocate(notes * NOTE_BYTES);
    this.lengths = new Int32Array(notes);
    for (let note = 0; note < notes; note++) this.heads.push(new RequestHead(limits));
    this.spare = new RequestHead(limits);
    this.head = this.spare;
  }

  /** Reads the head at `at` into `head`, and returns what `RequestHead.parse` does. `note` is that of a request before it. */
  read(at: number, length: number, note: number): number {
    if (note === NO_NOTE || !this.isNoted(note, at, length)) return this.parse(at, length);
    this.counters.increment(REQUESTS_RECOGNISED);
    this.head = this.heads[note] as RequestHead;
    this.note = note;
    return int32At(this.lengths, note);
  }

  /** The same without a look at the notes; a whole head becomes one. */
  parse(at: number, length: number): number {
    this.head = this.spare;
    this.note = NO_NOTE;
    const parsed = this.head.parse(this.bytes, at, length);
    if (parsed > 0 && parsed <= NOTE_BYTES && isOnWord(at) && this.lengths.length > 0) this.takeNote(at, parsed);
    return parsed;
  }

  private takeNote(at: number, length: number): void {
    const { head } = this;
    const note = ((head.pathHash ^ length) >>> 0) % this.lengths.length;
    this.note = note;
    // Another connection may have sent the same.
    if (this.isNoted(note, at, length)) return;
    const noteAt = this.notesAt + note * NOTE_BYTES;
    this.bytes.copyWithin(noteAt, at, at + length);
    this.lengths[note] = length;
    head.moved(noteAt - at);
    this.spare = this.heads[note] as RequestHead;
    this.heads[note] = head;
  }

  /** Whether the `length` bytes at `at` begin with a note's head. Text lies on a word behind headers of Ethernet, IPv4 and TCP. */
  private isNoted(note: number, at: number, length: number): boolean {
    const noted = int32At(this.lengths, note);
    if (noted === 0 || noted > length || !isOnWord(at)) return false;
    const { bytes, words } = this;
    const noteAt = this.notesAt + note * NOTE_BYTES;
    const from = at >>> 2;
    const to = noteAt >>> 2;
    const whole = noted >>> 2;
    for (let i = 0; i < whole; i++) if (int32At(words, from + i) !== int32At(words, to + i)) return false;
    for (let i = whole << 2; i < noted; i++) if (u8(bytes, at + i) !== u8(bytes, noteAt + i)) return false;
    return true;
  }
}

function isOnWord(at: number): boolean {
  return (at & 3) === 0;
}
