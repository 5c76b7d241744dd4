/** What a connection is doing, for people and programs that watch it: STATUS (RFC 9293 section 3.9.1.5) and more. */

import { FAST_OPEN_TEXT_TAKEN } from './fast-open.ts';
import { announcedMss } from './mss.ts';
import { flightBytes, heldBytes, pipeBytes } from './pipe.ts';
import { unreadBytes } from './receive-queue.ts';
import { isPersisting } from './retransmission-timer.ts';
import { NO_RANGE } from './sent-ranges.ts';
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
  readonly ecn: boolean;
  readonly timestamps: boolean;
  readonly windowScaling: boolean;
  readonly sendScale: number;
  readonly receiveScale: number;
  readonly mssBytes: number;
  /** What we have announced, and the largest segment that the peer has sent so far. */
  readonly announcedMssBytes: number;
  readonly peerSegmentBytes: number;
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
  /** The same in segments, as far as what left together is not one record. */
  readonly flightSegments: number;
  readonly sackedSegments: number;
  readonly lostSegments: number;
  readonly retransmittedSegments: number;
  /** Queued by the application and not sent for the first time. */
  readonly unsentBytes: number;
  /** Arrived and not read. */
  readonly unreadBytes: number;
  /** Retransmission time-outs since the peer last acknowledged something. */
  readonly retries: number;
  /** Probes of a closed window, and of an idle connection, that the peer has not answered. */
  readonly windowProbes: number;
  readonly keepAliveProbes: number;
  /** Microseconds since something with a sequence number of its own was sent, and since anything was received. */
  readonly sinceSentUs: number;
  readonly sinceReceivedUs: number;
  /** Segments sent again, ever. */
  readonly retransmissions: number;
  /** Fast Open: the SYN's text was taken, ours or the peer's. */
  readonly synTextTaken: boolean;
  /** The network was seen to reorder. */
  readonly reordered: boolean;
  /** How far, segments; 0 for not at all. */
  readonly reorderingSegments: number;
  /** Ever: bytes that have reached the peer by SND.UNA or SACK, acknowledged by SND.UNA, and received in order for the application. */
  readonly deliveredBytes: number;
  readonly ackedBytes: number;
  readonly receivedBytes: number;
  /** Bytes a second: at which what was sent last arrived, and at which more is sent, 0 where nothing holds it back. */
  readonly deliveryBytesPerSecond: number;
  readonly pacingBytesPerSecond: number;
  readonly limitedBy: LimitedBy;
}

/** In the order of `recoveryState`. */
export const RECOVERY_NAMES: readonly string[] = ['open', 'disorder', 'cwr', 'recovery', 'loss'];

/** A snapshot; every call makes a new object. */
export function tcpInfo(connection: Tcb): TcpInfo {
  const { tcp } = connection;
  const unsent = connection.state < ESTABLISHED ? 0 : Math.max(0, seqDistance(connection.sndEnd, connection.sndNxt));
  return {
    state: STATE_NAMES[connection.state] ?? '',
    recovery: RECOVERY_NAMES[connection.recoveryState] ?? '',
    congestionControl: connection.congestion.name,
    sack: connection.sack,
    ecn: connection.ecn,
    timestamps: connection.timestamps,
    windowScaling: connection.windowScaling,
    sendScale: connection.sndScale,
    receiveScale: connection.rcvScale,
    mssBytes: connection.mssBytes,
    announcedMssBytes: announcedMss(tcp),
    peerSegmentBytes: connection.peerSegmentBytes,
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
    ...countSegments(connection),
    unsentBytes: unsent,
    unreadBytes: unreadBytes(connection),
    retries: connection.retries,
    windowProbes: isPersisting(connection) ? connection.persistShift : 0,
    keepAliveProbes: connection.keepAliveProbesSent,
    sinceSentUs: Math.max(0, tcp.nowUs - connection.lastSentUs),
    sinceReceivedUs: Math.max(0, tcp.nowUs - connection.lastReceivedUs),
    retransmissions: connection.retransmissions,
    synTextTaken: (connection.fastOpen & FAST_OPEN_TEXT_TAKEN) !== 0,
    reordered: connection.reordered,
    reorderingSegments: connection.reorderingSegments,
    deliveredBytes: connection.deliveredBytes,
    ackedBytes: connection.ackedBytes,
    receivedBytes: connection.consumedBytes + unreadBytes(connection),
    deliveryBytesPerSecond: connection.deliveryBytesPerSecond,
    pacingBytesPerSecond: connection.pacingBytesPerSecond,
    limitedBy: limitOf(connection, unsent),
  };
}

/** The ranges in flight, cut into full segments. */
function countSegments(connection: Tcb): {
  flightSegments: number;
  sackedSegments: number;
  lostSegments: number;
  retransmittedSegments: number;
} {
  const { ranges } = connection.tcp;
  const mssBytes = Math.max(1, connection.mssBytes);
  const counts = { flightSegments: 0, sackedSegments: 0, lostSegments: 0, retransmittedSegments: 0 };
  for (let range = connection.sentHead; range !== NO_RANGE; range = ranges.next(range)) {
    const segments = Math.ceil(ranges.bytes(range) / mssBytes);
    counts.flightSegments += segments;
    if (ranges.isSacked(range)) counts.sackedSegments += segments;
    else if (ranges.isLost(range)) counts.lostSegments += segments;
    if (ranges.isInFlightAgain(range)) counts.retransmittedSegments += segments;
  }
  return counts;
}

function limitOf(connection: Tcb, unsent: number): LimitedBy {
  if (unsent === 0 && connection.lostBytes === connection.retransmittedBytes) return 'application';
  const windowRoom = connection.sndWnd - flightBytes(connection);
  return windowRoom < connection.cwndBytes - pipeBytes(connection) ? 'receive window' : 'congestion window';
}
