/** Closing connections in every order (RFC 9293 sections 3.6, 3.10.4, 3.10.5), segment by segment. */
import { abort, close, closeSend, queuedBytes, readableBytes } from '../../src/tcp/calls.ts';
import { CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK } from '../../src/tcp/state.ts';
import { type Connected, MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { assertOnTime, simulate } from '../support/simulate.ts';

/** The least retransmission time-out, that of a link without delay. */
const RTO_US = 200_000;
const TIME_WAIT_US = 60 * SECOND;

function timeWaits(world: RawWorld): number {
  return world.host.tcp.timeWait.live;
}

/** An accepted connection that both ends have used, so that what is left over from the handshake is gone. */
function used(world: RawWorld): Connected {
  const connected = world.accept();
  const { peer, user, tcb } = connected;
  peer.send({ data: 10 });
  world.call(() => user.send(tcb, 10));
  peer.send();
  peer.takeAll();
  user.history.splice(0);
  return connected;
}

simulate('active close', (t, world) => {
  const { peer, user, tcb } = used(world);
  // RFC 9293 3.6 figure 12.
  world.call(() => closeSend(tcb));
  t.deepEqual(peer.lines(), ['FA 11:11(0) ack 11']);
  t.is(tcb.state, FIN_WAIT_1);
  peer.send();
  t.is(tcb.state, FIN_WAIT_2);
  t.deepEqual(peer.lines(), []);
  peer.send({ flags: 'FA' });
  t.deepEqual(peer.lines(), ['A 12:12(0) ack 12']);
  t.deepEqual(user.history, ['peer closed, closed']);
  t.is(user.error, '');
  t.is(timeWaits(world), 1);
  t.is(world.host.tcp.liveConnections, 0);
  world.advance(TIME_WAIT_US - MILLISECOND);
  t.is(timeWaits(world), 1);
  world.advance(3 * MILLISECOND);
  t.is(timeWaits(world), 0);
  t.deepEqual(peer.lines(), []);
});

simulate('passive close', (t, world) => {
  const { peer, user, tcb } = used(world);
  peer.send({ flags: 'FA' });
  t.deepEqual(peer.lines(), ['A 11:11(0) ack 12']);
  t.is(tcb.state, CLOSE_WAIT);
  t.deepEqual(user.history, ['peer closed']);
  world.call(() => closeSend(tcb));
  t.deepEqual(peer.lines(), ['FA 11:11(0) ack 12']);
  t.is(tcb.state, LAST_ACK);
  peer.send();
  t.deepEqual(user.history, ['peer closed', 'closed']);
  t.is(user.error, '');
  t.is(timeWaits(world), 0);
  t.deepEqual(peer.lines(), []);
});

simulate('passive close at once: one segment acknowledges and closes', (t, world) => {
  const { peer, user } = used(world);
  user.closes = true;
  peer.send({ flags: 'FA' });
  t.deepEqual(peer.lines(), ['FA 11:11(0) ack 12']);
  peer.send();
  t.true(user.closed);
});

simulate('the FIN is acknowledged by the FIN of the peer', (t, world) => {
  const { peer, user, tcb } = used(world);
  world.call(() => closeSend(tcb));
  peer.takeAll();
  // RFC 9293 3.10.7.4, eighth, FIN-WAIT-1: "if our FIN has been ACKed, then enter TIME-WAIT".
  peer.send({ flags: 'FA' });
  t.deepEqual(peer.lines(), ['A 12:12(0) ack 12']);
  t.true(user.closed);
  t.is(timeWaits(world), 1);
});

simulate('simultaneous close', (t, world) => {
  const { peer, user, tcb } = used(world);
  world.call(() => closeSend(tcb));
  t.deepEqual(peer.lines(), ['FA 11:11(0) ack 11']);
  // RFC 9293 3.6 figure 13.
  peer.send({ flags: 'FA', ack: 11 });
  t.is(tcb.state, CLOSING);
  t.deepEqual(peer.lines(), ['A 12:12(0) ack 12']);
  peer.send();
  t.true(user.closed);
  t.is(user.error, '');
  t.is(timeWaits(world), 1);
});

simulate('simultaneous close: the ACK of our FIN is not answered', (t, world) => {
  const { peer, tcb } = used(world);
  world.call(() => closeSend(tcb));
  peer.send({ flags: 'FA', ack: 11 });
  peer.takeAll();
  // RFC 9293 3.10.7.4, fifth, CLOSING: "enter the TIME-WAIT state", no segment; two ends of this stack would each send one.
  peer.send();
  t.deepEqual(peer.lines(), []);
});

simulate('our FIN is lost', (t, world) => {
  const { peer, user, tcb } = used(world);
  const startUs = world.nowUs;
  world.call(() => closeSend(tcb));
  peer.takeAll();
  world.advance(RTO_US + 2 * MILLISECOND);
  const [again] = peer.takeAll();
  t.is(again?.flags, 'FA');
  t.is(again?.seq, 11);
  assertOnTime(t, again?.timeUs ?? 0, startUs + RTO_US);
  peer.send();
  t.is(tcb.state, FIN_WAIT_2);
  peer.send({ flags: 'FA' });
  t.true(user.closed);
});

simulate('our FIN is never acknowledged: the connection is given up', (t, world) => {
  const { peer, user, tcb } = used(world);
  world.call(() => close(tcb));
  t.true(world.runUntil(() => user.closed));
  t.is(user.error, 'ETIMEDOUT');
  const fins = peer.takeAll().filter((seen) => seen.flags === 'FA');
  // Nobody waits for it any more (orphanRetries).
  t.is(fins.length, 1 + 8);
});

simulate(
  'the last ACK is lost: the FIN that comes again in TIME-WAIT is acknowledged and the wait begins anew',
  (t, world) => {
    const { peer, tcb } = used(world);
    world.call(() => closeSend(tcb));
    peer.send();
    peer.send({ flags: 'FA' });
    peer.takeAll();
    world.advance(50 * SECOND);
    // RFC 9293 3.10.7.4, eighth, TIME-WAIT: restart the 2 MSL time-out.
    peer.send({ flags: 'FA', seq: 11 });
    t.deepEqual(peer.lines(), ['A 12:12(0) ack 12']);
    world.advance(50 * SECOND);
    t.is(timeWaits(world), 1);
    world.advance(11 * SECOND);
    t.is(timeWaits(world), 0);
  },
);

simulate(
  'our last ACK was lost in CLOSE-WAIT, and in LAST-ACK: the FIN that comes again is acknowledged',
  (t, world) => {
    const { peer, tcb } = used(world);
    peer.send({ flags: 'FA' });
    peer.takeAll();
    peer.send({ flags: 'FA', seq: 11 });
    t.deepEqual(peer.lines(), ['A 11:11(0) ack 12']);
    world.call(() => closeSend(tcb));
    peer.takeAll();
    peer.send({ flags: 'FA', seq: 11, ack: 11 });
    t.deepEqual(peer.lines(), ['A 12:12(0) ack 12']);
    t.is(tcb.state, LAST_ACK);
  },
);

simulate('in CLOSING the FIN that comes again is acknowledged', (t, world) => {
  const { peer, tcb } = used(world);
  world.call(() => closeSend(tcb));
  peer.send({ flags: 'FA', ack: 11 });
  peer.takeAll();
  peer.send({ flags: 'FA', seq: 11, ack: 11 });
  t.deepEqual(peer.lines(), ['A 12:12(0) ack 12']);
  t.is(tcb.state, CLOSING);
});

simulate('a FIN with text', (t, world) => {
  const { peer, user } = world.accept();
  peer.send({ flags: 'FA', data: 300 });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 302']);
  t.deepEqual(user.history, ['connected', 'readable, peer closed']);
  t.is(user.receivedBytes, 300);
});

simulate('a FIN before the gap is filled waits for the text', (t, world) => {
  const { peer, user, tcb } = world.accept();
  // RFC 9293 3.10.7.4, eighth: the FIN is processed when it is reached.
  peer.send({ flags: 'FA', seq: 201, data: 100 });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
  t.is(tcb.state, ESTABLISHED);
  t.false(user.peerClosed);
  peer.send({ flags: 'A', seq: 101, data: 100 });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
  peer.send({ flags: 'A', seq: 1, data: 100 });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 302']);
  t.is(tcb.state, CLOSE_WAIT);
  t.is(user.receivedBytes, 300);
  t.true(user.isIntact);
  t.true(user.peerClosed);
});

simulate('a lone FIN before the gap is filled waits for the text', (t, world) => {
  const { peer, user, tcb } = world.accept();
  peer.send({ flags: 'FA', seq: 101 });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
  t.is(tcb.state, ESTABLISHED);
  // The text comes again without the FIN on it.
  peer.send({ flags: 'A', seq: 1, data: 100 });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 102']);
  t.deepEqual(user.history, ['connected', 'readable, peer closed']);
});

simulate(
  'a FIN beyond the window is cut off with the text beyond it',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    user.reads = false;
    for (let seq = 1; seq < 4000; seq += 1000) peer.send({ seq, data: 1000 });
    peer.takeAll();
    // 96 bytes are left of the window.
    peer.send({ flags: 'FA', seq: 4001, data: 100 });
    world.advance(50 * MILLISECOND);
    t.is(peer.lines().at(-1), 'A 1:1(0) ack 4097');
    t.false(user.peerClosed);
    t.is(tcb.state, ESTABLISHED);
    user.reads = true;
    world.call(() => user.read(tcb));
    peer.takeAll();
    peer.send({ flags: 'FA', seq: 4097, data: 4 });
    t.deepEqual(peer.lines(), ['A 1:1(0) ack 4102']);
    t.is(user.receivedBytes, 4100);
  },
  { settings: { receiveBufferBytes: 4096 } },
);

