/**
 * The ceiling: the cheapest responder that the platform's driver allows, to hold Cheetah against. Same device, same memory,
 * same batches, same event loop; but one reply for whatever is asked, laid out beforehand. No demultiplexer, no
 * retransmission, no timers, no congestion window, no timestamps, no checks: what is left of TCP is the handshake, the
 * right sequence numbers, the peer's window (for replies of several super-frames) and the FIN, which leaves with the last of
 * a reply that closes. It works on a link that loses nothing with a client that does not pipeline.
 *
 *     node ceiling.js DIRECTORY DEVICE ADDRESS HOST_ADDRESS
 *
 * Memory: the arena is the process's; every transmit slot carries the reply behind its headers where that fits.
 */
import { type Device, FRAME_OFFSET_BYTES, ReceiveBatch, TRANSMIT_WORDS, TransmitBatch } from '../src/driver/device.ts';
import { slotBytesFor } from '../src/driver/frame-memory.ts';
import { openTap } from '../src/driver/tap.ts';
import { Arena } from '../src/runtime/arena.ts';
import { MonotonicClock } from '../src/runtime/clock.ts';
import { inlineAcrossLayers } from '../src/runtime/engine.ts';
import { DEFAULT_POLL_US, Reactor } from '../src/runtime/reactor.ts';
import { type Cidr, parseCidr } from '../src/wire/address.ts';
import {
  ARP_REPLY,
  ARP_REQUEST,
  arpCheck,
  arpOperation,
  arpSenderAddress,
  arpSenderHi,
  arpSenderLo,
  arpTargetAddress,
  setArp,
} from '../src/wire/arp.ts';
import { type Bytes, int32At, setU16, setU32, u8 } from '../src/wire/bytes.ts';
import { foldSum, pseudoSum4 } from '../src/wire/checksum.ts';
import { ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, ethernetType, setEthernet } from '../src/wire/ethernet.ts';
import { IPV4_BYTES, ipv4Protocol, ipv4TotalBytes, PROTOCOL_TCP, setIpv4 } from '../src/wire/ipv4.ts';
import {
  setTcp,
  setTcpChecksum,
  TCP_ACK,
  TCP_ACK_OFFSET,
  TCP_BYTES,
  TCP_CHECKSUM_OFFSET,
  TCP_FIN,
  TCP_PSH,
  TCP_RST,
  TCP_SEQ_OFFSET,
  TCP_SYN,
  TCP_TARGET_PORT_OFFSET,
  tcpAck,
  tcpFlags,
  tcpHeaderBytes,
  tcpSeq,
  tcpSourcePort,
  tcpWindow,
} from '../src/wire/tcp.ts';
import { parseTcpOptions, TcpOptions, writeMss, writeWindowScale } from '../src/wire/tcp-options.ts';
import { clearVnet, setVnetChecksum, setVnetGso, VNET_GSO_TCPV4 } from '../src/wire/virtio-net.ts';
import { type CannedReply, canReplies, replyNamed } from './canned.ts';
import { answerBench, deviceWork, type Work } from './control.ts';

const ARENA_BYTES = 512 * 1024 * 1024;
/** As the exokernel has them. */
const RECEIVE_BATCH = 64;
const MAX_BATCHES = 4;
const TRANSMIT_FRAMES = 512;

const PORT = 80;
const PORTS = 65_536;
const MAC_HI = 0x0200;
const TTL = 64;
const WINDOW = 0xffff;
const IP_AT = ETHERNET_BYTES;
const TCP_AT = ETHERNET_BYTES + IPV4_BYTES;
const HEADER_BYTES = TCP_AT + TCP_BYTES;
const CONTROL_SLOT_BYTES = slotBytesFor(HEADER_BYTES + TCP_BYTES);
const MAX_PACKET_BYTES = 0xffff;

