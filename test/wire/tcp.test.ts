import test from 'ava';
import fc from 'fast-check';
import { finishSum, pseudoSum4, sumBytes } from '../../src/wire/checksum.ts';
import { DROP_TCP_HEADER_LENGTH, DROP_TCP_SHORT } from '../../src/wire/drop-reasons.ts';
import { PROTOCOL_TCP } from '../../src/wire/ipv4.ts';
import {
  setTcp,
  setTcpChecksum,
  TCP_ACK,
  TCP_BYTES,
  TCP_CHECKSUM_OFFSET,
  TCP_CWR,
  TCP_DATA_OFFSET,
  TCP_ECE,
  TCP_FIN,
  TCP_MAX_HEADER_BYTES,
  TCP_PSH,
  TCP_RST,
  TCP_SYN,
  TCP_URG,
  tcpAck,
  tcpCheck,
  tcpChecksum,
  tcpFlags,
  tcpHeaderBytes,
  tcpSeq,
  tcpSourcePort,
  tcpTargetPort,
  tcpUrgent,
  tcpVerifyChecksum,
  tcpWindow,
} from '../../src/wire/tcp.ts';
import {
  acceptedTruncations,
  DATA_FRAME,
  hexOfBytes,
  OPTIONS_FRAME,
  place,
  SACK_FRAME,
  SYN_ACK_FRAME,
  SYN_FRAME,
} from './frames.ts';

const TCP_AT = 34;
const SYN = SYN_FRAME.subarray(TCP_AT);
const DATA = DATA_FRAME.subarray(TCP_AT);
const PSEUDO = pseudoSum4(0x0a5a0001, 0x0a5a0002, PROTOCOL_TCP);

test('golden: the fields of a data segment', (t) => {
  const bytes = place(DATA, 1);
  t.is(tcpCheck(bytes, 1, DATA.length), 0);
  t.deepEqual([tcpSourcePort(bytes, 1), tcpTargetPort(bytes, 1)], [40000, 80]);
  t.deepEqual([tcpSeq(bytes, 1), tcpAck(bytes, 1)], [-1, 0x10000001]);
  t.is(tcpHeaderBytes(bytes, 1), 32);
  t.is(tcpFlags(bytes, 1), TCP_PSH | TCP_ACK);
  t.deepEqual([tcpWindow(bytes, 1), tcpChecksum(bytes, 1), tcpUrgent(bytes, 1)], [502, 0xe210, 0]);
});

test('golden: an urgent pointer', (t) => {
  const at = TCP_AT + 4;
  t.is(tcpCheck(OPTIONS_FRAME, at, OPTIONS_FRAME.length - at), 0);
  t.is(tcpFlags(OPTIONS_FRAME, at), TCP_FIN | TCP_ACK | TCP_URG);
  t.is(tcpUrgent(OPTIONS_FRAME, at), 9);
});

test('golden: the checksums of captured segments verify, at odd places too', (t) => {
  for (const frame of [SYN_FRAME, SYN_ACK_FRAME, DATA_FRAME, SACK_FRAME]) {
    for (const lead of [0, 1, 2, 3]) {
      const bytes = place(frame, lead);
      t.true(tcpVerifyChecksum(bytes, lead + TCP_AT, frame.length - TCP_AT, PSEUDO));
      t.false(tcpVerifyChecksum(bytes, lead + TCP_AT, frame.length - TCP_AT, PSEUDO + 1));
    }
  }
});

test('golden: writing the header of a SYN', (t) => {
  const bytes = place(SYN, 1);
  bytes.fill(0xee, 1, 1 + TCP_BYTES);
  setTcp(bytes, 1, 40000, 80, -2, 0, 40, TCP_SYN, 64240);
  t.is(tcpChecksum(bytes, 1), 0);
  setTcpChecksum(bytes, 1, finishSum(sumBytes(bytes, 1, SYN.length, PSEUDO + SYN.length)));
  t.is(hexOfBytes(bytes), hexOfBytes(place(SYN, 1)));
});

test('flag bits are where the RFCs put them', (t) => {
  t.deepEqual([TCP_FIN, TCP_SYN, TCP_RST, TCP_PSH, TCP_ACK, TCP_URG, TCP_ECE, TCP_CWR], [1, 2, 4, 8, 16, 32, 64, 128]);
});

test('a cut header is refused at every length', (t) => {
  t.deepEqual(acceptedTruncations(SYN, tcpCheck), []);
  t.is(tcpCheck(SYN, 0, TCP_BYTES - 1), DROP_TCP_SHORT);
  t.is(tcpCheck(SYN, 0, SYN.length - 1), DROP_TCP_HEADER_LENGTH);
  // Cut payload is for the checksum to notice.
  for (let length = tcpHeaderBytes(DATA, 0); length < DATA.length; length++) {
    t.is(tcpCheck(DATA, 0, length), 0);
    t.false(tcpVerifyChecksum(DATA, 0, length, PSEUDO));
  }
});

test('data offsets below five words or beyond the segment are refused', (t) => {
  for (let words = 0; words < 16; words++) {
    const segment = new Uint8Array(TCP_MAX_HEADER_BYTES);
    segment[TCP_DATA_OFFSET] = (words << 4) | 0x0f;
    t.is(tcpCheck(segment, 0, TCP_MAX_HEADER_BYTES), words < 5 ? DROP_TCP_HEADER_LENGTH : 0);
    if (words > 5) t.is(tcpCheck(segment, 0, words * 4 - 1), DROP_TCP_HEADER_LENGTH);
  }
});

test('any flipped bit of a segment is noticed by the checksum', (t) => {
  for (let bit = 0; bit < DATA.length * 8; bit++) {
    const flipped = DATA.slice();
    flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
    t.false(tcpVerifyChecksum(flipped, 0, flipped.length, PSEUDO), `bit ${bit}`);
  }
});

test('what is written passes the check and is read back', (t) => {
  const u16 = fc.integer({ min: 0, max: 0xffff });
  const i32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
  const words = fc.integer({ min: 5, max: 15 });
  const flags = fc.integer({ min: 0, max: 0xff });
  fc.assert(
    fc.property(fc.nat(5), words, fc.tuple(u16, u16, i32, i32), flags, u16, i32, (at, size, ends, ...rest) => {
      const [flagBits, window, source] = rest;
      const bytes = new Uint8Array(at + TCP_MAX_HEADER_BYTES).fill(0x77);
      setTcp(bytes, at, ...ends, size * 4, flagBits, window);
      t.is(tcpCheck(bytes, at, size * 4), 0);
      t.deepEqual([tcpSourcePort(bytes, at), tcpTargetPort(bytes, at), tcpSeq(bytes, at), tcpAck(bytes, at)], ends);
      t.deepEqual(
        [tcpHeaderBytes(bytes, at), tcpFlags(bytes, at), tcpWindow(bytes, at), tcpUrgent(bytes, at)],
        [size * 4, flagBits, window, 0],
      );
      const pseudo = pseudoSum4(source, -1, PROTOCOL_TCP);
      const length = TCP_MAX_HEADER_BYTES;
      setTcpChecksum(bytes, at, finishSum(sumBytes(bytes, at, length, pseudo + length)));
      t.true(tcpVerifyChecksum(bytes, at, length, pseudo));
      bytes[at + TCP_CHECKSUM_OFFSET] = (bytes[at + TCP_CHECKSUM_OFFSET] ?? 0) ^ 1;
      t.false(tcpVerifyChecksum(bytes, at, length, pseudo));
    }),
    { numRuns: 300 },
  );
});
