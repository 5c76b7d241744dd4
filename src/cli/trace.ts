/** `--trace`: TCP's decisions, a line each, on standard error. */
import { type Trace, traceLines } from '../tcp/trace.ts';

export const TRACE_HELP = `  --trace                 say why TCP does what it does, a line for each decision, on standard error`;

/** Each line is written at once: the last ones are what a crash is understood by. Without it, the log's level decides. */
export function traceSettings(wanted: boolean | undefined): { trace?: Trace } {
  return wanted === true ? { trace: traceLines((line) => process.stderr.write(`${line}\n`)) } : {};
}
