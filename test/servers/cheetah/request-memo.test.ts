import test from 'ava';
import fc from 'fast-check';
import { FakeFiles } from './fake-files.ts';
import { NOTHING_HELD, Rig } from './rig.ts';

const HEADS = [
  'GET /a HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /a HTTP/1.1\r\nHost: g\r\n\r\n',
  'GET /b HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /b HTTP/1.1\r\nHost: h\r\nX: 1\r\n\r\n',
  '\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n',
  'HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /none HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /b HTTP/1.1\r\nHost: h\r\nRange: bytes=1-2\r\n\r\n',
  'GET /b HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n',
  'GET /b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nGET ',
  `GET /a HTTP/1.1\r\nHost: h\r\nCookie: ${'c'.repeat(1100)}\r\n\r\n`,
  'GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n',
  'GET /a HTTP/1.1\r\nHost h\r\n\r\n',
];

/** What a connection does next: it sends one of the heads a few times, in pieces of this length. */
interface Step {
  readonly connection: number;
  readonly head: number;
  readonly repeat: number;
  readonly pieceBytes: number;
}

interface Outcome {
  readonly outputs: string[];
  readonly closed: boolean[];
  readonly counters: Record<string, number>;
  readonly recognised: number;
}

async function run(steps: readonly Step[], notedHeads: number): Promise<Outcome> {
  const source = new FakeFiles();
  source.add('a', 'text of a');
  source.add('b', 'and of b');
  const rig = new Rig({ source, limits: { notedHeads } });
  const connections = Array.from({ length: 3 }, () => rig.transport.connect());
  for (const path of ['/a', '/b', '/none']) await rig.get(path);
  for (const { connection: index, head, repeat, pieceBytes } of steps) {
    const connection = connections[index];
    if (connection === undefined) continue;
    const text = (HEADS[head] as string).repeat(repeat);
    for (let at = 0; at < text.length; at += pieceBytes) {
      rig.transport.deliver(connection, text.slice(at, at + pieceBytes));
      rig.transport.turn();
    }
  }
  const outputs = connections.map((connection) => connection.output.toString('latin1'));
  const closed = connections.map((connection) => connection.closed);
  const { requestsRecognised, ...counters } = rig.cheetah.snapshot();
  const held = await rig.close();
  if (JSON.stringify(held) !== JSON.stringify(NOTHING_HELD)) throw new Error('something is held');
  return { outputs, closed, counters, recognised: requestsRecognised };
}

const steps = fc.array(
  fc.record({
    connection: fc.nat(2),
    // The last two end the connection.
    head: fc.oneof(
      { weight: 20, arbitrary: fc.nat(HEADS.length - 3) },
      { weight: 1, arbitrary: fc.nat(HEADS.length - 1) },
    ),
    repeat: fc.integer({ min: 1, max: 4 }),
    pieceBytes: fc.oneof(fc.constant(100_000), fc.integer({ min: 1, max: 60 }), fc.constantFrom(4, 16, 64)),
  }),
  { maxLength: 40, size: 'max' },
);

test('property: with notes and without, many or one, the same answers and the same counters', async (t) => {
  let recognised = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const plain = await run(sequence, 0);
      t.is(plain.recognised, 0);
      for (const notedHeads of [1, 3, 64]) {
        const noted = await run(sequence, notedHeads);
        recognised += noted.recognised;
        t.deepEqual({ ...noted, recognised: 0 }, plain);
      }
    }),
    { numRuns: 25 },
  );
  t.true(recognised > 100, `${recognised} recognised`);
});

test('a file that changed is seen by a request that is recognised', async (t) => {
  const source = new FakeFiles();
  const file = source.add('a', 'before');
  const rig = new Rig({ source });
  const connection = rig.transport.connect();
  const ask = async (): Promise<string> => {
    rig.transport.deliver(connection, HEADS[0] as string);
    await rig.until(() => connection.sent.length > 0);
    return connection.take();
  };
  t.true((await ask()).endsWith('before'));
  t.true((await ask()).endsWith('before'));
  file.change('behind');
  rig.pass(100_000);
  t.true((await ask()).endsWith('behind'));
  t.true((rig.cheetah.snapshot().requestsRecognised ?? 0) > 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});
