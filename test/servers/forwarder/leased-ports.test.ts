/** Leased ports: which one a connection gets, by what the backend may remember of each. */
import test from 'ava';
import { Counters } from '../../../src/runtime/counters.ts';
import { FORWARDER_COUNTERS } from '../../../src/servers/forwarder/counters.ts';
import {
  FIRST_LEASED_PORT,
  LeasedPorts,
  PORT_FORGOTTEN,
  PORT_OPEN,
  PORT_SEQUENCE,
  PORT_TIMESTAMP,
} from '../../../src/servers/forwarder/leased-ports.ts';
import { SECOND } from './rig.ts';

const FREE_PORTS = 3;
const [A, B, C] = [FIRST_LEASED_PORT, FIRST_LEASED_PORT + 1, FIRST_LEASED_PORT + 2];

/** Three ports, all others being listened at. */
function create() {
  const counters = new Counters(FORWARDER_COUNTERS);
  const first = FIRST_LEASED_PORT + FREE_PORTS;
  const ports = new LeasedPorts(
    Array.from({ length: 0x10000 - first }, (_, index) => first + index),
    counters,
  );
  const lease = (seq = 0, timestamp?: number, preferred = 0, nowUs = 0) =>
    ports.lease(preferred, seq, timestamp !== undefined, timestamp ?? 0, nowUs);
  return { ports, counters, lease };
}

test('the longest unused comes first; when all are leased there is none', (t) => {
  const { ports, counters, lease } = create();
  t.deepEqual([lease(), lease(), lease(), lease()], [A, B, C, 0]);
  for (const port of [B, A]) ports.giveBack(port, PORT_FORGOTTEN, 0, 0, 0);
  t.deepEqual([lease(), lease(), lease()], [B, A, 0]);
  t.is(counters.get('portsRisked'), 0);
});

test('a preferred port is given when it is idle, whatever its age', (t) => {
  const { lease } = create();
  t.is(lease(0, undefined, B), B);
  t.is(lease(0, undefined, B), A);
  t.is(lease(0, undefined, 80), C);
});

test('without timestamps a port is good for higher sequence numbers only', (t) => {
  const { ports, lease } = create();
  for (const seq of [1000, 2000, -5]) ports.giveBack(lease(), PORT_SEQUENCE, seq, 0, 0);
  t.is(lease(1001), A);
  t.is(lease(3), C);
  t.is(lease(2000 - 0x80000000), B);
});

test('with timestamps a port is good for newer ones only, whatever the sequence number', (t) => {
  const { ports, lease } = create();
  for (const timestamp of [500, 400, 300]) ports.giveBack(lease(), PORT_TIMESTAMP, 1000, timestamp, 0);
  t.is(lease(0, 450), B);
  // Of the same age, the sequence number decides.
  t.is(lease(1001, 500), A);
  // A SYN without one has its sequence number alone.
  t.is(lease(1001), C);
});

test('what a backend may have open is left alone, until nobody can remember', (t) => {
  const { ports, counters, lease } = create();
  for (let i = 0; i < FREE_PORTS; i++) ports.giveBack(lease(), i === 1 ? PORT_SEQUENCE : PORT_OPEN, 0, 0, 0);
  t.is(lease(1), B);
  t.is(lease(1), A);
  t.is(counters.get('portsRisked'), 1);
  t.is(lease(1, undefined, 0, 241 * SECOND), C);
  t.is(counters.get('portsRisked'), 1);
});

test('where none is good the client keeps its own, or gets the oldest', (t) => {
  const { ports, counters, lease } = create();
  for (let i = 0; i < FREE_PORTS; i++) ports.giveBack(lease(), PORT_TIMESTAMP, 0, 1000, 0);
  t.is(lease(5, 999, C), C);
  t.is(lease(5, 999), A);
  t.is(counters.get('portsRisked'), 2);
});
