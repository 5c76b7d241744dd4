/**
 * Network namespaces of a run, by name, and the commands that run in them. Nothing leaves them: they have the interfaces
 * that the bench gives them, and no route anywhere else.
 *
 * Nothing of it outlives the bench, however that ends: what holds a namespace ends when its standard input does, and
 * every command started here is killed when the bench is gone.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { childrenOf, searchPath } from './machine.ts';

const ENVIRONMENT = { ...process.env, PATH: searchPath() };

/** Where a command is to run. */
export interface Place {
  /** The name of a namespace of the lab. */
  readonly space: string;
  /** The processor it may use. */
  readonly core: number;
  /** It starts processes of its own, which must go with it. */
  readonly breeds?: boolean;
  /** With a channel for messages (`process.send` in the child). */
  readonly channel?: boolean;
  /** Its standard output is wanted. */
  readonly output?: boolean;
  /** What it says of its errors is not. */
  readonly quiet?: boolean;
  /** How long `run` waits for its end before it kills it. */
  readonly patienceMs?: number;
  /** Exit codes that are no failure for `run`, beside 0. */
  readonly accepts?: readonly number[];
}

export interface VethEnd {
  readonly space: string;
  readonly name: string;
  /** `10.90.9.1/24` */
  readonly addresses: readonly string[];
}

/** In a line of /proc/net/dev, counted from behind the interface's name. */
const RECEIVED_FRAMES = 1;
const SENT_FRAMES = 9;

export class Lab {
  readonly serverCore: number;
  readonly clientCore: number;
  /** What holds each namespace. */
  private readonly holders = new Map<string, ChildProcess>();
  /** What runs, and whether it runs behind an unshare(1) of its own. */
  private readonly children = new Map<ChildProcess, { readonly breeds: boolean }>();

  private constructor(serverCore: number, clientCore: number) {
    this.serverCore = serverCore;
    this.clientCore = clientCore;
  }

  /** Makes a namespace for every name, with its loopback interface up and without IPv6, whose discovery would only be noise. */
  static async create(spaces: readonly string[], serverCore: number, clientCore: number): Promise<Lab> {
    const lab = new Lab(serverCore, clientCore);
    try {
      for (const space of spaces) {
        lab.holders.set(space, await holdNamespace());
        // a kernel without IPv6 has no such setting
        lab.sh(space, 'for all in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ -w $all ] && echo 1 >$all; done; :');
        lab.sh(space, 'ip link set lo up');
      }
    } catch (error) {
      await lab.remove();
      throw error;
    }
    return lab;
  }

  /** Joins two namespaces by a veth pair, with the addresses that its ends are given, and waits until it carries frames. */
  join(end: VethEnd, other: VethEnd): void {
    this.sh(
      end.space,
      `ip link add ${end.name} type veth peer name ${other.name} netns ${this.holder(other.space).pid}`,
    );
    for (const { space, name, addresses } of [end, other]) {
      for (const address of addresses) this.sh(space, `ip address add ${address} dev ${name}`);
      this.sh(space, `ip link set ${name} up`);
    }
    for (const { space, name } of [end, other]) {
      this.sh(space, `for try in $(seq 500); do ip link show ${name} | grep -q "state UP" && break; sleep 0.01; done`);
    }
  }

  /** Frames that an interface has received and sent, super-frames as one each. */
  frames(space: string, name: string): { readonly received: number; readonly sent: number } {
    const table = readFileSync(`/proc/${this.holder(space).pid}/net/dev`, 'latin1');
    const line = table.split('\n').find((text) => text.trim().startsWith(`${name}:`)) ?? '';
    const columns = line
      .slice(line.indexOf(':') + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    return { received: columns[RECEIVED_FRAMES] ?? 0, sent: columns[SENT_FRAMES] ?? 0 };
  }

  /** The congestion control that the kernel's TCP has in a namespace. */
  congestionControl(space: string): string {
    return this.sh(space, 'cat /proc/sys/net/ipv4/tcp_congestion_control');
  }

  /** Starts a command that dies with the bench, on one processor, in one of the namespaces. */
  start(place: Place, command: string, args: readonly string[]): ChildProcess {
    const core = ['taskset', '--cpu-list', `${place.core}`];
    const brood = place.breeds === true ? ['unshare', '--pid', '--kill-child=KILL'] : [];
    const child = spawn('nsenter', [...this.enter(place.space), ...core, ...brood, command, ...args], {
      env: ENVIRONMENT,
      stdio: [
        'ignore',
        place.output === true ? 'pipe' : 'ignore',
        place.quiet === true ? 'ignore' : 'inherit',
        ...(place.channel === true ? (['ipc'] as const) : []),
      ],
    });
    this.children.set(child, { breeds: place.breeds === true });
    child.once('exit', () => this.children.delete(child));
    return child;
  }

  /** Runs a command to its end and returns what it printed; throws when it fails. */
  async run(place: Place, command: string, args: readonly string[]): Promise<string> {
    const child = this.start({ ...place, output: true }, command, args);
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const { patienceMs } = place;
    const alarm = patienceMs === undefined ? undefined : setTimeout(() => this.stop(child), patienceMs);
    const [code] = (await once(child, 'close').finally(() => clearTimeout(alarm))) as [number | null];
    if (code !== 0 && place.accepts?.includes(code ?? -1) !== true)
      throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${output}`);
    return output;
  }

  /** Ends a command started here, and what it has started. */
  stop(child: ChildProcess): void {
    // unshare(1) sees its child, and all that comes of it, buried, and ends
    if (this.children.get(child)?.breeds !== true || !endChildren(child)) child.kill('SIGKILL');
  }

  /** Ends what runs in the namespaces, and the namespaces. */
  async remove(): Promise<void> {
    const holders = [...this.holders.values()];
    const ends = [...this.children.keys(), ...holders].filter(isAlive).map((child) => once(child, 'exit'));
    for (const child of this.children.keys()) this.stop(child);
    for (const holder of holders) holder.stdin?.end();
    await Promise.all(ends);
  }

  /** Runs a shell's command line in a namespace, and returns what it printed. */
  sh(space: string, line: string): string {
    return execFileSync('nsenter', [...this.enter(space), 'sh', '-c', line], {
      env: ENVIRONMENT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    }).trim();
  }

  /** Arguments of nsenter(1) for a command that dies when this process does. */
  private enter(space: string): string[] {
    return [`--net=/proc/${this.holder(space).pid}/ns/net`, 'setpriv', '--pdeathsig', 'KILL'];
  }

  private holder(space: string): ChildProcess {
    const holder = this.holders.get(space);
    if (holder === undefined) throw new RangeError(`the lab has no namespace ${space}`);
    return holder;
  }
}

/** A process in a new network namespace, which lasts until its standard input ends. */
async function holdNamespace(): Promise<ChildProcess> {
  const script = 'echo; trap "" INT TERM HUP; exec cat';
  const holder = spawn('unshare', ['--net', 'sh', '-c', script], {
    env: ENVIRONMENT,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (holder.stdout === null) throw new Error('cannot start unshare');
  await once(holder.stdout, 'data');
  return holder;
}

/** Asks the processes that a process has started to end; false when there are none. */
function endChildren({ pid }: ChildProcess): boolean {
  try {
    const children = pid === undefined ? [] : childrenOf(pid);
    for (const child of children) process.kill(child, 'SIGTERM');
    return children.length > 0;
  } catch {
    return false;
  }
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
