/**
 * Captures: a writer of pcap files (draft-ietf-opsawg-pcap: microseconds, LINKTYPE_ETHERNET), and a device that passes
 * everything on to another and writes down what goes by, both ways.
 *
 * A checksum left to the other side is completed in the capture's copy, so that readers see the frame the wire would;
 * super-frames are written whole, as one packet each.
 *
 * Memory: one buffer a writer, written out when it is full, when a tenth of a second has passed since the last time and
 * a frame is written, and when it is closed. A file that cannot be written to (a full disk, a reader that went away)
 * ends the capture, not the program: frames are counted as dropped from there on.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Clock } from '../runtime/clock.ts';
import { int32At } from '../runtime/words.ts';
import type { Bytes } from '../wire/bytes.ts';
import { completeChecksum } from '../wire/partial-checksum.ts';
import { VNET_BYTES } from '../wire/virtio-net.ts';
import type {
  Device,
  DeviceCounters,
  DeviceError,
  DeviceFeatures,
  ReceiveBatch,
  ReceiveSlots,
  TransmitBatch,
} from './device.ts';
import { TRANSMIT_WORDS } from './device.ts';
import { gatheredBytes, LONGEST_FRAME_BYTES } from './frame-memory.ts';

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const VERSION_MAJOR = 2;
const VERSION_MINOR = 4;
const SNAPLEN = 262144;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

const BUFFER_BYTES = 1 << 20;
const FLUSH_INTERVAL_US = 100_000;
const LONGEST_RECORD_BYTES = RECORD_HEADER_BYTES + VNET_BYTES + LONGEST_FRAME_BYTES;

/** A capture file being written. */
export class PcapWriter {
  /** Frames in the capture, those still in the buffer included. */
  writtenFrames = 0;
  /** Frames not written, because the file could no longer be. */
  droppedFrames = 0;
  /** Why the capture ended early. */
  error: Error | null = null;
  /** Told once when the capture ends early. */
  onError: (error: Error) => void = () => {};
  private readonly buffer = Buffer.alloc(BUFFER_BYTES);
  private readonly clock: Clock;
  /** Wall time of the clock's zero: wall time may jump, a capture's may not. */
  private readonly originUs: number;
  private fd: number;
  private used = 0;
  private flushedUs: number;
  /** Where the frame being written will have its Ethernet header. */
  private at = 0;

  /** Makes or empties the file; throws the file system's error. */
  constructor(path: string, clock: Clock) {
    this.fd = openSync(path, 'w');
    this.clock = clock;
    this.flushedUs = clock.nowUs();
    this.originUs = clock.wallMs() * 1000 - this.flushedUs;
    this.writeFileHeader();
    this.flush();
  }

  /** Writes a frame that lies in one piece, its virtio header before it. */
  writeFrame(bytes: Bytes, at: number, length: number): void {
    if (!this.begin(length)) return;
    this.buffer.set(bytes.subarray(at - VNET_BYTES, at + length), this.at - VNET_BYTES);
    this.end(length);
  }

  /** Writes a frame that a transmit descriptor gathers. */
  writeGathered(bytes: Bytes, words: Int32Array, word: number): void {
    const length = gatheredBytes(words, word);
    if (!this.begin(length)) return;
    const at = int32At(words, word);
    const end = at + int32At(words, word + 1);
    this.buffer.set(bytes.subarray(at - VNET_BYTES, end), this.at - VNET_BYTES);
    let to = this.at + end - at;
    for (let region = word + 2; region < word + TRANSMIT_WORDS; region += 2) {
      const from = int32At(words, region);
      const bytesOfRegion = int32At(words, region + 1);
      this.buffer.set(bytes.subarray(from, from + bytesOfRegion), to);
      to += bytesOfRegion;
    }
    this.end(length);
  }

