import test from 'ava';
import * as reasons from '../../src/wire/drop-reasons.ts';

const { DROP_NAMES, nameDrop } = reasons;

test('every constant has its name at its number, every name its constant', (t) => {
  const numbers = new Set<number>();
  for (const [name, value] of Object.entries(reasons)) {
    if (typeof value !== 'number') continue;
    numbers.add(value);
    t.is(DROP_NAMES[value], name.replace('DROP_', '').toLowerCase().replaceAll('_', '-'));
  }
  t.is(numbers.size, DROP_NAMES.length - 1);
  t.false(numbers.has(0));
  t.is(new Set(DROP_NAMES).size, DROP_NAMES.length);
});

test('an unknown number is named as a number', (t) => {
  t.is(nameDrop(0), 'none');
  t.is(nameDrop(reasons.DROP_ETHERNET_SHORT), 'ethernet-short');
  t.is(nameDrop(9999), 'drop 9999');
});
