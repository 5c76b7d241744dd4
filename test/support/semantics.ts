/**
 * What is left of TCP's meaning when something stands between the ends: each row of the table is one thing that happens to a
 * connection, done with real kernels at both ends; each column a way that the connection takes. An entry is what the two ends
 * saw, in words that say the same whenever the same has happened.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Facts, KernelEnd } from './kernel-end.ts';
import { SERVER_ADDRESS, SERVER_PORT, SemanticsLab, setForwarding, VACANT_ADDRESS, type Way } from './semantics-lab.ts';

/** What runs in one namespace lab: the ends, and where the client connects to. */
interface Stage {
  readonly lab: SemanticsLab;
  readonly client: KernelEnd;
  readonly server: KernelEnd;
  readonly target: readonly [string, number];
}

export interface Row {
  readonly name: string;
  /** Where the backend is said to be. */
  readonly backend?: string;
  readonly run: (stage: Stage) => Promise<string>;
}

const SOME_BYTES = 100_000;
const MANY_BYTES = 3_000_000;
/** For a segment to cross the network, and every process on the way to have seen it. */
const SETTLE_MS = 300;
/** For what was lost to be sent again. */
const LONG_SETTLE_MS = 2000;
const QUIET_S = 1.5;
const SMALL_MTU = 1000;
const SMALL_MSS = 700;

export const ROWS: readonly Row[] = [
  { name: 'dead port', run: connectInVain },
  { name: 'unreachable backend, a router says', run: connectPastRefusal },
  { name: 'unreachable backend, nobody is there', backend: VACANT_ADDRESS, run: connectInVain },
  { name: 'RST from the client', run: (stage) => resetBy(stage, 'client') },
  { name: 'RST from the server', run: (stage) => resetBy(stage, 'server') },
  { name: 'half-close by the client', run: (stage) => halfCloseBy(stage, 'client') },
  { name: 'half-close by the server', run: (stage) => halfCloseBy(stage, 'server') },
  { name: 'simultaneous close', run: closeTogether },
  { name: 'acknowledged but unread by a stalled backend', run: stallBackend },
  { name: "the server's window", run: passWindow },
  { name: "the server's MSS", run: (stage) => passMss(stage, 'server') },
  { name: "the client's MSS", run: (stage) => passMss(stage, 'client') },
  { name: 'ICMP fragmentation needed mid-transfer', run: narrowPath },
];

/** One entry of the table. */
export async function observe(row: Row, way: Way): Promise<string> {
  const lab = await SemanticsLab.create();
  try {
    const client = new KernelEnd(lab.client);
    const server = new KernelEnd(lab.server);
    const target = await lab.begin(way, row.backend ?? SERVER_ADDRESS);
    return await row.run({ lab, client, server, target });
  } finally {
    await lab.remove();
  }
}

export type SemanticsTable = { readonly row: string; readonly entries: Readonly<Record<string, string>> }[];

/** The whole table, or these columns of it. */
export async function readSemantics(ways: readonly Way[]): Promise<SemanticsTable> {
  const table: SemanticsTable = [];
  for (const row of ROWS) {
    const entries: Record<string, string> = {};
    for (const way of ways) entries[way] = await observe(row, way);
    table.push({ row: row.name, entries });
  }
  return table;
}

/** As markdown; what differs from the first column is in italics. */
export function formatSemantics(table: SemanticsTable): string {
  const ways = Object.keys(table[0]?.entries ?? {});
  const lines = table.map(({ row, entries }) => {
    const [first] = Object.values(entries);
    const cells = Object.values(entries).map((entry) => (entry === first ? entry : `*${entry}*`));
    return `| ${[row, ...cells].join(' | ')} |`;
  });
  return [`| | ${ways.join(' | ')} |`, `|---|${ways.map(() => '---|').join('')}`, ...lines].join('\n');
}

async function open({ client, server, target }: Stage, receiveBuffer = 0, mss = 0, clientMss = 0): Promise<void> {
  expectSuccess(await server.call('listen', SERVER_ADDRESS, SERVER_PORT, receiveBuffer, mss));
  expectSuccess(await client.call('connect', ...target, clientMss));
  expectSuccess(await server.call('accept'));
}

/** The handshake, and if that comes about, what becomes of the connection. */
async function connectInVain({ client, target }: Stage): Promise<string> {
  const { error } = await client.call('connect', ...target);
  if (error !== undefined) return `connect: ${error}`;
  return `connected, then ${describe(await client.call('receive', 1))}`;
}

async function connectPastRefusal(stage: Stage): Promise<string> {
  stage.lab.router.ip('route', 'add', 'unreachable', SERVER_ADDRESS);
  return connectInVain(stage);
}

async function resetBy(stage: Stage, who: 'client' | 'server'): Promise<string> {
  await open(stage);
  const other = who === 'client' ? stage.server : stage.client;
  await stage[who].call('send', SOME_BYTES);
  const arrived = describe(await other.call('receive', SOME_BYTES));
  await stage[who].call('reset');
  return `${arrived}, then ${describe(await other.call('receive', 1))}`;
}

