/** Commands that integration tests run in this process's own namespace, none of which outlives its test. */
import { type ChildProcess, execFile, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { environment } from './environment.ts';
import { type CommandResult, integrationTest } from './netns.ts';

export { environment, within } from './environment.ts';

const DEFAULT_TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 256 << 20;
const POLL_MS = 10;

export interface CommandOptions {
  readonly timeoutMs?: number;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a command to its end, whatever its exit code; -1 when it had to be killed. */
export function execute(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, cwd = '/', env = environment } = options;
  return new Promise((resolve, reject) => {
    const child = execFile(
      'setpriv',
      ['--pdeathsig', 'KILL', command, ...args],
      { encoding: 'buffer', timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT_BYTES, cwd, env },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code === 'string') reject(error);
        else resolve({ code: child.exitCode ?? -1, stdout, stderr: stderr.toString() });
      },
    );
  });
}

/** Starts a command that is killed at the end of the test at the latest. */
export function start(
  t: ExecutionContext,
  command: string,
  args: readonly string[],
  options: SpawnOptions = {},
): ChildProcess {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], {
    cwd: '/',
    env: environment,
    ...options,
  });
  t.teardown(() => end(child));
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

/** Waits until something holds; throws when it has not by then. */
export async function until(what: string, holds: () => boolean, timeoutMs = 20_000): Promise<void> {
  const endMs = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > endMs) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await sleep(POLL_MS);
  }
}

export function isInstalled(command: string): boolean {
  return spawnSync('sh', ['-c', 'command -v "$0"', command], { env: environment }).status === 0;
}

/** An integration test that needs commands too; skipped, with what is missing in its title, where they are not installed. */
export function commandTest(
  title: string,
  commands: readonly string[],
  implementation: (t: ExecutionContext) => void | Promise<void>,
): void {
  const missing = commands.filter((command) => !isInstalled(command));
  if (missing.length === 0) integrationTest(title, implementation);
  else test.skip(`${title} (not installed: ${missing.join(', ')})`, implementation);
}
