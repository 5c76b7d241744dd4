/** `exonet cheetah` as a process of its own: the program in dist, as people run it. */
import type { ExecutionContext } from 'ava';
import { start } from './commands.ts';
import type { Netns } from './netns.ts';
import { PROGRAM } from './program.ts';
import { PIPED, ProgramProcess } from './program-process.ts';
import { addVeth, NEAR_NAME, STACK_ADDRESS, TAP_NAME, type Wire } from './wire.ts';

export class CheetahProcess extends ProgramProcess {
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
    const child = where === null ? start(t, command, args, PIPED) : where.spawn(command, args, PIPED);
    const cheetah = new CheetahProcess('cheetah', child);
    await cheetah.ready();
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
}
