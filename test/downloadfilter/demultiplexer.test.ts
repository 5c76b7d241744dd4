import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { Demultiplexer } from '../../src/downloadfilter/demultiplexer.ts';
import { type Filter, FilterError, load8, load16 } from '../../src/downloadfilter/language.ts';
import { parseFilter } from '../../src/downloadfilter/parse.ts';
import { arpFilter, ipv4Filter, tcp4Filter } from '../../src/downloadfilter/protocols.ts';
import {
  type Claim,
  type FrameRecipe,
  frameRecipe,
  makeFrame,
  ReferenceDemultiplexer,
  satisfy,
  TINY_FRAMES,
  tinyFilter,
  WIRE_BYTES,
  wireFilter,
} from './support.ts';

const AT = 7;

/** Inserts what is taken; the reference must take and refuse the same. */
function insertAll(filters: readonly Filter[]): { demultiplexer: Demultiplexer; reference: ReferenceDemultiplexer } {
  const demultiplexer = new Demultiplexer();
  const reference = new ReferenceDemultiplexer();
  filters.forEach((filter, owner) => {
    let taken = true;
    try {
      demultiplexer.insert(filter, owner);
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      taken = false;
    }
    if (taken !== reference.insert(filter, owner)) throw new Error(`filter ${owner}: taken is ${taken}`);
  });
  return { demultiplexer, reference };
}

test('compiled code means what the interpreter means: tiny world, every frame', (t) => {
  fc.assert(
    fc.property(fc.array(tinyFilter, { maxLength: 24 }), (filters) => {
      const { demultiplexer, reference } = insertAll(filters);
      for (const frame of TINY_FRAMES) {
        assert.equal(demultiplexer.classify(frame, 0, frame.length), reference.classify(frame, 0, frame.length));
      }
    }),
  );
  t.pass();
});

test('compiled code means what the interpreter means: protocol filters, mutated and truncated frames', (t) => {
  let matched = 0;
  let frames = 0;
  fc.assert(
    fc.property(
      fc.array(wireFilter, { maxLength: 80 }),
      fc.array(frameRecipe, { minLength: 30, maxLength: 30 }),
      (filters, recipes) => {
        const { demultiplexer, reference } = insertAll(filters);
        for (const recipe of recipes) {
          const bytes = makeFrame(recipe, reference.claims, AT);
          const expected = reference.classify(bytes, AT, recipe.length);
          assert.equal(demultiplexer.classify(bytes, AT, recipe.length), expected);
          frames++;
          if (expected >= 0) matched++;
        }
      },
    ),
    { numRuns: 300 },
  );
  t.true(matched > frames / 5 && matched < (frames * 4) / 5, `${matched} of ${frames} matched`);
});

test('the order of insertion leaves no trace', (t) => {
  const scene = fc.array(wireFilter, { minLength: 2, maxLength: 60 }).chain((filters) => {
    const { claims } = insertAll(filters).reference;
    return fc.tuple(
      fc.constant(claims),
      fc.shuffledSubarray(claims, { minLength: claims.length }),
      fc.array(frameRecipe, { minLength: 30, maxLength: 30 }),
    );
  });
  fc.assert(
    fc.property(scene, ([claims, shuffled, recipes]) => {
      const [one, two] = [insertClaims(claims), insertClaims(shuffled)];
      for (const recipe of recipes) {
        const bytes = makeFrame(recipe, claims, AT);
        assert.equal(two.classify(bytes, AT, recipe.length), one.classify(bytes, AT, recipe.length));
      }
    }),
  );
  t.pass();
});

/** Inserts claims all of which must be taken. */
function insertClaims(claims: readonly Claim[]): Demultiplexer {
  const demultiplexer = new Demultiplexer();
  for (const { filter, owner } of claims) demultiplexer.insert(filter, owner);
  return demultiplexer;
}

