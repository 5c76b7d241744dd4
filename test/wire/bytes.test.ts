import test from 'ava';
import fc from 'fast-check';
import {
  float64At,
  i32,
  int32At,
  setU8,
  setU16,
  setU16le,
  setU32,
  u8,
  u16,
  u16le,
  u32,
  uint16At,
  uint32At,
} from '../../src/wire/bytes.ts';
import { bytesOfHex, hexOfBytes } from './frames.ts';

test('reads are big-endian, the signed one signed', (t) => {
  const bytes = bytesOfHex('00 fedcba98 01');
  t.is(u8(bytes, 1), 0xfe);
  t.is(u16(bytes, 1), 0xfedc);
  t.is(u16le(bytes, 1), 0xdcfe);
  t.is(u32(bytes, 1), 0xfedcba98);
  t.is(i32(bytes, 1), 0xfedcba98 | 0);
});

test('writes touch their own bytes only and keep the low bits', (t) => {
  const bytes = new Uint8Array(8);
  setU8(bytes, 1, 0x1ff);
  setU16(bytes, 2, 0x12345);
  setU32(bytes, 4, -2);
  t.is(hexOfBytes(bytes), '00ff2345fffffffe');
  setU16le(bytes, 0, 0x1234);
  t.is(hexOfBytes(bytes), '34122345fffffffe');
});

test('what is written is read back, and a DataView agrees', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 12 }), fc.integer(), (at, value) => {
      const bytes = new Uint8Array(16);
      const view = new DataView(bytes.buffer);
      setU32(bytes, at, value);
      t.is(view.getInt32(at), value | 0);
      t.is(i32(bytes, at), value | 0);
      t.is(u32(bytes, at), value >>> 0);
      setU16(bytes, at, value);
      t.is(view.getUint16(at), value & 0xffff);
      t.is(u16(bytes, at), value & 0xffff);
      setU16le(bytes, at, value);
      t.is(view.getUint16(at, true), value & 0xffff);
      t.is(u16le(bytes, at), value & 0xffff);
    }),
  );
});

test('the element readers read', (t) => {
  t.is(int32At(new Int32Array([1, -2]), 1), -2);
  t.is(uint32At(new Uint32Array([1, -2]), 1), 0xfffffffe);
  t.is(uint16At(new Uint16Array([1, -2]), 1), 0xfffe);
  t.is(float64At(new Float64Array([1, 0.5]), 1), 0.5);
});
