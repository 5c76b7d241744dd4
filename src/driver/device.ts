/**
 * The device interface: what a driver offers to the exokernel, and the two descriptor tables frames cross it in.
 *
 * A frame is a position in the arena and a length; an Ethernet header starts at the position, and the ten bytes before it
 * are the frame's `virtio_net_hdr` (see wire/virtio-net.ts), always present and always valid: it says how much of the
 * checksum is done and how a super-frame is to be cut. Received frames may carry `NEEDS_CSUM`, `DATA_VALID` and a GSO size on
 * any device (a veth peer hands over partial checksums whether asked or not); a device without transmit features refuses
 * frames that ask for them.
 *
 * Memory: the exokernel owns receive slots and lends them to `receive`, unless the device has its own; an environment owns header slots and payload
 * regions and lends them from `transmit` until `completed` has counted the frame.
 */

/** From a slot's start to the Ethernet header: room for the virtio header, and the IP header on a word boundary. */
export const FRAME_OFFSET_BYTES = 18;

/** Payload regions that a frame may gather behind its header slot. */
export const MAX_REGIONS = 3;

export interface DeviceFeatures {
  /** The other side completes checksums: frames may leave with `VIRTIO_NET_HDR_F_NEEDS_CSUM`. */
  readonly transmitChecksum: boolean;
  /** TCP over IPv4 super-frames may leave with a GSO size. */
  readonly segmentTcp4: boolean;
  /** Largest frame that `transmit` takes, Ethernet header included. */
  readonly maxFrameBytes: number;
}

export interface DeviceCounters {
  receivedFrames: number;
  receivedBytes: number;
  transmittedFrames: number;
  transmittedBytes: number;
  /** System calls made to receive and to transmit (0 for simulated devices). */
  receiveCalls: number;
  transmitCalls: number;
  /** Frames that the kernel lost because the device had no slot free for them. */
  receiveLost: number;
  /** Frames the device had to give up: too long, truncated, refused by the kernel for good. */
  receiveErrors: number;
  transmitErrors: number;
}

/** Receive slots that a device brings along, in memory that the kernel puts frames into by itself. */
export interface ReceiveSlots {
  /** Where slot i's frames start; `FRAME_OFFSET_BYTES` before it are the exokernel's, as in its own slots. */
  readonly at: Int32Array;
  /** The frame in a slot is needed no more. Slots are filled in turn: one that is kept holds up those that follow. */
  release(slot: number): void;
}

export interface Device {
  readonly name: string;
  /** Largest IP packet on the link, in bytes. */
  readonly mtuBytes: number;
  /** Bytes of a receive slot: `FRAME_OFFSET_BYTES` and the longest frame the device may deliver. */
  readonly slotBytes: number;
  readonly features: DeviceFeatures;
  /** Null when frames are received in slots of the exokernel's. */
  readonly slots: ReceiveSlots | null;
  /** What the event loop watches for readability; -1 when there is nothing to watch. */
  readonly descriptor: number;
  readonly counters: DeviceCounters;
  /**
   * Null while the device works. Set once it is gone for good (its interface was removed): from then on it receives
   * nothing and counts every frame offered as a transmit error; whoever watches the descriptor must stop.
   */
  readonly failure: DeviceError | null;

  /**
   * Fills slots of the batch from index 0 until the batch is full or nothing is waiting; sets `frames.length[i]` and
   * returns how many frames there are. `frames.at[i]` is where frame i's Ethernet header goes; the device may permute
   * these positions among themselves, so they are read after the call. A device with slots of its own puts theirs there
   * instead, and has them back by `release`.
   */
  receive(frames: ReceiveBatch): number;

  /**
   * Sends frames `from` to `to` (exclusive) of the batch in order and returns how many it took. Fewer than asked means
   * that the device is full for now; the rest is to be offered again. A frame the device can never send is counted in
   * `transmitErrors` and taken.
   */
  transmit(frames: TransmitBatch, from: number, to: number): number;

  /** Frames taken since the last call whose memory the device no longer reads, in the order they were taken. */
  completed(): number;

  /**
   * Gives the device back; a device this program made disappears with it. Afterwards, and when called again, every call
   * does nothing and returns 0.
   */
  close(): void;
}

/** A device that cannot be opened or has failed: `message` is one sentence for the person who asked for it. */
export class DeviceError extends Error {
  override readonly name = 'DeviceError';
  /** Symbolic errno: `EPERM`, `EBUSY`, `ENODEV`, `ENOENT`, ... */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Receive descriptors: the exokernel fills in empty slots, the device their lengths. */
export class ReceiveBatch {
  readonly capacity: number;
  /** Where frame i's Ethernet header goes (slot start + FRAME_OFFSET_BYTES). */
  readonly at: Int32Array;
  /** Frame i's length in bytes. */
  readonly length: Int32Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.at = new Int32Array(capacity);
    this.length = new Int32Array(capacity);
  }
}

/** Words of a transmit descriptor: header (at, length), then `MAX_REGIONS` regions (at, length); an unused region is 0, 0. */
export const TRANSMIT_WORDS = 2 + 2 * MAX_REGIONS;

/** Transmit descriptors: gather lists of a header (with its virtio header before it) and up to three regions. */
export class TransmitBatch {
  readonly capacity: number;
  /** `TRANSMIT_WORDS` words a frame. */
  readonly words: Int32Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.words = new Int32Array(capacity * TRANSMIT_WORDS);
  }
}

export function createDeviceCounters(): DeviceCounters {
  return {
    receivedFrames: 0,
    receivedBytes: 0,
    transmittedFrames: 0,
    transmittedBytes: 0,
    receiveCalls: 0,
    transmitCalls: 0,
    receiveLost: 0,
    receiveErrors: 0,
    transmitErrors: 0,
  };
}
