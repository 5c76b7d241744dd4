/** The servers that are measured: how each is started, and where it is reached. */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Control } from './control.ts';
import type { Document } from './documents.ts';
import type { Lab, Place } from './lab.ts';
import { AS_FOUND_SERVER_ADDRESS, SOCKET_LINK, SOCKET_SERVER_ADDRESS, UNPACED_SERVER_ADDRESS } from './network.ts';
import type { ServerName } from './options.ts';
import { lighttpdConfig, nginxConfig, OPEN_FILE_CACHE } from './peers.ts';

export interface RunningServer {
  readonly name: string;
  /** `http://10.90.0.2:80/` */
  readonly url: string;
  readonly child: ChildProcess;
  /** The process that was started; nginx has its workers below it. */
  readonly pid: number;
  /** Servers of our own answer questions. */
  readonly control: Control | null;
  /** The server has one reply for all, and is to be told which. */
  readonly oneReply: boolean;
  /** The interface that its frames pass, as the kernel counts them. */
  readonly link: { readonly space: string; readonly name: string };
}

/** A server on a TAP device; the stack has the address .2 of its network, the kernel's end .1. */
export interface TapServer {
  readonly name: string;
  readonly script: string;
  readonly device: string;
  readonly network: string;
  readonly oneReply: boolean;
  /** More arguments for the program. */
  readonly switches?: readonly string[];
}

const TAP_SERVERS: Readonly<Record<'cheetah' | 'ceiling' | 'fixed', TapServer>> = {
  cheetah: { name: 'cheetah', script: 'cheetah-server.js', device: 'exo0', network: '10.90.0', oneReply: false },
  ceiling: { name: 'ceiling', script: 'ceiling.js', device: 'exo1', network: '10.90.1', oneReply: true },
  fixed: { name: 'fixed', script: 'fixed-server.js', device: 'exo2', network: '10.90.2', oneReply: true },
};

const NODE_PORT = 8080;
const SIRV_PORT = 8081;
const LIGHTTPD_PORT = 8082;
const SOCKETS_PORT = 8083;

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

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
      return startTapServer(lab, TAP_SERVERS[name], documents);
    case 'node':
      return startScript(lab, name, 'node-http.js', documents, NODE_PORT);
    case 'sirv':
      return startScript(lab, name, 'node-sirv.js', documents, SIRV_PORT);
    case 'sockets':
      return startSockets(lab, documents);
    case 'nginx':
      return startNginx(lab, name, documents, join(directory, name), SOCKET_SERVER_ADDRESS, '');
    case 'nginx-tuned':
      return startNginx(lab, name, documents, join(directory, name), UNPACED_SERVER_ADDRESS, OPEN_FILE_CACHE);
    case 'nginx-as-found':
      return startNginx(lab, name, documents, join(directory, name), AS_FOUND_SERVER_ADDRESS, '');
    case 'lighttpd':
      return startLighttpd(lab, documents, join(directory, name));
  }
}

/** Has the server serve the document, closing the connection behind it or not, and returns its URL. */
export async function offer(server: RunningServer, document: Document, closes = false): Promise<string> {
  if (server.oneReply) await server.control?.select(document.name, closes);
  return `${server.url}${document.name}`;
}

export function scriptPath(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** The program as people run it. */
export function cliArguments(command: string, args: readonly string[]): string[] {
  return [CLI, command, ...args];
}

export async function startTapServer(lab: Lab, server: TapServer, documents: string): Promise<RunningServer> {
  const { name, script, device, network, oneReply, switches = [] } = server;
  const place = { space: 'client', core: lab.serverCore, channel: true } as const;
  const args = [scriptPath(script), documents, device, `${network}.2/24`, `${network}.1/24`, ...switches];
  const child = lab.start(place, process.execPath, args);
  const control = new Control(name, child);
  await control.ready();
  const link = { space: 'client', name: device };
  return { name, url: `http://${network}.2/`, child, pid: pidOf(child), control, oneReply, link };
}

/** A server on the kernel's sockets: the command, and where it listens. */
export function startSocketServer(
  lab: Lab,
  name: string,
  command: string,
  args: readonly string[],
  listen: { readonly address: string; readonly port: number },
  more: Partial<Place> = {},
): RunningServer {
  const child = lab.start({ space: 'server', core: lab.serverCore, ...more }, command, args);
  const url = `http://${listen.address}:${listen.port}/`;
  return { name, url, child, pid: pidOf(child), control: null, oneReply: false, link: SOCKET_LINK };
}

function startScript(lab: Lab, name: string, script: string, documents: string, port: number): RunningServer {
  const address = SOCKET_SERVER_ADDRESS;
  const args = [scriptPath(script), documents, address, `${port}`];
  return startSocketServer(lab, name, process.execPath, args, { address, port });
}

/** Cheetah's own HTTP over the kernel's TCP. */
function startSockets(lab: Lab, documents: string): RunningServer {
  const port = SOCKETS_PORT;
  const args = cliArguments('cheetah', ['--sockets', '--root', documents, '--port', `${port}`]);
  const listen = { address: SOCKET_SERVER_ADDRESS, port };
  return startSocketServer(lab, 'sockets', process.execPath, args, listen);
}

export function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error(`cannot start ${child.spawnfile}`);
  return child.pid;
}

/** nginx on every address of a namespace, with its files kept open, on the processor of `place`. */
export function startNginxEverywhere(lab: Lab, documents: string, directory: string, more: Partial<Place>) {
  mkdirSync(directory, { recursive: true });
  const config = join(directory, 'nginx.conf');
  const site = `${OPEN_FILE_CACHE}\n  server { listen 80 backlog=4096; root ${documents}; }`;
  writeFileSync(config, nginxConfig(directory, site));
  const args = ['-e', 'stderr', '-p', directory, '-c', config];
  return startSocketServer(
    lab,
    'nginx',
    'nginx',
    args,
    { address: SOCKET_SERVER_ADDRESS, port: 80 },
    { ...more, breeds: true },
  );
}

function startNginx(
  lab: Lab,
  name: string,
  documents: string,
  directory: string,
  address: string,
  more: string,
): RunningServer {
  const listen = { address, port: 80 };
  mkdirSync(directory, { recursive: true });
  const config = join(directory, 'nginx.conf');
  const site = `${more}
  server {
    listen ${listen.address}:${listen.port} backlog=4096;
    root ${documents};
  }`;
  writeFileSync(config, nginxConfig(directory, site));
  const args = ['-e', 'stderr', '-p', directory, '-c', config];
  return startSocketServer(lab, name, 'nginx', args, listen, { breeds: true });
}

function startLighttpd(lab: Lab, documents: string, directory: string): RunningServer {
  const listen = { address: SOCKET_SERVER_ADDRESS, port: LIGHTTPD_PORT };
  mkdirSync(directory, { recursive: true });
  const config = join(directory, 'lighttpd.conf');
  writeFileSync(config, lighttpdConfig(documents, listen));
  return startSocketServer(lab, 'lighttpd', 'lighttpd', ['-D', '-f', config], listen);
}
