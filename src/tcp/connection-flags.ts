/**
 * What is either so or not so about a connection: one word of bits under the names that the rest of TCP reads and writes. A
 * field of the engine's takes eight bytes whatever it holds; of a connection on which nothing happens these would be a sixth.
 */
const WINDOW_SCALING = 1 << 0;
const TIMESTAMPS = 1 << 1;
const SACK = 1 << 2;
const DSACK_OWED = 1 << 3;
const ACK_NOW = 1 << 4;
const ACK_DELAYED = 1 << 5;
const FIN_QUEUED = 1 << 6;
const READ_CLOSED = 1 << 7;
const WRITABLE_WANTED = 1 << 8;
const FIN_RECEIVED = 1 << 9;
const PEER_FIN_SEEN = 1 << 10;
const LINGERING = 1 << 11;
const SYN_TIMED = 1 << 12;
const REORDERED = 1 << 13;
const DSACK_SEEN = 1 << 14;
const TLP_NOW = 1 << 15;
const TLP_OUT = 1 << 16;
const TLP_RETRANSMITTED = 1 << 17;
const UNDO_POSSIBLE = 1 << 18;
const FRTO = 1 << 19;
const FRTO_HOLDS = 1 << 20;
const CWND_LIMITED = 1 << 21;
const PROBE_NOW = 1 << 22;
const SYN_NOW = 1 << 23;
const KEEP_ALIVE_NOW = 1 << 24;
const EARLY_WRITABLE_WANTED = 1 << 27;
const IN_READY = 1 << 25;
const IN_OUTPUT = 1 << 26;
const ECN = 1 << 28;
const ECN_ECHO_OWED = 1 << 29;
const CWR_OWED = 1 << 30;

export class ConnectionFlags {
  private bits = 0;

  /** Nothing is so. */
  clearFlags(): void {
    this.bits = 0;
  }

  /** Both SYNs carried the window scale option. */
  get windowScaling(): boolean {
    return (this.bits & WINDOW_SCALING) !== 0;
  }

  set windowScaling(on: boolean) {
    this.bits = on ? this.bits | WINDOW_SCALING : this.bits & ~WINDOW_SCALING;
  }

  /** Timestamps (RFC 7323) are on every segment. */
  get timestamps(): boolean {
    return (this.bits & TIMESTAMPS) !== 0;
  }

  set timestamps(on: boolean) {
    this.bits = on ? this.bits | TIMESTAMPS : this.bits & ~TIMESTAMPS;
  }

  /** Selective acknowledgment (RFC 2018): both SYNs permitted it. */
  get sack(): boolean {
    return (this.bits & SACK) !== 0;
  }

  set sack(on: boolean) {
    this.bits = on ? this.bits | SACK : this.bits & ~SACK;
  }

  /** Something arrived twice and was not reported yet (RFC 2883; sack-blocks.ts). */
  get dsackOwed(): boolean {
    return (this.bits & DSACK_OWED) !== 0;
  }

  set dsackOwed(on: boolean) {
    this.bits = on ? this.bits | DSACK_OWED : this.bits & ~DSACK_OWED;
  }

  /** An acknowledgment is to be sent in this turn. */
  get ackNow(): boolean {
    return (this.bits & ACK_NOW) !== 0;
  }

  set ackNow(on: boolean) {
    this.bits = on ? this.bits | ACK_NOW : this.bits & ~ACK_NOW;
  }

  /** An acknowledgment is owed, and may wait for data to ride on. */
  get ackDelayed(): boolean {
    return (this.bits & ACK_DELAYED) !== 0;
  }

  set ackDelayed(on: boolean) {
    this.bits = on ? this.bits | ACK_DELAYED : this.bits & ~ACK_DELAYED;
  }

  /** A FIN follows what is queued. */
  get finQueued(): boolean {
    return (this.bits & FIN_QUEUED) !== 0;
  }

