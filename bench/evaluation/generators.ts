/** Load generators under one command each: what they are told, and how their figures are read. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Report } from '../../src/servers/webswamp/report.ts';
import type { Lab } from '../lab.ts';
import { Load } from '../load.ts';
import type { CpuProfile } from '../profile.ts';
import { cliArguments } from '../servers.ts';
import { profileInto, summarize } from './buckets.ts';
import type { Context } from './context.ts';
import type { ProfileSummary } from './shapes.ts';
import type { Mode } from './sweep.ts';

/** What is asked for, and how it is reached by the kernel's sockets and from webswamp's own device. */
export interface Target {
  readonly path: string;
  readonly socketsUrl: string;
  /** The namespace whose kernel is the other end of webswamp's device. */
  readonly swampSpace: string;
  readonly swampUrl: string;
}

export interface Generated {
  readonly requests: number;
  readonly errors: number;
  readonly requestsPerSecond: number;
}

export interface Generator {
  readonly name: string;
  /** What it can do. */
  readonly modes: readonly Mode[];
  /**
   * Whether it loads the server for `WARM_UP_SECONDS` before the seconds that it measures. One that has no such option is run
   * for as long beforehand: the server, and the kernel, are then as warm for it as for the others.
   */
  readonly warmsUp: boolean;
  run(target: Target, mode: Mode, seconds: number): Promise<Generated>;
}

/** Load of every generator that nothing is measured of. */
export const WARM_UP_SECONDS = 2;

const BOTH: readonly Mode[] = ['keep-alive', 'close'];
const PATIENCE_MS = 20_000;
/** webswamp says with it that it was the limit itself. */
const EXIT_SATURATED = 3;
const SWAMP_DEVICE = 'swamp0';
const SWAMP_NETWORK = '10.91.0';
/** Address by which webswamp reaches the kernel at the other end of its device. */
export const SWAMP_HOST_ADDRESS = `${SWAMP_NETWORK}.1`;
/** Last parts of webswamp's addresses, one for each run. */
const FIRST_SWAMP_HOST = 2;
const SWAMP_HOSTS = 250;

export class Generators {
  private readonly lab: Lab;
  private readonly directory: string;
  private readonly connections: number;
  private runs = 0;

  constructor(lab: Lab, directory: string, connections: number) {
    this.lab = lab;
    this.directory = directory;
    this.connections = connections;
  }

  all(): Generator[] {
    return [
      this.webswamp('webswamp', []),
      {
        name: 'webswamp --sockets',
        modes: BOTH,
        warmsUp: true,
        run: (target, mode, seconds) => this.swampSockets(target, mode, seconds),
      },
      { name: 'wrk', modes: BOTH, warmsUp: false, run: (target, mode, seconds) => this.wrk(target, mode, seconds) },
      {
        name: 'h2load',
        modes: ['keep-alive'],
        warmsUp: true,
        run: (target, _mode, seconds) => this.h2load(target, seconds),
      },
      { name: 'ab', modes: BOTH, warmsUp: false, run: (target, mode, seconds) => this.ab(target, mode, seconds) },
      {
        name: 'autocannon',
        modes: BOTH,
        warmsUp: true,
        run: (target, mode, seconds) => this.autocannon(target, mode, seconds),
      },
    ];
  }

  /** webswamp on a device of its own, with these switches. */
  webswamp(name: string, switches: readonly string[]): Generator {
    return {
      name,
      modes: BOTH,
      warmsUp: true,
      run: (target, mode, seconds) => this.swamp(target, [...modeSwitches(mode), ...switches], seconds),
    };
  }

  /** The whole report of webswamp on a device of its own. */
  async swamp(
    target: Target,
    switches: readonly string[],
    seconds: number,
    node: readonly string[] = [],
  ): Promise<Report> {
    // A process has timestamps of its own, which a server that remembers the last one's connections in TIME-WAIT may take for
    // older ones (RFC 6191), and refuse. The kernel's connections have one clock for all processes.
    const host = FIRST_SWAMP_HOST + (this.runs % SWAMP_HOSTS);
    const network = [
      ...['--device', `tap:${SWAMP_DEVICE}`, '--address', `${SWAMP_NETWORK}.${host}/24`],
      ...['--host-address', `${SWAMP_HOST_ADDRESS}/24`, '--gateway', SWAMP_HOST_ADDRESS],
    ];
    return this.runSwamp(target.swampSpace, target.swampUrl, [...network, ...switches], seconds, node);
  }

  /** What a generator did for the measured seconds, warm-up over, and what the cores did in their midst. */
  async measure(context: Context, generator: Generator, target: Target, mode: Mode) {
    const { seconds } = context.options;
    if (!generator.warmsUp) await generator.run(target, mode, WARM_UP_SECONDS);
    const action = () => generator.run(target, mode, seconds);
    const { result, time } = await context.timedInside(seconds, action, generator.warmsUp ? WARM_UP_SECONDS : 0);
    if (result.requests === 0) throw new Error(`${generator.name} got no answer, ${result.errors} errors`);
    return { result, time };
  }

  /** Where the time of webswamp's process goes when it is warm. */
  async summarizeProfile(context: Context, target: Target, mode: Mode, what: string): Promise<ProfileSummary> {
    const file = join(this.directory, `swamp-${this.runs++}.cpuprofile`);
    const seconds = context.options.seconds + 1;
    const action = () => this.swamp(target, modeSwitches(mode), seconds, profileInto(file));
    const { time } = await context.timedInside(seconds, action, WARM_UP_SECONDS);
    const profile = JSON.parse(readFileSync(file, 'utf8')) as CpuProfile;
    return summarize(what, profile, time, 'client');
  }

