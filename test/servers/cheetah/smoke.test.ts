import test from 'ava';
import { NOTHING_HELD, Rig } from './rig.ts';

test('serves a file', async (t) => {
  const rig = new Rig({ files: { 'index.html': '<p>hello', 'a/b.txt': 'text' } });
  const response = await rig.get('/');
  t.is(response.status, 200);
  t.is(response.body, '<p>hello');
  console.log(response, rig.cheetah.snapshot(), rig.cheetah.holdings);
  t.deepEqual(await rig.close(), NOTHING_HELD);
});
