/** What is shown of webswamp beside other load generators. */

import { median, variation } from '../statistics.ts';
import { WARM_UP_SECONDS } from './generators.ts';
import { atLeast, type Bar, type Chart, type Presentation, type Table } from './shapes.ts';
import { goodOf, percent } from './sweep-report.ts';
import type { GeneratorCell, GeneratorSample, OpenLoop, WebswampData } from './webswamp.ts';

/** A processor busier than this has nothing left to give. */
const SATURATED = 0.95;
const SCHEDULE_WITHIN = 0.01;
const FROZEN_P99_MS = 850;

export function presentWebswamp(data: WebswampData): Presentation {
  return {
    notes: [
      `100 B documents, ${data.connections} connections; the generator has one processor and the server the other. The generators on sockets are in one namespace and nginx in another, joined by a veth pair; webswamp's TAP device ends in nginx's own namespace. Cheetah's TAP device is in the load's namespace, whose kernel forwards between it and webswamp's. h2load cannot open a connection for each request.`,
      `Before the seconds that are measured every party loads the server for ${WARM_UP_SECONDS} s that count for nothing: by an option of its own (webswamp, h2load, autocannon), or in a run of its own (wrk, ab), as there is nothing in them that would have to warm up.`,
      'Generator CPU is the busy time of its processor, softirqs included, in the midst of the measured seconds, in a part of the same length and at the same distance from their ends for every party. The limit is the side whose processor was busy for more than 95% of the time; neither means that the two waited for each other.',
      ...openLoopNotes(data),
    ],
    tables: data.cells.map((cell) => tableOf(cell, data.generators)),
    charts: [chartOf(data)],
    bars: [...data.cells.flatMap(barsOf), ...openLoopBars(data)],
  };
}

type Figure = (sample: GeneratorSample) => number;
/** By the processor time in the middle of the run, when the generator is no longer starting. */
const perCpuSecond: Figure = ({ requestsPerSecond, time }) => requestsPerSecond / (time.clientSeconds / time.seconds);
const speedOf: Figure = ({ requestsPerSecond }) => requestsPerSecond;

function ratioOf(cell: GeneratorCell, other: string, figure: Figure): number | undefined {
  const theirs = cell.samples[other] ?? [];
  const ratios = (cell.samples.webswamp ?? []).flatMap((sample, round) => {
    const against = theirs[round] ?? null;
    return sample === null || against === null ? [] : [figure(sample) / figure(against)];
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

function barsOf(cell: GeneratorCell): Bar[] {
  const { server, mode } = cell;
  const bars =
    mode === 'close'
      ? [
          atLeast(
            `webswamp against wrk, ${server}: new connections per CPU second`,
            2,
            ratioOf(cell, 'wrk', perCpuSecond),
          ),
        ]
      : (
          [
            ['wrk', 1.5],
            ['autocannon', 6],
          ] as const
        ).flatMap(([other, threshold]) => {
          const cpu = `webswamp against ${other}, ${server}, kept alive: requests per CPU second`;
          const bar = atLeast(cpu, threshold, ratioOf(cell, other, perCpuSecond));
          if (isServerTheLimit(cell)) return [bar];
          const speed = `webswamp against ${other}, ${server}, kept alive, where the server is not the limit: requests/s`;
          return [bar, atLeast(speed, threshold, ratioOf(cell, other, speedOf))];
        });
  return bars.map((bar) => (bar.isMet ? bar : { ...bar, profile: cell.profile ?? undefined }));
}

function isServerTheLimit(cell: GeneratorCell): boolean {
  const samples = goodOf(cell.samples.webswamp);
  return median(samples.map(({ time }) => time.serverSeconds / time.seconds)) > SATURATED;
}

function openLoopBars({ overload, frozen }: WebswampData): Bar[] {
  const rate = overload?.rate ?? null;
  const due = rate === null ? undefined : 1 - rate.lateByOwnFault / Math.max(1, rate.due);
  const p99 = frozen?.latencyMs.p99;
  return [
    {
      claim: 'webswamp at 5 x the capacity: requests handed over on schedule by the generator',
      threshold: `within ${100 * SCHEDULE_WITHIN}%`,
      figure: due === undefined ? null : percent(due),
      isMet: due !== undefined && due >= 1 - SCHEDULE_WITHIN,
    },
    {
      claim: 'webswamp at 1,000/s, server frozen 1 s in every 10: p99',
      threshold: `>= ${FROZEN_P99_MS} ms`,
      figure: p99 === undefined ? null : `${p99.toFixed(0)} ms`,
      isMet: p99 !== undefined && p99 >= FROZEN_P99_MS,
    },
  ];
}

function openLoopNotes({ overload, frozen }: WebswampData): string[] {
  const notes: string[] = [];
  if (overload !== null) notes.push(`Open loop at five times the capacity: ${describe(overload)}`);
  if (frozen !== null) notes.push(`Open loop, server frozen 1 s in every 10: ${describe(frozen)}`);
  return notes;
}

function describe({ rate, requestsPerSecond, errors, latencyMs, verdict }: OpenLoop): string {
  const schedule =
    rate === null
      ? ''
      : `${Math.round(rate.asked).toLocaleString('en')}/s asked, ${rate.due} due, ${rate.handed} handed to TCP, ${rate.handedLate} late, ${rate.lateByOwnFault} of them by the generator's fault; `;
  return `${schedule}${Math.round(requestsPerSecond).toLocaleString('en')}/s answered, ${errors} errors, p50 ${latencyMs.p50.toFixed(1)} ms, p99 ${latencyMs.p99.toFixed(1)} ms, max ${latencyMs.max.toFixed(1)} ms; the ${verdict.limit} is the limit: ${verdict.reason}.`;
}

function tableOf(cell: GeneratorCell, generators: readonly string[]): Table {
  const what = cell.mode === 'close' ? 'connections/s' : 'requests/s';
  const head = [
    '',
    what,
    'cv',
    'per CPU second',
    'CPU ms per 1,000',
    'generator core',
    'server core',
    'limit',
    'errors',
  ];
  const rows = generators
    .filter((name) => name in cell.samples)
    .map((name) => {
      const samples = goodOf(cell.samples[name]);
      if (samples.length === 0) return [name, 'failed'];
      const speeds = samples.map(speedOf);
      const generator = median(samples.map(({ time }) => time.clientSeconds / time.seconds));
      const server = median(samples.map(({ time }) => time.serverSeconds / time.seconds));
      const rate = median(samples.map(perCpuSecond));
      return [
        name,
        Math.round(median(speeds)).toLocaleString('en'),
        percent(variation(speeds)),
        Math.round(rate).toLocaleString('en'),
        (1e6 / rate).toFixed(1),
        percent(generator),
        percent(server),
        limitOf(generator, server),
        `${samples.reduce((sum, { errors }) => sum + errors, 0)}`,
      ];
    });
  return { title: `Against ${cell.server}, ${cell.mode}`, rows: [head, ...rows] };
}

function limitOf(generator: number, server: number): string {
  if (generator > SATURATED) return server > SATURATED ? 'both' : 'generator';
  return server > SATURATED ? 'server' : 'neither';
}

function chartOf({ cells, generators }: WebswampData): Chart {
  return {
    name: 'webswamp',
    title: 'Requests per second of generator CPU',
    unit: 'requests per CPU second',
    relative: true,
    groups: cells.map(({ server, mode }) => `${server}, ${mode}`),
    series: generators.map((name) => ({
      name,
      values: cells.map(({ samples }) => {
        const good = goodOf(samples[name]);
        return good.length === 0 ? null : median(good.map(perCpuSecond));
      }),
    })),
  };
}
