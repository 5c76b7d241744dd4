/**
 * Network namespaces: fresh networks that a test or a measurement may do anything to, gone when it is over, however it ends.
 * Nothing here needs cleaning up by hand: a namespace lives as long as the process that holds it, that process as long as
 * its standard input is open, and commands started in it die with the process that started them.
 */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { CLONE_NEWNET, errno, errnoName, setns, unshare } from '../../src/runtime/syscalls.ts';

/** Why this process cannot have network namespaces and TAP devices, or undefined when it can. */
export const forbidden: string | undefined = findObstacle();

/**
 * Moves this process's main thread into a new, empty network namespace for good; it vanishes with the process. Call it
 * once at the top of a test file, when `forbidden` is undefined. Sockets and devices opened from then on, by Node too, and
 * child processes are in it.
 */
export function enterPrivateNetwork(): void {
  if (unshare(CLONE_NEWNET) !== 0) throw new Error(`unshare: ${errnoName(errno())}`);
  silenceIpv6();
  ip('link', 'set', 'lo', 'up');
}

/** Runs iproute2's `ip` in this process's namespace; throws with its message. */
export function ip(...args: string[]): string {
  return run('ip', args);
}

/** Makes a veth pair in this process's namespace, both ends up and carrying frames. */
export function addVeth(name: string, peer: string): void {
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', peer);
  setLinkUp(name, peer);
}

/** Brings interfaces of this process's namespace up, and waits until they carry frames: the kernel takes its time. */
export function setLinkUp(...names: string[]): void {
  for (const name of names) ip('link', 'set', name, 'up');
  for (const name of names) waitForLink(ip, name);
}

const LINK_ROUNDS = 300;

function waitForLink(ip: (...args: string[]) => string, name: string): void {
  for (let round = 0; round < LINK_ROUNDS; round++) {
    if (ip('link', 'show', 'dev', name).includes('state UP')) return;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
  throw new Error(`${name} does not come up`);
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A network namespace beside that of this process. */
export class Netns {
  /** A process in the namespace: `/proc/PID/ns/net` names it, and so does PID in `ip link ... netns PID`. */
  readonly pid: number;
  private readonly holder: ChildProcess;
  private readonly children = new Set<ChildProcess>();

  private constructor(holder: ChildProcess, pid: number) {
    this.holder = holder;
    this.pid = pid;
  }

  /** A new namespace with `lo` up and no IPv6 (whose neighbour discovery would only be noise). */
  static async create(): Promise<Netns> {
    // what holds the namespace ends when the pipe to it does: at remove(), or when this process ends in any way
    const holder = spawn('unshare', ['--net', 'sh', '-c', 'echo; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (holder.stdout === null || holder.pid === undefined) throw new Error('cannot start unshare');
    await once(holder.stdout, 'data');
    const netns = new Netns(holder, holder.pid);
    netns.within(silenceIpv6);
    netns.ip('link', 'set', 'lo', 'up');
    return netns;
  }

  /** Joins two namespaces (or one with itself) by a veth pair, both ends up. */
  static connect(a: Netns, nameOfA: string, b: Netns, nameOfB: string): void {
    const peer = ['peer', 'name', nameOfB, 'netns', `${b.pid}`];
    ip('link', 'add', nameOfA, 'netns', `${a.pid}`, 'type', 'veth', ...peer);
    a.ip('link', 'set', nameOfA, 'up');
    b.ip('link', 'set', nameOfB, 'up');
    waitForLink((...args) => a.ip(...args), nameOfA);
    waitForLink((...args) => b.ip(...args), nameOfB);
  }

  /** Runs `ip` in the namespace; returns its output, throws with its message. */
  ip(...args: string[]): string {
    return this.run('ip', ...args);
  }

  /** Runs a command to its end, blocking; returns its output, throws with its message when it fails. */
  run(command: string, ...args: string[]): string {
    return run('nsenter', this.enter(command, args));
  }

  /** Runs a command to its end, whatever its exit code. */
  exec(command: string, args: readonly string[], timeoutMs = 60_000): Promise<CommandResult> {
    const options = { encoding: 'buffer', timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 256 << 20 } as const;
    return new Promise((resolve, reject) => {
      const child = execFile('nsenter', this.enter(command, args), options, (error, stdout, stderr) => {
        if (error !== null && typeof error.code === 'string') reject(error);
        else resolve({ code: child.exitCode ?? -1, stdout, stderr: stderr.toString() });
      });
    });
  }

  /** Starts a command that is killed when the namespace is removed. */
  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const child = spawn('nsenter', this.enter(command, args), options);
    this.children.add(child);
    child.once('exit', () => this.children.delete(child));
    return child;
  }

  /**
   * Runs a synchronous action with this thread in the namespace: sockets and devices it opens belong there, and stay
   * usable afterwards. Anything it starts that goes on asynchronously does not.
   */
  within<T>(action: () => T): T {
    const home = openSync('/proc/thread-self/ns/net', 'r');
    const there = openSync(`/proc/${this.pid}/ns/net`, 'r');
    try {
      enter(there);
      return action();
    } finally {
      enter(home);
      closeSync(there);
      closeSync(home);
    }
  }

  /** Ends what runs in the namespace and gives it up. */
  async remove(): Promise<void> {
    const ends = [...this.children].map((child) => once(child, 'exit'));
    for (const child of this.children) child.kill('SIGKILL');
    await Promise.all(ends);
    if (this.holder.exitCode === null && this.holder.signalCode === null) {
      const end = once(this.holder, 'exit');
      this.holder.stdin?.end();
      await end;
    }
  }

  /** Arguments of nsenter(1) for a command that dies when this process does. */
  private enter(command: string, args: readonly string[]): string[] {
    return [`--net=/proc/${this.pid}/ns/net`, 'setpriv', '--pdeathsig', 'KILL', command, ...args];
  }
}

function enter(fd: number): void {
  if (setns(fd, CLONE_NEWNET) !== 0) throw new Error(`setns: ${errnoName(errno())}`);
}

function run(command: string, args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 << 20 });
}

function silenceIpv6(): void {
  for (const of of ['all', 'default']) {
    try {
      writeFileSync(`/proc/sys/net/ipv6/conf/${of}/disable_ipv6`, '1');
    } catch {
      // a kernel without IPv6 is silent already
    }
  }
}

function findObstacle(): string | undefined {
  if (process.env.EXONET_INTEGRATION === 'skip') return 'EXONET_INTEGRATION=skip';
  if (process.platform !== 'linux') return 'needs Linux';
  for (const command of ['unshare', 'nsenter', 'setpriv', 'ip']) {
    if (spawnSync(command, ['--version']).error !== undefined && spawnSync(command, ['-V']).error !== undefined) {
      return `needs the command ${command}`;
    }
  }
  if (spawnSync('unshare', ['--net', 'true']).status !== 0) return 'needs the right to make network namespaces';
  try {
    closeSync(openSync('/dev/net/tun', 'r+'));
  } catch {
    return 'needs /dev/net/tun';
  }
  return undefined;
}
