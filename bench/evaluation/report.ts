/** Writes the report, its charts and the raw figures, from the sections' records. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MachineDescription } from './describe-machine.ts';
import { SECTION_NAMES, type SectionName } from './options.ts';
import { SECTIONS } from './sections.ts';
import type { Bar, Chart, Failure, Presentation, ProfileSummary, SectionRecord, Table } from './shapes.ts';
import { drawChart } from './svg.ts';

interface Part {
  readonly name: SectionName;
  readonly title: string;
  readonly record: SectionRecord;
  readonly presentation: Presentation;
}

const FOLDER = 'evaluation';
/** Of a section that failed as a whole; its failures say why. */
const NOTHING: Presentation = { notes: [], tables: [], charts: [], bars: [] };

export function writeRecord(output: string, record: SectionRecord): void {
  mkdirSync(join(output, FOLDER), { recursive: true });
  writeFileSync(join(output, FOLDER, `${record.section}.json`), `${JSON.stringify(record, null, 1)}\n`);
}

/** Writes evaluation.md and its charts from all records that lie in `output`, and returns the bars. */
export function writeReport(output: string): Bar[] {
  const parts = SECTION_NAMES.flatMap((name) => readPart(output, name));
  mkdirSync(join(output, FOLDER), { recursive: true });
  for (const { presentation } of parts) {
    for (const chart of presentation.charts) writeFileSync(chartPath(output, chart), drawChart(chart));
  }
  writeFileSync(join(output, 'evaluation.md'), reportOf(parts));
  return parts.flatMap(({ presentation }) => presentation.bars);
}

export function printBars(bars: readonly Bar[]): void {
  console.log('');
  for (const { isMet, claim, threshold, figure } of bars) {
    console.log(`${verdict(isMet)}  ${claim} (${threshold}): ${figure ?? 'not measured'}`);
  }
  const met = bars.filter(({ isMet }) => isMet).length;
  console.log(`\n${met} of ${bars.length} bars met`);
}

function readPart(output: string, name: SectionName): Part[] {
  const section = SECTIONS[name];
  const path = join(output, FOLDER, `${name}.json`);
  if (!existsSync(path)) return [];
  const record = JSON.parse(readFileSync(path, 'utf8')) as SectionRecord;
  return [
    { name, title: section.title, record, presentation: record.data === null ? NOTHING : section.present(record.data) },
  ];
}

function chartPath(output: string, { name }: Chart): string {
  return join(output, FOLDER, `${name}.svg`);
}

function reportOf(parts: readonly Part[]): string {
  const lines = [
    '# Evaluation',
    '',
    'Written by `make evaluation`; do not edit. Every figure is the median of the rounds of one run, in which the parties took',
    'turns; `cv` is the coefficient of variation over the rounds, ratios are the median of the rounds’ ratios. Raw figures:',
    `${parts.map(({ name }) => `[${name}](${FOLDER}/${name}.json)`).join(', ')}.`,
    '',
  ];
  if (parts.some(({ record }) => record.quick)) {
    lines.push(
      '**Parts of this come from a quick run: they show that the machinery works, and say nothing about speed.**',
      '',
    );
  }
  lines.push('## The bars', '', ...barTable(parts), '');
  const machine = parts[0]?.record.machine;
  if (machine !== undefined) lines.push('## The machine', '', ...machineTable(machine), '');
  for (const part of parts) lines.push(...sectionLines(part));
  return `${lines.join('\n').trimEnd()}\n`;
}

function barTable(parts: readonly Part[]): string[] {
  const bars = parts.flatMap(({ presentation }) => presentation.bars);
  const rows = bars.map(({ claim, threshold, figure, isMet }) => [
    isMet ? 'PASS' : '**MISS**',
    claim,
    threshold,
    figure ?? 'not measured',
  ]);
  return markdownTable([['', 'what', 'bar', 'found'], ...rows], ['left', 'left']);
}

function machineTable(machine: MachineDescription): string[] {
  const { peers, mitigations, ...plain } = machine;
  const titles: Record<keyof typeof plain, string> = {
    cpu: 'CPU',
    processors: 'processors',
    cores: 'pinned',
    memoryGiB: 'memory, GiB',
    kernel: 'kernel',
    node: 'Node',
    v8: 'V8',
    hypervisor: 'hypervisor',
    congestionControl: 'congestion control',
    receiveSteering: 'receive steering',
    threadedNapi: 'threaded NAPI',
    clockSource: 'clock source',
    loadAverage: 'load average at the start',
  };
  const rows = Object.entries(titles).map(([key, title]) => [title, `${plain[key as keyof typeof plain]}`]);
  const versions = Object.entries(peers).map(([peer, version]) => `${peer} ${version}`);
  return markdownTable(
    [['', ''], ...rows, ['mitigations', mitigations.join('; ') || 'none'], ['peers', versions.join(', ')]],
    ['left', 'left'],
  );
}

function sectionLines({ title, record, presentation }: Part): string[] {
  const { date, commandLine, quick, rounds, secondsPerRound, tookSeconds, failures } = record;
  const lines = [
    `## ${title}`,
    '',
    `Measured ${date} with \`${commandLine}\`: ${rounds} rounds of ${secondsPerRound} s, ${Math.round(tookSeconds / 60)} min altogether${quick ? '; a quick run, whose figures are noise' : ''}.`,
    '',
    ...presentation.notes.flatMap((note) => [note, '']),
    ...presentation.charts.flatMap(({ name, title: caption }) => [`![${caption}](${FOLDER}/${name}.svg)`, '']),
    ...presentation.tables.flatMap((table) => tableLines(table)),
  ];
  for (const bar of presentation.bars.filter(({ isMet }) => !isMet)) lines.push(...missLines(bar));
  return [...lines, ...failureLines(failures)];
}

function tableLines({ title, rows }: Table): string[] {
  return [`### ${title}`, '', ...markdownTable(rows, ['left']), ''];
}

/** A missed bar with what the processor did instead. */
function missLines({ claim, threshold, figure, profile }: Bar): string[] {
  const found = `Missed: ${claim}, ${figure ?? 'not measured'} where ${threshold} is asked.`;
  if (profile === undefined) return [`### ${found}`, '', 'There is no profile of it.', ''];
  return [`### ${found}`, '', ...profileLines(profile)];
}

export function profileLines({ what, buckets, explained }: ProfileSummary): string[] {
  const rows = buckets.map(({ name, part }) => [name, `${(100 * part).toFixed(1)}%`]);
  return [
    `Processor time of ${what}; the named buckets explain ${(100 * explained).toFixed(0)}% of the busy time of its core:`,
    '',
    ...markdownTable([['bucket', 'share'], ...rows], ['left']),
    '',
  ];
}

function failureLines(failures: readonly Failure[]): string[] {
  if (failures.length === 0) return [];
  const rows = failures.map(({ party, where, reason }) => [party, where, reason.split('\n')[0] ?? '']);
  return ['### What failed', '', ...markdownTable([['party', 'at', 'why'], ...rows], ['left', 'left', 'left']), ''];
}

/** Columns without an alignment of their own are numbers. */
function markdownTable(rows: readonly (readonly string[])[], alignments: readonly 'left'[]): string[] {
  const [head = [], ...body] = rows;
  const line = (cells: readonly string[]): string =>
    `| ${head.map((_, column) => (cells[column] ?? '').replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = head.map((_, column) => (alignments[column] === 'left' ? '---' : '---:'));
  return [line(head), `| ${rule.join(' | ')} |`, ...body.map(line)];
}

function verdict(isMet: boolean): string {
  return isMet ? 'PASS' : 'MISS';
}
