import test from 'ava';
import fc from 'fast-check';
import { LocalAddresses, MAX_LOCAL_ADDRESSES } from '../../src/libos/local-addresses.ts';
import { type Cidr, parseCidr, parseIpv4 } from '../../src/wire/address.ts';

const ip = (text: string): number => parseIpv4(text) as number;
const cidr = (text: string): Cidr => parseCidr(text) as Cidr;

test('the primary address and those of every prefix are ours, and no others', (t) => {
  const local = new LocalAddresses(ip('10.90.0.2'), [cidr('10.91.0.0/24'), cidr('200.1.2.4/30')]);
  for (const text of ['10.90.0.2', '10.91.0.0', '10.91.0.255', '200.1.2.4', '200.1.2.7'])
    t.true(local.has(ip(text)), text);
  for (const text of ['10.90.0.1', '10.90.0.3', '10.90.255.255', '10.91.1.0', '200.1.2.3', '200.1.2.8', '0.0.0.0']) {
    t.false(local.has(ip(text)), text);
    t.is(local.indexOf(ip(text)), -1, text);
  }
});

test('every address has a number of its own, from 0', (t) => {
  const local = new LocalAddresses(ip('10.90.0.2'), [cidr('10.91.0.0/24'), cidr('200.1.2.4/30'), cidr('10.92.0.9/32')]);
  const all = [ip('10.90.0.2'), ip('10.92.0.9')];
  for (let host = 0; host < 256; host++) all.push(ip('10.91.0.0') + host);
  for (let host = 0; host < 4; host++) all.push(ip('200.1.2.4') + host);
  const numbers = all.map((address) => local.indexOf(address | 0)).sort((a, b) => a - b);
  t.deepEqual(
    numbers,
    all.map((_, n) => n),
  );
  t.is(local.indexOf(ip('10.90.0.2')), 0);
});

test('prefixes that share addresses, or are too large together, are refused', (t) => {
  const primary = ip('10.90.0.2');
  for (const prefixes of [
    ['10.91.0.0/24', '10.91.0.128/25'],
    ['10.91.0.128/25', '10.91.0.0/24'],
    ['10.91.0.1/32', '10.91.0.1/32'],
    ['10.0.0.0/11'],
    ['10.0.0.0/13', '11.0.0.0/13'],
  ]) {
    t.throws(() => new LocalAddresses(primary, prefixes.map(cidr)), { instanceOf: RangeError }, prefixes.join(' '));
  }
  t.true(new LocalAddresses(primary, [cidr('10.0.0.0/13')]).indexOf(ip('10.7.255.255')) < MAX_LOCAL_ADDRESSES);
});

test('property: a number exactly for what is ours', (t) => {
  const local = new LocalAddresses(ip('10.90.0.2'), [cidr('10.91.0.0/20'), cidr('200.1.2.4/30')]);
  const near = fc.constantFrom('10.90.0.2', '10.91.0.0', '10.91.15.255', '200.1.2.4').map(ip);
  const address = fc.oneof(
    fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    fc.tuple(near, fc.integer({ min: -9, max: 9 })).map(([at, off]) => (at + off) | 0),
  );
  t.notThrows(() => fc.assert(fc.property(address, (one) => local.has(one) === local.indexOf(one) >= 0)));
});
