/** Runs scenarios on both hosts at a time and compares their records. */
import type { DifferentialLab, Subject } from '../support/differential-lab.ts';
import { Actor, type Ports } from './actor.ts';

export interface Scenario {
  readonly name: string;
  /** The peer's initial sequence number. */
  readonly iss?: number;
  run(actor: Actor): Promise<void>;
}

export interface Difference {
  readonly name: string;
  /** From the first line that differs on, with the lines before it. */
  readonly linux: readonly string[];
  readonly exonet: readonly string[];
}

/** Scenarios at a time; and of those that differ, which are run again: a busy machine's timers fire when they should not. */
const CONCURRENT = 48;
const CONCURRENT_AGAIN = 8;
const ATTEMPTS = 3;

let nextPort = 0;

/** The differences, of scenarios that differ every time. */
export async function compareAll(lab: DifferentialLab, scenarios: readonly Scenario[]): Promise<Difference[]> {
  let differing: readonly Scenario[] = scenarios;
  let differences: Difference[] = [];
  for (let attempt = 0; attempt < ATTEMPTS && differing.length > 0; attempt++) {
    const found = await compareEach(lab, differing, attempt === 0 ? CONCURRENT : CONCURRENT_AGAIN);
    differing = [...found.keys()];
    differences = [...found.values()];
  }
  return differences.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function compareEach(
  lab: DifferentialLab,
  scenarios: readonly Scenario[],
  concurrent: number,
): Promise<Map<Scenario, Difference>> {
  const differences = new Map<Scenario, Difference>();
  let next = 0;
  const work = async (): Promise<void> => {
    for (let scenario = scenarios[next++]; scenario !== undefined; scenario = scenarios[next++]) {
      const difference = await compare(lab, scenario);
      if (difference !== null) differences.set(scenario, difference);
    }
  };
  await Promise.all(Array.from({ length: concurrent }, work));
  return differences;
}

/** What came of a scenario on the kernel, and on ours. */
export async function recordBoth(
  lab: DifferentialLab,
  scenario: Scenario,
): Promise<{ linux: string[]; exonet: string[] }> {
  const ports = takePorts();
  const [linux = [], exonet = []] = await Promise.all(lab.subjects.map((subject) => perform(subject, scenario, ports)));
  return { linux, exonet };
}

async function compare(lab: DifferentialLab, scenario: Scenario): Promise<Difference | null> {
  const { linux, exonet } = await recordBoth(lab, scenario);
  let same = 0;
  while (same < linux.length && linux[same] === exonet[same]) same++;
  if (same === linux.length && same === exonet.length) return null;
  return { name: scenario.name, linux: tail(linux, same), exonet: tail(exonet, same) };
}

async function perform(subject: Subject, scenario: Scenario, ports: Ports): Promise<string[]> {
  const actor = new Actor(subject, ports, scenario.iss ?? 1_000_000);
  try {
    await scenario.run(actor);
  } catch (error) {
    actor.record.push(`failed: ${error instanceof Error ? error.message : error}`);
  }
  await actor.end();
  return actor.record;
}

/** Of no scenario before, and none of those that a kernel gives out by itself. */
function takePorts(): Ports {
  const index = nextPort++;
  return { host: 2000 + (index % 28_000), peer: 2000 + (index % 60_000) };
}

const BEFORE = 6;

function tail(lines: readonly string[], from: number): string[] {
  return lines.map((line, index) => (index < from ? `  ${line}` : `! ${line}`)).slice(Math.max(0, from - BEFORE));
}
