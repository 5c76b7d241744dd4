/** The load: wrk with one thread, told to report its figures as JSON. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab } from './lab.ts';

export interface LoadResult {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

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
  private readonly connections: number;

  constructor(lab: Lab, directory: string, connections: number) {
    this.lab = lab;
    this.connections = connections;
    this.script = join(directory, 'report.lua');
    writeFileSync(this.script, SCRIPT);
  }

  /** Asks for one URL for so many seconds. Throws when any answer was missing or not the document. */
  async run(url: string, seconds: number): Promise<LoadResult> {
    const args = ['-t1', `-c${this.connections}`, `-d${seconds}s`, '-s', this.script, url];
    const output = await this.lab.run({ side: 'client', core: this.lab.clientCore }, 'wrk', args);
    const report = JSON.parse(/^\{.*\}$/m.exec(output)?.[0] ?? 'null') as Report | null;
    if (report === null || report.requests === 0 || report.errors > 0) {
      throw new Error(`the load on ${url} went wrong:\n${output}`);
    }
    const { requests, durationUs, p50Us, p99Us } = report;
    return { requests, requestsPerSecond: (requests * 1e6) / durationUs, p50Us, p99Us };
  }
}