test('filters come and go, and frames are classified right in between', (t) => {
  const step = fc.record({ filter: wireFilter, remove: fc.nat(2), pick: fc.nat(), recipe: frameRecipe });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const demultiplexer = new Demultiplexer();
      const reference = new ReferenceDemultiplexer();
      const ids = new Map<number, number>();
      steps.forEach(({ filter, remove, pick, recipe }, owner) => {
        const leaving = [...ids.keys()][pick % Math.max(1, ids.size)];
        if (remove === 0 && leaving !== undefined) {
          demultiplexer.remove(ids.get(leaving) ?? 0);
          ids.delete(leaving);
          reference.remove(leaving);
        } else if (reference.insert(filter, owner)) {
          ids.set(owner, demultiplexer.insert(filter, owner));
        }
        checkFrame(demultiplexer, reference, recipe);
        assert.equal(demultiplexer.size, ids.size);
      });
      for (const id of ids.values()) demultiplexer.remove(id);
      assert.equal(demultiplexer.source, new Demultiplexer().source);
    }),
  );
  t.pass();
});

function checkFrame(demultiplexer: Demultiplexer, reference: ReferenceDemultiplexer, recipe: FrameRecipe): void {
  const bytes = makeFrame(recipe, reference.claims, AT);
  const found = demultiplexer.classify(bytes, AT, recipe.length);
  const expected = reference.classify(bytes, AT, recipe.length);
  if (found !== expected) throw new Error(`owner ${found}, not ${expected}`);
}

const A = 0x0a5a0002;
const B = 0xc0a80001 | 0;

const chain: Claim[] = [
  { filter: ipv4Filter(A), owner: 1 },
  { filter: tcp4Filter({ target: A }), owner: 2 },
  { filter: tcp4Filter({ target: A, targetPort: 80 }), owner: 3 },
  { filter: tcp4Filter({ target: A, targetPort: 80, source: B }), owner: 4 },
  { filter: tcp4Filter({ target: A, targetPort: 80, source: B, sourcePort: 40000 }), owner: 5 },
  { filter: arpFilter(A), owner: 6 },
  { filter: [load16(12, 0x0800)], owner: 7 },
];

test('the filter that implies another wins, in all 5,040 orders', (t) => {
  const frames = chain.map(({ filter, owner }) => {
    const bytes = new Uint8Array(WIRE_BYTES);
    bytes[14] = 0x46;
    satisfy(filter, bytes, 0);
    return { bytes, owner };
  });
  for (const order of permutations(chain)) {
    const demultiplexer = insertClaims(order);
    for (const { bytes, owner } of frames) {
      if (demultiplexer.classify(bytes, 0, bytes.length) !== owner) t.fail(`owner ${owner}`);
    }
  }
  t.pass();
});

function* permutations<T>(items: readonly T[]): Generator<T[]> {
  if (items.length === 0) yield [];
  for (const [index, item] of items.entries()) {
    for (const rest of permutations(items.toSpliced(index, 1))) yield [item, ...rest];
  }
}

test('when the winner goes, its frames fall to the next wider filter', (t) => {
  const demultiplexer = new Demultiplexer();
  const ids = chain.slice(0, 5).map(({ filter, owner }) => demultiplexer.insert(filter, owner));
  const bytes = new Uint8Array(WIRE_BYTES);
  bytes[14] = 0x45;
  satisfy(chain[4]?.filter ?? [], bytes, 0);
  for (let owner = 5; owner >= 1; owner--) {
    t.is(demultiplexer.classify(bytes, 0, bytes.length), owner);
    demultiplexer.remove(ids[owner - 1] ?? 0);
  }
  t.is(demultiplexer.classify(bytes, 0, bytes.length), -1);
});

