/**
 * Scripted peers on a real wire: an interface of this process's namespace whose other end is a host's, a stack of ours or the
 * kernel of another namespace. The peers' address is theirs alone; ARP for it is answered here.
 */
import { ReceiveBatch, TRANSMIT_WORDS, TransmitBatch } from '../../src/driver/device.ts';
import { openPacketSocket, type PacketSocketDevice } from '../../src/driver/packet-socket.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { MonotonicClock } from '../../src/runtime/clock.ts';
import {
  ARP_BYTES,
  ARP_REPLY,
  ARP_REQUEST,
  arpOperation,
  arpSenderAddress,
  arpSenderHi,
  arpSenderLo,
  arpTargetAddress,
  setArp,
} from '../../src/wire/arp.ts';
import { ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, ethernetType, setEthernet } from '../../src/wire/ethernet.ts';
import { ipv4HeaderBytes, ipv4Protocol, ipv4Target, PROTOCOL_TCP } from '../../src/wire/ipv4.ts';
import { tcpTargetPort } from '../../src/wire/tcp.ts';
import { clearVnet } from '../../src/wire/virtio-net.ts';
import type { RawLink, RawPeer } from './raw-peer.ts';

const ARENA_BYTES = 128 * 1024 * 1024;
const FRAME_BYTES = 2048;
const FRAMES = 256;
const BATCH_FRAMES = 64;
const LOOK_MS = 1;
const FIRST_PORT = 20_000;

export interface WireLinkOptions {
  readonly interfaceName: string;
  readonly hostAddress: number;
  readonly peerAddress: number;
}

export class WireLink implements RawLink {
  readonly arena = new Arena(ARENA_BYTES);
  readonly clock = new MonotonicClock();
  readonly hostAddress: number;
  readonly peerAddress: number;
  /** Learned from the host's ARP; broadcast until then. */
  hostMacHi = 0xffff;
  hostMacLo = 0xffffffff | 0;
  readonly peerMacHi = 0x0202;
  readonly peerMacLo: number;
  readonly offload = true;
  readonly mtuBytes: number;
  frameAt: number;
  private readonly framesAt: number;
  private sentFrames = 0;
  private readonly device: PacketSocketDevice;
  private readonly sendBatch = new TransmitBatch(1);
  private readonly receiveBatch = new ReceiveBatch(BATCH_FRAMES);
  private readonly peers = new Map<number, RawPeer>();
  private readonly look: NodeJS.Timeout;
  private port = FIRST_PORT;

  constructor({ interfaceName, hostAddress, peerAddress }: WireLinkOptions) {
    this.hostAddress = hostAddress;
    this.peerAddress = peerAddress;
    this.peerMacLo = peerAddress;
    this.framesAt = this.arena.allocate(FRAME_BYTES * FRAMES) + 64;
    this.frameAt = this.framesAt;
    this.device = openPacketSocket({ name: interfaceName, arena: this.arena, offload: false });
    this.mtuBytes = this.device.mtuBytes;
    this.look = setInterval(() => this.receive(), LOOK_MS);
  }

  /** Asks for the host's link address; known once it has answered. */
  findHost(): void {
    this.sendArp(ARP_REQUEST, 0, 0, this.hostAddress);
  }

  get knowsHost(): boolean {
    return this.hostMacHi !== 0xffff;
  }

  nextPort(): number {
    return this.port++;
  }

  /** The peer that came last has the port. */
  attach(peer: RawPeer): void {
    this.peers.set(peer.port, peer);
  }

  tsValue(): number {
    return Math.floor(this.clock.nowUs() / 1000) | 0;
  }

  /** The host has its own time. */
  settle(): void {}

  transmit(frameBytes: number): void {
    clearVnet(this.arena.bytes, this.frameAt);
    this.sendBatch.words.fill(0, 0, TRANSMIT_WORDS);
    this.sendBatch.words[0] = this.frameAt;
    this.sendBatch.words[1] = frameBytes;
    if (this.device.transmit(this.sendBatch, 0, 1) !== 1) throw new Error(`${this.device.name} takes no frame`);
    this.device.completed();
    this.frameAt = this.framesAt + (++this.sentFrames % FRAMES) * FRAME_BYTES;
  }

  close(): void {
    clearInterval(this.look);
    this.device.close();
    this.arena.close();
  }

  private receive(): void {
    const { bytes } = this.arena;
    const { slots } = this.device;
    for (;;) {
      const count = this.device.receive(this.receiveBatch);
      if (count === 0) return;
      for (let i = 0; i < count; i++) {
        const at = this.receiveBatch.at[i] as number;
        const type = ethernetType(bytes, at);
        if (type === ETHERTYPE_ARP) this.receiveArp(at + ETHERNET_BYTES);
        else if (type === ETHERTYPE_IPV4) this.receiveIpv4(at + ETHERNET_BYTES);
        slots?.release(this.slotOf(at));
      }
    }
  }

  private slotOf(at: number): number {
    return this.device.slots?.at.indexOf(at) ?? -1;
  }

  private receiveIpv4(ipAt: number): void {
    const { bytes } = this.arena;
    if (ipv4Protocol(bytes, ipAt) !== PROTOCOL_TCP) return;
    const target = ipv4Target(bytes, ipAt);
    const tcpAt = ipAt + ipv4HeaderBytes(bytes, ipAt);
    const peer = this.peers.get(tcpTargetPort(bytes, tcpAt));
    if (peer?.owns(target, tcpAt) === true) peer.accept(ipAt);
  }

  private receiveArp(arpAt: number): void {
    const { bytes } = this.arena;
    if (arpSenderAddress(bytes, arpAt) === this.hostAddress) {
      this.hostMacHi = arpSenderHi(bytes, arpAt);
      this.hostMacLo = arpSenderLo(bytes, arpAt);
    }
    if (arpOperation(bytes, arpAt) !== ARP_REQUEST || arpTargetAddress(bytes, arpAt) !== this.peerAddress) return;
    this.sendArp(ARP_REPLY, this.hostMacHi, this.hostMacLo, this.hostAddress);
  }

  private sendArp(operation: number, targetHi: number, targetLo: number, target: number): void {
    const { bytes } = this.arena;
    const at = this.frameAt;
    setEthernet(bytes, at, this.hostMacHi, this.hostMacLo, this.peerMacHi, this.peerMacLo, ETHERTYPE_ARP);
    const arpAt = at + ETHERNET_BYTES;
    setArp(bytes, arpAt, operation, this.peerMacHi, this.peerMacLo, this.peerAddress, targetHi, targetLo, target);
    this.transmit(ETHERNET_BYTES + ARP_BYTES);
  }
}
