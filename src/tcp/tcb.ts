/**
 * The transmission control block: what RFC 9293 section 3.3.1 keeps per connection, in its variable names.
 *
 * TCBs are pooled: `reset` gives every field a value of its lasting type in one order, so that all TCBs share one shape
 * and none allocates while it lives. `Tcp` owns them; an application may use one from `ready` with
 * `EVENT_CONNECTED` (or from `connect`) until `ready` with `EVENT_CLOSED` has returned.
 */
import type { Path } from '../libos/path.ts';
import type { Listener } from './listener.ts';
import type { ReceiveRing } from './receive-queue.ts';
import type { SendRegion } from './send-queue.ts';
import { type Seq, toSeq } from './sequence.ts';
import { CLOSED } from './state.ts';
import type { Tcp } from './tcp.ts';

/** The handshake is complete. */
export const EVENT_CONNECTED = 1;
/** There are unread bytes. */
export const EVENT_READABLE = 2;
/** The peer's FIN was reached: after the unread bytes there is nothing more to read. */
export const EVENT_PEER_CLOSED = 4;
/** The send queue fell to `sendLowWaterBytes` after having been above it. */
export const EVENT_WRITABLE = 8;
/**
 * The connection is gone and the TCB is reused after this call; `error` says why. After an orderly end it waits until what
 * was received has been read: an application that will not read it calls `close`.
 */
export const EVENT_CLOSED = 16;

/** Why a connection ended: an empty string after an orderly close, else Node's name for it. */
export type ConnectionError =
  | ''
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'ECONNABORTED'
  | 'ETIMEDOUT'
  | 'EHOSTUNREACH'
  | 'ENETUNREACH';

/** The application's side of a connection. */
export interface TcpUser {
  /**
   * The connection has events: called in the application phase of a turn, at most once a turn, and once more with
   * `EVENT_CLOSED` when the call itself ended the connection. Read them with `takeEvents`.
   */
  ready(connection: Tcb): void;
}

/** What a region belongs to; told when neither peer nor device needs its bytes any more. */
export interface RegionOwner {
  release(token: number): void;
}

export class Tcb {
  /** The stack's TCP that the connection belongs to. */
  readonly tcp: Tcp;
  /** Index in the connection table, and the argument of this connection's timers. */
  readonly index: number;
  declare state: number;
  declare path: Path | null;
  declare remoteAddress: number;
  declare remotePort: number;
  declare localAddress: number;
  declare localPort: number;
  /** The listener it came from, null when we opened it. */
  declare listener: Listener | null;
  declare user: TcpUser | null;
  declare events: number;
  declare error: ConnectionError;

  // Send sequence variables (SND.*).
  declare iss: Seq;
  declare sndUna: Seq;
  /** Next to send; moves back to `sndUna` after a retransmission time-out. */
  declare sndNxt: Seq;
  /** The highest sequence number ever sent, plus one: what an ACK may cover. */
  declare sndMax: Seq;
  declare sndWnd: number;
  declare sndWl1: Seq;
  declare sndWl2: Seq;
  /** Largest window the peer ever offered (RFC 9293 3.8.6.2.1, RFC 5961 5.2). */
  declare maxSndWnd: number;
  /** Shift of the windows the peer sends (RFC 7323 2.2), 0 without the option. */
  declare sndScale: number;
  /** Payload bytes of a full segment: the peer's MSS or the path's, less our options (RFC 6691). */
  declare mssBytes: number;
  /** MSS the peer announced. */
  declare peerMssBytes: number;

  // Receive sequence variables (RCV.*).
  declare irs: Seq;
  declare rcvNxt: Seq;
  /** Right edge of the window we advertised: RCV.NXT + RCV.WND. Never moves back. */
  declare rcvAdv: Seq;
  /** Shift of the windows we send; both shifts are 0 unless both SYNs carried the option. */
  declare rcvScale: number;
  declare windowScaling: boolean;

  /** The largest text of a packet that the peer has sent: its full segment, as far as we know. */
  declare peerSegmentBytes: number;

  // Timestamps (RFC 7323 section 3 to 5).
  declare timestamps: boolean;
  declare tsRecent: number;
  declare tsRecentUs: number;
  declare tsOffset: number;
  /** Last.ACK.sent. */
  declare lastAckSent: Seq;

  // Acknowledgment to be sent.
  declare ackNow: boolean;
  declare ackDelayed: boolean;
  /** Out-of-order segments of this turn: each is owed an acknowledgment of its own (RFC 5681 4.2). */
  declare duplicateAcksOwed: number;
  /** When a segment without text was last answered for being unacceptable. */
  declare lastUnacceptableUs: number;

  // What the application queued (send-queue.ts): bytes sndUna..sndEnd lie in regions, a FIN follows at sndEnd.
  declare sndEnd: Seq;
  declare finQueued: boolean;
  /** Set by the application's `close`: it will read no more. */
  declare readClosed: boolean;
  declare regionHead: SendRegion | null;
  declare regionTail: SendRegion | null;
  /** A region at or before the one that holds sndNxt. */
  declare regionCursor: SendRegion | null;
  declare writableWanted: boolean;

