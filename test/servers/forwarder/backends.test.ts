/** Backends that do not let connections be opened rest, and come back; a SYN flood takes no room from others. */
import test, { type ExecutionContext } from 'ava';
import type { Log } from '../../../src/runtime/log.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { ETHERNET_BYTES } from '../../../src/wire/ethernet.ts';
import { ICMP_CODE_HOST, ICMP_UNREACHABLE } from '../../../src/wire/icmp.ts';
import { TCP_ACK, TCP_RST, TCP_SYN } from '../../../src/wire/tcp.ts';
import { BACKENDS, ForwardRig, INSIDE, icmpError, type RigOptions, SECOND, type Segment, segment } from './rig.ts';

interface Line {
  readonly message: string;
  readonly fields: object;
}

let nextPort = 40_000;

function withRig(
  title: string,
  options: RigOptions,
  body: (t: ExecutionContext, rig: ForwardRig, lines: Line[]) => void,
): void {
  test(title, (t) => {
    const lines: Line[] = [];
    const log: Log = { ...silentLog, warn: (fields, message) => lines.push({ fields, message }) };
    const rig = new ForwardRig({ ...options, log });
    body(t, rig, lines);
    t.is(rig.heldSlots(), 0);
    rig.close();
  });
}

/** A SYN of a connection of its own; where it went. */
function ask(rig: ForwardRig): Segment {
  const [syn] = rig.fromClient({ sourcePort: nextPort++, flags: TCP_SYN, seq: 100 });
  if (syn === undefined) throw new Error('the SYN did not pass');
  return syn;
}

function answer(rig: ForwardRig, syn: Segment): void {
  const back = { source: syn.target, targetPort: syn.sourcePort, seq: 200, ack: 101 };
  rig.fromBackend({ ...back, flags: TCP_SYN | TCP_ACK });
}

function refuse(rig: ForwardRig, { target, sourcePort }: Segment): void {
  const passed = rig.fromBackend({ source: target, targetPort: sourcePort, ack: 101, flags: TCP_RST | TCP_ACK });
  if (passed.length !== 1) throw new Error('the reset did not pass');
}

/** Connections one after the other, of which those to the second backend are refused; where they went. */
function run(rig: ForwardRig, count: number): number[] {
  return Array.from({ length: count }, () => {
    const syn = ask(rig);
    if (syn.target === BACKENDS[1]) refuse(rig, syn);
    else answer(rig, syn);
    return syn.target;
  });
}

function countOf(targets: readonly number[], backend: number): number {
  return targets.filter((target) => target === BACKENDS[backend]).length;
}

withRig(
  'three refusals in a row: the backend rests, one connection tries it every five seconds',
  { backends: 3 },
  (t, rig, lines) => {
    t.is(countOf(run(rig, 9), 1), 3);
    const rests = { listen: '10.0.0.9:80', backend: '10.0.1.3:8080' };
    t.deepEqual(lines, [{ message: 'backend rests', fields: { ...rests, failures: 3, restMs: 5000 } }]);
    const others = run(rig, 10);
    t.is(countOf(others, 0), 5);
    t.is(countOf(others, 2), 5);
    for (let rest = 0; rest < 3; rest++) {
      rig.advance(5 * SECOND);
      t.is(countOf(run(rig, 9), 1), 1);
    }
    t.is(lines.length, 1);
    rig.advance(5 * SECOND);
    for (let i = 0; i < 3; i++) answer(rig, ask(rig));
    t.deepEqual(lines.slice(1), [{ message: 'backend is back', fields: rests }]);
    t.is(countOf(run(rig, 6), 1), 2);
    t.is(rig.count('backendsRested'), 1);
    t.is(rig.count('backendsReturned'), 1);
    t.is(rig.count('opensFailed'), 8);
  },
);

withRig(
  'least connections passes over a backend that rests too',
  { backends: 2, balance: 'least-connections' },
  (t, rig) => {
    const targets = run(rig, 12);
    t.is(countOf(targets, 1), 3);
  },
);

withRig('refusals between answers are none in a row', { backends: 2 }, (t, rig, lines) => {
  for (let round = 0; round < 10; round++) {
    const syns = [ask(rig), ask(rig), ask(rig), ask(rig), ask(rig), ask(rig)].filter(
      ({ target }) => target === BACKENDS[1],
    );
    for (const syn of syns) {
      if (syn === syns[2]) answer(rig, syn);
      else refuse(rig, syn);
    }
  }
  t.is(rig.count('opensFailed'), 20);
  t.deepEqual(lines, []);
});