class Ceiling {
  requests = 0;
  private looked = false;
  private more = false;
  private readonly device: Device;
  private readonly bytes: Bytes;
  private readonly address: number;
  private readonly receiveBatch = new ReceiveBatch(RECEIVE_BATCH);
  private readonly transmitBatch = new TransmitBatch(TRANSMIT_FRAMES);
  private queued = 0;
  private readonly mss: number;
  private readonly slotBytes: number;
  /** Slot i is for the i-th frame of a turn: with the reply behind the headers, and one of its own for SYN, FIN and ARP. */
  private readonly replySlotsAt: number;
  private readonly controlSlotsAt: number;
  private readonly options = new TcpOptions();
  private reply: CannedReply = { at: 0, bytes: 0, closes: false };
  /** The one client there is. */
  private peerHi = 0;
  private peerLo = 0;
  private peerAddress = 0;
  /** By the client's port: its window's shift, where the running reply starts in sequence space, its bytes sent, what to acknowledge. */
  private readonly scale = new Uint8Array(PORTS);
  private readonly replySeq = new Int32Array(PORTS);
  private readonly sent = new Int32Array(PORTS);
  private readonly ack = new Int32Array(PORTS);

  constructor(arena: Arena, device: Device, address: number) {
    this.device = device;
    this.bytes = arena.bytes;
    this.address = address;
    this.mss = device.mtuBytes - IPV4_BYTES - TCP_BYTES;
    this.slotBytes = slotBytesFor(ETHERNET_BYTES + device.mtuBytes);
    this.replySlotsAt = arena.allocate(TRANSMIT_FRAMES * this.slotBytes);
    this.controlSlotsAt = arena.allocate(TRANSMIT_FRAMES * CONTROL_SLOT_BYTES);
    for (let i = 0; i < RECEIVE_BATCH; i++) {
      this.receiveBatch.at[i] = arena.allocate(device.slotBytes) + FRAME_OFFSET_BYTES;
    }
  }

  select(reply: CannedReply): void {
    this.reply = reply;
    this.layOut();
  }

  turn(): number {
    if (!this.looked) this.receive();
    this.looked = false;
    this.transmit();
    return this.more ? 0 : Number.POSITIVE_INFINITY;
  }

  /** Receives ahead of the next turn. */
  look(): void {
    if (!this.looked) this.looked = this.receive();
  }

  /** Whether there was anything. */
  private receive(): boolean {
    const { device, receiveBatch } = this;
    this.more = true;
    let frames = 0;
    for (let batches = 0; this.more && batches < MAX_BATCHES; batches++) {
      const count = device.receive(receiveBatch);
      for (let i = 0; i < count; i++) this.frameArrives(int32At(receiveBatch.at, i));
      this.more = count === RECEIVE_BATCH;
      frames += count;
    }
    return frames > 0;
  }

  private frameArrives(at: number): void {
    const { bytes } = this;
    const type = ethernetType(bytes, at);
    if (type === ETHERTYPE_IPV4 && ipv4Protocol(bytes, at + IP_AT) === PROTOCOL_TCP) this.segmentArrives(at + TCP_AT);
    else if (type === ETHERTYPE_ARP) this.arpArrives(at + ETHERNET_BYTES);
  }

  private segmentArrives(at: number): void {
    const { bytes } = this;
    const port = tcpSourcePort(bytes, at);
    const flags = tcpFlags(bytes, at);
    const textBytes = ipv4TotalBytes(bytes, at - IPV4_BYTES) - IPV4_BYTES - tcpHeaderBytes(bytes, at);
    if (textBytes > 0) {
      this.requests++;
      this.ack[port] = tcpSeq(bytes, at) + textBytes;
      this.replySeq[port] = tcpAck(bytes, at);
      this.sent[port] = 0;
      if (this.reply.bytes <= this.mss) this.sendWhole(port);
      else this.sendParts(port, at);
    } else if ((flags & TCP_SYN) !== 0) {
      this.accept(port, at);
    } else if ((flags & TCP_FIN) !== 0) {
      // a FIN of our own has left with the reply where that closes
      const own = this.reply.closes && int32At(this.sent, port) === this.reply.bytes ? 0 : TCP_FIN;
      this.sendControl(port, own | TCP_ACK, tcpAck(bytes, at), tcpSeq(bytes, at) + 1, 0);
    } else if ((flags & TCP_RST) === 0 && int32At(this.sent, port) < this.reply.bytes) {
      this.sendParts(port, at);
    }
  }

