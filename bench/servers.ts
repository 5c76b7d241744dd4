/** The servers that are measured: how each is started, and where it is reached. */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Control } from './control.ts';
import type { Document } from './documents.ts';
import { type Lab, SOCKET_SERVER_ADDRESS, UNPACED_SERVER_ADDRESS } from './lab.ts';
import type { ServerName } from './options.ts';

export interface RunningServer {
  readonly name: ServerName;
  /** `http://10.90.0.2:80/` */
  readonly url: string;
  /** The process that was started; nginx has its workers below it. */
  readonly pid: number;
  /** Servers of our own answer questions. */
  readonly control: Control | null;
  /** The server has one reply for all, and is to be told which. */
  readonly oneReply: boolean;
}

/** Networks of the TAP devices; the stack has .2, the kernel's end .1. */
const TAP_SERVERS = {
  cheetah: { script: 'cheetah-server.js', device: 'exo0', network: '10.90.0', oneReply: false },
  ceiling: { script: 'ceiling.js', device: 'exo1', network: '10.90.1', oneReply: true },
  fixed: { script: 'fixed-server.js', device: 'exo2', network: '10.90.2', oneReply: true },
} as const;

const NGINX_PORT = 80;
const NODE_PORT = 8080;

/** Starts a server over `documents`; `directory` is for whatever else it needs. */
export async function startServer(
  lab: Lab,
  name: ServerName,
  documents: string,
  directory: string,
): Promise<RunningServer> {
  switch (name) {
    case 'cheetah':
    case 'ceiling':
    case 'fixed':
      return startTapServer(lab, name, documents);
    case 'node':
      return startNode(lab, documents);
    case 'nginx':
      return startNginx(lab, name, documents, join(directory, name), SOCKET_SERVER_ADDRESS, '');
    case 'nginx-tuned':
      return startNginx(lab, name, documents, join(directory, name), UNPACED_SERVER_ADDRESS, KEEP_FILES_OPEN);
  }
}

/** Has the server serve the document, and returns its URL. */
export async function offer(server: RunningServer, document: Document): Promise<string> {
  if (server.oneReply) await server.control?.select(document.name);
  return `${server.url}${document.name}`;
}

export function scriptPath(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

async function startTapServer(lab: Lab, name: keyof typeof TAP_SERVERS, documents: string): Promise<RunningServer> {
  const { script, device, network, oneReply } = TAP_SERVERS[name];
  const place = { side: 'client', core: lab.serverCore, channel: true } as const;
  const args = [scriptPath(script), documents, device, `${network}.2/24`, `${network}.1/24`];
  const child = lab.start(place, process.execPath, args);
  const control = new Control(name, child);
  await control.ready();
  return { name, url: `http://${network}.2/`, pid: pidOf(child), control, oneReply };
}

function startNode(lab: Lab, documents: string): RunningServer {
  const args = [scriptPath('node-http.js'), documents, SOCKET_SERVER_ADDRESS, `${NODE_PORT}`];
  const child = lab.start({ side: 'server', core: lab.serverCore }, process.execPath, args);
  const url = `http://${SOCKET_SERVER_ADDRESS}:${NODE_PORT}/`;
  return { name: 'node', url, pid: pidOf(child), control: null, oneReply: false };
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error(`cannot start ${child.spawnfile}`);
  return child.pid;
}

const KEEP_FILES_OPEN = 'open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s;';

function startNginx(
  lab: Lab,
  name: ServerName,
  documents: string,
  directory: string,
  address: string,
  more: string,
): RunningServer {
  mkdirSync(directory);
  const config = join(directory, 'nginx.conf');
  writeFileSync(config, nginxConfig(documents, directory, address, more));
  const place = { side: 'server', core: lab.serverCore, breeds: true } as const;
  const child = lab.start(place, 'nginx', ['-e', 'stderr', '-p', directory, '-c', config]);
  return { name, url: `http://${address}/`, pid: pidOf(child), control: null, oneReply: false };
}

function nginxConfig(documents: string, directory: string, address: string, more: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
${process.getuid?.() === 0 ? 'user root;' : ''}
pid ${join(directory, 'nginx.pid')};
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_timeout 3600s;
  keepalive_requests 1000000000;
  default_type application/octet-stream;
  ${more}
  ${temporary.map((kind) => `${kind}_temp_path ${join(directory, kind)};`).join('\n  ')}
  server {
    listen ${address}:${NGINX_PORT};
    root ${documents};
  }
}
`;
}
