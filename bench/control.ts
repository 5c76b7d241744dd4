/**
 * The channel between the bench and a server it has started: one question at a time, and an answer to each. Both ends are
 * here, the bench's `Control` and the server's `answerBench`.
 */
import type { ChildProcess } from 'node:child_process';
import { Session } from 'node:inspector/promises';
import type { DeviceCounters } from '../src/driver/device.ts';
import { HeapMeter } from './heap-meter.ts';
import type { AllocationProfile, CpuProfile } from './profile.ts';

/** What a server has done so far, as it counts it itself. */
export interface Work {
  readonly requests: number;
  readonly framesIn: number;
  readonly framesOut: number;
  /** System calls of the device. */
  readonly receiveCalls: number;
  readonly transmitCalls: number;
  /** Turns of the event loop, an `epoll_wait` each. */
  readonly turns: number;
  /** Payload bytes that the server's own code has summed or copied. */
  readonly summedBytes: number;
  readonly copiedBytes: number;
}

/** The same between two moments, and the JavaScript heap allocated meanwhile. */
export interface WorkDone extends Work {
  readonly heapBytes: number;
}

type Question =
  | { readonly kind: 'ready' }
  /** Servers with one reply for all: which, and whether the connection ends with it. */
  | { readonly kind: 'select'; readonly name: string; readonly closes: boolean }
  | { readonly kind: 'startCounting' }
  | { readonly kind: 'stopCounting' }
  | { readonly kind: 'startProfile' }
  | { readonly kind: 'stopProfile' }
  | { readonly kind: 'startAllocations' }
  | { readonly kind: 'stopAllocations' };

/** What a server started by the bench offers to its questions. */
export interface Subject {
  work(): Work;
  select?(name: string, closes: boolean): void;
}

/** The bench's end. */
export class Control {
  private readonly child: ChildProcess;
  private readonly gone: Promise<never>;

  constructor(name: string, child: ChildProcess) {
    this.child = child;
    this.gone = new Promise((_, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => reject(new Error(`${name} has ended with ${code ?? signal}`)));
    });
    // An end nobody asks about is none: the bench kills its servers.
    this.gone.catch(() => {});
  }

  /** Resolves when the server serves. */
  ready(): Promise<void> {
    return this.ask({ kind: 'ready' });
  }

  select(name: string, closes: boolean): Promise<void> {
    return this.ask({ kind: 'select', name, closes });
  }

  startCounting(): Promise<void> {
    return this.ask({ kind: 'startCounting' });
  }

  stopCounting(): Promise<WorkDone> {
    return this.ask({ kind: 'stopCounting' });
  }

  startProfile(): Promise<void> {
    return this.ask({ kind: 'startProfile' });
  }

  stopProfile(): Promise<CpuProfile> {
    return this.ask({ kind: 'stopProfile' });
  }

  startAllocations(): Promise<void> {
    return this.ask({ kind: 'startAllocations' });
  }

  stopAllocations(): Promise<AllocationProfile> {
    return this.ask({ kind: 'stopAllocations' });
  }

  private ask<Answer>(question: Question): Promise<Answer> {
    const answer = new Promise<Answer>((resolve) => {
      this.child.once('message', (message) => resolve((message as { answer: Answer }).answer));
    });
    this.child.send(question);
    return Promise.race([answer, this.gone]);
  }
}

const SAMPLING_INTERVAL_US = 200;
/** Mean bytes between the allocations that are looked at. */
const SAMPLING_BYTES = 128;

/** The server's end: answers for as long as the bench is there, and ends the process when it is gone. */
export function answerBench(subject: Subject): void {
  const answers = new Answers(subject);
  process.on('message', (question: Question) => {
    answers.to(question).then(
      (answer) => process.send?.({ answer }),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
  process.once('disconnect', () => process.exit());
  // Ctrl-C goes to all processes of a terminal; the bench sees to this one.
  process.on('SIGINT', () => {});
}

class Answers {
  private readonly subject: Subject;
  private readonly meter = new HeapMeter();
  private workAtStart: Work | null = null;
  private session: Session | null = null;

  constructor(subject: Subject) {
    this.subject = subject;
  }

  async to(question: Question): Promise<unknown> {
    switch (question.kind) {
      case 'ready':
        return null;
      case 'select':
        return this.subject.select?.(question.name, question.closes) ?? null;
      case 'startCounting':
        this.workAtStart = this.subject.work();
        this.meter.start();
        return null;
      case 'stopCounting': {
        const heapBytes = this.meter.stop();
        return { ...difference(this.subject.work(), this.workAtStart), heapBytes };
      }
      case 'startProfile': {
        const session = this.inspect();
        await session.post('Profiler.enable');
        await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL_US });
        return session.post('Profiler.start');
      }
      case 'stopProfile': {
        const stopped = await this.session?.post('Profiler.stop');
        this.session?.disconnect();
        return stopped?.profile;
      }
      case 'startAllocations':
        return this.inspect().post('HeapProfiler.startSampling', {
          samplingInterval: SAMPLING_BYTES,
          includeObjectsCollectedByMajorGC: true,
          includeObjectsCollectedByMinorGC: true,
        });
      case 'stopAllocations': {
        const stopped = await this.session?.post('HeapProfiler.stopSampling');
        this.session?.disconnect();
        return stopped?.profile;
      }
    }
  }

  private inspect(): Session {
    this.session = new Session();
    this.session.connect();
    return this.session;
  }
}

/** The device's share of `Work`. */
export function deviceWork(device: DeviceCounters): Omit<Work, 'requests' | 'turns' | 'summedBytes' | 'copiedBytes'> {
  return {
    framesIn: device.receivedFrames,
    framesOut: device.transmittedFrames,
    receiveCalls: device.receiveCalls,
    transmitCalls: device.transmitCalls,
  };
}

function difference(now: Work, before: Work | null): Work {
  return {
    requests: now.requests - (before?.requests ?? 0),
    framesIn: now.framesIn - (before?.framesIn ?? 0),
    framesOut: now.framesOut - (before?.framesOut ?? 0),
    receiveCalls: now.receiveCalls - (before?.receiveCalls ?? 0),
    transmitCalls: now.transmitCalls - (before?.transmitCalls ?? 0),
    turns: now.turns - (before?.turns ?? 0),
    summedBytes: now.summedBytes - (before?.summedBytes ?? 0),
    copiedBytes: now.copiedBytes - (before?.copiedBytes ?? 0),
  };
}
