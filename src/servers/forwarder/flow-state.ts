/**
 * What a segment that passes means for its flow. The forwarder keeps no connection's state but only follows it, to know when
 * both sides have come to an end: segments pass whatever it thinks of them.
 *
 * A reset counts when the side that is to believe it would: its sequence number lies between what that side has acknowledged
 * and what this one has sent (RFC 9293 3.10.7.4, RFC 5961 section 3). Thus nobody who does not see the connection can make
 * the forwarder forget it.
 */
import { int32At, uint8At, uint16At } from '../../runtime/words.ts';
import { type Seq, seqAdd, seqAfter, seqBefore, seqBits, toSeq } from '../../tcp/sequence.ts';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../../wire/tcp.ts';
import {
  FLOW_CLOSED,
  FLOW_ESTABLISHED,
  FLOW_HALF_CLOSED,
  FLOW_RESET,
  FLOW_SYN,
  FLOW_SYN_ACK,
  type FlowTable,
  FROM_BACKEND,
  hasEnded,
} from './flow-table.ts';
import { PORT_FORGOTTEN, PORT_OPEN, PORT_SEQUENCE, PORT_TIMESTAMP } from './leased-ports.ts';

/** A FIN of the client's half has been seen, and acknowledged; the backend's bits are one to the left. */
const MARK_FIN = 1;
const MARK_FIN_ACKNOWLEDGED = 4;
const MARKS_BOTH_ACKNOWLEDGED = MARK_FIN_ACKNOWLEDGED | (MARK_FIN_ACKNOWLEDGED << 1);
/** The side that has reset the flow. */
const MARK_RESET = 16;
/** There was an ICMP error about it. */
export const MARK_UNREACHABLE = 64;
/** The backend's FIN acknowledged the client's: the backend keeps nothing (RFC 9293 figure 12). */
const MARK_CLIENT_CLOSED_FIRST = 128;
/** `clientTimestamp` is there. */
export const MARK_TIMESTAMP = 256;
/** The backend has been held to account for not letting it be opened. */
export const MARK_OPEN_FAILED = 512;

/** One past the last sequence number that a segment takes. */
function endOf(flags: number, seq: number, textBytes: number): Seq {
  return seqAdd(toSeq(seq), textBytes + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0));
}

/** A client's SYN that opens a flow. */
export function openFlow(flows: FlowTable, flow: number, seq: number, flags: number, textBytes: number): void {
  flows.state[flow] = FLOW_SYN;
  flows.sentEnd[2 * flow] = seqBits(endOf(flags, seq, textBytes));
}

/** Follows a segment of a half; the flow's state is then what it is. */
export function followSegment(
  flows: FlowTable,
  half: number,
  flags: number,
  seq: number,
  ack: number,
  textBytes: number,
): void {
  const flow = half >>> 1;
  const state = uint8At(flows.state, flow);
  if (hasEnded(state)) return;
  if ((flags & TCP_RST) !== 0) {
    if (isBelievable(flows, half, state, flags, seq, ack)) {
      flows.state[flow] = FLOW_RESET;
      flows.marks[flow] = uint16At(flows.marks, flow) | (MARK_RESET << (half & 1));
    }
  } else if ((flags & TCP_SYN) !== 0) {
    followSyn(flows, half, state, flags, seq, ack, textBytes);
  } else if (state >= FLOW_SYN_ACK && (flags & TCP_ACK) !== 0) {
    followEstablished(flows, half, state, flags, seq, ack, textBytes);
  }
}

function followSyn(
  flows: FlowTable,
  half: number,
  state: number,
  flags: number,
  seq: number,
  ack: number,
  textBytes: number,
): void {
  if (state > FLOW_SYN_ACK) return;
  const end = seqBits(endOf(flags, seq, textBytes));
  if ((half & 1) === FROM_BACKEND) {
    // With TCP Fast Open the answer may acknowledge less than the SYN carried, never more.
    if ((flags & TCP_ACK) === 0 || seqAfter(toSeq(ack), toSeq(int32At(flows.sentEnd, half ^ 1)))) return;
    flows.sentEnd[half] = end;
    flows.acknowledged[half] = ack;
    // Less than this the client will not acknowledge.
    flows.acknowledged[half ^ 1] = seq;
    flows.state[half >>> 1] = FLOW_SYN_ACK;
  } else if (state === FLOW_SYN && (flags & TCP_ACK) === 0) {
    flows.sentEnd[half] = end;
  }
}

