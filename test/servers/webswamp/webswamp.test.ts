/** The engine in virtual time: what it counts is what the server saw, whatever the loop and the wire. */
import test from 'ava';
import { PACE_US } from '../../../src/servers/webswamp/plan.ts';
import { FilteringTcpClient } from '../../../src/servers/webswamp/tcp-client.ts';
import { findLeaks } from '../../support/leaks.ts';
import { MILLISECOND, ok, polite, type RunOptions, runSwamp, SECOND, serving } from './rig.ts';

const WIRE = { delayUs: 500 };

test('closed loop: a number of requests, each answered, and nothing is left', (t) => {
  const { report, server, swamp, world } = runSwamp(polite, {
    plan: { connections: 7, requests: 1000 },
    world: { link: WIRE },
  });
  t.is(report.requests, 1000);
  t.is(report.errors, 0);
  t.is(server.requests, 1000);
  t.is(server.connections, 7);
  t.is(report.bodyBytes, 5000);
  t.is(report.bytesReceived, 1000 * ok().length);
  t.is(report.unanswered + report.unsent, 0);
  t.is(report.rate, null);
  t.is(report.verdict.limit, 'server');
  t.deepEqual(swamp.holdings, { connections: 0, requests: 0 });
  // A round trip of the wire, two at first: the handshake belongs to the first request.
  t.is(report.latencyMs.min, 1);
  t.is(report.latencyMs.max, 2);
  world.run(200 * SECOND);
  t.deepEqual(findLeaks(world.a), []);
  t.is(world.a.tcp.receiveQueues.copiedBytes, 0);
  world.close();
});

test('closed loop: a time; what is in flight at its end is counted apart', (t) => {
  const { report, server } = runSwamp(polite, { plan: { connections: 3, durationUs: SECOND }, world: { link: WIRE } });
  // The wheel's tick.
  t.true(report.durationSeconds >= 1 && report.durationSeconds <= 1.00103);
  t.is(report.requests + report.unanswered, server.requests);
  t.is(report.unanswered, 3);
  t.true(report.requests >= 2900 && report.requests <= 3000, `${report.requests}`);
});

test('open loop: the schedule is kept, and latency counts from it', (t) => {
  const { report, server } = runSwamp(() => ({ text: ok(), afterUs: 20 * MILLISECOND }), {
    plan: { connections: 50, durationUs: 2 * SECOND, requestsPerSecond: 1000 },
    world: { link: WIRE },
  });
  t.is(report.rate?.due, 2000);
  t.is(report.rate?.handed, 2000);
  t.is(server.requests, 2000);
  t.is(report.requests + report.unanswered, 2000);
  // 20 ms, a round trip, another for the handshake of the first ones, and nothing else: each left the microsecond it was due.
  t.true(report.latencyMs.min >= 21 && report.latencyMs.max <= 22.01, JSON.stringify(report.latencyMs));
  t.like(report.verdict, { limit: 'server', saturated: false });
});

test('open loop: more than a request in a moment leave together, and no later than that', (t) => {
  const { report } = runSwamp(polite, {
    plan: { connections: 400, durationUs: SECOND / 10, requestsPerSecond: 100_000, warmUpUs: SECOND / 10 },
    world: { link: WIRE },
  });
  t.is(report.requests + report.unanswered, 10_000);
  t.true(
    report.latencyMs.min >= 1 && report.latencyMs.max <= 1 + (2 * PACE_US) / 1000,
    JSON.stringify(report.latencyMs),
  );
});

test('open loop: a server that freezes cannot hide who had to wait', (t) => {
  const freeze: Parameters<typeof runSwamp>[0] = (_request, _onConnection, _ofAll, nowUs) => {
    const intoPeriod = nowUs % (10 * SECOND);
    return { text: ok(), afterUs: intoPeriod < SECOND ? SECOND - intoPeriod : 2 * MILLISECOND };
  };
  const open = runSwamp(freeze, { plan: { connections: 10, durationUs: 20 * SECOND, requestsPerSecond: 1000 } });
  t.true(open.report.latencyMs.p99 >= 850, JSON.stringify(open.report.latencyMs));
  t.is(open.report.requests + open.report.unanswered, 20_000);
  t.is(open.report.rate?.lateByOwnFault, 0);
  t.false(open.report.verdict.saturated);
  // The closed loop sends nothing in the meantime: ten requests waited, and that is all it shows.
  const closed = runSwamp(freeze, { plan: { connections: 10, durationUs: 20 * SECOND } });
  t.true(closed.report.latencyMs.p99 < 10, JSON.stringify(closed.report.latencyMs));
});

