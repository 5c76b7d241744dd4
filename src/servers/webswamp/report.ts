/** What a run has shown, as it is written to a file; and how the reports of several generators become one. */

import {
  BODY_BYTES,
  BYTES_RECEIVED,
  CONNECTIONS_UNAVAILABLE,
  REQUESTS_HANDED_LATE,
  REQUESTS_LATE_BY_OUR_FAULT,
  RESPONSES,
} from './counters.ts';
import { Latencies, type LatencySummary } from './latency.ts';
import { judge, NOT_BEGUN, type Verdict } from './verdict.ts';
import type { Webswamp } from './webswamp.ts';

export const REPORT_VERSION = 1;

/** The open loop's schedule, and what became of it. */
export interface RateReport {
  /** Requests a second that were asked for. */
  readonly asked: number;
  readonly due: number;
  /** Handed to the network by the end. */
  readonly handed: number;
  readonly handedLate: number;
  readonly lateByOwnFault: number;
}

export interface Report {
  readonly webswamp: number;
  readonly url: string;
  /** When the run began, its warm-up over, ISO 8601. */
  readonly startedAt: string;
  readonly connections: number;
  /** Requests that were answered as they should be. */
  readonly requests: number;
  /** Requests that were not, whatever the reason. */
  readonly errors: number;
  readonly errorClasses: Record<string, number>;
  /** Resets by the byte of the response that they came instead of. */
  readonly resetsAtByte: Record<string, number>;
  /** Requests sent and not answered when the time was up, and those due that still waited for a connection. */
  readonly unanswered: number;
  readonly unsent: number;
  readonly oldestWaitMs: number;
  /** Load that went before, of which nothing is counted but in `counters`. */
  readonly warmUpSeconds: number;
  readonly durationSeconds: number;
  readonly requestsPerSecond: number;
  /** What came after the clock had begun. */
  readonly bytesReceived: number;
  readonly bodyBytes: number;
  readonly latencyMs: LatencySummary;
  /** Of microseconds: HdrHistogram V2, compressed, in base64. */
  readonly histogram: string;
  /** Null in the closed loop. */
  readonly rate: RateReport | null;
  /** Share of the time in which the generator worked. */
  readonly busyShare: number;
  readonly verdict: Verdict;
  /** Counters by what they belong to, from the first connection to the last, the warm-up included. */
  readonly counters: Record<string, Record<string, number>>;
}

export interface ReportContext {
  readonly url: string;
  /** Milliseconds since 1970 at which the run began. */
  readonly startedAtMs: number;
  readonly busyShare: number;
  /** Further counters, by what they belong to. */
  readonly counters: Record<string, Record<string, number>>;
}

/** The report of a run that is over. */
export function createReport<Connection>(swamp: Webswamp<Connection>, context: ReportContext): Report {
  const { counters, errors, latencies, plan } = swamp;
  const { url, startedAtMs, busyShare } = context;
  const count = (index: number): number => swamp.counted(index);
  const durationSeconds = swamp.elapsedUs / 1e6;
  const handedLate = count(REQUESTS_HANDED_LATE);
  const ownLate = count(REQUESTS_LATE_BY_OUR_FAULT);
  const { due, unsent, unanswered } = swamp;
  const unavailable = count(CONNECTIONS_UNAVAILABLE);
  const handed = due - unsent;
  const isOpen = plan.requestsPerSecond > 0;
  return {
    webswamp: REPORT_VERSION,
    url,
    startedAt: new Date(startedAtMs).toISOString(),
    connections: plan.connections,
    requests: latencies.count,
    errors: swamp.errorCount,
    errorClasses: errors.snapshot(),
    resetsAtByte: swamp.resets.snapshot(),
    unanswered,
    unsent,
    oldestWaitMs: swamp.oldestWaitUs / 1000,
    warmUpSeconds: plan.warmUpUs / 1e6,
    durationSeconds,
    requestsPerSecond: perSecond(latencies.count, durationSeconds),
    bytesReceived: count(BYTES_RECEIVED),
    bodyBytes: count(BODY_BYTES),
    latencyMs: latencies.summarizeMs(),
    histogram: latencies.encode(),
    rate: isOpen ? { asked: plan.requestsPerSecond, due, handed, handedLate, lateByOwnFault: ownLate } : null,
    busyShare,
    verdict: swamp.hasBegun
      ? judge({ responses: count(RESPONSES), due, unsent, handedLate, ownLate, busyShare, unavailable })
      : NOT_BEGUN,
    counters: { webswamp: counters.snapshot(), ...context.counters },
  };
}

