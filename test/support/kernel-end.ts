/** An end of a connection that is the kernel's own: a process in a namespace that does as it is told (kernel-end.py). */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Netns } from './namespace.ts';

const PROGRAM = fileURLToPath(new URL('../../../test/support/kernel-end.py', import.meta.url));

/** What an end saw. */
export interface Facts {
  /** The name of the error that the call failed with. */
  readonly error?: string;
  readonly bytes?: number;
  /** What came behind the bytes: `FIN`, an error's name, or `nothing`. */
  readonly end?: string;
  readonly state?: number;
  readonly peerWindowScale?: number;
  readonly peerWindow?: number;
  readonly sendMss?: number;
  readonly pathMtu?: number;
  readonly bytesAcked?: number;
}

export class KernelEnd {
  private readonly child: ChildProcess;
  private readonly answers: AsyncIterator<string>;

  constructor(netns: Netns) {
    this.child = netns.spawn('python3', ['-u', PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.child.stdout === null) throw new Error('an end without output');
    this.answers = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  /** Has a function of the program called, and resolves to what it says; one call at a time. */
  async call(name: string, ...args: (string | number)[]): Promise<Facts> {
    this.child.stdin?.write(`${JSON.stringify([name, ...args])}\n`);
    const { value, done } = await this.answers.next();
    if (done === true) throw new Error(`the end died at ${name}`);
    return JSON.parse(value) as Facts;
  }

  /** The process ends, and its sockets with it. */
  stop(): void {
    this.child.stdin?.end();
  }
}
