/**
 * What the fuzzer runs: a host in simulation whose peers, and whose application, do what the bytes of an input say. A step is
 * eight bytes: what is done, to which connection, and how. Whatever comes, nothing may throw, hang or leak, and what must hold
 * of a connection holds.
 */
import { abort, close, closeSend, setCongestionControl } from '../../src/tcp/calls.ts';
import { CONGESTION_CONTROLS } from '../../src/tcp/congestion/controls.ts';
import { CLOSED } from '../../src/tcp/state.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { assert, assertConnection } from '../support/invariants.ts';
import { findLeaks } from '../support/leaks.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { RawWorld, SECOND } from '../support/raw-world.ts';
import { TestUser } from '../support/test-user.ts';
import { stepsOf } from './fuzzer.ts';

const MAX_LINES = 3;
/** Inputs that share a world: making one takes longer than an input. */
const INPUTS_OF_A_WORLD = 200;
const EVERYTHING_OVER_US = 4000 * SECOND;
const TIMES_US = [1000, 10_000, 50_000, 250_000, SECOND, 5 * SECOND, 70 * SECOND, 700 * SECOND];
const CONTROLS = Object.keys(CONGESTION_CONTROLS);

interface Line {
  readonly peer: RawPeer;
  readonly user: TestUser;
  /** Its stream may begin elsewhere than at its first sequence number. */
  hasStrangeSyn: boolean;
}

export class StackTarget {
  private world: RawWorld | null = null;
  private inputs = 0;
  private lines: Line[] = [];

  run(input: Uint8Array): void {
    const world = this.open();
    this.lines = [];
    try {
      for (const step of stepsOf(input)) {
        this.take(world, step);
        world.settle();
        this.check(world);
      }
      for (const { user, hasStrangeSyn } of this.lines) {
        assert(hasStrangeSyn || user.isIntact, 'the text is not what was sent');
      }
      this.end(world);
    } catch (error) {
      // What it holds now would be found in the next input.
      this.close();
      throw error;
    }
    if (++this.inputs % INPUTS_OF_A_WORLD === 0) this.close();
  }

  close(): void {
    this.world?.close();
    this.world = null;
  }

  private open(): RawWorld {
    if (this.world !== null) return this.world;
    const world = new RawWorld({
      seed: 5,
      settings: {
        receiveBufferBytes: 16_384,
        receivePoolBytes: 4 * 16_384,
        maxTimeWait: 3,
        maxConnections: 8,
        ecn: 'offer',
        keepAliveIdleUs: 100 * SECOND,
        sendLowWaterBytes: 5000,
      },
    });
    world.listen(
      (tcb) => {
        const user = this.lines.find(({ peer }) => peer.port === tcb.remotePort)?.user ?? new TestUser(world);
        user.connection = tcb;
        return user;
      },
      80,
      2,
    );
    this.world = world;
    return world;
  }

  private take(world: RawWorld, step: Uint8Array): void {
    const [kind = 0, which = 0] = step;
    const line = this.lines[which % MAX_LINES] ?? this.begin(world, step);
    switch (kind % 16) {
      case 0:
        world.advance(TIMES_US[(step[2] ?? 0) % TIMES_US.length] ?? SECOND);
        break;
      case 1:
      case 2:
        this.call(world, line, step);
        break;
      case 3:
        line.peer.icmpUnreachable((step[2] ?? 0) % 16, number16(step, 4), number16(step, 6), 8 + ((step[3] ?? 0) % 20));
        break;
      case 4:
        // Honest, as most peers are.
        line.peer.send({ data: number16(step, 4) % 1400 });
        break;
      case 5:
        line.peer.send();
        break;
      default:
        this.segment(line, step);
    }
  }

