/**
 * Loaded by Node before a program (`--import URL?into=FILE`): profiles it from a second after its start until its end. A profile from the very start (`--cpu-prof`) does not know native functions that are found later,
 * and takes the system calls for time of their callers.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';

const START_AFTER_MS = 1000;
const SAMPLING_INTERVAL_US = 200;

const path = new URL(import.meta.url).searchParams.get('into');
if (path === null) throw new Error('no file is named to write the profile into');
const session = new Session();
session.connect();

setTimeout(() => {
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL_US });
  session.post('Profiler.start');
  process.once('exit', () => {
    session.post('Profiler.stop', (error, stopped) => {
      if (error === null) writeFileSync(path, JSON.stringify(stopped.profile));
    });
  });
}, START_AFTER_MS).unref();
