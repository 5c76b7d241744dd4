/** Flows: what opens one, where it goes, what ends it, and what the table does when it is full. */
import test, { type ExecutionContext } from 'ava';
import type { Log } from '../../../src/runtime/log.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../../../src/wire/tcp.ts';
import {
  BACKEND,
  BACKEND_PORT,
  BACKENDS,
  CLIENT,
  FORWARDER,
  ForwardRig,
  INSIDE,
  LISTEN_PORT,
  type RigOptions,
  SECOND,
  type Segment,
  segmentsOf,
} from './rig.ts';

const CLIENT_ISS = 1000;
const BACKEND_ISS = 5000;

/** A handshake through the forwarder; returns the leased port and where it went. */
function connect(rig: ForwardRig, sourcePort = 40_000): Segment {
  const [syn] = rig.fromClient({ sourcePort, flags: TCP_SYN, seq: CLIENT_ISS });
  if (syn === undefined) throw new Error('the SYN did not pass');
  const answer = { source: syn.target, targetPort: syn.sourcePort, seq: BACKEND_ISS, ack: CLIENT_ISS + 1 };
  rig.fromBackend({ ...answer, flags: TCP_SYN | TCP_ACK });
  rig.fromClient({ sourcePort, flags: TCP_ACK, seq: CLIENT_ISS + 1, ack: BACKEND_ISS + 1 });
  return syn;
}

/** Both sides close, and acknowledge that. */
function close(rig: ForwardRig, syn: Segment, sourcePort = 40_000): void {
  const back = { source: syn.target, targetPort: syn.sourcePort };
  rig.fromClient({ sourcePort, flags: TCP_FIN | TCP_ACK, seq: CLIENT_ISS + 1, ack: BACKEND_ISS + 1 });
  rig.fromBackend({ ...back, flags: TCP_FIN | TCP_ACK, seq: BACKEND_ISS + 1, ack: CLIENT_ISS + 2 });
  rig.fromClient({ sourcePort, flags: TCP_ACK, seq: CLIENT_ISS + 2, ack: BACKEND_ISS + 2 });
}

function withRig(title: string, options: RigOptions, body: (t: ExecutionContext, rig: ForwardRig) => void) {
  test(title, (t) => {
    const rig = new ForwardRig(options);
    body(t, rig);
    t.is(rig.heldSlots(), 0);
    rig.close();
  });
}

withRig('a connection passes both ways, all its numbers as they are', {}, (t, rig) => {
  t.deepEqual(rig.fromClient({ flags: TCP_SYN, seq: 77, ttl: 64 }), [
    {
      source: INSIDE,
      target: BACKEND,
      sourcePort: 40_000,
      targetPort: BACKEND_PORT,
      flags: TCP_SYN,
      seq: 77,
      ack: 0,
      ttl: 63,
      text: '',
    },
  ]);
  t.deepEqual(rig.fromBackend({ flags: TCP_SYN | TCP_ACK, seq: -5, ack: 78, ttl: 12 }), [
    {
      source: FORWARDER,
      target: CLIENT,
      sourcePort: LISTEN_PORT,
      targetPort: 40_000,
      flags: TCP_SYN | TCP_ACK,
      seq: -5,
      ack: 78,
      ttl: 11,
      text: '',
    },
  ]);
  t.is(rig.fromClient({ flags: TCP_ACK, seq: 78, ack: -4, text: 'to the backend' })[0]?.text, 'to the backend');
  t.is(rig.fromBackend({ flags: TCP_ACK, seq: -4, ack: 92, text: 'and back' })[0]?.text, 'and back');
  t.is(rig.forwarder.flows.table.living, 1);
});

