/**
 * A real host on one end of a simulated link and scripted peers on the other, under one virtual clock. With the default
 * link, which has no delay, a segment and the answer to it happen at the same moment, so that every time a test reads
 * is a time of the host's own timers.
 */
import { type Device, ReceiveBatch, TRANSMIT_WORDS, TransmitBatch } from '../../src/driver/device.ts';
import { createSimLink, type SimLink, type SimLinkOptions } from '../../src/driver/sim-link.ts';
import { Host } from '../../src/host/host.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { type Random, SeededRandom } from '../../src/runtime/random.ts';
import { TICK_US } from '../../src/runtime/timer-wheel.ts';
import { VirtualClock } from '../../src/runtime/virtual-clock.ts';
import type { Listener } from '../../src/tcp/listener.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import type { Tcb, TcpUser } from '../../src/tcp/tcb.ts';
import { ARP_BYTES, ARP_REPLY, ARP_REQUEST, arpOperation, arpTargetAddress, setArp } from '../../src/wire/arp.ts';
import { ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, ethernetType, setEthernet } from '../../src/wire/ethernet.ts';
import { ipv4HeaderBytes, ipv4Protocol, ipv4Target, PROTOCOL_TCP } from '../../src/wire/ipv4.ts';
import { clearVnet } from '../../src/wire/virtio-net.ts';
import { findLeaks } from './leaks.ts';
import { type Crafted, type PeerOptions, patternByte, type RawLink, RawPeer } from './raw-peer.ts';
import { TestUser } from './test-user.ts';

export const SECOND = 1_000_000;
export const MILLISECOND = 1000;
/** A timer fires at the first tick of the wheel at or after its deadline. */
export const TIMER_LATE_US = TICK_US;

const HOST_ADDRESS = 0x0a000002;
const PEER_ADDRESS = 0x0a000001;
const ARENA_BYTES = 256 * 1024 * 1024;
const FRAME_BYTES = 70_016;
const FRAMES = 32;
/** Far beyond every timer of a connection. */
const EVERYTHING_OVER_US = 4000 * SECOND;

/** Who is told of what the host sends. */
export interface WirePeer {
  /** Whether a segment of the host belongs to it. */
  owns(ipTarget: number, tcpAt: number): boolean;
  /** The segment, its IPv4 header at `ipAt`; valid during the call. */
  accept(ipAt: number): void;
}

export interface RawWorldOptions {
  readonly seed?: number;
  readonly random?: Random;
  readonly settings?: Partial<TcpSettings>;
  readonly link?: Omit<SimLinkOptions, 'clock' | 'arena' | 'seed'>;
  readonly gateway?: number;
  /** When the host starts. */
  readonly startUs?: number;
}

export interface OpenOptions extends PeerOptions {
  readonly user?: TestUser;
  /** What the peer's SYN, or SYN-ACK, says. */
  readonly syn?: Crafted;
  readonly mss?: number;
  readonly windowScale?: number;
  readonly timestamps?: boolean;
  readonly window?: number;
}

export interface Connected {
  readonly peer: RawPeer;
  readonly user: TestUser;
  readonly tcb: Tcb;
}

export class RawWorld implements RawLink {
  readonly clock = new VirtualClock();
  readonly arena = new Arena(ARENA_BYTES);
  readonly link: SimLink;
  readonly host: Host;
  readonly hostAddress = HOST_ADDRESS;
  readonly peerAddress = PEER_ADDRESS;
  readonly hostMacHi = 0x0200;
  readonly hostMacLo = HOST_ADDRESS;
  readonly peerMacHi = 0x0200;
  readonly peerMacLo = PEER_ADDRESS;
  readonly offload: boolean;
  /** Where the next frame to the host is built; a device with a read delay reads it later. */
  frameAt: number;
  /** Addresses for which the peers' end answers ARP; null for all. */
  arpAnswers: Set<number> | null = null;
  /** TCP segments for which there is no peer. */
  strays = 0;
  private readonly device: Device;
  private readonly framesAt: number;
  private sentFrames = 0;
  private readonly sendBatch = new TransmitBatch(1);
  private readonly receiveBatch = new ReceiveBatch(1);
  private readonly peers: WirePeer[] = [];
  private port = 20_000;
  private turnAtUs = Number.POSITIVE_INFINITY;
  private patternAt = 0;
  private patternBytes = 0;

