/** BBR (draft-ietf-ccwg-bbr) over simulated bottlenecks: rate, queue, losses, propagation delay, idleness. */
import test, { type ExecutionContext } from 'ava';
import type { SimulatedLinkOptions } from '../../src/host/simulation.ts';
import { setCongestionControl } from '../../src/tcp/calls.ts';
import { BbrState, PROBE_BW_CRUISE, PROBE_BW_UP, PROBE_RTT, STARTUP } from '../../src/tcp/congestion/bbr/state.ts';
import { tcpInfo } from '../../src/tcp/info.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { Stream } from '../support/stream.ts';
import { World } from '../support/world.ts';

const SECOND = 1_000_000;
const MBIT = 1_000_000 / 8;
const ONE_WAY_US = 20_000;
const RTT_US = 2 * ONE_WAY_US;
const RATE = 10 * MBIT;
const BDP = (RATE * RTT_US) / SECOND;
/** Of a frame of 1514 bytes 1448 are text, with timestamps 1440. */
const TEXT_SHARE = 1440 / 1514;

interface Bottleneck {
  readonly congestion?: TcpSettings['congestion'];
  readonly queueBytes?: number;
  readonly loss?: number;
  readonly link?: SimulatedLinkOptions;
}

function begin(t: ExecutionContext, { congestion = 'bbr', queueBytes = 4 * BDP, loss = 0, link }: Bottleneck = {}) {
  const world = new World({
    settingsA: { congestion },
    settingsB: { receiveBufferBytes: 4 * 1024 * 1024 },
    link: {
      delayUs: ONE_WAY_US,
      aToB: { bitsPerSecond: 8 * RATE, queueBytes, faults: { loss } },
      ...link,
    },
  });
  t.teardown(() => world.close());
  return { world, stream: new Stream(world) };
}

function connectionOf(stream: Stream): Tcb {
  if (stream.connection === null) throw new Error('not connected');
  return stream.connection;
}

function stateOf(stream: Stream): BbrState {
  const { congestionState } = connectionOf(stream);
  if (!(congestionState instanceof BbrState)) throw new Error('this is not BBR');
  return congestionState;
}

function assertNear(t: ExecutionContext, actual: number, expected: number, tolerance: number, what: string): void {
  t.true(Math.abs(actual - expected) <= tolerance * expected, `${what}: ${actual} instead of ${expected}`);
}

test('it finds the bandwidth and the propagation delay, fills the path, and keeps the queue short', (t) => {
  const { world, stream } = begin(t);
  world.run(3 * SECOND);
  const bbr = stateOf(stream);
  assertNear(t, bbr.bw, RATE * TEXT_SHARE, 0.1, 'bandwidth');
  assertNear(t, bbr.minRttUs, RTT_US, 0.1, 'propagation delay');
  assertNear(t, stream.rateOver(15 * SECOND), RATE * TEXT_SHARE, 0.08, 'rate');
  t.is(tcpInfo(connectionOf(stream)).retransmissions, 0);
  // A loss-based sender fills the queue of four times the path.
  let roundTrips = 0;
  let most = 0;
  for (let i = 0; i < 100; i++) {
    world.run(0.05 * SECOND);
    roundTrips += connectionOf(stream).srttUs / 100;
    most = Math.max(most, connectionOf(stream).srttUs);
  }
  t.true(roundTrips < 1.5 * RTT_US, `${roundTrips} us on average`);
  t.true(most < 2.5 * RTT_US, `${most} us at most`);
});

test('startup ends when the bandwidth grows no more, and what it has queued is drained', (t) => {
  const { world, stream } = begin(t);
  t.true(world.run(SECOND, () => stream.connection !== null));
  t.is(stateOf(stream).state, STARTUP);
  t.true(world.run(2 * SECOND, () => stateOf(stream).state !== STARTUP));
  const { nowUs } = connectionOf(stream).tcp;
  t.true(nowUs < 20 * RTT_US, `${nowUs} us`);
  t.true(world.run(SECOND, () => stateOf(stream).state === PROBE_BW_CRUISE));
  const { pipeBytes } = tcpInfo(connectionOf(stream));
  t.true(pipeBytes <= 1.2 * BDP, `${pipeBytes} bytes in flight`);
});

test('it is paced: what leaves in a millisecond is what the rate says, not a window', (t) => {
  const departures: number[] = [];
  const { world, stream } = begin(t, {
    link: {
      observe: (_bytes, _at, length, direction, timeUs) => {
        if (direction === 'aToB' && length > 1000) departures.push(timeUs);
      },
    },
  });
  world.run(4 * SECOND);
  departures.length = 0;
  world.run(0.5 * SECOND);
  t.true(connectionOf(stream).pacingBytesPerSecond > 0.7 * RATE);
  const bursts = new Map<number, number>();
  for (const timeUs of departures) bursts.set(timeUs, (bursts.get(timeUs) ?? 0) + 1);
  t.true(departures.length > 300);
  t.true(Math.max(...bursts.values()) <= 6, `${Math.max(...bursts.values())} frames at once`);
});

