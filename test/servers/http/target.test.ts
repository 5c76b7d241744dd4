import test from 'ava';
import fc from 'fast-check';
import { decodePath, directoryLocation } from '../../../src/servers/http/target.ts';

function decode(path: string): string {
  const bytes = Buffer.from(path, 'latin1');
  const { status, segments, directory } = decodePath(bytes, 0, bytes.length);
  return status === 0 ? segments.join('|') + (directory ? '|' : '') : String(status);
}

const PATHS: readonly (readonly [string, string])[] = [
  ['/', '|'],
  ['/a', 'a'],
  ['/a/', 'a|'],
  ['/a/b.html', 'a|b.html'],
  ['//a///b', 'a|b'],
  ['/./a/./b', 'a|b'],
  ['/a/.', 'a|'],
  ['/%61%62', 'ab'],
  ['/a%2fb', 'a|b'],
  ['/a%20b', 'a b'],
  ['/a+b', 'a+b'],
  ['/%C3%A4', 'ä'],
  ['/\xc3\xa4', 'ä'],
  ['/%3F', '?'],
  ['/a...b', 'a...b'],
  ['/a..', 'a..'],
  ['/..', '404'],
  ['/../a', '404'],
  ['/a/../b', '404'],
  ['/a/..', '404'],
  ['/%2e%2e/a', '404'],
  ['/%2E%2e/a', '404'],
  ['/.%2e/a', '404'],
  ['/..%2fa', '404'],
  ['/a%2f..%2fb', '404'],
  ['/%252e%252e/a', '%2e%2e|a'],
  ['/...', '404'],
  ['/.htaccess', '404'],
  ['/a/.git/config', '404'],
  ['/%2egit', '404'],
  ['/..\\a', '404'],
  ['/a\\b', '404'],
  ['/%5c..%5ca', '404'],
  ['/%00', '400'],
  ['/a%00.html', '400'],
  ['/%', '400'],
  ['/%4', '400'],
  ['/%zz', '400'],
  ['/%%34%31', '400'],
  ['/%u002e', '400'],
  ['/%c0%ae%c0%ae/a', '404'],
  ['/%e0%80%ae', '404'],
  ['/%ff', '404'],
  ['/%0a', '404'],
  ['/%7f', '404'],
  ['/%ef%bb%bfa', '\ufeffa'],
];

for (const [path, expected] of PATHS) {
  test(`${JSON.stringify(path)} names ${JSON.stringify(expected)}`, (t) => {
    t.is(decode(path), expected);
  });
}

test('a directory location stays on this host and reads back', (t) => {
  t.is(directoryLocation([]), '/');
  t.is(directoryLocation(['a b', 'ä?', '%2e']), '/a%20b/%C3%A4%3F/%252e/');
  t.is(directoryLocation(['evil.example']), '/evil.example/');
});

test('property: whatever comes, no segment can lead upwards or hide', (t) => {
  const pieces = fc.constantFrom(
    '/',
    '.',
    '..',
    '%2e',
    '%2E',
    '%2f',
    '%5c',
    '\\',
    'a',
    '%00',
    '%25',
    '%c0%ae',
    '\xff',
    '%',
    '?',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
      const bytes = Buffer.from(`/${parts.join('')}`, 'latin1');
      const { status, segments } = decodePath(bytes, 0, bytes.length);
      if (status !== 0) return segments.length === 0;
      return segments.every((name) => name !== '' && !name.startsWith('.') && !/[/\\\0]/.test(name));
    }),
    { numRuns: 5000, seed: 6 },
  );
  t.pass();
});
