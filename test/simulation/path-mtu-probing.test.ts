/** Path MTU discovery without routers' help (RFC 4821): black holes, probes that arrive, and probes that do not. */
import test from 'ava';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { findLeaks } from '../support/leaks.ts';
import type { Seen } from '../support/raw-peer.ts';
import { type Connected, MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { Transfer } from '../support/transfer.ts';
import { ADDRESS_B, World } from '../support/world.ts';

const MSS = 1460;
const BASE = 1024;

/** Sizes of segments with text that the peer has not taken yet. */
function sizes(seen: readonly Seen[]): number[] {
  return seen.filter(({ length }) => length > 0).map(({ length }) => length);
}

function counter(
  world: RawWorld,
  name: 'mtuBlackHoles' | 'mtuProbesSent' | 'mtuProbesArrived' | 'mtuProbesLost',
): number {
  return world.host.tcp.counters.get(name);
}

/** Has the peer acknowledge everything, one segment at a time, until so many bytes are in flight. */
function acknowledgeUntil(world: RawWorld, { peer, tcb }: Connected, cwndBytes: number): void {
  for (let round = 0; round < 100 && tcb.cwndBytes < cwndBytes; round++) {
    world.advance(10 * MILLISECOND);
    for (const { seq, length } of peer.takeAll()) if (length > 0) peer.queue({ ack: seq + length });
    world.settle();
  }
}

/** An accepted connection with a wide window and SACK. */
function open(world: RawWorld): Connected {
  return world.accept({ syn: { sackPermitted: true }, windowScale: 10, window: 60_000 });
}

simulate('segments of full size that vanish get smaller from the fourth time-out on', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 4 * MSS));
  t.deepEqual(sizes(peer.takeAll()), [MSS, MSS, MSS, MSS]);
  world.runUntil(() => counter(world, 'mtuBlackHoles') === 1, 60 * SECOND);
  world.settle();
  t.is(tcb.retries, 4);
  t.is(sizes(peer.takeAll()).at(-1), BASE);
  t.is(tcb.mssBytes, BASE);
  world.runUntil(() => counter(world, 'mtuBlackHoles') === 2, 60 * SECOND);
  world.settle();
  t.is(sizes(peer.takeAll()).at(-1), BASE / 2);
  // The rest goes in segments as small as the one that has arrived.
  peer.send({ ack: 1 + BASE / 2 });
  world.advance(SECOND);
  t.true(sizes(peer.takeAll()).every((length) => length <= BASE / 2));
  peer.send({ ack: 1 + 4 * MSS });
});

simulate('after an outage, in which short segments have vanished too, segments are what they were', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, 4 * MSS));
  world.runUntil(() => tcb.retries === 7, 600 * SECOND);
  t.is(tcb.mssBytes, 512);
  world.settle();
  t.is(sizes(peer.takeAll()).at(-1), 512);
  peer.send({ ack: 1 + 512 });
  t.is(tcb.mssBytes, MSS);
  t.is(world.host.tcp.counters.get('mtuBlackHolesDenied'), 1);
  peer.send({ ack: 1 + 4 * MSS });
});

simulate('a short segment is lost for other reasons', (t, world) => {
  const { peer, user, tcb } = open(world);
  world.call(() => user.send(tcb, BASE));
  world.runUntil(() => tcb.retries === 8, 600 * SECOND);
  t.is(counter(world, 'mtuBlackHoles'), 0);
  t.is(tcb.mssBytes, MSS);
  peer.send({ ack: 1 + BASE });
});

simulate(
  'segments do not get smaller than the floor',
  (t, world) => {
    const { user, tcb } = open(world);
    world.call(() => user.send(tcb, 4 * MSS));
    world.runUntil(() => tcb.mssBytes === 256, 600 * SECOND);
    t.is(counter(world, 'mtuBlackHoles'), 3);
    world.runUntil(() => user.closed, 3600 * SECOND);
    t.is(counter(world, 'mtuBlackHoles'), 3);
  },
  { settings: { mtuFloorMssBytes: 256 } },
);

simulate(
  'turned off, nothing gets smaller',
  (t, world) => {
    const { user, tcb } = open(world);
    world.call(() => user.send(tcb, 4 * MSS));
    world.runUntil(() => user.closed, 3600 * SECOND);
    t.is(counter(world, 'mtuBlackHoles'), 0);
  },
  { settings: { mtuProbing: 0 } },
);

