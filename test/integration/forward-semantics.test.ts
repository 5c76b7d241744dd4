/** TCP end to end, with real kernels at both ends: through the forwarder it is in every row what it is without one. */
import { commandTest } from '../support/commands.ts';
import { enterPrivateNetwork, forbidden } from '../support/netns.ts';
import { observe, ROWS } from '../support/semantics.ts';
import { WAYS } from '../support/semantics-lab.ts';

if (forbidden === undefined) enterPrivateNetwork();

const COMMANDS = ['python3', 'haproxy', 'nginx', 'ss'];

for (const row of ROWS) {
  commandTest(`through the forwarder as without it: ${row.name}`, COMMANDS, async (t) => {
    t.timeout(300_000);
    const direct = await observe(row, 'direct');
    for (const way of WAYS.slice(1)) {
      const entry = await observe(row, way);
      t.log(`${way}: ${entry}`);
      if (way === 'exonet forward') t.is(entry, direct);
      else t.not(entry, '');
    }
  });
}
