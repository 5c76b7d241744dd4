import test from 'ava';
import type { CheetahLimits } from '../../../src/servers/cheetah/settings.ts';
import { type FakeFile, FakeFiles } from './fake-files.ts';
import { NOTHING_HELD, parseResponse, Rig, splitResponses } from './rig.ts';

const PAGE = '<link rel=stylesheet href=style.css><script src=app.js></script><img src=a.png><img src=b.png>';
const MEMBERS = ['style.css', 'app.js', 'a.png', 'b.png'];

function siteOf(page = PAGE, members: readonly string[] = MEMBERS): FakeFiles {
  const files = new FakeFiles();
  files.add('index.html', page);
  for (const name of members) files.add(name, `content of ${name}`);
  return files;
}

function groupCounters(rig: Rig) {
  const { groupsRead, groupReads, groupHits, groupLate, groupWasted } = rig.cheetah.snapshot();
  return { groupsRead, groupReads, groupHits, groupLate, groupWasted };
}

test('what a page includes is read with it, and is in the cache when it is asked for', async (t) => {
  const source = siteOf();
  const rig = new Rig({ source });
  t.is((await rig.get('/')).body, PAGE);
  await rig.until(() => rig.cheetah.snapshot().groupReads === 4);
  t.deepEqual(groupCounters(rig), { groupsRead: 1, groupReads: 4, groupHits: 0, groupLate: 0, groupWasted: 0 });
  const { reads } = source;
  const { cacheMisses } = rig.cheetah.snapshot();
  for (const name of MEMBERS) t.is((await rig.get(`/${name}?v=1`)).body, `content of ${name}`);
  t.is(source.reads, reads);
  t.is(rig.cheetah.snapshot().cacheMisses, cacheMisses);
  t.is(rig.cheetah.snapshot().groupHits, 4);
  // Only the first request for each is a hit of the group.
  for (const name of MEMBERS) await rig.get(`/${name}`);
  t.is(rig.cheetah.snapshot().groupHits, 4);
  t.is(rig.cheetah.snapshot().groupWasted, 0);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('turned off, nothing is read before it is asked for', async (t) => {
  const source = siteOf();
  const rig = new Rig({ source, specialisations: { htmlGrouping: false } });
  t.is((await rig.get('/')).body, PAGE);
  await rig.settle();
  t.is(source.opens, 1);
  t.is((await rig.get('/a.png')).body, 'content of a.png');
  t.deepEqual(groupCounters(rig), { groupsRead: 0, groupReads: 0, groupHits: 0, groupLate: 0, groupWasted: 0 });
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('real files, a page in a folder, names that are encoded, and links that lead out', async (t) => {
  const page =
    '<img src="a b.png"><img src=../top.png><img src=../../../etc/passwd><img src=.hidden><img src=gone.png>';
  const rig = new Rig({
    files: { 'docs/index.html': page, 'docs/a b.png': 'ab', 'top.png': 'top', 'docs/.hidden': 'hidden' },
  });
  t.is((await rig.get('/docs/')).body, page);
  await rig.settle();
  t.is(rig.cheetah.snapshot().groupReads, 2);
  t.is((await rig.get('/docs/a%20b.png')).body, 'ab');
  t.is((await rig.get('/top.png')).body, 'top');
  t.is(rig.cheetah.snapshot().groupHits, 2);
  t.is((await rig.get('/docs/.hidden')).status, 404);
  t.is((await rig.get('/docs/gone.png')).status, 404);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('members are read beside each other, a few at a time, and the page is not held up by them', async (t) => {
  const names = Array.from({ length: 30 }, (_, index) => `${index}.png`);
  const source = siteOf(names.map((name) => `<img src=${name}>`).join(''), names);
  let reading = 0;
  let most = 0;
  const waiting: (() => void)[] = [];
  source.beforeRead = async (file) => {
    if (file === source.files.get('/index.html')) return;
    most = Math.max(most, ++reading);
    await new Promise<void>((resolve) => waiting.push(resolve));
    reading--;
  };
  const rig = new Rig({ source, limits: { groupReads: 5 } });
  t.is((await rig.get('/')).status, 200);
  await rig.until(() => reading === 5);
  await rig.until(() => {
    waiting.shift()?.();
    return rig.cheetah.snapshot().groupReads === 30;
  });
  t.is(most, 5);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a request for a member that is being read waits for that, and is served once', async (t) => {
  const source = siteOf();
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  source.beforeRead = (file) => (file === source.files.get('/a.png') ? held : undefined);
  const rig = new Rig({ source });
  await rig.get('/');
  await rig.until(() => rig.cheetah.snapshot().groupReads === 3);
  const connection = rig.transport.connect();
  rig.transport.deliver(connection, 'GET /a.png HTTP/1.1\r\nHost: test\r\n\r\n');
  rig.transport.turn();
  release();
  await rig.until(() => connection.sent.length > 0);
  t.is(parseResponse(connection.take()).body, 'content of a.png');
  t.is(source.opens, 5);
  t.deepEqual(groupCounters(rig), { groupsRead: 1, groupReads: 3, groupHits: 0, groupLate: 1, groupWasted: 0 });
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('limits: members, bytes, what is looked through, what may wait', async (t) => {
  const names = Array.from({ length: 10 }, (_, index) => `${index}.png`);
  const page = `${names.map((name) => `<img src=${name}>`).join('')}${' '.repeat(1000)}<img src=behind.png>`;
  const cases: [Partial<CheetahLimits>, string, number, number][] = [
    [{ groupMembers: 4 }, 'groupMembersOver', 1, 4],
    [{ groupBytes: 50 }, 'groupBytesOver', 8, 3],
    [{ groupPageBytes: 500 }, 'groupPagesCut', 1, 10],
    [{ groupReads: 1, groupQueue: 5 }, 'groupMembersOver', 5, 6],
  ];
  for (const [limits, counter, count, reads] of cases) {
    const rig = new Rig({ source: siteOf(page, [...names, 'behind.png']), limits });
    await rig.get('/');
    await rig.settle();
    const snapshot = rig.cheetah.snapshot();
    t.is(snapshot[counter as 'groupBytesOver'], count, counter);
    t.is(snapshot.groupReads, reads, counter);
    // What was left out is served all the same.
    for (const name of names) t.is((await rig.get(`/${name}`)).body, `content of ${name}`, `${counter} ${name}`);
    t.deepEqual(await rig.close(), NOTHING_HELD);
  }
});

test('a member too long for the group is served to one who asks while it is looked up', async (t) => {
  const source = siteOf('<img src=large.png>', []);
  source.add('large.png', 'x'.repeat(5000));
  let release = (): void => undefined;
  const rig = new Rig({ source, limits: { groupBytes: 1000 } });
  let finds = 0;
  source.beforeFind = () => {
    if (++finds !== 2) return undefined;
    return new Promise<void>((resolve) => {
      release = resolve;
    });
  };
  await rig.get('/');
  await rig.until(() => finds === 2);
  const connection = rig.transport.connect();
  rig.transport.deliver(connection, 'GET /large.png HTTP/1.1\r\nHost: test\r\n\r\n');
  rig.transport.turn();
  release();
  await rig.until(() => splitResponses(connection.output.toString('latin1')).length === 1);
  t.is(parseResponse(connection.take()).body.length, 5000);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('a page that changes has its new members read; one that does not is not looked through again', async (t) => {
  const source = siteOf('<img src=a.png>');
  const rig = new Rig({ source });
  await rig.get('/');
  await rig.settle();
  rig.pass(200_000);
  await rig.get('/');
  await rig.settle();
  t.is(rig.cheetah.snapshot().groupsRead, 1);
  source.files.get('/index.html')?.change('<img src=b.png>');
  rig.pass(200_000);
  await rig.get('/');
  await rig.settle();
  t.is(rig.cheetah.snapshot().groupsRead, 2);
  t.is(rig.cheetah.snapshot().groupReads, 2);
  t.is((await rig.get('/b.png')).body, 'content of b.png');
  t.is(rig.cheetah.snapshot().groupHits, 1);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('members are as fresh as their page, and a stale one is never served', async (t) => {
  const source = siteOf('<img src=a.png>');
  const rig = new Rig({ source });
  await rig.get('/');
  await rig.settle();
  await rig.get('/a.png');
  // The page is asked for again, which has the member checked too.
  rig.pass(200_000);
  await rig.get('/');
  await rig.settle();
  const { cacheMisses } = rig.cheetah.snapshot();
  await rig.get('/a.png');
  t.is(rig.cheetah.snapshot().cacheMisses, cacheMisses);
  source.files.get('/a.png')?.change('changed');
  rig.pass(200_000);
  t.is((await rig.get('/a.png')).body, 'changed');
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('what nobody has asked for is counted as wasted when it goes', async (t) => {
  const source = siteOf('<img src=a.png><img src=b.png>');
  const rig = new Rig({ source });
  await rig.get('/');
  await rig.settle();
  source.files.get('/a.png')?.change('changed');
  rig.pass(200_000);
  t.is((await rig.get('/a.png')).body, 'changed');
  t.deepEqual(groupCounters(rig), { groupsRead: 1, groupReads: 2, groupHits: 0, groupLate: 0, groupWasted: 1 });
  t.deepEqual(await rig.close(), NOTHING_HELD);
  t.is(rig.cheetah.snapshot().groupWasted, 2);
});

for (const htmlGrouping of [true, false]) {
  const what = htmlGrouping ? 'outlives' : 'would not outlive, without groups,';
  test(`while its page is in use, a member ${what} what is read beside it`, async (t) => {
    const source = siteOf('<img src=a.png>', []);
    source.add('a.png', 'a'.repeat(60_000));
    for (let i = 0; i < 40; i++) source.add(`${i}.bin`, 'x'.repeat(60_000));
    const rig = new Rig({ source, limits: { cacheBytes: 512 * 1024 }, specialisations: { htmlGrouping } });
    await rig.get('/');
    await rig.settle();
    await rig.get('/a.png');
    let reads = 0;
    source.beforeRead = (file: FakeFile) => {
      if (file === source.files.get('/a.png')) reads++;
    };
    let waits = 0;
    for (let i = 0; i < 40; i++) {
      await rig.get(`/${i}.bin`);
      // Long enough for the page to be checked when it is asked for.
      rig.pass(60_000);
      await rig.get('/');
      await rig.settle();
      if (i % 5 !== 4) continue;
      const before = reads;
      t.is((await rig.get('/a.png')).body.length, 60_000);
      waits += reads - before;
    }
    t.true(rig.cheetah.snapshot().versionsEvicted > 20);
    t.is(waits > 0, !htmlGrouping, `${waits}`);
    t.deepEqual(await rig.close(), NOTHING_HELD);
  });
}

test('pages that include each other come to an end', async (t) => {
  const source = siteOf('<iframe src=other.html></iframe>', []);
  source.add('other.html', '<iframe src=/></iframe><iframe src=other.html></iframe><img src=a.png>');
  source.add('a.png', 'a');
  const rig = new Rig({ source });
  await rig.get('/');
  await rig.settle();
  // The inner page is read, its own group not before it is asked for.
  t.is(rig.cheetah.snapshot().groupsRead, 1);
  for (let i = 0; i < 5; i++) {
    rig.pass(200_000);
    await rig.get('/');
    await rig.get('/other.html');
    await rig.settle();
  }
  t.is(rig.cheetah.snapshot().groupsRead, 2);
  t.true(source.finds < 60, `${source.finds}`);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('so many groups are remembered, those in use longest', async (t) => {
  const source = new FakeFiles();
  for (let i = 0; i < 6; i++) source.add(`${i}.html`, `<img src=${i}.png>`).content;
  const rig = new Rig({ source, limits: { maxGroups: 2 } });
  for (const name of [0, 1, 0, 2, 0, 3, 0]) {
    await rig.get(`/${name}.html`);
    await rig.settle();
    rig.pass(200_000);
  }
  // The first was always among the latest two.
  t.is(rig.cheetah.snapshot().groupsRead, 4);
  await rig.get('/1.html');
  await rig.settle();
  t.is(rig.cheetah.snapshot().groupsRead, 5);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});

test('closing in the middle of a group leaves nothing behind', async (t) => {
  const names = Array.from({ length: 50 }, (_, index) => `${index}.png`);
  for (let turns = 0; turns < 12; turns++) {
    const rig = new Rig({ source: siteOf(names.map((name) => `<img src=${name}>`).join('\n'.repeat(500)), names) });
    await rig.get('/');
    let left = turns;
    await rig.until(() => left-- <= 0);
    t.deepEqual(await rig.close(), NOTHING_HELD);
  }
});
