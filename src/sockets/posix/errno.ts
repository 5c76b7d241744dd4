/** Linux's error numbers (asm-generic/errno.h), as far as socket calls give them. */
import { CLOSE_WAIT, SYN_SENT } from '../../tcp/state.ts';
import type { ConnectionError } from '../../tcp/tcb.ts';

export const EPERM = 1;
export const ENOENT = 2;
export const EBADF = 9;
export const EAGAIN = 11;
export const EINVAL = 22;
export const EMFILE = 24;
export const ENOTTY = 25;
export const EPIPE = 32;
export const ENOSYS = 38;
export const ENOPROTOOPT = 92;
export const EPROTONOSUPPORT = 93;
export const ESOCKTNOSUPPORT = 94;
export const EOPNOTSUPP = 95;
export const EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const EISCONN = 106;
export const ENOTCONN = 107;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
export const EHOSTUNREACH = 113;
export const EALREADY = 114;
export const EINPROGRESS = 115;

const CONNECTION_ERRORS: Readonly<Record<ConnectionError, number>> = {
  '': 0,
  ECONNREFUSED,
  ECONNRESET,
  ECONNABORTED,
  ETIMEDOUT,
  EHOSTUNREACH,
  ENETUNREACH,
};

/** The number of a reset in a state (tcp_reset). */
export function errnoOfReset(state: number): number {
  if (state === SYN_SENT) return ECONNREFUSED;
  return state === CLOSE_WAIT ? EPIPE : ECONNRESET;
}

/** The number of what a connection ended with, 0 after an orderly end. */
export function errnoOf(error: ConnectionError): number {
  return CONNECTION_ERRORS[error];
}
