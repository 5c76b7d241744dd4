/**
 * ICMP (RFC 792, RFC 1122 section 3.2.2): answers echo requests of any size, hands errors about our packets to the
 * transport that sent them, and sends the errors that a host owes. What the network can make us send is limited by two
 * token buckets. Redirects and source quenches are ignored (RFC 1812 section 5.2.7.2 leaves them to hosts, RFC 6633).
 *
 * Memory: short messages are written into header slots, long replies into a ring of this class's own.
 */
import { MAX_HEADER_BYTES } from '../exokernel/transmit-queue.ts';
import type { Clock } from '../runtime/clock.ts';
import { Counters } from '../runtime/counters.ts';
import type { Bytes } from '../wire/bytes.ts';
import {
  DROP_ICMP_QUOTE,
  DROP_ICMP_RATE,
  DROP_ICMP_SHORT,
  DROP_ICMP_TYPE,
  DROP_NO_ROUTE,
  DROP_QUEUE_FULL,
  type DropReason,
} from '../wire/drop-reasons.ts';
import {
  fillIcmpChecksum,
  ICMP_BYTES,
  ICMP_CODE_FRAG_NEEDED,
  ICMP_ECHO,
  ICMP_ECHO_REPLY,
  ICMP_PARAMETER_PROBLEM,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  icmpCheck,
  icmpCode,
  icmpEchoId,
  icmpEchoSequence,
  icmpNextMtu,
  icmpType,
  setIcmpEcho,
  setIcmpError,
} from '../wire/icmp.ts';
import {
  ipv4CheckQuoted,
  ipv4FragmentOffset,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
  ipv4Target,
  ipv4TotalBytes,
  PROTOCOL_ICMP,
} from '../wire/ipv4.ts';
import { VNET_DATA_VALID, VNET_NEEDS_CSUM, vnetFlags } from '../wire/virtio-net.ts';
import type { ErrorSender, Ipv4, TransportHandler } from './ipv4.ts';
import type { LocalAddresses } from './local-addresses.ts';
import type { LibosOptions } from './options.ts';
import type { Path, Paths } from './path.ts';
import { TokenBucket } from './token-bucket.ts';
import { TransmitBuffer } from './transmit-buffer.ts';

export interface IcmpLimits {
  /** Echo requests answered, and how many of them at once. */
  readonly echoesPerSecond: number;
  readonly echoBurst: number;
  /** Errors sent, and how many of them at once. */
  readonly errorsPerSecond: number;
  readonly errorBurst: number;
  /** Bytes and number of long echo replies that the device has not sent yet. */
  readonly replyBytes: number;
  readonly maxReplies: number;
}

export const DEFAULT_ICMP_LIMITS: IcmpLimits = {
  echoesPerSecond: 1000,
  echoBurst: 1000,
  errorsPerSecond: 100,
  errorBurst: 50,
  replyBytes: 256 * 1024,
  maxReplies: 256,
};

export interface IcmpOptions extends LibosOptions {
  readonly ipv4: Ipv4;
  readonly paths: Paths;
  readonly limits?: Partial<IcmpLimits> | undefined;
}

/** MTUs that links have (RFC 1191 section 7.1): the next lower one is the guess when a router does not tell. */
const PLATEAUS = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296];
const MIN_MTU_BYTES = 68;

const COUNTERS = [
  'received',
  'echoRequests',
  'echoReplies',
  'echoRefused',
  'errorsReceived',
  'errorsDelivered',
  'errorsSent',
  'errorsSuppressed',
  'errorsLimited',
  'ignored',
  'dropped',
] as const;
const RECEIVED = COUNTERS.indexOf('received');
const ECHO_REQUESTS = COUNTERS.indexOf('echoRequests');
const ECHO_REPLIES = COUNTERS.indexOf('echoReplies');
const ECHO_REFUSED = COUNTERS.indexOf('echoRefused');
const ERRORS_RECEIVED = COUNTERS.indexOf('errorsReceived');
const ERRORS_DELIVERED = COUNTERS.indexOf('errorsDelivered');
const ERRORS_SENT = COUNTERS.indexOf('errorsSent');
const ERRORS_SUPPRESSED = COUNTERS.indexOf('errorsSuppressed');
const ERRORS_LIMITED = COUNTERS.indexOf('errorsLimited');
const IGNORED = COUNTERS.indexOf('ignored');
const DROPPED = COUNTERS.indexOf('dropped');

export class Icmp implements TransportHandler, ErrorSender {
  readonly counters = new Counters(COUNTERS);
  private readonly bytes: Bytes;
  private readonly clock: Clock;
  private readonly drops: Counters<string>;
  private readonly ipv4: Ipv4;
  private readonly paths: Paths;
  private readonly local: LocalAddresses;
  private readonly echoes: TokenBucket;
  private readonly errors: TokenBucket;
  private readonly replies: TransmitBuffer;

