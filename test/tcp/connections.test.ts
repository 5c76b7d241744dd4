import test from 'ava';
import fc from 'fast-check';
import { hashWords } from '../../src/runtime/half-siphash.ts';
import { ConnectionTable, NOT_FOUND, timeWaitValue } from '../../src/tcp/connections.ts';

const LOCAL = 0x0a5a0002;
const KEY = { low: 0x03020100, high: 0x07060504 };

interface Entry {
  readonly address: number;
  readonly remotePort: number;
  readonly localAddress: number;
  readonly localPort: number;
}

/** Entry number n of a fixed population; addresses and ports reach into their sign bits. */
function entryOf(n: number): Entry {
  return {
    address: Math.imul(n >> 4, 0x9e3779b1) | 0,
    remotePort: 65_535 - (n % 7) * 9000,
    localAddress: n % 3 === 0 ? LOCAL : ~LOCAL - (n % 5),
    localPort: n % 2 === 0 ? 80 : 40_000 + (n % 16),
  };
}

function nameOf({ address, remotePort, localAddress, localPort }: Entry): string {
  return `${address}:${remotePort}-${localAddress}:${localPort}`;
}

/** A table and what should be in it. */
class Pair {
  readonly table = new ConnectionTable(KEY);
  readonly model = new Map<string, number>();

  set(entry: Entry, value: number): void {
    this.table.set(entry.address, entry.remotePort, entry.localAddress, entry.localPort, value);
    this.model.set(nameOf(entry), value);
  }

  delete(entry: Entry): void {
    const { address, remotePort, localAddress, localPort } = entry;
    const value = this.model.get(nameOf(entry)) ?? 0;
    // Of something else nothing is removed.
    this.table.delete(address, remotePort, localAddress, localPort, value + 1);
    this.table.delete(address, remotePort, localAddress, localPort, value);
    this.model.delete(nameOf(entry));
  }

  /** Whether the two agree about an entry. */
  agree(entry: Entry): boolean {
    const found = this.table.find(entry.address, entry.remotePort, entry.localAddress, entry.localPort);
    return found === (this.model.get(nameOf(entry)) ?? NOT_FOUND);
  }

  /** The first of the first `count` entries of the population that the two disagree about. */
  difference(count: number): string | undefined {
    if (this.table.size !== this.model.size) return `size ${this.table.size}, not ${this.model.size}`;
    for (let n = 0; n < count; n++) {
      const entry = entryOf(n);
      const found = this.table.find(entry.address, entry.remotePort, entry.localAddress, entry.localPort);
      const expected = this.model.get(nameOf(entry)) ?? NOT_FOUND;
      if (found !== expected) return `${nameOf(entry)} is ${found}, not ${expected}`;
    }
    return undefined;
  }
}

test('behaves like a map under any sequence of operations', (t) => {
  const population = 400;
  const operation = fc.record({
    n: fc.nat(population - 1),
    isDelete: fc.boolean(),
    asked: fc.array(fc.nat(population - 1), { maxLength: 4 }),
    value: fc.integer({ min: -65_536, max: 65_536 }),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 1500, size: 'max' }), (operations) => {
      const pair = new Pair();
      for (const { n, isDelete, value, asked } of operations) {
        if (isDelete) pair.delete(entryOf(n));
        else pair.set(entryOf(n), value);
        t.true([n, ...asked].every((index) => pair.agree(entryOf(index))));
      }
      t.is(pair.difference(population), undefined);
    }),
    { numRuns: 60 },
  );
});

/** Entries whose first slot in a table of 256 is one of `homes`. */
function entriesAt(homes: readonly number[], count: number): Entry[] {
  const entries: Entry[] = [];
  for (let n = 0; entries.length < count; n++) {
    const entry = { address: n, remotePort: 1000, localAddress: LOCAL, localPort: 80 };
    const ports = (entry.remotePort << 16) | entry.localPort;
    if (homes.includes(hashWords(KEY, n, ports, LOCAL) & 255)) entries.push(entry);
  }
  return entries;
}

test('a deletion in a run of colliding entries loses none of the others, whichever it is', (t) => {
  // The run goes around the end of the table, and entries of several homes are mixed in it.
  const entries = entriesAt([254, 255, 0, 1], 24);
  for (let gone = 0; gone < entries.length; gone++) {
    const table = new ConnectionTable(KEY);
    for (const [i, { address, remotePort, localAddress, localPort }] of entries.entries())
      table.set(address, remotePort, localAddress, localPort, i);
    const { address, remotePort, localAddress, localPort } = entries[gone] as Entry;
    table.delete(address, remotePort, localAddress, localPort, gone);
    t.is(table.size, entries.length - 1);
    for (const [i, entry] of entries.entries()) {
      t.is(
        table.find(entry.address, entry.remotePort, entry.localAddress, entry.localPort),
        i === gone ? NOT_FOUND : i,
      );
    }
  }
});

