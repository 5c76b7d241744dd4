/** The shape that connections have in the engine. */
import { setFlagsFromString } from 'node:v8';
import test from 'ava';
import { createTcb } from './support.ts';

test('a connection is an object with fields, not a hash table: V8 makes one of more than 128 fields that no constructor announces', (t) => {
  setFlagsFromString('--allow-natives-syntax');
  const hasFastProperties = new Function('object', 'return %HasFastProperties(object)') as (object: object) => boolean;
  const table: Record<string, number> = { one: 1, two: 2 };
  delete table.one;
  t.false(hasFastProperties(table));
  t.true(hasFastProperties(createTcb()));
});

test('what is true or false is a bit of its own', (t) => {
  const tcb = createTcb();
  const prototype = Object.getPrototypeOf(Object.getPrototypeOf(tcb)) as object;
  const names = Object.entries(Object.getOwnPropertyDescriptors(prototype))
    .filter(([, { set }]) => set !== undefined)
    .map(([name]) => name as 'sack' | 'ackNow' | 'inOutput');
  t.true(names.includes('ackNow') && names.includes('inOutput'));
  for (const name of names) {
    t.false(tcb[name]);
    tcb[name] = true;
    t.deepEqual(
      names.filter((other) => tcb[other]),
      [name],
    );
    tcb[name] = false;
    t.false(tcb[name]);
  }
  for (const name of names) tcb[name] = true;
  t.true(names.every((name) => tcb[name]));
  tcb.reset();
  t.false(names.some((name) => tcb[name]));
});
