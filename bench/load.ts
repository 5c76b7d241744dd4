/** The load: wrk with one thread, told to report its figures as JSON. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab } from './lab.ts';

export interface LoadResult {
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** Answers that were missing or not good. */
  readonly errors: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

export interface LoadSettings {
  readonly connections: number;
  /** A connection for every request. */
  readonly closes?: boolean;
}

/** The part of the answers that may be missing: a connection refused once in a while is no reason to throw the rest away. */
const ERRORS_BELOW = 0.001;
/** What is left to a load to end in, beyond its time. */
const PATIENCE_MS = 15_000;

interface Report {
  readonly requests: number;
  readonly durationUs: number;
  readonly errors: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** It runs once, when the load is over: the requests themselves stay in C. */
const SCRIPT = `done = function(summary, latency, requests)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format('{"requests":%.0f,"durationUs":%.0f,"errors":%.0f,"p50Us":%.0f,"p99Us":%.0f}\\n',
    summary.requests, summary.duration, errors, latency:percentile(50), latency:percentile(99)))
end
`;

export class Load {
  private readonly lab: Lab;
  private readonly script: string;
  private readonly settings: LoadSettings;

  constructor(lab: Lab, directory: string, settings: LoadSettings) {
    this.lab = lab;
    this.settings = settings;
    this.script = join(directory, 'report.lua');
    writeFileSync(this.script, SCRIPT);
  }

  /** Asks for one URL for so many seconds. Throws when answers were missing or not the document. */
  async run(url: string, seconds: number): Promise<LoadResult> {
    const { connections, closes } = this.settings;
    const close = closes === true ? ['-H', 'Connection: close'] : [];
    const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', this.script, ...close, url];
    const place = { space: 'client', core: this.lab.clientCore, patienceMs: seconds * 1000 + PATIENCE_MS } as const;
    const output = await this.lab.run(place, 'wrk', args);
    const report = JSON.parse(/^\{.*\}$/m.exec(output)?.[0] ?? 'null') as Report | null;
    if (report === null || report.requests === 0 || report.errors >= report.requests * ERRORS_BELOW + 1) {
      throw new Error(`the load on ${url} went wrong:\n${output}`);
    }
    const { requests, errors, durationUs, p50Us, p99Us } = report;
    return { requests, errors, requestsPerSecond: (requests * 1e6) / durationUs, p50Us, p99Us };
  }
}
