/** Pages and their groups, and the reactor's polling, in `exonet cheetah` as a process, as curl sees them. */
import { Buffer } from 'node:buffer';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { CheetahProcess } from '../support/cheetah-process.ts';
import { commandTest, execute, until } from '../support/commands.ts';
import { enterPrivateNetwork, forbidden } from '../support/netns.ts';
import { Site, temporaryDirectory } from '../support/site.ts';
import { STACK_ADDRESS, TAP, VETH_PLAIN } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

const URL_BASE = `http://${STACK_ADDRESS}`;
const MEMBERS = ['style.css', 'a b.png', 'deep/c.png', 'app.js'];
const PAGE = `<!DOCTYPE html><title>A page</title><link rel="stylesheet" href="style.css"><base href="/docs/">
<img src="a b.png"><img src="deep/c.png?size=2"><script src="./app.js"></script><img src="//example.com/out.png">`;

function addPage(site: Site): void {
  mkdirSync(join(site.root, 'docs/deep'), { recursive: true });
  writeFileSync(join(site.root, 'docs/index.html'), PAGE);
  for (const name of MEMBERS) writeFileSync(join(site.root, 'docs', name), `content of ${name}`);
}

/** What the process says when it gets SIGUSR1. */
async function readCounters(cheetah: CheetahProcess): Promise<Map<string, number>> {
  cheetah.stderr = '';
  cheetah.child.kill('SIGUSR1');
  await until('the counters to be printed', () => /^reactor\.slices .*\n/m.test(cheetah.stderr));
  const lines = cheetah.stderr.split('\n').map((line) => line.split(/ +/));
  cheetah.stderr = '';
  return new Map(lines.map(([name = '', value]) => [name, Number(value)]));
}

async function fetch(t: ExecutionContext, path: string): Promise<string> {
  const { code, stdout, stderr } = await execute('curl', ['-sS', '--fail', `${URL_BASE}${path}`]);
  t.is(code, 0, `${path} ${stderr}`);
  return Buffer.from(stdout).toString();
}

for (const wire of [TAP, VETH_PLAIN]) {
  commandTest(`a cold page brings what it includes, over ${wire.name}`, ['curl'], async (t) => {
    const site = Site.create(t);
    addPage(site);
    const cheetah = await CheetahProcess.serve(t, wire, site.root);
    t.is(await fetch(t, '/docs/'), PAGE);
    let counters = new Map<string, number>();
    for (let tries = 0; tries < 100 && counters.get('cheetah.groupReads') !== 4; tries++) {
      counters = await readCounters(cheetah);
    }
    t.is(counters.get('cheetah.groupReads'), 4);
    t.is(counters.get('cheetah.versionsLoaded'), 5);
    for (const name of MEMBERS) t.is(await fetch(t, `/docs/${encodeURI(name)}`), `content of ${name}`);
    counters = await readCounters(cheetah);
    t.is(counters.get('cheetah.groupHits'), 4);
    t.is(counters.get('cheetah.versionsLoaded'), 5);
    t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
  });
}

commandTest('turned off, a page is a file, and the reactor sleeps', ['curl'], async (t) => {
  const site = Site.create(t);
  addPage(site);
  const cheetah = await CheetahProcess.serve(t, TAP, site.root, '--no-html-grouping', '--no-polling');
  for (const path of ['/docs/', '/docs/style.css', '/docs/app.js']) await fetch(t, path);
  const counters = await readCounters(cheetah);
  t.is(counters.get('cheetah.groupsRead'), undefined);
  t.is(counters.get('cheetah.groupReads'), undefined);
  t.is(counters.get('cheetah.versionsLoaded'), 3);
  t.is(counters.get('reactor.emptyPolls'), undefined);
  t.is(counters.get('reactor.turns'), counters.get('reactor.slices'));
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
});

commandTest('under load it polls, and at rest it does nothing', ['curl'], async (t) => {
  const site = Site.create(t);
  const file = site.add('large.bin', 20_000_000);
  const cheetah = await CheetahProcess.serve(t, TAP, site.root);
  const target = join(temporaryDirectory(t), 'large.bin');
  let loaded = new Map<string, number>();
  const count = (name: string): number => loaded.get(`reactor.${name}`) ?? 0;
  // Until it has found out that it pays.
  for (let round = 0; round < 20 && count('emptyPolls') === 0; round++) {
    t.is((await execute('curl', ['-sS', '--fail', '-o', target, `${URL_BASE}${file.path}`])).code, 0);
    loaded = await readCounters(cheetah);
  }
  t.true(count('emptyPolls') > 0);
  t.true(count('turns') > count('slices'));
  // Nothing comes but what the kernel sends of itself: some turns, far fewer than polling for as long would take.
  await execute('sleep', ['1']);
  const rested = await readCounters(cheetah);
  const turns = (rested.get('reactor.turns') ?? 0) - count('turns');
  t.true(turns < 500, `${turns}`);
  t.deepEqual(await cheetah.stop(), { code: 0, signal: null });
});
