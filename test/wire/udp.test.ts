import test from 'ava';
import fc from 'fast-check';
import { DROP_UDP_LENGTH, DROP_UDP_SHORT } from '../../src/wire/drop-reasons.ts';
import {
  setUdp,
  UDP_BYTES,
  UDP_LENGTH_OFFSET,
  udpCheck,
  udpChecksum,
  udpLength,
  udpSourcePort,
  udpTargetPort,
} from '../../src/wire/udp.ts';
import { acceptedTruncations, hexOfBytes, place, UDP_FRAME } from './frames.ts';

const UDP = UDP_FRAME.subarray(34);

test('golden: the fields of a datagram', (t) => {
  const bytes = place(UDP, 1);
  t.is(udpCheck(bytes, 1, UDP.length), 0);
  t.deepEqual([udpSourcePort(bytes, 1), udpTargetPort(bytes, 1)], [5353, 53]);
  t.deepEqual([udpLength(bytes, 1), udpChecksum(bytes, 1)], [13, 0x922d]);
});

test('golden: writing the header leaves the checksum zero', (t) => {
  const bytes = new Uint8Array(UDP_BYTES + 2).fill(0xee);
  setUdp(bytes, 1, 5353, 53, 13);
  t.is(hexOfBytes(bytes), 'ee14e90035000d0000ee');
});

test('a cut datagram is refused at every length, a padded one is not', (t) => {
  t.deepEqual(acceptedTruncations(UDP, udpCheck), []);
  t.is(udpCheck(UDP, 0, UDP_BYTES - 1), DROP_UDP_SHORT);
  t.is(udpCheck(UDP, 0, UDP.length - 1), DROP_UDP_LENGTH);
  t.is(udpCheck(place(UDP, 0), 0, UDP.length + 16), 0);
  const small = UDP.slice();
  small[UDP_LENGTH_OFFSET + 1] = UDP_BYTES - 1;
  t.is(udpCheck(small, 0, small.length), DROP_UDP_LENGTH);
});

test('what is written is read back', (t) => {
  const u16 = fc.integer({ min: 0, max: 0xffff });
  fc.assert(
    fc.property(fc.nat(5), u16, u16, u16, (at, source, target, length) => {
      const bytes = new Uint8Array(at + UDP_BYTES);
      setUdp(bytes, at, source, target, length);
      t.deepEqual([udpSourcePort(bytes, at), udpTargetPort(bytes, at)], [source, target]);
      t.deepEqual([udpLength(bytes, at), udpChecksum(bytes, at)], [length, 0]);
      t.is(udpCheck(bytes, at, length) === 0, length >= UDP_BYTES);
    }),
  );
});
