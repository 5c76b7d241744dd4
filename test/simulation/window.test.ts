/**
 * Flow control: zero windows and probes (RFC 9293 section 3.8.6.1), shrinking windows (3.8.6), silly-window avoidance on
 * both sides (3.8.6.2).
 */
import { close, closeSend, consume, queuedBytes } from '../../src/tcp/calls.ts';
import { pattern, type Seen } from '../support/raw-peer.ts';
import { type Connected, MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { assertOnTime, simulate } from '../support/simulate.ts';

const RTO_US = 200_000;
const MAX_RTO_US = 120 * SECOND;

function lengths(seen: readonly Seen[]): number[] {
  return seen.map((segment) => segment.length);
}

/** A connection whose peer has announced a window of so many bytes; no text has been sent. */
function withWindow(world: RawWorld, window: number): Connected {
  const connected = world.accept({ window });
  connected.peer.takeAll();
  return connected;
}

simulate(
  'a closed window is probed at 0.2, 0.4, 0.8 ... s, up to every two minutes, from just below SND.UNA',
  (t, world) => {
    const { peer, user, tcb } = withWindow(world, 0);
    const startUs = world.nowUs;
    world.call(() => user.send(tcb, 5000));
    t.deepEqual(peer.lines(), []);
    // The peer answers every probe: it is alive, and probing never ends (RFC 9293 3.8.6.1, MUST-37).
    let dueUs = startUs + RTO_US;
    let intervalUs = RTO_US;
    for (let i = 0; i < 40; i++) {
      t.true(
        world.runUntil(() => peer.inbox.length > 0, 200 * SECOND),
        `probe ${i}`,
      );
      const probe = peer.take();
      t.is(probe.seq, 0);
      t.is(probe.length, 0);
      assertOnTime(t, probe.timeUs, dueUs, `probe ${i}`);
      intervalUs = Math.min(2 * intervalUs, MAX_RTO_US);
      dueUs = probe.timeUs + intervalUs;
      peer.send({ seq: 1, ack: 1 });
    }
    t.false(user.closed);
    peer.send({ seq: 1, ack: 1, window: 65_535 });
    t.deepEqual(lengths(peer.takeAll()), [1460, 1460, 1460, 620]);
    peer.send({ seq: 1, ack: 5001 });
    t.is(queuedBytes(tcb), 0);
  },
);

simulate('probes that nobody answers end with ETIMEDOUT', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 0);
  world.call(() => user.send(tcb, 5000));
  t.true(world.runUntil(() => user.closed));
  t.is(user.error, 'ETIMEDOUT');
  const probes = peer.takeAll().filter(({ flags, seq }) => flags === 'A' && seq === 0);
  t.is(probes.length, 15);
  t.is(user.regions, 0);
});

simulate('a connection that the application has closed is not probed for ever', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 0);
  world.call(() => {
    user.send(tcb, 5000);
    close(tcb);
  });
  // The peer answers every probe and never opens its window.
  for (let i = 0; i < 100 && !user.closed; i++) {
    world.runUntil(() => peer.inbox.length > 0 || user.closed, 200 * SECOND);
    peer.takeAll();
    if (!user.closed) peer.send({ seq: 1, ack: 1 });
  }
  t.is(user.error, 'ETIMEDOUT');
  t.is(user.regions, 0);
});

simulate('a window update opens the window at once', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 0);
  world.call(() => user.send(tcb, 5000));
  world.advance(50 * MILLISECOND);
  peer.send({ window: 65_535 });
  const seen = peer.takeAll();
  t.deepEqual(lengths(seen), [1460, 1460, 1460, 620]);
  t.is(seen[0]?.seq, 1);
  // The persist timer is gone; what is in flight has a retransmission timer.
  world.advance(180 * MILLISECOND);
  t.deepEqual(peer.lines(), []);
  world.advance(40 * MILLISECOND);
  t.deepEqual(lengths(peer.takeAll()), [1460]);
});

simulate('the window update is lost: the next probe finds out', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 0);
  world.call(() => user.send(tcb, 5000));
  world.advance(250 * MILLISECOND);
  t.deepEqual(peer.lines(), ['A 0:0(0) ack 1']);
  peer.send({ seq: 1, ack: 1 });
  world.advance(300 * MILLISECOND);
  // The update that the host did not see would have come here; the answer to the next probe says it.
  world.runUntil(() => peer.inbox.length > 0, SECOND);
  t.deepEqual(peer.lines(), ['A 0:0(0) ack 1']);
  peer.window = 65_535;
  peer.send({ seq: 1, ack: 1 });
  const seen = peer.takeAll();
  t.is(seen[0]?.seq, 1);
  t.deepEqual(lengths(seen), [1460, 1460, 1460, 620]);
  t.true(seen[0]?.payload.equals(pattern(0, 1460)));
});

