/**
 * Byte access over one `Uint8Array`: every protocol file reads and writes the wire through these functions.
 * All multi-byte values are big-endian (network order) unless the name ends in `le`. Offsets are positions in the
 * array, never relative.
 */

/** A window over memory, most often the whole arena. */
export type Bytes = Uint8Array;

export function u8(bytes: Bytes, at: number): number {
  return bytes[at] as number;
}

export function u16(bytes: Bytes, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

/**
 * Thirty-two bits as a *signed* integer: it stays a small integer in the engine, so that storing it allocates nothing.
 * Addresses and sequence numbers are kept this way.
 */
export function i32(bytes: Bytes, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}

/** Thirty-two bits as an unsigned number (may be a heap number: not for fields on the hot path). */
export function u32(bytes: Bytes, at: number): number {
  return i32(bytes, at) >>> 0;
}

export function setU8(bytes: Bytes, at: number, value: number): void {
  bytes[at] = value;
}

export function setU16(bytes: Bytes, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** Writes the low thirty-two bits of a signed or unsigned value. */
export function setU32(bytes: Bytes, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Little-endian sixteen bits: only the virtio header has them. */
export function u16le(bytes: Bytes, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

export function setU16le(bytes: Bytes, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export { float64At, int32At, uint16At, uint32At } from '../runtime/words.ts';