test('losses that are not congestion cost it little, where a loss-based sender starves', (t) => {
  const rates = new Map<string, number>();
  for (const congestion of ['bbr', 'newreno'] as const) {
    const { world, stream } = begin(t, { congestion, loss: 0.01 });
    world.run(3 * SECOND);
    rates.set(congestion, stream.rateOver(20 * SECOND));
  }
  const bbr = rates.get('bbr') ?? 0;
  t.true(bbr > 0.8 * RATE * TEXT_SHARE, `${bbr}`);
  t.true(bbr > 1.5 * (rates.get('newreno') ?? 0), `${bbr} and ${rates.get('newreno')}`);
});

test('a queue too short for its probes makes it careful: few losses, and the path is used all the same', (t) => {
  const { world, stream } = begin(t, { queueBytes: 0.3 * BDP });
  world.run(5 * SECOND);
  const connection = connectionOf(stream);
  const before = { lost: connection.lostTotalBytes, received: stream.receivedBytes };
  const rate = stream.rateOver(20 * SECOND);
  t.true(rate > 0.75 * RATE * TEXT_SHARE, `${rate}`);
  const lossShare = (connection.lostTotalBytes - before.lost) / (stream.receivedBytes - before.received);
  t.true(lossShare < 0.03, `${lossShare}`);
  t.true(stateOf(stream).inflightLongTerm < Number.POSITIVE_INFINITY);
});

test('the propagation delay is looked for again, with little in flight, after five seconds of more', (t) => {
  const { world, stream } = begin(t);
  world.run(2 * SECOND);
  t.true(world.run(9 * SECOND, () => stateOf(stream).state === PROBE_RTT));
  const beganUs = world.clock.nowUs();
  t.true(world.run(SECOND, () => tcpInfo(connectionOf(stream)).pipeBytes <= 0.6 * BDP));
  t.true(world.run(SECOND, () => stateOf(stream).state !== PROBE_RTT));
  const tookUs = world.clock.nowUs() - beganUs;
  t.true(tookUs >= 200_000 && tookUs < 600_000, `${tookUs} us`);
  assertNear(t, stateOf(stream).minRttUs, RTT_US, 0.05, 'propagation delay');
});

test('it finds out that there is more bandwidth by probing, and that there is less by its model', (t) => {
  const { world, stream } = begin(t);
  world.run(4 * SECOND);
  world.link.setRate('aToB', 8 * 2 * RATE);
  t.true(world.run(8 * SECOND, () => stateOf(stream).state === PROBE_BW_UP));
  world.run(8 * SECOND);
  assertNear(t, stream.rateOver(3 * SECOND), 2 * RATE * TEXT_SHARE, 0.12, 'twice the rate');
  world.link.setRate('aToB', 8 * 0.5 * RATE);
  world.run(12 * SECOND);
  assertNear(t, stream.rateOver(3 * SECOND), 0.5 * RATE * TEXT_SHARE, 0.12, 'half the rate');
});

test('an application that sends little does not teach it that the path is slow', (t) => {
  const { world, stream } = begin(t);
  world.run(4 * SECOND);
  const bw = stateOf(stream).bw;
  stream.queueBytes = 0;
  world.run(3 * SECOND);
  // Little by little, for twenty seconds.
  for (let i = 0; i < 200; i++) {
    stream.queueBytes = 64 * 1024;
    stream.fill();
    stream.queueBytes = 0;
    world.run(0.1 * SECOND);
  }
  t.true(stateOf(stream).bw > 0.5 * bw, `${stateOf(stream).bw} after ${bw}`);
  stream.queueBytes = 4 * 1024 * 1024;
  stream.fill();
  world.run(SECOND);
  assertNear(t, stream.rateOver(5 * SECOND), RATE * TEXT_SHARE, 0.1, 'rate');
});

test('a connection may change to it and back', (t) => {
  const { world, stream } = begin(t, { congestion: 'cubic' });
  world.run(2 * SECOND);
  const connection = connectionOf(stream);
  t.is(connection.pacingBytesPerSecond, 0);
  setCongestionControl(connection, 'bbr');
  t.is(tcpInfo(connection).congestionControl, 'bbr');
  world.run(4 * SECOND);
  assertNear(t, stream.rateOver(5 * SECOND), RATE * TEXT_SHARE, 0.08, 'rate of BBR');
  t.true(connection.pacingBytesPerSecond > 0);
  setCongestionControl(connection, 'newreno');
  t.is(connection.pacingBytesPerSecond, 0);
  assertNear(t, stream.rateOver(5 * SECOND), RATE * TEXT_SHARE, 0.08, 'rate of NewReno');
});

test('two of them share a bottleneck', (t) => {
  const { world, stream } = begin(t);
  world.run(3 * SECOND);
  const other = new Stream(world, 5002);
  world.run(15 * SECOND);
  const before = [stream.receivedBytes, other.receivedBytes];
  world.run(20 * SECOND);
  const [first = 0, second = 0] = [stream, other].map(({ receivedBytes }, i) => receivedBytes - (before[i] ?? 0));
  const jain = (first + second) ** 2 / (2 * (first ** 2 + second ** 2));
  t.true(jain > 0.85, `${first} and ${second} bytes`);
  assertNear(t, (first + second) / 20, RATE * TEXT_SHARE, 0.08, 'together');
});