  // What the application has not read (receive-queue.ts): bytes readSeq..rcvNxt.
  declare readSeq: Seq;
  /** The peer's FIN was reached and counted in rcvNxt. */
  declare finReceived: boolean;
  /** Where the peer's FIN lies, once one was seen beyond a gap. */
  declare peerFinSeen: boolean;
  declare peerFin: Seq;
  /** The connection has ended in order, and only waits for the application to read what is left. */
  declare lingering: boolean;
  declare deliveryHead: number;
  declare deliveryTail: number;
  declare ring: ReceiveRing | null;

  // Round-trip time (rtt.ts), microseconds.
  declare srttUs: number;
  declare rttvarUs: number;
  declare rtoUs: number;
  declare rttTimed: boolean;
  declare rttSeq: Seq;
  declare rttStartUs: number;

  // Loss recovery and congestion control (recovery.ts, congestion/).
  declare cwndBytes: number;
  declare ssthreshBytes: number;
  declare duplicateAcks: number;
  declare inRecovery: boolean;
  /** Partial acknowledgments of this recovery: only the first restarts the timer (RFC 6582 3.2 step 3). */
  declare partialAcks: number;
  declare recover: Seq;
  declare retransmitOne: boolean;
  /** Retransmissions of the oldest segment since the peer last answered. */
  declare retries: number;
  /** A zero-window probe is due. */
  declare probeNow: boolean;
  /** A SYN, or SYN-ACK, is due. */
  declare synNow: boolean;
  /** A keep-alive probe is due. */
  declare keepAliveNow: boolean;
  declare keepAliveProbesSent: number;
  declare lastReceivedUs: number;
  declare lastSentUs: number;

  // Timers: retransmission or persistence, delayed ACK, and the slow ones (keep-alive, FIN-WAIT-2).
  readonly retransmitTimer: number;
  readonly delayedAckTimer: number;
  readonly slowTimer: number;
  /** The retransmission timer runs as persist timer; each probe doubles its interval. */
  declare persisting: boolean;
  declare persistShift: number;

  // Membership of the turn's lists.
  declare inReady: boolean;
  declare inOutput: boolean;

  constructor(tcp: Tcp, index: number, retransmitTimer: number, delayedAckTimer: number, slowTimer: number) {
    this.tcp = tcp;
    this.index = index;
    this.retransmitTimer = retransmitTimer;
    this.delayedAckTimer = delayedAckTimer;
    this.slowTimer = slowTimer;
    this.reset();
  }

  /** The values of a connection that has not begun. */
  reset(): void {
    const zero = toSeq(0);
    this.state = CLOSED;
    this.path = null;
    this.remoteAddress = 0;
    this.remotePort = 0;
    this.localAddress = 0;
    this.localPort = 0;
    this.listener = null;
    this.user = null;
    this.events = 0;
    this.error = '';
    this.iss = zero;
    this.sndUna = zero;
    this.sndNxt = zero;
    this.sndMax = zero;
    this.sndWnd = 0;
    this.sndWl1 = zero;
    this.sndWl2 = zero;
    this.maxSndWnd = 0;
    this.sndScale = 0;
    this.mssBytes = 0;
    this.peerMssBytes = 0;
    this.irs = zero;
    this.rcvNxt = zero;
    this.rcvAdv = zero;
    this.rcvScale = 0;
    this.windowScaling = false;
    this.peerSegmentBytes = 0;
    this.timestamps = false;
    this.tsRecent = 0;
    this.tsRecentUs = 0;
    this.tsOffset = 0;
    this.lastAckSent = zero;
    this.ackNow = false;
    this.ackDelayed = false;
    this.duplicateAcksOwed = 0;
    this.lastUnacceptableUs = Number.NEGATIVE_INFINITY;
    this.sndEnd = zero;
    this.finQueued = false;
    this.readClosed = false;
    this.regionHead = null;
    this.regionTail = null;
    this.regionCursor = null;
    this.writableWanted = false;
    this.readSeq = zero;
    this.finReceived = false;
    this.peerFinSeen = false;
    this.peerFin = zero;
    this.lingering = false;
    this.deliveryHead = -1;
    this.deliveryTail = -1;
    this.ring = null;
    this.srttUs = 0;
    this.rttvarUs = 0;
    this.rtoUs = 0;
    this.rttTimed = false;
    this.rttSeq = zero;
    this.rttStartUs = 0;
    this.cwndBytes = 0;
    this.ssthreshBytes = 0;
    this.duplicateAcks = 0;
    this.inRecovery = false;
    this.partialAcks = 0;
    this.recover = zero;
    this.retransmitOne = false;
    this.retries = 0;
    this.probeNow = false;
    this.synNow = false;
    this.keepAliveNow = false;
    this.keepAliveProbesSent = 0;
    this.lastReceivedUs = 0;
    this.lastSentUs = 0;
    this.persisting = false;
    this.persistShift = 0;
    this.inReady = false;
    this.inOutput = false;
  }
}
