/** TCP Fast Open (RFC 7413): cookies, text on SYNs both ways, and what happens when they are not liked. */
import test from 'ava';
import { closeSend, connectAndSend } from '../../src/tcp/calls.ts';
import type { TcpCounterName } from '../../src/tcp/counters.ts';
import type { Listener, ListenOptions } from '../../src/tcp/listener.ts';
import { ESTABLISHED, SYN_RECEIVED } from '../../src/tcp/state.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { findLeaks } from '../support/leaks.ts';
import { pattern, RawPeer } from '../support/raw-peer.ts';
import { MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';
import { Transfer } from '../support/transfer.ts';
import { ADDRESS_B, World } from '../support/world.ts';

const MSS = 1460;
const NOP = 1;

/** The option as Linux writes it; without a cookie the request for one. */
function option(cookie: Uint8Array = new Uint8Array(0), isExperimental = false): Uint8Array {
  const head = isExperimental ? [254, 4 + cookie.length, 0xf9, 0x89] : [34, 2 + cookie.length];
  const bytes = [...head, ...cookie];
  while (bytes.length % 4 !== 0) bytes.push(NOP);
  return Uint8Array.from(bytes);
}

function count(world: RawWorld, name: TcpCounterName): number {
  return world.host.tcp.counters.get(name);
}

/** A listener whose connections go to users of their own, which are noted. */
function listenWith(world: RawWorld, options: ListenOptions): { listener: Listener; users: TestUser[] } {
  const users: TestUser[] = [];
  const accept = (connection: Tcb) => {
    const user = new TestUser(world);
    user.connection = connection;
    users.push(user);
    return user;
  };
  return { listener: world.host.tcp.listen(80, accept, options), users };
}

/** The cookie that the host gives to the peers' address. */
function askForCookie(world: RawWorld, isExperimental = false): Buffer {
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: MSS, options: option(undefined, isExperimental) });
  const answer = peer.take();
  peer.send({ flags: 'R', seq: 1 });
  world.detach(peer);
  if (answer.fastOpen === null) throw new Error('no cookie');
  return answer.fastOpen;
}

for (const isExperimental of [false, true]) {
  const form = isExperimental ? 'experimental' : 'standard';
  simulate(
    `server, ${form} option: a cookie is given, brought back, and the text read before the handshake is over`,
    (t, world) => {
      const { listener, users } = listenWith(world, { fastOpenQueue: 8 });
      const cookie = askForCookie(world, isExperimental);
      t.is(cookie.length, 8);
      t.deepEqual(askForCookie(world, isExperimental), cookie);
      const peer = new RawPeer(world);
      peer.send({ flags: 'S', mss: MSS, data: pattern(0, 300), options: option(cookie, isExperimental) });
      const [user] = users;
      t.is(user?.connection?.state, SYN_RECEIVED);
      t.true(user?.text.equals(pattern(0, 300)));
      const answer = peer.take();
      t.is(answer.flags, 'SA');
      t.is(answer.ack, 301);
      t.is(answer.fastOpen, null);
      peer.send();
      t.is(user?.connection?.state, ESTABLISHED);
      t.deepEqual(user?.history, ['connected, readable']);
      peer.send({ data: pattern(300, 100) });
      t.true(user?.text.equals(pattern(0, 400)));
      t.is(count(world, 'fastOpensAccepted'), 1);
      t.is(listener.fastOpens, 0);
      t.is(listener.halfOpen, 0);
      listener.close();
    },
  );
}

simulate('server: the answer leaves behind the SYN-ACK, as far as the initial window goes', (t, world) => {
  const { listener, users } = listenWith(world, { fastOpenQueue: 8 });
  const cookie = askForCookie(world);
  const peer = new RawPeer(world);
  peer.queue({ flags: 'S', mss: MSS, data: 300, options: option(cookie) });
  world.runUntil(() => users.length > 0, SECOND);
  const [user] = users;
  const tcb = user?.connection as Tcb;
  world.call(() => {
    user?.send(tcb, 12 * MSS);
    closeSend(tcb);
  });
  const [answer, ...data] = peer.takeAll();
  t.is(answer?.flags, 'SA');
  t.is(data.length, 10);
  t.true(data.every(({ flags, length }) => flags === 'A' && length === MSS));
  t.is(tcb.state, SYN_RECEIVED);
  // The handshake's acknowledgment covers a part of it; the rest is acknowledged as ever, and the FIN goes last.
  peer.send({ ack: 1 + 2 * MSS });
  t.is(user?.regions, 1);
  const rest = peer.takeAll();
  t.deepEqual(
    rest.map(({ flags, seq }) => [flags, seq]),
    [
      ['A', 1 + 10 * MSS],
      ['FA', 1 + 11 * MSS],
    ],
  );
  peer.send({ ack: 2 + 12 * MSS });
  t.is(user?.regions, 0);
  t.is(count(world, 'segmentsRetransmitted'), 0);
  peer.send({ flags: 'FA' });
  t.true(user?.closed);
  listener.close();
});

