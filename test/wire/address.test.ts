import test from 'ava';
import fc from 'fast-check';
import {
  formatIpv4,
  formatMac,
  isBroadcast,
  isBroadcastMac,
  isInNetwork,
  isLoopback,
  isMulticast,
  isMulticastMac,
  maskOf,
  parseCidr,
  parseIpv4,
  parseMac,
} from '../../src/wire/address.ts';

const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });

test('addresses are signed integers, first byte highest', (t) => {
  t.is(parseIpv4('0.0.0.0'), 0);
  t.is(parseIpv4('10.90.0.2'), 0x0a5a0002);
  t.is(parseIpv4('192.168.0.1'), 0xc0a80001 | 0);
  t.is(parseIpv4('255.255.255.255'), -1);
});

test('only strict dotted quads parse', (t) => {
  const refused = [
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '256.0.0.1',
    '1.2.3.999',
    '1.2.3.1000',
    '010.0.0.1',
    '1.2.3.04',
    '00.0.0.0',
    '0x10.0.0.1',
    '1.2.3.4 ',
    ' 1.2.3.4',
    '1.2.3.4\n',
    '1..2.3',
    '.1.2.3',
    '1.2.3.',
    '-1.2.3.4',
    '+1.2.3.4',
    '1.2.3.4/24',
    '1e1.0.0.1',
    '\u0661.2.3.4',
    '::1',
  ];
  for (const text of refused) t.is(parseIpv4(text), undefined, JSON.stringify(text));
});

test('what is formatted parses back, of either sign', (t) => {
  fc.assert(
    fc.property(int32, (address) => {
      t.is(parseIpv4(formatIpv4(address)), address);
      t.is(formatIpv4(address >>> 0), formatIpv4(address));
    }),
  );
});

test('no text throws, and what parses is canonical', (t) => {
  const texts = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom('0', '1', '2', '5', '9', '.', '/', ':', 'a', 'F') }),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const address = parseIpv4(text);
      if (address !== undefined) t.is(formatIpv4(address), text);
      const cidr = parseCidr(text);
      if (cidr !== undefined) t.is(`${formatIpv4(cidr.address)}/${cidr.prefixLength}`, text);
      const mac = parseMac(text);
      if (mac !== undefined) t.is(formatMac(mac.hi, mac.lo), text.toLowerCase());
      t.pass();
    }),
    { numRuns: 1000 },
  );
});

test('prefixes are 0 to 32, written plainly, and host bits are kept', (t) => {
  t.deepEqual(parseCidr('10.90.0.2/24'), { address: 0x0a5a0002, prefixLength: 24 });
  t.deepEqual(parseCidr('0.0.0.0/0'), { address: 0, prefixLength: 0 });
  t.deepEqual(parseCidr('255.255.255.255/32'), { address: -1, prefixLength: 32 });
  const refused = ['10.0.0.1', '10.0.0.1/', '/24', '10.0.0.1/33', '10.0.0.1/024', '10.0.0.1/-1', '10.0.0.1/+8'];
  refused.push('10.0.0.1/8/8', '10.0.0.1 /8', '10.0.0.1/8 ', '10.0.0.1/8.0', '10.0.0/8', '10.0.0.1/255.0.0.0');
  for (const text of refused) t.is(parseCidr(text), undefined, text);
});

test('addresses on the link and beyond', (t) => {
  const network = { address: parseIpv4('10.90.4.2') as number, prefixLength: 22 };
  for (const text of ['10.90.4.0', '10.90.4.2', '10.90.5.1', '10.90.7.255']) {
    t.true(isInNetwork(parseIpv4(text) as number, network), text);
  }
  for (const text of ['10.90.3.255', '10.90.8.0', '138.90.4.2']) {
    t.false(isInNetwork(parseIpv4(text) as number, network), text);
  }
  t.true(isInNetwork(-1, { address: 1, prefixLength: 0 }));
  t.false(isInNetwork(2, { address: 1, prefixLength: 32 }));
});

test('masks of all prefixes', (t) => {
  t.is(maskOf(0), 0);
  t.is(maskOf(1), 0x80000000 | 0);
  t.is(formatIpv4(maskOf(20)), '255.255.240.0');
  t.is(maskOf(31), -2);
  t.is(maskOf(32), -1);
  for (let prefix = 0; prefix <= 32; prefix++) {
    t.is(maskOf(prefix) >>> 0, 2 ** 32 - 2 ** (32 - prefix));
  }
});

test('MAC addresses parse in either case and nothing else', (t) => {
  t.deepEqual(parseMac('02:00:5e:5a:00:01'), { hi: 0x0200, lo: 0x5e5a0001 });
  t.deepEqual(parseMac('FF:ff:FF:ff:FF:ff'), { hi: 0xffff, lo: -1 });
  const refused = ['', '02:00:5e:5a:00', '02:00:5e:5a:00:01:02', '02-00-5e-5a-00-01', '02005e5a0001', '2:0:5e:5a:0:1'];
  refused.push(
    '02:00:5e:5a:00:0g',
    '02:00:5e:5a:00:01\n',
    ' 02:00:5e:5a:00:01',
    '02:00:5e:5a:00:+1',
    '02::5e:5a:00:01',
  );
  for (const text of refused) t.is(parseMac(text), undefined, JSON.stringify(text));
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff }), int32, (hi, lo) => {
      t.deepEqual(parseMac(formatMac(hi, lo)), { hi, lo });
      t.is(formatMac(hi, lo >>> 0), formatMac(hi, lo));
    }),
  );
});

test('kinds of addresses at their borders', (t) => {
  const at = (text: string): number => parseIpv4(text) ?? 0;
  t.deepEqual(['223.255.255.255', '224.0.0.0', '239.255.255.255', '240.0.0.0'].map(at).map(isMulticast), [
    false,
    true,
    true,
    false,
  ]);
  t.deepEqual(['126.255.255.255', '127.0.0.0', '127.255.255.255', '128.0.0.0'].map(at).map(isLoopback), [
    false,
    true,
    true,
    false,
  ]);
  t.true(isBroadcast(at('255.255.255.255')));
  t.false(isBroadcast(at('255.255.255.254')));
  t.true(isMulticastMac(0x0100));
  t.true(isMulticastMac(0xffff));
  t.false(isMulticastMac(0x02ff));
  t.true(isBroadcastMac(0xffff, -1));
  t.false(isBroadcastMac(0xffff, -2));
  t.false(isBroadcastMac(0xfffe, -1));
});
