/**
 * The route table: which next hop leads to a target address (RFC 1122 section 3.3.1; longest prefix wins).
 * A host has a handful of routes and asks once per path, so they are a short list, longest prefix first.
 */
import { maskOf } from '../wire/address.ts';

interface Route {
  readonly prefix: number;
  readonly length: number;
  readonly mask: number;
  /** 0: the target is on the link. */
  readonly gateway: number;
}

export class RouteTable {
  private readonly routes: Route[] = [];

  /** Routes in the table. */
  get size(): number {
    return this.routes.length;
  }

  /**
   * Sends `prefix/length` to a gateway, or to the target itself when `gateway` is 0 (on-link); replaces the route of the
   * same prefix. `add(0, 0, gateway)` is the default route. Throws `RangeError` for a bad length or host bits.
   */
  add(prefix: number, length: number, gateway: number): void {
    const mask = checkedMask(prefix, length);
    this.remove(prefix, length);
    const route: Route = { prefix: prefix | 0, length, mask, gateway: gateway | 0 };
    const shorter = this.routes.findIndex((other) => other.length < length);
    this.routes.splice(shorter < 0 ? this.routes.length : shorter, 0, route);
  }

  /** Takes a route out; false when there is none for exactly this prefix. */
  remove(prefix: number, length: number): boolean {
    checkedMask(prefix, length);
    const index = this.routes.findIndex((route) => route.prefix === (prefix | 0) && route.length === length);
    if (index < 0) return false;
    this.routes.splice(index, 1);
    return true;
  }

  /** The address whose link-layer address a packet to `target` is sent to; undefined when no route leads there. */
  lookup(target: number): number | undefined {
    for (const route of this.routes) {
      if ((target & route.mask) === route.prefix) return route.gateway === 0 ? target | 0 : route.gateway;
    }
    return undefined;
  }
}

function checkedMask(prefix: number, length: number): number {
  if (!Number.isInteger(length) || length < 0 || length > 32)
    throw new RangeError(`prefix length ${length}: must be 0 to 32`);
  const mask = maskOf(length) | 0;
  if (((prefix | 0) & ~mask) !== 0) throw new RangeError(`route prefix has bits set beyond its ${length} bits`);
  return mask;
}
