/** What processes of tests and measurements run in, and how long they are waited for. */
import { setTimeout as sleep } from 'node:timers/promises';

/** This environment without what would send requests elsewhere, or touch files of the person who runs the tests. */
export const environment: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name) && !name.startsWith('NODE_')),
);

/** A promise, or an error when it takes too long. */
export async function within<T>(what: string, promise: Promise<T>, timeoutMs = 30_000): Promise<T> {
  const given = new AbortController();
  const tooLong = sleep(timeoutMs, undefined, { signal: given.signal }).then(() => {
    throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
  });
  tooLong.catch(() => {});
  try {
    return await Promise.race([promise, tooLong]);
  } finally {
    given.abort();
  }
}
