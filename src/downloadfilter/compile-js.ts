/**
 * The code generator: one JavaScript function for all filters in force (DPF, section 4: the merged set is compiled when it
 * changes, so that a frame meets constants instead of data structures).
 *
 * The function walks the trie depth first and returns the owner of the first filter that it finds satisfied, the most
 * specific one (trie.ts says why), or -1:
 *
 * - a word is assembled once, from just the bytes that are compared, and tested with `if` or, where filters expect
 *   different values of it, with `switch`;
 * - the frame's length is checked once at the top for what every filter needs, and again only where all filters below need more;
 * - where many filters differ (more than `SWITCH_EDGES` values of a word, or more code than an optimising compiler takes)
 *   they are grouped by the fields that they compare, and each group is one hash table keyed by the values of those fields.
 *   The time to classify a frame so depends on how many different sets of fields there are, not on how many filters.
 *
 * Tables are passed beside the text, in an array whose elements the caller may replace: as long as filters come and go
 * within tables the text stays the same, and with it the machine code.
 *
 * The text is made of fixed words and of numbers that the verifier let through; nothing else that an application supplied
 * gets into it.
 */
import type { Bytes } from '../wire/bytes.ts';
import {
  type Branch,
  compareTests,
  LENGTH_TEST,
  SHIFT_TEST,
  type Test,
  type TrieNode,
  WORD_TEST,
  wordReachBytes,
} from './trie.ts';

/** Owner of the frame of `length` bytes at `at`, or -1. */
export type Classify = (bytes: Bytes, at: number, length: number) => number;

export interface Program {
  /** Body of a function of `tables` that returns a `Classify`. */
  readonly source: string;
  readonly tables: Int32Array[];
}

/** Most values of one word that are told apart by a `switch`. */
const SWITCH_EDGES = 16;
/** Most filters below one `switch`: V8 optimises no function of more than 60 KiB of bytecode. */
const SWITCH_LEAVES = 128;
/** Most filters of one group that are compared one after the other instead of looked up. */
const LISTED_ROWS = 4;
/** Multiplier of the hash: 2^32 divided by the golden ratio. */
const HASH_FACTOR = 0x9e3779b1 | 0;

/** Generates the code of a trie. */
export function generate(root: TrieNode): Program {
  const emitter = new Emitter();
  emitter.emitProgram(planNode(root));
  return { source: emitter.source, tables: emitter.tables };
}

/** Makes the generated text a function; it reads `tables` anew at every call. */
export function link(source: string, tables: Int32Array[]): Classify {
  return new Function('tables', source)(tables) as Classify;
}

// ---- The plan: the trie, with wide parts merged into keyed ones -----------------------------------------------------

interface PlanNode {
  readonly branches: PlanBranch[];
  /** Filters that end here. */
  readonly rows: Row[];
  /** Bytes from the base that all filters at and below this node need for what they do before the next shift. */
  reachBytes: number;
  /** How many places of the code return an owner. */
  leaves: number;
}

interface PlanBranch {
  readonly test: Test;
  /** One next node for every value; the word becomes part of the rows' keys. */
  readonly keyed: boolean;
  readonly cases: PlanCase[];
}

interface PlanCase {
  readonly value: number;
  readonly next: PlanNode;
}

interface Row {
  /** Values of the keyed words on the way here. */
  readonly key: readonly number[];
  readonly owner: number;
}

function createPlanNode(): PlanNode {
  return { branches: [], rows: [], reachBytes: 0, leaves: 0 };
}

function planNode(node: TrieNode): PlanNode {
  const plan = createPlanNode();
  for (const branch of node.branches) plan.branches.push(planBranch(branch));
  if (node.leaf !== null) plan.rows.push({ key: [], owner: node.leaf.owner });
  return summarize(plan);
}

function planBranch(branch: Branch): PlanBranch {
  const { test, edges } = branch;
  if (edges.size <= SWITCH_EDGES) {
    const cases: PlanCase[] = [];
    for (const [value, next] of edges) cases.push({ value: alignRight(test.mask, value), next: planNode(next) });
    const leaves = cases.reduce((sum, { next }) => sum + next.leaves, 0);
    cases.sort((a, b) => a.value - b.value);
    if (cases.length === 1 || leaves <= SWITCH_LEAVES) return { test, keyed: false, cases };
  }
  const merged = createPlanNode();
  mergeBranch(merged, branch, []);
  summarizeDeep(merged);
  return merged.branches[0] as PlanBranch;
}

/** Adds a part of the trie to a keyed plan, where filters that make the same tests share nodes whatever values they expect. */
function mergeNode(plan: PlanNode, node: TrieNode, key: readonly number[]): void {
  for (const branch of node.branches) mergeBranch(plan, branch, key);
  if (node.leaf !== null) plan.rows.push({ key, owner: node.leaf.owner });
}

function mergeBranch(plan: PlanNode, { test, edges }: Branch, key: readonly number[]): void {
  const next = makeKeyedBranch(plan, test);
  for (const [value, child] of edges) {
    mergeNode(next, child, test.kind === WORD_TEST ? [...key, alignRight(test.mask, value)] : key);
  }
}

