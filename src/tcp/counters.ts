/** What TCP counts; drops are counted by reason beside it. */

const NAMES = [
  'segmentsReceived',
  'segmentsSent',
  'payloadBytesReceived',
  'payloadBytesSent',
  'bytesRetransmitted',
  'segmentsRetransmitted',
  'fastRetransmits',
  'timeouts',
  'windowProbes',
  'keepAliveProbes',
  'outOfOrderSegments',
  'duplicateSegments',
  'pureAcksSent',
  'resetsSent',
  'resetsReceived',
  'challengeAcks',
  'repliesDropped',
  'invalidNotAnswered',
  'activeOpens',
  'passiveOpens',
  'established',
  'connectionsTimedOut',
  'timeWaitEvicted',
  'payloadBytesSummed',
  'acksMerged',
  'finsMerged',
  'acksMergedWithFin',
  'superFramesSent',
  'connectionsReused',
  'checksumsVerified',
  'checksumsSkipped',
  'tailLossProbes',
  'spuriousRecoveries',
  'sacksReneged',
  'sackBlocksIgnored',
  'synCookiesSent',
  'synCookiesAccepted',
  'synCookiesRefused',
  'userTimeoutsAdopted',
  'mtuBlackHoles',
  'mtuBlackHolesDenied',
  'mtuProbesSent',
  'mtuProbesArrived',
  'mtuProbesLost',
  'fastOpensAccepted',
  'fastOpensRefused',
  'fastOpensOverflowed',
  'fastOpenCookiesSent',
  'fastOpenCookiesReceived',
  'fastOpenTextAcknowledged',
  'fastOpenTextIgnored',
  'fastOpensSuspended',
  'fastOpenBlackHoles',
  'congestionMarks',
  'congestionEchoes',
  'outOfOrderRefused',
  'outOfOrderShed',
  'windowsHeldBack',
  'synsRefusedForMemory',
  'acceptQueueFull',
  'receiveWindowsGrown',
  'segmentsPredicted',
] as const;

export type TcpCounterName = (typeof NAMES)[number];
export const TCP_COUNTER_NAMES: readonly TcpCounterName[] = NAMES;

