/**
 * What a frame's virtio header says of a segment: whether it can be true, how wide the packets are that it stands for, and how
 * many.
 */
import type { DeviceFeatures } from '../../exokernel/exokernel.ts';
import type { Bytes } from '../../wire/bytes.ts';
import { DROP_OFFLOAD, type DropReason } from '../../wire/drop-reasons.ts';
import { TCP_CHECKSUM_OFFSET } from '../../wire/tcp.ts';
import {
  VNET_GSO_ECN,
  VNET_GSO_NONE,
  VNET_GSO_TCPV4,
  VNET_NEEDS_CSUM,
  vnetChecksumOffset,
  vnetChecksumStart,
  vnetFlags,
  vnetGsoBytes,
  vnetGsoType,
} from '../../wire/virtio-net.ts';

/** A partial checksum is TCP's, and a super-frame is one of TCP over IPv4 that leaves its checksum open. */
export function offloadCheck(bytes: Bytes, at: number, flags: number, tcpAt: number): DropReason {
  const partial = (flags & VNET_NEEDS_CSUM) !== 0;
  if (partial) {
    if (vnetChecksumStart(bytes, at) !== tcpAt - at) return DROP_OFFLOAD;
    if (vnetChecksumOffset(bytes, at) !== TCP_CHECKSUM_OFFSET) return DROP_OFFLOAD;
  }
  const type = vnetGsoType(bytes, at);
  if (type === VNET_GSO_NONE) return 0;
  if (!partial || (type & ~VNET_GSO_ECN) !== VNET_GSO_TCPV4 || vnetGsoBytes(bytes, at) === 0) return DROP_OFFLOAD;
  return 0;
}

/** Whether a device takes a frame with what it leaves open. */
export function takesAsIs(features: DeviceFeatures, bytes: Bytes, at: number): boolean {
  if ((vnetFlags(bytes, at) & VNET_NEEDS_CSUM) === 0) return true;
  return features.transmitChecksum && (features.segmentTcp4 || !isSuperFrame(bytes, at));
}

/** Whether the frame is to be cut into several. */
export function isSuperFrame(bytes: Bytes, at: number): boolean {
  return vnetGsoType(bytes, at) !== VNET_GSO_NONE;
}

/** The longest packet that the frame stands for. */
export function widestPacketBytes(bytes: Bytes, at: number, totalBytes: number, textBytes: number): number {
  if (!isSuperFrame(bytes, at)) return totalBytes;
  return totalBytes - textBytes + Math.min(textBytes, vnetGsoBytes(bytes, at));
}

/** How many packets the frame stands for. */
export function packetsOf(bytes: Bytes, at: number, textBytes: number): number {
  if (textBytes === 0 || !isSuperFrame(bytes, at)) return 1;
  const gsoBytes = vnetGsoBytes(bytes, at);
  return textBytes <= gsoBytes ? 1 : Math.ceil(textBytes / gsoBytes);
}
