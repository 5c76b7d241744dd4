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

/** A log that writes lines of `level` and above; to standard error each is written before the call returns, so that none is lost. */
export function createLog(level: LogLevel, destination?: LogDestination): Log {
  return pino({ level, base: null }, destination ?? pino.destination({ dest: 2, sync: true }));
}

function ignore(): void {}

/** What waits to be written, at most, and for how long. */
const COLLECTED_BYTES = 8192;
const COLLECTED_MS = 100;
const STANDARD_ERROR = 2;

/**
 * A destination for logs of many lines: they are written together, when there are 8 KiB of them, after a tenth of a second, and
 * when the process exits, whatever makes it (SIGKILL apart).
 */
export function collectLines(descriptor: number = STANDARD_ERROR): LogDestination {
  const stream = pino.destination({ dest: descriptor, sync: true, minLength: COLLECTED_BYTES });
  let waiting = false;
  const flush = (): void => {
    if (!waiting) return;
    waiting = false;
    // Less than `COLLECTED_BYTES` waits, which one write takes; `flushSync` would have the disk write it as well.
    stream.flush();
  };
  process.on('exit', flush);
  return {
    write(line: string): void {
      stream.write(line);
      if (waiting) return;
      waiting = true;
      setTimeout(flush, COLLECTED_MS).unref();
    },
  };
}

/** A log that says nothing. */
export const silentLog: Log = {
  trace: ignore,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  child: () => silentLog,
};
