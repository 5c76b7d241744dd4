/**
 * `make bench-stack`: TCP by itself. Two hosts in one process, joined by a simulated link under virtual time, with no kernel
 * between them: segments a second that one core processes, where the nanoseconds of a segment go, what is allocated for it, and
 * how long the input of a segment takes that was expected.
 */
import { Session } from 'node:inspector';
import { parseArguments, readInteger } from '../../src/cli/arguments.ts';
import { inlineAcrossLayers } from '../../src/runtime/engine.ts';
import { fail } from '../fail.ts';
import { HeapMeter } from '../heap-meter.ts';
import { warnOfLoad } from '../machine.ts';
import { type CpuProfile, roomsOf } from '../profile.ts';
import { timeInput } from './input.ts';
import { DirectRig, type Kind, TransferRig } from './transfer.ts';

const HELP = `make bench-stack [ARGS='...']   or   node build/bench/stack/main.js [options]

Measures TCP across a simulated link, without a kernel: both ends on one core.

  --seconds N      of each measurement (default 3)`;

/** The bar of the project: input of a segment that was expected. */
const LIMIT_NS = 1000;
const WARM_UP_SECONDS = 2;
const WARM_SEGMENTS = 300_000;
const INPUT_ROUNDS = 2000;
const CASES: readonly (readonly [title: string, kind: Kind, offload: boolean])[] = [
  ['bulk, 1448 bytes a segment, checksums made here', 'bulk', false],
  ['bulk, super-frames, checksums left to the device', 'bulk', true],
  ['ping-pong of one byte, checksums left to the device', 'ping-pong', true],
];

/** Sends a command to the engine's inspector, which answers at once. */
function post<Result>(session: Session, method: string, parameters: object = {}): Result {
  let result: unknown;
  session.post(method, parameters, (error, value) => {
    if (error !== null) throw error;
    result = value;
  });
  return result as Result;
}

/** What the stack allocates for a segment, across a link that allocates nothing. */
function measureAllocation(kind: Kind, offload: boolean): void {
  const rig = new DirectRig(kind, offload);
  rig.runSegments(WARM_SEGMENTS);
  const heap = new HeapMeter();
  const before = { segments: rig.segments, turns: rig.turns };
  heap.start();
  rig.runSegments(WARM_SEGMENTS);
  const bytes = heap.stop();
  const segments = rig.segments - before.segments;
  const turns = rig.turns - before.turns;
  rig.close();
  console.log(
    `  ${(bytes / segments).toFixed(1)} bytes allocated for a segment, ${(bytes / turns).toFixed(1)} for a turn (without the simulated link)`,
  );
}

function measure(session: Session, title: string, kind: Kind, offload: boolean, seconds: number): void {
  const rig = new TransferRig(kind, offload);
  rig.run(WARM_UP_SECONDS);
  const before = { segments: rig.segments, payloadBytes: rig.payloadBytes, cpu: process.cpuUsage() };
  rig.run(seconds);
  const cpu = process.cpuUsage(before.cpu);
  const segments = rig.segments - before.segments;
  const nsEach = ((cpu.user + cpu.system) * 1000) / segments;
  const megabytes = (rig.payloadBytes - before.payloadBytes) / 2 ** 20;
  console.log(`\n${title}`);
  console.log(
    `  ${Math.round(1e9 / nsEach)} segments/s on one core, both ends and the link: ${Math.round(nsEach)} ns each; ` +
      `${(megabytes / ((cpu.user + cpu.system) / 1e6)).toFixed(0)} MiB/s`,
  );
  profile(session, rig, seconds, nsEach);
  rig.close();
  measureAllocation(kind, offload);
}

function profile(session: Session, rig: TransferRig, seconds: number, nsEach: number): void {
  post(session, 'Profiler.setSamplingInterval', { interval: 200 });
  post(session, 'Profiler.start');
  rig.run(seconds);
  const time = post<{ profile: CpuProfile }>(session, 'Profiler.stop').profile;
  for (const { name, part } of roomsOf(time)) {
    if (part >= 0.005) console.log(`  ${(part * nsEach).toFixed(0).padStart(6)} ns  ${name}`);
  }
}

function main(args: readonly string[]): void {
  const values = parseArguments(args, { seconds: { type: 'string' }, help: { type: 'boolean' } });
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  const seconds = readInteger('seconds', values.seconds ?? '3', 1, 600);
  inlineAcrossLayers();
  const warning = warnOfLoad();
  if (warning !== undefined) console.log(warning);
  const { ackNs, textNs, slowAckNs, slowTextNs } = timeInput(INPUT_ROUNDS);
  console.log('Input of a segment that an established connection expects (medians of batches of 32):');
  console.log(`  acknowledgment ${Math.round(ackNs)} ns, without prediction ${Math.round(slowAckNs)} ns`);
  console.log(`  text           ${Math.round(textNs)} ns, without prediction ${Math.round(slowTextNs)} ns`);
  console.log(`  The bar is ${LIMIT_NS} ns: ${Math.max(ackNs, textNs) < LIMIT_NS ? 'met' : 'missed'}.`);
  const session = new Session();
  session.connect();
  post(session, 'Profiler.enable');
  for (const [title, kind, offload] of CASES) measure(session, title, kind, offload, seconds);
  session.disconnect();
}

try {
  main(process.argv.slice(2));
} catch (error) {
  fail('bench-stack', error);
}
