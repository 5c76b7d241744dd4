/**
 * The forwarders that are measured, each on wires of its own between the clients' namespace and the servers': how it is
 * started, and where clients reach it.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Lab } from '../lab.ts';
import { unpace } from '../network.ts';
import { haproxyConfig, nginxStreamConfig } from '../peers.ts';
import { cliArguments } from '../servers.ts';

export const FORWARDER_NAMES = ['direct', 'forward', 'forward --sockets', 'haproxy', 'nginx stream', 'DNAT'] as const;
export type ForwarderName = (typeof FORWARDER_NAMES)[number];

export interface Forwarder {
  readonly name: string;
  readonly url: string;
  /** What runs; null where it is the kernel. */
  readonly child: ChildProcess | null;
}

const PORT = 80;
const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';

interface Wires {
  /** Interfaces in the forwarder's namespace. */
  readonly near: string;
  readonly far: string;
  /** Clients are .1 and the forwarder .2 of one network, servers .1 and the forwarder .2 of the other. */
  readonly clientNetwork: string;
  readonly serverNetwork: string;
}

/** `more`: further arguments for our own programs, `node`: for Node before them. */
export interface ForwarderSettings {
  readonly more?: readonly string[];
  readonly node?: readonly string[];
}

/** Starts the forwarder on its wires; `index` tells them from those of others. */
export async function startForwarder(
  lab: Lab,
  kind: ForwarderName,
  index: number,
  directory: string,
  { more = [], node = [] }: ForwarderSettings = {},
): Promise<Forwarder> {
  if (kind === 'direct') return joinDirectly(lab, index);
  const wires = connect(lab, index, kind !== 'forward');
  const listen = `${wires.clientNetwork}.2:${PORT}`;
  const backend = `${wires.serverNetwork}.1:${PORT}`;
  const place = { space: 'forwarder', core: lab.serverCore } as const;
  const pair = ['--listen', listen, '--backend', backend];
  const own = join(directory, `${index}`);
  mkdirSync(own);
  const start = (): ChildProcess | null => {
    switch (kind) {
      case 'forward': {
        const near = ['--device', `packet:${wires.near}`, '--address', `${wires.clientNetwork}.2/24`];
        const far = ['--device', `packet:${wires.far}`, '--address', `${wires.serverNetwork}.2/24`];
        // a line for every connection is not what the others are asked for
        const args = cliArguments('forward', [...pair, ...near, ...far, '--log-level', 'warn', ...more]);
        return lab.start(place, process.execPath, [...node, ...args]);
      }
      case 'forward --sockets':
        return lab.start(place, process.execPath, [
          ...node,
          ...cliArguments('forward', ['--sockets', ...pair, '--log-level', 'warn', ...more]),
        ]);
      case 'haproxy':
        writeFileSync(join(own, 'haproxy.cfg'), haproxyConfig(listen, backend));
        return lab.start(place, 'haproxy', ['-db', '-q', '-f', join(own, 'haproxy.cfg')]);
      case 'nginx stream': {
        const config = join(own, 'nginx.conf');
        const module = existsSync(STREAM_MODULE) ? STREAM_MODULE : undefined;
        writeFileSync(config, nginxStreamConfig(own, module, listen, backend));
        return lab.start({ ...place, breeds: true }, 'nginx', ['-e', 'stderr', '-p', own, '-c', config]);
      }
      case 'DNAT':
        translate(lab, wires, backend);
        return null;
    }
  };
  const child = start();
  await delay(SETTLE_MS);
  if (child !== null && child.exitCode !== null) throw new Error(`${kind} ended with ${child.exitCode}`);
  return { name: kind, url: `http://${listen}/`, child };
}

const SETTLE_MS = 1000;

/** Wires from the clients to the forwarder and on to the servers; without addresses where it has a stack of its own. */
function connect(lab: Lab, index: number, kernelHasAddresses: boolean): Wires {
  const clientNetwork = `10.80.${index}`;
  const serverNetwork = `10.81.${index}`;
  const near = `near${index}`;
  const far = `far${index}`;
  const addresses = (network: string) => (kernelHasAddresses ? [`${network}.2/24`] : []);
  lab.join(
    { space: 'client', name: near, addresses: [`${clientNetwork}.1/24`] },
    { space: 'forwarder', name: near, addresses: addresses(clientNetwork) },
  );
  lab.join(
    { space: 'server', name: far, addresses: [`${serverNetwork}.1/24`] },
    { space: 'forwarder', name: far, addresses: addresses(serverNetwork) },
  );
  for (const space of ['client', 'forwarder', 'server']) unpace(lab, space);
  return { near, far, clientNetwork, serverNetwork };
}

function joinDirectly(lab: Lab, index: number): Forwarder {
  const network = `10.82.${index}`;
  const name = `direct${index}`;
  lab.join(
    { space: 'client', name, addresses: [`${network}.1/24`] },
    { space: 'server', name, addresses: [`${network}.2/24`] },
  );
  for (const space of ['client', 'server']) unpace(lab, space);
  return { name: 'direct', url: `http://${network}.2:${PORT}/`, child: null };
}

/** The kernel's own forwarding with address translation both ways. */
function translate(lab: Lab, { near, far }: Wires, backend: string): void {
  lab.sh('forwarder', 'echo 1 >/proc/sys/net/ipv4/ip_forward');
  const rules = [
    'add table ip exonet',
    'add chain ip exonet in { type nat hook prerouting priority -100; }',
    'add chain ip exonet out { type nat hook postrouting priority 100; }',
    `add rule ip exonet in iifname "${near}" tcp dport ${PORT} dnat to ${backend}`,
    `add rule ip exonet out oifname "${far}" masquerade`,
  ];
  for (const rule of rules) lab.sh('forwarder', `nft '${rule}'`);
}