withRig('routed, the backend sees the client', { mode: 'routed' }, (t, rig) => {
  const [syn] = rig.fromClient({ flags: TCP_SYN, seq: 1 });
  t.is(syn?.source, CLIENT);
  t.is(syn?.sourcePort, 40_000);
  const [answer] = rig.fromBackend({ target: CLIENT, mac: INSIDE, flags: TCP_SYN | TCP_ACK, seq: 9, ack: 2 });
  t.is(answer?.source, FORWARDER);
  t.is(answer?.sourcePort, LISTEN_PORT);
  // What belongs to no flow is not ours to answer.
  t.deepEqual(rig.fromBackend({ target: CLIENT, mac: INSIDE, targetPort: 40_001, flags: TCP_ACK }), []);
  t.is(rig.count('strangersDropped'), 1);
  t.deepEqual(rig.take(rig.inside), []);
});

withRig('a SYN again goes where the first one went', { backends: 3 }, (t, rig) => {
  const first = rig.fromClient({ flags: TCP_SYN, seq: 7 })[0];
  for (let i = 0; i < 3; i++) t.deepEqual(rig.fromClient({ flags: TCP_SYN, seq: 7 })[0], first);
  t.is(rig.count('flowsOpened'), 1);
});

withRig('round robin', { backends: 3 }, (t, rig) => {
  const targets = [1, 2, 3, 4, 5, 6].map((n) => rig.fromClient({ sourcePort: 40_000 + n, flags: TCP_SYN })[0]?.target);
  t.deepEqual(targets, [...BACKENDS, ...BACKENDS]);
});

withRig('least connections', { backends: 3, balance: 'least-connections' }, (t, rig) => {
  const syns = [0, 1, 2, 3, 4, 5].map((n) => connect(rig, 40_000 + n));
  const living = () => rig.forwarder.services[0]?.backends.map((backend) => backend.living);
  t.deepEqual(living(), [2, 2, 2]);
  const last = syns.findLastIndex((syn) => syn.target === BACKENDS[1]);
  close(rig, syns[last] as Segment, 40_000 + last);
  t.deepEqual(living(), [2, 1, 2]);
  t.is(rig.fromClient({ sourcePort: 41_000, flags: TCP_SYN })[0]?.target, BACKENDS[1]);
});

withRig('the port of a client is leased if it can be, else another one', {}, (t, rig) => {
  const other = CLIENT + 1;
  rig.introduce(rig.outside, other);
  t.is(rig.fromClient({ flags: TCP_SYN })[0]?.sourcePort, 40_000);
  const leased = rig.fromClient({ source: other, flags: TCP_SYN })[0]?.sourcePort ?? 0;
  t.true(leased >= 1024 && leased !== 40_000);
  // Those of a host's own services are never kept.
  t.is(rig.fromClient({ sourcePort: 1234, flags: TCP_SYN })[0]?.sourcePort, 1234);
  t.true((rig.fromClient({ sourcePort: 1023, flags: TCP_SYN })[0]?.sourcePort ?? 0) >= 1024);
  const back = rig.fromBackend({ targetPort: leased, flags: TCP_SYN | TCP_ACK, ack: 1 });
  t.is(back[0]?.targetPort, 40_000);
  t.deepEqual(rig.take(rig.outside), []);
});

withRig(
  'a port that is listened at is not leased',
  {
    services: [
      { listen: { address: FORWARDER, port: 80 }, backends: [{ address: BACKEND, port: 8080 }] },
      { listen: { address: INSIDE, port: 40_000 }, backends: [{ address: BACKEND, port: 8080 }] },
    ],
  },
  (t, rig) => {
    t.not(rig.fromClient({ flags: TCP_SYN })[0]?.sourcePort, 40_000);
  },
);