/** A connection that probes from the start, at its first probe. */
function probing(world: RawWorld): { connected: Connected; probe: Seen; behind: Seen[] } {
  const connected = open(world);
  const { peer, user, tcb } = connected;
  world.call(() => user.send(tcb, 2_000_000));
  acknowledgeUntil(world, connected, 11 * BASE);
  for (let round = 0; round < 100 && counter(world, 'mtuProbesSent') === 0; round++) {
    acknowledgeUntil(world, connected, tcb.cwndBytes + 1);
  }
  const seen = peer.takeAll();
  const at = seen.findIndex(({ length }) => length > BASE);
  const probe = seen[at];
  if (probe === undefined) throw new Error('there was no probe');
  if (at > 0) peer.send({ ack: probe.seq });
  const behind = [...seen.slice(at + 1), ...peer.takeAll()];
  world.advance(10 * MILLISECOND);
  return { connected, probe, behind };
}

const ALWAYS: Partial<TcpSettings> = { mtuProbing: 2 };

simulate(
  'probing always: it begins at the base size, and a probe that arrives raises it',
  (t, world) => {
    const { connected, probe } = probing(world);
    const { peer, tcb } = connected;
    // Half way between 1024 and 1460, as packets of 1064 and 1500.
    t.is(probe.length, (BASE + MSS) / 2);
    t.is(tcb.mssBytes, BASE);
    const { cwndBytes } = tcb;
    peer.send({ ack: probe.seq + probe.length });
    t.is(counter(world, 'mtuProbesArrived'), 1);
    t.is(tcb.mssBytes, probe.length);
    t.true(tcb.cwndBytes >= cwndBytes);
    for (let round = 0; round < 100 && MSS - tcb.mssBytes >= 8; round++)
      acknowledgeUntil(world, connected, tcb.cwndBytes + 1);
    t.true(MSS - tcb.mssBytes < 8, `${tcb.mssBytes}`);
    t.is(counter(world, 'mtuProbesLost'), 0);
  },
  { settings: ALWAYS },
);

simulate(
  'a probe that alone is lost is no sign of congestion, and its text goes again in pieces',
  (t, world) => {
    const { connected, probe, behind } = probing(world);
    const { peer, tcb } = connected;
    const { cwndBytes, ssthreshBytes } = tcb;
    const last = behind.filter(({ length }) => length > 0).at(-1);
    const lastEnd = (last?.seq ?? 0) + (last?.length ?? 0);
    t.true(lastEnd > probe.seq + probe.length + 2 * BASE);
    peer.send({ ack: probe.seq, sack: [[probe.seq + probe.length, lastEnd]] });
    t.is(counter(world, 'mtuProbesLost'), 1);
    const again = peer.takeAll().filter(({ seq }) => seq < probe.seq + probe.length);
    t.deepEqual(sizes(again), [BASE, probe.length - BASE]);
    t.is(again[0]?.seq, probe.seq);
    t.true(tcb.cwndBytes >= cwndBytes);
    t.is(tcb.ssthreshBytes, ssthreshBytes);
    t.is(world.host.tcp.counters.get('fastRetransmits'), 0);
    peer.send({ ack: lastEnd });
    t.is(tcb.mssBytes, BASE);
    // The next one is shorter.
    for (let round = 0; round < 100 && counter(world, 'mtuProbesSent') < 2; round++) {
      acknowledgeUntil(world, connected, tcb.cwndBytes + 1);
    }
    const next = peer.takeAll().find(({ length }) => length > BASE);
    t.is(next?.length, (BASE + probe.length - 1) >> 1);
  },
  { settings: ALWAYS },
);

simulate(
  'a probe that is lost with others tells nothing',
  (t, world) => {
    const { connected, probe, behind } = probing(world);
    const { peer, tcb } = connected;
    const { ssthreshBytes } = tcb;
    const [first, , ...rest] = behind.filter(({ length }) => length > 0);
    if (first === undefined || rest.length < 3) throw new Error('too little behind the probe');
    const last = rest.at(-1) as Seen;
    // The one behind the probe is lost as well.
    peer.send({ ack: probe.seq, sack: [[first.seq + first.length, last.seq + last.length]] });
    t.is(counter(world, 'mtuProbesLost'), 0);
    t.is(world.host.tcp.counters.get('fastRetransmits'), 1);
    t.true(tcb.ssthreshBytes < ssthreshBytes);
    peer.send({ ack: last.seq + last.length });
    t.is(counter(world, 'mtuProbesArrived'), 0);
  },
  { settings: ALWAYS },
);

