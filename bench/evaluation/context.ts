/** What a section is given: how long to measure, where, a place for what fails, and namespaces that go whatever happens. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Lab } from '../lab.ts';
import { partsBetween, processorTime } from '../machine.ts';
import type { EvaluationOptions } from './options.ts';
import type { Failure } from './shapes.ts';

/** One by one rounds: null where a party's turn came to nothing. */
export type Rounds<Sample> = readonly (Sample | null)[];

/** How busy the two cores were in a measurement, and for how long, in seconds. */
export interface CoreTime {
  readonly serverSeconds: number;
  readonly clientSeconds: number;
  /** Of these, what interrupts and softirqs took. */
  readonly serverInterruptSeconds: number;
  readonly clientInterruptSeconds: number;
  readonly seconds: number;
  /** When it began and ended by the monotonic clock, microseconds. */
  readonly fromUs: number;
  readonly toUs: number;
}

export class Context {
  readonly options: EvaluationOptions;
  readonly serverCore: number;
  readonly clientCore: number;
  failures: Failure[] = [];
  /** Everything is being ended. */
  isOver = false;
  private readonly root = mkdtempSync(join(tmpdir(), 'exonet-evaluation-'));
  private readonly labs = new Set<Lab>();
  private directories = 0;

  constructor(options: EvaluationOptions, [serverCore, clientCore]: readonly [number, number]) {
    this.options = options;
    this.serverCore = serverCore;
    this.clientCore = clientCore;
  }

  /** Takes charge of a lab. */
  own(lab: Lab): Lab {
    this.labs.add(lab);
    return lab;
  }

  /** Removes a lab that is done with, so that what follows does not share the machine with it. */
  async release(lab: Lab): Promise<void> {
    await lab.remove();
    this.labs.delete(lab);
  }

  async releaseAll(): Promise<void> {
    for (const lab of this.labs) await this.release(lab);
  }

  /** A new directory that is removed in the end. */
  directory(): string {
    const path = join(this.root, `${this.directories++}`);
    mkdirSync(path);
    return path;
  }

  /** Ends everything that the evaluation has started, and removes what it has made; nothing more is attempted. */
  async tidy(): Promise<void> {
    this.isOver = true;
    try {
      await this.releaseAll();
    } finally {
      rmSync(this.root, { recursive: true, force: true, maxRetries: REMOVALS });
    }
  }

  say(line: string): void {
    console.log(`${new Date().toISOString().slice(11, 19)}  ${line}`);
  }

  /** Does it; when it fails, notes that and returns null. */
  async attempt<Result>(party: string, where: string, action: () => Promise<Result>): Promise<Result | null> {
    try {
      return await action();
    } catch (error) {
      if (this.isOver) throw error;
      this.fail(party, where, error instanceof Error ? error.message : String(error));
      return null;
    }
  }

  fail(party: string, where: string, reason: string): void {
    const text = reason.trim().slice(0, MAX_REASON_CHARACTERS);
    this.failures.push({ party, where, reason: text });
    this.say(`${party} failed at ${where}: ${text.split('\n')[0]}`);
  }

  /** Every party's samples, the parties taking turns in every round. */
  async alternate<Party extends { readonly name: string }, Sample>(
    parties: readonly Party[],
    where: string,
    measure: (party: Party) => Promise<Sample>,
  ): Promise<Record<string, Rounds<Sample>>> {
    const samples: Record<string, (Sample | null)[]> = Object.fromEntries(parties.map(({ name }) => [name, []]));
    const misses = new Map<string, number>();
    for (let round = 0; round < this.options.rounds; round++) {
      for (const party of parties) {
        const missed = misses.get(party.name) ?? 0;
        const sample = missed >= GIVE_UP_AFTER ? null : await this.attempt(party.name, where, () => measure(party));
        if (sample === null) misses.set(party.name, missed + 1);
        samples[party.name]?.push(sample);
      }
    }
    return samples;
  }

  /**
   * What the two cores did in the middle of something that takes so many seconds beside its own start, which is left out: what
   * starts slowly is not to pay for that by the request. Before those seconds come `warmUpSeconds` that are left out as well. The
   * part that is looked at is as long, and as far from the beginning and the end of those seconds, whoever is measured.
   */
  async timedInside<Result>(seconds: number, action: () => Promise<Result>, warmUpSeconds = 0) {
    const leadMs = Math.min(LONGEST_LEAD_MS, 500 * seconds);
    const lengthMs = 1000 * seconds - leadMs - TAIL_MS;
    const inside = delay(1000 * warmUpSeconds + leadMs).then(() => this.timed(() => delay(lengthMs)));
    const [result, { time }] = await Promise.all([action(), inside]);
    return { result, time };
  }

  /** What the two cores did while something was done. */
  async timed<Result>(action: () => Promise<Result>): Promise<{ readonly result: Result; readonly time: CoreTime }> {
    const serverBefore = processorTime(this.serverCore);
    const clientBefore = processorTime(this.clientCore);
    const fromUs = monotonicUs();
    const result = await action();
    const toUs = monotonicUs();
    const seconds = (toUs - fromUs) / 1e6;
    const server = partsBetween(serverBefore, processorTime(this.serverCore));
    const client = partsBetween(clientBefore, processorTime(this.clientCore));
    const time = {
      serverSeconds: server.busy * seconds,
      clientSeconds: client.busy * seconds,
      serverInterruptSeconds: server.interrupts * seconds,
      clientInterruptSeconds: client.interrupts * seconds,
      seconds,
      fromUs,
      toUs,
    };
    return { result, time };
  }
}

/** The clock of V8's profiles. */
function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/**
 * Load that every party gets before it is measured, for nothing: at first, and again when the kind of load changes. A JavaScript
 * engine is at its best after seconds of it.
 */
export const FIRST_WARM_UP_SECONDS = 10;
export const WARM_UP_SECONDS = 2;
export const WARM_UP_NOTE = `Before it is measured every party gets load that counts for nothing: ${FIRST_WARM_UP_SECONDS} s at first, and ${WARM_UP_SECONDS} s when the kind of load changes.`;

const MAX_REASON_CHARACTERS = 600;
/** Attempts at removing a directory into which a dying process still writes. */
const REMOVALS = 5;
const LONGEST_LEAD_MS = 1000;
const TAIL_MS = 100;
/** Turns that a party may lose before it is not asked any more. */
const GIVE_UP_AFTER = 2;
