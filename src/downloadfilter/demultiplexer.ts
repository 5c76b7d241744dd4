/**
 * The demultiplexer: owns the filters in force and hands each frame to one owner (DPF, section 2; the exokernel's side of
 * downloading a filter).
 *
 * A filter that implies another one wins over it: it takes those frames, the other keeps the rest, in whatever order they
 * came. Any other overlap, and the same filter twice, is refused when it is inserted, so that no application can take frames
 * that another one was promised.
 *
 * Inserting and removing touch the trie only; the code is generated again at the next frame. Classifying allocates nothing.
 */
import type { Bytes } from '../wire/bytes.ts';
import { type Classify, generate, link } from './compile-js.ts';
import { type Filter, FilterError } from './language.ts';
import { normalize } from './normalize.ts';
import { formatFilter } from './parse.ts';
import { relate } from './relate.ts';
import { FilterTrie, type Leaf } from './trie.ts';
import { verify } from './verify.ts';

/** Names an inserted filter; never used again after its removal. */
export type FilterId = number;

const DEFAULT_LIMIT = 65_536;
/** Owners are table indices, and -1 means no owner. */
const MAX_OWNER = 2 ** 30;

export class Demultiplexer {
  private readonly limit: number;
  private readonly trie = new FilterTrie();
  private readonly leaves = new Map<FilterId, Leaf>();
  /** What the code looks up; the array stays, its elements are replaced. */
  private readonly tables: Int32Array[] = [];
  private program = '';
  private compiled: Classify;
  private stale = false;
  private nextId = 1;

  /** `limit`: most filters in force. */
  constructor(limit: number = DEFAULT_LIMIT) {
    this.limit = limit;
    this.compiled = this.compile();
  }

  /** Filters in force. */
  get size(): number {
    return this.leaves.size;
  }

  /** The generated code of the filters in force, for people. */
  get source(): string {
    if (this.stale) this.compiled = this.compile();
    return this.program;
  }

  /**
   * Puts a filter in force. Throws `FilterError` with one sentence when it is not valid, overlaps another one or is one too many,
   * and `RangeError` when the owner is not an integer from 0 to 2^30.
   */
  insert(filter: Filter, owner: number): FilterId {
    if (!Number.isInteger(owner) || owner < 0 || owner > MAX_OWNER) {
      throw new RangeError(`owner ${owner} is not an integer from 0 to ${MAX_OWNER}`);
    }
    const verified = verify(filter);
    if (this.leaves.size >= this.limit) {
      throw new FilterError(`there are ${this.limit} filters in force, and no more are taken`);
    }
    const leaf: Leaf = { id: this.nextId, owner, filter: verified, normal: normalize(verified) };
    for (const other of this.trie.candidates(leaf.normal)) refuseOverlap(leaf, other);
    this.nextId++;
    this.leaves.set(leaf.id, leaf);
    this.trie.insert(leaf);
    this.stale = true;
    return leaf.id;
  }

  /** Takes a filter out of force; throws `RangeError` when there is none of that name. */
  remove(id: FilterId): void {
    const leaf = this.leaves.get(id);
    if (leaf === undefined) throw new RangeError(`no filter ${id} is in force`);
    this.leaves.delete(id);
    this.trie.remove(leaf);
    this.stale = true;
  }

  /** Owner of the frame of `length` bytes at `at`: that of the most specific filter that it satisfies, or -1. */
  classify(bytes: Bytes, at: number, length: number): number {
    if (this.stale) this.compiled = this.compile();
    return this.compiled(bytes, at, length);
  }

  private compile(): Classify {
    const { source, tables } = generate(this.trie.root);
    this.tables.splice(0, this.tables.length, ...tables);
    this.stale = false;
    if (source === this.program) return this.compiled;
    this.program = source;
    return link(source, this.tables);
  }
}

function refuseOverlap(leaf: Leaf, other: Leaf): void {
  const relation = relate(leaf.normal, other.normal);
  if (relation === 'identical') {
    throw new FilterError(`"${formatFilter(leaf.filter)}" is already in force for owner ${other.owner}`);
  }
  if (relation === 'overlap') {
    const both = `"${formatFilter(leaf.filter)}" and "${formatFilter(other.filter)}" of owner ${other.owner}`;
    throw new FilterError(`a frame could satisfy both ${both}, and neither implies the other`);
  }
}
