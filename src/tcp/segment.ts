/**
 * The segment that has just arrived, in the variables of RFC 9293 section 3.3.1 (SEG.SEQ, SEG.ACK, ...).
 * One object serves a whole stack: a segment is processed to its end before the next one is read. The payload stays where
 * the device put it; `payloadAt` is valid until the frame's slot is returned at the end of the turn.
 */
import type { Bytes } from '../wire/bytes.ts';
import { ECN_MASK, ipv4Source, ipv4Target, ipv4Tos } from '../wire/ipv4.ts';
import {
  TCP_FIN,
  TCP_SYN,
  tcpAck,
  tcpFlags,
  tcpHeaderBytes,
  tcpSeq,
  tcpSourcePort,
  tcpTargetPort,
  tcpWindow,
} from '../wire/tcp.ts';
import { parseTcpOptions, TcpOptions } from '../wire/tcp-options.ts';
import { type Seq, seqAdd, toSeq } from './sequence.ts';

export class Segment {
  remoteAddress = 0;
  remotePort = 0;
  localAddress = 0;
  localPort = 0;
  /** SEG.SEQ: the first sequence number of the segment, the SYN's own if there is one. */
  seq: Seq = toSeq(0);
  /** SEG.ACK; meaningful when the ACK flag is set. */
  ack: Seq = toSeq(0);
  /** SEG.WND as on the wire, not yet scaled. */
  window = 0;
  flags = 0;
  /** The ECN bits of its packet (RFC 3168 section 5). */
  ecn = 0;
  payloadAt = 0;
  payloadBytes = 0;
  /** SEG.LEN: payload and one each for SYN and FIN. */
  length = 0;
  readonly options = new TcpOptions();
}

/** Reads a segment that `tcpCheck` accepted; `at` is its TCP header, `bytesInSegment` header and payload. */
export function readSegment(bytes: Bytes, ipAt: number, at: number, bytesInSegment: number, into: Segment): void {
  const headerBytes = tcpHeaderBytes(bytes, at);
  const flags = tcpFlags(bytes, at);
  into.remoteAddress = ipv4Source(bytes, ipAt);
  into.remotePort = tcpSourcePort(bytes, at);
  into.localAddress = ipv4Target(bytes, ipAt);
  into.localPort = tcpTargetPort(bytes, at);
  into.seq = toSeq(tcpSeq(bytes, at));
  into.ack = toSeq(tcpAck(bytes, at));
  into.window = tcpWindow(bytes, at);
  into.flags = flags;
  into.ecn = ipv4Tos(bytes, ipAt) & ECN_MASK;
  into.payloadAt = at + headerBytes;
  into.payloadBytes = bytesInSegment - headerBytes;
  into.length = into.payloadBytes + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
  parseTcpOptions(bytes, at, headerBytes, into.options);
}

/** The sequence number after the segment's last. */
export function segmentEnd(segment: Segment): Seq {
  return seqAdd(segment.seq, segment.length);
}
