/** `--trace`, and the log's level trace: why TCP did what it did, from the programs as people run them. */
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, execute } from '../support/commands.ts';
import { enterPrivateNetwork, forbidden } from '../support/netns.ts';
import { Site } from '../support/site.ts';
import { STACK_ADDRESS, TAP } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const DECISION = /\d+\.\d{6} [\d.]+:80 [\d.]+:\d+ state SYN-RECEIVED to ESTABLISHED/;

for (const [args, isLog] of [
  [['--trace'], false],
  [['--log-level', 'trace'], true],
  [[], false],
] as const) {
  commandTest(`cheetah ${args.join(' ') || 'without a trace'}`, ['curl'], async (t) => {
    const site = Site.create(t);
    const file = site.add('1k.bin', 1000);
    const cheetah = await CheetahProcess.serve(t, TAP, site.root, ...args);
    const { code } = await execute('curl', ['-sS', '--fail', '-o', '/dev/null', `http://${STACK_ADDRESS}${file.path}`]);
    t.is(code, 0);
    await cheetah.stop();
    t.is(DECISION.test(cheetah.stderr), args.length > 0, cheetah.stderr);
    t.is(cheetah.stderr.includes('"decision":'), isLog);
  });
}
