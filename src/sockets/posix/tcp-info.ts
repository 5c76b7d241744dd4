/**
 * TCP_INFO: Linux's `struct tcp_info` (linux/tcp.h) from what a connection knows. What the stack does not keep is 0.
 * The only place that reads a connection's recovery variables for an application.
 */
import { announcedMss } from '../../tcp/mss.ts';
import { flightBytes } from '../../tcp/recovery.ts';
import { seqDistance } from '../../tcp/sequence.ts';
import { ESTABLISHED } from '../../tcp/state.ts';
import type { Tcb } from '../../tcp/tcb.ts';
import type { Tcp } from '../../tcp/tcp.ts';
import type { PosixSocket } from './socket.ts';

/** Up to and with tcpi_total_rto_time. */
export const TCP_INFO_BYTES = 248;
/** What TCP_CONGESTION calls the congestion control that the stack has. */
export const CONGESTION_NAME = 'reno';

// Where the fields lie.
const STATE = 0;
const CA_STATE = 1;
const RETRANSMITS = 2;
const PROBES = 3;
const BACKOFF = 4;
const OPTIONS = 5;
const WINDOW_SCALES = 6;
const RTO = 8;
const ATO = 12;
const SND_MSS = 16;
const RCV_MSS = 20;
const UNACKED = 24;
const LAST_DATA_SENT = 44;
const LAST_DATA_RECV = 52;
const LAST_ACK_RECV = 56;
const PMTU = 60;
const RCV_SSTHRESH = 64;
const RTT = 68;
const RTTVAR = 72;
const SND_SSTHRESH = 76;
const SND_CWND = 80;
const ADVMSS = 84;
const REORDERING = 88;
const RCV_SPACE = 96;
const BYTES_ACKED = 120;
const BYTES_RECEIVED = 128;
const NOTSENT_BYTES = 144;
const SND_WND = 228;

const TCPI_OPT_TIMESTAMPS = 1;
const TCPI_OPT_WSCALE = 4;
const TCP_CA_RECOVERY = 3;
const TCP_CA_LOSS = 4;
/** TCP_INFINITE_SSTHRESH. */
const INFINITE_SSTHRESH = 0x7fffffff;
/** net.ipv4.tcp_reordering. */
const FIRST_REORDERING = 3;

export function writeTcpInfo(info: Buffer, tcp: Tcp, socket: PosixSocket): Buffer {
  const { tcb } = socket;
  info[STATE] = socket.state;
  if (tcb === null || tcb.mssBytes === 0) return info;
  info[CA_STATE] = tcb.inRecovery ? TCP_CA_RECOVERY : tcb.retries > 0 && !tcb.persisting ? TCP_CA_LOSS : 0;
  info[RETRANSMITS] = Math.min(255, tcb.persisting ? 0 : tcb.retries);
  info[PROBES] = Math.min(255, tcb.persisting ? tcb.persistShift : tcb.keepAliveProbesSent);
  info[BACKOFF] = Math.min(255, tcb.persisting ? tcb.persistShift : tcb.retries);
  info[OPTIONS] = (tcb.timestamps ? TCPI_OPT_TIMESTAMPS : 0) | (tcb.windowScaling ? TCPI_OPT_WSCALE : 0);
  info[WINDOW_SCALES] = (tcb.sndScale & 15) | ((tcb.rcvScale & 15) << 4);
  writeTimes(info, tcp, tcb);
  writeSending(info, tcb);
  info.writeUInt32LE(tcb.peerSegmentBytes, RCV_MSS);
  info.writeUInt32LE(announcedMss(tcp), ADVMSS);
  info.writeUInt32LE(tcb.path === null ? tcp.mtuBytes : tcb.path.mtuBytes, PMTU);
  const window = Math.max(0, seqDistance(tcb.rcvAdv, tcb.rcvNxt));
  info.writeUInt32LE(window, RCV_SSTHRESH);
  info.writeUInt32LE(window, RCV_SPACE);
  if (tcb.state < ESTABLISHED) return info;
  // Counted from the first byte on, modulo 2^32.
  const acked = seqDistance(tcb.sndUna, tcb.iss) - 1;
  const received = seqDistance(tcb.rcvNxt, tcb.irs) - 1 - Number(tcb.finReceived);
  info.writeUInt32LE(acked >>> 0, BYTES_ACKED);
  info.writeUInt32LE(received >>> 0, BYTES_RECEIVED);
  return info;
}

function writeTimes(info: Buffer, tcp: Tcp, tcb: Tcb): void {
  info.writeUInt32LE(tcb.rtoUs, RTO);
  info.writeUInt32LE(tcp.settings.delayedAckUs, ATO);
  info.writeUInt32LE(tcb.srttUs, RTT);
  info.writeUInt32LE(tcb.rttvarUs, RTTVAR);
  info.writeUInt32LE(millisecondsSince(tcp, tcb.lastSentUs), LAST_DATA_SENT);
  info.writeUInt32LE(millisecondsSince(tcp, tcb.lastReceivedUs), LAST_DATA_RECV);
  info.writeUInt32LE(millisecondsSince(tcp, tcb.lastReceivedUs), LAST_ACK_RECV);
}

/** Linux counts segments where the stack counts bytes. */
function writeSending(info: Buffer, tcb: Tcb): void {
  const mss = tcb.mssBytes;
  info.writeUInt32LE(mss, SND_MSS);
  info.writeUInt32LE(Math.ceil(flightBytes(tcb) / mss), UNACKED);
  info.writeUInt32LE(Math.max(1, Math.floor(tcb.cwndBytes / mss)), SND_CWND);
  const ssthresh = Math.floor(tcb.ssthreshBytes / mss);
  info.writeUInt32LE(ssthresh > 0 && ssthresh < 0xffffff ? ssthresh : INFINITE_SSTHRESH, SND_SSTHRESH);
  info.writeUInt32LE(FIRST_REORDERING, REORDERING);
  info.writeUInt32LE(Math.max(0, seqDistance(tcb.sndEnd, tcb.sndMax)), NOTSENT_BYTES);
  info.writeUInt32LE(tcb.sndWnd >>> 0, SND_WND);
}

function millisecondsSince(tcp: Tcp, us: number): number {
  return Math.max(0, Math.min(0xffffffff, Math.floor((tcp.nowUs - us) / 1000)));
}

/** SIOCOUTQ: what the peer has not acknowledged, our FIN included. */
export function unacknowledged({ tcb }: PosixSocket): number {
  if (tcb === null || tcb.state < ESTABLISHED) return 0;
  return Math.max(0, seqDistance(tcb.sndEnd, tcb.sndUna) + Number(tcb.finQueued));
}

/** SIOCOUTQNSD: what was never sent. */
export function unsent({ tcb }: PosixSocket): number {
  if (tcb === null || tcb.state < ESTABLISHED) return 0;
  return Math.max(0, seqDistance(tcb.sndEnd, tcb.sndMax) + Number(tcb.finQueued));
}