simulate(
  'a search that has ended is taken up again after a while',
  (t, world) => {
    const { connected, probe, behind } = probing(world);
    const { peer, tcb } = connected;
    const last = behind.at(-1) as Seen;
    peer.send({ ack: probe.seq, sack: [[probe.seq + probe.length, last.seq + last.length]] });
    peer.send({ ack: last.seq + last.length });
    // What is left of the range is less than the threshold.
    for (let round = 0; round < 5; round++) acknowledgeUntil(world, connected, tcb.cwndBytes + 1);
    t.is(counter(world, 'mtuProbesSent'), 1);
    world.advance(20 * SECOND);
    for (let round = 0; round < 100 && counter(world, 'mtuProbesSent') === 1; round++) {
      acknowledgeUntil(world, connected, tcb.cwndBytes + 1);
    }
    t.is(counter(world, 'mtuProbesSent'), 2);
  },
  { settings: { ...ALWAYS, mtuProbeThresholdBytes: 230, mtuProbeIntervalUs: 20 * SECOND } },
);

const BYTES = 2_000_000;

/** A transfer over a link whose MTU falls without a word when a part of it has arrived. */
function transferOver(mtuBytes: number, offload: boolean, settings: Partial<TcpSettings>, delayUs = 5000) {
  const world = new World({
    seed: 7,
    link: { delayUs, bitsPerSecond: 50_000_000, queueBytes: 200_000, offload },
    settingsA: settings,
  });
  const at = world.arena.allocate(BYTES);
  world.random.fill(world.arena.bytes.subarray(at, at + BYTES));
  const a = new Transfer(world, at, BYTES, at, 0);
  const b = new Transfer(world, at, 0, at, BYTES);
  world.b.tcp.listen(80, () => b);
  const connection = world.a.tcp.connect(ADDRESS_B, 80, a) as Tcb;
  world.run(3600 * SECOND, () => b.received > BYTES / 4);
  world.link.setMtu(mtuBytes);
  return { world, a, b, connection };
}

for (const offload of [false, true]) {
  for (const mtuBytes of [750, 1300]) {
    const title = `the MTU falls to ${mtuBytes} and nobody is told, ${offload ? 'with' : 'without'} super-frames`;
    test(title, (t) => {
      const { world, a, b, connection } = transferOver(mtuBytes, offload, {});
      let mssBytes = 0;
      world.run(600 * SECOND, () => {
        if (connection.state !== 0) mssBytes = connection.mssBytes;
        return a.closed && b.closed;
      });
      t.true(a.complete && b.complete, `b received ${b.received}`);
      const { counters } = world.a.tcp;
      t.true(counters.get('mtuBlackHoles') >= 1);
      t.true(mssBytes <= mtuBytes - 52);
      // The search goes on from below, up to what the path takes.
      t.true(counters.get('mtuProbesSent') > 0);
      t.true(mssBytes >= (mtuBytes - 52) / 2 + 100, `${mssBytes}`);
      world.run(130 * SECOND);
      t.deepEqual([...findLeaks(world.a), ...findLeaks(world.b)], []);
      world.close();
    });
  }

  test(`without the search the same transfer never ends, ${offload ? 'with' : 'without'} super-frames`, (t) => {
    const { world, a } = transferOver(750, offload, { mtuProbing: 0 });
    world.run(3600 * SECOND, () => a.closed);
    t.is(a.error, 'ETIMEDOUT');
    world.close();
  });

  test(`probing always finds what the path takes, ${offload ? 'with' : 'without'} super-frames`, (t) => {
    const { world, a, b, connection } = transferOver(1500, offload, ALWAYS);
    world.link.setMtu(1400);
    let mssBytes = 0;
    world.run(600 * SECOND, () => {
      if (connection.state !== 0) mssBytes = connection.mssBytes;
      return a.closed && b.closed;
    });
    t.true(a.complete && b.complete);
    t.true(mssBytes > 1024 && mssBytes <= 1348, `${mssBytes}`);
    world.close();
  });
}
