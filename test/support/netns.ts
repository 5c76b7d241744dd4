/**
 * Integration tests in network namespaces (namespace.ts). Without the right to make them, `integrationTest` registers its
 * tests as skipped and says why in their titles.
 */
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { forbidden } from './namespace.ts';

export * from './namespace.ts';

type Implementation = (t: ExecutionContext) => void | Promise<void>;

/** A test that needs namespaces: one at a time within its file, or skipped with the reason in its title. */
export function integrationTest(title: string, implementation: Implementation): void {
  if (forbidden === undefined) test.serial(title, implementation);
  else test.skip(`${title} (${forbidden})`, implementation);
}