withRig('where all rest none does', { backends: 2 }, (t, rig) => {
  for (let i = 0; i < 10; i++) refuse(rig, ask(rig));
  t.is(rig.count('backendsRested'), 2);
  const targets = Array.from({ length: 4 }, () => ask(rig).target);
  t.is(countOf(targets, 0), 2);
  t.is(countOf(targets, 1), 2);
});

withRig('a single backend never rests', {}, (t, rig, lines) => {
  for (let i = 0; i < 10; i++) refuse(rig, ask(rig));
  t.is(rig.count('flowsReset'), 10);
  t.is(rig.count('backendsRested'), 0);
  t.deepEqual(lines, []);
});

withRig(
  'a client that has to ask again counts once, one that repeats itself at once does not',
  { backends: 2 },
  (t, rig) => {
    const ports = [50_000, 50_001, 50_002, 50_003, 50_004, 50_005];
    const askAll = () =>
      ports.map((sourcePort) => rig.fromClient({ sourcePort, flags: TCP_SYN, seq: 1 })[0]?.target ?? 0);
    const first = askAll();
    t.deepEqual(askAll(), first);
    t.is(rig.count('opensFailed'), 0);
    for (let again = 0; again < 3; again++) {
      rig.advance(SECOND);
      t.deepEqual(askAll(), first);
    }
    t.is(rig.count('opensFailed'), 6);
    t.is(rig.count('backendsRested'), 2);
  },
);

withRig('an ICMP error about a SYN counts', { backends: 2 }, (t, rig) => {
  for (let i = 0; i < 6; i++) {
    const syn = ask(rig);
    if (syn.target === BACKENDS[0]) continue;
    const packet = segment({ ...syn, seq: 100 }).subarray(ETHERNET_BYTES);
    rig.inject(rig.inside, icmpError(ICMP_UNREACHABLE, ICMP_CODE_HOST, 0, syn.target, INSIDE, packet));
  }
  t.is(rig.count('opensFailed'), 3);
  t.is(rig.count('backendsRested'), 1);
});

withRig('a neighbour that does not answer rests', { backends: 2, unresolved: true }, (t, rig) => {
  rig.introduce(rig.outside, 0x0a000001);
  rig.introduce(rig.inside, BACKENDS[0] as number);
  for (let i = 0; i < 6; i++) rig.fromClient({ sourcePort: nextPort++, flags: TCP_SYN, seq: 100 });
  rig.advance(10 * SECOND);
  t.is(rig.count('opensFailed'), 3);
  t.is(rig.count('backendsRested'), 1);
});

withRig(
  'a flood of SYNs makes room for itself, and takes nothing from who is connected',
  { limits: { maxFlows: 64, maxHalfOpen: 8 } },
  (t, rig) => {
    const kept = ask(rig);
    answer(rig, kept);
    rig.fromClient({ sourcePort: nextPort - 1, flags: TCP_ACK, seq: 101, ack: 201 });
    const keptPort = nextPort - 1;
    for (let i = 0; i < 1000; i++) ask(rig);
    const { table, index } = rig.forwarder.flows;
    t.is(table.halfOpen.count, 8);
    t.is(table.live, 9);
    t.is(index.size, 18);
    t.is(rig.count('halfOpenEvicted'), 992);
    t.is(rig.forwarder.services[0]?.backends[0]?.living, 9);
    t.is(rig.fromClient({ sourcePort: keptPort, flags: TCP_ACK, seq: 101, ack: 201 }).length, 1);
    // Who is answered within eight SYNs of others gets through.
    const honest = ask(rig);
    const port = nextPort - 1;
    for (let i = 0; i < 7; i++) ask(rig);
    answer(rig, honest);
    t.is(rig.fromClient({ sourcePort: port, flags: TCP_ACK, seq: 101, ack: 201 }).length, 1);
    for (let i = 0; i < 100; i++) ask(rig);
    t.is(rig.fromClient({ sourcePort: port, flags: TCP_ACK, seq: 101, ack: 201 }).length, 1);
    t.is(table.living, 10);
  },
);

withRig('in a full table the oldest that is not established gives way', { limits: { maxFlows: 4 } }, (t, rig) => {
  for (let i = 0; i < 3; i++) {
    answer(rig, ask(rig));
    rig.fromClient({ sourcePort: nextPort - 1, flags: TCP_ACK, seq: 101, ack: 201 });
  }
  const first = ask(rig);
  t.not(ask(rig).sourcePort, first.sourcePort);
  t.is(rig.count('halfOpenEvicted'), 1);
  t.is(rig.forwarder.flows.table.living, 4);
  // What its backend still sends is answered as by a host that knows nothing of it.
  answer(rig, first);
  t.is(rig.count('resetsSent'), 1);
});
