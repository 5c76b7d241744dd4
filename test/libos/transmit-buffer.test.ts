import test from 'ava';
import fc from 'fast-check';
import { TransmitQueue } from '../../src/exokernel/transmit-queue.ts';
import { TokenBucket } from '../../src/libos/token-bucket.ts';
import { TransmitBuffer } from '../../src/libos/transmit-buffer.ts';
import { Arena } from '../../src/runtime/arena.ts';

function enqueue(queue: TransmitQueue): void {
  queue.reserve();
  queue.commit(14);
}

test('blocks come back when the frames queued by then are completed', (t) => {
  const arena = new Arena(1 << 20);
  t.teardown(() => arena.close());
  const queue = new TransmitQueue(arena, 64);
  const buffer = new TransmitBuffer(arena, queue, 100, 8);
  const first = buffer.allocate(60);
  t.not(first, 0);
  t.is(buffer.allocate(60), first, 'the same until commit');
  enqueue(queue);
  buffer.commit();
  t.is(buffer.allocate(60), 0);
  t.is(buffer.blocksInUse, 1);
  queue.completed = 1;
  t.is(buffer.blocksInUse, 0);
  t.not(buffer.allocate(100), 0);
  t.is(buffer.allocate(101), 0);
});

test('a commit needs an allocation', (t) => {
  const arena = new Arena(1 << 20);
  t.teardown(() => arena.close());
  const buffer = new TransmitBuffer(arena, new TransmitQueue(arena, 64), 100, 8);
  t.throws(() => buffer.commit(), { instanceOf: RangeError });
});

test('property: blocks in use never overlap and lie in the ring', (t) => {
  const arena = new Arena(64 << 20);
  t.teardown(() => arena.close());
  const step = fc.oneof(
    fc.record({ kind: fc.constant('take' as const), n: fc.integer({ min: 1, max: 120 }) }),
    fc.record({ kind: fc.constant('complete' as const), n: fc.integer({ min: 1, max: 3 }) }),
  );
  const queue = new TransmitQueue(arena, 1024);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      queue.completed = queue.enqueued;
      const buffer = new TransmitBuffer(arena, queue, 256, 6);
      let lowest = Number.POSITIVE_INFINITY;
      const live: { at: number; end: number; until: number }[] = [];
      for (const { kind, n } of steps) {
        if (kind === 'complete') {
          queue.completed = Math.min(queue.enqueued, queue.completed + n);
          while (live[0] !== undefined && live[0].until <= queue.completed) live.shift();
          continue;
        }
        const at = buffer.allocate(n);
        if (at === 0) {
          if (live.length === 0) return false;
          continue;
        }
        lowest = Math.min(lowest, at);
        for (const block of live) if (at < block.end && block.at < at + n) return false;
        if (at + n - lowest > 256) return false;
        enqueue(queue);
        buffer.commit();
        live.push({ at, end: at + n, until: queue.enqueued });
      }
      return buffer.blocksInUse === live.length;
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('a token bucket gives its burst at once and then its rate', (t) => {
  const bucket = new TokenBucket(10, 3);
  const takeAll = (nowUs: number) => {
    let taken = 0;
    while (bucket.take(nowUs)) taken++;
    return taken;
  };
  t.is(takeAll(0), 3);
  t.is(takeAll(99_999), 0);
  t.is(takeAll(100_000), 1);
  t.is(takeAll(350_000), 2);
  t.is(takeAll(400_000), 1, 'parts of tokens are kept');
  t.is(takeAll(90_000_000), 3, 'never more than the burst');
  t.throws(() => new TokenBucket(0, 1), { instanceOf: RangeError });
  t.throws(() => new TokenBucket(1, 0), { instanceOf: RangeError });
});
