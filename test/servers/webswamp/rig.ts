/** webswamp on one host of a simulated world, and a server on the other that does what a test tells it. */
import type { Host } from '../../../src/host/host.ts';
import { DEFAULT_PLAN, type SwampPlan } from '../../../src/servers/webswamp/plan.ts';
import { createReport, type Report } from '../../../src/servers/webswamp/report.ts';
import { prepareRequest, type RequestOptions } from '../../../src/servers/webswamp/request.ts';
import { TcpClient } from '../../../src/servers/webswamp/tcp-client.ts';
import { Webswamp } from '../../../src/servers/webswamp/webswamp.ts';
import {
  abort,
  close,
  closeSend,
  consume,
  readableAt,
  readableLength,
  send,
  takeEvents,
} from '../../../src/tcp/calls.ts';
import { EVENT_CLOSED, EVENT_PEER_CLOSED, type Tcb, type TcpUser } from '../../../src/tcp/tcb.ts';
import { ADDRESS_B, World, type WorldOptions } from '../../support/world.ts';

export const SECOND = 1_000_000;
export const MILLISECOND = 1000;
export const PORT = 80;

/** A response, and what becomes of the connection behind it. */
export interface Answer {
  /** Sent as it is; nothing when empty. */
  readonly text: string;
  readonly behind?: 'keep' | 'close' | 'abort';
  /** From the request to the answer. */
  readonly afterUs?: number;
}

/** What the server does with a request: its text, its number on the connection and its number of all, from 0. */
export type Behaviour = (request: string, onConnection: number, ofAll: number, nowUs: number) => Answer;

export function ok(body = 'hello', fields = ''): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;
}

/** Answers what asks for the end of the connection with it. */
export const polite: Behaviour = (request) =>
  request.includes('Connection: close')
    ? { text: ok('bye', 'Connection: close\r\n'), behind: 'close' }
    : { text: ok() };

/** A server of one thread: it answers a request when it has answered all before it, each of which takes so long. */
export function serving(requestUs: number): Behaviour {
  let freeUs = 0;
  return (_request, _onConnection, _ofAll, nowUs) => {
    freeUs = Math.max(freeUs, nowUs) + requestUs;
    return { text: ok(), afterUs: freeUs - nowUs };
  };
}

export class ScriptedServer {
  requests = 0;
  connections = 0;
  /** Connections by the address that they come from. */
  readonly sources = new Map<number, number>();
  private readonly world: World;
  private readonly host: Host;
  private readonly behave: Behaviour;
  /** Where texts lie in the arena. */
  private readonly texts = new Map<string, number>();

  constructor(world: World, behave: Behaviour) {
    this.world = world;
    this.host = world.b;
    this.behave = behave;
    world.b.tcp.listen(PORT, (connection) => this.accept(connection), { backlog: 65_536 });
  }

  private accept(connection: Tcb): TcpUser {
    this.connections++;
    this.sources.set(connection.remoteAddress, (this.sources.get(connection.remoteAddress) ?? 0) + 1);
    let text = '';
    let served = 0;
    let isServed = false;
    let isOver = false;
    return {
      ready: () => {
        const events = takeEvents(connection);
        for (let length = readableLength(connection); length > 0; length = readableLength(connection)) {
          const at = readableAt(connection);
          text += Buffer.from(this.world.arena.bytes.subarray(at, at + length)).toString('latin1');
          consume(connection, length);
        }
        for (let end = text.indexOf('\r\n\r\n'); end >= 0 && !isOver && !isServed; end = text.indexOf('\r\n\r\n')) {
          const answer = this.behave(text.slice(0, end + 4), served++, this.requests++, this.world.clock.nowUs());
          text = text.slice(end + 4);
          this.answer(connection, answer, () => isOver);
          if ((answer.behind ?? 'keep') !== 'keep') isServed = true;
        }
        if ((events & EVENT_PEER_CLOSED) !== 0) closeSend(connection);
        if ((events & EVENT_CLOSED) !== 0) isOver = true;
      },
    };
  }