simulate('server: what left behind a SYN-ACK that was lost goes again when the handshake is over', (t, world) => {
  const { listener, users } = listenWith(world, { fastOpenQueue: 8 });
  const cookie = askForCookie(world);
  const peer = new RawPeer(world);
  peer.queue({ flags: 'S', mss: MSS, data: 300, options: option(cookie) });
  world.runUntil(() => users.length > 0, SECOND);
  const [user] = users;
  const tcb = user?.connection as Tcb;
  world.call(() => user?.send(tcb, 1000));
  peer.takeAll();
  // The SYN again, now without text and cookie, is answered for both.
  world.advance(500 * MILLISECOND);
  peer.send({ flags: 'S', seq: 0, mss: MSS });
  const again = peer.takeAll();
  t.is(again[0]?.flags, 'SA');
  t.is(again[0]?.ack, 301);
  peer.send({ seq: 301, ack: 1 });
  t.is(tcb.state, ESTABLISHED);
  world.runUntil(() => peer.inbox.some(({ seq, length }) => seq === 1 && length === 1000), 10 * SECOND);
  peer.send({ seq: 301, ack: 1001 });
  t.is(user?.regions, 0);
  t.is(user?.receivedBytes, 300);
  listener.close();
});

simulate('server: a bad cookie gets a good one, and its text goes the ordinary way', (t, world) => {
  const { listener, users } = listenWith(world, { fastOpenQueue: 8 });
  const cookie = askForCookie(world);
  for (const bad of [Buffer.alloc(8, 7), cookie.subarray(0, 6), Buffer.concat([cookie, cookie])]) {
    const peer = new RawPeer(world);
    peer.send({ flags: 'S', mss: MSS, data: 300, options: option(bad) });
    const answer = peer.take();
    t.is(answer.ack, 1);
    t.deepEqual(answer.fastOpen, cookie);
    peer.send({ seq: 1, data: 300 });
    t.is(users.at(-1)?.receivedBytes, 300);
    peer.send({ flags: 'R' });
  }
  t.is(count(world, 'fastOpensRefused'), 3);
  // Of a length that no cookie has: as if it were not there (section 4.1.1).
  const odd = new RawPeer(world);
  odd.send({ flags: 'S', mss: MSS, data: 300, options: option(Buffer.alloc(5, 7)) });
  t.is(odd.take().fastOpen, null);
  odd.send({ flags: 'R', seq: 1 });
  // Another address has another cookie.
  const other = new RawPeer(world, { address: 0x0a000077 });
  other.send({ flags: 'S', mss: MSS, data: 300, options: option(cookie) });
  const answer = other.take();
  t.is(answer.ack, 1);
  t.notDeepEqual(answer.fastOpen, cookie);
  other.send({ flags: 'R', seq: 1 });
  listener.close();
});

simulate(
  'server: after its key has changed a cookie is good once more, and replaced; after two changes it is not',
  (t, world) => {
    const { listener } = listenWith(world, { fastOpenQueue: 8 });
    const cookie = askForCookie(world);
    world.advance(100 * SECOND);
    const peer = new RawPeer(world);
    peer.send({ flags: 'S', mss: MSS, data: 300, options: option(cookie) });
    const answer = peer.take();
    t.is(answer.ack, 301);
    t.is(answer.fastOpen?.length, 8);
    t.notDeepEqual(answer.fastOpen, cookie);
    peer.send({ flags: 'R' });
    world.advance(100 * SECOND);
    const late = new RawPeer(world);
    late.send({ flags: 'S', mss: MSS, data: 300, options: option(cookie) });
    t.is(late.take().ack, 1);
    late.send({ flags: 'R', seq: 1 });
    listener.close();
  },
  { settings: { fastOpenKeyUs: 100 * SECOND } },
);

