/**
 * A peer without memory: any number of connections to it, or from it, cost its host what they cost, and nothing on this side. It
 * answers every SYN, every SYN-ACK and every segment with text by what the segment itself says, and opens connections by
 * sending SYNs.
 *
 * Memory: two frames in the arena, one received and one sent.
 */
import { FRAME_OFFSET_BYTES, ReceiveBatch, TRANSMIT_WORDS, TransmitBatch } from '../../src/driver/device.ts';
import type { SimDevice } from '../../src/driver/sim-link.ts';
import type { Arena } from '../../src/runtime/arena.ts';
import type { VirtualClock } from '../../src/runtime/virtual-clock.ts';
import { ARP_BYTES, ARP_REPLY, ARP_REQUEST, arpOperation, arpTargetAddress, setArp } from '../../src/wire/arp.ts';
import { finishSum, pseudoSum4, sumBytes } from '../../src/wire/checksum.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ethernetSourceHi,
  ethernetSourceLo,
  ethernetType,
  setEthernet,
} from '../../src/wire/ethernet.ts';
import { IPV4_BYTES, ipv4Protocol, ipv4TotalBytes, PROTOCOL_TCP, setIpv4 } from '../../src/wire/ipv4.ts';
import {
  setTcp,
  setTcpChecksum,
  TCP_ACK,
  TCP_BYTES,
  TCP_PSH,
  TCP_SYN,
  tcpAck,
  tcpFlags,
  tcpHeaderBytes,
  tcpSeq,
  tcpSourcePort,
  tcpTargetPort,
} from '../../src/wire/tcp.ts';
import {
  parseTcpOptions,
  TcpOptions,
  writeMss,
  writeSackPermittedTimestamps,
  writeTimestamps,
  writeWindowScale,
} from '../../src/wire/tcp-options.ts';
import { clearVnet } from '../../src/wire/virtio-net.ts';

const MAC_HI = 0x0200;
const FRAME_BYTES = 2048;
const IP_AT = ETHERNET_BYTES;
const TCP_AT = ETHERNET_BYTES + IPV4_BYTES;
const MSS_BYTES = 1460;
const WINDOW_SCALE = 7;
const WINDOW = 500;
/** Its initial sequence number, on every connection. */
export const PEER_ISS = 1_000_000;

export class StatelessPeer {
  readonly address: number;
  private readonly device: SimDevice;
  private readonly clock: VirtualClock;
  private readonly bytes: Uint8Array;
  private readonly hostAddress: number;
  private readonly received = new ReceiveBatch(1);
  private readonly sent = new TransmitBatch(1);
  private readonly at: number;
  private readonly options = new TcpOptions();
  /** Text is not answered. */
  silent = false;
  private hostMacHi = 0;
  private hostMacLo = 0;

  constructor(device: SimDevice, arena: Arena, clock: VirtualClock, address: number, hostAddress: number) {
    this.device = device;
    this.clock = clock;
    this.bytes = arena.bytes;
    this.address = address;
    this.hostAddress = hostAddress;
    this.received.at[0] = arena.allocate(FRAME_BYTES) + FRAME_OFFSET_BYTES;
    this.at = arena.allocate(FRAME_BYTES) + FRAME_OFFSET_BYTES;
    device.onFrameWaiting = () => this.receive();
  }

  /** Opens a connection; the host's answer is answered when it comes. */
  open(port: number, hostPort: number): void {
    this.send(port, hostPort, PEER_ISS, 0, TCP_SYN, 0, 0);
  }

  /** Sends text on a connection on which nothing was sent either way. `hostIss` is the host's. */
  sendText(port: number, hostPort: number, hostIss: number, echo: number, length: number): void {
    this.send(port, hostPort, PEER_ISS + 1, hostIss + 1, TCP_ACK | TCP_PSH, echo, length);
  }

  private receive(): void {
    const { bytes } = this;
    while (this.device.receive(this.received) > 0) {
      const at = this.received.at[0] as number;
      const type = ethernetType(bytes, at);
      if (type === ETHERTYPE_ARP) this.answerArp(at);
      else if (type === ETHERTYPE_IPV4 && ipv4Protocol(bytes, at + IP_AT) === PROTOCOL_TCP) this.answer(at);
    }
  }