  /** Registers itself with `ipv4`, as protocol 1 and as the sender of errors. */
  constructor(options: IcmpOptions) {
    this.bytes = options.bytes;
    this.clock = options.clock;
    this.drops = options.drops;
    this.ipv4 = options.ipv4;
    this.paths = options.paths;
    this.local = options.local;
    const limits = { ...DEFAULT_ICMP_LIMITS, ...options.limits };
    this.echoes = new TokenBucket(limits.echoesPerSecond, limits.echoBurst);
    this.errors = new TokenBucket(limits.errorsPerSecond, limits.errorBurst);
    this.replies = new TransmitBuffer(options.arena, options.queue, limits.replyBytes, limits.maxReplies);
    this.ipv4.handlers[PROTOCOL_ICMP] = this;
    this.ipv4.attachErrors(this);
  }

  input(frameAt: number, ipAt: number, messageAt: number, messageBytes: number): void {
    this.counters.increment(RECEIVED);
    const { bytes } = this;
    const verified = (vnetFlags(bytes, frameAt) & (VNET_NEEDS_CSUM | VNET_DATA_VALID)) !== 0;
    const bad = verified ? checkLength(messageBytes) : icmpCheck(bytes, messageAt, messageBytes);
    if (bad !== 0) {
      this.drop(bad);
      return;
    }
    switch (icmpType(bytes, messageAt)) {
      case ICMP_ECHO:
        this.counters.increment(ECHO_REQUESTS);
        this.answer(ipv4Source(bytes, ipAt), ipv4Target(bytes, ipAt), messageAt, messageBytes);
        break;
      case ICMP_UNREACHABLE:
      case ICMP_TIME_EXCEEDED:
      case ICMP_PARAMETER_PROBLEM:
        this.counters.increment(ERRORS_RECEIVED);
        this.deliver(messageAt, messageBytes);
        break;
      default:
        this.counters.increment(IGNORED);
        this.drops.increment(DROP_ICMP_TYPE);
    }
  }

  /** Errors about our own ICMP messages interest nobody here. */
  icmpError(): void {
    this.counters.increment(IGNORED);
  }

  /**
   * Sends an error about a packet received (its IPv4 header at `ipAt`), quoting what fits of it; `sendUnreachable(ICMP_CODE_PORT, ...)` is what a UDP
   * without a listener calls; `nextMtu` is for "fragmentation needed" alone. False when RFC 1122 section 3.2.2 forbids it or the limit is reached.
   */
  sendError(type: number, code: number, ipAt: number, nextMtu = 0): boolean {
    if (!this.mayReport(ipAt)) {
      this.counters.increment(ERRORS_SUPPRESSED);
      return false;
    }
    if (!this.errors.take(this.clock.nowUs())) {
      this.counters.increment(ERRORS_LIMITED);
      this.drops.increment(DROP_ICMP_RATE);
      return false;
    }
    // About a packet that was to be sent on the error comes from the address that we go by (RFC 1812 section 4.3.2.4).
    const target = ipv4Target(this.bytes, ipAt);
    const local = this.local.has(target) ? target : this.local.primary;
    const path = this.paths.acquire(ipv4Source(this.bytes, ipAt), local);
    if (path === undefined) {
      this.drops.increment(DROP_NO_ROUTE);
      return false;
    }
    const sent = this.writeError(path, type, code, ipAt, nextMtu);
    this.paths.release(path);
    if (sent) this.counters.increment(ERRORS_SENT);
    return sent;
  }

  /** Sends "unreachable" with a code (`ICMP_CODE_PORT`, ...) about a packet received. */
  sendUnreachable(code: number, ipAt: number): boolean {
    return this.sendError(ICMP_UNREACHABLE, code, ipAt);
  }

  /** Section 3.2.2.6: the reply carries the request's data, all of it. */
  private answer(remote: number, local: number, messageAt: number, messageBytes: number): void {
    if (!this.echoes.take(this.clock.nowUs())) {
      this.counters.increment(ECHO_REFUSED);
      this.drop(DROP_ICMP_RATE);
      return;
    }
    const path = this.paths.acquire(remote, local);
    if (path === undefined) {
      this.drop(DROP_NO_ROUTE);
      return;
    }
    const roomBytes = MAX_HEADER_BYTES - path.headerBytes;
    const sent =
      messageBytes <= roomBytes
        ? this.answerShort(path, messageAt, messageBytes)
        : this.answerLong(path, messageAt, messageBytes);
    this.paths.release(path);
    if (sent) this.counters.increment(ECHO_REPLIES);
  }

  private answerShort(path: Path, messageAt: number, messageBytes: number): boolean {
    const at = this.ipv4.begin();
    if (at === 0) {
      this.drop(DROP_QUEUE_FULL);
      return false;
    }
    this.writeReply(at + path.headerBytes, messageAt, messageBytes);
    return this.ipv4.send(path, at, PROTOCOL_ICMP, messageBytes, 0);
  }