simulate('the window closes behind text in flight', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 3000);
  world.call(() => user.send(tcb, 10_000));
  t.deepEqual(lengths(peer.takeAll()), [1460, 1460]);
  // All arrived, nothing read: 80 bytes are left, too few for a segment.
  peer.send({ ack: 2921, window: 80 });
  t.deepEqual(peer.lines(), []);
  // RFC 9293 3.8.6.2.1, the override: send what the window takes when the time is up.
  world.advance(250 * MILLISECOND);
  t.deepEqual(peer.lines(), ['A 2921:3001(80) ack 1']);
  peer.send({ ack: 3001, window: 0 });
  world.advance(500 * MILLISECOND);
  t.deepEqual(peer.lines().slice(0, 1), ['A 3000:3000(0) ack 1']);
});

simulate('the window is shrunk to nothing with text in flight', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 10_000);
  world.call(() => user.send(tcb, 20_000));
  t.is(peer.takeAll().length, 6);
  // RFC 9293 3.8.6, MUST-34 and SHLD-16: be prepared for it, the text in flight is retransmitted.
  peer.send({ ack: 1461, window: 0 });
  t.deepEqual(peer.lines(), []);
  t.true(world.runUntil(() => peer.inbox.length > 0, 10 * SECOND));
  const probe = peer.take();
  t.is(probe.seq, 1461);
  // The peer keeps its window shut for ten minutes and answers.
  for (let i = 0; i < 30; i++) {
    peer.send({ ack: 1461, window: 0 });
    world.advance(20 * SECOND);
    t.true(peer.takeAll().every((seen) => seen.seq === 1461 && seen.length <= 1460));
  }
  t.false(user.closed);
  peer.window = 10_000;
  peer.send({ ack: 1461 });
  for (let i = 0; i < 50 && queuedBytes(tcb) > 0; i++) {
    world.advance(300 * MILLISECOND);
    peer.send();
  }
  t.is(queuedBytes(tcb), 0);
});

simulate('the window is shrunk to less than is in flight', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 14_600);
  world.call(() => user.send(tcb, 20_000));
  t.is(peer.takeAll().length, 10);
  peer.rcvNxt = 1461;
  peer.window = 500;
  peer.send();
  // A peer that has room for 500 bytes from now on, and answers what it gets at once.
  const startUs = world.nowUs;
  while (queuedBytes(tcb) > 0 && world.nowUs - startUs < 60 * SECOND) {
    world.runUntil(() => peer.inbox.length > 0, 60 * SECOND);
    const edge = 20_001 - queuedBytes(tcb) + 500;
    peer.takeAll();
    peer.rcvNxt = Math.min(peer.rcvNxt, edge);
    peer.send();
  }
  // One time-out, then 500 bytes for every ACK (RFC 6298 5.4: the retransmission is sent when the timer expires).
  t.is(queuedBytes(tcb), 0);
  t.true(world.nowUs - startUs < 30 * SECOND, `${(world.nowUs - startUs) / SECOND} s`);
});

simulate('text that was sent before is sent again when the timer expires, however small its segment', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 1960);
  world.call(() => user.send(tcb, 10_000));
  t.deepEqual(peer.lines(), ['A 1:1461(1460) ack 1']);
  peer.send({ ack: 1461, window: 500 });
  world.advance(250 * MILLISECOND);
  // The override of silly-window avoidance; it is lost.
  const override = peer.take();
  t.is(override.length, 500);
  // RFC 6298 5.4: "Retransmit the earliest segment that has not been acknowledged".
  world.advance(SECOND);
  const again = peer.take();
  t.is(again.length, 500);
  assertOnTime(t, again.timeUs, override.timeUs + RTO_US);
});