simulate(
  'a FIN right behind the last byte of the window is taken, or asked for again, and stops nothing',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    user.reads = false;
    for (let seq = 1; seq < 4000; seq += 1024) peer.send({ flags: seq > 3000 ? 'FA' : 'A', seq, data: 1024 });
    world.advance(50 * MILLISECOND);
    const last = peer.takeAll().at(-1);
    t.is(last?.window, 0);
    // Our own text is still acknowledged, whatever the host made of the FIN.
    world.call(() => user.send(tcb, 500));
    const seq = last?.ack ?? 0;
    t.true(seq === 4097 || seq === 4098);
    peer.send({ seq, ack: 501 });
    t.is(queuedBytes(tcb), 0);
    world.call(() => user.read(tcb));
    peer.takeAll();
    if (seq === 4097) peer.send({ flags: 'FA', seq, ack: 501 });
    t.true(user.peerClosed);
    t.is(user.receivedBytes, 4096);
  },
  { settings: { receiveBufferBytes: 4096 } },
);

simulate('text behind a FIN is not delivered', (t, world) => {
  const { peer, user, tcb } = world.accept();
  peer.send({ flags: 'FA', data: 100 });
  peer.takeAll();
  // RFC 9293 3.10.7.4, seventh: in CLOSE-WAIT "this should not occur ... ignore the segment text".
  peer.send({ seq: 102, data: 100 });
  t.is(user.receivedBytes, 100);
  t.is(tcb.state, CLOSE_WAIT);
  // The same when it comes on one segment with repeated text.
  peer.send({ seq: 51, data: 200 });
  t.is(user.receivedBytes, 100);
  t.true(user.isIntact);
});

