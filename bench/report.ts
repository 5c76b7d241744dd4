/** The figures as people read them: a table for every size, and whether they are what is asked for. */
import type { Document } from './documents.ts';
import type { Profiles, Sample } from './measure.ts';
import type { ServerName } from './options.ts';
import { allocatorsOf, roomsOf, type Share, topOf } from './profile.ts';
import { median, variation } from './statistics.ts';

/** The samples of one document by server, round i's in place i. */
export interface SizeResult {
  readonly document: Document;
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
}

/** What issue 2 asks of Cheetah: so many times another server's requests per second at documents of these sizes. */
const REQUIREMENTS: readonly { other: ServerName; atLeast: number; fromBytes: number; toBytes: number }[] = [
  { other: 'nginx', atLeast: 1.5, fromBytes: 100, toBytes: 100_000 },
  { other: 'nginx', atLeast: 0.9, fromBytes: 1_000_000, toBytes: 1_000_000 },
  { other: 'node', atLeast: 3, fromBytes: 100, toBytes: 100 },
  { other: 'ceiling', atLeast: 0.7, fromBytes: 100, toBytes: 100 },
];
const HEAP_BYTES_BELOW = 64;
const TOP_FUNCTIONS = 25;
const TOP_ALLOCATORS = 10;

export function printSize(result: SizeResult): void {
  console.log(`\n${result.document.label}`);
  printTable(speedTable(result));
  const work = workTable(result);
  if (work.length > 1) {
    console.log('  a request costs (medians)');
    printTable(work);
  }
}

/** A line for every requirement that these results say something about. */
export function printVerdicts(results: readonly SizeResult[]): void {
  console.log('');
  for (const { other, atLeast, fromBytes, toBytes } of REQUIREMENTS) {
    for (const result of results) {
      const { bytes, label } = result.document;
      const ratio = ratioOf(result, 'cheetah', other);
      if (ratio === undefined || bytes < fromBytes || bytes > toBytes) continue;
      printVerdict(ratio >= atLeast, `cheetah at least ${atLeast} x ${other} at ${label}`, `${ratio.toFixed(2)} x`);
    }
  }
  for (const result of results) {
    const heapBytes = perRequest(result.samples.get('cheetah') ?? [], 'heapBytes');
    if (heapBytes === undefined) continue;
    const claim = `cheetah below ${HEAP_BYTES_BELOW} bytes of JavaScript heap a request at ${result.document.label}`;
    printVerdict(heapBytes < HEAP_BYTES_BELOW, claim, heapBytes.toFixed(1));
  }
}

export function printProfiles(server: string, label: string, file: string, profiles: Profiles): void {
  console.log(`\nWhere the time of ${server} goes at ${label} (${file})`);
  printShares(roomsOf(profiles.time));
  console.log(`  the ${TOP_FUNCTIONS} functions with the most time of their own`);
  printShares(topOf(profiles.time, TOP_FUNCTIONS));
  console.log(`  the ${TOP_ALLOCATORS} functions that allocate the most`);
  printShares(allocatorsOf(profiles.allocations, TOP_ALLOCATORS));
}

function printShares(shares: readonly Share[]): void {
  for (const { name, part } of shares) console.log(`  ${percent(part).padStart(6)}  ${name}`);
}

/** How many times the other's requests per second, as the median of the rounds' ratios. */
function ratioOf(result: SizeResult, server: string, other: string): number | undefined {
  const ours = result.samples.get(server) ?? [];
  const theirs = result.samples.get(other) ?? [];
  const ratios = ours.flatMap((sample, round) => {
    const against = theirs[round];
    return against === undefined ? [] : [sample.requestsPerSecond / against.requestsPerSecond];
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

type Row = readonly string[];

function speedTable(result: SizeResult): Row[] {
  const others = ['nginx', 'nginx-tuned', 'node', 'ceiling'].filter((name) => result.samples.has(name));
  const columns = ['requests/s', 'spread', 'MB/s', 'p50', 'p99', 'CPU us/request', 'server core', 'client core'];
  const rows: Row[] = [['', ...columns, ...others.map((name) => `x ${name}`)]];
  for (const [name, samples] of result.samples) {
    const speeds = samples.map((sample) => sample.requestsPerSecond);
    const speed = median(speeds);
    rows.push([
      name,
      Math.round(speed).toLocaleString('en'),
      percent(variation(speeds)),
      ((speed * result.document.bytes) / 1e6).toFixed(1),
      milliseconds(median(samples.map((sample) => sample.p50Us))),
      milliseconds(median(samples.map((sample) => sample.p99Us))),
      median(samples.map((sample) => sample.cpuUsPerRequest)).toFixed(1),
      percent(median(samples.map((sample) => sample.serverBusy))),
      percent(median(samples.map((sample) => sample.clientBusy))),
      ...others.map((other) => (other === name ? '' : (ratioOf(result, name, other)?.toFixed(2) ?? ''))),
    ]);
  }
  return rows;
}

const WORK_COLUMNS = [
  ['packets in', 'framesIn', 2],
  ['packets out', 'framesOut', 2],
  ['read calls', 'receiveCalls', 2],
  ['write calls', 'transmitCalls', 2],
  ['epoll_waits', 'turns', 3],
  ['bytes summed', 'summedBytes', 1],
  ['bytes copied', 'copiedBytes', 1],
  ['JS heap bytes', 'heapBytes', 1],
] as const;

function workTable(result: SizeResult): Row[] {
  const rows: Row[] = [['', ...WORK_COLUMNS.map(([title]) => title)]];
  for (const [name, samples] of result.samples) {
    if (!samples.some((sample) => sample.work !== null)) continue;
    rows.push([name, ...WORK_COLUMNS.map(([, key, digits]) => perRequest(samples, key)?.toFixed(digits) ?? '')]);
  }
  return rows;
}

function perRequest(samples: readonly Sample[], key: (typeof WORK_COLUMNS)[number][1]): number | undefined {
  const values = samples.flatMap(({ work }) => (work === null ? [] : [work[key] / work.requests]));
  return values.length === 0 ? undefined : median(values);
}

function printTable(rows: readonly Row[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows) {
    const cells = row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    });
    console.log(`  ${cells.join('  ')}`.trimEnd());
  }
}

function printVerdict(isMet: boolean, claim: string, figure: string): void {
  console.log(`${isMet ? 'PASS' : 'MISS'}  ${claim}: ${figure}`);
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)}%`;
}

function milliseconds(us: number): string {
  return `${(us / 1000).toFixed(2)} ms`;
}
