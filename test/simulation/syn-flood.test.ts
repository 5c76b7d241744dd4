/**
 * A SYN flood: 200,000 SYNs, each from an address of its own, at a listener with established transfers, to which real clients
 * connect all the while. The transfers end when they would have ended without it, every client gets in at its first attempt,
 * and the listener remembers no more of the flood than its backlog.
 */
import test from 'ava';
import { TRANSMIT_WORDS, TransmitBatch } from '../../src/driver/device.ts';
import type { Host } from '../../src/host/host.ts';
import { Simulation } from '../../src/host/simulation.ts';
import { abort, takeEvents } from '../../src/tcp/calls.ts';
import { EVENT_CLOSED, EVENT_CONNECTED, type Tcb, type TcpUser } from '../../src/tcp/tcb.ts';
import { finishSum, pseudoSum4, sumBytes } from '../../src/wire/checksum.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, setEthernet } from '../../src/wire/ethernet.ts';
import { IPV4_BYTES, PROTOCOL_TCP, setIpv4 } from '../../src/wire/ipv4.ts';
import { setTcp, setTcpChecksum, TCP_SYN } from '../../src/wire/tcp.ts';
import { MSS_BYTES, writeMss } from '../../src/wire/tcp-options.ts';
import { clearVnet } from '../../src/wire/virtio-net.ts';
import { findLeaks } from '../support/leaks.ts';
import { Transfer } from '../support/transfer.ts';
import { ADDRESS_A, ADDRESS_B } from '../support/world.ts';

const SYNS = 200_000;
const SYNS_AT_ONCE = 50;
const EVERY_US = 1000;
const FLOOD_US = (SYNS / SYNS_AT_ONCE) * EVERY_US;
const DELAY_US = 10_000;
const TRANSFERS = 4;
/** What a window of 64 KiB moves in as long as the flood lasts, and a little more. */
const TRANSFER_BYTES = 13_500_000;
const CLIENT_EVERY_US = 20_000;
const CLIENT_BYTES = 500;
const BACKLOG = 1024;
const TCP_HEADER_BYTES = 20 + MSS_BYTES;
const SECOND = 1_000_000;
/** Every half-open connection has been given up by then, and TIME-WAIT is over. */
const ALL_OVER_US = 400 * SECOND;

class Flooded extends Simulation {
  readonly link = this.addLink({ bitsPerSecond: 1e9, delayUs: DELAY_US });
  readonly client: Host;
  readonly server: Host;
  readonly transfers: Transfer[] = [];
  readonly visits: { readonly openedUs: number; readonly user: Transfer; doneUs: number }[] = [];
  readonly ends: Transfer[] = [];
  sent = 0;
  mostConnections = 0;
  private readonly textAt: number;
  private readonly frameAt: number;
  private readonly batch = new TransmitBatch(1);

  constructor() {
    super(7);
    const tcpSettings = { receiveBufferBytes: 65_536, maxTimeWait: 1024, timeWaitUs: 2 * SECOND };
    this.client = this.addHost('client', this.link.a, ADDRESS_A, { tcpSettings });
    // Everything that is not on the link goes to the client, which drops it.
    this.server = this.addHost('server', this.link.b, ADDRESS_B, { tcpSettings, gateway: ADDRESS_A });
    this.textAt = this.arena.allocate(TRANSFER_BYTES);
    for (let i = 0; i < TRANSFER_BYTES; i++) this.arena.bytes[this.textAt + i] = Math.imul(i, 0x9e3779b1) >>> 24;
    this.frameAt = this.arena.allocate(2048) + 64;
    this.server.tcp.listen(80, () => this.takeEnd(CLIENT_BYTES), { backlog: BACKLOG });
    this.server.tcp.listen(81, () => this.takeEnd(TRANSFER_BYTES));
  }

  /** Downloads that are under way before the flood begins. */
  startTransfers(): void {
    for (let i = 0; i < TRANSFERS; i++) {
      const user = new Transfer(this, this.textAt, 1, this.textAt, TRANSFER_BYTES);
      this.transfers.push(user);
      this.client.tcp.connect(ADDRESS_B, 81, user);
    }
    this.client.stack.wake();
    this.run(5 * DELAY_US);
  }

  /** Runs until the transfers are complete; when the last one was, microseconds of virtual time. */
  finishTransfers(): number {
    this.run(60 * SECOND, () => this.transfers.every((user) => user.received === TRANSFER_BYTES));
    return this.clock.nowUs();
  }