test('an overlap is refused in one sentence, and leaves everything as it was', (t) => {
  const demultiplexer = new Demultiplexer();
  demultiplexer.insert(tcp4Filter({ target: A, targetPort: 80 }), 3);
  const source = demultiplexer.source;
  const error = t.throws(() => demultiplexer.insert(tcp4Filter({ target: A, source: B }), 4), {
    instanceOf: FilterError,
  });
  t.is(
    error.message,
    'a frame could satisfy both ' +
      '"u16[12]=0x0800 && u16[20]&0x1fff=0x0000 && u8[23]=0x06 && u32[30]=0x0a5a0002 && u32[26]=0xc0a80001" and ' +
      '"u16[12]=0x0800 && u16[20]&0x1fff=0x0000 && u8[23]=0x06 && u32[30]=0x0a5a0002 && +(u8[14]&0x0f)<<2 && u16[16]=0x0050"' +
      ' of owner 3, and neither implies the other',
  );
  t.is(demultiplexer.size, 1);
  t.is(demultiplexer.source, source);
});

test('an overlap is refused within one owner, too', (t) => {
  const demultiplexer = new Demultiplexer();
  demultiplexer.insert([load8(0, 1)], 1);
  t.throws(() => demultiplexer.insert([load8(1, 1)], 1), { instanceOf: FilterError });
});

test('a filter that asks for a longer frame wins over one that asks for less', (t) => {
  const demultiplexer = new Demultiplexer();
  demultiplexer.insert(parseFilter('u16[0]&0xff00=0x0100'), 2);
  demultiplexer.insert(parseFilter('u8[0]=1 && u32[4]&0x80000000=0'), 8);
  demultiplexer.insert(parseFilter('u32[0]&0xff000000=0x01000000'), 4);
  demultiplexer.insert(parseFilter('u8[0]=1'), 1);
  const owners = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((length) => {
    return demultiplexer.classify(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0), 0, length);
  });
  t.deepEqual(owners, [-1, 1, 2, 2, 4, 4, 4, 4, 8, 8]);
});

test('the same filter twice is refused, however it is written', (t) => {
  const demultiplexer = new Demultiplexer();
  const id = demultiplexer.insert(parseFilter('u16[12]=0x0806'), 1);
  const again = () => demultiplexer.insert(parseFilter('u8[13]=6 && u8[12]=8'), 1);
  t.throws(again, {
    instanceOf: FilterError,
    message: '"u8[13]=0x06 && u8[12]=0x08" is already in force for owner 1',
  });
  demultiplexer.remove(id);
  t.notThrows(again);
});

test('misuse is answered with a RangeError, too many filters with a FilterError', (t) => {
  const demultiplexer = new Demultiplexer(2);
  const id = demultiplexer.insert([load8(0, 1)], 0);
  t.throws(() => demultiplexer.insert([load8(0, 2)], -1), { instanceOf: RangeError });
  t.throws(() => demultiplexer.insert([load8(0, 2)], 1.5), { instanceOf: RangeError });
  demultiplexer.insert([load8(0, 2)], 1);
  t.throws(() => demultiplexer.insert([load8(0, 3)], 1), { instanceOf: FilterError, message: /2 filters in force/ });
  demultiplexer.remove(id);
  t.throws(() => demultiplexer.remove(id), { instanceOf: RangeError });
  t.notThrows(() => demultiplexer.insert([load8(0, 3)], 1));
});

test('without filters no frame has an owner', (t) => {
  t.is(new Demultiplexer().classify(new Uint8Array(60), 0, 60), -1);
});

function tcpFrame(target: number, targetPort: number, optionBytes = 0): Uint8Array {
  const bytes = new Uint8Array(WIRE_BYTES);
  bytes[14] = 0x45 + optionBytes / 4;
  satisfy(tcp4Filter({ target, targetPort }), bytes, 0);
  return bytes;
}

test('10,000 ports of one address', (t) => {
  const demultiplexer = new Demultiplexer();
  demultiplexer.insert(ipv4Filter(A), 20_000);
  for (let port = 1; port <= 10_000; port++) demultiplexer.insert(tcp4Filter({ target: A, targetPort: port }), port);
  for (let port = 0; port <= 65_535; port++) {
    const owner = port >= 1 && port <= 10_000 ? port : 20_000;
    if (demultiplexer.classify(tcpFrame(A, port, 4 * (port % 11)), 0, WIRE_BYTES) !== owner) t.fail(`port ${port}`);
  }
  t.is(demultiplexer.classify(tcpFrame(B, 80), 0, WIRE_BYTES), -1);
});

