/**
 * Windows and queues that follow what is read and sent: a receive window begins at 64 KiB, as Linux's does, and grows to twice
 * what was read in a round trip; the application hears that there is room while there is still a window to send.
 */
import test from 'ava';
import { consume, queuedBytes, readableBytes, send, sendBufferBytes, takeEvents } from '../../src/tcp/calls.ts';
import { type Seq, seqAfterOrAt } from '../../src/tcp/sequence.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import type { Tcb, TcpUser } from '../../src/tcp/tcb.ts';
import { MILLISECOND, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { ADDRESS_B, World } from '../support/world.ts';

const CHUNK_BYTES = 64 * 1024;
const START_BYTES = 64 * 1024;

/** Sends without end, as much as is worth having queued. */
class Sender implements TcpUser {
  private readonly at: number;

  constructor(at: number) {
    this.at = at;
  }

  ready(connection: Tcb): void {
    takeEvents(connection);
    while (queuedBytes(connection) <= sendBufferBytes(connection)) send(connection, this.at, CHUNK_BYTES, null, 0);
  }
}

/** Reads what there is, `sharePerTurn` of it at a time. */
class Reader implements TcpUser {
  connection: Tcb | null = null;
  received = 0;
  widest = 0;
  edgeMovedBack = false;
  private edge: Seq | null = null;

  ready(connection: Tcb): void {
    this.connection = connection;
    takeEvents(connection);
    const bytes = readableBytes(connection);
    consume(connection, bytes);
    this.received += bytes;
    this.widest = Math.max(this.widest, connection.windowLimitBytes);
    if (this.edge !== null && !seqAfterOrAt(connection.rcvAdv, this.edge)) this.edgeMovedBack = true;
    this.edge = connection.rcvAdv;
  }
}

function transfer(settings: Partial<TcpSettings>, seconds: number, delayUs = 50 * MILLISECOND): Reader {
  const world = new World({
    seed: 11,
    link: { delayUs, bitsPerSecond: 1e8, queueFrames: 2000, inboxFrames: 4096 },
    settingsA: settings,
    settingsB: settings,
  });
  const reader = new Reader();
  world.b.tcp.listen(80, () => reader);
  world.a.tcp.connect(ADDRESS_B, 80, new Sender(world.arena.allocate(CHUNK_BYTES)));
  world.a.stack.wake();
  world.run(seconds * SECOND);
  world.close();
  return reader;
}

test('a long path is filled: 100 Mbit/s and a round trip of 100 ms', (t) => {
  const tuned = transfer({}, 4);
  t.true(tuned.received >= 0.7 * 4 * 12.5e6, `${tuned.received} bytes in four seconds`);
  t.true(tuned.widest >= 1.25e6, `a window of ${tuned.widest} bytes`);
  t.false(tuned.edgeMovedBack);
  const fixed = transfer({ receiveBufferBytes: START_BYTES }, 4);
  t.true(fixed.received <= 5 * 650_000, `${fixed.received} bytes with 64 KiB in a round trip`);
  const dry = transfer({ maxSendLowWaterBytes: 0 }, 4);
  t.true(2 * dry.received < tuned.received, `${dry.received} bytes with a queue that does not follow`);
});

test('a short path needs no wide window', (t) => {
  const reader = transfer({}, 1, 500);
  t.true(reader.received >= 0.85 * 12.5e6, `${reader.received} bytes`);
  t.true(reader.widest <= 2 ** 20, `a window of ${reader.widest} bytes`);
});

simulate('the window follows what is read in a round trip, and only that', (t, world) => {
  const { peer, user, tcb } = world.accept({ windowScale: 7 });
  t.is(tcb.windowLimitBytes, START_BYTES);
  user.reads = false;
  const round = (bytes: number): void => {
    world.advance(10 * MILLISECOND);
    for (let left = bytes; left > 0; left -= 1000) peer.send({ data: Math.min(left, 1000) });
    world.call(() => user.read(tcb));
  };
  round(20_000);
  t.is(tcb.windowLimitBytes, START_BYTES, 'twice 20 kB is less than there is');
  round(60_000);
  t.is(tcb.windowLimitBytes, 2 * 60_000 + 16 * 1000);
  round(60_000);
  round(30_000);
  t.is(tcb.windowLimitBytes, 2 * 60_000 + 16 * 1000, 'never less, and no more for the same');
  round(100_000);
  t.is(tcb.windowLimitBytes, 2 * 100_000 + 16 * 1000);
  t.true(world.host.tcp.counters.get('receiveWindowsGrown') >= 2);
  // Many small reads at once are one.
  world.advance(10 * MILLISECOND);
  for (let i = 0; i < 150; i++) {
    peer.send({ data: 1000 });
    world.call(() => user.read(tcb));
  }
  t.is(tcb.windowLimitBytes, 2 * 150_000 + 16 * 1000);
  peer.send({ data: 1000 });
  world.advance(SECOND);
  t.is(peer.log.at(-1)?.window, (2 * 150_000 + 15 * 1000) >> 7);
});

simulate(
  'it ends at receiveBufferBytes, and does not grow while memory is short',
  (t, world) => {
    const { peer, tcb } = world.accept({ windowScale: 7 });
    const round = (): void => {
      world.advance(10 * MILLISECOND);
      for (let i = 0; i < 60; i++) peer.send({ data: 1000 });
    };
    const holders = [0, 1, 2].map(() => world.accept());
    for (const holder of holders) {
      holder.user.reads = false;
      for (let i = 0; i < 60; i++) holder.peer.send({ data: 1000 });
    }
    t.is(world.host.tcp.receiveMemory.usedBytes, 3 * 65_536);
    round();
    round();
    t.is(tcb.windowLimitBytes, START_BYTES, 'there is no memory for more');
    for (const { user, tcb: held } of holders) world.call(() => user.read(held));
    round();
    t.is(tcb.windowLimitBytes, 131_072);
  },
  { settings: { receiveBufferBytes: 131_072, receivePoolBytes: 4 * 65_536 } },
);

simulate(
  'EVENT_WRITABLE comes at twice the congestion window, and at sendLowWaterBytes once more',
  (t, world) => {
    const { peer, user, tcb } = world.accept({ windowScale: 7 });
    const told: number[] = [];
    user.onReady = (connection) => {
      if (user.history.at(-1) === 'writable') told.push(queuedBytes(connection));
    };
    world.call(() => user.send(tcb, 200_000));
    while (queuedBytes(tcb) > 0) {
      world.advance(MILLISECOND);
      peer.send();
    }
    t.is(told.length, 2);
    const [early, late] = told as [number, number];
    t.true(early > 20_000 && early < 150_000, `told at ${early} bytes`);
    t.true(late <= 10_000, `told at ${late} bytes`);
    t.is(sendBufferBytes(tcb), Math.max(10_000, 2 * tcb.cwndBytes));
  },
  { settings: { sendLowWaterBytes: 10_000 } },
);
