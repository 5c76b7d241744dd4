/** Segment sizes (RFC 9293 section 3.7.1, RFC 6691): what we announce, and what we may send. */
import { IPV4_BYTES } from '../wire/ipv4.ts';
import { TCP_BYTES } from '../wire/tcp.ts';
import { TIMESTAMPS_BYTES } from '../wire/tcp-options.ts';
import { sackOptionBytes } from './sack-blocks.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** RFC 9293 3.7.1: assumed when the peer announces none. */
export const DEFAULT_MSS_BYTES = 536;

/** An announced MSS below this is taken as this: a peer must not make us send a packet for every few bytes. */
export const MIN_MSS_BYTES = 88;

const FIXED_HEADERS_BYTES = IPV4_BYTES + TCP_BYTES;

/** The MSS we announce: the link's MTU less fixed headers (RFC 6691 section 2). */
export function announcedMss(tcp: Tcp): number {
  return tcp.mtuBytes - FIXED_HEADERS_BYTES;
}

/** The MSS that one connection announces: the application may have clamped it. */
export function connectionMss(tcp: Tcp, tcb: Tcb): number {
  const { maxSegmentBytes } = tcb.options;
  return maxSegmentBytes === 0 ? announcedMss(tcp) : Math.min(announcedMss(tcp), maxSegmentBytes);
}

/** Payload bytes of a full segment now: what is reported by SACK takes its room from the text. */
export function segmentBytes(tcb: Tcb): number {
  return tcb.mssBytes - sackOptionBytes(tcb);
}

/** RFC 9293 3.7.1: Eff.snd.MSS, from the peer's announcement, the path's MTU and the options every segment carries. */
export function limitToPath(tcb: Tcb): void {
  const { path, pathSearch } = tcb;
  let pathMtu = path === null ? 0 : path.mtuBytes;
  if (pathSearch !== null) pathMtu = Math.min(pathMtu, pathSearch.lowMtu);
  const { maxSegmentBytes } = tcb.options;
  const peerMss = maxSegmentBytes === 0 ? tcb.peerMssBytes : Math.min(tcb.peerMssBytes, maxSegmentBytes);
  const optionBytes = tcb.timestamps ? TIMESTAMPS_BYTES : 0;
  tcb.mssBytes = Math.max(MIN_MSS_BYTES, Math.min(peerMss, pathMtu - FIXED_HEADERS_BYTES)) - optionBytes;
}
