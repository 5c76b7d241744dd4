/** What the person at the command line asks of a run. */
import { parseArguments, readInteger, UsageError } from '../src/cli/arguments.ts';

/** Everything that can be measured, in the order of the tables. */
export const SERVER_NAMES = [
  'cheetah',
  'sockets',
  'nginx',
  'nginx-tuned',
  'nginx-as-found',
  'lighttpd',
  'node',
  'sirv',
  'ceiling',
  'fixed',
] as const;

export type ServerName = (typeof SERVER_NAMES)[number];

export interface BenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
  /** Document sizes in bytes, ascending. */
  readonly sizes: readonly number[];
  readonly servers: readonly ServerName[];
  /** Processors of the servers and of the load; undefined: the first two cores that the bench may use. */
  readonly cores: readonly [server: number, client: number] | undefined;
  readonly profile: boolean;
}

export const HELP = `make bench [ARGS='...']   or   node build/bench/main.js [options]

Measures Cheetah against nginx and node:http in network namespaces of its own (root, nginx, wrk).

  --rounds N         rounds, the servers taking turns in each (default 5)
  --seconds N        seconds of load of each server in a round (default 3)
  --sizes LIST       document sizes (default 100,1k,10k,100k,1M; k and M are powers of ten)
  --only LIST        of these servers (default cheetah,nginx,nginx-tuned,node,ceiling):
                       cheetah        our HTTP server, through the command's own parts
                       sockets        the same HTTP over the kernel's TCP: exonet cheetah --sockets
                       nginx          one worker, sendfile, tcp_nopush, over a veth pair, on TCP as this kernel has it
                       nginx-tuned    the same, but it keeps files open, and TCP has cubic whatever the kernel was told
                       nginx-as-found the same as nginx, also where the others have cubic (make evaluation)
                       lighttpd       one process, sendfile, over the veth pair
                       node           a node:http server that sends from memory, over the same veth pair
                       sirv           node:http with sirv, which streams from the disk
                       ceiling        the cheapest canned responder on Cheetah's driver
                       fixed          one reply for all, over the whole stack but without HTTP
  --connections N    kept-alive connections of the load (default 64)
  --cores S,C        processors of the servers and of the load (default: the first two cores)
  --profile          also profile our servers and say where their time goes (build/profiles/)`;

const DEFAULT_SIZES = '100,1k,10k,100k,1M';
const DEFAULT_SERVERS = 'cheetah,nginx,nginx-tuned,node,ceiling';
const MAX_ROUNDS = 1000;
const MAX_SECONDS = 600;
const MAX_CONNECTIONS = 10_000;
const MAX_CORE = 4095;
/** A canned reply and its document stay well within a quarter of Cheetah's cache. */
const MAX_SIZE = 50_000_000;

const ARGUMENTS = {
  rounds: { type: 'string', default: '5' },
  seconds: { type: 'string', default: '3' },
  connections: { type: 'string', default: '64' },
  sizes: { type: 'string', default: DEFAULT_SIZES },
  only: { type: 'string', default: DEFAULT_SERVERS },
  cores: { type: 'string' },
  profile: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Reads the arguments; undefined when they ask for help. Throws `UsageError`. */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const values = parseArguments(args, ARGUMENTS);
  if (values.help === true) return undefined;
  return {
    rounds: readInteger('rounds', values.rounds, 1, MAX_ROUNDS),
    seconds: readInteger('seconds', values.seconds, 1, MAX_SECONDS),
    connections: readInteger('connections', values.connections, 1, MAX_CONNECTIONS),
    sizes: readSizes(values.sizes),
    servers: readNames(values.only, SERVER_NAMES),
    cores: values.cores === undefined ? undefined : readCores(values.cores),
    profile: values.profile === true,
  };
}

function readSizes(text: string): number[] {
  const sizes = new Set<number>();
  for (const item of text.split(',')) {
    const match = /^(\d+)([kM]?)$/.exec(item.trim());
    const bytes = Number(match?.[1]) * { '': 1, k: 1000, M: 1_000_000 }[match?.[2] as '' | 'k' | 'M'];
    if (match === null || bytes < 1 || bytes > MAX_SIZE) {
      throw new UsageError(`--sizes ${item}: must be a number of bytes like 100, 10k or 1M, at most 50M.`);
    }
    sizes.add(bytes);
  }
  return [...sizes].sort((a, b) => a - b);
}

/** The names of the list, in the order in which all are known. */
export function readNames<Name extends string>(text: string, names: readonly Name[]): Name[] {
  const asked = new Set(text.split(',').map((name) => name.trim()));
  for (const name of asked) {
    if (!names.some((known) => known === name)) {
      throw new UsageError(`--only ${name}: must be of ${names.join(', ')}.`);
    }
  }
  return names.filter((name) => asked.has(name));
}

export function readCores(text: string): [number, number] {
  const cores = text.split(',').map((core) => readInteger('cores', core, 0, MAX_CORE));
  const [server, client] = cores;
  if (cores.length !== 2 || server === undefined || client === undefined || server === client) {
    throw new UsageError(`--cores ${text}: must be two different processors, like 0,1.`);
  }
  return [server, client];
}
