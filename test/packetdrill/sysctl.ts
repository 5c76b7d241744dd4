/**
 * The shell lines of scripts: what they set of net.ipv4.tcp_* becomes settings of the stack. Whatever would make a difference and
 * is not known here is refused.
 */
import { CONGESTION_CONTROLS } from '../../src/tcp/congestion/controls.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';

type Settings = { -readonly [Name in keyof TcpSettings]?: TcpSettings[Name] };

/** A shell line, or a value, that the runner cannot do anything about. */
export class UnsupportedCommand extends Error {}

/** What the `defaults.sh` of the public collections sets, as far as it matters here. */
const DEFAULTS = [
  'tcp_rmem=4096 540000 15728640',
  'tcp_timestamps=1',
  'tcp_syn_retries=5',
  'tcp_synack_retries=5',
  'tcp_frto=2',
  'tcp_sack=1',
  'tcp_congestion_control=cubic',
  'tcp_slow_start_after_idle=0',
  'tcp_early_retrans=4',
  'tcp_recovery=1',
  'tcp_ecn=0',
  'tcp_syncookies=1',
  'tcp_fastopen=0x3',
];

/** What it sets beyond that in packetdrill's own collection. */
const COMMON_DEFAULTS = ['tcp_fastopen=0x70403'];

const SECOND_US = 1_000_000;
const RENO = 'reno';
/** Of tcp_fastopen; the public collections set others that a kernel does not have. */
const FAST_OPEN_BITS = 0x607;

/** Each gives the settings that a value stands for. */
const SYSCTLS: Readonly<Record<string, (value: string) => Settings>> = {
  tcp_rmem: (value) => rmem(value),
  tcp_timestamps: (value) => ({ timestamps: value !== '0' }),
  tcp_window_scaling: (value) => ({ windowScaling: value !== '0' }),
  tcp_syn_retries: (value) => ({ synRetries: Number(value) }),
  tcp_synack_retries: (value) => ({ synAckRetries: Number(value) }),
  tcp_orphan_retries: (value) => ({ orphanRetries: Number(value) || 8 }),
  tcp_mtu_probing: (value) => ({ mtuProbing: Number(only(value, ['0', '1', '2'])) as 0 | 1 | 2 }),
  tcp_base_mss: (value) => ({ mtuBaseMssBytes: Number(value) }),
  tcp_retries2: (value) => ({ dataRetries: Number(value) }),
  tcp_frto: (value) => ({ frto: value !== '0' }),
  tcp_sack: (value) => ({ sack: value !== '0' }),
  tcp_congestion_control: (value) => congestion(value),
  tcp_slow_start_after_idle: (value) => ({ slowStartAfterIdle: value !== '0' }),
  tcp_early_retrans: (value) => ({ tailLossProbe: value !== '0' }),
  tcp_ecn: (value) => ecn(value),
  tcp_syncookies: (value) => ({ synCookies: only(value, ['0', '1']) === '1' }),
  tcp_keepalive_time: () => ({}),
  tcp_keepalive_intvl: (value) => ({ keepAliveIntervalUs: Number(value) * SECOND_US }),
  tcp_keepalive_probes: (value) => ({ keepAliveProbes: Number(value) }),
  tcp_fin_timeout: (value) => ({ finWait2Us: Number(value) * SECOND_US }),
  tcp_invalid_ratelimit: (value) => ({ invalidRateLimitUs: Number(value) * 1000 }),
  tcp_challenge_ack_limit: (value) => ({ challengeAcksPerSecond: Number(value) }),
  tcp_fastopen: (value) => ({ fastOpen: Number(value) & FAST_OPEN_BITS }),
  tcp_fastopen_blackhole_timeout_sec: (value) => ({ fastOpenBlackHoleUs: Number(value) * SECOND_US }),
  tcp_min_tso_segs: (value) => ({ leastSuperFrameSegments: Number(value) }),
  tcp_rto_max_ms: (value) => ({ maxRtoUs: Number(value) * 1000 }),
  tcp_rfc1337: (value) => ({ timeWaitIgnoresResets: value !== '0' }),
};

/** In force as they stand, or about something that the stack does not do and a script cannot see. */
const WITHOUT_EFFECT: Readonly<Record<string, readonly string[] | null>> = {
  tcp_dsack: ['1'],
  tcp_fack: null,
  tcp_recovery: ['1', '0x1'],
  tcp_reordering: ['3'],
  tcp_tso_win_divisor: null,
  tcp_tso_rtt_log: null,
  tcp_pacing_ss_ratio: null,
  tcp_pacing_ca_ratio: null,
  tcp_notsent_lowat: null,
  tcp_wmem: null,
  tcp_moderate_rcvbuf: null,
  tcp_limit_output_bytes: null,
  tcp_autocorking: null,
  tcp_no_metrics_save: null,
  tcp_max_syn_backlog: null,
  tcp_abort_on_overflow: ['0'],
  tcp_fastopen_key: null,
  tcp_thin_linear_timeouts: ['0'],
  tcp_comp_sack_nr: null,
  tcp_comp_sack_delay_ns: null,
  tcp_backlog_ack_defer: null,
  tcp_retries1: null,
  tcp_shrink_window: ['0'],
  tcp_ecn_fallback: ['1'],
  tcp_tw_reuse: null,
  tcp_ecn_option: null,
  tcp_ecn_option_beacon: null,
};

