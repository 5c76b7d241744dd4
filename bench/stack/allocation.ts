/**
 * What the stack allocates, by V8's sampling of allocations: the functions of its own layers. What the simulated link, the
 * virtual clock and the application allocate is not in it.
 */
import type { Session } from 'node:inspector';
import { type AllocationProfile, bytesByRoom } from '../profile.ts';

const ROOMS = ['TCP input', 'TCP output', 'TCP, the rest', 'library OS', 'exokernel', 'demultiplexer', 'wire formats'];
/** Bytes from one sample to the next, on average. */
const INTERVAL_BYTES = 512;

/** Sends a command to the engine's inspector, which answers at once. */
export function post<Result>(session: Session, method: string, parameters: object = {}): Result {
  let result: unknown;
  session.post(method, parameters, (error, value) => {
    if (error !== null) throw error;
    result = value;
  });
  return result as Result;
}

/** Bytes that the stack allocates while `run` runs, an estimate. */
export function sampleStack(session: Session, run: () => void): number {
  post(session, 'HeapProfiler.startSampling', {
    samplingInterval: INTERVAL_BYTES,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  });
  run();
  const { profile } = post<{ profile: AllocationProfile }>(session, 'HeapProfiler.stopSampling');
  const rooms = bytesByRoom(profile);
  return ROOMS.reduce((sum, room) => sum + (rooms.get(room) ?? 0), 0);
}
