/**
 * The addresses a stack has: the one it goes by, and whole prefixes that it answers for as well (a load generator's
 * sources). They are numbered, so that what is kept per local address can be looked up by a small integer.
 */
import { type Cidr, formatIpv4, maskOf } from '../wire/address.ts';

/** Addresses a stack may have in all; the numbers of addresses stay below it. */
export const MAX_LOCAL_ADDRESSES = 2 ** 20;

const NOT_OURS = -1;

export class LocalAddresses {
  /** What the stack says of itself unless it is told otherwise. */
  readonly primary: number;
  readonly prefixes: readonly Cidr[];
  private readonly networks: Int32Array;
  private readonly masks: Int32Array;
  /** The number of each prefix's first address. */
  private readonly firsts: Int32Array;

  /** Throws `RangeError` when the prefixes hold more than `MAX_LOCAL_ADDRESSES`, or the same address twice. */
  constructor(primary: number, prefixes: readonly Cidr[] = []) {
    this.primary = primary;
    this.prefixes = prefixes;
    this.masks = Int32Array.from(prefixes, ({ prefixLength }) => maskOf(prefixLength));
    this.networks = Int32Array.from(prefixes, ({ address, prefixLength }) => address & maskOf(prefixLength));
    this.firsts = new Int32Array(prefixes.length);
    let count = 1;
    for (const [index, { address, prefixLength }] of prefixes.entries()) {
      const text = `${formatIpv4(address)}/${prefixLength}`;
      for (let before = 0; before < index; before++) {
        const common = (this.masks[before] as number) & (this.masks[index] as number);
        const differs = ((this.networks[before] as number) ^ (this.networks[index] as number)) & common;
        if (differs === 0) throw new RangeError(`${text} and another prefix have addresses in common`);
      }
      this.firsts[index] = count;
      count += 2 ** (32 - prefixLength);
      if (count > MAX_LOCAL_ADDRESSES) throw new RangeError(`${text}: more than ${MAX_LOCAL_ADDRESSES} addresses`);
    }
  }

  has(address: number): boolean {
    return address === this.primary || this.prefixOf(address) !== NOT_OURS;
  }

  /** The number of an address, 0 for the primary one; -1 when it is not ours. */
  indexOf(address: number): number {
    if (address === this.primary) return 0;
    const prefix = this.prefixOf(address);
    if (prefix === NOT_OURS) return NOT_OURS;
    return (this.firsts[prefix] as number) + (address & ~(this.masks[prefix] as number));
  }

  private prefixOf(address: number): number {
    const { networks, masks } = this;
    for (let i = 0; i < networks.length; i++) if ((address & (masks[i] as number)) === networks[i]) return i;
    return NOT_OURS;
  }
}
