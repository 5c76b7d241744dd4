/**
 * The trie: all filters in force, merged on their common prefixes (DPF, section 3). A filter in normal form is a path of
 * tests; filters share nodes as long as they make the same tests with the same results.
 *
 * The tests of a path are, context by context: the words in ascending order; then the frame's length, where the filter
 * needs more bytes than it compares; then the shift to the next context. The branches of a node are kept in the order of
 * `compareTests`, and a filter that ends at a node comes after all its branches. That order is what makes the first match
 * of a depth-first walk the right one:
 *
 *     If F implies G (relate.ts) and F is not G, then F's path comes before G's.
 *
 * Where the two paths part, F cannot compare less than G does. Suppose G makes a word test there. F requires all bits of
 * it, so F either tests an earlier word first, or the same word with more bits, or it makes the same test with the same
 * result and they do not part. Suppose G makes a length test. F needs at least that length, so F makes a word test or a
 * test for more length. Suppose G shifts. Had F only the same words and length, then its bits could not fix the field
 * (they would have fixed it for G, too, whose normal form has no such shift), so F would have to make the same shift; hence
 * F makes a word or length test. If G ends, F goes on. In each case F's test sorts first.
 *
 * Since two filters in force that some frame satisfies are always such an F and G (the demultiplexer refuses others), the
 * first match is the most specific one, and the order of insertion leaves no trace.
 */
import type { Filter } from './language.ts';
import type { Context, NormalFilter } from './normalize.ts';
import { sameShift } from './relate.ts';

export const WORD_TEST = 0;
export const LENGTH_TEST = 1;
export const SHIFT_TEST = 2;

/** What a branch looks at; all fields always present, unused ones 0. */
export interface Test {
  readonly kind: typeof WORD_TEST | typeof LENGTH_TEST | typeof SHIFT_TEST;
  /** Of a word or length field: where it is, from the base; of a length test: bytes that the frame must have from the base. */
  readonly offset: number;
  readonly mask: number;
  readonly leftShift: number;
}

/** A filter in force. */
export interface Leaf {
  readonly id: number;
  readonly owner: number;
  readonly filter: Filter;
  readonly normal: NormalFilter;
}

export interface Branch {
  readonly test: Test;
  /** Next node by the word's value; length and shift tests have one next node, under 0. */
  readonly edges: Map<number, TrieNode>;
}

export class TrieNode {
  /** In the order of `compareTests`. */
  readonly branches: Branch[] = [];
  /** The filter that ends here. */
  leaf: Leaf | null = null;

  get isEmpty(): boolean {
    return this.branches.length === 0 && this.leaf === null;
  }
}

interface Step {
  readonly test: Test;
  readonly value: number;
}

export class FilterTrie {
  readonly root = new TrieNode();

  insert(leaf: Leaf): void {
    let node = this.root;
    for (const { test, value } of pathOf(leaf.normal)) {
      const branch = makeBranch(node, test);
      let next = branch.edges.get(value);
      if (next === undefined) {
        next = new TrieNode();
        branch.edges.set(value, next);
      }
      node = next;
    }
    node.leaf = leaf;
  }

  remove(leaf: Leaf): void {
    removeFrom(this.root, pathOf(leaf.normal), 0);
  }

  /** All filters in force that are not plainly disjoint from this one: what it is to be compared with. */
  candidates(normal: NormalFilter): Leaf[] {
    const found: Leaf[] = [];
    collect(this.root, normal, 0, found);
    return found;
  }
}

/** Negative when test `a` comes before `b`, 0 when they are the same. */
export function compareTests(a: Test, b: Test): number {
  if (a.kind !== b.kind) return a.kind - b.kind;
  if (a.kind === LENGTH_TEST) return b.offset - a.offset;
  return a.offset - b.offset || countBits(b.mask) - countBits(a.mask) || a.mask - b.mask || a.leftShift - b.leftShift;
}

/** Bytes from the base that a word test reads. */
export function wordReachBytes(test: Test): number {
  let last = 3;
  while (last > 0 && ((test.mask >>> (24 - 8 * last)) & 0xff) === 0) last--;
  return test.offset + last + 1;
}

function pathOf(normal: NormalFilter): Step[] {
  const steps: Step[] = [];
  for (const { words, reachBytes, shift } of normal) {
    let compared = 0;
    for (const { offset, mask, value } of words) {
      const test: Test = { kind: WORD_TEST, offset, mask, leftShift: 0 };
      steps.push({ test, value });
      compared = wordReachBytes(test);
    }
    if (reachBytes > compared) {
      steps.push({ test: { kind: LENGTH_TEST, offset: reachBytes, mask: 0, leftShift: 0 }, value: 0 });
    }
    if (shift !== null) {
      const { offset, mask, leftShift } = shift;
      steps.push({ test: { kind: SHIFT_TEST, offset, mask, leftShift }, value: 0 });
    }
  }
  return steps;
}

function makeBranch(node: TrieNode, test: Test): Branch {
  let index = 0;
  for (const branch of node.branches) {
    const order = compareTests(branch.test, test);
    if (order === 0) return branch;
    if (order > 0) break;
    index++;
  }
  const branch: Branch = { test, edges: new Map() };
  node.branches.splice(index, 0, branch);
  return branch;
}

/** Takes the path's filter out, and the nodes that only it needed. */
function removeFrom(node: TrieNode, path: readonly Step[], depth: number): void {
  const step = path[depth];
  if (step === undefined) {
    node.leaf = null;
    return;
  }
  const index = node.branches.findIndex((branch) => compareTests(branch.test, step.test) === 0);
  const branch = node.branches[index];
  const next = branch?.edges.get(step.value);
  if (branch === undefined || next === undefined) return;
  removeFrom(next, path, depth + 1);
  if (next.isEmpty) branch.edges.delete(step.value);
  if (branch.edges.size === 0) node.branches.splice(index, 1);
}

/** `depth`: which context of the filter stands at this node; beyond the last when the two have no context in common. */
function collect(node: TrieNode, normal: NormalFilter, depth: number, found: Leaf[]): void {
  if (node.leaf !== null) found.push(node.leaf);
  const context = normal[depth];
  for (const { test, edges } of node.branches) {
    if (test.kind === WORD_TEST) {
      for (const next of compatibleEdges(test, edges, context)) collect(next, normal, depth, found);
    } else {
      for (const next of edges.values()) collect(next, normal, depthBehind(test, normal, depth), found);
    }
  }
}

function depthBehind(test: Test, normal: NormalFilter, depth: number): number {
  if (test.kind === LENGTH_TEST) return depth;
  return sameShift(normal[depth]?.shift ?? null, 0, test, 0) ? depth + 1 : normal.length;
}

function compatibleEdges(test: Test, edges: Map<number, TrieNode>, context: Context | undefined): Iterable<TrieNode> {
  const word = context?.int32At(test.offset);
  const common = word === undefined ? 0 : word.mask & test.mask;
  if (word === undefined || common === 0) return edges.values();
  if (common === test.mask) {
    const next = edges.get(word.value & test.mask);
    return next === undefined ? [] : [next];
  }
  return [...edges].filter(([value]) => (value & common) === (word.value & common)).map(([, next]) => next);
}

function countBits(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}
