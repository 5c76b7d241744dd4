/**
 * Control segments owed to peers that have no TCB to remember them by: resets for segments nobody wants (RFC 9293
 * 3.10.7.1), acknowledgments from TIME-WAIT, the last words of an aborted connection. Input and user calls note them
 * here, output sends them. What strangers ask for is bounded by `MAX_STRAY_REPLIES`, and what does not fit is dropped and
 * counted; connections that end have their segment in any case, at most one each.
 */
import { int32At } from '../wire/bytes.ts';

/** Replies to strangers that may wait. */
export const MAX_STRAY_REPLIES = 256;

const WORDS = 10;
const ADDRESS = 0;
const PORTS = 1;
const SEQ = 2;
const ACK = 3;
const FLAGS_WINDOW = 4;
const HAS_TIMESTAMPS = 5;
const TS_VALUE = 6;
const TS_ECHO = 7;
const LOCAL_ADDRESS = 8;
const SYN_OPTIONS = 9;

/** Of `synScale`: the option is not sent. */
export const NO_WINDOW_SCALE = -1;
const SYN_SACK = 0x100;

export class Replies {
  private words = new Int32Array(MAX_STRAY_REPLIES * WORDS);
  count = 0;

  /** Notes a segment without timestamps. Sequence numbers are given as bits. */
  add(
    address: number,
    remotePort: number,
    localAddress: number,
    localPort: number,
    seq: number,
    ack: number,
    flags: number,
    window: number,
  ): void {
    if (this.count * WORDS === this.words.length) this.grow();
    const at = this.count++ * WORDS;
    this.words[at + ADDRESS] = address;
    this.words[at + LOCAL_ADDRESS] = localAddress;
    this.words[at + PORTS] = (remotePort << 16) | localPort;
    this.words[at + SEQ] = seq;
    this.words[at + ACK] = ack;
    this.words[at + FLAGS_WINDOW] = (flags << 16) | window;
    this.words[at + HAS_TIMESTAMPS] = 0;
  }

  /** Gives the segment added last a timestamps option. */
  addTimestamps(value: number, echo: number): void {
    const at = (this.count - 1) * WORDS;
    this.words[at + HAS_TIMESTAMPS] = 1;
    this.words[at + TS_VALUE] = value;
    this.words[at + TS_ECHO] = echo;
  }

  /** Says what options the SYN added last carries beside MSS and timestamps; `scale` may be `NO_WINDOW_SCALE`. */
  addSynOptions(scale: number, sack: boolean): void {
    this.words[(this.count - 1) * WORDS + SYN_OPTIONS] = (scale & 0xff) | (sack ? SYN_SACK : 0);
  }

  synScale(index: number): number {
    return (int32At(this.words, index * WORDS + SYN_OPTIONS) << 24) >> 24;
  }

  synSack(index: number): boolean {
    return (int32At(this.words, index * WORDS + SYN_OPTIONS) & SYN_SACK) !== 0;
  }

  address(index: number): number {
    return int32At(this.words, index * WORDS + ADDRESS);
  }

  remotePort(index: number): number {
    return int32At(this.words, index * WORDS + PORTS) >>> 16;
  }

  localAddress(index: number): number {
    return int32At(this.words, index * WORDS + LOCAL_ADDRESS);
  }

  localPort(index: number): number {
    return int32At(this.words, index * WORDS + PORTS) & 0xffff;
  }

  seq(index: number): number {
    return int32At(this.words, index * WORDS + SEQ);
  }

  ack(index: number): number {
    return int32At(this.words, index * WORDS + ACK);
  }

  flags(index: number): number {
    return int32At(this.words, index * WORDS + FLAGS_WINDOW) >>> 16;
  }

  window(index: number): number {
    return int32At(this.words, index * WORDS + FLAGS_WINDOW) & 0xffff;
  }

  hasTimestamps(index: number): boolean {
    return int32At(this.words, index * WORDS + HAS_TIMESTAMPS) === 1;
  }

  tsValue(index: number): number {
    return int32At(this.words, index * WORDS + TS_VALUE);
  }

  tsEcho(index: number): number {
    return int32At(this.words, index * WORDS + TS_ECHO);
  }

  /** Forgets the first `sent` segments. */
  drop(sent: number): void {
    this.words.copyWithin(0, sent * WORDS, this.count * WORDS);
    this.count -= sent;
  }

  private grow(): void {
    const words = new Int32Array(this.words.length * 2);
    words.set(this.words);
    this.words = words;
  }
}