  private answerLong(path: Path, messageAt: number, messageBytes: number): boolean {
    const replyAt = this.replies.allocate(messageBytes);
    if (replyAt === 0) {
      this.drop(DROP_QUEUE_FULL);
      return false;
    }
    this.writeReply(replyAt, messageAt, messageBytes);
    const sent = this.ipv4.sendDatagram(path, PROTOCOL_ICMP, replyAt, messageBytes);
    this.replies.commit();
    return sent;
  }

  private writeReply(replyAt: number, messageAt: number, messageBytes: number): void {
    const { bytes } = this;
    bytes.copyWithin(replyAt + ICMP_BYTES, messageAt + ICMP_BYTES, messageAt + messageBytes);
    setIcmpEcho(bytes, replyAt, ICMP_ECHO_REPLY, icmpEchoId(bytes, messageAt), icmpEchoSequence(bytes, messageAt));
    fillIcmpChecksum(bytes, replyAt, messageBytes);
  }

  /** Section 3.2.2.1: the transport whose packet is quoted hears of it, if that packet can be ours. */
  private deliver(messageAt: number, messageBytes: number): void {
    const { bytes } = this;
    const quotedAt = messageAt + ICMP_BYTES;
    const quotedBytes = messageBytes - ICMP_BYTES;
    const bad = ipv4CheckQuoted(bytes, quotedAt, quotedBytes);
    if (bad !== 0) {
      this.drop(bad);
      return;
    }
    const handler = this.ipv4.handlers[ipv4Protocol(bytes, quotedAt)];
    const ours = this.local.has(ipv4Source(bytes, quotedAt)) && ipv4FragmentOffset(bytes, quotedAt) === 0;
    if (!ours || handler === null || handler === undefined) {
      this.drop(DROP_ICMP_QUOTE);
      return;
    }
    const type = icmpType(bytes, messageAt);
    const code = icmpCode(bytes, messageAt);
    const headerBytes = ipv4HeaderBytes(bytes, quotedAt);
    const nextMtu =
      type === ICMP_UNREACHABLE && code === ICMP_CODE_FRAG_NEEDED ? this.readNextMtu(messageAt, quotedAt) : 0;
    this.counters.increment(ERRORS_DELIVERED);
    handler.icmpError(type, code, quotedAt, quotedAt + headerBytes, quotedBytes - headerBytes, nextMtu);
  }

  /** The MTU that a router names, or the guess of RFC 1191 section 7 when it names none. */
  private readNextMtu(messageAt: number, quotedAt: number): number {
    const told = icmpNextMtu(this.bytes, messageAt);
    if (told !== 0) return Math.max(told, MIN_MTU_BYTES);
    const packetBytes = ipv4TotalBytes(this.bytes, quotedAt);
    for (const plateau of PLATEAUS) {
      if (plateau < packetBytes) return plateau;
    }
    return MIN_MTU_BYTES;
  }

  /** Section 3.2.2: no error about an error, nor about a fragment that is not the first. (IPv4 drops what is no unicast.) */
  private mayReport(ipAt: number): boolean {
    const { bytes } = this;
    if (ipv4FragmentOffset(bytes, ipAt) !== 0) return false;
    if (ipv4Protocol(bytes, ipAt) !== PROTOCOL_ICMP) return true;
    const messageAt = ipAt + ipv4HeaderBytes(bytes, ipAt);
    if (ipv4TotalBytes(bytes, ipAt) <= ipv4HeaderBytes(bytes, ipAt)) return false;
    const type = icmpType(bytes, messageAt);
    return type === ICMP_ECHO || type === ICMP_ECHO_REPLY;
  }

  private writeError(path: Path, type: number, code: number, ipAt: number, nextMtu: number): boolean {
    const at = this.ipv4.begin();
    if (at === 0) {
      this.drops.increment(DROP_QUEUE_FULL);
      return false;
    }
    const { bytes } = this;
    const messageAt = at + path.headerBytes;
    const quotedAt = messageAt + ICMP_BYTES;
    const roomBytes = at + MAX_HEADER_BYTES - quotedAt;
    const quotedBytes = Math.min(ipv4TotalBytes(bytes, ipAt), roomBytes);
    setIcmpError(bytes, messageAt, type, code, nextMtu);
    bytes.copyWithin(quotedAt, ipAt, ipAt + quotedBytes);
    fillIcmpChecksum(bytes, messageAt, ICMP_BYTES + quotedBytes);
    return this.ipv4.send(path, at, PROTOCOL_ICMP, ICMP_BYTES + quotedBytes, 0);
  }

  private drop(reason: DropReason): void {
    this.counters.increment(DROPPED);
    this.drops.increment(reason);
  }
}

function checkLength(messageBytes: number): DropReason {
  return messageBytes < ICMP_BYTES ? DROP_ICMP_SHORT : 0;
}
