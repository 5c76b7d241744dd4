import { strictEqual } from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { MAX_STRAY_REPLIES, Replies } from '../../src/tcp/replies.ts';

interface Reply {
  readonly address: number;
  readonly remotePort: number;
  readonly localAddress: number;
  readonly localPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly timestamps: readonly [value: number, echo: number] | null;
}

const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const half = fc.integer({ min: 0, max: 0xffff });
const reply: fc.Arbitrary<Reply> = fc.record({
  address: word,
  remotePort: half,
  localAddress: word,
  localPort: half,
  seq: word,
  ack: word,
  flags: fc.integer({ min: 0, max: 255 }),
  window: half,
  timestamps: fc.option(fc.tuple(word, word)),
});

function add(replies: Replies, one: Reply): void {
  const { address, remotePort, localAddress, localPort, seq, ack, flags, window } = one;
  replies.add(address, remotePort, localAddress, localPort, seq, ack, flags, window);
  if (one.timestamps !== null) replies.addTimestamps(one.timestamps[0], one.timestamps[1]);
}

function assertIs(replies: Replies, index: number, one: Reply): void {
  strictEqual(replies.address(index), one.address);
  strictEqual(replies.remotePort(index), one.remotePort);
  strictEqual(replies.localAddress(index), one.localAddress);
  strictEqual(replies.localPort(index), one.localPort);
  strictEqual(replies.seq(index), one.seq);
  strictEqual(replies.ack(index), one.ack);
  strictEqual(replies.flags(index), one.flags);
  strictEqual(replies.window(index), one.window);
  strictEqual(replies.hasTimestamps(index), one.timestamps !== null);
  if (one.timestamps === null) return;
  strictEqual(replies.tsValue(index), one.timestamps[0]);
  strictEqual(replies.tsEcho(index), one.timestamps[1]);
}

test('a list that keeps its order and forgets from the front', (t) => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('add' as const), reply }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('drop' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
    },
  );
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const replies = new Replies();
        let model: Reply[] = [];
        for (const one of steps) {
          if (one.kind === 'add') {
            add(replies, one.reply);
            model.push(one.reply);
          } else {
            const count = Math.floor(one.share * model.length);
            replies.drop(count);
            model = model.slice(count);
          }
          strictEqual(replies.count, model.length);
          for (const [index, expected] of model.entries()) assertIs(replies, index, expected);
        }
      }),
      { numRuns: 100 },
    ),
  );
});

test('the last segments of connections have room beyond what strangers may ask for', (t) => {
  const replies = new Replies();
  const one = (n: number): Reply => ({
    address: n,
    remotePort: n,
    localAddress: ~n,
    localPort: 80,
    seq: -n | 0,
    ack: n,
    flags: 20,
    window: 0,
    timestamps: n % 3 === 0 ? [n, -n | 0] : null,
  });
  const total = 10 * MAX_STRAY_REPLIES + 7;
  for (let n = 0; n < total; n++) add(replies, one(n));
  t.is(replies.count, total);
  for (let n = 0; n < total; n++) t.notThrows(() => assertIs(replies, n, one(n)));
  replies.drop(total - 1);
  t.is(replies.count, 1);
  t.notThrows(() => assertIs(replies, 0, one(total - 1)));
  add(replies, one(total));
  t.notThrows(() => assertIs(replies, 1, one(total)));
});