  /** A connection that is opened from one side or the other, with this or that on the SYN. */
  private begin(world: RawWorld, step: Uint8Array): Line {
    const how = step[7] ?? 0;
    const user = new TestUser(world);
    const syn = {
      mss: number16(step, 4),
      sackPermitted: (how & 2) !== 0,
      ...((how & 4) === 0 ? {} : { windowScale: (step[6] ?? 0) % 20 }),
    };
    const timestamps = (how & 8) !== 0;
    const echo = (how & 16) === 0 ? '' : 'E';
    const peer = new RawPeer(world, (how & 1) === 0 ? {} : { port: 8080 + this.lines.length });
    const line = { peer, user, hasStrangeSyn: false };
    this.lines.push(line);
    line.peer.timestamps = timestamps;
    if ((how & 1) === 0) {
      line.peer.send({ flags: echo === '' ? 'S' : 'SEW', ...syn });
      if ((how & 32) === 0) line.peer.send();
    } else {
      const tcb = world.host.tcp.connect(line.peer.address, line.peer.port, user);
      user.connection = tcb;
      world.call(() => {});
      if ((how & 32) === 0) line.peer.send({ flags: `SA${echo}`, ...syn });
    }
    return line;
  }

  private call(world: RawWorld, { user }: Line, step: Uint8Array): void {
    const { connection } = user;
    if (connection === null || user.closed) return;
    world.call(() => {
      switch ((step[2] ?? 0) % 12) {
        case 0:
          closeSend(connection);
          break;
        case 1:
          close(connection);
          break;
        case 2:
          abort(connection);
          break;
        case 3:
          user.reads = !user.reads;
          if (user.reads) user.read(connection);
          break;
        case 4:
          user.read(connection, number16(step, 4));
          break;
        case 5:
          setCongestionControl(connection, CONTROLS[(step[3] ?? 0) % CONTROLS.length] ?? 'cubic');
          break;
        default:
          if (!connection.finQueued && connection.state !== CLOSED) user.send(connection, 1 + (number16(step, 4) >> 1));
      }
    });
  }

  private segment(line: Line, step: Uint8Array): void {
    const { peer } = line;
    const [, , letters = 0, far = 0, , , how = 0, edge = 0] = step;
    const flags = [...'AFSRPUEW'].filter((_, bit) => (letters & (1 << bit)) !== 0).join('');
    if (flags.includes('S')) line.hasStrangeSyn = true;
    const near = (number16(step, 4) % 4096) - 2048;
    const seq = peer.sndNxt + ([0, near, near * 1000, -1][far % 4] ?? 0);
    const ack = peer.rcvNxt + ([0, (near % 3000) - 1500, near * 1000, 1][(far >> 2) % 4] ?? 0);
    const block = (left: number, length: number) => [left, left + length] as const;
    const before = peer.sndNxt;
    peer.send({
      flags,
      seq,
      ack,
      ecn: (far >> 4) % 4,
      data: (how & 1) === 0 ? 0 : (edge * 5) % 1300,
      ...((how & 2) === 0 ? {} : { window: number16(step, 4) }),
      ...((how & 4) === 0
        ? {}
        : { sack: [block(ack + (edge % 64) * 100, 100 + edge * 10), block(ack + near, edge * 4)] }),
      ...((how & 24) === 24 ? { timestamps: [peer.world.tsValue() + near, near] as const } : {}),
      ...((how & 96) === 96 ? { options: step.slice(4) } : {}),
      spoilChecksum: (how & 128) !== 0 && edge % 8 === 0,
    });
    // An honest segment goes on from where the peer is.
    if (seq !== before) peer.sndNxt = before;
  }

  private check(world: RawWorld): void {
    const { tcp, stack } = world.host;
    assert(!tcp.hasWork, 'a host that has come to rest has work');
    assert(stack.environment.held === 0, 'receive slots are held between turns');
    const tcbs = (tcp as unknown as { tcbs: Tcb[] }).tcbs;
    for (const tcb of tcbs) if (tcb.state !== CLOSED) assertConnection(tcb);
  }

  private end(world: RawWorld): void {
    const tcbs = (world.host.tcp as unknown as { tcbs: Tcb[] }).tcbs;
    world.call(() => {
      for (const tcb of tcbs) abort(tcb);
    });
    for (const { peer } of this.lines) world.detach(peer);
    world.advance(EVERYTHING_OVER_US);
    const leaks = findLeaks(world.host);
    assert(leaks.length === 0, `leaks: ${leaks.join(', ')}`);
  }
}

function number16(step: Uint8Array, at: number): number {
  return ((step[at] ?? 0) << 8) | (step[at + 1] ?? 0);
}
