/** System calls of a running program, counted by perf(1) without slowing it: a tracepoint, no sampling. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { childrenOf, searchPath } from '../machine.ts';

const EVENT = 'raw_syscalls:sys_enter';

/** System calls of a process, its threads and its children in so many milliseconds. Throws where perf cannot count them. */
export async function countSystemCalls(pid: number, milliseconds: number): Promise<number> {
  const pids = withDescendants(pid).join(',');
  const args = ['stat', '-x', ',', '-e', EVENT, '-p', pids, '--timeout', `${milliseconds}`];
  const child = spawn('perf', args, {
    env: { ...process.env, PATH: searchPath() },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: milliseconds + PATIENCE_MS,
    killSignal: 'SIGKILL',
  });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  await once(child, 'close');
  const count = new RegExp(`^(\\d+),[^\\n]*${EVENT}`, 'm').exec(output)?.[1];
  if (count === undefined) throw new Error(`perf cannot count system calls: ${output}`);
  return Number(count);
}

const PATIENCE_MS = 5000;

function withDescendants(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(withDescendants)];
}
