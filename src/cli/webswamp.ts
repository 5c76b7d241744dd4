/** `exonet webswamp`: loads an HTTP server from a stack of its own, and says what came of it. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { Latencies } from '../servers/webswamp/latency.ts';
import { createReport, mergeReports, REPORT_VERSION, type Report } from '../servers/webswamp/report.ts';
import { prepareRequest } from '../servers/webswamp/request.ts';
import { Webswamp } from '../servers/webswamp/webswamp.ts';
import { NETWORK_HELP, parseWithOperands, UsageError } from './arguments.ts';
import { onStopSignal } from './signals.ts';
import { TCP_HELP } from './tcp-options.ts';
import { type Choice, readChoice } from './webswamp-arguments.ts';
import { Progress, summarize } from './webswamp-output.ts';
import { openSockets, openStack, type Platform } from './webswamp-platform.ts';

export const WEBSWAMP_SUMMARY = 'load an HTTP server and measure its answers';

const HELP = `exonet webswamp URL [options]
exonet webswamp merge FILE... [--json FILE]

Loads an HTTP server from a TCP/IP stack of its own, checks status and length of every response, and measures latencies.
The second form joins the reports of several that ran at the same time.

  -c, --connections N     connections at a time (default 64)
  -d, --duration TIME     how long: 10s, 500ms, 2m (default 10s)
  -n, --requests N        how many requests, instead of or beside a duration
  --warm-up TIME          load the server for so long before the clock begins (default 0): requests sent in that time are
                          not counted, nor is what becomes of those that are under way at its end; with --rate, what was
                          due by then and not sent is not sent any more
  --rate N/s              open loop: requests are due at this rate, and latency counts from when they were due
                          (default: closed loop, the next request follows the answer)
  --requests-per-connection N
                          1 opens a connection for each request (default: as many as the server takes)
  --pipeline N            requests that a connection may have unanswered (default 1)
  --timeout TIME          for connecting, and for each response (default 10s)
  -X, --method METHOD     default GET
  -H, --header 'N: V'     a further field of the request; may be repeated
  --expect-status CODE    the status that is right (default: 200 to 399)
  --expect-length BYTES   length of the body that is right (default: any)
  --sources CIDR[,CIDR]   connections come from these addresses in turn
  --start-at TIME         begin, with the warm-up if there is one, at this time (ISO 8601, or seconds since 1970)
  --json FILE             write the report, with its histogram, to a file
${NETWORK_HELP}
${TCP_HELP}
  --help                  this text

Specialisations, on unless they are turned off (--no-checksum, which trusts what arrives, is off):

  --no-packet-merging     acknowledge at once: the handshake's ACK does not carry the request, nor the FIN an ACK
  --copy                  copy what arrives, as reading a socket does, instead of counting it where it lies
  --no-reuse              make records of connections anew
  --no-single-filter      claim a packet filter for each connection
  --no-polling            sleep until a frame arrives, or until a request is due, which may then leave 2 ms late
  --no-checksum           do not look at TCP checksums of what arrives
  --sockets               use the kernel's sockets instead: the same program, for comparison

Exit code: 0 when the server was the limit, or no rate was asked for; 1 when no request at all was answered as it should be;
3 when the generator itself missed the asked rate by more than 1%.`;

const EXIT_FAILURE = 1;
const EXIT_SATURATED = 3;
const PROGRESS_MS = 1000;
/** How often, and how long, the server's link address is waited for before the first connections are opened all the same. */
const READY_POLL_MS = 2;
const READY_PATIENCE_MS = 3000;

/** Runs until the load has been sent, or a signal. Throws `UsageError`, `OptionError` or `DeviceError` before it begins. */
export function webswamp(args: readonly string[]): void {
  if (args[0] === 'merge') {
    merge(args.slice(1));
    return;
  }
  const choice = readChoice(args);
  if (choice === undefined) {
    console.log(HELP);
    return;
  }
  // Now, and not after the run, is the time to find out that it cannot be written.
  if (choice.json !== undefined) appendFileSync(choice.json, '');
  if (choice.values.sockets === true) run(openSockets(choice), choice);
  else run(openStack(choice), choice);
}

function run<Connection>(platform: Platform<Connection>, choice: Choice): void {
  const { plan, url } = choice;
  const swamp = new Webswamp({ ...platform, plan, request: prepareRequest(platform.memory, choice.request) });
  const progress = new Progress(process.stdout);
  let hasBegun = false;
  let startedAtMs = Date.now();
  let loopBefore = performance.eventLoopUtilization();
  let polledBeforeUs = 0;
  let printer: NodeJS.Timeout | undefined;
  const begin = (): void => {
    hasBegun = true;
    printer = setInterval(() => progress.show(swamp), PROGRESS_MS);
    swamp.start();
  };
  swamp.onBegin = () => {
    startedAtMs = Date.now();
    loopBefore = performance.eventLoopUtilization();
    polledBeforeUs = platform.polledUs();
  };
  const ended = new Promise<number>((resolve) => {
    swamp.onEnd = () => {
      const { active, idle } = performance.eventLoopUtilization(loopBefore);
      const polledMs = (platform.polledUs() - polledBeforeUs) / 1000;
      resolve(Math.max(0, active - polledMs) / Math.max(1, active + idle));
    };
  });
  platform.start();
  const startAtMs = choice.startAtMs ?? Date.now();
  const patienceEndMs = Math.max(startAtMs, Date.now() + READY_PATIENCE_MS);
  let starter: NodeJS.Timeout;
  const prepare = (): void => {
    const nowMs = Date.now();
    const isReady = platform.isReady() || nowMs >= patienceEndMs;
    if (isReady && nowMs >= startAtMs) begin();
    else starter = setTimeout(prepare, isReady ? startAtMs - nowMs : READY_POLL_MS);
  };
  prepare();
  const finished = ended.then((busyShare) => {
    clearInterval(printer);
    progress.end();
    const report = createReport(swamp, { url: url.href, startedAtMs, busyShare, counters: platform.counters() });
    platform.close();
    deliver(report, choice.json);
  });
  onStopSignal(async () => {
    clearTimeout(starter);
    if (!hasBegun) {
      platform.close();
      return;
    }
    swamp.stop();
    await finished;
  });
  finished.catch((error: unknown) => {
    console.error(`exonet: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = EXIT_FAILURE;
  });
}

/** Prints the summary and writes the file. */
function deliver(report: Report, json: string | undefined): void {
  console.log(summarize(report));
  if (report.requests === 0) process.exitCode = EXIT_FAILURE;
  else if (report.verdict.saturated) process.exitCode = EXIT_SATURATED;
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
}

function merge(args: readonly string[]): void {
  const options = { json: { type: 'string' }, help: { type: 'boolean', short: 'h' } } as const;
  const { values, operands } = parseWithOperands(args, options);
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  if (operands.length === 0)
    throw new UsageError('Which reports are to be merged? Name the files that --json has written.');
  deliver(mergeReports(operands.map(readReport)), values.json);
}

function readReport(path: string): Report {
  let report: Partial<Report>;
  try {
    report = JSON.parse(readFileSync(path, 'utf8')) as Partial<Report>;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new UsageError(`${path}: this is no JSON.`);
  }
  if (report?.webswamp !== REPORT_VERSION || typeof report.histogram !== 'string') {
    throw new UsageError(`${path}: this is no report of webswamp.`);
  }
  try {
    Latencies.decode(report.histogram, 0, 0);
  } catch {
    throw new UsageError(`${path}: its histogram cannot be read.`);
  }
  return report as Report;
}
