/** Captures as Wireshark's reader sees them, checksums verified. */
import { statSync } from 'node:fs';
import { execute } from './commands.ts';
import { STACK_ADDRESS } from './wire.ts';

/**
 * Anything that tshark finds wrong with a packet in itself; what TCP does over time is not among it. Linux, when it
 * completes a checksum, writes 0xffff for 0 whatever the protocol; both say the same (RFC 1624).
 */
const BAD = [
  '_ws.malformed',
  '_ws.expert.severity == error && !(tcp.checksum == 0xffff)',
  'ip.checksum.status == "Bad"',
  'tcp.checksum.status == "Bad" && !(tcp.checksum == 0xffff)',
  'icmp.checksum.status == "Bad"',
  'frame.cap_len < frame.len',
]
  .map((one) => `(${one})`)
  .join(' || ');

/** Nothing above TCP is taken apart: random contents look like some protocol or other to those who guess. */
const AS_DATA = ['-d', 'tcp.port==1-65535,data'];

const FILE_HEADER_BYTES = 24;

/** The wanted fields of every packet that a display filter lets through. */
export async function readCapture(file: string, filter: string, fields: readonly string[]): Promise<string[][]> {
  const checked = ['-o', 'ip.check_checksum:TRUE', '-o', 'tcp.check_checksum:TRUE'];
  const columns = ['-T', 'fields', '-E', 'separator=|', ...fields.flatMap((field) => ['-e', field])];
  const args = ['-n', '-r', file, ...AS_DATA, ...checked, '-Y', filter, ...columns];
  const { code, stdout, stderr } = await execute('tshark', args);
  if (code !== 0) throw new Error(`tshark: ${stderr}`);
  const lines = stdout.toString().split('\n').slice(0, -1);
  return lines.map((line) => line.split('|'));
}

/** A line for each packet that is malformed, cut short, or has a wrong checksum; throws when there are no packets. */
export async function findBadPackets(file: string): Promise<string[]> {
  if (statSync(file).size <= FILE_HEADER_BYTES) throw new Error('the capture is empty');
  const packets = await readCapture(file, BAD, ['frame.number', '_ws.col.Info', '_ws.expert.message']);
  return packets.map((fields) => fields.join(' '));
}

/** What TCP sent in one segment. */
export interface Segment {
  readonly length: number;
  readonly fin: boolean;
}

/**
 * What the stack sent on every connection after its SYN-ACK, in order, and nothing twice: a peer that gets no processor
 * acknowledges late, and is sent the end again.
 */
export async function readConnections(capture: string): Promise<Segment[][]> {
  const again =
    'tcp.analysis.retransmission || tcp.analysis.spurious_retransmission || tcp.analysis.fast_retransmission';
  const filter = `tcp && ip.src == ${STACK_ADDRESS} && tcp.flags.syn == 0 && !(${again})`;
  const connections: Segment[][] = [];
  for (const [stream, length, fin] of await readCapture(capture, filter, ['tcp.stream', 'tcp.len', 'tcp.flags.fin'])) {
    const index = Number(stream);
    connections[index] ??= [];
    connections[index].push({ length: Number(length), fin: fin === '1' });
  }
  return connections;
}
