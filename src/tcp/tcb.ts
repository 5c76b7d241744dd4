/**
 * The transmission control block: what RFC 9293 section 3.3.1 keeps per connection, in its variable names.
 *
 * TCBs are pooled: `reset` gives every field a value of its lasting type in one order, so that all TCBs share one shape
 * and none allocates while it lives. Whatever is true or false is a bit (connection-flags.ts). `Tcp` owns them; an application may use one from `ready` with
 * `EVENT_CONNECTED` (or from `connect`) until `ready` with `EVENT_CLOSED` has returned.
 */
import type { Path } from '../libos/path.ts';
import type { CongestionControl, CongestionState } from './congestion/congestion.ts';
import { newReno } from './congestion/newreno.ts';
import { ConnectionFlags } from './connection-flags.ts';
import { type ConnectionOptions, connectionOptionsOf } from './connection-options.ts';
import type { Listener } from './listener.ts';
import type { PathSearch } from './path-mtu-probing.ts';
import type { ReceiveRing } from './receive-queue.ts';
import type { SendRegion } from './send-queue.ts';
import { NO_RANGE } from './sent-ranges.ts';
import { type Seq, toSeq } from './sequence.ts';
import { DEFAULT_TCP_SETTINGS } from './settings.ts';
import { CLOSED } from './state.ts';
import type { Tcp } from './tcp.ts';
import { NO_PIPE_ACK } from './window-validation.ts';

/** The handshake is complete. */
export const EVENT_CONNECTED = 1;
/** There are unread bytes. */
export const EVENT_READABLE = 2;
/** The peer's FIN was reached: after the unread bytes there is nothing more to read. */
export const EVENT_PEER_CLOSED = 4;
/** There is room in the send queue, which had been above `sendLowWaterBytes` (send-tuning.ts). */
export const EVENT_WRITABLE = 8;
/**
 * The connection is gone and the TCB is reused after this call; `error` says why. After an orderly end it waits until what
 * was received has been read: an application that will not read it calls `close`.
 */
export const EVENT_CLOSED = 16;

/** What a TCB has before its connection begins. */
const INITIAL_OPTIONS = connectionOptionsOf(DEFAULT_TCP_SETTINGS);

// What the retransmission timer runs for.
/** RFC 6298. */
export const TIMER_RETRANSMIT = 0;
/** The tail loss probe (RFC 8985 section 7). */
export const TIMER_TAIL_LOSS_PROBE = 1;
/** The end of RACK's reordering window (RFC 8985 6.2 step 5). */
export const TIMER_REORDERING = 2;
/** RFC 9293 3.8.6.1. */
export const TIMER_PERSIST = 3;

// `recoveryState`, in Linux's names and numbers (tcpi_ca_state).
/** Nothing is out of order. */
export const OPEN = 0;
/** Something is, but nothing is known to be lost. */
export const DISORDER = 1;
/** The window is being reduced without a loss to repair: congestion was signalled, or a tail loss probe repaired it. */
export const CWR = 2;
/** What is lost is being sent again (fast recovery). */
export const RECOVERY = 3;
/** The same after a retransmission time-out. */
export const LOSS = 4;

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

export class Tcb extends ConnectionFlags {
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
  declare options: ConnectionOptions;
  declare user: TcpUser | null;
  declare events: number;
  declare error: ConnectionError;

  // Send sequence variables (SND.*).
  declare iss: Seq;
  declare sndUna: Seq;
  /** Next to send for the first time. What is to be sent again is marked among the ranges in flight. */
  declare sndNxt: Seq;
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
  /** The search for the path's MTU (path-mtu-probing.ts), null while there is none. */
  declare pathSearch: PathSearch | null;

  // Receive sequence variables (RCV.*).
  declare irs: Seq;
  declare rcvNxt: Seq;
  /** Right edge of the window we advertised: RCV.NXT + RCV.WND. Never moves back. */
  declare rcvAdv: Seq;
  /** Shift of the windows we send; both shifts are 0 unless both SYNs carried the option. */
  declare rcvScale: number;

