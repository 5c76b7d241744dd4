/** A TCB without a stack, and memory without an arena. */
import type { Arena } from '../../src/runtime/arena.ts';
import { SeededRandom } from '../../src/runtime/random.ts';
import { Acknowledgment } from '../../src/tcp/acknowledgment.ts';
import type { CongestionContext } from '../../src/tcp/congestion/congestion.ts';
import { RateSample } from '../../src/tcp/delivery-rate.ts';
import { SentRanges } from '../../src/tcp/sent-ranges.ts';
import { toSeq } from '../../src/tcp/sequence.ts';
import { DEFAULT_TCP_SETTINGS, type TcpSettings } from '../../src/tcp/settings.ts';
import { Tcb } from '../../src/tcp/tcb.ts';
import type { Tcp } from '../../src/tcp/tcp.ts';

/** Sequence numbers around which 32-bit arithmetic goes wrong first: 0, 2^31 and 2^32 are crossed by a few thousand bytes. */
export const AWKWARD_STARTS: readonly number[] = [
  0,
  1,
  -1,
  -3000,
  0x7fffffff,
  0x7fffffff - 3000,
  -0x80000000,
  123_456_789,
];

/** What the functions under test use of a `Tcp`. */
export function tcpWith(settings: Partial<TcpSettings> = {}): Tcp {
  return { settings: { ...DEFAULT_TCP_SETTINGS, ...settings }, nowUs: 0 } as unknown as Tcp;
}

export function createTcb(tcp: Tcp = tcpWith()): Tcb {
  return new Tcb(tcp, 0, 1, 2, 3);
}

/** What a congestion control asks the stack, at a time that a test chooses. */
export class TestContext implements CongestionContext {
  nowUs: number;
  readonly acknowledgment = new Acknowledgment();
  readonly rateSample = new RateSample();
  readonly ranges = new SentRanges({ nowUs: () => this.nowUs }, true);
  readonly random = new SeededRandom(1);

  constructor(nowUs = 0) {
    this.nowUs = nowUs;
  }
}

/** A TCB whose streams start at these sequence numbers, nothing sent, nothing received. */
export function createTcbAt(sendStart: number, receiveStart = 0): Tcb {
  const tcb = createTcb();
  tcb.sndUna = toSeq(sendStart);
  tcb.sndNxt = tcb.sndUna;
  tcb.sndEnd = tcb.sndUna;
  tcb.rcvNxt = toSeq(receiveStart);
  tcb.readSeq = tcb.rcvNxt;
  tcb.rcvAdv = tcb.rcvNxt;
  return tcb;
}

/** Plain memory that hands out blocks as an arena does. */
export class PlainMemory implements Pick<Arena, 'allocate'> {
  readonly bytes: Uint8Array;
  private top = 4096;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
  }

  allocate(length: number): number {
    const at = this.top;
    this.top = Math.ceil((at + length) / 64) * 64;
    if (this.top > this.bytes.length) throw new RangeError('the test has too little memory');
    return at;
  }
}

/** Byte `offset` of a stream that has no short period. */
export function streamByte(offset: number): number {
  return (Math.imul(offset + 1, 0x9e3779b1) >>> 21) & 0xff;
}