simulate('server: no more than the queue holds, and a reset frees no place at once', (t, world) => {
  const { listener, users } = listenWith(world, { fastOpenQueue: 2 });
  const cookie = askForCookie(world);
  const open = (): { peer: RawPeer; ack: number } => {
    const peer = new RawPeer(world);
    peer.send({ flags: 'S', mss: MSS, data: 300, options: option(cookie) });
    return { peer, ack: peer.take().ack };
  };
  const [first, second, third] = [open(), open(), open()];
  t.deepEqual([first.ack, second.ack, third.ack], [301, 301, 1]);
  t.is(count(world, 'fastOpensOverflowed'), 1);
  third.peer.send({ seq: 1, data: 300 });
  t.is(users.length, 3);
  // A handshake that ends makes room, a reset does not for a minute (section 5.1).
  first.peer.send();
  const fourth = open();
  t.is(fourth.ack, 301);
  second.peer.send({ flags: 'R' });
  t.is(users[1]?.error, 'ECONNRESET');
  const fifth = open();
  t.is(fifth.ack, 1);
  world.advance(61 * SECOND);
  t.is(open().ack, 301);
  listener.close();
});

simulate('server: a listener that has not asked for it, or is not to, does an ordinary handshake', (t, world) => {
  const { listener, users } = listenWith(world, {});
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: MSS, data: 300, options: option() });
  const answer = peer.take();
  t.is(answer.fastOpen, null);
  t.is(answer.ack, 1);
  t.is(users.length, 0);
  peer.send({ flags: 'R', seq: 1 });
  listener.close();
});

simulate(
  'server: bits 0x200 and 0x400 of the setting take text without a cookie, on every listener',
  (t, world) => {
    const { listener, users } = listenWith(world, {});
    const peer = new RawPeer(world);
    peer.send({ flags: 'S', mss: MSS, data: 300 });
    t.is(peer.take().ack, 301);
    t.is(users[0]?.receivedBytes, 300);
    peer.send({ flags: 'R' });
    listener.close();
  },
  { settings: { fastOpen: 0x602 } },
);

simulate('server: a listener that closes leaves alone what its application has already', (t, world) => {
  const { listener, users } = listenWith(world, { fastOpenQueue: 8 });
  const cookie = askForCookie(world);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: MSS, data: 300, options: option(cookie) });
  listener.close();
  peer.send();
  t.is(users[0]?.connection?.state, ESTABLISHED);
});

/** Opens to a peer's port with text to send; the peer has seen the SYN. */
function openWith(world: RawWorld, length: number): { peer: RawPeer; user: TestUser; tcb: Tcb } {
  const peer = new RawPeer(world, { port: 8080 });
  const user = new TestUser(world);
  let tcb: Tcb | null = null;
  world.call(() => {
    user.regions++;
    user.sentBytes = length;
    tcb = connectAndSend(world.host.tcp, peer.address, peer.port, user, world.pattern(length), length, user, 0);
  });
  if (tcb === null) throw new Error('no connection could be made');
  return { peer, user, tcb };
}

/** Ends what `openWith` began, so that the peers' port may be used again. */
function end({ peer }: { peer: RawPeer }, world: RawWorld): void {
  peer.send({ flags: 'RA' });
  world.detach(peer);
}

/** Has the host learn a cookie. */
function learn(world: RawWorld, cookie: Uint8Array, isExperimental = false): void {
  const opened = openWith(world, 100);
  opened.peer.takeAll();
  opened.peer.send({ flags: 'SA', mss: 1400, options: option(cookie, isExperimental) });
  end(opened, world);
}

const COOKIE = Buffer.from('c00c1e0123456789', 'hex');

simulate('client: the first SYN asks for a cookie, the next brings it with the text', (t, world) => {
  const first = openWith(world, 100);
  const syn = first.peer.take();
  t.is(syn.length, 0);
  t.is(syn.fastOpen?.length, 0);
  first.peer.send({ flags: 'SA', mss: 1400, options: option(COOKIE) });
  // The text follows the handshake.
  t.deepEqual(first.peer.lines(), ['A 1:101(100) ack 1']);
  end(first, world);
  const second = openWith(world, 5000);
  const [withText] = second.peer.takeAll();
  t.is(withText?.flags, 'S');
  t.false(withText?.push);
  t.deepEqual(withText?.fastOpen, COOKIE);
  // The server's MSS, less the room of a SYN's options.
  t.is(withText?.length, 1360);
  t.true(withText?.payload.equals(pattern(0, 1360)));
  second.peer.send({ flags: 'SA', mss: 1400, ack: 1361 });
  t.deepEqual(second.peer.lines(), ['A 1361:2761(1400) ack 1', 'A 2761:4161(1400) ack 1', 'A 4161:5001(840) ack 1']);
  second.peer.send({ ack: 5001 });
  t.is(second.user.regions, 0);
  t.is(count(world, 'fastOpenTextAcknowledged'), 1);
  t.is(count(world, 'fastOpenCookiesReceived'), 1);
  t.is(second.tcb.retransmissions, 0);
  end(second, world);
});