/** Words after which a line is about the kernel's network, of which there is none. */
const COMMANDS_WITHOUT_EFFECT = /^(tc qdisc|ip tcp_metrics|sync\b|true\b|:$|cat |echo [^>]*$|nstat\b|dmesg\b)/;

/** The settings that a shell text makes. Throws `UnsupportedCommand`. */
export function settingsOf(text: string): Settings {
  const settings: Settings = {};
  const lines = text
    .replace(/\\\n/g, ' ')
    .split(/[\n;]|&&/)
    .map((line) => line.replace(/#.*$/, '').trim())
    .filter((line) => line !== '');
  for (const line of lines) Object.assign(settings, settingsOfLine(line));
  return settings;
}

function settingsOfLine(line: string): Settings {
  if (/(^|\/)defaults\.sh$/.test(line)) {
    const more = line.includes('common/') ? COMMON_DEFAULTS : [];
    return Object.assign({}, ...[...DEFAULTS, ...more].map(settingOf)) as Settings;
  }
  const written = /^echo\s+"?([^">]*)"?\s*>\s*\/proc\/sys\/(\S+)$/.exec(line);
  if (written !== null) return settingOf(`${nameOf(written[2] ?? '')}=${(written[1] ?? '').trim()}`);
  const isSysctl = /^(\S*\/)?sysctl\b/.test(line);
  if (isSysctl || /set_sysctls\.py\b/.test(line)) {
    const pairs = line.matchAll(/([\w./]+)=(?:"([^"]*)"|'([^']*)'|(\S*))/g);
    return Object.assign(
      {},
      ...[...pairs].map(([, name = '', a, b, c]) => settingOf(`${nameOf(name)}=${a ?? b ?? c ?? ''}`)),
    ) as Settings;
  }
  if (COMMANDS_WITHOUT_EFFECT.test(line)) return {};
  throw new UnsupportedCommand(`the command ${JSON.stringify(line)}`);
}

/** `net.ipv4.tcp_sack`, `/proc/sys/net/ipv4/tcp_sack`. */
function nameOf(path: string): string {
  return path
    .replace(/^\/?proc\/sys\//, '')
    .replace(/\//g, '.')
    .replace(/^net\.ipv4\./, '');
}

function settingOf(pair: string): Settings {
  const [name = '', value = ''] = pair.split('=');
  const make = SYSCTLS[name];
  if (make !== undefined) return make(value);
  if (/^net\.(core|mptcp|ipv6)\./.test(name)) return {};
  const allowed = WITHOUT_EFFECT[name];
  if (allowed === undefined) throw new UnsupportedCommand(`the sysctl ${name}`);
  if (allowed !== null && !allowed.includes(value)) throw new UnsupportedCommand(`the sysctl ${name} with ${value}`);
  return {};
}

function only(value: string, allowed: readonly string[]): string {
  if (!allowed.includes(value)) throw new UnsupportedCommand(`the value ${value} of a sysctl`);
  return value;
}

/** tcp_select_initial_window: the scale that lets the field tell the largest buffer. */
function rmem(value: string): Settings {
  const [, first = 131_072, most = 6_291_456] = value.trim().split(/\s+/).map(product);
  let windowScale = 0;
  while (windowScale < 14 && most >> windowScale > 0xffff) windowScale++;
  return { windowScale, receiveBufferBytes: first > 131_072 ? 262_144 : 65_536 };
}

/** A number, or a shell's `$((32*1024*1024))`. */
function product(text: string): number {
  return text
    .replace(/^\$\(\((.*)\)\)$/, '$1')
    .split('*')
    .reduce((left, right) => left * Number(right), 1);
}

function congestion(value: string): Settings {
  const name = value === RENO ? 'newreno' : value;
  if (!Object.hasOwn(CONGESTION_CONTROLS, name)) throw new UnsupportedCommand(`the congestion control ${value}`);
  return { congestion: name as keyof typeof CONGESTION_CONTROLS };
}

function ecn(value: string): Settings {
  return { ecn: ({ 0: 'off', 1: 'offer', 2: 'accept' } as const)[only(value, ['0', '1', '2']) as '0' | '1' | '2'] };
}