  flood(): void {
    for (let burst = 0; burst < SYNS / SYNS_AT_ONCE; burst++) {
      this.clock.at(this.clock.nowUs() + burst * EVERY_US, () => {
        for (let i = 0; i < SYNS_AT_ONCE; i++) this.sendSyn(this.sent++);
        this.mostConnections = Math.max(this.mostConnections, this.server.tcp.liveConnections);
      });
    }
  }

  /** A client every so often: opens a connection, exchanges a few bytes, closes. */
  visit(): void {
    for (let afterUs = 0; afterUs < FLOOD_US; afterUs += CLIENT_EVERY_US) {
      this.clock.at(this.clock.nowUs() + afterUs, () => {
        const user = new Transfer(this, this.textAt, 1, this.textAt, CLIENT_BYTES);
        this.visits.push({ openedUs: this.clock.nowUs(), user, doneUs: Number.POSITIVE_INFINITY });
        this.client.tcp.connect(ADDRESS_B, 80, user);
        this.client.stack.wake();
      });
    }
  }

  noteVisits(): void {
    for (const visit of this.visits) {
      if (visit.user.received === CLIENT_BYTES) visit.doneUs = Math.min(visit.doneUs, this.clock.nowUs());
    }
  }

  private takeEnd(bytes: number): Transfer {
    const user = new Transfer(this, this.textAt, bytes, this.textAt, 1);
    this.ends.push(user);
    return user;
  }

  private sendSyn(index: number): void {
    const { bytes } = this.arena;
    const at = this.frameAt;
    const tcpAt = at + ETHERNET_BYTES + IPV4_BYTES;
    // Public addresses, no two alike.
    const source = (0x2d000000 + index * 7) | 0;
    writeMss(bytes, tcpAt + 20, 1460);
    setTcp(
      bytes,
      tcpAt,
      1024 + (index % 60_000),
      80,
      Math.imul(index, 0x85ebca6b),
      0,
      TCP_HEADER_BYTES,
      TCP_SYN,
      65_535,
    );
    const pseudo = pseudoSum4(source, ADDRESS_B, PROTOCOL_TCP) + TCP_HEADER_BYTES;
    setTcpChecksum(bytes, tcpAt, finishSum(sumBytes(bytes, tcpAt, TCP_HEADER_BYTES, pseudo)));
    setEthernet(bytes, at, 0x0200, ADDRESS_B, 0x0200, ADDRESS_A, ETHERTYPE_IPV4);
    const packetBytes = IPV4_BYTES + TCP_HEADER_BYTES;
    setIpv4(bytes, at + ETHERNET_BYTES, packetBytes, 1, true, 64, PROTOCOL_TCP, source, ADDRESS_B, 0);
    clearVnet(bytes, at);
    this.batch.words.fill(0, 0, TRANSMIT_WORDS);
    this.batch.words[0] = at;
    this.batch.words[1] = ETHERNET_BYTES + packetBytes;
    this.link.a.transmit(this.batch, 0, 1);
    // The client must not see the frame among its own.
    this.link.a.completed();
  }
}

test('200,000 SYNs: transfers end when they would have, clients get in, memory is bounded', (t) => {
  t.timeout(300_000);
  const quiet = new Flooded();
  quiet.startTransfers();
  const quietUs = quiet.finishTransfers();
  quiet.close();

  const world = new Flooded();
  const { server } = world;
  world.startTransfers();
  world.flood();
  world.visit();
  const endUs = world.clock.nowUs() + FLOOD_US;
  let transfersUs = Number.POSITIVE_INFINITY;
  while (world.clock.nowUs() < endUs + SECOND) {
    world.run(DELAY_US / 2);
    world.noteVisits();
    if (world.transfers.every((user) => user.received === TRANSFER_BYTES)) {
      transfersUs = Math.min(transfersUs, world.clock.nowUs());
    }
  }
  t.is(world.sent, SYNS);
  t.true(quietUs > FLOOD_US, 'the transfers last as long as the flood');
  t.true(transfersUs <= 1.01 * quietUs, `${transfersUs} us with the flood, ${quietUs} us without`);
  for (const { wrongBytes } of world.transfers) t.is(wrongBytes, 0);

  t.is(world.visits.length, FLOOD_US / CLIENT_EVERY_US);
  // Three round trips, and no second for a SYN that was dropped.
  const latest = Math.max(...world.visits.map(({ openedUs, doneUs }) => doneUs - openedUs));
  t.true(latest <= 6 * DELAY_US + DELAY_US, `a client has waited ${latest} us`);

  const counters = server.tcp.counters.snapshot();
  t.is(counters.repliesDropped, 0);
  t.is(counters.synCookiesRefused, 0);
  t.true((counters.synCookiesSent ?? 0) >= SYNS - BACKLOG);
  t.true((counters.synCookiesAccepted ?? 0) >= world.visits.length / 2, `${counters.synCookiesAccepted} by cookie`);
  t.true(world.mostConnections <= BACKLOG + TRANSFERS + world.visits.length, `${world.mostConnections} connections`);
  t.true(server.stack.paths.activeCount <= BACKLOG + 1);
  t.true(server.stack.paths.idleCount <= 1024);
  t.is(server.tcp.receiveMemory.usedBytes, 0);
  t.log(
    `transfers ${quietUs} us without, ${transfersUs} us with the flood; slowest of ${world.visits.length} clients ${latest} us`,
  );
  t.log(
    `${counters.synCookiesSent} cookies sent, ${counters.synCookiesAccepted} accepted, ${world.mostConnections} connections at most`,
  );

  world.run(ALL_OVER_US);
  t.true(world.visits.every(({ user }) => user.complete));
  t.deepEqual(findLeaks(server), []);
  t.deepEqual(findLeaks(world.client), []);
  world.close();
});

