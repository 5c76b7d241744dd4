/**
 * Frames that wait for their next hop's link-layer address: copies in a fixed pool, a queue per neighbour (RFC 1122
 * section 2.3.2.2: keep at least the latest). Copies, because the regions behind a frame are their owner's again when
 * the frame is not in the transmit queue.
 *
 * Memory: one block of the arena, owned for the arena's life; released frames are copied once more, into a
 * `TransmitBuffer`, so that a pool entry is free as soon as its neighbour is resolved.
 */
import { MAX_HEADER_BYTES, type TransmitQueue } from '../exokernel/transmit-queue.ts';
import type { Arena } from '../runtime/arena.ts';
import { type Bytes, int32At } from '../wire/bytes.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, setEthernet } from '../wire/ethernet.ts';
import { VNET_BYTES } from '../wire/virtio-net.ts';
import { type Neighbour, NO_FRAME } from './neighbour.ts';
import { TransmitBuffer } from './transmit-buffer.ts';

export class PendingFrames {
  private readonly bytes: Bytes;
  private readonly queue: TransmitQueue;
  private readonly start: number;
  private readonly frameBytes: number;
  private readonly blockBytes: number;
  private readonly lengths: Int32Array;
  /** The next frame of the same neighbour, or the next free one. */
  private readonly next: Int32Array;
  private readonly outgoing: TransmitBuffer;
  private firstFree = 0;
  private used = 0;

  /** `maxFrames` frames of up to `frameBytes` each. */
  constructor(bytes: Bytes, arena: Arena, queue: TransmitQueue, maxFrames: number, frameBytes: number) {
    this.bytes = bytes;
    this.queue = queue;
    this.frameBytes = frameBytes;
    this.blockBytes = VNET_BYTES + frameBytes;
    this.start = arena.allocate(this.blockBytes * maxFrames);
    this.lengths = new Int32Array(maxFrames);
    this.next = new Int32Array(maxFrames);
    for (let i = 0; i < maxFrames; i++) this.next[i] = i + 1 < maxFrames ? i + 1 : NO_FRAME;
    this.outgoing = new TransmitBuffer(arena, queue, this.blockBytes * maxFrames, maxFrames);
  }

  /** Frames that wait, of all neighbours. */
  get size(): number {
    return this.used;
  }

  /** Whether the pool has no room for another frame. */
  get full(): boolean {
    return this.firstFree === NO_FRAME;
  }

  /**
   * Copies the frame that is being built (`headerBytes` at its reserved position, then the queue's regions) behind the
   * neighbour's others. False when the pool is full or the frame too long; the reservation is left as it is.
   */
  add(neighbour: Neighbour, frameAt: number, headerBytes: number): boolean {
    const frame = this.firstFree;
    if (frame === NO_FRAME) return false;
    const at = this.frameAt(frame);
    const lengthBytes = headerBytes + this.queue.regionBytes;
    if (lengthBytes > this.frameBytes) return false;
    this.bytes.copyWithin(at - VNET_BYTES, frameAt - VNET_BYTES, frameAt + headerBytes);
    this.queue.copyRegions(at + headerBytes);
    this.firstFree = int32At(this.next, frame);
    this.lengths[frame] = lengthBytes;
    this.next[frame] = NO_FRAME;
    if (neighbour.pendingTail === NO_FRAME) neighbour.pendingHead = frame;
    else this.next[neighbour.pendingTail] = frame;
    neighbour.pendingTail = frame;
    neighbour.pendingCount++;
    this.used++;
    return true;
  }

  /** Forgets the neighbour's oldest frame. */
  drop(neighbour: Neighbour): void {
    this.remove(neighbour);
  }

  /** Puts the neighbour's oldest frame, addressed to it, into the transmit queue; false when it had to be dropped instead. */
  send(neighbour: Neighbour, macHi: number, macLo: number): boolean {
    const frame = this.remove(neighbour);
    const from = this.frameAt(frame);
    const lengthBytes = int32At(this.lengths, frame);
    const at = this.queue.reserve();
    if (at === 0) return false;
    if (lengthBytes <= MAX_HEADER_BYTES) {
      this.bytes.copyWithin(at - VNET_BYTES, from - VNET_BYTES, from + lengthBytes);
      setEthernet(this.bytes, at, neighbour.macHi, neighbour.macLo, macHi, macLo, ETHERTYPE_IPV4);
      this.queue.commit(lengthBytes);
      return true;
    }
    const bodyBytes = lengthBytes - MAX_HEADER_BYTES;
    const body = this.outgoing.allocate(bodyBytes);
    if (body === 0) {
      this.queue.cancel();
      return false;
    }
    const split = from + MAX_HEADER_BYTES;
    this.bytes.copyWithin(at - VNET_BYTES, from - VNET_BYTES, split);
    this.bytes.copyWithin(body, split, split + bodyBytes);
    setEthernet(this.bytes, at, neighbour.macHi, neighbour.macLo, macHi, macLo, ETHERTYPE_IPV4);
    this.queue.addRegion(body, bodyBytes);
    this.queue.commit(MAX_HEADER_BYTES);
    this.outgoing.commit();
    return true;
  }

  private frameAt(frame: number): number {
    return this.start + frame * this.blockBytes + VNET_BYTES;
  }

  private remove(neighbour: Neighbour): number {
    const frame = neighbour.pendingHead;
    if (frame === NO_FRAME) throw new RangeError('no frame waits for this neighbour');
    neighbour.pendingHead = int32At(this.next, frame);
    if (neighbour.pendingHead === NO_FRAME) neighbour.pendingTail = NO_FRAME;
    neighbour.pendingCount--;
    this.next[frame] = this.firstFree;
    this.firstFree = frame;
    this.used--;
    return frame;
  }
}

/** The longest frame worth keeping on a link: a full one. */
export function pendingFrameBytes(mtuBytes: number): number {
  return ETHERNET_BYTES + mtuBytes;
}
