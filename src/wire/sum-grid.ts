/**
 * Sums made beforehand: checksums over bytes that do not change, for any part of them, without reading them again.
 *
 * A grid belongs to a range of bytes and holds the ones-complement sum of its first 32, 64, 96, ... bytes, and of all of
 * them. A part's sum is the difference of two of these; where the part begins or ends between two lines, the bytes
 * from or to the next line inside the part are read and added. So what is guaranteed is:
 *
 * - a part that begins on a line, and ends on one or with the range, costs no byte, however long it is;
 * - any other part costs at most 31 bytes at each end (62 when it is so short that no line lies inside).
 *
 * Nothing in it depends on how the range is cut into segments, or was cut before. A line is at an even distance from the
 * range's beginning, so that a part's sum is as if the range began at an even place; `swapSum` is for the other case.
 *
 * Sixteen bits for 32 bytes make the range a sixteenth longer. Lines twice as far apart would halve that, but a sender that
 * ends its segments on lines (tcp/send-queue.ts) would lose up to 63 bytes of each instead of 31.
 *
 * Memory: the grid lies in the arena where its owner puts it, and must live as long as somebody refers to it; the bytes it
 * was made of must not change as long.
 */
import { type Bytes, setU16, setU32, u16, u32 } from './bytes.ts';
import { addSums, foldSum, sumBytes, swapSum } from './checksum.ts';

/** Distance of two lines. */
export const SUM_STEP_BYTES = 32;
const STEP_SHIFT = 5;

/** A grid starts with where its range lies and how long it is. */
const START_AT = 0;
const LENGTH_AT = 4;
const SUMS_AT = 8;

/** Bytes that a range and a grid right behind it take together. */
export function bytesWithGrid(length: number): number {
  return gridBehind(0, length) + SUMS_AT + 2 * ((length + SUM_STEP_BYTES - 1) >>> STEP_SHIFT);
}

/** Where the grid of a range lies when it lies right behind it. */
export function gridBehind(at: number, length: number): number {
  return (at + length + 3) & ~3;
}

/** Begins the grid of a range whose bytes are not there yet; `extendGrid` follows. */
export function beginGrid(bytes: Bytes, grid: number, at: number, length: number): void {
  setU32(bytes, grid + START_AT, at);
  setU32(bytes, grid + LENGTH_AT, length);
}

/**
 * Sums the range's bytes `from` to `to`, all before which have been summed. `from` is a multiple of `SUM_STEP_BYTES`, and
 * `to` is too unless it is the range's end.
 */
export function extendGrid(bytes: Bytes, grid: number, from: number, to: number): void {
  const at = u32(bytes, grid + START_AT);
  let line = from >>> STEP_SHIFT;
  let sum = sumToLine(bytes, grid, line);
  for (let offset = from; offset < to; offset += SUM_STEP_BYTES) {
    sum = foldSum(sumBytes(bytes, at + offset, Math.min(SUM_STEP_BYTES, to - offset), sum));
    setU16(bytes, grid + SUMS_AT + 2 * line, sum);
    line++;
  }
}

/** The grid of a range that is there. */
export function writeGrid(bytes: Bytes, grid: number, at: number, length: number): void {
  beginGrid(bytes, grid, at, length);
  extendGrid(bytes, grid, 0, length);
}

/**
 * The sum of `length` bytes from `at`, which lie in the grid's range, in the low sixteen bits, and in those above how many
 * bytes had to be read for it.
 */
export function sumFromGrid(bytes: Bytes, grid: number, at: number, length: number): number {
  const from = at - u32(bytes, grid + START_AT);
  const to = from + length;
  const isEnd = to === u32(bytes, grid + LENGTH_AT);
  const firstLine = (from + SUM_STEP_BYTES - 1) >>> STEP_SHIFT;
  const lastLine = (isEnd ? to + SUM_STEP_BYTES - 1 : to) >>> STEP_SHIFT;
  if (firstLine >= lastLine) return foldSum(sumBytes(bytes, at, length)) + (length << 16);
  let sum = addSums(sumToLine(bytes, grid, lastLine), sumToLine(bytes, grid, firstLine) ^ 0xffff);
  const before = (firstLine << STEP_SHIFT) - from;
  if (before > 0) {
    if ((before & 1) !== 0) sum = swapSum(sum);
    sum = addSums(sumBytes(bytes, at, before), sum);
  }
  const after = isEnd ? 0 : to & (SUM_STEP_BYTES - 1);
  if (after > 0) {
    const part = sumBytes(bytes, at + length - after, after);
    sum = addSums(sum, ((length - after) & 1) === 0 ? part : swapSum(part));
  }
  return sum + ((before + after) << 16);
}

/** How far before `at`, which lies in the grid's range, the last line is. */
export function bytesPastLine(bytes: Bytes, grid: number, at: number): number {
  return (at - u32(bytes, grid + START_AT)) & (SUM_STEP_BYTES - 1);
}

function sumToLine(bytes: Bytes, grid: number, line: number): number {
  return line === 0 ? 0 : u16(bytes, grid + SUMS_AT + 2 * (line - 1));
}
