/** A Cheetah over the stand-in transport, in virtual time, with real files in a directory of its own. */
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Arena } from '../../../src/runtime/arena.ts';
import { type Log, silentLog } from '../../../src/runtime/log.ts';
import { TimerWheel } from '../../../src/runtime/timer-wheel.ts';
import { TurnClock } from '../../../src/runtime/turn-clock.ts';
import { VirtualClock } from '../../../src/runtime/virtual-clock.ts';
import { Cheetah } from '../../../src/servers/cheetah/cheetah.ts';
import type { FileSource } from '../../../src/servers/cheetah/disk.ts';
import type { CheetahLimits } from '../../../src/servers/cheetah/settings.ts';
import type { Specialisations } from '../../../src/servers/cheetah/specialisations.ts';
import { type FakeConnection, FakeTransport } from '../fake-transport.ts';

const MIB = 1024 * 1024;

/** How long the disk may take, in real time. */
const PATIENCE_MS = 60_000;

/** When the rig's files were last changed: long before the virtual clock's time. */
export const FILE_TIME = 1_700_000_000;
export const FILE_DATE = 'Tue, 14 Nov 2023 22:13:20 GMT';

/** A test that ends early, or does not come to `close`, must leave nothing behind. */
const directories: string[] = [];
process.once('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

export interface RigOptions {
  files?: Record<string, string | Uint8Array>;
  limits?: Partial<CheetahLimits>;
  specialisations?: Partial<Specialisations>;
  source?: FileSource;
  log?: Log;
}

export class Rig {
  readonly directory = mkdtempSync(join(tmpdir(), 'cheetah-'));
  readonly root = join(this.directory, 'root');
  readonly arena = new Arena(64 * MIB);
  readonly clock = new VirtualClock();
  readonly timers: TimerWheel;
  private readonly turnClock = new TurnClock(this.clock);
  readonly transport = new FakeTransport(this.arena);
  readonly cheetah: Cheetah<FakeConnection>;
  private closed = false;

  constructor(options: RigOptions = {}) {
    this.timers = new TimerWheel(this.turnClock);
    directories.push(this.directory);
    mkdirSync(this.root);
    for (const [name, content] of Object.entries(options.files ?? {})) this.write(name, content);
    this.cheetah = new Cheetah({
      root: this.root,
      tcp: this.transport,
      arena: this.arena,
      clock: this.turnClock,
      timers: this.timers,
      log: options.log ?? silentLog,
      wake: () => this.transport.wakes++,
      port: 80,
      limits: {
        cacheBytes: 4 * MIB,
        streamMemoryBytes: MIB,
        streamChunkBytes: 64 * 1024,
        responseMemoryBytes: MIB,
        requestMemoryBytes: MIB,
        ...options.limits,
      },
      specialisations: options.specialisations,
      source: options.source,
    });
    this.cheetah.start();
  }

  /** Writes a file below the root; its modification time is `FILE_TIME` plus `age` seconds. */
  write(name: string, content: string | Uint8Array, later = 0): void {
    const path = join(this.root, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    utimesSync(path, FILE_TIME + later, FILE_TIME + later);
  }

  /** Lets virtual time pass. */
  pass(us: number): void {
    this.clock.runUntil(this.clock.nowUs() + us);
    this.turnClock.look();
    this.timers.advance(this.clock.nowUs());
    this.transport.turn();
  }

  /** Takes turns until `done`, letting the disk work in between. */
  async until(done: () => boolean): Promise<void> {
    const deadlineMs = performance.now() + PATIENCE_MS;
    while (performance.now() < deadlineMs) {
      this.transport.turn();
      if (done()) return;
      await setImmediate();
    }
    throw new Error('nothing happened');
  }

  /** Takes turns until the disk has been quiet for a while. */
  async settle(): Promise<void> {
    let quiet = 0;
    await this.until(() => {
      quiet = this.cheetah.holdings.lookups === 0 ? quiet + 1 : 0;
      return quiet > 3;
    });
  }

  /** Sends text on a new connection and returns what comes back until the connection ends or `responses` are whole. */
  async exchange(text: string | Uint8Array, responses = 1): Promise<string> {
    const connection = this.transport.connect();
    this.transport.deliver(connection, text);
    await this.until(() => connection.closed || connection.dead || countResponses(connection) >= responses);
    const output = connection.take();
    if (!connection.dead) {
      this.transport.deliverFin(connection);
      await this.until(() => connection.dead);
    }
    this.transport.turn();
    return output;
  }

  async get(path: string, fields = '', method = 'GET'): Promise<Response> {
    const text = await this.exchange(`${method} ${path} HTTP/1.1\r\nHost: test\r\n${fields}Connection: close\r\n\r\n`);
    return parseResponse(text);
  }

  /** Ends the server and checks that nothing is left. Returns what it still holds. */
  async close(): Promise<Cheetah<FakeConnection>['holdings']> {
    if (!this.closed) {
      this.closed = true;
      const closing = this.cheetah.close();
      let isClosed = false;
      void closing.then(() => {
        isClosed = true;
      });
      this.transport.acknowledging = true;
      for (const connection of this.transport.connections) this.transport.deliverFin(connection);
      await this.until(() => isClosed);
      this.transport.turn();
    }
    const { holdings } = this.cheetah;
    rmSync(this.directory, { recursive: true, force: true });
    return holdings;
  }
}

export const NOTHING_HELD = { versions: 0, blocks: 0, headBytes: 0, streams: 0, copies: 0, lookups: 0 };

export interface Response {
  readonly status: number;
  readonly statusLine: string;
  readonly fields: Map<string, string>;
  readonly body: string;
}

export function parseResponse(text: string): Response {
  const end = text.indexOf('\r\n\r\n');
  const [statusLine = '', ...lines] = text.slice(0, Math.max(0, end)).split('\r\n');
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(': ');
    fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 2));
  }
  return { status: Number(statusLine.split(' ')[1]), statusLine, fields, body: text.slice(end + 4) };
}

/** Cuts a stream of responses to GET requests into its parts. */
export function splitResponses(text: string): Response[] {
  const responses: Response[] = [];
  let rest = text;
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) break;
    const head = parseResponse(rest.slice(0, end + 4));
    const length = head.status === 304 ? 0 : Number(head.fields.get('content-length') ?? 0);
    if (rest.length < end + 4 + length) break;
    responses.push({ ...head, body: rest.slice(end + 4, end + 4 + length) });
    rest = rest.slice(end + 4 + length);
  }
  return responses;
}

function countResponses(connection: FakeConnection): number {
  return splitResponses(connection.output.toString('latin1')).length;
}
