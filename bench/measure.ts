/** One measurement: load on one document of one server, and what the server and the processors did meanwhile. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Control, WorkDone } from './control.ts';
import type { Lab } from './lab.ts';
import type { Load, LoadResult } from './load.ts';
import { partsBetween, processorTime, processSeconds } from './machine.ts';
import type { AllocationProfile, CpuProfile } from './profile.ts';
import type { RunningServer } from './servers.ts';

export interface Sample extends LoadResult {
  /** Processor time of the server, its threads and children: what other load on the machine does not falsify. */
  readonly cpuUsPerRequest: number;
  /** How busy the two processors were, 0 to 1. */
  readonly serverBusy: number;
  readonly clientBusy: number;
  /** Of the middle of the time, when no connection is opened or closed; null when the server cannot be asked. */
  readonly work: WorkDone | null;
}

/** The part of the time before what is counted or profiled, and the part that it takes. */
const LEAD = 0.25;
const SPAN = 0.5;

export async function measure(
  lab: Lab,
  load: Load,
  server: RunningServer,
  url: string,
  seconds: number,
): Promise<Sample> {
  const serverBefore = processorTime(lab.serverCore);
  const clientBefore = processorTime(lab.clientCore);
  const secondsBefore = processSeconds(server.pid);
  const [result, work] = await Promise.all([load.run(url, seconds), countWork(server.control, seconds)]);
  const serverBusy = partsBetween(serverBefore, processorTime(lab.serverCore)).busy;
  const clientBusy = partsBetween(clientBefore, processorTime(lab.clientCore)).busy;
  const cpuUsPerRequest = ((processSeconds(server.pid) - secondsBefore) * 1e6) / result.requests;
  return { ...result, cpuUsPerRequest, serverBusy, clientBusy, work };
}

export interface Profiles {
  readonly time: CpuProfile;
  readonly allocations: AllocationProfile;
}

/** Where the server's time goes, and then where its heap comes from, each in the middle of some load. */
export async function profileUnderLoad(load: Load, control: Control, url: string, seconds: number): Promise<Profiles> {
  const inTheMiddle = async <T>(start: () => Promise<void>, stop: () => Promise<T>): Promise<T> => {
    const [, result] = await Promise.all([load.run(url, seconds), between(seconds, start, stop)]);
    return result;
  };
  const time = await inTheMiddle(
    () => control.startProfile(),
    () => control.stopProfile(),
  );
  const allocations = await inTheMiddle(
    () => control.startAllocations(),
    () => control.stopAllocations(),
  );
  return { time, allocations };
}

async function countWork(control: Control | null, seconds: number): Promise<WorkDone | null> {
  if (control === null) return null;
  return between(
    seconds,
    () => control.startCounting(),
    () => control.stopCounting(),
  );
}

/** Counts or profiles while a load of so many seconds is at full speed. */
async function between<T>(seconds: number, start: () => Promise<void>, stop: () => Promise<T>): Promise<T> {
  await delay(LEAD * seconds * 1000);
  await start();
  await delay(SPAN * seconds * 1000);
  return stop();
}