simulate('client: text that the SYN-ACK does not acknowledge, or a part of it only, follows at once', (t, world) => {
  learn(world, COOKIE);
  const none = openWith(world, 1000);
  t.is(none.peer.take().length, 1000);
  none.peer.send({ flags: 'SA', mss: 1400, ack: 1 });
  t.deepEqual(none.peer.lines(), ['A 1:1001(1000) ack 1']);
  none.peer.send({ ack: 1001 });
  t.is(none.user.regions, 0);
  end(none, world);
  const part = openWith(world, 1000);
  t.is(part.peer.take().length, 1000);
  part.peer.send({ flags: 'SA', mss: 1400, ack: 401 });
  t.deepEqual(part.peer.lines(), ['A 401:1001(600) ack 1']);
  t.is(count(world, 'fastOpenTextIgnored'), 1);
  end(part, world);
});

simulate('client: a SYN goes again without cookie and text; a late answer to the first one counts', (t, world) => {
  learn(world, COOKIE);
  const opened = openWith(world, 1000);
  opened.peer.takeAll();
  world.advance(1200 * MILLISECOND);
  const again = opened.peer.take();
  t.is(again.flags, 'S');
  t.is(again.fastOpen, null);
  t.is(again.length, 0);
  opened.peer.send({ flags: 'SA', mss: 1400, ack: 1001 });
  t.deepEqual(opened.peer.lines(), ['A 1001:1001(0) ack 1']);
  t.is(opened.user.regions, 0);
  end(opened, world);
});

simulate('client: where SYNs with text vanish the handshake is an ordinary one for a while', (t, world) => {
  learn(world, COOKIE);
  const fail = (): void => {
    const opened = openWith(world, 1000);
    t.is(opened.peer.take().length, 1000);
    world.advance(1200 * MILLISECOND);
    opened.peer.takeAll();
    opened.peer.send({ flags: 'SA', mss: 1400, ack: 1 });
    end(opened, world);
  };
  const isOrdinary = (): boolean => {
    const opened = openWith(world, 1000);
    const { fastOpen } = opened.peer.take();
    end(opened, world);
    return fastOpen === null;
  };
  fail();
  fail();
  t.true(isOrdinary());
  t.is(count(world, 'fastOpensSuspended'), 1);
  world.advance(60 * SECOND);
  fail();
  world.advance(61 * SECOND);
  t.true(isOrdinary());
  world.advance(60 * SECOND);
  t.false(isOrdinary());
});

simulate('client: a connection that stalls after its text was taken with the SYN counts as a failure', (t, world) => {
  learn(world, COOKIE);
  const opened = openWith(world, 1000);
  opened.peer.takeAll();
  opened.peer.send({ flags: 'SA', mss: 1400, ack: 1001 });
  world.call(() => opened.user.send(opened.tcb, 500));
  world.runUntil(() => opened.tcb.retries === 4, 60 * SECOND);
  t.is(count(world, 'fastOpenBlackHoles'), 1);
  end(opened, world);
  const next = openWith(world, 1000);
  t.is(next.peer.take().fastOpen, null);
  end(next, world);
});

simulate('client: a server that does not know the option is asked in the older form once', (t, world) => {
  const forms: string[] = [];
  for (let attempt = 0; attempt < 4; attempt++) {
    const opened = openWith(world, 100);
    const { fastOpen, fastOpenExperimental } = opened.peer.take();
    forms.push(fastOpen === null ? 'none' : fastOpenExperimental ? 'experimental' : 'standard');
    opened.peer.send({ flags: 'SA', mss: 1400 });
    end(opened, world);
  }
  t.deepEqual(forms, ['standard', 'experimental', 'standard', 'standard']);
  learn(world, COOKIE, true);
  const opened = openWith(world, 100);
  const syn = opened.peer.take();
  t.true(syn.fastOpenExperimental);
  t.deepEqual(syn.fastOpen, COOKIE);
  end(opened, world);
});

