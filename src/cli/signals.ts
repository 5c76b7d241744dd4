/** Ctrl-C and its kin: the first asks a command to come to its end, the second ends the process at once. */

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
/** What a shell reports for a process that SIGINT has ended. */
const EXIT_INTERRUPTED = 130;
const EXIT_FAILURE = 1;

/** Calls `stop` on the first signal; the process ends by itself when everything that `stop` closes is closed. */
export function onStopSignal(stop: () => Promise<void>): void {
  let stopping = false;
  const handle = (): void => {
    if (stopping) process.exit(EXIT_INTERRUPTED);
    stopping = true;
    stop()
      .catch((error: unknown) => {
        console.error(error);
        process.exitCode = EXIT_FAILURE;
      })
      .finally(() => {
        for (const signal of SIGNALS) process.off(signal, handle);
      });
  };
  for (const signal of SIGNALS) process.on(signal, handle);
}
