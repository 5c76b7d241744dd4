import test from 'ava';
import type { SimLinkOptions } from '../../src/driver/sim-link.ts';
import { createSimLink } from '../../src/driver/sim-link.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { VirtualClock } from '../../src/runtime/virtual-clock.ts';
import type { Rig } from './compliance.ts';
import { FarEnd, testCompliance } from './compliance.ts';

const ARENA_BYTES = 64 << 20;

function makeRig(options: Partial<SimLinkOptions>): Rig {
  const clock = new VirtualClock();
  const arena = new Arena(ARENA_BYTES);
  const arenaOfB = new Arena(ARENA_BYTES);
  const link = createSimLink({ clock, arena, arenaOfB, delayUs: 100, ...options });
  const far = new FarEnd(link.b, arenaOfB);
  return {
    device: link.a,
    arena,
    inject: (frames) => far.inject(frames),
    collect: () => far.collect(),
    settle: async () => clock.runUntil(clock.nowUs() + 100_000),
    close: () => {
      link.a.close();
      link.b.close();
      arena.close();
      arenaOfB.close();
    },
  };
}

testCompliance('sim', test, () => makeRig({}));
testCompliance('sim with offload', test, () => makeRig({ offload: true }));
testCompliance('sim that reads late', test, () => makeRig({ offload: true, readDelayUs: 50, ringFrames: 256 }));
testCompliance('sim over a slow wire', test, () => makeRig({ bitsPerSecond: 100e6, mtu: 9000 }));
