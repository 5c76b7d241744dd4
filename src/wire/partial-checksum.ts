/**
 * Completing a checksum that a frame's virtio header leaves to the other side, for frames that go where no other side
 * completes it: a capture file, a wire that corrupts, a device that does not do it.
 */
import type { Bytes } from './bytes.ts';
import { setU16 } from './bytes.ts';
import { finishSum, sumBytes } from './checksum.ts';
import { VNET_NEEDS_CSUM, vnetChecksumOffset, vnetChecksumStart, vnetFlags } from './virtio-net.ts';

/**
 * Fills the frame's checksum in if its virtio header says that it is partial; the virtio header stays as it is. A header
 * that points outside the frame is left alone.
 */
export function completeChecksum(bytes: Bytes, at: number, length: number): void {
  if ((vnetFlags(bytes, at) & VNET_NEEDS_CSUM) === 0) return;
  const start = vnetChecksumStart(bytes, at);
  const field = start + vnetChecksumOffset(bytes, at);
  if (field + 2 > length) return;
  const check = finishSum(sumBytes(bytes, at + start, length - start));
  // UDP reads zero as "no checksum"; all ones means the same sum
  setU16(bytes, at + field, check === 0 ? 0xffff : check);
}
