/**
 * The way out: a segment is rewritten and leaves by the side that its flow's half leads to, from the slot that it lies in; what
 * a router would not let pass does not. Memory: a frame's slot is the transmit queue's once it is queued.
 */
import { NEIGHBOUR_FAILED, NEIGHBOUR_STALE, type Neighbour } from '../../libos/neighbour.ts';
import type { Path } from '../../libos/path.ts';
import { float64At, int32At, uint8At } from '../../runtime/words.ts';
import type { Bytes } from '../../wire/bytes.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, setEthernet } from '../../wire/ethernet.ts';
import { ICMP_CODE_FRAG_NEEDED, ICMP_CODE_TTL, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE } from '../../wire/icmp.ts';
import { ipv4DontFragment, ipv4Ttl } from '../../wire/ipv4.ts';
import { completeChecksum } from '../../wire/partial-checksum.ts';
import { tcpHeaderBytes } from '../../wire/tcp.ts';
import { clearVnet } from '../../wire/virtio-net.ts';
import {
  type ForwarderCounters,
  FRAMES_FORWARDED,
  FRAMES_SEGMENTED,
  FRAMES_WAITED,
  HOPS_EXCEEDED,
  QUEUE_FULL,
  TOO_LONG,
  WAITING_FULL,
} from './counters.ts';
import type { FlowTable } from './flow-table.ts';
import { isSuperFrame, packetsOf, takesAsIs, widestPacketBytes } from './offload.ts';
import { rewriteSegment } from './rewrite.ts';
import { sendInSegments } from './segmenter.ts';
import type { Side } from './side.ts';
import type { WaitingFrames } from './waiting-frames.ts';

export class Egress {
  private readonly bytes: Bytes;
  private readonly sides: readonly Side[];
  private readonly table: FlowTable;
  private readonly waiting: WaitingFrames;
  private readonly counters: ForwarderCounters;

  constructor(
    bytes: Bytes,
    sides: readonly Side[],
    table: FlowTable,
    waiting: WaitingFrames,
    counters: ForwarderCounters,
  ) {
    this.bytes = bytes;
    this.sides = sides;
    this.table = table;
    this.waiting = waiting;
    this.counters = counters;
  }

  /** Rewrites a segment of a half and leaves it for transmission. */
  forward(from: Side, half: number, at: number, totalBytes: number, tcpAt: number, textBytes: number): boolean {
    const { bytes, table } = this;
    const to = this.sides[uint8At(table.side, half)] as Side;
    const ipAt = at + ETHERNET_BYTES;
    if (!this.mayPass(from, to, at, ipAt, totalBytes, textBytes)) return false;
    const { neighbour } = table.paths[half] as Path;
    if (neighbour.state < NEIGHBOUR_STALE) return this.wait(from, to, at, ETHERNET_BYTES + totalBytes, neighbour);
    const packets = packetsOf(bytes, at, textBytes);
    const source = int32At(table.source, half);
    const target = int32At(table.target, half);
    const ports = int32At(table.ports, half);
    const addresses = int32At(table.addressDifference, half);
    rewriteSegment(bytes, at, ipAt, tcpAt, source, target, ports, addresses, int32At(table.portDifference, half));
    const sent = takesAsIs(to.features, bytes, at)
      ? this.send(from, to, at, ETHERNET_BYTES + totalBytes, neighbour)
      : this.sendPlain(from, to, at, tcpAt, textBytes, neighbour);
    if (!sent) return false;
    table.packets[half] = float64At(table.packets, half) + packets;
    table.textBytes[half] = float64At(table.textBytes, half) + textBytes;
    return true;
  }

  /** Whether a router would let it pass; whoever sent it hears of it if not (RFC 1812 sections 5.3.1 and 4.2.2.7). */
  mayPass(from: Side, to: Side, at: number, ipAt: number, totalBytes: number, textBytes: number): boolean {
    const { bytes } = this;
    if (ipv4Ttl(bytes, ipAt) <= 1) {
      from.stack.icmp.sendError(ICMP_TIME_EXCEEDED, ICMP_CODE_TTL, ipAt);
      return this.refuse(HOPS_EXCEEDED);
    }
    if (totalBytes > to.mtuBytes && widestPacketBytes(bytes, at, totalBytes, textBytes) > to.mtuBytes) {
      if (ipv4DontFragment(bytes, ipAt)) {
        from.stack.icmp.sendError(ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, ipAt, to.mtuBytes);
      }
      return this.refuse(TOO_LONG);
    }
    return true;
  }

  /** To a device that completes and cuts nothing: the same as whole segments. */
  private sendPlain(from: Side, to: Side, at: number, tcpAt: number, textBytes: number, neighbour: Neighbour): boolean {
    const { bytes } = this;
    const headerBytes = tcpAt + tcpHeaderBytes(bytes, tcpAt) - at;
    if (!isSuperFrame(bytes, at) || textBytes === 0) {
      completeChecksum(bytes, at, headerBytes + textBytes);
      clearVnet(bytes, at);
      return this.send(from, to, at, headerBytes + textBytes, neighbour);
    }
    setEthernet(bytes, at, neighbour.macHi, neighbour.macLo, to.macHi, to.macLo, ETHERTYPE_IPV4);
    const count = sendInSegments(bytes, from.environment, to.environment, at, tcpAt, textBytes);
    if (count === 0) return this.refuse(QUEUE_FULL);
    this.counters.increment(FRAMES_SEGMENTED);
    this.counters.add(FRAMES_FORWARDED, count);
    if (neighbour.state === NEIGHBOUR_STALE) to.stack.arp.probe(neighbour);
    return true;
  }

  send(from: Side, to: Side, at: number, lengthBytes: number, neighbour: Neighbour): boolean {
    setEthernet(this.bytes, at, neighbour.macHi, neighbour.macLo, to.macHi, to.macLo, ETHERTYPE_IPV4);
    if (!to.environment.transmitSlot(from.environment, at, lengthBytes)) return this.refuse(QUEUE_FULL);
    this.counters.increment(FRAMES_FORWARDED);
    if (neighbour.state === NEIGHBOUR_STALE) to.stack.arp.probe(neighbour);
    return true;
  }

  private wait(from: Side, to: Side, at: number, lengthBytes: number, neighbour: Neighbour): boolean {
    // One that has failed is asked for anew.
    if (neighbour.state === NEIGHBOUR_FAILED) to.stack.arp.lookup(neighbour.address);
    if (this.waiting.isFull) return this.refuse(WAITING_FULL);
    this.waiting.add(from.environment.keepSlot(at, lengthBytes), lengthBytes, from.index, neighbour);
    this.counters.increment(FRAMES_WAITED);
    return true;
  }

  private refuse(counter: number): false {
    this.counters.increment(counter);
    return false;
  }
}
