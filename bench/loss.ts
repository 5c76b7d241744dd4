/**
 * `make bench-loss`: goodput over a wire that loses and delays, the kernel's TCP beside ours, with the same losses for both. The wire
 * is a user-space one between two interfaces, ../shared/tools/wirefault.c, which a checkout may have beside it. With --write
 * the kernel's figures become those that the simulation is held against (test/simulation/linux-goodput.json).
 */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArguments, readInteger, UsageError } from '../src/cli/arguments.ts';
import { CONGESTION_CONTROLS } from '../src/tcp/congestion/controls.ts';
import { Control } from './control.ts';
import { fail } from './fail.ts';
import { Lab } from './lab.ts';
import { assertMachine, chooseCores, ObstacleError, warnOfLoad } from './machine.ts';
import { scriptPath } from './servers.ts';
import { median } from './statistics.ts';

const HELP = `make bench-loss [ARGS='...']   or   node build/bench/loss.js [options]

Measures goodput over a wire that loses, the kernel's and ours (root, cc, ethtool).

  --control NAME   ${Object.keys(CONGESTION_CONTROLS).join(', ')} (default cubic)
  --loss LIST      percent, both ways (default 0.1,1,5,10,20)
  --rtt LIST       milliseconds (default 20)
  --rate LIST      Mbit/s (default 10,1000)
  --seeds N        of each (default 10)
  --lanes N        that many at a time (default 5)
  --write          the kernel's figures are what the simulation is held against`;

const ARGUMENTS = {
  control: { type: 'string', default: 'cubic' },
  loss: { type: 'string', default: '0.1,1,5,10,20' },
  rtt: { type: 'string', default: '20' },
  rate: { type: 'string', default: '10,1000' },
  seeds: { type: 'string', default: '10' },
  lanes: { type: 'string', default: '5' },
  write: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h' },
} as const;

const WIRE_SOURCE = fileURLToPath(new URL('../../../shared/tools/wirefault.c', import.meta.url));
const RESULT = fileURLToPath(new URL('../../test/simulation/linux-goodput.json', import.meta.url));

// As in the simulated table.
const BYTES = 16 * 1024 * 1024;
const SECONDS = 30;
const QUEUE_FRAMES = 1_000_000;
const PATIENCE_MS = 1000 * (SECONDS + 30);
const FIRST_SEED = 1;

const NETWORK = '10.92.0.0/24';
const RECEIVER_ADDRESS = '10.92.0.2';
/** What Linux calls our controls. */
const KERNEL_NAMES: Readonly<Record<string, string>> = { cubic: 'cubic', newreno: 'reno', bbr: 'bbr' };
const PARTIES = [
  { name: 'linux', address: '10.92.0.1' },
  { name: 'exonet', address: '10.92.0.3' },
] as const;
type Party = (typeof PARTIES)[number];

interface Cell {
  readonly rateMbits: number;
  readonly rttMs: number;
  readonly lossPercent: number;
}

async function main(args: readonly string[]): Promise<void> {
  const values = parseArguments(args, ARGUMENTS);
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  const control = values.control ?? '';
  if (KERNEL_NAMES[control] === undefined) throw new UsageError(`--control ${control}: ${Object.keys(KERNEL_NAMES)}`);
  const seeds = readInteger('seeds', values.seeds, 1, 1000);
  const lanes = readInteger('lanes', values.lanes, 1, 50);
  const cells = readList('rate', values.rate).flatMap((rateMbits) =>
    readList('rtt', values.rtt).flatMap((rttMs) =>
      readList('loss', values.loss).map((lossPercent) => ({ rateMbits, rttMs, lossPercent })),
    ),
  );
  assertMachine(false);
  if (!existsSync(WIRE_SOURCE)) throw new ObstacleError(`The bench needs the wire ${WIRE_SOURCE}.`);
  const directory = mkdtempSync(join(tmpdir(), 'exonet-loss-'));
  const wire = join(directory, 'wirefault');
  const [firstCore, secondCore] = chooseCores();
  const names = Array.from({ length: lanes }, (_, i) => `${i}`);
  const spaces = names.flatMap((name) => [`sender${name}`, `wire${name}`, `receiver${name}`]);
  const lab = await Lab.create(spaces, firstCore, secondCore);
  const remove = (): Promise<void> => lab.remove().finally(() => rmSync(directory, { recursive: true, force: true }));
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
    process.once(signal, () => void remove().finally(() => process.exit(1)));
  }
  try {
    const compiled = spawnSync('cc', ['-O2', '-w', '-o', wire, WIRE_SOURCE], { encoding: 'utf8' });
    if (compiled.status !== 0) throw new ObstacleError(`The wire does not compile: ${compiled.stderr}`);
    const made = await Promise.all(names.map((name) => Lane.create(lab, name, control, wire)));
    await measure(made, cells, seeds, control, values.write === true);
  } finally {
    await remove();
  }
}

function readList(name: string, text: string | undefined): number[] {
  const values = (text ?? '').split(',').map(Number);
  if (values.some((value) => !(value >= 0))) throw new UsageError(`--${name} ${text}: numbers, with commas between`);
  return values;
}