  /** The largest text of a packet that the peer has sent: its full segment, as far as we know. */
  declare peerSegmentBytes: number;

  // How wide a window is offered (receive-tuning.ts): at most so many bytes; the most that was read in a round trip, when
  // and where this one began, and where the last one did.
  declare windowLimitBytes: number;
  declare readPerRoundBytes: number;
  declare readRoundMs: number;
  declare readRoundSeq: Seq;
  declare readLastRoundSeq: Seq;

  // Timestamps (RFC 7323 section 3 to 5).
  declare tsRecent: number;
  declare tsRecentUs: number;
  declare tsOffset: number;
  /** Last.ACK.sent. */
  declare lastAckSent: Seq;

  /** What is to be reported as having arrived twice, while `dsackOwed` (RFC 2883; sack-blocks.ts). */
  declare dsackLeft: Seq;
  declare dsackRight: Seq;

  /** Fast Open: bits of fast-open.ts, 0 when it has no part in the connection. */
  declare fastOpen: number;

  // Acknowledgment to be sent.
  /** Acknowledgments that do not wait, unless data goes both ways (`TcpSettings.quickAcks`). */
  declare quickAcks: number;
  declare interactive: boolean;
  /** When text last arrived in order. */
  declare lastTextUs: number;
  /** Out-of-order segments of this turn: each is owed an acknowledgment of its own (RFC 5681 4.2). */
  declare duplicateAcksOwed: number;
  /** When an unacceptable segment (those without text) was last answered, or challenged. */
  declare lastUnacceptableUs: number;

  // What the application queued (send-queue.ts): bytes sndUna..sndEnd lie in regions, a FIN follows at sndEnd.
  declare sndEnd: Seq;
  /** Nobody will read any more: once we have closed, more text is answered with a reset (RFC 9293 3.6.1). */
  declare resetsOnText: boolean;
  /** Nobody has it open any more. */
  declare abandoned: boolean;
  /** The state that the peer's reset has ended; CLOSED without one. */
  declare resetState: number;
  declare regionHead: SendRegion | null;
  declare regionTail: SendRegion | null;
  /** A region at or before the one that holds sndNxt. */
  declare regionCursor: SendRegion | null;
  /** RFC 9293 3.7.4, as a socket's TCP_NODELAY and TCP_CORK choose; a connection sends at once unless its user says so. */
  declare nagle: boolean;
  declare corked: boolean;
  /** Behind the last segment that was not full. */
  declare smallEnd: Seq;

  // What the application has not read (receive-queue.ts): bytes readSeq..rcvNxt.
  declare readSeq: Seq;
  /** Where the peer's FIN lies, while `peerFinSeen`. */
  declare peerFin: Seq;
  declare deliveryHead: number;
  declare deliveryTail: number;
  declare ring: ReceiveRing | null;

  // Round-trip time (rtt.ts), microseconds.
  declare srttUs: number;
  declare rttvarUs: number;
  declare rtoUs: number;
  /** A sample is taken from what is acknowledged beyond this: one a round trip. */
  declare rttSeq: Seq;
  /** The least round trip lately, and when it was measured. */
  declare minRttUs: number;
  declare minRttAtMs: number;

  // What is in flight (sent-ranges.ts), and the bytes of it that are held by the peer, lost, and sent again.
  declare sentHead: number;
  declare sentTail: number;
  declare sentRanges: number;
  declare sackedBytes: number;
  declare lostBytes: number;
  declare retransmittedBytes: number;
  /** Without SACK: what the duplicate acknowledgments say has left the network (RFC 5681 3.2). */
  declare duplicateAcks: number;
  declare duplicateBytes: number;
  /** Why what was last found lost was (trace.ts). */
  declare lossReason: number;
  /** Partial acknowledgments of this recovery. */
  declare partialAcks: number;

  // Loss detection (rack.ts): RACK.xmit_ts, RACK.end_seq, RACK.rtt, RACK.fack and what reordering was seen.
  declare rackUs: number;
  declare rackEnd: Seq;
  declare rackRttUs: number;
  declare rackFack: Seq;
  declare reoWndMultiplier: number;
  declare reoWndPersist: number;
  declare dsackRound: Seq;
  /** TLP.end_seq, while `tlpOut`. */
  declare tlpEnd: Seq;

