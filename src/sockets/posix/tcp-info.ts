/**
 * TCP_INFO: Linux's `struct tcp_info` (linux/tcp.h), written from `tcpInfo`. Linux counts segments where the stack counts bytes:
 * what is in flight is counted record by record, the rest is divided by the MSS. Not kept, and 0: times of data and ACK received
 * apart from one another (both are those of the last segment), rates, segments counted one by one, busy times, `rcv_rtt`, `rcv_space`.
 */
import { INITIAL_SSTHRESH_BYTES } from '../../tcp/congestion/congestion.ts';
import { RECOVERY_NAMES, type TcpInfo, tcpInfo } from '../../tcp/info.ts';
import { seqDistance } from '../../tcp/sequence.ts';
import { ESTABLISHED } from '../../tcp/state.ts';
import type { Tcp } from '../../tcp/tcp.ts';
import type { PosixSocket } from './socket.ts';

/** Up to and with tcpi_total_rto_time. */
export const TCP_INFO_BYTES = 248;

// Where the fields lie, by their names without `tcpi_`.
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
const SACKED = 28;
const LOST = 32;
const RETRANS = 36;
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
const TOTAL_RETRANS = 100;
const BYTES_ACKED = 120;
const BYTES_RECEIVED = 128;
const NOTSENT_BYTES = 144;
const MIN_RTT = 148;
const DELIVERED = 192;
const REORD_SEEN = 220;
const SND_WND = 228;
const RCV_WND = 232;

const TCPI_OPT_TIMESTAMPS = 1;
const TCPI_OPT_SACK = 2;
const TCPI_OPT_WSCALE = 4;
const TCPI_OPT_ECN = 8;
const TCPI_OPT_SYN_DATA = 32;
/** TCP_INFINITE_SSTHRESH. */
const INFINITE_SSTHRESH = 0x7fffffff;
/** net.ipv4.tcp_reordering: what is told at least. */
const REORDERING_SEGMENTS = 3;

export function writeTcpInfo(info: Buffer, tcp: Tcp, socket: PosixSocket): Buffer {
  const { tcb } = socket;
  info[STATE] = socket.state;
  if (socket.listener !== null) {
    // inet_csk: how many wait to be accepted, and how many may.
    info.writeUInt32LE(socket.acceptQueue.length, UNACKED);
    info.writeUInt32LE(socket.backlog, SACKED);
  }
  if (tcb === null || tcb.mssBytes === 0) return info;
  const told = tcpInfo(tcb);
  const isProbing = told.windowProbes > 0;
  info[CA_STATE] = Math.max(0, RECOVERY_NAMES.indexOf(told.recovery));
  info[RETRANSMITS] = isProbing ? 0 : Math.min(255, told.retries);
  info[PROBES] = Math.min(255, isProbing ? told.windowProbes : told.keepAliveProbes);
  info[BACKOFF] = Math.min(255, isProbing ? told.windowProbes : told.retries);
  info[OPTIONS] =
    (told.timestamps ? TCPI_OPT_TIMESTAMPS : 0) |
    (told.sack ? TCPI_OPT_SACK : 0) |
    (told.windowScaling ? TCPI_OPT_WSCALE : 0) |
    (told.ecn ? TCPI_OPT_ECN : 0) |
    (told.synTextTaken ? TCPI_OPT_SYN_DATA : 0);
  info[WINDOW_SCALES] = (told.sendScale & 15) | ((told.receiveScale & 15) << 4);
  writeTimes(info, told, told.receivedBytes > 0 ? tcp.settings.delayedAckUs : 0);
  writeSending(info, told);
  writeReceiving(info, told);
  info.writeUInt32LE(told.pathMtuBytes, PMTU);
  // The SYN counts (tcpi_delivered).
  const delivered = tcb.state < ESTABLISHED ? 0 : 1 + Math.ceil(told.deliveredBytes / told.mssBytes);
  info.writeUInt32LE(delivered, DELIVERED);
  return info;
}

function writeTimes(info: Buffer, told: TcpInfo, atoUs: number): void {
  info.writeUInt32LE(told.rtoUs, RTO);
  info.writeUInt32LE(atoUs, ATO);
  info.writeUInt32LE(told.srttUs, RTT);
  info.writeUInt32LE(told.rttvarUs, RTTVAR);
  info.writeUInt32LE(told.minRttUs, MIN_RTT);
  info.writeUInt32LE(toMilliseconds(told.sinceSentUs), LAST_DATA_SENT);
  info.writeUInt32LE(toMilliseconds(told.sinceReceivedUs), LAST_DATA_RECV);
  info.writeUInt32LE(toMilliseconds(told.sinceReceivedUs), LAST_ACK_RECV);
}

function writeSending(info: Buffer, told: TcpInfo): void {
  const { mssBytes } = told;
  info.writeUInt32LE(mssBytes, SND_MSS);
  info.writeUInt32LE(told.flightSegments, UNACKED);
  info.writeUInt32LE(told.sackedSegments, SACKED);
  info.writeUInt32LE(told.lostSegments, LOST);
  info.writeUInt32LE(told.retransmittedSegments, RETRANS);
  info.writeUInt32LE(told.retransmissions, TOTAL_RETRANS);
  info.writeUInt32LE(Math.max(1, Math.floor(told.cwndBytes / mssBytes)), SND_CWND);
  const isOpenEnded = told.ssthreshBytes === 0 || told.ssthreshBytes >= INITIAL_SSTHRESH_BYTES;
  info.writeUInt32LE(isOpenEnded ? INFINITE_SSTHRESH : Math.floor(told.ssthreshBytes / mssBytes), SND_SSTHRESH);
  info.writeUInt32LE(Math.max(REORDERING_SEGMENTS, told.reorderingSegments), REORDERING);
  info.writeUInt32LE(Number(told.reordered), REORD_SEEN);
  info.writeUInt32LE(told.unsentBytes, NOTSENT_BYTES);
  info.writeUInt32LE(told.sendWindowBytes >>> 0, SND_WND);
  info.writeBigUInt64LE(BigInt(told.ackedBytes), BYTES_ACKED);
}

function writeReceiving(info: Buffer, told: TcpInfo): void {
  info.writeUInt32LE(told.peerSegmentBytes, RCV_MSS);
  info.writeUInt32LE(told.announcedMssBytes, ADVMSS);
  info.writeUInt32LE(told.receiveWindowBytes, RCV_SSTHRESH);
  info.writeUInt32LE(told.receiveWindowBytes, RCV_WND);
  info.writeBigUInt64LE(BigInt(told.receivedBytes), BYTES_RECEIVED);
}

function toMilliseconds(us: number): number {
  return Math.min(0xffffffff, Math.floor(us / 1000));
}

/** SIOCOUTQ: what the peer has not acknowledged, our FIN included. */
export function unacknowledged({ tcb }: PosixSocket): number {
  if (tcb === null || tcb.state < ESTABLISHED) return 0;
  return Math.max(0, seqDistance(tcb.sndEnd, tcb.sndUna) + Number(tcb.finQueued));
}

/** SIOCOUTQNSD: what was never sent. */
export function unsent({ tcb }: PosixSocket): number {
  if (tcb === null || tcb.state < ESTABLISHED) return 0;
  return Math.max(0, seqDistance(tcb.sndEnd, tcb.sndNxt) + Number(tcb.finQueued));
}
