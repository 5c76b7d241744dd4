/** What docs/rfc-coverage.md names is there. */
import { existsSync, readFileSync } from 'node:fs';
import test from 'ava';

const ROOT = new URL('../../../', import.meta.url);
const DOCUMENT = readFileSync(new URL('docs/rfc-coverage.md', ROOT), 'utf8');

/** RFC 9293, appendix B: how many there are of each kind. */
const NUMBERS: Readonly<Record<string, number>> = { MUST: 69, SHLD: 31, MAY: 18, REC: 1 };

interface Row {
  readonly clause: string;
  readonly asks: string;
  readonly where: string;
  readonly shownBy: string;
}

const rows: Row[] = DOCUMENT.split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| number') && !line.startsWith('| clause'))
  .map((line) => {
    const [, clause = '', asks = '', where = '', shownBy = ''] = line.split('|').map((cell) => cell.trim());
    return { clause, asks, where, shownBy };
  });

test('every file that it names is there', (t) => {
  for (const { clause, where } of rows) {
    const files = [...where.matchAll(/`([^`]+)`/g)].map(([, file]) => file ?? '');
    for (const file of files) t.true(existsSync(new URL(`src/${file}`, ROOT)), `${clause}: src/${file}`);
  }
});

test('every script and every test that it names is there', (t) => {
  for (const { clause, shownBy } of rows) {
    if (shownBy === '') continue;
    const script = /^script:(\S+)$/.exec(shownBy)?.[1];
    if (script !== undefined) {
      t.true(existsSync(new URL(`test/packetdrill/scripts/${script}.pkt`, ROOT)), `${clause}: ${shownBy}`);
      continue;
    }
    const [, file = '', title = ''] = /^(\S+\.test\.ts): ?(.*)$/.exec(shownBy) ?? [];
    const url = new URL(`test/${file}`, ROOT);
    t.true(file !== '' && existsSync(url), `${clause}: ${shownBy}`);
    if (file !== '' && existsSync(url)) t.true(readFileSync(url, 'utf8').includes(title), `${clause}: ${shownBy}`);
  }
});

test('what is shown by nothing says why', (t) => {
  for (const { clause, asks, where, shownBy } of rows) {
    if (shownBy !== '') t.not(where, '', clause);
    else t.regex(asks, /Not met|No\b|as MUST|Nothing|ours do not/, clause);
  }
});

for (const [kind, count] of Object.entries(NUMBERS)) {
  test(`all of ${kind}-1 to ${kind}-${count} of RFC 9293 are there, once`, (t) => {
    const found = rows.filter(({ clause }) => clause.startsWith(`${kind}-`)).map(({ clause }) => clause);
    t.deepEqual(
      found,
      Array.from({ length: count }, (_, i) => `${kind}-${i + 1}`),
    );
  });
}
