/** One line about a frame, in tcpdump's manner. */
import type { Bytes } from './bytes.ts';

export function describeFrame(_bytes: Bytes, _at: number, length: number): string {
  return `frame, length ${length}`;
}
