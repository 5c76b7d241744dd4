import test from 'ava';
import {
  CLOSE_WAIT,
  CLOSED,
  CLOSING,
  ESTABLISHED,
  FIN_WAIT_1,
  FIN_WAIT_2,
  isEdge,
  isSynchronized,
  LAST_ACK,
  mayReceive,
  maySend,
  STATE_NAMES,
  SYN_RECEIVED,
  SYN_SENT,
  setState,
  TIME_WAIT,
} from '../../src/tcp/state.ts';
import { createTcb } from './support.ts';

/**
 * RFC 9293 figure 5, arrow by arrow. LISTEN is no state of a connection here, so that its arrows start at CLOSED and those
 * to it end there.
 */
const FIGURE_5: readonly (readonly [from: string, to: string, why: string])[] = [
  ['CLOSED', 'SYN-SENT', 'active OPEN, snd SYN'],
  ['CLOSED', 'SYN-RECEIVED', 'LISTEN: rcv SYN, snd SYN,ACK'],
  ['SYN-SENT', 'CLOSED', 'CLOSE, delete TCB'],
  ['SYN-SENT', 'SYN-RECEIVED', 'rcv SYN, snd SYN,ACK'],
  ['SYN-SENT', 'ESTABLISHED', 'rcv SYN,ACK, snd ACK'],
  ['SYN-RECEIVED', 'ESTABLISHED', 'rcv ACK of SYN'],
  ['SYN-RECEIVED', 'FIN-WAIT-1', 'CLOSE, snd FIN'],
  ['SYN-RECEIVED', 'CLOSED', 'rcv RST, back to LISTEN'],
  ['ESTABLISHED', 'FIN-WAIT-1', 'CLOSE, snd FIN'],
  ['ESTABLISHED', 'CLOSE-WAIT', 'rcv FIN, snd ACK'],
  ['FIN-WAIT-1', 'FIN-WAIT-2', 'rcv ACK of FIN'],
  ['FIN-WAIT-1', 'CLOSING', 'rcv FIN, snd ACK'],
  ['FIN-WAIT-2', 'TIME-WAIT', 'rcv FIN, snd ACK'],
  ['CLOSE-WAIT', 'LAST-ACK', 'CLOSE, snd FIN'],
  ['CLOSING', 'TIME-WAIT', 'rcv ACK of FIN'],
  ['LAST-ACK', 'CLOSED', 'rcv ACK of FIN'],
  ['TIME-WAIT', 'CLOSED', 'timeout=2MSL, delete TCB'],
];

/** What the figure leaves out and the text has. */
const TEXT: readonly (readonly [from: string, to: string, why: string])[] = [
  ['FIN-WAIT-1', 'TIME-WAIT', 'figure 5, note 2: a FIN that also acknowledges ours'],
  ['SYN-RECEIVED', 'CLOSE-WAIT', 'section 3.10.7.4, eighth: a FIN in SYN-RECEIVED'],
];

/** ABORT, and a reset: every state but CLOSED itself. */
const ABORTS = STATE_NAMES.filter((name) => name !== 'CLOSED').map((name) => [name, 'CLOSED'] as const);

function nameOf(state: number): string {
  return STATE_NAMES[state] ?? `state ${state}`;
}

test('the edges are those of RFC 9293 figure 5, its notes and ABORT, and no others', (t) => {
  const expected = new Set([...FIGURE_5, ...TEXT, ...ABORTS].map(([from, to]) => `${from} -> ${to}`));
  const actual = new Set<string>();
  for (let from = CLOSED; from <= TIME_WAIT; from++) {
    for (let to = CLOSED; to <= TIME_WAIT; to++) if (isEdge(from, to)) actual.add(`${nameOf(from)} -> ${nameOf(to)}`);
  }
  t.deepEqual([...actual].sort(), [...expected].sort());
});

test('names stand at their states', (t) => {
  t.is(STATE_NAMES.length, 10);
  const states = {
    CLOSED,
    SYN_SENT,
    SYN_RECEIVED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    CLOSE_WAIT,
    CLOSING,
    LAST_ACK,
    TIME_WAIT,
  };
  for (const [name, state] of Object.entries(states)) t.is(nameOf(state), name.replaceAll('_', '-'));
});

test('setState takes every edge and refuses everything else, leaving the state alone', (t) => {
  for (let from = CLOSED; from <= TIME_WAIT; from++) {
    for (let to = CLOSED; to <= TIME_WAIT; to++) {
      const tcb = createTcb();
      tcb.state = from;
      if (isEdge(from, to)) {
        setState(tcb, to);
        t.is(tcb.state, to);
      } else {
        t.throws(() => setState(tcb, to), { message: `no edge from ${nameOf(from)} to ${nameOf(to)}` });
        t.is(tcb.state, from);
      }
    }
  }
});

test('states out of range have no edges', (t) => {
  for (const state of [-1, 10, 32]) {
    for (let other = CLOSED; other <= TIME_WAIT; other++) t.false(isEdge(state, other));
  }
});

test('synchronized states', (t) => {
  const synchronized = [ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT];
  for (let state = CLOSED; state <= TIME_WAIT; state++) t.is(isSynchronized(state), synchronized.includes(state));
});

test("SEND is allowed until CLOSE, text is taken until the peer's FIN", (t) => {
  for (let state = CLOSED; state <= TIME_WAIT; state++) {
    t.is(maySend(state), state === ESTABLISHED || state === CLOSE_WAIT, nameOf(state));
    t.is(mayReceive(state), [ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2].includes(state), nameOf(state));
  }
});