  // Loss recovery and congestion control (recovery.ts, prr.ts, congestion/).
  declare cwndBytes: number;
  declare ssthreshBytes: number;
  declare recoveryState: number;
  /** Recovery ends when what was sent before it began is acknowledged. */
  declare recover: Seq;
  declare prrDeliveredBytes: number;
  declare prrOutBytes: number;
  declare recoverFlightBytes: number;
  /** What a recovery that was for nothing goes back to, while `undoPossible`. */
  declare undoCwndBytes: number;
  declare undoSsthreshBytes: number;
  declare undoRetransmittedBytes: number;
  declare firstRetransmitStamp: number;
  /** The most that was in flight in this window of data, and where that ends (RFC 7661). */
  declare usedCwndBytes: number;
  declare usedCwndSeq: Seq;
  /** pipeACK (RFC 7661 4.2): the most delivered in a round trip, in this sampling period and in the one before; since when, and when half of the window was used last. */
  declare pipeAckBytes: number;
  declare pipeAckBeforeBytes: number;
  declare pipeAckAtUs: number;
  declare validatedAtMs: number;
  // Delivery rate (delivery-rate.ts): when something was delivered last, and when that had been sent; until what is delivered
  // samples are limited by the application; what was ever lost; and the rate, bytes a second.
  declare deliveredUs: number;
  declare firstSentUs: number;
  declare appLimitedUntilBytes: number;
  declare lostTotalBytes: number;
  declare deliveryBytesPerSecond: number;

  // Pacing (pacing.ts): 0 for none; when the next quantum may leave, and the most that leaves in one piece.
  declare pacingBytesPerSecond: number;
  declare nextSendUs: number;
  declare sendQuantumBytes: number;
  /** How far something has arrived behind what was sent later, segments; 0 for never. */
  declare reorderingSegments: number;

  declare congestion: CongestionControl;
  /** What the congestion control keeps for the connection; its own, and kept for the next connection of this record. */
  declare congestionState: CongestionState | null;
  /** Retransmissions of the oldest segment since the peer last answered. */
  declare retries: number;
  /** With `retries` above 0: when what the peer does not answer was sent (user-timeout.ts). */
  declare unansweredSinceUs: number;
  /** And the first time-out; Infinity once something of full size, sent since, has arrived all the same (path-mtu-probing.ts). */
  declare timedOutUs: number;
  declare keepAliveProbesSent: number;
  declare lastReceivedUs: number;
  declare lastSentUs: number;

  // For `tcpInfo`, since the connection began.
  declare retransmissions: number;
  declare deliveredBytes: number;
  declare ackedBytes: number;
  declare consumedBytes: number;

  // Timers: one for retransmission, probing and persistence (`timerPurpose` says for which), delayed ACK, and the slow ones (keep-alive, FIN-WAIT-2).
  readonly retransmitTimer: number;
  readonly delayedAckTimer: number;
  readonly slowTimer: number;
  /** Made when the connection is paced for the first time; 0 before. */
  pacingTimer = 0;
  declare timerPurpose: number;
  /** Each window probe doubles the interval. */
  declare persistShift: number;

  constructor(tcp: Tcp, index: number, retransmitTimer: number, delayedAckTimer: number, slowTimer: number) {
    super();
    this.tcp = tcp;
    this.index = index;
    this.retransmitTimer = retransmitTimer;
    this.delayedAckTimer = delayedAckTimer;
    this.slowTimer = slowTimer;
    this.congestionState = null;
    this.reset();
  }

