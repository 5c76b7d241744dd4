import test from 'ava';
import fc from 'fast-check';
import { imageCandidates, PageIncludes, pathOfKey } from '../../../src/servers/cheetah/page-includes.ts';
import { decodePath } from '../../../src/servers/http/target.ts';

function includesOf(html: string, path = '/docs/page.html', maxPaths = 64, piece = 8192): string[] {
  return read(html, path, maxPaths, piece).paths;
}

function read(html: string, path = '/docs/page.html', maxPaths = 64, piece = 8192): PageIncludes {
  const includes = new PageIncludes(html, path, maxPaths, 1024);
  let pieces = 0;
  while (includes.read(piece)) pieces++;
  if (pieces * piece > html.length) throw new Error('reads more than there is');
  return includes;
}

const PAGE = `<!DOCTYPE html>
<html><head>
  <title>A page <img src=no-1></title>
  <link rel="stylesheet" href="style.css">
  <LINK REL='shortcut ICON' HREF='/favicon.ico'>
  <link rel=preload as=font href=../fonts/a.woff2 crossorigin>
  <link rel="modulepreload" href="m.js"><link rel="manifest" href="site.webmanifest">
  <link rel="canonical" href="no-2"><link rel="next" href="no-3"><link href="no-4">
  <script src="app.js?v=3" defer></script>
  <script>document.write('<img src=no-5>')</script>
  <style>body { background: url(no-6) }</style>
  <!-- <img src="no-7"> -->
</head><body>
  <img alt="a > b" src="a.png"><img src="a.png"><IMG SRC=b.png>
  <img src="c.png" srcset="c-1x.png, c-2x.png 2x,c-3x.png 3x" />
  <picture><source srcset="d.avif 100w, d-l.avif 200w" type="image/avif"></picture>
  <video poster="still.jpg" src="no-8"><source src="film.webm"></video>
  <iframe src="inner.html"><img src="no-9"></iframe>
  <a href="no-10">there</a><img data-src="no-11"><img src=""><img src><img>
  <p>text <b>unclosed <img src='last.png'`;

test('finds what a browser fetches with a page, in the order of the document', (t) => {
  const expected = [
    'style.css',
    '/favicon.ico',
    '/fonts/a.woff2',
    'm.js',
    'site.webmanifest',
    'app.js',
    'a.png',
    'b.png',
    'c.png',
    'c-1x.png',
    'c-2x.png',
    'c-3x.png',
    'd.avif',
    'd-l.avif',
    'still.jpg',
    'film.webm',
    'inner.html',
  ].map((name) => (name.startsWith('/') ? name : `/docs/${name}`));
  t.deepEqual(includesOf(PAGE), expected);
  // However it is cut into pieces.
  for (const piece of [1, 2, 3, 7, 100]) t.deepEqual(includesOf(PAGE, '/docs/page.html', 64, piece), expected);
});

const RESOLVED: readonly (readonly [reference: string, path: string | undefined])[] = [
  ['a.png', '/docs/a.png'],
  ['./a.png', '/docs/a.png'],
  ['../a.png', '/a.png'],
  ['../../../a.png', '/a.png'],
  ['/a.png', '/a.png'],
  ['a.png?x=1#y', '/docs/a.png'],
  [' a.png\n', '/docs/a.png'],
  ['a b.png', '/docs/a%20b.png'],
  ['a%20b.png', '/docs/a%20b.png'],
  ['é.png', '/docs/%C3%A9.png'],
  ['a&amp;b.png', '/docs/a&b.png'],
  ['a&#x2e;png', '/docs/a.png'],
  ['\\a.png', '/a.png'],
  ['#part', '/docs/page.html'],
  ['http://example.com/a.png', undefined],
  ['//example.com/a.png', undefined],
  ['https://page.invalid/a.png', undefined],
  ['http://user@page.invalid:8080/a.png', undefined],
  ['data:image/png;base64,AAAA', undefined],
  ['javascript:alert(1)', undefined],
  ['blob:http://page.invalid/1', undefined],
  ['http://[', undefined],
  [`${'a'.repeat(1100)}.png`, undefined],
  [`data:,${'a'.repeat(100_000)}`, undefined],
];

