/** What an embedder may choose about TCP; every limit of the protocol code is named here, with its default. */

import type { CongestionControlName } from './congestion/controls.ts';
import type { Trace } from './trace.ts';

export interface TcpSettings {
  /** Unread and out-of-order bytes a connection may ever hold; also the most that it advertises (a power of two, at most 1 GiB). */
  readonly receiveBufferBytes: number;
  /** The window that a connection begins with, unless the buffer is smaller; it grows with what the application reads. */
  readonly initialReceiveWindowBytes: number;
  /** Shift of the windows we advertise (RFC 7323 2.3), 0 to 14; -1 for the least that lets the field say the whole buffer. */
  readonly windowScale: number;
  /** The window offered is a whole number of full segments, so that the last of a window is not cut. */
  readonly windowInSegments: boolean;
  /**
   * Memory all connections together may hold for unread and out-of-order bytes. From three quarters on, who holds some is
   * offered no wider window; from 15 sixteenths on, there are no new connections (receive-queue.ts).
   */
  readonly receivePoolBytes: number;
  /** How far beyond a gap a connection holds text. */
  readonly maxOutOfOrderBytes: number;
  /** Memory of all connections that wait for a gap to close; the one that has waited longest gives up what it holds. */
  readonly outOfOrderPoolBytes: number;
  /** `EVENT_WRITABLE` is raised when the queued bytes fall to this, or to the congestion window where that is larger. */
  readonly sendLowWaterBytes: number;
  /** However large the congestion window, no more than this has to be queued. */
  readonly maxSendLowWaterBytes: number;
  /** Connections in any state but TIME-WAIT. */
  readonly maxConnections: number;
  /** TIME-WAIT records; the oldest makes room when they run out. */
  readonly maxTimeWait: number;
  /** What new connections are controlled by: CUBIC (RFC 9438), NewReno (RFC 5681) or BBR (draft-ietf-ccwg-bbr). */
  readonly congestion: CongestionControlName;
  /** The congestion window decays while nothing is sent (RFC 2861, Linux's default); off: RFC 7661 validates what is used of it. */
  readonly slowStartAfterIdle: boolean;
  /** Where CUBIC grows as Reno, it does so fully from the window of the last congestion on (RFC 9438 4.3); Linux never does. */
  readonly cubicRenoCatchesUp: boolean;
  /** Super-frames are sized and pushed as Linux does, from so many segments on (tcp_min_tso_segs); 0: as long as the device takes. */
  readonly leastSuperFrameSegments: number;
  /** RFC 6928: segments of the initial congestion window. */
  readonly initialWindowSegments: number;
  /** Timestamps and window scaling (RFC 7323) are offered, and taken. */
  readonly timestamps: boolean;
  readonly windowScaling: boolean;
  /** Selective acknowledgment (RFC 2018) is offered, and with it RACK-TLP (RFC 8985) finds losses; off: NewReno (RFC 6582). */
  readonly sack: boolean;
  /** Tail loss probes (RFC 8985 section 7). */
  readonly tailLossProbe: boolean;
  /** Forward RTO-recovery (RFC 5682): after a time-out new data tells whether it was spurious. */
  readonly frto: boolean;
  /** Explicit congestion notification (RFC 3168): asked for (`offer`), agreed to when asked (`accept`), or neither. */
  readonly ecn: 'off' | 'accept' | 'offer';
  /** A mark brings the window down less than a loss does (RFC 8511). */
  readonly alternativeBackoff: boolean;
  /** RFC 6298 2.1: the time-out before any round trip is measured. */
  readonly initialRtoUs: number;
  /** Every acknowledgment that measures a round trip is a sample, not one a round trip. */
  readonly sampleEveryAck: boolean;
  /** Least part of the time-out for the variance of round trips. Differs: RFC 6298 2.4 asks for one second in all. */
  readonly minRtoUs: number;
  readonly maxRtoUs: number;
  /** RFC 9293 3.8.6.3: an acknowledgment may wait this long for data to ride on (at most 500 ms). */
  readonly delayedAckUs: number;
  /**
   * So many acknowledgments do not wait, at the beginning and after what was out of order or came twice, until data is exchanged both
   * ways (Linux: TCP_MAX_QUICKACKS); 0: all of them may wait.
   */
  readonly quickAcks: number;
  /**
   * Retransmissions of a SYN before the connection is given up. Differs: RFC 9293 3.8.3 asks for three minutes;
   * like Linux, six retransmissions make 127 seconds.
   */
  readonly synRetries: number;
  /** The same of a SYN-ACK (Linux: tcp_synack_retries). */
  readonly synAckRetries: number;
  /** Retransmissions of the same data, or window probes without an answer, before the connection is given up (R2; tcp_retries2). */
  readonly dataRetries: number;
  /** The same once the application has closed both halves (Linux: tcp_orphan_retries). */
  readonly orphanRetries: number;
  /** Time-outs in a row from which on the next hop is doubted (R1; tcp_retries1, whose default is 3). */
  readonly doubtRetries: number;
  /** What a connection's user timeout is unless it has its own (Linux: TCP_USER_TIMEOUT); 0: `dataRetries` decides. */
  readonly userTimeoutUs: number;
  /** SYNs tell our user timeout, and the peer's is taken over, within the two limits (RFC 5482). */
  readonly userTimeoutOption: boolean;
  readonly leastUserTimeoutUs: number;
  readonly mostUserTimeoutUs: number;
  /**
   * Search for the path's MTU by probes (RFC 4821, RFC 8899): 0 never, 1 once segments of full size have vanished without a word
   * (a black hole), 2 always. Differs: Linux's default is 0, with which a connection over a path that drops long packets and
   * tells nobody hangs until it is given up.
   */
  readonly mtuProbing: 0 | 1 | 2;
  /** Segments that a search begins with, and those tried first after a black hole. */
  readonly mtuBaseMssBytes: number;
  /** No black hole makes segments smaller than this. Differs: Linux goes down to 48; every host takes packets of 576 bytes (RFC 1122 3.3.2). */
  readonly mtuFloorMssBytes: number;
  /** How long after a search the range above what it has found is tried again. */
  readonly mtuProbeIntervalUs: number;
  /** A search ends when less than this is left of its range. */
  readonly mtuProbeThresholdBytes: number;
  /** Time-outs in a row of a segment of full size from which on it is taken for a black hole's (three retransmissions in vain: R1). */
  readonly blackHoleRetries: number;
  /** A listener whose backlog is full answers SYNs with cookies (RFC 4987 3.6); off: it drops them. */
  readonly synCookies: boolean;
  /**
   * TCP Fast Open (RFC 7413), bits as in net.ipv4.tcp_fastopen: 1 `connect` may ask for it, 2 a listener with a
   * `fastOpenQueue` takes part, 4 text goes on SYNs without a cookie, 0x200 and is taken without one, 0x400 every listener takes
   * part. Nothing of it happens unless an application asks for it on the connection or the listener.
   */
  readonly fastOpen: number;
  /** How long a cookie that a server has given is used. */
  readonly fastOpenCookieUs: number;
  /** Servers whose cookies and failures are remembered. */
  readonly maxFastOpenServers: number;
  /** How long a server whose connections failed with Fast Open is opened without it; twice as long after each further failure. */
  readonly fastOpenBlackHoleUs: number;
  /** The key of the cookies that we give changes after this; they are good until it has changed twice. */
  readonly fastOpenKeyUs: number;
  /** Two maximum segment lifetimes. */
  readonly timeWaitUs: number;
  /**
   * How long a connection that the application has closed waits in FIN-WAIT-2 for the peer's FIN. After `closeSend` alone the
   * application still reads, and the wait has no end but keep-alive's.
   */
  readonly finWait2Us: number;
  /** RFC 9293 3.8.4: idle time before the first keep-alive probe; 0 is off, the RFC's default. */
  readonly keepAliveIdleUs: number;
  readonly keepAliveIntervalUs: number;
  readonly keepAliveProbes: number;
  /** RFC 5961 section 10: challenge ACKs and resets for stray segments per second, on average. */
  readonly challengeAcksPerSecond: number;
  /** The least time between two answers of one connection to segments that it does not accept (Linux: tcp_invalid_ratelimit). */
  readonly invalidRateLimitUs: number;
  /** Is told why the connections do what they do (trace.ts); null: nobody is, and nothing is put into words. */
  readonly trace: Trace | null;
  /**
   * What is done with segments that an honest peer does not send, where Linux has other answers than RFC 9293, mostly for want of a
   * whole connection: by listeners, in SYN-RECEIVED behind them (input-syn-received.ts), and in FIN-WAIT-2 after the application has
   * closed (input-orphan.ts).
   */
  readonly checks: 'rfc' | 'linux';
  /** RFC 1337: a reset does not end TIME-WAIT (Linux: tcp_rfc1337, off). */
  readonly timeWaitIgnoresResets: boolean;
  /**
   * A reset is believed, too, at the number of the peer's FIN and behind the last of what is held beyond gaps, where peers are found
   * to send them (Linux); RFC 5961 3.2 takes RCV.NXT only.
   */
  readonly lenientResets: boolean;
  /** RFC 7323 3.2: a segment without the timestamp that was agreed on is dropped (Linux takes it). */
  readonly timestampsRequired: boolean;
  /** RFC 7323 5.3: by how much a timestamp may be older than TS.Recent (Linux: 1). */
  readonly timestampTolerance: number;
  /** Acknowledgments wait for data to ride on, and the FIN rides on the last of it; off: each is a segment of its own, at once. */
  readonly packetMerging: boolean;
  /** Where the device cuts super-frames it is given them; off: a frame is a segment. */
  readonly superFrames: boolean;
  /** What an established connection is expected to receive next takes a short way (header-prediction.ts); off: every check for every segment. */
  readonly headerPrediction: boolean;
  /** Records of connections and regions are pooled; off: made anew and left to the collector. */
  readonly reuseRecords: boolean;
  /** Segments whose checksum nobody has looked at are checked; off, only for who can bear wrong bytes: the sum is not computed. */
  readonly verifyChecksums: boolean;
}

