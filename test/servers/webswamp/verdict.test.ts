/** Who was the limit. */
import test from 'ava';
import { type Evidence, judge } from '../../../src/servers/webswamp/verdict.ts';

const CLEAN: Evidence = {
  responses: 1000,
  due: 0,
  unsent: 0,
  handedLate: 0,
  ownLate: 0,
  busyShare: 0.5,
  unavailable: 0,
};
const OPEN: Evidence = { ...CLEAN, due: 1000 };

const CASES: readonly (readonly [string, Evidence, 'server' | 'generator', boolean])[] = [
  ['closed loop, idle', CLEAN, 'server', false],
  ['closed loop, always busy', { ...CLEAN, busyShare: 0.99 }, 'generator', false],
  ['closed loop, nothing answered in no time', { ...CLEAN, responses: 0, busyShare: 1 }, 'server', false],
  ['closed loop, no ports', { ...CLEAN, unavailable: 3 }, 'generator', false],
  ['rate kept', OPEN, 'server', false],
  ['rate kept by a busy generator', { ...OPEN, busyShare: 1 }, 'server', false],
  ['1% missed is kept', { ...OPEN, unsent: 6, handedLate: 4, busyShare: 1 }, 'server', false],
  ['waited for the server', { ...OPEN, unsent: 900, handedLate: 50 }, 'server', false],
  ['busy, and behind', { ...OPEN, unsent: 11, busyShare: 0.99 }, 'generator', true],
  ['no ports, and behind', { ...OPEN, unsent: 11, unavailable: 1 }, 'generator', true],
  ['late without a reason', { ...OPEN, handedLate: 11, ownLate: 11 }, 'generator', true],
  ['late without a reason, but seldom', { ...OPEN, handedLate: 10, ownLate: 10 }, 'server', false],
];

for (const [name, evidence, limit, saturated] of CASES) {
  test(name, (t) => t.like(judge(evidence), { limit, saturated }));
}
