/** User calls (RFC 9293 section 3.9.1) in the orders that applications find. */
import {
  abort,
  close,
  closeSend,
  consume,
  queuedBytes,
  readableAt,
  readableBytes,
  readableLength,
  send,
  takeEvents,
} from '../../src/tcp/calls.ts';
import { EVENT_CLOSED, EVENT_CONNECTED, type Tcb } from '../../src/tcp/tcb.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { MILLISECOND, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

simulate('send after closeSend and after close throws RangeError and takes nothing', (t, world) => {
  for (const end of [closeSend, close]) {
    const { peer, user, tcb } = world.accept();
    world.call(() => end(tcb));
    t.throws(() => send(tcb, world.pattern(10), 10, user, 0), { instanceOf: RangeError });
    t.is(queuedBytes(tcb), 0);
    t.is(peer.takeAll().length, 1);
    peer.send({ flags: 'R' });
  }
});

simulate('regions that are not in the arena throw RangeError', (t, world) => {
  const { user, tcb } = world.accept();
  const at = world.pattern(10);
  for (const [where, length] of [
    [0, 10],
    [-1, 10],
    [at, 0],
    [at, -1],
    [at, Number.NaN],
    [Number.NaN, 10],
    [world.arena.bytes.length - 5, 10],
    [at, 2 ** 31],
  ] as const) {
    t.throws(() => send(tcb, where, length, user, 0), { instanceOf: RangeError }, `${length} at ${where}`);
  }
  t.is(queuedBytes(tcb), 0);
});

simulate('a queue has a limit', (t, world) => {
  const { tcb } = world.accept();
  const at = world.pattern(65_536);
  const block = 64 * 1024 * 1024;
  for (let i = 0; i < 16; i++) send(tcb, at, block, null, 0);
  t.is(queuedBytes(tcb), 2 ** 30);
  t.throws(() => send(tcb, at, 1, null, 0), { instanceOf: RangeError });
});

simulate('queuedBytes counts text alone', (t, world) => {
  const peer = new RawPeer(world, { port: 8080 });
  const user = new TestUser(world);
  const tcb = world.host.tcp.connect(peer.address, peer.port, user);
  if (tcb === null) throw new Error('no connection');
  t.is(queuedBytes(tcb), 0, 'a SYN is no text');
  world.call(() => user.send(tcb, 100));
  t.is(queuedBytes(tcb), 100);
  peer.send({ flags: 'SA', mss: 1460 });
  t.is(queuedBytes(tcb), 100);
  peer.send({ ack: 41 });
  t.is(queuedBytes(tcb), 60);
  world.call(() => closeSend(tcb));
  t.is(queuedBytes(tcb), 60);
  peer.send({ ack: 102 });
  t.is(queuedBytes(tcb), 0);
});

simulate('closeSend, close and abort may be called again and in every order', (t, world) => {
  for (const calls of [
    [closeSend, closeSend, close, close, abort, abort],
    [close, closeSend, close],
    [abort, close, closeSend, abort],
    [closeSend, abort, closeSend],
  ]) {
    const { peer, user, tcb } = world.accept();
    world.call(() => {
      for (const call of calls) call(tcb);
    });
    const seen = peer.takeAll();
    t.is(seen.length, 1);
    t.is(seen[0]?.flags, calls.includes(abort) ? 'RA' : 'FA');
    if (!user.closed) peer.send({ flags: 'R' });
    t.is(user.history.filter((line) => line.includes('closed')).length, 1);
  }
});

simulate('abort inside ready: one call with EVENT_CLOSED follows, and one reset', (t, world) => {
  const user = new TestUser(world);
  user.onReady = (connection, events) => {
    if ((events & EVENT_CLOSED) === 0) abort(connection);
  };
  world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  peer.takeAll();
  peer.send({ data: 100 });
  t.deepEqual(user.history, ['connected, readable', 'closed']);
  t.is(user.error, 'ECONNABORTED');
  t.is(peer.takeAll().length, 1);
  t.is(world.host.tcp.liveConnections, 0);
  world.advance(SECOND);
  t.is(user.history.length, 2);
});

