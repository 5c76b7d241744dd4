/** What is shown of the size sweep. */
import { median, variation } from '../statistics.ts';
import { type Rounds, WARM_UP_NOTE } from './context.ts';
import { atLeast, type Bar, type Chart, type Presentation, type Table } from './shapes.ts';
import type { Mode, SweepCell, SweepData, SweepSample } from './sweep.ts';

interface Requirement {
  readonly other: string;
  readonly mode: Mode;
  readonly atLeast: number;
  readonly sizes: readonly number[];
}

/** What Cheetah is to have against nginx, whatever congestion control nginx has. */
const AGAINST_NGINX: readonly Omit<Requirement, 'other'>[] = [
  { mode: 'keep-alive', atLeast: 2, sizes: [100, 10_000] },
  { mode: 'keep-alive', atLeast: 1.7, sizes: [1000] },
  { mode: 'keep-alive', atLeast: 1.5, sizes: [100_000] },
  { mode: 'keep-alive', atLeast: 1, sizes: [1_000_000] },
  { mode: 'close', atLeast: 1.5, sizes: [0, 100, 1000, 10_000, 100_000, 1_000_000] },
];

/** What the evaluation has to show: so many times the other's requests a second. */
const REQUIREMENTS: readonly Requirement[] = [
  ...['nginx', 'nginx-as-found'].flatMap((other) => AGAINST_NGINX.map((requirement) => ({ other, ...requirement }))),
  { other: 'sirv', mode: 'keep-alive', atLeast: 5, sizes: [0, 100, 1000, 10_000] },
  { other: 'ceiling', mode: 'keep-alive', atLeast: 0.85, sizes: [100] },
];

export function presentSweep(data: SweepData): Presentation {
  const { cells } = data;
  return {
    notes: [
      `One processor for the server and one for wrk (1 thread, ${data.connections} connections). The kernel's TCP has ${data.congestionControl} in both namespaces: under BBR, which some machines are set to, its pacing timers cost every peer dearly from 10 kB on, and the comparison would flatter us. nginx-as-found is nginx as this machine's kernel would have it without that (${data.foundControl}).`,
      'CPU is the busy time of the server’s processor by /proc/stat, softirqs included, divided by the requests; the kernel’s receive side of the client runs there too, for every party alike, since no receive steering and no threaded NAPI move it away.',
      'Packets are what the server’s interface counts, super-frames as one. System calls are counted by a tracepoint (perf stat) in a run of their own. Payload bytes touched are our own programs’ counters; for the others nobody counts them: nginx and lighttpd hand the page cache to the socket by sendfile and do not touch them in user space, the kernel copies them into the client’s read, as it does for us; sirv reads a file into a buffer and writes it from there.',
      'sockets is `cheetah --sockets`, the same HTTP over node:net; nginx-tuned also keeps files open; sirv is node:http with sirv; ceiling is one reply laid out beforehand on Cheetah’s driver, without demultiplexer, retransmission or timers.',
      WARM_UP_NOTE,
      ceilingNote(cells),
    ],
    tables: cells.map((cell) => tableOf(cell, data.parties)),
    charts: (['keep-alive', 'close'] as const).map((mode) => chartOf(data, mode)),
    bars: REQUIREMENTS.flatMap((requirement) => barsOf(cells, requirement)),
  };
}