  set finQueued(on: boolean) {
    this.bits = on ? this.bits | FIN_QUEUED : this.bits & ~FIN_QUEUED;
  }

  /** Set by the application's `close`: it will read no more. */
  get readClosed(): boolean {
    return (this.bits & READ_CLOSED) !== 0;
  }

  set readClosed(on: boolean) {
    this.bits = on ? this.bits | READ_CLOSED : this.bits & ~READ_CLOSED;
  }

  /** `EVENT_WRITABLE` is to be raised when the queue is short. */
  get writableWanted(): boolean {
    return (this.bits & WRITABLE_WANTED) !== 0;
  }

  set writableWanted(on: boolean) {
    this.bits = on ? this.bits | WRITABLE_WANTED : this.bits & ~WRITABLE_WANTED;
  }

  /** It is to be raised even before that, when the queue is no longer than the congestion window asks for (send-tuning.ts). */
  get earlyWritableWanted(): boolean {
    return (this.bits & EARLY_WRITABLE_WANTED) !== 0;
  }

  set earlyWritableWanted(on: boolean) {
    this.bits = on ? this.bits | EARLY_WRITABLE_WANTED : this.bits & ~EARLY_WRITABLE_WANTED;
  }

  /** The peer's FIN was reached and counted in rcvNxt. */
  get finReceived(): boolean {
    return (this.bits & FIN_RECEIVED) !== 0;
  }

  set finReceived(on: boolean) {
    this.bits = on ? this.bits | FIN_RECEIVED : this.bits & ~FIN_RECEIVED;
  }

  /** A FIN of the peer's was seen beyond a gap, at `peerFin`. */
  get peerFinSeen(): boolean {
    return (this.bits & PEER_FIN_SEEN) !== 0;
  }

  set peerFinSeen(on: boolean) {
    this.bits = on ? this.bits | PEER_FIN_SEEN : this.bits & ~PEER_FIN_SEEN;
  }

  /** The connection has ended in order, and only waits for the application to read what is left. */
  get lingering(): boolean {
    return (this.bits & LINGERING) !== 0;
  }

  set lingering(on: boolean) {
    this.bits = on ? this.bits | LINGERING : this.bits & ~LINGERING;
  }

  /** The SYN was sent once, so that its acknowledgment measures a round trip. */
  get synTimed(): boolean {
    return (this.bits & SYN_TIMED) !== 0;
  }

  set synTimed(on: boolean) {
    this.bits = on ? this.bits | SYN_TIMED : this.bits & ~SYN_TIMED;
  }

  /** The network was seen to reorder (RACK.reordering_seen). */
  get reordered(): boolean {
    return (this.bits & REORDERED) !== 0;
  }

  set reordered(on: boolean) {
    this.bits = on ? this.bits | REORDERED : this.bits & ~REORDERED;
  }

  /** A D-SACK has widened the reordering window in this round trip. */
  get dsackSeen(): boolean {
    return (this.bits & DSACK_SEEN) !== 0;
  }

  set dsackSeen(on: boolean) {
    this.bits = on ? this.bits | DSACK_SEEN : this.bits & ~DSACK_SEEN;
  }

  /** A tail loss probe is due (tail-loss-probe.ts). */
  get tlpNow(): boolean {
    return (this.bits & TLP_NOW) !== 0;
  }

  set tlpNow(on: boolean) {
    this.bits = on ? this.bits | TLP_NOW : this.bits & ~TLP_NOW;
  }

  /** One is out, up to `tlpEnd` (TLP.end_seq). */
  get tlpOut(): boolean {
    return (this.bits & TLP_OUT) !== 0;
  }

  set tlpOut(on: boolean) {
    this.bits = on ? this.bits | TLP_OUT : this.bits & ~TLP_OUT;
  }

  /** It was a retransmission (TLP.is_retrans). */
  get tlpRetransmitted(): boolean {
    return (this.bits & TLP_RETRANSMITTED) !== 0;
  }