/**
 * One report of several runs at the same time: counts are added, histograms joined bucket by bucket, and the duration is from the
 * first start to the last end. Throws `RangeError` for none, and for a histogram that is none.
 */
export function mergeReports(reports: readonly Report[]): Report {
  const [first] = reports;
  if (first === undefined) throw new RangeError('there is no report to merge');
  const latencies = new Latencies();
  for (const report of reports) {
    latencies.add(Latencies.decode(report.histogram, report.latencyMs.min, report.latencyMs.max));
  }
  const startMs = Math.min(...reports.map((report) => Date.parse(report.startedAt)));
  const durationSeconds = Math.max(
    ...reports.map((report) => (Date.parse(report.startedAt) - startMs) / 1000 + report.durationSeconds),
  );
  const sum = (value: (report: Report) => number): number =>
    reports.reduce((total, report) => total + value(report), 0);
  const worst =
    reports.find(({ verdict }) => verdict.saturated) ?? reports.find(({ verdict }) => verdict.limit === 'generator');
  return {
    webswamp: REPORT_VERSION,
    url: [...new Set(reports.map(({ url }) => url))].join(' '),
    startedAt: new Date(startMs).toISOString(),
    connections: sum(({ connections }) => connections),
    requests: latencies.count,
    errors: sum(({ errors }) => errors),
    errorClasses: addCounts(reports.map(({ errorClasses }) => errorClasses)),
    resetsAtByte: addCounts(reports.map(({ resetsAtByte }) => resetsAtByte)),
    unanswered: sum(({ unanswered }) => unanswered),
    unsent: sum(({ unsent }) => unsent),
    oldestWaitMs: Math.max(...reports.map(({ oldestWaitMs }) => oldestWaitMs)),
    warmUpSeconds: Math.max(...reports.map(({ warmUpSeconds }) => warmUpSeconds)),
    durationSeconds,
    requestsPerSecond: perSecond(latencies.count, durationSeconds),
    bytesReceived: sum(({ bytesReceived }) => bytesReceived),
    bodyBytes: sum(({ bodyBytes }) => bodyBytes),
    latencyMs: latencies.summarizeMs(),
    histogram: latencies.encode(),
    rate: mergeRates(reports),
    busyShare: Math.max(...reports.map(({ busyShare }) => busyShare)),
    verdict: (worst ?? first).verdict,
    counters: mergeCounters(reports),
  };
}

function mergeRates(reports: readonly Report[]): RateReport | null {
  const rates = reports.flatMap(({ rate }) => (rate === null ? [] : [rate]));
  if (rates.length === 0) return null;
  const sum = (value: (rate: RateReport) => number): number => rates.reduce((total, rate) => total + value(rate), 0);
  return {
    asked: sum(({ asked }) => asked),
    due: sum(({ due }) => due),
    handed: sum(({ handed }) => handed),
    handedLate: sum(({ handedLate }) => handedLate),
    lateByOwnFault: sum(({ lateByOwnFault }) => lateByOwnFault),
  };
}

function mergeCounters(reports: readonly Report[]): Record<string, Record<string, number>> {
  const owners = new Set(reports.flatMap(({ counters }) => Object.keys(counters)));
  return Object.fromEntries(
    [...owners].map((owner) => [owner, addCounts(reports.map(({ counters }) => counters[owner] ?? {}))]),
  );
}

function addCounts(all: readonly Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const counts of all) {
    for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count;
  }
  return total;
}

function perSecond(count: number, seconds: number): number {
  return seconds > 0 ? Math.round((100 * count) / seconds) / 100 : 0;
}