simulate('text that lies about where the FIN was does not keep the connection from closing', (t, world) => {
  const { peer, user } = world.accept();
  peer.send({ flags: 'FA', seq: 101 });
  // The gap is filled by more than it holds: the stream ends where the FIN said.
  peer.send({ seq: 1, data: 150 });
  t.true(user.peerClosed);
  t.true(user.receivedBytes >= 100 && user.receivedBytes <= 150);
});

simulate('half-close: we have closed, the peer goes on sending', (t, world) => {
  const { peer, user, tcb } = used(world);
  world.call(() => closeSend(tcb));
  peer.send();
  peer.takeAll();
  for (let i = 0; i < 70; i++) {
    peer.send({ data: 1460 });
    world.advance(10 * MILLISECOND);
  }
  world.advance(100 * SECOND);
  peer.send({ data: 1460 });
  t.is(tcb.state, FIN_WAIT_2);
  t.is(user.receivedBytes, 10 + 71 * 1460);
  t.true(user.isIntact);
  world.advance(50 * MILLISECOND);
  t.is(peer.takeAll().at(-1)?.ack, 11 + 71 * 1460);
  peer.send({ flags: 'FA' });
  t.true(user.closed);
});

simulate('half-close: the peer has closed, we go on sending', (t, world) => {
  const { peer, user, tcb } = used(world);
  peer.send({ flags: 'FA' });
  peer.takeAll();
  world.call(() => user.send(tcb, 50_000));
  while (queuedBytes(tcb) > 0) {
    const before = peer.rcvNxt;
    peer.send();
    world.advance(MILLISECOND);
    t.true(peer.rcvNxt > before || queuedBytes(tcb) === 0);
  }
  world.advance(100 * SECOND);
  world.call(() => {
    user.send(tcb, 100);
    closeSend(tcb);
  });
  t.is(peer.lines().at(-1), 'FA 50011:50111(100) ack 12');
  peer.send();
  t.true(user.closed);
  t.is(user.error, '');
  t.is(user.regions, 0);
});

