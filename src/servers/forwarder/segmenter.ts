/**
 * Cutting a super-frame into the segments that it stands for, for a device that takes none (as the kernel's tcp_gso_segment
 * does): headers are written anew for each, the text stays where it is in the receive slot, and the slot goes back when the last
 * segment has been sent. This is the one place where the forwarder reads the text: somebody has to sum it.
 */
import type { Environment } from '../../exokernel/environment.ts';
import { type Bytes, setU8, setU16, setU32, u8 } from '../../wire/bytes.ts';
import { finishSum, pseudoSum4, sumBytes } from '../../wire/checksum.ts';
import { ETHERNET_BYTES } from '../../wire/ethernet.ts';
import {
  IPV4_CHECKSUM_OFFSET,
  IPV4_ID_OFFSET,
  IPV4_TOTAL_OFFSET,
  ipv4HeaderBytes,
  ipv4Id,
  ipv4Source,
  ipv4Target,
  PROTOCOL_TCP,
} from '../../wire/ipv4.ts';
import {
  setTcpChecksum,
  TCP_CWR,
  TCP_FIN,
  TCP_FLAGS_OFFSET,
  TCP_PSH,
  TCP_SEQ_OFFSET,
  tcpHeaderBytes,
  tcpSeq,
} from '../../wire/tcp.ts';
import { vnetGsoBytes } from '../../wire/virtio-net.ts';

/**
 * Queues the segments of the super-frame at `at`, which is rewritten already and lies in a slot of `from`. Returns how many;
 * 0 when the queue has no room for all of them, and then the slot stays where it is.
 */
export function sendInSegments(
  bytes: Bytes,
  from: Environment,
  to: Environment,
  at: number,
  tcpAt: number,
  textBytes: number,
): number {
  const { queue } = to;
  const stepBytes = vnetGsoBytes(bytes, at);
  const count = Math.ceil(textBytes / stepBytes);
  if (queue.free < count) return 0;
  const headerBytes = tcpAt + tcpHeaderBytes(bytes, tcpAt) - at;
  const textAt = at + headerBytes;
  for (let number = 0; number < count; number++) {
    const offset = number * stepBytes;
    const partBytes = Math.min(stepBytes, textBytes - offset);
    const segmentAt = queue.reserve();
    bytes.copyWithin(segmentAt, at, at + headerBytes);
    const isLast = number === count - 1;
    const ends = (isLast ? 0 : TCP_FIN | TCP_PSH) | (number === 0 ? 0 : TCP_CWR);
    const segmentTcpAt = segmentAt + (tcpAt - at);
    finishPacket(bytes, segmentAt + ETHERNET_BYTES, headerBytes - ETHERNET_BYTES + partBytes, number);
    setU32(bytes, segmentTcpAt + TCP_SEQ_OFFSET, tcpSeq(bytes, tcpAt) + offset);
    setU8(bytes, segmentTcpAt + TCP_FLAGS_OFFSET, u8(bytes, segmentTcpAt + TCP_FLAGS_OFFSET) & ~ends);
    finishSegment(bytes, segmentAt + ETHERNET_BYTES, segmentTcpAt, textAt + offset, partBytes);
    queue.addRegion(textAt + offset, partBytes);
    queue.commit(headerBytes);
  }
  to.transmitRegionsOf(from, at);
  return count;
}

function finishPacket(bytes: Bytes, ipAt: number, totalBytes: number, number: number): void {
  setU16(bytes, ipAt + IPV4_TOTAL_OFFSET, totalBytes);
  setU16(bytes, ipAt + IPV4_ID_OFFSET, (ipv4Id(bytes, ipAt) + number) & 0xffff);
  setU16(bytes, ipAt + IPV4_CHECKSUM_OFFSET, 0);
  setU16(bytes, ipAt + IPV4_CHECKSUM_OFFSET, finishSum(sumBytes(bytes, ipAt, ipv4HeaderBytes(bytes, ipAt))));
}

function finishSegment(bytes: Bytes, ipAt: number, tcpAt: number, textAt: number, textBytes: number): void {
  const headerBytes = tcpHeaderBytes(bytes, tcpAt);
  const pseudo = pseudoSum4(ipv4Source(bytes, ipAt), ipv4Target(bytes, ipAt), PROTOCOL_TCP) + headerBytes + textBytes;
  setTcpChecksum(bytes, tcpAt, 0);
  setTcpChecksum(
    bytes,
    tcpAt,
    finishSum(sumBytes(bytes, textAt, textBytes, sumBytes(bytes, tcpAt, headerBytes, pseudo))),
  );
}