test('10,000 addresses with three filters each', (t) => {
  const demultiplexer = new Demultiplexer();
  for (let host = 0; host < 10_000; host++) {
    demultiplexer.insert(arpFilter(A + host), 3 * host);
    demultiplexer.insert(ipv4Filter(A + host), 3 * host + 1);
    demultiplexer.insert(tcp4Filter({ target: A + host, targetPort: 80 }), 3 * host + 2);
  }
  const arp = new Uint8Array(WIRE_BYTES);
  for (let host = -5; host < 10_005; host++) {
    const known = host >= 0 && host < 10_000;
    satisfy(arpFilter(A + host), arp, 0);
    const found = [
      demultiplexer.classify(arp, 0, WIRE_BYTES),
      demultiplexer.classify(tcpFrame(A + host, 81), 0, WIRE_BYTES),
      demultiplexer.classify(tcpFrame(A + host, 80, 12), 0, WIRE_BYTES),
    ];
    const expected = known ? [3 * host, 3 * host + 1, 3 * host + 2] : [-1, -1, -1];
    if (found.join() !== expected.join()) t.fail(`host ${host}: ${found}`);
  }
  t.pass();
});

test('any number of ports, below and above what a switch takes', (t) => {
  const demultiplexer = new Demultiplexer();
  for (let ports = 1; ports <= 40; ports++) {
    demultiplexer.insert(tcp4Filter({ target: A, targetPort: 1000 * ports }), ports);
    for (let port = 0; port <= 41; port++) {
      const owner = demultiplexer.classify(tcpFrame(A, 1000 * port), 0, WIRE_BYTES);
      t.is(owner, port >= 1 && port <= ports ? port : -1);
    }
    t.is(demultiplexer.source.includes('switch'), ports > 1 && ports <= 16);
  }
});

test('many filters on few values of each byte are grouped, too', (t) => {
  const demultiplexer = new Demultiplexer();
  for (let a = 0; a < 13; a++) {
    demultiplexer.insert([load8(0, a)], 1000 + a);
    for (let b = 0; b < 13; b++) {
      demultiplexer.insert([load8(0, a), load8(4, b)], 20 * a + b);
      if (b % 3 === 0) demultiplexer.insert([load8(0, a), load8(4, b), load8(9, 200)], 500 + 20 * a + b);
    }
  }
  t.true(demultiplexer.source.includes('tables[2]'));
  for (let a = 0; a < 16; a++) {
    for (let b = 0; b < 16; b++) {
      const bytes = Uint8Array.of(a, 0, 0, 0, b, 0, 0, 0, 0, 200);
      const narrow = a < 13 && b < 13;
      const expected = [
        a < 13 ? 1000 + a : -1,
        narrow ? 20 * a + b : a < 13 ? 1000 + a : -1,
        narrow && b % 3 === 0 ? 500 + 20 * a + b : narrow ? 20 * a + b : a < 13 ? 1000 + a : -1,
      ];
      t.deepEqual(
        [4, 9, 10].map((length) => demultiplexer.classify(bytes, 0, length)),
        expected,
      );
    }
  }
});

test('while filters come and go within a table, the code stays the same', (t) => {
  const demultiplexer = new Demultiplexer();
  for (let port = 1; port <= 100; port++) demultiplexer.insert(tcp4Filter({ target: A, targetPort: port }), port);
  const source = demultiplexer.source;
  const id = demultiplexer.insert(tcp4Filter({ target: A, targetPort: 5000 }), 5000);
  t.is(demultiplexer.source, source);
  t.is(demultiplexer.classify(tcpFrame(A, 5000), 0, WIRE_BYTES), 5000);
  demultiplexer.remove(id);
  t.is(demultiplexer.classify(tcpFrame(A, 5000), 0, WIRE_BYTES), -1);
});

test('the generated code of a small set', (t) => {
  t.snapshot(insertClaims(chain.slice(0, 6)).source);
});
