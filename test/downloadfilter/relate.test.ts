import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { interpret } from '../../src/downloadfilter/interpret.ts';
import { type Filter, FilterError } from '../../src/downloadfilter/language.ts';
import { normalize } from '../../src/downloadfilter/normalize.ts';
import { parseFilter } from '../../src/downloadfilter/parse.ts';
import { type Relation, relate } from '../../src/downloadfilter/relate.ts';
import { verify } from '../../src/downloadfilter/verify.ts';
import { TINY_FRAMES, tinyFilter, tinyFixedFilter, tryNormalize } from './support.ts';

const INVERSE: Record<Relation, Relation> = {
  identical: 'identical',
  implies: 'implied',
  implied: 'implies',
  disjoint: 'disjoint',
  overlap: 'overlap',
};

/** How two filters stand to each other, by looking at every frame of the tiny world. */
function observe(f: Filter, g: Filter): Relation {
  let both = false;
  let onlyF = false;
  let onlyG = false;
  for (const frame of TINY_FRAMES) {
    const inF = interpret(f, frame, 0, frame.length);
    const inG = interpret(g, frame, 0, frame.length);
    both ||= inF && inG;
    onlyF ||= inF && !inG;
    onlyG ||= inG && !inF;
  }
  if (!both) return 'disjoint';
  if (!onlyF && !onlyG) return 'identical';
  if (!onlyF) return 'implies';
  return onlyG ? 'overlap' : 'implied';
}

