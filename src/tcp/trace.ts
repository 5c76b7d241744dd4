/**
 * A trace of decisions, for people who want to know why TCP does what it does: "retransmit 1461..2921 because RACK, RFC 8985
 * 6.2". Sequence numbers count from the first byte as 1. It costs a look at one boolean where nobody listens: what is told is put
 * into words only behind `tcp.tracing`.
 */
import { formatIpv4 } from '../wire/address.ts';
import { type Seq, seqDistance } from './sequence.ts';
import { STATE_NAMES } from './state.ts';
import type { Tcb } from './tcb.ts';

/** Who is told of decisions (`TcpSettings.trace`). */
export interface Trace {
  /** A connection has decided something; it is in the state before. To be kept short: it is called in the middle of the turn. */
  decided(connection: Tcb, decision: string): void;
}

// Why something is taken for lost: `Tcb.lossReason`.
export const LOST_BY_RACK = 0;
export const LOST_BY_TIMEOUT = 1;
export const LOST_BY_DUPLICATES = 2;
export const LOST_BY_PARTIAL_ACK = 3;
export const LOST_BY_ROUTER = 4;
export const LOST_BY_MTU_PROBE = 5;
export const TAIL_LOSS_PROBE = 6;

const REASONS: readonly string[] = [
  'RACK, RFC 8985 6.2',
  'the retransmission time-out, RFC 6298 5.4',
  'three duplicate acknowledgments, RFC 5681 3.2',
  'a partial acknowledgment, RFC 6582 3.2',
  'a router takes no packet so long, RFC 1191 6.4',
  'a probe of the path MTU was lost, RFC 4821 7.5',
  'nothing has answered, tail loss probe, RFC 8985 7.3',
];

/** Tells of what the connection has decided; to be called behind `tcp.tracing`. */
export function note(tcb: Tcb, decision: string): void {
  tcb.tcp.settings.trace?.decided(tcb, decision);
}

/** `start` to `end` goes again. */
export function noteRetransmission(tcb: Tcb, start: Seq, end: Seq): void {
  note(tcb, `retransmit ${relative(tcb, start)}..${relative(tcb, end)} because ${REASONS[tcb.lossReason]}`);
}

/** The connection is to be in another state. */
export function noteState(tcb: Tcb, next: number): void {
  note(tcb, `state ${STATE_NAMES[tcb.state]} to ${STATE_NAMES[next]}`);
}

function relative(tcb: Tcb, seq: Seq): number {
  return seqDistance(seq, tcb.iss);
}

/** A trace that writes a line for each decision: the time in seconds, the connection, what was decided. */
export function traceLines(write: (line: string) => void): Trace {
  return {
    decided(connection, decision) {
      const { localAddress, localPort, remoteAddress, remotePort, tcp } = connection;
      const seconds = (tcp.nowUs / 1e6).toFixed(6);
      const ends = `${formatIpv4(localAddress)}:${localPort} ${formatIpv4(remoteAddress)}:${remotePort}`;
      write(`${seconds} ${ends} ${decision}`);
    },
  };
}
