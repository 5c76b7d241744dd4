/** `exonet forward` as a process of its own, between a client's namespace and a backend's. */
import type { ExecutionContext } from 'ava';
import { Netns } from './netns.ts';
import { PROGRAM } from './program.ts';
import { PIPED, ProgramProcess } from './program-process.ts';

export const CLIENT = '10.90.0.1';
export const SERVICE = '10.90.0.2';
export const INSIDE = '10.91.0.9';
export const BACKENDS = ['10.91.0.2', '10.91.0.3'] as const;

/** Three namespaces in a row; the middle one has no addresses of the kernel's. */
export class ForwardNetwork {
  readonly client: Netns;
  readonly middle: Netns;
  readonly backend: Netns;

  private constructor(client: Netns, middle: Netns, backend: Netns) {
    this.client = client;
    this.middle = middle;
    this.backend = backend;
  }

  static async create(t: ExecutionContext): Promise<ForwardNetwork> {
    const [client, middle, backend] = await Promise.all([Netns.create(), Netns.create(), Netns.create()]);
    for (const netns of [client, middle, backend]) t.teardown(() => netns.remove());
    Netns.connect(client, 'client0', middle, 'outside0');
    Netns.connect(backend, 'backend0', middle, 'inside0');
    client.ip('addr', 'add', `${CLIENT}/24`, 'dev', 'client0');
    for (const address of BACKENDS) backend.ip('addr', 'add', `${address}/24`, 'dev', 'backend0');
    backend.ip('route', 'add', 'default', 'via', INSIDE);
    return new ForwardNetwork(client, middle, backend);
  }

  /** The forwarder between them, forwarding when this resolves. */
  forward(...args: string[]): Promise<ForwardProcess> {
    const outside = ['--device', 'packet:outside0', '--address', `${SERVICE}/24`];
    const inside = ['--device', 'packet:inside0', '--address', `${INSIDE}/24`];
    return ForwardProcess.start(this.middle, [...outside, ...inside, ...args]);
  }
}

export class ForwardProcess extends ProgramProcess {
  static async start(where: Netns, args: readonly string[]): Promise<ForwardProcess> {
    const child = where.spawn(process.execPath, [PROGRAM, 'forward', ...args], PIPED);
    const forward = new ForwardProcess('forward', child);
    await forward.ready();
    return forward;
  }

  /** The lines of the flow log, read. */
  get log(): { msg: string; how?: string; toClient?: { bytes: number } }[] {
    return this.stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
  }
}
