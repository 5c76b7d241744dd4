/**
 * Nothing is allocated for a segment once the engine has compiled what works on it: what the heap grows by over a transfer
 * between two hosts, across a link that allocates nothing itself. An object for each segment would be 40 bytes or more. In bulk a turn
 * is for many segments, in ping-pong for one.
 */
import test from 'ava';
import { HeapMeter } from '../../bench/heap-meter.ts';
import { DirectRig } from '../../bench/stack/transfer.ts';
import { inlineAcrossLayers } from '../../src/runtime/engine.ts';

/** The engine has compiled everything by then, if its own threads get a processor; else by one of the rounds. */
const WARM_SEGMENTS = 600_000;
const SEGMENTS = 300_000;
const ROUNDS = 5;
const MOST_BYTES = 8;
/** Two times that are handed on when a turn begins and ends, where the engine does not inline that, and some more. */
const MOST_BYTES_A_TURN = 40;

for (const kind of ['bulk', 'ping-pong'] as const) {
  test.serial(`${kind}: no allocation for a segment`, (t) => {
    t.timeout(120_000);
    inlineAcrossLayers();
    const rig = new DirectRig(kind, false);
    rig.runSegments(WARM_SEGMENTS);
    let isMet = false;
    for (let round = 0; round < ROUNDS && !isMet; round++) {
      const before = rig.segments;
      const turnsBefore = rig.turns;
      const meter = new HeapMeter();
      meter.start();
      rig.runSegments(SEGMENTS);
      const allocated = meter.stop();
      const segments = rig.segments - before;
      const turns = rig.turns - turnsBefore;
      t.log(`${(allocated / segments).toFixed(2)} bytes a segment, ${(segments / turns).toFixed(1)} segments a turn`);
      isMet = allocated < MOST_BYTES * segments + MOST_BYTES_A_TURN * turns;
    }
    rig.close();
    t.true(isMet);
  });
}
