/**
 * Two hosts that are asked the same: a Linux kernel in a namespace, its sockets served by socket-rpc-linux.py, and `exonet dut` in
 * another. Each hangs on a wire of its own, at whose other end scripted peers of this process stand. Both have the same address.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseIpv4 } from '../../src/wire/address.ts';
import { addVeth, forbidden, ip, Netns } from './namespace.ts';
import { PROGRAM } from './program.ts';
import { PIPED, ProgramProcess } from './program-process.ts';
import { callRpc } from './rpc-client.ts';
import { WireLink } from './wire-link.ts';

/** The socket RPC over real sockets, a tool that stands beside the checkout. */
const REFERENCE = fileURLToPath(new URL('../../../../shared/tools/socket-rpc-linux.py', import.meta.url));

/** Why there can be no lab here, or undefined when there can. */
export const noLab: string | undefined =
  forbidden ?? (existsSync(REFERENCE) ? undefined : 'no ../shared/tools/socket-rpc-linux.py beside this checkout');

export const HOST = '10.99.0.2';
export const PEER = '10.99.0.1';
const PATIENCE_ROUNDS = 500;
const PATIENCE_MS = 20;

/** One of the two hosts. */
export interface Subject {
  readonly name: string;
  /** Where its socket calls are served. */
  readonly rpc: string;
  readonly link: WireLink;
}

export interface LabOptions {
  /** More arguments of `exonet dut`. */
  readonly arguments?: readonly string[];
}

/** Call it in a private network namespace. */
export class DifferentialLab {
  readonly linux: Subject;
  readonly exonet: Subject;
  /** `exonet dut`. */
  readonly program: ProgramProcess;
  private readonly namespaces: readonly Netns[];
  private readonly directory: string;

  private constructor(
    linux: Subject,
    exonet: Subject,
    program: ProgramProcess,
    namespaces: readonly Netns[],
    directory: string,
  ) {
    this.linux = linux;
    this.exonet = exonet;
    this.program = program;
    this.namespaces = namespaces;
    this.directory = directory;
  }

  static async create(options: LabOptions = {}): Promise<DifferentialLab> {
    const directory = mkdtempSync(join(tmpdir(), 'exonet-'));
    const [kernel, stack] = await Promise.all([Netns.create(), Netns.create()]);
    joinHere('linux0', kernel, 'eth0');
    joinHere('exonet0', stack, 'eth0');
    prepareKernel(kernel);
    const linuxRpc = join(directory, 'linux');
    const exonetRpc = join(directory, 'exonet');
    const reference = new ProgramProcess('the reference', kernel.spawn('python3', ['-u', REFERENCE, linuxRpc], PIPED));
    const args = ['--device', 'packet:eth0', '--address', `${HOST}/24`, '--no-offload', '--rpc', exonetRpc];
    const command = [PROGRAM, 'dut', ...args, ...(options.arguments ?? [])];
    const program = new ProgramProcess('dut', stack.spawn(process.execPath, command, PIPED));
    await program.ready();
    await answering(linuxRpc, reference);
    const addresses = { hostAddress: parseIpv4(HOST) ?? 0, peerAddress: parseIpv4(PEER) ?? 0 };
    const lab = new DifferentialLab(
      { name: 'linux', rpc: linuxRpc, link: new WireLink({ interfaceName: 'linux0', ...addresses }) },
      { name: 'exonet', rpc: exonetRpc, link: new WireLink({ interfaceName: 'exonet0', ...addresses }) },
      program,
      [kernel, stack],
      directory,
    );
    await lab.findHosts();
    return lab;
  }

  get subjects(): readonly [Subject, Subject] {
    return [this.linux, this.exonet];
  }

  async close(): Promise<void> {
    for (const { link } of this.subjects) link.close();
    for (const netns of this.namespaces) await netns.remove();
    rmSync(this.directory, { recursive: true, force: true });
  }

  private async findHosts(): Promise<void> {
    for (const { link, name } of this.subjects) {
      for (let round = 0; !link.knowsHost; round++) {
        if (round === PATIENCE_ROUNDS) throw new Error(`${name} does not answer`);
        if (round % 10 === 0) link.findHost();
        await sleep(PATIENCE_MS);
      }
    }
  }
}

function joinHere(here: string, there: Netns, name: string): void {
  addVeth(here, `${here}-far`);
  ip('link', 'set', `${here}-far`, 'netns', `${there.pid}`, 'name', name);
  there.ip('link', 'set', name, 'up');
}

/** Addresses, segments as they are, and what this machine may have set otherwise than a kernel starts with. */
function prepareKernel(kernel: Netns): void {
  kernel.ip('addr', 'add', `${HOST}/24`, 'dev', 'eth0');
  kernel.ip('link', 'set', 'eth0', 'gso_max_segs', '1');
  const settings = {
    // No pacing; and the only one that every namespace may have.
    tcp_congestion_control: 'reno',
    tcp_no_metrics_save: '1',
    tcp_rmem: '4096 131072 6291456',
    tcp_wmem: '4096 16384 4194304',
    tcp_ecn: '2',
    tcp_fastopen: '1',
    tcp_rfc1337: '0',
    tcp_timestamps: '1',
    tcp_invalid_ratelimit: '500',
  };
  for (const [name, value] of Object.entries(settings)) kernel.run('sysctl', '-qw', `net.ipv4.${name}=${value}`);
}

async function answering(path: string, reference: ProgramProcess): Promise<void> {
  for (let round = 0; round < PATIENCE_ROUNDS; round++) {
    try {
      await callRpc(path, 'fcntl', -1, 3, 0);
      return;
    } catch {
      await sleep(PATIENCE_MS);
    }
  }
  throw new Error(`the reference does not answer: ${reference.stderr}`);
}
