/** What an embedder may choose about TCP; every limit of the protocol code is named here, with its default. */

import type { CongestionControlName } from './congestion/controls.ts';

export interface TcpSettings {
  /** Unread and out-of-order bytes a connection may hold; also what it advertises (a power of two, at most 1 GiB). */
  readonly receiveBufferBytes: number;
  /** Shift of the windows we advertise (RFC 7323 2.3), 0 to 14; -1 for the least that lets the field say the whole buffer. */
  readonly windowScale: number;
  /** The window offered is a whole number of full segments, so that the last of a window is not cut. */
  readonly windowInSegments: boolean;
  /** Memory all connections together may hold for unread and out-of-order bytes. */
  readonly receivePoolBytes: number;
  /** `EVENT_WRITABLE` is raised when the queued bytes fall to this. */
  readonly sendLowWaterBytes: number;
  /** Connections in any state but TIME-WAIT. */
  readonly maxConnections: number;
  /** TIME-WAIT records; the oldest makes room when they run out. */
  readonly maxTimeWait: number;
  /** What new connections are controlled by: CUBIC (RFC 9438), NewReno (RFC 5681) or BBR (draft-ietf-ccwg-bbr). */
  readonly congestion: CongestionControlName;
  /** The congestion window decays while nothing is sent (RFC 2861, Linux's default); off: RFC 7661 validates what is used of it. */
  readonly slowStartAfterIdle: boolean;
  /** RFC 6928: segments of the initial congestion window. */
  readonly initialWindowSegments: number;
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
   * Retransmissions of a SYN or SYN-ACK before the connection is given up. Differs: RFC 9293 3.8.3 asks for three minutes;
   * like Linux, six retransmissions make 127 seconds.
   */
  readonly synRetries: number;
  /** Retransmissions of the same data before the connection is given up (R2). */
  readonly dataRetries: number;
  /** A listener whose backlog is full answers SYNs with cookies (RFC 4987 3.6); off: it drops them. */
  readonly synCookies: boolean;
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
  /**
   * What is done with segments that an honest peer does not send, where Linux has other answers than RFC 9293, mostly for want of a
   * whole connection: by listeners, in SYN-RECEIVED behind them (input-syn-received.ts), and in FIN-WAIT-2 after the application has
   * closed (input-orphan.ts).
   */
  readonly checks: 'rfc' | 'linux';
  /** The least time between two challenge ACKs of one connection, and answers to segments without text; 0: only the limit of all. */
  readonly challengeIntervalUs: number;
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
  /** Records of connections and regions are pooled; off: made anew and left to the collector. */
  readonly reuseRecords: boolean;
  /** Segments whose checksum nobody has looked at are checked; off, only for who can bear wrong bytes: the sum is not computed. */
  readonly verifyChecksums: boolean;
}

export const DEFAULT_TCP_SETTINGS: TcpSettings = {
  receiveBufferBytes: 512 * 1024,
  windowScale: -1,
  windowInSegments: false,
  receivePoolBytes: 64 * 1024 * 1024,
  sendLowWaterBytes: 128 * 1024,
  maxConnections: 65_536,
  maxTimeWait: 65_536,
  congestion: 'cubic',
  slowStartAfterIdle: false,
  initialWindowSegments: 10,
  sack: true,
  tailLossProbe: true,
  frto: true,
  ecn: 'accept',
  alternativeBackoff: true,
  initialRtoUs: 1_000_000,
  minRtoUs: 200_000,
  maxRtoUs: 120_000_000,
  delayedAckUs: 40_000,
  quickAcks: 0,
  synRetries: 6,
  dataRetries: 15,
  synCookies: true,
  timeWaitUs: 60_000_000,
  finWait2Us: 60_000_000,
  keepAliveIdleUs: 0,
  keepAliveIntervalUs: 75_000_000,
  keepAliveProbes: 9,
  challengeAcksPerSecond: 1000,
  checks: 'rfc',
  challengeIntervalUs: 0,
  timeWaitIgnoresResets: true,
  lenientResets: false,
  timestampsRequired: true,
  timestampTolerance: 0,
  packetMerging: true,
  superFrames: true,
  reuseRecords: true,
  verifyChecksums: true,
};
