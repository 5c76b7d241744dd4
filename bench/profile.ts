/**
 * Profiles of V8 as tables: the functions with the most time, or the most allocated bytes, of their own; and the rooms of
 * the house that the time is spent in.
 */

import { sum } from './statistics.ts';

export interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

export interface ProfileNode {
  readonly id: number;
  readonly callFrame: CallFrame;
  readonly children?: readonly number[];
}

/** As the inspector's `Profiler.stop` gives it; `timeDeltas[i]` microseconds lie before `samples[i]`. */
export interface CpuProfile {
  /** Of the monotonic clock, microseconds. */
  readonly startTime: number;
  readonly nodes: readonly ProfileNode[];
  readonly samples?: readonly number[];
  readonly timeDeltas?: readonly number[];
}

/** As the inspector's `HeapProfiler.stopSampling` gives it, collected objects included; sizes are estimates. */
export interface AllocationProfile {
  readonly head: AllocationNode;
}

export interface AllocationNode {
  readonly callFrame: CallFrame;
  readonly selfSize: number;
  readonly children: readonly AllocationNode[];
}

export interface Share {
  readonly name: string;
  /** Of the time that the process was not idle, or of the bytes. */
  readonly part: number;
}

const DRIVER = /\/src\/driver\//;

/** The first that fits: rooms by their files. */
const ROOMS: readonly (readonly [room: string, path: RegExp])[] = [
  ['demultiplexer', /\/src\/downloadfilter\//],
  [
    'TCP input',
    /\/src\/tcp\/(input|header-prediction|segment|connections|receive-|acknowledgment|sack-|sent-|rack|prr|recovery|rtt|congestion)/,
  ],
  ['TCP output', /\/src\/tcp\/(output|build|retransmit|send-|window)/],
  ['TCP, the rest', /\/src\/tcp\//],
  ['library OS', /\/src\/libos\//],
  ['exokernel', /\/src\/(exokernel|host)\//],
  ['HTTP', /\/src\/servers\//],
  ['driver', DRIVER],
  ['wire formats', /\/src\/wire\//],
  ['timers, counters, reactor', /\/src\/runtime\//],
  ['bench', /\/bench\//],
  ['Node', /^node:/],
];

/** Where the time went, by rooms, the most first. */
export function roomsOf(profile: CpuProfile): Share[] {
  return sharesOf(profile, roomOf);
}

/** The functions with the most time of their own. */
export function topOf(profile: CpuProfile, count: number): Share[] {
  return sharesOf(profile, nameOf).slice(0, count);
}

/** The functions that allocate the most themselves. */
export function allocatorsOf(profile: AllocationProfile, count: number): Share[] {
  const sizes = new Map<string, number>();
  const visit = (node: AllocationNode): void => {
    const name = nameOf(node.callFrame);
    sizes.set(name, (sizes.get(name) ?? 0) + node.selfSize);
    for (const child of node.children) visit(child);
  };
  visit(profile.head);
  return toShares(sizes).slice(0, count);
}

/** Adds up the time of all frames that `key` calls the same; the inspector's own is left out, and idle time. */
export function sharesOf(
  profile: CpuProfile,
  key: (frame: CallFrame, caller: CallFrame | undefined) => string,
): Share[] {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const callers = new Map(profile.nodes.flatMap((node) => (node.children ?? []).map((id) => [id, node.callFrame])));
  const times = new Map<string, number>();
  profile.samples?.forEach((id, i) => {
    const frame = nodes.get(id)?.callFrame;
    const caller = callers.get(id);
    if (frame === undefined || frame.functionName === '(idle)' || caller?.url === 'node:inspector') return;
    const name = key(frame, caller);
    times.set(name, (times.get(name) ?? 0) + (profile.timeDeltas?.[i] ?? 0));
  });
  return toShares(times);
}

function toShares(amounts: ReadonlyMap<string, number>): Share[] {
  const total = sum([...amounts.values()]);
  return [...amounts].map(([name, amount]) => ({ name, part: amount / total })).sort((a, b) => b.part - a.part);
}

function roomOf(frame: CallFrame, caller: CallFrame | undefined): string {
  const { functionName } = frame;
  if (functionName === '(garbage collector)') return 'garbage collector';
  if (functionName === '(program)') return 'native code outside JavaScript';
  const url = isNative(frame) ? (caller?.url ?? '') : frame.url;
  if (isNative(frame) && DRIVER.test(url)) return 'system calls of the device';
  return ROOMS.find(([, path]) => path.test(url))?.[0] ?? `elsewhere (${functionName} ${url})`;
}

/**
 * Native functions go by their caller: those called through koffi all share one entry, and have the name of any of them. The
 * demultiplexer's generated code has no file either.
 */
function nameOf(frame: CallFrame, caller?: CallFrame): string {
  if (isNative(frame) && caller !== undefined) return `native code called by ${nameOf(caller)}`;
  const name = frame.functionName === '' ? '(anonymous)' : frame.functionName;
  const file = /\/(?:src|bench)\/(.*)$/.exec(frame.url)?.[1];
  return file === undefined ? `${name} ${frame.url}`.trim() : `${name} ${file}:${frame.lineNumber + 1}`;
}

export function isNative({ functionName, url }: CallFrame): boolean {
  return url === '' && !functionName.startsWith('(');
}