test('open loop: five times what the server can do; the rest waits for it, and that is its fault', (t) => {
  const { report } = runSwamp(serving(5 * MILLISECOND), {
    plan: { connections: 16, durationUs: 4 * SECOND, requestsPerSecond: 1000 },
  });
  t.is(report.rate?.due, 4000);
  t.true(Math.abs(report.requests - 800) <= 2, `${report.requests}`);
  t.is((report.rate?.handed ?? 0) + report.unsent, 4000);
  t.is(report.rate?.lateByOwnFault, 0);
  t.like(report.verdict, { limit: 'server', saturated: false });
  t.true(report.latencyMs.max > 2500);
  t.true(report.oldestWaitMs > 2500);
  // With enough requests in the pipes, all of them are handed over on time.
  const piped = runSwamp(serving(5 * MILLISECOND), {
    plan: { connections: 16, pipeline: 1000, durationUs: 4 * SECOND, requestsPerSecond: 1000 },
  });
  t.is(piped.report.rate?.handed, 4000);
  t.is(piped.report.rate?.handedLate, 0);
});

test('open loop: a generator that stands still says so', (t) => {
  const { report } = runSwamp(polite, {
    plan: { connections: 200, durationUs: 4 * SECOND, requestsPerSecond: 1000 },
    prepare: ({ a, clock }) => {
      const turn = a.turn.bind(a);
      // No turn from second 1 to second 2.
      a.turn = () => (Math.floor(clock.nowUs() / SECOND) === 1 ? 2 * SECOND : turn());
    },
  });
  t.is(report.requests + report.unanswered, 4000);
  t.true((report.rate?.lateByOwnFault ?? 0) > 900);
  t.like(report.verdict, { limit: 'generator', saturated: true });
});

for (const plan of [
  { connections: 3 },
  { connections: 3, pipeline: 4 },
  { connections: 3, requestsPerConnection: 5 },
]) {
  test(`closed loop, ${JSON.stringify(plan)}: a warm-up is load that is not counted`, (t) => {
    const { report, server, swamp } = runSwamp(polite, {
      plan: { ...plan, requests: 500, warmUpUs: SECOND },
      world: { link: WIRE },
    });
    t.is(report.warmUpSeconds, 1);
    t.is(report.requests, 500);
    t.is(report.errors + report.unanswered + report.unsent, 0);
    // What was under way at its end is answered as well, and not counted.
    t.is(swamp.latencies.count, 500);
    t.true(server.requests >= 500 + (plan.requestsPerConnection === undefined ? 2900 : 2000), `${server.requests}`);
    t.is(report.counters.webswamp?.requestsSent, server.requests);
    t.true(report.durationSeconds < 0.5, `${report.durationSeconds}`);
    t.true(report.bytesReceived < 520 * ok('bye', 'Connection: close\r\n').length);
    t.true(report.latencyMs.max <= 2);
    t.deepEqual(swamp.holdings, { connections: 0, requests: 0 });
  });
}

test('closed loop: a time begins when the warm-up is over', (t) => {
  const { report, server } = runSwamp(polite, {
    plan: { connections: 3, durationUs: SECOND, warmUpUs: 2 * SECOND },
    world: { link: WIRE },
  });
  t.true(report.durationSeconds >= 1 && report.durationSeconds <= 1.0021, `${report.durationSeconds}`);
  t.true(report.requests >= 2900 && report.requests <= 3000, `${report.requests}`);
  t.true(server.requests >= 8800, `${server.requests}`);
  t.is(report.unanswered, 3);
});

test('open loop: the schedule begins anew when the warm-up is over, without what the server was behind with', (t) => {
  const { report, server } = runSwamp(
    // Slow for the first second, as a server is that has just been started.
    (_request, _onConnection, _ofAll, nowUs) => ({ text: ok(), afterUs: nowUs < SECOND ? 100 * MILLISECOND : 0 }),
    { plan: { connections: 10, durationUs: SECOND, requestsPerSecond: 1000, warmUpUs: SECOND }, world: { link: WIRE } },
  );
  t.is(report.rate?.due, 1000);
  t.is(report.rate?.handed, 1000);
  t.is(report.rate?.lateByOwnFault, 0);
  t.is(report.requests + report.unanswered, 1000);
  t.true(server.requests >= 1090 && server.requests < 1200, `${server.requests}`);
  // Connections that are still busy with the warm-up are waited for, its backlog is not.
  t.true(report.latencyMs.p99 < 110 && report.latencyMs.p50 < 5, JSON.stringify(report.latencyMs));
});

