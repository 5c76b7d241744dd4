/** The trace of decisions: what is told, to whom, and that it changes nothing. */
import { type Trace, traceLines } from '../../src/tcp/trace.ts';
import { MILLISECOND, type RawWorld, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';

const MSS = 1460;

/** Collects decisions, each with the connection's port. */
class Notes implements Trace {
  readonly decisions: string[] = [];

  decided(_connection: unknown, decision: string): void {
    this.decisions.push(decision);
  }

  /** Those told since the last time. */
  take(): string[] {
    return this.decisions.splice(0);
  }
}

function open(world: RawWorld) {
  return world.accept({ syn: { sackPermitted: true }, windowScale: 7 });
}

const bySack = new Notes();
simulate(
  'states, losses that RACK finds, and challenge ACKs',
  (t, world) => {
    const { peer, user, tcb } = open(world);
    t.deepEqual(bySack.take(), ['state CLOSED to SYN-RECEIVED', 'state SYN-RECEIVED to ESTABLISHED']);
    world.call(() => user.send(tcb, 10 * MSS));
    world.advance(10 * MILLISECOND);
    peer.send({ ack: 1 + MSS, sack: [[1 + 2 * MSS, 1 + 6 * MSS]] });
    const [recovery, ...rest] = bySack.take();
    t.regex(recovery ?? '', /^recovery: ssthresh \d+, RFC 6937$/);
    t.deepEqual(rest, ['retransmit 1461..2921 because RACK, RFC 8985 6.2']);
    peer.send({ ack: 1 + 10 * MSS });
    peer.send({ flags: 'R', seq: 5 });
    t.true(bySack.take().includes('challenge ACK, RFC 5961'));
    peer.send({ flags: 'R' });
    t.deepEqual(bySack.take(), ['state ESTABLISHED to CLOSED']);
  },
  { settings: { trace: bySack, tailLossProbe: false } },
);

const byTimeout = new Notes();
simulate(
  'time-outs, black holes, and giving up',
  (t, world) => {
    const { user, tcb } = open(world);
    world.call(() => user.send(tcb, 2 * MSS));
    byTimeout.take();
    world.runUntil(() => user.closed, 3600 * SECOND);
    const told = byTimeout.take();
    t.regex(told[0] ?? '', /^time-out 1, the next in [\d.]+ s, RFC 6298 5.5$/);
    t.is(told[1], 'retransmit 1..1461 because the retransmission time-out, RFC 6298 5.4');
    t.true(told.includes('segments of 1024 because longer ones vanish, RFC 4821 7.7'));
    t.true(told.includes('segments of 512 because longer ones vanish, RFC 4821 7.7'));
    t.deepEqual(told.slice(-2), ['give up after 16 attempts, RFC 9293 3.8.3', 'state ESTABLISHED to CLOSED']);
  },
  { settings: { trace: byTimeout, tailLossProbe: false } },
);

const byProbe = new Notes();
simulate(
  'tail loss probes',
  (t, world) => {
    const { peer, user, tcb } = open(world);
    world.call(() => user.send(tcb, 2 * MSS));
    world.advance(50 * MILLISECOND);
    t.is(byProbe.take().at(-1), 'retransmit 1461..2921 because nothing has answered, tail loss probe, RFC 8985 7.3');
    peer.send({ ack: 1 + 2 * MSS });
  },
  { settings: { trace: byProbe } },
);

const byDuplicates = new Notes();
simulate(
  'without SACK: duplicates and partial acknowledgments',
  (t, world) => {
    const { peer, user, tcb } = world.accept();
    world.call(() => user.send(tcb, 8 * MSS));
    byDuplicates.take();
    for (let i = 0; i < 3; i++) peer.send({ ack: 1 });
    peer.send({ ack: 1 + 3 * MSS });
    const told = byDuplicates.take();
    t.true(told.includes('retransmit 1..1461 because three duplicate acknowledgments, RFC 5681 3.2'));
    t.true(told.includes('retransmit 4381..5841 because a partial acknowledgment, RFC 6582 3.2'));
    peer.send({ ack: 1 + 8 * MSS });
  },
  { settings: { trace: byDuplicates } },
);

const lines: string[] = [];
simulate(
  'a line has the time, both ends and the decision',
  (t, world) => {
    const { peer } = world.accept({ port: 4000 });
    t.is(lines[0], '0.000000 10.0.0.2:80 10.0.0.1:4000 state CLOSED to SYN-RECEIVED');
    world.advance(1_500_000);
    peer.send({ flags: 'R' });
    t.is(lines.at(-1), '1.500000 10.0.0.2:80 10.0.0.1:4000 state ESTABLISHED to CLOSED');
  },
  { settings: { trace: traceLines((line) => lines.push(line)) } },
);

simulate('nobody listens: nothing is put into words', (t, world) => {
  t.false(world.host.tcp.tracing);
});