export const SEGMENTS_RECEIVED = NAMES.indexOf('segmentsReceived');
export const SEGMENTS_SENT = NAMES.indexOf('segmentsSent');
export const PAYLOAD_BYTES_RECEIVED = NAMES.indexOf('payloadBytesReceived');
export const PAYLOAD_BYTES_SENT = NAMES.indexOf('payloadBytesSent');
export const BYTES_RETRANSMITTED = NAMES.indexOf('bytesRetransmitted');
export const SEGMENTS_RETRANSMITTED = NAMES.indexOf('segmentsRetransmitted');
export const FAST_RETRANSMITS = NAMES.indexOf('fastRetransmits');
export const TIMEOUTS = NAMES.indexOf('timeouts');
export const WINDOW_PROBES = NAMES.indexOf('windowProbes');
export const KEEP_ALIVE_PROBES = NAMES.indexOf('keepAliveProbes');
export const OUT_OF_ORDER_SEGMENTS = NAMES.indexOf('outOfOrderSegments');
export const DUPLICATE_SEGMENTS = NAMES.indexOf('duplicateSegments');
export const PURE_ACKS_SENT = NAMES.indexOf('pureAcksSent');
export const RESETS_SENT = NAMES.indexOf('resetsSent');
export const RESETS_RECEIVED = NAMES.indexOf('resetsReceived');
export const CHALLENGE_ACKS = NAMES.indexOf('challengeAcks');
export const REPLIES_DROPPED = NAMES.indexOf('repliesDropped');
export const ACTIVE_OPENS = NAMES.indexOf('activeOpens');
export const PASSIVE_OPENS = NAMES.indexOf('passiveOpens');
export const ESTABLISHED_TOTAL = NAMES.indexOf('established');
export const CONNECTIONS_TIMED_OUT = NAMES.indexOf('connectionsTimedOut');
export const TIME_WAIT_EVICTED = NAMES.indexOf('timeWaitEvicted');
/** Payload bytes read to make checksums; those that a grid of sums stood in for are not among them. */
export const PAYLOAD_BYTES_SUMMED = NAMES.indexOf('payloadBytesSummed');
/** Acknowledgments that were owed and rode on data. */
export const ACKS_MERGED = NAMES.indexOf('acksMerged');
/** Acknowledgments that were owed and rode on a FIN without data. */
export const ACKS_MERGED_WITH_FIN = NAMES.indexOf('acksMergedWithFin');
/** Segments that carried data and the FIN. */
export const FINS_MERGED = NAMES.indexOf('finsMerged');
/** Segments longer than one MSS, left to the device to cut. */
export const SUPER_FRAMES_SENT = NAMES.indexOf('superFramesSent');
/** Connections whose record had served one before. */
export const CONNECTIONS_REUSED = NAMES.indexOf('connectionsReused');
/** Segments received whose checksum neither the device nor the peer's kernel vouched for. */
export const CHECKSUMS_VERIFIED = NAMES.indexOf('checksumsVerified');
export const CHECKSUMS_SKIPPED = NAMES.indexOf('checksumsSkipped');
/** Probes of the tail (RFC 8985 section 7), whether or not something was lost. */
export const TAIL_LOSS_PROBES = NAMES.indexOf('tailLossProbes');
/** Recoveries that were undone: nothing had been lost. */
export const SPURIOUS_RECOVERIES = NAMES.indexOf('spuriousRecoveries');
/** Times that a peer had dropped what it had said it held (RFC 2018 section 8). */
export const SACKS_RENEGED = NAMES.indexOf('sacksReneged');
/** SACK blocks of something we have not sent. */
export const SACK_BLOCKS_IGNORED = NAMES.indexOf('sackBlocksIgnored');
/** SYNs answered without remembering them; acknowledgments that brought a cookie back; those that did not, when some might. */
export const SYN_COOKIES_SENT = NAMES.indexOf('synCookiesSent');
export const SYN_COOKIES_ACCEPTED = NAMES.indexOf('synCookiesAccepted');
export const SYN_COOKIES_REFUSED = NAMES.indexOf('synCookiesRefused');
/** Times that segments were made smaller because long ones vanished (RFC 4821 section 7.7), and that nothing had arrived at all. */
export const MTU_BLACK_HOLES = NAMES.indexOf('mtuBlackHoles');
export const MTU_BLACK_HOLES_DENIED = NAMES.indexOf('mtuBlackHolesDenied');
/** Probes of the path's MTU, and what became of them. */
export const MTU_PROBES_SENT = NAMES.indexOf('mtuProbesSent');
export const MTU_PROBES_ARRIVED = NAMES.indexOf('mtuProbesArrived');
export const MTU_PROBES_LOST = NAMES.indexOf('mtuProbesLost');
/** Fast Open as a server: connections taken before their handshake, cookies that were not ours, SYNs while too many waited, cookies given. */
export const FAST_OPENS_ACCEPTED = NAMES.indexOf('fastOpensAccepted');
export const FAST_OPENS_REFUSED = NAMES.indexOf('fastOpensRefused');
export const FAST_OPENS_OVERFLOWED = NAMES.indexOf('fastOpensOverflowed');
export const FAST_OPEN_COOKIES_SENT = NAMES.indexOf('fastOpenCookiesSent');
/** As a client: cookies received, text on a SYN that was acknowledged with it or was not, SYNs without because of failures before, and those. */
export const FAST_OPEN_COOKIES_RECEIVED = NAMES.indexOf('fastOpenCookiesReceived');
export const FAST_OPEN_TEXT_ACKNOWLEDGED = NAMES.indexOf('fastOpenTextAcknowledged');
export const FAST_OPEN_TEXT_IGNORED = NAMES.indexOf('fastOpenTextIgnored');
export const FAST_OPENS_SUSPENDED = NAMES.indexOf('fastOpensSuspended');
export const FAST_OPEN_BLACK_HOLES = NAMES.indexOf('fastOpenBlackHoles');
/** User timeouts taken over from peers (RFC 5482). */
export const USER_TIMEOUTS_ADOPTED = NAMES.indexOf('userTimeoutsAdopted');
/** Segments that were not acceptable and got no answer, because one of the connection's had just had one. */
export const INVALID_NOT_ANSWERED = NAMES.indexOf('invalidNotAnswered');
/** Segments that arrived marked for congestion; acknowledgments that told us of marks on ours (RFC 3168). */
export const CONGESTION_MARKS = NAMES.indexOf('congestionMarks');
export const CONGESTION_ECHOES = NAMES.indexOf('congestionEchoes');
/** Segments beyond a gap that a limit kept from being held; connections that gave up what they held, for others. */
export const OUT_OF_ORDER_REFUSED = NAMES.indexOf('outOfOrderRefused');
export const OUT_OF_ORDER_SHED = NAMES.indexOf('outOfOrderShed');
/** Segments that offered no wider window because memory is short; SYNs dropped because it has run out. */
export const WINDOWS_HELD_BACK = NAMES.indexOf('windowsHeldBack');
export const SYNS_REFUSED_FOR_MEMORY = NAMES.indexOf('synsRefusedForMemory');
/** SYNs and last acknowledgments of handshakes dropped because the application takes no more connections now. */
export const ACCEPT_QUEUE_FULL = NAMES.indexOf('acceptQueueFull');
/** Times that a receive window grew with what was read (receive-tuning.ts). */
export const RECEIVE_WINDOWS_GROWN = NAMES.indexOf('receiveWindowsGrown');
/** Segments that took the short way (header-prediction.ts). */
export const SEGMENTS_PREDICTED = NAMES.indexOf('segmentsPredicted');