simulate('the FIN follows what is queued and rides on the last of it', (t, world) => {
  const { peer, user, tcb } = used(world);
  world.call(() => {
    user.send(tcb, 20_000);
    closeSend(tcb);
  });
  while (peer.inbox.at(-1)?.flags !== 'FA') peer.send();
  const seen = peer.takeAll();
  t.is(seen.filter((segment) => segment.flags === 'FA').length, 1);
  t.is(seen.at(-1)?.length, 20_000 % 1460);
  t.true(seen.at(-1)?.push);
});

simulate('close() with unread text closes in order, and gives its memory back', (t, world) => {
  const { peer, user, tcb } = world.accept();
  user.reads = false;
  peer.send({ data: 100 });
  peer.send({ seq: 201, data: 100 });
  world.advance(50 * MILLISECOND);
  peer.takeAll();
  // Differs from RFC 9293 3.6.1, SHLD-3 (see `close` in tcp/calls.ts): no reset, or the last answer would be lost with it.
  world.call(() => close(tcb));
  t.deepEqual(peer.lines(), ['FA 1:1(0) ack 101']);
  t.is(world.host.tcp.receiveMemory.usedBytes, 0);
  t.is(readableBytes(tcb), 0);
});

simulate('text that arrives after close() is acknowledged and thrown away', (t, world) => {
  const { peer, user, tcb } = used(world);
  world.call(() => close(tcb));
  peer.send();
  peer.takeAll();
  user.history.splice(0);
  for (let i = 0; i < 100; i++) peer.send({ data: 1460 });
  t.is(peer.takeAll().at(-1)?.ack, 11 + 146_000);
  // What lies beyond a gap is not kept, either.
  peer.send({ seq: 200_000, data: 100 });
  t.is(peer.take().ack, 11 + 146_000);
  t.is(world.host.tcp.receiveMemory.usedBytes, 0);
  t.is(user.receivedBytes, 10);
  t.deepEqual(user.history, []);
  peer.send({ flags: 'FA', seq: 11 + 146_000 });
  t.is(timeWaits(world), 1);
});

simulate('after close() FIN-WAIT-2 ends by itself, after closeSend() it does not', (t, world) => {
  const first = used(world);
  const second = used(world);
  world.call(() => {
    close(first.tcb);
    closeSend(second.tcb);
  });
  first.peer.send();
  second.peer.send();
  const startUs = world.nowUs;
  world.runUntil(() => first.user.closed, 200 * SECOND);
  assertOnTime(t, first.user.closedAtUs, startUs + 60 * SECOND);
  t.is(first.user.error, '');
  world.advance(500 * SECOND);
  t.false(second.user.closed);
  t.is(second.tcb.state, FIN_WAIT_2);
});

simulate('close() from outside a turn waits in FIN-WAIT-2 from then on, however long the host was idle', (t, world) => {
  const { peer, user, tcb } = used(world);
  world.call(() => closeSend(tcb));
  peer.send();
  peer.takeAll();
  world.advance(300 * SECOND);
  world.call(() => close(tcb));
  world.advance(30 * SECOND);
  t.false(user.closed);
  peer.send({ flags: 'FA' });
  t.deepEqual(peer.lines(), ['A 12:12(0) ack 12']);
  t.is(timeWaits(world), 1);
});

const ABORTS: readonly (readonly [string, (world: RawWorld) => Connected, boolean])[] = [
  ['ESTABLISHED', used, true],
  ['FIN-WAIT-1', (world) => closing(used(world), world, (peer) => peer.takeAll()), true],
  ['FIN-WAIT-2', (world) => closing(used(world), world, (peer) => peer.send()), true],
  ['CLOSE-WAIT', (world) => peerClosed(used(world)), true],
  ['CLOSING', (world) => closing(used(world), world, (peer) => peer.send({ flags: 'FA', ack: 11 })), false],
  ['LAST-ACK', (world) => closing(peerClosed(used(world)), world, (peer) => peer.takeAll()), false],
];

