/**
 * One line about a frame, in tcpdump's manner (as `tcpdump -n`), for logs and for tests that compare traces. What a check
 * refuses is shown as the drop reason in brackets; checksums of TCP and UDP are not looked at, because a device may have
 * left them open. Sequence numbers are absolute and unsigned. Makes strings, hence never on the hot path.
 */
import { formatIpv4, formatMac } from './address.ts';
import {
  ARP_REQUEST,
  arpCheck,
  arpOperation,
  arpSenderAddress,
  arpSenderHi,
  arpSenderLo,
  arpTargetAddress,
} from './arp.ts';
import type { Bytes } from './bytes.ts';
import { u8 } from './bytes.ts';
import type { DropReason } from './drop-reasons.ts';
import { nameDrop } from './drop-reasons.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ethernetCheck,
  ethernetSourceHi,
  ethernetSourceLo,
  ethernetTargetHi,
  ethernetTargetLo,
  ethernetType,
} from './ethernet.ts';
import {
  ICMP_BYTES,
  ICMP_CODE_FRAG_NEEDED,
  ICMP_CODE_HOST,
  ICMP_CODE_NET,
  ICMP_CODE_PORT,
  ICMP_CODE_PROTOCOL,
  ICMP_CODE_TTL,
  ICMP_ECHO,
  ICMP_ECHO_REPLY,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  icmpCheck,
  icmpCode,
  icmpEchoId,
  icmpEchoSequence,
  icmpNextMtu,
  icmpType,
} from './icmp.ts';
import {
  ipv4Check,
  ipv4CheckQuoted,
  ipv4FragmentOffset,
  ipv4HeaderBytes,
  ipv4Id,
  ipv4IsFragment,
  ipv4MoreFragments,
  ipv4Protocol,
  ipv4Source,
  ipv4Target,
  ipv4TotalBytes,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from './ipv4.ts';
import {
  TCP_ACK,
  TCP_BYTES,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  TCP_URG,
  tcpAck,
  tcpCheck,
  tcpFlags,
  tcpHeaderBytes,
  tcpSeq,
  tcpSourcePort,
  tcpTargetPort,
  tcpUrgent,
  tcpWindow,
} from './tcp.ts';
import {
  OPTION_END,
  OPTION_MSS,
  OPTION_NOP,
  OPTION_SACK,
  OPTION_SACK_PERMITTED,
  OPTION_TIMESTAMPS,
  OPTION_WINDOW_SCALE,
  parseTcpOptions,
  TcpOptions,
} from './tcp-options.ts';
import { UDP_BYTES, udpCheck, udpLength, udpSourcePort, udpTargetPort } from './udp.ts';

/** tcpdump's letters for the flag bits, lowest bit first. */
const FLAG_LETTERS = 'FSRP.UEW';

/** The frame at `at`, `length` bytes from the Ethernet header on. Any bytes will do: it never throws. */
export function describeFrame(bytes: Bytes, at: number, length: number): string {
  const bad = ethernetCheck(bytes, at, length);
  if (bad !== 0) return refuse('ethernet', bad, length);
  const payload = length - ETHERNET_BYTES;
  switch (ethernetType(bytes, at)) {
    case ETHERTYPE_ARP:
      return describeArp(bytes, at + ETHERNET_BYTES, payload);
    case ETHERTYPE_IPV4:
      return describeIpv4(bytes, at + ETHERNET_BYTES, payload);
    default:
      return describeEthernet(bytes, at, length);
  }
}

function refuse(what: string, reason: DropReason, length: number): string {
  return `${what} [${nameDrop(reason)}], length ${length}`;
}

function describeEthernet(bytes: Bytes, at: number, length: number): string {
  const source = formatMac(ethernetSourceHi(bytes, at), ethernetSourceLo(bytes, at));
  const target = formatMac(ethernetTargetHi(bytes, at), ethernetTargetLo(bytes, at));
  const type = ethernetType(bytes, at).toString(16).padStart(4, '0');
  return `${source} > ${target}, ethertype 0x${type}, length ${length}`;
}

function describeArp(bytes: Bytes, at: number, length: number): string {
  const bad = arpCheck(bytes, at, length);
  if (bad !== 0) return refuse('ARP', bad, length);
  const sender = formatIpv4(arpSenderAddress(bytes, at));
  if (arpOperation(bytes, at) === ARP_REQUEST) {
    return `ARP, Request who-has ${formatIpv4(arpTargetAddress(bytes, at))} tell ${sender}, length ${length}`;
  }
  return `ARP, Reply ${sender} is-at ${formatMac(arpSenderHi(bytes, at), arpSenderLo(bytes, at))}, length ${length}`;
}

function describeIpv4(bytes: Bytes, at: number, length: number): string {
  const bad = ipv4Check(bytes, at, length);
  if (bad !== 0) return refuse('IP', bad, length);
  const headerBytes = ipv4HeaderBytes(bytes, at);
  const payloadAt = at + headerBytes;
  const payloadBytes = ipv4TotalBytes(bytes, at) - headerBytes;
  const source = formatIpv4(ipv4Source(bytes, at));
  const target = formatIpv4(ipv4Target(bytes, at));
  const protocol = ipv4Protocol(bytes, at);
  if (ipv4IsFragment(bytes, at)) {
    const range = `${payloadBytes}@${ipv4FragmentOffset(bytes, at)}${ipv4MoreFragments(bytes, at) ? '+' : ''}`;
    return `IP ${source} > ${target}: ${nameProtocol(protocol)} (frag ${ipv4Id(bytes, at)}:${range})`;
  }
  switch (protocol) {
    case PROTOCOL_ICMP:
      return `IP ${source} > ${target}: ${describeIcmp(bytes, payloadAt, payloadBytes)}`;
    case PROTOCOL_UDP:
      return describeUdp(bytes, payloadAt, payloadBytes, source, target);
    case PROTOCOL_TCP:
      return describeTcp(bytes, payloadAt, payloadBytes, source, target);
    default:
      return `IP ${source} > ${target}: ${nameProtocol(protocol)} ${payloadBytes}`;
  }
}

function nameProtocol(protocol: number): string {
  if (protocol === PROTOCOL_ICMP) return 'icmp';
  if (protocol === PROTOCOL_TCP) return 'tcp';
  if (protocol === PROTOCOL_UDP) return 'udp';
  return `ip-proto-${protocol}`;
}

function describeIcmp(bytes: Bytes, at: number, length: number): string {
  const bad = icmpCheck(bytes, at, length);
  if (bad !== 0) return refuse('ICMP', bad, length);
  const type = icmpType(bytes, at);
  const code = icmpCode(bytes, at);
  let what = `type ${type} code ${code}`;
  if (type === ICMP_ECHO || type === ICMP_ECHO_REPLY) {
    const name = type === ICMP_ECHO ? 'request' : 'reply';
    what = `echo ${name}, id ${icmpEchoId(bytes, at)}, seq ${icmpEchoSequence(bytes, at)}`;
  } else if (type === ICMP_UNREACHABLE) {
    what = describeUnreachable(bytes, at, length, code);
  } else if (type === ICMP_TIME_EXCEEDED) {
    what = code === ICMP_CODE_TTL ? 'time exceeded in-transit' : 'ip reassembly time exceeded';
  }
  return `ICMP ${what}, length ${length}`;
}

function describeUnreachable(bytes: Bytes, at: number, length: number, code: number): string {
  const quote = at + ICMP_BYTES;
  if (ipv4CheckQuoted(bytes, quote, length - ICMP_BYTES) !== 0) return `unreachable code ${code}`;
  const target = formatIpv4(ipv4Target(bytes, quote));
  const protocol = ipv4Protocol(bytes, quote);
  switch (code) {
    case ICMP_CODE_NET:
      return `net ${target} unreachable`;
    case ICMP_CODE_HOST:
      return `host ${target} unreachable`;
    case ICMP_CODE_PROTOCOL:
      return `${target} protocol ${protocol} unreachable`;
    case ICMP_CODE_PORT: {
      // TCP's and UDP's ports are at the same place.
      const port = udpTargetPort(bytes, quote + ipv4HeaderBytes(bytes, quote));
      return `${target} ${nameProtocol(protocol)} port ${port} unreachable`;
    }
    case ICMP_CODE_FRAG_NEEDED:
      return `${target} unreachable - need to frag (mtu ${icmpNextMtu(bytes, at)})`;
    default:
      return `${target} unreachable code ${code}`;
  }
}

function describeUdp(bytes: Bytes, at: number, length: number, source: string, target: string): string {
  const bad = udpCheck(bytes, at, length);
  if (bad !== 0) return `IP ${source} > ${target}: ${refuse('UDP', bad, length)}`;
  const ends = `${source}.${udpSourcePort(bytes, at)} > ${target}.${udpTargetPort(bytes, at)}`;
  return `IP ${ends}: UDP, length ${udpLength(bytes, at) - UDP_BYTES}`;
}

function describeTcp(bytes: Bytes, at: number, length: number, source: string, target: string): string {
  const bad = tcpCheck(bytes, at, length);
  if (bad !== 0) return `IP ${source} > ${target}: ${refuse('TCP', bad, length)}`;
  const flags = tcpFlags(bytes, at);
  const headerBytes = tcpHeaderBytes(bytes, at);
  const payloadBytes = length - headerBytes;
  const seq = tcpSeq(bytes, at) >>> 0;
  let line = `IP ${source}.${tcpSourcePort(bytes, at)} > ${target}.${tcpTargetPort(bytes, at)}: `;
  line += `Flags [${describeFlags(flags)}]`;
  if (payloadBytes > 0) line += `, seq ${seq}:${(seq + payloadBytes) >>> 0}`;
  else if ((flags & (TCP_SYN | TCP_FIN | TCP_RST)) !== 0) line += `, seq ${seq}`;
  if ((flags & TCP_ACK) !== 0) line += `, ack ${tcpAck(bytes, at) >>> 0}`;
  line += `, win ${tcpWindow(bytes, at)}`;
  if ((flags & TCP_URG) !== 0) line += `, urg ${tcpUrgent(bytes, at)}`;
  if (headerBytes > TCP_BYTES) line += `, options [${describeOptions(bytes, at, headerBytes)}]`;
  return `${line}, length ${payloadBytes}`;
}

function describeFlags(flags: number): string {
  if (flags === 0) return 'none';
  let letters = '';
  for (let bit = 0; bit < FLAG_LETTERS.length; bit++) if ((flags & (1 << bit)) !== 0) letters += FLAG_LETTERS[bit];
  return letters;
}

/** The options in their order; the values come from the parser, so a log shows what TCP was told. */
function describeOptions(bytes: Bytes, at: number, headerBytes: number): string {
  const options = new TcpOptions();
  const sound = parseTcpOptions(bytes, at, headerBytes, options);
  const names: string[] = [];
  const end = at + headerBytes;
  let p = at + TCP_BYTES;
  while (p < end) {
    const kind = u8(bytes, p);
    if (kind === OPTION_NOP || kind === OPTION_END) {
      names.push(kind === OPTION_NOP ? 'nop' : 'eol');
      if (kind === OPTION_END) break;
      p++;
      continue;
    }
    const length = p + 1 < end ? u8(bytes, p + 1) : 0;
    if (length < 2 || p + length > end) break;
    names.push(nameOption(kind, length, options));
    p += length;
  }
  if (!sound) names.push('[bad opt]');
  return names.join(',');
}

function nameOption(kind: number, length: number, options: TcpOptions): string {
  switch (kind) {
    case OPTION_MSS:
      return `mss ${options.mss}`;
    case OPTION_WINDOW_SCALE:
      return `wscale ${options.windowScale}`;
    case OPTION_SACK_PERMITTED:
      return 'sackOK';
    case OPTION_TIMESTAMPS:
      return `TS val ${options.tsValue >>> 0} ecr ${options.tsEcho >>> 0}`;
    case OPTION_SACK: {
      let blocks = '';
      for (let i = 0; i < options.sackCount; i++) {
        blocks += `{${(options.sackLeft[i] ?? 0) >>> 0}:${(options.sackRight[i] ?? 0) >>> 0}}`;
      }
      return `sack ${options.sackCount} ${blocks}`;
    }
    default:
      return `unknown-${kind} ${length}`;
  }
}
