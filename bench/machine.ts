/** What this machine has to have, and what it is doing: programs, rights, processors, other load. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';

/** The measurement cannot be made here: one sentence, exit code 1. */
export class ObstacleError extends Error {
  override readonly name = 'ObstacleError';
}

/** Commands and the Debian packages they come from. */
const COMMANDS: readonly (readonly [command: string, debianPackage: string])[] = [
  ['ip', 'iproute2'],
  ['nsenter', 'util-linux'],
  ['setpriv', 'util-linux'],
  ['taskset', 'util-linux'],
  ['unshare', 'util-linux'],
  ['wrk', 'wrk'],
  ['nginx', 'nginx'],
];

/** A load average beyond which something else is at work here. */
const QUIET_LOAD = 0.3;

/** Throws `ObstacleError` when a command, a right or a second processor is missing. */
export function assertMachine(withNginx: boolean): void {
  if (process.platform !== 'linux') throw new ObstacleError('The bench needs Linux.');
  const missing = COMMANDS.filter(([command]) => (withNginx || command !== 'nginx') && !exists(command));
  if (missing.length > 0) {
    const commands = missing.map(([command]) => command).join(', ');
    const packages = [...new Set(missing.map(([, debianPackage]) => debianPackage))].join(' ');
    throw new ObstacleError(`The bench needs the commands ${commands}: apt-get install ${packages}.`);
  }
  if (spawnSync('unshare', ['--net', 'true']).status !== 0) {
    throw new ObstacleError('The bench needs the right to make network namespaces: run it as root.');
  }
  try {
    closeSync(openSync('/dev/net/tun', 'r+'));
  } catch (error) {
    throw new ObstacleError(`The bench needs /dev/net/tun: ${error instanceof Error ? error.message : error}.`);
  }
}

/** A processor for the servers and one for the load, of different cores where there are two. */
export function chooseCores(): [server: number, client: number] {
  const allowed = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '';
  const [server, ...others] = readList(allowed);
  const siblings = server === undefined ? [] : siblingsOf(server);
  const client = others.find((processor) => !siblings.includes(processor)) ?? others[0];
  if (server === undefined || client === undefined) {
    throw new ObstacleError('The bench needs two processors, one for the server and one for the load.');
  }
  return [server, client];
}

/** A sentence when something else keeps the machine busy. */
export function warnOfLoad(): string | undefined {
  const load = loadavg()[0] ?? 0;
  if (load <= QUIET_LOAD) return undefined;
  return `The load average is ${load.toFixed(1)}: something else is running here, and the figures are noise.`;
}

/** Busy and total time of a processor since it started, and that of its interrupts and softirqs, in ticks. */
export interface ProcessorTime {
  readonly busy: number;
  readonly interrupts: number;
  readonly total: number;
}

const IDLE_COLUMN = 3;
const IO_WAIT_COLUMN = 4;
const INTERRUPT_COLUMN = 5;
const SOFTIRQ_COLUMN = 6;
/** Guest time, which is counted in user time already, comes behind. */
const COLUMNS = 8;

export function processorTime(processor: number): ProcessorTime {
  const line = new RegExp(`^cpu${processor} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'latin1'))?.[1] ?? '';
  const ticks = line.split(' ').slice(0, COLUMNS).map(Number);
  const total = ticks.reduce((sum, value) => sum + value, 0);
  const at = (column: number) => ticks[column] ?? 0;
  return {
    busy: total - at(IDLE_COLUMN) - at(IO_WAIT_COLUMN),
    interrupts: at(INTERRUPT_COLUMN) + at(SOFTIRQ_COLUMN),
    total,
  };
}

/** The parts of the time between two moments in which the processor worked, and did so for interrupts, 0 to 1. */
export function partsBetween(before: ProcessorTime, after: ProcessorTime) {
  const total = Math.max(1, after.total - before.total);
  return { busy: (after.busy - before.busy) / total, interrupts: (after.interrupts - before.interrupts) / total };
}

/** Kernel ticks of process times a second, the same on every Linux of today. */
const TICKS_PER_SECOND = 100;
/** In /proc/PID/stat, counted from behind the name's parenthesis: time in user mode and, next, in the kernel. */
const USER_TIME_FIELD = 12;

/** Seconds of processor time that a process and its children have used. */
export function processSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 1).split(' ');
  const ticks = Number(fields[USER_TIME_FIELD]) + Number(fields[USER_TIME_FIELD + 1]);
  return childrenOf(pid).reduce((seconds, child) => seconds + processSeconds(child), ticks / TICKS_PER_SECOND);
}

export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
}

/** Commands of /usr/sbin are found too, where the path of a user has none. */
export function searchPath(): string {
  return `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;
}

function exists(command: string): boolean {
  const env = { ...process.env, PATH: searchPath() };
  return spawnSync('sh', ['-c', 'command -v "$0"', command], { env, stdio: 'ignore' }).status === 0;
}

/** `0-2,5` as numbers. */
function readList(text: string): number[] {
  return text.split(',').flatMap((range) => {
    const [first, last] = range.split('-').map(Number);
    if (first === undefined || Number.isNaN(first)) return [];
    return Array.from({ length: (last ?? first) - first + 1 }, (_, i) => first + i);
  });
}

function siblingsOf(processor: number): number[] {
  try {
    const path = `/sys/devices/system/cpu/cpu${processor}/topology/thread_siblings_list`;
    return readList(readFileSync(path, 'latin1').trim());
  } catch {
    return [];
  }
}
