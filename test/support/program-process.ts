/** `exonet` as a process of its own, with what it has printed so far. */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { environment, within } from './environment.ts';

/** What the child is to be started with, so that what it prints can be read. */
export const PIPED: SpawnOptions = { stdio: ['ignore', 'pipe', 'pipe'], env: environment };

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class ProgramProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  stdout = '';
  stderr = '';
  private readonly name: string;

  /** @param name what errors call it */
  constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.child = child;
    child.stdout?.on('data', (text) => {
      this.stdout += text;
    });
    child.stderr?.on('data', (text) => {
      this.stderr += text;
    });
    this.exited = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  }

  /** Resolves when it has printed a line, which says that it is at work; throws when it ends before. */
  ready(): Promise<void> {
    const working = new Promise<void>((resolve, reject) => {
      this.child.stdout?.on('data', () => {
        if (this.stdout.includes('\n')) resolve();
      });
      this.exited.then(() => reject(new Error(`${this.name} ended: ${this.stderr}`)));
    });
    return within(`${this.name} to be at work`, working);
  }

  /** Sends a signal and waits for the end. */
  stop(signal: NodeJS.Signals = 'SIGINT'): Promise<Exit> {
    this.child.kill(signal);
    return within(`${this.name} to end`, this.exited);
  }
}