  /** Hands what is in the buffer to the operating system. */
  flush(): void {
    let from = 0;
    try {
      while (this.error === null && from < this.used) from += writeSync(this.fd, this.buffer, from, this.used - from);
    } catch (error) {
      this.error = error instanceof Error ? error : new Error(String(error));
      this.onError(this.error);
    }
    this.used = 0;
    this.flushedUs = this.clock.nowUs();
  }

  close(): void {
    if (this.fd < 0) return;
    this.flush();
    closeSync(this.fd);
    this.fd = -1;
  }

  private begin(length: number): boolean {
    if (this.fd < 0 || this.error !== null || length > LONGEST_FRAME_BYTES) {
      this.droppedFrames++;
      return false;
    }
    if (this.used + LONGEST_RECORD_BYTES > BUFFER_BYTES) this.flush();
    // the virtio header is put where the record's header will be: it is needed for the checksum only
    this.at = this.used + RECORD_HEADER_BYTES;
    return true;
  }

  private end(length: number): void {
    const { buffer, used } = this;
    const nowUs = this.clock.nowUs();
    completeChecksum(buffer, this.at, length);
    const timeUs = this.originUs + nowUs;
    const seconds = Math.floor(timeUs / 1e6);
    buffer.writeUInt32LE(seconds, used);
    buffer.writeUInt32LE(timeUs - seconds * 1e6, used + 4);
    buffer.writeUInt32LE(length, used + 8);
    buffer.writeUInt32LE(length, used + 12);
    this.used = this.at + length;
    this.writtenFrames++;
    if (nowUs - this.flushedUs >= FLUSH_INTERVAL_US) this.flush();
  }

  private writeFileHeader(): void {
    const { buffer } = this;
    buffer.writeUInt32LE(MAGIC_MICROSECONDS, 0);
    buffer.writeUInt16LE(VERSION_MAJOR, 4);
    buffer.writeUInt16LE(VERSION_MINOR, 6);
    buffer.writeUInt32LE(SNAPLEN, 16);
    buffer.writeUInt32LE(LINKTYPE_ETHERNET, 20);
    this.used = FILE_HEADER_BYTES;
  }
}

/** A device that captures what another sends and receives; closing it closes both the capture and the device. */
export class PcapTee implements Device {
  readonly name: string;
  readonly mtuBytes: number;
  readonly slotBytes: number;
  readonly features: DeviceFeatures;
  readonly slots: ReceiveSlots | null;
  readonly writer: PcapWriter;
  private readonly device: Device;
  private readonly bytes: Bytes;

  /** `bytes` is the arena that the device's frames lie in. Throws the file system's error. */
  constructor(device: Device, bytes: Bytes, path: string, clock: Clock) {
    this.device = device;
    this.name = device.name;
    this.mtuBytes = device.mtuBytes;
    this.slotBytes = device.slotBytes;
    this.features = device.features;
    this.slots = device.slots;
    this.bytes = bytes;
    this.writer = new PcapWriter(path, clock);
  }

  get descriptor(): number {
    return this.device.descriptor;
  }

  get counters(): DeviceCounters {
    return this.device.counters;
  }

  get failure(): DeviceError | null {
    return this.device.failure;
  }

  receive(frames: ReceiveBatch): number {
    const count = this.device.receive(frames);
    for (let i = 0; i < count; i++) {
      this.writer.writeFrame(this.bytes, int32At(frames.at, i), int32At(frames.length, i));
    }
    return count;
  }

  /** What the device takes is captured, be it that it cannot send it: the capture shows what the stack did. */
  transmit(frames: TransmitBatch, from: number, to: number): number {
    const taken = this.device.transmit(frames, from, to);
    for (let i = from; i < from + taken; i++) {
      this.writer.writeGathered(this.bytes, frames.words, i * TRANSMIT_WORDS);
    }
    return taken;
  }

  completed(): number {
    return this.device.completed();
  }

  close(): void {
    this.device.close();
    this.writer.close();
  }
}
