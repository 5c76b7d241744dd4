/** What `exonet webswamp` is told: the URL, the load, and what is specialised. */

import { DEFAULT_PLAN, MAX_CONNECTIONS, MAX_PIPELINE, type SwampPlan } from '../servers/webswamp/plan.ts';
import type { RequestOptions } from '../servers/webswamp/request.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { parseIpv4 } from '../wire/address.ts';
import { NETWORK_ARGUMENTS, parseWithOperands, readInteger, UsageError } from './arguments.ts';
import { readTcpSettings, TCP_ARGUMENTS } from './tcp-options.ts';

const ARGUMENTS = {
  ...NETWORK_ARGUMENTS,
  ...TCP_ARGUMENTS,
  connections: { type: 'string', short: 'c' },
  duration: { type: 'string', short: 'd' },
  requests: { type: 'string', short: 'n' },
  'warm-up': { type: 'string' },
  rate: { type: 'string' },
  'requests-per-connection': { type: 'string' },
  pipeline: { type: 'string' },
  timeout: { type: 'string' },
  method: { type: 'string', short: 'X' },
  header: { type: 'string', short: 'H', multiple: true },
  'expect-status': { type: 'string' },
  'expect-length': { type: 'string' },
  sources: { type: 'string' },
  'start-at': { type: 'string' },
  json: { type: 'string' },
  'no-packet-merging': { type: 'boolean' },
  copy: { type: 'boolean' },
  'no-checksum': { type: 'boolean' },
  'no-reuse': { type: 'boolean' },
  'no-single-filter': { type: 'boolean' },
  'no-polling': { type: 'boolean' },
  sockets: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** All that is about our own stack. */
const STACK_OPTIONS = [
  ...(Object.keys(NETWORK_ARGUMENTS) as (keyof typeof NETWORK_ARGUMENTS)[]),
  ...(Object.keys(TCP_ARGUMENTS) as (keyof typeof TCP_ARGUMENTS)[]),
  'sources',
  'no-packet-merging',
  'no-checksum',
  'no-single-filter',
  'no-polling',
] as const;

type Values = ReturnType<typeof parseWithOperands<typeof ARGUMENTS>>['values'];

export interface Choice {
  readonly values: Values;
  readonly url: URL;
  readonly address: number;
  readonly port: number;
  readonly request: RequestOptions;
  readonly plan: SwampPlan;
  readonly tcpSettings: Partial<TcpSettings>;
  /** Look for frames for a while before sleeping. */
  readonly polls: boolean;
  readonly sources: string | undefined;
  /** Milliseconds since 1970; undefined for at once. */
  readonly startAtMs: number | undefined;
  readonly json: string | undefined;
}

const MAX_DURATION_US = 86_400 * 7 * 1e6;
const MAX_RATE = 10_000_000;
const MAX_TARGET_LENGTH = 8192;
/** Connections beside those in use: closing, or waiting for their last acknowledgment. */
const SPARE_CONNECTIONS = 65_536;

/** Undefined when help is wanted. Throws `UsageError`. */
export function readChoice(args: readonly string[]): Choice | undefined {
  const { values, operands } = parseWithOperands(args, ARGUMENTS);
  if (values.help === true) return undefined;
  const [text, more] = operands;
  if (text === undefined) throw new UsageError('The URL is missing: which server is to be loaded?');
  if (more !== undefined) throw new UsageError(`${more}: one URL is enough.`);
  const url = readUrl(text);
  const plan = readPlan(values);
  if (values.sockets === true) refuseStackOptions(values);
  return {
    values,
    url,
    address: readAddress(url),
    port: url.port === '' ? 80 : Number(url.port),
    request: {
      method: readMethod(values.method ?? 'GET'),
      target: `${url.pathname}${url.search}`,
      authority: url.host,
      fields: (values.header ?? []).map(readField),
    },
    plan,
    tcpSettings: {
      ...readTcpSettings(values),
      packetMerging: values['no-packet-merging'] !== true,
      verifyChecksums: values['no-checksum'] !== true,
      reuseRecords: values['no-reuse'] !== true,
      maxConnections: plan.connections + SPARE_CONNECTIONS,
    },
    polls: values['no-polling'] !== true,
    sources: values.sources,
    startAtMs: values['start-at'] === undefined ? undefined : readTime(values['start-at']),
    json: values.json,
  };
}

/** What sockets cannot do is said, not ignored. */
function refuseStackOptions(values: Values): void {
  const given = STACK_OPTIONS.find((option) => values[option] !== undefined);
  if (given !== undefined) throw new UsageError(`--${given}: with --sockets there is no stack that it could be for.`);
}

function readPlan(values: Values): SwampPlan {
  const requests = values.requests === undefined ? Number.POSITIVE_INFINITY : readCount('requests', values.requests);
  const durationUs =
    values.duration === undefined ? Number.POSITIVE_INFINITY : readDurationUs('duration', values.duration);
  const isOpenEnded = requests === Number.POSITIVE_INFINITY && durationUs === Number.POSITIVE_INFINITY;
  const { connections, pipeline, timeout, rate } = values;
  const perConnection = values['requests-per-connection'];
  const status = values['expect-status'];
  const length = values['expect-length'];
  const warmUp = values['warm-up'];
  return {
    connections:
      connections === undefined
        ? DEFAULT_PLAN.connections
        : readInteger('connections', connections, 1, MAX_CONNECTIONS),
    requests,
    durationUs: isOpenEnded ? DEFAULT_PLAN.durationUs : durationUs,
    warmUpUs: warmUp === undefined ? DEFAULT_PLAN.warmUpUs : readDurationUs('warm-up', warmUp, 0),
    requestsPerSecond: rate === undefined ? 0 : readRate(rate),
    requestsPerConnection:
      perConnection === undefined ? Number.POSITIVE_INFINITY : readCount('requests-per-connection', perConnection),
    pipeline: pipeline === undefined ? DEFAULT_PLAN.pipeline : readInteger('pipeline', pipeline, 1, MAX_PIPELINE),
    timeoutUs: timeout === undefined ? DEFAULT_PLAN.timeoutUs : readDurationUs('timeout', timeout),
    expectedStatus: status === undefined ? 0 : readInteger('expect-status', status, 200, 599),
    expectedBytes: length === undefined ? -1 : readInteger('expect-length', length, 0, Number.MAX_SAFE_INTEGER),
    copyPayload: values.copy === true,
    reuseRecords: values['no-reuse'] !== true,
  };
}

function readUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw new UsageError(`${text}: this is no URL, like http://10.90.0.1:8080/file.`);
  if (url.protocol !== 'http:') throw new UsageError(`${text}: only http is spoken here.`);
  if (url.username !== '' || url.password !== '')
    throw new UsageError(`${text}: names and passwords go into a --header.`);
  if (url.pathname.length + url.search.length > MAX_TARGET_LENGTH) throw new UsageError('The URL is too long.');
  return url;
}