  private answer(connection: Tcb, { text, behind = 'keep', afterUs = 0 }: Answer, isOver: () => boolean): void {
    const act = (): void => {
      // The connection may have gone, and its record be another's.
      if (isOver() || connection.finQueued) return;
      if (text.length > 0) send(connection, this.place(text), text.length, null, 0);
      if (behind === 'close') close(connection);
      // What was sent has to leave before the reset does.
      if (behind === 'abort')
        this.world.clock.at(this.world.clock.nowUs() + MILLISECOND, () => this.reset(connection, isOver));
      this.host.stack.wake();
    };
    if (afterUs === 0) act();
    else this.world.clock.at(this.world.clock.nowUs() + afterUs, act);
  }

  private reset(connection: Tcb, isOver: () => boolean): void {
    if (!isOver()) abort(connection);
    this.host.stack.wake();
  }

  private place(text: string): number {
    const { arena } = this.world;
    let at = this.texts.get(text);
    if (at === undefined) {
      at = arena.allocate(text.length);
      arena.bytes.set(Buffer.from(text, 'latin1'), at);
      this.texts.set(text, at);
    }
    return at;
  }
}

export interface RunOptions {
  readonly plan?: Partial<SwampPlan>;
  readonly request?: Partial<RequestOptions>;
  readonly Client?: typeof TcpClient;
  readonly world?: WorldOptions;
  /** Virtual time that everything has to be over in (default 1000 s). */
  readonly limitUs?: number;
  /** When to stop it before its time. */
  readonly stopAfterUs?: number;
  /** Called before the first turn. */
  readonly prepare?: (world: World) => void;
}

export interface Run {
  readonly world: World;
  readonly swamp: Webswamp<Tcb>;
  readonly server: ScriptedServer;
  readonly report: Report;
}

/** webswamp on host a of a world, not started. */
export function createSwamp(
  world: World,
  plan: Partial<SwampPlan>,
  request: Partial<RequestOptions> = {},
  Client = TcpClient,
): Webswamp<Tcb> {
  const { arena, tcp, stack } = world.a;
  return new Webswamp({
    transport: new Client(tcp, ADDRESS_B, PORT),
    clock: stack.clock,
    timers: stack.timers,
    wake: () => stack.wake(),
    plan: { ...DEFAULT_PLAN, durationUs: Number.POSITIVE_INFINITY, ...plan },
    request: prepareRequest(arena, { method: 'GET', target: '/', authority: 'server', fields: [], ...request }),
  });
}

export function reportOf(swamp: Webswamp<Tcb>, world: World): Report {
  const counters = { tcp: world.a.tcp.counters.snapshot() };
  return createReport(swamp, { url: 'http://server/', startedAtMs: world.clock.wallMs(), busyShare: 0, counters });
}

/** Runs a plan against a server to its end; nothing of it may be left. */
export function runSwamp(behave: Behaviour, options: RunOptions = {}): Run {
  const world = new World(options.world);
  const server = new ScriptedServer(world, behave);
  options.prepare?.(world);
  // ARP first: a queue of frames that wait for it is short.
  const warm = world.a.tcp.paths.acquire(ADDRESS_B);
  world.a.stack.wake();
  world.run(10 * MILLISECOND);
  const swamp = createSwamp(world, options.plan ?? {}, options.request, options.Client);
  let ends = 0;
  swamp.onEnd = () => ends++;
  swamp.start();
  const { stopAfterUs } = options;
  if (stopAfterUs !== undefined) world.clock.at(world.clock.nowUs() + stopAfterUs, () => swamp.stop());
  if (!world.run(options.limitUs ?? 1000 * SECOND, () => ends > 0)) throw new Error('the run does not end');
  world.run(SECOND);
  if (ends !== 1) throw new Error(`it ended ${ends} times`);
  if (warm !== undefined) world.a.tcp.paths.release(warm);
  return { world, swamp, server, report: reportOf(swamp, world) };
}