simulate('abort inside ready with text queued and unread: regions come back, nothing is readable', (t, world) => {
  const user = new TestUser(world);
  user.reads = false;
  let readable = -1;
  user.onReady = (connection, events) => {
    if ((events & EVENT_CLOSED) !== 0) {
      readable = readableBytes(connection);
      return;
    }
    user.send(connection, 5000);
    abort(connection);
    t.is(readableLength(connection), readableBytes(connection) === 0 ? 0 : readableLength(connection));
  };
  world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  peer.send({ data: 100 });
  world.advance(MILLISECOND);
  t.is(readable, 0);
  t.is(user.regions, 0);
});

simulate('a connection that a reset has ended has nothing to read', (t, world) => {
  const user = new TestUser(world);
  user.reads = false;
  let loops = 0;
  user.onReady = (connection) => {
    // The obvious loop must end.
    while (readableBytes(connection) > 0 && loops++ < 1000) consume(connection, readableLength(connection));
  };
  const { peer } = world.accept({ user });
  peer.queue({ data: 100 });
  peer.queue({ flags: 'R' });
  world.settle();
  t.true(user.closed);
  t.true(loops <= 1);
});

simulate('calls in accept', (t, world) => {
  for (const [call, expected] of [
    [(tcb: Tcb, user: TestUser) => user.send(tcb, 10), ['A 1:11(10) ack 1']],
    [(tcb: Tcb) => closeSend(tcb), ['FA 1:1(0) ack 1']],
    [(tcb: Tcb) => abort(tcb), ['RA 1:1(0) ack 1']],
    [
      (tcb: Tcb, user: TestUser) => {
        user.send(tcb, 10);
        close(tcb);
      },
      ['FA 1:11(10) ack 1'],
    ],
  ] as const) {
    const user = new TestUser(world);
    const listener = world.listen((tcb) => {
      call(tcb, user);
      return user;
    });
    const peer = new RawPeer(world);
    peer.send({ flags: 'S', mss: 1460 });
    peer.takeAll();
    peer.send();
    t.deepEqual(peer.lines(), [...expected]);
    peer.send({ flags: 'R' });
    t.is(user.history.filter((line) => line.includes('closed')).length, 1);
    t.is(user.regions, 0);
    listener.close();
  }
});

simulate('calls in release: the owner of a region may send, close and abort', (t, world) => {
  for (const what of ['send', 'close', 'abort'] as const) {
    const { peer, user, tcb } = world.accept();
    let done = false;
    user.onRelease = () => {
      if (done) return;
      done = true;
      if (what === 'send') user.send(tcb, 700);
      else if (what === 'close') closeSend(tcb);
      else abort(tcb);
    };
    world.call(() => {
      user.send(tcb, 500);
      user.send(tcb, 500);
    });
    peer.takeAll();
    peer.send({ ack: 1001 });
    const seen = peer.takeAll();
    if (what === 'send')
      t.is(
        seen.reduce((sum, segment) => sum + segment.length, 0),
        700,
      );
    else t.is(seen.at(-1)?.flags, what === 'close' ? 'FA' : 'RA');
    if (what === 'send') peer.send({ ack: 1701 });
    else if (what === 'close') peer.send({ flags: 'R' });
    world.advance(SECOND);
    t.is(user.regions, 0);
    t.is(new Set(user.released).size, user.released.length);
  }
});

