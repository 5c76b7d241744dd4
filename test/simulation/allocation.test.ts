/**
 * Nothing is allocated for a segment once the engine has compiled what works on it: what the heap grows by over a transfer
 * between two hosts, across a link that allocates nothing itself. An object for each segment would be 40 bytes or more.
 */
import test from 'ava';
import { HeapMeter } from '../../bench/heap-meter.ts';
import { DirectRig } from '../../bench/stack/transfer.ts';
import { inlineAcrossLayers } from '../../src/runtime/engine.ts';

/** The engine has compiled everything by then, however slow the machine is. */
const WARM_SEGMENTS = 600_000;
const SEGMENTS = 300_000;
const MOST_BYTES = 8;

for (const kind of ['bulk', 'ping-pong'] as const) {
  test.serial(`${kind}: no allocation for a segment`, (t) => {
    t.timeout(120_000);
    inlineAcrossLayers();
    const rig = new DirectRig(kind, false);
    rig.runSegments(WARM_SEGMENTS);
    const before = rig.segments;
    const meter = new HeapMeter();
    meter.start();
    rig.runSegments(SEGMENTS);
    const each = meter.stop() / (rig.segments - before);
    rig.close();
    t.log(`${each.toFixed(2)} bytes a segment`);
    t.true(each < MOST_BYTES, `${each} bytes are allocated for each segment`);
  });
}
