/**
 * A client's stack, the forwarder and a backend's stack over bad wires: whatever is lost, late or doubled on either side, both
 * streams arrive byte for byte, and the forwarder forgets all of it.
 */
import test from 'ava';
import { BACKEND_PORT, FORWARDER, ForwardWorld, LISTEN_PORT } from '../support/forward-world.ts';
import { findLeaks } from '../support/leaks.ts';
import { Transfer } from '../support/transfer.ts';

const BYTES_EACH_WAY = 256 * 1024;
const LIMIT_US = 3600_000_000;
/** Longer than any flow is remembered. */
const FORGOTTEN_US = 7500_000_000;

interface Cell {
  readonly loss: number;
  readonly reordering: number;
  readonly duplication: number;
  readonly corruption: number;
  readonly outsideOffload: boolean;
  readonly insideOffload: boolean;
  readonly mode: 'nat' | 'routed';
  readonly seed: number;
}

const cells: Cell[] = [];
for (const loss of [0, 0.05]) {
  for (const others of [0, 0.05]) {
    for (const mode of ['nat', 'routed'] as const) {
      for (const [outsideOffload, insideOffload] of [
        [true, true],
        [true, false],
        [false, true],
        [false, false],
      ] as const) {
        const faults = { loss, reordering: others, duplication: others, corruption: others };
        cells.push({ ...faults, mode, outsideOffload, insideOffload, seed: 7000 + cells.length });
      }
    }
  }
}

for (const cell of cells) {
  const { mode, seed, outsideOffload, insideOffload, ...faults } = cell;
  const title = `seed ${seed}: ${mode}, loss ${faults.loss}, other faults ${faults.reordering}, offload ${outsideOffload} and ${insideOffload}`;
  test.serial(title, (t) => {
    t.log(`replay: npx ava test/simulation/forwarder.test.ts --match='${title}'`);
    const link = { delayUs: 2000, bitsPerSecond: 100_000_000, faults };
    const world = new ForwardWorld({
      seed,
      mode,
      outside: { ...link, offload: outsideOffload },
      inside: { ...link, offload: insideOffload },
    });
    const { arena, random, client, backend } = world;
    const clientAt = arena.allocate(BYTES_EACH_WAY);
    const backendAt = arena.allocate(BYTES_EACH_WAY);
    random.fill(arena.bytes.subarray(clientAt, clientAt + BYTES_EACH_WAY));
    random.fill(arena.bytes.subarray(backendAt, backendAt + BYTES_EACH_WAY));
    const a = new Transfer(world, clientAt, BYTES_EACH_WAY, backendAt, BYTES_EACH_WAY);
    const b = new Transfer(world, backendAt, BYTES_EACH_WAY, clientAt, BYTES_EACH_WAY);
    backend.tcp.listen(BACKEND_PORT, () => b);
    client.tcp.connect(FORWARDER, LISTEN_PORT, a);
    client.stack.wake();
    world.run(LIMIT_US, () => a.closed && b.closed);
    t.true(a.complete, `the client received ${a.received} bytes, ${a.wrongBytes} of them wrong, error '${a.error}'`);
    t.true(b.complete, `the backend received ${b.received} bytes, ${b.wrongBytes} of them wrong, error '${b.error}'`);
    const { counters, drops, sides } = world.forward.forwarder;
    t.is(counters.get('flowsOpened'), 1);
    t.is(counters.get('flowsClosed'), 1);
    t.is(counters.get('framesSegmented') > 0, outsideOffload !== insideOffload);
    if (faults.corruption === 0)
      t.is(
        drops.values.reduce((sum, count) => sum + count, 0),
        0,
      );
    for (const { environment } of sides) t.is(environment.counters.get('framesRefused'), 0);
    world.run(FORGOTTEN_US);
    t.deepEqual(world.forwarderLeaks(), []);
    t.deepEqual(findLeaks(client), []);
    t.deepEqual(findLeaks(backend), []);
    t.is(world.outside.inFlightBytes() + world.inside.inFlightBytes(), 0);
    world.close();
  });
}
