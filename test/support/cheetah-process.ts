/** `exonet cheetah` as a process of its own: the program in dist, as people run it. */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { environment, start, within } from './commands.ts';
import type { Netns } from './netns.ts';
import { addVeth, NEAR_NAME, STACK_ADDRESS, TAP_NAME, type Wire } from './wire.ts';

/** Built by `make build`, which the tests take for granted. */
export const PROGRAM = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class CheetahProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  stdout = '';
  stderr = '';

  private constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on('data', (text) => {
      this.stdout += text;
    });
    child.stderr?.on('data', (text) => {
      this.stderr += text;
    });
    this.exited = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  }

  /** Starts the program in this process's namespace or in another; it serves when this resolves. */
  static start(t: ExecutionContext, args: readonly string[], where: Netns | null = null): Promise<CheetahProcess> {
    return CheetahProcess.run(t, process.execPath, [PROGRAM, 'cheetah', ...args], where);
  }

  /** Runs a command that becomes the program. */
  static async run(
    t: ExecutionContext,
    command: string,
    args: readonly string[],
    where: Netns | null = null,
  ): Promise<CheetahProcess> {
    const options: SpawnOptions = { stdio: ['ignore', 'pipe', 'pipe'], env: environment };
    const child = where === null ? start(t, command, args, options) : where.spawn(command, args, options);
    const cheetah = new CheetahProcess(child);
    const serving = new Promise<void>((resolve, reject) => {
      child.stdout?.on('data', () => {
        if (cheetah.stdout.includes('\n')) resolve();
      });
      cheetah.exited.then(() => reject(new Error(`cheetah ended: ${cheetah.stderr}`)));
    });
    await within('cheetah to serve', serving);
    return cheetah;
  }

  /** Starts it on one end of a wire whose other end the kernel of this namespace has. */
  static async serve(t: ExecutionContext, wire: Wire, root: string, ...args: string[]): Promise<CheetahProcess> {
    const all = ['--root', root, '--address', `${STACK_ADDRESS}/24`, ...args];
    if (!wire.offload) all.push('--no-offload');
    if (wire.kind === 'tap') return CheetahProcess.start(t, ['--device', `tap:${TAP_NAME}`, ...all]);
    const near = await addVeth(t);
    if (wire.kind === 'sockets') {
      near.ip('addr', 'add', `${STACK_ADDRESS}/24`, 'dev', NEAR_NAME);
      return CheetahProcess.start(t, ['--sockets', ...all], near);
    }
    return CheetahProcess.start(t, ['--device', `packet:${NEAR_NAME}`, ...all], near);
  }

  /** Sends a signal and waits for the end. */
  stop(signal: NodeJS.Signals = 'SIGINT'): Promise<Exit> {
    this.child.kill(signal);
    return within('cheetah to end', this.exited);
  }
}
