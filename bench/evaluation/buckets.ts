/** A V8 profile as buckets: the parts of the house that processor time is spent in. */
import { type CallFrame, type CpuProfile, isNative, sharesOf } from '../profile.ts';
import { sum } from '../statistics.ts';
import type { CoreTime } from './context.ts';
import type { Bucket, ProfileSummary } from './shapes.ts';

export const BUCKETS = [
  'receive (system calls)',
  'send (system calls)',
  'wakeup',
  'demultiplex',
  'ring',
  'protocol',
  'checksum',
  'driver',
  'application',
  'timers and memory',
  'garbage collector',
  'interrupts while asleep',
] as const;
type BucketName = (typeof BUCKETS)[number];

/** By file, the first that fits. */
const FILES: readonly (readonly [bucket: BucketName, path: RegExp])[] = [
  ['demultiplex', /\/(?:src|dist)\/downloadfilter\//],
  ['checksum', /\/(?:wire\/(?:checksum|sum-grid)|driver\/partial-checksum)/],
  ['ring', /\/(?:src|dist)\/(?:exokernel|host)\//],
  ['protocol', /\/(?:src|dist)\/(?:tcp|libos|wire|sockets)\//],
  ['application', /\/(?:src|dist)\/(?:servers|cli)\/|\/bench\//],
  ['driver', /\/(?:src|dist)\/driver\//],
  ['wakeup', /\/runtime\/reactor|^node:/],
  ['timers and memory', /\/(?:src|dist)\/runtime\//],
];
const ASLEEP: BucketName = 'interrupts while asleep';
const REST = 'elsewhere';
const DRIVER = /\/driver\//;
const SYSTEM_CALLS = /\/(?:driver|runtime\/syscalls|runtime\/reactor)/;

/**
 * Where the time went that the core of a program was busy between two moments, by the kernel's count. A core that works while
 * the program sleeps does so for the kernel: as much of that as the kernel counts for interrupts is a bucket of its own.
 */
export function summarize(
  what: string,
  profile: CpuProfile,
  time: CoreTime,
  core: 'server' | 'client',
): ProfileSummary {
  const inside = cut(profile, time);
  const activeS = activeSeconds(inside);
  const busyS = Math.max(core === 'server' ? time.serverSeconds : time.clientSeconds, activeS);
  const interruptS = core === 'server' ? time.serverInterruptSeconds : time.clientInterruptSeconds;
  const shares = [
    ...sharesOf(inside, bucketOf).map(({ name, part }) => ({ name, part: (part * activeS) / busyS })),
    { name: ASLEEP, part: Math.min(interruptS, busyS - activeS) / busyS },
  ];
  const order: readonly string[] = [...BUCKETS, REST];
  const buckets: Bucket[] = shares.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  return { what, buckets, explained: sum(buckets.filter(({ name }) => name !== REST).map(({ part }) => part)) };
}

/** The samples between two moments: without the start and the end of the program. */
function cut(profile: CpuProfile, { fromUs, toUs }: CoreTime): CpuProfile {
  const samples: number[] = [];
  const timeDeltas: number[] = [];
  let nowUs = profile.startTime;
  profile.samples?.forEach((id, i) => {
    const delta = profile.timeDeltas?.[i] ?? 0;
    nowUs += delta;
    if (nowUs < fromUs || nowUs > toUs) return;
    samples.push(id);
    timeDeltas.push(delta);
  });
  return { ...profile, samples, timeDeltas };
}

/** Time in which the profiled thread was not idle. */
function activeSeconds(profile: CpuProfile): number {
  const idle = new Set(
    profile.nodes.filter(({ callFrame }) => callFrame.functionName === '(idle)').map(({ id }) => id),
  );
  const deltas = profile.timeDeltas ?? [];
  return sum((profile.samples ?? []).map((id, i) => (idle.has(id) ? 0 : (deltas[i] ?? 0)))) / 1e6;
}

function bucketOf(frame: CallFrame, caller: CallFrame | undefined): string {
  if (frame.functionName === '(garbage collector)') return 'garbage collector';
  // native code outside of JavaScript is Node's event loop: epoll_wait and what comes of it
  if (frame.functionName === '(program)') return 'wakeup';
  const native = isNative(frame);
  const url = native ? (caller?.url ?? '') : frame.url;
  if (native && SYSTEM_CALLS.test(url)) {
    if (!DRIVER.test(url)) return 'wakeup';
    return /receive/i.test(caller?.functionName ?? '') ? 'receive (system calls)' : 'send (system calls)';
  }
  // the demultiplexer's generated code has no file, and goes by its caller
  return FILES.find(([, path]) => path.test(url))?.[0] ?? REST;
}

/** Node's arguments for a profile of a whole program, but for its first second. */
export function profileInto(file: string): string[] {
  return ['--import', `${new URL('./preload-profile.js', import.meta.url)}?into=${encodeURIComponent(file)}`];
}
