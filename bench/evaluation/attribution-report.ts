/** What is shown of the specialisations' worth. */
import { median } from '../statistics.ts';
import type { AttributionCell, AttributionData, AttributionSample } from './attribution.ts';
import { atLeast, type Presentation, type ProfileSummary, type Table } from './shapes.ts';
import { goodOf } from './sweep-report.ts';

const EXPLAINED = 90;

export function presentAttribution({ cells, profiles }: AttributionData): Presentation {
  return {
    notes: [
      'Every variant is a process of its own, and all of them take turns in every round; each is set against the program with everything on in the same round. Off alone says what a specialisation is worth beside the others; the steps from all off to all on, in the order of the table, say what it adds to those before it. `precomputed-checksums` has work only where the device does no checksums, hence the rows without offload; `html-grouping` has work only where pages are cold, and shows nothing here.',
      'CPU is the busy time of the program’s processor. A profile is V8’s, sampled every 200 us; its system calls are told apart by who makes them. Shares are of the time that the program’s processor was busy; what it did while the program slept is as much as /proc/stat counts for interrupts and softirqs.',
    ],
    tables: [...cells.map(tableOf), ...profiles.map(profileTable)],
    charts: [],
    bars: profiles.map((profile) => {
      const bar = atLeast(`Profile of ${profile.what}: explained`, EXPLAINED, 100 * profile.explained, '%');
      return bar.isMet ? bar : { ...bar, profile };
    }),
  };
}

type Figure = (sample: AttributionSample) => number;
const speedOf: Figure = ({ requestsPerSecond }) => requestsPerSecond;
const cpuUs: Figure = ({ requestsPerSecond, time }) => (1e6 * (time.serverSeconds / time.seconds)) / requestsPerSecond;

function tableOf(cell: AttributionCell): Table {
  const head = ['', 'requests/s', 'x all on', 'CPU us/request', 'x all on', 'frames/request', 'bytes touched'];
  const rows = cell.variants.map(({ name }) => {
    const samples = goodOf(cell.samples[name]);
    if (samples.length === 0) return [name, 'failed'];
    return [
      name,
      Math.round(median(samples.map(speedOf))).toLocaleString('en'),
      ratioText(cell, name, speedOf),
      median(samples.map(cpuUs)).toFixed(1),
      ratioText(cell, name, cpuUs),
      medianText(
        samples.map(({ framesPerRequest }) => framesPerRequest),
        2,
      ),
      medianText(
        samples.map(({ bytesTouched }) => bytesTouched),
        0,
      ),
    ];
  });
  return { title: `${cell.program}: ${cell.workload}`, rows: [head, ...rows] };
}

function ratioText(cell: AttributionCell, name: string, figure: Figure): string {
  const whole = cell.samples['all on'] ?? [];
  const ratios = (cell.samples[name] ?? []).flatMap((sample, round) => {
    const against = whole[round] ?? null;
    return sample === null || against === null ? [] : [figure(sample) / figure(against)];
  });
  return ratios.length === 0 ? '' : median(ratios).toFixed(2);
}

function medianText(values: readonly (number | null)[], digits: number): string {
  const known = values.filter((value): value is number => value !== null);
  return known.length === 0 ? '' : median(known).toFixed(digits);
}

function profileTable({ what, buckets, explained }: ProfileSummary): Table {
  return {
    title: `Where the time of ${what} goes`,
    rows: [
      ['bucket', 'share'],
      ...buckets.map(({ name, part }) => [name, `${(100 * part).toFixed(1)}%`]),
      ['explained of the busy time of its core', `${(100 * explained).toFixed(0)}%`],
    ],
  };
}
