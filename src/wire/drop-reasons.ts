/**
 * Why a packet was dropped: small non-zero integers shared by every layer, so that a check returns a number and the
 * counting of drops is one typed-array increment. 0 means "not dropped".
 *
 * A new reason goes at the end: a constant with the next number, and its name at the same place in `DROP_NAMES`
 * (the unit test compares the two). `DROP_NAMES[reason]` is the name counters and logs show.
 */

/** A drop reason, or 0 for a packet that passes. */
export type DropReason = number;

// Ethernet and ARP.
export const DROP_ETHERNET_SHORT = 1;
export const DROP_ETHERNET_SOURCE = 2;
export const DROP_ETHERNET_TYPE = 3;
export const DROP_ARP_SHORT = 4;
export const DROP_ARP_FORMAT = 5;
export const DROP_ARP_OPERATION = 6;
export const DROP_ARP_SENDER = 7;
export const DROP_ARP_TARGET = 8;
export const DROP_ARP_PENDING = 9;
export const DROP_ARP_UNRESOLVED = 10;

// IPv4 and fragments.
export const DROP_IPV4_SHORT = 11;
export const DROP_IPV4_VERSION = 12;
export const DROP_IPV4_HEADER_LENGTH = 13;
export const DROP_IPV4_TOTAL_LENGTH = 14;
export const DROP_IPV4_CHECKSUM = 15;
export const DROP_IPV4_SOURCE = 16;
export const DROP_IPV4_TARGET = 17;
export const DROP_IPV4_PROTOCOL = 18;
export const DROP_NO_ROUTE = 19;
export const DROP_FRAGMENT_FORMAT = 20;
export const DROP_FRAGMENT_OVERLAP = 21;
export const DROP_FRAGMENT_LIMIT = 22;
export const DROP_FRAGMENT_TIMEOUT = 23;

// ICMP and UDP.
export const DROP_ICMP_SHORT = 24;
export const DROP_ICMP_CHECKSUM = 25;
export const DROP_ICMP_TYPE = 26;
export const DROP_ICMP_QUOTE = 27;
export const DROP_ICMP_RATE = 28;
export const DROP_UDP_SHORT = 29;
export const DROP_UDP_LENGTH = 30;
export const DROP_UDP_CHECKSUM = 31;
export const DROP_UDP_PORT = 32;

// TCP.
export const DROP_TCP_SHORT = 33;
export const DROP_TCP_HEADER_LENGTH = 34;
export const DROP_TCP_CHECKSUM = 35;
export const DROP_TCP_OPTIONS = 36;
export const DROP_TCP_FLAGS = 37;
export const DROP_TCP_NO_CONNECTION = 38;
export const DROP_TCP_SEQUENCE = 39;
export const DROP_TCP_ACK = 40;
export const DROP_TCP_PAWS = 41;
export const DROP_TCP_RST = 42;
export const DROP_TCP_BACKLOG = 43;
export const DROP_TCP_CONNECTIONS = 44;
export const DROP_TCP_MEMORY = 45;
export const DROP_TCP_CLOSED = 46;

// Exokernel: demultiplexing, rings, transmit guard.
export const DROP_NO_OWNER = 47;
export const DROP_RING_FULL = 48;
export const DROP_NO_SLOT = 49;
export const DROP_QUEUE_FULL = 50;
export const DROP_FRAME_LONG = 51;
export const DROP_GUARD_SHORT = 52;
export const DROP_GUARD_MAC = 53;
export const DROP_GUARD_ARP = 54;
export const DROP_GUARD_ADDRESS = 55;
export const DROP_GUARD_TYPE = 56;
export const DROP_OFFLOAD = 57;

// Library OS: further reasons of ARP, IPv4 and reassembly.
export const DROP_ETHERNET_TARGET = 58;
export const DROP_IPV4_OPTIONS = 59;
export const DROP_ARP_UNSOLICITED = 60;
export const DROP_ARP_CONFLICT = 61;
export const DROP_FRAGMENT_DUPLICATE = 62;
export const DROP_ARP_TABLE = 63;

/** The name of each reason, at its number: the constant's name without `DROP_`, in lower case with hyphens. */
export const DROP_NAMES: readonly string[] = [
  'none',
  'ethernet-short',
  'ethernet-source',
  'ethernet-type',
  'arp-short',
  'arp-format',
  'arp-operation',
  'arp-sender',
  'arp-target',
  'arp-pending',
  'arp-unresolved',
  'ipv4-short',
  'ipv4-version',
  'ipv4-header-length',
  'ipv4-total-length',
  'ipv4-checksum',
  'ipv4-source',
  'ipv4-target',
  'ipv4-protocol',
  'no-route',
  'fragment-format',
  'fragment-overlap',
  'fragment-limit',
  'fragment-timeout',
  'icmp-short',
  'icmp-checksum',
  'icmp-type',
  'icmp-quote',
  'icmp-rate',
  'udp-short',
  'udp-length',
  'udp-checksum',
  'udp-port',
  'tcp-short',
  'tcp-header-length',
  'tcp-checksum',
  'tcp-options',
  'tcp-flags',
  'tcp-no-connection',
  'tcp-sequence',
  'tcp-ack',
  'tcp-paws',
  'tcp-rst',
  'tcp-backlog',
  'tcp-connections',
  'tcp-memory',
  'tcp-closed',
  'no-owner',
  'ring-full',
  'no-slot',
  'queue-full',
  'frame-long',
  'guard-short',
  'guard-mac',
  'guard-arp',
  'guard-address',
  'guard-type',
  'offload',
  'ethernet-target',
  'ipv4-options',
  'arp-unsolicited',
  'arp-conflict',
  'fragment-duplicate',
  'arp-table',
];

/** The name of a reason for a log line; a number without a name is shown as such. */
export function nameDrop(reason: DropReason): string {
  return DROP_NAMES[reason] ?? `drop ${reason}`;
}