async function halfCloseBy(stage: Stage, who: 'client' | 'server'): Promise<string> {
  await open(stage);
  const first = stage[who];
  const other = who === 'client' ? stage.server : stage.client;
  await first.call('send', SOME_BYTES);
  await first.call('shutdown');
  const arrived = describe(await other.call('receive', 2 * SOME_BYTES));
  // The other half is open for as long as its owner likes.
  await sleep(SETTLE_MS);
  const sent = await other.call('send', SOME_BYTES);
  const closed = await other.call('shutdown');
  const failure = sent.error ?? closed.error;
  const back = describe(await first.call('receive', 2 * SOME_BYTES));
  return `${arrived}; back${failure === undefined ? '' : ` (${failure})`}: ${back}`;
}

/** Both ends close while the network between them loses everything: the FINs that are sent again find both closing. */
async function closeTogether(stage: Stage): Promise<string> {
  const { lab, client, server } = stage;
  await open(stage);
  setForwarding(lab.router, false);
  await Promise.all([client.call('shutdown'), server.call('shutdown')]);
  await sleep(SETTLE_MS);
  setForwarding(lab.router, true);
  const ends = await Promise.all([client.call('receive', 1), server.call('receive', 1)]);
  await sleep(LONG_SETTLE_MS);
  const states = [lab.client, lab.server].map((netns) => stateOf(netns.run('ss', '-Htan')));
  return `client ${describe(ends[0])}, ${states[0]}; server ${describe(ends[1])}, ${states[1]}`;
}

/** The backend reads nothing: how much does the client believe to be there that is not? Then it goes. */
async function stallBackend(stage: Stage): Promise<string> {
  const { client, server } = stage;
  await open(stage);
  await client.call('fill', QUIET_S);
  const { bytesAcked = 0 } = await client.call('info');
  const { bytes = 0 } = await server.call('queued');
  // The SYN was acknowledged too.
  const beyond = Math.max(0, bytesAcked - 1 - bytes);
  await server.call('reset');
  const fate = describe(await client.call('receive', 1));
  return `${beyond === 0 ? 'nothing' : `${Math.round(beyond / 1000)} kB`} acknowledged that the backend has not; its reset: ${fate}`;
}

async function passWindow(stage: Stage): Promise<string> {
  await open(stage, 20_000);
  const { peerWindow, peerWindowScale } = await stage.client.call('info');
  await stage.client.call('fill', QUIET_S);
  const { bytes = 0 } = await stage.server.call('queued');
  const full = await stage.client.call('info');
  const room = (full.peerWindow ?? 0) < 1448 ? 'closed' : 'open';
  const acknowledged =
    (full.bytesAcked ?? 0) - 1 === bytes ? 'at what the server holds' : 'beyond what the server holds';
  return `${peerWindow} bytes, scale ${peerWindowScale}; ${room} ${acknowledged}`;
}

/** One end says how long segments to it may be; the other one keeps to it, timestamps included. */
async function passMss(stage: Stage, who: 'client' | 'server'): Promise<string> {
  await open(stage, 0, who === 'server' ? SMALL_MSS : 0, who === 'client' ? SMALL_MSS : 0);
  const other = who === 'client' ? stage.server : stage.client;
  return `the ${who === 'client' ? 'server' : 'client'} sends ${(await other.call('info')).sendMss}`;
}

/** The router's way to the server narrows while the client sends. */
async function narrowPath(stage: Stage): Promise<string> {
  const { lab, client, server } = stage;
  await open(stage);
  const first = server.call('receive', SOME_BYTES);
  await client.call('send', SOME_BYTES);
  const before = await first;
  lab.router.ip('link', 'set', 'r1', 'mtu', `${SMALL_MTU}`);
  const rest = server.call('receive', 2 * MANY_BYTES);
  await client.call('send', MANY_BYTES);
  // Until the client has been told; its connection is still there to be asked.
  await sleep(SETTLE_MS);
  const { pathMtu } = await client.call('info');
  await client.call('shutdown');
  const { bytes = 0, end } = await rest;
  return `${(before.bytes ?? 0) + bytes} bytes and ${end}; the client's path MTU is ${pathMtu}`;
}

function describe({ bytes, end, error }: Facts): string {
  if (error !== undefined) return error;
  return [bytes === 0 ? '' : `${bytes} bytes`, end ?? ''].filter((part) => part !== '').join(' and ');
}

/** The state of the one connection that `ss` shows, listeners aside. */
function stateOf(lines: string): string {
  const states = lines.split('\n').map((line) => line.split(/\s+/)[0] ?? '');
  return states.find((state) => state !== '' && state !== 'LISTEN') ?? 'gone';
}

function expectSuccess({ error }: Facts): void {
  if (error !== undefined) throw new Error(`an end cannot begin: ${error}`);
}
