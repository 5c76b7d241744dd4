/** Reports of several generators become the one that a single generator would have written. */
import test from 'ava';
import fc from 'fast-check';
import { Latencies } from '../../../src/servers/webswamp/latency.ts';
import { mergeReports, type Report } from '../../../src/servers/webswamp/report.ts';
import { ok, runSwamp } from './rig.ts';

const latency = fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 0, max: 4_000_000_000 }));

function record(values: readonly number[]): Latencies {
  const latencies = new Latencies();
  for (const value of values) latencies.record(value);
  return latencies;
}

test('histograms join exactly, however the values were divided', (t) => {
  fc.assert(
    fc.property(fc.array(fc.array(latency, { maxLength: 60 }), { minLength: 1, maxLength: 5 }), (parts) => {
      const whole = record(parts.flat());
      const joined = new Latencies();
      for (const part of parts) {
        const { min, max } = record(part).summarizeMs();
        joined.add(Latencies.decode(record(part).encode(), min, max));
      }
      t.deepEqual(joined.summarizeMs(), whole.summarizeMs());
      t.is(joined.encode(), whole.encode());
      t.is(joined.count, parts.flat().length);
    }),
    { numRuns: 60 },
  );
});

test('percentiles are within a thousandth, and never beyond the extremes', (t) => {
  const values = Array.from({ length: 10_000 }, (_, index) => (index + 1) * 37);
  const { min, p50, p90, p99, p999, max } = record(values).summarizeMs();
  const exact = (share: number): number => (values[Math.ceil(values.length * share) - 1] ?? 0) / 1000;
  for (const [got, share] of [
    [p50, 0.5],
    [p90, 0.9],
    [p99, 0.99],
    [p999, 0.999],
  ] as const) {
    t.true(Math.abs(got - exact(share)) <= exact(share) / 1000, `${share}: ${got}`);
  }
  t.is(min, 0.037);
  t.is(max, 370);
  t.deepEqual(Object.values(new Latencies().summarizeMs()), [0, 0, 0, 0, 0, 0, 0]);
  t.is(record([1234]).summarizeMs().p999, 1.234);
});

test('reports are added', (t) => {
  const runs = [100, 50, 7].map((requests) =>
    runSwamp((_request, _onConnection, ofAll) => (ofAll % 10 === 3 ? { text: '', behind: 'abort' } : { text: ok() }), {
      plan: { connections: 2, requests },
      world: { seed: requests, link: { delayUs: requests } },
    }),
  );
  const reports = runs.map(({ report }, index) => ({
    ...report,
    startedAt: new Date(1_700_000_000_000 + index * 500).toISOString(),
  }));
  const merged = mergeReports(reports);
  t.is(merged.requests + merged.errors, 157);
  t.is(
    merged.errors,
    reports.reduce((sum, { errors }) => sum + errors, 0),
  );
  t.is(merged.errorClasses.reset, merged.errors);
  t.deepEqual(merged.resetsAtByte, { 0: merged.errors });
  t.is(merged.connections, 6);
  t.is(merged.startedAt, '2023-11-14T22:13:20.000Z');
  t.is(merged.durationSeconds, 1 + (reports[2]?.durationSeconds ?? 0));
  t.is(merged.latencyMs.max, Math.max(...reports.map(({ latencyMs }) => latencyMs.max)));
  t.is(merged.counters.webswamp?.requestsSent, 157);
  t.is(merged.requestsPerSecond, Math.round((100 * merged.requests) / merged.durationSeconds) / 100);
  // Whatever the order, and in steps.
  const [first, second, third] = reports as [Report, Report, Report];
  t.deepEqual(mergeReports([mergeReports([third, first]), second]), merged);
  // One that was saturated makes the whole so.
  const saturated: Report = { ...second, verdict: { limit: 'generator', saturated: true, reason: 'late' } };
  t.true(mergeReports([first, saturated, third]).verdict.saturated);
  t.throws(() => mergeReports([]), { instanceOf: RangeError });
});