  constructor(options: RawWorldOptions = {}) {
    const seed = options.seed ?? 1;
    const { clock, arena } = this;
    clock.runUntil(options.startUs ?? 0);
    this.offload = options.link?.offload ?? false;
    this.link = createSimLink({ ...options.link, clock, arena, seed });
    this.device = this.link.a;
    this.link.a.onFrameWaiting = () => this.receive();
    this.framesAt = arena.allocate(FRAME_BYTES * FRAMES) + 64;
    this.frameAt = this.framesAt;
    this.receiveBatch.at[0] = arena.allocate(FRAME_BYTES) + 64;
    this.host = new Host({
      name: 'host',
      arena,
      device: this.link.b,
      clock,
      random: options.random ?? new SeededRandom(seed),
      log: silentLog,
      address: HOST_ADDRESS,
      prefixLength: 24,
      gateway: options.gateway,
      macHi: this.hostMacHi,
      macLo: this.hostMacLo,
      tcpSettings: { receivePoolBytes: 8 * 1024 * 1024, maxTimeWait: 4096, ...options.settings },
    });
    this.link.b.onFrameWaiting = () => this.schedule(clock.nowUs());
    this.host.stack.wake = () => this.schedule(clock.nowUs());
    this.schedule(clock.nowUs());
    this.settle();
  }

  /** Longest IP packet on the link. */
  get mtuBytes(): number {
    return this.offload ? 65_535 : this.device.mtuBytes;
  }

  get nowUs(): number {
    return this.clock.nowUs();
  }

  /** Everything that is to happen at this moment. */
  settle(): void {
    this.clock.runUntil(this.clock.nowUs());
  }

  advance(byUs: number): void {
    this.clock.runUntil(this.clock.nowUs() + byUs);
  }

  /** Runs until something holds, at most for `limitUs`; whether it does. */
  runUntil(done: () => boolean, limitUs = 3600 * SECOND): boolean {
    const endUs = this.clock.nowUs() + limitUs;
    while (!done()) {
      if (this.clock.nextEventUs() > endUs) {
        this.clock.runUntil(endUs);
        return done();
      }
      this.clock.step();
    }
    return true;
  }

  /** Calls from outside a turn: wakes the host and lets it work. */
  call(action: () => void): void {
    action();
    this.host.stack.wake();
    this.settle();
  }

  /** An honest peer's timestamp clock. */
  tsValue(): number {
    return (Math.floor(this.clock.nowUs() / 1000) + 5_000_000) | 0;
  }

  nextPort(): number {
    return this.port++;
  }

  attach(peer: WirePeer): void {
    this.peers.push(peer);
  }

  /** Lets a peer's segments go unseen from now on. */
  detach(peer: WirePeer): void {
    const index = this.peers.indexOf(peer);
    if (index >= 0) this.peers.splice(index, 1);
  }

  /** Arena offset of at least `length` bytes of the pattern, from its first byte on. */
  pattern(length: number): number {
    if (length <= this.patternBytes) return this.patternAt;
    this.patternBytes = Math.max(length, 65_536, 2 * this.patternBytes);
    this.patternAt = this.arena.allocate(this.patternBytes);
    for (let i = 0; i < this.patternBytes; i++) this.arena.bytes[this.patternAt + i] = patternByte(i);
    return this.patternAt;
  }

  /** Listens on a port (80) and gives every connection to a user of its own, or to the one given. */
  listen(users: TestUser | ((connection: Tcb) => TcpUser), port = 80, backlog?: number): Listener {
    const accept = typeof users === 'function' ? users : () => users;
    return this.host.tcp.listen(port, accept, backlog === undefined ? {} : { backlog });
  }

  /** A connection that a peer has opened to port 80. The handshake is not in the peer's inbox any more. */
  accept(options: OpenOptions = {}): Connected {
    const peer = new RawPeer(this, options);
    const user = options.user ?? new TestUser(this);
    let tcb: Tcb | null = null;
    const take = (connection: Tcb) => {
      tcb = connection;
      return user;
    };
    const listener = this.host.tcp.listen(peer.hostPort, take);
    this.begin(peer, options);
    peer.send({ flags: 'S', ...this.synOptions(options) });
    this.runUntil(() => peer.knowsHost, SECOND);
    peer.takeAll();
    peer.send();
    this.runUntil(() => tcb !== null, SECOND);
    this.settle();
    listener.close();
    peer.takeAll();
    if (tcb === null) throw new Error('the connection was not accepted');
    return { peer, user, tcb };
  }

