/**
 * IPv4 and MAC addresses as numbers, and their text. Text comes from people and configuration, and is read strictly:
 * four decimal numbers without leading zeros (the octal reading of `010.0.0.1` has opened doors before, RFC 6943
 * section 3.1.1), six pairs of hexadecimal digits. What does not parse is `undefined`, never an exception.
 */

/** An IPv4 address as a signed 32-bit integer, first byte highest. `===` compares. */
export type Ipv4Address = number;

/** A MAC address: the first two bytes, and the last four as a signed 32-bit integer. */
export interface MacAddress {
  readonly hi: number;
  readonly lo: number;
}

/** An address within a network: `10.90.0.2/24` keeps its host bits. */
export interface Cidr {
  readonly address: Ipv4Address;
  readonly prefixLength: number;
}

/** 255.255.255.255, the limited broadcast. */
export const BROADCAST_ADDRESS: Ipv4Address = -1;
export const BROADCAST_MAC_HI = 0xffff;
export const BROADCAST_MAC_LO = -1;

const IPV4_BITS = 32;
const OCTET = '(0|[1-9][0-9]{0,2})';
const IPV4_TEXT = new RegExp(`^${OCTET}\\.${OCTET}\\.${OCTET}\\.${OCTET}$`);
const PREFIX_TEXT = /^(0|[1-9][0-9]?)$/;
const MAC_TEXT = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** The address in strict dotted-quad text. */
export function parseIpv4(text: string): Ipv4Address | undefined {
  const match = IPV4_TEXT.exec(text);
  if (match === null) return undefined;
  let address = 0;
  for (const part of match.slice(1)) {
    const octet = Number(part);
    if (octet > 0xff) return undefined;
    address = (address << 8) | octet;
  }
  return address;
}

/** Dotted quad of an address, signed or unsigned. */
export function formatIpv4(address: Ipv4Address): string {
  return `${address >>> 24}.${(address >>> 16) & 0xff}.${(address >>> 8) & 0xff}.${address & 0xff}`;
}

/** `address/prefixLength`, both required, the prefix 0 to 32. Host bits are kept: this may be an interface's address. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const address = parseIpv4(text.slice(0, slash));
  const prefix = text.slice(slash + 1);
  if (address === undefined || !PREFIX_TEXT.test(prefix)) return undefined;
  const prefixLength = Number(prefix);
  if (prefixLength > IPV4_BITS) return undefined;
  return { address, prefixLength };
}

/** The netmask of a prefix, 0 to 32 bits. Shifting by 32 shifts by nothing, hence the case of 0. */
export function maskOf(prefixLength: number): Ipv4Address {
  return prefixLength === 0 ? 0 : -1 << (IPV4_BITS - prefixLength);
}

/** Whether an address is in the subnet that an interface's address and prefix tell. */
export function isOnLink(address: Ipv4Address, interfaceAddress: Ipv4Address, prefixLength: number): boolean {
  return ((address ^ interfaceAddress) & maskOf(prefixLength)) === 0;
}

/** The same of an interface's address as people write it. */
export function isInNetwork(address: Ipv4Address, network: Cidr): boolean {
  return isOnLink(address, network.address, network.prefixLength);
}

/** Six pairs of hexadecimal digits between colons. */
export function parseMac(text: string): MacAddress | undefined {
  if (!MAC_TEXT.test(text)) return undefined;
  const digits = text.replaceAll(':', '');
  return { hi: Number.parseInt(digits.slice(0, 4), 16), lo: Number.parseInt(digits.slice(4), 16) | 0 };
}

export function formatMac(hi: number, lo: number): string {
  const digits = hi.toString(16).padStart(4, '0') + (lo >>> 0).toString(16).padStart(8, '0');
  return digits.replace(/..(?!$)/g, '$&:');
}

/** A group address (IEEE 802): multicast or broadcast. The first two bytes tell. */
export function isMulticastMac(hi: number): boolean {
  return (hi & 0x0100) !== 0;
}

export function isBroadcastMac(hi: number, lo: number): boolean {
  return hi === BROADCAST_MAC_HI && lo === BROADCAST_MAC_LO;
}

/** The limited broadcast, 255.255.255.255; a network's own broadcast depends on its prefix. */
export function isBroadcast(address: Ipv4Address): boolean {
  return address === BROADCAST_ADDRESS;
}

/** 224.0.0.0/4 (RFC 5771). */
export function isMulticast(address: Ipv4Address): boolean {
  return address >>> 28 === 0xe;
}

/** 127.0.0.0/8 (RFC 1122 section 3.2.1.3): never on a wire. */
export function isLoopback(address: Ipv4Address): boolean {
  return address >>> 24 === 127;
}
