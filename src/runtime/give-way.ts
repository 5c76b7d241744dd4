/** For long work outside a turn: lets Node's loop come round, so that turns, files and signals have their time. */
export function giveWay(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