  /** The values of a connection that has not begun. */
  reset(): void {
    const zero = toSeq(0);
    this.clearFlags();
    this.state = CLOSED;
    this.path = null;
    this.remoteAddress = 0;
    this.remotePort = 0;
    this.localAddress = 0;
    this.localPort = 0;
    this.listener = null;
    this.options = INITIAL_OPTIONS;
    this.user = null;
    this.events = 0;
    this.error = '';
    this.iss = zero;
    this.sndUna = zero;
    this.sndNxt = zero;
    this.sndWnd = 0;
    this.sndWl1 = zero;
    this.sndWl2 = zero;
    this.maxSndWnd = 0;
    this.sndScale = 0;
    this.mssBytes = 0;
    this.peerMssBytes = 0;
    this.pathSearch = null;
    this.irs = zero;
    this.rcvNxt = zero;
    this.rcvAdv = zero;
    this.rcvScale = 0;
    this.peerSegmentBytes = 0;
    this.windowLimitBytes = 0;
    this.readPerRoundBytes = 0;
    this.readRoundMs = 0;
    this.readRoundSeq = zero;
    this.readLastRoundSeq = zero;
    this.tsRecent = 0;
    this.tsRecentUs = 0;
    this.tsOffset = 0;
    this.lastAckSent = zero;
    this.dsackLeft = zero;
    this.dsackRight = zero;
    this.fastOpen = 0;
    this.quickAcks = 0;
    this.interactive = false;
    this.lastTextUs = Number.NEGATIVE_INFINITY;
    this.duplicateAcksOwed = 0;
    this.lastUnacceptableUs = Number.NEGATIVE_INFINITY;
    this.sndEnd = zero;
    this.resetsOnText = false;
    this.abandoned = false;
    this.resetState = CLOSED;
    this.regionHead = null;
    this.regionTail = null;
    this.regionCursor = null;
    this.nagle = false;
    this.corked = false;
    this.smallEnd = zero;
    this.readSeq = zero;
    this.peerFin = zero;
    this.deliveryHead = -1;
    this.deliveryTail = -1;
    this.ring = null;
    this.srttUs = 0;
    this.rttvarUs = 0;
    this.rtoUs = 0;
    this.rttSeq = zero;
    this.minRttUs = 0;
    this.minRttAtMs = 0;
    this.sentHead = NO_RANGE;
    this.sentTail = NO_RANGE;
    this.sentRanges = 0;
    this.sackedBytes = 0;
    this.lostBytes = 0;
    this.retransmittedBytes = 0;
    this.duplicateAcks = 0;
    this.duplicateBytes = 0;
    this.lossReason = 0;
    this.partialAcks = 0;
    this.rackUs = 0;
    this.rackEnd = zero;
    this.rackRttUs = 0;
    this.rackFack = zero;
    this.reoWndMultiplier = 1;
    this.reoWndPersist = 0;
    this.dsackRound = zero;
    this.tlpEnd = zero;
    this.cwndBytes = 0;
    this.ssthreshBytes = 0;
    this.recoveryState = OPEN;
    this.recover = zero;
    this.prrDeliveredBytes = 0;
    this.prrOutBytes = 0;
    this.recoverFlightBytes = 0;
    this.undoCwndBytes = 0;
    this.undoSsthreshBytes = 0;
    this.undoRetransmittedBytes = 0;
    this.firstRetransmitStamp = 0;
    this.usedCwndBytes = 0;
    this.usedCwndSeq = zero;
    this.pipeAckBytes = NO_PIPE_ACK;
    this.pipeAckBeforeBytes = NO_PIPE_ACK;
    this.pipeAckAtUs = 0;
    this.validatedAtMs = 0;
    this.deliveredUs = 0;
    this.firstSentUs = 0;
    this.appLimitedUntilBytes = 0;
    this.lostTotalBytes = 0;
    this.deliveryBytesPerSecond = 0;
    this.pacingBytesPerSecond = 0;
    this.nextSendUs = 0;
    this.sendQuantumBytes = 0;
    this.reorderingSegments = 0;
    this.congestion = newReno;
    this.retries = 0;
    this.unansweredSinceUs = 0;
    this.timedOutUs = 0;
    this.keepAliveProbesSent = 0;
    this.lastReceivedUs = 0;
    this.lastSentUs = 0;
    this.retransmissions = 0;
    this.deliveredBytes = 0;
    this.ackedBytes = 0;
    this.consumedBytes = 0;
    this.timerPurpose = TIMER_RETRANSMIT;
    this.persistShift = 0;
  }
}