simulate('a window that is closed is not what an ACK beyond it says', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 1460);
  world.call(() => user.send(tcb, 5000));
  t.deepEqual(lengths(peer.takeAll()), [1460]);
  // RFC 9293 3.10.7.4, fifth: an older segment (SND.WL1, SND.WL2) must not change the window.
  peer.send({ data: 100, ack: 1461, window: 0 });
  peer.send({ data: 100, ack: 1461, window: 0 });
  peer.takeAll();
  peer.send({ seq: 1, data: 100, ack: 1461, window: 5000 });
  t.false(peer.takeAll().some((seen) => seen.length > 0));
  t.is(tcb.sndWnd, 0);
});

simulate('a FIN waits behind a closed window', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 0);
  world.call(() => closeSend(tcb));
  t.deepEqual(peer.lines(), []);
  world.advance(250 * MILLISECOND);
  t.deepEqual(peer.lines(), ['A 0:0(0) ack 1']);
  peer.send({ ack: 1 });
  world.advance(500 * MILLISECOND);
  t.deepEqual(peer.lines(), ['A 0:0(0) ack 1']);
  peer.send({ ack: 1, window: 1000 });
  t.deepEqual(peer.lines(), ['FA 1:1(0) ack 1']);
  peer.send({ ack: 2 });
  t.false(user.closed);
  peer.send({ flags: 'FA', ack: 2 });
  t.true(user.closed);
});

simulate('the FIN has no room behind text that fills the window', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 1000);
  world.call(() => {
    user.send(tcb, 1000);
    closeSend(tcb);
  });
  t.deepEqual(peer.lines(), ['A 1:1001(1000) ack 1']);
  peer.send({ ack: 1001, window: 0 });
  t.deepEqual(peer.lines(), []);
  peer.send({ ack: 1001, window: 1 });
  t.deepEqual(peer.lines(), ['FA 1001:1001(0) ack 1']);
});

simulate('the ACKs of a host with a closed window before it can be heard by any peer', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 0);
  world.call(() => user.send(tcb, 5000));
  world.advance(250 * MILLISECOND);
  t.is(peer.takeAll().length, 1);
  // RFC 9293 3.10.7.4: with RCV.WND = 0 only SEG.SEQ = RCV.NXT will do. Probes lie below it.
  for (let i = 0; i < 10; i++) {
    peer.send({ data: 1460, ack: 1 });
    world.advance(50 * MILLISECOND);
    const acks = peer.takeAll().filter(({ seq }) => seq !== 0);
    t.is(acks.at(-1)?.ack, peer.sndNxt);
    for (const ack of acks) t.is(ack.seq, 1);
  }
});

simulate('a reset can be heard by a peer whose window is closed', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 0);
  world.call(() => user.send(tcb, 5000));
  world.advance(250 * MILLISECOND);
  peer.takeAll();
  world.call(() => tcb.tcp.abort(tcb, 'ECONNABORTED'));
  const reset = peer.take();
  t.is(reset.flags, 'RA');
  t.is(reset.seq, 1);
});

simulate(
  'keep-alive probes do not end while a window is closed',
  (t, world) => {
    const { peer, user, tcb } = withWindow(world, 0);
    world.call(() => user.send(tcb, 5000));
    for (let i = 0; i < 50; i++) {
      world.advance(10 * SECOND);
      if (peer.takeAll().length > 0) peer.send({ ack: 1 });
    }
    t.false(user.closed);
  },
  { settings: { keepAliveIdleUs: 30 * SECOND, keepAliveIntervalUs: 5 * SECOND, keepAliveProbes: 2 } },
);

simulate('sender: no small segments while text is in flight and a full one does not fit', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 2000);
  world.call(() => user.send(tcb, 100_000));
  // RFC 9293 3.8.6.2.1: 540 bytes of the window stay unused.
  t.deepEqual(lengths(peer.takeAll()), [1460]);
  peer.send({ ack: 1461, window: 2000 });
  t.deepEqual(lengths(peer.takeAll()), [1460]);
  // Windows that open byte by byte are not filled byte by byte.
  for (let i = 1; i <= 500; i++) peer.send({ ack: 1461, window: 2000 + i });
  t.deepEqual(lengths(peer.takeAll()), []);
});

simulate('sender: half of the largest window ever seen is worth a segment', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 1000);
  world.call(() => user.send(tcb, 100_000));
  // The SYN offered 1000 as well: (2) of RFC 9293 3.8.6.2.1, Fs = 1/2.
  t.deepEqual(lengths(peer.takeAll()), [1000]);
  peer.send({ ack: 1001, window: 400 });
  t.deepEqual(lengths(peer.takeAll()), []);
  peer.send({ ack: 1001, window: 500 });
  t.deepEqual(lengths(peer.takeAll()), [500]);
});