/** An application that neither sends nor reads nor closes. */
class Idle implements TcpUser {
  connected = false;
  closed = false;

  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    if ((events & EVENT_CONNECTED) !== 0) this.connected = true;
    if ((events & EVENT_CLOSED) !== 0) this.closed = true;
  }
}

function createPair(options: { maxConnections?: number } = {}): { world: Simulation; client: Host; server: Host } {
  const world = new Simulation(3);
  const link = world.addLink({ delayUs: DELAY_US });
  const client = world.addHost('client', link.a, ADDRESS_A, { tcpSettings: { maxTimeWait: 64 } });
  const server = world.addHost('server', link.b, ADDRESS_B, { tcpSettings: { maxTimeWait: 64, ...options } });
  // They know each other's addresses: nothing waits for ARP.
  client.stack.paths.acquire(ADDRESS_B);
  client.stack.wake();
  world.run(4 * DELAY_US);
  return { world, client, server };
}

function dial(client: Host, user: TcpUser): Tcb {
  const tcb = client.tcp.connect(ADDRESS_B, 80, user);
  client.stack.wake();
  if (tcb === null) throw new Error('no connection');
  return tcb;
}

test('a table that is full refuses SYNs, and nobody in it notices; who waits gets in', (t) => {
  const { world, client, server } = createPair({ maxConnections: 5 });
  server.tcp.listen(80, () => new Idle());
  const users = Array.from({ length: 5 }, () => new Idle());
  const connections = users.map((user) => dial(client, user));
  world.run(SECOND);
  t.true(users.every((user) => user.connected));
  const waiting = new Idle();
  dial(client, waiting);
  world.run(5 * SECOND);
  t.false(waiting.connected);
  t.true(server.stack.drops.get('tcp-connections') >= 2);
  t.true(users.every((user) => !user.closed));
  abort(connections[0] as Tcb);
  client.stack.wake();
  t.true(world.run(10 * SECOND, () => waiting.connected));
  world.close();
});

for (const backlog of [BACKLOG, 0]) {
  test(`an application that takes no more: its accept queue is full, ${backlog > 0 ? 'half-open' : 'cookies'}`, (t) => {
    const { world, client, server } = createPair();
    const accepted: Idle[] = [];
    const listener = server.tcp.listen(
      80,
      () => {
        const user = new Idle();
        accepted.push(user);
        return user;
      },
      { backlog },
    );
    // Its SYN is in, and answered; its last acknowledgment comes when the queue is full.
    const late = new Idle();
    dial(client, late);
    world.run(3 * DELAY_US - 1);
    t.is(server.tcp.liveConnections, backlog > 0 ? 1 : 0);
    listener.accepting = false;
    const waiting = new Idle();
    dial(client, waiting);
    world.run(500_000);
    t.is(accepted.length, 0);
    t.true(late.connected, 'as far as the client knows');
    t.false(waiting.connected);
    t.is(server.tcp.counters.get('acceptQueueFull'), 2);
    listener.accepting = true;
    t.true(world.run(5 * SECOND, () => waiting.connected));
    // What only a cookie remembers is known again when the client says something.
    if (backlog > 0) t.true(world.run(5 * SECOND, () => accepted.length === 2));
    world.close();
  });
}
