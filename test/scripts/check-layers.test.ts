/** The lint rules of scripts/check-layers.mjs, each against a small tree that keeps it and one that breaks it. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'ava';

/** Runs the check over a tree of the given files; what it printed, or '' when it found nothing. */
function check(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'exonet-layers-'));
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    const run = spawnSync(process.execPath, ['scripts/check-layers.mjs', root], { encoding: 'utf8' });
    return run.status === 0 ? '' : run.stderr;
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('imports down the list pass, whatever they skip', (t) => {
  t.is(
    check({
      'servers/cheetah/cheetah.ts':
        "import { a } from '../../tcp/calls.ts'; import '../../runtime/log.ts'; import '../http/x.ts';",
      'exokernel/exokernel.ts':
        "import type { Device } from '../driver/device.ts'; import '../downloadfilter/trie.ts';",
      'driver/tap.ts': "import './device.ts'; import '../wire/bytes.ts'; import '../runtime/arena.ts';",
      'cli/main.ts': "import '../driver/tap.ts'; import '../servers/cheetah/cheetah.ts';",
      'index.ts': "export * from './driver/tap.ts';",
    }),
    '',
  );
});

for (const [path, text] of [
  ['wire/a.ts', "import '../tcp/tcb.ts';"],
  ['wire/a.ts', "import type { Tcb } from '../tcp/tcb.ts';"],
  ['wire/a.ts', "export * from '../libos/arp.ts';"],
  ['tcp/a.ts', "type A = import('../sockets/net.ts').Socket;"],
  ['tcp/a.ts', "await import('../servers/http/parser.ts');"],
  ['tcp/a.ts', "import '../driver/device.ts';"],
  ['exokernel/a.ts', "import '../driver/tap.ts';"],
  ['driver/a.ts', "import '../exokernel/exokernel.ts';"],
  ['servers/a.ts', "import '../cli/main.ts';"],
  ['servers/a.ts', "import '../index.ts';"],
  ['runtime/a.ts', "import '../../test/helper.ts';"],
  ['elsewhere/a.ts', "import '../wire/bytes.ts';"],
] as const) {
  test(`refused in ${path}: ${text}`, (t) => {
    t.regex(check({ [path]: text }), /a\.ts:1: \S/);
  });
}

test('clocks, timers and dice stay in runtime and cli', (t) => {
  const uses = [
    'Date.now();',
    'new Date();',
    'performance.now();',
    'setTimeout(f, 1);',
    'globalThis.setTimeout(f, 1);',
    'setImmediate(f);',
    'Math.random();',
    'crypto.getRandomValues(a);',
    'process.hrtime.bigint();',
    "import { randomBytes } from 'node:crypto';",
    "import 'node:timers/promises';",
  ];
  for (const use of uses) {
    t.regex(check({ 'tcp/a.ts': `const f = () => {}; const a = new Uint8Array(1);\n${use}` }), /a\.ts:2: /, use);
    t.is(check({ 'runtime/a.ts': use, 'cli/a.ts': use }), '', use);
  }
  t.is(
    check({ 'tcp/a.ts': 'new Date(clock.wallMs()); Date.UTC(2026); const o = { setTimeout: 1 }; o.setTimeout;' }),
    '',
  );
});

test('koffi is imported by one file', (t) => {
  t.is(check({ 'runtime/syscalls.ts': "import koffi from 'koffi';" }), '');
  t.regex(check({ 'runtime/arena.ts': "import koffi from 'koffi';" }), /koffi outside/);
});
