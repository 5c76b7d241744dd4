/** Differences that are meant: docs/differential.md has the clause for each, under the same heading. */
import type { Difference } from './compare.ts';

interface Known {
  /** The heading in docs/differential.md. */
  readonly heading: string;
  readonly matches: (difference: Difference, linux: string, exonet: string) => boolean;
}

/** `linux` and `exonet` are the first lines that differ. */
export const KNOWN: readonly Known[] = [
  {
    heading: 'SYN-RECEIVED of a simultaneous open, and an acknowledgment of nothing new',
    matches: ({ name }, _linux, exonet) =>
      name.startsWith('SYN-RECEIVED at once') && name.includes('ack nothing new') && exonet.startsWith('> R '),
  },
  {
    heading: 'SYN-RECEIVED of a simultaneous open, and the SYN-ACK',
    matches: ({ name }, linux, exonet) =>
      name.startsWith('SYN-RECEIVED at once') && name.includes('SA, seq just before, ack all') && linux !== exonet,
  },
  {
    heading: 'D-SACK on the way into TIME-WAIT',
    matches: ({ name }, linux, exonet) =>
      /^FIN-WAIT-[12].*: FA.*seq just before/.test(name) &&
      withoutEcho(withoutSack(linux)) === withoutEcho(withoutSack(exonet)),
  },
  {
    heading: 'D-SACK for text that a longer segment covers',
    matches: ({ name }, linux, exonet) => name.startsWith('reassembly') && hasOneMore(linux, exonet),
  },
  {
    heading: 'The timestamp of an acknowledgment that is too old',
    matches: ({ name }, linux, exonet) =>
      /^ESTABLISHED.*: A, seq next, ack very old$/.test(name) && withoutEcho(linux) === withoutEcho(exonet),
  },
  {
    heading: 'PSH inside what is queued',
    matches: ({ name }, linux, exonet) => name.startsWith('sending') && linux.replace('> AP ', '> A ') === exonet,
  },
];

export function isKnown(difference: Difference): boolean {
  const linux = firstLine(difference.linux);
  const exonet = firstLine(difference.exonet);
  return KNOWN.some(({ matches }) => matches(difference, linux, exonet));
}

function firstLine(lines: readonly string[]): string {
  return lines.find((line) => line.startsWith('! '))?.slice(2) ?? '';
}

function withoutSack(line: string): string {
  return line.replace(/,nop,nop,sack [-\d: ]+/, '');
}

function withoutEcho(line: string): string {
  return line.replace(/ecr \d+/, 'ecr');
}

/** Whether ours has one block more in front, and is the same otherwise. */
function hasOneMore(linux: string, exonet: string): boolean {
  return exonet.replace(/sack \S+ /, 'sack ') === linux;
}