withRig(
  'a full table refuses a SYN with a reset and evicts nobody who lives',
  { limits: { maxFlows: 3 } },
  (t, rig) => {
    const syns = [0, 1, 2].map((n) => connect(rig, 40_000 + n));
    rig.takeAll();
    t.deepEqual(rig.fromClient({ sourcePort: 50_000, flags: TCP_SYN, seq: 99 }), []);
    const [reset] = rigSegments(rig);
    t.is(reset?.flags, TCP_RST | TCP_ACK);
    t.is(reset?.ack, 100);
    t.is(reset?.targetPort, 50_000);
    t.is(reset?.source, FORWARDER);
    t.is(rig.count('flowsRefused'), 1);
    for (let n = 0; n < 3; n++) {
      t.is(
        rig.fromClient({ sourcePort: 40_000 + n, flags: TCP_ACK, seq: CLIENT_ISS + 1, ack: BACKEND_ISS + 1 }).length,
        1,
      );
    }
    // One that is over makes room.
    close(rig, syns[1] as Segment, 40_001);
    t.is(rig.forwarder.flows.table.lingering.count, 1);
    t.is(rig.fromClient({ sourcePort: 50_000, flags: TCP_SYN, seq: 99 }).length, 1);
    t.is(rig.count('lingeringEvicted'), 1);
    t.is(rig.forwarder.flows.table.living, 3);
  },
);

withRig('segments of no flow and to no service are reset, resets are not', {}, (t, rig) => {
  rig.fromClient({ flags: TCP_ACK, seq: 5, ack: 17 });
  t.like(rigSegments(rig)[0], { flags: TCP_RST, seq: 17 });
  rig.fromClient({ targetPort: 81, flags: TCP_SYN, seq: 5 });
  t.like(rigSegments(rig)[0], { flags: TCP_RST | TCP_ACK, seq: 0, ack: 6, sourcePort: 81 });
  rig.fromClient({ flags: TCP_RST, seq: 5 });
  rig.fromClient({ flags: TCP_RST | TCP_ACK, seq: 5 });
  t.deepEqual(rigSegments(rig), []);
  t.is(rig.count('strangersDropped'), 2);
  rig.fromBackend({ targetPort: 0x8001, flags: TCP_ACK, ack: 3 });
  t.like(segmentsInside(rig)[0], { flags: TCP_RST, seq: 3, targetPort: BACKEND_PORT });
});

withRig('resets are limited', { limits: { resetsPerSecond: 10, resetBurst: 5 } }, (t, rig) => {
  for (let i = 0; i < 20; i++) rig.fromClient({ targetPort: 81, flags: TCP_SYN });
  t.is(rig.count('resetsSent'), 5);
  t.is(rig.count('resetsLimited'), 15);
});

withRig('both sides close: the flow lingers a minute, and its last segments pass', {}, (t, rig) => {
  const syn = connect(rig);
  close(rig, syn);
  t.is(rig.count('flowsClosed'), 1);
  t.is(rig.forwarder.flows.table.living, 0);
  const again = { flags: TCP_FIN | TCP_ACK, seq: BACKEND_ISS + 1, ack: CLIENT_ISS + 2 };
  t.is(rig.fromBackend(again).length, 1);
  rig.advance(59 * SECOND);
  t.is(rig.fromBackend(again).length, 1);
  rig.advance(59 * SECOND);
  t.is(rig.forwarder.flows.table.live, 1);
  rig.advance(2 * SECOND);
  t.is(rig.forwarder.flows.table.live, 0);
  t.is(rig.forwarder.flows.index.size, 0);
});

withRig('simultaneous close', {}, (t, rig) => {
  connect(rig);
  rig.fromClient({ flags: TCP_FIN | TCP_ACK, seq: CLIENT_ISS + 1, ack: BACKEND_ISS + 1 });
  rig.fromBackend({ flags: TCP_FIN | TCP_ACK, seq: BACKEND_ISS + 1, ack: CLIENT_ISS + 1 });
  rig.fromClient({ flags: TCP_ACK, seq: CLIENT_ISS + 2, ack: BACKEND_ISS + 2 });
  t.is(rig.count('flowsClosed'), 0);
  rig.fromBackend({ flags: TCP_ACK, seq: BACKEND_ISS + 2, ack: CLIENT_ISS + 2 });
  t.is(rig.count('flowsClosed'), 1);
});

