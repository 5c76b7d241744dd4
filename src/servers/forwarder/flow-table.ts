/**
 * The flow table: what the forwarder knows of every connection that goes through it, in typed arrays that are made once.
 *
 * A flow is a number; its two directions are its *halves*, `2 * flow` for what the client sends and `2 * flow + 1` for what
 * the backend sends, so that `half ^ 1` is the other one. What is in an array by half belongs to the frames that arrive in
 * that direction: what they become, and what has been seen of them.
 *
 * A flow that has ended lingers, so that the last segments' retransmissions pass; lingering flows stand in a list, the one
 * that ended first at its head, and may be taken when there is no other room. So do flows that are not established yet, of
 * which there are so many at most. Established ones are never taken.
 *
 * Memory: everything is allocated by the constructor; paths are references, given back by whoever frees the flow.
 */
import type { Path } from '../../libos/path.ts';
import { int32At, uint8At } from '../../runtime/words.ts';
import { FlowList } from './flow-list.ts';

export const FLOW_FREE = 0;
/** The client's SYN has been seen. */
export const FLOW_SYN = 1;
/** The backend's answer has. */
export const FLOW_SYN_ACK = 2;
export const FLOW_ESTABLISHED = 3;
/** A FIN has been seen, from one side or from both. */
export const FLOW_HALF_CLOSED = 4;
/** Both sides' FINs have been acknowledged. */
export const FLOW_CLOSED = 5;
export const FLOW_RESET = 6;
export const FLOW_STATES = 7;

/** The half of what the client sends, and of what the backend sends. */
export const FROM_CLIENT = 0;
export const FROM_BACKEND = 1;

const NONE = -1;

export class FlowTable {
  readonly capacity: number;
  /** Flows in the table. */
  live = 0;
  /** Those of them that have ended, and those that are not established yet. */
  readonly lingering: FlowList;
  readonly halfOpen: FlowList;

  // By flow.
  readonly state: Uint8Array;
  /** `MARK_...` of flow-state.ts. */
  readonly marks: Uint16Array;
  readonly service: Int32Array;
  readonly backend: Int32Array;
  /** The last timestamp of the client's closing segments (RFC 7323), if a mark says that there was one. */
  readonly clientTimestamp: Int32Array;
  /** Timers of the wheel, made with the flow's first use; 0 before. */
  readonly timer: Int32Array;
  /** When the flow opened, and when something last moved in it. */
  readonly openedUs: Float64Array;
  readonly usedUs: Float64Array;

  // By half: what its frames have when they arrive (the index's key), and what they are given.
  readonly keySource: Int32Array;
  readonly keyPorts: Int32Array;
  readonly keyTarget: Int32Array;
  readonly source: Int32Array;
  readonly ports: Int32Array;
  readonly target: Int32Array;
  /** What checksums over addresses and over ports change by. */
  readonly addressDifference: Int32Array;
  readonly portDifference: Int32Array;
  /** The device that they leave by, and the way from there. */
  readonly side: Uint8Array;
  readonly paths: (Path | null)[];
  readonly packets: Float64Array;
  readonly textBytes: Float64Array;
  /** One past the highest sequence number sent, the highest acknowledgment sent, one past the FIN (flow-state.ts). */
  readonly sentEnd: Int32Array;
  readonly acknowledged: Int32Array;
  readonly finEnd: Int32Array;

  private readonly next: Int32Array;
  private firstFree = NONE;
  private unused = 0;

  constructor(capacity: number) {
    const halves = capacity * 2;
    this.capacity = capacity;
    this.state = new Uint8Array(capacity);
    this.marks = new Uint16Array(capacity);
    this.service = new Int32Array(capacity);
    this.backend = new Int32Array(capacity);
    this.clientTimestamp = new Int32Array(capacity);
    this.timer = new Int32Array(capacity);
    this.openedUs = new Float64Array(capacity);
    this.usedUs = new Float64Array(capacity);
    this.keySource = new Int32Array(halves);
    this.keyPorts = new Int32Array(halves);
    this.keyTarget = new Int32Array(halves);
    this.source = new Int32Array(halves);
    this.ports = new Int32Array(halves);
    this.target = new Int32Array(halves);
    this.addressDifference = new Int32Array(halves);
    this.portDifference = new Int32Array(halves);
    this.side = new Uint8Array(halves);
    this.paths = new Array<Path | null>(halves).fill(null);
    this.packets = new Float64Array(halves);
    this.textBytes = new Float64Array(halves);
    this.sentEnd = new Int32Array(halves);
    this.acknowledged = new Int32Array(halves);
    this.finEnd = new Int32Array(halves);
    this.next = new Int32Array(capacity);
    const previous = new Int32Array(capacity);
    this.lingering = new FlowList(this.next, previous);
    this.halfOpen = new FlowList(this.next, previous);
  }

  /** Flows that have not ended. */
  get living(): number {
    return this.live - this.lingering.count;
  }

  /** A flow to fill in, or -1 when all are in use. */
  allocate(): number {
    let flow = this.firstFree;
    if (flow !== NONE) this.firstFree = int32At(this.next, flow);
    else if (this.unused < this.capacity) flow = this.unused++;
    else return -1;
    this.live++;
    this.marks[flow] = 0;
    for (let half = 2 * flow; half < 2 * flow + 2; half++) {
      this.packets[half] = 0;
      this.textBytes[half] = 0;
      this.sentEnd[half] = 0;
      this.acknowledged[half] = 0;
      this.finEnd[half] = 0;
    }
    return flow;
  }

  /** Gives a flow back; its keys and paths are given back before. */
  free(flow: number): void {
    const state = uint8At(this.state, flow);
    if (hasEnded(state)) this.lingering.remove(flow);
    else if (isHalfOpen(state)) this.halfOpen.remove(flow);
    this.state[flow] = FLOW_FREE;
    this.next[flow] = this.firstFree;
    this.firstFree = flow;
    this.live--;
  }
}

/** Nothing more is to come of a flow in this state. */
export function hasEnded(state: number): boolean {
  return state >= FLOW_CLOSED;
}

/** A flow in this state is not established yet. */
export function isHalfOpen(state: number): boolean {
  return state === FLOW_SYN || state === FLOW_SYN_ACK;
}
