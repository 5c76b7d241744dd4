/** Which segments a synchronized connection believes (RFC 9293 section 3.10.7.4, first to fifth; RFC 5961). */
import { close, closeSend, queuedBytes } from '../../src/tcp/calls.ts';
import {
  CLOSE_WAIT,
  CLOSING,
  ESTABLISHED,
  FIN_WAIT_1,
  FIN_WAIT_2,
  LAST_ACK,
  STATE_NAMES,
} from '../../src/tcp/state.ts';
import { pattern, type RawPeer } from '../support/raw-peer.ts';
import { type Connected, MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';

const WINDOW = 65_535;

/** What is not acceptable is answered however often it comes. */
const ALL_ANSWERED = { invalidRateLimitUs: 0 };

/** Leads an accepted connection into a state; nothing is left in the peer's inbox. */
function enter(world: RawWorld, state: number): Connected {
  const connected = world.accept();
  const { peer, tcb } = connected;
  const peerCloses = () => peer.send({ flags: 'FA', ack: 1 });
  const hostCloses = () => world.call(() => closeSend(tcb));
  switch (state) {
    case FIN_WAIT_1:
      hostCloses();
      break;
    case FIN_WAIT_2:
      hostCloses();
      peer.send();
      break;
    case CLOSE_WAIT:
      peerCloses();
      break;
    case CLOSING:
      hostCloses();
      peerCloses();
      break;
    case LAST_ACK:
      peerCloses();
      hostCloses();
      break;
  }
  peer.takeAll();
  return connected;
}

const STATES = [ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK];

/** What an honest peer's last acknowledgment in a state says. */
function ackIn(state: number): number {
  return state === FIN_WAIT_2 ? 2 : 1;
}

for (const state of STATES) {
  const name = STATE_NAMES[state];
  simulate(`${name}: a reset at the next sequence number ends the connection without an answer`, (t, world) => {
    const { peer, user, tcb } = enter(world, state);
    t.is(tcb.state, state);
    // RFC 5961 3.2 (1), RFC 9293 3.10.7.4 second.
    peer.send({ flags: 'R' });
    t.true(user.closed);
    t.is(user.error, state === CLOSING || state === LAST_ACK ? '' : 'ECONNRESET');
    t.is(world.host.tcp.liveConnections, 0);
    world.advance(10 * SECOND);
    t.deepEqual(peer.lines(), []);
  });

  simulate(
    `${name}: a reset elsewhere in the window is challenged, outside it is dropped`,
    (t, world) => {
      const { peer, user, tcb } = enter(world, state);
      const { rcvNxt } = { rcvNxt: peer.sndNxt };
      const challenge = [`A ${peer.rcvNxt}:${peer.rcvNxt}(0) ack ${rcvNxt}`];
      for (const offset of [1, 1000, WINDOW - 1 - rcvNxt]) {
        // RFC 5961 3.2 (3).
        peer.send({ flags: 'R', seq: rcvNxt + offset });
        t.deepEqual(peer.lines(), challenge, `reset at +${offset}`);
      }
      for (const offset of [-1, -70_000, 2 ** 20, 2 ** 31 - 1]) {
        peer.send({ flags: 'R', seq: rcvNxt + offset });
        t.deepEqual(peer.lines(), [], `reset at ${offset}`);
      }
      t.is(tcb.state, state);
      t.false(user.closed);
    },
    { settings: ALL_ANSWERED },
  );

  simulate(
    `${name}: a SYN anywhere is answered with an ACK and changes nothing`,
    (t, world) => {
      const { peer, user, tcb } = enter(world, state);
      const rcvNxt = peer.sndNxt;
      const challenge = [`A ${peer.rcvNxt}:${peer.rcvNxt}(0) ack ${rcvNxt}`];
      for (const flags of ['S', 'SA', 'SF', 'SFA']) {
        for (const offset of [-100_000, -1, 0, 1, 1000, 2 ** 20]) {
          // RFC 5961 4.2: "irrespective of the sequence number".
          peer.send({ flags, seq: rcvNxt + offset, ack: ackIn(state) });
          t.deepEqual(peer.lines(), challenge, `${flags} at ${offset}`);
        }
      }
      t.is(tcb.state, state);
      t.false(user.closed);
    },
    { settings: ALL_ANSWERED },
  );

  simulate(
    `${name}: an ACK of what was never sent, or too old, is answered with an ACK and its text dropped`,
    (t, world) => {
      const { peer, user, tcb } = enter(world, state);
      const answer = [`A ${peer.rcvNxt}:${peer.rcvNxt}(0) ack ${peer.sndNxt}`];
      const seq = peer.sndNxt;
      // RFC 5961 5.2: (SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT.
      for (const ack of [peer.rcvNxt + 1, peer.rcvNxt + 1_000_000, ackIn(state) - WINDOW - 1, -1_000_000]) {
        peer.send({ seq, ack, data: 10 });
        t.deepEqual(peer.lines(), answer, `ack ${ack}`);
      }
      t.is(user.receivedBytes, 0);
      t.is(tcb.state, state);
    },
    { settings: ALL_ANSWERED },
  );

  simulate(`${name}: a segment without ACK is dropped without a word`, (t, world) => {
    const { peer, user, tcb } = enter(world, state);
    const seq = peer.sndNxt;
    // RFC 9293 3.10.7.4, fifth: "if the ACK bit is off, drop the segment and return".
    for (const flags of ['', 'P', 'F', 'U']) peer.send({ flags, seq, data: 10 });
    t.deepEqual(peer.lines(), []);
    t.is(user.receivedBytes, 0);
    t.is(tcb.state, state);
  });
}

simulate('a repeated ACK is no reason to drop the text that comes with it', (t, world) => {
  const { peer, user, tcb } = world.accept();
  world.call(() => user.send(tcb, 500));
  peer.send({ ack: 501 });
  peer.takeAll();
  // RFC 9293 3.10.7.4, fifth: a duplicate "can be ignored"; RFC 5961 5.2: down to SND.UNA - MAX.SND.WND.
  peer.send({ data: 100, ack: 1 });
  t.is(user.receivedBytes, 100);
  t.true(user.isIntact);
  peer.takeAll();
  // What the peer has never acknowledged cannot be repeated.
  peer.send({ seq: 101, data: 100, ack: 0 });
  t.is(user.receivedBytes, 100);
  t.deepEqual(peer.lines(), ['A 501:501(0) ack 101']);
});

simulate(
  'a reset that is exact counts with a closed window, too',
  (t, world) => {
    const { peer, user } = world.accept();
    user.reads = false;
    fill(peer, 4096);
    world.advance(50 * MILLISECOND);
    t.is(peer.takeAll().at(-1)?.window, 0);
    // RFC 9293 3.10.7.4, MUST-66.
    peer.send({ flags: 'R', seq: 4096 });
    peer.send({ flags: 'R', seq: 4098 });
    t.false(user.closed);
    peer.send({ flags: 'R', seq: 4097 });
    t.is(user.error, 'ECONNRESET');
  },
  { settings: { receiveBufferBytes: 4096 } },
);

simulate(
  'an ACK counts with a closed window, too',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    user.reads = false;
    fill(peer, 4096);
    world.call(() => user.send(tcb, 1000));
    peer.takeAll();
    // RFC 9293 3.10.7.4, first: "special allowance should be made to accept valid ACKs".
    peer.send({ seq: 4097, ack: 501 });
    t.is(queuedBytes(tcb), 500);
    // On a window probe as well.
    peer.send({ seq: 4097, ack: 1001, data: 1 });
    t.deepEqual(user.released, [0]);
  },
  { settings: { receiveBufferBytes: 4096 } },
);

