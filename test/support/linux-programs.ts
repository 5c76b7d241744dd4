/** Starts `linux-peer` as a process, in this process's namespace or in another. */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { environment, execute, start, within } from './commands.ts';
import type { CommandResult, Netns } from './netns.ts';

const PROGRAM = fileURLToPath(new URL('./linux-peer.js', import.meta.url));

/** An HTTP server of the files in a directory, answering when this resolves. */
export function startServer(
  t: ExecutionContext,
  where: Netns | null,
  address: string,
  port: number,
  directory: string,
) {
  return startReady(t, where, ['serve', address, `${port}`, directory]);
}

/** Takes streams and answers each with a `SinkReport`. */
export function startSink(t: ExecutionContext, where: Netns | null, address: string, port: number) {
  return startReady(t, where, ['sink', address, `${port}`]);
}

/** Sends a file, from this namespace or another, and resolves with what came back. */
export function sendFile(address: string, port: number, file: string, where?: Netns): Promise<CommandResult> {
  const args = [PROGRAM, 'send', address, `${port}`, file];
  return where === undefined ? execute(process.execPath, args) : where.exec(process.execPath, args);
}

async function startReady(t: ExecutionContext, where: Netns | null, args: readonly string[]): Promise<ChildProcess> {
  const command = [PROGRAM, ...args];
  const options: SpawnOptions = { stdio: ['ignore', 'pipe', 'inherit'], env: environment };
  const child =
    where === null ? start(t, process.execPath, command, options) : where.spawn(process.execPath, command, options);
  await within(
    `linux-peer ${args[0]} to be ready`,
    new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`linux-peer ended with ${code}`)));
    }),
  );
  return child;
}