function makeKeyedBranch(plan: PlanNode, test: Test): PlanNode {
  let index = 0;
  for (const branch of plan.branches) {
    const order = compareTests(branch.test, test);
    if (order === 0) return (branch.cases[0] as PlanCase).next;
    if (order > 0) break;
    index++;
  }
  const next = createPlanNode();
  plan.branches.splice(index, 0, { test, keyed: test.kind === WORD_TEST, cases: [{ value: 0, next }] });
  return next;
}

function summarizeDeep(plan: PlanNode): void {
  for (const { cases } of plan.branches) for (const { next } of cases) summarizeDeep(next);
  summarize(plan);
}

/** Fills in what a node says about the nodes below it. */
function summarize(plan: PlanNode): PlanNode {
  let reach = plan.rows.length > 0 || plan.branches.length === 0 ? 0 : Number.POSITIVE_INFINITY;
  plan.leaves = plan.rows.length > 0 ? 1 : 0;
  for (const { test, cases } of plan.branches) {
    for (const { next } of cases) {
      plan.leaves += next.leaves;
      reach = Math.min(reach, reachThrough(test, next));
    }
  }
  plan.reachBytes = reach;
  return plan;
}

function reachThrough(test: Test, next: PlanNode): number {
  if (test.kind === WORD_TEST) return Math.max(wordReachBytes(test), next.reachBytes);
  if (test.kind === LENGTH_TEST) return Math.max(test.offset, next.reachBytes);
  // The length field's byte was checked before; beyond it counts another base.
  return 0;
}

/** Whole bytes at the end of a word that are not compared are left out of it. */
function alignRight(mask: number, value: number): number {
  const shift = unusedBits(mask);
  return shift === 0 ? value : value >>> shift;
}

function unusedBits(mask: number): number {
  let bits = 0;
  while (bits < 24 && ((mask >>> bits) & 0xff) === 0) bits += 8;
  return bits;
}

// ---- The text -------------------------------------------------------------------------------------------------------

/** Names of the variables that hold the current base and the bytes that the frame has from there. */
interface Scope {
  readonly base: string;
  readonly room: string;
  /** So many bytes from the base are known to exist. */
  readonly checked: number;
}

class Emitter {
  readonly tables: Int32Array[] = [];
  private readonly lines: string[] = [];
  private depth = 0;
  private names = 0;

  get source(): string {
    return this.lines.join('\n');
  }

  emitProgram(plan: PlanNode): void {
    this.line("'use strict';");
    this.open('return function classify(bytes, at, length)');
    this.emitNode(plan, { base: 'at', room: 'length', checked: 0 }, []);
    this.line('return -1;');
    this.close();
  }

  private emitNode(plan: PlanNode, scope: Scope, keys: readonly string[]): void {
    const { reachBytes, branches, rows } = plan;
    if (reachBytes > scope.checked) {
      this.open(`if (${scope.room} >= ${reachBytes})`);
      for (const branch of branches) this.emitBranch(branch, { ...scope, checked: reachBytes }, keys);
      this.close();
      return;
    }
    for (const branch of branches) this.emitBranch(branch, scope, keys);
    if (rows.length > 0) this.emitRows(rows, keys);
  }

  private emitBranch(branch: PlanBranch, scope: Scope, keys: readonly string[]): void {
    const { test, cases } = branch;
    if (test.kind === WORD_TEST && !branch.keyed) this.emitCases(branch, scope, keys);
    else for (const { next } of cases) this.emitOnly(test, next, scope, keys);
  }

  /** A keyed word, a length test or a shift: there is one next node, which follows in a block of its own. */
  private emitOnly(test: Test, next: PlanNode, scope: Scope, keys: readonly string[]): void {
    if (test.kind === LENGTH_TEST) {
      const checked = Math.max(scope.checked, test.offset);
      this.open(checked > scope.checked ? `if (${scope.room} >= ${checked})` : '');
      this.emitNode(next, { ...scope, checked }, keys);
    } else if (test.kind === SHIFT_TEST) {
      const moved = this.name('moved');
      const base = this.name('base');
      const room = this.name('room');
      this.open('');
      this.line(`const ${moved} = (${byteText(scope, test.offset)} & ${test.mask}) << ${test.leftShift};`);
      this.line(`const ${base} = ${scope.base} + ${moved};`);
      this.line(`const ${room} = ${scope.room} - ${moved};`);
      this.emitNode(next, { base, room, checked: 0 }, keys);
    } else {
      const key = this.name('key');
      this.openWord(test, scope, '');
      this.line(`const ${key} = ${wordText(scope, test)};`);
      this.emitNode(next, withChecked(scope, test), [...keys, key]);
    }
    this.close();
  }