export const DEFAULT_TCP_SETTINGS: TcpSettings = {
  receiveBufferBytes: 4 * 1024 * 1024,
  initialReceiveWindowBytes: 64 * 1024,
  windowScale: -1,
  windowInSegments: false,
  receivePoolBytes: 64 * 1024 * 1024,
  maxOutOfOrderBytes: 4 * 1024 * 1024,
  outOfOrderPoolBytes: 32 * 1024 * 1024,
  sendLowWaterBytes: 128 * 1024,
  maxSendLowWaterBytes: 4 * 1024 * 1024,
  maxConnections: 65_536,
  maxTimeWait: 65_536,
  congestion: 'cubic',
  slowStartAfterIdle: false,
  cubicRenoCatchesUp: true,
  leastSuperFrameSegments: 0,
  initialWindowSegments: 10,
  timestamps: true,
  windowScaling: true,
  sack: true,
  tailLossProbe: true,
  frto: true,
  ecn: 'accept',
  alternativeBackoff: true,
  initialRtoUs: 1_000_000,
  sampleEveryAck: false,
  minRtoUs: 200_000,
  maxRtoUs: 120_000_000,
  delayedAckUs: 40_000,
  quickAcks: 0,
  synRetries: 6,
  synAckRetries: 5,
  dataRetries: 15,
  orphanRetries: 8,
  doubtRetries: 2,
  userTimeoutUs: 0,
  userTimeoutOption: false,
  leastUserTimeoutUs: 100_000_000,
  mostUserTimeoutUs: 3_600_000_000,
  mtuProbing: 1,
  mtuBaseMssBytes: 1024,
  mtuFloorMssBytes: 512,
  mtuProbeIntervalUs: 600_000_000,
  mtuProbeThresholdBytes: 8,
  blackHoleRetries: 4,
  synCookies: true,
  fastOpen: 3,
  fastOpenCookieUs: 86_400_000_000,
  maxFastOpenServers: 1024,
  fastOpenBlackHoleUs: 60_000_000,
  fastOpenKeyUs: 86_400_000_000,
  timeWaitUs: 60_000_000,
  finWait2Us: 60_000_000,
  keepAliveIdleUs: 0,
  keepAliveIntervalUs: 75_000_000,
  keepAliveProbes: 9,
  challengeAcksPerSecond: 1000,
  invalidRateLimitUs: 500_000,
  trace: null,
  checks: 'rfc',
  timeWaitIgnoresResets: true,
  lenientResets: false,
  timestampsRequired: true,
  timestampTolerance: 0,
  packetMerging: true,
  superFrames: true,
  headerPrediction: true,
  reuseRecords: true,
  verifyChecksums: true,
};
