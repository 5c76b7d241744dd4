/**
 * The networks of a run: a namespace for the load and one for the servers that use sockets, joined by a veth pair. Servers
 * on a TAP device live in the load's namespace, whose kernel is the other end of the device. Nothing leaves them: they
 * have no other interface and no route.
 *
 * Nothing of it outlives the bench, however that ends: what holds a namespace ends when its standard input does, and
 * every command started here is killed when the bench is gone.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { childrenOf, searchPath } from './machine.ts';

/** Addresses of the veth pair: one network as the kernel has it, and one whose TCP is not paced. */
export const SOCKET_SERVER_ADDRESS = '10.90.9.2';
export const UNPACED_SERVER_ADDRESS = '10.90.8.2';
const UNPACED_NETWORK = '10.90.8.0/24';
const CLIENT_ADDRESSES = ['10.90.9.1', '10.90.8.1'];

/**
 * Congestion control of the kernel's TCP between the other two addresses, the first that there is: what Linux has unless it
 * is told otherwise, or else what it always has. Some machines are told BBR, which paces every connection by a timer.
 */
const UNPACED_CONTROLS = ['cubic', 'reno'];

const ENVIRONMENT = { ...process.env, PATH: searchPath() };

/** Where a command is to run. */
export interface Place {
  readonly side: 'client' | 'server';
  /** The processor it may use. */
  readonly core: number;
  /** It starts processes of its own, which must go with it. */
  readonly breeds?: boolean;
  /** With a channel for messages (`process.send` in the child). */
  readonly channel?: boolean;
  /** Its standard output is wanted. */
  readonly output?: boolean;
}

export class Lab {
  readonly serverCore: number;
  readonly clientCore: number;
  private readonly client: ChildProcess;
  private readonly server: ChildProcess;
  /** What runs, and whether it runs behind an unshare(1) of its own. */
  private readonly children = new Map<ChildProcess, { readonly breeds: boolean }>();

  private constructor(serverCore: number, clientCore: number, client: ChildProcess, server: ChildProcess) {
    this.serverCore = serverCore;
    this.clientCore = clientCore;
    this.client = client;
    this.server = server;
  }

  static async create(serverCore: number, clientCore: number): Promise<Lab> {
    const [client, server] = await Promise.all([holdNamespace(), holdNamespace()]);
    const lab = new Lab(serverCore, clientCore, client, server);
    try {
      lab.connect();
    } catch (error) {
      await lab.remove();
      throw error;
    }
    return lab;
  }

  /** The congestion control that the kernel's TCP has in these namespaces. */
  congestionControl(): string {
    return this.sh('server', 'cat /proc/sys/net/ipv4/tcp_congestion_control');
  }

  /** Starts a command that dies with the bench, on one processor, in one of the namespaces. */
  start(place: Place, command: string, args: readonly string[]): ChildProcess {
    const core = ['taskset', '--cpu-list', `${place.core}`];
    const brood = place.breeds === true ? ['unshare', '--pid', '--kill-child=KILL'] : [];
    const child = spawn('nsenter', [...this.enter(place.side), ...core, ...brood, command, ...args], {
      env: ENVIRONMENT,
      stdio: [
        'ignore',
        place.output === true ? 'pipe' : 'ignore',
        'inherit',
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
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${output}`);
    return output;
  }

  /** Ends what runs in the namespaces, and the namespaces. */
  async remove(): Promise<void> {
    const { client, server, children } = this;
    const ends = [...children.keys(), client, server].filter(isAlive).map((child) => once(child, 'exit'));
    for (const [child, { breeds }] of children) {
      // unshare(1) sees its child, and all that comes of it, buried, and ends
      if (!breeds || !endChildren(child)) child.kill('SIGKILL');
    }
    client.stdin?.end();
    server.stdin?.end();
    await Promise.all(ends);
  }

  private connect(): void {
    for (const side of ['client', 'server'] as const) {
      // its neighbour discovery would only be noise; a kernel without IPv6 has no such setting
      this.sh(side, 'for all in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ -w $all ] && echo 1 >$all; done; :');
      this.sh(side, 'ip link set lo up');
    }
    this.sh('client', `ip link add veth0 type veth peer name veth0 netns ${this.server.pid}`);
    const addresses = { client: CLIENT_ADDRESSES, server: [SOCKET_SERVER_ADDRESS, UNPACED_SERVER_ADDRESS] };
    for (const side of ['client', 'server'] as const) {
      for (const address of addresses[side]) this.sh(side, `ip address add ${address}/24 dev veth0`);
      this.sh(side, 'ip link set veth0 up');
    }
    const route = `ip route replace ${UNPACED_NETWORK} dev veth0 src ${UNPACED_SERVER_ADDRESS} congctl`;
    this.sh('server', UNPACED_CONTROLS.map((control) => `${route} ${control}`).join(' || '));
  }

  /** Runs a shell's command line in a namespace, and returns what it printed. */
  private sh(side: Place['side'], line: string): string {
    return execFileSync('nsenter', [...this.enter(side), 'sh', '-c', line], {
      env: ENVIRONMENT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    }).trim();
  }

  /** Arguments of nsenter(1) for a command that dies when this process does. */
  private enter(side: Place['side']): string[] {
    return [`--net=/proc/${this[side].pid}/ns/net`, 'setpriv', '--pdeathsig', 'KILL'];
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
