/**
 * The network in which forwarders are compared: a client, what is in the middle, a router, and a server, each in a namespace of
 * its own.
 *
 *   client 10.90.0.1 --- 10.90.0.2 middle 10.91.0.1 --- 10.91.0.2 router 10.92.0.1 --- 10.92.0.2 server
 *
 * In the way `direct` the middle is a router too, and the client speaks to the server itself.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Netns } from './namespace.ts';
import { PROGRAM } from './program.ts';

export const WAYS = ['direct', 'exonet forward', 'HAProxy', 'nginx stream', 'forward --sockets'] as const;
export type Way = (typeof WAYS)[number];

export const SERVER_ADDRESS = '10.92.0.2';
/** On the server's network, and nobody's. */
export const VACANT_ADDRESS = '10.92.0.99';
export const SERVER_PORT = 8080;
const LISTEN_ADDRESS = '10.90.0.2';
const LISTEN_PORT = 80;

const START_MS = 20_000;

export class SemanticsLab {
  readonly client: Netns;
  readonly middle: Netns;
  readonly router: Netns;
  readonly server: Netns;
  private readonly directory = mkdtempSync(join(tmpdir(), 'exonet-semantics-'));
  private forwarder: ChildProcess | null = null;
  private output = '';

  private constructor(client: Netns, middle: Netns, router: Netns, server: Netns) {
    this.client = client;
    this.middle = middle;
    this.router = router;
    this.server = server;
  }

  static async create(): Promise<SemanticsLab> {
    const [client, middle, router, server] = await Promise.all([1, 2, 3, 4].map(() => Netns.create()));
    if (client === undefined || middle === undefined || router === undefined || server === undefined) throw new Error();
    Netns.connect(client, 'c0', middle, 'm0');
    Netns.connect(middle, 'm1', router, 'r0');
    Netns.connect(router, 'r1', server, 's0');
    client.ip('addr', 'add', '10.90.0.1/24', 'dev', 'c0');
    router.ip('addr', 'add', '10.91.0.2/24', 'dev', 'r0');
    router.ip('addr', 'add', '10.92.0.1/24', 'dev', 'r1');
    server.ip('addr', 'add', `${SERVER_ADDRESS}/24`, 'dev', 's0');
    client.ip('route', 'add', 'default', 'via', '10.90.0.2');
    router.ip('route', 'add', '10.90.0.0/24', 'via', '10.91.0.1');
    server.ip('route', 'add', 'default', 'via', '10.92.0.1');
    setForwarding(router, true);
    return new SemanticsLab(client, middle, router, server);
  }

  /** Puts what `way` names into the middle; returns where the client connects to. */
  async begin(way: Way, backend: string): Promise<readonly [string, number]> {
    if (way !== 'exonet forward') {
      this.middle.ip('addr', 'add', `${LISTEN_ADDRESS}/24`, 'dev', 'm0');
      this.middle.ip('addr', 'add', '10.91.0.1/24', 'dev', 'm1');
      this.middle.ip('route', 'add', '10.92.0.0/24', 'via', '10.91.0.2');
    }
    if (way === 'direct') {
      setForwarding(this.middle, true);
      return [backend, SERVER_PORT];
    }
    const [command = '', ...args] = this.commandOf(way, backend);
    this.forwarder = this.middle.spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.forwarder.stdout, this.forwarder.stderr]) {
      stream?.on('data', (text) => {
        this.output += text;
      });
    }
    await this.untilListening(way);
    return [LISTEN_ADDRESS, LISTEN_PORT];
  }

  async remove(): Promise<void> {
    await Promise.all([this.client, this.middle, this.router, this.server].map((netns) => netns.remove()));
    rmSync(this.directory, { recursive: true, force: true });
  }

  private commandOf(way: Way, backend: string): string[] {
    const listen = `${LISTEN_ADDRESS}:${LISTEN_PORT}`;
    const target = `${backend}:${SERVER_PORT}`;
    switch (way) {
      case 'exonet forward': {
        const sides = ['--device', 'packet:m0', '--address', `${LISTEN_ADDRESS}/24`];
        sides.push('--device', 'packet:m1', '--address', '10.91.0.1/24', '--gateway', '10.91.0.2');
        return [process.execPath, PROGRAM, 'forward', '--listen', listen, '--backend', target, ...sides];
      }
      case 'HAProxy':
        return ['haproxy', '-db', '-f', this.write('haproxy.cfg', haproxyConfig(listen, target))];
      case 'nginx stream':
        return ['nginx', '-e', 'stderr', '-c', this.write('nginx.conf', nginxConfig(this.directory, listen, target))];
      default:
        return [process.execPath, PROGRAM, 'forward', '--sockets', '--listen', listen, '--backend', target];
    }
  }

  private write(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text);
    return path;
  }

  private async untilListening(way: Way): Promise<void> {
    const endMs = Date.now() + START_MS;
    const listens = (): boolean =>
      way === 'exonet forward'
        ? this.output.includes('forward takes')
        : this.middle.run('ss', '-Hltn').includes(`${LISTEN_ADDRESS}:${LISTEN_PORT}`);
    while (!listens()) {
      if (this.forwarder?.exitCode !== null || Date.now() > endMs) throw new Error(`${way}: ${this.output}`);
      await sleep(50);
    }
  }
}

/** Whether a namespace sends on what is for others; if not, it loses it without a word. */
export function setForwarding(netns: Netns, on: boolean): void {
  netns.run('sh', '-c', `echo ${on ? 1 : 0} >/proc/sys/net/ipv4/ip_forward`);
}

function haproxyConfig(listen: string, target: string): string {
  return `global
  maxconn 1000
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen relay
  bind ${listen}
  server backend ${target}
`;
}

function nginxConfig(directory: string, listen: string, target: string): string {
  return `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
worker_processes 1;
${process.getuid?.() === 0 ? 'user root;' : ''}
pid ${join(directory, 'nginx.pid')};
error_log stderr crit;
events { worker_connections 1000; }
stream {
  server {
    listen ${listen};
    proxy_connect_timeout 10s;
    proxy_half_close on;
    proxy_pass ${target};
  }
}
`;
}