  private emitCases({ test, cases }: PlanBranch, scope: Scope, keys: readonly string[]): void {
    const inner = withChecked(scope, test);
    const [first] = cases;
    if (cases.length === 1 && first !== undefined) {
      this.openWord(test, scope, `${wordText(scope, test)} === ${first.value}`);
      this.emitNode(first.next, inner, keys);
      this.close();
      return;
    }
    const unchecked = wordReachBytes(test) > scope.checked;
    if (unchecked) this.openWord(test, scope, '');
    this.open(`switch (${wordText(scope, test)})`);
    for (const { value, next } of cases) {
      this.open(`case ${value}:`);
      this.emitNode(next, inner, keys);
      this.line('break;');
      this.close();
    }
    this.close();
    if (unchecked) this.close();
  }

  /** Opens a block in which the word may be read. */
  private openWord(test: Test, scope: Scope, condition: string): void {
    const reach = wordReachBytes(test);
    const conditions = condition === '' ? [] : [condition];
    if (reach > scope.checked) conditions.unshift(`${scope.room} >= ${reach}`);
    this.open(conditions.length === 0 ? '' : `if (${conditions.join(' && ')})`);
  }

  private emitRows(rows: readonly Row[], keys: readonly string[]): void {
    if (keys.length > 0 && rows.length > LISTED_ROWS) {
      this.emitLookup(rows, keys);
      return;
    }
    for (const { key, owner } of rows) {
      const condition = keys.map((name, index) => `${name} === ${key[index]}`).join(' && ');
      this.line(condition === '' ? `return ${owner};` : `if (${condition}) return ${owner};`);
    }
  }

  private emitLookup(rows: readonly Row[], keys: readonly string[]): void {
    const number = this.tables.push(makeTable(rows, keys.length)) - 1;
    this.open('');
    this.line(`const table = tables[${number}];`);
    this.line('const last = table[0];');
    this.line('let hash = 0;');
    for (const key of keys) {
      this.line(`hash ^= ${key};`);
      this.line(`hash = Math.imul(hash ^ hash >>> 16, ${HASH_FACTOR});`);
    }
    this.open('for (let slot = (hash ^ hash >>> 16) & last; ; slot = slot + 1 & last)');
    this.line(`const entry = 1 + slot * ${keys.length + 1};`);
    this.line('const owner = table[entry];');
    this.line('if (owner < 0) break;');
    this.line(`if (${keys.map((key, index) => `table[entry + ${index + 1}] === ${key}`).join(' && ')}) return owner;`);
    this.close();
    this.close();
  }

  private name(kind: string): string {
    return `${kind}${this.names++}`;
  }

  private open(head: string): void {
    this.line(head === '' ? '{' : `${head} {`);
    this.depth++;
  }

  private close(): void {
    this.depth--;
    this.line('}');
  }

  private line(text: string): void {
    this.lines.push('  '.repeat(this.depth) + text);
  }
}

function withChecked(scope: Scope, test: Test): Scope {
  return { ...scope, checked: Math.max(scope.checked, wordReachBytes(test)) };
}

function byteText(scope: Scope, offset: number): string {
  return offset === 0 ? `bytes[${scope.base}]` : `bytes[${scope.base} + ${offset}]`;
}

/** The compared bytes of a word, as `alignRight` leaves its values. */
function wordText(scope: Scope, { offset, mask }: Test): string {
  const unused = unusedBits(mask);
  const parts: string[] = [];
  let compared = 0;
  for (let index = 0; index < 4; index++) {
    const shift = 24 - 8 * index;
    if (((mask >>> shift) & 0xff) === 0) continue;
    compared |= 0xff << shift;
    const byte = byteText(scope, offset + index);
    parts.push(shift === unused ? byte : `${byte} << ${shift - unused}`);
  }
  const text = parts.length === 1 ? parts.join() : `(${parts.join(' | ')})`;
  return compared === mask ? text : `(${text} & ${alignRight(mask, mask)})`;
}

// ---- Tables ---------------------------------------------------------------------------------------------------------

/**
 * Open addressing with linear probing, at most half full: word 0 is the number of the last slot (slots are a power of two),
 * then each slot is an owner, -1 when empty, and the key.
 */
function makeTable(rows: readonly Row[], keyWords: number): Int32Array {
  let slots = 16;
  while (slots < 2 * rows.length) slots *= 2;
  const last = slots - 1;
  const table = new Int32Array(1 + slots * (keyWords + 1)).fill(-1);
  table[0] = last;
  for (const { key, owner } of rows) {
    let slot = hashKey(key) & last;
    while ((table[1 + slot * (keyWords + 1)] as number) >= 0) slot = (slot + 1) & last;
    const entry = 1 + slot * (keyWords + 1);
    table[entry] = owner;
    table.set(key, entry + 1);
  }
  return table;
}

/** The hash that `emitLookup` writes out. */
function hashKey(key: readonly number[]): number {
  let hash = 0;
  for (const word of key) {
    hash ^= word;
    hash = Math.imul(hash ^ (hash >>> 16), HASH_FACTOR);
  }
  return hash ^ (hash >>> 16);
}