  private swampSockets(target: Target, mode: Mode, seconds: number): Promise<Report> {
    return this.runSwamp('client', target.socketsUrl, ['--sockets', ...modeSwitches(mode)], seconds, []);
  }

  private async runSwamp(
    space: string,
    url: string,
    switches: readonly string[],
    seconds: number,
    node: readonly string[],
  ): Promise<Report> {
    const file = join(this.directory, `swamp-${this.runs++}.json`);
    const times = ['-d', `${seconds}s`, '--warm-up', `${WARM_UP_SECONDS}s`];
    const args = [url, '-c', `${this.connections}`, ...times, '--json', file, ...switches];
    const place = { ...this.place(space, seconds), accepts: [EXIT_SATURATED] };
    await this.lab.run(place, process.execPath, [...node, ...cliArguments('webswamp', args)]);
    return JSON.parse(readFileSync(file, 'utf8')) as Report;
  }

  private wrk(target: Target, mode: Mode, seconds: number): Promise<Generated> {
    const settings = { connections: this.connections, closes: mode === 'close' };
    return new Load(this.lab, this.directory, settings).run(target.socketsUrl, seconds);
  }

  private async h2load(target: Target, seconds: number): Promise<Generated> {
    const times = ['-D', `${seconds}`, `--warm-up-time=${WARM_UP_SECONDS}`];
    const args = ['--h1', '-t1', '-c', `${this.connections}`, ...times, target.socketsUrl];
    const output = await this.lab.run(this.place('client', seconds), 'h2load', args);
    const done = /(\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored/.exec(output);
    const speed = /finished in [^,]+, ([\d.]+) req\/s/.exec(output)?.[1];
    return read('h2load', output, done?.[2], speed, Number(done?.[3]) + Number(done?.[4]));
  }

  private async ab(target: Target, mode: Mode, seconds: number): Promise<Generated> {
    const keep = mode === 'close' ? [] : ['-k'];
    const limits = ['-t', `${seconds}`, '-n', '100000000', '-c', `${this.connections}`];
    const output = await this.lab.run({ ...this.place('client', seconds), quiet: true }, 'ab', [
      ...keep,
      ...['-q', '-r', ...limits],
      target.socketsUrl,
    ]);
    const requests = /^Complete requests:\s+(\d+)/m.exec(output)?.[1];
    const speed = /^Requests per second:\s+([\d.]+)/m.exec(output)?.[1];
    return read('ab', output, requests, speed, Number(/^Failed requests:\s+(\d+)/m.exec(output)?.[1]));
  }

  private async autocannon(target: Target, mode: Mode, seconds: number): Promise<Generated> {
    const program = createRequire(import.meta.url).resolve('autocannon');
    const reconnect = mode === 'close' ? ['-H', 'Connection=close'] : [];
    const connections = ['-c', `${this.connections}`];
    const warmUp = ['--warmup', '[', ...connections, '-d', `${WARM_UP_SECONDS}`, ']'];
    const args = [program, '-j', ...connections, '-d', `${seconds}`, ...warmUp, ...reconnect, target.socketsUrl];
    const output = await this.lab.run({ ...this.place('client', seconds), quiet: true }, process.execPath, args);
    const result = JSON.parse(/^\{.*\}$/m.exec(output)?.[0] ?? '{}') as Partial<AutocannonResult>;
    const requests = result.requests?.total;
    const speed = (requests ?? Number.NaN) / (result.duration ?? Number.NaN);
    return read('autocannon', output, `${requests}`, `${speed}`, (result.errors ?? 0) + (result.non2xx ?? 0));
  }

  private place(space: string, seconds: number) {
    return { space, core: this.lab.clientCore, patienceMs: (WARM_UP_SECONDS + seconds) * 1000 + PATIENCE_MS };
  }
}

interface AutocannonResult {
  readonly duration: number;
  readonly errors: number;
  readonly non2xx: number;
  readonly requests: { readonly total: number };
}

function modeSwitches(mode: Mode): string[] {
  return mode === 'close' ? ['--requests-per-connection', '1'] : [];
}

function read(name: string, output: string, requests: string | undefined, speed: string | undefined, errors: number) {
  const generated = { requests: Number(requests), errors, requestsPerSecond: Number(speed) };
  if (!(generated.requests > 0) || !(generated.requestsPerSecond > 0)) {
    throw new Error(`${name} does not say what it did: ${output}`);
  }
  return generated;
}

/**
 * Makes webswamp's device beforehand, so that the kernel's TCP has the unpaced congestion control towards it too: a route in
 * a table of its own, since the one that comes with the address is made anew with it.
 */
export function prepareSwampDevice(lab: Lab, space: string): void {
  const network = `${SWAMP_NETWORK}.0/24 dev ${SWAMP_DEVICE}`;
  lab.sh(space, `ip tuntap add dev ${SWAMP_DEVICE} mode tap && ip link set ${SWAMP_DEVICE} up`);
  lab.sh(space, `ip route add ${network} table 100 congctl cubic || ip route add ${network} table 100 congctl reno`);
  lab.sh(space, 'ip rule add pref 100 lookup 100');
}
