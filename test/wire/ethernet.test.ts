import test from 'ava';
import fc from 'fast-check';
import { DROP_ETHERNET_SHORT, DROP_ETHERNET_SOURCE } from '../../src/wire/drop-reasons.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ethernetCheck,
  ethernetSourceHi,
  ethernetSourceLo,
  ethernetTargetHi,
  ethernetTargetLo,
  ethernetType,
  setEthernet,
} from '../../src/wire/ethernet.ts';
import { ARP_REQUEST_FRAME, acceptedTruncations, GOLDEN_FRAMES, hexOfBytes, place, SYN_FRAME } from './frames.ts';

test('golden: the fields of two frames', (t) => {
  const syn = place(SYN_FRAME, 3);
  t.is(ethernetTargetHi(syn, 3), 0x0200);
  t.is(ethernetTargetLo(syn, 3), 0x5e5a0002);
  t.is(ethernetSourceHi(syn, 3), 0x0200);
  t.is(ethernetSourceLo(syn, 3), 0x5e5a0001);
  t.is(ethernetType(syn, 3), ETHERTYPE_IPV4);
  t.is(ethernetTargetHi(ARP_REQUEST_FRAME, 0), 0xffff);
  t.is(ethernetTargetLo(ARP_REQUEST_FRAME, 0), -1);
  t.is(ethernetType(ARP_REQUEST_FRAME, 0), ETHERTYPE_ARP);
  for (const frame of GOLDEN_FRAMES) t.is(ethernetCheck(frame, 0, frame.length), 0);
});

test('golden: writing a header', (t) => {
  const bytes = new Uint8Array(16).fill(0xee);
  setEthernet(bytes, 1, 0xffff, -1, 0x0200, 0x5e5a0001, ETHERTYPE_ARP);
  t.is(hexOfBytes(bytes), `ee${hexOfBytes(ARP_REQUEST_FRAME.subarray(0, ETHERNET_BYTES))}ee`);
});

test('a cut header and a group as the source are refused', (t) => {
  t.deepEqual(acceptedTruncations(SYN_FRAME.subarray(0, ETHERNET_BYTES), ethernetCheck), []);
  t.is(ethernetCheck(SYN_FRAME, 0, ETHERNET_BYTES - 1), DROP_ETHERNET_SHORT);
  const frame = SYN_FRAME.slice();
  frame[6] = 0x03;
  t.is(ethernetCheck(frame, 0, frame.length), DROP_ETHERNET_SOURCE);
});

test('what is written is read back', (t) => {
  const u16 = fc.integer({ min: 0, max: 0xffff });
  const i32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
  fc.assert(
    fc.property(fc.nat(5), u16, i32, u16, i32, u16, (at, targetHi, targetLo, sourceHi, sourceLo, type) => {
      const bytes = new Uint8Array(at + ETHERNET_BYTES);
      setEthernet(bytes, at, targetHi, targetLo, sourceHi, sourceLo, type);
      t.deepEqual(
        [ethernetTargetHi(bytes, at), ethernetTargetLo(bytes, at), ethernetSourceHi(bytes, at)],
        [targetHi, targetLo, sourceHi],
      );
      t.deepEqual([ethernetSourceLo(bytes, at), ethernetType(bytes, at)], [sourceLo, type]);
    }),
  );
});
