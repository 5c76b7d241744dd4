/**
 * Outside a turn: lets Node's loop come round, so that long work leaves turns, files and signals their time, and a
 * simulation does not move its clock on while promises wait to settle.
 */
export function giveWay(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
