/** What is shown of the forwarder and its peers. */

import { median, variation } from '../statistics.ts';
import { WARM_UP_NOTE } from './context.ts';
import type { ForwarderData, ForwarderSample, Workload } from './forwarder.ts';
import { atLeast, type Bar, type Chart, type Presentation, type Table } from './shapes.ts';
import { goodOf, percent } from './sweep-report.ts';

type Figure = (sample: ForwarderSample) => number;
const speedOf: Figure = ({ requestsPerSecond }) => requestsPerSecond;
const perCpuSecond: Figure = ({ requests, time }) => requests / time.serverSeconds;
const allCoresUs: Figure = ({ requests, time }) => ((time.serverSeconds + time.clientSeconds) * 1e6) / requests;

interface Requirement {
  readonly claim: string;
  readonly workload: Workload;
  readonly other: string;
  readonly figure: Figure;
  readonly atLeast: number;
}

const REQUIREMENTS: readonly Requirement[] = [
  ...(['kept alive', 'close'] as const).flatMap((workload): Requirement[] => [
    { claim: 'requests per CPU second', workload, other: 'haproxy', figure: perCpuSecond, atLeast: 1.5 },
    { claim: 'requests per CPU second', workload, other: 'forward --sockets', figure: perCpuSecond, atLeast: 3 },
    { claim: 'requests/s', workload, other: 'haproxy', figure: speedOf, atLeast: 1.3 },
  ]),
  { claim: 'bytes/s', workload: 'bulk', other: 'haproxy', figure: speedOf, atLeast: 2 },
];

export function presentForwarder(data: ForwarderData): Presentation {
  return {
    notes: [
      `Clients (wrk) and server (nginx) are in kernel namespaces of their own and share one processor; the forwarder has the other. Every forwarder has a veth pair towards the clients and one towards the server; ours takes both as packet sockets. ${data.connections} connections and 100 B documents; bulk is ${data.bulkBytes / 1e6} MB documents; latency is one connection with one request at a time. The kernel's TCP has cubic everywhere.`,
      WARM_UP_NOTE,
      'Forwarder CPU is the busy time of its processor, softirqs included. What the kernel does for DNAT is done by softirqs wherever a frame happens to be sent, which is the processor of the ends: so its CPU is the sum over both, for all parties.',
      ...distanceNotes(data),
    ],
    tables: (['kept alive', 'close', 'bulk', 'latency'] as const).map((workload) => tableOf(data, workload)),
    charts: [
      chartOf(data, 'speed', 'Requests per second', speedOf),
      chartOf(data, 'cpu', 'CPU of both cores per request, us', allCoresUs),
    ],
    bars: REQUIREMENTS.map((requirement) => barOf(data, requirement)),
  };
}

function ratioOf(data: ForwarderData, workload: Workload, other: string, figure: Figure): number | undefined {
  const theirs = data.samples[workload][other] ?? [];
  const ratios = (data.samples[workload].forward ?? []).flatMap((sample, round) => {
    const against = theirs[round] ?? null;
    return sample === null || against === null ? [] : [figure(sample) / figure(against)];
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

function barOf(data: ForwarderData, { claim, workload, other, figure, atLeast: threshold }: Requirement): Bar {
  const ratio = ratioOf(data, workload, other, figure);
  const bar = atLeast(`forward against ${other}, ${workload}: ${claim}`, threshold, ratio);
  return bar.isMet ? bar : { ...bar, profile: data.profiles[workload] ?? undefined };
}

function distanceNotes(data: ForwarderData): string[] {
  const parts = (['kept alive', 'close', 'bulk'] as const).flatMap((workload) => {
    const speed = ratioOf(data, workload, 'DNAT', speedOf);
    const cpu = ratioOf(data, workload, 'DNAT', allCoresUs);
    if (speed === undefined || cpu === undefined) return [];
    return [`${workload} ${speed.toFixed(2)} x its requests/s at ${cpu.toFixed(2)} x its CPU of all cores per request`];
  });
  return parts.length === 0 ? [] : [`Distance to DNAT: ${parts.join('; ')}.`];
}

function tableOf(data: ForwarderData, workload: Workload): Table {
  const head = [
    '',
    'requests/s',
    'cv',
    ...(workload === 'bulk' ? ['MB/s'] : []),
    'p50 ms',
    'p99 ms',
    ...(workload === 'latency' ? ['added p50 us'] : []),
    'forwarder core',
    'ends’ core',
    'forwarder CPU us/request',
    'all CPU us/request',
    'errors',
  ];
  const direct = median(goodOf(data.samples[workload].direct).map(({ p50Us }) => p50Us));
  const rows = data.parties.map((party) => {
    const samples = goodOf(data.samples[workload][party]);
    if (samples.length === 0) return [party, 'failed'];
    const of = (figure: Figure): number => median(samples.map(figure));
    const speed = of(speedOf);
    return [
      party,
      Math.round(speed).toLocaleString('en'),
      percent(variation(samples.map(speedOf))),
      ...(workload === 'bulk' ? [((speed * data.bulkBytes) / 1e6).toFixed(0)] : []),
      (of(({ p50Us }) => p50Us) / 1000).toFixed(3),
      (of(({ p99Us }) => p99Us) / 1000).toFixed(3),
      ...(workload === 'latency' ? [(of(({ p50Us }) => p50Us) - direct).toFixed(0)] : []),
      percent(of(({ time }) => time.serverSeconds / time.seconds)),
      percent(of(({ time }) => time.clientSeconds / time.seconds)),
      of(({ time, requests }) => (time.serverSeconds * 1e6) / requests).toFixed(1),
      of(allCoresUs).toFixed(1),
      `${samples.reduce((sum, { errors }) => sum + errors, 0)}`,
    ];
  });
  const title = {
    'kept alive': 'Small requests, kept alive',
    close: 'Small requests, a connection for each',
    bulk: 'Bulk',
    latency: 'Latency',
  };
  return { title: title[workload], rows: [head, ...rows] };
}

function chartOf(data: ForwarderData, name: string, title: string, figure: Figure): Chart {
  const workloads = ['kept alive', 'close', 'bulk'] as const;
  return {
    name: `forwarder-${name}`,
    title: `Forwarders: ${title}`,
    unit: title,
    relative: true,
    groups: workloads,
    series: data.parties.map((party) => ({
      name: party,
      values: workloads.map((workload) => {
        const samples = goodOf(data.samples[workload][party]);
        return samples.length === 0 ? null : median(samples.map(figure));
      }),
    })),
  };
}
