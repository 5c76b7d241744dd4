/** A client and a Cheetah on a stack each, joined by a simulated link, with files of the test's making. */
import { setImmediate } from 'node:timers/promises';
import type { FrameObserver } from '../../src/driver/sim-link.ts';
import { createCheetah } from '../../src/host/create-cheetah.ts';
import type { Log } from '../../src/runtime/log.ts';
import type { Cheetah } from '../../src/servers/cheetah/cheetah.ts';
import type { CheetahLimits } from '../../src/servers/cheetah/settings.ts';
import { ALL_SPECIALISATIONS, type Specialisations, tcpSettingsOf } from '../../src/servers/cheetah/specialisations.ts';
import {
  closeSend,
  consume,
  readableAt,
  readableBytes,
  readableLength,
  send,
  takeEvents,
} from '../../src/tcp/calls.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import {
  type ConnectionError,
  EVENT_CLOSED,
  EVENT_CONNECTED,
  EVENT_PEER_CLOSED,
  type Tcb,
  type TcpUser,
} from '../../src/tcp/tcb.ts';
import { FakeFiles } from '../servers/cheetah/fake-files.ts';
import { findLeaks } from './leaks.ts';
import { ADDRESS_B, World, type WorldOptions } from './world.ts';

const MIB = 1024 * 1024;
const SLICE_US = 1000;
const LIMIT_US = 3600_000_000;
const TIME_WAIT_OVER_US = 130_000_000;

export interface CheetahWorldOptions {
  readonly seed?: number;
  readonly link?: WorldOptions['link'];
  readonly specialisations?: Partial<Specialisations>;
  readonly limits?: Partial<CheetahLimits>;
  readonly clientSettings?: Partial<TcpSettings>;
  readonly log?: Log;
}

export class CheetahWorld {
  readonly world: World;
  readonly files = new FakeFiles();
  readonly cheetah: Cheetah<Tcb>;
  /** Sees each frame that gets onto the wire. */
  onFrame: FrameObserver = () => {};

  constructor(options: CheetahWorldOptions = {}) {
    const specialisations = { ...ALL_SPECIALISATIONS, ...options.specialisations };
    this.world = new World({
      ...(options.seed === undefined ? {} : { seed: options.seed }),
      link: { ...options.link, observe: (...frame) => this.onFrame(...frame) },
      ...(options.clientSettings === undefined ? {} : { settingsA: options.clientSettings }),
      settingsB: tcpSettingsOf(specialisations),
    });
    this.cheetah = createCheetah(this.world.b, {
      root: '/',
      log: options.log,
      port: 80,
      source: this.files,
      specialisations,
      limits: {
        cacheBytes: MIB,
        streamMemoryBytes: MIB,
        streamChunkBytes: 64 * 1024,
        responseMemoryBytes: MIB,
        requestMemoryBytes: MIB,
        sendMemoryBytes: MIB,
        sendBufferBytes: 128 * 1024,
        ...options.limits,
      },
    });
    this.cheetah.start();
  }

  /** Opens a connection and sends the text; what comes back is in the fetch. */
  fetch(text: string): Fetch {
    const fetch = new Fetch(this.world, text);
    this.world.a.tcp.connect(ADDRESS_B, 80, fetch);
    this.world.a.stack.wake();
    return fetch;
  }

  /** Runs until something holds, files being read in between; throws when it does not come to pass. */
  async until(done: () => boolean): Promise<void> {
    const endUs = this.world.clock.nowUs() + LIMIT_US;
    while (!this.world.run(SLICE_US, done)) {
      if (this.world.clock.nowUs() > endUs) throw new Error('it did not come to pass');
      await setImmediate();
    }
  }

  /** Requests these paths, pipelined, the last with `Connection: close`; resolves when the connection is over. */
  async get(...paths: string[]): Promise<Fetch> {
    const last = paths.length - 1;
    const requests = paths.map(
      (path, i) => `GET ${path} HTTP/1.1\r\nHost: test\r\n${i === last ? 'Connection: close\r\n' : ''}\r\n`,
    );
    const fetch = this.fetch(requests.join(''));
    await this.until(() => fetch.closed);
    return fetch;
  }

  /** Ends the server; whatever is still held anywhere, by name. */
  async close(): Promise<string[]> {
    let closed = false;
    void this.cheetah.close().then(() => {
      closed = true;
    });
    await this.until(() => closed);
    this.world.run(TIME_WAIT_OVER_US);
    const held = Object.entries(this.cheetah.holdings).filter(([, count]) => count !== 0);
    const leaks = [...findLeaks(this.world.a), ...findLeaks(this.world.b), ...held.map(([name]) => name)];
    this.world.close();
    return leaks;
  }
}

export class Fetch implements TcpUser {
  closed = false;
  error: ConnectionError = '';
  /** Reads nothing while it is set. */
  paused = false;
  connection: Tcb | null = null;
  private readonly world: World;
  private readonly text: string;
  private readonly pieces: Buffer[] = [];
  private peerClosed = false;

  constructor(world: World, text: string) {
    this.world = world;
    this.text = text;
  }

  get output(): Buffer {
    return Buffer.concat(this.pieces);
  }

  get receivedBytes(): number {
    return this.pieces.reduce((sum, piece) => sum + piece.length, 0);
  }

  ready(connection: Tcb): void {
    this.connection = connection;
    const events = takeEvents(connection);
    if ((events & EVENT_CONNECTED) !== 0) {
      const { arena } = this.world;
      const at = arena.allocate(this.text.length);
      arena.bytes.set(Buffer.from(this.text, 'latin1'), at);
      send(connection, at, this.text.length, null, 0);
    }
    if ((events & EVENT_PEER_CLOSED) !== 0) this.peerClosed = true;
    if ((events & EVENT_CLOSED) !== 0) {
      this.closed = true;
      this.error = connection.error;
      return;
    }
    this.read(connection);
  }

  resume(): void {
    this.paused = false;
    if (this.connection !== null) this.read(this.connection);
    this.world.a.stack.wake();
  }

  private read(connection: Tcb): void {
    while (!this.paused && readableBytes(connection) > 0) {
      const at = readableAt(connection);
      const length = readableLength(connection);
      this.pieces.push(Buffer.from(this.world.arena.bytes.subarray(at, at + length)));
      consume(connection, length);
    }
    if (this.peerClosed && readableBytes(connection) === 0) closeSend(connection);
  }
}
