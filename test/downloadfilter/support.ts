/**
 * What the downloadfilter tests share: the reference demultiplexer, and random filters and frames.
 *
 * Two worlds are drawn from. The *tiny* one has frames of at most five bytes of two bits, so that statements about all
 * frames are checked on all frames. The *wire* one has Ethernet frames that look like ARP and TCP, with few addresses and
 * many ports, so that implications, overlaps, tables and IP options occur often.
 */
import fc from 'fast-check';
import { interpret } from '../../src/downloadfilter/interpret.ts';
import {
  type Atom,
  type Filter,
  FilterError,
  load8,
  load16,
  load32,
  shiftBase,
} from '../../src/downloadfilter/language.ts';
import { type NormalFilter, normalize } from '../../src/downloadfilter/normalize.ts';
import { arpFilter, ipv4Filter, tcp4Filter } from '../../src/downloadfilter/protocols.ts';
import { relate } from '../../src/downloadfilter/relate.ts';
import { verify } from '../../src/downloadfilter/verify.ts';

export interface Claim {
  readonly filter: Filter;
  readonly owner: number;
}

interface NormalClaim extends Claim {
  readonly normal: NormalFilter;
}

/** The meaning of a demultiplexer, by interpretation: no trie, no generated code. */
export class ReferenceDemultiplexer {
  readonly claims: NormalClaim[] = [];

  /** Whether the filter is taken. */
  insert(filter: Filter, owner: number): boolean {
    const normal = tryNormalize(filter);
    if (normal === undefined) return false;
    for (const other of this.claims) {
      const relation = relate(normal, other.normal);
      if (relation === 'identical' || relation === 'overlap') return false;
    }
    this.claims.push({ filter: verify(filter), owner, normal });
    return true;
  }

  remove(owner: number): void {
    const index = this.claims.findIndex((claim) => claim.owner === owner);
    this.claims.splice(index, 1);
  }

  classify(bytes: Uint8Array, at: number, length: number): number {
    let best: NormalClaim | undefined;
    for (const claim of this.claims) {
      if (!interpret(claim.filter, bytes, at, length)) continue;
      if (best === undefined || relate(claim.normal, best.normal) === 'implies') best = claim;
    }
    return best?.owner ?? -1;
  }
}

/** Undefined when the filter contradicts itself. */
export function tryNormalize(filter: Filter): NormalFilter | undefined {
  try {
    return normalize(verify(filter));
  } catch (error) {
    if (error instanceof FilterError) return undefined;
    throw error;
  }
}

export const TINY_BYTES = 5;

/** All frames of the tiny world. */
export const TINY_FRAMES: readonly Uint8Array[] = makeTinyFrames();

function makeTinyFrames(): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let length = 0; length <= TINY_BYTES; length++) {
    for (let number = 0; number < 4 ** length; number++) {
      frames.push(Uint8Array.from({ length }, (_, index) => (number >>> (2 * index)) & 3));
    }
  }
  return frames;
}

const tinyLoad: fc.Arbitrary<Atom> = fc
  .tuple(fc.constantFrom(8, 8, 16, 32), fc.nat(4), fc.integer(), fc.integer())
  .filter(([width, offset]) => offset + width / 8 <= TINY_BYTES)
  .map(([width, offset, maskBits, valueBits]) => {
    const usable = width === 8 ? 0x03 : width === 16 ? 0x0303 : 0x03030303;
    const mask = (maskBits & usable) === 0 ? usable : maskBits & usable;
    const value = mask & valueBits;
    return width === 8
      ? load8(offset, value, mask)
      : width === 16
        ? load16(offset, value, mask)
        : load32(offset, value, mask);
  });

const tinyShift: fc.Arbitrary<Atom> = fc
  .tuple(fc.nat(3), fc.integer({ min: 1, max: 3 }), fc.nat(1))
  .map(([offset, mask, leftShift]) => shiftBase(offset, mask, leftShift));

/** Filters of the tiny world without shifts: for these, relations are exact. */
export const tinyFixedFilter: fc.Arbitrary<Filter> = fc.array(tinyLoad, { minLength: 1, maxLength: 4 });