/** A sender, a wire and a receiver, each in a namespace; both senders are there, and one is used at a time. */
class Lane {
  private readonly lab: Lab;
  private readonly name: string;
  private readonly wire: string;
  /** All of a lane is on one processor. */
  private readonly core: number;

  private constructor(lab: Lab, name: string, wire: string) {
    this.lab = lab;
    this.name = name;
    this.wire = wire;
    this.core = Number(name) % 2 === 0 ? lab.serverCore : lab.clientCore;
  }

  static async create(lab: Lab, name: string, control: string, wire: string): Promise<Lane> {
    const sender = `sender${name}`;
    const middle = `wire${name}`;
    const receiver = `receiver${name}`;
    const [kernel, stack] = PARTIES;
    lab.join(
      { space: sender, name: 'eth0', addresses: [`${kernel.address}/24`] },
      { space: middle, name: 'left', addresses: [] },
    );
    lab.join(
      { space: receiver, name: 'eth0', addresses: [`${RECEIVER_ADDRESS}/24`] },
      { space: middle, name: 'right', addresses: [] },
    );
    for (const space of [sender, receiver]) {
      lab.sh(space, 'ethtool -K eth0 tx off tso off gso off gro off >/dev/null');
      // Nothing is learnt from the run before.
      lab.sh(space, 'echo 1 >/proc/sys/net/ipv4/tcp_no_metrics_save');
    }
    lab.sh(sender, `ip route replace ${NETWORK} dev eth0 src ${kernel.address} congctl ${KERNEL_NAMES[control]}`);
    const lane = new Lane(lab, name, wire);
    const place = { space: sender, core: lane.core, channel: true } as const;
    const script = scriptPath('loss-end.js');
    const senders = [
      ['kernel', kernel.address],
      ['stack', 'eth0', `${stack.address}/24`, control],
    ].map((args) => new Control(args[0] ?? '', lab.start(place, process.execPath, [script, ...args])));
    await Promise.all(senders.map((one) => one.ready()));
    return lane;
  }

  /** Mbit/s of one stream. */
  async run({ rateMbits, rttMs, lossPercent }: Cell, { address }: Party, seed: number): Promise<number> {
    const faults = [`loss=${lossPercent}`, `delay_ms=${rttMs / 2}`, `rate_mbit=${rateMbits}`, `queue=${QUEUE_FRAMES}`];
    const place = { space: `wire${this.name}`, core: this.core, quiet: true } as const;
    const wire = this.lab.start(place, this.wire, ['left', 'right', `seed=${seed}`, ...faults]);
    try {
      const receiver = { space: `receiver${this.name}`, core: this.core, patienceMs: PATIENCE_MS } as const;
      const args = [scriptPath('loss-end.js'), 'receive', address, `${BYTES}`, `${SECONDS}`];
      return Number(await this.lab.run(receiver, process.execPath, args)) / 1e6;
    } finally {
      await end(wire);
    }
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
}

async function measure(
  lanes: readonly Lane[],
  cells: readonly Cell[],
  seeds: number,
  control: string,
  writes: boolean,
) {
  const warning = warnOfLoad();
  if (warning !== undefined) console.log(warning);
  console.log(`${control}: medians of ${seeds} seeds; ${BYTES / 2 ** 20} MiB or ${SECONDS} s, Linux ${release()}.`);
  const results = [];
  for (const cell of cells) {
    const waiting = Array.from({ length: seeds }, (_, i) => FIRST_SEED + i);
    const rates: Record<string, number[]> = {};
    const work = async (lane: Lane): Promise<void> => {
      for (let seed = waiting.shift(); seed !== undefined; seed = waiting.shift()) {
        for (const party of PARTIES) {
          const rate = await lane.run(cell, party, seed);
          rates[party.name] = [...(rates[party.name] ?? []), rate];
        }
      }
    };
    await Promise.all(lanes.map(work));
    const { linux = [], exonet = [] } = rates;
    const { rateMbits, rttMs, lossPercent } = cell;
    const medians = `linux ${median(linux).toPrecision(3)}, exonet ${median(exonet).toPrecision(3)} Mbit/s`;
    const ratio = (median(exonet) / median(linux)).toFixed(2);
    console.log(`${rateMbits} Mbit/s, ${rttMs} ms, loss ${lossPercent}%: ${medians}, ${ratio}x`);
    for (const [name, all] of Object.entries({ linux, exonet })) {
      console.log(`  ${name}: ${all.map((rate) => rate.toPrecision(3)).join(' ')}`);
    }
    results.push({ control, ...cell, mbits: linux.map((rate) => Number(rate.toPrecision(3))) });
  }
  if (!writes) return;
  writeFileSync(RESULT, `${JSON.stringify({ kernel: release(), cells: results }, null, 2)}\n`);
  console.log(`Written: ${RESULT}`);
}

main(process.argv.slice(2)).catch((error: unknown) => fail('bench-loss', error));
