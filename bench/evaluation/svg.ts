/** Charts as SVG: groups of bars with their values, readable on a light and on a dark page. */
import type { Chart } from './shapes.ts';

const WIDTH = 960;
const LEFT = 16;
const TOP = 72;
const PLOT_HEIGHT = 260;
const BOTTOM = 40;
const LEGEND_LINE = 18;
const GROUP_GAP = 24;
/** Told apart by people who see few colours, and against white and black. */
const COLOURS = [
  '#4e79a7',
  '#f28e2b',
  '#59a14f',
  '#b07aa1',
  '#e15759',
  '#76b7b2',
  '#9c755f',
  '#8a8a8a',
  '#c4a000',
  '#d37295',
];

export function drawChart(chart: Chart): string {
  const { groups, series } = chart;
  const legend = layLegend(series.map(({ name }) => name));
  const top = TOP + legend.lines * LEGEND_LINE;
  const height = top + PLOT_HEIGHT + BOTTOM;
  const tallest = Math.max(1e-9, ...series.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const groupWidth = (WIDTH - 2 * LEFT) / Math.max(1, groups.length);
  const barWidth = Math.min(48, (groupWidth - GROUP_GAP) / Math.max(1, series.length));
  const parts: string[] = [];
  groups.forEach((group, g) => {
    const scale = chart.relative === true ? Math.max(1e-9, ...series.map(({ values }) => values[g] ?? 0)) : tallest;
    const left = LEFT + g * groupWidth + (groupWidth - barWidth * series.length) / 2;
    series.forEach(({ name, values }, s) => {
      const value = values[g];
      if (value === undefined || value === null) return;
      const bar = (value / scale) * (PLOT_HEIGHT - 40);
      const x = left + s * barWidth;
      const y = top + PLOT_HEIGHT - bar;
      parts.push(
        `<rect x="${fixed(x + 1)}" y="${fixed(y)}" width="${fixed(barWidth - 2)}" height="${fixed(bar)}" fill="${colour(s)}"><title>${escapeXml(`${group}, ${name}: ${short(value)}`)}</title></rect>`,
        `<text class="value" transform="translate(${fixed(x + barWidth / 2 + 3)} ${fixed(y - 4)}) rotate(-90)">${short(value)}</text>`,
      );
    });
    const middle = LEFT + (g + 0.5) * groupWidth;
    parts.push(`<text class="group" x="${fixed(middle)}" y="${top + PLOT_HEIGHT + 20}">${escapeXml(group)}</text>`);
  });
  const keys = legend.places.map(
    ({ name, x, line }, s) =>
      `<rect x="${x}" y="${TOP - 22 + line * LEGEND_LINE}" width="11" height="11" fill="${colour(s)}"/><text x="${x + 16}" y="${TOP - 12 + line * LEGEND_LINE}">${escapeXml(name)}</text>`,
  );
  const unit = chart.relative === true ? `${chart.unit}; every group to its own scale` : chart.unit;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeXml(chart.title)}">
<style>
  text { font: 12px system-ui, sans-serif; fill: #222; }
  .title { font-size: 16px; font-weight: 600; }
  .group { text-anchor: middle; }
  .value { font-size: 10px; }
  line { stroke: #888; }
  @media (prefers-color-scheme: dark) { text { fill: #ddd; } }
</style>
<text class="title" x="${LEFT}" y="22">${escapeXml(chart.title)}</text>
<text x="${LEFT}" y="40">${escapeXml(unit)}</text>
${keys.join('\n')}
${parts.join('\n')}
<line x1="${LEFT}" x2="${WIDTH - LEFT}" y1="${top + PLOT_HEIGHT}" y2="${top + PLOT_HEIGHT}"/>
</svg>
`;
}

interface LegendPlace {
  readonly name: string;
  readonly x: number;
  readonly line: number;
}

/** Where each name of the legend goes, as many to a line as fit. */
function layLegend(names: readonly string[]): { readonly places: readonly LegendPlace[]; readonly lines: number } {
  const places: LegendPlace[] = [];
  let x = LEFT;
  let line = 0;
  for (const name of names) {
    const width = 34 + name.length * 7;
    if (x + width > WIDTH - LEFT && x > LEFT) {
      x = LEFT;
      line++;
    }
    places.push({ name, x, line });
    x += width;
  }
  return { places, lines: line };
}

function colour(index: number): string {
  return COLOURS[index % COLOURS.length] ?? '#888';
}

function short(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  if (value >= 10_000) return `${(value / 1000).toFixed(1)}k`;
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}

function fixed(value: number): string {
  return value.toFixed(1);
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