test('colliding entries go in any order', (t) => {
  const entries = entriesAt([253, 254, 255, 0, 2], 20);
  const numbers = entries.map((_, i) => i);
  fc.assert(
    fc.property(fc.shuffledSubarray(numbers, { minLength: 20 }), fc.shuffledSubarray(numbers), (order, gone) => {
      const table = new ConnectionTable(KEY);
      const find = (i: number) => {
        const { address, remotePort, localAddress, localPort } = entries[i] as Entry;
        return table.find(address, remotePort, localAddress, localPort);
      };
      for (const i of order) {
        const { address, remotePort, localAddress, localPort } = entries[i] as Entry;
        table.set(address, remotePort, localAddress, localPort, i);
      }
      const left = new Set(order);
      for (const i of gone) {
        const { address, remotePort, localAddress, localPort } = entries[i] as Entry;
        table.delete(address, remotePort, localAddress, localPort, i);
        left.delete(i);
        for (const n of numbers) t.is(find(n), left.has(n) ? n : NOT_FOUND);
      }
      t.is(table.size, left.size);
    }),
    { numRuns: 100 },
  );
});

test('grows and keeps everything', (t) => {
  const pair = new Pair();
  for (let n = 0; n < 20_000; n++) {
    pair.set({ address: n | 0x80000000, remotePort: 1 + (n % 65_535), localAddress: LOCAL, localPort: 80 }, n);
  }
  t.is(pair.table.size, 20_000);
  for (let n = 0; n < 20_000; n++) {
    const found = pair.table.find(n | 0x80000000, 1 + (n % 65_535), LOCAL, 80);
    if (found !== n) t.fail(`entry ${n} became ${found}`);
  }
  for (let n = 0; n < 20_000; n += 2) pair.table.delete(n | 0x80000000, 1 + (n % 65_535), LOCAL, 80, n);
  t.is(pair.table.size, 10_000);
  for (let n = 0; n < 20_000; n++) {
    const found = pair.table.find(n | 0x80000000, 1 + (n % 65_535), LOCAL, 80);
    if (found !== (n % 2 === 0 ? NOT_FOUND : n)) t.fail(`entry ${n} became ${found}`);
  }
});

test('remote and local port are not interchangeable, nor is any part of the key left out', (t) => {
  const table = new ConnectionTable(KEY);
  table.set(0x0a000001, 1000, LOCAL, 2000, 7);
  t.is(table.find(0x0a000001, 1000, LOCAL, 2000), 7);
  t.is(table.find(0x0a000001, 2000, LOCAL, 1000), NOT_FOUND);
  t.is(table.find(0x0a000002, 1000, LOCAL, 2000), NOT_FOUND);
  t.is(table.find(0x0a000001, 1001, LOCAL, 2000), NOT_FOUND);
  t.is(table.find(0x0a000001, 1000, LOCAL, 2001), NOT_FOUND);
  t.is(table.find(0x0a000001, 1000, LOCAL + 1, 2000), NOT_FOUND);
});

test('setting again replaces, deleting again does nothing', (t) => {
  const table = new ConnectionTable(KEY);
  table.set(-1, 65_535, LOCAL, 65_535, 1);
  table.set(-1, 65_535, LOCAL, 65_535, timeWaitValue(1));
  t.is(table.size, 1);
  t.is(table.find(-1, 65_535, LOCAL, 65_535), timeWaitValue(1));
  table.delete(-1, 65_535, LOCAL, 65_535, 1);
  t.is(table.size, 1);
  table.delete(-1, 65_535, LOCAL, 65_535, timeWaitValue(1));
  table.delete(-1, 65_535, LOCAL, 65_535, timeWaitValue(1));
  t.is(table.size, 0);
  t.is(table.find(-1, 65_535, LOCAL, 65_535), NOT_FOUND);
});

test('values of TIME-WAIT records are negative, never "not found", and come back', (t) => {
  for (const record of [0, 1, 65_535, 2 ** 31 - 2]) {
    const value = timeWaitValue(record);
    t.true(value < 0);
    t.not(value, NOT_FOUND);
    t.is(timeWaitValue(value), record);
  }
});