  /** A connection that the host has opened to a peer. */
  connect(options: OpenOptions = {}): Connected {
    const peer = new RawPeer(this, { port: 8080, ...options });
    const user = options.user ?? new TestUser(this);
    const tcb = this.host.tcp.connect(peer.address, peer.port, user);
    if (tcb === null) throw new Error('no connection could be made');
    this.call(() => {});
    this.begin(peer, options);
    this.runUntil(() => peer.knowsHost, SECOND);
    peer.takeAll();
    peer.send({ flags: 'SA', ...this.synOptions(options) });
    this.runUntil(() => user.connected, SECOND);
    this.settle();
    peer.takeAll();
    return { peer, user, tcb };
  }

  /** Everything the host still holds when all its connections have had time to die. */
  leaks(): string[] {
    this.call(() => this.host.tcp.close());
    this.advance(EVERYTHING_OVER_US);
    const leaks = findLeaks(this.host);
    const { armed } = this.host.stack.timers;
    if (armed > 0) leaks.push(`${armed} timers armed`);
    if (this.link.inFlightBytes() > 0) leaks.push('frames on the link');
    return leaks;
  }

  close(): void {
    this.host.stack.close();
    this.arena.close();
  }

  /** For peers: sends the frame that was built at `frameAt`. */
  transmit(frameBytes: number): void {
    clearVnet(this.arena.bytes, this.frameAt);
    this.sendBatch.words.fill(0, 0, TRANSMIT_WORDS);
    this.sendBatch.words[0] = this.frameAt;
    this.sendBatch.words[1] = frameBytes;
    this.device.transmit(this.sendBatch, 0, 1);
    this.device.completed();
    this.frameAt = this.framesAt + (++this.sentFrames % FRAMES) * FRAME_BYTES;
  }

  private begin(peer: RawPeer, options: OpenOptions): void {
    peer.timestamps = options.timestamps ?? false;
    if (options.window !== undefined) peer.window = options.window;
  }

  private synOptions(options: OpenOptions): Crafted {
    const scale = options.windowScale === undefined ? {} : { windowScale: options.windowScale };
    return { mss: options.mss ?? 1460, ...scale, ...options.syn };
  }

  private receive(): void {
    const { bytes } = this.arena;
    while (this.device.receive(this.receiveBatch) > 0) {
      const at = this.receiveBatch.at[0] as number;
      const type = ethernetType(bytes, at);
      if (type === ETHERTYPE_ARP) this.answerArp(at);
      else if (type === ETHERTYPE_IPV4) this.receiveIpv4(at + ETHERNET_BYTES);
    }
  }

  private receiveIpv4(ipAt: number): void {
    const { bytes } = this.arena;
    if (ipv4Protocol(bytes, ipAt) !== PROTOCOL_TCP) return;
    const tcpAt = ipAt + ipv4HeaderBytes(bytes, ipAt);
    const target = ipv4Target(bytes, ipAt);
    // The peer that came last first: ports may be used again.
    const peer = this.peers.findLast((candidate) => candidate.owns(target, tcpAt));
    if (peer === undefined) this.strays++;
    else peer.accept(ipAt);
  }

  private answerArp(at: number): void {
    const { bytes } = this.arena;
    const arpAt = at + ETHERNET_BYTES;
    const asked = arpTargetAddress(bytes, arpAt);
    if (arpOperation(bytes, arpAt) !== ARP_REQUEST || asked === HOST_ADDRESS) return;
    if (this.arpAnswers !== null && !this.arpAnswers.has(asked)) return;
    const to = this.frameAt;
    setEthernet(bytes, to, this.hostMacHi, this.hostMacLo, this.peerMacHi, this.peerMacLo, ETHERTYPE_ARP);
    setArp(
      bytes,
      to + ETHERNET_BYTES,
      ARP_REPLY,
      this.peerMacHi,
      this.peerMacLo,
      asked,
      this.hostMacHi,
      this.hostMacLo,
      HOST_ADDRESS,
    );
    this.transmit(ETHERNET_BYTES + ARP_BYTES);
  }

  /** Has the host take a turn at a time, or earlier if one is due before. */
  private schedule(timeUs: number): void {
    if (timeUs >= this.turnAtUs) return;
    this.turnAtUs = timeUs;
    this.clock.at(timeUs, () => {
      // An earlier turn has taken this one's place.
      if (this.turnAtUs !== timeUs) return;
      this.turnAtUs = Number.POSITIVE_INFINITY;
      const next = this.host.turn();
      if (next !== Number.POSITIVE_INFINITY) this.schedule(Math.max(next, this.clock.nowUs()));
    });
  }
}