function fill(peer: RawPeer, bytes: number): void {
  for (let sent = 0; sent < bytes; sent += 1024) peer.send({ data: 1024 });
}

simulate(
  'the window has two edges',
  (t, world) => {
    const { peer, user } = world.accept();
    user.reads = false;
    peer.takeAll();
    // The last byte in the window is taken, the next is not (RFC 9293 3.4, table 6).
    peer.send({ seq: 4096, data: 1 });
    t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
    t.is(world.host.tcp.drops.get('tcp-sequence'), 0);
    peer.send({ seq: 4097, data: 1 });
    t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
    t.is(world.host.tcp.drops.get('tcp-sequence'), 1);
    // Text before and after the window is cut off, what lies within is taken.
    peer.send({ seq: -99, data: Buffer.concat([Buffer.alloc(100), pattern(0, 4296)]) });
    t.deepEqual(peer.lines(), ['A 1:1(0) ack 4097']);
    user.reads = true;
    world.call(() => user.connection !== null && user.read(user.connection));
    t.is(user.receivedBytes, 4096);
    t.true(user.isIntact);
  },
  { settings: { receiveBufferBytes: 4096 }, link: { mtu: 9000 } },
);

simulate(
  'an ACK whose sequence number stands at the right edge of the window is heard',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    world.call(() => user.send(tcb, 1000));
    peer.takeAll();
    // The peer has sent all of its window and the first segment is lost: its pure ACKs carry SND.NXT, our right edge. RFC
    // 9293's test would drop them until the hole is filled; Linux (tcp_sequence) takes them.
    for (let seq = 1025; seq < 4097; seq += 1024) peer.send({ seq, ack: 1, data: 1024 });
    peer.send({ seq: 4097, ack: 1001 });
    t.deepEqual(user.released, [0]);
  },
  { settings: { receiveBufferBytes: 4096 } },
);

