/** What a connection is doing, for people and programs that watch it: STATUS (RFC 9293 section 3.9.1.5) and more. */
import { flightBytes, heldBytes, pipeBytes } from './pipe.ts';
import { unreadBytes } from './receive-queue.ts';
import { seqDistance } from './sequence.ts';
import { ESTABLISHED, STATE_NAMES } from './state.ts';
import type { Tcb } from './tcb.ts';
import { receiveWindow } from './window.ts';

/** What keeps a connection from sending more. */
export type LimitedBy = 'application' | 'receive window' | 'congestion window';

export interface TcpInfo {
  readonly state: string;
  /** Of loss recovery: open, disorder, cwr, recovery or loss. */
  readonly recovery: string;
  readonly congestionControl: string;
  /** Options in force (RFC 2018, RFC 7323). */
  readonly sack: boolean;
  readonly timestamps: boolean;
  readonly sendScale: number;
  readonly receiveScale: number;
  readonly mssBytes: number;
  readonly pathMtuBytes: number;
  /** Microseconds; 0 before anything was measured. */
  readonly srttUs: number;
  readonly rttvarUs: number;
  readonly minRttUs: number;
  readonly rtoUs: number;
  readonly cwndBytes: number;
  readonly ssthreshBytes: number;
  /** The peer's window, and ours. */
  readonly sendWindowBytes: number;
  readonly receiveWindowBytes: number;
  /** Sent and not acknowledged; of this, what the peer holds, what is lost, what was sent again, and what is in the network. */
  readonly flightBytes: number;
  readonly sackedBytes: number;
  readonly lostBytes: number;
  readonly retransmittedBytes: number;
  readonly pipeBytes: number;
  /** Queued by the application and not sent for the first time. */
  readonly unsentBytes: number;
  /** Arrived and not read. */
  readonly unreadBytes: number;
  /** Retransmission time-outs since the peer last acknowledged something. */
  readonly retries: number;
  /** Segments sent again, ever. */
  readonly retransmissions: number;
  /** The network was seen to reorder. */
  readonly reordered: boolean;
  /** Ever: bytes that have reached the peer by SND.UNA or SACK, acknowledged by SND.UNA, and received in order for the application. */
  readonly deliveredBytes: number;
  readonly ackedBytes: number;
  readonly receivedBytes: number;
  readonly limitedBy: LimitedBy;
}

const RECOVERY_NAMES = ['open', 'disorder', 'cwr', 'recovery', 'loss'] as const;

/** A snapshot; every call makes a new object. */
export function tcpInfo(connection: Tcb): TcpInfo {
  const unsent = connection.state < ESTABLISHED ? 0 : Math.max(0, seqDistance(connection.sndEnd, connection.sndNxt));
  return {
    state: STATE_NAMES[connection.state] ?? '',
    recovery: RECOVERY_NAMES[connection.recoveryState] ?? '',
    congestionControl: connection.congestion.name,
    sack: connection.sack,
    timestamps: connection.timestamps,
    sendScale: connection.sndScale,
    receiveScale: connection.rcvScale,
    mssBytes: connection.mssBytes,
    pathMtuBytes: connection.path?.mtuBytes ?? 0,
    srttUs: connection.srttUs,
    rttvarUs: connection.rttvarUs,
    minRttUs: connection.minRttUs,
    rtoUs: connection.rtoUs,
    cwndBytes: connection.cwndBytes,
    ssthreshBytes: connection.ssthreshBytes,
    sendWindowBytes: connection.sndWnd,
    receiveWindowBytes: receiveWindow(connection),
    flightBytes: flightBytes(connection),
    sackedBytes: heldBytes(connection),
    lostBytes: connection.lostBytes,
    retransmittedBytes: connection.retransmittedBytes,
    pipeBytes: pipeBytes(connection),
    unsentBytes: unsent,
    unreadBytes: unreadBytes(connection),
    retries: connection.retries,
    retransmissions: connection.retransmissions,
    reordered: connection.reordered,
    deliveredBytes: connection.deliveredBytes,
    ackedBytes: connection.ackedBytes,
    receivedBytes: connection.consumedBytes + unreadBytes(connection),
    limitedBy: limitOf(connection, unsent),
  };
}

function limitOf(connection: Tcb, unsent: number): LimitedBy {
  if (unsent === 0 && connection.lostBytes === connection.retransmittedBytes) return 'application';
  const windowRoom = connection.sndWnd - flightBytes(connection);
  return windowRoom < connection.cwndBytes - pipeBytes(connection) ? 'receive window' : 'congestion window';
}
