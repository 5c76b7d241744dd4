import { strictEqual } from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import fc from 'fast-check';
import ts from 'typescript';
import {
  type Seq,
  seqAdd,
  seqAfter,
  seqAfterOrAt,
  seqBefore,
  seqBeforeOrAt,
  seqBits,
  seqDistance,
  seqMax,
  seqMin,
  toSeq,
} from '../../src/tcp/sequence.ts';

const MODULUS = 2n ** 32n;
const HALF = 2n ** 31n;

/** The number in 0 to 2^32 - 1 that a sequence number stands for. */
function unsignedOf(seq: Seq): bigint {
  return BigInt(seqBits(seq) >>> 0);
}

/** RFC 9293 section 3.4 in unbounded integers: how far a is past b, in -2^31 to 2^31 - 1. */
function distanceOf(a: bigint, b: bigint): bigint {
  const forward = (((a - b) % MODULUS) + MODULUS) % MODULUS;
  return forward >= HALF ? forward - MODULUS : forward;
}

/** Any sequence number, more often than not one near 0, 2^31 or 2^32. */
const bits = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }),
  fc
    .tuple(fc.constantFrom(0, 2 ** 31, 2 ** 32), fc.integer({ min: -70_000, max: 70_000 }))
    .map(([base, offset]) => (base + offset + 2 ** 32) % 2 ** 32),
);
const distance = fc.oneof(
  fc.integer({ min: -(2 ** 31) + 1, max: 2 ** 31 - 1 }),
  fc.integer({ min: -70_000, max: 70_000 }),
  fc.constantFrom(0, 1, -1, 2 ** 31 - 1, -(2 ** 31) + 1),
);

test('agrees with arithmetic modulo 2^32 in unbounded integers', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(bits, bits, distance, (first, second, count) => {
        const a = toSeq(first);
        const b = toSeq(second);
        strictEqual(unsignedOf(a), BigInt(first));
        strictEqual(unsignedOf(seqAdd(a, count)), (((BigInt(first) + BigInt(count)) % MODULUS) + MODULUS) % MODULUS);
        const model = distanceOf(BigInt(first), BigInt(second));
        strictEqual(BigInt(seqDistance(a, b)), model);
        strictEqual(seqBefore(a, b), model < 0n);
        strictEqual(seqBeforeOrAt(a, b), model <= 0n);
        strictEqual(seqAfter(a, b), model > 0n);
        strictEqual(seqAfterOrAt(a, b), model >= 0n);
        strictEqual(seqMax(a, b), model >= 0n ? a : b);
        strictEqual(seqMin(a, b), model <= 0n ? a : b);
      }),
      { numRuns: 5000 },
    ),
  );
});

test("adding and measuring are each other's inverse", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(bits, distance, (first, count) => {
        const a = toSeq(first);
        const b = seqAdd(a, count);
        strictEqual(seqDistance(b, a), count);
        strictEqual(seqAdd(b, -count), a);
        if (count === 0) return;
        strictEqual(seqAfter(b, a), count > 0);
        strictEqual(seqMax(a, b), count > 0 ? b : a);
        strictEqual(seqMin(a, b), count > 0 ? a : b);
      }),
      { numRuns: 5000 },
    ),
  );
});

test('values read signed and unsigned are the same number', (t) => {
  t.is(toSeq(0xffffffff), toSeq(-1));
  t.is(toSeq(0x80000000), toSeq(-0x80000000));
  t.is(toSeq(2 ** 32), toSeq(0));
});

for (const [name, edge] of [
  ['0 and 2^32', 0],
  ['2^31', 2 ** 31],
] as const) {
  test(`order and distance hold across ${name}`, (t) => {
    const before = toSeq(edge - 1);
    const after = toSeq(edge);
    t.is(seqAdd(before, 1), after);
    t.is(seqDistance(after, before), 1);
    t.is(seqDistance(before, after), -1);
    t.true(seqBefore(before, after));
    t.false(seqBefore(after, before));
    t.true(seqAfter(after, before));
    t.true(seqBeforeOrAt(before, after) && seqBeforeOrAt(after, after));
    t.true(seqAfterOrAt(after, before) && seqAfterOrAt(before, before));
    t.is(seqMax(before, after), after);
    t.is(seqMin(before, after), before);
    const far = seqAdd(before, 2 ** 31 - 1);
    t.true(seqAfter(far, before));
    t.is(seqDistance(far, before), 2 ** 31 - 1);
  });
}

/** What the compiler says to a statement about two sequence numbers `a` and `b`. */
function complaints(statement: string): string[] {
  const directory = fileURLToPath(new URL('../../../src/tcp/', import.meta.url));
  const snippetPath = `${directory}snippet-of-the-test.ts`;
  const text = `import * as seq from './sequence.ts';\nexport function snippet(a: seq.Seq, b: seq.Seq) {\n${statement}\n}\n`;
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    lib: ['lib.es2023.d.ts'],
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    allowImportingTsExtensions: true,
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (path) => path === snippetPath || fileExists.call(host, path);
  host.getSourceFile = (path, target) =>
    path === snippetPath
      ? ts.createSourceFile(path, text, target)
      : (sources.get(path) ?? remember(path, getSourceFile.call(host, path, target)));
  const program = ts.createProgram([snippetPath], options, host);
  const source = program.getSourceFile(snippetPath);
  const all = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
  return all.map((diagnostic) => ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
}

const sources = new Map<string, ts.SourceFile>();

function remember(path: string, source: ts.SourceFile | undefined): ts.SourceFile | undefined {
  if (source !== undefined) sources.set(path, source);
  return source;
}

const REFUSED = [
  'return a < b;',
  'return a <= b;',
  'return a > b;',
  'return a >= b;',
  'return a + 1;',
  'return 1 + a;',
  'return a - b;',
  'return a - 1;',
  'return -a;',
  'return +a;',
  'return a | 0;',
  'return a >>> 0;',
  'a++; return a;',
  'a += 1; return a;',
  'return Math.max(a, b);',
  'const n: number = a; return n;',
  'const s: seq.Seq = 5; return s;',
  'return seq.seqAdd(5, 1);',
  'return seq.seqDistance(a, 5);',
];

for (const statement of REFUSED) {
  test(`does not compile: ${statement}`, (t) => {
    t.true(complaints(statement).length > 0);
  });
}

const ACCEPTED = [
  'return a === b;',
  'return a !== b;',
  'return seq.seqBefore(a, b);',
  'const s: seq.Seq = seq.seqAdd(a, 1); return s;',
  'const n: number = seq.seqDistance(a, b); return n;',
  'const s: seq.Seq = seq.toSeq(5); return seq.seqBits(s) + 1;',
];

for (const statement of ACCEPTED) {
  test(`compiles: ${statement}`, (t) => {
    t.deepEqual(complaints(statement), []);
  });
}
