import test from 'ava';
import fc from 'fast-check';
import {
  ARP_BYTES,
  ARP_OPERATION_OFFSET,
  ARP_REPLY,
  ARP_REQUEST,
  arpCheck,
  arpOperation,
  arpSenderAddress,
  arpSenderHi,
  arpSenderLo,
  arpTargetAddress,
  arpTargetHi,
  arpTargetLo,
  setArp,
} from '../../src/wire/arp.ts';
import { DROP_ARP_FORMAT, DROP_ARP_OPERATION, DROP_ARP_SHORT } from '../../src/wire/drop-reasons.ts';
import { ETHERNET_BYTES } from '../../src/wire/ethernet.ts';
import { ARP_REPLY_FRAME, ARP_REQUEST_FRAME, acceptedTruncations, hexOfBytes, place } from './frames.ts';

const REPLY = ARP_REPLY_FRAME.subarray(ETHERNET_BYTES, ETHERNET_BYTES + ARP_BYTES);

test('golden: the fields of a padded reply', (t) => {
  const bytes = place(ARP_REPLY_FRAME, 1);
  const at = 1 + ETHERNET_BYTES;
  t.is(arpCheck(bytes, at, ARP_REPLY_FRAME.length - ETHERNET_BYTES), 0);
  t.is(arpOperation(bytes, at), ARP_REPLY);
  t.deepEqual(
    [arpSenderHi(bytes, at), arpSenderLo(bytes, at), arpSenderAddress(bytes, at)],
    [0x0200, 0x5e5a0002, 0x0a5a0002],
  );
  t.deepEqual(
    [arpTargetHi(bytes, at), arpTargetLo(bytes, at), arpTargetAddress(bytes, at)],
    [0x0200, 0x5e5a0001, 0x0a5a0001],
  );
});

test('golden: writing the request', (t) => {
  const bytes = new Uint8Array(ARP_BYTES + 2).fill(0xee);
  setArp(bytes, 1, ARP_REQUEST, 0x0200, 0x5e5a0001, 0x0a5a0001, 0, 0, 0x0a5a0002);
  t.is(hexOfBytes(bytes), `ee${hexOfBytes(ARP_REQUEST_FRAME.subarray(ETHERNET_BYTES))}ee`);
});

test('a cut packet is refused at every length', (t) => {
  t.deepEqual(acceptedTruncations(REPLY, arpCheck), []);
  t.is(arpCheck(REPLY, 0, ARP_BYTES - 1), DROP_ARP_SHORT);
});

test('other hardware, protocols, address lengths and operations are refused', (t) => {
  for (let offset = 0; offset < ARP_OPERATION_OFFSET; offset++) {
    const packet = REPLY.slice();
    packet[offset] = (packet[offset] ?? 0) ^ 0x40;
    t.is(arpCheck(packet, 0, ARP_BYTES), DROP_ARP_FORMAT, `byte ${offset}`);
  }
  for (const operation of [0, 3, 8, 0x0100, 0x0201]) {
    const packet = REPLY.slice();
    packet[ARP_OPERATION_OFFSET] = operation >>> 8;
    packet[ARP_OPERATION_OFFSET + 1] = operation;
    t.is(arpCheck(packet, 0, ARP_BYTES), DROP_ARP_OPERATION, `operation ${operation}`);
  }
});

test('what is written passes the check and is read back', (t) => {
  const u16 = fc.integer({ min: 0, max: 0xffff });
  const i32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
  const operation = fc.constantFrom(ARP_REQUEST, ARP_REPLY);
  fc.assert(
    fc.property(fc.nat(5), operation, fc.tuple(u16, i32, i32, u16, i32, i32), (at, op, fields) => {
      const bytes = new Uint8Array(at + ARP_BYTES);
      setArp(bytes, at, op, ...fields);
      t.is(arpCheck(bytes, at, ARP_BYTES), 0);
      t.is(arpOperation(bytes, at), op);
      t.deepEqual(
        [
          arpSenderHi(bytes, at),
          arpSenderLo(bytes, at),
          arpSenderAddress(bytes, at),
          arpTargetHi(bytes, at),
          arpTargetLo(bytes, at),
          arpTargetAddress(bytes, at),
        ],
        fields,
      );
    }),
  );
});
