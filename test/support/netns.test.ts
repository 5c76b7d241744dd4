import { existsSync } from 'node:fs';
import { openTap } from '../../src/driver/tap.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { integrationTest, ip, Netns } from './netns.ts';

integrationTest('two namespaces joined by a veth pair reach each other', async (t) => {
  const a = await Netns.create();
  const b = await Netns.create();
  t.teardown(() => Promise.all([a.remove(), b.remove()]));
  Netns.connect(a, 'left', b, 'right');
  a.ip('addr', 'add', '10.93.0.1/24', 'dev', 'left');
  b.ip('addr', 'add', '10.93.0.2/24', 'dev', 'right');
  const server = b.spawn('sleep', ['1000']);
  const shown = await a.exec('ip', ['neigh', 'get', '10.93.0.2', 'dev', 'left']);
  t.not(shown.code, 0);
  t.regex((await a.exec('ip', ['addr', 'show', 'dev', 'left'])).stdout.toString(), /10\.93\.0\.1/);
  t.throws(() => ip('link', 'show', 'dev', 'left'));
  t.is(server.exitCode, null);
  await b.remove();
  t.is(server.signalCode, 'SIGKILL');
  t.false(existsSync(`/proc/${b.pid}`));
});

integrationTest('a device opened within a namespace works from outside, and so does closing it', async (t) => {
  const netns = await Netns.create();
  t.teardown(() => netns.remove());
  const arena = new Arena(1 << 20);
  t.teardown(() => arena.close());
  const tap = netns.within(() => openTap({ name: 'exo0', arena, offload: false }));
  t.notThrows(() => netns.ip('link', 'show', 'dev', 'exo0'));
  t.throws(() => ip('link', 'show', 'dev', 'exo0'));
  tap.close();
  t.throws(() => netns.ip('link', 'show', 'dev', 'exo0'));
});

integrationTest('a command that does not exist is an error, one that fails has its code', async (t) => {
  const netns = await Netns.create();
  t.teardown(() => netns.remove());
  t.is((await netns.exec('sh', ['-c', 'echo out; echo err >&2; exit 3'])).code, 3);
  t.throws(() => netns.run('sh', '-c', 'exit 1'));
  t.is((await netns.exec('no-such-command', [])).code, 127);
});
