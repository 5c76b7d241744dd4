/**
 * Structured logging: one JSON object a line on standard error (pino), fields first and a constant sentence after.
 * Logging is for events worth a person's attention, never per packet; what happens often is counted instead.
 */
import pino from 'pino';

type LogMethod = (fields: object, message: string) => void;

export interface Log {
  trace: LogMethod;
  debug: LogMethod;
  info: LogMethod;
  warn: LogMethod;
  error: LogMethod;
  /** A log whose every line carries these fields too. */
  child: (fields: Record<string, unknown>) => Log;
}

/** The levels of `createLog`, the most talkative first. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

/** Where lines go. */
export interface LogDestination {
  write(line: string): void;
}

/** A log that writes lines of `level` and above; each is written before the call returns, so that none is lost on exit. */
export function createLog(level: LogLevel, destination?: LogDestination): Log {
  return pino({ level, base: null }, destination ?? pino.destination({ dest: 2, sync: true }));
}

function ignore(): void {}

/** A log that says nothing. */
export const silentLog: Log = {
  trace: ignore,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  child: () => silentLog,
};
