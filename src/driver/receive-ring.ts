/**
 * The receive ring of a packet socket (packet(7): PACKET_RX_RING, TPACKET_V2): the kernel puts frames into memory that it
 * shares with us, in whose context they are sent, and we find them there without a system call.
 *
 * A slot begins with a header whose first word says whose it is: the kernel's, or ours with a frame in it. Both sides go
 * round the ring in the same order, and the kernel waits for nobody: a frame that finds its slot taken is lost and counted.
 *
 * The room before a frame is chosen so that the IP header lies on a word boundary and `FRAME_OFFSET_BYTES` before the frame
 * there are bytes the kernel never writes, as in any other receive slot.
 *
 * Memory: the ring is mapped into the arena, from `openReceiveRing` until `close`.
 */
import type { Arena } from '../runtime/arena.ts';
import { getsockopt, setsockopt } from '../runtime/syscalls.ts';
import { int32At } from '../runtime/words.ts';
import { ETHERNET_BYTES } from '../wire/ethernet.ts';
import { VNET_BYTES } from '../wire/virtio-net.ts';
import { type DeviceCounters, FRAME_OFFSET_BYTES, type ReceiveBatch, type ReceiveSlots } from './device.ts';
import { LONGEST_FRAME_BYTES, oddLines } from './frame-memory.ts';

const SOL_PACKET = 263;
const PACKET_RX_RING = 5;
const PACKET_STATISTICS = 6;
const PACKET_VERSION = 10;
const PACKET_RESERVE = 12;
const TPACKET_V2 = 1;

/** struct tpacket2_hdr: status, length of the frame, length of what is here of it, where its Ethernet header is (16 bits). */
const LENGTH_WORD = 1;
const HERE_WORD = 2;
const MAC_WORD = 3;
const STATUS_KERNEL = 0;
const STATUS_USER = 1;
/** Neither the kernel's nor new: what we have seen and not given back. */
const STATUS_SEEN = 2;
const STATUS_LOSING = 4;

/** Room kept before a frame: with it the IP header is at a multiple of 4. */
const RESERVED_BYTES = 2;
/**
 * Where the kernel puts the Ethernet header: behind the header and struct sockaddr_ll (52 bytes) there is room for 16 bytes of a
 * link-layer header, rounded up to 16, and the room kept; then the virtio header, and the IP header behind that.
 */
const FRAME_AT = 80 + RESERVED_BYTES + VNET_BYTES - ETHERNET_BYTES;

const SLOT_BYTES = oddLines(FRAME_AT + LONGEST_FRAME_BYTES);
/** The kernel takes memory in blocks, and a slot lies in one. */
const BLOCK_BYTES = 1 << 20;
const SLOTS_PER_BLOCK = Math.floor(BLOCK_BYTES / SLOT_BYTES);
/** 480 slots in 32 MiB: what comes while a busy process is about something else for a millisecond or two. */
const BLOCKS = 32;
const RING_BYTES = BLOCKS * BLOCK_BYTES;
const SLOTS = BLOCKS * SLOTS_PER_BLOCK;

/** Gives a packet socket a ring. Null when the kernel refuses, and errno says why. The virtio header must be on before. */
export function openReceiveRing(arena: Arena, fd: number, scratch: number): ReceiveRing | null {
  const address = arena.address(scratch);
  const set = (option: number, ...words: number[]): boolean => {
    arena.words.set(words, scratch >>> 2);
    return setsockopt(fd, SOL_PACKET, option, address, words.length * 4) === 0;
  };
  if (!set(PACKET_VERSION, TPACKET_V2) || !set(PACKET_RESERVE, RESERVED_BYTES)) return null;
  if (!set(PACKET_RX_RING, BLOCK_BYTES, BLOCKS, SLOT_BYTES, SLOTS)) return null;
  const start = arena.map(fd, RING_BYTES);
  return start === 0 ? null : new ReceiveRing(arena, fd, start, scratch);
}

export class ReceiveRing implements ReceiveSlots {
  readonly at = new Int32Array(SLOTS);
  /** The first word of each slot's header. */
  private readonly headers = new Int32Array(SLOTS);
  private next = 0;
  private readonly arena: Arena;
  private readonly words: Int32Array;
  private readonly fd: number;
  private readonly start: number;
  private readonly scratch: number;

  /** Use `openReceiveRing`. */
  constructor(arena: Arena, fd: number, start: number, scratch: number) {
    this.arena = arena;
    this.words = new Int32Array(arena.bytes.buffer);
    this.fd = fd;
    this.start = start;
    this.scratch = scratch;
    for (let slot = 0; slot < SLOTS; slot++) {
      const inBlock = slot % SLOTS_PER_BLOCK;
      const slotAt = start + ((slot - inBlock) / SLOTS_PER_BLOCK) * BLOCK_BYTES + inBlock * SLOT_BYTES;
      this.headers[slot] = slotAt >>> 2;
      this.at[slot] = slotAt + FRAME_AT;
    }
  }

  /** Bytes of a slot from `FRAME_OFFSET_BYTES` before the frame on. */
  get slotBytes(): number {
    return SLOT_BYTES - FRAME_AT + FRAME_OFFSET_BYTES;
  }

  /** Puts frames that are there into the batch, as `Device.receive` does. */
  receive(frames: ReceiveBatch, counters: DeviceCounters): number {
    const { words, at } = this;
    let count = 0;
    while (count < frames.capacity) {
      const slot = this.next;
      const header = int32At(this.headers, slot);
      if ((int32At(words, header) & STATUS_USER) === 0) break;
      // The frame is written before the status: what is read after this is there.
      const status = Atomics.load(words, header);
      words[header] = STATUS_SEEN;
      this.next = slot + 1 === SLOTS ? 0 : slot + 1;
      if ((status & STATUS_LOSING) !== 0) this.countLost(counters);
      const lengthBytes = int32At(words, header + LENGTH_WORD);
      if (
        lengthBytes === int32At(words, header + HERE_WORD) &&
        lengthBytes >= ETHERNET_BYTES &&
        this.isInPlace(header)
      ) {
        frames.at[count] = int32At(at, slot);
        frames.length[count] = lengthBytes;
        counters.receivedBytes += lengthBytes;
        count++;
      } else {
        counters.receiveErrors++;
        this.release(slot);
      }
    }
    counters.receivedFrames += count;
    return count;
  }

  release(slot: number): void {
    Atomics.store(this.words, int32At(this.headers, slot), STATUS_KERNEL);
  }

  /** Gives the memory back; the socket is to be closed as well. */
  close(): void {
    this.arena.unmap(this.start, RING_BYTES);
  }

  private isInPlace(header: number): boolean {
    return (int32At(this.words, header + MAC_WORD) & 0xffff) === FRAME_AT;
  }

  /** Frames that the ring had no slot for since this was last asked (struct tpacket_stats: frames, frames lost). */
  private countLost(counters: DeviceCounters): void {
    const { arena, scratch } = this;
    const word = scratch >>> 2;
    arena.words[word + 2] = 8;
    const address = arena.address(scratch);
    if (getsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, address, address + 8) === 0) {
      counters.receiveLost += int32At(this.words, word + 1);
    }
  }
}
