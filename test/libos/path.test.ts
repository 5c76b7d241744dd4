import test from 'ava';
import { MIN_PATH_MTU_BYTES, PATH_MTU_LIFETIME_US, type Path } from '../../src/libos/path.ts';
import { foldSum, pseudoSum4 } from '../../src/wire/checksum.ts';
import { PROTOCOL_TCP } from '../../src/wire/ipv4.ts';
import { GATEWAY, ip, LOCAL, OTHER, PEER, REMOTE, Rig, type RigOptions } from './rig.ts';

function acquire(rig: Rig, address: number): Path {
  const path = rig.paths.acquire(address);
  if (path === undefined) throw new Error('no path');
  return path;
}

function open(t: { teardown: (close: () => void) => void }, options?: RigOptions): Rig {
  const rig = new Rig(options);
  t.teardown(() => rig.close());
  return rig;
}

test('a path knows what a transport needs', (t) => {
  const rig = open(t);
  const path = acquire(rig, PEER);
  t.is(path.localAddress, LOCAL);
  t.is(path.remoteAddress, PEER);
  t.is(path.mtuBytes, 1500);
  t.is(path.headerBytes, 34);
  t.is(foldSum(path.pseudoSum), foldSum(pseudoSum4(LOCAL, PEER, PROTOCOL_TCP)));
  t.is(path.neighbour.address, PEER);
  t.is(acquire(rig, REMOTE).neighbour.address, GATEWAY);
});

test('paths are interned and counted', (t) => {
  const rig = open(t);
  const path = acquire(rig, PEER);
  t.is(acquire(rig, PEER), path);
  t.is(path.references, 2);
  t.is(path.neighbour.references, 1);
  rig.paths.release(path);
  rig.paths.release(path);
  t.is(path.references, 0);
  t.is(path.neighbour.references, 0);
  t.is(rig.paths.activeCount, 0);
  t.is(rig.paths.idleCount, 1);
  t.throws(() => rig.paths.release(path), { instanceOf: RangeError });
  t.is(acquire(rig, PEER), path, 'remembered while idle');
});

test('what is no other host has no path', (t) => {
  const rig = open(t);
  for (const text of [
    '10.90.0.2',
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '10.90.0.255',
    '10.90.0.0',
  ]) {
    t.is(rig.paths.acquire(ip(text)), undefined, text);
  }
  t.is(rig.arp.size, 0);
  t.is(rig.paths.counters.get('notUnicast'), 8);
});

test('without a route there is no path', (t) => {
  const rig = open(t);
  rig.routes.remove(0, 0);
  t.is(rig.paths.acquire(REMOTE), undefined);
  t.is(rig.paths.counters.get('noRoute'), 1);
});

test('an unused path finds its next hop anew', (t) => {
  const rig = open(t);
  const path = acquire(rig, REMOTE);
  rig.paths.release(path);
  rig.routes.add(0, 0, OTHER);
  t.is(acquire(rig, REMOTE), path);
  t.is(path.neighbour.address, OTHER);
});

test('a lowered MTU has a floor, never rises by a message, and is forgotten after ten minutes', (t) => {
  const rig = open(t);
  const path = acquire(rig, REMOTE);
  t.false(path.lowerMtu(1500, rig.clock.nowUs()));
  t.true(path.lowerMtu(1400, rig.clock.nowUs()));
  t.false(path.lowerMtu(1450, rig.clock.nowUs()));
  t.is(path.mtuBytes, 1400);
  t.true(path.lowerMtu(68, rig.clock.nowUs()));
  t.is(path.mtuBytes, MIN_PATH_MTU_BYTES);
  rig.paths.release(path);
  t.is(acquire(rig, REMOTE).mtuBytes, MIN_PATH_MTU_BYTES, 'outlives the connection');
  rig.advance(PATH_MTU_LIFETIME_US);
  t.is(acquire(rig, REMOTE).mtuBytes, 1500);
  t.is(rig.paths.counters.get('mtuRestored'), 1);
});

test('idle paths are bounded, the longest unused goes first', (t) => {
  const rig = open(t, { paths: { maxIdlePaths: 3 } });
  const first = REMOTE & ~0xff;
  const made: Path[] = [];
  for (let i = 1; i <= 5; i++) {
    const path = acquire(rig, first | i);
    made.push(path);
    rig.paths.release(path);
  }
  t.is(rig.paths.idleCount, 3);
  t.is(rig.paths.counters.get('idleEvicted'), 2);
  t.not(acquire(rig, first | 1), made[0]);
  t.is(acquire(rig, first | 5), made.at(-1) as Path);
});

test('a neighbour table full of neighbours in use gives no path', (t) => {
  const rig = open(t, { arp: { maxEntries: 2 } });
  acquire(rig, PEER);
  const second = acquire(rig, OTHER);
  t.is(rig.paths.acquire(ip('10.90.0.99')), undefined);
  t.is(rig.paths.counters.get('noNeighbour'), 1);
  rig.paths.release(second);
  t.truthy(rig.paths.acquire(ip('10.90.0.99')));
});

test('subnets of two addresses have no broadcast', (t) => {
  const rig = open(t, { prefixLength: 31 });
  t.truthy(rig.paths.acquire(ip('10.90.0.3')));
});
