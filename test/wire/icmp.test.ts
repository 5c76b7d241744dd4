import test from 'ava';
import fc from 'fast-check';
import { DROP_ICMP_CHECKSUM, DROP_ICMP_SHORT } from '../../src/wire/drop-reasons.ts';
import {
  fillIcmpChecksum,
  ICMP_BYTES,
  ICMP_CODE_FRAG_NEEDED,
  ICMP_CODE_PORT,
  ICMP_ECHO,
  ICMP_ECHO_REPLY,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  icmpCheck,
  icmpChecksum,
  icmpCode,
  icmpEchoId,
  icmpEchoSequence,
  icmpNextMtu,
  icmpType,
  setIcmpChecksum,
  setIcmpEcho,
  setIcmpError,
} from '../../src/wire/icmp.ts';
import {
  acceptedTruncations,
  ECHO_FRAME,
  FRAG_NEEDED_FRAME,
  hexOfBytes,
  PORT_UNREACHABLE_FRAME,
  place,
} from './frames.ts';

const ICMP_AT = 34;
const ECHO = ECHO_FRAME.subarray(ICMP_AT);
const PORT_UNREACHABLE = PORT_UNREACHABLE_FRAME.subarray(ICMP_AT);
const FRAG_NEEDED = FRAG_NEEDED_FRAME.subarray(ICMP_AT);

test('golden: the fields of an echo request', (t) => {
  const bytes = place(ECHO, 1);
  t.is(icmpCheck(bytes, 1, ECHO.length), 0);
  t.is(icmpType(bytes, 1), ICMP_ECHO);
  t.is(icmpCode(bytes, 1), 0);
  t.is(icmpChecksum(bytes, 1), 0xd11b);
  t.is(icmpEchoId(bytes, 1), 0x1234);
  t.is(icmpEchoSequence(bytes, 1), 7);
});

test('golden: the fields of two errors', (t) => {
  t.is(icmpCheck(PORT_UNREACHABLE, 0, PORT_UNREACHABLE.length), 0);
  t.deepEqual([icmpType(PORT_UNREACHABLE, 0), icmpCode(PORT_UNREACHABLE, 0)], [ICMP_UNREACHABLE, ICMP_CODE_PORT]);
  t.is(icmpCheck(FRAG_NEEDED, 0, FRAG_NEEDED.length), 0);
  t.deepEqual([icmpType(FRAG_NEEDED, 0), icmpCode(FRAG_NEEDED, 0)], [ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED]);
  t.is(icmpNextMtu(FRAG_NEEDED, 0), 1400);
});

test('golden: writing them over the same payload', (t) => {
  for (const [message, write] of [
    [ECHO, (bytes: Uint8Array) => setIcmpEcho(bytes, 1, ICMP_ECHO, 0x1234, 7)],
    [PORT_UNREACHABLE, (bytes: Uint8Array) => setIcmpError(bytes, 1, ICMP_UNREACHABLE, ICMP_CODE_PORT, 0)],
    [FRAG_NEEDED, (bytes: Uint8Array) => setIcmpError(bytes, 1, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, 1400)],
  ] as const) {
    const bytes = place(message, 1);
    bytes.fill(0xee, 1, 1 + ICMP_BYTES);
    write(bytes);
    t.is(icmpChecksum(bytes, 1), 0);
    fillIcmpChecksum(bytes, 1, message.length);
    t.is(hexOfBytes(bytes), hexOfBytes(place(message, 1)));
    setIcmpChecksum(bytes, 1, 0xabcd);
    t.is(icmpChecksum(bytes, 1), 0xabcd);
  }
});

test('a cut message is refused at every length', (t) => {
  for (const message of [ECHO, PORT_UNREACHABLE, FRAG_NEEDED]) {
    t.deepEqual(acceptedTruncations(message, icmpCheck), []);
    t.is(icmpCheck(message, 0, ICMP_BYTES - 1), DROP_ICMP_SHORT);
  }
});

test('any flipped bit of a message is noticed', (t) => {
  for (let bit = 0; bit < ECHO.length * 8; bit++) {
    const flipped = ECHO.slice();
    flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
    t.is(icmpCheck(flipped, 0, flipped.length), DROP_ICMP_CHECKSUM);
  }
});

test('what is written passes the check and is read back', (t) => {
  const u8 = fc.integer({ min: 0, max: 0xff });
  const u16 = fc.integer({ min: 0, max: 0xffff });
  const echo = fc.constantFrom(ICMP_ECHO, ICMP_ECHO_REPLY);
  const error = fc.constantFrom(ICMP_UNREACHABLE, ICMP_TIME_EXCEEDED);
  fc.assert(
    fc.property(fc.nat(5), fc.uint8Array({ maxLength: 200 }), echo, error, u8, u16, u16, (at, data, ...fields) => {
      const [echoType, errorType, code, id, other] = fields;
      const bytes = new Uint8Array(at + ICMP_BYTES + data.length);
      bytes.set(data, at + ICMP_BYTES);
      const length = ICMP_BYTES + data.length;
      setIcmpEcho(bytes, at, echoType, id, other);
      fillIcmpChecksum(bytes, at, length);
      t.is(icmpCheck(bytes, at, length), 0);
      t.deepEqual([icmpType(bytes, at), icmpEchoId(bytes, at), icmpEchoSequence(bytes, at)], [echoType, id, other]);
      setIcmpError(bytes, at, errorType, code, other);
      fillIcmpChecksum(bytes, at, length);
      t.is(icmpCheck(bytes, at, length), 0);
      t.deepEqual([icmpType(bytes, at), icmpCode(bytes, at), icmpNextMtu(bytes, at)], [errorType, code, other]);
    }),
  );
});
