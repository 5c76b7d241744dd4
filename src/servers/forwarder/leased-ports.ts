/**
 * The ports from which the forwarder connects to one backend (NAT): which is next, and what the backend may remember of each.
 *
 * A backend that closed first keeps a connection in TIME-WAIT, and takes a SYN on its ports only with a newer timestamp, or
 * without timestamps a higher sequence number (RFC 9293 3.10.7.4, RFC 6191). Both pass through the forwarder as they are, so a client whose
 * clocks stand lower than those of the client that had the port before would be answered by an acknowledgment, and wait a
 * second for its SYN's retransmission. Therefore a client keeps its own port where it can, for then the ends' clocks match as they would without
 * a forwarder; else it gets, of the ports unused for the longest time, the first from which the backend would take its SYN.
 *
 * Memory: about 1 MiB a backend, made by the constructor.
 */
import { int32At, uint8At, uint16At, uint32At } from '../../runtime/words.ts';
import { seqAfter, toSeq } from '../../tcp/sequence.ts';
import { type ForwarderCounters, PORTS_RISKED } from './counters.ts';

// What the backend may know of a port's last connection:
/** Nothing. */
export const PORT_FORGOTTEN = 0;
/** It is in TIME-WAIT, with the client's last sequence number, or with its last timestamp as well. */
export const PORT_SEQUENCE = 1;
export const PORT_TIMESTAMP = 2;
/** It may still be open there. */
export const PORT_OPEN = 3;
const PORT_LEASED = 4;
/** Never leased. */
const PORT_KEPT = 5;

/** Ports below belong to a host's own services (RFC 6056 section 3.2). */
export const FIRST_LEASED_PORT = 1024;
const PORTS = 65_536;

/** Twice the maximum segment lifetime (RFC 9293 section 3.4.2): nobody remembers a connection for longer. */
const REMEMBERED_SECONDS = 240;
const SECOND_US = 1_000_000;

/** Idle ports that are looked at for one that the backend takes a SYN from. */
const MAX_PORTS_TRIED = 64;

/** The list of idle ports is a ring with this, which is no port, between its end and its beginning. */
const ENDS = 0;

export class LeasedPorts {
  private readonly counters: ForwarderCounters;
  private readonly memory = new Uint8Array(PORTS);
  /** One past the last sequence number of the client's, its last timestamp, and when that was. */
  private readonly sequence = new Int32Array(PORTS);
  private readonly timestamp = new Int32Array(PORTS);
  private readonly endedSeconds = new Uint32Array(PORTS);
  /** Idle ports, the longest unused first. */
  private readonly next = new Uint16Array(PORTS);
  private readonly previous = new Uint16Array(PORTS);

  /** All ports but those that are listened at. */
  constructor(listening: readonly number[], counters: ForwarderCounters) {
    this.counters = counters;
    for (const port of listening) this.memory[port] = PORT_KEPT;
    for (let port = FIRST_LEASED_PORT; port < PORTS; port++) {
      if (uint8At(this.memory, port) !== PORT_KEPT) this.append(port);
    }
  }

  /**
   * A port for a connection whose SYN has this sequence number and timestamp, `preferred` (0: none) if it can be; 0 when all
   * are leased.
   */
  lease(preferred: number, seq: number, hasTimestamp: boolean, timestamp: number, nowUs: number): number {
    const port = this.choose(preferred, seq, hasTimestamp, timestamp, nowUs);
    if (port === ENDS) return 0;
    this.remove(port);
    this.memory[port] = PORT_LEASED;
    return port;
  }

  /** The connection from a port is over; `memory` is what the backend may know of it. */
  giveBack(port: number, memory: number, seq: number, timestamp: number, nowUs: number): void {
    this.memory[port] = memory;
    this.sequence[port] = seq;
    this.timestamp[port] = timestamp;
    this.endedSeconds[port] = Math.floor(nowUs / SECOND_US);
    this.append(port);
  }

  private choose(preferred: number, seq: number, hasTimestamp: boolean, timestamp: number, nowUs: number): number {
    const nowSeconds = Math.floor(nowUs / SECOND_US);
    const isIdle = preferred >= FIRST_LEASED_PORT && uint8At(this.memory, preferred) < PORT_LEASED;
    if (isIdle && this.isWelcome(preferred, seq, hasTimestamp, timestamp, nowSeconds)) return preferred;
    const oldest = uint16At(this.next, ENDS);
    let port = oldest;
    for (let tried = 0; port !== ENDS && tried < MAX_PORTS_TRIED; tried++) {
      if (this.isWelcome(port, seq, hasTimestamp, timestamp, nowSeconds)) return port;
      port = uint16At(this.next, port);
    }
    if (oldest !== ENDS) this.counters.increment(PORTS_RISKED);
    return isIdle ? preferred : oldest;
  }

  /** Whether the backend would answer the SYN from an idle port with a SYN of its own. */
  private isWelcome(port: number, seq: number, hasTimestamp: boolean, timestamp: number, nowSeconds: number): boolean {
    const memory = uint8At(this.memory, port);
    if (memory === PORT_FORGOTTEN || nowSeconds - uint32At(this.endedSeconds, port) > REMEMBERED_SECONDS) return true;
    if (memory === PORT_OPEN) return false;
    // Timestamps are compared as sequence numbers are (RFC 7323 section 5.2).
    const last = int32At(this.timestamp, port);
    if (memory === PORT_TIMESTAMP && hasTimestamp && timestamp !== last) return seqAfter(toSeq(timestamp), toSeq(last));
    return seqAfter(toSeq(seq), toSeq(int32At(this.sequence, port)));
  }

  private append(port: number): void {
    const last = uint16At(this.previous, ENDS);
    this.next[last] = port;
    this.previous[port] = last;
    this.next[port] = ENDS;
    this.previous[ENDS] = port;
  }

  private remove(port: number): void {
    const next = uint16At(this.next, port);
    const previous = uint16At(this.previous, port);
    this.next[previous] = next;
    this.previous[next] = previous;
  }
}