for (const [reference, path] of RESOLVED) {
  test(`${JSON.stringify(reference.slice(0, 40))} is ${path ?? 'left out'}`, (t) => {
    t.deepEqual(includesOf(`<img src="${reference}">`), path === undefined ? [] : [path]);
  });
}

test('a base element moves what is relative, and only the first of them', (t) => {
  t.deepEqual(includesOf('<img src=a><base href=/other/x><img src=b><base href=/third/><img src=c><img src=/d>'), [
    '/docs/a',
    '/other/b',
    '/other/c',
    '/d',
  ]);
  t.deepEqual(includesOf('<base target=_blank><base href="../up/"><img src=a>'), ['/up/a']);
  t.deepEqual(includesOf('<base href="http://example.com/"><img src=a><img src=/b>'), []);
  t.deepEqual(includesOf('<base href="http://["><img src=a>'), ['/docs/a']);
});

test('the page itself may have any path', (t) => {
  t.deepEqual(includesOf('<img src=a>', '/'), ['/a']);
  t.deepEqual(includesOf('<img src=a>', '//double/'), ['//double/a']);
  t.deepEqual(includesOf('<img src=a>', pathOfKey(Buffer.from('/é/', 'utf8'))), ['/%C3%A9/a']);
});

test('there may be so many, and then it stops', (t) => {
  const html = Array.from({ length: 100 }, (_, index) => `<img src=${index}>`).join('');
  const some = read(html, '/', 10, 64);
  t.deepEqual(some.paths.length, 10);
  t.true(some.cut);
  t.false(some.read(64));
  t.false(read(html, '/', 100).cut);
});

test('the addresses of a srcset', (t) => {
  t.deepEqual(imageCandidates(' a.png , b.png 2x,c.png 100w 2x , data:,x 3x'), ['a.png', 'b.png', 'c.png', 'data:,x']);
  t.deepEqual(imageCandidates('a.png, b.png,'), ['a.png', 'b.png']);
  t.deepEqual(imageCandidates(''), []);
});

test('what is hostile costs no more than its length', (t) => {
  const many = 20_000;
  for (const unit of [
    '<b>',
    '</b>',
    '<',
    '<a ',
    '<a x=',
    '<!--',
    '<svg>',
    '<form>',
    '<img src=',
    '<p></p>',
    '&amp',
    ',',
  ]) {
    const html = unit.repeat(many);
    t.true(includesOf(html).length <= 64);
    t.true(includesOf(`<img srcset="${html}`).length <= 64);
    t.true(includesOf(`<img srcset="${html}">`).length <= 64);
  }
  t.pass();
});

const fragments = fc.constantFrom(
  ...[
    '<',
    '>',
    '"',
    "'",
    '=',
    ' ',
    '/',
    '&',
    '<!--',
    '-->',
    '<![CDATA[',
    ']]>',
    '<script',
    '</script>',
    '<img ',
    'src',
  ],
  ...[
    'srcset',
    ' 2x,',
    '<base href=',
    '<link rel=icon href=',
    'http://',
    'page.invalid',
    '..',
    '%',
    '%2e',
    '\0',
    '\ud800',
    '?#',
  ],
);

test('property: whatever the page, nothing throws, and every path is one that the server can be asked for', (t) => {
  const page = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.array(fc.oneof(fragments, fc.string({ maxLength: 5 })), { maxLength: 60 }).map((parts) => parts.join('')),
  );
  const property = fc.property(page, fc.integer({ min: 1, max: 50 }), (html, piece) => {
    const whole = includesOf(html);
    t.true(whole.length <= 64);
    t.deepEqual(includesOf(html, '/docs/page.html', 64, piece), whole);
    for (const path of whole) {
      t.regex(path, /^\/[!-~]*$/);
      t.notRegex(path, /[?#]/);
      const bytes = Buffer.from(path, 'latin1');
      t.true(decodePath(bytes, 0, bytes.length).segments.every((segment) => !segment.startsWith('.')));
    }
  });
  t.notThrows(() => fc.assert(property, { numRuns: 2000 }));
});