simulate('unacceptable segments without text are answered at most twice a second, with text at once', (t, world) => {
  const { peer } = world.accept();
  // Two ends out of step must not answer each other for ever.
  for (let i = 0; i < 50; i++) {
    peer.send({ seq: -5000 });
    world.advance(20 * MILLISECOND);
  }
  const answered = peer.takeAll().length;
  t.true(answered >= 1 && answered <= 3, `${answered} answers in a second`);
  for (let i = 0; i < 5; i++) peer.send({ seq: 1_000_000, data: 10 });
  t.is(peer.takeAll().length, 5);
  // A keep-alive probe of the peer's, of either kind (RFC 9293 3.8.4).
  world.advance(SECOND);
  peer.send({ seq: 0 });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
  peer.send({ seq: 0, data: Buffer.from([0]) });
  t.deepEqual(peer.lines(), ['A 1:1(0) ack 1']);
});

simulate(
  'challenge ACKs are limited, and not to a number one can count on',
  (t, world) => {
    const { peer } = world.accept();
    const counts: number[] = [];
    for (let second = 0; second < 6; second++) {
      for (let i = 0; i < 400; i++) peer.send({ flags: 'R', seq: 2 + i });
      counts.push(peer.takeAll().length);
      world.advance(1100 * MILLISECOND);
    }
    // RFC 5961 section 7 and the remark of CVE-2016-5696.
    for (const count of counts) t.true(count >= 50 && count <= 150, `${count} challenge ACKs`);
    t.true(new Set(counts).size > 1);
  },
  { settings: { ...ALL_ANSWERED, challengeAcksPerSecond: 100 } },
);

simulate(
  'a connection answers what it does not accept twice a second, and leaves the others their challenge ACKs',
  (t, world) => {
    const attacked = world.accept();
    const other = world.accept();
    for (let i = 0; i < 100; i++) {
      attacked.peer.send({ flags: 'R', seq: 2 + i });
      attacked.peer.send({ flags: 'S', seq: 1000 + i });
      attacked.peer.send({ ack: 1_000_000, data: 10 });
      world.advance(10 * MILLISECOND);
    }
    const answers = attacked.peer.takeAll().length;
    t.true(answers >= 2 && answers <= 3, `${answers}`);
    t.is(world.host.tcp.counters.get('challengeAcks'), answers);
    t.is(world.host.tcp.counters.get('invalidNotAnswered'), 300 - answers);
    // RFC 5961 section 7.
    other.peer.send({ flags: 'R', seq: 2 });
    t.is(other.peer.takeAll().length, 1);
    // A real peer that has forgotten the connection shows itself all the same.
    other.peer.send({ flags: 'R', seq: 1 });
    t.is(other.user.error, 'ECONNRESET');
  },
);

simulate(
  'a SYN flood on an established connection is answered within the limit',
  (t, world) => {
    const { peer } = world.accept();
    for (let i = 0; i < 2000; i++) peer.send({ flags: 'S', seq: -1_000_000 - i });
    // RFC 5961 section 7 limits the ACKs that answer SYNs, whatever their sequence number.
    t.true(peer.takeAll().length <= 150);
  },
  { settings: { ...ALL_ANSWERED, challengeAcksPerSecond: 100 } },
);

simulate('a bad checksum is dropped without a word', (t, world) => {
  const { peer, user } = world.accept();
  peer.send({ data: 100, spoilChecksum: true });
  t.deepEqual(peer.lines(), []);
  t.is(user.receivedBytes, 0);
  t.is(world.host.tcp.drops.get('tcp-checksum'), 1);
  peer.send({ seq: 1, data: 100 });
  t.is(user.receivedBytes, 100);
});

simulate(
  'a checksum that nobody is to look at is not looked at',
  (t, world) => {
    const { peer, user } = world.accept();
    peer.send({ data: 100, spoilChecksum: true });
    t.is(user.receivedBytes, 100);
    t.is(world.host.tcp.drops.get('tcp-checksum'), 0);
    t.is(world.host.tcp.counters.get('checksumsVerified'), 0);
    t.is(world.host.tcp.counters.get('checksumsSkipped'), 3);
  },
  { settings: { verifyChecksums: false } },
);

simulate('urgent text is text', (t, world) => {
  const { peer, user } = world.accept();
  // RFC 6093 section 4.
  peer.send({ flags: 'UA', data: 100 });
  t.is(user.receivedBytes, 100);
  t.true(user.isIntact);
});

simulate('after close() in every state the rules are the same', (t, world) => {
  const { peer, user, tcb } = world.accept();
  world.call(() => close(tcb));
  peer.takeAll();
  peer.send({ flags: 'R', seq: 500 });
  t.is(peer.takeAll().length, 1);
  peer.send({ flags: 'R', seq: 1 });
  t.true(user.closed);
});
