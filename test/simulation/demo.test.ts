/** The three applications together: webswamp loads Cheetah through the forwarder, in one process under virtual time. */
import test from 'ava';
import { Demo, type DemoOptions, type DemoResult } from '../../src/host/demo.ts';

const SECOND = 1_000_000;
const OPTIONS: DemoOptions = {
  seed: 1,
  plan: { durationUs: 2 * SECOND, requestsPerSecond: 500, connections: 64 },
  bodyBytes: 10_000,
  delayUs: 1000,
  bitsPerSecond: 1e9,
  loss: 0.01,
};

async function run(options: Partial<DemoOptions> = {}): Promise<DemoResult> {
  const demo = new Demo({ ...OPTIONS, ...options });
  try {
    return await demo.run();
  } finally {
    demo.close();
  }
}

test('every request of an open loop is sent and answered right, over wires that lose frames; nothing is left behind', async (t) => {
  const { report, cheetahs, forwarder, links, leaks } = await run();
  t.deepEqual(leaks, []);
  t.is(report.rate?.due, 1000);
  t.is(report.requests + report.unanswered + report.unsent, 1000);
  t.true(report.requests > 950, `${report.requests}`);
  t.is(report.errors, 0);
  t.is(report.bodyBytes, report.requests * OPTIONS.bodyBytes);
  t.true(links.every((link) => (link.aToB?.lost ?? 0) + (link.bToA?.lost ?? 0) > 0));
  // Round robin: both have served, and nobody else.
  const served = cheetahs.map((cheetah) => cheetah.requests ?? 0);
  t.true(served.every((requests) => requests > 100));
  t.true((served[0] ?? 0) + (served[1] ?? 0) <= 1000);
  t.true((forwarder.framesForwarded ?? 0) > 4000);
});

test('the same seed is the same run, another is another', async (t) => {
  const first = await run();
  t.deepEqual(await run(), first);
  const other = await run({ seed: 2 });
  t.notDeepEqual(other.links, first.links);
  t.deepEqual(other.leaks, []);
});

test('a new connection for each request, in a closed loop', async (t) => {
  const plan = { durationUs: 2 * SECOND, requestsPerSecond: 0, connections: 8, requestsPerConnection: 1 };
  const { report, leaks } = await run({ plan, bodyBytes: 100, loss: 0 });
  t.deepEqual(leaks, []);
  t.is(report.errors, 0);
  t.true((report.counters.webswamp?.connectionsOpened ?? 0) >= report.requests);
  t.true(report.requests > 1000, `${report.requests}`);
});

test('ended before its time it gives everything back too', async (t) => {
  const demo = new Demo(OPTIONS);
  const stopping = new AbortController();
  const { report, leaks } = await demo.run(() => stopping.abort(), stopping.signal);
  demo.close();
  t.deepEqual(leaks, []);
  t.true(report.durationSeconds >= 1 && report.durationSeconds < 1.1);
});
