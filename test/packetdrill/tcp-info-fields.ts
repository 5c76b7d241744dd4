/** `tcpi_...` of scripts: Linux's struct tcp_info (linux/tcp.h), field by field, and the constants that it is compared with. */

type Field = readonly [name: string, at: number, bytes: 1 | 4 | 8];

const FIELDS: readonly Field[] = [
  ['state', 0, 1],
  ['ca_state', 1, 1],
  ['retransmits', 2, 1],
  ['probes', 3, 1],
  ['backoff', 4, 1],
  ['options', 5, 1],
  ['rto', 8, 4],
  ['ato', 12, 4],
  ['snd_mss', 16, 4],
  ['rcv_mss', 20, 4],
  ['unacked', 24, 4],
  ['sacked', 28, 4],
  ['lost', 32, 4],
  ['retrans', 36, 4],
  ['fackets', 40, 4],
  ['last_data_sent', 44, 4],
  ['last_ack_sent', 48, 4],
  ['last_data_recv', 52, 4],
  ['last_ack_recv', 56, 4],
  ['pmtu', 60, 4],
  ['rcv_ssthresh', 64, 4],
  ['rtt', 68, 4],
  ['rttvar', 72, 4],
  ['snd_ssthresh', 76, 4],
  ['snd_cwnd', 80, 4],
  ['advmss', 84, 4],
  ['reordering', 88, 4],
  ['rcv_rtt', 92, 4],
  ['rcv_space', 96, 4],
  ['total_retrans', 100, 4],
  ['pacing_rate', 104, 8],
  ['max_pacing_rate', 112, 8],
  ['bytes_acked', 120, 8],
  ['bytes_received', 128, 8],
  ['segs_out', 136, 4],
  ['segs_in', 140, 4],
  ['notsent_bytes', 144, 4],
  ['min_rtt', 148, 4],
  ['data_segs_in', 152, 4],
  ['data_segs_out', 156, 4],
  ['delivery_rate', 160, 8],
  ['busy_time', 168, 8],
  ['rwnd_limited', 176, 8],
  ['sndbuf_limited', 184, 8],
  ['delivered', 192, 4],
  ['delivered_ce', 196, 4],
  ['bytes_sent', 200, 8],
  ['bytes_retrans', 208, 8],
  ['dsack_dups', 216, 4],
  ['reord_seen', 220, 4],
  ['rcv_ooopack', 224, 4],
  ['snd_wnd', 228, 4],
];

const CONSTANTS: Readonly<Record<string, number>> = {
  TCP_CA_Open: 0,
  TCP_CA_Disorder: 1,
  TCP_CA_CWR: 2,
  TCP_CA_Recovery: 3,
  TCP_CA_Loss: 4,
  TCP_ESTABLISHED: 1,
  TCP_SYN_SENT: 2,
  TCP_SYN_RECV: 3,
  TCP_FIN_WAIT1: 4,
  TCP_FIN_WAIT2: 5,
  TCP_TIME_WAIT: 6,
  TCP_CLOSE: 7,
  TCP_CLOSE_WAIT: 8,
  TCP_LAST_ACK: 9,
  TCP_LISTEN: 10,
  TCP_CLOSING: 11,
  TCPI_OPT_TIMESTAMPS: 1,
  TCPI_OPT_SACK: 2,
  TCPI_OPT_WSCALE: 4,
  TCPI_OPT_ECN: 8,
  TCPI_OPT_ECN_SEEN: 16,
  TCPI_OPT_SYN_DATA: 32,
  TCP_INFINITE_SSTHRESH: 0x7fffffff,
};

export function tcpInfoFields(info: Buffer): Map<string, number> {
  const fields = new Map(Object.entries(CONSTANTS));
  for (const [name, at, bytes] of FIELDS) {
    if (at + bytes > info.length) break;
    const value =
      bytes === 1 ? info.readUInt8(at) : bytes === 4 ? info.readUInt32LE(at) : Number(info.readBigUInt64LE(at));
    fields.set(`tcpi_${name}`, value);
  }
  const scales = info[6] ?? 0;
  return fields.set('tcpi_snd_wscale', scales & 15).set('tcpi_rcv_wscale', scales >> 4);
}