  private answerArp(at: number): void {
    const { bytes } = this;
    const asked = arpTargetAddress(bytes, at + ETHERNET_BYTES);
    if (arpOperation(bytes, at + ETHERNET_BYTES) !== ARP_REQUEST || asked !== this.address) return;
    this.hostMacHi = ethernetSourceHi(bytes, at);
    this.hostMacLo = ethernetSourceLo(bytes, at);
    setEthernet(bytes, this.at, this.hostMacHi, this.hostMacLo, MAC_HI, this.address, ETHERTYPE_ARP);
    const { hostMacHi, hostMacLo } = this;
    const arpAt = this.at + ETHERNET_BYTES;
    setArp(bytes, arpAt, ARP_REPLY, MAC_HI, asked, asked, hostMacHi, hostMacLo, this.hostAddress);
    this.transmit(ETHERNET_BYTES + ARP_BYTES);
  }

  private answer(at: number): void {
    const { bytes, options } = this;
    const tcpAt = at + TCP_AT;
    const headerBytes = tcpHeaderBytes(bytes, tcpAt);
    const textBytes = ipv4TotalBytes(bytes, at + IP_AT) - IPV4_BYTES - headerBytes;
    const flags = tcpFlags(bytes, tcpAt);
    const isSyn = (flags & TCP_SYN) !== 0;
    if (!isSyn && (textBytes === 0 || this.silent)) return;
    parseTcpOptions(bytes, tcpAt, headerBytes, options);
    const isFirst = isSyn && (flags & TCP_ACK) === 0;
    const seq = isFirst ? PEER_ISS : tcpAck(bytes, tcpAt);
    const ack = tcpSeq(bytes, tcpAt) + (isSyn ? 1 : textBytes);
    const answer = isFirst ? TCP_SYN | TCP_ACK : TCP_ACK;
    this.send(tcpTargetPort(bytes, tcpAt), tcpSourcePort(bytes, tcpAt), seq, ack, answer, options.tsValue, 0);
  }

  /** Sends a segment; `textBytes` zeros are its text. */
  private send(
    port: number,
    hostPort: number,
    seq: number,
    ack: number,
    flags: number,
    echo: number,
    textBytes: number,
  ): void {
    this.transmit(this.write(this.at, port, hostPort, seq, ack, flags, echo, textBytes));
  }

  /** Writes the frame of a segment at `at`; how long it is. */
  write(
    at: number,
    port: number,
    hostPort: number,
    seq: number,
    ack: number,
    flags: number,
    echo: number,
    textBytes: number,
  ): number {
    const { bytes } = this;
    const tcpAt = at + TCP_AT;
    const stamp = Math.floor(this.clock.nowUs() / 1000) | 0;
    let next = tcpAt + TCP_BYTES;
    if ((flags & TCP_SYN) === 0) {
      next = writeTimestamps(bytes, next, stamp, echo);
    } else {
      next = writeMss(bytes, next, MSS_BYTES);
      next = writeSackPermittedTimestamps(bytes, next, stamp, echo);
      next = writeWindowScale(bytes, next, WINDOW_SCALE);
    }
    const headerBytes = next - tcpAt;
    setTcp(bytes, tcpAt, port, hostPort, seq | 0, ack | 0, headerBytes, flags, WINDOW);
    bytes.fill(0, next, next + textBytes);
    const tcpBytes = headerBytes + textBytes;
    const pseudo = pseudoSum4(this.address, this.hostAddress, PROTOCOL_TCP) + tcpBytes;
    setTcpChecksum(bytes, tcpAt, finishSum(sumBytes(bytes, tcpAt, tcpBytes, pseudo)));
    setEthernet(bytes, at, this.hostMacHi, this.hostMacLo, MAC_HI, this.address, ETHERTYPE_IPV4);
    setIpv4(bytes, at + IP_AT, IPV4_BYTES + tcpBytes, 1, true, 64, PROTOCOL_TCP, this.address, this.hostAddress, 0);
    return ETHERNET_BYTES + IPV4_BYTES + tcpBytes;
  }

  private transmit(frameBytes: number): void {
    const { words } = this.sent;
    clearVnet(this.bytes, this.at);
    words.fill(0, 0, TRANSMIT_WORDS);
    words[0] = this.at;
    words[1] = frameBytes;
    this.device.transmit(this.sent, 0, 1);
    this.device.completed();
  }
}
