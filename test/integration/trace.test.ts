/** What the command line says about TCP: `--trace` and the log's level trace, congestion control and ECN. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCapture } from '../support/capture.ts';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, execute } from '../support/commands.ts';
import { enterPrivateNetwork, forbidden } from '../support/netns.ts';
import { Site, temporaryDirectory } from '../support/site.ts';
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

for (const [ecn, agreed] of [
  ['accept', '1'],
  ['off', '0'],
] as const) {
  commandTest(`--congestion bbr, --ecn ${ecn}`, ['curl', 'tshark'], async (t) => {
    const site = Site.create(t);
    const file = site.add('100k.bin', 100_000);
    const capture = join(temporaryDirectory(t), 'ecn.pcap');
    writeFileSync('/proc/sys/net/ipv4/tcp_ecn', '1');
    const args = ['--congestion', 'bbr', '--ecn', ecn, '--trace', '--pcap', capture];
    const cheetah = await CheetahProcess.serve(t, TAP, site.root, ...args);
    const { code } = await execute('curl', ['-sS', '--fail', '-o', '/dev/null', `http://${STACK_ADDRESS}${file.path}`]);
    t.is(code, 0);
    await cheetah.stop();
    const answers = await readCapture(capture, `tcp.flags.syn == 1 && ip.src == ${STACK_ADDRESS}`, ['tcp.flags.ece']);
    t.deepEqual(answers, [[agreed]]);
    t.regex(cheetah.stderr, / BBR: Startup, draft-ietf-ccwg-bbr 5\.3/);
  });
}