  /** A reply of one frame: everything but these numbers is there already. */
  private sendWhole(port: number): void {
    const { bytes } = this;
    const at = this.replySlot();
    setU16(bytes, at + TCP_AT + TCP_TARGET_PORT_OFFSET, port);
    setU32(bytes, at + TCP_AT + TCP_SEQ_OFFSET, int32At(this.replySeq, port));
    setU32(bytes, at + TCP_AT + TCP_ACK_OFFSET, int32At(this.ack, port));
    this.sent[port] = this.reply.bytes;
    this.enqueue(at, HEADER_BYTES + this.reply.bytes, 0, 0);
  }

  /** As much of a longer reply as the client's window takes, in super-frames. */
  private sendParts(port: number, segmentAt: number): void {
    const { bytes, mss, reply } = this;
    const seq = int32At(this.replySeq, port);
    const acknowledged = (tcpAck(bytes, segmentAt) - seq) | 0;
    const window = acknowledged + (tcpWindow(bytes, segmentAt) << u8(this.scale, port));
    const largest = MAX_PACKET_BYTES - IPV4_BYTES - TCP_BYTES;
    for (;;) {
      const from = int32At(this.sent, port);
      const left = reply.bytes - from;
      let length = Math.min(left, window - from, largest);
      if (length < left) length -= length % mss;
      if (length <= 0) return;
      const at = this.replySlot();
      clearVnet(bytes, at);
      const flags = length === left ? this.lastFlags() : TCP_ACK | TCP_PSH;
      this.writeHeaders(at, port, seq + from, int32At(this.ack, port), flags, TCP_BYTES, length);
      if (length > mss) setVnetGso(bytes, at, VNET_GSO_TCPV4, HEADER_BYTES, mss);
      this.enqueue(at, HEADER_BYTES, reply.at + from, length);
      this.sent[port] = from + length;
    }
  }

  private accept(port: number, synAt: number): void {
    const { bytes, options } = this;
    parseTcpOptions(bytes, synAt, tcpHeaderBytes(bytes, synAt), options);
    this.scale[port] = Math.max(0, options.windowScale);
    this.sent[port] = this.reply.bytes;
    const at = this.controlSlot();
    let end = writeMss(bytes, at + HEADER_BYTES, this.mss);
    if (options.windowScale >= 0) end = writeWindowScale(bytes, end, 0);
    this.sendControl(port, TCP_SYN | TCP_ACK, 0, tcpSeq(bytes, synAt) + 1, end - at - HEADER_BYTES);
  }

  /** A segment without text; options, if any, have been written behind the header of `controlSlot`. */
  private sendControl(port: number, flags: number, seq: number, ack: number, optionBytes: number): void {
    const at = this.controlSlot();
    clearVnet(this.bytes, at);
    this.writeHeaders(at, port, seq, ack, flags, TCP_BYTES + optionBytes, 0);
    this.enqueue(at, HEADER_BYTES + optionBytes, 0, 0);
  }

  private arpArrives(at: number): void {
    const { bytes } = this;
    if (arpCheck(bytes, at, MAX_PACKET_BYTES) !== 0 || arpOperation(bytes, at) !== ARP_REQUEST) return;
    if (arpTargetAddress(bytes, at) !== this.address) return;
    this.peerHi = arpSenderHi(bytes, at);
    this.peerLo = arpSenderLo(bytes, at);
    this.peerAddress = arpSenderAddress(bytes, at);
    this.layOut();
    const { address, peerHi, peerLo, peerAddress } = this;
    const slot = this.controlSlot();
    clearVnet(bytes, slot);
    setEthernet(bytes, slot, peerHi, peerLo, MAC_HI, address, ETHERTYPE_ARP);
    setArp(bytes, slot + ETHERNET_BYTES, ARP_REPLY, MAC_HI, address, address, peerHi, peerLo, peerAddress);
    this.enqueue(slot, ETHERNET_BYTES + 28, 0, 0);
  }

