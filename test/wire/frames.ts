/**
 * Golden frames: complete Ethernet frames as a capture shows them, their checksums verified with tshark. Written as
 * hexadecimal digits with a space between the layers.
 */

/** Bytes of hexadecimal digits; white space is ignored. */
export function bytesOfHex(digits: string): Uint8Array {
  return Uint8Array.from(Buffer.from(digits.replaceAll(/\s/g, ''), 'hex'));
}

export function hexOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** 10.90.0.1 asks everybody for 10.90.0.2; not padded. */
export const ARP_REQUEST_FRAME = bytesOfHex(`
  ffffffffffff02005e5a00010806 0001080006040001 02005e5a00010a5a0001 0000000000000a5a0002
`);

/** The answer, padded to the 60 bytes of the shortest Ethernet frame. */
export const ARP_REPLY_FRAME = bytesOfHex(`
  02005e5a000102005e5a00020806 0001080006040002 02005e5a00020a5a0002 02005e5a00010a5a0001
  000000000000000000000000000000000000
`);

/** Echo request, id 0x1234, sequence 7, an odd number of payload bytes. */
export const ECHO_FRAME = bytesOfHex(`
  02005e5a000202005e5a00010800 450000331c4640003f010ace0a5a00010a5a0002 0800d11b12340007
  6162636465666768696a6b6c6d6e6f7071727374757677
`);

/** UDP port 53 of 10.90.0.1 is unreachable; quotes header and eight bytes. */
export const PORT_UNREACHABLE_FRAME = bytesOfHex(`
  02005e5a000202005e5a00010800 45c000381c464000400109090a5a00010a5a0002 0303f0a100000000
  450000201c464000401109d10a5a00020a5a00019c400035000c6fd9
`);

/** A router, 10.90.0.9, has a link with an MTU of 1400. */
export const FRAG_NEEDED_FRAME = bytesOfHex(`
  02005e5a000202005e5a00010800 450000381c464000400109c10a5a00090a5a0002 03045af100000578
  450004101c464000400605ec0a5a00020a5a000100509c4100000001
`);

/** Five bytes of UDP. */
export const UDP_FRAME = bytesOfHex(`
  02005e5a000202005e5a00010800 450000211c460000401149d00a5a00010a5a0002 14e90035000d922d 68656c6c6f
`);

/** SYN as Linux sends it: mss, sackOK, timestamps, nop, wscale 7. The next sequence number wraps soon. */
export const SYN_FRAME = bytesOfHex(`
  02005e5a000202005e5a00010800 4500003cbeef4000400667160a5a00010a5a0002
  9c400050fffffffe00000000a002faf0221c0000 020405b40402080a9abcdef00000000001030307
`);

/** The SYN and acknowledgement that answers it. */
export const SYN_ACK_FRAME = bytesOfHex(`
  02005e5a000102005e5a00020800 4500003c00004000400626060a5a00020a5a0001
  00509c4010000000ffffffffa012fe880a8a0000 020405b40402080a000003e89abcdef001030308
`);

/** A request with timestamps, PSH and ACK, 27 bytes. */
export const DATA_FRAME = bytesOfHex(`
  02005e5a000202005e5a00010800 4500004f1c464000400609ad0a5a00010a5a0002
  9c400050ffffffff10000001801801f6e2100000 0101080a9abcdef1000003e8
  474554202f20485454502f312e310d0a486f73743a20780d0a0d0a
`);

/** Acknowledgement with two SACK blocks. */
export const SACK_FRAME = bytesOfHex(`
  02005e5a000102005e5a00020800 450000481c464000400609b40a5a00020a5a0001
  00509c40100000010000001ad01001fda6a70000
  0101080a000003e99abcdef101010512000005c200000b6a00001112000016ba
`);

/** RST without options, padded. */
export const RST_FRAME = bytesOfHex(`
  02005e5a000102005e5a00020800 450000281c460000400649d40a5a00020a5a0001
  00509c40100000010000000050040000ee980000 000000000000
`);

/** FIN and URG under an IP header with a router alert option. */
export const OPTIONS_FRAME = bytesOfHex(`
  02005e5a000202005e5a00010800 4603002c1c4640000106b3c80a5a00010a5a000294040000
  000100020000000300000004503100059ae50009
`);

/** The second fragment of UDP datagram 7: offset 1480, more to come. */
export const FRAGMENT_FRAME = bytesOfHex(`
  02005e5a000202005e5a00010800 4500002c000720b94011454b0a5a00010a5a0002
  666666666666666666666666666666666666666666666666
`);

export const GOLDEN_FRAMES: readonly Uint8Array[] = [
  ARP_REQUEST_FRAME,
  ARP_REPLY_FRAME,
  ECHO_FRAME,
  PORT_UNREACHABLE_FRAME,
  FRAG_NEEDED_FRAME,
  UDP_FRAME,
  SYN_FRAME,
  SYN_ACK_FRAME,
  DATA_FRAME,
  SACK_FRAME,
  RST_FRAME,
  OPTIONS_FRAME,
  FRAGMENT_FRAME,
];

/** A copy of `frame` at offset `at` of a larger array, with other bytes before and behind. */
export function place(frame: Uint8Array, at: number): Uint8Array {
  const bytes = new Uint8Array(at + frame.length + 16).fill(0xa5);
  bytes.set(frame, at);
  return bytes;
}

export interface Watched {
  readonly bytes: Uint8Array;
  /** The lowest and highest index read so far. */
  lowest(): number;
  highest(): number;
}

/** An array that notes which of its elements are read one by one. */
export function watchReads(bytes: Uint8Array): Watched {
  let lowest = Number.POSITIVE_INFINITY;
  let highest = -1;
  const proxy = new Proxy(bytes, {
    get(target, key) {
      const index = typeof key === 'string' ? Number(key) : Number.NaN;
      if (Number.isInteger(index)) {
        lowest = Math.min(lowest, index);
        highest = Math.max(highest, index);
      }
      return Reflect.get(target, key, target);
    },
  });
  return { bytes: proxy, lowest: () => lowest, highest: () => highest };
}

/**
 * Runs a check on every proper beginning of a packet, each in an array that ends where the packet is cut, and returns
 * the lengths that were accepted.
 */
export function acceptedTruncations(
  packet: Uint8Array,
  check: (bytes: Uint8Array, at: number, length: number) => number,
): number[] {
  const accepted: number[] = [];
  for (let length = 0; length < packet.length; length++) {
    for (const at of [0, 1, 2, 3]) {
      const bytes = new Uint8Array(at + length);
      bytes.set(packet.subarray(0, length), at);
      if (check(bytes, at, length) === 0) accepted.push(length);
    }
  }
  return accepted;
}
