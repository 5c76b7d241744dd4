/**
 * The ten-byte virtio_net_hdr that lies directly before every frame's Ethernet header: how much of the checksum is done,
 * and how a super-frame is to be cut (virtio 1.2 section 5.1.6; Linux `include/uapi/linux/virtio_net.h`).
 *
 * Its fields are little-endian, as the devices set them up. All functions take `at`, the position of the Ethernet header,
 * so that a frame is always named by one position. Memory: part of the frame's slot, owned by whoever owns the slot.
 */
import type { Bytes } from './bytes.ts';
import { setU8, setU16le, u8, u16le } from './bytes.ts';

export const VNET_BYTES = 10;

/** Flag: the checksum field holds the pseudo-header sum only; sum from `start` and store at `start + offset`. */
export const VNET_NEEDS_CSUM = 1;
/** Flag: the other side has verified the checksum. */
export const VNET_DATA_VALID = 2;

export const VNET_GSO_NONE = 0;
export const VNET_GSO_TCPV4 = 1;
export const VNET_GSO_UDP = 3;
export const VNET_GSO_TCPV6 = 4;
export const VNET_GSO_UDP_L4 = 5;
/** A bit beside the type: the super-frame carries CWR, which the first segment alone keeps. */
export const VNET_GSO_ECN = 0x80;

// Offsets from the Ethernet header, hence negative.
export const VNET_FLAGS_OFFSET = -10;
export const VNET_GSO_TYPE_OFFSET = -9;
export const VNET_HEADER_BYTES_OFFSET = -8;
export const VNET_GSO_BYTES_OFFSET = -6;
export const VNET_CHECKSUM_START_OFFSET = -4;
export const VNET_CHECKSUM_OFFSET_OFFSET = -2;

export function vnetFlags(bytes: Bytes, at: number): number {
  return u8(bytes, at + VNET_FLAGS_OFFSET);
}

/** `VNET_GSO_...`, perhaps with `VNET_GSO_ECN` set. */
export function vnetGsoType(bytes: Bytes, at: number): number {
  return u8(bytes, at + VNET_GSO_TYPE_OFFSET);
}

/** Bytes of all headers, from Ethernet to the end of TCP's options: what each cut segment repeats. A hint only. */
export function vnetHeaderBytes(bytes: Bytes, at: number): number {
  return u16le(bytes, at + VNET_HEADER_BYTES_OFFSET);
}

/** Payload bytes of each segment a super-frame is cut into. */
export function vnetGsoBytes(bytes: Bytes, at: number): number {
  return u16le(bytes, at + VNET_GSO_BYTES_OFFSET);
}

/** Where the summing starts, counted from the Ethernet header. */
export function vnetChecksumStart(bytes: Bytes, at: number): number {
  return u16le(bytes, at + VNET_CHECKSUM_START_OFFSET);
}

/** Where the checksum goes, counted from where the summing starts. */
export function vnetChecksumOffset(bytes: Bytes, at: number): number {
  return u16le(bytes, at + VNET_CHECKSUM_OFFSET_OFFSET);
}

/** A frame that is complete as it stands: no checksum to fill in, nothing to cut. */
export function clearVnet(bytes: Bytes, at: number): void {
  for (let i = at - VNET_BYTES; i < at; i++) setU8(bytes, i, 0);
}

/** Leaves the checksum to the other side: it sums from `start` (from the Ethernet header) and stores at `start + offset`. */
export function setVnetChecksum(bytes: Bytes, at: number, start: number, offset: number): void {
  setU8(bytes, at + VNET_FLAGS_OFFSET, VNET_NEEDS_CSUM);
  setU16le(bytes, at + VNET_CHECKSUM_START_OFFSET, start);
  setU16le(bytes, at + VNET_CHECKSUM_OFFSET_OFFSET, offset);
}

/** Leaves the cutting to the other side; the checksum must be left to it as well (`setVnetChecksum`). */
export function setVnetGso(bytes: Bytes, at: number, type: number, headerBytes: number, gsoBytes: number): void {
  setU8(bytes, at + VNET_GSO_TYPE_OFFSET, type);
  setU16le(bytes, at + VNET_HEADER_BYTES_OFFSET, headerBytes);
  setU16le(bytes, at + VNET_GSO_BYTES_OFFSET, gsoBytes);
}