  /** Writes headers, and the reply behind them where it fits, into every slot. */
  private layOut(): void {
    this.transmit();
    const { bytes, reply } = this;
    for (let i = 0; i < TRANSMIT_FRAMES; i++) {
      const at = this.replySlotsAt + i * this.slotBytes + FRAME_OFFSET_BYTES;
      if (reply.bytes > this.mss) continue;
      clearVnet(bytes, at);
      this.writeHeaders(at, 0, 0, 0, this.lastFlags(), TCP_BYTES, reply.bytes);
      bytes.copyWithin(at + HEADER_BYTES, reply.at, reply.at + reply.bytes);
    }
  }

  /** Flags of the segment that ends the reply. */
  private lastFlags(): number {
    return TCP_ACK | TCP_PSH | (this.reply.closes ? TCP_FIN : 0);
  }

  private writeHeaders(
    at: number,
    port: number,
    seq: number,
    ack: number,
    flags: number,
    tcpBytes: number,
    textBytes: number,
  ): void {
    const { bytes, address, peerAddress } = this;
    setEthernet(bytes, at, this.peerHi, this.peerLo, MAC_HI, address, ETHERTYPE_IPV4);
    const totalBytes = IPV4_BYTES + tcpBytes + textBytes;
    setIpv4(bytes, at + IP_AT, totalBytes, 0, true, TTL, PROTOCOL_TCP, address, peerAddress, 0);
    setTcp(bytes, at + TCP_AT, PORT, port, seq, ack, tcpBytes, flags, WINDOW);
    const pseudoSum = pseudoSum4(address, peerAddress, PROTOCOL_TCP) + tcpBytes + textBytes;
    setTcpChecksum(bytes, at + TCP_AT, foldSum(pseudoSum));
    setVnetChecksum(bytes, at, TCP_AT, TCP_CHECKSUM_OFFSET);
  }

  private replySlot(): number {
    if (this.queued === TRANSMIT_FRAMES) this.transmit();
    return this.replySlotsAt + this.queued * this.slotBytes + FRAME_OFFSET_BYTES;
  }

  private controlSlot(): number {
    if (this.queued === TRANSMIT_FRAMES) this.transmit();
    return this.controlSlotsAt + this.queued * CONTROL_SLOT_BYTES + FRAME_OFFSET_BYTES;
  }

  private enqueue(at: number, headerBytes: number, regionAt: number, regionBytes: number): void {
    const { words } = this.transmitBatch;
    const word = this.queued * TRANSMIT_WORDS;
    words[word] = at;
    words[word + 1] = headerBytes;
    words[word + 2] = regionAt;
    words[word + 3] = regionBytes;
    this.queued++;
  }

  /** Sends what is queued; what the device does not take is lost. */
  private transmit(): void {
    if (this.queued === 0) return;
    this.device.transmit(this.transmitBatch, 0, this.queued);
    this.device.completed();
    this.queued = 0;
  }
}

function readCidr(text: string | undefined): Cidr {
  const cidr = parseCidr(text ?? '');
  if (cidr === undefined) throw new RangeError(`${text} is no address`);
  return cidr;
}

const [directory = '', name = '', address, hostAddress] = process.argv.slice(2);
inlineAcrossLayers();
const arena = new Arena(ARENA_BYTES);
const device = openTap({ name, arena, hostAddress: readCidr(hostAddress) });
const ceiling = new Ceiling(arena, device, readCidr(address).address);
const replies = canReplies(arena, directory);
const polling = { pollUs: DEFAULT_POLL_US, received: () => device.counters.receivedFrames, look: () => ceiling.look() };
const reactor = new Reactor(new MonotonicClock(), device.descriptor, () => ceiling.turn(), polling);
reactor.start();
answerBench({
  work: (): Work => ({
    ...deviceWork(device.counters),
    requests: ceiling.requests,
    turns: reactor.counters.get('slices'),
    summedBytes: 0,
    copiedBytes: 0,
  }),
  select: (name, closes) => ceiling.select(replyNamed(replies, name, closes)),
});
