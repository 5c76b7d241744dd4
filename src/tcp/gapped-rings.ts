/**
 * The rings that hold text beyond a gap, in the order in which their gaps opened, and the memory they take together. What
 * has waited longest is the first to go: an honest gap closes within a round trip or two, and what a peer holds open on
 * purpose is older than that.
 */
import type { ReceiveRing } from './receive-queue.ts';

export class GappedRings {
  /** Of all rings in the list. */
  bytes = 0;
  private first: ReceiveRing | null = null;
  private last: ReceiveRing | null = null;

  /** The one whose gap is the oldest, `except` left out; null when there is no other. */
  oldest(except: ReceiveRing | null): ReceiveRing | null {
    return this.first !== null && this.first === except ? this.first.newer : this.first;
  }

  /** Whether a ring is in the list: to be called whenever its ranges or its capacity have changed. */
  update(ring: ReceiveRing): void {
    const bytes = ring.rangeCount > 0 ? ring.capacity : 0;
    if (ring.gappedBytes === 0 && bytes > 0) this.append(ring);
    else if (ring.gappedBytes > 0 && bytes === 0) this.unlink(ring);
    this.bytes += bytes - ring.gappedBytes;
    ring.gappedBytes = bytes;
  }

  private append(ring: ReceiveRing): void {
    ring.older = this.last;
    ring.newer = null;
    if (this.last === null) this.first = ring;
    else this.last.newer = ring;
    this.last = ring;
  }

  private unlink(ring: ReceiveRing): void {
    if (ring.older === null) this.first = ring.newer;
    else ring.older.newer = ring.newer;
    if (ring.newer === null) this.last = ring.older;
    else ring.newer.older = ring.older;
    ring.older = null;
    ring.newer = null;
  }
}