withRig('half closed, data goes on the other way for as long as it likes', {}, (t, rig) => {
  connect(rig);
  rig.fromClient({ flags: TCP_FIN | TCP_ACK, seq: CLIENT_ISS + 1, ack: BACKEND_ISS + 1 });
  for (let minute = 0; minute < 120; minute++) {
    rig.advance(60 * SECOND);
    const text = { flags: TCP_ACK, seq: BACKEND_ISS + 1 + minute, ack: CLIENT_ISS + 2, text: 'x' };
    t.is(rig.fromBackend(text).length, 1);
  }
  t.is(rig.forwarder.flows.table.living, 1);
});

withRig('idle flows are forgotten by their state: a SYN soon, a connection after two hours', {}, (t, rig) => {
  rig.fromClient({ sourcePort: 50_000, flags: TCP_SYN });
  connect(rig);
  rig.advance(74 * SECOND);
  t.is(rig.forwarder.flows.table.living, 2);
  rig.advance(2 * SECOND);
  t.is(rig.forwarder.flows.table.living, 1);
  t.is(rig.count('flowsTimedOut'), 1);
  rig.advance(7300 * SECOND);
  t.is(rig.fromClient({ flags: TCP_ACK, seq: CLIENT_ISS, ack: BACKEND_ISS + 1 }).length, 1);
  rig.advance(7430 * SECOND);
  t.is(rig.forwarder.flows.table.living, 1);
  rig.advance(20 * SECOND);
  t.is(rig.forwarder.flows.table.live, 0);
  t.is(rig.forwarder.services[0]?.backends[0]?.living, 0);
});

withRig('a reset that can be believed ends a flow, another one passes and ends nothing', {}, (t, rig) => {
  connect(rig);
  for (const seq of [BACKEND_ISS + 2, BACKEND_ISS, 0, BACKEND_ISS + 0x40000000]) {
    t.is(rig.fromBackend({ flags: TCP_RST, seq }).length, 1);
  }
  t.is(rig.forwarder.flows.table.living, 1);
  t.is(rig.fromBackend({ flags: TCP_RST, seq: BACKEND_ISS + 1 }).length, 1);
  t.is(rig.forwarder.flows.table.living, 0);
  t.is(rig.count('flowsReset'), 1);
  rig.advance(11 * SECOND);
  t.is(rig.forwarder.flows.table.live, 0);
});

withRig('a reset with text in flight before it', {}, (t, rig) => {
  connect(rig);
  rig.fromClient({ flags: TCP_ACK, seq: CLIENT_ISS + 1, ack: BACKEND_ISS + 1, text: 'unread' });
  // Neither acknowledged yet nor read: what is reset lies between.
  t.is(rig.fromClient({ flags: TCP_RST, seq: CLIENT_ISS + 7 }).length, 1);
  t.is(rig.count('flowsReset'), 1);
});

withRig('a SYN that is refused', {}, (t, rig) => {
  rig.fromClient({ flags: TCP_SYN, seq: 10 });
  t.is(rig.fromBackend({ flags: TCP_RST | TCP_ACK, ack: 12 }).length, 1);
  t.is(rig.count('flowsReset'), 0);
  t.is(rig.fromBackend({ flags: TCP_RST | TCP_ACK, ack: 11 }).length, 1);
  t.is(rig.count('flowsReset'), 1);
});

withRig('a new SYN on the ports of a flow that is over opens a new one', { backends: 2 }, (t, rig) => {
  close(rig, connect(rig));
  const again = rig.fromClient({ flags: TCP_SYN, seq: 1 })[0];
  t.is(again?.target, BACKENDS[1]);
  t.is(rig.count('flowsOpened'), 2);
  t.is(rig.forwarder.flows.table.live, 1);
});

