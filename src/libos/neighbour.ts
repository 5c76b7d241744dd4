/**
 * One host on the link as the ARP cache knows it. States follow RFC 4861 section 7.3.2, which says for IPv6 what RFC 1122
 * section 2.3.2.1 leaves open for ARP. Everything from STALE upwards has a usable link-layer address.
 */

/** A request is out, nothing is known yet: frames wait. */
export const NEIGHBOUR_INCOMPLETE = 0;
/** Nobody answered. The next frame starts over. */
export const NEIGHBOUR_FAILED = 1;
/** Known, not confirmed of late: the next frame goes out and a unicast probe behind it. */
export const NEIGHBOUR_STALE = 2;
/** Used while stale: unicast probes are out, frames go on to the old address. */
export const NEIGHBOUR_PROBE = 3;
/** Answered a request of ours recently. */
export const NEIGHBOUR_REACHABLE = 4;

/** No frame waits. */
export const NO_FRAME = -1;

export class Neighbour {
  readonly address: number;
  macHi: number;
  macLo: number;
  /** `NEIGHBOUR_...`; written by the ARP cache alone. */
  state: number;
  /** Paths that send through this neighbour; an entry in use is never evicted. */
  references: number;
  /** Requests sent in this state. */
  attempts: number;
  /** Place in the cache's table, and the argument of the timer. */
  readonly index: number;
  readonly timer: number;
  /** Waiting frames: indices into `PendingFrames`, oldest first. */
  pendingHead: number;
  pendingTail: number;
  pendingCount: number;

  constructor(address: number, index: number, timer: number) {
    this.address = address;
    this.macHi = 0;
    this.macLo = 0;
    this.state = NEIGHBOUR_INCOMPLETE;
    this.references = 0;
    this.attempts = 0;
    this.index = index;
    this.timer = timer;
    this.pendingHead = NO_FRAME;
    this.pendingTail = NO_FRAME;
    this.pendingCount = 0;
  }
}
