/**
 * `make differential`: all scenarios on a Linux kernel and on `exonet dut` (root). Prints each difference from its first line on and
 * a count; the exit code is 1 when there are differences that known.ts does not know.
 *
 *   node build/test/differential/main.js [--only TEXT] [--seed N] [--count N] [--all]
 *
 * `--all` shows the known ones too.
 */
import { parseArgs } from 'node:util';
import { DifferentialLab, noLab } from '../support/differential-lab.ts';
import { enterPrivateNetwork } from '../support/namespace.ts';
import { compareAll, type Difference } from './compare.ts';
import { isKnown } from './known.ts';
import { matrix } from './matrix.ts';
import { sequences } from './sequences.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '60' },
    all: { type: 'boolean', default: false },
    profile: { type: 'string', default: 'linuxLike' },
  },
});

function show({ name, linux, exonet }: Difference): void {
  console.log(`\n# ${name}\n  Linux:\n    ${linux.join('\n    ')}\n  exonet:\n    ${exonet.join('\n    ')}`);
}

async function main(): Promise<void> {
  if (noLab !== undefined) throw new Error(noLab);
  enterPrivateNetwork();
  const lab = await DifferentialLab.create({ arguments: ['--profile', values.profile] });
  try {
    const scenarios = [...matrix(), ...sequences(Number(values.seed), Number(values.count))].filter(({ name }) =>
      name.includes(values.only),
    );
    const differences = await compareAll(lab, scenarios);
    const unknown = differences.filter((difference) => !isKnown(difference));
    for (const difference of values.all ? differences : unknown) show(difference);
    const known = differences.length - unknown.length;
    console.log(
      `\n${scenarios.length} scenarios, ${unknown.length} differ, ${known} differ as docs/differential.md says`,
    );
    if (unknown.length > 0) process.exitCode = 1;
  } finally {
    await lab.close();
  }
}

await main();