function closing(connected: Connected, world: RawWorld, then: (peer: Connected['peer']) => void): Connected {
  world.call(() => closeSend(connected.tcb));
  then(connected.peer);
  return connected;
}

function peerClosed(connected: Connected): Connected {
  connected.peer.send({ flags: 'FA' });
  return connected;
}

for (const [name, enter, mustReset] of ABORTS) {
  simulate(`abort in ${name}: a reset at SND.NXT, and nothing after it`, (t, world) => {
    const { peer, user, tcb } = enter(world);
    peer.takeAll();
    world.call(() => abort(tcb));
    const sent = peer.takeAll();
    // RFC 9293 3.10.5: a reset, except in CLOSING and LAST-ACK, where none is asked for.
    if (mustReset) t.is(sent.length, 1);
    for (const reset of sent) {
      t.is(reset.flags, 'RA');
      t.is(reset.seq, peer.rcvNxt);
      t.is(reset.ack, peer.sndNxt);
    }
    t.true(user.closed);
    t.is(user.error, 'ECONNABORTED');
    world.advance(200 * SECOND);
    t.deepEqual(peer.lines(), []);
    t.is(world.host.tcp.liveConnections, 0);
    t.is(timeWaits(world), 0);
  });
}

simulate('abort gives all regions back and sends none of them', (t, world) => {
  const { peer, user, tcb } = used(world);
  world.call(() => {
    for (let i = 0; i < 50; i++) user.send(tcb, 1000);
  });
  peer.takeAll();
  world.call(() => abort(tcb));
  t.is(peer.takeAll().length, 1);
  world.settle();
  t.is(user.regions, 0);
});

simulate('the reset of an abort reaches a peer that has lost segments before it', (t, world) => {
  const { peer, user, tcb } = used(world);
  world.call(() => user.send(tcb, 5000));
  peer.takeAll();
  world.call(() => abort(tcb));
  const reset = peer.take();
  t.is(reset.seq, 5011);
  // RFC 5961 3.2: a peer that has not got the text challenges; the answer is exact.
  peer.send({ ack: 11 });
  const exact = peer.take();
  t.is(exact.flags, 'R');
  t.is(exact.seq, 11);
});

simulate('after the end of a connection every segment but a reset is answered with a reset', (t, world) => {
  const { peer, tcb } = used(world);
  world.call(() => abort(tcb));
  peer.takeAll();
  peer.send({ data: 10 });
  t.is(peer.take().flags, 'R');
  peer.send({ flags: 'R' });
  t.deepEqual(peer.lines(), []);
});

simulate('unread text can be read after the connection has closed in order', (t, world) => {
  const { peer, user, tcb } = world.accept();
  user.reads = false;
  peer.send({ flags: 'FA', data: 1000 });
  world.call(() => closeSend(tcb));
  peer.send();
  t.false(user.closed);
  t.is(readableBytes(tcb), 1000);
  world.advance(300 * SECOND);
  world.call(() => user.read(tcb, 500));
  t.false(user.closed);
  world.call(() => user.read(tcb));
  t.true(user.closed);
  t.is(user.error, '');
  t.true(user.isIntact);
});

simulate('a reset after the peer has closed is an error while something is not acknowledged', (t, world) => {
  const { peer, user, tcb } = used(world);
  peer.send({ flags: 'FA' });
  world.call(() => {
    user.send(tcb, 100);
    closeSend(tcb);
  });
  peer.takeAll();
  peer.send({ flags: 'R' });
  t.is(user.error, 'ECONNRESET');
});

simulate("a connection that only waits to be read is in nobody's way", (t, world) => {
  const { peer, user, tcb } = world.accept();
  user.reads = false;
  peer.send({ flags: 'FA', data: 1000 });
  world.call(() => closeSend(tcb));
  peer.send();
  t.false(user.closed);
  // The same ports again, while the text of the first connection has not been read.
  const again = world.accept({ port: peer.port, iss: 5 });
  again.peer.send({ data: 700 });
  t.is(again.user.receivedBytes, 700);
  t.true(again.user.isIntact);
  world.call(() => user.read(tcb));
  t.true(user.closed);
  t.true(user.isIntact);
  again.peer.send({ data: 700 });
  t.is(again.user.receivedBytes, 1400);
});
