import test from 'ava';
import fc from 'fast-check';
import { Arena } from '../../src/runtime/arena.ts';
import { BlockAllocator, PAGE_BYTES } from '../../src/runtime/block-allocator.ts';

const MIB = 1024 * 1024;

/** Stands in for an arena: the property tests need offsets and no memory. */
const range = { allocate: () => 100 };

test('hands out aligned blocks inside its range and takes them back', (t) => {
  const allocator = new BlockAllocator(range, MIB);
  t.is(allocator.start, PAGE_BYTES);
  t.is(allocator.capacityBytes, MIB);
  const small = allocator.allocate(300);
  const large = allocator.allocate(5000);
  t.is(small % 64, 0);
  t.is(large % PAGE_BYTES, 0);
  t.is(allocator.usedBytes, 320 + 8192);
  t.is(allocator.liveBlocks, 2);
  allocator.free(small);
  allocator.free(large);
  t.is(allocator.usedBytes, 0);
  t.is(allocator.liveBlocks, 0);
  t.is(allocator.largestFreeBytes, allocator.capacityBytes);
});

test('says 0 when full, counts it, and recovers', (t) => {
  const allocator = new BlockAllocator(range, 8 * PAGE_BYTES);
  const whole = allocator.allocate(8 * PAGE_BYTES);
  t.is(whole, PAGE_BYTES);
  t.is(allocator.allocate(1), 0);
  t.is(allocator.allocate(PAGE_BYTES), 0);
  t.is(allocator.failures, 2);
  allocator.free(whole);
  t.is(allocator.allocate(9 * PAGE_BYTES), 0);
  t.not(allocator.allocate(8 * PAGE_BYTES), 0);
});

test('neighbours join when they come back, in any order', (t) => {
  for (const order of [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ]) {
    const allocator = new BlockAllocator(range, 300 * PAGE_BYTES);
    const blocks = [0, 1, 2].map(() => allocator.allocate(100 * PAGE_BYTES));
    t.is(allocator.largestFreeBytes, 0);
    for (const index of order) allocator.free(blocks[index] ?? 0);
    t.is(allocator.largestFreeBytes, 300 * PAGE_BYTES);
  }
});

test('the tightest run is taken', (t) => {
  const allocator = new BlockAllocator(range, 1000 * PAGE_BYTES);
  const wide = allocator.allocate(70 * PAGE_BYTES);
  allocator.allocate(PAGE_BYTES);
  const tight = allocator.allocate(66 * PAGE_BYTES);
  allocator.allocate(PAGE_BYTES);
  allocator.free(tight);
  allocator.free(wide);
  t.is(allocator.allocate(65 * PAGE_BYTES), tight);
});

test('a request beside many runs of its bin that are too short still finds the one that fits', (t) => {
  const allocator = new BlockAllocator(range, 20_000 * PAGE_BYTES);
  const short: number[] = [];
  const fitting = allocator.allocate(79 * PAGE_BYTES);
  allocator.allocate(PAGE_BYTES);
  for (let i = 0; i < 100; i++) {
    short.push(allocator.allocate(64 * PAGE_BYTES));
    allocator.allocate(PAGE_BYTES);
  }
  while (allocator.allocate(PAGE_BYTES) !== 0);
  allocator.free(fitting);
  for (const block of short) allocator.free(block);
  t.is(allocator.allocate(79 * PAGE_BYTES), fitting);
});

test('little of a block is waste', (t) => {
  for (const bytes of [1, 64, 65, 250, 300, 513, 1000, 1025, 2048, 2049, 4097, 100_000, 1_000_001]) {
    const allocator = new BlockAllocator(range, 4 * MIB);
    allocator.allocate(bytes);
    const allowed = bytes <= 2048 ? Math.max(63, bytes / 4) : PAGE_BYTES - 1;
    t.true(allocator.usedBytes - bytes <= allowed, `${bytes} bytes cost ${allocator.usedBytes}`);
  }
});

test('misuse throws: not a block, freed twice, outside, nonsense sizes', (t) => {
  const allocator = new BlockAllocator(range, MIB);
  const small = allocator.allocate(100);
  const large = allocator.allocate(3 * PAGE_BYTES);
  for (const at of [0, small + 1, small + 128, large + PAGE_BYTES, large + 64, 2 * MIB, Number.NaN]) {
    t.throws(() => allocator.free(at), { instanceOf: RangeError }, String(at));
  }
  allocator.free(large);
  t.throws(() => allocator.free(large), { instanceOf: RangeError });
  const other = allocator.allocate(100);
  allocator.free(small);
  t.throws(() => allocator.free(small), { instanceOf: RangeError });
  allocator.free(other);
  t.throws(() => allocator.free(other), { instanceOf: RangeError });
  for (const bytes of [0, -1, Number.NaN]) t.throws(() => allocator.allocate(bytes), { instanceOf: RangeError });
  t.throws(() => new BlockAllocator(range, 0), { instanceOf: RangeError });
});

test('an allocator over an arena holds what was asked', (t) => {
  const arena = new Arena(4 * MIB);
  arena.allocate(100);
  const allocator = new BlockAllocator(arena, MIB);
  t.true(allocator.capacityBytes >= MIB);
  const at = allocator.allocate(MIB);
  t.true(at > 0 && at + MIB <= arena.usedBytes);
  arena.close();
});

const sizes = fc.oneof(
  fc.integer({ min: 1, max: 2100 }),
  fc.integer({ min: 2000, max: 70_000 }),
  fc.integer({ min: 1, max: 600_000 }),
);
const operations = fc.array(fc.oneof(fc.record({ allocate: sizes }), fc.record({ free: fc.nat() })), {
  maxLength: 300,
});

test('property: blocks never overlap, a failure is honest, everything comes back', (t) => {
  fc.assert(
    fc.property(operations, (steps) => {
      const allocator = new BlockAllocator(range, 2 * MIB);
      const live: { at: number; bytes: number }[] = [];
      const owners = new Uint8Array((allocator.start + allocator.capacityBytes) / 64);
      const mark = (block: { at: number; bytes: number }, from: number, to: number) => {
        const end = Math.ceil((block.at + block.bytes) / 64);
        for (let line = block.at / 64; line < end; line++) {
          if (owners[line] !== from) return false;
          owners[line] = to;
        }
        return true;
      };
      for (const step of steps) {
        if ('allocate' in step) {
          const longest = allocator.largestFreeBytes;
          const at = allocator.allocate(step.allocate);
          if (at === 0) {
            const needed = step.allocate <= 2048 ? 4 * PAGE_BYTES : step.allocate;
            if (needed <= longest) return false;
            continue;
          }
          const block = { at, bytes: step.allocate };
          if (at < allocator.start || at + block.bytes > allocator.start + allocator.capacityBytes) return false;
          if (!mark(block, 0, 1)) return false;
          live.push(block);
        } else if (live.length > 0) {
          const [block] = live.splice(step.free % live.length, 1);
          if (block === undefined || !mark(block, 1, 0)) return false;
          allocator.free(block.at);
        }
      }
      const used = live.reduce((sum, block) => sum + block.bytes, 0);
      if (allocator.usedBytes < used || allocator.liveBlocks !== live.length) return false;
      for (const block of live) allocator.free(block.at);
      return (
        allocator.usedBytes === 0 &&
        allocator.liveBlocks === 0 &&
        allocator.largestFreeBytes === allocator.capacityBytes
      );
    }),
    { numRuns: 300, seed: 1 },
  );
  t.pass();
});
