import test from 'ava';
import fc from 'fast-check';
import { type Random, SeededRandom, SystemRandom } from '../../src/runtime/random.ts';

const sources: readonly (readonly [string, () => Random])[] = [
  ['seeded', () => new SeededRandom(42)],
  ['system', () => new SystemRandom()],
];

for (const [name, create] of sources) {
  test(`${name}: words are spread over their whole range`, (t) => {
    const random = create();
    const ones = new Array<number>(32).fill(0);
    const rolls = 20_000;
    for (let i = 0; i < rolls; i++) {
      const word = i % 2 === 0 ? random.u32() : random.i32() >>> 0;
      for (let bit = 0; bit < 32; bit++) ones[bit] = (ones[bit] as number) + ((word >>> bit) & 1);
    }
    // Six standard deviations of a fair coin.
    const slack = 6 * Math.sqrt(rolls / 4);
    for (const count of ones) t.true(Math.abs(count - rolls / 2) < slack, `${count}`);
  });

  test(`${name}: u32 is unsigned, i32 signed`, (t) => {
    const random = create();
    for (let i = 0; i < 1000; i++) {
      const unsigned = random.u32();
      const signed = random.i32();
      if (unsigned !== unsigned >>> 0 || signed !== (signed | 0)) t.fail();
    }
    t.pass();
  });

  test(`${name}: below is uniform`, (t) => {
    const random = create();
    const counts = new Array<number>(6).fill(0);
    for (let i = 0; i < 60_000; i++) {
      const face = random.below(6);
      counts[face] = (counts[face] as number) + 1;
    }
    t.is(counts.length, 6);
    for (const count of counts) t.true(Math.abs(count - 10_000) < 600, `${count}`);
    for (let i = 0; i < 100; i++) {
      t.is(random.below(1), 0);
      t.true(random.below(2 ** 32) < 2 ** 32);
      t.true(random.below(3 * 2 ** 30) < 3 * 2 ** 30);
    }
    for (const n of [0, -1, 1.5, Number.NaN, 2 ** 32 + 1]) {
      t.throws(() => random.below(n), { instanceOf: RangeError });
    }
  });

  test(`${name}: chance`, (t) => {
    const random = create();
    let hits = 0;
    for (let i = 0; i < 10_000; i++) {
      if (random.chance(0) || !random.chance(1)) t.fail();
      if (random.chance(0.25)) hits++;
    }
    t.true(Math.abs(hits - 2500) < 300, `${hits}`);
  });

  test(`${name}: fill reaches every byte and no other`, (t) => {
    const random = create();
    for (let length = 0; length < 20; length++) {
      const all = new Uint8Array(40);
      const target = all.subarray(10, 10 + length);
      const seen = new Uint8Array(length);
      for (let i = 0; i < 30; i++) {
        random.fill(target);
        for (let at = 0; at < length; at++) seen[at] = (seen[at] as number) | (target[at] as number);
      }
      t.true(
        seen.every((byte) => byte !== 0),
        `${length}`,
      );
      t.true(all.every((byte, at) => byte === 0 || (at >= 10 && at < 10 + length)));
    }
  });
}

test('a seed is a run', (t) => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (seed) => {
      const a = new SeededRandom(seed);
      const b = new SeededRandom(seed);
      const c = new SeededRandom(seed > 0 ? seed - 1 : seed + 1);
      const rolls = Array.from({ length: 8 }, () => a.u32());
      t.deepEqual(
        Array.from({ length: 8 }, () => b.u32()),
        rolls,
      );
      t.notDeepEqual(
        Array.from({ length: 8 }, () => c.u32()),
        rolls,
      );
    }),
  );
  t.notDeepEqual(new SeededRandom(2 ** 33).u32(), new SeededRandom(0).u32());
  t.throws(() => new SeededRandom(0.5), { instanceOf: RangeError });
});

test('a seed gives these rolls on every machine', (t) => {
  const random = new SeededRandom(1);
  const rolls = [2864718319, 382396905, 3862504874, 1160459947, 3500193110, 2079956493, 2173068114, 2999875520];
  for (const roll of rolls) t.is(random.u32(), roll);
});

/** The published algorithm, in 64-bit integers. */
function* referenceXoshiro(state: [bigint, bigint, bigint, bigint]): Generator<number> {
  const mask = 0xffffffffn;
  const rotate = (word: bigint, count: bigint) => ((word << count) | (word >> (32n - count))) & mask;
  let [s0, s1, s2, s3] = state;
  while (true) {
    yield Number((rotate((s1 * 5n) & mask, 7n) * 9n) & mask);
    const shifted = (s1 << 9n) & mask;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= shifted;
    s3 = rotate(s3, 11n);
  }
}

test('is xoshiro128** as published', (t) => {
  const random = new SeededRandom(7);
  const { s0, s1, s2, s3 } = random as unknown as Record<'s0' | 's1' | 's2' | 's3', number>;
  const word = (value: number) => BigInt(value >>> 0);
  const reference = referenceXoshiro([word(s0), word(s1), word(s2), word(s3)]);
  for (let i = 0; i < 1000; i++) t.is(random.u32(), reference.next().value);
});