  set tlpRetransmitted(on: boolean) {
    this.bits = on ? this.bits | TLP_RETRANSMITTED : this.bits & ~TLP_RETRANSMITTED;
  }

  /** A recovery that was for nothing can be undone. */
  get undoPossible(): boolean {
    return (this.bits & UNDO_POSSIBLE) !== 0;
  }

  set undoPossible(on: boolean) {
    this.bits = on ? this.bits | UNDO_POSSIBLE : this.bits & ~UNDO_POSSIBLE;
  }

  /** F-RTO (RFC 5682) is finding out whether the time-out was spurious. */
  get frto(): boolean {
    return (this.bits & FRTO) !== 0;
  }

  set frto(on: boolean) {
    this.bits = on ? this.bits | FRTO : this.bits & ~FRTO;
  }

  /** Meanwhile new data leaves, and nothing is sent again. */
  get frtoHolds(): boolean {
    return (this.bits & FRTO_HOLDS) !== 0;
  }

  set frtoHolds(on: boolean) {
    this.bits = on ? this.bits | FRTO_HOLDS : this.bits & ~FRTO_HOLDS;
  }

  /** The congestion window was the limit in this window of data (RFC 7661). */
  get cwndLimited(): boolean {
    return (this.bits & CWND_LIMITED) !== 0;
  }

  set cwndLimited(on: boolean) {
    this.bits = on ? this.bits | CWND_LIMITED : this.bits & ~CWND_LIMITED;
  }

  /** A zero-window probe is due. */
  get probeNow(): boolean {
    return (this.bits & PROBE_NOW) !== 0;
  }

  set probeNow(on: boolean) {
    this.bits = on ? this.bits | PROBE_NOW : this.bits & ~PROBE_NOW;
  }

  /** A SYN, or SYN-ACK, is due. */
  get synNow(): boolean {
    return (this.bits & SYN_NOW) !== 0;
  }

  set synNow(on: boolean) {
    this.bits = on ? this.bits | SYN_NOW : this.bits & ~SYN_NOW;
  }

  /** A keep-alive probe is due. */
  get keepAliveNow(): boolean {
    return (this.bits & KEEP_ALIVE_NOW) !== 0;
  }

  set keepAliveNow(on: boolean) {
    this.bits = on ? this.bits | KEEP_ALIVE_NOW : this.bits & ~KEEP_ALIVE_NOW;
  }

  /** Explicit congestion notification (RFC 3168): in SYN-SENT it was offered, then both ends have agreed on it. */
  get ecn(): boolean {
    return (this.bits & ECN) !== 0;
  }

  set ecn(on: boolean) {
    this.bits = on ? this.bits | ECN : this.bits & ~ECN;
  }

  /** The peer is told of a mark with every acknowledgment, until it has reacted. */
  get ecnEchoOwed(): boolean {
    return (this.bits & ECN_ECHO_OWED) !== 0;
  }

  set ecnEchoOwed(on: boolean) {
    this.bits = on ? this.bits | ECN_ECHO_OWED : this.bits & ~ECN_ECHO_OWED;
  }

  /** Our window has come down: the next new segment says so. */
  get cwrOwed(): boolean {
    return (this.bits & CWR_OWED) !== 0;
  }

  set cwrOwed(on: boolean) {
    this.bits = on ? this.bits | CWR_OWED : this.bits & ~CWR_OWED;
  }

  /** The connection is on the list of the turn's application phase. */
  get inReady(): boolean {
    return (this.bits & IN_READY) !== 0;
  }

  set inReady(on: boolean) {
    this.bits = on ? this.bits | IN_READY : this.bits & ~IN_READY;
  }

  /** It is on the list of the next output phase. */
  get inOutput(): boolean {
    return (this.bits & IN_OUTPUT) !== 0;
  }

  set inOutput(on: boolean) {
    this.bits = on ? this.bits | IN_OUTPUT : this.bits & ~IN_OUTPUT;
  }
}