simulate('regions come back once each, in order, when they are acknowledged', (t, world) => {
  const { peer, user, tcb } = world.accept();
  world.call(() => {
    for (let i = 0; i < 10; i++) user.send(tcb, 100);
  });
  peer.takeAll();
  peer.send({ ack: 150 });
  t.deepEqual(user.released, [0]);
  peer.send({ ack: 401 });
  t.deepEqual(user.released, [0, 100, 200, 300]);
  world.call(() => abort(tcb));
  t.deepEqual(user.released, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
});

simulate('send on a connection that is gone gives the region back', (t, world) => {
  const { peer, user, tcb } = world.accept();
  user.onReady = (connection, events) => {
    if ((events & EVENT_CLOSED) !== 0) user.send(connection, 10);
  };
  peer.send({ flags: 'R' });
  t.true(user.closed);
  t.is(user.regions, 0);
  t.deepEqual(user.released, [0]);
  t.is(queuedBytes(tcb), 0);
});

simulate('ready is called at most once a turn, and once more when the call itself ends the connection', (t, world) => {
  const turns = new Map<number, string[]>();
  let turn = 0;
  const { process } = world.host.stack;
  world.host.stack.process = (nowUs) => {
    turn++;
    process.call(world.host.stack, nowUs);
  };
  const user = new TestUser(world);
  user.onReady = (connection, events) => {
    turns.set(turn, [...(turns.get(turn) ?? []), user.history.at(-1) ?? '']);
    if ((events & EVENT_CONNECTED) !== 0) user.send(connection, 100);
    if (user.receivedBytes >= 100 && (events & EVENT_CLOSED) === 0) abort(connection);
  };
  const { peer } = world.accept({ user });
  peer.queue({ data: 50 });
  peer.queue({ data: 50 });
  peer.queue({ flags: 'FA' });
  world.settle();
  t.deepEqual([...turns.values()], [['connected'], ['readable, peer closed', 'closed']]);
});

simulate(
  'EVENT_WRITABLE comes when the queue has fallen to the low water mark, once',
  (t, world) => {
    const { peer, user, tcb } = world.accept({ windowScale: 7 });
    world.call(() => user.send(tcb, 100_000));
    while (queuedBytes(tcb) > 50_000) {
      t.deepEqual(user.history, ['connected']);
      peer.send();
    }
    t.deepEqual(user.history, ['connected', 'writable']);
    while (queuedBytes(tcb) > 0) peer.send();
    t.deepEqual(user.history, ['connected', 'writable']);
    // Below it all the time: no event.
    world.call(() => user.send(tcb, 10_000));
    peer.send();
    t.is(user.history.length, 2);
  },
  { settings: { sendLowWaterBytes: 50_000, maxSendLowWaterBytes: 50_000 } },
);

simulate('events that the application does not take stay', (t, world) => {
  const user = new TestUser(world);
  let seen = 0;
  world.listen(() => ({
    ready: (connection) => {
      seen++;
      if (seen === 2) user.ready(connection);
    },
  }));
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  peer.send();
  peer.send({ data: 10 });
  t.deepEqual(user.history, ['connected, readable']);
});

simulate('listen and connect refuse what cannot be', (t, world) => {
  const { tcp } = world.host;
  const user = new TestUser(world);
  for (const port of [0, -1, 65_536, 1.5, Number.NaN]) {
    t.throws(() => tcp.listen(port, () => user), { instanceOf: RangeError });
    t.throws(() => tcp.connect(world.peerAddress, port, user), { instanceOf: RangeError });
  }
  const listener = tcp.listen(80, () => user);
  t.throws(() => tcp.listen(80, () => user), { instanceOf: RangeError });
  listener.close();
  listener.close();
  tcp.listen(80, () => user).close();
});

simulate('an application that throws does not spoil the connections of others', (t, world) => {
  const other = world.accept();
  const bad = world.accept();
  const third = world.accept();
  bad.user.onReady = () => {
    throw new Error('application');
  };
  other.peer.queue({ data: 10 });
  bad.peer.queue({ data: 10 });
  third.peer.queue({ data: 10 });
  t.throws(() => world.settle(), { message: 'application' });
  bad.user.onReady = null;
  world.call(() => {});
  other.peer.send({ data: 10 });
  bad.peer.send({ data: 10 });
  third.peer.send({ data: 10 });
  for (const { user } of [other, bad, third]) {
    t.is(user.receivedBytes, 20);
    t.true(user.isIntact);
  }
  // Ended in the turn that was cut short: a TCB must not be given out twice.
  for (const { peer } of [other, third]) peer.queue({ flags: 'R' });
  bad.user.onReady = () => {
    throw new Error('application');
  };
  bad.peer.queue({ data: 10 });
  t.throws(() => world.settle(), { message: 'application' });
  bad.user.onReady = null;
  world.call(() => {});
  const fresh = Array.from({ length: 4 }, () => world.accept());
  t.is(new Set(fresh.map(({ tcb }) => tcb)).size, 4);
  t.is(world.host.tcp.liveConnections, 5);
});

simulate('a connection may abort another, whichever comes first in the turn', (t, world) => {
  const [first, second] = [world.accept(), world.accept()];
  first.user.onReady = () => abort(second.tcb);
  second.user.onReady = (_, events) => {
    if ((events & EVENT_CLOSED) === 0) abort(first.tcb);
  };
  first.peer.queue({ data: 10 });
  second.peer.queue({ data: 10 });
  world.settle();
  t.true(second.user.closed);
  t.is(second.user.history.filter((line) => line.includes('closed')).length, 1);
  t.true(world.host.tcp.liveConnections <= 1);
});

simulate('a connection may read another one', (t, world) => {
  const [first, second] = [world.accept(), world.accept()];
  second.user.reads = false;
  first.user.onReady = () => {
    second.user.read(second.tcb);
  };
  for (let round = 0; round < 5; round++) {
    second.peer.queue({ data: 100 });
    first.peer.queue({ data: 1 });
    second.peer.queue({ data: 100 });
    world.settle();
  }
  world.call(() => second.user.read(second.tcb));
  t.is(second.user.receivedBytes, 1000);
  t.true(second.user.isIntact);
});

simulate('a connection opened inside ready works', (t, world) => {
  const inner = new TestUser(world);
  const server = new RawPeer(world, { port: 9000 });
  const { peer, user } = world.accept();
  user.onReady = () => {
    user.onReady = null;
    world.host.tcp.connect(server.address, server.port, inner);
  };
  peer.send({ data: 1 });
  t.deepEqual(server.lines(), ['S 0:0(0)']);
  server.send({ flags: 'SA', mss: 1460 });
  t.true(inner.connected);
});

simulate('everything may be asked of a connection that has just been closed', (t, world) => {
  const { peer, user } = world.accept();
  let asked = false;
  user.onReady = (connection, events) => {
    if ((events & EVENT_CLOSED) === 0) return;
    asked = true;
    t.is(takeEvents(connection), 0);
    t.is(readableBytes(connection), 0);
    t.is(readableLength(connection), 0);
    readableAt(connection);
    consume(connection, 0);
    closeSend(connection);
    close(connection);
    abort(connection);
    t.is(queuedBytes(connection), 0);
  };
  peer.send({ flags: 'R' });
  t.true(asked);
  t.is(user.history.filter((line) => line.includes('closed')).length, 1);
});

simulate('a host closes more connections than it may send resets for in a turn', (t, world) => {
  const connected = Array.from({ length: 600 }, () => world.accept());
  world.call(() => {
    for (const { tcb } of connected) abort(tcb);
  });
  world.advance(SECOND);
  // Ctrl-C, and an application that drops its clients: every peer hears of it.
  t.is(connected.filter(({ peer }) => peer.log.at(-1)?.flags === 'RA').length, 600);
});

simulate('an accept that throws leaves nothing behind', (t, world) => {
  const listener = world.listen(() => {
    throw new Error('accept');
  });
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: 1460 });
  peer.queue({ data: 100 });
  t.throws(() => world.settle(), { message: 'accept' });
  world.call(() => {});
  t.is(listener.halfOpen, 0);
  world.advance(10 * SECOND);
  // There is no user: nobody could ever close it.
  t.is(world.host.tcp.liveConnections, 0);
  t.is(world.host.stack.environment.held, 0);
});
