/**
 * The transmit guard: an environment speaks in its own name only. Of every frame the exokernel checks, on the header slot
 * that is about to be sent, that the Ethernet source is the environment's and that the IPv4 source, or the sender of an
 * ARP packet, is one of its addresses or of a prefix granted to it. Whatever else it says is its own affair; other EtherTypes are refused.
 *
 * What the headers do not show in their slot (a header that continues in a region) counts as too short: the guard judges
 * what lies in memory that the queue owns.
 */

import { ARP_BYTES, arpCheck, arpSenderAddress, arpSenderHi, arpSenderLo } from '../wire/arp.ts';
import { type Bytes, int32At } from '../wire/bytes.ts';
import {
  DROP_GUARD_ADDRESS,
  DROP_GUARD_ARP,
  DROP_GUARD_MAC,
  DROP_GUARD_SHORT,
  DROP_GUARD_TYPE,
  type DropReason,
} from '../wire/drop-reasons.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ethernetSourceHi,
  ethernetSourceLo,
  ethernetType,
} from '../wire/ethernet.ts';
import { IPV4_BYTES, ipv4Source } from '../wire/ipv4.ts';

/** In whose name an environment may send. */
export interface Sender {
  readonly macHi: number;
  readonly macLo: number;
  /** IPv4 addresses, signed. */
  readonly addresses: Int32Array;
  /** Whole prefixes that it has been granted: network and mask of each. */
  readonly sourceNetworks: Int32Array;
  readonly sourceMasks: Int32Array;
}

/** Before an address is claimed it is asked for in nobody's name (RFC 5227 section 2.1.1: probes). */
const UNSPECIFIED_ADDRESS = 0;

/** Judges the frame whose transmit descriptor starts at `words[descriptor]`: 0 when it may leave, or why not. */
export function guardFrame(sender: Sender, bytes: Bytes, words: Int32Array, descriptor: number): DropReason {
  const at = int32At(words, descriptor);
  const headerBytes = int32At(words, descriptor + 1);
  if (headerBytes < ETHERNET_BYTES) return DROP_GUARD_SHORT;
  if (ethernetSourceHi(bytes, at) !== sender.macHi || ethernetSourceLo(bytes, at) !== sender.macLo)
    return DROP_GUARD_MAC;
  const type = ethernetType(bytes, at);
  if (type === ETHERTYPE_IPV4) return guardIpv4(sender, bytes, at + ETHERNET_BYTES, headerBytes - ETHERNET_BYTES);
  if (type === ETHERTYPE_ARP) return guardArp(sender, bytes, at + ETHERNET_BYTES, headerBytes - ETHERNET_BYTES);
  return DROP_GUARD_TYPE;
}

function guardIpv4(sender: Sender, bytes: Bytes, at: number, length: number): DropReason {
  if (length < IPV4_BYTES) return DROP_GUARD_SHORT;
  return hasAddress(sender, ipv4Source(bytes, at)) ? 0 : DROP_GUARD_ADDRESS;
}

function guardArp(sender: Sender, bytes: Bytes, at: number, length: number): DropReason {
  if (length < ARP_BYTES) return DROP_GUARD_SHORT;
  // Of another format the sender would be elsewhere.
  if (arpCheck(bytes, at, length) !== 0) return DROP_GUARD_ARP;
  if (arpSenderHi(bytes, at) !== sender.macHi || arpSenderLo(bytes, at) !== sender.macLo) return DROP_GUARD_ARP;
  const address = arpSenderAddress(bytes, at);
  return address === UNSPECIFIED_ADDRESS || hasAddress(sender, address) ? 0 : DROP_GUARD_ARP;
}

function hasAddress(sender: Sender, address: number): boolean {
  const addresses = sender.addresses;
  for (let i = 0; i < addresses.length; i++) if (addresses[i] === address) return true;
  const { sourceNetworks, sourceMasks } = sender;
  for (let i = 0; i < sourceNetworks.length; i++) {
    if ((address & int32At(sourceMasks, i)) === sourceNetworks[i]) return true;
  }
  return false;
}
