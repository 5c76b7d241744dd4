/**
 * Nanoseconds that TCP's input takes for a segment that an established connection expects: the frames lie in the arena, their
 * checksums are the device's to have checked, and what is timed is `Tcp.input` and nothing else. Application and output, which
 * follow for a batch together, are not in it.
 */
import { consume, readableBytes, send, takeEvents } from '../../src/tcp/calls.ts';
import { flightBytes } from '../../src/tcp/pipe.ts';
import { seqBits } from '../../src/tcp/sequence.ts';
import { EVENT_CONNECTED, type Tcb, type TcpUser } from '../../src/tcp/tcb.ts';
import { setU8 } from '../../src/wire/bytes.ts';
import { ETHERNET_BYTES } from '../../src/wire/ethernet.ts';
import { IPV4_BYTES } from '../../src/wire/ipv4.ts';
import { TCP_ACK } from '../../src/wire/tcp.ts';
import { VNET_BYTES, VNET_DATA_VALID } from '../../src/wire/virtio-net.ts';
import { median } from '../statistics.ts';
import { Rig } from './rig.ts';
import { PEER_ISS } from './stateless-peer.ts';

const BATCH = 32;
const TEXT_BYTES = 1448;
const FRAME_BYTES = 2048;
const ROUND_US = 1000;
const PORT = 80;
const PEER_PORT = 20_000;
const NS_PER_MS = 1e6;

export interface InputTimes {
  /** Medians of batches of 32, nanoseconds a segment. */
  readonly ackNs: number;
  readonly textNs: number;
  /** The same without `headerPrediction`. */
  readonly slowAckNs: number;
  readonly slowTextNs: number;
}

/** Reads what comes. */
class Reader implements TcpUser {
  connection: Tcb | null = null;

  ready(connection: Tcb): void {
    if ((takeEvents(connection) & EVENT_CONNECTED) !== 0) this.connection = connection;
    consume(connection, readableBytes(connection));
  }
}

class Subject {
  private readonly rig: Rig;
  private readonly tcb: Tcb;
  private readonly framesAt: number;
  private readonly textAt: number;
  private peerNxt = PEER_ISS + 1;

  constructor(headerPrediction: boolean) {
    this.rig = new Rig({ headerPrediction });
    const { rig } = this;
    const user = new Reader();
    rig.host.tcp.listen(PORT, () => user);
    rig.peer.open(PEER_PORT, PORT);
    rig.advance(ROUND_US);
    if (user.connection === null) throw new Error('no connection');
    this.tcb = user.connection;
    rig.peer.silent = true;
    this.framesAt = rig.arena.allocate(BATCH * FRAME_BYTES) + VNET_BYTES;
    this.textAt = rig.arena.allocate(BATCH * TEXT_BYTES);
  }

  /** A batch of segments with text; nanoseconds for each. */
  text(): number {
    const { tcb, rig } = this;
    const una = seqBits(tcb.sndUna);
    for (let i = 0; i < BATCH; i++) {
      this.write(i, this.peerNxt, una, TEXT_BYTES);
      this.peerNxt = (this.peerNxt + TEXT_BYTES) | 0;
    }
    const ns = this.time(BATCH, TEXT_BYTES);
    this.turn();
    if (seqBits(tcb.readSeq) !== this.peerNxt) throw new Error('the text was not read');
    rig.advance(ROUND_US);
    return ns;
  }

  /** A batch of acknowledgments of a segment each; -1 while the congestion window is too small for one. */
  acks(): number {
    const { tcb, rig } = this;
    send(tcb, this.textAt, BATCH * TEXT_BYTES, null, 0);
    rig.advance(0);
    this.turn();
    let ns = -1;
    while (flightBytes(tcb) > 0) {
      const segments = Math.floor(flightBytes(tcb) / TEXT_BYTES);
      const una = seqBits(tcb.sndUna);
      rig.advance(ROUND_US);
      for (let i = 0; i < segments; i++) this.write(i, this.peerNxt, una + (i + 1) * TEXT_BYTES, 0);
      const each = this.time(segments, 0);
      if (segments === BATCH) ns = each;
      this.turn();
    }
    return ns;
  }

  close(): void {
    this.rig.host.stack.close();
    this.rig.arena.close();
  }

  private write(index: number, seq: number, ack: number, textBytes: number): void {
    const { rig, tcb } = this;
    const at = this.framesAt + index * FRAME_BYTES;
    const echo = tcb.tcp.timestamp(tcb.tsOffset);
    rig.peer.write(at, PEER_PORT, PORT, seq, ack, TCP_ACK, echo, textBytes);
    setU8(rig.arena.bytes, at - VNET_BYTES, VNET_DATA_VALID);
  }

  private time(count: number, textBytes: number): number {
    const { tcp } = this.rig.host;
    const tcpBytes = 32 + textBytes;
    const begin = performance.now();
    for (let i = 0; i < count; i++) {
      const at = this.framesAt + i * FRAME_BYTES;
      tcp.input(at, at + ETHERNET_BYTES, at + ETHERNET_BYTES + IPV4_BYTES, tcpBytes);
    }
    return ((performance.now() - begin) * NS_PER_MS) / count;
  }

  private turn(): void {
    this.rig.host.turn();
    this.rig.advance(0);
  }
}

/** Measures with and without prediction by turns, so that both see the same machine. */
export function timeInput(rounds: number): InputTimes {
  const subjects = [new Subject(true), new Subject(false)] as const;
  const text: [number[], number[]] = [[], []];
  const acks: [number[], number[]] = [[], []];
  for (let round = 0; round < 2 * rounds; round++) {
    for (const side of [0, 1] as const) {
      const textNs = subjects[side].text();
      const ackNs = subjects[side].acks();
      // The first half is for the engine to warm up.
      if (round < rounds) continue;
      text[side].push(textNs);
      if (ackNs >= 0) acks[side].push(ackNs);
    }
  }
  for (const subject of subjects) subject.close();
  return {
    ackNs: median(acks[0]),
    textNs: median(text[0]),
    slowAckNs: median(acks[1]),
    slowTextNs: median(text[1]),
  };
}
