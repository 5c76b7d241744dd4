/** What `exonet webswamp` prints: progress while it runs, and the summary. */
import type { Latencies } from '../servers/webswamp/latency.ts';
import type { Report } from '../servers/webswamp/report.ts';

const ERASE_LINE = '\r\x1b[K';

interface Running {
  readonly latencies: Latencies;
  readonly errorCount: number;
  readonly elapsedUs: number;
  readonly warmUpLeftUs: number;
}

/** A line each second: written over the last one on a terminal. */
export class Progress {
  private readonly out: NodeJS.WriteStream;
  private requests = 0;
  private elapsedUs = 0;

  constructor(out: NodeJS.WriteStream) {
    this.out = out;
  }

  show(run: Running): void {
    const { latencies, errorCount, elapsedUs, warmUpLeftUs } = run;
    if (warmUpLeftUs > 0) {
      this.write(`warming up, ${(warmUpLeftUs / 1e6).toFixed(1)} s to go`);
      return;
    }
    const seconds = (elapsedUs - this.elapsedUs) / 1e6;
    if (seconds <= 0) return;
    const rate = Math.round((latencies.count - this.requests) / seconds);
    const elapsed = `${Math.round(elapsedUs / 1e6)} s`.padStart(6);
    const line = `${elapsed}  ${rate} requests/s, ${latencies.count} so far, ${errorCount} errors, p99 ${formatMs(latencies.percentileMs(99))}`;
    this.write(line);
    this.requests = latencies.count;
    this.elapsedUs = elapsedUs;
  }

  private write(line: string): void {
    this.out.write(this.out.isTTY ? `${ERASE_LINE}${line}` : `${line}\n`);
  }

  end(): void {
    if (this.out.isTTY) this.out.write(ERASE_LINE);
  }
}

export function summarize(report: Report): string {
  const { latencyMs: latency, rate, durationSeconds, warmUpSeconds, verdict } = report;
  const warmUp = warmUpSeconds > 0 ? ` after ${warmUpSeconds} s of warm-up` : '';
  const lines = [
    `${report.url}: ${report.connections} connections, ${rate === null ? 'closed loop' : 'open loop'}, ${durationSeconds.toFixed(3)} s${warmUp}`,
    row('requests', `${report.requests} (${report.requestsPerSecond.toFixed(1)}/s), ${report.errors} errors`),
    row(
      'received',
      `${formatBytes(report.bytesReceived)} (${formatBytes(report.bytesReceived / durationSeconds)}/s), ${formatBytes(report.bodyBytes)} of it bodies`,
    ),
    row(
      'latency',
      `p50 ${formatMs(latency.p50)}, p90 ${formatMs(latency.p90)}, p99 ${formatMs(latency.p99)}, p99.9 ${formatMs(latency.p999)}, max ${formatMs(latency.max)}`,
    ),
  ];
  if (rate !== null) {
    const late = `${rate.handedLate} late, ${rate.lateByOwnFault} of them by the generator's fault`;
    lines.push(row('schedule', `${rate.asked}/s asked, ${rate.due} due, ${rate.handed} sent, ${late}`));
  }
  for (const [name, count] of Object.entries(report.errorClasses)) {
    if (count > 0) lines.push(row('error', describeError(report, name, count)));
  }
  if (report.unanswered + report.unsent > 0) {
    const oldest = formatMs(report.oldestWaitMs);
    lines.push(row('unfinished', `${report.unanswered} sent, ${report.unsent} waiting; the oldest for ${oldest}`));
  }
  lines.push(row('verdict', `the ${verdict.limit} is the limit: ${verdict.reason}`));
  return lines.join('\n');
}

const ERROR_TEXTS: Readonly<Record<string, string>> = {
  refused: 'connection refused',
  unreachable: 'server unreachable',
  synTimeout: 'no answer to the SYN',
  reset: 'connection reset',
  closedEarly: 'closed before the response',
  shortBody: 'closed in the middle of the response',
  badStatus: 'wrong status',
  wrongLength: 'wrong length',
  malformed: 'no HTTP response',
  responseTimeout: 'response not in time',
};

function describeError(report: Report, name: string, count: number): string {
  const text = `${count} x ${ERROR_TEXTS[name] ?? name}`;
  if (name !== 'reset') return text;
  const places = Object.entries(report.resetsAtByte).map(([byte, times]) =>
    byte === 'elsewhere' ? `${times} elsewhere` : `${times} at byte ${byte}`,
  );
  return `${text} (${places.join(', ')})`;
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(11)}${text}`;
}

function formatMs(ms: number): string {
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms < 10 ? 3 : 1)} ms`;
}

function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return '0 B';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
