/** What every part of the library OS is given, and questions about addresses that several of them ask. */
import type { TransmitQueue } from '../exokernel/transmit-queue.ts';
import type { Arena } from '../runtime/arena.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Counters } from '../runtime/counters.ts';
import type { Log } from '../runtime/log.ts';
import type { TimerWheel } from '../runtime/timer-wheel.ts';
import { isOnLink, maskOf } from '../wire/address.ts';
import type { Bytes } from '../wire/bytes.ts';
import type { LocalAddresses } from './local-addresses.ts';

export interface LibosOptions {
  /** The whole arena. */
  readonly bytes: Bytes;
  /** Blocks are carved from it at construction only. */
  readonly arena: Arena;
  readonly queue: TransmitQueue;
  readonly timers: TimerWheel;
  readonly clock: Clock;
  readonly log: Log;
  /** One count per drop reason of wire/drop-reasons.ts: `new Counters(DROP_NAMES)`, shared by the whole stack. */
  readonly drops: Counters<string>;
  readonly local: LocalAddresses;
  readonly prefixLength: number;
  readonly macHi: number;
  readonly macLo: number;
  /** Largest IP packet on the link. */
  readonly mtuBytes: number;
}

/** The subnet's first (network) or last (broadcast) address; subnets of one or two addresses have neither (RFC 3021). */
export function isDirectedBroadcast(address: number, localAddress: number, prefixLength: number): boolean {
  if (prefixLength >= 31 || !isOnLink(address, localAddress, prefixLength)) return false;
  const hostMask = ~maskOf(prefixLength);
  const host = address & hostMask;
  return host === 0 || host === hostMask;
}