/** Median of the rounds' ratios of requests a second; undefined when there is no round that both took part in. */
export function ratioOf(samples: Readonly<Record<string, Rounds<SweepSample>>>, party: string, other: string) {
  const theirs = samples[other] ?? [];
  const ratios = (samples[party] ?? []).flatMap((sample, round) => {
    const against = theirs[round] ?? null;
    return sample === null || against === null ? [] : [sample.requestsPerSecond / against.requestsPerSecond];
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

export function goodOf<Sample>(rounds: Rounds<Sample> | undefined): Sample[] {
  return (rounds ?? []).filter((sample): sample is Sample => sample !== null);
}

function barsOf(cells: readonly SweepCell[], { other, mode, atLeast: threshold, sizes }: Requirement): Bar[] {
  return cells
    .filter((cell) => cell.mode === mode && sizes.includes(cell.bytes))
    .map((cell) => {
      const claim = `Cheetah against ${other}, ${cell.label}, ${mode}: requests/s`;
      const bar = atLeast(claim, threshold, ratioOf(cell.samples, 'cheetah', other));
      return bar.isMet ? bar : { ...bar, profile: cell.profiles.cheetah ?? undefined };
    });
}

const COLUMNS = [
  '',
  'requests/s',
  'cv',
  'MB/s',
  'p50 ms',
  'p99 ms',
  'CPU us/request',
  'server core',
  'client core',
  'packets in',
  'packets out',
  'system calls',
  'bytes touched',
  'errors',
  'x nginx',
];

function tableOf(cell: SweepCell, parties: readonly string[]): Table {
  const rows = parties.map((party) => {
    const samples = goodOf(cell.samples[party]);
    if (samples.length === 0) return [party, 'failed'];
    const of = (value: (sample: SweepSample) => number): number => median(samples.map(value));
    const speeds = samples.map(({ requestsPerSecond }) => requestsPerSecond);
    const calls = cell.systemCalls[party];
    return [
      party,
      Math.round(median(speeds)).toLocaleString('en'),
      percent(variation(speeds)),
      ((median(speeds) * cell.bytes) / 1e6).toFixed(1),
      (of(({ p50Us }) => p50Us) / 1000).toFixed(2),
      (of(({ p99Us }) => p99Us) / 1000).toFixed(2),
      of(({ time, requests }) => (time.serverSeconds * 1e6) / requests).toFixed(1),
      percent(of(({ time }) => time.serverSeconds / time.seconds)),
      percent(of(({ time }) => time.clientSeconds / time.seconds)),
      of(({ framesIn, requests }) => framesIn / requests).toFixed(2),
      of(({ framesOut, requests }) => framesOut / requests).toFixed(2),
      calls === undefined || calls === null ? '' : calls.toFixed(2),
      touchedBytes(samples),
      `${samples.reduce((sum, { errors }) => sum + errors, 0)}`,
      ratioOf(cell.samples, party, 'nginx')?.toFixed(2) ?? '',
    ];
  });
  return { title: `${cell.label}, ${cell.mode}`, rows: [COLUMNS, ...rows] };
}

function touchedBytes(samples: readonly SweepSample[]): string {
  const figures = samples.flatMap(({ work }) =>
    work === null || work.requests === 0 ? [] : [(work.summedBytes + work.copiedBytes) / work.requests],
  );
  return figures.length === 0 ? '' : median(figures).toFixed(0);
}

function chartOf(data: SweepData, mode: Mode): Chart {
  const cells = data.cells.filter((cell) => cell.mode === mode);
  return {
    name: `sweep-${mode}`,
    title: mode === 'close' ? 'A connection for every request' : 'Kept-alive connections',
    unit: 'requests per second',
    relative: true,
    groups: cells.map(({ label }) => label),
    series: data.parties.map((name) => ({
      name,
      values: cells.map((cell) => {
        const samples = goodOf(cell.samples[name]);
        return samples.length === 0 ? null : median(samples.map(({ requestsPerSecond }) => requestsPerSecond));
      }),
    })),
  };
}

function ceilingNote(cells: readonly SweepCell[]): string {
  const ratios = cells
    .filter(({ mode }) => mode === 'keep-alive')
    .map(({ label, samples }) => `${ratioOf(samples, 'ceiling', 'nginx')?.toFixed(2) ?? 'unknown'} at ${label}`);
  return `The ceiling's own ratio to nginx, kept alive: ${ratios.join(', ')}. No bar against nginx can be met that is above it.`;
}

export function percent(part: number): string {
  return `${(100 * part).toFixed(1)}%`;
}