for (const closesFirst of ['backend', 'client'] as const) {
  withRig(`another client on the ports of a connection that the ${closesFirst} closed first`, {}, (t, rig) => {
    const other = CLIENT + 1;
    rig.introduce(rig.outside, other);
    const close = { flags: TCP_FIN | TCP_ACK, seq: CLIENT_ISS + 1, ack: BACKEND_ISS + 1 };
    rig.fromClient({ flags: TCP_SYN, seq: CLIENT_ISS, timestamp: 900 });
    rig.fromBackend({ flags: TCP_SYN | TCP_ACK, seq: BACKEND_ISS, ack: CLIENT_ISS + 1 });
    rig.fromClient({ flags: TCP_ACK, seq: CLIENT_ISS + 1, ack: BACKEND_ISS + 1, timestamp: 910 });
    if (closesFirst === 'backend') {
      rig.fromBackend({ flags: TCP_FIN | TCP_ACK, seq: BACKEND_ISS + 1, ack: CLIENT_ISS + 1 });
      rig.fromClient({ ...close, ack: BACKEND_ISS + 2, timestamp: 1000 });
      rig.fromBackend({ flags: TCP_ACK, seq: BACKEND_ISS + 2, ack: CLIENT_ISS + 2 });
    } else {
      rig.fromClient({ ...close, timestamp: 1000 });
      rig.fromBackend({ flags: TCP_FIN | TCP_ACK, seq: BACKEND_ISS + 1, ack: CLIENT_ISS + 2 });
      rig.fromClient({ flags: TCP_ACK, seq: CLIENT_ISS + 2, ack: BACKEND_ISS + 2, timestamp: 1001 });
    }
    t.is(rig.count('flowsClosed'), 1);
    // Longer than the flow lingers, and not than a backend may remember it.
    rig.advance(70 * SECOND);
    t.is(rig.forwarder.flows.table.live, 0);
    const [syn] = rig.fromClient({ source: other, flags: TCP_SYN, seq: CLIENT_ISS + 9, timestamp: 999 });
    t.is(syn?.sourcePort === 40_000, closesFirst === 'client');
    if (closesFirst === 'client') return;
    rig.fromClient({ source: other, sourcePort: 40_001, flags: TCP_SYN, timestamp: 999 });
    t.is(rig.fromClient({ flags: TCP_SYN, seq: 0, timestamp: 1001 })[0]?.sourcePort, 40_000);
    t.is(rig.count('portsRisked'), 0);
  });
}

test('a line when a flow opens and one when it ends', (t) => {
  const lines: { fields: object; message: string }[] = [];
  const flowLog: Log = { ...silentLog, info: (fields, message) => lines.push({ fields, message }) };
  const rig = new ForwardRig({ flowLog });
  const syn = connect(rig);
  rig.clock.runUntil(rig.clock.nowUs() + 250_000);
  rig.fromClient({ flags: TCP_ACK, seq: CLIENT_ISS + 1, ack: BACKEND_ISS + 1, text: 'abc' });
  rig.fromClient({ flags: TCP_RST, seq: CLIENT_ISS + 4 });
  rig.fromClient({ sourcePort: 40_001, flags: TCP_SYN });
  rig.close();
  const flow = { client: '10.0.0.1:40000', listen: '10.0.0.9:80', backend: '10.0.1.2:8080', port: syn.sourcePort };
  const other = { ...flow, client: '10.0.0.1:40001', port: 40_001 };
  t.deepEqual(lines, [
    { message: 'flow opened', fields: flow },
    {
      message: 'flow ended',
      fields: {
        ...flow,
        how: 'reset by client',
        durationMs: 250,
        toBackend: { packets: 3, bytes: 3 },
        toClient: { packets: 1, bytes: 0 },
      },
    },
    { message: 'flow opened', fields: other },
    {
      message: 'flow ended',
      fields: {
        ...other,
        how: 'forwarder stopped',
        durationMs: 0,
        toBackend: { packets: 1, bytes: 0 },
        toClient: { packets: 0, bytes: 0 },
      },
    },
  ]);
});

/** What the client was sent. */
function rigSegments(rig: ForwardRig): Segment[] {
  return segmentsOf(rig.take(rig.outside));
}

function segmentsInside(rig: ForwardRig): Segment[] {
  return segmentsOf(rig.take(rig.inside));
}
