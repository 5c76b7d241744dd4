/**
 * A side of the forwarder: one device, with the stack that speaks for its addresses (ARP, routes, ICMP) and the forwarder's
 * own environment beside it, to which the frames of flows go.
 *
 * Memory: what the environment holds is the exokernel's; a frame's slot goes from here to the transmit queue of the side that
 * it leaves by, and back when it has been sent.
 */
import { anyIpv4Filter, icmp4Filter, tcp4Filter } from '../../downloadfilter/protocols.ts';
import type { Environment } from '../../exokernel/environment.ts';
import type { DeviceFeatures, Exokernel } from '../../exokernel/exokernel.ts';
import type { Stack } from '../../libos/stack.ts';
import type { Ipv4Address } from '../../wire/address.ts';
import { ICMP_PARAMETER_PROBLEM, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE } from '../../wire/icmp.ts';
import { ANYONE, type ForwarderLimits, type Mode, type Service } from './settings.ts';

export interface SideOptions {
  readonly kernel: Exokernel;
  readonly stack: Stack;
}

const ERROR_TYPES = [ICMP_UNREACHABLE, ICMP_TIME_EXCEEDED, ICMP_PARAMETER_PROBLEM];

export class Side {
  readonly index: number;
  readonly stack: Stack;
  readonly environment: Environment;
  readonly mtuBytes: number;
  readonly features: DeviceFeatures;
  readonly macHi: number;
  readonly macLo: number;

  constructor(index: number, options: SideOptions, mode: Mode, limits: ForwarderLimits) {
    const { kernel, stack } = options;
    const { macHi, macLo } = stack.environment;
    this.index = index;
    this.stack = stack;
    this.mtuBytes = stack.mtuBytes;
    this.features = stack.features;
    this.macHi = macHi;
    this.macLo = macLo;
    this.environment = kernel.createEnvironment({
      name: `${stack.environment.name}-flows`,
      macHi,
      macLo,
      addresses: [stack.localAddress],
      sources: mode === 'routed' ? [ANYONE] : stack.local.prefixes,
      forwards: true,
      ringFrames: limits.ringFrames,
      transmitFrames: limits.transmitFrames,
    });
  }

  /** Whether an address is one of this side's own. */
  has(address: Ipv4Address): boolean {
    return this.stack.local.has(address);
  }

  /**
   * Claims what is the forwarder's on this device: all of TCP to the addresses of its services and to the one that it connects
   * from, and errors about it. Segments of no flow are answered as a host's would be.
   */
  claim(services: readonly Service[], mode: Mode, leadsToBackends: boolean): void {
    const { environment, stack } = this;
    const listens = services.map(({ listen }) => listen.address).filter((address) => this.has(address));
    for (const address of new Set([stack.localAddress, ...listens])) {
      environment.claim(tcp4Filter({ target: address }));
      for (const type of ERROR_TYPES) environment.claim(icmp4Filter(address, type));
    }
    // What backends send to clients is addressed to no address of ours.
    if (leadsToBackends && mode === 'routed') environment.claim(anyIpv4Filter());
  }
}
