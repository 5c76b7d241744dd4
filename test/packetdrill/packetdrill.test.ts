/** Every script of this folder, and what the runner says of those that are wrong. */
import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import { parseScript } from './parser.ts';
import { FailedAssertion, Python, UnsupportedCode } from './python.ts';
import { runScript } from './runner.ts';

const SCRIPTS = new URL('../../../test/packetdrill/scripts/', import.meta.url);

const OPEN = `
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0 < S 0:0(0) win 65535 <mss 1000>
   +0 > S. 0:0(0) ack 1 <mss 1460>
  +.1 < . 1:1(0) ack 1 win 65535
   +0 accept(3, ..., ...) = 4
`;

const names = readdirSync(SCRIPTS, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.pkt'));

for (const name of names.sort()) {
  test(name, (t) => {
    const { verdict, line, message } = runScript(readFileSync(new URL(name, SCRIPTS), 'utf8'));
    t.is(verdict, 'passed', `test/packetdrill/scripts/${name}:${line}: ${message}`);
  });
}

test('there are at least eighty scripts', (t) => {
  t.true(names.length >= 80, `${names.length}`);
});

for (const [what, line, text, message] of [
  [
    'another flag',
    10,
    '   +0 write(4, ..., 100) = 100\n   +0 > . 1:101(100) ack 1',
    /flags[\s\S]*expected \. 1:101[\s\S]*found +P\. 1:101/,
  ],
  ['another length', 10, '   +0 write(4, ..., 100) = 100\n   +0 > P. 1:102(101) ack 1', /sequence numbers/],
  ['options', 10, '   +0 write(4, ..., 100) = 100\n   +0 > P. 1:101(100) ack 1 <nop,nop,sackOK>', /options/],
  ['nothing is sent', 9, '   +0 > . 1:1(0) ack 1', /nothing is sent/],
  ['too late', 10, '   +0 write(4, ..., 100) = 100\n  +.1 > P. 1:101(100) ack 1', /is sent at 0\.1/],
  ['another result', 9, '   +0 write(4, ..., 100) = 99', /returns 100, not 99/],
  ['another error', 9, '   +0 recv(4, ..., 10, MSG_DONTWAIT) = -1 EPIPE (Broken pipe)', /EAGAIN, not EPIPE/],
  ['an assertion', 9, '   +0 %{ assert tcpi_snd_cwnd == 11, tcpi_snd_cwnd }%', /\(10\)/],
  ['a call that does not return', 9, '   +0...0.100 read(4, ..., 10) = 10', /still waits/],
] as const) {
  test(`it fails: ${what}`, (t) => {
    const outcome = runScript(`${OPEN}${text}\n`);
    t.is(outcome.verdict, 'failed');
    t.is(outcome.line, line, outcome.message);
    t.regex(outcome.message, message);
  });
}

for (const [text, message] of [
  ['`rm -rf something`\n', /rm -rf/],
  ['`sysctl -q net.ipv4.tcp_something=1`\n', /tcp_something/],
  ['`sysctl -q net.ipv4.tcp_congestion_control=vegas`\n', /vegas/],
  ['    0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3\n', /SOCK_STREAM/],
  ['    0 splice(1, 2) = 3\n', /splice/],
  ['    0 < udp (1000)\n', /UDP/],
  ['    0 < S 0:0(0) win 1 <md5 aa>\n', /md5/],
  ['    0 < S 0:1(0) win 1\n', /0:1/],
  ['    0 %{ for x in y: pass }%\n', /Python/],
  ['    0 socket(..., SOCK_STREAM\n', /end/],
] as const) {
  test(`it refuses ${JSON.stringify(text.trim())}`, (t) => {
    const outcome = runScript(text);
    t.is(outcome.verdict, 'refused', outcome.message);
    t.regex(outcome.message, message);
  });
}

test('times, ranges, waiting calls and comments are read', (t) => {
  const { options, init, events } = parseScript(`
// a comment
--tolerance_usecs=10000
--ip_version=ipv4
\`sysctl a
b\`
0.5 close(3) = 0 /* another */
+.1...0.25 read(4, "ab" "c", 0x10) = -1 EAGAIN (Resource temporarily unavailable) # a third
+0~+.2 > P. 1:11(10) ack 1 win 5 <nop,nop,TS val 7 ecr 8,sack 1:2 3:4>
* > [ect01] FPUE. 4294967295:0(1) ack 1 urg 3 <...>
`);
  t.deepEqual(options, [
    ['tolerance_usecs', '10000'],
    ['ip_version', 'ipv4'],
  ]);
  t.is(init, 'sysctl a\nb');
  t.deepEqual(
    events.map(({ line, time }) => [line, time]),
    [
      [7, { kind: 'at', us: 500_000, isRelative: false }],
      [8, { kind: 'at', us: 100_000, isRelative: true }],
      [9, { kind: 'range', us: 0, endUs: 200_000, isRelative: true }],
      [10, { kind: 'any' }],
    ],
  );
  const [, read, sent, last] = events.map(({ action }) => action);
  t.deepEqual(read, {
    kind: 'call',
    call: {
      endUs: 250_000,
      name: 'read',
      args: [
        { kind: 'integer', value: 4 },
        { kind: 'string', text: 'abc' },
        { kind: 'integer', value: 16 },
      ],
      result: { kind: 'integer', value: -1 },
      errno: 'EAGAIN',
    },
  });
  t.deepEqual(sent?.kind === 'packet' && sent.packet.options, [
    { kind: 'nop' },
    { kind: 'nop' },
    { kind: 'TS', value: 7, echo: 8 },
    {
      kind: 'sack',
      blocks: [
        [1, 2],
        [3, 4],
      ],
    },
  ]);
  t.is(last?.kind === 'packet' && last.packet.options, null);
  t.is(last?.kind === 'packet' && last.packet.ecn, 'ect01');
});

test('the Python of assertions', (t) => {
  const python = new Python();
  const fields = new Map([['tcpi_rtt', 100]]);
  python.run('assert 1 + 2 * 3 == 7 and not 2 > 3 or False; x = 5; x += tcpi_rtt # a comment', fields);
  python.run('assert 100 < x <= 105, "x"\nassert abs(-x) == max(1, 105) and (6 & 3 | 8) == 10\nprint(x)', fields);
  python.run('assert 7 // 2 == 3 and 7 % 4 == 3 and (x ==\n 105)', fields);
  t.throws(() => python.run('assert x == 1, x', fields), { instanceOf: FailedAssertion, message: /\(105\)/ });
  t.throws(() => python.run('assert y == 1', fields), { instanceOf: UnsupportedCode });
  t.throws(() => python.run('while x: pass', fields), { instanceOf: UnsupportedCode });
});
