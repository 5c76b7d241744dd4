/** What is asked of every frame before it is touched. Nothing here changes anything. */
import type { Bytes } from '../../wire/bytes.ts';
import { pseudoSum4 } from '../../wire/checksum.ts';
import { DROP_ETHERNET_TARGET, DROP_TCP_CHECKSUM, type DropReason } from '../../wire/drop-reasons.ts';
import { ETHERNET_BYTES, ethernetTargetHi, ethernetTargetLo } from '../../wire/ethernet.ts';
import { ipv4Check, PROTOCOL_TCP } from '../../wire/ipv4.ts';
import { tcpCheck, tcpVerifyChecksum } from '../../wire/tcp.ts';
import { VNET_DATA_VALID, VNET_NEEDS_CSUM, vnetFlags } from '../../wire/virtio-net.ts';
import { offloadCheck } from './offload.ts';

/** An IPv4 frame, its filter says; for this station (a promiscuous device shows others' frames too), its header right. */
export function frameCheck(bytes: Bytes, at: number, lengthBytes: number, macHi: number, macLo: number): DropReason {
  if (ethernetTargetHi(bytes, at) !== macHi || ethernetTargetLo(bytes, at) !== macLo) return DROP_ETHERNET_TARGET;
  return ipv4Check(bytes, at + ETHERNET_BYTES, lengthBytes - ETHERNET_BYTES);
}

/**
 * A whole segment. Its checksum is summed where the device has not vouched for it, so that no flow ends by a flipped bit;
 * what leaves carries the sender's own checksum all the same, brought up to date and not made anew.
 */
export function segmentCheck(
  bytes: Bytes,
  at: number,
  tcpAt: number,
  tcpBytes: number,
  source: number,
  target: number,
): DropReason {
  const flags = vnetFlags(bytes, at);
  const bad = tcpCheck(bytes, tcpAt, tcpBytes) || offloadCheck(bytes, at, flags, tcpAt);
  if (bad !== 0) return bad;
  if ((flags & (VNET_NEEDS_CSUM | VNET_DATA_VALID)) !== 0) return 0;
  const pseudo = pseudoSum4(source, target, PROTOCOL_TCP);
  return tcpVerifyChecksum(bytes, tcpAt, tcpBytes, pseudo) ? 0 : DROP_TCP_CHECKSUM;
}
