import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { NOTHING_HELD, Rig } from './rig.ts';

const SECRET = 'the secret outside';

function makeRig(): Rig {
  const rig = new Rig({ files: { 'index.html': 'root', 'sub/a.txt': 'inside' } });
  writeFileSync(join(rig.directory, 'secret.txt'), SECRET);
  mkdirSync(join(rig.directory, 'root-beside'));
  writeFileSync(join(rig.directory, 'root-beside', 'secret.txt'), SECRET);
  return rig;
}

test('no way of writing dots and slashes leads out of the root', async (t) => {
  const rig = makeRig();
  const dots = [
    '..',
    '%2e%2e',
    '.%2e',
    '%2E.',
    '%252e%252e',
    '%c0%ae%c0%ae',
    '%u002e%u002e',
    '..%00',
    '.%00.',
    '..;',
    '%ff..',
  ];
  const slashes = ['/', '//', '/./', '%2f', '%2F', '\\', '%5c', '%252f', '%c0%af', '/%00/'];
  const names = ['secret.txt', 'root-beside/secret.txt', 'secret.txt%00.html', 'etc/passwd'];
  for (const dot of dots) {
    for (const slash of slashes) {
      for (const name of names) {
        for (const prefix of ['', '/sub', '/sub/a.txt']) {
          for (let depth = 1; depth <= 2; depth++) {
            const path = `${prefix}/${(dot + slash).repeat(depth)}${name}`;
            const response = await rig.get(path);
            t.true(response.status === 400 || response.status === 404, `${path}: ${response.status}`);
            t.false(response.body.includes('secret outside'), path);
          }
        }
      }
    }
  }
  for (const path of [
    'http://x/../secret.txt',
    '//../secret.txt',
    '/.',
    '/..',
    '/sub/..',
    `${'/..'.repeat(200)}/etc/passwd`,
  ]) {
    const response = await rig.get(path);
    t.false(response.body.includes('secret outside') || response.body.includes('root:'), path);
    if (path !== '/.') t.is(response.status, 404, path);
  }
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('symbolic links are followed inside the root and refused out of it', async (t) => {
  const rig = makeRig();
  const link = (target: string, name: string) => symlinkSync(target, join(rig.root, name));
  link('sub/a.txt', 'inside-file');
  link('sub', 'inside-directory');
  link(join(rig.root, 'sub'), 'inside-absolute');
  link('../secret.txt', 'outside-file');
  link('..', 'outside-directory');
  link('../root-beside', 'outside-beside');
  link('/etc/passwd', 'passwd');
  link('../root/sub/a.txt', 'out-and-in');
  link('loop', 'loop');
  link('nowhere', 'dangling');
  link('/dev/zero', 'device');
  link('/proc/self/environ', 'environ');
  for (const path of ['/inside-file', '/inside-directory/a.txt', '/inside-absolute/a.txt', '/out-and-in']) {
    t.is((await rig.get(path)).body, 'inside', path);
  }
  for (const path of [
    '/outside-file',
    '/outside-directory/secret.txt',
    '/outside-beside/secret.txt',
    '/outside-directory',
    '/passwd',
    '/loop',
    '/dangling',
    '/device',
    '/environ',
  ]) {
    t.is((await rig.get(path)).status, 404, path);
  }
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a link that is turned outwards later is noticed', async (t) => {
  const rig = makeRig();
  symlinkSync('sub/a.txt', join(rig.root, 'link'));
  t.is((await rig.get('/link')).body, 'inside');
  unlinkSync(join(rig.root, 'link'));
  symlinkSync('../secret.txt', join(rig.root, 'link'));
  rig.pass(100_000);
  t.is((await rig.get('/link')).status, 404);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('what is no file is not opened: a pipe would block, a socket fail', async (t) => {
  const rig = makeRig();
  execFileSync('mkfifo', [join(rig.root, 'pipe')]);
  const server = createServer().listen(join(rig.root, 'socket'));
  t.is((await rig.get('/pipe')).status, 404);
  t.is((await rig.get('/socket')).status, 404);
  server.close();
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a hard link is a file of the root like any other', async (t) => {
  const rig = makeRig();
  linkSync(join(rig.directory, 'secret.txt'), join(rig.root, 'hard'));
  t.is((await rig.get('/hard')).status, 200);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});