test('what fails in the warm-up, or because of it, is no error', (t) => {
  const { report } = runSwamp(
    (_request, _onConnection, _ofAll, nowUs) =>
      nowUs < 1_400 * MILLISECOND
        ? { text: 'HTTP/1.1 200', behind: 'abort', afterUs: 300 * MILLISECOND }
        : { text: ok() },
    { plan: { connections: 4, durationUs: SECOND, warmUpUs: SECOND }, world: { link: WIRE } },
  );
  // Four were under way when it ended and failed after that; four more were sent before the server had recovered.
  t.is(report.errorClasses.reset, 4);
  t.deepEqual(report.resetsAtByte, { 12: 4 });
  t.is(report.errors, 4);
  t.true(report.requests > 1000, `${report.requests}`);
});

test('a run that is stopped in its warm-up has counted nothing', (t) => {
  const { report, swamp } = runSwamp(polite, {
    plan: { connections: 3, requests: 100, warmUpUs: 10 * SECOND },
    world: { link: WIRE },
    stopAfterUs: SECOND,
  });
  t.is(report.requests + report.errors + report.unanswered + report.bytesReceived, 0);
  t.is(report.durationSeconds, 0);
  t.regex(report.verdict.reason, /warm-up/);
  t.deepEqual(swamp.holdings, { connections: 0, requests: 0 });
});

test('one request a connection, and several', (t) => {
  for (const requestsPerConnection of [1, 3]) {
    const seen: string[] = [];
    const { report, server, world } = runSwamp(
      (request, ...rest) => {
        seen.push(request);
        return polite(request, ...rest);
      },
      { plan: { connections: 5, requests: 300, requestsPerConnection }, world: { link: WIRE } },
    );
    t.is(report.requests, 300);
    t.is(report.errors, 0);
    const closing = seen.filter((request) => request.includes('Connection: close')).length;
    t.is(closing, Math.floor(300 / requestsPerConnection));
    t.true(server.connections >= closing && server.connections < closing + 5);
    // The server closes first: no port of ours waits in TIME-WAIT for it.
    t.true(world.a.tcp.timeWait.live <= 5);
  }
});

test('packets are merged: a request with its own connection takes three of ours', (t) => {
  const plan = { connections: 1, requests: 100, requestsPerConnection: 1 };
  const merged = runSwamp(polite, { plan, world: { link: WIRE } }).report.counters.tcp ?? {};
  t.is(merged.acksMerged, 100);
  t.is(merged.pureAcksSent, 0);
  t.is(merged.segmentsSent, 300);
  const settingsA = { packetMerging: false };
  const apart = runSwamp(polite, { plan, world: { link: WIRE, settingsA } }).report;
  t.is(apart.requests, 100);
  t.is(apart.counters.tcp?.acksMerged, 0);
  t.is(apart.counters.tcp?.acksMergedWithFin, 0);
  t.true((apart.counters.tcp?.segmentsSent ?? 0) >= 500);
});

test('copying and new records change nothing but the counters', (t) => {
  const plan = { connections: 4, requests: 200, requestsPerConnection: 2 };
  const usual = runSwamp(polite, { plan, world: { link: WIRE } }).report;
  const costly = runSwamp(polite, {
    plan: { ...plan, copyPayload: true, reuseRecords: false },
    world: { link: WIRE, settingsA: { reuseRecords: false } },
  }).report;
  t.is(usual.counters.webswamp?.bytesCopied, 0);
  t.is(costly.counters.webswamp?.bytesCopied, costly.bytesReceived);
  t.true((usual.counters.webswamp?.recordsReused ?? 0) > 80);
  t.is(costly.counters.webswamp?.recordsReused, 0);
  t.is(costly.counters.webswamp?.recordsMade, costly.counters.webswamp?.connectionsOpened);
  t.is(costly.counters.tcp?.connectionsReused, 0);
  t.deepEqual(costly.latencyMs, usual.latencyMs);
});

test('checksums are looked at unless told otherwise', (t) => {
  const plan = { connections: 1, requests: 20 };
  const looked = runSwamp(polite, { plan }).report.counters.tcp ?? {};
  t.true((looked.checksumsVerified ?? 0) >= 20);
  t.is(looked.checksumsSkipped, 0);
  const settingsA = { verifyChecksums: false };
  const trusting = runSwamp(polite, { plan, world: { settingsA } }).report.counters.tcp ?? {};
  t.is(trusting.checksumsVerified, 0);
  t.true((trusting.checksumsSkipped ?? 0) >= 20);
});

