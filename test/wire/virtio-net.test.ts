import test from 'ava';
import fc from 'fast-check';
import {
  clearVnet,
  setVnetChecksum,
  setVnetGso,
  VNET_BYTES,
  VNET_GSO_ECN,
  VNET_GSO_TCPV4,
  VNET_NEEDS_CSUM,
  vnetChecksumOffset,
  vnetChecksumStart,
  vnetFlags,
  vnetGsoBytes,
  vnetGsoType,
  vnetHeaderBytes,
} from '../../src/wire/virtio-net.ts';
import { bytesOfHex, hexOfBytes } from './frames.ts';

test('golden: a TCP super-frame as the kernel hands it over', (t) => {
  // flags, type, header length, segment size, checksum start and offset; then the frame.
  const bytes = bytesOfHex('01 01 4200 a805 2200 1000 ffff');
  t.is(vnetFlags(bytes, VNET_BYTES), VNET_NEEDS_CSUM);
  t.is(vnetGsoType(bytes, VNET_BYTES), VNET_GSO_TCPV4);
  t.is(vnetHeaderBytes(bytes, VNET_BYTES), 66);
  t.is(vnetGsoBytes(bytes, VNET_BYTES), 1448);
  t.is(vnetChecksumStart(bytes, VNET_BYTES), 34);
  t.is(vnetChecksumOffset(bytes, VNET_BYTES), 16);
});

test('golden: writing the same header over a used slot, frame and slot around it untouched', (t) => {
  const bytes = new Uint8Array(20).fill(0xee);
  clearVnet(bytes, 12);
  t.is(hexOfBytes(bytes), `eeee${'00'.repeat(10)}${'ee'.repeat(8)}`);
  setVnetChecksum(bytes, 12, 34, 16);
  setVnetGso(bytes, 12, VNET_GSO_TCPV4, 66, 1448);
  t.is(hexOfBytes(bytes), `eeee01014200a80522001000${'ee'.repeat(8)}`);
});

test('what is written is read back', (t) => {
  const u16 = fc.integer({ min: 0, max: 0xffff });
  const type = fc.constantFrom(0, 1, 3, 4, 5, VNET_GSO_TCPV4 | VNET_GSO_ECN);
  fc.assert(
    fc.property(fc.nat(5), type, u16, u16, u16, u16, (lead, gso, header, size, start, offset) => {
      const at = VNET_BYTES + lead;
      const bytes = new Uint8Array(at);
      setVnetChecksum(bytes, at, start, offset);
      setVnetGso(bytes, at, gso, header, size);
      t.deepEqual(
        [vnetFlags(bytes, at), vnetGsoType(bytes, at), vnetHeaderBytes(bytes, at), vnetGsoBytes(bytes, at)],
        [VNET_NEEDS_CSUM, gso, header, size],
      );
      t.deepEqual([vnetChecksumStart(bytes, at), vnetChecksumOffset(bytes, at)], [start, offset]);
    }),
  );
});
