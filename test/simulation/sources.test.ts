/** A host with whole prefixes of addresses: connections from each of them, and answers to whoever asks for one. */
import test from 'ava';
import { closeSend, consume, readableBytes, readableLength, send, takeEvents } from '../../src/tcp/calls.ts';
import { EVENT_CLOSED, EVENT_CONNECTED, EVENT_PEER_CLOSED, type Tcb, type TcpUser } from '../../src/tcp/tcb.ts';
import { findLeaks } from '../support/leaks.ts';
import { ADDRESS_A, ADDRESS_B, World } from '../support/world.ts';

const SECOND = 1_000_000;
const SOURCES = { address: 0x0a000080, prefixLength: 26 };
const SOURCE_COUNT = 64;
const MESSAGE_BYTES = 100;

/** Sends one message, reads what comes, and closes when the peer has. */
class Talker implements TcpUser {
  received = 0;
  closed = false;
  error = '';
  private readonly messageAt: number;

  constructor(messageAt: number) {
    this.messageAt = messageAt;
  }

  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    if ((events & EVENT_CONNECTED) !== 0) send(connection, this.messageAt, MESSAGE_BYTES, null, 0);
    while (readableBytes(connection) > 0) {
      const length = readableLength(connection);
      this.received += length;
      consume(connection, length);
    }
    if (this.received === MESSAGE_BYTES || (events & EVENT_PEER_CLOSED) !== 0) closeSend(connection);
    if ((events & EVENT_CLOSED) === 0) return;
    this.closed = true;
    this.error = connection.error;
  }
}

test('a connection from every address of a prefix, and the primary one', (t) => {
  const world = new World({
    sourcesA: [SOURCES],
    settingsA: { timeWaitUs: SECOND },
    settingsB: { timeWaitUs: SECOND },
  });
  const messageAt = world.arena.allocate(MESSAGE_BYTES);
  const remotes = new Set<number>();
  world.b.tcp.listen(80, (connection) => {
    remotes.add(connection.remoteAddress);
    return new Talker(messageAt);
  });
  const talkers: Talker[] = [];
  for (let n = -1; n < SOURCE_COUNT; n++) {
    const talker = new Talker(messageAt);
    const source = n < 0 ? ADDRESS_A : SOURCES.address + n;
    t.is(world.a.tcp.connect(ADDRESS_B, 80, talker, source)?.localAddress, source);
    talkers.push(talker);
  }
  world.a.stack.wake();
  t.true(world.run(10 * SECOND, () => talkers.every(({ closed }) => closed)));
  t.is(remotes.size, 1 + SOURCE_COUNT);
  t.true(talkers.every(({ received, error }) => received === MESSAGE_BYTES && error === ''));
  world.run(3 * SECOND);
  t.deepEqual(findLeaks(world.a), []);
  t.deepEqual(findLeaks(world.b), []);
  world.close();
});

test('whoever asks for an address of the prefix is answered from it', (t) => {
  const world = new World({ sourcesA: [SOURCES] });
  const messageAt = world.arena.allocate(MESSAGE_BYTES);
  const locals: number[] = [];
  world.a.tcp.listen(80, (connection) => {
    locals.push(connection.localAddress);
    return new Talker(messageAt);
  });
  const talker = new Talker(messageAt);
  world.b.tcp.connect(SOURCES.address + 7, 80, talker);
  const stranger = new Talker(messageAt);
  world.b.tcp.connect(SOURCES.address + SOURCE_COUNT, 80, stranger);
  world.b.stack.wake();
  t.true(world.run(30 * SECOND, () => talker.closed && stranger.closed));
  t.is(talker.error, '');
  t.deepEqual(locals, [SOURCES.address + 7]);
  t.is(stranger.error, 'EHOSTUNREACH');
  world.close();
});

test('a stack refuses to speak from an address that it does not have', (t) => {
  const world = new World({ sourcesA: [SOURCES] });
  const talker = new Talker(0);
  for (const source of [ADDRESS_B, SOURCES.address - 1, SOURCES.address + SOURCE_COUNT, 0]) {
    t.throws(() => world.a.tcp.connect(ADDRESS_B, 80, talker, source), { instanceOf: RangeError });
  }
  world.close();
});
