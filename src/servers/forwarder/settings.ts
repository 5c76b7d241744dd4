/** What a forwarder is told: whom it listens for, whom it forwards to, how, and its limits. */
import { type Cidr, formatIpv4, type Ipv4Address } from '../../wire/address.ts';

export interface Endpoint {
  readonly address: Ipv4Address;
  readonly port: number;
}

/** One address and port to listen at, and the backends that its connections go to. */
export interface Service {
  readonly listen: Endpoint;
  readonly backends: readonly Endpoint[];
}

export function formatEndpoint({ address, port }: Endpoint): string {
  return `${formatIpv4(address)}:${port}`;
}

/** As the commands announce it. */
export function formatService({ listen, backends }: Service): string {
  return `${formatEndpoint(listen)} to ${backends.map(formatEndpoint).join(', ')}`;
}

/** `nat`: the backend sees the forwarder's address and a leased port. `routed`: the client's own. */
export const MODES = ['nat', 'routed'] as const;
export type Mode = (typeof MODES)[number];

/** Which backend is next: each in its turn, or the one with the fewest living flows. */
export const BALANCES = ['round-robin', 'least-connections'] as const;
export type Balance = (typeof BALANCES)[number];

export interface ForwarderLimits {
  /** Flows, lingering ones included. A full table refuses new flows. */
  readonly maxFlows: number;
  /** Flows that are not established yet. Beyond it the oldest of them gives way to a new one. */
  readonly maxHalfOpen: number;
  /** Connections in a row that cannot be opened before a backend rests; 0: it never does. */
  readonly restAfter: number;
  /** Frames that wait for a neighbour's link-layer address. */
  readonly maxWaitingFrames: number;
  /** Resets that strangers can make us send. */
  readonly resetsPerSecond: number;
  readonly resetBurst: number;
  /** Receive slots of each device, and frames of its transmit queue. */
  readonly ringFrames: number;
  readonly transmitFrames: number;
}

export const DEFAULT_LIMITS: ForwarderLimits = {
  maxFlows: 65_536,
  maxHalfOpen: 8192,
  restAfter: 3,
  maxWaitingFrames: 64,
  resetsPerSecond: 1000,
  resetBurst: 1000,
  ringFrames: 512,
  transmitFrames: 1024,
};

/** How long a flow in which nothing moves is remembered, by its state. */
export interface FlowLifetimes {
  /** A SYN, unanswered: longer than the longest pause between two of them that a client makes (RFC 6298: 64 s). */
  readonly synUs: number;
  /** A SYN answered, the answer not yet acknowledged. */
  readonly synAckUs: number;
  /** RFC 5382 REQ-5: not less than two hours and four minutes, so that keep-alives keep it. */
  readonly establishedUs: number;
  /** One side has closed. */
  readonly halfClosedUs: number;
  /** Both have, and it is acknowledged: retransmissions of the last segments still pass. */
  readonly closedUs: number;
  readonly resetUs: number;
  /** How long a backend rests to which no connection could be opened. */
  readonly restUs: number;
}

const SECOND_US = 1_000_000;

export const DEFAULT_LIFETIMES: FlowLifetimes = {
  synUs: 75 * SECOND_US,
  synAckUs: 60 * SECOND_US,
  establishedUs: 7440 * SECOND_US,
  halfClosedUs: 3600 * SECOND_US,
  closedUs: 60 * SECOND_US,
  resetUs: 10 * SECOND_US,
  restUs: 5 * SECOND_US,
};

/** The whole of IPv4: in routed mode the forwarder speaks in the name of whoever the client is. */
export const ANYONE: Cidr = { address: 0, prefixLength: 0 };