function followEstablished(
  flows: FlowTable,
  half: number,
  state: number,
  flags: number,
  seq: number,
  ack: number,
  textBytes: number,
): void {
  const flow = half >>> 1;
  const other = half ^ 1;
  const end = endOf(flags, seq, textBytes);
  if (seqAfter(end, toSeq(int32At(flows.sentEnd, half)))) flows.sentEnd[half] = seqBits(end);
  if (state === FLOW_SYN_ACK && (half & 1) === FROM_BACKEND) return;
  if (seqAfter(toSeq(ack), toSeq(int32At(flows.sentEnd, other)))) return;
  if (state === FLOW_SYN_ACK) {
    flows.state[flow] = FLOW_ESTABLISHED;
    flows.acknowledged[half] = ack;
  } else if (seqAfter(toSeq(ack), toSeq(int32At(flows.acknowledged, half)))) {
    flows.acknowledged[half] = ack;
  }
  if ((flags & TCP_FIN) === 0 && uint16At(flows.marks, flow) === 0) return;
  followClose(flows, half, flags, seqBits(end), ack);
}

function followClose(flows: FlowTable, half: number, flags: number, end: number, ack: number): void {
  const flow = half >>> 1;
  const direction = half & 1;
  let marks = uint16At(flows.marks, flow);
  if ((flags & TCP_FIN) !== 0) {
    marks |= MARK_FIN << direction;
    if (direction === FROM_BACKEND && (marks & MARK_FIN) !== 0 && ack === int32At(flows.finEnd, half ^ 1)) {
      marks |= MARK_CLIENT_CLOSED_FIRST;
    }
    flows.finEnd[half] = end;
    flows.state[flow] = FLOW_HALF_CLOSED;
  }
  const others = direction ^ 1;
  // Nothing lies beyond a FIN, so that its acknowledgment is exactly this.
  if ((marks & (MARK_FIN << others)) !== 0 && ack === int32At(flows.finEnd, half ^ 1)) {
    marks |= MARK_FIN_ACKNOWLEDGED << others;
    if ((marks & MARKS_BOTH_ACKNOWLEDGED) === MARKS_BOTH_ACKNOWLEDGED) flows.state[flow] = FLOW_CLOSED;
  }
  flows.marks[flow] = marks;
}

function isBelievable(flows: FlowTable, half: number, state: number, flags: number, seq: number, ack: number): boolean {
  const sentEnd = toSeq(int32At(flows.sentEnd, half));
  if ((half & 1) === FROM_BACKEND && state === FLOW_SYN) {
    // RFC 9293 3.10.7.3: in answer to a SYN a reset acknowledges it.
    return (flags & TCP_ACK) !== 0 && ack === int32At(flows.sentEnd, half ^ 1);
  }
  if (seqAfter(toSeq(seq), sentEnd)) return false;
  if (state === FLOW_SYN) return toSeq(seq) === sentEnd;
  return !seqBefore(toSeq(seq), toSeq(int32At(flows.acknowledged, half ^ 1)));
}

/** What the backend may know of a flow that is over, or is about to be forgotten, when it is asked for another from its port. */
export function rememberedOf(flows: FlowTable, flow: number): number {
  const state = uint8At(flows.state, flow);
  const marks = uint16At(flows.marks, flow);
  if (state === FLOW_SYN || state === FLOW_RESET) return PORT_FORGOTTEN;
  if (state !== FLOW_CLOSED) return PORT_OPEN;
  if ((marks & MARK_CLIENT_CLOSED_FIRST) !== 0) return PORT_FORGOTTEN;
  return (marks & MARK_TIMESTAMP) !== 0 ? PORT_TIMESTAMP : PORT_SEQUENCE;
}

/** How a flow has ended, for the log; '' while it lives. */
export function nameEnd(flows: FlowTable, flow: number): string {
  const state = uint8At(flows.state, flow);
  const marks = uint16At(flows.marks, flow);
  if (state === FLOW_CLOSED) return 'closed';
  if (state !== FLOW_RESET) return '';
  if ((marks & MARK_RESET) !== 0) return 'reset by client';
  return isRefused(flows, flow) ? 'refused by backend' : 'reset by backend';
}

/** Whether a flow that was reset was so by the backend, and at once. */
export function isRefused(flows: FlowTable, flow: number): boolean {
  return (uint16At(flows.marks, flow) & MARK_RESET) === 0 && int32At(flows.sentEnd, 2 * flow + FROM_BACKEND) === 0;
}
