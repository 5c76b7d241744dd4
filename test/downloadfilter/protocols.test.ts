import test from 'ava';
import { Demultiplexer } from '../../src/downloadfilter/demultiplexer.ts';
import { interpret } from '../../src/downloadfilter/interpret.ts';
import type { Filter } from '../../src/downloadfilter/language.ts';
import { arpFilter, ipv4Filter, tcp4Filter } from '../../src/downloadfilter/protocols.ts';

const A = 0x0a5a0002;
const AT = 3;

/** A frame at AT, followed by bytes that would satisfy what a truncated frame lacks. */
function frame(hex: string): Uint8Array {
  return new Uint8Array([0xaa, 0xaa, 0xaa, ...Buffer.from(hex.replaceAll(/[^0-9a-f]/g, ''), 'hex')]);
}

const ETHERNET = '02e0e0e0e002 02e0e0e0e001';
const TCP = '9c40 0050 00000001 00000000 5002 faf0 0000 0000';
const syn = frame(`${ETHERNET} 0800 4500 0028 0001 4000 4006 0000 0a5a0001 0a5a0002 ${TCP}`);
const fullOptions = frame(`${ETHERNET} 0800 4f00 0050 0001 4000 4006 0000 0a5a0001 0a5a0002 ${'01'.repeat(40)} ${TCP}`);
const firstFragment = frame(`${ETHERNET} 0800 4500 0028 0001 2000 4006 0000 0a5a0001 0a5a0002 ${TCP}`);
const laterFragment = frame(`${ETHERNET} 0800 4500 0028 0001 2001 4006 0000 0a5a0001 0a5a0002 ${TCP}`);
const lastFragment = frame(`${ETHERNET} 0800 4500 0028 0001 1fff 4006 0000 0a5a0001 0a5a0002 ${TCP}`);
const udp = frame(`${ETHERNET} 0800 4500 0028 0001 4000 4011 0000 0a5a0001 0a5a0002 ${TCP}`);
const elsewhere = frame(`${ETHERNET} 0800 4500 0028 0001 4000 4006 0000 0a5a0001 0a5a0003 ${TCP}`);
const who = frame('ffffffffffff 02e0e0e0e001 0806 0001 0800 06 04 0001 02e0e0e0e001 0a5a0001 000000000000 0a5a0002');
const reply = frame(`${ETHERNET} 0806 0001 0800 06 04 0002 02e0e0e0e001 0a5a0001 02e0e0e0e002 0a5a0002`);

const ARP = 1;
const IPV4 = 2;
const PORT = 3;

function demultiplexer(): Demultiplexer {
  const demux = new Demultiplexer();
  demux.insert(tcp4Filter({ target: A, targetPort: 80 }), PORT);
  demux.insert(ipv4Filter(A), IPV4);
  demux.insert(arpFilter(A), ARP);
  return demux;
}

const expectations: [name: string, bytes: Uint8Array, owner: number][] = [
  ['a SYN to the port', syn, PORT],
  ['a SYN behind 40 bytes of IP options', fullOptions, PORT],
  ['a first fragment, which carries the ports', firstFragment, PORT],
  ['a later fragment', laterFragment, IPV4],
  ['a last fragment', lastFragment, IPV4],
  ['UDP', udp, IPV4],
  ['another address', elsewhere, -1],
  ['an ARP request', who, ARP],
  ['an ARP reply', reply, ARP],
];

for (const [name, bytes, owner] of expectations) {
  test(`${name} goes to ${owner}`, (t) => {
    t.is(demultiplexer().classify(bytes, AT, bytes.length - AT), owner);
  });
}

/** Owner of a frame cut at every length: -1, then that of the wider filter where there is one, then its own. */
const truncations: [name: string, bytes: Uint8Array, from: [length: number, owner: number][]][] = [
  [
    'TCP',
    syn,
    [
      [0, -1],
      [34, IPV4],
      [38, PORT],
    ],
  ],
  [
    'TCP behind options',
    fullOptions,
    [
      [0, -1],
      [34, IPV4],
      [78, PORT],
    ],
  ],
  [
    'ARP',
    who,
    [
      [0, -1],
      [42, ARP],
    ],
  ],
];

for (const [name, bytes, steps] of truncations) {
  test(`${name} truncated at every length`, (t) => {
    const demux = demultiplexer();
    for (let length = 0; length <= bytes.length - AT; length++) {
      const [, owner] = steps.findLast(([from]) => from <= length) ?? [0, -1];
      t.is(demux.classify(bytes, AT, length), owner, `length ${length}`);
    }
  });
}

test('each parameter of tcp4Filter counts', (t) => {
  const all = { target: A, source: 0x0a5a0001, sourcePort: 40_000, targetPort: 80 };
  t.true(matches(tcp4Filter(all), syn));
  t.true(matches(tcp4Filter(all), fullOptions));
  t.false(matches(tcp4Filter({ ...all, target: A + 1 }), syn));
  t.false(matches(tcp4Filter({ ...all, source: A }), syn));
  t.false(matches(tcp4Filter({ ...all, sourcePort: 40_001 }), syn));
  t.false(matches(tcp4Filter({ ...all, targetPort: 81 }), syn));
  t.true(matches(tcp4Filter({ target: A }), syn));
  t.false(matches(tcp4Filter({ target: A }), udp));
});

test('a target MAC narrows any of the filters', (t) => {
  const ours = { hi: 0x02e0, lo: 0xe0e0e002 | 0 };
  const other = { hi: 0x02e0, lo: 0xe0e0e003 | 0 };
  t.true(matches(tcp4Filter({ target: A, targetPort: 80, targetMac: ours }), syn));
  t.false(matches(tcp4Filter({ target: A, targetPort: 80, targetMac: other }), syn));
  t.true(matches(ipv4Filter(A, ours), syn));
  t.false(matches(ipv4Filter(A, other), syn));
  t.true(matches(arpFilter(A, ours), reply));
  t.false(matches(arpFilter(A, ours), who));
});

test('ARP for another protocol or hardware is not claimed', (t) => {
  for (const at of [14, 15, 16, 17, 18, 19]) {
    const bytes = who.slice();
    bytes[AT + at] = (bytes[AT + at] ?? 0) ^ 1;
    t.false(matches(arpFilter(A), bytes), `byte ${at}`);
  }
});

test('addresses with the top bit set are compared as they are', (t) => {
  const demux = new Demultiplexer();
  demux.insert(ipv4Filter(0xc0a80001 | 0), 1);
  demux.insert(ipv4Filter(0xc0a80002), 2);
  const bytes = syn.slice();
  bytes.set([0xc0, 0xa8, 0, 1], AT + 30);
  t.is(demux.classify(bytes, AT, 54), 1);
  bytes.set([0xc0, 0xa8, 0, 2], AT + 30);
  t.is(demux.classify(bytes, AT, 54), 2);
});

function matches(filter: Filter, bytes: Uint8Array): boolean {
  return interpret(filter, bytes, AT, bytes.length - AT);
}
