/** What a socket call gives: the system call's value and errno, and what it wrote into the caller's memory. */

export interface Result<Payload = undefined> {
  /** As the system call's, -1 on error. */
  readonly value: number;
  /** Linux's number, 0 without an error. */
  readonly errno: number;
  readonly payload?: Payload;
}

/** Told the result of a call that had to wait. */
export type Done<Payload = undefined> = (result: Result<Payload>) => void;

/** The result at once, or null: the call waits, and `Done` is told later. */
export type Outcome<Payload = undefined> = Result<Payload> | null;

export interface SocketAddress {
  readonly address: number;
  readonly port: number;
}

export function succeed<Payload = undefined>(value: number, payload?: Payload): Result<Payload> {
  return payload === undefined ? { value, errno: 0 } : { value, errno: 0, payload };
}

export function fail(errno: number): Result<never> {
  return { value: -1, errno };
}
