import test from 'ava';
import fc from 'fast-check';
import type { FakeConnection } from '../fake-transport.ts';
import { FakeFiles } from './fake-files.ts';
import { NOTHING_HELD, Rig } from './rig.ts';

const H = 'Host: x\r\n';

/** What attackers and broken clients send, and what is sent to them. */
const SEEDS = [
  `GET /a HTTP/1.1\r\n${H}\r\n`,
  `HEAD /a HTTP/1.1\r\n${H}\r\n`,
  'GET /a HTTP/1.0\r\n\r\n',
  `GET /none HTTP/1.1\r\n${H}\r\n`,
  `GET /../a HTTP/1.1\r\n${H}\r\n`,
  `GET /a HTTP/1.1\r\n${H}Range: bytes=1-2\r\n\r\n`,
  `GET /a HTTP/1.1\r\n${H}If-None-Match: *\r\n\r\n`,
  `GET /a HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\nhello`,
  `GET /a HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  `POST /a HTTP/1.1\r\n${H}Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello`,
  `OPTIONS * HTTP/1.1\r\n${H}\r\n`,
  `GET http://x/a HTTP/1.1\r\n${H}Connection: close\r\n\r\n`,
];

const stream = fc
  .tuple(
    fc.array(fc.constantFrom(...SEEDS), { minLength: 1, maxLength: 4 }),
    fc.array(fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 10, 13, 32, 48, 58))), { maxLength: 3 }),
    fc.option(fc.nat(150)),
  )
  .map(([seeds, edits, end]) => {
    const bytes = Buffer.from(seeds.join(''), 'latin1');
    for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
    return end === null ? bytes : bytes.subarray(0, Math.max(2, end));
  });

function makeRig(): Rig {
  const source = new FakeFiles();
  source.add('a', 'text');
  return new Rig({ source, limits: { revalidateMs: 1_000_000 } });
}

/** Sends the bytes in pieces and a FIN, and returns what was answered. */
async function feed(rig: Rig, bytes: Uint8Array, cuts: readonly number[], inOneTurn: boolean): Promise<string> {
  const connection: FakeConnection = rig.transport.connect();
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    rig.transport.deliver(connection, bytes.subarray(from, cut));
    if (!inOneTurn) rig.transport.turn();
    from = cut;
  }
  await rig.settle();
  rig.transport.deliverFin(connection);
  await rig.until(() => connection.dead);
  rig.transport.turn();
  // Whether a client that waits for a 100 gets one depends on whether its body has come: rightly so.
  const answers = connection.take().replaceAll('HTTP/1.1 100 Continue\r\n\r\n', '');
  return `${answers}${connection.aborted ? ' reset' : ''}`;
}

test('property: requests are answered the same however they are cut', async (t) => {
  const rig = makeRig();
  await fc.assert(
    fc.asyncProperty(stream, fc.nat(), fc.boolean(), async (bytes, place, inOneTurn) => {
      const whole = await feed(rig, bytes, [], true);
      const cut = 1 + (place % (bytes.length - 1));
      if ((await feed(rig, bytes, [cut], inOneTurn)) !== whole) return false;
      return rig.cheetah.holdings.headBytes === 0 && rig.cheetah.liveConnections === 0;
    }),
    { numRuns: 600, seed: 11 },
  );
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('the seeds, cut at every place', async (t) => {
  const rig = makeRig();
  for (const seed of SEEDS) {
    const bytes = Buffer.from(seed + SEEDS[0], 'latin1');
    const whole = await feed(rig, bytes, [], true);
    for (let cut = 1; cut < bytes.length; cut++) t.is(await feed(rig, bytes, [cut], false), whole);
  }
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('property: random bytes are refused or waited for, never thrown at, and leave nothing', async (t) => {
  const rig = makeRig();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
      const answer = await feed(rig, bytes, [], true);
      return answer === '' || answer.startsWith('HTTP/1.1 ');
    }),
    { numRuns: 500, seed: 12 },
  );
  t.deepEqual(await rig.close(), NOTHING_HELD);
});
