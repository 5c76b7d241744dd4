/**
 * The same segments and calls to a Linux kernel and to `exonet dut`: a spread of the scenarios of `make differential`, chosen by a
 * seed. What may differ is listed in docs/differential.md, heading by heading.
 */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { SeededRandom } from '../../src/runtime/random.ts';
import { compareAll, type Difference, type Scenario } from '../differential/compare.ts';
import { isKnown, KNOWN } from '../differential/known.ts';
import { matrix } from '../differential/matrix.ts';
import { sequences } from '../differential/sequences.ts';
import { DifferentialLab, noLab } from '../support/differential-lab.ts';
import { enterPrivateNetwork, forbidden } from '../support/netns.ts';

if (forbidden === undefined) enterPrivateNetwork();

const SEED = 20_260;
const OF_MATRIX = 240;
const OF_SEQUENCES = 12;

test('every difference that is meant has its heading in docs/differential.md', (t) => {
  const text = readFileSync(new URL('../../../docs/differential.md', import.meta.url), 'utf8');
  for (const { heading } of KNOWN) t.true(text.includes(`### ${heading}\n`), heading);
});

if (noLab !== undefined) {
  test(`what Linux and exonet answer is not compared (${noLab})`, (t) => t.pass());
} else {
  test.serial('Linux and exonet answer alike: states and segments', async (t) => {
    t.timeout(300_000);
    const random = new SeededRandom(SEED);
    const all = matrix();
    const chosen = Array.from({ length: OF_MATRIX }, () => all[random.below(all.length)] as Scenario);
    t.deepEqual(await differencesOf(chosen), []);
  });

  test.serial('Linux and exonet answer alike: sequences', async (t) => {
    t.timeout(300_000);
    t.deepEqual(await differencesOf(sequences(SEED, OF_SEQUENCES)), []);
  });
}

async function differencesOf(scenarios: readonly Scenario[]): Promise<Difference[]> {
  const lab = await DifferentialLab.create({ arguments: ['--profile', 'linuxLike'] });
  try {
    return (await compareAll(lab, scenarios)).filter((difference) => !isKnown(difference));
  } finally {
    await lab.close();
  }
}
