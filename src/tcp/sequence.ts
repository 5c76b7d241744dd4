/**
 * Sequence numbers: arithmetic modulo 2^32 (RFC 9293 section 3.4), and the only place where it is done.
 *
 * At run time a sequence number is a signed 32-bit integer, which the engine keeps unboxed. To the compiler it is an
 * opaque type on which `+`, `-` and `<` do not exist, so that a comparison which forgets the wrap does not compile.
 */

declare const sequenceNumber: unique symbol;

/** A sequence number. `===` compares; everything else goes through the functions of this file. */
export type Seq = symbol & { readonly [sequenceNumber]: true };

/** The sequence number in these 32 bits, as read from the wire. */
export function toSeq(bits: number): Seq {
  return (bits | 0) as unknown as Seq;
}

/** The 32 bits of a sequence number, signed, as written to the wire. */
export function seqBits(value: Seq): number {
  return value as unknown as number;
}

export function seqAdd(value: Seq, count: number): Seq {
  return (((value as unknown as number) + count) | 0) as unknown as Seq;
}

/** How far `a` is past `b`: negative when it lies before it; right for distances below 2^31. */
export function seqDistance(a: Seq, b: Seq): number {
  return ((a as unknown as number) - (b as unknown as number)) | 0;
}

export function seqBefore(a: Seq, b: Seq): boolean {
  return (((a as unknown as number) - (b as unknown as number)) | 0) < 0;
}

export function seqBeforeOrAt(a: Seq, b: Seq): boolean {
  return (((a as unknown as number) - (b as unknown as number)) | 0) <= 0;
}

export function seqAfter(a: Seq, b: Seq): boolean {
  return (((a as unknown as number) - (b as unknown as number)) | 0) > 0;
}

export function seqAfterOrAt(a: Seq, b: Seq): boolean {
  return (((a as unknown as number) - (b as unknown as number)) | 0) >= 0;
}

export function seqMax(a: Seq, b: Seq): Seq {
  return seqAfterOrAt(a, b) ? a : b;
}

export function seqMin(a: Seq, b: Seq): Seq {
  return seqBeforeOrAt(a, b) ? a : b;
}