simulate(
  'client: cookies expire, and the one unused for longest makes room',
  (t, world) => {
    learn(world, COOKIE);
    world.advance(11 * SECOND);
    const expired = openWith(world, 100);
    t.is(expired.peer.take().fastOpen?.length, 0);
    expired.peer.send({ flags: 'SA', mss: 1400, options: option(COOKIE) });
    end(expired, world);
    for (const address of [0x0a000011, 0x0a000012]) {
      const peer = new RawPeer(world, { port: 8080, address });
      world.call(() => world.host.tcp.connect(address, 8080, new TestUser(world), undefined, 0, true));
      peer.takeAll();
      peer.send({ flags: 'SA', mss: 1400, options: option(COOKIE) });
      peer.send({ flags: 'RA' });
    }
    t.is(world.host.tcp.fastOpenServers.size, 2);
    const evicted = openWith(world, 100);
    t.is(evicted.peer.take().fastOpen?.length, 0);
    end(evicted, world);
  },
  { settings: { fastOpenCookieUs: 10 * SECOND, maxFastOpenServers: 2 } },
);

simulate(
  'client: without the bit nothing is asked for; with bit 4 text goes without a cookie',
  (t, world) => {
    const opened = openWith(world, 1000);
    const syn = opened.peer.take();
    t.is(syn.fastOpen, null);
    // Nothing is known of the server's MSS.
    t.is(syn.length, 536 - 40);
    opened.peer.send({ flags: 'SA', mss: 1400, ack: 497 });
    t.deepEqual(opened.peer.lines(), ['A 497:1001(504) ack 1']);
    end(opened, world);
  },
  { settings: { fastOpen: 5 } },
);

simulate(
  'client: turned off',
  (t, world) => {
    const opened = openWith(world, 1000);
    t.is(opened.peer.take().fastOpen, null);
    opened.peer.send({ flags: 'SA', mss: 1400 });
    t.deepEqual(opened.peer.lines(), ['A 1:1001(1000) ack 1']);
    end(opened, world);
  },
  { settings: { fastOpen: 2 } },
);

simulate('client: an ordinary open has no part in it', (t, world) => {
  const { peer } = world.connect();
  t.is(peer.log[0]?.fastOpen, null);
});

simulate('both ends open at once, one with text on its SYN', (t, world) => {
  learn(world, COOKIE);
  const { peer, user, tcb } = openWith(world, 1000);
  t.is(peer.take().length, 1000);
  peer.send({ flags: 'S', mss: 1400 });
  t.is(peer.take().flags, 'SA');
  peer.send({ flags: 'A', seq: 1, ack: 1 });
  t.is(tcb.state, ESTABLISHED);
  t.deepEqual(peer.lines(), ['A 1:1001(1000) ack 1']);
  peer.send({ ack: 1001 });
  t.is(user.regions, 0);
});

for (const offload of [false, true]) {
  test(`two stacks: a request and its answer in one round trip, ${offload ? 'with' : 'without'} super-frames`, (t) => {
    const world = new World({ seed: 3, link: { delayUs: 50_000, offload } });
    const requestBytes = 700;
    const answerBytes = 100_000;
    const at = world.arena.allocate(answerBytes);
    world.random.fill(world.arena.bytes.subarray(at, at + answerBytes));
    const answered: number[] = [];
    world.b.tcp.listen(80, () => new Transfer(world, at, answerBytes, at, requestBytes), { fastOpenQueue: 16 });
    for (let round = 0; round < 2; round++) {
      const startUs = world.clock.nowUs();
      const client = new Transfer(world, at, requestBytes, at, answerBytes);
      client.sent = requestBytes;
      client.regions++;
      const connection = connectAndSend(world.a.tcp, ADDRESS_B, 80, client, at, requestBytes, client, 0);
      t.not(connection, null);
      world.a.stack.wake();
      world.run(60 * SECOND, () => client.received > 0);
      answered.push(world.clock.nowUs() - startUs);
      world.run(60 * SECOND, () => client.closed);
      t.true(client.complete, `${client.received} ${client.error}`);
      t.is(client.regions, 0);
    }
    // The first one has ARP besides the handshake.
    t.true((answered[0] as number) >= 200_000);
    t.true((answered[1] as number) < 110_000, `${answered}`);
    t.is(world.b.tcp.counters.get('fastOpensAccepted'), 1);
    world.run(130 * SECOND);
    t.deepEqual([...findLeaks(world.a), ...findLeaks(world.b)], []);
    world.close();
  });
}

test('no connection can be made: the region is released', (t) => {
  const world = new World({ settingsA: { maxConnections: 1 } });
  const at = world.arena.allocate(100);
  const first = new Transfer(world, at, 0, at, 0);
  t.not(world.a.tcp.connect(ADDRESS_B, 80, first), null);
  const refused = new Transfer(world, at, 0, at, 0);
  refused.regions++;
  t.is(connectAndSend(world.a.tcp, ADDRESS_B, 80, refused, at, 100, refused, 0), null);
  t.is(refused.regions, 0);
  world.close();
});