test('connections come from every address in turn', (t) => {
  const sourcesA = [
    { address: 0x0a000080, prefixLength: 29 },
    { address: 0x0a0000c0, prefixLength: 31 },
  ];
  const { report, server } = runSwamp(polite, {
    plan: { connections: 4, requests: 160, requestsPerConnection: 1 },
    world: { sourcesA, link: WIRE },
  });
  t.is(report.requests, 160);
  t.deepEqual(
    [...server.sources.values()],
    Array.from({ length: 8 }, () => 20),
  );
});

test('more connections than one address has ports', (t) => {
  const { report, server } = runSwamp(() => ({ text: ok(), afterUs: 5 * SECOND }), {
    plan: { connections: 30_000, requests: 30_000, timeoutUs: 60 * SECOND },
    world: {
      sourcesA: [{ address: 0x0a000080, prefixLength: 30 }],
      settingsA: { receivePoolBytes: 1024 * 1024 },
      settingsB: { receivePoolBytes: 1024 * 1024 },
      link: WIRE,
    },
  });
  t.is(report.requests, 30_000);
  t.is(report.errors, 0);
  t.is(server.connections, 30_000);
  t.deepEqual([...server.sources.values()], [15_000, 15_000]);
});

test('pipelining: what a server closes in front of is asked again, nothing is lost or asked for twice', (t) => {
  const { report, server, swamp } = runSwamp(
    (_request, onConnection) =>
      onConnection === 4 ? { text: ok('fifth', 'Connection: close\r\n'), behind: 'close' } : { text: ok() },
    { plan: { connections: 3, pipeline: 4, requests: 500 }, world: { link: WIRE } },
  );
  t.is(report.requests, 500);
  t.is(report.errors, 0);
  t.is(server.requests, 500);
  t.true((report.counters.webswamp?.requestsSentAgain ?? 0) > 0);
  t.deepEqual(swamp.holdings, { connections: 0, requests: 0 });
});

test('a server that closes idle connections costs no error', (t) => {
  const { report } = runSwamp(polite, {
    plan: { connections: 2, durationUs: 3 * SECOND, requestsPerSecond: 2 },
    prepare: ({ b, clock }) => {
      const closeAll = (): void => {
        for (let index = 0; index < 2; index++) {
          const tcb = b.tcp.liveConnections > index ? b.tcp.connection(index) : null;
          if (tcb !== null && tcb.state === 3) b.tcp.abort(tcb, 'ECONNABORTED');
        }
        b.stack.wake();
        clock.at(clock.nowUs() + SECOND, closeAll);
      };
      clock.at(800 * MILLISECOND, closeAll);
    },
  });
  t.is(report.errors, 0);
  t.is(report.requests + report.unanswered, 6);
  t.true((report.counters.webswamp?.idleCloses ?? 0) > 0);
});

const TURNED_OFF: readonly (readonly [string, RunOptions])[] = [
  ['nothing', {}],
  ['packet merging', { world: { settingsA: { packetMerging: false } } }],
  ['no-copy', { plan: { copyPayload: true } }],
  ['the single filter', { Client: FilteringTcpClient }],
  ['reuse', { plan: { reuseRecords: false }, world: { settingsA: { reuseRecords: false } } }],
];

for (const [name, { plan, world, ...more }] of TURNED_OFF) {
  test(`every request is answered over a bad wire, ${name} turned off`, (t) => {
    const faults = { loss: 0.05, duplication: 0.05, reordering: 0.05, reorderingUs: 3000 };
    const { report, server, swamp } = runSwamp(polite, {
      plan: { connections: 8, requests: 600, requestsPerConnection: 7, ...plan },
      world: { seed: 5, link: { ...WIRE, faults }, ...world },
      ...more,
    });
    t.is(report.requests, 600);
    t.is(report.errors, 0);
    t.true(server.requests >= 600);
    t.deepEqual(swamp.holdings, { connections: 0, requests: 0 });
  });
}

test('a bad wire costs time and nothing else, and one seed is one run', (t) => {
  const faults = { loss: 0.03, duplication: 0.03, reordering: 0.05, reorderingUs: 3000 };
  const run = (seed: number): string => {
    const { report, swamp } = runSwamp(polite, {
      plan: { connections: 8, requests: 600, requestsPerConnection: 7 },
      world: { seed, link: { ...WIRE, faults } },
    });
    t.is(report.requests, 600);
    t.is(report.errors, 0);
    t.deepEqual(swamp.holdings, { connections: 0, requests: 0 });
    return JSON.stringify(report);
  };
  const first = run(1);
  t.is(run(1), first);
  t.not(run(2), first);
});