test('without shifts a relation is exactly what all frames show', (t) => {
  fc.assert(
    fc.property(tinyFixedFilter, tinyFixedFilter, (first, second) => {
      const [f, g] = [tryNormalize(first), tryNormalize(second)];
      fc.pre(f !== undefined && g !== undefined);
      assert.equal(relate(f, g), observe(first, second));
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

test('with shifts a relation that is stated holds for all frames', (t) => {
  let stated = 0;
  fc.assert(
    fc.property(tinyFilter, tinyFilter, (first, second) => {
      const [f, g] = [tryNormalize(first), tryNormalize(second)];
      fc.pre(f !== undefined && g !== undefined);
      const relation = relate(f, g);
      assert.equal(relate(g, f), INVERSE[relation]);
      if (relation === 'overlap') return;
      stated++;
      for (const frame of TINY_FRAMES) {
        const inF = interpret(first, frame, 0, frame.length);
        const inG = interpret(second, frame, 0, frame.length);
        if (relation === 'disjoint') assert(!(inF && inG));
        if (relation === 'implies' || relation === 'identical') assert(!inF || inG);
        if (relation === 'implied' || relation === 'identical') assert(!inG || inF);
      }
    }),
    { numRuns: 1000 },
  );
  t.true(stated > 200);
});

test('a filter is refused as contradictory exactly when no frame satisfies it', (t) => {
  fc.assert(
    fc.property(tinyFixedFilter, (filter) => {
      const satisfiable = TINY_FRAMES.some((frame) => interpret(filter, frame, 0, frame.length));
      assert.equal(tryNormalize(filter) !== undefined, satisfiable);
    }),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(tinyFilter, (filter) => {
      if (tryNormalize(filter) !== undefined) return;
      assert(!TINY_FRAMES.some((frame) => interpret(filter, frame, 0, frame.length)));
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

test('the normal form does not depend on how atoms are cut and ordered', (t) => {
  const whole = normalize(parseFilter('u32[12]=0x08060001 && u16[16]=0x0800'));
  const pieces = normalize(parseFilter('u8[17]=0 && u16[14]=1 && u8[16]=8 && u8[13]=6 && u8[12]=8'));
  t.deepEqual(whole, pieces);
});

test('the words of a normal form lie where those of IP do', (t) => {
  const [context] = normalize(parseFilter('u8[0]=1 && u16[12]=0x0800 && u8[23]=6 && u32[30]=0x0a000001'));
  t.deepEqual(context?.words, [
    { offset: -2, mask: 0x0000ff00, value: 0x00000100 },
    { offset: 10, mask: 0x0000ffff, value: 0x00000800 },
    { offset: 22, mask: 0x00ff0000, value: 0x00060000 },
    { offset: 30, mask: -1, value: 0x0a000001 },
  ]);
  t.is(context?.reachBytes, 34);
});

test('a contradiction names the byte', (t) => {
  const filter = parseFilter('u16[12]=0x0800 && u8[13]=6');
  t.throws(() => normalize(filter), { instanceOf: FilterError, message: /no frame can satisfy .* byte 13$/ });
});

const pairs: [f: string, g: string, relation: Relation, why: string][] = [
  ['u8[0]=1', 'u8[0]=1', 'identical', 'the same text'],
  ['u16[0]=0x0102', 'u8[1]=2 && u8[0]=1', 'identical', 'the same bits'],
  ['u16[0]&0xff00=0x0100', 'u8[0]=1', 'implies', 'a load asks for its bytes even where it does not compare them'],
  ['u8[0]=1 && u8[1]=2', 'u8[0]=1', 'implies', 'one more byte'],
  ['u8[0]=0x45', 'u8[0]&0xf0=0x40', 'implies', 'more bits'],
  ['u8[0]&0x0f=5', 'u8[0]&0xf0=0x40', 'overlap', 'other bits of one byte'],
  ['u8[0]=1', 'u8[1]=1', 'overlap', 'other bytes'],
  ['u8[0]=1', 'u8[0]=2', 'disjoint', 'two values'],
  ['+(u8[0]&15)<<2 && u8[9]=1', '+(u8[0]&15)<<2 && u8[9]=2', 'disjoint', 'two values behind the same shift'],
  ['+(u8[0]&15)<<2 && u16[8]=1', '+(u8[0]&15)<<2 && u8[9]=1', 'implies', 'more bits behind the same shift'],
  ['+(u8[0]&15)<<2 && u8[9]=1', '+(u8[0]&15)<<1 && u8[9]=2', 'overlap', 'different shifts are not compared'],
  ['+(u8[0]&15)<<2 && u8[9]=1', 'u8[9]=2', 'overlap', 'behind a shift and not behind one'],
  ['u8[0]=1 && +(u8[0]&15)<<2 && u8[9]=1', 'u8[13]=1', 'implies', 'a shift that the filter itself resolves'],
  ['u8[0]=5 && u8[29]=1', '+(u8[0]&15)<<2 && u8[9]=1', 'implies', 'a shift that the other filter resolves'],
  ['u8[0]=5 && u8[29]=1', '+(u8[0]&15)<<2 && u8[9]=2', 'disjoint', 'two values once the shift is resolved'],
  ['u8[0]=2 && u8[9]=1 && u8[13]=7', '+(u8[0]&15)<<2 && +(u8[1]&15)<<2 && u8[1]=7', 'implies', 'both shifts resolved'],
  [
    'u8[0]=4 && +(u8[8]&1)<<0 && u8[20]=1',
    '+(u8[0]&15)<<0 && +(u8[4]&1)<<0 && u8[16]=1',
    'implies',
    'resolved 4 bytes on, then the same shift',
  ],
  [
    'u8[0]=4 && +(u8[8]&1)<<0 && u8[20]=1',
    '+(u8[0]&15)<<0 && +(u8[4]&1)<<0 && u8[16]=2',
    'disjoint',
    'resolved 4 bytes on, then the same shift',
  ],
  [
    'u8[0]=4 && +(u8[8]&1)<<0 && u8[20]=1',
    '+(u8[0]&15)<<0 && +(u8[8]&1)<<0 && u8[16]=2',
    'overlap',
    'resolved 4 bytes on, then another shift',
  ],
  ['u8[0]=6 && u8[29]=1', '+(u8[0]&15)<<2 && u8[9]=1', 'overlap', 'resolved to another byte'],
  [
    'u8[0]=0 && +(u8[1]&1)<<0 && u8[5]=1',
    '+(u8[0]&1)<<0 && +(u8[1]&1)<<0 && u8[5]=2',
    'disjoint',
    'resolved, then the same shift',
  ],
  [
    'u8[0]=0 && +(u8[1]&1)<<0 && u8[5]=1',
    '+(u8[0]&1)<<0 && +(u8[1]&1)<<0 && u8[5]=1',
    'implies',
    'resolved, then the same shift',
  ],
  [
    '+(u8[0]&1)<<0 && u8[2]=0 && +(u8[2]&1)<<0 && u8[3]=1',
    '+(u8[0]&1)<<0 && u8[3]=1 && u8[2]=0',
    'identical',
    'a resolved second shift',
  ],
];

for (const [f, g, relation, why] of pairs) {
  test(`${relation}: ${why}: ${f} / ${g}`, (t) => {
    const [one, two] = [normalize(parseFilter(f)), normalize(parseFilter(g))];
    t.is(relate(one, two), relation);
    t.is(relate(two, one), INVERSE[relation]);
  });
}

test('a verified filter has a normal form or a sentence', (t) => {
  fc.assert(
    fc.property(tinyFilter, (filter) => {
      try {
        normalize(verify(filter));
      } catch (error) {
        assert(error instanceof FilterError);
      }
    }),
  );
  t.pass();
});
