/** Initial sequence numbers (RFC 6528) and timestamp offsets (RFC 7323 section 5.4) that an outsider cannot compute. */
import { type HashKey, hashWords } from '../runtime/half-siphash.ts';
import type { Random } from '../runtime/random.ts';
import { type Seq, seqAdd, seqAfter, toSeq } from './sequence.ts';
import type { Tcb } from './tcb.ts';

/** RFC 6528: M ticks every four microseconds. */
const TICK_US = 4;
/** From where a connection in TIME-WAIT had come to, to where its new incarnation begins at least. */
const INCARNATION_GAP = 0x10001;

export class InitialSequence {
  private readonly key: HashKey;
  private readonly timestampKey: HashKey;

  constructor(random: Random) {
    this.key = { low: random.i32(), high: random.i32() };
    this.timestampKey = { low: random.i32(), high: random.i32() };
  }

  /** ISS = M + F(connection, secret). */
  choose(tcb: Tcb, nowUs: number): void {
    const ports = (tcb.remotePort << 16) | tcb.localPort;
    const hash = hashWords(this.key, tcb.remoteAddress, ports, tcb.localAddress);
    // Bit operations take numbers modulo 2^32.
    setIss(tcb, seqAdd(toSeq(hash), (nowUs / TICK_US) | 0));
  }

  /** The same for a new incarnation of a connection in TIME-WAIT: beyond what the old one sent. */
  chooseAfter(tcb: Tcb, nowUs: number, oldSndNxt: Seq): void {
    this.choose(tcb, nowUs);
    if (!seqAfter(tcb.iss, oldSndNxt)) setIss(tcb, seqAdd(oldSndNxt, INCARNATION_GAP));
  }

  /** What is added to the clock in the timestamps to one host: the same for all its connections (RFC 6191 needs that). */
  timestampOffset(localAddress: number, remoteAddress: number): number {
    return hashWords(this.timestampKey, remoteAddress, localAddress, 0);
  }
}

/** The connection begins at `iss`. */
export function setIss(tcb: Tcb, iss: Seq): void {
  tcb.iss = iss;
  tcb.sndUna = iss;
  tcb.sndNxt = iss;
  tcb.recover = iss;
  tcb.rttSeq = iss;
  tcb.smallEnd = iss;
  tcb.sndEnd = seqAdd(iss, 1);
}
