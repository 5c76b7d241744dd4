/** What a reader has to know of the machine to make sense of the figures. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { searchPath } from '../machine.ts';

export interface MachineDescription {
  readonly cpu: string;
  readonly processors: number;
  readonly cores: string;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly v8: string;
  readonly hypervisor: string;
  readonly congestionControl: string;
  readonly receiveSteering: string;
  readonly threadedNapi: string;
  readonly mitigations: readonly string[];
  readonly clockSource: string;
  readonly loadAverage: string;
  readonly peers: Readonly<Record<string, string>>;
}

/** Commands, how they say their version, and the Debian packages they come from. */
const COMMANDS: readonly (readonly [command: string, args: readonly string[], debianPackage: string])[] = [
  ['nginx', ['-v'], 'nginx libnginx-mod-stream'],
  ['lighttpd', ['-v'], 'lighttpd'],
  ['haproxy', ['-v'], 'haproxy'],
  ['wrk', ['-v'], 'wrk'],
  ['h2load', ['--version'], 'nghttp2-client'],
  ['ab', ['-V'], 'apache2-utils'],
  ['nft', ['--version'], 'nftables'],
  ['perf', ['--version'], 'linux-perf'],
];
const MISSING = 'not installed';
const NPM_PEERS = ['sirv', 'autocannon'];

export function describeMachine(serverCore: number, clientCore: number): MachineDescription {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    processors: cpus().length,
    cores: `servers and forwarders ${serverCore}, load ${clientCore}`,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${release()} ${read('/proc/sys/kernel/version')}`,
    node: process.versions.node,
    v8: process.versions.v8,
    hypervisor: firstMatch('/proc/cpuinfo', /\bhypervisor\b/) ? 'virtual machine' : 'none seen',
    congestionControl: `${read('/proc/sys/net/ipv4/tcp_congestion_control')} in the root namespace; the peers have cubic (or reno where there is none)`,
    receiveSteering: receiveSteering(),
    threadedNapi: 'off: the interfaces are made anew, and nothing turns it on',
    mitigations: readMitigations(),
    clockSource: read('/sys/devices/system/clocksource/clocksource0/current_clocksource'),
    loadAverage: read('/proc/loadavg'),
    peers: {
      ...Object.fromEntries(COMMANDS.map(([command, args]) => [command, versionOf(command, args)])),
      ...npmPeers(),
    },
  };
}

/** A sentence on what the evaluation would like to have and goes on without. */
export function warnOfMissingPeers(): string | undefined {
  const missing = COMMANDS.filter(([command, args]) => versionOf(command, args) === MISSING);
  if (missing.length === 0) return undefined;
  const commands = missing.map(([command]) => command).join(', ');
  return `Without ${commands}; they come with apt-get install ${missing.map(([, , debianPackage]) => debianPackage).join(' ')}.`;
}

function npmPeers(): Record<string, string> {
  return Object.fromEntries(
    NPM_PEERS.map((name) => {
      const text = read(new URL(`../../../node_modules/${name}/package.json`, import.meta.url));
      return [name, /"version":\s*"([^"]+)"/.exec(text)?.[1] ?? MISSING];
    }),
  );
}

function versionOf(command: string, args: readonly string[]): string {
  const { stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: 5000,
    env: { ...process.env, PATH: searchPath() },
  });
  if (error !== undefined) return MISSING;
  return /\d+\.\d+[\w.+-]*/.exec(`${stdout}${stderr}`)?.[0] ?? 'installed';
}

function receiveSteering(): string {
  const entries = read('/proc/sys/net/core/rps_default_mask') || '0';
  return /^[0,]*$/.test(entries) ? 'off (RPS default mask 0)' : `RPS default mask ${entries}`;
}

function readMitigations(): string[] {
  const directory = '/sys/devices/system/cpu/vulnerabilities';
  try {
    return readdirSync(directory)
      .map((name) => `${name}: ${read(`${directory}/${name}`)}`)
      .filter((line) => !line.endsWith('Not affected'));
  } catch {
    return [];
  }
}

function firstMatch(file: string, pattern: RegExp): boolean {
  return pattern.test(read(file));
}

function read(file: string | URL): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return '';
  }
}
