/**
 * What is left of TCP's meaning behind each forwarder: the table of semantics, which `bench/semantics.ts` reads off real
 * kernel ends in namespaces of its own.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { searchPath } from '../machine.ts';
import { scriptPath } from '../servers.ts';
import type { Context } from './context.ts';
import type { Bar, Presentation } from './shapes.ts';

export interface SemanticsData {
  /** The table as it is printed: a head, and a row for each situation; the situation comes first. */
  readonly rows: readonly (readonly string[])[];
}

const SCRIPT = 'semantics.js';
const DIRECT = 'direct';
const OURS = 'exonet forward';
const PATIENCE_MS = 15 * 60_000;

export async function measureSemantics(context: Context): Promise<SemanticsData> {
  const path = scriptPath(SCRIPT);
  if (!existsSync(path)) throw new Error(`there is no ${SCRIPT} to read the table with`);
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, path], {
    env: { ...process.env, PATH: searchPath() },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: PATIENCE_MS,
    killSignal: 'SIGKILL',
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  context.say('semantics: reading the table');
  const [code] = (await once(child, 'close')) as [number | null];
  const rows = readTable(output);
  if (rows.length < 2) throw new Error(`${SCRIPT} ended with ${code} and printed no table`);
  return { rows };
}

export function presentSemantics({ rows }: SemanticsData): Presentation {
  const [head = [], ...situations] = rows;
  const direct = head.indexOf(DIRECT);
  const ours = head.indexOf(OURS);
  return {
    notes: [
      'Every entry is what real kernel ends saw, client and server in namespaces of their own. A forwarder keeps TCP end to end where its column equals the one of the direct wire.',
    ],
    tables: [{ title: 'What the ends see', rows }],
    charts: [],
    bars: situations.map((row): Bar => {
      const [situation = ''] = row;
      const isMet = direct > 0 && ours > 0 && row[ours] === row[direct];
      return {
        claim: `Semantics, ${situation}: ours equals direct`,
        threshold: row[direct] ?? '',
        figure: row[ours] ?? null,
        isMet,
      };
    }),
  };
}

/** The cells of the lines of a markdown table. */
function readTable(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^[|\s:-]+$/.test(line))
    .map((line) =>
      line
        .replace(/^\|\s*/, '')
        .replace(/\s*\|\s*$/, '')
        .split(/\s*\|\s*/),
    );
}