simulate(
  'receiver: the window is not opened by a few bytes',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    user.reads = false;
    for (let sent = 0; sent < 8192; sent += 1024) peer.send({ data: 1024 });
    world.advance(50 * MILLISECOND);
    t.is(peer.takeAll().at(-1)?.window, 0);
    // RFC 9293 3.8.6.2.2, MUST-39: min(half the buffer, a segment).
    for (let read = 0; read < 1400; read += 100) world.call(() => user.read(tcb, 100));
    t.deepEqual(peer.lines(), []);
    // A probe meanwhile is answered with a closed window.
    peer.send({ seq: 8193, data: 1 });
    const answer = peer.take();
    t.is(answer.window, 0);
    t.is(answer.ack, 8193);
    world.call(() => user.read(tcb, 3000));
    const [update] = peer.takeAll();
    t.is(update?.window, 4400);
    t.is(update?.ack, 8193);
  },
  { settings: { receiveBufferBytes: 8192 } },
);

simulate(
  'receiver: the window update comes once it is worth a segment, and is the only one',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    user.reads = false;
    for (let sent = 0; sent < 32_768; sent += 1024) peer.send({ data: 1024 });
    world.advance(50 * MILLISECOND);
    t.is(peer.takeAll().at(-1)?.window, 0);
    world.call(() => user.read(tcb));
    t.deepEqual(
      peer.takeAll().map((seen) => [seen.ack, seen.window]),
      [[32_769, 32_768]],
    );
  },
  { settings: { receiveBufferBytes: 32_768 } },
);

simulate('receiver: the right edge never moves back', (t, world) => {
  const { peer, user, tcb } = world.accept({ windowScale: 7 });
  user.reads = false;
  let edge = 0;
  const look = () => {
    for (const seen of peer.takeAll()) {
      const next = seen.ack + (seen.window << 4);
      // RFC 9293 3.8.6, SHLD-14; a scaled window is rounded down (RFC 7323 2.4).
      t.true(next > edge - 16, `${edge} to ${next}`);
      edge = Math.max(edge, next);
    }
  };
  for (let i = 0; i < 600; i++) {
    peer.send({ data: 1 + ((i * 7919) % 1460) });
    if (i % 7 === 3) world.call(() => user.read(tcb, (i * 104_729) % 5000));
    if (i % 50 === 0) world.advance(45 * MILLISECOND);
    look();
  }
});

simulate(
  'receiver: a probe into a closed window is answered at once, and its byte is not kept',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    user.reads = false;
    for (let sent = 0; sent < 4096; sent += 1024) peer.send({ data: 1024 });
    world.advance(50 * MILLISECOND);
    peer.takeAll();
    for (let i = 0; i < 10; i++) {
      peer.send({ seq: 4097, data: Buffer.from([i]) });
      t.deepEqual(peer.lines(), ['A 1:1(0) ack 4097']);
    }
    // Linux probes with an old number and no text.
    world.advance(SECOND);
    peer.send({ seq: 4096 });
    t.deepEqual(peer.lines(), ['A 1:1(0) ack 4097']);
    user.reads = true;
    world.call(() => user.read(tcb));
    t.is(peer.takeAll().length, 1);
    peer.send({ seq: 4097, data: 100 });
    t.is(user.receivedBytes, 4196);
    t.true(user.isIntact);
  },
  { settings: { receiveBufferBytes: 4096 } },
);

simulate('a peer that takes one byte at a time gets everything', (t, world) => {
  const { peer, user, tcb } = withWindow(world, 1);
  world.call(() => user.send(tcb, 50));
  for (let i = 0; i < 200 && queuedBytes(tcb) > 0; i++) {
    world.runUntil(() => peer.inbox.length > 0, 300 * SECOND);
    const seen = peer.takeAll();
    t.true(seen.every((segment) => segment.length <= 1));
    peer.send({ window: 1 });
  }
  t.is(queuedBytes(tcb), 0);
});

simulate('consume beyond what there is throws, and changes nothing', (t, world) => {
  const { peer, user, tcb } = world.accept();
  user.reads = false;
  peer.send({ data: 100 });
  for (const count of [101, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => consume(tcb, count), { instanceOf: RangeError });
  }
  world.call(() => user.read(tcb));
  t.is(user.receivedBytes, 100);
  t.true(user.isIntact);
});
