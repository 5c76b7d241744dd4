/**
 * Filters for the protocols that a library OS claims, built from the header layouts of src/wire.
 *
 * Of one address, `tcp4Filter` implies `ipv4Filter` and one with more parameters implies one with fewer of them, so they can
 * belong to different owners. IPv4 fragments behind the first carry no ports: they satisfy no `tcp4Filter` and fall to
 * the owner of the address (`ipv4Filter`); it alone could put a fragmented datagram together, for which the owner of the
 * ports must pass its first fragment on or be the same.
 */
import { type MacAddress, maskOf } from '../wire/address.ts';
import {
  ARP_HARDWARE_BYTES_OFFSET,
  ARP_HARDWARE_OFFSET,
  ARP_PROTOCOL_BYTES_OFFSET,
  ARP_PROTOCOL_OFFSET,
  ARP_TARGET_ADDRESS_OFFSET,
} from '../wire/arp.ts';
import {
  ETHERNET_BYTES,
  ETHERNET_TARGET_HI_OFFSET,
  ETHERNET_TARGET_LO_OFFSET,
  ETHERNET_TYPE_OFFSET,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
} from '../wire/ethernet.ts';
import { ICMP_TYPE_OFFSET } from '../wire/icmp.ts';
import {
  IPV4_FRAGMENT_MASK,
  IPV4_FRAGMENT_OFFSET,
  IPV4_HEADER_MASK,
  IPV4_HEADER_SHIFT,
  IPV4_PROTOCOL_OFFSET,
  IPV4_SOURCE_OFFSET,
  IPV4_TARGET_OFFSET,
  IPV4_VERSION_OFFSET,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
} from '../wire/ipv4.ts';
import { TCP_SOURCE_PORT_OFFSET, TCP_TARGET_PORT_OFFSET } from '../wire/tcp.ts';
import { type Atom, type Filter, load8, load16, load32, shiftBase } from './language.ts';

const HARDWARE_ETHERNET = 1;
const MAC_BYTES = 6;
const ADDRESS_BYTES = 4;

/** ARP over Ethernet for IPv4 whose target protocol address is this one, or of its prefix: requests for it, replies to it, claims of it. */
export function arpFilter(targetAddress: number, targetMac?: MacAddress, prefixLength = 32): Filter {
  return [
    ...ethernetAtoms(ETHERTYPE_ARP, targetMac),
    load16(ETHERNET_BYTES + ARP_HARDWARE_OFFSET, HARDWARE_ETHERNET),
    load16(ETHERNET_BYTES + ARP_PROTOCOL_OFFSET, ETHERTYPE_IPV4),
    load8(ETHERNET_BYTES + ARP_HARDWARE_BYTES_OFFSET, MAC_BYTES),
    load8(ETHERNET_BYTES + ARP_PROTOCOL_BYTES_OFFSET, ADDRESS_BYTES),
    load32(ETHERNET_BYTES + ARP_TARGET_ADDRESS_OFFSET, targetAddress & maskOf(prefixLength), maskOf(prefixLength)),
  ];
}

/** All IPv4 to an address, or to all of its prefix. */
export function ipv4Filter(targetAddress: number, targetMac?: MacAddress, prefixLength = 32): Filter {
  const mask = maskOf(prefixLength);
  const target = load32(ETHERNET_BYTES + IPV4_TARGET_OFFSET, targetAddress & mask, mask);
  return [...ethernetAtoms(ETHERTYPE_IPV4, targetMac), target];
}

export interface Tcp4Parameters {
  readonly target: number;
  readonly source?: number;
  readonly targetPort?: number;
  /** Which bits of the target port are compared (all): a range of ports that begin with the same bits. */
  readonly targetPortMask?: number;
  readonly sourcePort?: number;
  readonly targetMac?: MacAddress;
}

/** TCP over IPv4 with any IP options, first fragments included. */
export function tcp4Filter(parameters: Tcp4Parameters): Filter {
  const { target, source, targetPort, targetPortMask, sourcePort, targetMac } = parameters;
  const atoms: Atom[] = [
    ...ethernetAtoms(ETHERTYPE_IPV4, targetMac),
    load16(ETHERNET_BYTES + IPV4_FRAGMENT_OFFSET, 0, IPV4_FRAGMENT_MASK),
    load8(ETHERNET_BYTES + IPV4_PROTOCOL_OFFSET, PROTOCOL_TCP),
    load32(ETHERNET_BYTES + IPV4_TARGET_OFFSET, target),
  ];
  if (source !== undefined) atoms.push(load32(ETHERNET_BYTES + IPV4_SOURCE_OFFSET, source));
  if (sourcePort === undefined && targetPort === undefined) return atoms;
  atoms.push(shiftBase(ETHERNET_BYTES + IPV4_VERSION_OFFSET, IPV4_HEADER_MASK, IPV4_HEADER_SHIFT));
  // The base has moved by the IP header's length, and still counts from the frame's first byte.
  if (sourcePort !== undefined) atoms.push(load16(ETHERNET_BYTES + TCP_SOURCE_PORT_OFFSET, sourcePort));
  if (targetPort !== undefined) atoms.push(load16(ETHERNET_BYTES + TCP_TARGET_PORT_OFFSET, targetPort, targetPortMask));
  return atoms;
}

/** ICMP messages of one type to an address, fragments but the first left out. */
export function icmp4Filter(target: number, type: number): Filter {
  return [
    ...ethernetAtoms(ETHERTYPE_IPV4, undefined),
    load16(ETHERNET_BYTES + IPV4_FRAGMENT_OFFSET, 0, IPV4_FRAGMENT_MASK),
    load8(ETHERNET_BYTES + IPV4_PROTOCOL_OFFSET, PROTOCOL_ICMP),
    load32(ETHERNET_BYTES + IPV4_TARGET_OFFSET, target),
    shiftBase(ETHERNET_BYTES + IPV4_VERSION_OFFSET, IPV4_HEADER_MASK, IPV4_HEADER_SHIFT),
    load8(ETHERNET_BYTES + ICMP_TYPE_OFFSET, type),
  ];
}

/** All IPv4 there is: what no more particular filter takes. */
export function anyIpv4Filter(): Filter {
  return ethernetAtoms(ETHERTYPE_IPV4, undefined);
}

function ethernetAtoms(type: number, targetMac: MacAddress | undefined): Atom[] {
  const atoms: Atom[] = [load16(ETHERNET_TYPE_OFFSET, type)];
  if (targetMac !== undefined) {
    atoms.push(load16(ETHERNET_TARGET_HI_OFFSET, targetMac.hi), load32(ETHERNET_TARGET_LO_OFFSET, targetMac.lo));
  }
  return atoms;
}
