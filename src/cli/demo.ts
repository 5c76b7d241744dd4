/** `exonet demo`: webswamp, the forwarder and two Cheetahs in one process under virtual time; needs no right to anything. */
import { createHash } from 'node:crypto';
import { Demo, type DemoResult } from '../host/demo.ts';
import { MAX_CONNECTIONS } from '../servers/webswamp/plan.ts';
import { parseArguments, readInteger, UsageError } from './arguments.ts';
import { onStopSignal } from './signals.ts';
import { readDurationUs, readRate } from './webswamp-arguments.ts';
import { Progress, summarize } from './webswamp-output.ts';

export const DEMO_SUMMARY = 'the three applications in a simulated network, without any privilege';

const HELP = `exonet demo [options]

webswamp loads two Cheetahs through the forwarder, over simulated links that lose frames: a minute of load in the seconds
that the work takes. The same seed gives the same run, and the same digest.

  --seed N                what decides every die (default 1)
  --duration TIME         virtual time: 60s, 2m (default 60s)
  --rate N/s              requests that are due each second (default 1000/s)
  --connections N         connections at a time (default 64)
  --size BYTES            of the page that is asked for (default 10000)
  --delay TIME            of each of the two links, one way (default 2ms)
  --loss PERCENT          of the frames on each link (default 0.1)
  --help                  this text

Exit code: 1 when anything was left behind at the end, which would be a defect.`;

const ARGUMENTS = {
  seed: { type: 'string', default: '1' },
  duration: { type: 'string', default: '60s' },
  rate: { type: 'string', default: '1000/s' },
  connections: { type: 'string', default: '64' },
  size: { type: 'string', default: '10000' },
  delay: { type: 'string', default: '2ms' },
  loss: { type: 'string', default: '0.1' },
  help: { type: 'boolean', short: 'h' },
} as const;

const MAX_SEED = 2 ** 32 - 1;
const MAX_BODY_BYTES = 16 * 1024 * 1024;
const BITS_PER_SECOND = 1e9;
const EXIT_FAILURE = 1;

/** Runs until the load has been sent, or a signal. Throws `UsageError` before it begins. */
export function demo(args: readonly string[]): void {
  const values = parseArguments(args, ARGUMENTS);
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  const seed = readInteger('seed', values.seed, 0, MAX_SEED);
  const options = {
    seed,
    plan: {
      durationUs: readDurationUs('duration', values.duration),
      requestsPerSecond: readRate(values.rate),
      connections: readInteger('connections', values.connections, 1, MAX_CONNECTIONS),
    },
    bodyBytes: readInteger('size', values.size, 0, MAX_BODY_BYTES),
    delayUs: readDurationUs('delay', values.delay),
    bitsPerSecond: BITS_PER_SECOND,
    loss: readLoss(values.loss),
  };
  console.log(
    `webswamp - forwarder - 2 Cheetahs; two links of 1 Gbit/s, ${values.delay} each way, ${values.loss}% lost; seed ${seed}`,
  );
  const network = new Demo(options);
  const progress = new Progress(process.stdout);
  const stopping = new AbortController();
  const startMs = performance.now();
  const finished = network
    .run(() => progress.show(network.running), stopping.signal)
    .then((result) => {
      progress.end();
      print(result, (performance.now() - startMs) / 1000);
    })
    .finally(() => network.close());
  onStopSignal(async () => {
    stopping.abort();
    await finished;
  });
}

function print(result: DemoResult, seconds: number): void {
  const { report, cheetahs, forwarder, links, leaks } = result;
  console.log(summarize(report));
  const requests = cheetahs.map((cheetah) => cheetah.requests).join(' and ');
  console.log(`  cheetahs   ${requests} requests`);
  console.log(`  forwarder  ${forwarder.framesForwarded} frames`);
  const lost = links.reduce((sum, link) => sum + (link.aToB?.lost ?? 0) + (link.bToA?.lost ?? 0), 0);
  console.log(`  links      ${lost} frames lost`);
  console.log(`  took       ${seconds.toFixed(1)} s for ${report.durationSeconds.toFixed(1)} s`);
  console.log(`  digest     ${digestOf(result)}`);
  if (leaks.length === 0) return;
  console.error(`exonet: left behind: ${leaks.join(', ')}`);
  process.exitCode = EXIT_FAILURE;
}

/** Short enough to be compared by eye. */
function digestOf(result: DemoResult): string {
  return createHash('sha256').update(JSON.stringify(result)).digest('hex').slice(0, 16);
}

function readLoss(text: string): number {
  const percent = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && percent <= 50) return percent / 100;
  throw new UsageError(`--loss ${text}: must be a percentage from 0 to 50.`);
}
