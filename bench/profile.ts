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

/** The first that fits: rooms by their files. */
const ROOMS: readonly (readonly [room: string, path: RegExp])[] = [
  ['demultiplexer', /\/src\/downloadfilter\//],
  ['TCP input', /\/src\/tcp\/(input|segment|connections|receive-queue|recovery|rtt|congestion)/],
  ['TCP output', /\/src\/tcp\/(output|send-queue|window)/],
  ['TCP, the rest', /\/src\/tcp\//],
  ['library OS', /\/src\/libos\//],
  ['exokernel', /\/src\/(exokernel|host)\//],
  ['HTTP', /\/src\/servers\//],
  ['driver', /\/src\/driver\//],
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

function sharesOf(profile: CpuProfile, key: (frame: CallFrame) => string): Share[] {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  const times = new Map<string, number>();
  profile.samples?.forEach((id, i) => {
    const frame = nodes.get(id);
    const us = profile.timeDeltas?.[i] ?? 0;
    if (frame === undefined || frame.functionName === '(idle)') return;
    const name = key(frame);
    times.set(name, (times.get(name) ?? 0) + us);
  });
  return toShares(times);
}

function toShares(amounts: ReadonlyMap<string, number>): Share[] {
  const total = sum([...amounts.values()]);
  return [...amounts].map(([name, amount]) => ({ name, part: amount / total })).sort((a, b) => b.part - a.part);
}

/** Foreign functions have no file, and neither has the demultiplexer's generated code. */
function roomOf(frame: CallFrame): string {
  const room = ROOMS.find(([, path]) => path.test(frame.url));
  if (room !== undefined) return room[0];
  switch (frame.functionName) {
    case '(garbage collector)':
      return 'garbage collector';
    case '(program)':
      return 'native code outside JavaScript';
    case 'read':
    case 'write':
    case 'writev':
      return 'system calls of the device';
    default:
      return frame.url === '' ? `native: ${frame.functionName}` : frame.url;
  }
}

function nameOf(frame: CallFrame): string {
  const name = frame.functionName === '' ? '(anonymous)' : frame.functionName;
  const file = /\/(?:src|bench)\/(.*)$/.exec(frame.url)?.[1];
  return file === undefined ? `${name} ${frame.url}`.trim() : `${name} ${file}:${frame.lineNumber + 1}`;
}
