/**
 * Connection states and the edges between them (RFC 9293 section 3.3.2, figure 5). `setState` is the only writer of
 * `Tcb.state` and refuses an edge that the diagram does not have.
 *
 * LISTEN is not a state of a connection here: a listener is an object of its own that connections come from.
 */
import type { Tcb } from './tcb.ts';
import { noteState } from './trace.ts';

export const CLOSED = 0;
export const SYN_SENT = 1;
export const SYN_RECEIVED = 2;
export const ESTABLISHED = 3;
export const FIN_WAIT_1 = 4;
export const FIN_WAIT_2 = 5;
export const CLOSE_WAIT = 6;
export const CLOSING = 7;
export const LAST_ACK = 8;
export const TIME_WAIT = 9;

export const STATE_NAMES: readonly string[] = [
  'CLOSED',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'CLOSE-WAIT',
  'CLOSING',
  'LAST-ACK',
  'TIME-WAIT',
];

/** Bit n of an entry: the edge to state n is in the diagram. Every state may be aborted to CLOSED. */
const EDGES = new Uint16Array(STATE_NAMES.length);
EDGES[CLOSED] = (1 << SYN_SENT) | (1 << SYN_RECEIVED);
EDGES[SYN_SENT] = (1 << ESTABLISHED) | (1 << SYN_RECEIVED) | (1 << CLOSED);
EDGES[SYN_RECEIVED] = (1 << ESTABLISHED) | (1 << FIN_WAIT_1) | (1 << CLOSE_WAIT) | (1 << CLOSED);
EDGES[ESTABLISHED] = (1 << FIN_WAIT_1) | (1 << CLOSE_WAIT) | (1 << CLOSED);
EDGES[FIN_WAIT_1] = (1 << FIN_WAIT_2) | (1 << CLOSING) | (1 << TIME_WAIT) | (1 << CLOSED);
EDGES[FIN_WAIT_2] = (1 << TIME_WAIT) | (1 << CLOSED);
EDGES[CLOSE_WAIT] = (1 << LAST_ACK) | (1 << CLOSED);
EDGES[CLOSING] = (1 << TIME_WAIT) | (1 << CLOSED);
EDGES[LAST_ACK] = 1 << CLOSED;
EDGES[TIME_WAIT] = 1 << CLOSED;

export function isEdge(from: number, to: number): boolean {
  return ((EDGES[from] ?? 0) & (1 << to)) !== 0;
}

/** Moves a connection along an edge of the diagram; an edge that is not there is a defect of this program and throws. */
export function setState(tcb: Tcb, next: number): void {
  if (!isEdge(tcb.state, next)) throw new Error(`no edge from ${STATE_NAMES[tcb.state]} to ${STATE_NAMES[next]}`);
  if (tcb.tcp.tracing) noteState(tcb, next);
  tcb.state = next;
}

/** The peer's SYN and ours are acknowledged: RFC 9293's "synchronized states". */
export function isSynchronized(state: number): boolean {
  return state >= ESTABLISHED;
}

/** Our FIN has not been asked for yet: SEND is still allowed. */
export function maySend(state: number): boolean {
  return state === ESTABLISHED || state === CLOSE_WAIT;
}

/** The peer's FIN has not arrived: more data may come. */
export function mayReceive(state: number): boolean {
  return state === ESTABLISHED || state === FIN_WAIT_1 || state === FIN_WAIT_2;
}
