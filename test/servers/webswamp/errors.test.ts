/** What goes wrong is told apart, costs one request each, and leaves nothing behind. */
import test from 'ava';
import type { ErrorClass } from '../../../src/servers/webswamp/counters.ts';
import { findLeaks } from '../../support/leaks.ts';
import { type Answer, type Behaviour, MILLISECOND, ok, type RunOptions, runSwamp, SECOND } from './rig.ts';

const REQUESTS = 60;
const PARTIAL = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this';

interface Case {
  readonly name: string;
  readonly answer: Answer;
  readonly expected: ErrorClass;
  readonly options?: RunOptions;
  /** Where resets came. */
  readonly resetAt?: string;
}

const CASES: readonly Case[] = [
  { name: 'wrong status', answer: { text: 'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n' }, expected: 'badStatus' },
  {
    name: 'another status than expected',
    answer: { text: ok() },
    expected: 'badStatus',
    options: { plan: { expectedStatus: 201 } },
  },
  { name: 'wrong length', answer: { text: ok() }, expected: 'wrongLength', options: { plan: { expectedBytes: 6 } } },
  { name: 'no HTTP', answer: { text: 'SSH-2.0-x\r\n' }, expected: 'malformed' },
  { name: 'silence', answer: { text: '' }, expected: 'responseTimeout' },
  { name: 'half of a response, then silence', answer: { text: PARTIAL }, expected: 'responseTimeout' },
  { name: 'half of a response, then the end', answer: { text: PARTIAL, behind: 'close' }, expected: 'shortBody' },
  { name: 'half of a head, then the end', answer: { text: 'HTTP/1.1 2', behind: 'close' }, expected: 'shortBody' },
  { name: 'the end', answer: { text: '', behind: 'close' }, expected: 'closedEarly' },
  { name: 'a reset', answer: { text: '', behind: 'abort' }, expected: 'reset', resetAt: '0' },
  {
    name: 'half of a response, then a reset',
    answer: { text: PARTIAL, behind: 'abort' },
    expected: 'reset',
    resetAt: `${PARTIAL.length}`,
  },
];

for (const { name, answer, expected, options, resetAt } of CASES) {
  test(name, (t) => {
    const plan = { connections: 4, requests: REQUESTS, timeoutUs: SECOND / 10, ...options?.plan };
    // Every third request fares well.
    const behave: Behaviour = (_request, _onConnection, ofAll) => {
      if (ofAll % 3 !== 0) return answer;
      return expected === 'badStatus' || expected === 'wrongLength' ? answer : { text: ok() };
    };
    const { report, swamp, world } = runSwamp(behave, { plan, world: { link: { delayUs: 100 } } });
    t.is(report.requests + report.errors, REQUESTS);
    t.is(report.errorClasses[expected], report.errors, JSON.stringify(report.errorClasses));
    t.true(report.errors >= REQUESTS / 2);
    if (resetAt !== undefined) t.deepEqual(report.resetsAtByte, { [resetAt]: report.errors });
    else t.deepEqual(report.resetsAtByte, {});
    t.deepEqual(swamp.holdings, { connections: 0, requests: 0 });
    world.run(200 * SECOND);
    t.deepEqual(findLeaks(world.a), []);
    world.close();
  });
}

test('nobody listens', (t) => {
  const { report, swamp } = runSwamp(() => ({ text: ok() }), {
    plan: { connections: 4, requests: REQUESTS },
    prepare: ({ b }) => b.tcp.findListener(80)?.close(),
  });
  t.is(report.errorClasses.refused, REQUESTS);
  t.is(report.requests, 0);
  t.is(report.verdict.limit, 'server');
  t.deepEqual(swamp.holdings, { connections: 0, requests: 0 });
});

test('no answer to the SYN', (t) => {
  const { report, swamp } = runSwamp(() => ({ text: ok() }), {
    plan: { connections: 4, requests: 8, timeoutUs: 3 * SECOND },
    // The server's host takes no turn once its address is known.
    prepare: ({ b, clock }) => {
      const turn = b.turn.bind(b);
      b.turn = () => (clock.nowUs() < 5 * MILLISECOND ? turn() : Number.POSITIVE_INFINITY);
    },
  });
  t.is(report.errorClasses.synTimeout, 8);
  t.is(report.errors, 8);
  t.deepEqual(swamp.holdings, { connections: 0, requests: 0 });
});

test('bytes that nothing asked for end the connection, and fail no request', (t) => {
  const { report } = runSwamp(() => ({ text: `${ok()}HTTP/1.1 200 OK\r\n` }), {
    plan: { connections: 2, durationUs: SECOND, requestsPerSecond: 50 },
  });
  t.is(report.requests, 50);
  t.is(report.errors, 0);
  t.is(report.counters.webswamp?.unsolicitedBytes, 50 * 17);
  t.is(report.counters.webswamp?.connectionsOpened, 50);
});

test('a connection that the server does not close after its last response is reset in the end', (t) => {
  const { report, swamp } = runSwamp(() => ({ text: ok() }), {
    plan: { connections: 2, durationUs: 5 * SECOND, requestsPerSecond: 10, requestsPerConnection: 1 },
  });
  t.is(report.requests, 50);
  t.true((report.counters.webswamp?.lingerTimeouts ?? 0) >= 30);
  t.deepEqual(swamp.holdings, { connections: 0, requests: 0 });
});
