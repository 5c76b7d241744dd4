/**
 * Named sets of settings. `linuxLike` states every habit of Linux (net.ipv4.tcp_* as a kernel starts with) that a tester who knows
 * that kernel expects, also where it is our default: defaults may change, a profile says what it means.
 */
import type { TcpSettings } from './settings.ts';

export const TCP_PROFILES = {
  linuxLike: {
    // tcp_rmem as it begins, tcp_window_scaling for as far as it may grow; tcp_select_initial_window.
    receiveBufferBytes: 65_536,
    windowScale: 7,
    windowInSegments: true,
    // tcp_congestion_control, tcp_sack, tcp_early_retrans, tcp_frto, tcp_syncookies.
    congestion: 'cubic',
    sack: true,
    // tcp_timestamps, tcp_window_scaling, tcp_slow_start_after_idle, tcp_ecn, tcp_mtu_probing.
    timestamps: true,
    windowScaling: true,
    slowStartAfterIdle: true,
    cubicRenoCatchesUp: false,
    // tcp_min_tso_segs.
    leastSuperFrameSegments: 2,
    ecn: 'accept',
    alternativeBackoff: false,
    mtuProbing: 0,
    // tcp_fastopen: for those that connect.
    fastOpen: 1,
    tailLossProbe: true,
    frto: true,
    synCookies: true,
    // RFC 6928, TCP_TIMEOUT_INIT, TCP_RTO_MIN, TCP_RTO_MAX, TCP_DELACK_MIN, TCP_MAX_QUICKACKS.
    initialWindowSegments: 10,
    initialRtoUs: 1_000_000,
    sampleEveryAck: true,
    minRtoUs: 200_000,
    maxRtoUs: 120_000_000,
    delayedAckUs: 40_000,
    quickAcks: 16,
    // tcp_syn_retries (tcp_synack_retries is 5), tcp_retries2.
    synRetries: 6,
    dataRetries: 15,
    // TCP_TIMEWAIT_LEN, tcp_fin_timeout.
    timeWaitUs: 60_000_000,
    finWait2Us: 60_000_000,
    // SO_KEEPALIVE is off; tcp_keepalive_intvl, tcp_keepalive_probes.
    keepAliveIdleUs: 0,
    keepAliveIntervalUs: 75_000_000,
    keepAliveProbes: 9,
    // tcp_challenge_ack_limit is as good as none.
    challengeAcksPerSecond: 1_000_000,
    // tcp_invalid_ratelimit, tcp_rfc1337; tcp_check_req, tcp_reset_check, tcp_paws_check.
    checks: 'linux',
    invalidRateLimitUs: 500_000,
    timeWaitIgnoresResets: false,
    lenientResets: true,
    timestampsRequired: false,
    timestampTolerance: 1,
    packetMerging: true,
    superFrames: true,
  },
} as const satisfies Record<string, Partial<TcpSettings>>;

export type TcpProfileName = keyof typeof TCP_PROFILES;

export function isTcpProfile(name: string): name is TcpProfileName {
  return Object.hasOwn(TCP_PROFILES, name);
}
