/** webswamp loads Cheetah: both ends are ours, time is virtual, and one seed is one run. */
import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { createCheetah } from '../../../src/host/create-cheetah.ts';
import type { Cheetah } from '../../../src/servers/cheetah/cheetah.ts';
import type { Report } from '../../../src/servers/webswamp/report.ts';
import type { Tcb } from '../../../src/tcp/tcb.ts';
import { ADDRESS_B, World } from '../../support/world.ts';
import { FakeFiles } from '../cheetah/fake-files.ts';
import { createSwamp, MILLISECOND, PORT, reportOf, SECOND } from './rig.ts';

const BODY = 'cheetah '.repeat(2000);

/** Files are promised, so the virtual time moves in steps between which promises are kept. */
async function load(seed: number, loss: number): Promise<{ report: Report; served: number; copied: number }> {
  const world = new World({ seed, link: { delayUs: 200, faults: { loss } } });
  const source = new FakeFiles();
  source.add('file', BODY);
  const cheetah: Cheetah<Tcb> = createCheetah(world.b, {
    root: '/',
    port: PORT,
    cacheBytes: 4 * 1024 * 1024,
    source,
  });
  cheetah.start();
  world.a.tcp.paths.acquire(ADDRESS_B);
  world.a.stack.wake();
  world.run(10 * MILLISECOND);
  const plan = { connections: 10, durationUs: SECOND, requestsPerSecond: 1000, requestsPerConnection: 20 };
  const swamp = createSwamp(world, { ...plan, expectedStatus: 200, expectedBytes: BODY.length }, { target: '/file' });
  let isOver = false;
  swamp.onEnd = () => {
    isOver = true;
  };
  swamp.start();
  for (let steps = 0; !isOver && steps < 20_000; steps++) {
    world.run(MILLISECOND);
    await setImmediate();
  }
  const report = reportOf(swamp, world);
  const served = cheetah.counters.get('requests');
  const copied = world.a.tcp.receiveQueues.copiedBytes;
  const closing = cheetah.close();
  for (let steps = 0; steps < 100; steps++) {
    world.run(100 * MILLISECOND);
    await setImmediate();
  }
  await closing;
  world.close();
  return { report, served, copied };
}

test('over a clean wire: every response whole and right, no payload byte copied', async (t) => {
  const { report, served, copied } = await load(1, 0);
  t.is(report.errors, 0);
  t.is(report.requests + report.unanswered, 1000);
  t.true(served >= report.requests && served <= 1000);
  t.is(report.bodyBytes, report.requests * BODY.length);
  t.is(copied, 0);
  t.like(report.verdict, { limit: 'server', saturated: false });
});

test('over a bad wire: slower, and as right; one seed is one run', async (t) => {
  const first = await load(7, 0.02);
  t.is(first.report.errors, 0);
  t.is(first.report.bodyBytes, first.report.requests * BODY.length);
  t.true((first.report.counters.tcp?.outOfOrderSegments ?? 0) > 0);
  t.deepEqual(await load(7, 0.02), first);
});
