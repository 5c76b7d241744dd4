/** The congestion controls there are, by name. */
import { bbr } from './bbr/bbr.ts';
import type { CongestionControl } from './congestion.ts';
import { cubic } from './cubic.ts';
import { newReno } from './newreno.ts';

export const CONGESTION_CONTROLS = { bbr, cubic, newreno: newReno } as const satisfies Record<
  string,
  CongestionControl
>;

export type CongestionControlName = keyof typeof CONGESTION_CONTROLS;
