import test from 'ava';
import fc from 'fast-check';
import { RouteTable } from '../../src/libos/routes.ts';
import { maskOf } from '../../src/wire/address.ts';
import { ip } from './rig.ts';

test('an empty table leads nowhere', (t) => {
  t.is(new RouteTable().lookup(ip('10.0.0.1')), undefined);
});

test('on-link targets are their own next hop, others go to the gateway', (t) => {
  const routes = new RouteTable();
  routes.add(ip('10.90.0.0'), 24, 0);
  t.is(routes.lookup(ip('192.0.2.1')), undefined);
  routes.add(0, 0, ip('10.90.0.254'));
  t.is(routes.lookup(ip('10.90.0.9')), ip('10.90.0.9'));
  t.is(routes.lookup(ip('10.90.1.9')), ip('10.90.0.254'));
  t.is(routes.lookup(ip('255.255.255.255')), ip('10.90.0.254'));
});

test('the longest prefix wins, whatever the order', (t) => {
  const entries: [string, number, string][] = [
    ['0.0.0.0', 0, '10.0.0.1'],
    ['192.0.0.0', 8, '10.0.0.2'],
    ['192.0.2.0', 24, '10.0.0.3'],
    ['192.0.2.77', 32, '10.0.0.4'],
  ];
  for (const order of [entries, entries.toReversed()]) {
    const routes = new RouteTable();
    for (const [prefix, length, gateway] of order) routes.add(ip(prefix), length, ip(gateway));
    t.is(routes.lookup(ip('192.0.2.77')), ip('10.0.0.4'));
    t.is(routes.lookup(ip('192.0.2.78')), ip('10.0.0.3'));
    t.is(routes.lookup(ip('192.0.3.1')), ip('10.0.0.2'));
    t.is(routes.lookup(ip('8.8.8.8')), ip('10.0.0.1'));
  }
});

test('a route replaces the one of its prefix, and can be removed', (t) => {
  const routes = new RouteTable();
  routes.add(0, 0, ip('10.0.0.1'));
  routes.add(0, 0, ip('10.0.0.2'));
  t.is(routes.size, 1);
  t.is(routes.lookup(ip('192.0.2.1')), ip('10.0.0.2'));
  t.true(routes.remove(0, 0));
  t.false(routes.remove(0, 0));
  t.is(routes.lookup(ip('192.0.2.1')), undefined);
});

test('unsigned addresses are taken for the signed ones', (t) => {
  const routes = new RouteTable();
  routes.add(ip('192.0.2.0') >>> 0, 24, ip('192.0.2.254') >>> 0);
  t.is(routes.lookup(ip('192.0.2.1') >>> 0), ip('192.0.2.254'));
});

test('bad routes are refused', (t) => {
  const routes = new RouteTable();
  t.throws(() => routes.add(0, 33, 0), { instanceOf: RangeError });
  t.throws(() => routes.add(0, -1, 0), { instanceOf: RangeError });
  t.throws(() => routes.add(0, 8.5, 0), { instanceOf: RangeError });
  t.throws(() => routes.add(ip('10.0.0.1'), 24, 0), { instanceOf: RangeError });
  t.is(routes.size, 0);
});

test('property: lookup agrees with trying every route', (t) => {
  const route = fc.record({ address: fc.integer(), length: fc.integer({ min: 0, max: 32 }), gateway: fc.integer() });
  fc.assert(
    fc.property(fc.array(route, { maxLength: 12 }), fc.integer(), fc.nat(11), (list, random, pick) => {
      const routes = new RouteTable();
      const target = (list[pick]?.address ?? random) | 0;
      let best = -1;
      let expected: number | undefined;
      for (const { address, length, gateway } of list) {
        const prefix = address & maskOf(length);
        routes.add(prefix, length, gateway);
        if ((target & maskOf(length)) === prefix && length >= best) {
          best = length;
          expected = gateway === 0 ? target : gateway | 0;
        }
      }
      t.is(routes.lookup(target), expected);
    }),
  );
});
