/** Waiting for promises outside a turn: for simulations, whose clock must not move on while files are still being read. */
import { setImmediate } from 'node:timers/promises';

/** Resolves when every promise that can be settled without the world's help has been. */
export function settlePromises(): Promise<void> {
  return setImmediate();
}