function readAddress(url: URL): number {
  const address = parseIpv4(url.hostname);
  if (address === undefined)
    throw new UsageError(`${url.hostname}: the server must be an IPv4 address, names are not resolved.`);
  return address;
}

function readMethod(method: string): string {
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method)) throw new UsageError(`--method ${method}: this is no method.`);
  if (method === 'CONNECT') throw new UsageError('--method CONNECT: a tunnel is no request with a response.');
  return method;
}

function readField(text: string): [string, string] {
  const match = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\xa0-\xff]*)$/.exec(text);
  const name = match?.[1];
  if (name === undefined) throw new UsageError(`--header ${text}: must be like 'Accept: text/html'.`);
  if (/^(content-length|transfer-encoding|connection)$/i.test(name)) {
    throw new UsageError(`--header ${text}: requests have no body, and webswamp decides when connections end.`);
  }
  return [name, match?.[2] ?? ''];
}

function readCount(option: string, text: string): number {
  return readInteger(option, text, 1, Number.MAX_SAFE_INTEGER);
}

/** `10s`, `500ms`, `2m`; a bare number is seconds. */
export function readDurationUs(option: string, text: string, leastUs = 1): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  const unitUs = { ms: 1e3, s: 1e6, m: 60e6, h: 3600e6 }[match?.[2] ?? 's'] ?? 0;
  const durationUs = Math.round(Number(match?.[1]) * unitUs);
  if (match !== null && durationUs >= leastUs && durationUs <= MAX_DURATION_US) return durationUs;
  throw new UsageError(`--${option} ${text}: must be a time like 10s, 500ms or 2m.`);
}

/** `5000/s`, or a bare number. */
export function readRate(text: string): number {
  const rate = Number(/^(\d+(?:\.\d+)?)(?:\/s)?$/.exec(text)?.[1]);
  if (rate > 0 && rate <= MAX_RATE) return rate;
  throw new UsageError(`--rate ${text}: must be requests a second, like 5000/s, and at most ${MAX_RATE}.`);
}

/** ISO 8601, or seconds since 1970. Milliseconds since 1970. */
function readTime(text: string): number {
  const timeMs = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isNaN(timeMs)) {
    throw new UsageError(`--start-at ${text}: must be a time like 2026-01-31T12:00:00Z, or seconds since 1970.`);
  }
  const passedMs = Date.now() - timeMs;
  if (passedMs > 0) throw new UsageError(`--start-at ${text}: this time has passed.`);
  if (-passedMs * 1000 > MAX_DURATION_US) throw new UsageError(`--start-at ${text}: this is too far away.`);
  return timeMs;
}