/** Filters of the tiny world with up to two shifts. */
export const tinyFilter: fc.Arbitrary<Filter> = fc
  .tuple(
    fc.array(tinyLoad, { maxLength: 3 }),
    fc.option(fc.tuple(tinyShift, fc.array(tinyLoad, { maxLength: 2 })), { nil: undefined }),
    fc.option(tinyShift, { nil: undefined }),
    tinyLoad,
  )
  .map(([first, second, shift, last]) => [
    ...first,
    ...(second === undefined ? [] : [second[0], ...second[1]]),
    ...(shift === undefined ? [] : [shift]),
    last,
  ]);

const address = fc.nat(3).map((host) => 0x0a5a0001 + host);
const port = fc.nat(40);

/** Filters such as library operating systems insert, and some that know the header length. */
export const wireFilter: fc.Arbitrary<Filter> = fc.oneof(
  address.map((target) => arpFilter(target)),
  address.map((target) => ipv4Filter(target)),
  { weight: 6, arbitrary: fc.record({ target: address, targetPort: port }).map(tcp4Filter) },
  fc.record({ target: address, sourcePort: port }).map(tcp4Filter),
  { weight: 3, arbitrary: fc.record({ target: address, source: address, targetPort: port }).map(tcp4Filter) },
  {
    weight: 3,
    arbitrary: fc.record({ target: address, source: address, sourcePort: port, targetPort: port }).map(tcp4Filter),
  },
  fc.record({ target: address }).map(tcp4Filter),
  fc
    .record({ target: address, targetPort: port })
    .map(({ target, targetPort }) => [...tcp4Filter({ target }), load8(14, 0x45), load16(36, targetPort)]),
  // A source network, and a longer frame than is looked at.
  address.map((target) => [...tcp4Filter({ target }), load32(26, 0x0a5a0000, 0xffffff00)]),
  address.map((target) => [...ipv4Filter(target), load32(60, 0, 0x80000000)]),
);

/** How a frame is made from a filter: its bits are set in `noise`, then one byte may be changed and the end cut off. */
export interface FrameRecipe {
  readonly noise: Uint8Array;
  readonly pick: number;
  readonly changeAt: number;
  readonly change: number;
  readonly length: number;
}

export const WIRE_BYTES = 120;

export const frameRecipe: fc.Arbitrary<FrameRecipe> = fc.record({
  noise: fc.uint8Array({ minLength: WIRE_BYTES, maxLength: WIRE_BYTES, max: 50 }),
  pick: fc.nat(),
  changeAt: fc.nat(79),
  change: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.nat(255)),
  length: fc.oneof(fc.constant(WIRE_BYTES), fc.nat(WIRE_BYTES)),
});

/** The frame, at `at` in bytes of which the rest goes on tempting behind its end. */
export function makeFrame(recipe: FrameRecipe, claims: readonly Claim[], at: number): Uint8Array {
  const bytes = new Uint8Array(at + WIRE_BYTES);
  bytes.set(recipe.noise, at);
  const claim = claims[recipe.pick % Math.max(1, claims.length)];
  if (claim !== undefined) satisfy(claim.filter, bytes, at);
  bytes[at + recipe.changeAt] = (bytes[at + recipe.changeAt] ?? 0) ^ recipe.change;
  return bytes;
}

/** Sets the bits that a filter requires. */
export function satisfy(filter: Filter, bytes: Uint8Array, at: number): void {
  let base = at;
  for (const atom of filter) {
    const from = base + atom.offset;
    if (atom.kind === 'shift') {
      base += ((bytes[from] ?? 0) & atom.mask) << atom.leftShift;
      continue;
    }
    for (let index = 0; index < atom.width / 8; index++) {
      const shift = atom.width - 8 * (index + 1);
      const mask = (atom.mask >>> shift) & 0xff;
      bytes[from + index] = ((bytes[from + index] ?? 0) & ~mask) | ((atom.value >>> shift) & 0xff);
    }
  }
}
